//! Workers that leave while the server runs on, or with it: what they finish, what they drop, who
//! follows them, and when.

mod common;
#[path = "leaving/limit.rs"]
mod limit;
mod puppet;
#[path = "leaving/respawn.rs"]
mod respawn;
#[path = "leaving/waiting.rs"]
mod waiting;

use common::prelude::*;
use common::process;
use limit::*;
use puppet::life::{
    count_of, is_special_life, live, live_with, place_of, set_special_lives, told, wait_for_end,
    wait_for_lines,
};
use puppet::{ask, connect_to, pid_of};
use respawn::*;
use waiting::*;

/// An hour: a timer that does not fire while a test runs.
pub const HOUR_MS: u64 = 3_600_000;
const MIB: usize = 1 << 20;

fn plain(setup: &Setup) -> Outcome {
    live(setup, &[])
}

fn single(setup: &Setup) -> Outcome {
    live(setup, &[("worker_num", "1")])
}

fn a_worker_that_stops_at_once_drops_its_timers(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    let old = pid_of(server, 1, 1)?;
    assert_eq!(ask(&mut client, &format!("after {HOUR_MS} who"))?, "true");
    assert_eq!(ask(&mut client, "tick 1")?, "true");
    // The answer was sent after the call.
    assert_eq!(ask(&mut client, "stop -1 false")?, "true");
    server.wait_line(|line| line == format!("stop 1 {old}"), STEP)?;
    assert_ne!(pid_of(server, 1, 2)?, old);
    let (mut client, _) = connect_to(server, 1)?;
    assert_eq!(ask(&mut client, "quit")?, "true");
    pid_of(server, 1, 3)?;
    for beginning in ["exit ", "did ", "error ", "stop 0 "] {
        assert_eq!(count_of(server, beginning), 0, "{beginning}");
    }
    assert!(!server.log().contains("timeout"));
    Ok(())
}

fn what_is_sent_after_the_stop_arrives(server: &Running) -> Outcome {
    for (life, wait) in [false, true].into_iter().enumerate() {
        let (mut client, _) = connect_to(server, 1)?;
        client.send(format!("!leave {wait} {MIB}").as_bytes())?;
        assert_eq!(client.receive(MIB)?, vec![b'l'; MIB]);
        wait_for_lines(server, life + 1, "left: true")?;
        wait_for_lines(server, life + 1, "stop 1 ")?;
        pid_of(server, 1, life + 2)?;
        if server.mode() == Mode::Process {
            client.echo(b"the connection lives on")?;
        } else {
            assert_eq!(client.receive_to_end()?, b"");
        }
    }
    assert_eq!(count_of(server, "error "), 0);
    Ok(())
}

fn a_worker_may_stop_another_one(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    for (life, wait) in [false, true].into_iter().enumerate() {
        let (mut other, _) = connect_to(server, 1)?;
        let old = pid_of(server, 1, life + 1)?;
        // It leaves in order either way.
        assert_eq!(ask(&mut other, "tick 5")?, "true");
        assert_eq!(ask(&mut other, "clear")?, "true");
        assert_eq!(ask(&mut client, &format!("stop 1 {wait}"))?, "true");
        server.wait_line(|line| line == format!("exit 1 {old} status 3"), STEP)?;
        server.wait_line(|line| line == format!("stop 1 {old}"), STEP)?;
        assert_ne!(pid_of(server, 1, life + 2)?, old);
    }
    assert_eq!((count_of(server, "stop 0 "), count_of(server, "error ")), (0, 0));
    Ok(())
}

fn stop_elsewhere(setup: &Setup) -> Outcome {
    live_with(setup, &[], |server| {
        server.on("managerStart", |server, _| {
            let stops = [-1, 9999, -2].map(|worker| told(server.stop(worker, false)));
            report!("refused {stops:?}");
            report!("stopped {}", told(server.stop(0, false)));
        })
    })
}

fn whoever_is_no_worker_names_the_one_to_stop(server: &Running) -> Outcome {
    let refused = [SW_ERROR_WRONG_OPERATION, SW_ERROR_INVALID_PARAMS, SW_ERROR_INVALID_PARAMS];
    let refused = refused.map(|code| code.to_string());
    assert_eq!(wait_for_lines(server, 1, "refused ")?, [format!("refused {refused:?}")]);
    assert_eq!(wait_for_lines(server, 1, "stopped ")?, ["stopped true"]);
    let old = pid_of(server, 0, 1)?;
    assert_ne!(pid_of(server, 0, 2)?, old);
    let mut client = server.connect()?;
    assert_eq!(ask(&mut client, "stop 9999 true")?, SW_ERROR_INVALID_PARAMS.to_string());
    assert_eq!((count_of(server, "stop 1 "), count_of(server, "error ")), (0, 0));
    Ok(())
}

