//! A connected stream with TLS on it, with the face of the plain one.
//!
//! The records are rustls's, the buffers are ours: what a socket gives is read into memory that all
//! connections of a thread share, decrypted there and copied to the caller; what is sent is
//! encrypted there. A connection keeps only what is unfinished: the beginning of a record, bytes
//! that a reader had no room for, records that the socket did not take. One that is idle keeps none
//! of them.
//!
//! As on a plain stream, a read that fills less than it was given has left nothing in the socket.
//! Two things differ, and each has its question: something may be known that no event will tell
//! ([`TlsStream::has_pending_input`]), and what was taken from a writer may not have left yet
//! ([`TlsStream::wants_write`]).

mod writing;

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncryptError};

use crate::error::{code, Error, Result};
use crate::net::stream::Moved;
use crate::os::socket;

use super::records::{copy, digest, Waiting};
use super::{files, first_bytes, reasons, Terms};

/// The most bytes that one read takes from the socket: those of four whole records and a bit.
const MOST_READ: usize = 66 * 1024;
/// The fewest that it asks for: a whole record, so that small readers need few reads.
const LEAST_READ: usize = 17 * 1024;
/// Reads of the socket in one read of the stream: bytes in small records, or records without any,
/// are much work for little.
const MOST_RECEIVES: usize = 4;
/// More than what four records add to the bytes in them.
const READ_OVERHEAD: usize = 512;
/// The most bytes that are kept because they are unfinished: the longest handshake message that is
/// taken, in a few records.
const MOST_KEPT: usize = 80 * 1024;
/// Bytes that a thread has for all its connections.
const SHARED_BYTES: usize = MOST_READ + MOST_KEPT;

thread_local! {
    /// Made when the first connection of a thread needs it.
    static SHARED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends the memory that the connections of a thread share. What it is lent to does not call this.
fn with_shared<R>(act: impl FnOnce(&mut [u8]) -> R) -> R {
    SHARED.with(|shared| {
        let mut shared = shared.borrow_mut();
        if shared.is_empty() {
            shared.resize(SHARED_BYTES, 0);
        }
        act(&mut shared)
    })
}

/// How a handshake stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The peer has to send something.
    NeedsRead,
    /// The socket has to take something first, or the peer to send.
    NeedsWrite,
    /// Finished. The first message may have come with the end of it: read at once.
    Done,
    /// Over, with the reason, which fits into a line of the log. The peer was told as far as that
    /// is possible: close the connection.
    Failed(Error),
}

/// What a read of the socket has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Received {
    Nothing,
    /// Less than was asked for: nothing is left, but the end.
    Part,
    /// All that was asked for: there may be more.
    All,
}

/// Where our side of the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Open,
    /// The end follows what still waits.
    Ending,
    Ended,
}

/// A connected stream socket with TLS; dropping it closes it. It is large: keep it in a box.
pub struct TlsStream {
    socket: OwnedFd,
    connection: UnbufferedServerConnection,
    /// Received, not decrypted yet: less than a record, or parts of a handshake message.
    sealed: Vec<u8>,
    /// Decrypted, not read yet.
    plain: Waiting,
    /// Encrypted, not taken by the socket yet.
    outgoing: Waiting,
    writing: Writing,
    /// Bytes that the socket has taken.
    written: u64,
    has_begun: bool,
    /// The socket gave bytes at the last read, or step of the handshake.
    has_heard: bool,
    /// The last read was over before the socket had nothing left.
    has_more: bool,
    peer_has_ended: bool,
    broken: Option<Error>,
}

impl std::fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStream").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// What a socket's error is for who reads and writes.
fn errno_of(error: &Error) -> i32 {
    match error.code() {
        errno @ 1..=499 => errno,
        _ => libc::EPROTO,
    }
}

