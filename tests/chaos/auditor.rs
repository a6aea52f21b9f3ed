//! Compares, when a trouble is over, what clients have booked, what the server has written into its
//! journal, what it counts, and what the system knows of its processes.
//!
//! A request is lost if the server had it and it was neither answered nor reported as failed. One
//! message for each killed process is not lost but was in its hands, as the specification has it:
//! it is the one that this process began last, or one that it had not begun when it was killed.

use crate::common::prelude::*;
use crate::frame::{self, Stamp, Verdict, Way};
use crate::injector::{Fallible, Harm};
use crate::journal::Journal;
use crate::ledger::{Account, Fate};
use crate::puppet::{number, pid_now};
use crate::server::{TASK_WORKERS, WORKERS};
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The client that asks for the counts.
const ASKING: u16 = u16::MAX;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a server has, with one connection and nothing under way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Belongings {
    processes: usize,
    zombies: usize,
    threads: usize,
    /// Descriptors of the root, of the manager, and of whoever else has most.
    descriptors: [usize; 3],
}

/// What the server counts.
#[derive(Clone, Copy, Debug)]
struct Counts {
    open: u64,
    accepted: u64,
    closed: u64,
    requests: u64,
    tasks: u64,
}

pub struct Auditor {
    name: &'static str,
    asking: Client,
    asked: u64,
    pub journal: Journal,
    before: Belongings,
    /// How long what has ended may take to go.
    pub patience: Duration,
}

/// What has come of all requests.
#[derive(Default)]
struct Verdicts {
    sent: u64,
    lost: u64,
    in_hand: u64,
    failed: u64,
    cut: u64,
    duplicated: u64,
    reordered: u64,
    complaints: Vec<String>,
}

/// What excuses are left for requests without an answer.
struct Left {
    /// Processes that were killed, with nothing known that was in their hands.
    killed: HashSet<u32>,
    /// Requests that nobody has begun.
    unborn: Vec<String>,
    /// Tasks that have failed, as the log has it, and of which nobody else was told.
    logged: u64,
}

impl Auditor {
    /// Looks at the server before the trouble begins. Everybody has served each kind of request.
    pub fn begin(server: &Running, name: &'static str) -> Fallible<Self> {
        server.wait_line(|line| line == "ready", STEP)?;
        for worker in 0..WORKERS + TASK_WORKERS {
            pid_now(server, worker)?;
        }
        server.wait_line(|line| line.starts_with("user "), STEP)?;
        let line = server.wait_line(|line| line.starts_with("journal "), STEP)?;
        let journal = Journal::open(server.pid(), number(line.trim_start_matches("journal ")))?;
        let mut auditor = Self {
            name,
            asking: server.connect()?,
            asked: 0,
            journal,
            before: belongings(server)?,
            patience: STEP,
        };
        auditor.counts(server)?;
        // What is started or opened a little later than the workers.
        let end = Instant::now() + STEP;
        let mut before = belongings(server)?;
        while before != auditor.before && Instant::now() < end {
            auditor.before = before;
            crate::puppet::poll(&[], 0, LOOK_AGAIN.as_millis() as i32)?;
            before = belongings(server)?;
        }
        Ok(auditor)
    }

    fn counts(&mut self, server: &Running) -> Fallible<Counts> {
        self.asked += 1;
        let stamp =
            Stamp { way: Way::Ask, verdict: Verdict::Open, client: ASKING, number: self.asked };
        let request = frame::sealed(stamp, &[]);
        let answer = self.asking.send(&request).and_then(|()| self.take_frame());
        let Ok(answer) = answer else {
            // Its worker was replaced, and took it along.
            self.asking = server.connect()?;
            return self.counts(server);
        };
        let text = String::from_utf8(answer[frame::HEAD..].to_vec())?;
        let numbers: Vec<u64> = text.split_whitespace().map(number).collect();
        let [open, accepted, closed, requests, tasks] = numbers[..] else {
            return Err(format!("counts that are none: {text}").into());
        };
        Ok(Counts { open, accepted, closed, requests, tasks })
    }

    fn take_frame(&mut self) -> std::io::Result<Vec<u8>> {
        let mut frame = self.asking.receive(4)?;
        let length = frame::length_of(&frame).unwrap_or(4);
        frame.extend(self.asking.receive(length - 4)?);
        Ok(frame)
    }

    /// The verdict, as a line and, if it is bad, as a failure.
    pub fn judge(self, server: &Running, accounts: Vec<Account>, harm: &Harm) -> Outcome {
        let (line, complaints) = self.examine(server, accounts, harm)?;
        println!("{line}");
        match complaints.is_empty() {
            true => Ok(()),
            false => Err(format!("{line}\n{complaints:#?}").into()),
        }
    }

