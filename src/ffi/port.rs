//! Ports: add, set up, ask.

use std::ffi::{c_char, c_int, c_void, CString};
use std::sync::Arc;

use parking_lot::RwLock;

use super::callback::enter;
use super::connection::fill_page;
use super::handle::{borrow, bytes, fill, guard, text, text_or_bytes};
use super::server::hook_of;
use super::status::translate;
use super::types::{sw_callback_t, sw_length_fn_t, sw_port_t, sw_server_t, sw_stats_t};
use crate::error::{code, Error, Result};
use crate::model::SessionId;
use crate::server::Server;

/// What a C handle points to.
struct Handle {
    server: *mut sw_server_t,
    index: usize,
    host: CString,
}

/// The handles that were made and not freed.
static LIVE: RwLock<Vec<usize>> = RwLock::new(Vec::new());

/// A port handle that belongs to a server and is freed with it.
pub struct OwnedPort(usize);

impl Drop for OwnedPort {
    fn drop(&mut self) {
        LIVE.write().retain(|address| *address != self.0);
        // SAFETY: the address came from `Box::into_raw` in `give`; it has one owner, and it is not
        // found among the living any more.
        drop(unsafe { Box::from_raw(self.0 as *mut Handle) });
    }
}

/// The handle of a port of a server, always the same one.
fn give(server: *mut sw_server_t, index: usize) -> Result<*mut sw_port_t> {
    let owner = borrow(server)?;
    let host = owner.server.port_host(index)?;
    let mut ports = owner.ports.lock();
    if ports.len() <= index {
        ports.resize_with(index + 1, || None);
    }
    let Some(place) = ports.get_mut(index) else {
        return Err(Error::new(code::MALLOC_FAIL, "there is no memory for a port"));
    };
    let owned = place.get_or_insert_with(|| {
        // The system takes no host with a NUL in it.
        let host = CString::new(host).unwrap_or_default();
        let pointer = Box::into_raw(Box::new(Handle { server, index, host }));
        LIVE.write().push(pointer as usize);
        OwnedPort(pointer as usize)
    });
    Ok(owned.0 as *mut sw_port_t)
}

/// The handle behind a pointer that a C program gave.
fn look_up<'a>(port: *const sw_port_t) -> Result<&'a Handle> {
    if port.is_null() {
        return Err(Error::new(code::INVALID_PARAMS, "the port is NULL"));
    }
    if !LIVE.read().contains(&(port as usize)) {
        let text = "this is no port: its server was freed, or no call has given it";
        return Err(Error::new(code::INVALID_PARAMS, text));
    }
    // SAFETY: the address is that of a handle that was made and not freed. The C program frees no
    // server while another thread is inside a call on its ports, as the header says.
    Ok(unsafe { &*port.cast::<Handle>() })
}

/// Runs the body of a C function on the server of a port and the index of the port.
fn with_port<R>(
    port: *const sw_port_t,
    failure: R,
    act: impl FnOnce(&Server, usize) -> Result<R>,
) -> R {
    guard(failure, || {
        let handle = look_up(port)?;
        act(&borrow(handle.server)?.server, handle.index)
    })
}

/// Adds a port to a server. The socket is made and bound here, not at start.
///
/// - `server`: the server.
/// - `host`: as in sw_server_new, but for "SYSTEMD"; not NULL.
/// - `port`: 0 to 65535; 0 lets the system choose. Ignored for unix types.
/// - `sock_type`: one of SW_SOCK_TCP to SW_SOCK_UNIX_DGRAM; a stream type may have `| SW_SSL`, and
///   needs a certificate at start then. SW_SSL with a datagram type is refused at start.
///
/// Returns: the port, or NULL.
///
/// Errors: SW_ERROR_WRONG_OPERATION (after start), SW_ERROR_SERVER_TOO_MANY_LISTEN_PORT,
/// SW_ERROR_SERVER_INVALID_LISTEN_PORT, SW_ERROR_NAME_TOO_LONG, SW_ERROR_BAD_HOST_ADDR,
/// SW_ERROR_BAD_IPV6_ADDRESS, SW_ERROR_BAD_SOCKET_TYPE, SW_ERROR_INVALID_PARAMS (NULL), or
/// the errno of the system, such as EADDRINUSE, also if another port of the server has the address.
///
/// Where: before start, any thread.
///
/// Memory: the port belongs to the server and is valid until sw_server_free.
#[no_mangle]
pub extern "C" fn sw_server_add_listener(
    server: *mut sw_server_t,
    host: *const c_char,
    port: c_int,
    sock_type: c_int,
) -> *mut sw_port_t {
    guard(std::ptr::null_mut(), || {
        let owner = &borrow(server)?.server;
        give(server, owner.add_listener(text("host", host)?, port, sock_type)?)
    })
}

