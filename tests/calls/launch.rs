//! What can go wrong with a call of the pull face, on a server that was started and not launched.

use super::table::When::{Always, Configure};
use super::table::{bad, c, harmless, row, Function, Raw, NOT_UTF8};
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use swoole::ffi::error_codes::*;
use swoole::ffi::launch::*;

const PARAMS: i32 = SW_ERROR_INVALID_PARAMS;
const PHASE: i32 = SW_ERROR_WRONG_OPERATION;

fn next(server: Raw, timeout: f64) -> bool {
    let mut event = MaybeUninit::uninit();
    sw_server_next_event(server, timeout, event.as_mut_ptr()) != sw_next_t::SW_NEXT_FAILED
}

fn next_to_null(server: Raw) -> bool {
    sw_server_next_event(server, 0.0, null_mut()) != sw_next_t::SW_NEXT_FAILED
}

pub const LAUNCH: &[Function] = &[
    row(
        "sw_server_want",
        Configure,
        Some(|s| sw_server_want(s, c!("managerStop"))),
        &[
            bad("NULL", |s| sw_server_want(s, null()), PARAMS, "NULL"),
            bad("no event", |s| sw_server_want(s, c!("onReceive")), PARAMS, "onReceive"),
            bad("no text", |s| sw_server_want(s, NOT_UTF8), PARAMS, "UTF-8"),
        ],
    ),
    row(
        "sw_server_launch",
        Configure,
        Some(|s| sw_server_launch(s) != sw_role_t::SW_ROLE_FAILED),
        &[],
    ),
    row(
        "sw_server_next_event",
        Always,
        Some(|s| next(s, 0.0)),
        &[
            bad("NULL", next_to_null, PARAMS, "0x0"),
            bad("no number", |s| next(s, f64::NAN), PARAMS, "NaN"),
            bad("not launched", |s| next(s, 0.0), PHASE, "server"),
        ],
    ),
    row(
        "sw_server_event_done",
        Always,
        Some(|s| sw_server_event_done(s)),
        &[bad("not launched", |s| sw_server_event_done(s), PHASE, "server")],
    ),
    row("sw_server_role", Always, Some(|s| sw_server_role(s) != sw_role_t::SW_ROLE_FAILED), &[]),
    row(
        "sw_server_launch_process",
        Always,
        None,
        &[harmless("outside of a user process", |s| {
            sw_server_launch_process(s, null_mut(), null_mut());
            true
        })],
    ),
];
