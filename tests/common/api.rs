//! The functions of `swoole.h` as a test calls them: the C symbols, and one safe method for each.
//!
//! Nothing is added and nothing is checked here: what is tested is what a C program would get.

use super::pull;
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::fmt;
use std::ops::Deref;
use swoole::ffi::types::*;

// What is in a server is private to the library, so the compiler cannot see how it is laid out.
#[allow(improper_ctypes)]
extern "C" {
    fn sw_version() -> *const c_char;
    fn sw_last_error() -> c_int;
    fn sw_last_error_message() -> *const c_char;
    fn sw_strerror(code: c_int) -> *const c_char;
    fn sw_buffer_free(buffer: *mut sw_buffer_t);
    fn sw_server_new(
        host: *const c_char,
        port: c_int,
        mode: c_int,
        kind: c_int,
    ) -> *mut sw_server_t;
    fn sw_server_free(server: *mut sw_server_t);
    fn sw_server_set(server: *mut sw_server_t, name: *const c_char, value: *const c_char) -> bool;
    fn sw_server_set_int(server: *mut sw_server_t, name: *const c_char, value: i64) -> bool;
    fn sw_server_set_json(server: *mut sw_server_t, json: *const c_char, len: usize) -> bool;
    fn sw_server_get_setting(
        server: *const sw_server_t,
        name: *const c_char,
        out: *mut sw_buffer_t,
    ) -> bool;
    fn sw_server_on(
        server: *mut sw_server_t,
        event: *const c_char,
        callback: sw_callback_t,
        user_data: *mut c_void,
    ) -> bool;
    fn sw_server_get_callback(server: *const sw_server_t, event: *const c_char) -> sw_callback_t;
    fn sw_server_start(server: *mut sw_server_t) -> bool;
    fn sw_server_shutdown(server: *mut sw_server_t) -> bool;
    fn sw_server_reload(server: *mut sw_server_t, only_task_workers: bool) -> bool;
    fn sw_server_stop(server: *mut sw_server_t, worker_id: c_int, wait_event: bool) -> bool;
    fn sw_server_is_running(server: *const sw_server_t) -> bool;
    fn sw_server_send(server: *mut sw_server_t, fd: i64, data: *const c_void, len: usize) -> bool;
    fn sw_server_close(server: *mut sw_server_t, fd: i64, reset: bool) -> bool;
    fn sw_server_exist(server: *mut sw_server_t, fd: i64) -> bool;
    fn sw_server_get_client_info(
        server: *mut sw_server_t,
        fd: i64,
        out: *mut sw_client_info_t,
        ignore_closed: bool,
    ) -> bool;
    fn sw_server_get_client_list(
        server: *mut sw_server_t,
        start_fd: i64,
        fds: *mut i64,
        page_size: c_int,
    ) -> c_int;
    fn sw_server_stats(server: *mut sw_server_t, out: *mut sw_stats_t) -> bool;
    fn sw_server_get_last_error(server: *const sw_server_t) -> c_int;
    fn sw_server_get_worker_id(server: *const sw_server_t) -> c_int;
    fn sw_server_get_worker_pid(server: *const sw_server_t, worker_id: c_int) -> libc::pid_t;
    fn sw_server_get_worker_status(server: *const sw_server_t, worker_id: c_int) -> c_int;
    fn sw_server_get_manager_pid(server: *const sw_server_t) -> libc::pid_t;
    fn sw_server_get_master_pid(server: *const sw_server_t) -> libc::pid_t;
    fn sw_server_get_mode(server: *const sw_server_t) -> c_int;
}

/// What a call that failed left as the last error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub code: i32,
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (error {})", self.message, self.code)
    }
}

impl std::error::Error for Error {}

pub type Result<T> = std::result::Result<T, Error>;

/// The last error of this thread.
pub fn last_error() -> Error {
    // SAFETY: both take nothing; the text is valid until the next call of this thread.
    unsafe { Error { code: sw_last_error(), message: text(sw_last_error_message()) } }
}

