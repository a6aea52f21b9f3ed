//! What can go wrong with a call: every function of the library, and for each the calls that it
//! must refuse or that must do nothing.

use std::ffi::{c_char, c_void, CStr};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::OnceLock;
use swoole::ffi::connection::*;
use swoole::ffi::error_codes::*;
use swoole::ffi::library::*;
use swoole::ffi::process::*;
use swoole::ffi::sending::*;
use swoole::ffi::server::*;
use swoole::ffi::status::*;
use swoole::ffi::timer::*;
use swoole::ffi::types::*;

pub type Raw = *mut sw_server_t;

/// A text as C has it.
macro_rules! c {
    ($text:literal) => {
        concat!($text, "\0").as_ptr().cast::<std::ffi::c_char>()
    };
}
pub(crate) use c;

/// A call that must fail, or, if the number is 0, must succeed and leave the last error alone.
pub struct Bad {
    pub what: &'static str,
    pub call: fn(Raw) -> bool,
    pub code: i32,
    /// What the message must name.
    pub names: &'static str,
}

pub const fn bad(what: &'static str, call: fn(Raw) -> bool, code: i32, names: &'static str) -> Bad {
    Bad { what, call, code, names }
}

pub const fn harmless(what: &'static str, call: fn(Raw) -> bool) -> Bad {
    Bad { what, call, code: 0, names: "" }
}

fn status(server: Raw, worker: i32) -> bool {
    sw_server_get_worker_status(server, worker) != 0
}

/// Where a function may be called.
#[derive(Clone, Copy, PartialEq)]
pub enum When {
    Configure,
    /// In a callback.
    Callback,
    /// In any thread, while the server runs.
    Run,
    Always,
}

pub struct Function {
    pub name: &'static str,
    pub when: When,
    /// A call with nothing wrong but, maybe, the server; true if it succeeded. It is only ever made
    /// with a bad server or in a wrong phase. None: there is no such thing.
    pub call: Option<fn(Raw) -> bool>,
    pub bad: &'static [Bad],
}

pub const fn row(
    name: &'static str,
    when: When,
    call: Option<fn(Raw) -> bool>,
    bad: &'static [Bad],
) -> Function {
    Function { name, when, call, bad }
}

pub const NOT_UTF8: *const c_char = b"\xff\xfe\0".as_ptr().cast();
pub const LOCALHOST: *const c_char = c!("127.0.0.1");
/// 108 bytes, one more than a host may have.
pub const LONG_HOST: [u8; 109] = {
    let mut text = [b'1'; 109];
    text[108] = 0;
    text
};

/// Longer than any path of a file may be.
const LONG_PATH: [u8; 9001] = {
    let mut text = [b'a'; 9001];
    text[0] = b'/';
    text[9000] = 0;
    text
};

/// The session id of a live connection, in the worker that has one.
pub static LIVE: AtomicI64 = AtomicI64::new(0);

pub fn live() -> i64 {
    LIVE.load(Ordering::Relaxed)
}

pub fn new(host: *const c_char, port: i32, mode: i32, sock_type: i32) -> bool {
    let server = sw_server_new(host, port, mode, sock_type);
    let is_made = !server.is_null();
    sw_server_free(server);
    is_made
}

fn set_json(server: Raw, json: &[u8]) -> bool {
    sw_server_set_json(server, json.as_ptr().cast(), json.len())
}

pub fn buffer() -> sw_buffer_t {
    sw_buffer_t { data: null_mut(), len: 0 }
}

fn get_setting(server: Raw, name: *const c_char) -> bool {
    let mut out = buffer();
    let is_told = sw_server_get_setting(server, name, &mut out);
    assert_eq!(is_told, !out.data.is_null(), "a buffer is filled exactly by success");
    sw_buffer_free(&mut out);
    is_told
}

fn client_info(server: Raw, fd: i64) -> bool {
    let mut out = std::mem::MaybeUninit::uninit();
    sw_server_get_client_info(server, fd, out.as_mut_ptr(), true)
}

