//! A server in trouble: processes are killed and stopped, workers replaced, clients misbehave and
//! the system refuses, while a load counts. One line a test tells what came of it.
//!
//! `SWOOLE_CHAOS` says how much: 1 by itself, `make chaos` takes 40. `SWOOLE_CHAOS_SEED` repeats
//! the numbers of a run. What is lost, duplicated, reordered or leaked must be nothing.
//!
//! | part | |
//! |---|---|
//! | `frame` `ledger` | the load: what clients send, and what they book |
//! | `server` `journal` | the server, and what it writes down about each request |
//! | `injector` `crowd` `faults` `disk` | the trouble: signals, clients, the system |
//! | `auditor` | compares all of it, and what the system knows of the processes |

#[path = "../tasks/api.rs"]
#[allow(dead_code)]
mod api;
mod auditor;
#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod disk;
mod faults;
mod frame;
mod injector;
mod journal;
mod ledger;
#[path = "../puppet/mod.rs"]
mod puppet;
mod server;
mod slow;
#[path = "../users/api.rs"]
mod users;

use auditor::Auditor;
use common::prelude::*;
use crowd::{Hoarder, Pest};
use faults::Faults;
use frame::Way;
use injector::{Beside, Fallible, Harm, Killer, Reloader, Role, Sleeper, Trouble};
use journal::Journal;
use ledger::Pace;
use server::{
    deceitful, on_a_full_disk, troubled, with_few_descriptors, with_many_descriptors, TASK_WORKERS,
    WORKERS,
};
use slow::slow_connections_keep_nobody_waiting;
use std::time::Duration;

const CLIENTS: usize = 24;
/// Requests of a client among which one is huge, more or less.
const HUGE_EVERY: usize = 200;
const WORKER: Role = Role::Worker(0, WORKERS);
const TASK_WORKER: Role = Role::Worker(WORKERS, TASK_WORKERS);

/// How much of it: `small` times what is asked for.
fn sized(small: usize) -> usize {
    let factor = std::env::var("SWOOLE_CHAOS").ok().and_then(|size| size.parse().ok());
    small * factor.unwrap_or(1)
}

fn mixed_ways() -> Vec<Way> {
    (0..CLIENTS).map(|index| [Way::Worker, Way::Task, Way::User, Way::Worker][index % 4]).collect()
}

/// Keeps the ledger amid a trouble, and has it judged.
fn suffer<T: Trouble>(
    server: &Running,
    name: &'static str,
    ways: &[Way],
    mut trouble: T,
    harm: impl FnOnce(&T) -> Harm,
) -> Outcome {
    let auditor = Auditor::begin(server, name)?;
    let mut accounts = ledger::open(server, ways)?;
    ledger::keep(server, &mut accounts, Pace::Windows, &mut trouble)?;
    let harm = harm(&trouble);
    drop(trouble);
    auditor.judge(server, accounts, &harm)
}

fn harm_of_kills(killer: &Killer) -> Harm {
    Harm {
        word: "kills",
        count: killer.killed.len(),
        killed: killer.killed.clone(),
        kills_workers: killer.role == WORKER,
        ..Harm::default()
    }
}

fn killed_workers_lose_nothing_but_what_was_in_hand(server: &Running) -> Outcome {
    let may_cut = server.mode() == Mode::Base;
    let killer = Killer::new(WORKER, sized(5), (20, 100));
    // Where connections die with their worker, only its own answers tell whose they were.
    let ways = if may_cut { vec![Way::Worker; CLIENTS] } else { mixed_ways() };
    suffer(server, "kill-worker", &ways, killer, |killer| Harm { may_cut, ..harm_of_kills(killer) })
}

fn killed_task_workers_fail_what_was_in_hand(server: &Running) -> Outcome {
    let killer = Killer::new(TASK_WORKER, sized(5), (20, 100));
    suffer(server, "kill-task-worker", &[Way::Task; CLIENTS], killer, harm_of_kills)
}

fn killed_managers_lose_nothing(server: &Running) -> Outcome {
    let killer = Killer::new(Role::Manager, sized(3), (100, 300));
    suffer(server, "kill-manager", &mixed_ways(), killer, |killer| Harm {
        killed: users_of(server),
        ..harm_of_kills(killer)
    })
}

