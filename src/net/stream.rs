//! A connected stream. TLS will stand beside it with the same face.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

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
pub struct Stream {
    socket: OwnedFd,
    /// Bytes that the socket has taken, for whoever wants to see whether it takes any.
    written: Cell<u64>,
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

impl Stream {
    /// The stream on a connected, non-blocking socket.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, written: Cell::new(0) }
    }

    /// Reads what is there, at most the length of `into`, which must not be empty.
    #[inline]
    pub fn read(&self, into: &mut [u8]) -> Moved {
        Moved::of(socket::recv(self.as_raw_fd(), into))
    }

    /// Writes as much of `bytes` as the socket takes; `bytes` must not be empty.
    #[inline]
    pub fn write(&self, bytes: &[u8]) -> Moved {
        self.note(Moved::of(socket::send(self.as_raw_fd(), bytes)))
    }

    /// Writes as much of the parts, in order, as the socket takes.
    pub fn write_parts(&self, parts: &[IoSlice<'_>]) -> Moved {
        self.note(Moved::of(socket::send_all_of(self.as_raw_fd(), parts)))
    }

    #[inline]
    fn note(&self, moved: Moved) -> Moved {
        if let Moved::Bytes(count) = moved {
            self.written.set(self.written.get().wrapping_add(count as u64));
        }
        moved
    }

    /// Bytes that the socket has taken since it was connected.
    pub fn written_bytes(&self) -> u64 {
        self.written.get()
    }

    /// Why the connection is broken, if it is: an `errno`. It is told once.
    pub fn take_failure(&self) -> Option<i32> {
        let error = socket::pending_error(self.as_raw_fd()).ok().flatten();
        error.and_then(|error| error.raw_os_error())
    }

    /// Writes at most `count` bytes of a file from `offset` on, as far as the socket takes them.
    /// `End` means that the file ends before.
    pub fn write_file(&self, file: &File, offset: u64, count: usize) -> Moved {
        self.note(Moved::of(socket::send_file(self.as_raw_fd(), file.as_raw_fd(), offset, count)))
    }

    /// Waits until it takes bytes, or writing would tell why not; false when the time (in
    /// milliseconds, `None` without limit) has passed before, or the `errno`.
    pub fn wait_writable(&self, timeout_ms: Option<u64>) -> Result<bool, i32> {
        socket::wait_writable(self.as_raw_fd(), timeout_ms)
            .map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
    }

    /// Tells the peer that nothing more will come, behind what was written; reading goes on.
    pub fn end_writing(&self) {
        if let Err(error) = socket::shutdown_write(self.as_raw_fd()) {
            log::debug!("the peer of descriptor {} was gone: {error}", self.as_raw_fd());
        }
    }

    /// Whether the peer's system has all that was written, and the end of it.
    pub fn is_delivered(&self) -> bool {
        // Where that cannot be known, nobody waits for it.
        socket::undelivered_bytes(self.as_raw_fd()).map_or(true, |count| count == 0)
    }

    /// Closes with a reset: what the system still holds for the peer is thrown away.
    pub fn reset(self) {
        if socket::reset_on_close(self.as_raw_fd()).is_err() {
            log::debug!("descriptor {} is closed without a reset", self.as_raw_fd());
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
