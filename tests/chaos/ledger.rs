//! The load and its ledger: clients that stamp each request and book what comes back.

use crate::common::prelude::*;
use crate::frame::{self, Stamp, Verdict, Way};
use crate::injector::{Fallible, Trouble};
use crate::journal::NUMBERS;
use crate::puppet::poll;
use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Requests of one client that may be without an answer.
const WINDOW: u64 = 4;
/// The same where nothing comes for a while: what would make room may have been lost.
const MOST_WAITING: u64 = 64;
const SILENCE: Duration = Duration::from_millis(200);
/// How long a server may take none of the bytes of a client, or leave it without an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How fast clients ask.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// As fast as they are answered, with a few requests under way.
    Windows,
    /// Once in such a time.
    Every(Duration),
}

/// What is known of one request. Those that are answered are forgotten, but for how many they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing has come back.
    Open,
    /// It was reported as failed.
    Failed,
    /// Its connection ended before anything came back. The number is that of the last request that
    /// was answered on this connection, 0 if none was.
    Cut(u64),
}

/// What one client has sent and what has come back.
pub struct Account {
    client: Client,
    pub name: u16,
    pub way: Way,
    pub sent: u64,
    /// The greatest number that came back, and the same on this connection.
    last: u64,
    last_here: u64,
    pub answered: u64,
    pub repeated: u64,
    pub reordered: u64,
    pub cuts: u64,
    /// Requests that came back later than others behind them, or that nothing came back for.
    pub fates: HashMap<u64, Fate>,
    /// Requests under way, with the moment that they left.
    waiting: VecDeque<(u64, Instant)>,
    heard: Instant,
    /// When one more was sent since nothing came.
    probed: Instant,
    unread: Vec<u8>,
    due: Instant,
    /// When requests left, and how long their answers took.
    pub latencies: Vec<(Instant, Duration)>,
}

impl Account {
    pub fn open(server: &Running, name: u16, way: Way) -> Fallible<Self> {
        Ok(Self {
            client: server.connect()?,
            name,
            way,
            sent: 0,
            last: 0,
            last_here: 0,
            answered: 0,
            repeated: 0,
            reordered: 0,
            cuts: 0,
            fates: HashMap::new(),
            waiting: VecDeque::new(),
            heard: Instant::now(),
            probed: Instant::now(),
            unread: Vec::new(),
            due: Instant::now(),
            latencies: Vec::new(),
        })
    }

    pub fn descriptor(&self) -> i32 {
        self.client.stream.as_raw_fd()
    }

    pub fn send(&mut self, port: u16) -> Outcome {
        self.sent += 1;
        assert!(self.sent < NUMBERS as u64, "the journal is full");
        self.waiting.push_back((self.sent, Instant::now()));
        let request = frame::request(self.way, self.name, self.sent);
        match self.client.send(&request) {
            Err(error) if is_end(error.kind()) => self.come_again(port),
            result => Ok(result?),
        }
    }

    /// Whether the next request may leave.
    fn has_room(&mut self, pace: Pace) -> bool {
        if let Pace::Every(pause) = pace {
            let now = Instant::now();
            if now < self.due {
                return false;
            }
            // Nobody makes up for what was late.
            self.due = now + pause;
        }
        let waiting = self.sent - self.last;
        if self.sent + 2 >= NUMBERS as u64 || waiting >= MOST_WAITING {
            return false;
        }
        // One more in each silence, or the load would grow while the server has a hard time.
        let is_silent = self.heard.elapsed() > SILENCE && self.probed.elapsed() > SILENCE;
        if is_silent {
            self.probed = Instant::now();
        }
        waiting < WINDOW || is_silent
    }

    /// Books what has come; there must be something, which may be the end.
    pub fn receive(&mut self, port: u16) -> Outcome {
        let mut bytes = [0; 65_536];
        let count = match self.client.stream.read(&mut bytes) {
            Ok(0) => return self.come_again(port),
            Err(error) if is_end(error.kind()) => return self.come_again(port),
            result => result?,
        };
        self.heard = Instant::now();
        self.unread.extend_from_slice(&bytes[..count]);
        let unread = std::mem::take(&mut self.unread);
        let mut rest = unread.as_slice();
        while let Some(length) = frame::length_of(rest).filter(|length| *length <= rest.len()) {
            let (frame, behind) = rest.split_at(length);
            self.book(frame)?;
            rest = behind;
        }
        self.unread = rest.to_vec();
        Ok(())
    }

