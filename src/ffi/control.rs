//! What controls a connection: reading it or not, its user, how long it may be idle.

use std::ffi::c_int;

use super::handle::{borrow, guard};
use super::types::sw_server_t;
use crate::error::{code, Error};
use crate::model::SessionId;

/// Stops reading from a client. What the server sends still goes out, and what was read already
/// still arrives as receive events. That the client has gone is not noticed before the connection
/// is resumed, unless output fails. Pausing a paused connection does nothing.
///
/// - `server`: the server.
/// - `fd`: the session id.
///
/// Returns: true if the connection is open; from another process it is paused a little later.
///
/// Errors: SW_ERROR_SESSION_NOT_EXIST (not open), SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in callbacks, of any process; in SW_BASE mode in the worker that owns the connection.
#[no_mangle]
pub extern "C" fn sw_server_pause(server: *mut sw_server_t, fd: i64) -> bool {
    guard(false, || {
        borrow(server)?.server.pause(SessionId(fd))?;
        Ok(true)
    })
}

/// Reads from a paused client again: what has come meanwhile arrives now, in order. Resuming a
/// connection that is not paused does nothing.
///
/// - `server`: the server.
/// - `fd`: the session id.
///
/// Returns: true if the connection is open; from another process it is resumed a little later.
///
/// Errors: SW_ERROR_SESSION_NOT_EXIST (not open), SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in callbacks, of any process; in SW_BASE mode in the worker that owns the connection.
#[no_mangle]
pub extern "C" fn sw_server_resume(server: *mut sw_server_t, fd: i64) -> bool {
    guard(false, || {
        borrow(server)?.server.resume(SessionId(fd))?;
        Ok(true)
    })
}

/// Exempts a connection from being closed for being idle, by the heartbeat or by max_idle_time, or
/// no longer.
///
/// - `server`: the server.
/// - `fd`: the session id.
/// - `is_protected`: true exempts it, false ends that.
///
/// Returns: true if the connection is open.
///
/// Errors: SW_ERROR_SESSION_NOT_EXIST (not open), SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in callbacks, of any process; in SW_BASE mode in the worker that owns the connection.
#[no_mangle]
pub extern "C" fn sw_server_protect(server: *mut sw_server_t, fd: i64, is_protected: bool) -> bool {
    guard(false, || {
        borrow(server)?.server.protect(SessionId(fd), is_protected)?;
        Ok(true)
    })
}

/// Begins to read from a client. With enable_delay_receive a new connection only has its connect
/// event, and nothing is read before it is confirmed; what has come meanwhile arrives then.
///
/// - `server`: the server.
/// - `fd`: the session id.
///
/// Returns: true for the one call that confirms the connection.
///
/// Errors: SW_ERROR_WRONG_OPERATION (confirmed already, or it never waited for that; or not
/// running), SW_ERROR_SESSION_INVALID_ID, SW_ERROR_SESSION_NOT_EXIST,
/// SW_ERROR_SESSION_CLOSED_BY_SERVER, SW_ERROR_SESSION_CLOSED (by the client, or while it is being
/// closed).
///
/// Where: in callbacks, of any process; in SW_BASE mode in the worker that owns the connection.
#[no_mangle]
pub extern "C" fn sw_server_confirm(server: *mut sw_server_t, fd: i64) -> bool {
    guard(false, || {
        borrow(server)?.server.confirm(SessionId(fd))?;
        Ok(true)
    })
}

/// Binds a connection to a user of the program, once in its life. The number is shown in the
/// information on the connection.
///
/// - `server`: the server.
/// - `fd`: the session id.
/// - `uid`: -2147483648 to 4294967295, not 0; a negative number is shown as its two's complement of
///   32 bits.
///
/// Returns: true if the connection is bound now; false if it was already.
///
/// Errors: SW_ERROR_INVALID_PARAMS (`uid`), SW_ERROR_SESSION_NOT_EXIST (not open),
/// SW_ERROR_WRONG_OPERATION (bound already, or not running).
///
/// Where: in callbacks, of any process; in SW_BASE mode in the worker that owns the connection.
#[no_mangle]
pub extern "C" fn sw_server_bind(server: *mut sw_server_t, fd: i64, uid: i64) -> bool {
    guard(false, || {
        borrow(server)?.server.bind(SessionId(fd), uid)?;
        Ok(true)
    })
}

/// Looks for connections whose clients have sent nothing for the heartbeat_idle_time of their port.
/// Those that are protected are left out.
///
/// - `server`: the server.
/// - `close_them`: true closes those that are found, as sw_server_close() does.
/// - `fds`: is filled with their ids, ascending; room for `capacity` of them.
/// - `capacity`: 1 or more; not more connections than this are looked for, nor closed.
///
/// Returns: how many were found; 0 if there are none; -1 on an error.
///
/// Errors: SW_ERROR_OPERATION_NOT_SUPPORT (no heartbeat is configured), SW_ERROR_INVALID_PARAMS
/// (NULL, or a capacity below 1), SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in callbacks, of any process; in SW_BASE mode a worker sees its own connections alone.
///
/// Memory: `fds` is the caller's and holds copies.
#[no_mangle]
pub extern "C" fn sw_server_heartbeat(
    server: *mut sw_server_t,
    close_them: bool,
    fds: *mut i64,
    capacity: c_int,
) -> c_int {
    guard(-1, || {
        let server = &borrow(server)?.server;
        let most = usize::try_from(capacity).ok().filter(|most| *most > 0 && !fds.is_null());
        let most = most.ok_or_else(|| {
            let text = format!("there is no room for ids: fds is NULL or capacity is {capacity}");
            Error::new(code::INVALID_PARAMS, text)
        })?;
        let count = server.heartbeat(close_them, most, |index, session| {
            // SAFETY: not NULL, and fewer than `capacity` ids have been written, for which there is
            // room as the header asks.
            unsafe { fds.add(index).write(session.0) };
        })?;
        Ok(count as c_int)
    })
}
