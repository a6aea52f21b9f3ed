//! What becomes of the server when the process of a callback dies in it.

use crate::common::prelude::*;
use crate::common::{Case, Client};
use crate::puppet::life::{count_of, place_of, wait_for_end, wait_for_lines};
use crate::puppet::{ask, connect_to, kill, number, pid_of};
use crate::trouble::{
    provoke, wait_for_trouble, wait_until_alone, wait_until_up, Fallible, Scene, ORPHANED,
};
use crate::trouble_cases;
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

/// The process that called start dies, and with it all that there is.
fn all_go(server: &Running, event: &str) -> Outcome {
    let _scene = provoke(server, event)?;
    let began = Instant::now();
    assert_eq!(wait_for_trouble(server)?, server.pid());
    assert_eq!(server.wait_exit(ORPHANED)?.signal(), Some(libc::SIGABRT));
    server.assert_nothing_left()?;
    assert!(began.elapsed() < ORPHANED, "{:?}", began.elapsed());
    assert_eq!(count_of(server, "returned"), 0);
    Ok(())
}

/// The pid of the manager in its life of this number, counted from 1.
fn manager_of(server: &Running, life: usize) -> Fallible<i32> {
    let lines = wait_for_lines(server, life, "manager ")?;
    Ok(number(lines[life - 1].trim_start_matches("manager ")))
}

/// Another one reloads, replaces and ends what the first one has left.
fn a_manager_follows(server: &Running, event: &str) -> Outcome {
    let mut client = server.connect()?;
    client.echo(b"before")?;
    let mut scene = provoke(server, event)?;
    let (first, second) = (manager_of(server, 1)?, manager_of(server, 2)?);
    assert_eq!(wait_for_trouble(server)?, first);
    assert_ne!(first, second);
    client.echo(b"connections live on")?;
    server.connect()?.echo(b"and new ones come")?;
    if let Some(control) = &mut scene.control {
        control.echo(b"of both workers")?;
    }
    server.signal(libc::SIGUSR1)?;
    server.wait_line(|line| line == format!("afterReload {second}"), STEP)?;
    let worker: i32 =
        number(ask(&mut connect_to(server, 1)?.0, "who")?.split(' ').nth(1).unwrap_or(""));
    kill(worker)?;
    server.wait_line(|line| line == format!("error 1 {worker} code 0 signal 9"), STEP)?;
    client.echo(b"after all")?;
    server.signal(libc::SIGTERM)?;
    wait_for_end(server)?;
    let lines = server.lines_so_far();
    let stop = place_of(&lines, &format!("managerStop {second}"))?;
    assert!(stop < place_of(&lines, &format!("shutdown {}", server.pid()))?, "{lines:?}");
    Ok(())
}

/// All workers are gone then, and nobody else is needed.
fn the_end_goes_on(server: &Running, event: &str) -> Outcome {
    let _scene = provoke(server, event)?;
    assert_eq!(wait_for_trouble(server)?, manager_of(server, 1)?);
    wait_for_end(server)?;
    let lines = server.lines_so_far();
    place_of(&lines, &format!("shutdown {}", server.pid()))?;
    for (beginning, count) in [("manager ", 1), ("stop ", 2), ("returned", 1)] {
        assert_eq!(count_of(server, beginning), count, "{beginning}: {lines:?}");
    }
    Ok(())
}

/// Waits until the manager has told that this worker is dead.
fn expect_error(server: &Running, worker: i32) -> Outcome {
    let pid = pid_of(server, worker, 1)?;
    assert_eq!(wait_for_trouble(server)?, pid);
    server.wait_line(|line| line == format!("error {worker} {pid} code 0 signal 6"), STEP)?;
    Ok(())
}

/// It is replaced, and what it had is where it belongs.
fn the_worker_is_replaced(server: &Running, event: &str) -> Outcome {
    let mut scene = provoke(server, event)?;
    expect_error(server, 1)?;
    let successor = pid_of(server, 1, 2)?;
    let lines = server.lines_so_far();
    let is_told_first =
        place_of(&lines, "error ")? < place_of(&lines, &format!("worker 1 {successor}"))?;
    // One that leaves in order has its successor beside it, where its connections are not its own.
    let is_leaving = ["workerExit", "workerStop"].contains(&event);
    assert!(is_told_first || (is_leaving && server.mode() == Mode::Process), "{lines:?}");
    expect_connections(server, &mut scene)?;
    wait_until_up(server)?;
    server.connect()?.echo(b"new ones come")
}

/// Those of the dead worker are left where they are a reactor's, and else have ended with it.
fn expect_connections(server: &Running, scene: &mut Scene) -> Outcome {
    for client in &mut scene.clients {
        match server.mode() {
            Mode::Process => client.echo(b"still there")?,
            Mode::Base | Mode::Thread => assert!(client.receive(1).is_err()),
        }
    }
    scene.clients.clear();
    if let Some(control) = &mut scene.control {
        wait_until_alone(control)?;
    }
    Ok(())
}

