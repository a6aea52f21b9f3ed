//! Clients as nobody wants them: slow ones, dead ones, those that reset or send garbage, and more
//! of them than there are descriptors.

use crate::common::prelude::*;
use crate::frame::{self, Way};
use crate::injector::{Dice, Fallible, Trouble};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// As many descriptors as a server gets where they shall run out.
pub const FEW: u64 = 100;
/// The longest frame that the server takes, and what a slow one says that it will send.
const PROMISED: u32 = 60_000;
const BETWEEN_VISITS: Duration = Duration::from_millis(2);
/// How many guests a pest keeps.
const KEPT: usize = 40;

/// Sets how many descriptors this process may have; `None`: as many as it can.
pub fn limit_descriptors(wanted: Option<u64>) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the place for the answer lives through the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = wanted.map_or(limit.rlim_max, |wanted| wanted.min(limit.rlim_max));
    // SAFETY: the value lives through the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
        0 => Ok(limit.rlim_cur),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes with a reset.
fn reset(stream: &TcpStream) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = std::mem::size_of::<libc::linger>() as libc::socklen_t;
    let (fd, value) = (stream.as_raw_fd(), std::ptr::addr_of!(linger).cast());
    // SAFETY: the value lives through the call and has the length that is told.
    match unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, value, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The beginning of a frame that never ends.
fn beginning() -> [u8; 4] {
    PROMISED.to_be_bytes()
}

/// Visits the server with bad manners, one visit a step, and keeps some of the connections.
pub struct Pest {
    wanted: usize,
    pub done: usize,
    dice: Dice,
    due: Instant,
    pause: Duration,
    kept: Vec<TcpStream>,
}

impl Pest {
    pub fn new(wanted: usize) -> Self {
        Self {
            wanted,
            done: 0,
            dice: Dice::new("guests"),
            due: Instant::now(),
            pause: BETWEEN_VISITS,
            kept: Vec::new(),
        }
    }

    /// Comes once in such a time, for as long as it is asked to.
    pub fn politely(pause_ms: u64) -> Self {
        Self { pause: Duration::from_millis(pause_ms), ..Self::new(usize::MAX) }
    }

    /// Whether nobody waits for it.
    fn is_polite(&self) -> bool {
        self.wanted == usize::MAX
    }

    fn visit(&mut self, server: &Running) -> io::Result<()> {
        let mut stream = Client::connect(server.port())?.stream;
        let request = frame::request(Way::Ask, u16::MAX - 1, 1);
        match self.dice.below(6) {
            // Slow: the rest comes later, or never.
            0 => stream.write_all(&beginning())?,
            // Dead: asks and asks, and never reads.
            1 => stream.write_all(&request.repeat(20))?,
            // Gone, at once or with unread bytes on both sides.
            2 => return reset(&stream),
            3 => {
                stream.write_all(&request.repeat(5))?;
                stream.write_all(&request[..10])?;
                return reset(&stream);
            }
            // Garbage: a length beyond all limits, or one of no head.
            4 => stream.write_all(&[0xff; 300])?,
            _ => {
                let bytes: Vec<u8> = (0..3_000).map(|_| self.dice.below(256) as u8).collect();
                stream.write_all(&[&[0, 0, 0, 3, 1, 2, 3], bytes.as_slice()].concat())?;
            }
        }
        self.kept.push(stream);
        Ok(())
    }
}

/// The server may end such a connection at any moment.
fn is_expected(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

impl Trouble for Pest {
    fn go_on(&mut self, server: &Running) -> Fallible<bool> {
        if self.done == self.wanted {
            self.kept.clear();
            return Ok(true);
        }
        if Instant::now() < self.due {
            return Ok(self.is_polite());
        }
        self.due = Instant::now() + self.pause;
        match self.visit(server) {
            Err(error) if is_expected(&error) => {}
            result => result?,
        }
        self.done += 1;
        if self.kept.len() > KEPT {
            let index = self.dice.below(KEPT as u64) as usize;
            // Half of those that leave do so amid what they say.
            if self.dice.below(2) == 0 {
                reset(&self.kept[index])?;
            }
            self.kept.swap_remove(index);
        }
        Ok(self.is_polite())
    }
}

/// Takes all descriptors that are left, and gives them back, again and again.
pub struct Hoarder {
    wanted: usize,
    pub done: usize,
    streams: Vec<TcpStream>,
    is_full: bool,
    due: Instant,
}

/// More than a server has room for, and less than wait for it where it listens.
const HOARD: usize = FEW as usize + 60;
const HOARDED: Duration = Duration::from_millis(100);
/// Those that came before may wait still, so that there is no room to wait, either.
const FULL: Duration = Duration::from_millis(20);

impl Hoarder {
    pub fn new(wanted: usize) -> Self {
        Self { wanted, done: 0, streams: Vec::new(), is_full: false, due: Instant::now() }
    }
}

impl Trouble for Hoarder {
    fn go_on(&mut self, server: &Running) -> Fallible<bool> {
        if Instant::now() < self.due {
            return Ok(false);
        }
        if self.done == self.wanted {
            return Ok(true);
        }
        if self.is_full {
            self.streams.clear();
            self.done += 1;
            (self.is_full, self.due) = (false, Instant::now() + HOARDED);
            return Ok(false);
        }
        let address = SocketAddr::from(([127, 0, 0, 1], server.port()));
        match TcpStream::connect_timeout(&address, FULL) {
            Ok(stream) => self.streams.push(stream),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => self.is_full = true,
            Err(error) => return Err(error.into()),
        }
        self.is_full |= self.streams.len() == HOARD;
        if self.is_full {
            self.due = Instant::now() + HOARDED;
        }
        Ok(false)
    }
}
