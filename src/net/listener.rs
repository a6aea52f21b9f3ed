//! A listener: bound when it is made, listening when the server starts.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::error::{code, Error, Result};
use crate::os::address::{Address, AddressError};
use crate::os::socket::{self, SocketKind};

/// The longest host or path that a listener takes, in bytes.
pub const LONGEST_HOST: usize = 107;

/// What accepting came to.
#[derive(Debug)]
pub enum Accept {
    /// A connection, and the address of its peer.
    Connection(OwnedFd, Address),
    /// Nobody waits.
    Nothing,
    /// The system has no room for one more connection.
    NoRoom(io::Error),
    /// The one that waited was gone before it was taken.
    Gone,
}

/// A bound socket that may listen.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    kind: SocketKind,
    host: String,
    port: u16,
}

impl Listener {
    /// Binds `host` and `port`; port 0 lets the system choose. For unix sockets `host` is a path.
    pub fn bind(kind: SocketKind, host: &str, port: u16) -> Result<Self> {
        if host.len() > LONGEST_HOST {
            let length = host.len();
            return Err(Error::new(
                code::NAME_TOO_LONG,
                format!("the host or path has {length} bytes, {LONGEST_HOST} are allowed"),
            ));
        }
        let address = Address::resolve(kind.family(), host, port)
            .map_err(|error| address_error(host, &error))?;
        let shown = || format!("bind {host}:{port}");
        let socket =
            socket::bind(kind, &address).map_err(|error| Error::system(&shown(), &error))?;
        let bound = socket::local_address(socket.as_raw_fd())
            .map_err(|error| Error::system(&shown(), &error))?;
        Ok(Self { socket, kind, host: host.to_owned(), port: bound.port() })
    }

    /// Begins to listen. Accepted sockets inherit `TCP_NODELAY` from the listener.
    pub fn listen(&self, backlog: i32, is_nodelay: bool) -> Result<()> {
        let what = format!("listen on {}:{}", self.host, self.port);
        if self.kind.is_tcp() {
            socket::set_nodelay(self.as_raw_fd(), is_nodelay)
                .map_err(|error| Error::system(&what, &error))?;
        }
        socket::listen(self.as_raw_fd(), backlog).map_err(|error| Error::system(&what, &error))
    }

    /// Takes the next connection, with the address of its peer.
    pub fn accept(&self) -> Accept {
        match socket::accept(self.as_raw_fd()) {
            Ok((socket, peer)) => Accept::Connection(socket, peer),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => Accept::Nothing,
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                    Accept::NoRoom(error)
                }
                Some(_) | None => Accept::Gone,
            },
        }
    }

    /// The host or path it was bound to.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The real port number, 0 for unix sockets.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What sort of socket it is.
    pub fn kind(&self) -> SocketKind {
        self.kind
    }

    /// Takes the file of a unix socket away, at the regular end of a server.
    pub fn unlink(&self) -> io::Result<()> {
        if self.kind.is_unix() {
            std::fs::remove_file(&self.host)
        } else {
            Ok(())
        }
    }
}

fn address_error(host: &str, error: &AddressError) -> Error {
    let number = match error {
        AddressError::NotIpv6 => code::BAD_IPV6_ADDRESS,
        AddressError::PathTooLong => code::NAME_TOO_LONG,
        AddressError::NotIpv4 | AddressError::BadPath | AddressError::Unresolved(_) => {
            code::BAD_HOST_ADDR
        }
    };
    Error::new(number, format!("host {host:?}: {error}"))
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
