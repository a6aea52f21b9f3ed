//! A connected stream, plain or with TLS. Whoever reads and writes sees no difference but two
//! questions that a plain stream always denies: whether input is there that no event will tell of,
//! and whether output is kept that the socket did not take.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::error::Result;
use crate::net::tls::{Handshake, Terms, TlsStream};
use crate::os::socket;

/// The `errno` of a connection whose peer reads no more.
pub const PEER_GONE: i32 = libc::EPIPE;
/// The `errno`s of a file that cannot be opened until others are closed.
pub const NO_DESCRIPTOR: [i32; 2] = [libc::EMFILE, libc::ENFILE];
/// The `errno` of what waited for a connection that is not open any more.
pub const CONNECTION_ENDED: i32 = libc::ECONNRESET;
/// The `errno` of a connection whose output could not be kept.
pub const NO_MEMORY: i32 = libc::ENOMEM;

/// The `errno` of a wait that took too long.
pub const TIMED_OUT: i32 = libc::ETIMEDOUT;

/// A connected stream socket; dropping it closes it.
#[derive(Debug)]
pub struct Stream(Kind);

#[derive(Debug)]
enum Kind {
    Plain(Plain),
    /// In a box: it is large, and a plain stream shall not be.
    Tls(Box<TlsStream>),
}

#[derive(Debug)]
struct Plain {
    socket: OwnedFd,
    /// Bytes that the socket has taken, for whoever wants to see whether it takes any.
    written: u64,
}

/// What one read or write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Not now.
    WouldBlock,
    /// The peer has ended its side; of reads only.
    End,
    /// The connection is broken, with this `errno`.
    Broken(i32),
}

