//! Every error of the library once: its number, its name and what it means.
//!
//! Inside, a failure is an [`Error`]: a number and one sentence. Where it crosses into C it becomes
//! the last error of the calling thread ([`set_last`]), which `sw_last_error` and
//! `sw_last_error_message` read back. Numbers below 500 are `errno` values of the system.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};
use std::fmt;
use std::io;

/// Declares the table: the constants, and the list that [`text`] and [`name`] walk.
macro_rules! error_table {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        /// The numbers of the library's own errors.
        pub mod code {
            $(#[doc = $text] pub const $name: i32 = $number;)*
        }
        const TABLE: &[(i32, &str, &CStr)] = &[
            $(($number, stringify!($name), c_text(concat!($text, "\0"))),)*
        ];
    };
}

const fn c_text(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("an error text holds a NUL byte"),
    }
}

error_table! {
    MALLOC_FAIL = 501, "memory could not be allocated or shared";
    SYSTEM_CALL_FAIL = 502, "a system call failed";
    FATAL_ERROR = 503, "a fatal error of the embedding program";
    NAME_TOO_LONG = 504, "a host, path or file name is too long";
    INVALID_PARAMS = 505, "an argument is out of range";
    QUEUE_FULL = 506, "an internal queue is full";
    OPERATION_NOT_SUPPORT = 507, "not supported in this mode or process";
    PROTOCOL_ERROR = 508, "the peer sent malformed data";
    WRONG_OPERATION = 509, "not allowed in this phase or process";
    RUNTIME_NOTICE = 510, "a notice, nothing failed";
    FOR_TEST = 511, "reserved for tests";
    NO_PAYLOAD = 550, "there are no bytes to send";
    UNDEFINED_BEHAVIOR = 600, "the behaviour of this call is undefined";
    NOT_THREAD_SAFETY = 601, "the call is not safe between threads";
    FILE_NOT_EXIST = 700, "the file does not exist";
    FILE_TOO_LARGE = 701, "the file is too large";
    FILE_EMPTY = 702, "the file is empty";
    DIR_NOT_EXIST = 703, "the directory does not exist";
    DNSLOOKUP_DUPLICATE_REQUEST = 710, "the same name is being looked up already";
    DNSLOOKUP_RESOLVE_FAILED = 711, "the name could not be resolved";
    DNSLOOKUP_RESOLVE_TIMEOUT = 712, "resolving the name took too long";
    DNSLOOKUP_UNSUPPORTED = 713, "this kind of name look-up is not supported";
    DNSLOOKUP_NO_SERVER = 714, "no name server is known";
    BAD_IPV6_ADDRESS = 720, "not an IPv6 address";
    UNREGISTERED_SIGNAL = 721, "a signal came that nobody waits for";
    BAD_HOST_ADDR = 722, "not a usable host address";
    BAD_PORT = 723, "not a port number";
    BAD_SOCKET_TYPE = 724, "not a socket type";
    EVENT_REMOVE_FAILED = 800, "the descriptor could not be taken out of the event loop";
    EVENT_ADD_FAILED = 801, "the descriptor could not be added to the event loop";
    EVENT_UPDATE_FAILED = 802, "the descriptor could not be changed in the event loop";
    EVENT_UNKNOWN_DATA = 803, "the event loop reported something unknown";
    SESSION_CLOSED_BY_SERVER = 1001, "the server has closed this connection";
    SESSION_CLOSED_BY_CLIENT = 1002, "the client has closed this connection";
    SESSION_CLOSING = 1003, "this connection is being closed";
    SESSION_CLOSED = 1004, "this connection is closed";
    SESSION_NOT_EXIST = 1005, "there is no such connection";
    SESSION_INVALID_ID = 1006, "not a connection id";
    SESSION_DISCARD_TIMEOUT_DATA = 1007, "bytes of a closed connection were thrown away";
    OUTPUT_BUFFER_OVERFLOW = 1008, "the send buffer of the connection is full";
    SESSION_DISCARD_DATA = 1009, "data for a dead connection was thrown away";
    OUTPUT_SEND_YIELD = 1010, "the sender should wait and try again";
    SSL_NOT_READY = 1011, "the TLS handshake is not finished";
    SSL_CANNOT_USE_SENDFILE = 1012, "a file cannot be sent this way over TLS";
    SSL_EMPTY_PEER_CERTIFICATE = 1013, "the peer gave no certificate";
    SSL_VERIFY_FAILED = 1014, "the certificate of the peer could not be verified";
    SSL_BAD_CLIENT = 1015, "the client does not speak TLS properly";
    SSL_BAD_PROTOCOL = 1016, "no common TLS protocol";
    SSL_RESET = 1017, "the peer broke off the TLS connection";
    SSL_HANDSHAKE_FAILED = 1018, "the TLS handshake failed";
    SSL_CREATE_CONTEXT_FAILED = 1019, "the TLS settings could not be used";
    SSL_CREATE_SESSION_FAILED = 1020, "a TLS session could not be made";
    PACKAGE_LENGTH_TOO_LARGE = 1201, "a packet exceeds package_max_length";
    DATA_LENGTH_TOO_LARGE = 1202, "the data exceeds the output buffer limit";
    PACKAGE_LENGTH_NOT_FOUND = 1203, "the length of a packet was not found";
    PACKAGE_MALFORMED_DATA = 1204, "a packet is malformed";
    TASK_PACKAGE_TOO_BIG = 2001, "the task is too big";
    TASK_DISPATCH_FAIL = 2002, "no task could be handed over";
    TASK_TIMEOUT = 2003, "the task was not done in time";
    AIO_BAD_REQUEST = 4001, "a bad request for a file operation";
    AIO_CANCELED = 4002, "the file operation was cancelled";
    AIO_TIMEOUT = 4003, "the file operation took too long";
    CLIENT_NO_CONNECTION = 5001, "the client is not connected";
    SOCKET_CLOSED = 6001, "the socket is closed";
    SOCKET_POLL_TIMEOUT = 6002, "waiting for the socket took too long";
    SOCKET_NOT_EXISTS = 6003, "there is no such socket";
    WEBSOCKET_BAD_CLIENT = 8501, "the peer is not a WebSocket client";
    WEBSOCKET_BAD_OPCODE = 8502, "not a WebSocket opcode";
    WEBSOCKET_UNCONNECTED = 8503, "there is no WebSocket connection";
    WEBSOCKET_HANDSHAKE_FAILED = 8504, "the WebSocket handshake failed";
    WEBSOCKET_PACK_FAILED = 8505, "a WebSocket frame could not be made";
    WEBSOCKET_UNPACK_FAILED = 8506, "a WebSocket frame could not be read";
    WEBSOCKET_INCOMPLETE_PACKET = 8507, "a WebSocket frame is not complete";
    SERVER_MUST_CREATED_BEFORE_CLIENT = 9001, "the server must be made before the client";
    SERVER_TOO_MANY_SOCKET = 9002, "too many connections";
    SERVER_WORKER_TERMINATED = 9003, "the worker has ended";
    SERVER_INVALID_LISTEN_PORT = 9004, "a port must be from 0 to 65535";
    SERVER_TOO_MANY_LISTEN_PORT = 9005, "too many listening ports";
    SERVER_PIPE_BUFFER_FULL = 9006, "the buffer to another process is full";
    SERVER_NO_IDLE_WORKER = 9007, "no worker is idle, more workers are needed";
    SERVER_ONLY_START_ONE = 9008, "another server runs in this process";
    SERVER_SEND_IN_MASTER = 9009, "not possible in the master process";
    SERVER_INVALID_REQUEST = 9010, "not a valid request";
    SERVER_CONNECT_FAIL = 9011, "the connection could not be made";
    SERVER_INVALID_COMMAND = 9012, "there is no such command";
    SERVER_IS_NOT_REGULAR_FILE = 9013, "not a regular file";
    SERVER_SEND_TO_WORKER_TIMEOUT = 9014, "the worker did not take the data in time";
    SERVER_INVALID_CALLBACK = 9015, "a needed callback is missing or one is not allowed here";
    SERVER_UNRELATED_THREAD = 9016, "called from a thread that does not own the object";
    SERVER_WORKER_EXIT_TIMEOUT = 9101, "the exit took longer than max_wait_time and was forced";
    SERVER_WORKER_ABNORMAL_PIPE_DATA = 9102, "an internal message could not be understood";
    SERVER_WORKER_UNPROCESSED_DATA = 9103, "a worker ended with unhandled messages";
}

