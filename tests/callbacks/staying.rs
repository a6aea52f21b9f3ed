//! What still works when a callback never returns, and how the server comes to its end then.

use crate::common::prelude::*;
use crate::common::{process, Case, Client, GRACE};
use crate::puppet::life::{count_of, place_of, wait_for_end, wait_for_lines};
use crate::puppet::{self, connect_to, pid_of};
use crate::trouble::{provoke, wait_for_trouble, wait_until_alone, wait_until_up, Scene, ORPHANED};
use crate::trouble_cases;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

/// Twice `max_wait_time`, less what the clocks of two processes may differ.
const PATIENCE: Duration = Duration::from_millis(1950);
/// How much longer a manager is waited for than the workers are.
const MANAGER_PATIENCE: Duration = Duration::from_millis(2950);
/// Connections of which each worker has some.
const SEVERAL: usize = 8;

/// New connections are served, all or at least those of a worker that is free.
fn expect_service(server: &Running, are_all_served: bool) -> Outcome {
    let connect = |_| Client::connect(server.port());
    let mut clients = (0..SEVERAL).map(connect).collect::<Result<Vec<_>, _>>()?;
    for client in &mut clients {
        client.send(b"served")?;
    }
    let fds: Vec<i32> = clients.iter().map(|client| client.stream.as_raw_fd()).collect();
    let answered = puppet::poll(&fds, libc::POLLIN, STEP.as_millis() as i32)?;
    assert!(!answered.is_empty());
    for (number, client) in clients.iter_mut().enumerate() {
        if are_all_served || answered.contains(&number) {
            assert_eq!(client.receive(6)?, b"served");
        }
    }
    Ok(())
}

/// Nobody else can be told to end, and so this one is killed.
fn expect_all_to_go_with_the_root(server: &Running) -> Outcome {
    let others = server.descendants()?;
    let began = Instant::now();
    server.signal(libc::SIGKILL)?;
    for process in others {
        let left = ORPHANED.saturating_sub(began.elapsed());
        assert!(process::wait_gone(process.pid, left)?, "{process:?} outlives the master");
    }
    assert_eq!(server.wait_exit(STEP)?.signal(), Some(libc::SIGKILL));
    server.assert_nothing_left()?;
    assert_eq!(count_of(server, "returned"), 0);
    Ok(())
}

/// Waits for the end of the server, which takes as long as somebody in it is waited for.
fn expect_end_after(server: &Running, patience: Duration, began: Instant) -> Outcome {
    wait_for_end(server)?;
    let took = began.elapsed();
    assert!(took > patience && took < patience + GRACE, "{took:?}");
    let lines = server.lines_so_far();
    place_of(&lines, &format!("shutdown {}", server.pid()))?;
    place_of(&lines, "returned, left: []")?;
    Ok(())
}

fn expect_killed(server: &Running, worker: i32) -> Outcome {
    let pid = pid_of(server, worker, 1)?;
    assert_eq!(wait_for_trouble(server)?, pid);
    server.wait_line(|line| line == format!("error {worker} {pid} code 0 signal 9"), STEP)?;
    Ok(())
}

fn echo_control(scene: &mut Scene) -> Outcome {
    scene.control.as_mut().ok_or("no connection to worker 0")?.echo(b"served")
}

/// Nothing is accepted, since that is what the event waits for.
fn the_start_waits(server: &Running, event: &str) -> Outcome {
    provoke(server, event)?;
    wait_for_lines(server, 2, "worker ")?;
    let mut client = Client::connect(server.port())?;
    client.send(b"early")?;
    assert_eq!(count_of(server, "connect "), 0);
    expect_all_to_go_with_the_root(server)?;
    assert!(client.receive(1).is_err());
    Ok(())
}

/// What was accepted is served.
fn the_end_does_not_come(server: &Running, event: &str) -> Outcome {
    let mut scene = provoke(server, event)?;
    echo_control(&mut scene)?;
    scene.clients[0].echo(b"served")?;
    expect_all_to_go_with_the_root(server)
}

/// Nobody is left but the caller of start.
fn only_the_caller_is_left(server: &Running, event: &str) -> Outcome {
    let _scene = provoke(server, event)?;
    assert_eq!(wait_for_trouble(server)?, server.pid());
    assert_eq!(server.descendants()?, []);
    expect_all_to_go_with_the_root(server)
}

