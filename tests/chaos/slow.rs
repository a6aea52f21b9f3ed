//! A crowd of slow connections, and how long the answers of others take beside it.

use crate::auditor::{percentile, Auditor};
use crate::common::prelude::*;
use crate::frame::Way;
use crate::injector::{Fallible, Harm, Trouble};
use crate::ledger::{self, Account, Pace};
use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const CROWD: usize = 2_000;
const HEALTHY: usize = 100;
/// Each of the crowd sends a byte in such a time, and each healthy client asks once.
const DRIP: Duration = Duration::from_secs(2);
const PACE: Pace = Pace::Every(Duration::from_millis(50));
/// With the crowd and without it, so long each time.
const PHASE: Duration = Duration::from_millis(300);
/// Answers may take so many times as long as without the crowd.
const MOST: u32 = 3;
/// On a machine that is busy with other things, the best of so many rounds counts.
const ROUNDS: usize = 8;
/// The length of a frame, and what a slow connection says that it will send.
const PROMISED: u32 = 60_000;

/// Connections that send frames that never end.
struct Crowd {
    streams: Vec<TcpStream>,
    next: usize,
    due: Instant,
    end: Instant,
}

impl Crowd {
    fn come(server: &Running, count: usize) -> Fallible<Self> {
        let mut streams = Vec::with_capacity(count);
        for _ in 0..count {
            let mut stream = Client::connect(server.port())?.stream;
            stream.write_all(&PROMISED.to_be_bytes())?;
            streams.push(stream);
        }
        let due = Instant::now();
        Ok(Self { streams, next: 0, due, end: due + PHASE })
    }

    /// Sends what is due, but never so much at once that the crowd becomes a load of its own.
    fn drip(&mut self) -> io::Result<()> {
        for _ in 0..8 {
            if Instant::now() < self.due {
                return Ok(());
            }
            let place = self.next % self.streams.len();
            self.streams[place].write_all(b".")?;
            self.next += 1;
            self.due += DRIP / CROWD as u32;
        }
        Ok(())
    }
}

impl Trouble for Crowd {
    fn go_on(&mut self, _: &Running) -> Fallible<bool> {
        if !self.streams.is_empty() {
            self.drip()?;
        }
        Ok(Instant::now() >= self.end)
    }
}

/// How long the answers took since then, but for the slowest hundredth.
fn p99_since(accounts: &[Account], begin: Instant) -> Duration {
    let rows = accounts.iter().flat_map(|account| &account.latencies);
    let mut times: Vec<Duration> =
        rows.filter(|(left, _)| *left >= begin).map(|(_, time)| *time).collect();
    percentile(&mut times, 99)
}

pub fn slow_connections_keep_nobody_waiting(server: &Running) -> Outcome {
    crate::crowd::limit_descriptors(None)?;
    let auditor = Auditor::begin(server, "slow-crowd")?;
    let mut accounts = ledger::open(server, &[Way::Worker; HEALTHY])?;
    let (mut alone, mut beside) = (Duration::MAX, Duration::MAX);
    let mut rounds = 0;
    while rounds < ROUNDS && (rounds == 0 || beside > alone * MOST) {
        rounds += 1;
        for (count, best) in [(0, &mut alone), (CROWD, &mut beside)] {
            let mut crowd = Crowd::come(server, count)?;
            let begin = Instant::now();
            crowd.end = begin + PHASE;
            ledger::keep(server, &mut accounts, PACE, &mut crowd)?;
            *best = p99_since(&accounts, begin).min(*best);
        }
    }
    println!("slow-crowd: p99 {beside:?} beside {CROWD}, {alone:?} alone, in {rounds} rounds");
    assert!(beside <= alone * MOST, "{beside:?} beside the crowd, {alone:?} alone");
    for account in &accounts {
        assert_eq!(account.answered, account.sent, "client {}", account.name);
    }
    let harm = Harm { word: "slow", count: CROWD, ..Harm::default() };
    auditor.judge(server, accounts, &harm)
}
