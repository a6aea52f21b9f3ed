//! Connections: close, look up, list.

use std::ffi::{c_char, c_int};

use super::handle::{borrow, fill, guard};
use super::library::buffer_of;
use super::types::{sw_buffer_t, sw_client_info_t, sw_server_t, SW_REMOTE_IP_SIZE};
use crate::error::{code, Error, Result};
use crate::model::SessionId;
use crate::server::connection::{ClientInfo, LARGEST_PAGE};

const NS_PER_S: u64 = 1_000_000_000;

/// Closes a connection. In the worker of the connection its close callback runs inside this call,
/// but behind sw_server_launch as soon as the event in hand is done; from elsewhere the request is
/// forwarded and runs there.
///
/// - `server`: the server.
/// - `fd`: the session id.
/// - `reset`: false sends what is queued first; true throws it away and closes at once, also after
///   a close whose output is still queued.
///
/// Returns: true if it was closed or the request was forwarded.
///
/// Errors: SW_ERROR_SESSION_INVALID_ID, SW_ERROR_SESSION_NOT_EXIST, SW_ERROR_SESSION_CLOSED,
/// SW_ERROR_SESSION_CLOSING (inside its close callback), SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in callbacks, of any process.
#[no_mangle]
pub extern "C" fn sw_server_close(server: *mut sw_server_t, fd: i64, reset: bool) -> bool {
    guard(false, || {
        borrow(server)?.server.close(SessionId(fd), reset)?;
        Ok(true)
    })
}

/// Tells whether a connection is open: neither closed nor being closed. No system call is made.
///
/// - `server`: the server.
/// - `fd`: the session id.
///
/// Returns: true if it is open.
///
/// Errors: SW_ERROR_SESSION_NOT_EXIST, SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in callbacks, of any process; in SW_BASE mode a worker sees its own connections alone.
#[no_mangle]
pub extern "C" fn sw_server_exist(server: *mut sw_server_t, fd: i64) -> bool {
    guard(false, || {
        borrow(server)?.server.exist(SessionId(fd))?;
        Ok(true)
    })
}

/// Tells what is known of a connection.
///
/// - `server`: the server.
/// - `fd`: the session id.
/// - `out`: is filled; not NULL.
/// - `ignore_closed`: true also tells of a closed connection while its record is held. Inside its
///   own close callback it is always told.
///
/// Returns: true if `out` was filled.
///
/// Errors: SW_ERROR_SESSION_NOT_EXIST, SW_ERROR_SESSION_INVALID_ID, SW_ERROR_INVALID_PARAMS (NULL),
/// SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in callbacks, of any process; in SW_BASE mode a worker sees its own connections alone.
///
/// Memory: `out` is a copy.
#[no_mangle]
pub extern "C" fn sw_server_get_client_info(
    server: *mut sw_server_t,
    fd: i64,
    out: *mut sw_client_info_t,
    ignore_closed: bool,
) -> bool {
    guard(false, || {
        let info = borrow(server)?.server.client_info(SessionId(fd), ignore_closed)?;
        fill("out", out, translate(&info))?;
        Ok(true)
    })
}

/// The certificate that the peer of a connection to a port with SW_SSL has shown, as PEM.
///
/// - `server`: the server.
/// - `fd`: the session id.
/// - `out`: is filled; not NULL.
///
/// Returns: true if `out` was filled.
///
/// Errors: SW_ERROR_SSL_EMPTY_PEER_CERTIFICATE (the peer has shown none, the port has no
/// `ssl_client_cert_file`, or the connection is not one of this worker), SW_ERROR_INVALID_PARAMS
/// (NULL), SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in the worker of the connection, from its connect callback to its close callback.
///
/// Memory: `out` is the caller's, who gives it to sw_buffer_free.
#[no_mangle]
pub extern "C" fn sw_server_get_client_cert(
    server: *mut sw_server_t,
    fd: i64,
    out: *mut sw_buffer_t,
) -> bool {
    guard(false, || {
        let server = &borrow(server)?.server;
        if out.is_null() {
            return Err(Error::new(code::INVALID_PARAMS, "out is NULL"));
        }
        fill("out", out, buffer_of(&server.client_certificate(SessionId(fd))?))?;
        Ok(true)
    })
}

/// Lists open connections in ascending order of their ids.
///
/// - `server`: the server.
/// - `start_fd`: list ids above this one, which must be a live connection; 0 begins at the front.
/// - `fds`: is filled with ids; room for `page_size` of them.
/// - `page_size`: 1 to 100.
///
/// Returns: how many ids were written; 0 if there are no more; -1 on an error.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, or a page size outside of its range),
/// SW_ERROR_SESSION_NOT_EXIST (`start_fd`), SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in callbacks, of any process; in SW_BASE mode a worker sees its own connections alone.
///
/// Memory: `fds` is the caller's and holds copies.
#[no_mangle]
pub extern "C" fn sw_server_get_client_list(
    server: *mut sw_server_t,
    start_fd: i64,
    fds: *mut i64,
    page_size: c_int,
) -> c_int {
    guard(-1, || {
        let server = &borrow(server)?.server;
        fill_page(fds, page_size, |page| server.client_list(SessionId(start_fd), page))
    })
}

/// Fills a page of ids; how many there were.
pub(super) fn fill_page(
    fds: *mut i64,
    page_size: c_int,
    list: impl FnOnce(&mut [i64]) -> Result<usize>,
) -> Result<c_int> {
    let wanted = usize::try_from(page_size).ok().filter(|n| (1..=LARGEST_PAGE).contains(n));
    let wanted = wanted.ok_or_else(|| {
        let text = format!("page_size {page_size} is not in the range 1 to {LARGEST_PAGE}");
        Error::new(code::INVALID_PARAMS, text)
    })?;
    if fds.is_null() {
        return Err(Error::new(code::INVALID_PARAMS, "fds is NULL"));
    }
    let mut page = [0_i64; LARGEST_PAGE];
    let count = list(page.get_mut(..wanted).unwrap_or_default())?;
    for (index, id) in page.iter().take(count).enumerate() {
        // SAFETY: not NULL, and at most `page_size` ids are written, for which there is room as the
        // header asks.
        unsafe { fds.add(index).write(*id) };
    }
    Ok(count as c_int)
}

fn translate(info: &ClientInfo) -> sw_client_info_t {
    let seconds = |ns: u64| ns as f64 / NS_PER_S as f64;
    let mut remote_ip = [0 as c_char; SW_REMOTE_IP_SIZE];
    let text = info.remote_ip.bytes().take(SW_REMOTE_IP_SIZE - 1);
    for (place, byte) in remote_ip.iter_mut().zip(text) {
        *place = byte as c_char;
    }
    sw_client_info_t {
        server_port: info.server_port,
        server_fd: info.server_fd,
        socket_fd: info.socket_fd,
        socket_type: info.socket_type,
        remote_port: info.remote_port,
        reactor_id: info.reactor_number,
        connect_time: (info.connect_ns / NS_PER_S) as i64,
        last_time: (info.last_recv_ns / NS_PER_S) as i64,
        last_recv_time: seconds(info.last_recv_ns),
        last_send_time: seconds(info.last_send_ns),
        last_dispatch_time: seconds(info.last_dispatch_ns),
        recv_queued_bytes: info.recv_queued_bytes,
        send_queued_bytes: info.send_queued_bytes,
        close_errno: info.close_errno,
        websocket_status: info.upgrade as i32,
        worker_id: info.worker.map_or(-1, |worker| i32::from(worker.0)),
        uid: info.uid.unwrap_or(0),
        has_uid: info.uid.is_some(),
        remote_ip,
    }
}
