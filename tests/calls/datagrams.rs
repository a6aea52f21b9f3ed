//! What can go wrong with a call that sends a datagram. The server has no port for any.

use super::table::When::Callback;
use super::table::{bad, c, row, Function, Raw, LOCALHOST, PARAMS};
use std::ffi::{c_char, c_void};
use std::ptr::null;
use swoole::ffi::datagram::*;
use swoole::ffi::error_codes::*;

fn send(server: Raw, ip: *const c_char, port: i32, len: usize) -> bool {
    let data = b"twelve bytes".as_ptr().cast::<c_void>();
    sw_server_sendto(server, ip, port, data, len, -1)
}

#[rustfmt::skip]
pub const DATAGRAMS: &[Function] = &[
    row("sw_server_sendto", Callback, Some(|s| send(s, LOCALHOST, 9, 5)), &[
        bad("no address", |s| send(s, null(), 9, 5), PARAMS, "ip"),
        bad("no bytes", |s| send(s, LOCALHOST, 9, 0), SW_ERROR_NO_PAYLOAD, "no bytes"),
        bad("NULL", |s| sw_server_sendto(s, LOCALHOST, 9, null(), 5, -1), PARAMS, "5 bytes"),
        bad("endless bytes", |s| send(s, LOCALHOST, 9, usize::MAX), PARAMS, "18446744073709551615"),
        bad("port 0", |s| send(s, LOCALHOST, 0, 5), SW_ERROR_BAD_PORT, "0"),
        bad("port -1", |s| send(s, LOCALHOST, -1, 5), SW_ERROR_BAD_PORT, "-1"),
        bad("port 65536", |s| send(s, LOCALHOST, 65_536, 5), SW_ERROR_BAD_PORT, "65536"),
        bad("least port", |s| send(s, LOCALHOST, i32::MIN, 5), SW_ERROR_BAD_PORT, "-2147483648"),
        bad("a name", |s| send(s, c!("localhost"), 9, 5), SW_ERROR_BAD_HOST_ADDR, "localhost"),
        bad("no IPv6", |s| send(s, c!(":::"), 9, 5), SW_ERROR_BAD_IPV6_ADDRESS, ":::"),
        bad("no port", |s| send(s, LOCALHOST, 9, 5), SW_ERROR_WRONG_OPERATION, "IPv4"),
        bad("no IPv6 port", |s| send(s, c!("::1"), 9, 5), SW_ERROR_WRONG_OPERATION, "IPv6"),
        bad("no unix port", |s| send(s, c!("/x"), 9, 5), SW_ERROR_WRONG_OPERATION, "unix"),
        bad("any descriptor",
            |s| sw_server_sendto(s, LOCALHOST, 9, b"x".as_ptr().cast(), 1, i32::MAX),
            SW_ERROR_WRONG_OPERATION, "IPv4"),
    ]),
];
