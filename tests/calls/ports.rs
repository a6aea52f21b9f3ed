//! What can go wrong with a call on ports.

use super::table::When::{Always, Callback, Configure};
use super::table::{bad, c, harmless, ignore, row, Function, Raw};
use super::table::{LOCALHOST, LONG_HOST, NOT_UTF8, NO_SESSION, NO_TYPE, PARAMS, PORT};
use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};
use swoole::ffi::error_codes::*;
use swoole::ffi::port::*;
use swoole::ffi::server::*;
use swoole::ffi::types::*;

/// The first port of the server.
fn first(server: Raw) -> *mut sw_port_t {
    sw_server_port(server, 0)
}

/// A port of a server that was freed.
fn freed() -> *mut sw_port_t {
    let server = sw_server_new(LOCALHOST, 0, SW_BASE, SW_SOCK_TCP);
    let port = first(server);
    assert!(!port.is_null());
    sw_server_free(server);
    port
}

fn add(server: Raw, host: *const c_char, port: i32, sock_type: i32) -> bool {
    !sw_server_add_listener(server, host, port, sock_type).is_null()
}

fn listen(server: Raw, host: *const c_char, port: i32, sock_type: i32) -> bool {
    !sw_server_listen(server, host, port, sock_type).is_null()
}

/// A second port at the address of the first one.
fn add_first_again(server: Raw) -> bool {
    add(server, LOCALHOST, sw_port_number(first(server)), SW_SOCK_TCP)
}

fn on(port: *mut sw_port_t, event: *const c_char) -> bool {
    sw_port_on(port, event, Some(ignore), null_mut())
}

fn set(port: *mut sw_port_t, name: *const c_char, value: *const c_char) -> bool {
    sw_port_set(port, name, value)
}

fn set_json(port: *mut sw_port_t, json: &[u8]) -> bool {
    sw_port_set_json(port, json.as_ptr().cast(), json.len())
}

extern "C-unwind" fn one_byte(_: *const u8, _: usize, _: *mut c_void) -> i64 {
    1
}

fn set_length(port: *mut sw_port_t) -> bool {
    sw_port_set_length_func(port, Some(one_byte), null_mut())
}

fn list(port: *const sw_port_t, start_fd: i64, page_size: i32) -> bool {
    let mut fds = [0; 100];
    sw_port_get_client_list(port, start_fd, fds.as_mut_ptr(), page_size) != -1
}

fn stats(port: *const sw_port_t) -> bool {
    sw_port_stats(port, &mut sw_stats_t::default())
}

const BACKLOG: *const c_char = c!("backlog");
/// Where nothing can be.
const WILD: *const sw_port_t = 1 as *const sw_port_t;

