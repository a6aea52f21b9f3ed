//! The event loop of a unit: which descriptors are ready, and for whom.
//!
//! A thin face over mio. Readiness is edge-triggered: an event says that something has changed
//! since the last one, so whoever gets it goes on until the descriptor would block, or remembers
//! that it did not. The one exception are listeners, which are watched level-triggered and
//! exclusively, so that of many processes one wakes up for a new connection.

pub mod post;
pub mod timer;

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry};

use crate::os::epoll;

/// The most events that one round takes.
const EVENTS_PER_ROUND: usize = 1024;
const TAG_SHIFT: u32 = 60;
const VALUE_MASK: u64 = (1 << TAG_SHIFT) - 1;

/// What a descriptor is watched for, or ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interests {
    /// Reading.
    pub is_reading: bool,
    /// Writing.
    pub is_writing: bool,
}

/// Whom an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// A connection, by its session id.
    Session(i64),
    /// The unit's own doorbell.
    Doorbell,
    /// A signal has come.
    Signal,
    /// The process of the root has ended.
    RootEnd,
    /// A listener, by its number.
    Listener(u16),
    /// A port that datagrams come to, by its number.
    Datagrams(u16),
    /// A child process, by its unit.
    Child(u16),
    /// A descriptor of the program.
    Program(RawFd),
    /// The doorbell of the desk, where answers to commands come.
    Desk,
}

impl Token {
    fn encode(self) -> u64 {
        let (tag, value) = match self {
            Token::Session(id) => (0, id as u64 & VALUE_MASK),
            Token::Doorbell => (1, 0),
            Token::Signal => (2, 0),
            Token::RootEnd => (3, 0),
            Token::Listener(number) => (4, u64::from(number)),
            Token::Child(unit) => (5, u64::from(unit)),
            Token::Program(fd) => (6, u64::from(fd.unsigned_abs())),
            Token::Datagrams(number) => (7, u64::from(number)),
            Token::Desk => (8, 0),
        };
        tag << TAG_SHIFT | value
    }

    fn decode(word: u64) -> Self {
        let value = word & VALUE_MASK;
        match word >> TAG_SHIFT {
            1 => Token::Doorbell,
            2 => Token::Signal,
            3 => Token::RootEnd,
            4 => Token::Listener(value as u16),
            5 => Token::Child(value as u16),
            6 => Token::Program(value as RawFd),
            7 => Token::Datagrams(value as u16),
            8 => Token::Desk,
            _ => Token::Session(value as i64),
        }
    }
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// Whom it is for.
    pub token: Token,
    /// There is something to read, or reading will tell why not.
    pub is_readable: bool,
    /// There is room to write, or writing will tell why not.
    pub is_writable: bool,
    /// Nothing comes behind what is there: read on until the end, a short read proves nothing.
    pub is_final: bool,
}

/// The loop's waiting part; it belongs to the code that runs the loop.
pub struct Loop {
    poll: Poll,
    events: Events,
}

/// The loop's registering part. It may be used from other threads of the process.
pub struct Watcher {
    registry: Registry,
    epoll: RawFd,
}

impl Loop {
    /// A loop that watches nothing yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self { poll: Poll::new()?, events: Events::with_capacity(EVENTS_PER_ROUND) })
    }

    /// Another handle for registering.
    pub fn watcher(&self) -> io::Result<Watcher> {
        let registry = self.poll.registry().try_clone()?;
        Ok(Watcher { epoll: registry.as_raw_fd(), registry })
    }

    /// Waits for events, `None` without limit. An interruption by a signal gives no event.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            result => result,
        }
    }

    /// The events of the last wait.
    pub fn ready(&self) -> impl Iterator<Item = Ready> + '_ {
        self.events.iter().map(|event| Ready {
            token: Token::decode(event.token().0 as u64),
            is_readable: event.is_readable() || event.is_read_closed() || event.is_error(),
            is_writable: event.is_writable() || event.is_write_closed() || event.is_error(),
            is_final: event.is_read_closed() || event.is_error() || event.is_priority(),
        })
    }

    /// The descriptor of the loop, for a forked child to close.
    pub fn descriptor(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

impl Watcher {
    /// Another handle on the same loop.
    pub fn try_clone(&self) -> io::Result<Self> {
        let registry = self.registry.try_clone()?;
        Ok(Self { epoll: registry.as_raw_fd(), registry })
    }

    /// Watches for reading.
    pub fn watch(&self, fd: RawFd, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::PRIORITY;
        self.registry.register(&mut SourceFd(&fd), token_of(token), interest)
    }

    /// Watches for reading and writing what [`Watcher::watch`] watches already.
    pub fn watch_writing_too(&self, fd: RawFd, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::PRIORITY | Interest::WRITABLE;
        self.registry.reregister(&mut SourceFd(&fd), token_of(token), interest)
    }

    /// Watches a listener, level-triggered and exclusively.
    pub fn watch_listener(&self, fd: RawFd, token: Token) -> io::Result<()> {
        epoll::add_exclusive(self.epoll, fd, token.encode())
    }

    /// Watches a descriptor of the program, level-triggered.
    pub fn watch_level(&self, fd: RawFd, interests: Interests, token: Token) -> io::Result<()> {
        let Interests { is_reading, is_writing } = interests;
        epoll::add_level(self.epoll, fd, is_reading, is_writing, token.encode())
    }

    /// Changes what [`Watcher::watch_level`] watches for.
    pub fn change_level(&self, fd: RawFd, interests: Interests, token: Token) -> io::Result<()> {
        let Interests { is_reading, is_writing } = interests;
        epoll::change_level(self.epoll, fd, is_reading, is_writing, token.encode())
    }

    /// Watches it no longer. Closing a descriptor does the same, if no other process holds it.
    pub fn forget(&self, fd: RawFd) -> io::Result<()> {
        epoll::remove(self.epoll, fd)
    }

    /// The descriptor of this handle, for a forked child to close.
    pub fn descriptor(&self) -> RawFd {
        self.epoll
    }
}

fn token_of(token: Token) -> mio::Token {
    mio::Token(token.encode() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_token_comes_back_as_it_was_put_in() {
        for token in [
            Token::Session(1),
            Token::Session((1 << 60) - 1),
            Token::Doorbell,
            Token::Signal,
            Token::RootEnd,
            Token::Listener(u16::MAX),
            Token::Datagrams(u16::MAX),
            Token::Child(7),
            Token::Program(RawFd::MAX),
            Token::Desk,
        ] {
            assert_eq!(Token::decode(token.encode()), token);
        }
    }

    #[test]
    fn an_edge_is_told_once_and_the_end_is_told_as_final() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let mut events = Loop::new().unwrap();
        events.watcher().unwrap().watch(far.as_raw_fd(), Token::Session(3)).unwrap();
        near.write_all(b"x").unwrap();
        events.wait(Some(Duration::from_secs(5))).unwrap();
        let ready: Vec<Ready> = events.ready().collect();
        assert_eq!(ready.len(), 1);
        assert_eq!(ready[0].token, Token::Session(3));
        assert!(ready[0].is_readable && !ready[0].is_final);
        events.wait(Some(Duration::ZERO)).unwrap();
        assert_eq!(events.ready().count(), 0);
        drop(near);
        events.wait(Some(Duration::from_secs(5))).unwrap();
        assert!(events.ready().all(|ready| ready.is_readable && ready.is_final));
        assert_eq!(events.ready().count(), 1);
    }
}