pub fn version() -> String {
    // SAFETY: the function takes nothing and returns a text that lives for ever.
    unsafe { text(sw_version()) }
}

pub fn error_text(code: i32) -> String {
    // SAFETY: any number may be asked for; the text is read at once.
    unsafe { text(sw_strerror(code)) }
}

/// # Safety
/// - `pointer` is NULL or a text with a NUL at its end.
unsafe fn text(pointer: *const c_char) -> String {
    assert!(!pointer.is_null(), "a text of the library is NULL");
    // SAFETY: it is a text, as the caller promised, and not NULL.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

fn c_text(text: &str) -> CString {
    CString::new(text).expect("a text of a test holds no NUL")
}

fn checked(is_ok: bool) -> Result<()> {
    if is_ok {
        Ok(())
    } else {
        Err(last_error())
    }
}

/// A callback of a test: a plain function or a closure that captures nothing.
pub type Callback = fn(Handle, &Event);

/// What the library calls; `user_data` is the test's own function.
pub extern "C-unwind" fn call_back(
    server: *mut sw_server_t,
    event: *const sw_event_t,
    user_data: *mut c_void,
) {
    // SAFETY: `Handle::on` registered a `Callback` as user data.
    let callback: Callback = unsafe { std::mem::transmute(user_data) };
    assert!(!event.is_null(), "the event is NULL");
    // SAFETY: the library lends a valid event until this function returns.
    let event = Event(unsafe { &*event });
    callback(Handle { raw: server }, &event);
    if event.kind() == sw_event_kind_t::SW_EVENT_START {
        super::report_line("ready");
    }
}

/// An event, while its callback runs.
pub struct Event<'a>(pub &'a sw_event_t);

impl Event<'_> {
    pub fn kind(&self) -> sw_event_kind_t {
        // SAFETY: all members begin with the kind.
        unsafe { self.0.kind }
    }

    /// The connection of a connect, receive, close or buffer event.
    pub fn connection(&self) -> &sw_conn_event_t {
        use sw_event_kind_t::*;
        let kinds = [
            SW_EVENT_CONNECT,
            SW_EVENT_RECEIVE,
            SW_EVENT_CLOSE,
            SW_EVENT_BUFFER_FULL,
            SW_EVENT_BUFFER_EMPTY,
        ];
        assert!(kinds.contains(&self.kind()), "{:?} has no connection", self.kind());
        // SAFETY: these kinds carry this member.
        unsafe { &self.0.receive }
    }

    /// The session id of the connection.
    pub fn fd(&self) -> i64 {
        self.connection().fd
    }

    /// The bytes of a receive event, none for others.
    pub fn data(&self) -> &[u8] {
        let connection = self.connection();
        if connection.data.is_null() {
            assert_eq!(connection.len, 0, "there is a length without bytes");
            return &[];
        }
        // SAFETY: the library lends `len` bytes at `data` until the callback returns.
        unsafe { std::slice::from_raw_parts(connection.data, connection.len) }
    }

    /// The worker of a worker start, stop or exit event.
    pub fn worker(&self) -> &sw_worker_event_t {
        use sw_event_kind_t::*;
        let kinds = [SW_EVENT_WORKER_START, SW_EVENT_WORKER_STOP, SW_EVENT_WORKER_EXIT];
        assert!(kinds.contains(&self.kind()), "{:?} has no worker", self.kind());
        // SAFETY: these kinds carry this member.
        unsafe { &self.0.worker }
    }

    /// How the worker of a worker error event ended.
    pub fn error(&self) -> &sw_status_info_t {
        assert_eq!(self.kind(), sw_event_kind_t::SW_EVENT_WORKER_ERROR);
        // SAFETY: this kind carries this member.
        unsafe { &self.0.error }
    }
}

