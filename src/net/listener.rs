//! A listener: bound when it is made, listening when the server starts.
//!
//! Where each worker listens for itself, the socket that was bound first never listens. It only
//! keeps the port, and its descriptor is the place that a worker puts its own socket in.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{code, Error, Result};
use crate::net::options::SocketOptions;
use crate::os::activation;
use crate::os::address::{Address, AddressError, Family};
use crate::os::file::OwnFile;
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
    /// Not now: the system has no room for one more connection, or the listener is broken.
    Failed(io::Error),
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
    file: Option<OwnFile>,
    origin: Origin,
    is_v6_only: bool,
    /// This process has put a socket of its own in the place of the first one.
    has_own: AtomicBool,
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

/// How an address is bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Others may bind it too, if they say so as well.
    pub is_shared: bool,
    /// An IPv6 socket takes no IPv4 peers.
    pub is_v6_only: bool,
}

impl Listener {
    /// Binds `host` and `port`; port 0 lets the system choose. For unix sockets `host` is a path,
    /// which is never shared.
    pub fn bind(kind: SocketKind, host: &str, port: u16, manner: Manner) -> Result<Self> {
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
        let origin = match manner.is_shared && !kind.is_unix() {
            true => Origin::Shared,
            false => Origin::Bound,
        };
        let sharing = bind(kind, &address, origin, manner.is_v6_only).map_err(failed)?;
        let mut listener = Self::of(sharing, kind, origin).map_err(failed)?;
        listener.is_v6_only = manner.is_v6_only;
        listener.file = kind.is_unix().then(|| OwnFile::note(host)).transpose().map_err(failed)?;
        host.clone_into(&mut listener.host);
        Ok(listener)
    }

    /// As [`Listener::bind`]; but a port that others listen on is no failure, if they share it. It
    /// must be shared at the start, then.
    pub fn bind_or_join(kind: SocketKind, host: &str, port: u16) -> Result<Self> {
        match Self::bind(kind, host, port, Manner::default()) {
            Err(refusal) if kind.is_tcp() && refusal.code() == libc::EADDRINUSE => {
                Self::join(kind, host, port).ok_or(refusal)
            }
            bound => bound,
        }
    }

    /// Refuses an address that one of the others has. The system notices that only when they
    /// listen, and never between sockets that share.
    pub fn check_apart<'a>(&self, mut others: impl Iterator<Item = &'a Self>) -> Result<()> {
        match others.any(|other| self.collides(other)) {
            true => {
                let error = io::Error::from_raw_os_error(libc::EADDRINUSE);
                let what = format!("bind {}:{} for a second port", self.host, self.port());
                Err(Error::system(&what, &error))
            }
            false => Ok(()),
        }
    }

    fn collides(&self, other: &Self) -> bool {
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

    /// Has an IPv6 socket take no IPv4 peers, or take them again. The system allows that only
    /// before a socket is bound, so another one comes into its place, under the same number.
    pub fn set_v6_only(&mut self, is_v6_only: bool) -> Result<()> {
        let is_ours = self.kind.family() == Family::V6 && self.origin != Origin::Adopted;
        if !is_ours || self.is_v6_only == is_v6_only {
            return Ok(());
        }
        bind(self.kind, &self.address, self.origin, is_v6_only)
            .and_then(|socket| socket::put_in_place_of(&self.socket, socket))
            .map_err(|error| {
                Error::system(&format!("bind {}:{}", self.host, self.port()), &error)
            })?;
        self.is_v6_only = is_v6_only;
        Ok(())
    }

    fn join(kind: SocketKind, host: &str, port: u16) -> Option<Self> {
        let address = Address::resolve(kind.family(), host, port).ok()?;
        let socket = bind(kind, &address, Origin::Joined, false).ok()?;
        let joined = Self::of(socket, kind, Origin::Joined).ok()?;
        Some(Self { host: host.to_owned(), ..joined })
    }

    /// Takes up a socket that somebody else has opened, `None` if nothing comes to it: one for
    /// streams that does not listen, or one for datagrams that is not bound.
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
        let (host, file, is_v6_only) = (address.host(), None, false);
        let has_own = AtomicBool::new(false);
        Ok(Self { socket, kind, host, address, file, origin, is_v6_only, has_own })
    }

    /// Whether each worker can have one of its own.
    fn can_multiply(&self) -> bool {
        self.kind.is_tcp() && self.origin != Origin::Adopted
    }

    /// Begins to listen.
    pub fn listen(&self, options: &SocketOptions) -> Result<()> {
        options.ask_listener(self.as_raw_fd(), self.kind);
        self.check_alone()
            .and_then(|()| match self.origin {
                _ if !self.kind.is_stream() => Ok(()),
                Origin::Adopted => Ok(()),
                Origin::Bound | Origin::Shared | Origin::Joined => {
                    socket::listen(self.as_raw_fd(), options.backlog)
                }
            })
            .map_err(|error| self.listen_error(&error))
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
            .and_then(|()| self.bind_own().map(drop))
            .map_err(|error| self.listen_error(&error))
    }

    /// Whether the socket is the one that connections come to, where each worker opens its own.
    pub fn is_open_here(&self) -> bool {
        !self.can_multiply() || self.has_own.load(Ordering::Relaxed)
    }

    fn bind_own(&self) -> io::Result<OwnedFd> {
        bind(self.kind, &self.address, Origin::Shared, self.is_v6_only)
    }

    /// In a worker: listens for this process alone, under the same number.
    pub fn open_own(&self, options: &SocketOptions) -> Result<()> {
        if !self.can_multiply() {
            return Ok(());
        }
        let open = || {
            let socket = self.bind_own()?;
            options.ask_listener(socket.as_raw_fd(), self.kind);
            socket::listen(socket.as_raw_fd(), options.backlog)?;
            socket::put_in_place_of(&self.socket, socket)?;
            self.has_own.store(true, Ordering::Relaxed);
            Ok(())
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
                // Errors of the connection that waited, not of the listener.
                Some(
                    libc::ECONNABORTED
                    | libc::EPERM
                    | libc::EPROTO
                    | libc::ENOPROTOOPT
                    | libc::EHOSTDOWN
                    | libc::EHOSTUNREACH
                    | libc::ENONET
                    | libc::ENETDOWN
                    | libc::ENETUNREACH
                    | libc::ETIMEDOUT,
                ) => Accept::Gone,
                // Asked again at once, it would answer the same for as long as somebody waits.
                Some(_) | None => Accept::Failed(error),
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

    /// The file of a unix socket that was made here.
    pub fn file(&self) -> Option<&OwnFile> {
        self.file.as_ref()
    }

    /// Takes the file of a unix socket away, unless something else has its name by now.
    pub fn unlink(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), OwnFile::remove)
    }
}

/// Whether datagrams can be sent to a socket with this address of its own.
fn is_bound(address: &Address) -> bool {
    match address {
        Address::V4(_) | Address::V6(_) => address.port() != 0,
        Address::Unix(_) => *address != Address::UNNAMED,
    }
}

/// A socket of this origin at this address.
fn bind(
    kind: SocketKind,
    address: &Address,
    origin: Origin,
    is_v6_only: bool,
) -> io::Result<OwnedFd> {
    let is_shared = match origin {
        Origin::Shared | Origin::Joined => true,
        Origin::Bound | Origin::Adopted => false,
    };
    let is_v6_only = is_v6_only && kind.family() == Family::V6;
    socket::bind_as(kind, address, is_shared, is_v6_only)
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