/// What went wrong: a number of [`code`] or an `errno`, and one sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: i32,
    message: Cow<'static, str>,
}

/// The result of everything in the library that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of the library's own table.
    pub fn new(code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// A failed system call: `what` says which, with the value it was tried on.
    pub fn system(what: &str, cause: &io::Error) -> Self {
        let code = cause.raw_os_error().unwrap_or(code::SYSTEM_CALL_FAIL);
        Self { code, message: format!("{what}: {}", describe(code)).into() }
    }

    /// The number that `sw_last_error` reports.
    pub fn code(&self) -> i32 {
        self.code
    }

    /// The sentence that `sw_last_error_message` reports.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (error {})", self.message, self.code)
    }
}

impl std::error::Error for Error {}

fn row(code: i32) -> Option<&'static (i32, &'static str, &'static CStr)> {
    TABLE.binary_search_by_key(&code, |row| row.0).ok().and_then(|index| TABLE.get(index))
}

/// The text of one of the library's own errors, `None` for any other number.
pub fn text(code: i32) -> Option<&'static CStr> {
    row(code).map(|row| row.2)
}

/// The name of one of the library's own errors, `None` for any other number.
pub fn name(code: i32) -> Option<&'static str> {
    row(code).map(|row| row.1)
}

/// The text of any error number, of the library or of the system.
pub fn describe(code: i32) -> String {
    match text(code) {
        Some(text) => text.to_string_lossy().into_owned(),
        None if code == 0 => "no error".to_owned(),
        None if (1..500).contains(&code) => {
            let words = io::Error::from_raw_os_error(code).to_string();
            // The system's own words come with " (os error N)" behind them.
            let words = words.split(" (os error").next().unwrap_or(&words);
            // It has words for a number without a meaning, too; they are ours for any other.
            words.replace("Unknown error", "unknown error")
        }
        None => format!("unknown error {code}"),
    }
}

