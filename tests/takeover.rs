//! A manager that is killed: another one takes its place, or, where none can be started, the server
//! serves on and ends in order without.

mod common;
#[path = "crash/ledger.rs"]
#[allow(dead_code)]
mod ledger;
mod puppet;
#[path = "tasks/api.rs"]
#[allow(dead_code)]
mod tasks;
#[path = "takeover/unborn.rs"]
mod unborn;
#[path = "takeover/untold.rs"]
mod untold;

use common::prelude::*;
use common::process;
use ledger::Trouble;
use puppet::{connect_to, hold_worker, kill, pid_of};
use std::time::{Duration, Instant};

use unborn::a_worker_that_no_manager_knows_of_never_begins;
use untold::a_task_fails_also_where_the_manager_dies_right_after_its_worker;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn serve(setup: &Setup, settings: &[(&str, &str)], is_threaded: bool) -> Outcome {
    let server = setup.server()?;
    for (name, value) in settings {
        server.set(name, value)?;
    }
    server.on("receive", puppet::obey)?;
    server.on("close", |_, event| report!("close {}", event.fd()))?;
    server.on("workerStart", |_, event| {
        report!("worker {} {}", event.worker().worker_id, event.worker().worker_pid);
    })?;
    server.on("workerStop", |_, event| {
        report!("stop {} {}", event.worker().worker_id, event.worker().worker_pid);
    })?;
    server.on("workerError", |_, event| report!("error {}", event.error().worker_id))?;
    server.on("managerStart", |server, _| report!("manager {}", server.manager_pid()))?;
    server.on("managerStop", |server, _| report!("manager stop {}", server.manager_pid()))?;
    server.on("beforeReload", |_, _| report!("reloading"))?;
    server.on("afterReload", |_, _| report!("reloaded"))?;
    if is_threaded {
        server.on("start", |_, _| {
            std::thread::spawn(|| loop {
                std::thread::park();
            });
        })?;
    }
    server.start()?;
    report!("returned");
    Ok(())
}

/// Forks as the test wants it.
fn unborn_guest(setup: &Setup) -> Outcome {
    unborn::guest(setup)
}

fn untold_guest(setup: &Setup) -> Outcome {
    untold::guest(setup)
}

fn plain(setup: &Setup) -> Outcome {
    serve(setup, &[("max_wait_time", "1")], false)
}

fn single_thread(setup: &Setup) -> Outcome {
    serve(setup, &[("single_thread", "1")], false)
}

/// The program has a thread of its own in the master, so the master cannot fork.
fn threaded(setup: &Setup) -> Outcome {
    serve(setup, &[("max_wait_time", "1")], true)
}

/// The pid of the manager in its life of this number, counted from 1.
fn manager_of(server: &Running, life: usize) -> Fallible<i32> {
    let lines = server.wait_lines(life, |line| line.starts_with("manager "), STEP)?;
    Ok(puppet::number(lines[life - 1].trim_start_matches("manager ")))
}

/// Kills the first manager, with its workers known.
fn kill_manager(server: &Running) -> Fallible<([i32; 2], i32)> {
    let workers = [pid_of(server, 0, 1)?, pid_of(server, 1, 1)?];
    let manager = manager_of(server, 1)?;
    kill(manager)?;
    assert!(process::wait_gone(manager, STEP)?);
    Ok((workers, manager))
}

fn descriptors(pid: i32) -> std::io::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

fn a_killed_manager_is_followed_by_one_that_does_all_that_it_did(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.echo(b"before")?;
    let first = manager_of(server, 1)?;
    // It watches its children by two descriptors each until the last of them has started.
    pid_of(server, 1, 1)?;
    let belongings = descriptors(first)?;
    let began = Instant::now();
    kill_manager(server)?;
    let second = manager_of(server, 2)?;
    // Only one that dies again and again has to wait before it is started.
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_ne!(second, first);
    // Workers that are nobody's children are replaced, and nobody is told of a reload.
    let workers = [pid_of(server, 0, 2)?, pid_of(server, 1, 2)?];
    client.echo(b"connections live on")?;
    server.connect()?.echo(b"and new ones come")?;
    // Above all no connections, which it would keep open.
    wait_until(|| Ok(descriptors(second)? == belongings))?;
    assert_eq!(server.descendants()?.len(), 3);
    kill(workers[0])?;
    server.wait_line(|line| line == "error 0", STEP)?;
    pid_of(server, 0, 3)?;
    client.echo(b"after a respawn")?;
    assert!(!server.lines_so_far().contains(&"reloading".to_owned()));
    server.signal(libc::SIGUSR1)?;
    server.wait_line(|line| line == "reloaded", STEP)?;
    pid_of(server, 1, 3)?;
    client.echo(b"after a reload")?;
    server.signal(libc::SIGTERM)?;
    server.wait_line(|line| line == format!("manager stop {second}"), STEP)?;
    server.wait_line(|line| line == "returned", STEP)?;
    assert!(server.wait_exit(STEP)?.success());
    Ok(())
}

