//! A server in trouble: processes are killed and stopped, workers replaced, clients misbehave and
//! the system refuses, while a load counts. One line a test tells what came of it.
//!
//! `SWOOLE_CHAOS` says how much: 1 by itself, `make chaos` takes 20. `SWOOLE_CHAOS_SEED` repeats
//! the numbers of a run. What is lost, duplicated, reordered or leaked must be nothing.
//!
//! | part | |
//! |---|---|
//! | `frame` `ledger` | the load: what clients send, and what they book |
//! | `server` `journal` | the server, and what it writes down about each request |
//! | `injector` `crowd` `faults` | the trouble: signals, clients, the system |
//! | `auditor` | compares all of it, and what the system knows of the processes |

#[path = "../tasks/api.rs"]
#[allow(dead_code)]
mod api;
mod auditor;
#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod frame;
mod injector;
mod journal;
mod ledger;
#[path = "../puppet/mod.rs"]
mod puppet;
mod server;
#[path = "../users/api.rs"]
mod users;

use auditor::Auditor;
use common::prelude::*;
use crowd::{Hoarder, Pest};
use frame::Way;
use injector::{Harm, Killer, Reloader, Role, Sleeper, Trouble};
use server::{on_a_full_disk, troubled, with_few_descriptors, TASK_WORKERS, WORKERS};

const CLIENTS: usize = 24;
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
    let accounts = ledger::keep(server, ways, &mut trouble)?;
    let harm = harm(&trouble);
    drop(trouble);
    auditor.judge(server, accounts, &harm)
}

fn harm_of_kills(killer: &Killer) -> Harm {
    Harm {
        word: "kills",
        count: killer.killed.len(),
        killed: killer.killed.clone(),
        ..Harm::default()
    }
}

fn killed_workers_lose_nothing_but_what_was_in_hand(server: &Running) -> Outcome {
    let may_cut = server.mode() == Mode::Base;
    let killer = Killer::new(WORKER, sized(10), (20, 120));
    suffer(server, "kill-worker", &[Way::Worker; CLIENTS], killer, |killer| Harm {
        may_cut,
        ..harm_of_kills(killer)
    })
}

fn killed_task_workers_fail_what_was_in_hand(server: &Running) -> Outcome {
    let killer = Killer::new(TASK_WORKER, sized(10), (20, 120));
    suffer(server, "kill-task-worker", &[Way::Task; CLIENTS], killer, harm_of_kills)
}

fn killed_managers_lose_nothing(server: &Running) -> Outcome {
    let killer = Killer::new(Role::Manager, sized(5), (100, 300));
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
    let killer = Killer::new(Role::User, sized(10), (20, 120));
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
    suffer(server, "reload", &mixed_ways(), Reloader::new(sized(8)), |reloader| Harm {
        word: "reloads",
        count: reloader.done,
        may_cut,
        is_orderly: true,
        ..Harm::default()
    })
}

fn bad_guests_harm_nobody(server: &Running) -> Outcome {
    suffer(server, "guests", &mixed_ways(), Pest::new(sized(400)), |pest| Harm {
        word: "guests",
        count: pest.done,
        ..Harm::default()
    })
}

fn without_descriptors_nothing_is_lost(server: &Running) -> Outcome {
    suffer(server, "descriptors", &mixed_ways(), Hoarder::new(sized(3)), |hoarder| Harm {
        word: "hoards",
        count: hoarder.done,
        ..Harm::default()
    })
}

fn on_a_full_disk_nothing_is_lost(server: &Running) -> Outcome {
    let may_cut = server.mode() != Mode::Process;
    suffer(server, "full-disk", &mixed_ways(), Reloader::new(sized(4)), |reloader| Harm {
        word: "reloads",
        count: reloader.done,
        may_cut,
        is_orderly: true,
        ..Harm::default()
    })
}

server_tests! {
    // A thread cannot be killed alone.
    killed_workers_lose_nothing_but_what_was_in_hand: troubled, in [Mode::Process, Mode::Base];
    killed_task_workers_fail_what_was_in_hand: troubled, in [Mode::Process, Mode::Base];
    killed_user_processes_lose_nothing_but_what_was_in_hand: troubled,
        in [Mode::Process, Mode::Base];
    stopped_processes_lose_nothing: troubled, in [Mode::Process, Mode::Base];
    // Only there the manager is a process that can die alone.
    killed_managers_lose_nothing: troubled, in [Mode::Process];
    reloads_lose_nothing: troubled;
    bad_guests_harm_nobody: troubled;
    without_descriptors_nothing_is_lost: with_few_descriptors;
    on_a_full_disk_nothing_is_lost: on_a_full_disk;
}