impl Moved {
    fn of(result: io::Result<usize>) -> Self {
        match result {
            Ok(0) => Moved::End,
            Ok(count) => Moved::Bytes(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Moved::WouldBlock,
            Err(error) => Moved::Broken(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}

impl Plain {
    #[inline]
    fn note(&mut self, moved: Moved) -> Moved {
        if let Moved::Bytes(count) = moved {
            self.written = self.written.wrapping_add(count as u64);
        }
        moved
    }
}

impl Stream {
    /// The stream on a connected, non-blocking socket.
    pub fn new(socket: OwnedFd) -> Self {
        Self(Kind::Plain(Plain { socket, written: 0 }))
    }

    /// The same with TLS, before its first byte.
    pub fn secured(self, terms: &Terms) -> Result<Self> {
        match self.0 {
            Kind::Plain(Plain { socket, .. }) => {
                let stream = TlsStream::new(socket, terms)?;
                Ok(Self(Kind::Tls(Box::new(stream))))
            }
            Kind::Tls(_) => Ok(self),
        }
    }

    /// Goes on with the handshake, as far as that is possible now.
    pub fn handshake(&mut self) -> Handshake {
        match &mut self.0 {
            Kind::Plain(_) => Handshake::Done,
            Kind::Tls(stream) => stream.handshake(),
        }
    }

    /// Reads what is there, at most the length of `into`, which must not be empty.
    #[inline]
    pub fn read(&mut self, into: &mut [u8]) -> Moved {
        match &mut self.0 {
            Kind::Plain(plain) => Moved::of(socket::recv(plain.socket.as_raw_fd(), into)),
            Kind::Tls(stream) => stream.read(into),
        }
    }

    /// Whether a read would give something that no event tells of.
    #[inline]
    pub fn has_pending_input(&self) -> bool {
        match &self.0 {
            Kind::Plain(_) => false,
            Kind::Tls(stream) => stream.has_pending_input(),
        }
    }

    /// Whether bytes have come that the last read, or step of the handshake, had nothing to give
    /// for.
    pub fn has_heard(&self) -> bool {
        match &self.0 {
            Kind::Plain(_) => false,
            Kind::Tls(stream) => stream.has_heard(),
        }
    }

    /// Reads what the peer has sent as it came, to be thrown away.
    pub fn discard(&mut self, waste: &mut [u8]) -> Moved {
        Moved::of(socket::recv(self.as_raw_fd(), waste))
    }

    /// Writes as much of `bytes` as is taken; `bytes` must not be empty.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Moved {
        match &mut self.0 {
            Kind::Plain(plain) => {
                let moved = Moved::of(socket::send(plain.socket.as_raw_fd(), bytes));
                plain.note(moved)
            }
            Kind::Tls(stream) => stream.write(bytes),
        }
    }

    /// Writes as much of the parts, in order, as is taken.
    pub fn write_parts(&mut self, parts: &[IoSlice<'_>]) -> Moved {
        match &mut self.0 {
            Kind::Plain(plain) => {
                let moved = Moved::of(socket::send_all_of(plain.socket.as_raw_fd(), parts));
                plain.note(moved)
            }
            Kind::Tls(stream) => stream.write_parts(parts),
        }
    }

    /// Whether bytes that were taken wait here: see [`Stream::flush`].
    #[inline]
    pub fn wants_write(&self) -> bool {
        match &self.0 {
            Kind::Plain(_) => false,
            Kind::Tls(stream) => stream.wants_write(),
        }
    }

    /// How many bytes they are, as they will be sent.
    #[inline]
    pub fn queued_bytes(&self) -> usize {
        match &self.0 {
            Kind::Plain(_) => 0,
            Kind::Tls(stream) => stream.queued_bytes(),
        }
    }

    /// Writes what waits here: whether nothing waits any more, or the `errno` of a broken
    /// connection.
    #[inline]
    pub fn flush(&mut self) -> std::result::Result<bool, i32> {
        match &mut self.0 {
            Kind::Plain(_) => Ok(true),
            Kind::Tls(stream) => stream.flush(),
        }
    }

    /// Bytes that the socket has taken since it was connected.
    pub fn written_bytes(&self) -> u64 {
        match &self.0 {
            Kind::Plain(plain) => plain.written,
            Kind::Tls(stream) => stream.written_bytes(),
        }
    }

    /// Why the connection is broken, if it is: an `errno`. It is told once.
    pub fn take_failure(&self) -> Option<i32> {
        let error = socket::pending_error(self.as_raw_fd()).ok().flatten();
        error.and_then(|error| error.raw_os_error())
    }

    /// Writes at most `count` bytes of a file from `offset` on, as far as they are taken. `End`
    /// means that the file ends before.
    pub fn write_file(&mut self, file: &File, offset: u64, count: usize) -> Moved {
        match &mut self.0 {
            Kind::Plain(plain) => {
                let from = file.as_raw_fd();
                let sent = socket::send_file(plain.socket.as_raw_fd(), from, offset, count);
                plain.note(Moved::of(sent))
            }
            Kind::Tls(stream) => stream.write_file(file, offset, count),
        }
    }

    /// Waits until it takes bytes, or writing would tell why not; false when the time (in
    /// milliseconds, `None` without limit) has passed before, or the `errno`.
    pub fn wait_writable(&self, timeout_ms: Option<u64>) -> std::result::Result<bool, i32> {
        socket::wait_writable(self.as_raw_fd(), timeout_ms)
            .map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
    }

    /// What was written stays a part: throws away what waits here.
    pub fn cut(&mut self) {
        if let Kind::Tls(stream) = &mut self.0 {
            stream.cut();
        }
    }

    /// Whether it can be closed without taking anything from the peer: with TLS, the end is said
    /// first, behind all else, and has to be taken by the socket.
    #[inline]
    pub fn takes_leave(&mut self) -> bool {
        match &mut self.0 {
            Kind::Plain(_) => true,
            Kind::Tls(stream) => {
                stream.end_writing();
                !stream.wants_write()
            }
        }
    }

    /// Tells the peer that nothing more will come, behind what was written; reading goes on.
    pub fn end_writing(&mut self) {
        match &mut self.0 {
            Kind::Plain(plain) => {
                let descriptor = plain.socket.as_raw_fd();
                if let Err(error) = socket::shutdown_write(descriptor) {
                    log::debug!("the peer of descriptor {descriptor} was gone: {error}");
                }
            }
            Kind::Tls(stream) => stream.end_writing(),
        }
    }

    /// Whether the peer's system has all that was written, and the end of it.
    pub fn is_delivered(&self) -> bool {
        match &self.0 {
            // Where that cannot be known, nobody waits for it.
            Kind::Plain(plain) => {
                socket::undelivered_bytes(plain.socket.as_raw_fd()).map_or(true, |count| count == 0)
            }
            Kind::Tls(stream) => stream.is_delivered(),
        }
    }

    /// Closes with a reset: what the system still holds for the peer is thrown away.
    pub fn reset(self) {
        if socket::reset_on_close(self.as_raw_fd()).is_err() {
            log::debug!("descriptor {} is closed without a reset", self.as_raw_fd());
        }
    }

    /// The certificate of the peer, as PEM, if it gave one.
    pub fn peer_certificate(&self) -> Option<String> {
        match &self.0 {
            Kind::Plain(_) => None,
            Kind::Tls(stream) => stream.client_certificate(),
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match &self.0 {
            Kind::Plain(plain) => plain.socket.as_raw_fd(),
            Kind::Tls(stream) => stream.as_raw_fd(),
        }
    }
}
