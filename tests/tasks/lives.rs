//! The lives of task workers: how they begin, are seen, are replaced and end.

use super::api::is_task_worker;
use crate::common::prelude::*;
use crate::common::process;
use crate::puppet::life::{count_of, end, live_with, place_of, wait_for_lines};
use crate::puppet::{ask, connect_to, kill, pid_of, timers};

/// Two workers and two task workers.
pub const FIRST_TASK_WORKER: i32 = 2;

fn live_as(setup: &Setup, workers: &str) -> Outcome {
    let settings = [("worker_num", workers), ("task_worker_num", "2")];
    live_with(setup, &settings, |server| {
        server.on("task", |_, _| {})?;
        server.on("workerStart", |server, event| {
            let told = event.worker();
            report!("kind {} {}", told.worker_id, told.is_task_worker);
            let is_same = is_task_worker(server) == told.is_task_worker
                && server.worker_id() == told.worker_id
                && server.worker_pid(-1) == told.worker_pid;
            report!("sees itself: {is_same}");
            if told.is_task_worker {
                report!("tick: {}", timers::tick(server, 1, |_| report_once()).is_ok());
            }
            report!("worker {} {}", told.worker_id, told.worker_pid);
        })?;
        server.on("workerStop", |_, event| {
            let told = event.worker();
            report!("stop {} {}", told.worker_id, told.worker_pid);
            report!("stop of {} {}", told.worker_id, told.is_task_worker);
        })
    })
}

/// Says once in each life that a timer has fired.
fn report_once() {
    thread_local!(static IS_SAID: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });
    if !IS_SAID.with(|is_said| is_said.replace(true)) {
        report!("fired");
    }
}

pub fn lived(setup: &Setup) -> Outcome {
    live_as(setup, "2")
}

pub fn lived_with_one(setup: &Setup) -> Outcome {
    live_as(setup, "1")
}

pub fn without_callback(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.set("task_worker_num", "1")?;
    server.on("receive", |_, _| {})?;
    let error = server.start().expect_err("nobody would do the tasks");
    report!("refused {} {}", error.code, error.message);
    Ok(())
}

/// The pids of both task workers in their lives of this number.
fn pids(
    server: &Running,
    life: usize,
) -> Result<[i32; 2], Box<dyn std::error::Error + Send + Sync>> {
    Ok([pid_of(server, FIRST_TASK_WORKER, life)?, pid_of(server, FIRST_TASK_WORKER + 1, life)?])
}

pub fn task_workers_start_and_stop_like_workers(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    wait_for_lines(server, 4, "worker ")?;
    for id in 0..4 {
        let is_task_worker = id >= FIRST_TASK_WORKER;
        wait_for_lines(server, 1, &format!("kind {id} {is_task_worker}"))?;
        assert!(["1", "2"].contains(&ask(&mut client, &format!("status {id}"))?.as_str()));
    }
    let refused = SW_ERROR_INVALID_PARAMS.to_string();
    assert_eq!(ask(&mut client, "status 4")?, refused);
    assert_eq!(count_of(server, "sees itself: true"), 4);
    end(server)?;
    let lines = server.lines_so_far();
    assert_eq!((count_of(server, "stop of "), count_of(server, "worker ")), (4, 4));
    // The event workers first: they may hand in tasks until their end.
    let last = place_of(&lines, "stop of 0")?.max(place_of(&lines, "stop of 1")?);
    assert!(last < place_of(&lines, "stop of 2")?.min(place_of(&lines, "stop of 3")?), "{lines:?}");
    assert_eq!(count_of(server, "stop of 2 true"), 1);
    assert!(!server.log().contains("timeout"));
    Ok(())
}

pub fn a_reload_replaces_task_workers_too(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    wait_for_lines(server, 4, "worker ")?;
    assert_eq!(ask(&mut client, "reload")?, "true");
    wait_for_lines(server, 1, "after ")?;
    wait_for_lines(server, 8, "worker ")?;
    for id in 0..4 {
        assert_ne!(pid_of(server, id, 1)?, pid_of(server, id, 2)?);
    }
    assert_eq!((count_of(server, "worker "), count_of(server, "error ")), (8, 0));
    Ok(())
}

pub fn task_workers_are_reloaded_alone(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    wait_for_lines(server, 4, "worker ")?;
    let old = pids(server, 1)?;
    for round in 1..=3 {
        assert_eq!(ask(&mut client, "reload tasks")?, "true");
        wait_for_lines(server, round, "after ")?;
    }
    let new = pids(server, 4)?;
    assert!(new.iter().all(|pid| !old.contains(pid)), "{old:?} {new:?}");
    // Three rounds of two, and the event workers as they were.
    assert_eq!((count_of(server, "worker "), count_of(server, "before ")), (4 + 3 * 2, 3));
    assert_eq!((count_of(server, "worker 0"), count_of(server, "worker 1")), (1, 1));
    assert!(server.log().contains("Server is reloading task workers now"));
    Ok(())
}