    /// What has come of all requests, as a line, and what is wrong with it.
    pub fn examine(
        mut self,
        server: &Running,
        accounts: Vec<Account>,
        harm: &Harm,
    ) -> Fallible<(String, Vec<String>)> {
        let mut verdicts = Verdicts::default();
        let told = accounts.iter().flat_map(|account| account.fates.values());
        let told = told.filter(|fate| **fate == Fate::Failed).count();
        let logged = match harm.replaces_workers {
            true => server.log().matches("was lost with task worker").count(),
            false => 0,
        };
        let mut left = Left {
            killed: harm.killed.iter().copied().collect(),
            unborn: Vec::new(),
            logged: logged.saturating_sub(told) as u64,
        };
        for account in &accounts {
            self.judge_account(&mut verdicts, account, harm, &mut left);
        }
        let Left { killed, unborn, .. } = left;
        // What nobody has begun was taken by one that was killed before it could.
        let claimed = unborn.len().min(killed.len());
        verdicts.in_hand += claimed as u64;
        verdicts.lost += (unborn.len() - claimed) as u64;
        verdicts.complaints.extend(unborn.into_iter().skip(claimed));
        let mut latencies: Vec<Duration> =
            accounts.iter().flat_map(|account| account.latencies.iter().map(|row| row.1)).collect();
        let p99 = percentile(&mut latencies, 99);
        drop(accounts);
        let (sent, kills) = (verdicts.sent, harm.killed.len() as u64);
        let exact = !(harm.may_cut || harm.has_guests);
        let requests = exact.then(|| sent.saturating_sub(kills)..=sent);
        let leaked = self.await_nothing_leaked(server, requests, &mut verdicts.complaints)?;
        let Verdicts { sent, lost, in_hand, failed, cut, duplicated, reordered, complaints } =
            verdicts;
        let line = format!(
            "chaos {} {}={} sent={sent} lost={lost} duplicated={duplicated} reordered={reordered} \
             p99_ms={:.1} leaked={leaked} in_hand={in_hand} failed={failed} cut={cut} mode={:?}",
            self.name,
            harm.word,
            harm.count,
            p99.as_secs_f64() * 1e3,
            server.mode(),
        );
        let is_well = sent > 0 && lost + duplicated + reordered + leaked == 0;
        assert_eq!(is_well, complaints.is_empty(), "{line}: {complaints:#?}");
        Ok((line, complaints))
    }

    fn judge_account(
        &self,
        verdicts: &mut Verdicts,
        account: &Account,
        harm: &Harm,
        Left { killed, unborn, logged }: &mut Left,
    ) {
        let name = account.name;
        verdicts.sent += account.sent;
        verdicts.duplicated += account.repeated;
        let late = self.journal.late(name);
        verdicts.reordered += account.reordered + late;
        let complaints = &mut verdicts.complaints;
        if account.repeated + account.reordered + late > 0 {
            let Account { repeated, reordered, .. } = account;
            complaints.push(format!(
                "client {name}: {repeated} came twice, {reordered} too late, {late} were begun late"
            ));
        }
        for number in 1..=account.sent {
            let begun = self.journal.entry(name, number).begun.load(Ordering::Relaxed);
            if begun > 1 {
                verdicts.duplicated += 1;
                complaints.push(format!("{number} of client {name} was begun {begun} times"));
            }
        }
        if account.answered + account.fates.len() as u64 != account.sent {
            verdicts.lost += 1;
            complaints.push(format!("the account of client {name} is wrong"));
        }
        for (number, fate) in &account.fates {
            let entry = self.journal.entry(name, *number);
            let owner = entry.owner.load(Ordering::Relaxed);
            let is_begun = entry.begun.load(Ordering::Relaxed) > 0;
            let is_answered = entry.answered.load(Ordering::Relaxed) > 0;
            let complaint = format!(
                "{number} of client {name}: {fate:?}, begun {is_begun} by {owner}, answered \
                 {is_answered}"
            );
            let is_lost = match fate {
                // Who asked the dead must be told.
                Fate::Open if account.way != Way::User && !harm.kills_workers => {
                    let is_excused = account.way == Way::Task && *logged > 0;
                    *logged -= u64::from(is_excused);
                    verdicts.failed += u64::from(is_excused);
                    !is_excused
                }
                Fate::Failed if !is_begun && harm.may_refuse => {
                    verdicts.failed += 1;
                    false
                }
                Fate::Open | Fate::Failed if !is_begun => {
                    unborn.push(complaint);
                    continue;
                }
                // The result of a task, of which no worker has heard.
                Fate::Open if account.way == Way::Task && !killed.contains(&owner) => {
                    unborn.push(complaint);
                    continue;
                }
                Fate::Open => {
                    let is_in_hand = killed.remove(&owner);
                    verdicts.in_hand += u64::from(is_in_hand);
                    !is_in_hand
                }
                Fate::Failed => {
                    let is_excused = killed.remove(&owner);
                    verdicts.failed += u64::from(is_excused);
                    !is_excused
                }
                Fate::Cut(last) => {
                    verdicts.cut += 1;
                    let last_owner = self.journal.entry(name, *last).owner.load(Ordering::Relaxed);
                    let was_killed = |pid: u32| harm.killed.contains(&pid);
                    // The end of a connection is a report, where its worker has ended.
                    // What another process has answered may be on its way to that worker.
                    let is_reported = match harm.is_orderly {
                        true => !is_answered || account.way == Way::User,
                        false => *last == 0 || was_killed(last_owner),
                    };
                    !(is_reported && harm.may_cut)
                }
            };
            if is_lost {
                verdicts.lost += 1;
                complaints.push(complaint);
            }
        }
    }

