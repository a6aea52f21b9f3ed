//! Connections: bytes and files for their peers.

use std::ffi::{c_char, c_void, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::callback::enter;
use super::handle::{borrow, bytes, guard, text_bytes};
use super::types::{sw_sent_fn_t, sw_server_t};
use crate::error::{code, Error};
use crate::model::SessionId;

/// Queues bytes for the peer of a connection, behind what was sent before. The bytes of one call
/// stay together. It never blocks: true means accepted, not delivered. The send with which
/// socket_buffer_size bytes or more wait for the peer is taken whole; from then on sends fail until
/// less waits, see the events bufferFull and bufferEmpty.
///
/// - `server`: the server.
/// - `fd`: the session id.
/// - `data`: the bytes; not NULL.
/// - `len`: at least 1; in SW_PROCESS mode at most output_buffer_size.
///
/// Returns: true if the bytes were taken.
///
/// Errors: SW_ERROR_NO_PAYLOAD (`len` is 0), SW_ERROR_DATA_LENGTH_TOO_LARGE,
/// SW_ERROR_OUTPUT_BUFFER_OVERFLOW (socket_buffer_size bytes wait for a slow peer already),
/// SW_ERROR_SESSION_INVALID_ID, SW_ERROR_SESSION_NOT_EXIST, SW_ERROR_SESSION_CLOSING (inside its
/// close callback), SW_ERROR_SESSION_CLOSED_BY_SERVER, SW_ERROR_SESSION_CLOSED_BY_CLIENT,
/// SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in callbacks, of any process.
///
/// Memory: the bytes are copied.
#[no_mangle]
pub extern "C" fn sw_server_send(
    server: *mut sw_server_t,
    fd: i64,
    data: *const c_void,
    len: usize,
) -> bool {
    guard(false, || {
        borrow(server)?.server.send(SessionId(fd), bytes(data, len)?)?;
        Ok(true)
    })
}

/// As sw_server_send; but where that would fail with SW_ERROR_OUTPUT_BUFFER_OVERFLOW, the bytes
/// wait until there is room, behind others of this process that wait for the same peer. A plain
/// send meanwhile may overtake them.
///
/// The function is called once, never inside this call: with 0 when the bytes were taken, with
/// ETIMEDOUT when they have waited for send_timeout, with ECONNRESET when the connection ended
/// before. If the process ends before, it is not called. A worker that leaves waits for it as for a
/// timer.
///
/// - `server`: the server.
/// - `fd`: the session id.
/// - `data`: the bytes; not NULL.
/// - `len`: at least 1; in SW_PROCESS mode at most output_buffer_size.
/// - `sent_fn`: the function; not NULL.
/// - `user_data`: handed to the function as it is; may be NULL.
///
/// Returns: true if the bytes were taken or wait; false: the function will not be called.
///
/// Errors: those of sw_server_send but SW_ERROR_OUTPUT_BUFFER_OVERFLOW.
///
/// Where: in callbacks, of any process.
///
/// Memory: the bytes are copied; `user_data` must live until the function was called.
#[no_mangle]
pub extern "C" fn sw_server_send_async(
    server: *mut sw_server_t,
    fd: i64,
    data: *const c_void,
    len: usize,
    sent_fn: sw_sent_fn_t,
    user_data: *mut c_void,
) -> bool {
    guard(false, || {
        let owner = &borrow(server)?.server;
        let call =
            sent_fn.ok_or_else(|| Error::new(code::INVALID_PARAMS, "the function is NULL"))?;
        let (server, user_data) = (server as usize, user_data as usize);
        let done = Box::new(move |error| {
            let (server, user_data) = (server as *mut sw_server_t, user_data as *mut c_void);
            enter("sent", || call(server, fd, error, user_data));
        });
        owner.send_async(SessionId(fd), bytes(data, len)?, done)?;
        Ok(true)
    })
}

/// Queues a part of a regular file for the peer of a connection, behind what was sent before; the
/// bytes never pass through this process. The file is opened when its turn comes and must stay as
/// it is until it has gone: if it is missing then or has become shorter, that is logged and the
/// connection is closed, since nothing else may stand in the place of the bytes. At most 1024 files
/// wait for one peer; their bytes do not count for socket_buffer_size.
///
/// - `server`: the server.
/// - `fd`: the session id.
/// - `path`: the file, any bytes; not NULL. A relative one begins where this process works. In
///   SW_PROCESS mode it is opened by the master, which does not see a chroot of the workers.
/// - `offset`: the first byte, 0 or more and less than the size of the file.
/// - `length`: how many bytes; 0: all that follow.
///
/// Returns: true if the part was accepted; it is not counted in response_count.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, a negative offset, or the file has not so many bytes),
/// SW_ERROR_SYSTEM_CALL_FAIL (no such file, not allowed, or the offset is not inside of it),
/// SW_ERROR_SERVER_IS_NOT_REGULAR_FILE, SW_ERROR_NAME_TOO_LONG, SW_ERROR_SERVER_SEND_IN_MASTER,
/// SW_ERROR_OUTPUT_BUFFER_OVERFLOW (1024 files wait), SW_ERROR_SESSION_INVALID_ID,
/// SW_ERROR_SESSION_NOT_EXIST, SW_ERROR_SESSION_CLOSING (inside its close callback),
/// SW_ERROR_SESSION_CLOSED_BY_SERVER, SW_ERROR_SESSION_CLOSED_BY_CLIENT, SW_ERROR_WRONG_OPERATION
/// (not running).
///
/// Where: in callbacks, of any process but the master.
///
/// Memory: the path is copied.
#[no_mangle]
pub extern "C" fn sw_server_sendfile(
    server: *mut sw_server_t,
    fd: i64,
    path: *const c_char,
    offset: i64,
    length: usize,
) -> bool {
    guard(false, || {
        let server = &borrow(server)?.server;
        let path = Path::new(OsStr::from_bytes(text_bytes("the path", path)?));
        server.send_file(SessionId(fd), path, offset, length)?;
        Ok(true)
    })
}

/// Sends bytes to the peer of a connection and waits until the system has taken all of them and
/// what was sent before. Nothing else happens in the worker meanwhile: it is for peers that are
/// near and fast.
///
/// - `server`: the server.
/// - `fd`: the session id, of a connection of this worker.
/// - `data`: the bytes; not NULL.
/// - `len`: at least 1.
///
/// Returns: true if every byte was written.
///
/// Errors: SW_ERROR_NO_PAYLOAD (`len` is 0), SW_ERROR_OPERATION_NOT_SUPPORT (SW_PROCESS mode, or no
/// event worker), SW_ERROR_SESSION_INVALID_ID, SW_ERROR_SESSION_NOT_EXIST, SW_ERROR_SESSION_CLOSING
/// (inside its close callback), SW_ERROR_SESSION_CLOSED_BY_SERVER,
/// SW_ERROR_SESSION_CLOSED_BY_CLIENT, SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (not
/// running), ETIMEDOUT (send_timeout has passed: if a part of the bytes has gone, the rest is
/// queued, else none is sent), or the errno that broke the connection.
///
/// Where: in callbacks of event workers, in SW_BASE and SW_THREAD mode.
///
/// Memory: the bytes are the caller's.
#[no_mangle]
pub extern "C" fn sw_server_sendwait(
    server: *mut sw_server_t,
    fd: i64,
    data: *const c_void,
    len: usize,
) -> bool {
    guard(false, || {
        borrow(server)?.server.send_and_wait(SessionId(fd), bytes(data, len)?)?;
        Ok(true)
    })
}
