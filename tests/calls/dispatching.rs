//! What can go wrong with a call about dispatching.

use super::table::When::{Callback, Configure};
use super::table::{bad, row, Function, Raw, PARAMS};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use swoole::ffi::dispatching::*;
use swoole::ffi::error_codes::SW_ERROR_WRONG_OPERATION;
use swoole::ffi::types::*;

extern "C-unwind" fn choose(
    _: *mut sw_server_t,
    _: i64,
    _: c_int,
    _: *const u8,
    _: usize,
    _: *mut c_void,
) -> c_int {
    SW_DISPATCH_DEFAULT
}

fn set(server: Raw) -> bool {
    sw_server_set_dispatch_func(server, Some(choose), null_mut())
}

#[rustfmt::skip]
pub const DISPATCHING: &[Function] = &[
    row("sw_server_set_dispatch_func", Configure, Some(set), &[
        bad("no function", |s| sw_server_set_dispatch_func(s, None, null_mut()),
            PARAMS, "dispatch function"),
    ]),
    row("sw_server_begin_request", Callback, Some(|s| sw_server_begin_request(s)), &[]),
    row("sw_server_end_request", Callback, Some(|s| sw_server_end_request(s)), &[
        bad("none begun", |s| sw_server_end_request(s),
            SW_ERROR_WRONG_OPERATION, "sw_server_begin_request"),
    ]),
];
