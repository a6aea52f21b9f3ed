//! What a worker that leaves waits for, how long, and what it tells the program meanwhile.

use crate::common::prelude::*;
use crate::puppet::life::{
    count_of, end, live, live_with, place_of, report_exit, told, wait_for_lines, wait_for_log,
};
use crate::puppet::{ask, connect_to, pid_of, timers, Gate};
use crate::HOUR_MS;
use std::time::{Duration, Instant};

/// Waits a second at most for what ends.
pub fn impatient(setup: &Setup) -> Outcome {
    live(setup, &[("max_wait_time", "1")])
}

pub fn without_patience(setup: &Setup) -> Outcome {
    live(setup, &[("max_wait_time", "0")])
}

/// Waits longer than any test.
pub fn patient(setup: &Setup) -> Outcome {
    live(setup, &[("max_wait_time", "100")])
}

pub fn an_old_worker_finishes_while_its_successor_serves(server: &Running) -> Outcome {
    let (mut client, fd) = connect_to(server, 1)?;
    let (mut other, _) = connect_to(server, 0)?;
    let old = pid_of(server, 1, 1)?;
    let gate = Gate::new()?;
    assert_eq!(ask(&mut client, "after 300 status -1")?, "true");
    assert_eq!(ask(&mut client, &format!("await {} status -1", gate.port()?))?, "true");
    let held = gate.wait()?;
    assert_eq!(ask(&mut client, "stop -1 true")?, "true");
    // The successor serves while the old one waits, and is what others see.
    let new = pid_of(server, 1, 2)?;
    assert_eq!(ask(&mut client, "who")?, format!("1 {new} {fd}"));
    assert_eq!(ask(&mut client, "status -1")?, "1");
    assert_ne!(ask(&mut other, "status 1")?, "3");
    let fired = format!("did {old} status -1: 3");
    server.wait_line(|line| line == fired, STEP)?;
    server.wait_line(|line| line == format!("exit 1 {old} status 3"), STEP)?;
    assert_eq!(count_of(server, "stop "), 0);
    drop(held);
    server.wait_lines(2, |line| line == fired, STEP)?;
    server.wait_line(|line| line == format!("stop 1 {old}"), STEP)?;
    assert_eq!(ask(&mut client, "who")?, format!("1 {new} {fd}"));
    assert_eq!((count_of(server, "worker "), count_of(server, "error ")), (3, 0));
    Ok(())
}

pub fn a_worker_finishes_before_it_is_replaced(server: &Running) -> Outcome {
    let (mut client, fd) = connect_to(server, 1)?;
    let (mut other, _) = connect_to(server, 0)?;
    let old = pid_of(server, 1, 1)?;
    let gate = Gate::new()?;
    assert_eq!(ask(&mut client, "after 100 status -1")?, "true");
    assert_eq!(ask(&mut client, &format!("await {} status -1", gate.port()?))?, "true");
    let held = gate.wait()?;
    assert_eq!(ask(&mut client, "stop -1 true")?, "true");
    let fired = format!("did {old} status -1: 3");
    server.wait_line(|line| line == fired, STEP)?;
    server.wait_line(|line| line == format!("exit 1 {old} status 3"), STEP)?;
    assert_eq!(ask(&mut other, "status 1")?, "3");
    assert_eq!((count_of(server, "worker "), count_of(server, "stop ")), (2, 0));
    drop(held);
    server.wait_lines(2, |line| line == fired, STEP)?;
    server.wait_line(|line| line == format!("stop 1 {old}"), STEP)?;
    assert_eq!(client.receive_to_end()?, b"");
    assert_ne!(pid_of(server, 1, 2)?, old);
    assert_eq!(count_of(server, &format!("close {fd} by {old}")), 1);
    assert_eq!(count_of(server, "error "), 0);
    Ok(())
}

pub fn a_worker_that_lets_go_ends_in_the_same_round(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    let old = pid_of(server, 1, 1)?;
    // The tick is far away: no other round would come before it.
    assert_eq!(ask(&mut client, &format!("tick {HOUR_MS}"))?, "true");
    assert_eq!(ask(&mut client, "clear")?, "true");
    assert_eq!(ask(&mut client, "stop -1 true")?, "true");
    server.wait_line(|line| line == format!("stop 1 {old}"), STEP)?;
    let lines = server.lines_so_far();
    let exit = place_of(&lines, &format!("exit 1 {old} status 3"))?;
    assert!(exit < place_of(&lines, &format!("stop 1 {old}"))?);
    assert_eq!(count_of(server, "exit "), 1);
    pid_of(server, 1, 2)?;
    assert!(!server.log().contains("timeout"));
    Ok(())
}

