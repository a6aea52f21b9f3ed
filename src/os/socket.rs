//! Sockets: open, bind, listen, accept, move bytes, set options.
//!
//! Everything made here is close-on-exec and, but for a pair, non-blocking. The calls of the data
//! path take plain descriptors: who calls them owns the socket in a table of its own.

use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::c_int;
use nix::errno::Errno;

use super::address::{Address, Family, RawAddress};
use super::{checked, retried};

/// More pieces than this the system does not take in one call.
pub const MAX_PIECES: usize = 1024;

/// What a port can be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketKind {
    Tcp,
    Udp,
    Tcp6,
    Udp6,
    UnixStream,
    UnixDgram,
}

impl SocketKind {
    pub fn family(self) -> Family {
        match self {
            Self::Tcp | Self::Udp => Family::V4,
            Self::Tcp6 | Self::Udp6 => Family::V6,
            Self::UnixStream | Self::UnixDgram => Family::Unix,
        }
    }

    pub fn is_unix(self) -> bool {
        self.family() == Family::Unix
    }

    pub fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Tcp6)
    }

    pub fn is_stream(self) -> bool {
        match self {
            Self::Tcp | Self::Tcp6 | Self::UnixStream => true,
            Self::Udp | Self::Udp6 | Self::UnixDgram => false,
        }
    }

    /// What a descriptor that somebody else has opened is; EINVAL if it is nothing of ours.
    pub fn of(fd: RawFd) -> io::Result<Self> {
        let domain: c_int = option(fd, libc::SOL_SOCKET, libc::SO_DOMAIN)?;
        let form: c_int = option(fd, libc::SOL_SOCKET, libc::SO_TYPE)?;
        match (domain, form) {
            (libc::AF_INET, libc::SOCK_STREAM) => Ok(Self::Tcp),
            (libc::AF_INET, libc::SOCK_DGRAM) => Ok(Self::Udp),
            (libc::AF_INET6, libc::SOCK_STREAM) => Ok(Self::Tcp6),
            (libc::AF_INET6, libc::SOCK_DGRAM) => Ok(Self::Udp6),
            (libc::AF_UNIX, libc::SOCK_STREAM) => Ok(Self::UnixStream),
            (libc::AF_UNIX, libc::SOCK_DGRAM) => Ok(Self::UnixDgram),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    fn domain(self) -> c_int {
        match self.family() {
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
            Family::Unix => libc::AF_UNIX,
        }
    }
}

/// A socket that is bound to nothing yet.
pub fn open(kind: SocketKind) -> io::Result<OwnedFd> {
    let form = if kind.is_stream() { libc::SOCK_STREAM } else { libc::SOCK_DGRAM };
    let form = form | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: plain system call.
    let fd = checked(unsafe { libc::socket(kind.domain(), form, 0) })?;
    // SAFETY: the call has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A socket bound to `address`, whose family must be that of `kind`. The address may be taken again
/// at once after its last owner is gone.
pub fn bind(kind: SocketKind, address: &Address) -> io::Result<OwnedFd> {
    bind_as(kind, address, false, false)
}

/// As [`bind`], but the address is shared with all who bind it this way; the kernel spreads
/// connections over them.
pub fn bind_shared(kind: SocketKind, address: &Address) -> io::Result<OwnedFd> {
    bind_as(kind, address, true, false)
}

/// As [`bind`] or [`bind_shared`]; a socket of IPv6 may take no IPv4 peers.
pub fn bind_as(
    kind: SocketKind,
    address: &Address,
    is_shared: bool,
    is_v6_only: bool,
) -> io::Result<OwnedFd> {
    let socket = open(kind)?;
    set_flag(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, true)?;
    if is_shared {
        share_address(socket.as_raw_fd())?;
    }
    if is_v6_only {
        set_flag(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, true)?;
    }
    bind_to(&socket, address)?;
    Ok(socket)
}

fn bind_to(socket: &OwnedFd, address: &Address) -> io::Result<()> {
    let raw = RawAddress::from(address);
    // SAFETY: the address outlives the call and has the length that is told.
    checked(unsafe { libc::bind(socket.as_raw_fd(), raw.as_ptr(), raw.len()) }).map(drop)
}

/// Starts to take connections; at most `backlog` wait to be accepted.
pub fn listen(fd: RawFd, backlog: i32) -> io::Result<()> {
    // SAFETY: plain system call.
    checked(unsafe { libc::listen(fd, backlog) }).map(drop)
}

/// Takes no connections any more; those that wait to be accepted are reset.
pub fn stop_listening(fd: RawFd) -> io::Result<()> {
    // SAFETY: plain system call.
    checked(unsafe { libc::shutdown(fd, libc::SHUT_RD) }).map(drop)
}

/// Whether it takes connections.
pub fn is_listening(fd: RawFd) -> io::Result<bool> {
    Ok(option(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN)? != 0)
}

/// Lets others that are of the same user and say so, too, bind the address of this socket.
pub fn share_address(fd: RawFd) -> io::Result<()> {
    set_flag(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, true)
}

/// Puts `socket` in the place of the descriptor `fd`, which is closed; nothing is open twice.
pub fn put_in_place_of(fd: &OwnedFd, socket: OwnedFd) -> io::Result<()> {
    let place = fd.as_raw_fd();
    // SAFETY: both are open and owned; the owner of `fd` owns what stands there afterwards.
    retried(|| unsafe { libc::dup3(socket.as_raw_fd(), place, libc::O_CLOEXEC) }).map(drop)
}

/// Begins to connect; EINPROGRESS means that the socket becomes writable when it is done. Fixes the
/// peer of a datagram socket.
pub fn connect(fd: RawFd, address: &Address) -> io::Result<()> {
    let raw = RawAddress::from(address);
    // SAFETY: the address outlives the call and has the length that is told.
    checked(unsafe { libc::connect(fd, raw.as_ptr(), raw.len()) }).map(drop)
}

/// Where a socket is bound: tells the real port after binding port 0.
pub fn local_address(fd: RawFd) -> io::Result<Address> {
    let mut raw = RawAddress::unset();
    let (place, len) = raw.as_mut_parts();
    // SAFETY: the place has the length that is told.
    checked(unsafe { libc::getsockname(fd, place, len) })?;
    Address::try_from(&raw)
}

/// Takes the next connection that waits, with the address of its peer.
pub fn accept(listener: RawFd) -> io::Result<(OwnedFd, Address)> {
    let mut raw = RawAddress::unset();
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let fd = retried(|| {
        raw = RawAddress::unset();
        let (place, len) = raw.as_mut_parts();
        // SAFETY: the place has the length that is told.
        unsafe { libc::accept4(listener, place, len, flags) }
    })?;
    // SAFETY: the call has just made this descriptor, and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok((socket, Address::try_from(&raw)?))
}

/// Reads what is there; 0 means that the peer has ended its side.
pub fn recv(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer has the length that is told.
    let read = || unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    Ok(retried(read)?.unsigned_abs())
}

/// Reads one datagram and who sent it. What does not fit into the buffer is lost.
pub fn recv_from(fd: RawFd, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
    let mut raw = RawAddress::unset();
    let size = retried(|| {
        raw = RawAddress::unset();
        let (place, len) = raw.as_mut_parts();
        // SAFETY: buffer and place have the lengths that are told.
        unsafe { libc::recvfrom(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0, place, len) }
    })?;
    Ok((size.unsigned_abs(), sender(&raw)?))
}

/// A Unix socket that did not bind sends without an address.
fn sender(raw: &RawAddress) -> io::Result<Address> {
    if raw.len() == 0 {
        return Ok(Address::UNNAMED);
    }
    Address::try_from(raw)
}

/// Writes what the socket takes now. A peer that is gone is an error, never a signal.
pub fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let (start, len) = (bytes.as_ptr().cast(), bytes.len());
    // SAFETY: the bytes have the length that is told.
    Ok(retried(|| unsafe { libc::send(fd, start, len, libc::MSG_NOSIGNAL) })?.unsigned_abs())
}

/// Sends one datagram to `address`.
pub fn send_to(fd: RawFd, bytes: &[u8], address: &Address) -> io::Result<usize> {
    let raw = RawAddress::from(address);
    let (start, len) = (bytes.as_ptr().cast(), bytes.len());
    let send = || {
        // SAFETY: bytes and address have the lengths that are told.
        unsafe { libc::sendto(fd, start, len, libc::MSG_NOSIGNAL, raw.as_ptr(), raw.len()) }
    };
    Ok(retried(send)?.unsigned_abs())
}

/// Writes the pieces one behind the other, as far as the socket takes them now: at most the first
/// [`MAX_PIECES`]. On a datagram socket they are one datagram.
pub fn send_all_of(fd: RawFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    let count = pieces.len().min(MAX_PIECES);
    // SAFETY: all-zero is a valid message without address and control data.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    // The system only reads them; an IoSlice has the layout of an iovec.
    message.msg_iov = pieces.as_ptr().cast_mut().cast();
    message.msg_iovlen = count as _;
    // SAFETY: the message points to `count` pieces, which outlive the call.
    Ok(retried(|| unsafe { libc::sendmsg(fd, &message, libc::MSG_NOSIGNAL) })?.unsigned_abs())
}

/// Writes a part of a file, as far as the socket takes it now, without a copy in this process; 0
/// means that the file ends before. A peer that is gone is an error, and a signal, too, where that
/// is not ignored.
pub fn send_file(fd: RawFd, file: RawFd, offset: u64, count: usize) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let write = || {
        let mut position = offset;
        // SAFETY: the position outlives the call.
        unsafe { libc::sendfile(fd, file, &mut position, count) }
    };
    Ok(retried(write)?.unsigned_abs())
}

