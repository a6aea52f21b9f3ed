//! Datagrams as a test has them: the C functions, a server that answers them, and its peers.

use crate::common::api::{last_error, Callback, Handle, Result};
use crate::common::{Event, Outcome, Running, Setup, STEP};
use crate::puppet::{self, number};
use crate::report;
use std::ffi::{CStr, CString};
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use swoole::ffi::datagram::sw_server_sendto;
use swoole::ffi::port::*;
use swoole::ffi::types::*;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A port of a server.
#[derive(Clone, Copy)]
pub struct Port(pub *mut sw_port_t);

impl Port {
    /// Adds one.
    pub fn add(server: Handle, host: &str, number: u16, kind: i32) -> Result<Self> {
        let host = CString::new(host).expect("no NUL");
        let raw = sw_server_add_listener(server.raw, host.as_ptr(), i32::from(number), kind);
        if raw.is_null() {
            return Err(last_error());
        }
        Ok(Self(raw))
    }

    /// The one with this index.
    pub fn nth(server: Handle, index: usize) -> Self {
        Self(sw_server_port(server.raw, index))
    }

    pub fn number(self) -> i32 {
        sw_port_number(self.0)
    }

    pub fn socket(self) -> i32 {
        sw_port_socket(self.0)
    }

    pub fn set(self, name: &str, value: i64) -> bool {
        let name = CString::new(name).expect("no NUL");
        sw_port_set_int(self.0, name.as_ptr(), value)
    }

    pub fn stats(self) -> Result<sw_stats_t> {
        let mut stats = sw_stats_t::default();
        match sw_port_stats(self.0, &mut stats) {
            true => Ok(stats),
            false => Err(last_error()),
        }
    }
}

/// Sends a datagram.
pub fn send_to(server: Handle, ip: &[u8], port: i32, data: &[u8], socket: i32) -> Result<()> {
    let ip = CString::new(ip).expect("no NUL");
    let data_len = data.len();
    match sw_server_sendto(server.raw, ip.as_ptr(), port, data.as_ptr().cast(), data_len, socket) {
        true => Ok(()),
        false => Err(last_error()),
    }
}

/// What a packet event tells.
pub struct Packet<'a> {
    pub raw: &'a sw_packet_t,
    pub address: &'a [u8],
    pub data: &'a [u8],
}

impl<'a> Packet<'a> {
    pub fn of(event: &'a Event) -> Self {
        assert_eq!(event.kind(), sw_event_kind_t::SW_EVENT_PACKET);
        // SAFETY: this kind carries this member.
        let raw = unsafe { &event.0.packet };
        assert!(!raw.address.is_null() && !raw.data.is_null() && raw.len > 0);
        // SAFETY: the library lends a text and `len` bytes until the callback returns.
        let (address, data) =
            unsafe { (CStr::from_ptr(raw.address), std::slice::from_raw_parts(raw.data, raw.len)) };
        Self { raw, address: address.to_bytes(), data }
    }

    /// Sends an answer from the port that it came to.
    pub fn answer(&self, server: Handle, data: &[u8]) {
        let socket = self.raw.server_socket;
        if let Err(error) = send_to(server, self.address, self.raw.port, data, socket) {
            report!("refused: {}", error.code);
        }
    }
}

/// Where the unix ports of a server are, as its processes see it.
pub fn path_of(name: &str) -> String {
    std::env::temp_dir().join(name).display().to_string()
}