fn client_list(server: Raw, start_fd: i64, page_size: i32) -> bool {
    let mut fds = [0; 100];
    sw_server_get_client_list(server, start_fd, fds.as_mut_ptr(), page_size) != -1
}

fn send(server: Raw, fd: i64, len: usize) -> bool {
    sw_server_send(server, fd, c!("hello").cast(), len)
}

fn send_wait(server: Raw, fd: i64, len: usize) -> bool {
    sw_server_sendwait(server, fd, c!("hello").cast(), len)
}

fn send_async(server: Raw, fd: i64, len: usize) -> bool {
    sw_server_send_async(server, fd, c!("hello").cast(), len, Some(be_told), null_mut())
}

extern "C-unwind" fn be_told(_: Raw, _: i64, _: i32, _: *mut c_void) {}

fn send_file(server: Raw, path: *const c_char, offset: i64, length: usize) -> bool {
    sw_server_sendfile(server, live(), path, offset, length)
}

pub extern "C-unwind" fn ignore(_: Raw, _: *const sw_event_t, _: *mut c_void) {}

fn on(server: Raw, event: *const c_char) -> bool {
    sw_server_on(server, event, Some(ignore), null_mut())
}

extern "C-unwind" fn pass(_: i64, _: *mut c_void) {}

extern "C-unwind" fn put_off(_: *mut c_void) {}

extern "C-unwind" fn look(_: i32, _: i32, _: *mut c_void) {}

extern "C-unwind" fn run_nothing(_: Raw, _: *mut sw_process_t, _: *mut c_void) {}

/// Adds a process that nobody has added, which only ever fails.
fn add_process(server: Raw) -> bool {
    static PROCESS: OnceLock<usize> = OnceLock::new();
    let made = PROCESS.get_or_init(|| sw_process_new(Some(run_nothing), null_mut()) as usize);
    sw_server_add_process(server, *made as *mut sw_process_t) != -1
}

/// A timer that is cleared at once.
fn tick(server: Raw, milliseconds: i64) -> bool {
    let id = sw_server_tick(server, milliseconds, Some(pass), null_mut());
    id != -1 && sw_server_clear_timer(server, id)
}

fn after(server: Raw, milliseconds: i64) -> bool {
    let id = sw_server_after(server, milliseconds, Some(pass), null_mut());
    id != -1 && sw_server_clear_timer(server, id)
}

fn watch(fd: i32, events: i32) -> bool {
    sw_event_add(fd, events, Some(look), null_mut())
}

fn has_text(text: *const c_char) -> bool {
    // SAFETY: the library says that its texts are NULL or end with a NUL.
    !text.is_null() && unsafe { CStr::from_ptr(text) }.to_str().is_ok_and(|text| !text.is_empty())
}

/// Starts another server than the one that is handed in.
pub fn start_other(has_receive: bool) -> bool {
    let other = sw_server_new(LOCALHOST, 0, SW_THREAD, SW_SOCK_TCP);
    assert!(!has_receive || on(other, c!("receive")));
    let has_run = sw_server_start(other);
    sw_server_free(other);
    has_run
}

use When::{Always, Callback, Configure, Run};
pub const PARAMS: i32 = SW_ERROR_INVALID_PARAMS;
pub const PORT: i32 = SW_ERROR_SERVER_INVALID_LISTEN_PORT;
pub const NO_TYPE: i32 = SW_ERROR_BAD_SOCKET_TYPE;
const NO_FILE: i32 = SW_ERROR_SYSTEM_CALL_FAIL;
pub const NO_ID: i32 = SW_ERROR_SESSION_INVALID_ID;
pub const NO_SESSION: i32 = SW_ERROR_SESSION_NOT_EXIST;

