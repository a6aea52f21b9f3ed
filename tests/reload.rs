//! Reloads: who is replaced, in which order, what lives on, who may ask, and what is counted.

#[path = "reload/asking.rs"]
mod asking;
mod common;
mod puppet;
#[path = "reload/renewal.rs"]
mod renewal;
#[path = "reload/retired.rs"]
mod retired;
#[path = "reload/traffic.rs"]
mod traffic;

use asking::*;
use common::prelude::*;
use puppet::life::{count_of, live, manager_pid, place_of, wait_for_lines, wait_for_log};
use puppet::{ask, connect_to, hold_worker, number, pid_of, Gate};
use renewal::*;
use retired::*;
use std::time::Duration;
use traffic::*;

/// An hour: a timer that does not fire while a test runs.
const HOUR_MS: u64 = 3_600_000;
/// Nothing more happens if it has not within this time.
const QUIET: Duration = Duration::from_millis(1500);

fn plain(setup: &Setup) -> Outcome {
    live(setup, &[])
}

/// Waits a second at most for what ends.
fn impatient(setup: &Setup) -> Outcome {
    live(setup, &[("max_wait_time", "1")])
}

/// Workers leave at once.
fn hasty(setup: &Setup) -> Outcome {
    live(setup, &[("reload_async", "false")])
}

/// What cannot be reloaded.
fn single(setup: &Setup) -> Outcome {
    live(setup, &[("worker_num", "1")])
}

fn a_reload_replaces_every_worker_and_nobody_else(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let old = [pid_of(server, 0, 1)?, pid_of(server, 1, 1)?];
    let manager = manager_pid(server)?;
    let master: i32 = number(&ask(&mut client, "master")?);
    assert_eq!(ask(&mut client, "reload")?, "true");
    wait_for_lines(server, 1, "after ")?;
    let new = [pid_of(server, 0, 2)?, pid_of(server, 1, 2)?];
    assert!(new.iter().all(|pid| !old.contains(pid)), "{old:?} {new:?}");

    let lines = server.lines_so_far();
    let (before, after) = (place_of(&lines, "before ")?, place_of(&lines, "after ")?);
    for (worker, pid) in old.iter().enumerate() {
        let stop = place_of(&lines, &format!("stop {worker} {pid}"))?;
        assert!(before < stop && stop < after, "{lines:?}");
    }
    for beginning in ["before ", "after ", "manager "] {
        assert_eq!(count_of(server, beginning), 1, "{lines:?}");
    }
    // Nothing was pending, and nothing was out of order.
    assert_eq!((count_of(server, "exit "), count_of(server, "error ")), (0, 0));

    let mut late = server.connect()?;
    assert_eq!(ask(&mut late, "manager")?, manager.to_string());
    // In base mode worker 0 stands for the master.
    let master = if server.mode() == Mode::Base { new[0] } else { master };
    assert_eq!(ask(&mut late, "master")?, master.to_string());
    Ok(())
}

fn a_stuck_worker_is_killed_by_a_reload_and_nobody_waits_for_it(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    let old = [pid_of(server, 0, 1)?, pid_of(server, 1, 1)?];
    let _held = hold_worker(&mut client)?;
    server.signal(libc::SIGUSR1)?;
    pid_of(server, 0, 2)?;
    assert_eq!((count_of(server, "after "), count_of(server, "error ")), (0, 0));
    wait_for_lines(server, 1, "after ")?;
    let new = pid_of(server, 1, 2)?;
    assert_ne!(new, old[1]);
    let error = wait_for_lines(server, 1, "error ")?.swap_remove(0);
    assert_eq!(error, format!("error 1 {} code 0 signal 9 status 9", old[1]));
    let told = format!("force kill worker process(pid={}, id=1)", old[1]);
    wait_for_log(server, |log| log.contains(&told))?;
    assert!(!server.log().contains(&format!("force kill worker process(pid={}", old[0])));
    assert_eq!(count_of(server, "worker "), 4);
    Ok(())
}

fn a_stuck_thread_is_waited_for(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    let old = pid_of(server, 1, 1)?;
    let held = hold_worker(&mut client)?;
    server.signal(libc::SIGUSR1)?;
    pid_of(server, 0, 2)?;
    assert!(server.wait_line(|line| line.starts_with("after "), QUIET).is_err());
    drop(held);
    assert_ne!(pid_of(server, 1, 2)?, old);
    wait_for_lines(server, 1, "after ")?;
    assert_eq!(count_of(server, "error "), 0);
    Ok(())
}

