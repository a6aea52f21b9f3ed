//! Ports as a test calls them, one method for each C function; and peers that reach them.
#![allow(dead_code)]

use crate::common::api::{call_back, last_error, Callback, Handle, Result};
use crate::common::STEP;
use std::ffi::{c_void, CStr, CString};
use std::io::{self, Read, Write};
use std::mem::{size_of, zeroed};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use swoole::ffi::port::*;
use swoole::ffi::types::*;

/// A port of a server, which owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(pub *mut sw_port_t);

fn c_text(text: &str) -> CString {
    CString::new(text).expect("a text of a test holds no NUL")
}

fn checked(is_ok: bool) -> Result<()> {
    is_ok.then_some(()).ok_or_else(last_error)
}

/// Adds a port.
pub fn add(server: Handle, host: &str, port: i32, sock_type: i32) -> Result<Port> {
    let raw = sw_server_add_listener(server.raw, c_text(host).as_ptr(), port, sock_type);
    checked(!raw.is_null()).map(|()| Port(raw))
}

/// The port of this number.
pub fn port(server: Handle, index: usize) -> Result<Port> {
    let raw = sw_server_port(server.raw, index);
    checked(!raw.is_null()).map(|()| Port(raw))
}

impl Port {
    pub fn set(self, name: &str, value: &str) -> Result<()> {
        checked(sw_port_set(self.0, c_text(name).as_ptr(), c_text(value).as_ptr()))
    }

    pub fn set_json(self, json: &str) -> Result<()> {
        checked(sw_port_set_json(self.0, json.as_ptr().cast(), json.len()))
    }

    pub fn on(self, event: &str, callback: Callback) -> Result<()> {
        let user_data = callback as *mut c_void;
        checked(sw_port_on(self.0, c_text(event).as_ptr(), Some(call_back), user_data))
    }

    pub fn host(self) -> String {
        let text = sw_port_host(self.0);
        assert!(!text.is_null(), "{}", last_error());
        // SAFETY: the library gives a text that lives as long as the port.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }

    pub fn number(self) -> i32 {
        sw_port_number(self.0)
    }

    pub fn kind(self) -> i32 {
        sw_port_type(self.0)
    }

    pub fn socket(self) -> i32 {
        sw_port_socket(self.0)
    }

    pub fn client_list(self, start_fd: i64, page_size: i32) -> Result<Vec<i64>> {
        let mut page = [0; 100];
        let count = sw_port_get_client_list(self.0, start_fd, page.as_mut_ptr(), page_size);
        checked(count >= 0).map(|()| page[..count as usize].to_vec())
    }

    pub fn stats(self) -> Result<sw_stats_t> {
        let mut stats = sw_stats_t::default();
        checked(sw_port_stats(self.0, &mut stats)).map(|()| stats)
    }
}

/// An option of a socket that is one number; -1 if it has none such.
pub fn option(fd: i32, level: i32, name: i32) -> i32 {
    let mut value = -1_i32;
    let mut length = size_of::<i32>() as libc::socklen_t;
    let place: *mut i32 = &mut value;
    // SAFETY: value and length outlive the call.
    unsafe { libc::getsockopt(fd, level, name, place.cast(), &mut length) };
    value
}

/// The family and the port that a socket is bound to.
pub fn bound_to(fd: i32) -> (i32, u16) {
    // SAFETY: all-zero is an address of no family.
    let mut address: libc::sockaddr_in6 = unsafe { zeroed() };
    let mut length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    let place: *mut libc::sockaddr_in6 = &mut address;
    // SAFETY: the place has the length that is told.
    unsafe { libc::getsockname(fd, place.cast(), &mut length) };
    // The port stands at the same place in both families.
    (i32::from(address.sin6_family), u16::from_be(address.sin6_port))
}

/// A peer of any family.
pub trait Peer: Read + Write {}
impl Peer for TcpStream {}
impl Peer for UnixStream {}

/// Connects to a host and port, or to a path.
pub fn reach(host: &str, port: i32) -> io::Result<Box<dyn Peer>> {
    if host.starts_with('/') {
        let stream = UnixStream::connect(host)?;
        stream.set_read_timeout(Some(STEP))?;
        return Ok(Box::new(stream));
    }
    let port = u16::try_from(port).map_err(io::Error::other)?;
    let stream = TcpStream::connect((host, port))?;
    stream.set_read_timeout(Some(STEP))?;
    Ok(Box::new(stream))
}

/// One line in answer to an order.
pub fn ask_peer(peer: &mut dyn Peer, order: &str) -> io::Result<String> {
    peer.write_all(order.as_bytes())?;
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        peer.read_exact(&mut byte)?;
        match byte[0] {
            b'\n' => return String::from_utf8(line).map_err(io::Error::other),
            other => line.push(other),
        }
    }
}