/// Waits until a socket takes bytes, or writing would tell why not; false when the time (in
/// milliseconds, `None` without limit) has passed before.
pub fn wait_writable(fd: RawFd, timeout_ms: Option<u64>) -> io::Result<bool> {
    let timeout = timeout_ms.map_or(-1, |ms| c_int::try_from(ms).unwrap_or(c_int::MAX));
    let mut entry = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, which outlives the call.
    match checked(unsafe { libc::poll(&mut entry, 1, timeout) }) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
        result => result.map(|count| count > 0),
    }
}

/// Ends our side of a stream: the peer reads the end once it has read everything before.
pub fn shutdown_write(fd: RawFd) -> io::Result<()> {
    // SAFETY: plain system call.
    checked(unsafe { libc::shutdown(fd, libc::SHUT_WR) }).map(drop)
}

/// Two connected streams within this machine, which block.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let form = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    let mut ends: [RawFd; 2] = [-1; 2];
    // SAFETY: the array has the room for two descriptors that the call fills.
    checked(unsafe { libc::socketpair(libc::AF_UNIX, form, 0, ends.as_mut_ptr()) })?;
    // SAFETY: the call has just made both, and nobody else knows them.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Ends both sides of a stream: the peer reads what has come and then the end, and writes no more.
pub fn shutdown(fd: RawFd) -> io::Result<()> {
    // SAFETY: plain system call.
    checked(unsafe { libc::shutdown(fd, libc::SHUT_RDWR) }).map(drop)
}