fn one_worker_is_replaced_after_the_other(server: &Running) -> Outcome {
    let (mut first, _) = connect_to(server, 0)?;
    let (mut second, fd) = connect_to(server, 1)?;
    let pid = pid_of(server, 1, 1)?;
    let gate = Gate::new()?;
    assert_eq!(ask(&mut first, &format!("still {}", gate.port()?))?, "true");
    assert_eq!(ask(&mut second, "reload")?, "true");
    let held = gate.wait()?;
    // The first one ends. The second one does not know yet, nor does anybody come in its place.
    for _ in 0..20 {
        assert_eq!(ask(&mut second, "who")?, format!("1 {pid} {fd}"));
    }
    assert_eq!(count_of(server, "worker "), 2);
    drop(held);
    wait_for_lines(server, 1, "after ")?;
    wait_for_lines(server, 4, "worker ")?;
    Ok(())
}

fn what_a_worker_still_has_to_do_is_dropped(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, &format!("after {HOUR_MS} who"))?, "true");
    assert_eq!(ask(&mut client, "tick 1")?, "true");
    assert_eq!(ask(&mut client, "reload")?, "true");
    wait_for_lines(server, 1, "after ")?;
    wait_for_lines(server, 4, "worker ")?;
    assert_eq!((count_of(server, "exit "), count_of(server, "did ")), (0, 0));
    assert!(!server.log().contains("timeout"));
    Ok(())
}

/// Twenty rounds, each by the other signal; a round of task workers alone is none here.
fn as_many_workers_start_as_rounds_replace(server: &Running) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    for round in 1..=20 {
        server.signal(libc::SIGUSR2)?;
        let refused = |log: &str| log.matches("cannot reload task workers").count() >= round;
        wait_for_log(server, refused)?;
        server.signal(libc::SIGUSR1)?;
        wait_for_lines(server, round, "after ")?;
    }
    wait_for_lines(server, 42, "worker ")?;
    wait_for_lines(server, 40, "stop ")?;
    assert_eq!((count_of(server, "worker "), count_of(server, "stop ")), (42, 40));
    assert_eq!((count_of(server, "error "), count_of(server, "exit ")), (0, 0));
    Ok(())
}

server_tests! {
    [both_faces];
    a_reload_replaces_every_worker_and_nobody_else: plain;
    a_stuck_worker_is_killed_by_a_reload_and_nobody_waits_for_it: impatient,
        in [Mode::Process, Mode::Base];
    // A thread cannot be killed alone.
    a_stuck_thread_is_waited_for: impatient, in [Mode::Thread];
    one_worker_is_replaced_after_the_other: hasty;
    what_a_worker_still_has_to_do_is_dropped: hasty;
    as_many_workers_start_as_rounds_replace: plain, in [Mode::Process, Mode::Base];

    // Who asks.
    a_signal_to_the_master_or_the_manager_reloads: plain;
    without_task_workers_their_reload_is_a_warning: plain, in [Mode::Process, Mode::Base];
    // There whoever asks knows what there is.
    without_task_workers_their_reload_is_refused: plain, in [Mode::Thread];
    a_single_worker_is_not_reloaded: single, in [Mode::Base];
    the_manager_may_reload: reload_in_manager;
    the_master_may_reload: reload_in_master;
    a_reload_during_a_reload_is_dropped: plain, in [Mode::Process, Mode::Base];
    a_reload_during_a_reload_is_refused: plain, in [Mode::Thread];
    the_manager_knows_that_a_reload_runs: ask_twice;
    stop_and_reload_may_be_called_in_every_callback: meddle;
    stop_and_reload_change_nothing_while_the_server_ends: meddle;

    // What goes on meanwhile. Only in process mode connections outlive their worker.
    connections_outlive_a_reload: plain, in [Mode::Process];
    nothing_is_lost_by_twenty_reloads_under_load: plain, in [Mode::Process];
    the_connections_of_a_replaced_worker_end_with_it: plain, in [Mode::Base, Mode::Thread];
    unread_bytes_do_not_reset_the_connections_of_a_replaced_worker: plain,
        in [Mode::Base, Mode::Thread];
    a_client_that_keeps_sending_sees_the_end_and_no_reset: plain, in [Mode::Base, Mode::Thread];
    counts_do_not_fall_by_a_reload: plain;

    // What a worker may do that has a successor.
    a_send_of_a_replaced_worker_arrives_behind_what_it_sent_before: plain, in [Mode::Process];
    a_send_of_a_replaced_worker_is_counted: plain, in [Mode::Process];
    a_close_by_a_replaced_worker_is_told_to_its_successor: plain, in [Mode::Process];
    a_worker_that_is_not_heard_keeps_its_place_until_it_is: plain, in [Mode::Process];

    // The log file.
    a_log_file_that_was_moved_away_is_there_again_for_every_process: write_to_file;
}
