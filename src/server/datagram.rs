//! Datagrams: send.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use crate::error::{code, Error, Result};
use crate::model::port::Port;
use crate::net::listener::{address_error, Listener};
use crate::os::address::{Address, AddressError, Family, UnixPath};
use crate::os::datagram;
use crate::unit::Unit;

use super::Server;

/// How long a datagram may wait for room: what `socket_send_timeout` is if nothing is said.
const PATIENCE: Duration = Duration::from_secs(60);
/// The descriptor that stands for the last port of the family.
const ANY: RawFd = -1;

impl Server {
    /// Sends one datagram from a port of this server: the one with the descriptor `socket`, or the
    /// last one of the family if that is -1. `host` is an IP, or a path if it begins with `/` or if
    /// `port` is negative.
    #[inline]
    pub fn send_to(&self, host: &[u8], port: i32, data: &[u8], socket: RawFd) -> Result<()> {
        self.with_unit(|unit| send_to(unit, host, port, data, socket))
    }
}

fn send_to(unit: &Unit, host: &[u8], port: i32, data: &[u8], socket: RawFd) -> Result<()> {
    if data.is_empty() {
        return Err(Error::new(code::NO_PAYLOAD, "there are no bytes to send"));
    }
    let to = address_of(host, port)?;
    let listener = listener_for(&unit.runtime().ports, to.family(), socket)?;
    datagram::send_patiently(listener.as_raw_fd(), data, &to, PATIENCE)
        .map_err(|error| not_sent(&to, data.len(), &error))
}

#[cold]
fn not_sent(to: &Address, length: usize, error: &io::Error) -> Error {
    Error::system(&format!("send {length} bytes to {to}"), error)
}

/// Names are not looked up: that could take long, and no caller expects it here.
fn address_of(host: &[u8], port: i32) -> Result<Address> {
    let text = std::str::from_utf8(host).unwrap_or_default();
    let refused = |error: AddressError| address_error(&String::from_utf8_lossy(host), &error);
    // An IP that comes with a negative port is no path, but a mistake in the port.
    let is_ip = || text.parse::<std::net::IpAddr>().is_ok();
    if host.starts_with(b"/") || (port < 0 && !is_ip()) {
        return UnixPath::new(host).map(Address::Unix).map_err(refused);
    }
    let family = if host.contains(&b':') { Family::V6 } else { Family::V4 };
    let number = u16::try_from(port).unwrap_or(0);
    let address = Address::parse(family, text, number).map_err(refused)?;
    match number {
        0 => Err(Error::new(code::BAD_PORT, format!("port {port} is not in the range 1 to 65535"))),
        _ => Ok(address),
    }
}

fn listener_for(ports: &[Port], family: Family, socket: RawFd) -> Result<&Listener> {
    let of_family = || {
        let listeners = ports.iter().filter(|port| !port.is_stream()).map(|port| &port.listener);
        listeners.filter(move |listener| listener.kind().family() == family)
    };
    let Some(last) = of_family().next_back() else {
        let text = format!("the server has no port for {} datagrams", name_of(family));
        crate::warn_limited!("nothing can be sent: {text}");
        return Err(Error::new(code::WRONG_OPERATION, text));
    };
    if socket == ANY {
        return Ok(last);
    }
    of_family().find(|listener| listener.as_raw_fd() == socket).ok_or_else(|| {
        let family = name_of(family);
        let text = format!("descriptor {socket} is no port of this server for {family} datagrams");
        Error::new(code::INVALID_PARAMS, text)
    })
}

fn name_of(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
        Family::Unix => "unix",
    }
}