/// Worker 0 stands for the master, which is told once that it has started.
fn the_first_worker_is_replaced(server: &Running, event: &str) -> Outcome {
    provoke(server, event)?;
    expect_error(server, 0)?;
    pid_of(server, 0, 2)?;
    Client::connect(server.port())?.echo(b"served all the same")?;
    server.signal(libc::SIGTERM)?;
    wait_for_end(server)?;
    for (beginning, count) in [("start ", 1), ("beforeShutdown ", 1), ("shutdown ", 1)] {
        assert_eq!(count_of(server, beginning), count, "{beginning}");
    }
    Ok(())
}

/// Nobody follows a worker that dies while the server ends and that has nothing left to answer.
fn the_end_goes_on_without(server: &Running, worker: i32) -> Outcome {
    expect_error(server, worker)?;
    wait_for_end(server)?;
    for (beginning, count) in [("worker ", 2), ("stop ", 2 - (1 - worker) as usize)] {
        assert_eq!(count_of(server, beginning), count, "{beginning}");
    }
    let lines = server.lines_so_far();
    assert!(place_of(&lines, "error ")? < place_of(&lines, "managerStop ")?, "{lines:?}");
    place_of(&lines, "returned")?;
    Ok(())
}

fn the_end_goes_on_without_the_first(server: &Running, event: &str) -> Outcome {
    let _scene = provoke(server, event)?;
    the_end_goes_on_without(server, 0)
}

fn the_end_goes_on_without_the_second(server: &Running, _: &str) -> Outcome {
    wait_until_up(server)?;
    server.signal(libc::SIGTERM)?;
    the_end_goes_on_without(server, 1)
}

pub const OF_THE_ROOT: &[Case] = trouble_cases! {
    Abort, "who_dies_in_", in &[Mode::Process, Mode::Thread];
    "start", "_takes_all_along": all_go;
    "beforeShutdown", "_takes_all_along": all_go;
};

pub const OF_THE_CALLER: &[Case] = trouble_cases! {
    Abort, "who_dies_in_", in Mode::ALL;
    "shutdown", "_takes_all_along": all_go;
};

pub const OF_A_MANAGER_THAT_CALLED: &[Case] = trouble_cases! {
    Abort, "who_dies_in_", in &[Mode::Base, Mode::Thread];
    "managerStart", "_takes_all_along": all_go;
    "beforeReload", "_takes_all_along": all_go;
    "afterReload", "_takes_all_along": all_go;
    "managerStop", "_takes_all_along": all_go;
};

/// Threads cannot die alone, and so there is no error of a worker.
pub const OF_A_WORKER_THAT_CALLED: &[Case] = trouble_cases! {
    Abort, "who_dies_in_", in &[Mode::Thread];
    "workerStart", "_takes_all_along": all_go;
    "workerStop", "_takes_all_along": all_go;
    "workerExit", "_takes_all_along": all_go;
    "connect", "_takes_all_along": all_go;
    "receive", "_takes_all_along": all_go;
    "close", "_takes_all_along": all_go;
};

pub const OF_A_PARENT: &[Case] = trouble_cases! {
    Abort, "who_dies_in_", in &[Mode::Base];
    "workerError", "_takes_all_along": all_go;
};

pub const OF_A_MANAGER: &[Case] = trouble_cases! {
    Abort, "who_dies_in_", in &[Mode::Process];
    "managerStart", "_is_followed_by_a_manager": a_manager_follows;
    "beforeReload", "_is_followed_by_a_manager": a_manager_follows;
    "afterReload", "_is_followed_by_a_manager": a_manager_follows;
    "workerError", "_is_followed_by_a_manager": a_manager_follows;
    "managerStop", "_does_not_stop_the_end": the_end_goes_on;
};

pub const OF_A_WORKER: &[Case] = trouble_cases! {
    Abort, "who_dies_in_", in &[Mode::Process, Mode::Base];
    "workerStart", "_is_replaced": the_worker_is_replaced;
    "workerStop", "_is_replaced": the_worker_is_replaced;
    "workerExit", "_is_replaced": the_worker_is_replaced;
    "connect", "_is_replaced": the_worker_is_replaced;
    "receive", "_is_replaced": the_worker_is_replaced;
    "close", "_is_replaced": the_worker_is_replaced;
    "workerStop", "_does_not_stop_the_end": the_end_goes_on_without_the_second;
};

pub const OF_THE_FIRST_WORKER: &[Case] = trouble_cases! {
    Abort, "who_dies_in_", in &[Mode::Base];
    "start", "_is_replaced": the_first_worker_is_replaced;
    "beforeShutdown", "_does_not_stop_the_end": the_end_goes_on_without_the_first;
};