/// The same as sw_server_add_listener.
///
/// - `server`: the server.
/// - `host`: see there.
/// - `port`: see there.
/// - `sock_type`: see there.
///
/// Returns: the port, or NULL.
///
/// Errors: see there.
///
/// Where: before start, any thread.
///
/// Memory: the port belongs to the server and is valid until sw_server_free.
#[no_mangle]
pub extern "C" fn sw_server_listen(
    server: *mut sw_server_t,
    host: *const c_char,
    port: c_int,
    sock_type: c_int,
) -> *mut sw_port_t {
    sw_server_add_listener(server, host, port, sock_type)
}

/// A port of a server.
///
/// - `server`: the server.
/// - `index`: 0 is the port that the server was made with, the others follow as they were added.
///
/// Returns: the port, the same pointer each time; NULL past the last one.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, or there is no such port).
///
/// Where: any process, phase and thread.
///
/// Memory: the port belongs to the server and is valid until sw_server_free.
#[no_mangle]
pub extern "C" fn sw_server_port(server: *const sw_server_t, index: usize) -> *mut sw_port_t {
    guard(std::ptr::null_mut(), || give(server.cast_mut(), index))
}

/// Takes a setting of a port. A port for which this was never called has the settings of its
/// server; for one that was set only what was set here counts, and defaults for the rest. The first
/// port has what is set for the server in either case. A call that fails sets nothing, and does not
/// count as one.
///
/// - `port`: the port.
/// - `name`: the name, in any case; not NULL. One that no port has does nothing.
/// - `value`: as in sw_server_set; not NULL.
///
/// Returns: true, also for an unknown name, which is logged.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, or a value that is none), SW_ERROR_WRONG_OPERATION (after
/// start), or the errno of the system (`ipv6_only` binds the address anew).
///
/// Where: before start, any thread.
///
/// Memory: name and value are copied.
#[no_mangle]
pub extern "C" fn sw_port_set(
    port: *mut sw_port_t,
    name: *const c_char,
    value: *const c_char,
) -> bool {
    with_port(port, false, |server, index| {
        let name = text("the name of the setting", name)?;
        server.port_set(index, name, text_or_bytes("the value of the setting", value)?)?;
        Ok(true)
    })
}

/// Takes a setting of a port as a number; see sw_port_set.
///
/// - `port`: the port.
/// - `name`: the name, in any case; not NULL.
/// - `value`: is moved into the range of the setting.
///
/// Returns: true, also for an unknown name, which is logged.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (after start).
///
/// Where: before start, any thread.
///
/// Memory: the name is copied.
#[no_mangle]
pub extern "C" fn sw_port_set_int(port: *mut sw_port_t, name: *const c_char, value: i64) -> bool {
    with_port(port, false, |server, index| {
        server.port_set_int(index, text("the name of the setting", name)?, value)?;
        Ok(true)
    })
}

/// Takes a JSON object of settings of a port, all of them or none, in their order; see sw_port_set
/// and sw_server_set_json.
///
/// - `port`: the port.
/// - `json`: the text; NULL with a length of 0 only, which is no object.
/// - `len`: its bytes.
///
/// Returns: true if they were taken; unknown names are logged.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, no JSON object, or a value that is none),
/// SW_ERROR_WRONG_OPERATION (after start).
///
/// Where: before start, any thread.
///
/// Memory: the text is copied.
#[no_mangle]
pub extern "C" fn sw_port_set_json(port: *mut sw_port_t, json: *const c_char, len: usize) -> bool {
    with_port(port, false, |server, index| {
        server.port_set_json(index, bytes(json.cast(), len)?)?;
        Ok(true)
    })
}

/// Has a function tell the lengths of the messages on a port. It stands for the settings
/// `package_length_type`, `package_length_offset` and `package_body_offset`, and is used if
/// `open_length_check` is on.
///
/// - `port`: the port. Set for the first port it holds for all ports that have the settings of the
///   server, see sw_port_set.
/// - `callback`: what is asked, with the bytes that were received and not handed over, 8152 at the
///   most. If it cannot tell with so many the connection is closed. Not NULL.
/// - `user_data`: handed to the callback as it is; may be NULL.
///
/// The callback runs where connections are read: in SW_PROCESS mode in a reactor thread of the
/// master, in several at the same time; else in the worker. All connections of that thread wait
/// for it, so it should look at the bytes and return. An exception that leaves it ends its process.
///
/// Returns: true if it was set.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (after start).
///
/// Where: before start, any thread.
///
/// Memory: `user_data` stays the caller's and must live as long as the server.
#[no_mangle]
pub extern "C" fn sw_port_set_length_func(
    port: *mut sw_port_t,
    callback: sw_length_fn_t,
    user_data: *mut c_void,
) -> bool {
    with_port(port, false, |server, index| {
        let call = callback
            .ok_or_else(|| Error::new(code::INVALID_PARAMS, "the length function is NULL"))?;
        // As a number it can be handed to whichever thread reads.
        let user_data = user_data as usize;
        let length_fn = move |bytes: &[u8]| {
            let user_data = user_data as *mut c_void;
            enter("length", || call(bytes.as_ptr(), bytes.len(), user_data))
        };
        server.port_set_length_fn(index, Arc::new(length_fn))?;
        Ok(true)
    })
}