/// The manager is needed for nothing but ends and new beginnings.
fn workers_go_on(server: &Running, event: &str) -> Outcome {
    let mut scene = provoke(server, event)?;
    wait_until_up(server)?;
    // One that was killed has no successor; nobody else accepts for it in process mode.
    let are_all_there = event != "workerError";
    expect_service(server, are_all_there || server.mode() == Mode::Base)?;
    // Elsewhere connections have ended with the workers that were replaced.
    let are_connections_left = event != "afterReload" || server.mode() == Mode::Process;
    if let Some(control) = scene.control.as_mut().filter(|_| are_connections_left) {
        control.echo(b"served")?;
    }
    Ok(())
}

fn the_manager_is_ended(server: &Running, event: &str) -> Outcome {
    workers_go_on(server, event)?;
    let stops = count_of(server, "stop ") + if event == "workerError" { 1 } else { 2 };
    let began = Instant::now();
    server.signal(libc::SIGTERM)?;
    expect_end_after(server, MANAGER_PATIENCE, began)?;
    assert_eq!((count_of(server, "stop "), count_of(server, "managerStop ")), (stops, 0));
    Ok(())
}

fn the_manager_is_ended_last(server: &Running, event: &str) -> Outcome {
    wait_until_up(server)?;
    let began = Instant::now();
    let _scene = provoke(server, event)?;
    expect_end_after(server, MANAGER_PATIENCE, began)?;
    assert_eq!(count_of(server, "stop "), 2);
    Ok(())
}

fn all_end_with_the_caller(server: &Running, event: &str) -> Outcome {
    workers_go_on(server, event)?;
    expect_all_to_go_with_the_root(server)
}

/// A reload kills a worker that is stuck; its successor is not.
fn a_reload_ends_it(server: &Running, event: &str) -> Outcome {
    let mut scene = provoke(server, event)?;
    expect_service(server, false)?;
    if scene.control.is_some() {
        echo_control(&mut scene)?;
    }
    server.signal(libc::SIGUSR1)?;
    expect_killed(server, 1)?;
    pid_of(server, 1, 2)?;
    wait_for_lines(server, 1, "afterReload ")?;
    if server.mode() == Mode::Process {
        for client in &mut scene.clients {
            client.echo(b"still there")?;
        }
        scene.clients.clear();
        scene.control.as_mut().map_or(Ok(()), wait_until_alone)?;
    }
    expect_service(server, true)
}

/// It was told to leave, and is killed if it has not after twice the time that it has.
fn it_is_ended_when_its_time_is_over(server: &Running, event: &str) -> Outcome {
    wait_until_up(server)?;
    let began = Instant::now();
    let mut scene = provoke(server, event)?;
    echo_control(&mut scene)?;
    expect_killed(server, 1)?;
    let took = began.elapsed();
    assert!(took > PATIENCE && took < PATIENCE + GRACE, "{took:?}");
    pid_of(server, 1, 2)?;
    connect_to(server, 1)?.0.echo(b"served")?;
    Ok(())
}

/// The end of the server waits as long for a worker as any other end does.
fn the_end_waits(server: &Running, event: &str) -> Outcome {
    let mut scene = provoke(server, event)?;
    echo_control(&mut scene)?;
    let began = Instant::now();
    server.signal(libc::SIGTERM)?;
    expect_end_after(server, PATIENCE, began)?;
    expect_killed(server, 1)
}

/// Worker 0 stands for the master; the other one serves.
fn the_first_worker_is_ended(server: &Running, event: &str) -> Outcome {
    provoke(server, event)?;
    pid_of(server, 1, 1)?;
    expect_service(server, true)?;
    let began = Instant::now();
    server.signal(libc::SIGTERM)?;
    expect_end_after(server, PATIENCE, began)?;
    expect_killed(server, 0)
}

fn the_end_waits_for_the_first_worker(server: &Running, event: &str) -> Outcome {
    wait_until_up(server)?;
    let began = Instant::now();
    let _scene = provoke(server, event)?;
    expect_end_after(server, PATIENCE, began)?;
    expect_killed(server, 0)
}

