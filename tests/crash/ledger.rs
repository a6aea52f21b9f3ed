//! The ledger: connections count what they send and what comes back while workers are killed.

use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::{self, kill, pid_now, poll, serve, NO_TEXT};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const FRAME: usize = 32;
/// Frames of one connection that may be without an answer. Their bytes are so few that the sockets
/// never split one.
const WINDOW: u64 = 32;
/// The same when nothing comes for a while.
const MOST_WAITING: u64 = 2_000;
/// How long the ledger is kept, and how often a worker is killed meanwhile.
const LEDGER: Duration = Duration::from_secs(3);
const LABOUR: Duration = Duration::from_micros(200);
const KILL_EVERY_MS: [u64; 4] = [50, 70, 100, 60];

/// What one connection has sent and what has come back.
struct Account {
    client: Client,
    name: u32,
    sent: u64,
    /// The greatest number that came back.
    last: u64,
    answered: u64,
    /// Gaps between numbers that came back one after the other, and the numbers in them.
    gaps: u64,
    lost: u64,
    repeated: u64,
    unread: Vec<u8>,
}

impl Account {
    fn frame(&self, number: u64) -> [u8; FRAME] {
        let mut frame = [NO_TEXT; FRAME];
        frame[4..8].copy_from_slice(&self.name.to_be_bytes());
        frame[8..16].copy_from_slice(&number.to_be_bytes());
        let sum = frame.iter().fold(0, |sum: u64, byte| sum.rotate_left(7) ^ u64::from(*byte));
        frame[16..24].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    fn send(&mut self) -> Outcome {
        self.sent += 1;
        let frame = self.frame(self.sent);
        Ok(self.client.send(&frame)?)
    }

    /// Books what has come; there must be something.
    fn receive(&mut self) -> Outcome {
        let mut bytes = [0; 4096];
        let count = self.client.stream.read(&mut bytes)?;
        if count == 0 {
            return Err(format!("connection {} has ended", self.name).into());
        }
        self.unread.extend_from_slice(&bytes[..count]);
        let whole = self.unread.len() / FRAME * FRAME;
        let frames: Vec<u8> = self.unread.drain(..whole).collect();
        frames.chunks_exact(FRAME).try_for_each(|frame| self.book(frame))
    }

    fn book(&mut self, frame: &[u8]) -> Outcome {
        let number = u64::from_be_bytes(frame[8..16].try_into()?);
        if frame != self.frame(number) || number > self.sent {
            return Err(format!("connection {} got a torn frame {frame:?}", self.name).into());
        }
        self.answered += 1;
        if number <= self.last {
            self.repeated += 1;
            return Ok(());
        }
        self.gaps += u64::from(number > self.last + 1);
        self.lost += number - self.last - 1;
        self.last = number;
        Ok(())
    }
}

fn open_accounts(
    server: &Running,
) -> Result<Vec<Account>, Box<dyn std::error::Error + Send + Sync>> {
    let open = |name| {
        let client = server.connect()?;
        let unread = Vec::new();
        let (sent, last, answered, gaps, lost, repeated) = (0, 0, 0, 0, 0, 0);
        Ok(Account { client, name, sent, last, answered, gaps, lost, repeated, unread })
    };
    (0..32).map(open).collect()
}

/// What befalls the server while the ledger is kept.
pub trait Trouble {
    /// Called again and again. True when there is no more to come.
    fn go_on(&mut self, server: &Running)
        -> Result<bool, Box<dyn std::error::Error + Send + Sync>>;

    /// How many messages at most it has cost until now.
    fn most_lost(&self) -> u64;
}

/// Kills the workers in turns; how many were killed, and when the next one is due.
struct Killer {
    kills: u64,
    due: Instant,
    end: Instant,
    last_pids: [i32; 2],
}

impl Trouble for Killer {
    fn go_on(
        &mut self,
        server: &Running,
    ) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
        if Instant::now() < self.due {
            return Ok(false);
        }
        let worker = self.kills as usize % 2;
        let pid = pid_now(server, worker as i32)?;
        if pid != self.last_pids[worker] {
            kill(pid)?;
            self.last_pids[worker] = pid;
            self.kills += 1;
            let pause = KILL_EVERY_MS[self.kills as usize % KILL_EVERY_MS.len()];
            self.due = Instant::now() + Duration::from_millis(pause);
        }
        Ok(Instant::now() >= self.end)
    }

    fn most_lost(&self) -> u64 {
        self.kills
    }
}

pub fn laborious(setup: &Setup) -> Outcome {
    serve(setup, &[], labour)
}

/// Works on each message for a while, so that a kill finds the worker at work.
pub fn labour(server: Handle, event: &Event) {
    let end = Instant::now() + LABOUR;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
    puppet::obey(server, event);
}

/// Each kill costs at most one message, which is what one read of one connection brought.
pub fn nothing_but_the_messages_in_the_hands_of_killed_workers_is_lost(
    server: &Running,
) -> Outcome {
    let now = Instant::now();
    let mut killer = Killer { kills: 0, due: now, end: now + LEDGER, last_pids: [0; 2] };
    let sent = keep(server, &mut killer)?;
    assert!(killer.kills >= 10 && sent > 1000, "{} kills, {sent} frames", killer.kills);
    Ok(())
}

/// Sends and books until the trouble is over: how many frames were sent. Fails if more is lost than
/// the trouble may cost, or if anything comes twice, torn or in another order.
pub fn keep(
    server: &Running,
    trouble: &mut dyn Trouble,
) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    let mut accounts = open_accounts(server)?;
    let fds: Vec<i32> = accounts.iter().map(|a| a.client.stream.as_raw_fd()).collect();
    while !trouble.go_on(server)? {
        let ready = poll(&fds, libc::POLLIN, 1)?;
        // When nothing comes, what would make room in the windows may have been lost.
        let is_silent = ready.is_empty();
        for index in ready {
            accounts[index].receive()?;
        }
        for account in &mut accounts {
            let waiting = account.sent - account.last;
            if waiting < WINDOW || (is_silent && waiting < MOST_WAITING) {
                account.send()?;
            }
        }
    }
    for account in &mut accounts {
        account.send()?;
        while account.last < account.sent {
            account.receive()?;
        }
        assert_eq!(account.answered + account.lost, account.sent, "account {}", account.name);
    }
    let sum = |of: fn(&Account) -> u64| accounts.iter().map(of).sum::<u64>();
    let (sent, lost, gaps) = (sum(|a| a.sent), sum(|a| a.lost), sum(|a| a.gaps));
    let most = trouble.most_lost();
    println!("{sent} frames, {gaps} messages of {lost} frames are lost, {most} could be");
    assert!(gaps <= most, "{gaps} messages are lost, {most} could be");
    assert_eq!(sum(|account| account.repeated), 0);
    Ok(sent)
}