    /// How many things are left that were not there before, once that does not change for the
    /// better any more.
    fn await_nothing_leaked(
        &mut self,
        server: &Running,
        requests: Option<RangeInclusive<u64>>,
        complaints: &mut Vec<String>,
    ) -> Fallible<u64> {
        let end = Instant::now() + self.patience;
        loop {
            let counts = self.counts(server)?;
            let now = belongings(server)?;
            // The question itself is not counted before it is answered.
            let counted = counts.requests.saturating_sub(self.asked - 1);
            let is_exact = requests.as_ref().map_or(true, |range| range.contains(&counted));
            let leaked = self.leaked(&counts, &now) + u64::from(!is_exact);
            if leaked == 0 || Instant::now() > end {
                if leaked > 0 {
                    complaints.push(format!("{:?} became {now:?}", self.before));
                    complaints.push(format!("{counts:?}, {counted} of {requests:?}"));
                }
                return Ok(leaked);
            }
            crate::puppet::poll(&[], 0, LOOK_AGAIN.as_millis() as i32)?;
        }
    }

    fn leaked(&self, counts: &Counts, now: &Belongings) -> u64 {
        let before = &self.before;
        let more = |now: usize, before: usize| now.saturating_sub(before);
        let descriptors = now.descriptors.iter().zip(before.descriptors);
        let of_stats = counts.open.abs_diff(1)
            + (counts.accepted - counts.open).abs_diff(counts.closed)
            + counts.tasks;
        let of_processes = descriptors.map(|(now, before)| more(*now, before)).sum::<usize>()
            + now.processes.abs_diff(before.processes)
            + more(now.threads, before.threads)
            + now.zombies;
        of_stats + of_processes as u64
    }
}

/// So many in a hundred are not longer.
pub fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(place).copied().unwrap_or_default()
}

/// The manager as the system knows it: the parent of the workers.
pub fn manager_pid(server: &Running) -> i32 {
    let lines = server.lines_so_far();
    let last = lines.iter().rev().find_map(|line| line.strip_prefix("manager "));
    last.map_or(server.pid(), number)
}

fn belongings(server: &Running) -> Fallible<Belongings> {
    let manager = manager_pid(server);
    // A process that has ended since has nothing.
    let count = |folder: String| std::fs::read_dir(folder).map_or(0, Iterator::count);
    let descriptors = |pid: i32| count(format!("/proc/{pid}/fd"));
    let others = server.descendants()?;
    let most = others.iter().filter(|row| row.pid != manager).map(|row| descriptors(row.pid)).max();
    let descriptors = [descriptors(server.pid()), descriptors(manager), most.unwrap_or(0)];
    let threads = count(format!("/proc/{}/task", server.pid()));
    Ok(Belongings { processes: others.len(), zombies: zombies(server)?, threads, descriptors })
}

/// Processes of the group that have ended and that nobody has taken away.
fn zombies(server: &Running) -> Fallible<usize> {
    let mut found = 0;
    for entry in std::fs::read_dir("/proc")? {
        let Ok(text) = std::fs::read_to_string(entry?.path().join("stat")) else { continue };
        let Some((_, rest)) = text.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = rest.split(' ').collect();
        found += usize::from(fields[0] == "Z" && fields[2] == server.pid().to_string());
    }
    Ok(found)
}
