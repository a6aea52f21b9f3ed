//! The closed-loop load: a fixed number of connections, each with a fixed number of messages under
//! way. A reply is answered by the next message at once; a run ends when the last reply is in, so
//! that nothing of it is left for whoever is measured next.
//!
//! The sockets are watched edge-triggered: a read that did not fill the buffer has emptied the
//! socket, and whatever comes later is reported again.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::histogram::Histogram;

const EVENTS_MAX: usize = 1024;
const BUFFER_SIZE: usize = 256 * 1024;
/// A server that is silent for so long has lost something.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(5);

/// What one run brought.
pub struct Run {
    pub elapsed: Duration,
    pub latencies: Histogram,
}

/// When a run stops sending new messages.
#[derive(Clone, Copy)]
pub enum Until {
    Elapsed(Duration),
    /// So many messages were sent on each connection.
    Sent(usize),
}

struct Connection {
    stream: TcpStream,
    /// When the messages under way were handed over, the oldest first.
    sent_at: VecDeque<Instant>,
    /// Bytes that are already here of the oldest reply.
    received: usize,
    /// Bytes of messages under way that the socket has not taken yet.
    unsent: usize,
    sent_count: usize,
}

pub struct Load {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    size: usize,
    in_flight: usize,
    /// As many messages as one connection can have under way.
    messages: Vec<u8>,
    buffer: Vec<u8>,
}

impl Load {
    /// Opens the connections and sends nothing yet.
    pub fn open(
        address: SocketAddrV4,
        (size, connections, in_flight): (usize, usize, usize),
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let connections = (0..connections)
            .map(|index| Connection::open(address, &poll, Token(index)))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            connections,
            size,
            in_flight,
            messages: crate::message(size).repeat(in_flight),
            buffer: vec![0; BUFFER_SIZE],
        })
    }

    /// Runs the load. With `is_checked` every byte that comes back is compared; the number of bytes
    /// is checked always.
    pub fn run(&mut self, until: Until, is_checked: bool) -> io::Result<Run> {
        let begin = Instant::now();
        let mut latencies = Histogram::new();
        let mut missing = 0;
        for connection in &mut self.connections {
            connection.sent_count = 0;
            connection.push(self.in_flight, self.size, begin);
            connection.flush(&self.messages, self.size)?;
            missing += self.in_flight;
        }
        while missing > 0 {
            self.poll.poll(&mut self.events, Some(SILENCE_LIMIT))?;
            if self.events.is_empty() {
                return Err(io::Error::other(format!("{missing} replies never came")));
            }
            let elapsed = begin.elapsed();
            for event in &self.events {
                let Some(connection) = self.connections.get_mut(event.token().0) else { continue };
                let replies = connection.receive(
                    &mut self.buffer,
                    is_checked.then_some(&self.messages),
                    self.size,
                    &mut latencies,
                )?;
                let more = until.allows(connection.sent_count, elapsed, replies);
                connection.push(more, self.size, Instant::now());
                connection.flush(&self.messages, self.size)?;
                missing = missing + more - replies;
            }
        }
        Ok(Run { elapsed: begin.elapsed(), latencies })
    }
}

impl Until {
    /// How many of `replies` may be answered by a new message.
    fn allows(self, sent_count: usize, elapsed: Duration, replies: usize) -> usize {
        match self {
            Until::Elapsed(limit) if elapsed < limit => replies,
            Until::Elapsed(_) => 0,
            Until::Sent(limit) => replies.min(limit.saturating_sub(sent_count)),
        }
    }
}

impl Connection {
    fn open(address: SocketAddrV4, poll: &Poll, token: Token) -> io::Result<Self> {
        // Connecting may block: it is not part of what is measured.
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, sent_at: VecDeque::new(), received: 0, unsent: 0, sent_count: 0 })
    }

    fn push(&mut self, count: usize, size: usize, now: Instant) {
        for _ in 0..count {
            self.sent_at.push_back(now);
        }
        self.unsent += count * size;
        self.sent_count += count;
    }

    /// Writes until all is written or the socket is full.
    fn flush(&mut self, messages: &[u8], size: usize) -> io::Result<()> {
        while self.unsent > 0 {
            let begin = (size - self.unsent % size) % size;
            let end = messages.len().min(begin + self.unsent);
            match self.stream.write(messages.get(begin..end).unwrap_or_default()) {
                Ok(length) => self.unsent -= length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads until the socket is empty and answers how many replies were completed by that.
    fn receive(
        &mut self,
        buffer: &mut [u8],
        expected: Option<&Vec<u8>>,
        size: usize,
        latencies: &mut Histogram,
    ) -> io::Result<usize> {
        let mut replies = 0;
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::other("the server has closed a connection")),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(replies),
                Err(error) => return Err(error),
            };
            let came = buffer.get(..length).unwrap_or_default();
            let is_wrong = |messages: &Vec<u8>| {
                messages.get(self.received..self.received + length) != Some(came)
            };
            if expected.is_some_and(is_wrong) {
                return Err(io::Error::other("the reply is not what was sent"));
            }
            replies += self.count_replies(length, size, latencies)?;
            if length < buffer.len() {
                return Ok(replies);
            }
        }
    }

    fn count_replies(
        &mut self,
        length: usize,
        size: usize,
        latencies: &mut Histogram,
    ) -> io::Result<usize> {
        let now = Instant::now();
        self.received += length;
        let replies = self.received / size;
        self.received %= size;
        for _ in 0..replies {
            let sent_at = self.sent_at.pop_front();
            let sent_at = sent_at.ok_or_else(|| io::Error::other("more came than was sent"))?;
            latencies.record(now - sent_at);
        }
        if self.received > 0 && self.sent_at.is_empty() {
            return Err(io::Error::other("more came than was sent"));
        }
        Ok(replies)
    }
}

/// A message whose every part differs from the others, so that a shifted reply is noticed.
pub fn pattern(size: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}