/// Orders begin with `!` as those of the puppet; what is none is sent back.
///
/// ```text
/// !who             worker, its pid, address and port of the sender, number of the port
/// !hold PORT       is stuck until the gate opens
/// !default         answers from the last port of the family
/// !time            whether it has just arrived
/// ```
pub fn on_packet(server: Handle, event: &Event) {
    let packet = Packet::of(event);
    let text = String::from_utf8_lossy(packet.data);
    let words: Vec<&str> = text.split(' ').collect();
    match words[..] {
        ["!who"] => {
            let (worker, address) = (server.worker_id(), String::from_utf8_lossy(packet.address));
            let sw_packet_t { port, server_port, .. } = *packet.raw;
            let pid = server.worker_pid(worker);
            let line = format!("{worker} {pid} {address} {port} {server_port}");
            packet.answer(server, line.as_bytes());
        }
        ["!hold", port] => {
            puppet::hold(number(port));
            packet.answer(server, b"released");
        }
        ["!default"] => {
            let sent = send_to(server, packet.address, packet.raw.port, b"from the last", -1);
            report!("default {}", sent.is_ok());
        }
        ["!time"] => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let age = now.expect("after 1970").as_secs_f64() - packet.raw.dispatch_time;
            packet.answer(server, if (0.0..5.0).contains(&age) { b"now" } else { b"not now" });
        }
        _ => packet.answer(server, packet.data),
    }
}

/// The puppet with ports 1 to 4 for datagrams: two over IPv4, one over IPv6, one by a path. The
/// first two are at the number of the server, and at any other one.
pub fn prepare(
    setup: &Setup,
    settings: &[(&str, &str)],
    callback: Callback,
) -> Result<crate::common::Server> {
    let server = puppet::prepare(setup, settings, puppet::obey)?;
    server.on("packet", callback)?;
    server.on("afterReload", |_, _| report!("after a reload"))?;
    Port::add(*server, "127.0.0.1", setup.port, SW_SOCK_UDP)?;
    let other = Port::add(*server, "127.0.0.1", 0, SW_SOCK_UDP)?;
    Port::add(*server, "::1", setup.port, SW_SOCK_UDP6)?;
    Port::add(*server, &path_of("udp.sock"), 0, SW_SOCK_UNIX_DGRAM)?;
    report!("other {}", other.number());
    Ok(server)
}

pub fn plain(setup: &Setup) -> Outcome {
    puppet::run(&prepare(setup, &[], on_packet)?)
}

/// A peer of a server, over IP.
pub struct Peer(pub UdpSocket);

impl Peer {
    pub fn at(host: &str) -> std::result::Result<Self, Failure> {
        let socket = UdpSocket::bind((host, 0))?;
        socket.set_read_timeout(Some(STEP))?;
        Ok(Self(socket))
    }

    /// One that talks to the first port for datagrams, when the server serves.
    pub fn of(server: &Running) -> std::result::Result<Self, Failure> {
        server.wait_line(|line| line == "ready", STEP)?;
        let peer = Self::at("127.0.0.1")?;
        peer.0.connect(("127.0.0.1", server.port()))?;
        Ok(peer)
    }

    pub fn receive(&self) -> std::result::Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; 70_000];
        let len = self.0.recv(&mut bytes)?;
        bytes.truncate(len);
        Ok(bytes)
    }

    pub fn ask(&self, data: impl AsRef<[u8]>) -> std::result::Result<Vec<u8>, Failure> {
        self.0.send(data.as_ref())?;
        self.receive()
    }

    pub fn ask_text(&self, order: &str) -> std::result::Result<String, Failure> {
        Ok(String::from_utf8(self.ask(order)?)?)
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().map_or(0, |address| address.port())
    }
}

/// A peer by a path, which has one itself if it has a name.
pub fn unix_peer(
    server: &Running,
    name: Option<&str>,
) -> std::result::Result<(UnixDatagram, PathBuf), Failure> {
    server.wait_line(|line| line == "ready", STEP)?;
    let path = server.temporary().join(name.unwrap_or_default());
    let socket = match name {
        Some(_) => UnixDatagram::bind(&path)?,
        None => UnixDatagram::unbound()?,
    };
    socket.set_read_timeout(Some(STEP))?;
    socket.connect(server.temporary().join("udp.sock"))?;
    Ok((socket, path))
}
