//! Datagrams: send.

use std::ffi::{c_char, c_int, c_void};

use super::handle::{borrow, bytes, guard, text_bytes};
use super::types::sw_server_t;

/// Sends one datagram, from the address of a port of this server. The call goes to the system at
/// once; only while there is no room for the datagram it waits, for 60 seconds at most.
///
/// - `server`: the server.
/// - `ip`: the receiver: a literal IPv4 address, a literal IPv6 address if it holds a colon, or the
///   path of a Unix socket if it begins with a slash or `port` is negative; not NULL. Names are not
///   looked up.
/// - `port`: 1 to 65535; for a path ignored.
/// - `data`: the bytes; not NULL.
/// - `len`: at least 1; at most 65507 for IPv4.
/// - `server_socket`: the descriptor of the port to send from, as the packet event tells it; -1 for
///   the port of the family of `ip` that was added last.
///
/// Returns: true if the system has taken it. As ever with datagrams, it may be lost on the way.
///
/// Errors: SW_ERROR_NO_PAYLOAD (`len` is 0), SW_ERROR_BAD_HOST_ADDR, SW_ERROR_BAD_IPV6_ADDRESS,
/// SW_ERROR_BAD_PORT, SW_ERROR_NAME_TOO_LONG (the path), SW_ERROR_WRONG_OPERATION (the server has
/// no datagram port of this family, or does not run), SW_ERROR_INVALID_PARAMS (NULL, or
/// `server_socket` is no datagram port of this family), or the errno of the system: EMSGSIZE,
/// ECONNREFUSED or ENOENT for a path where nobody is, EAGAIN if there was no room all the time.
///
/// Where: in callbacks, of any process.
///
/// Memory: the bytes are not kept.
#[no_mangle]
pub extern "C" fn sw_server_sendto(
    server: *mut sw_server_t,
    ip: *const c_char,
    port: c_int,
    data: *const c_void,
    len: usize,
    server_socket: c_int,
) -> bool {
    guard(false, || {
        let server = &borrow(server)?.server;
        server.send_to(text_bytes("ip", ip)?, port, bytes(data, len)?, server_socket)?;
        Ok(true)
    })
}
