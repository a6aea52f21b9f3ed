//! Workers are replaced again and again, and are killed or stopped amid it, under a load that
//! counts.

mod common;
#[path = "crash/ledger.rs"]
#[allow(dead_code)]
mod ledger;
mod puppet;

use common::prelude::*;
use common::process::{self, Process};
use ledger::Trouble;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const WORKERS: i32 = 3;
const RELOADS: usize = 200;
/// Of so many reloads one is not left alone.
const TROUBLED: usize = 2;
/// Of so many troubles one is a stop, which lasts until the reload has lost its patience.
const STOPS: usize = 5;
/// How long after the signal a worker is struck, at most.
const LATEST_STRIKE_US: u64 = 4_000;

/// A server whose workers are replaced. A stopped one is given up after a second.
fn churned(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.set("worker_num", &WORKERS.to_string())?;
    server.set("max_wait_time", "1")?;
    server.on("receive", ledger::labour)?;
    server.on("workerStart", |_, event| {
        report!("worker {} {}", event.worker().worker_id, event.worker().worker_pid);
    })?;
    server.on("managerStart", |server, _| report!("manager {}", server.manager_pid()))?;
    server.on("afterReload", |_, _| report!("reloaded"))?;
    server.start()?;
    Ok(())
}

/// Reloads, and strikes in every second one.
struct Churn {
    seed: u64,
    /// Whether workers are processes that can be struck.
    has_strikes: bool,
    reloads: usize,
    kills: usize,
    stops: usize,
    strike_at: Option<Instant>,
    is_running: bool,
    deadline: Instant,
}

impl Churn {
    fn new(seed: u64, has_strikes: bool) -> Self {
        Self {
            seed,
            has_strikes,
            reloads: 0,
            kills: 0,
            stops: 0,
            strike_at: None,
            is_running: false,
            deadline: Instant::now(),
        }
    }

    fn random(&mut self, most: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % most.max(1)
    }

    fn begin(&mut self, server: &Running) -> Fallible<()> {
        if self.has_strikes && self.reloads % TROUBLED == 0 {
            let delay = Duration::from_micros(self.random(LATEST_STRIKE_US));
            self.strike_at = Some(Instant::now() + delay);
        }
        self.is_running = true;
        self.deadline = Instant::now() + STEP;
        Ok(server.signal(libc::SIGUSR1)?)
    }

    /// Kills or stops one of the processes that the manager has at this moment.
    fn strike(&mut self, server: &Running) -> Fallible<()> {
        let manager = manager_of(server)?;
        let members = server.descendants()?;
        let workers: Vec<&Process> = members.iter().filter(|row| row.parent == manager).collect();
        let Some(target) = workers.get(self.random(workers.len() as u64) as usize) else {
            return Ok(());
        };
        let is_stop = (self.kills + self.stops) % STOPS == STOPS - 1;
        let signal = if is_stop { libc::SIGSTOP } else { libc::SIGKILL };
        match process::send_signal(target.pid, signal) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
            result => result?,
        }
        match is_stop {
            true => self.stops += 1,
            false => self.kills += 1,
        }
        Ok(())
    }
}

impl Trouble for Churn {
    fn go_on(&mut self, server: &Running) -> Fallible<bool> {
        if !self.is_running {
            if self.reloads == RELOADS {
                return Ok(true);
            }
            self.begin(server)?;
        }
        if self.strike_at.is_some_and(|at| Instant::now() >= at) {
            self.strike_at = None;
            self.strike(server)?;
        }
        let done = server.lines_so_far().iter().filter(|line| *line == "reloaded").count();
        if done > self.reloads && self.strike_at.is_none() {
            self.reloads = done;
            self.is_running = false;
        }
        if self.is_running && Instant::now() > self.deadline {
            return Err(format!("reload {} does not end, seed {}", self.reloads, self.seed).into());
        }
        Ok(false)
    }

    /// A stopped worker is killed in the end.
    fn most_lost(&self) -> u64 {
        (self.kills + self.stops) as u64
    }
}

fn manager_of(server: &Running) -> Fallible<i32> {
    match server.mode() {
        Mode::Base | Mode::Thread => Ok(server.pid()),
        Mode::Process => {
            let line = server.wait_line(|line| line.starts_with("manager "), STEP)?;
            Ok(puppet::number(line.trim_start_matches("manager ")))
        }
    }
}