thread_local! {
    static LAST_CODE: Cell<i32> = const { Cell::new(0) };
    static LAST_MESSAGE: RefCell<CString> = RefCell::new(CString::default());
}

/// Makes `error` the last error of this thread.
pub fn set_last(error: &Error) {
    let bytes: Vec<u8> = error.message.bytes().filter(|byte| *byte != 0).collect();
    LAST_CODE.with(|code| code.set(error.code));
    LAST_MESSAGE.with(|message| {
        if let Ok(mut message) = message.try_borrow_mut() {
            *message = CString::new(bytes).unwrap_or_default();
        }
    });
}

/// Forgets the last error of this thread, as entering `start` and each worker start do.
pub fn clear_last() {
    LAST_CODE.with(|code| code.set(0));
    LAST_MESSAGE.with(|message| {
        if let Ok(mut message) = message.try_borrow_mut() {
            *message = CString::default();
        }
    });
}

/// The number of the last error of this thread, 0 if there was none.
pub fn last_code() -> i32 {
    LAST_CODE.with(Cell::get)
}

/// Hands the sentence of this thread's last error to `read`; empty if there was none.
pub fn with_last_message<R>(read: impl FnOnce(&CStr) -> R) -> R {
    LAST_MESSAGE.with(|message| match message.try_borrow() {
        Ok(message) => read(&message),
        Err(_) => read(CStr::from_bytes_with_nul(b"\0").unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_each_number_stands_once() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn numbers_of_both_families_have_words() {
        assert_eq!(name(1008), Some("OUTPUT_BUFFER_OVERFLOW"));
        assert_eq!(describe(0), "no error");
        assert_eq!(describe(libc::EADDRINUSE), "Address already in use");
        assert_eq!(describe(77777), "unknown error 77777");
    }

    #[test]
    fn the_last_error_stays_until_the_next_one_or_a_reset() {
        set_last(&Error::new(code::INVALID_PARAMS, "mode is 7"));
        assert_eq!(last_code(), 505);
        with_last_message(|text| assert_eq!(text.to_str(), Ok("mode is 7")));
        clear_last();
        assert_eq!(last_code(), 0);
        with_last_message(|text| assert!(text.is_empty()));
    }
}