/// Takes the error that waits on a socket, `None` if there is none.
pub fn pending_error(fd: RawFd) -> io::Result<Option<io::Error>> {
    let code: c_int = option(fd, libc::SOL_SOCKET, libc::SO_ERROR)?;
    Ok((code != 0).then(|| io::Error::from_raw_os_error(code)))
}

/// Makes a descriptor that somebody else has opened non-blocking.
pub fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    change_flags(fd, |flags| flags | libc::O_NONBLOCK)
}

/// Makes a descriptor block, also if somebody else has made it non-blocking.
pub fn set_blocking(fd: RawFd) -> io::Result<()> {
    change_flags(fd, |flags| flags & !libc::O_NONBLOCK)
}

fn change_flags(fd: RawFd, change: impl FnOnce(c_int) -> c_int) -> io::Result<()> {
    // SAFETY: plain system call, which takes no memory.
    let flags = checked(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    // SAFETY: as above.
    checked(unsafe { libc::fcntl(fd, libc::F_SETFL, change(flags)) }).map(drop)
}

/// Has small writes leave at once. An accepted socket has it from its listener.
pub fn set_nodelay(fd: RawFd, is_on: bool) -> io::Result<()> {
    set_flag(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, is_on)
}

/// Has the close of this socket throw unsent bytes away and reset the peer.
pub fn reset_on_close(fd: RawFd) -> io::Result<()> {
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &at_once)
}

/// When a silent peer is asked whether it still lives, how often, and after how many unanswered
/// questions it counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    pub idle_s: i32,
    pub interval_s: i32,
    pub count: i32,
}

/// Has the system watch silent peers. An accepted socket has it from its listener. What the system
/// takes holds, whatever it refuses.
pub fn set_keepalive(fd: RawFd, keepalive: &Keepalive) -> io::Result<()> {
    let results = [
        set_flag(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, true),
        set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, &keepalive.idle_s),
        set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, &keepalive.interval_s),
        set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, &keepalive.count),
    ];
    results.into_iter().collect()
}

/// How long sent bytes may stay unacknowledged before the connection is broken off.
pub fn set_user_timeout(fd: RawFd, timeout_ms: u32) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, &timeout_ms)
}

/// Has a listener offer a connection only when data has come, or after `seconds`.
pub fn set_defer_accept(listener: RawFd, seconds: i32) -> io::Result<()> {
    set_option(listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, &seconds)
}

/// Has a listener take data with the first packet, for so many connections at a time.
pub fn set_fast_open(listener: RawFd, queue_length: i32) -> io::Result<()> {
    set_option(listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, &queue_length)
}

/// How much the system keeps for this socket until it is read.
pub fn set_receive_buffer(fd: RawFd, bytes: i32) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &bytes)
}

/// How much the system keeps for this socket until the peer takes it.
pub fn set_send_buffer(fd: RawFd, bytes: i32) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &bytes)
}

/// Bytes that were written and that the peer's system has not got; the end of writing is one.
pub fn undelivered_bytes(fd: RawFd) -> io::Result<c_int> {
    let mut count: c_int = 0;
    // SAFETY: the request writes one integer, which outlives the call.
    checked(unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &mut count) })?;
    Ok(count)
}

fn set_flag(fd: RawFd, level: c_int, name: c_int, is_on: bool) -> io::Result<()> {
    set_option(fd, level, name, &c_int::from(is_on))
}

fn set_option<T: Copy>(fd: RawFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let len = mem::size_of::<T>() as libc::socklen_t;
    let value: *const T = value;
    // SAFETY: the value outlives the call and has the length that is told.
    checked(unsafe { libc::setsockopt(fd, level, name, value.cast(), len) }).map(drop)
}

/// The value of an option that is one integer.
fn option(fd: RawFd, level: c_int, name: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut len = mem::size_of::<c_int>() as libc::socklen_t;
    // SAFETY: value and length outlive the call, and the length is the value's.
    let result =
        unsafe { libc::getsockopt(fd, level, name, ptr::addr_of_mut!(value).cast(), &mut len) };
    checked(result)?;
    Ok(value)
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