/// A user process ends with its manager. All that there have been:
fn users_of(server: &Running) -> Vec<u32> {
    let lines = server.lines_so_far();
    lines.iter().filter_map(|line| line.strip_prefix("user ")).map(puppet::number).collect()
}

fn killed_user_processes_lose_nothing_but_what_was_in_hand(server: &Running) -> Outcome {
    let killer = Killer::new(Role::User, sized(5), (20, 100));
    suffer(server, "kill-user-process", &[Way::User; CLIENTS], killer, harm_of_kills)
}

fn stopped_processes_lose_nothing(server: &Running) -> Outcome {
    const ROLES: &[Role] = &[WORKER, Role::Root, TASK_WORKER, Role::User, WORKER, Role::Manager];
    suffer(server, "stop", &mixed_ways(), Sleeper::new(ROLES, sized(6)), |sleeper| Harm {
        word: "stops",
        count: sleeper.done,
        ..Harm::default()
    })
}

fn reloads_lose_nothing(server: &Running) -> Outcome {
    let may_cut = server.mode() != Mode::Process;
    suffer(server, "reload", &mixed_ways(), Reloader::new(sized(6)), |reloader| Harm {
        word: "reloads",
        count: reloader.done,
        may_cut,
        is_orderly: true,
        ..Harm::default()
    })
}

/// Workers are killed amid reloads, and guests come and go.
fn everything_at_once_loses_nothing_but_what_was_in_hand(server: &Running) -> Outcome {
    let killer = Killer::new(WORKER, sized(6), (50, 250));
    let trouble = Beside(Pest::politely(25), Beside(Reloader::new(sized(6)), killer));
    suffer(server, "everything", &[Way::Worker; CLIENTS], trouble, |trouble| Harm {
        has_guests: true,
        ..harm_of_kills(&trouble.1 .1)
    })
}

/// A worker may die while nobody watches it, and a manager while it starts one.
fn workers_and_managers_that_die_together_lose_no_more(server: &Running) -> Outcome {
    let managers = Killer::new(Role::Manager, sized(3), (50, 250));
    let workers = Killer::new(WORKER, sized(5), (20, 150));
    suffer(server, "kill-both", &mixed_ways(), Beside(managers, workers), |both| Harm {
        count: both.0.killed.len() + both.1.killed.len(),
        killed: [both.1.killed.clone(), users_of(server)].concat(),
        ..harm_of_kills(&both.1)
    })
}

fn task_workers_and_managers_that_die_together_fail_no_more(server: &Running) -> Outcome {
    let managers = Killer::new(Role::Manager, sized(3), (50, 250));
    let workers = Killer::new(TASK_WORKER, sized(5), (20, 150));
    suffer(server, "kill-task-both", &[Way::Task; CLIENTS], Beside(managers, workers), |both| {
        Harm {
            count: both.0.killed.len() + both.1.killed.len(),
            replaces_workers: true,
            ..harm_of_kills(&both.1)
        }
    })
}

fn bad_guests_harm_nobody(server: &Running) -> Outcome {
    suffer(server, "guests", &mixed_ways(), Pest::new(sized(200)), |pest| Harm {
        word: "guests",
        count: pest.done,
        has_guests: true,
        ..Harm::default()
    })
}

fn without_descriptors_nothing_is_lost(server: &Running) -> Outcome {
    suffer(server, "descriptors", &mixed_ways(), Hoarder::new(sized(2)), |hoarder| Harm {
        word: "hoards",
        count: hoarder.done,
        has_guests: true,
        ..Harm::default()
    })
}

fn on_a_full_disk_nothing_is_lost(server: &Running) -> Outcome {
    let may_cut = server.mode() != Mode::Process;
    suffer(server, "full-disk", &mixed_ways(), Reloader::new(sized(2)), |reloader| Harm {
        word: "reloads",
        count: reloader.done,
        may_cut,
        is_orderly: true,
        ..Harm::default()
    })
}