/// Its first life is over as soon as it has begun.
fn stop_in_start(setup: &Setup) -> Outcome {
    set_special_lives(1);
    live_with(setup, &[], |server| {
        server.on("workerStart", |server, event| {
            report!("worker {} {}", event.worker().worker_id, event.worker().worker_pid);
            if event.worker().worker_id == 1 && is_special_life() {
                assert_eq!(told(server.stop(-1, false)), "true");
            }
        })
    })
}

fn a_worker_may_stop_as_soon_as_it_starts(server: &Running) -> Outcome {
    let pids = [pid_of(server, 1, 1)?, pid_of(server, 1, 2)?];
    let (mut client, fd) = connect_to(server, 1)?;
    assert_eq!(ask(&mut client, "who")?, format!("1 {} {fd}", pids[1]));
    let lines = server.lines_so_far();
    let stop = place_of(&lines, &format!("stop 1 {}", pids[0]))?;
    assert!(place_of(&lines, &format!("worker 1 {}", pids[0]))? < stop);
    assert_eq!((count_of(server, "stop "), count_of(server, "error ")), (1, 0));
    Ok(())
}

fn the_end_of_the_only_worker_is_the_end_of_the_server(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    assert_eq!(ask(&mut client, "stop -1 false")?, "true");
    wait_for_end(server)?;
    assert_eq!(client.receive_to_end()?, b"");
    assert_eq!((count_of(server, "stop "), count_of(server, "shutdown")), (1, 1));
    Ok(())
}

fn a_signal_to_one_worker_replaces_it_in_order(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    for life in 1..=3 {
        let old = pid_of(server, 1, life)?;
        process::send_signal(old, libc::SIGTERM)?;
        server.wait_line(|line| line == format!("stop 1 {old}"), STEP)?;
        assert_ne!(pid_of(server, 1, life + 1)?, old);
    }
    if server.mode() == Mode::Process {
        client.echo(b"the connection lives on")?;
    } else {
        assert_eq!(client.receive_to_end()?, b"");
    }
    for beginning in ["exit ", "error ", "stop 0 ", "before "] {
        assert_eq!(count_of(server, beginning), 0, "{beginning}");
    }
    Ok(())
}

server_tests! {
    a_worker_that_stops_at_once_drops_its_timers: plain;
    what_is_sent_after_the_stop_arrives: plain;
    a_worker_may_stop_another_one: plain;
    whoever_is_no_worker_names_the_one_to_stop: stop_elsewhere;
    a_worker_may_stop_as_soon_as_it_starts: stop_in_start;
    // Nobody is there to replace it.
    the_end_of_the_only_worker_is_the_end_of_the_server: single, in [Mode::Base];
    // A thread cannot be told alone.
    a_signal_to_one_worker_replaces_it_in_order: plain, in [Mode::Process, Mode::Base];

    // What a worker waits for.
    an_old_worker_finishes_while_its_successor_serves: plain, in [Mode::Process];
    // There a successor comes when the old one has gone.
    a_worker_finishes_before_it_is_replaced: plain, in [Mode::Base, Mode::Thread];
    a_worker_that_lets_go_ends_in_the_same_round: plain;
    a_worker_may_still_choose_to_end_at_once: stop_in_exit;
    a_worker_that_waits_for_nothing_is_not_asked_to_let_go: plain;
    a_worker_that_does_not_let_go_ends_all_the_same: impatient;
    without_patience_nothing_is_waited_for: without_patience;
    at_the_end_of_the_server_timers_that_are_due_soon_fire: plain;
    timers_of_the_master_hold_the_end_and_not_for_ever: tick_in_master;
    without_timers_the_end_is_immediate: patient;

    // How many requests a life lasts.
    a_life_lasts_exactly_ten_requests: ten_requests;
    with_a_grace_lives_differ: ten_requests_and_grace;
    connecting_and_ending_are_no_requests: ten_requests_of_one;
    what_is_beyond_the_limit_is_the_successors: ten_requests_of_one, in [Mode::Process];

    // Who dies. A thread cannot alone.
    a_worker_that_dies_whenever_it_starts_is_started_ever_more_slowly: abort_in_start,
        in [Mode::Process, Mode::Base];
    a_worker_that_stops_whenever_it_starts_is_started_more_slowly: always_stop_in_start;
    the_log_names_what_a_dead_worker_had_in_its_hands: plain, in [Mode::Process, Mode::Base];
    a_dead_worker_that_waited_had_nothing_in_its_hands: plain, in [Mode::Process, Mode::Base];
}
