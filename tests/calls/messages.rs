//! What can go wrong with a call for messages and commands.

use super::table::When::{Always, Callback, Configure};
use super::table::{bad, c, row, Function, Raw, NOT_UTF8, PARAMS};
use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};
use swoole::ffi::command::*;
use swoole::ffi::error_codes::*;
use swoole::ffi::message::*;
use swoole::ffi::types::*;

extern "C-unwind" fn refuse(
    _: *mut sw_server_t,
    _: *const u8,
    _: usize,
    _: *mut sw_reply_t,
    _: *mut c_void,
) -> bool {
    false
}

fn add(server: Raw, name: *const c_char, types: i32) -> bool {
    sw_server_add_command(server, name, types, Some(refuse), null_mut())
}

fn command(server: Raw, name: *const c_char, data: *const c_void, len: usize) -> bool {
    let mut reply = sw_buffer_t { data: null_mut(), len: 0 };
    let is_answered =
        sw_server_command(server, name, 0, SW_COMMAND_EVENT_WORKER, data, len, &mut reply);
    assert!(reply.data.is_null(), "a failure fills nothing");
    is_answered
}

const NAME: *const c_char = c!("name");
const BYTES: *const c_void = c!("bytes").cast();
const MASTER: i32 = SW_COMMAND_MASTER;
const REACTOR: i32 = SW_COMMAND_REACTOR_THREAD;
/// Where nothing can be.
const WILD: *mut sw_reply_t = 1 as *mut sw_reply_t;
const NO_CALLBACK: i32 = SW_ERROR_SERVER_INVALID_CALLBACK;

#[rustfmt::skip]
pub const MESSAGES: &[Function] = &[
    row("sw_server_send_message", Callback, Some(|s| sw_server_send_message(s, BYTES, 5, 0)), &[
        bad("no bytes", |s| sw_server_send_message(s, null(), 5, 0), PARAMS, "5 bytes"),
        bad("length -1", |s| sw_server_send_message(s, BYTES, usize::MAX, 0), PARAMS, "bytes"),
        bad("no callback", |s| sw_server_send_message(s, BYTES, 5, 0), NO_CALLBACK, "pipeMessage"),
    ]),
    row("sw_server_add_command", Configure, Some(|s| add(s, NAME, MASTER)), &[
        bad("no name", |s| add(s, null(), MASTER), PARAMS, "name"),
        bad("a name of bytes", |s| add(s, NOT_UTF8, MASTER), PARAMS, "UTF-8"),
        bad("an empty name", |s| add(s, c!(""), MASTER), PARAMS, "empty"),
        bad("no function", |s| sw_server_add_command(s, NAME, MASTER, None, null_mut()),
            PARAMS, "function"),
        bad("no type", |s| add(s, NAME, 0), PARAMS, "0"),
        bad("type 1", |s| add(s, NAME, MASTER | 1), PARAMS, "3"),
        bad("type 64", |s| add(s, NAME, 64), PARAMS, "64"),
        bad("all types", |s| add(s, NAME, -1), PARAMS, "-1"),
        bad("reactors", |s| add(s, NAME, MASTER | REACTOR), SW_ERROR_OPERATION_NOT_SUPPORT, "name"),
    ]),
    row("sw_server_command", Callback, Some(|s| command(s, NAME, BYTES, 5)), &[
        bad("no name", |s| command(s, null(), BYTES, 5), PARAMS, "name"),
        bad("a name of bytes", |s| command(s, NOT_UTF8, BYTES, 5), PARAMS, "UTF-8"),
        bad("no bytes", |s| command(s, NAME, null(), 5), PARAMS, "5 bytes"),
        bad("no reply", |s| sw_server_command(s, NAME, 0, MASTER, BYTES, 5, null_mut()),
            PARAMS, "NULL"),
    ]),
    row("sw_command_reply", Always, None, &[
        bad("NULL", |_| sw_command_reply(null_mut(), BYTES, 5), PARAMS, "reply"),
        bad("no reply", |_| sw_command_reply(WILD, BYTES, 5), PARAMS, "reply"),
        bad("a server", |s| sw_command_reply(s.cast(), BYTES, 5), PARAMS, "reply"),
        bad("no bytes", |_| sw_command_reply(WILD, null(), 5), PARAMS, "5 bytes"),
    ]),
];