/// How many descriptors each process of the server has; workers are counted by how many they are.
fn belongings(server: &Running) -> Fallible<(usize, usize, BTreeMap<usize, usize>)> {
    let manager = manager_of(server)?;
    let count =
        |pid: i32| Ok::<_, std::io::Error>(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count());
    let mut workers = BTreeMap::new();
    for member in server.descendants()?.iter().filter(|row| row.pid != manager) {
        *workers.entry(count(member.pid)?).or_default() += 1;
    }
    Ok((count(server.pid())?, count(manager)?, workers))
}

/// Waits until the server has what it should have; connections may still be on their way out.
fn expect_belongings(server: &Running, wanted: &(usize, usize, BTreeMap<usize, usize>)) -> Outcome {
    let end = Instant::now() + STEP;
    loop {
        // A process that ends while it is counted is counted again.
        match belongings(server) {
            Ok(found) if found == *wanted => return Ok(()),
            found if Instant::now() > end => {
                return Err(format!("{wanted:?} became {found:?}").into());
            }
            _ => std::thread::yield_now(),
        }
    }
}

/// All processes of the group that have ended and that nobody has taken away.
fn zombies(server: &Running) -> Fallible<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path().join("stat");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let Some((_, rest)) = text.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = rest.split(' ').collect();
        if fields[0] == "Z" && fields[2] == server.pid().to_string() {
            found.push(text);
        }
    }
    Ok(found)
}

fn wait_for_workers(server: &Running) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    for worker in 0..WORKERS {
        puppet::pid_of(server, worker, 1)?;
    }
    Ok(())
}

fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = now.map_or(1, |now| now.as_nanos() as u64) | 1;
    println!("seed {seed}");
    seed
}

fn reloads_and_kills_under_load_lose_nothing_but_what_was_in_hand(server: &Running) -> Outcome {
    wait_for_workers(server)?;
    let before = belongings(server)?;
    let mut churn = Churn::new(seed(), true);
    let sent = ledger::keep(server, &mut churn)?;
    println!("{} kills, {} stops", churn.kills, churn.stops);
    assert!(churn.kills + churn.stops >= RELOADS / TROUBLED / 2 && sent > 10_000, "{sent} frames");
    // A successor that was stopped itself is one of those that the next reload replaces.
    server.signal(libc::SIGUSR1)?;
    server.wait_lines(RELOADS + 1, |line| line == "reloaded", STEP)?;
    expect_belongings(server, &before)?;
    assert_eq!(zombies(server)?, Vec::<String>::new());
    server.connect()?.echo(b"the last one")
}

/// Comes again whenever its connection has ended; how often it was answered, and how often it came.
fn come_again(port: u16, is_over: &AtomicBool) -> Fallible<(u64, u64)> {
    let (mut answers, mut visits) = (0, 0);
    while !is_over.load(Ordering::Relaxed) {
        visits += 1;
        let mut client = Client::connect(port)?;
        while !is_over.load(Ordering::Relaxed) && client.echo(b"once more").is_ok() {
            answers += 1;
        }
    }
    Ok((answers, visits))
}

/// Where connections end with their worker, clients come again, and are always taken in.
fn reloads_and_kills_leave_nothing_behind(server: &Running) -> Outcome {
    wait_for_workers(server)?;
    let before = belongings(server)?;
    let mut churn = Churn::new(seed(), server.mode() == Mode::Base);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let visitors: Vec<_> =
            (0..4).map(|_| scope.spawn(|| come_again(server.port(), &is_over))).collect();
        let mut ended = Ok(false);
        while matches!(ended, Ok(false)) {
            ended = churn.go_on(server);
            std::thread::sleep(Duration::from_millis(1));
        }
        is_over.store(true, Ordering::Relaxed);
        for visitor in visitors {
            let (answers, visits) = visitor.join().map_err(|_| "a visitor panicked")??;
            println!("{answers} answers in {visits} visits");
            assert!(answers > 100 && visits > 10, "{answers} answers in {visits} visits");
        }
        ended.map(drop)
    })?;
    server.signal(libc::SIGUSR1)?;
    server.wait_lines(RELOADS + 1, |line| line == "reloaded", STEP)?;
    expect_belongings(server, &before)?;
    assert_eq!(zombies(server)?, Vec::<String>::new());
    server.connect()?.echo(b"the last one")
}

server_tests! {
    // Only there connections outlive their workers.
    reloads_and_kills_under_load_lose_nothing_but_what_was_in_hand: churned, in [Mode::Process];
    reloads_and_kills_leave_nothing_behind: churned, in [Mode::Base, Mode::Thread];
}