pub fn a_signal_reloads_task_workers_alone(server: &Running) -> Outcome {
    server.connect()?;
    wait_for_lines(server, 4, "worker ")?;
    for round in 1..=3 {
        server.signal(libc::SIGUSR2)?;
        wait_for_lines(server, 2 * round - 1, "after ")?;
        wait_for_lines(server, 4 + 6 * (round - 1) + 2, "worker ")?;
        server.signal(libc::SIGUSR1)?;
        wait_for_lines(server, 2 * round, "after ")?;
        wait_for_lines(server, 4 + 6 * round, "worker ")?;
    }
    assert_eq!((count_of(server, "worker 0"), count_of(server, "worker 2")), (1 + 3, 1 + 6));
    Ok(())
}

pub fn a_task_worker_can_be_stopped(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    wait_for_lines(server, 4, "worker ")?;
    for (life, wait) in [(2, "true"), (3, "false")] {
        assert_eq!(ask(&mut client, &format!("stop {FIRST_TASK_WORKER} {wait}"))?, "true");
        pid_of(server, FIRST_TASK_WORKER, life)?;
    }
    assert_eq!((count_of(server, "stop of 2"), count_of(server, "error ")), (2, 0));
    assert_eq!(count_of(server, "worker "), 6);
    Ok(())
}

pub fn a_task_worker_is_told_to_end_by_a_signal(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let pid = pid_of(server, FIRST_TASK_WORKER, 1)?;
    for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGHUP, libc::SIGPIPE] {
        process::send_signal(pid, signal)?;
    }
    process::send_signal(pid, libc::SIGTERM)?;
    pid_of(server, FIRST_TASK_WORKER, 2)?;
    assert_eq!((count_of(server, "stop of 2 true"), count_of(server, "error ")), (1, 0));
    assert_eq!((count_of(server, "before "), count_of(server, "exit ")), (0, 0));
    assert_ne!(ask(&mut client, "status 2")?, "3");
    Ok(())
}

pub fn a_killed_task_worker_is_replaced(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    for life in 1..=3 {
        let pid = pid_of(server, FIRST_TASK_WORKER, life)?;
        kill(pid)?;
        let line = format!("error {FIRST_TASK_WORKER} {pid} code 0 signal 9 status 9");
        wait_for_lines(server, 1, &line)?;
        assert_ne!(pid_of(server, FIRST_TASK_WORKER, life + 1)?, pid);
    }
    assert_eq!(ask(&mut client, "who")?.split(' ').next(), Some("0"));
    Ok(())
}

pub fn timers_run_in_a_task_worker_and_do_not_keep_it(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    wait_for_lines(server, 2, "fired")?;
    assert_eq!(ask(&mut client, "reload tasks")?, "true");
    wait_for_lines(server, 1, "after ")?;
    wait_for_lines(server, 4, "fired")?;
    assert!(!server.log().contains("timeout"));
    assert_eq!(count_of(server, "exit "), 0);
    Ok(())
}

pub fn one_worker_with_a_task_worker_has_a_manager(server: &Running) -> Outcome {
    server.connect()?;
    wait_for_lines(server, 3, "worker ")?;
    let line = server.wait_line(|line| line.starts_with("manager "), STEP)?;
    assert_eq!(line, format!("manager {}", server.pid()));
    kill(pid_of(server, 0, 1)?)?;
    pid_of(server, 0, 2)?;
    kill(pid_of(server, 1, 1)?)?;
    pid_of(server, 1, 2)?;
    Ok(())
}

pub fn without_a_task_callback_there_is_no_start(server: &Running) -> Outcome {
    let line = server.wait_line(|line| line.starts_with("refused "), STEP)?;
    let beginning = format!("refused {SW_ERROR_SERVER_INVALID_CALLBACK} ");
    assert!(line.starts_with(&beginning) && line.contains("require 'onTask' callback"), "{line}");
    assert!(server.wait_exit(STEP)?.success());
    Ok(())
}

/// They are idle, but for the moment in which a timer runs.
pub fn others_see_what_a_task_worker_does(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    wait_for_lines(server, 4, "worker ")?;
    crate::puppet::ask_until(&mut client, "status 2", |status| status == "2")?;
    crate::puppet::ask_until(&mut client, "tasks", |told| told == "2 2 0 0")?;
    Ok(())
}