/// A server that somebody else frees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    pub raw: *mut sw_server_t,
}

/// A server, freed when it is dropped.
pub struct Server(Handle);

impl Deref for Server {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: the handle came from `sw_server_new` and is freed here only.
        unsafe { sw_server_free(self.0.raw) }
    }
}

impl Server {
    pub fn new(host: &str, port: i32, mode: i32, sock_type: i32) -> Result<Self> {
        // SAFETY: the host is a text that lives through the call.
        let raw = unsafe { sw_server_new(c_text(host).as_ptr(), port, mode, sock_type) };
        if raw.is_null() {
            Err(last_error())
        } else {
            Ok(Self(Handle { raw }))
        }
    }
}

/// Each method is the function of the same name. Every handle was made by `sw_server_new` and lives
/// through the call, since `Server` outlives its callbacks; texts and bytes live through it, too.
impl Handle {
    pub fn set(self, name: &str, value: &str) -> Result<()> {
        // SAFETY: see the head of this block.
        checked(unsafe { sw_server_set(self.raw, c_text(name).as_ptr(), c_text(value).as_ptr()) })
    }

    pub fn set_int(self, name: &str, value: i64) -> Result<()> {
        // SAFETY: see the head of this block.
        checked(unsafe { sw_server_set_int(self.raw, c_text(name).as_ptr(), value) })
    }

    pub fn set_json(self, json: &str) -> Result<()> {
        // SAFETY: see the head of this block.
        checked(unsafe { sw_server_set_json(self.raw, json.as_ptr().cast(), json.len()) })
    }

    pub fn get_setting(self, name: &str) -> Result<String> {
        let mut buffer = sw_buffer_t { data: std::ptr::null_mut(), len: 0 };
        // SAFETY: see the head of this block; the buffer is filled by the library.
        checked(unsafe { sw_server_get_setting(self.raw, c_text(name).as_ptr(), &mut buffer) })?;
        Ok(String::from_utf8_lossy(&take(buffer)).into_owned())
    }

    /// A callback for `start` also makes the harness report "ready" when it has returned.
    pub fn on(self, event: &str, callback: Callback) -> Result<()> {
        // `call_back` knows what the user data is.
        self.on_raw(event, Some(call_back), callback as *mut c_void)
    }

    /// Registers a callback as C has it.
    pub fn on_raw(
        self,
        event: &str,
        callback: sw_callback_t,
        user_data: *mut c_void,
    ) -> Result<()> {
        if pull::is_chosen(self) {
            return checked(pull::on(self, event, callback, user_data));
        }
        // SAFETY: see the head of this block; the callback gets what it was registered with.
        checked(unsafe { sw_server_on(self.raw, c_text(event).as_ptr(), callback, user_data) })
    }

    pub fn get_callback(self, event: &str) -> sw_callback_t {
        // SAFETY: see the head of this block.
        unsafe { sw_server_get_callback(self.raw, c_text(event).as_ptr()) }
    }

    pub fn start(self) -> Result<()> {
        if pull::is_chosen(self) {
            return pull::start(self);
        }
        // SAFETY: see the head of this block.
        checked(unsafe { sw_server_start(self.raw) })
    }

    pub fn is_running(self) -> bool {
        // SAFETY: any handle may be asked.
        unsafe { sw_server_is_running(self.raw) }
    }

    pub fn shutdown(self) -> Result<()> {
        // SAFETY: see the head of this block.
        checked(unsafe { sw_server_shutdown(self.raw) })
    }

    pub fn reload(self, only_task_workers: bool) -> Result<()> {
        // SAFETY: see the head of this block.
        checked(unsafe { sw_server_reload(self.raw, only_task_workers) })
    }

    pub fn stop(self, worker_id: i32, wait_event: bool) -> Result<()> {
        // SAFETY: see the head of this block.
        checked(unsafe { sw_server_stop(self.raw, worker_id, wait_event) })
    }

