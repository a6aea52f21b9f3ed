//! What befalls the server while the ledger is kept. Each trouble is a machine that takes a small
//! step whenever it is asked to go on, so that the load never waits for it.

use crate::common::prelude::*;
use crate::common::process::send_signal;
use crate::puppet::number;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How long to wait for what a trouble brings about.
const PATIENCE: Duration = Duration::from_secs(20);
/// A stopped process sleeps so long: less than `max_wait_time`, after which others act.
const SLEEP: Duration = Duration::from_millis(300);

pub trait Trouble {
    /// True when there is no more to come.
    fn go_on(&mut self, server: &Running) -> Fallible<bool>;
}

/// What was done to the server, for the auditor.
#[derive(Default)]
pub struct Harm {
    /// What is counted, and how often it was done.
    pub word: &'static str,
    pub count: usize,
    /// The processes that were killed.
    pub killed: Vec<u32>,
    /// Whether event workers are among them. Only with these may an answer be gone, not with those
    /// of whom workers wait for a result.
    pub kills_workers: bool,
    /// Whether workers are replaced. A task that fails fails in the log alone, where the worker
    /// has been replaced that handed it in: its successor has no callback for it.
    pub replaces_workers: bool,
    /// Whether a task may be refused when it is handed in, so that nobody begins it.
    pub may_refuse: bool,
    /// Whether connections may end.
    pub may_cut: bool,
    /// Whether others than the clients of the ledger ask for something.
    pub has_guests: bool,
    /// Whether a worker that ends tells everybody what it has answered.
    pub is_orderly: bool,
}

/// Numbers that follow from a seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(name: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let given = std::env::var("SWOOLE_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(now.map_or(1, |now| now.as_nanos() as u64)) | 1;
        println!("{name}: SWOOLE_CHAOS_SEED={seed}");
        Self(seed)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }

    fn pause(&mut self, range: (u64, u64)) -> Instant {
        Instant::now() + Duration::from_millis(range.0 + self.below(range.1 - range.0))
    }
}

/// Whom a trouble befalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Worker ids from, and how many.
    Worker(i32, i32),
    Manager,
    User,
    Root,
}

impl Role {
    /// The process that has this role now, and how many have had it.
    pub fn holder(self, server: &Running, dice: &mut Dice) -> Option<(i32, usize)> {
        let beginning = match self {
            Self::Worker(first, count) => {
                let id = first as u64 + dice.below(count as u64);
                format!("worker {id} ")
            }
            Self::Manager => "manager ".to_owned(),
            Self::User => "user ".to_owned(),
            Self::Root => return Some((server.pid(), 0)),
        };
        let lines = server.lines_so_far();
        let lives: Vec<&str> =
            lines.iter().filter_map(|line| line.strip_prefix(&beginning)).collect();
        lives.last().map(|pid| (number(pid), lives.len()))
    }
}

/// Kills processes of a role, again and again.
pub struct Killer {
    pub role: Role,
    wanted: usize,
    pause_ms: (u64, u64),
    dice: Dice,
    /// Who is next, and when.
    marked: Option<(u32, Instant)>,
    end: Instant,
    pub killed: Vec<u32>,
}

impl Killer {
    /// Each of them lives for a time in this range, as far as anybody can see.
    pub fn new(role: Role, wanted: usize, pause_ms: (u64, u64)) -> Self {
        let (dice, end) = (Dice::new("kills"), Instant::now() + PATIENCE);
        Self { role, wanted, pause_ms, dice, marked: None, end, killed: Vec::new() }
    }

    fn mark(&mut self, server: &Running) -> Outcome {
        let holder = self.role.holder(server, &mut self.dice).map(|(pid, _)| pid.unsigned_abs());
        let fresh = holder.filter(|pid| *pid != server.pid().unsigned_abs());
        if let Some(pid) = fresh.filter(|pid| !self.killed.contains(pid)) {
            self.marked = Some((pid, self.dice.pause(self.pause_ms)));
            self.end = Instant::now() + PATIENCE;
        }
        match Instant::now() > self.end {
            true => Err(format!("{:?} is not replaced", self.role).into()),
            false => Ok(()),
        }
    }
}