/// Registers the callback of an event of a port, in place of an earlier one. For an event without
/// a callback of its own, a port has that of the first port, which is that of the server.
///
/// - `port`: the port.
/// - `event`: the name in any case, without "on": connect, receive, close, packet, bufferFull,
///   bufferEmpty.
/// - `callback`: what is called; not NULL.
/// - `user_data`: handed to the callback as it is; may be NULL.
///
/// Returns: true if it was registered.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, no such event, or an event of the server),
/// SW_ERROR_WRONG_OPERATION (after start).
///
/// Where: before start, any thread.
///
/// Memory: the name is copied; `user_data` stays the caller's and must live as long as the server.
#[no_mangle]
pub extern "C" fn sw_port_on(
    port: *mut sw_port_t,
    event: *const c_char,
    callback: sw_callback_t,
    user_data: *mut c_void,
) -> bool {
    guard(false, || {
        let handle = look_up(port)?;
        let owner = borrow(handle.server)?;
        let name = text("the name of the event", event)?;
        let hook = hook_of(handle.server, callback, user_data)?;
        let kind = owner.server.port_on(handle.index, name, hook)?;
        if let (0, Some(place)) = (handle.index, owner.callbacks.lock().get_mut(kind as usize)) {
            *place = callback;
        }
        Ok(true)
    })
}

/// The host or path that a port was made with.
///
/// - `port`: the port.
///
/// Returns: a text; NULL on an error.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, or it is no port).
///
/// Where: any process, phase and thread.
///
/// Memory: the text belongs to the port.
#[no_mangle]
pub extern "C" fn sw_port_host(port: *const sw_port_t) -> *const c_char {
    guard(std::ptr::null(), || Ok(look_up(port)?.host.as_ptr()))
}

/// The number of a port, the real one also if 0 was asked for.
///
/// - `port`: the port.
///
/// Returns: 1 to 65535; 0 for unix types; -1 on an error.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, or it is no port).
///
/// Where: any process, phase and thread.
#[no_mangle]
pub extern "C" fn sw_port_number(port: *const sw_port_t) -> c_int {
    with_port(port, -1, |server, index| Ok(c_int::from(server.port_number(index)?)))
}

/// The socket type of a port.
///
/// - `port`: the port.
///
/// Returns: one of SW_SOCK_TCP to SW_SOCK_UNIX_DGRAM; -1 on an error.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, or it is no port).
///
/// Where: any process, phase and thread.
#[no_mangle]
pub extern "C" fn sw_port_type(port: *const sw_port_t) -> c_int {
    with_port(port, -1, |server, index| server.port_type(index))
}

/// The descriptor on which a port listens or takes datagrams, for setsockopt: sizes of buffers, a
/// multicast group. Do not close it.
///
/// - `port`: the port.
///
/// Returns: the descriptor; -1 on an error.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, or it is no port), SW_ERROR_WRONG_OPERATION (the server
/// has ended; or with enable_reuse_port in SW_BASE mode, where each worker opens a listener of its
/// own for TCP, the caller is no worker).
///
/// Where: any process, phase and thread.
#[no_mangle]
pub extern "C" fn sw_port_socket(port: *const sw_port_t) -> c_int {
    with_port(port, -1, |server, index| server.port_socket(index))
}

/// The descriptor of the first port; see sw_port_socket.
///
/// - `server`: the server.
///
/// Returns: the descriptor; -1 on an error.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (see there).
///
/// Where: any process, phase and thread.
#[no_mangle]
pub extern "C" fn sw_server_get_socket(server: *const sw_server_t) -> c_int {
    guard(-1, || borrow(server)?.server.port_socket(0))
}

/// Lists open connections of a port in ascending order of their ids; see
/// sw_server_get_client_list.
///
/// - `port`: the port.
/// - `start_fd`: list ids above this one, which must be a live connection of the port; 0 begins at
///   the front.
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
pub extern "C" fn sw_port_get_client_list(
    port: *const sw_port_t,
    start_fd: i64,
    fds: *mut i64,
    page_size: c_int,
) -> c_int {
    with_port(port, -1, |server, index| {
        let start = SessionId(start_fd);
        fill_page(fds, page_size, |page| server.port_client_list(index, start, page))
    })
}

/// Reads the counts of a port: connection_num, abort_count, accept_count, close_count,
/// dispatch_count, request_count, response_count, total_recv_bytes and total_send_bytes; all other
/// fields are 0.
///
/// - `port`: the port.
/// - `out`: is filled; not NULL.
///
/// Returns: true if `out` was filled.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in callbacks, of any process.
///
/// Memory: `out` is a copy.
#[no_mangle]
pub extern "C" fn sw_port_stats(port: *const sw_port_t, out: *mut sw_stats_t) -> bool {
    with_port(port, false, |server, index| {
        fill("out", out, translate(&server.port_stats(index)?))?;
        Ok(true)
    })
}