    pub fn send(self, fd: i64, data: &[u8]) -> Result<()> {
        // SAFETY: see the head of this block.
        checked(unsafe { sw_server_send(self.raw, fd, data.as_ptr().cast(), data.len()) })
    }

    pub fn close(self, fd: i64, reset: bool) -> Result<()> {
        // SAFETY: see the head of this block.
        checked(unsafe { sw_server_close(self.raw, fd, reset) })
    }

    pub fn exist(self, fd: i64) -> bool {
        // SAFETY: see the head of this block.
        unsafe { sw_server_exist(self.raw, fd) }
    }

    pub fn client_info(self, fd: i64, ignore_closed: bool) -> Result<sw_client_info_t> {
        // SAFETY: all-zero is a value of this type, which holds numbers and a text.
        let mut info: sw_client_info_t = unsafe { std::mem::zeroed() };
        // SAFETY: see the head of this block; the library fills the record.
        checked(unsafe { sw_server_get_client_info(self.raw, fd, &mut info, ignore_closed) })?;
        Ok(info)
    }

    pub fn client_list(self, start_fd: i64, page_size: i32) -> Result<Vec<i64>> {
        let mut page = vec![0; usize::try_from(page_size).unwrap_or(0)];
        // SAFETY: see the head of this block; the page has room for `page_size` ids.
        let count =
            unsafe { sw_server_get_client_list(self.raw, start_fd, page.as_mut_ptr(), page_size) };
        page.truncate(usize::try_from(count).map_err(|_| last_error())?);
        Ok(page)
    }

    pub fn stats(self) -> Result<sw_stats_t> {
        let mut stats = sw_stats_t::default();
        // SAFETY: see the head of this block; the library fills the record.
        checked(unsafe { sw_server_stats(self.raw, &mut stats) })?;
        Ok(stats)
    }

    pub fn last_error(self) -> i32 {
        // SAFETY: see the head of this block.
        unsafe { sw_server_get_last_error(self.raw) }
    }

    pub fn worker_id(self) -> i32 {
        // SAFETY: see the head of this block.
        unsafe { sw_server_get_worker_id(self.raw) }
    }

    pub fn worker_pid(self, worker_id: i32) -> i32 {
        // SAFETY: see the head of this block.
        unsafe { sw_server_get_worker_pid(self.raw, worker_id) }
    }

    /// 1 busy, 2 idle, 3 exiting.
    pub fn worker_status(self, worker_id: i32) -> Result<i32> {
        // SAFETY: see the head of this block.
        let status = unsafe { sw_server_get_worker_status(self.raw, worker_id) };
        checked(status > 0).map(|()| status)
    }

    pub fn manager_pid(self) -> i32 {
        // SAFETY: see the head of this block.
        unsafe { sw_server_get_manager_pid(self.raw) }
    }

    pub fn master_pid(self) -> i32 {
        // SAFETY: see the head of this block.
        unsafe { sw_server_get_master_pid(self.raw) }
    }

    pub fn mode(self) -> i32 {
        // SAFETY: see the head of this block.
        unsafe { sw_server_get_mode(self.raw) }
    }
}

/// The text `remote_ip` of a record.
pub fn remote_ip(info: &sw_client_info_t) -> String {
    // SAFETY: the library ends the text with a NUL inside the array.
    unsafe { text(info.remote_ip.as_ptr()) }
}

/// Copies the bytes of a buffer and gives it back.
fn take(mut buffer: sw_buffer_t) -> Vec<u8> {
    let bytes = if buffer.data.is_null() {
        Vec::new()
    } else {
        // SAFETY: the library filled the buffer with `len` bytes at `data`.
        unsafe { std::slice::from_raw_parts(buffer.data, buffer.len) }.to_vec()
    };
    // SAFETY: the buffer came from the library and is given back once.
    unsafe { sw_buffer_free(&mut buffer) };
    bytes
}