pub fn stop_in_exit(setup: &Setup) -> Outcome {
    live_with(setup, &[], |server| {
        server.on("workerExit", |server, event| {
            report_exit(server, event);
            report!("hurried {}", told(server.stop(-1, false)));
        })
    })
}

pub fn a_worker_may_still_choose_to_end_at_once(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    let old = pid_of(server, 1, 1)?;
    assert_eq!(ask(&mut client, &format!("tick {HOUR_MS}"))?, "true");
    assert_eq!(ask(&mut client, "stop -1 true")?, "true");
    server.wait_line(|line| line == format!("stop 1 {old}"), STEP)?;
    assert_eq!((count_of(server, "exit "), count_of(server, "hurried true")), (1, 1));
    pid_of(server, 1, 2)?;
    assert!(!server.log().contains("timeout"));
    Ok(())
}

pub fn a_worker_that_waits_for_nothing_is_not_asked_to_let_go(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    assert_eq!(ask(&mut client, "stop -1 true")?, "true");
    wait_for_lines(server, 1, "stop 1 ")?;
    pid_of(server, 1, 2)?;
    end(server)?;
    assert_eq!(count_of(server, "exit "), 0);
    Ok(())
}

const GIVEN_UP: &str = "worker exit timeout, forced termination (error 9101)";

pub fn a_worker_that_does_not_let_go_ends_all_the_same(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    let old = pid_of(server, 1, 1)?;
    assert_eq!(ask(&mut client, "tick 20")?, "true");
    let begin = Instant::now();
    assert_eq!(ask(&mut client, "stop -1 true")?, "true");
    server.wait_line(|line| line == format!("stop 1 {old}"), STEP)?;
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
    assert!(count_of(server, "exit 1 ") >= 2);
    wait_for_log(server, |log| log.contains(GIVEN_UP))?;
    pid_of(server, 1, 2)?;
    assert_eq!(count_of(server, "error "), 0);
    Ok(())
}

pub fn without_patience_nothing_is_waited_for(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    let old = pid_of(server, 1, 1)?;
    assert_eq!(ask(&mut client, &format!("after {HOUR_MS} who"))?, "true");
    assert_eq!(ask(&mut client, "stop -1 true")?, "true");
    server.wait_line(|line| line == format!("stop 1 {old}"), STEP)?;
    wait_for_log(server, |log| log.contains(GIVEN_UP))?;
    pid_of(server, 1, 2)?;
    assert_eq!((count_of(server, "exit "), count_of(server, "error ")), (0, 0));
    Ok(())
}

pub fn at_the_end_of_the_server_timers_that_are_due_soon_fire(server: &Running) -> Outcome {
    let (mut client, fd) = connect_to(server, 1)?;
    let pid = pid_of(server, 1, 1)?;
    assert_eq!(ask(&mut client, "after 300 who")?, "true");
    end(server)?;
    let lines = server.lines_so_far();
    let fired = place_of(&lines, &format!("did {pid} who: 1 {pid} {fd}"))?;
    let ending = place_of(&lines, "ending")?;
    assert!(ending < fired && fired < place_of(&lines, &format!("stop 1 {pid}"))?);
    Ok(())
}

pub fn tick_in_master(setup: &Setup) -> Outcome {
    live_with(setup, &[("max_wait_time", "1")], |server| {
        server.on("start", |server, _| {
            timers::tick(server, 20, |_| {}).expect("a timer");
        })
    })
}

pub fn timers_of_the_master_hold_the_end_and_not_for_ever(server: &Running) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    let begin = Instant::now();
    end(server)?;
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
    // In base mode worker 0 stands for the master.
    let told = match server.mode() {
        Mode::Base => GIVEN_UP,
        Mode::Process | Mode::Thread => {
            "graceful shutdown failed, timers or descriptors are left (error 9101)"
        }
    };
    assert!(server.log().contains(told));
    assert_eq!((count_of(server, "stop "), count_of(server, "error ")), (2, 0));
    Ok(())
}

pub fn without_timers_the_end_is_immediate(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.echo(b"it serves")?;
    end(server)?;
    assert_eq!((count_of(server, "stop "), count_of(server, "exit ")), (2, 0));
    Ok(())
}
