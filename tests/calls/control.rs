//! What can go wrong with a call that controls a connection.

use super::table::When::Callback;
use super::table::{bad, buffer, live, row, Function, Raw, NO_ID, NO_SESSION, PARAMS};
use std::ptr::null_mut;
use swoole::ffi::connection::*;
use swoole::ffi::control::*;
use swoole::ffi::error_codes::*;

const NO_CERTIFICATE: i32 = SW_ERROR_SSL_EMPTY_PEER_CERTIFICATE;
const NO_HEARTBEAT: i32 = SW_ERROR_OPERATION_NOT_SUPPORT;

fn heartbeat(server: Raw, capacity: i32) -> bool {
    sw_server_heartbeat(server, false, [0; 4].as_mut_ptr(), capacity) != -1
}

fn client_cert(server: Raw, fd: i64) -> bool {
    let mut out = buffer();
    sw_server_get_client_cert(server, fd, &mut out)
}

#[rustfmt::skip]
pub const CONTROL: &[Function] = &[
    row("sw_server_get_client_cert", Callback, Some(|s| client_cert(s, live())), &[
        bad("no place", |s| sw_server_get_client_cert(s, live(), null_mut()), PARAMS, "out"),
        bad("id 0", |s| client_cert(s, 0), NO_CERTIFICATE, "0"),
        bad("least id", |s| client_cert(s, i64::MIN), NO_CERTIFICATE, "-9223372036854775808"),
        bad("id 100", |s| client_cert(s, 100), NO_CERTIFICATE, "100"),
        bad("a plain connection", |s| client_cert(s, live()), NO_CERTIFICATE, "no certificate"),
    ]),
    row("sw_server_pause", Callback, Some(|s| sw_server_pause(s, live())), &[
        bad("id 0", |s| sw_server_pause(s, 0), NO_SESSION, "0"),
        bad("least id", |s| sw_server_pause(s, i64::MIN), NO_SESSION, "-9223372036854775808"),
        bad("id 100", |s| sw_server_pause(s, 100), NO_SESSION, "100"),
    ]),
    row("sw_server_resume", Callback, Some(|s| sw_server_resume(s, live())), &[
        bad("id -1", |s| sw_server_resume(s, -1), NO_SESSION, "-1"),
        bad("largest id", |s| sw_server_resume(s, i64::MAX), NO_SESSION, "9223372036854775807"),
        bad("id 100", |s| sw_server_resume(s, 100), NO_SESSION, "100"),
    ]),
    row("sw_server_protect", Callback, Some(|s| sw_server_protect(s, live(), true)), &[
        bad("id 0", |s| sw_server_protect(s, 0, true), NO_SESSION, "0"),
        bad("least id", |s| sw_server_protect(s, i64::MIN, false),
            NO_SESSION, "-9223372036854775808"),
        bad("id 100", |s| sw_server_protect(s, 100, true), NO_SESSION, "100"),
    ]),
    row("sw_server_confirm", Callback, Some(|s| sw_server_confirm(s, live())), &[
        bad("id 0", |s| sw_server_confirm(s, 0), NO_ID, "0"),
        bad("least id", |s| sw_server_confirm(s, i64::MIN), NO_ID, "-9223372036854775808"),
        bad("id 100", |s| sw_server_confirm(s, 100), NO_SESSION, "100"),
    ]),
    row("sw_server_bind", Callback, Some(|s| sw_server_bind(s, live(), 1)), &[
        bad("uid 0", |s| sw_server_bind(s, live(), 0), PARAMS, "uid 0"),
        bad("uid too large", |s| sw_server_bind(s, live(), 1 << 32), PARAMS, "4294967296"),
        bad("uid too small", |s| sw_server_bind(s, live(), i64::MIN),
            PARAMS, "-9223372036854775808"),
        bad("id 0", |s| sw_server_bind(s, 0, 1), NO_SESSION, "0"),
        bad("id 100", |s| sw_server_bind(s, 100, 1), NO_SESSION, "100"),
    ]),
    row("sw_server_heartbeat", Callback, Some(|s| heartbeat(s, 4)), &[
        bad("no place", |s| sw_server_heartbeat(s, true, null_mut(), 4) != -1, PARAMS, "fds"),
        bad("no room", |s| heartbeat(s, 0), PARAMS, "0"),
        bad("least room", |s| heartbeat(s, i32::MIN), PARAMS, "-2147483648"),
        bad("none configured", |s| heartbeat(s, 4), NO_HEARTBEAT, "heartbeat_check_interval"),
    ]),
];
