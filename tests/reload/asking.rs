//! Who may ask for a reload, and what happens when it does not fit.

use crate::common::prelude::*;
use crate::puppet::life::{
    count_of, end, live_with, manager_pid, place_of, report_exit, report_stop, told, wait_for_end,
    wait_for_lines, wait_for_log,
};
use crate::puppet::{ask, connect_to, pid_of, timers, Gate};
use std::sync::atomic::{AtomicBool, Ordering};

pub fn a_signal_to_the_master_or_the_manager_reloads(server: &Running) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    let manager = match server.mode() {
        Mode::Thread => server.pid(),
        Mode::Base | Mode::Process => manager_pid(server)?,
    };
    for (round, pid) in [server.pid(), manager].iter().enumerate() {
        let old = [pid_of(server, 0, round + 1)?, pid_of(server, 1, round + 1)?];
        crate::common::process::send_signal(*pid, libc::SIGUSR1)?;
        wait_for_lines(server, round + 1, "after ")?;
        let new = [pid_of(server, 0, round + 2)?, pid_of(server, 1, round + 2)?];
        assert!(new.iter().all(|pid| !old.contains(pid)), "{old:?} {new:?}");
    }
    assert_eq!((count_of(server, "before "), count_of(server, "worker ")), (2, 6));
    Ok(())
}

pub fn without_task_workers_their_reload_is_a_warning(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    wait_for_lines(server, 2, "worker ")?;
    let warnings = |count: usize| {
        let text = "cannot reload task workers, task workers is not started";
        wait_for_log(server, move |log| log.matches(text).count() == count)
    };
    assert_eq!(ask(&mut client, "reload tasks")?, "true");
    warnings(1)?;
    server.signal(libc::SIGUSR2)?;
    warnings(2)?;
    crate::common::process::send_signal(manager_pid(server)?, libc::SIGUSR2)?;
    warnings(3)?;
    assert_eq!((count_of(server, "before "), count_of(server, "worker ")), (0, 2));
    assert_eq!(ask(&mut client, "reload")?, "true");
    wait_for_lines(server, 1, "after ")?;
    wait_for_lines(server, 4, "worker ")?;
    assert_eq!((count_of(server, "before "), count_of(server, "worker ")), (1, 4));
    Ok(())
}

pub fn without_task_workers_their_reload_is_refused(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let refused = SW_ERROR_OPERATION_NOT_SUPPORT.to_string();
    assert_eq!(ask(&mut client, "reload tasks")?, refused);
    assert_eq!(ask(&mut client, "reload")?, "true");
    wait_for_lines(server, 1, "after ")?;
    assert_eq!(count_of(server, "before "), 1);
    Ok(())
}

pub fn a_single_worker_is_not_reloaded(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let who = ask(&mut client, "who")?;
    let refused = SW_ERROR_OPERATION_NOT_SUPPORT.to_string();
    assert_eq!(ask(&mut client, "reload")?, refused);
    assert_eq!(ask(&mut client, "reload tasks")?, refused);
    for signal in [libc::SIGUSR1, libc::SIGUSR2] {
        server.signal(signal)?;
        assert_eq!(ask(&mut client, "who")?, who);
    }
    assert_eq!((count_of(server, "before "), count_of(server, "worker ")), (0, 1));
    Ok(())
}

pub fn reload_in_manager(setup: &Setup) -> Outcome {
    live_with(setup, &[], |server| {
        server.on("managerStart", |server, _| {
            let reload = move |_| report!("asked {}", told(server.reload(false)));
            timers::after(server, 1, reload).expect("a timer");
        })
    })
}

pub fn reload_in_master(setup: &Setup) -> Outcome {
    live_with(setup, &[], |server| {
        server.on("start", |server, _| {
            let reload = move |_| report!("asked {}", told(server.reload(false)));
            timers::after(server, 1, reload).expect("a timer");
        })
    })
}

fn every_worker_is_replaced_once(server: &Running) -> Outcome {
    assert_eq!(wait_for_lines(server, 1, "asked ")?, ["asked true"]);
    wait_for_lines(server, 1, "after ")?;
    wait_for_lines(server, 4, "worker ")?;
    assert_eq!((count_of(server, "before "), count_of(server, "error ")), (1, 0));
    server.connect()?.echo(b"it serves")?;
    Ok(())
}

pub fn the_manager_may_reload(server: &Running) -> Outcome {
    every_worker_is_replaced_once(server)
}

pub fn the_master_may_reload(server: &Running) -> Outcome {
    every_worker_is_replaced_once(server)
}

/// A round that does not end before its worker 0 is released, which is stuck in its last callback.
fn begin_long_round(server: &Running) -> Result<Gate, Box<dyn std::error::Error + Send + Sync>> {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    assert_eq!(ask(&mut client, &format!("still {}", gate.port()?))?, "true");
    Ok(gate)
}