impl Trouble for Killer {
    fn go_on(&mut self, server: &Running) -> Fallible<bool> {
        match self.marked {
            None if self.killed.len() >= self.wanted => return Ok(true),
            None => self.mark(server)?,
            Some((pid, at)) if Instant::now() >= at => {
                self.marked = None;
                match send_signal(pid as i32, libc::SIGKILL) {
                    // It has ended by itself, and its successor has not said so yet.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    result => result.map(|()| self.killed.push(pid))?,
                }
            }
            Some(_) => {}
        }
        Ok(false)
    }
}

/// Stops one of the processes for a while, again and again.
pub struct Sleeper {
    roles: &'static [Role],
    wanted: usize,
    pub done: usize,
    dice: Dice,
    due: Instant,
    asleep: Option<i32>,
}

impl Sleeper {
    pub fn new(roles: &'static [Role], wanted: usize) -> Self {
        Self { roles, wanted, done: 0, dice: Dice::new("stops"), due: Instant::now(), asleep: None }
    }
}

impl Trouble for Sleeper {
    fn go_on(&mut self, server: &Running) -> Fallible<bool> {
        if Instant::now() < self.due {
            return Ok(false);
        }
        if let Some(pid) = self.asleep.take() {
            send_signal(pid, libc::SIGCONT)?;
            self.done += 1;
            self.due = self.dice.pause((10, 50));
            return Ok(false);
        }
        if self.done == self.wanted {
            return Ok(true);
        }
        let role = self.roles[self.done % self.roles.len()];
        let (pid, _) = role.holder(server, &mut self.dice).ok_or("there is nobody to stop")?;
        send_signal(pid, libc::SIGSTOP)?;
        self.asleep = Some(pid);
        self.due = Instant::now() + SLEEP;
        Ok(false)
    }
}

/// Reloads, and asks for another one amid every second of them.
pub struct Reloader {
    wanted: usize,
    pub done: usize,
    dice: Dice,
    second_at: Option<Instant>,
    is_running: bool,
    end: Instant,
}

impl Reloader {
    pub fn new(wanted: usize) -> Self {
        let dice = Dice::new("reloads");
        let end = Instant::now();
        Self { wanted, done: 0, dice, second_at: None, is_running: false, end }
    }

    /// A reload of all, or of the task workers alone.
    fn ask(&mut self, server: &Running) -> Outcome {
        let signal = if self.dice.below(4) == 0 { libc::SIGUSR2 } else { libc::SIGUSR1 };
        Ok(server.signal(signal)?)
    }
}

impl Trouble for Reloader {
    fn go_on(&mut self, server: &Running) -> Fallible<bool> {
        if !self.is_running {
            if self.done >= self.wanted {
                return Ok(true);
            }
            self.ask(server)?;
            self.is_running = true;
            self.end = Instant::now() + PATIENCE;
            let delay = Duration::from_micros(self.dice.below(20_000));
            self.second_at = (self.done % 2 == 1).then(|| Instant::now() + delay);
        }
        if self.second_at.is_some_and(|at| Instant::now() >= at) {
            self.second_at = None;
            self.ask(server)?;
        }
        let done = server.lines_so_far().iter().filter(|line| *line == "reloaded").count();
        if done > self.done && self.second_at.is_none() {
            self.done = done;
            self.is_running = false;
        }
        if self.is_running && Instant::now() > self.end {
            return Err(format!("reload {} does not end", self.done).into());
        }
        Ok(false)
    }
}

/// Two troubles at once; the second one sets the length.
pub struct Beside<A, B>(pub A, pub B);

impl<A: Trouble, B: Trouble> Trouble for Beside<A, B> {
    fn go_on(&mut self, server: &Running) -> Fallible<bool> {
        let is_first_over = self.0.go_on(server)?;
        Ok(self.1.go_on(server)? && is_first_over)
    }
}