fn wait_until(mut is_it: impl FnMut() -> Fallible<bool>) -> Outcome {
    let end = Instant::now() + STEP;
    while !is_it()? {
        if Instant::now() > end {
            return Err("what was waited for has not come".into());
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// Kills the manager as soon as there is one again.
struct Regicide {
    lives: usize,
    due: Instant,
}

const LIVES: usize = 10;
const REIGN: Duration = Duration::from_millis(150);

impl Trouble for Regicide {
    fn go_on(&mut self, server: &Running) -> Fallible<bool> {
        let managers: Vec<String> =
            server.lines_so_far().into_iter().filter(|line| line.starts_with("manager ")).collect();
        if managers.len() > self.lives && Instant::now() >= self.due {
            kill(puppet::number(managers[self.lives].trim_start_matches("manager ")))?;
            self.lives += 1;
            self.due = Instant::now() + REIGN;
        }
        Ok(self.lives == LIVES && managers.len() > LIVES)
    }

    fn most_lost(&self) -> u64 {
        0
    }
}

fn nothing_is_lost_while_managers_are_killed(server: &Running) -> Outcome {
    pid_of(server, 1, 1)?;
    let mut trouble = Regicide { lives: 0, due: Instant::now() };
    ledger::keep(server, &mut trouble)?;
    // Each manager replaces the workers that it has found.
    server.signal(libc::SIGUSR1)?;
    server.wait_line(|line| line == "reloaded", STEP)?;
    server.connect()?.echo(b"after all")
}

fn one_thread_is_followed_as_well(server: &Running) -> Outcome {
    a_killed_manager_is_followed_by_one_that_does_all_that_it_did(server)
}

/// The reload that a manager has begun is over with it.
fn a_reload_amid_which_the_manager_dies_does_not_keep_others_from_happening(
    server: &Running,
) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    let held = hold_worker(&mut client)?;
    server.signal(libc::SIGUSR1)?;
    server.wait_line(|line| line == "reloading", STEP)?;
    kill_manager(server)?;
    manager_of(server, 2)?;
    drop(held);
    pid_of(server, 1, 2)?;
    server.signal(libc::SIGUSR1)?;
    server.wait_line(|line| line == "reloaded", STEP)?;
    Ok(())
}

/// A worker that dies while nobody watches is missing to the next manager.
fn a_worker_that_dies_with_its_manager_is_replaced(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.echo(b"before")?;
    let workers = [pid_of(server, 0, 1)?, pid_of(server, 1, 1)?];
    kill(manager_of(server, 1)?)?;
    for worker in workers {
        kill(worker)?;
    }
    client.echo(b"after")?;
    pid_of(server, 0, 2)?;
    pid_of(server, 1, 2)?;
    Ok(())
}

fn without_a_manager_the_server_serves_and_ends_in_order(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.echo(b"before")?;
    let (workers, _) = kill_manager(server)?;
    client.echo(b"after")?;
    server.connect()?.echo(b"and new ones come")?;
    server.signal(libc::SIGTERM)?;
    for (worker, pid) in workers.iter().enumerate() {
        server.wait_line(|line| line == format!("stop {worker} {pid}"), STEP)?;
    }
    server.wait_line(|line| line == "returned", STEP)?;
    assert!(server.wait_exit(STEP)?.success());
    Ok(())
}

fn without_a_manager_a_stuck_worker_is_ended_by_force(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    let _held = hold_worker(&mut client)?;
    kill_manager(server)?;
    server.signal(libc::SIGTERM)?;
    server.wait_line(|line| line == "returned", STEP)?;
    assert!(server.wait_exit(STEP)?.success());
    Ok(())
}

server_tests! {
    // Only there the manager is a process that can die alone.
    a_killed_manager_is_followed_by_one_that_does_all_that_it_did: plain, in [Mode::Process];
    one_thread_is_followed_as_well: single_thread, in [Mode::Process];
    nothing_is_lost_while_managers_are_killed: plain, in [Mode::Process];
    a_reload_amid_which_the_manager_dies_does_not_keep_others_from_happening: plain,
        in [Mode::Process];
    a_worker_that_dies_with_its_manager_is_replaced: plain, in [Mode::Process];
    without_a_manager_the_server_serves_and_ends_in_order: threaded, in [Mode::Process];
    without_a_manager_a_stuck_worker_is_ended_by_force: threaded, in [Mode::Process];
    a_worker_that_no_manager_knows_of_never_begins: unborn_guest, in [Mode::Process];
    a_task_fails_also_where_the_manager_dies_right_after_its_worker: untold_guest,
        in [Mode::Process];
}
