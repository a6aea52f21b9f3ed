//! The load of short connections: connect, send one message, read it back, close, again.
//!
//! The client says the end first with an ordinary FIN and waits for the server's own, so that a
//! visit holds everything the server does for a connection. Each closed connection keeps its pair
//! of addresses busy for a minute; the clients therefore speak from many addresses.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::{
    bind, connect, setsockopt, socket, sockopt, AddressFamily, SockFlag, SockType, SockaddrIn,
};

use crate::histogram::Histogram;
use crate::load::{pattern, Run, SILENCE_LIMIT};

const EVENTS_MAX: usize = 256;
const BUFFER_SIZE: usize = 4096;
/// 127.0.1.1 and up: the addresses that the clients take turns in using.
const FIRST_SOURCE: u32 = 0x7f00_0101;
const SOURCE_COUNT: u32 = 200;

enum Step {
    Connecting,
    Echoing,
    Closing,
    Closed,
}

/// One connection from its beginning to its end.
struct Visit {
    stream: TcpStream,
    began: Instant,
    received: usize,
    step: Step,
}

pub struct Churn {
    address: SocketAddrV4,
    message: Vec<u8>,
    concurrent: usize,
    next_source: u32,
}

impl Churn {
    pub fn new(address: SocketAddrV4, size: usize, concurrent: usize) -> Self {
        Self { address, message: pattern(size), concurrent, next_source: 0 }
    }

    pub fn run(&mut self, limit: Duration) -> io::Result<Run> {
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut latencies = Histogram::new();
        let begin = Instant::now();
        let mut visits = (0..self.concurrent)
            .map(|index| self.begin_visit(poll.registry(), Token(index)))
            .collect::<io::Result<Vec<_>>>()?;
        let mut missing = visits.len();
        while missing > 0 {
            poll.poll(&mut events, Some(SILENCE_LIMIT))?;
            if events.is_empty() {
                return Err(io::Error::other(format!("{missing} connections did not end")));
            }
            let is_over = begin.elapsed() >= limit;
            for event in &events {
                let Some(visit) = visits.get_mut(event.token().0) else { continue };
                if !visit.advance(&self.message)? {
                    continue;
                }
                latencies.record(visit.began.elapsed());
                if is_over {
                    missing -= 1;
                } else {
                    *visit = self.begin_visit(poll.registry(), event.token())?;
                }
            }
        }
        Ok(Run { elapsed: begin.elapsed(), latencies })
    }

    fn begin_visit(&mut self, registry: &Registry, token: Token) -> io::Result<Visit> {
        self.next_source = (self.next_source + 1) % SOURCE_COUNT;
        let source = Ipv4Addr::from(FIRST_SOURCE + self.next_source);
        let began = Instant::now();
        let mut stream = start_connecting(source, self.address)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Visit { stream, began, received: 0, step: Step::Connecting })
    }
}

impl Visit {
    /// Goes on as far as the socket allows; true when that was the end of the visit.
    fn advance(&mut self, message: &[u8]) -> io::Result<bool> {
        let outcome = match self.step {
            Step::Connecting => self.send(message),
            Step::Echoing => self.read_reply(message),
            Step::Closing => self.read_end(),
            Step::Closed => Ok(false),
        };
        match outcome {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            outcome => outcome,
        }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<bool> {
        self.stream.write_all(message)?;
        self.step = Step::Echoing;
        Ok(false)
    }

    fn read_reply(&mut self, message: &[u8]) -> io::Result<bool> {
        let mut buffer = [0; BUFFER_SIZE];
        let length = self.stream.read(&mut buffer)?;
        let expected = message.get(self.received..self.received + length);
        if length == 0 || expected != buffer.get(..length) {
            return Err(io::Error::other("the reply is not what was sent"));
        }
        self.received += length;
        if self.received == message.len() {
            self.stream.shutdown(Shutdown::Write)?;
            self.step = Step::Closing;
        }
        Ok(false)
    }

    fn read_end(&mut self) -> io::Result<bool> {
        if self.stream.read(&mut [0])? > 0 {
            return Err(io::Error::other("more came than was sent"));
        }
        self.step = Step::Closed;
        Ok(true)
    }
}

fn start_connecting(source: Ipv4Addr, address: SocketAddrV4) -> io::Result<TcpStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
    // The port is chosen when the other end is known, from all that are free for this pair.
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source, 0)))?;
    match connect(socket.as_raw_fd(), &SockaddrIn::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(TcpStream::from_std(socket.into()))
}
