//! A listener: bound when it is made, listening when the server starts.
//!
//! Where each worker listens for itself, the socket that was bound first never listens. It only
//! keeps the port, and its descriptor is the place that a worker puts its own socket in.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use crate::error::{code, Error, Result};
use crate::net::options::SocketOptions;
use crate::os::address::{Address, AddressError};
use crate::os::socket::{self, SocketKind};
use crate::os::{activation, file};

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
    address: Address,
    /// What is taken away at the end: the file of a unix socket that was made here.
    file: Option<PathBuf>,
    origin: Origin,
}

/// Where a socket comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It was bound here.
    Bound,
    /// It was bound here, to a port that others may open too.
    Shared,
    /// It was bound here, to a port that others listen on who share it.
    Joined,
    /// Somebody else has opened it, and goes on with it afterwards.
    Adopted,
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
        let failed = |error| Error::system(&format!("bind {host}:{port}"), &error);
        let socket = socket::bind(kind, &address).map_err(failed)?;
        let mut listener = Self::of(socket, kind, Origin::Bound).map_err(failed)?;
        listener.file = kind.is_unix().then(|| file::absolute(host));
        host.clone_into(&mut listener.host);
        Ok(listener)
    }

    /// As [`Listener::bind`]; but a port that others listen on is no failure, if they share it. It
    /// must be shared at the start, then.
    pub fn bind_or_join(kind: SocketKind, host: &str, port: u16) -> Result<Self> {
        match Self::bind(kind, host, port) {
            Err(refusal) if kind.is_tcp() && refusal.code() == libc::EADDRINUSE => {
                Self::join(kind, host, port).ok_or(refusal)
            }
            bound => bound,
        }
    }

    /// As [`Listener::bind`], for a port that other programs may open too, if they share it.
    pub fn bind_shared(kind: SocketKind, host: &str, port: u16) -> Result<Self> {
        if kind.is_unix() || host.len() > LONGEST_HOST {
            return Self::bind(kind, host, port);
        }
        let address = Address::resolve(kind.family(), host, port)
            .map_err(|error| address_error(host, &error))?;
        let failed = |error| Error::system(&format!("bind {host}:{port}"), &error);
        let socket = socket::bind_shared(kind, &address).map_err(failed)?;
        let shared = Self::of(socket, kind, Origin::Shared).map_err(failed)?;
        Ok(Self { host: host.to_owned(), ..shared })
    }

    /// Whether both want the same address. The system notices that only when they listen.
    pub fn collides(&self, other: &Self) -> bool {
        let ip = |address: &Address| match address {
            Address::V4(address) => Some(IpAddr::V4(*address.ip())),
            Address::V6(address) => Some(IpAddr::V6(*address.ip())),
            Address::Unix(_) => None,
        };
        let (Some(one), Some(two)) = (ip(&self.address), ip(&other.address)) else { return false };
        self.kind == other.kind
            && self.port() == other.port()
            && (one == two || one.is_unspecified() || two.is_unspecified())
    }

    fn join(kind: SocketKind, host: &str, port: u16) -> Option<Self> {
        let address = Address::resolve(kind.family(), host, port).ok()?;
        let socket = socket::bind_shared(kind, &address).ok()?;
        let joined = Self::of(socket, kind, Origin::Joined).ok()?;
        Some(Self { host: host.to_owned(), ..joined })
    }

    /// Takes up a socket that somebody else has opened, `None` if nothing comes to it: a stream that
    /// does not listen, or datagrams without an address.
    pub fn adopt(descriptor: RawFd) -> io::Result<Option<Self>> {
        let kind = SocketKind::of(descriptor)?;
        let is_usable = match kind.is_stream() {
            true => socket::is_listening(descriptor)?,
            false => is_bound(&socket::local_address(descriptor)?),
        };
        if !is_usable {
            return Ok(None);
        }
        let socket = activation::share(descriptor)?;
        socket::set_nonblocking(descriptor)?;
        Self::of(socket, kind, Origin::Adopted).map(Some)
    }

    fn of(socket: OwnedFd, kind: SocketKind, origin: Origin) -> io::Result<Self> {
        let address = socket::local_address(socket.as_raw_fd())?;
        Ok(Self { socket, kind, host: address.host(), address, file: None, origin })
    }

    /// Whether each worker can have one of its own.
    fn can_multiply(&self) -> bool {
        self.kind.is_tcp() && self.origin != Origin::Adopted
    }

    /// Begins to listen. Accepted sockets inherit `TCP_NODELAY` from the listener.
    pub fn listen(&self, options: &SocketOptions) -> Result<()> {
        if !self.kind.is_stream() {
            self.size_buffers(options.datagram_buffer);
        }
        self.check_alone()
            .and_then(|()| begin(&self.socket, self.kind, options))
            .and_then(|()| match self.origin {
                _ if !self.kind.is_stream() => Ok(()),
                Origin::Adopted => Ok(()),
                Origin::Bound | Origin::Shared | Origin::Joined => {
                    socket::listen(self.as_raw_fd(), options.backlog)
                }
            })
            .map_err(|error| self.listen_error(&error))
    }

    /// Has the system keep so many bytes of datagrams, in both directions; it may have a limit.
    fn size_buffers(&self, bytes: i32) {
        let fd = self.as_raw_fd();
        let sized =
            socket::set_receive_buffer(fd, bytes).and_then(|()| socket::set_send_buffer(fd, bytes));
        if let Err(error) = sized {
            let (host, port) = (&self.host, self.port());
            log::warn!("socket_buffer_size {bytes} is not that of {host}:{port}: {error}");
        }
    }

    /// Who shares a port with others must open it as they do.
    fn check_alone(&self) -> io::Result<()> {
        match self.origin {
            Origin::Joined => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
            Origin::Bound | Origin::Shared | Origin::Adopted => Ok(()),
        }
    }

    /// As [`Listener::listen`] where each worker has listeners of its own: those that can be
    /// opened more than once do not listen yet, and nobody who does not share can take their port.
    pub fn prepare(&self, options: &SocketOptions) -> Result<()> {
        if !self.can_multiply() {
            return self.listen(options);
        }
        socket::share_address(self.as_raw_fd())
            .and_then(|()| socket::bind_shared(self.kind, &self.address).map(drop))
            .map_err(|error| self.listen_error(&error))
    }

    /// In a worker: listens for this process alone, under the same number.
    pub fn open_own(&self, options: &SocketOptions) -> Result<()> {
        if !self.can_multiply() {
            return Ok(());
        }
        let open = || {
            let socket = socket::bind_shared(self.kind, &self.address)?;
            begin(&socket, self.kind, options)?;
            socket::listen(socket.as_raw_fd(), options.backlog)?;
            socket::put_in_place_of(&self.socket, socket)
        };
        open().map_err(|error| self.listen_error(&error))
    }

    /// In a worker that ends: new connections go to the other workers from now on.
    pub fn close_own(&self) {
        if self.can_multiply() {
            if let Err(error) = socket::stop_listening(self.as_raw_fd()) {
                log::debug!("listener {} had stopped: {error}", self.host);
            }
        }
    }

    fn listen_error(&self, error: &io::Error) -> Error {
        Error::system(&format!("listen on {}:{}", self.host, self.port()), error)
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
        self.address.port()
    }

    /// What sort of socket it is.
    pub fn kind(&self) -> SocketKind {
        self.kind
    }

    /// Takes no connections any more, at the end of a server. The descriptor stays until this is
    /// dropped, which the program may put off; a socket that is bound to nothing has its place.
    pub fn close(&self) -> io::Result<()> {
        socket::open(self.kind).and_then(|socket| socket::put_in_place_of(&self.socket, socket))
    }

    /// Takes the file of a unix socket away, at the regular end of a server.
    pub fn unlink(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), std::fs::remove_file)
    }
}

/// Whether datagrams can be sent to a socket with this address of its own.
fn is_bound(address: &Address) -> bool {
    match address {
        Address::V4(_) | Address::V6(_) => address.port() != 0,
        Address::Unix(_) => *address != Address::UNNAMED,
    }
}

/// What accepted sockets inherit.
fn begin(socket: &OwnedFd, kind: SocketKind, options: &SocketOptions) -> io::Result<()> {
    match kind.is_tcp() {
        true => socket::set_nodelay(socket.as_raw_fd(), options.is_nodelay),
        false => Ok(()),
    }
}

/// The error for a text that is no address.
pub fn address_error(host: &str, error: &AddressError) -> Error {
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