    fn book(&mut self, bytes: &[u8]) -> Outcome {
        let stamp = frame::open(bytes).ok_or("a torn frame")?;
        let Stamp { way, verdict, client, number } = stamp;
        let is_ours = client == self.name && way == self.way && (1..=self.sent).contains(&number);
        if !is_ours || verdict == Verdict::Open {
            return Err(
                format!("client {} got what it did not ask for: {stamp:?}", self.name).into()
            );
        }
        let place = self.waiting.iter().position(|(waiting, _)| *waiting == number);
        let Some((_, left)) = place.and_then(|place| self.waiting.remove(place)) else {
            self.repeated += 1;
            return Ok(());
        };
        self.latencies.push((left, left.elapsed()));
        match verdict {
            // Who fails is reported by another process than who answers.
            Verdict::Failed => drop(self.fates.insert(number, Fate::Failed)),
            Verdict::Answered | Verdict::Open => {
                self.answered += 1;
                self.reordered += u64::from(number < self.last_here);
                self.last_here = self.last_here.max(number);
            }
        }
        self.last = self.last.max(number);
        Ok(())
    }

    /// The connection has ended: what was under way is told so, and the client connects again.
    fn come_again(&mut self, port: u16) -> Outcome {
        self.cuts += 1;
        self.unread.clear();
        let fate = Fate::Cut(self.last_here);
        self.fates.extend(self.waiting.drain(..).map(|(number, _)| (number, fate)));
        (self.last, self.last_here) = (self.sent, 0);
        self.client = Client::connect(port)?;
        self.heard = Instant::now();
        Ok(())
    }

    /// Sends one more, and waits until it has come back: so has everything before it that will.
    fn finish(&mut self, port: u16) -> Outcome {
        let end = Instant::now() + PATIENCE;
        self.send(port)?;
        let mut last = self.sent;
        let mut cuts = self.cuts;
        while self.last < last || cuts != self.cuts {
            if cuts != self.cuts {
                self.send(port)?;
                (last, cuts) = (self.sent, self.cuts);
            }
            if !poll(&[self.descriptor()], libc::POLLIN, 100)?.is_empty() {
                self.receive(port)?;
            }
            if Instant::now() > end {
                let waiting = self.waiting.iter().map(|(number, _)| *number).collect::<Vec<_>>();
                let name = self.name;
                return Err(format!("client {name} has no answer to {waiting:?} of {last}").into());
            }
        }
        self.fates.extend(self.waiting.drain(..).map(|(number, _)| (number, Fate::Open)));
        Ok(())
    }
}

fn is_end(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// Clients that ask in these ways, one each.
pub fn open(server: &Running, ways: &[Way]) -> Fallible<Vec<Account>> {
    let open = |(name, way): (usize, &Way)| Account::open(server, name as u16, *way);
    ways.iter().enumerate().map(open).collect()
}

/// Sends and books until the trouble is over and everything has come back that ever will.
pub fn keep(
    server: &Running,
    accounts: &mut [Account],
    pace: Pace,
    trouble: &mut dyn Trouble,
) -> Outcome {
    let port = server.port();
    if let Pace::Every(pause) = pace {
        // Not all at the same moment.
        let (begin, count) = (Instant::now(), accounts.len() as u32);
        for (account, index) in accounts.iter_mut().zip(0..) {
            account.due = begin + pause * index / count;
        }
    }
    while !trouble.go_on(server)? {
        let fds: Vec<i32> = accounts.iter().map(Account::descriptor).collect();
        for index in poll(&fds, libc::POLLIN, 1)? {
            accounts[index].receive(port)?;
        }
        for account in accounts.iter_mut() {
            if account.has_room(pace) {
                account.send(port)?;
            }
        }
        if let Some(account) = accounts.iter().find(|account| account.heard.elapsed() > PATIENCE) {
            return Err(format!("client {} hears nothing any more", account.name).into());
        }
    }
    accounts.iter_mut().try_for_each(|account| account.finish(port))
}