fn is_not_now(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

impl TlsStream {
    /// The stream on a connected, non-blocking socket that has just been accepted.
    pub fn new(socket: OwnedFd, terms: &Terms) -> Result<Self> {
        let connection =
            UnbufferedServerConnection::new(Arc::clone(&terms.config)).map_err(|error| {
                Error::new(code::SSL_CREATE_SESSION_FAILED, format!("no TLS session: {error}"))
            })?;
        Ok(Self {
            socket,
            connection,
            sealed: Vec::new(),
            plain: Waiting::default(),
            outgoing: Waiting::default(),
            writing: Writing::Open,
            written: 0,
            has_begun: false,
            has_heard: false,
            has_more: false,
            peer_has_ended: false,
            broken: None,
        })
    }

    /// Goes on with the handshake, as far as that is possible now.
    pub fn handshake(&mut self) -> Handshake {
        self.has_heard = false;
        loop {
            let (_, received) = self.receive(&mut []);
            if let Err(errno) = self.flush() {
                // Why the peer has left may be what it said before.
                self.broken.get_or_insert_with(|| reasons::reset(errno));
            }
            if let Some(error) = &self.broken {
                let reason = error.clone();
                self.end_writing();
                return Handshake::Failed(reason);
            }
            if !self.connection.is_handshaking() {
                return Handshake::Done;
            }
            if self.peer_has_ended {
                return Handshake::Failed(reasons::left(self.has_begun));
            }
            // The end may have come with the last bytes, and no event tells of it again.
            if received == Received::Nothing {
                return match self.wants_write() {
                    true => Handshake::NeedsWrite,
                    false => Handshake::NeedsRead,
                };
            }
        }
    }

    /// Reads what is there, at most the length of `into`, which must not be empty. That it would
    /// block may mean that there was much and nothing for the caller in it; then there is input
    /// pending.
    pub fn read(&mut self, into: &mut [u8]) -> Moved {
        let mut count = self.plain.take_into(into);
        (self.has_heard, self.has_more) = (false, false);
        for _ in 0..MOST_RECEIVES {
            if count >= into.len() {
                break;
            }
            let (more, received) = self.receive(into.get_mut(count..).unwrap_or_default());
            count += more;
            self.has_more = received == Received::All;
            if !self.has_more {
                break;
            }
        }
        match &self.broken {
            _ if count > 0 => Moved::Bytes(count),
            Some(error) => Moved::Broken(errno_of(error)),
            None if self.peer_has_ended => Moved::End,
            None => Moved::WouldBlock,
        }
    }

    /// Whether a read would give something that the socket may tell nothing of: bytes, or the end.
    pub fn has_pending_input(&self) -> bool {
        self.has_more || !self.plain.is_empty() || self.peer_has_ended || self.broken.is_some()
    }

    /// Whether the last read, or step of the handshake, found bytes in the socket, be they part of
    /// a record.
    pub fn has_heard(&self) -> bool {
        self.has_heard
    }

    /// Reads the socket once. Gives how many bytes were put into `into`, and what the socket had;
    /// the end and a breach are noted. `plain` is empty or `into` is.
    fn receive(&mut self, into: &mut [u8]) -> (usize, Received) {
        if self.peer_has_ended || self.broken.is_some() {
            return (0, Received::Nothing);
        }
        with_shared(|shared| {
            let kept = copy(&self.sealed, shared);
            let wanted = into.len().saturating_add(READ_OVERHEAD).clamp(LEAST_READ, MOST_READ);
            let room = shared.get_mut(kept..).and_then(|room| room.get_mut(..wanted));
            let Some(room) = room.filter(|_| kept < MOST_KEPT) else {
                self.broken = Some(reasons::endless());
                return (0, Received::Nothing);
            };
            match socket::recv(self.socket.as_raw_fd(), room) {
                Ok(0) => self.peer_has_ended = true,
                Ok(count) => {
                    self.has_heard = true;
                    let bytes = shared.get_mut(..kept + count).unwrap_or_default();
                    let received = if count == wanted { Received::All } else { Received::Part };
                    return (self.take_in(bytes, into), received);
                }
                Err(error) if is_not_now(&error) => {}
                Err(error) => {
                    self.broken = Some(Error::system("the connection is broken", &error));
                }
            }
            (0, Received::Nothing)
        })
    }

    /// Digests received bytes; how many plain ones were put into `into`.
    fn take_in(&mut self, bytes: &mut [u8], into: &mut [u8]) -> usize {
        if !self.has_begun {
            if let Some(error) = first_bytes::refusal(bytes) {
                // To who speaks something else nothing is said.
                self.writing = Writing::Ended;
                self.broken = Some(error);
                return 0;
            }
            self.has_begun = true;
        }
        let (mut count, plain) = (0, &mut self.plain);
        let digested = digest(&mut self.connection, bytes, &mut self.outgoing, |record| {
            let copied = copy(record, into.get_mut(count..).unwrap_or_default());
            count += copied;
            plain.push(record.get(copied..).unwrap_or_default());
        });
        self.peer_has_ended |= digested.peer_has_ended;
        if let Some(error) = &digested.error {
            // Who reads gets the records before it first.
            self.broken = Some(reasons::of(error));
        }
        self.keep_sealed(bytes.get(digested.used..).unwrap_or_default());
        if let (false, Err(errno)) = (self.outgoing.is_empty(), self.flush()) {
            self.broken.get_or_insert_with(|| reasons::reset(errno));
        }
        count
    }

    fn keep_sealed(&mut self, rest: &[u8]) {
        if rest.is_empty() || self.peer_has_ended || self.broken.is_some() {
            self.sealed = Vec::new();
        } else {
            self.sealed.clear();
            self.sealed.extend_from_slice(rest);
        }
    }

    /// Whether something waits for the socket to take it: see [`TlsStream::flush`].
    pub fn wants_write(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// How many bytes wait for the socket to take them, as they will be sent.
    pub fn queued_bytes(&self) -> usize {
        self.outgoing.len()
    }

    /// Bytes that the socket has taken since it was connected.
    pub fn written_bytes(&self) -> u64 {
        self.written
    }

    /// Throws away what waits for the socket. The peer gets no orderly end any more: what it has
    /// may be a part.
    pub fn cut(&mut self) {
        self.outgoing = Waiting::default();
        self.writing = Writing::Ended;
    }

    /// Writes what waits, as far as the socket takes it: whether nothing waits any more, or the
    /// `errno` of a broken connection.
    pub fn flush(&mut self) -> std::result::Result<bool, i32> {
        while !self.outgoing.is_empty() {
            match socket::send(self.socket.as_raw_fd(), self.outgoing.rest()) {
                Ok(count) => {
                    self.written = self.written.wrapping_add(count as u64);
                    self.outgoing.consume(count);
                }
                Err(error) if is_not_now(&error) => return Ok(false),
                Err(error) => return Err(error.raw_os_error().unwrap_or(libc::EIO)),
            }
        }
        if self.writing == Writing::Ending {
            self.shut();
        }
        Ok(true)
    }

    /// Tells the peer that nothing more will come, behind what was written; reading goes on. If the
    /// socket is full, that waits with the rest.
    pub fn end_writing(&mut self) {
        if self.writing == Writing::Open {
            self.writing = Writing::Ending;
            if !self.connection.is_handshaking() && self.broken.is_none() {
                self.queue_end();
            }
        }
        match self.flush() {
            Ok(_) if self.outgoing.is_empty() => self.shut(),
            Ok(_) => {}
            Err(errno) => {
                log::debug!("descriptor {} was broken: errno {errno}", self.as_raw_fd());
                self.outgoing = Waiting::default();
            }
        }
    }

    fn queue_end(&mut self) {
        let status = self.connection.process_tls_records(&mut self.sealed);
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
            self.outgoing.push_made(|room| {
                traffic.queue_close_notify(room).map_err(|error| match error {
                    EncryptError::InsufficientSize(size) => Some(size.required_size),
                    EncryptError::EncryptExhausted => None,
                })
            });
        }
    }

    fn shut(&mut self) {
        self.writing = Writing::Ended;
        if let Err(error) = socket::shutdown_write(self.as_raw_fd()) {
            log::debug!("the peer of descriptor {} was gone: {error}", self.as_raw_fd());
        }
    }

    /// Whether the peer's system has all that was written, and the end of it.
    pub fn is_delivered(&self) -> bool {
        // Where that cannot be known, nobody waits for it.
        let has_left = || socket::undelivered_bytes(self.as_raw_fd()).map_or(true, |n| n == 0);
        !self.wants_write() && has_left()
    }

    /// The certificate of the client, as PEM; `None` if it gave none.
    pub fn client_certificate(&self) -> Option<String> {
        self.connection.peer_certificates()?.first().and_then(files::to_pem)
    }

    /// The protocol that both want to speak inside, if that was asked.
    pub fn protocol_inside(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }
}

impl AsRawFd for TlsStream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