/// Ends the server, so that nothing more can come, and counts the rounds.
fn expect_one_round(server: &Running) -> Outcome {
    wait_for_lines(server, 1, "after ")?;
    wait_for_lines(server, 4, "worker ")?;
    end(server)?;
    assert_eq!((count_of(server, "before "), count_of(server, "after ")), (1, 1));
    let lines = server.lines_so_far();
    // Later ones may have to answer what is left.
    let served = &lines[..place_of(&lines, "ending")?];
    assert_eq!(served.iter().filter(|line| line.starts_with("worker ")).count(), 4);
    Ok(())
}

pub fn a_reload_during_a_reload_is_dropped(server: &Running) -> Outcome {
    let gate = begin_long_round(server)?;
    server.signal(libc::SIGUSR1)?;
    let held = gate.wait()?;
    let dropped = |count: usize| {
        let text = "a reload is running";
        wait_for_log(server, move |log| log.matches(text).count() == count)
    };
    pid_of(server, 1, 2)?;
    // Whoever is no manager only asks, and asking works.
    assert_eq!(ask(&mut server.connect()?, "reload")?, "true");
    dropped(1)?;
    server.signal(libc::SIGUSR1)?;
    dropped(2)?;
    drop(held);
    expect_one_round(server)
}

pub fn a_reload_during_a_reload_is_refused(server: &Running) -> Outcome {
    let gate = begin_long_round(server)?;
    let (mut other, _) = connect_to(server, 1)?;
    assert_eq!(ask(&mut other, "reload")?, "true");
    let held = gate.wait()?;
    assert_eq!(ask(&mut other, "reload")?, SW_ERROR_OPERATION_NOT_SUPPORT.to_string());
    drop(held);
    expect_one_round(server)
}

pub fn ask_twice(setup: &Setup) -> Outcome {
    live_with(setup, &[], |server| {
        server.on("managerStart", |server, _| {
            let reload = move |_| {
                report!("asked {} {}", told(server.reload(false)), told(server.reload(false)));
            };
            timers::after(server, 1, reload).expect("a timer");
        })?;
        server.on("beforeReload", |server, _| {
            report!("before again {}", told(server.reload(false)));
        })
    })
}

pub fn the_manager_knows_that_a_reload_runs(server: &Running) -> Outcome {
    let refused = SW_ERROR_OPERATION_NOT_SUPPORT;
    assert_eq!(wait_for_lines(server, 1, "asked ")?, [format!("asked true {refused}")]);
    assert_eq!(wait_for_lines(server, 1, "before ")?, [format!("before again {refused}")]);
    expect_one_round(server)
}

/// Calls both in every callback about a life that ends.
pub fn meddle(setup: &Setup) -> Outcome {
    /// In the manager, after a reload.
    static HAS_MEDDLED: AtomicBool = AtomicBool::new(false);

    fn meddle(server: api::Handle, place: &str) {
        let stops = [(-1, false), (0, true), (1, false)].map(|(id, wait)| server.stop(id, wait));
        let stops = stops.map(told);
        report!("meddled {place} {stops:?} {}", told(server.reload(false)));
    }
    live_with(setup, &[("max_wait_time", "1")], |server| {
        server.on("beforeReload", |server, _| {
            report!("before");
            meddle(server, "beforeReload");
        })?;
        server.on("afterReload", |server, _| {
            report!("after");
            // Once: or there would be no end of it.
            if !HAS_MEDDLED.swap(true, Ordering::Relaxed) {
                meddle(server, "afterReload");
            }
        })?;
        server.on("workerExit", |server, event| {
            report_exit(server, event);
            // The other worker would be ended again and again.
            report!("meddled workerExit {}", told(server.stop(-1, true)));
        })?;
        server.on("workerStop", |server, event| {
            report_stop(server, event);
            let own = event.worker().worker_id;
            report!("meddled workerStop {} {}", told(server.stop(-1, false)), {
                told(server.stop(own, true))
            });
        })?;
        server.on("beforeShutdown", |server, _| meddle(server, "beforeShutdown"))?;
        server.on("managerStop", |server, _| meddle(server, "managerStop"))
    })
}

/// The callback after the round asks for another one, which is the last.
fn meddle_with_a_round(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, "tick 5")?, "true");
    assert_eq!(ask(&mut client, "reload")?, "true");
    wait_for_lines(server, 1, "after")?;
    wait_for_lines(server, 1, "meddled afterReload")?;
    wait_for_lines(server, 2, "after")?;
    Ok(())
}

pub fn stop_and_reload_may_be_called_in_every_callback(server: &Running) -> Outcome {
    meddle_with_a_round(server)?;
    server.connect()?.echo(b"it serves")?;
    assert_eq!(count_of(server, "error "), 0);
    Ok(())
}

pub fn stop_and_reload_change_nothing_while_the_server_ends(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    assert_eq!(ask(&mut client, "tick 5")?, "true");
    server.signal(libc::SIGTERM)?;
    wait_for_lines(server, 1, "meddled beforeShutdown")?;
    server.signal(libc::SIGUSR1)?;
    wait_for_end(server)?;
    assert_eq!((count_of(server, "before"), count_of(server, "after")), (0, 0));
    assert_eq!((count_of(server, "worker "), count_of(server, "stop ")), (2, 2));
    assert_eq!((count_of(server, "error "), count_of(server, "meddled managerStop")), (0, 1));
    Ok(())
}