/// Every function of the library.
#[rustfmt::skip]
pub const TABLE: &[Function] = &[
    row("sw_version", Always, None, &[harmless("any time", |_| has_text(sw_version()))]),
    row("sw_last_error", Always, None, &[
        harmless("twice", |_| sw_last_error() == sw_last_error()),
    ]),
    row("sw_last_error_message", Always, None, &[
        harmless("twice", |_| {
            has_text(sw_last_error_message()) && has_text(sw_last_error_message())
        }),
    ]),
    row("sw_strerror", Always, None, &[
        harmless("the smallest number", |_| has_text(sw_strerror(i32::MIN))),
        harmless("the largest number", |_| has_text(sw_strerror(i32::MAX))),
    ]),
    row("sw_buffer_free", Always, None, &[
        harmless("NULL", |_| { sw_buffer_free(null_mut()); true }),
        harmless("an empty one", |_| { sw_buffer_free(&mut buffer()); true }),
        harmless("twice", |server| {
            let mut out = buffer();
            let is_filled = sw_server_get_setting(server, c!("backlog"), &mut out);
            sw_buffer_free(&mut out);
            let is_empty = out.data.is_null() && out.len == 0;
            sw_buffer_free(&mut out);
            is_filled && is_empty
        }),
    ]),
    row("sw_server_new", Always, None, &[
        bad("no host", |_| new(null(), 0, SW_BASE, SW_SOCK_TCP), PARAMS, "host is NULL"),
        bad("a host of bytes", |_| new(NOT_UTF8, 0, SW_BASE, SW_SOCK_TCP), PARAMS, "UTF-8"),
        bad("a long host", |_| new(LONG_HOST.as_ptr().cast(), 0, SW_BASE, SW_SOCK_TCP),
            SW_ERROR_NAME_TOO_LONG, "108"),
        bad("a long path", |_| new(LONG_HOST.as_ptr().cast(), 0, SW_BASE, SW_SOCK_UNIX_STREAM),
            SW_ERROR_NAME_TOO_LONG, "108"),
        bad("mode 0", |_| new(LOCALHOST, 0, 0, SW_SOCK_TCP), PARAMS, "0 is no mode"),
        bad("mode 4", |_| new(LOCALHOST, 0, 4, SW_SOCK_TCP), PARAMS, "4 is no mode"),
        bad("least mode", |_| new(LOCALHOST, 0, i32::MIN, SW_SOCK_TCP), PARAMS, "-2147483648"),
        bad("port -1", |_| new(LOCALHOST, -1, SW_BASE, SW_SOCK_TCP), PORT, "-1"),
        bad("port 65536", |_| new(LOCALHOST, 65_536, SW_BASE, SW_SOCK_TCP), PORT, "65536"),
        bad("largest port", |_| new(LOCALHOST, i32::MAX, SW_BASE, SW_SOCK_TCP6),
            PORT, "2147483647"),
        bad("type 0", |_| new(LOCALHOST, 0, SW_BASE, 0), NO_TYPE, "0"),
        bad("type 7", |_| new(LOCALHOST, 0, SW_BASE, 7), NO_TYPE, "7"),
        bad("type -1", |_| new(LOCALHOST, 0, SW_BASE, -1), NO_TYPE, "-1"),
        bad("largest type", |_| new(LOCALHOST, 0, SW_BASE, i32::MAX), NO_TYPE, "2147483647"),
        bad("nothing but TLS", |_| new(LOCALHOST, 0, SW_BASE, SW_SSL), NO_TYPE, "512"),
        harmless("datagrams", |_| new(LOCALHOST, 0, SW_BASE, SW_SOCK_UDP)),
        harmless("TLS", |_| new(LOCALHOST, 0, SW_BASE, SW_SOCK_TCP | SW_SSL)),
        bad("IPv6 for IPv4", |_| new(c!("::1"), 0, SW_BASE, SW_SOCK_TCP),
            SW_ERROR_BAD_HOST_ADDR, "::1"),
        bad("IPv4 for IPv6", |_| new(LOCALHOST, 0, SW_BASE, SW_SOCK_TCP6),
            SW_ERROR_BAD_IPV6_ADDRESS, "127.0.0.1"),
        bad("an address of another machine", |_| new(c!("192.0.0.1"), 80, SW_BASE, SW_SOCK_TCP),
            libc::EADDRNOTAVAIL, "192.0.0.1:80"),
        bad("an empty path", |_| new(c!(""), 0, SW_BASE, SW_SOCK_UNIX_STREAM),
            SW_ERROR_BAD_HOST_ADDR, "\"\""),
        bad("a path nowhere", |_| new(c!("/nowhere/at/all"), 0, SW_BASE, SW_SOCK_UNIX_STREAM),
            libc::ENOENT, "/nowhere/at/all"),
        bad("a path that is taken", |_| new(c!("/dev/null"), 0, SW_BASE, SW_SOCK_UNIX_STREAM),
            libc::EADDRINUSE, "/dev/null"),
    ]),
    row("sw_server_free", Configure, Some(|server| { sw_server_free(server); false }), &[
        harmless("NULL", |_| { sw_server_free(null_mut()); true }),
    ]),
    row("sw_server_set", Configure, Some(|s| sw_server_set(s, c!("backlog"), c!("9"))), &[
        bad("no name", |s| sw_server_set(s, null(), c!("9")), PARAMS, "name of the setting"),
        bad("no value", |s| sw_server_set(s, c!("backlog"), null()), PARAMS, "value is NULL"),
        bad("a name of bytes", |s| sw_server_set(s, NOT_UTF8, c!("9")), PARAMS, "UTF-8"),
        bad("a value of bytes", |s| sw_server_set(s, c!("log_file"), NOT_UTF8), PARAMS, "log_file"),
        bad("no number", |s| sw_server_set(s, c!("backlog"), c!("four")), PARAMS, "\"four\""),
        bad("half a number", |s| sw_server_set(s, c!("backlog"), c!("4x")), PARAMS, "backlog"),
        bad("no size", |s| sw_server_set(s, c!("socket_buffer_size"), c!("2X")), PARAMS, "\"2X\""),
        bad("no truth", |s| sw_server_set(s, c!("single_thread"), c!("maybe")), PARAMS, "maybe"),
        bad("nothing", |s| sw_server_set(s, c!("backlog"), c!("")), PARAMS, "\"\""),
    ]),
    row("sw_server_set_int", Configure, Some(|s| sw_server_set_int(s, c!("backlog"), 9)), &[
        bad("no name", |s| sw_server_set_int(s, null(), 9), PARAMS, "name of the setting is NULL"),
        bad("a name of bytes", |s| sw_server_set_int(s, NOT_UTF8, 9), PARAMS, "UTF-8"),
        harmless("the least number", |s| sw_server_set_int(s, c!("max_wait_time"), i64::MIN)),
        harmless("the largest", |s| sw_server_set_int(s, c!("socket_buffer_size"), i64::MAX)),
    ]),
    row("sw_server_set_json", Configure, Some(|s| set_json(s, b"{\"backlog\": 9}")), &[
        bad("NULL", |s| sw_server_set_json(s, null(), 2), PARAMS, "2 bytes"),
        bad("nothing", |s| sw_server_set_json(s, null(), 0), PARAMS, "JSON"),
        bad("an endless text", |s| sw_server_set_json(s, c!("{}"), usize::MAX), PARAMS, "bytes"),
        bad("bytes", |s| set_json(s, b"{\"backlog\": \"\xff\"}"), PARAMS, "JSON"),
        bad("half a text", |s| set_json(s, b"{\"backlog\": 9"), PARAMS, "JSON"),
        bad("more than a text", |s| set_json(s, b"{} {}"), PARAMS, "JSON"),
        bad("a list", |s| set_json(s, b"[1]"), PARAMS, "JSON"),
        bad("a deep text", |s| set_json(s, &[b'['; 100_000]), PARAMS, "JSON"),
        bad("a list as value", |s| set_json(s, b"{\"backlog\": [1]}"), PARAMS, "backlog"),
        bad("no number", |s| set_json(s, b"{\"backlog\": \"four\"}"), PARAMS, "\"four\""),
    ]),
    row("sw_server_get_setting", Always, Some(|s| get_setting(s, c!("backlog"))), &[
        bad("no name", |s| get_setting(s, null()), PARAMS, "name of the setting is NULL"),
        bad("a name of bytes", |s| get_setting(s, NOT_UTF8), PARAMS, "UTF-8"),
        bad("an unknown name", |s| get_setting(s, c!("worker_nim")), PARAMS, "worker_nim"),
        bad("no place", |s| sw_server_get_setting(s, c!("backlog"), null_mut()), PARAMS, "out"),
    ]),
    row("sw_server_on", Configure, Some(|s| on(s, c!("connect"))), &[
        bad("no name", |s| on(s, null()), PARAMS, "name of the event is NULL"),
        bad("a name of bytes", |s| on(s, NOT_UTF8), PARAMS, "UTF-8"),
        bad("an unknown name", |s| on(s, c!("nope")), PARAMS, "nope"),
        bad("a name with on", |s| on(s, c!("onReceive")), PARAMS, "onReceive"),
        bad("no callback", |s| sw_server_on(s, c!("close"), None, null_mut()), PARAMS, "callback"),
    ]),
    row("sw_server_get_callback", Always,
        Some(|s| sw_server_get_callback(s, c!("receive")).is_some()), &[
        bad("no name", |s| sw_server_get_callback(s, null()).is_some(), PARAMS, "NULL"),
        bad("a name of bytes", |s| sw_server_get_callback(s, NOT_UTF8).is_some(), PARAMS, "UTF-8"),
        bad("an unknown name", |s| sw_server_get_callback(s, c!("nope")).is_some(), PARAMS, "nope"),
    ]),
    row("sw_server_start", Configure, Some(|s| sw_server_start(s)), &[
        bad("no receive callback", |_| start_other(false),
            SW_ERROR_SERVER_INVALID_CALLBACK, "onReceive"),
    ]),
    row("sw_server_shutdown", Run, Some(|s| sw_server_shutdown(s)), &[]),
    row("sw_server_send", Callback, Some(|s| send(s, live(), 5)), &[
        bad("no bytes", |s| send(s, live(), 0), SW_ERROR_NO_PAYLOAD, "no bytes"),
        bad("NULL", |s| sw_server_send(s, live(), null(), 5), PARAMS, "5 bytes"),
        bad("endless bytes", |s| send(s, live(), usize::MAX), PARAMS, "18446744073709551615"),
        bad("too many bytes", |s| send(s, live(), isize::MAX as usize),
            PARAMS, "9223372036854775807"),
        bad("id 0", |s| send(s, 0, 5), NO_ID, "0"),
        bad("id -1", |s| send(s, -1, 5), NO_ID, "-1"),
        bad("least id", |s| send(s, i64::MIN, 5), NO_ID, "-9223372036854775808"),
        bad("id 100", |s| send(s, 100, 5), NO_SESSION, "100"),
        bad("largest id", |s| send(s, i64::MAX, 5), NO_SESSION, "9223372036854775807"),
    ]),
    row("sw_server_sendfile", Callback, Some(|s| send_file(s, c!("/etc/passwd"), 0, 1)), &[
        bad("no path", |s| send_file(s, null(), 0, 0), PARAMS, "path is NULL"),
        bad("no file", |s| send_file(s, c!("/nowhere"), 0, 0), NO_FILE, "/nowhere"),
        bad("an empty path", |s| send_file(s, c!(""), 0, 0), NO_FILE, "\"\""),
        bad("a folder", |s| send_file(s, c!("/etc"), 0, 0),
            SW_ERROR_SERVER_IS_NOT_REGULAR_FILE, "/etc"),
        bad("a device", |s| send_file(s, c!("/dev/zero"), 0, 1),
            SW_ERROR_SERVER_IS_NOT_REGULAR_FILE, "/dev/zero"),
        bad("a long path", |s| send_file(s, LONG_PATH.as_ptr().cast(), 0, 0),
            SW_ERROR_NAME_TOO_LONG, "aaa"),
        bad("offset -1", |s| send_file(s, c!("/etc/passwd"), -1, 0), PARAMS, "-1"),
        bad("least offset", |s| send_file(s, c!("/etc/passwd"), i64::MIN, 0), PARAMS, "-922337"),
        bad("largest offset", |s| send_file(s, c!("/etc/passwd"), i64::MAX, 0), NO_FILE, "922337"),
        bad("too much", |s| send_file(s, c!("/etc/passwd"), 1, 1 << 40), PARAMS, "1099511627776"),
        bad("much too much", |s| send_file(s, c!("/etc/passwd"), 1, usize::MAX),
            PARAMS, "18446744073709551615"),
        bad("id 0", |s| sw_server_sendfile(s, 0, c!("/etc/passwd"), 0, 0), NO_ID, "0"),
        bad("id 100", |s| sw_server_sendfile(s, 100, c!("/etc/passwd"), 0, 0), NO_SESSION, "100"),
    ]),
    row("sw_server_sendwait", Callback, Some(|s| send_wait(s, live(), 5)), &[
        bad("no bytes", |s| send_wait(s, live(), 0), SW_ERROR_NO_PAYLOAD, "no bytes"),
        bad("NULL", |s| sw_server_sendwait(s, live(), null(), 5), PARAMS, "5 bytes"),
        bad("endless bytes", |s| send_wait(s, live(), usize::MAX), PARAMS, "18446744073709551615"),
        bad("id 0", |s| send_wait(s, 0, 5), NO_ID, "0"),
        bad("least id", |s| send_wait(s, i64::MIN, 5), NO_ID, "-9223372036854775808"),
    ]),
    row("sw_server_send_async", Callback, Some(|s| send_async(s, live(), 5)), &[
        bad("no bytes", |s| send_async(s, live(), 0), SW_ERROR_NO_PAYLOAD, "no bytes"),
        bad("no function", |s| {
            sw_server_send_async(s, live(), c!("hello").cast(), 5, None, null_mut())
        }, PARAMS, "function"),
        bad("id 0", |s| send_async(s, 0, 5), NO_ID, "0"),
        bad("id 99999", |s| send_async(s, 99_999, 5), NO_SESSION, "99999"),
    ]),
    row("sw_server_close", Callback, Some(|s| sw_server_close(s, live(), false)), &[
        bad("id 0", |s| sw_server_close(s, 0, false), NO_ID, "0"),
        bad("id -1", |s| sw_server_close(s, -1, true), NO_ID, "-1"),
        bad("least id", |s| sw_server_close(s, i64::MIN, false), NO_ID, "-9223372036854775808"),
        bad("id 99999", |s| sw_server_close(s, 99_999, false), NO_SESSION, "99999"),
        bad("largest id", |s| sw_server_close(s, i64::MAX, true),
            NO_SESSION, "9223372036854775807"),
    ]),
    row("sw_server_exist", Callback, Some(|s| sw_server_exist(s, live())), &[
        bad("id 0", |s| sw_server_exist(s, 0), NO_SESSION, "0"),
        bad("least id", |s| sw_server_exist(s, i64::MIN), NO_SESSION, "-9223372036854775808"),
        bad("id 100", |s| sw_server_exist(s, 100), NO_SESSION, "100"),
        bad("largest id", |s| sw_server_exist(s, i64::MAX), NO_SESSION, "9223372036854775807"),
    ]),
    row("sw_server_get_client_info", Callback, Some(|s| client_info(s, live())), &[
        bad("no place", |s| sw_server_get_client_info(s, live(), null_mut(), false), PARAMS, "out"),
        bad("id 0", |s| client_info(s, 0), NO_ID, "0"),
        bad("least id", |s| client_info(s, i64::MIN), NO_ID, "-9223372036854775808"),
        bad("id 100", |s| client_info(s, 100), NO_SESSION, "100"),
        bad("largest id", |s| client_info(s, i64::MAX), NO_SESSION, "9223372036854775807"),
    ]),
    row("sw_server_get_client_list", Callback, Some(|s| client_list(s, 0, 10)), &[
        bad("no place", |s| sw_server_get_client_list(s, 0, null_mut(), 10) != -1, PARAMS, "fds"),
        bad("page 0", |s| client_list(s, 0, 0), PARAMS, "0"),
        bad("page -1", |s| client_list(s, 0, -1), PARAMS, "-1"),
        bad("page 101", |s| client_list(s, 0, 101), PARAMS, "101"),
        bad("least page", |s| client_list(s, 0, i32::MIN), PARAMS, "-2147483648"),
        bad("largest page", |s| client_list(s, 0, i32::MAX), PARAMS, "2147483647"),
        bad("from -1", |s| client_list(s, -1, 10), NO_SESSION, "-1"),
        bad("from 100", |s| client_list(s, 100, 10), NO_SESSION, "100"),
        bad("from the least", |s| client_list(s, i64::MIN, 10), NO_SESSION, "-9223372036854775808"),
        bad("from the largest", |s| client_list(s, i64::MAX, 10),
            NO_SESSION, "9223372036854775807"),
    ]),
    row("sw_server_stats", Callback, Some(|s| sw_server_stats(s, &mut sw_stats_t::default())), &[
        bad("no place", |s| sw_server_stats(s, null_mut()), PARAMS, "out is NULL"),
    ]),
    row("sw_server_get_last_error", Always, None, &[
        harmless("no server", |_| sw_server_get_last_error(null()) == sw_last_error()),
        harmless("no such server", |_| {
            sw_server_get_last_error(NOT_UTF8.cast()) == sw_last_error()
        }),
    ]),
    row("sw_server_get_worker_id", Always, Some(|s| sw_server_get_worker_id(s) != -1), &[]),
    row("sw_server_reload", Run, Some(|s| sw_server_reload(s, false)), &[]),
    row("sw_server_stop", Callback, Some(|s| sw_server_stop(s, 0, true)), &[
        bad("worker -2", |s| sw_server_stop(s, -2, true), PARAMS, "-2"),
        bad("worker 2 of 2", |s| sw_server_stop(s, 2, false), PARAMS, "2"),
        bad("least", |s| sw_server_stop(s, i32::MIN, false), PARAMS, "-2147483648"),
        bad("largest", |s| sw_server_stop(s, i32::MAX, false), PARAMS, "2147483647"),
    ]),
    row("sw_server_get_worker_status", Callback, Some(|s| status(s, 0)), &[
        bad("worker -2", |s| status(s, -2), PARAMS, "-2"),
        bad("worker 2 of 2", |s| status(s, 2), PARAMS, "2"),
    ]),
    row("sw_server_get_worker_pid", Run, Some(|s| sw_server_get_worker_pid(s, 0) != -1), &[
        bad("worker -2", |s| sw_server_get_worker_pid(s, -2) != -1, PARAMS, "-2"),
        bad("worker 2 of 2", |s| sw_server_get_worker_pid(s, 2) != -1, PARAMS, "2"),
        bad("least", |s| sw_server_get_worker_pid(s, i32::MIN) != -1, PARAMS, "-2147483648"),
        bad("largest", |s| sw_server_get_worker_pid(s, i32::MAX) != -1, PARAMS, "2147483647"),
    ]),
    row("sw_server_get_manager_pid", Always, Some(|s| sw_server_get_manager_pid(s) != 0), &[]),
    row("sw_server_get_master_pid", Always, Some(|s| sw_server_get_master_pid(s) != 0), &[]),
    row("sw_server_get_mode", Always, Some(|s| sw_server_get_mode(s) != 0), &[]),
    row("sw_server_is_running", Always, Some(|s| sw_server_is_running(s)), &[]),
    row("sw_server_tick", Callback, Some(|s| tick(s, 1000)), &[
        bad("no callback", |s| sw_server_tick(s, 9, None, null_mut()) != -1, PARAMS, "callback"),
        bad("0 ms", |s| tick(s, 0), PARAMS, "0"),
        bad("-1 ms", |s| tick(s, -1), PARAMS, "-1"),
        bad("the least time", |s| tick(s, i64::MIN), PARAMS, "-9223372036854775808"),
        harmless("the longest time", |s| tick(s, i64::MAX)),
    ]),
    row("sw_server_after", Callback, Some(|s| after(s, 1000)), &[
        bad("no callback", |s| sw_server_after(s, 9, None, null_mut()) != -1, PARAMS, "callback"),
        bad("0 ms", |s| after(s, 0), PARAMS, "0"),
        bad("the least time", |s| after(s, i64::MIN), PARAMS, "-9223372036854775808"),
        harmless("the longest time", |s| after(s, i64::MAX)),
    ]),
    row("sw_server_clear_timer", Callback, Some(|s| sw_server_clear_timer(s, 1)), &[
        bad("timer 0", |s| sw_server_clear_timer(s, 0), PARAMS, "0"),
        bad("timer -1", |s| sw_server_clear_timer(s, -1), PARAMS, "-1"),
        bad("timer 99999", |s| sw_server_clear_timer(s, 99_999), PARAMS, "99999"),
        bad("least timer", |s| sw_server_clear_timer(s, i64::MIN), PARAMS, "-9223372036854775808"),
        bad("largest timer", |s| sw_server_clear_timer(s, i64::MAX), PARAMS, "9223372036854775807"),
    ]),
    row("sw_server_defer", Callback, Some(|s| sw_server_defer(s, Some(put_off), null_mut())), &[
        bad("no callback", |s| sw_server_defer(s, None, null_mut()), PARAMS, "callback"),
    ]),
    row("sw_process_new", Always, None, &[
        bad("no function", |_| !sw_process_new(None, null_mut()).is_null(), PARAMS, "function"),
    ]),
    row("sw_server_add_process", Configure, Some(add_process), &[
        bad("NULL", |s| sw_server_add_process(s, null_mut()) != -1, PARAMS, "NULL"),
        bad("no process", |s| sw_server_add_process(s, s.cast()) != -1, PARAMS, "sw_process_new"),
    ]),
    row("sw_process_socket", Always, None, &[
        bad("NULL", |_| sw_process_socket(null()) != -1, PARAMS, "NULL"),
        bad("no process", |s| sw_process_socket(s.cast()) != -1, PARAMS, "sw_process_new"),
    ]),
    row("sw_process_pid", Always, None, &[
        bad("NULL", |_| sw_process_pid(null()) != -1, PARAMS, "NULL"),
        bad("no process", |s| sw_process_pid(s.cast()) != -1, PARAMS, "sw_process_new"),
    ]),
    row("sw_event_add", Callback, Some(|_| watch(0, SW_IO_READ)), &[
        bad("no callback", |_| sw_event_add(0, SW_IO_READ, None, null_mut()), PARAMS, "callback"),
        bad("no events", |_| watch(0, 0), PARAMS, "0"),
        bad("other events", |_| watch(0, SW_IO_READ | 1), PARAMS, "513"),
        bad("all events", |_| watch(0, -1), PARAMS, "-1"),
        bad("descriptor -1", |_| watch(-1, SW_IO_READ), libc::EBADF, "-1"),
        bad("least descriptor", |_| watch(i32::MIN, SW_IO_READ), libc::EBADF, "-2147483648"),
        bad("largest descriptor", |_| watch(i32::MAX, SW_IO_WRITE), libc::EBADF, "2147483647"),
    ]),
    row("sw_event_set", Callback, Some(|_| sw_event_set(0, SW_IO_READ)), &[
        bad("no events", |_| sw_event_set(0, 0), PARAMS, "0"),
        bad("not watched", |_| sw_event_set(0, SW_IO_READ), SW_ERROR_EVENT_UPDATE_FAILED, "0"),
        bad("descriptor -1", |_| sw_event_set(-1, SW_IO_READ), SW_ERROR_EVENT_UPDATE_FAILED, "-1"),
    ]),
    row("sw_event_del", Callback, Some(|_| sw_event_del(0)), &[
        bad("not watched", |_| sw_event_del(0), SW_ERROR_EVENT_REMOVE_FAILED, "0"),
        bad("descriptor -1", |_| sw_event_del(-1), SW_ERROR_EVENT_REMOVE_FAILED, "-1"),
    ]),
];