#[rustfmt::skip]
pub const PORTS: &[Function] = &[
    row("sw_server_add_listener", Configure, Some(|s| add(s, LOCALHOST, 0, SW_SOCK_TCP)), &[
        bad("no host", |s| add(s, null(), 0, SW_SOCK_TCP), PARAMS, "host is NULL"),
        bad("a host of bytes", |s| add(s, NOT_UTF8, 0, SW_SOCK_TCP), PARAMS, "UTF-8"),
        bad("a long host", |s| add(s, LONG_HOST.as_ptr().cast(), 0, SW_SOCK_UDP),
            SW_ERROR_NAME_TOO_LONG, "108"),
        bad("a long path", |s| add(s, LONG_HOST.as_ptr().cast(), 0, SW_SOCK_UNIX_STREAM),
            SW_ERROR_NAME_TOO_LONG, "108"),
        bad("port -1", |s| add(s, LOCALHOST, -1, SW_SOCK_TCP), PORT, "-1"),
        bad("port 65536", |s| add(s, LOCALHOST, 65_536, SW_SOCK_UDP), PORT, "65536"),
        bad("least port", |s| add(s, c!("::1"), i32::MIN, SW_SOCK_TCP6), PORT, "-2147483648"),
        bad("type 0", |s| add(s, LOCALHOST, 0, 0), NO_TYPE, "0"),
        bad("type 7", |s| add(s, LOCALHOST, 0, 7), NO_TYPE, "7"),
        bad("least type", |s| add(s, LOCALHOST, 0, i32::MIN), NO_TYPE, "-2147483648"),
        bad("IPv6 for IPv4", |s| add(s, c!("::1"), 0, SW_SOCK_UDP),
            SW_ERROR_BAD_HOST_ADDR, "::1"),
        bad("IPv4 for IPv6", |s| add(s, LOCALHOST, 0, SW_SOCK_UDP6),
            SW_ERROR_BAD_IPV6_ADDRESS, "127.0.0.1"),
        bad("SYSTEMD", |s| add(s, c!("SYSTEMD"), 0, SW_SOCK_TCP),
            SW_ERROR_BAD_HOST_ADDR, "SYSTEMD"),
        bad("an address of another machine", |s| add(s, c!("192.0.0.1"), 80, SW_SOCK_TCP),
            libc::EADDRNOTAVAIL, "192.0.0.1:80"),
        bad("an empty path", |s| add(s, c!(""), 0, SW_SOCK_UNIX_STREAM),
            SW_ERROR_BAD_HOST_ADDR, "\"\""),
        bad("a path nowhere", |s| add(s, c!("/nowhere/at/all"), 0, SW_SOCK_UNIX_DGRAM),
            libc::ENOENT, "/nowhere/at/all"),
        bad("a path that is taken", |s| add(s, c!("/dev/null"), 0, SW_SOCK_UNIX_STREAM),
            libc::EADDRINUSE, "/dev/null"),
        bad("the first port again", add_first_again, libc::EADDRINUSE, "127.0.0.1"),
    ]),
    row("sw_server_listen", Configure, Some(|s| listen(s, LOCALHOST, 0, SW_SOCK_TCP)), &[
        bad("no host", |s| listen(s, null(), 0, SW_SOCK_TCP), PARAMS, "host is NULL"),
        bad("port -1", |s| listen(s, LOCALHOST, -1, SW_SOCK_TCP), PORT, "-1"),
        bad("type 7", |s| listen(s, LOCALHOST, 0, 7), NO_TYPE, "7"),
    ]),
    row("sw_server_port", Always, Some(|s| !first(s).is_null()), &[
        bad("port 1 of 1", |s| !sw_server_port(s, 1).is_null(), PARAMS, "no port 1"),
        bad("the last number", |s| !sw_server_port(s, usize::MAX).is_null(),
            PARAMS, "18446744073709551615"),
    ]),
    row("sw_server_get_socket", Always, Some(|s| sw_server_get_socket(s) != -1), &[]),
    row("sw_port_set", Configure, Some(|s| set(first(s), BACKLOG, c!("9"))), &[
        bad("NULL", |_| set(null_mut(), BACKLOG, c!("9")), PARAMS, "NULL"),
        bad("a server", |s| set(s.cast(), BACKLOG, c!("9")), PARAMS, "no port"),
        bad("freed", |_| set(freed(), BACKLOG, c!("9")), PARAMS, "freed"),
        bad("no name", |s| set(first(s), null(), c!("9")), PARAMS, "name of the setting"),
        bad("no value", |s| set(first(s), BACKLOG, null()), PARAMS, "value of the setting"),
        bad("a name of bytes", |s| set(first(s), NOT_UTF8, c!("9")), PARAMS, "UTF-8"),
        bad("no number", |s| set(first(s), BACKLOG, c!("four")), PARAMS, "\"four\""),
        bad("nothing", |s| set(first(s), BACKLOG, c!("")), PARAMS, "\"\""),
        harmless("an unknown name", |s| set(first(s), c!("worker_nim"), c!("1"))),
    ]),
    row("sw_port_set_int", Configure, Some(|s| sw_port_set_int(first(s), BACKLOG, 9)), &[
        bad("NULL", |_| sw_port_set_int(null_mut(), BACKLOG, 9), PARAMS, "NULL"),
        bad("a server", |s| sw_port_set_int(s.cast(), BACKLOG, 9), PARAMS, "no port"),
        bad("freed", |_| sw_port_set_int(freed(), BACKLOG, 9), PARAMS, "freed"),
        bad("no name", |s| sw_port_set_int(first(s), null(), 9), PARAMS, "name of the setting"),
        harmless("the least", |s| sw_port_set_int(first(s), BACKLOG, i64::MIN)),
        harmless("the largest", |s| sw_port_set_int(first(s), BACKLOG, i64::MAX)),
    ]),
    row("sw_port_set_json", Configure, Some(|s| set_json(first(s), b"{\"backlog\": 9}")), &[
        bad("no port", |_| set_json(null_mut(), b"{}"), PARAMS, "NULL"),
        bad("a server", |s| set_json(s.cast(), b"{}"), PARAMS, "no port"),
        bad("freed", |_| set_json(freed(), b"{}"), PARAMS, "freed"),
        bad("NULL", |s| sw_port_set_json(first(s), null(), 2), PARAMS, "2 bytes"),
        bad("nothing", |s| sw_port_set_json(first(s), null(), 0), PARAMS, "JSON"),
        bad("half a text", |s| set_json(first(s), b"{\"backlog\": 9"), PARAMS, "JSON"),
        bad("a list", |s| set_json(first(s), b"[1]"), PARAMS, "JSON"),
        bad("no number", |s| set_json(first(s), b"{\"backlog\": \"four\"}"), PARAMS, "\"four\""),
    ]),
    row("sw_port_set_length_func", Configure, Some(|s| set_length(first(s))), &[
        bad("no port", |_| set_length(null_mut()), PARAMS, "port is NULL"),
        bad("no handle", |_| set_length(WILD.cast_mut()), PARAMS, "no port"),
        bad("freed", |_| set_length(freed()), PARAMS, "no port"),
        bad("no function", |s| sw_port_set_length_func(first(s), None, null_mut()),
            PARAMS, "length function is NULL"),
    ]),
    row("sw_port_on", Configure, Some(|s| on(first(s), c!("connect"))), &[
        bad("NULL", |_| on(null_mut(), c!("connect")), PARAMS, "NULL"),
        bad("a server", |s| on(s.cast(), c!("connect")), PARAMS, "no port"),
        bad("freed", |_| on(freed(), c!("connect")), PARAMS, "freed"),
        bad("no name", |s| on(first(s), null()), PARAMS, "name of the event is NULL"),
        bad("an unknown name", |s| on(first(s), c!("nope")), PARAMS, "nope"),
        bad("an event of the server", |s| on(first(s), c!("workerStart")), PARAMS, "workerStart"),
        bad("no callback", |s| sw_port_on(first(s), c!("close"), None, null_mut()),
            PARAMS, "callback"),
    ]),
    row("sw_port_host", Always, Some(|s| !sw_port_host(first(s)).is_null()), &[
        bad("NULL", |_| !sw_port_host(null()).is_null(), PARAMS, "NULL"),
        bad("a server", |s| !sw_port_host(s.cast()).is_null(), PARAMS, "no port"),
        bad("freed", |_| !sw_port_host(freed()).is_null(), PARAMS, "freed"),
        bad("a wild pointer", |_| !sw_port_host(WILD).is_null(), PARAMS, "no port"),
    ]),
    row("sw_port_number", Always, Some(|s| sw_port_number(first(s)) != -1), &[
        bad("NULL", |_| sw_port_number(null()) != -1, PARAMS, "NULL"),
        bad("a server", |s| sw_port_number(s.cast()) != -1, PARAMS, "no port"),
        bad("freed", |_| sw_port_number(freed()) != -1, PARAMS, "freed"),
        bad("a wild pointer", |_| sw_port_number(WILD) != -1, PARAMS, "no port"),
    ]),
    row("sw_port_type", Always, Some(|s| sw_port_type(first(s)) != -1), &[
        bad("NULL", |_| sw_port_type(null()) != -1, PARAMS, "NULL"),
        bad("a server", |s| sw_port_type(s.cast()) != -1, PARAMS, "no port"),
        bad("freed", |_| sw_port_type(freed()) != -1, PARAMS, "freed"),
        bad("a wild pointer", |_| sw_port_type(WILD) != -1, PARAMS, "no port"),
    ]),
    row("sw_port_socket", Always, Some(|s| sw_port_socket(first(s)) != -1), &[
        bad("NULL", |_| sw_port_socket(null()) != -1, PARAMS, "NULL"),
        bad("a server", |s| sw_port_socket(s.cast()) != -1, PARAMS, "no port"),
        bad("freed", |_| sw_port_socket(freed()) != -1, PARAMS, "freed"),
        bad("a wild pointer", |_| sw_port_socket(WILD) != -1, PARAMS, "no port"),
    ]),
    row("sw_port_get_client_list", Callback, Some(|s| list(first(s), 0, 10)), &[
        bad("NULL", |_| list(null(), 0, 10), PARAMS, "NULL"),
        bad("a server", |s| list(s.cast(), 0, 10), PARAMS, "no port"),
        bad("freed", |_| list(freed(), 0, 10), PARAMS, "freed"),
        bad("no place", |s| sw_port_get_client_list(first(s), 0, null_mut(), 10) != -1,
            PARAMS, "fds"),
        bad("page 0", |s| list(first(s), 0, 0), PARAMS, "0"),
        bad("page 101", |s| list(first(s), 0, 101), PARAMS, "101"),
        bad("least page", |s| list(first(s), 0, i32::MIN), PARAMS, "-2147483648"),
        bad("from -1", |s| list(first(s), -1, 10), NO_SESSION, "-1"),
        bad("from 100", |s| list(first(s), 100, 10), NO_SESSION, "100"),
        bad("from the largest", |s| list(first(s), i64::MAX, 10),
            NO_SESSION, "9223372036854775807"),
    ]),
    row("sw_port_stats", Callback, Some(|s| stats(first(s))), &[
        bad("NULL", |_| stats(null()), PARAMS, "NULL"),
        bad("a server", |s| stats(s.cast()), PARAMS, "no port"),
        bad("freed", |_| stats(freed()), PARAMS, "freed"),
        bad("no place", |s| sw_port_stats(first(s), null_mut()), PARAMS, "out is NULL"),
    ]),
];