/// Where there is no room for the file of a task, the call that hands it in says so.
fn tasks_on_a_full_disk_are_refused_and_not_lost(server: &Running) -> Outcome {
    let is_told = |line: &str| line == "a small disk" || line.starts_with(disk::NONE);
    let told = server.wait_line(is_told, STEP)?;
    if told.starts_with(disk::NONE) {
        println!("chaos full-tmpdir: skipped, nothing can be mounted: {told}");
        return Ok(());
    }
    let auditor = Auditor::begin(server, "full-tmpdir")?;
    let mut accounts = ledger::open(server, &[Way::Task; CLIENTS])?;
    let asked = sized(HUGE_EVERY);
    let mut enough = Enough(auditor.journal, asked as u64);
    ledger::keep(server, &mut accounts, Pace::Windows, &mut enough)?;
    let harm = Harm { word: "asked", count: asked, may_refuse: true, ..Harm::default() };
    let (line, complaints) = auditor.examine(server, accounts, &harm)?;
    println!("{line}");
    assert!(complaints.is_empty(), "{line}\n{complaints:#?}");
    assert!(!line.contains("failed=0 "), "nothing was refused: {line}");
    Ok(())
}

/// Peace, until each client has asked for so much.
struct Enough(Journal, u64);

impl Trouble for Enough {
    fn go_on(&mut self, _: &Running) -> Fallible<bool> {
        Ok((0..CLIENTS).all(|client| self.0.last(client as u16) > self.1))
    }
}

/// The whole thing, with a server that is wrong in every way that is looked for.
fn what_is_wrong_is_noticed(server: &Running) -> Outcome {
    let mut auditor = Auditor::begin(server, "deceit")?;
    auditor.patience = Duration::from_millis(500);
    let mut accounts = ledger::open(server, &[Way::Worker; CLIENTS])?;
    // All that a deceitful server does wrong.
    let mut enough = Enough(auditor.journal, 2 * server::FORGOTTEN);
    ledger::keep(server, &mut accounts, Pace::Windows, &mut enough)?;
    // A connection that nobody closes is a leak, too.
    let left = server.connect()?;
    let harm = Harm { word: "lies", count: 3 * CLIENTS, ..Harm::default() };
    let (line, _) = auditor.examine(server, accounts, &harm)?;
    drop(left);
    let of_each = format!("lost={CLIENTS} duplicated={CLIENTS} reordered={CLIENTS} ");
    assert!(line.contains(&of_each) && !line.contains("leaked=0"), "{line}");
    Ok(())
}

fn failing_system_calls_lose_nothing(server: &Running) -> Outcome {
    if !faults::is_possible() {
        println!("chaos faults: skipped, strace is missing or may not trace");
        return Ok(());
    }
    let trouble = Beside(Pest::politely(5), Faults::new(sized(1).min(5)));
    // Where connections die with their worker, only its own answers tell whose they were.
    let may_cut = server.mode() == Mode::Base;
    let ways = if may_cut { vec![Way::Worker; CLIENTS] } else { mixed_ways() };
    suffer(server, "faults", &ways, trouble, |trouble| Harm {
        may_cut,
        word: "faults",
        count: trouble.1.done,
        killed: trouble.1.killed.clone(),
        kills_workers: true,
        has_guests: true,
        ..Harm::default()
    })
}

server_tests! {
    what_is_wrong_is_noticed: deceitful, in [Mode::Process];
    // A thread cannot be killed alone.
    killed_workers_lose_nothing_but_what_was_in_hand: troubled, in [Mode::Process, Mode::Base];
    killed_task_workers_fail_what_was_in_hand: troubled, in [Mode::Process, Mode::Base];
    killed_user_processes_lose_nothing_but_what_was_in_hand: troubled,
        in [Mode::Process, Mode::Base];
    stopped_processes_lose_nothing: troubled, in [Mode::Process, Mode::Base];
    // Only there the manager is a process that can die alone.
    killed_managers_lose_nothing: troubled, in [Mode::Process];
    workers_and_managers_that_die_together_lose_no_more: troubled, in [Mode::Process];
    task_workers_and_managers_that_die_together_fail_no_more: troubled, in [Mode::Process];
    reloads_lose_nothing: troubled;
    // Only there nothing else may end a connection.
    everything_at_once_loses_nothing_but_what_was_in_hand: troubled, in [Mode::Process];
    bad_guests_harm_nobody: troubled;
    slow_connections_keep_nobody_waiting: with_many_descriptors;
    failing_system_calls_lose_nothing: troubled;
    without_descriptors_nothing_is_lost: with_few_descriptors;
    on_a_full_disk_nothing_is_lost: on_a_full_disk;
    tasks_on_a_full_disk_are_refused_and_not_lost: disk::on_a_small_disk;
}
