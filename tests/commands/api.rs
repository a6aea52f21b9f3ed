//! Commands as a test has them, and a way to have the one that stands for the master call them.

use crate::common::api::{last_error, Handle, Result};
use crate::puppet::timers;
use std::ffi::{c_void, CString};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;
use swoole::ffi::command::*;
use swoole::ffi::library::sw_buffer_free;
use swoole::ffi::types::*;

/// Where a command puts its answer.
#[derive(Clone, Copy)]
pub struct Reply(pub *mut sw_reply_t);

impl Reply {
    pub fn answer(self, bytes: &[u8]) -> Result<()> {
        match sw_command_reply(self.0, bytes.as_ptr().cast(), bytes.len()) {
            true => Ok(()),
            false => Err(last_error()),
        }
    }
}

/// What a command does: a plain function.
pub type Body = fn(Handle, &[u8], Reply) -> bool;

extern "C-unwind" fn call_body(
    server: *mut sw_server_t,
    data: *const u8,
    len: usize,
    reply: *mut sw_reply_t,
    user_data: *mut c_void,
) -> bool {
    // SAFETY: `add_command` gave a `Body` as user data.
    let body: Body = unsafe { std::mem::transmute(user_data) };
    let data = match data.is_null() {
        true => &[],
        // SAFETY: the library lends `len` bytes at `data` until the function returns.
        false => unsafe { std::slice::from_raw_parts(data, len) },
    };
    assert_eq!(data.len(), len, "there is a length without bytes");
    body(Handle { raw: server }, data, Reply(reply))
}

pub fn add_command(server: Handle, name: &str, types: i32, body: Body) -> Result<()> {
    let name = CString::new(name).expect("a name holds no NUL");
    let user_data = body as *mut c_void;
    match sw_server_add_command(server.raw, name.as_ptr(), types, Some(call_body), user_data) {
        true => Ok(()),
        false => Err(last_error()),
    }
}

/// Calls a command; the bytes of its answer.
pub fn command(server: Handle, name: &str, id: i32, kind: i32, data: &[u8]) -> Result<Vec<u8>> {
    let name = CString::new(name).expect("a name holds no NUL");
    let mut reply = sw_buffer_t { data: std::ptr::null_mut(), len: 0 };
    let start = data.as_ptr().cast();
    if !sw_server_command(server.raw, name.as_ptr(), id, kind, start, data.len(), &mut reply) {
        assert!(reply.data.is_null() && reply.len == 0, "a failure fills nothing");
        return Err(last_error());
    }
    assert_eq!(reply.data.is_null(), reply.len == 0);
    let bytes = match reply.data.is_null() {
        true => Vec::new(),
        // SAFETY: the library filled the buffer with `len` bytes at `data`.
        false => unsafe { std::slice::from_raw_parts(reply.data, reply.len) }.to_vec(),
    };
    sw_buffer_free(&mut reply);
    Ok(bytes)
}

/// Both ends of what brings orders to the one that stands for the master.
static ORDERS: OnceLock<(UnixDatagram, UnixDatagram)> = OnceLock::new();

/// Before start.
pub fn open_orders() {
    let pair = UnixDatagram::pair().expect("a pair of sockets");
    ORDERS.set(pair).expect("once");
}

/// In any process.
pub fn give_order(order: &str) {
    let (giver, _) = ORDERS.get().expect("opened before start");
    giver.send(order.as_bytes()).expect("an order is taken");
}

/// In the start event: takes orders from now on.
pub fn take_orders(server: Handle, obey: fn(Handle, &str)) {
    let (_, taker) = ORDERS.get().expect("opened before start");
    taker.set_nonblocking(true).expect("a socket that does not block");
    timers::add(taker.as_raw_fd(), SW_IO_READ, move |_, _| {
        let mut bytes = [0; 256];
        while let Ok(count) = taker.recv(&mut bytes) {
            obey(server, std::str::from_utf8(&bytes[..count]).expect("a text"));
        }
    })
    .expect("the loop watches a socket");
}

/// In the event before the end, which would wait for the descriptor.
pub fn drop_orders() {
    let (_, taker) = ORDERS.get().expect("opened before start");
    timers::del(taker.as_raw_fd()).expect("the loop watches it");
}