/// Threads cannot be ended one by one.
fn all_end_together(server: &Running, event: &str) -> Outcome {
    let mut scene = provoke(server, event)?;
    expect_service(server, false)?;
    if scene.control.is_some() {
        echo_control(&mut scene)?;
    }
    expect_all_to_go_with_the_root(server)
}

const WITH_A_MANAGER: &[Mode] = &[Mode::Process];
const WITHOUT_PROCESSES: &[Mode] = &[Mode::Thread];
const WITH_PROCESSES: &[Mode] = &[Mode::Process, Mode::Base];
const WITH_A_MASTER: &[Mode] = &[Mode::Process, Mode::Thread];
const WITHOUT_A_MASTER: &[Mode] = &[Mode::Base];
const WITHOUT_A_MANAGER: &[Mode] = &[Mode::Base, Mode::Thread];

pub const OF_THE_MASTER: &[Case] = trouble_cases! {
    Stay, "who_stays_in_", in WITH_A_MASTER;
    "start", "_keeps_clients_waiting": the_start_waits;
    "beforeShutdown", "_serves_those_that_are_there": the_end_does_not_come;
};

pub const OF_THE_FIRST_WORKER: &[Case] = trouble_cases! {
    Stay, "who_stays_in_", in WITHOUT_A_MASTER;
    "start", "_is_ended_with_the_server": the_first_worker_is_ended;
    "beforeShutdown", "_is_ended_with_the_server": the_end_waits_for_the_first_worker;
};

pub const OF_THE_CALLER: &[Case] = trouble_cases! {
    Stay, "who_stays_in_", in Mode::ALL;
    "shutdown", "_is_the_only_one_left": only_the_caller_is_left;
};

pub const OF_A_MANAGER: &[Case] = trouble_cases! {
    Stay, "who_stays_in_", in WITH_A_MANAGER;
    "managerStart", "_is_ended_with_the_server": the_manager_is_ended;
    "beforeReload", "_is_ended_with_the_server": the_manager_is_ended;
    "afterReload", "_is_ended_with_the_server": the_manager_is_ended;
    "workerError", "_is_ended_with_the_server": the_manager_is_ended;
    "managerStop", "_is_ended_with_the_server": the_manager_is_ended_last;
};

pub const OF_A_MANAGER_THAT_CALLED: &[Case] = trouble_cases! {
    Stay, "who_stays_in_", in WITHOUT_A_MANAGER;
    "managerStart", "_lets_the_workers_serve": all_end_with_the_caller;
    "beforeReload", "_lets_the_workers_serve": all_end_with_the_caller;
    "afterReload", "_lets_the_workers_serve": all_end_with_the_caller;
    "managerStop", "_is_the_only_one_left": only_the_caller_is_left;
};

pub const OF_A_PARENT: &[Case] = trouble_cases! {
    Stay, "who_stays_in_", in WITHOUT_A_MASTER;
    "workerError", "_lets_the_workers_serve": all_end_with_the_caller;
};

pub const OF_A_WORKER: &[Case] = trouble_cases! {
    Stay, "who_stays_in_", in WITH_PROCESSES;
    "workerStart", "_is_ended_by_a_reload": a_reload_ends_it;
    "receive", "_is_ended_by_a_reload": a_reload_ends_it;
    "close", "_is_ended_by_a_reload": a_reload_ends_it;
    "workerStop", "_is_ended_in_time": it_is_ended_when_its_time_is_over;
    "workerExit", "_is_ended_in_time": it_is_ended_when_its_time_is_over;
    "connect", "_is_ended_with_the_server": the_end_waits;
};

pub const OF_A_THREAD: &[Case] = trouble_cases! {
    Stay, "who_stays_in_", in WITHOUT_PROCESSES;
    "workerStart", "_lets_the_others_serve": all_end_together;
    "workerStop", "_lets_the_others_serve": all_end_together;
    "workerExit", "_lets_the_others_serve": all_end_together;
    "connect", "_lets_the_others_serve": all_end_together;
    "receive", "_lets_the_others_serve": all_end_together;
    "close", "_lets_the_others_serve": all_end_together;
};
