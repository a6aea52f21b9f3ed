//! Workers that keep ending, and what is said of one that has died.

use crate::common::prelude::*;
use crate::puppet::life::{
    count_of, is_special_life, live_with, set_special_lives, told, wait_for_log,
};
use crate::puppet::{ask_until, connect_to, kill, pid_of};
use std::time::Instant;

/// More than are started at once.
const QUICK_LIVES: usize = 13;
/// So many of them are followed by another one at once, and then it is told.
const FREE_LIVES: usize = 11;

const SLOWED: &str = "keeps ending as soon as it has started";

pub fn abort_in_start(setup: &Setup) -> Outcome {
    set_special_lives(QUICK_LIVES);
    live_with(setup, &[], |server| {
        server.on("workerStart", |_, event| {
            if event.worker().worker_id == 1 && is_special_life() {
                std::process::abort();
            }
            report!("worker {} {}", event.worker().worker_id, event.worker().worker_pid);
        })
    })
}

pub fn always_stop_in_start(setup: &Setup) -> Outcome {
    set_special_lives(QUICK_LIVES);
    live_with(setup, &[], |server| {
        server.on("workerStart", |server, event| {
            if event.worker().worker_id == 1 && is_special_life() {
                assert_eq!(told(server.stop(-1, true)), "true");
                return;
            }
            report!("worker {} {}", event.worker().worker_id, event.worker().worker_pid);
        })
    })
}

/// The other worker serves while this one comes and goes, and it comes at last.
fn expect_it_to_come_at_last(server: &Running, steps: &str) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let end = Instant::now() + STEP;
    while count_of(server, steps) < QUICK_LIVES {
        assert!(Instant::now() < end, "it is not started any more");
        client.echo(b"the other one serves")?;
    }
    pid_of(server, 1, 1)?;
    assert_eq!(count_of(server, steps), QUICK_LIVES);
    assert_eq!(server.log().matches(SLOWED).count(), 1);
    let (mut late, _) = connect_to(server, 1)?;
    late.echo(b"so does this one")
}

pub fn a_worker_that_dies_whenever_it_starts_is_started_ever_more_slowly(
    server: &Running,
) -> Outcome {
    expect_it_to_come_at_last(server, "error 1 ")?;
    // What is told comes with the first delay: all before it were started at once.
    let log = server.log();
    let before = log.split(SLOWED).next().unwrap_or_default();
    assert_eq!(before.matches(" abnormal exit, status=0, signal=6").count(), FREE_LIVES);
    assert_eq!(log.matches("in its hands: workerStart for ").count(), QUICK_LIVES);
    Ok(())
}

pub fn a_worker_that_stops_whenever_it_starts_is_started_more_slowly(server: &Running) -> Outcome {
    expect_it_to_come_at_last(server, "stop 1 ")?;
    assert_eq!(count_of(server, "error "), 0);
    Ok(())
}

pub fn the_log_names_what_a_dead_worker_had_in_its_hands(server: &Running) -> Outcome {
    let (mut client, fd) = connect_to(server, 1)?;
    let pid = pid_of(server, 1, 1)?;
    client.send(b"!exit 3")?;
    let error = format!("error 1 {pid} code 3 signal 0 status {}", 3 << 8);
    server.wait_line(|line| line == error, STEP)?;
    let hand = format!(", in its hands: receive of connection {fd} for ");
    let told = format!("worker(pid={pid}, id=1) abnormal exit, status=3, signal=0{hand}");
    wait_for_log(server, |log| log.contains(&told))?;

    let pid = pid_of(server, 1, 2)?;
    let (mut client, fd) = connect_to(server, 1)?;
    client.send(b"!crash")?;
    let error = format!("error 1 {pid} code 0 signal 11 status ");
    server.wait_line(|line| line.starts_with(&error), STEP)?;
    let hand = format!(", in its hands: receive of connection {fd} for ");
    let told = format!("worker(pid={pid}, id=1) abnormal exit, status=0, signal=11{hand}");
    wait_for_log(server, |log| log.contains(&told))?;

    // One that waits has nothing in its hands.
    let pid = pid_of(server, 1, 3)?;
    let (mut client, _) = connect_to(server, 0)?;
    ask_until(&mut client, "status 1", |status| status == "2")?;
    kill(pid)?;
    let told = format!("worker(pid={pid}, id=1) abnormal exit, status=0, signal=9\n");
    wait_for_log(server, |log| log.contains(&told))?;
    Ok(())
}
