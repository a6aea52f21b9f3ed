//! When each event comes, in which process, and with which arguments, where that is not the subject
//! of other tests: `lifecycle` has starts and ends, `echo` connections, `leaving` worker exits.

use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::common::{process, Client};
use crate::puppet::life::{count_of, place_of, wait_for_end, wait_for_lines};
use crate::puppet::{self, ask, connect_to, kill, number, pid_now, pid_of, timers};
use crate::trouble::{wait_until_up, Fallible, EVENTS};
use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Far away.
const HOUR_MS: i64 = 3_600_000;
/// The server that was made, and what is registered with each event: its number.
static SERVER: AtomicPtr<sw_server_t> = AtomicPtr::new(std::ptr::null_mut());
static NUMBERS: [u8; EVENTS.len()] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];

extern "C-unwind" fn tell(
    server: *mut sw_server_t,
    event: *const sw_event_t,
    user_data: *mut c_void,
) {
    // SAFETY: the user data is one of `NUMBERS`, and the library lends a valid event.
    let (number, event) = unsafe { (*user_data.cast::<u8>(), Event(&*event)) };
    let name = EVENTS[usize::from(number) - 1];
    let is_own = server == SERVER.load(Ordering::Relaxed) && number == event.kind() as u8;
    let server = Handle { raw: server };
    // SAFETY: gettid takes nothing.
    let (pid, thread) = (std::process::id() as i32, unsafe { libc::gettid() });
    let main = pid == thread;
    let worker = server.worker_id();
    let others = others().expect("the system tells who is there");
    report!("{name} {pid} own {is_own} main {main} worker {worker} others {others:?}");
    go_on(server, name, &event);
}

/// All other live processes of the server.
fn others() -> std::io::Result<Vec<i32>> {
    // SAFETY: getpgrp takes nothing.
    let members = process::group_members(unsafe { libc::getpgrp() })?;
    let pids = members.iter().map(|member| member.pid);
    Ok(pids.filter(|pid| pid.unsigned_abs() != std::process::id()).collect())
}

fn go_on(server: Handle, name: &str, event: &Event) {
    match name {
        "start" => report!("ready"),
        "managerStart" => {
            report!("manager {}", std::process::id());
            report!("workers {:?}", [0, 1].map(|worker| server.worker_pid(worker)));
        }
        "workerStart" => report!("worker {} {}", server.worker_id(), server.worker_pid(-1)),
        "workerExit" => {
            let told = event.worker();
            let is_right = (told.worker_id, told.worker_pid, told.is_task_worker)
                == (server.worker_id(), server.worker_pid(-1), false);
            report!("exit {is_right} in turn {}", server.stop(-1, false).is_ok());
        }
        "receive" if event.data() == b"!wait" => {
            let is_set = timers::tick(server, HOUR_MS, |_| {}).is_ok();
            puppet::answer(server, event.fd(), format!("{is_set}\n").as_bytes());
        }
        "receive" => puppet::obey(server, event),
        "beforeShutdown" | "shutdown" => {
            let port = std::env::var("SW_TEST_PORT").ok().and_then(|port| port.parse().ok());
            let is_open = port.is_some_and(|port| Client::connect(port).is_ok());
            report!("open in {name}: {is_open}");
        }
        _ => {}
    }
}

pub fn tell_all(setup: &Setup) -> Outcome {
    let server = setup.bare_server("127.0.0.1", SW_SOCK_TCP)?;
    server.set("worker_num", "2")?;
    SERVER.store(server.raw, Ordering::Relaxed);
    for (name, number) in EVENTS.iter().zip(&NUMBERS) {
        let number: *const u8 = number;
        server.on_raw(name, Some(tell), number.cast_mut().cast())?;
    }
    puppet::run(&server)
}

/// The only line of an event.
fn line_of(server: &Running, name: &str) -> Fallible<String> {
    let beginning = format!("{name} ");
    assert_eq!(count_of(server, &beginning), 1, "{name}");
    Ok(wait_for_lines(server, 1, &beginning)?.swap_remove(0))
}

/// The processes that were there when an event came, but for the one that it came to.
fn others_in(line: &str) -> Vec<i32> {
    let list = line.split(" others ").nth(1).unwrap_or("").trim_matches(['[', ']']);
    list.split(", ").filter(|pid| !pid.is_empty()).map(number).collect()
}

/// A life with all that can happen in it: every event has come with its own server and user data.
pub fn every_event_comes_with_what_it_was_registered_with(server: &Running) -> Outcome {
    wait_until_up(server)?;
    let (mut client, _) = connect_to(server, 1)?;
    assert_eq!(ask(&mut client, "wait")?, "true");
    server.signal(libc::SIGUSR1)?;
    wait_for_lines(server, 1, "afterReload ")?;
    drop(client);
    wait_for_lines(server, 1, "close ")?;
    let has_errors = server.mode() != Mode::Thread;
    if has_errors {
        wait_for_lines(server, 4, "worker ")?;
        // Not worker 0, which may be who is told of the end.
        kill(pid_now(server, 1)?)?;
        wait_for_lines(server, 1, "workerError ")?;
    }
    server.signal(libc::SIGTERM)?;
    wait_for_end(server)?;
    for name in EVENTS.iter().filter(|name| has_errors || **name != "workerError") {
        let lines = wait_for_lines(server, 1, &format!("{name} "))?;
        assert!(lines.iter().all(|line| line.contains(" own true ")), "{lines:?}");
    }
    wait_for_lines(server, 1, "exit true in turn true")?;
    // Neither a reload nor a loss is an end or a beginning of the server.
    for name in ["start", "managerStart", "beforeShutdown", "managerStop", "shutdown"] {
        line_of(server, name)?;
    }
    Ok(())
}

/// Those of the manager are raised in its main thread, and it is no worker.
fn expect_in_manager(server: &Running, name: &str) -> Fallible<Vec<i32>> {
    let line = line_of(server, name)?;
    let manager: i32 =
        number(wait_for_lines(server, 1, "manager ")?[0].trim_start_matches("manager "));
    let is_process = server.mode() != Mode::Thread;
    let place = format!("{name} {manager} own true main {is_process} worker -1 others ");
    assert!(line.starts_with(&place), "{line} is not {place}");
    Ok(others_in(&line))
}

pub fn workers_are_there_from_the_managers_start_to_its_stop(server: &Running) -> Outcome {
    wait_until_up(server)?;
    let workers = [pid_of(server, 0, 1)?, pid_of(server, 1, 1)?];
    server.wait_line(|line| line == format!("workers {workers:?}"), STEP)?;
    server.signal(libc::SIGTERM)?;
    wait_for_end(server)?;
    let are_processes = server.mode() != Mode::Thread;
    let in_start = expect_in_manager(server, "managerStart")?;
    assert_eq!(workers.iter().all(|pid| in_start.contains(pid)), are_processes);
    let in_end = others_in(&line_of(server, "beforeShutdown")?);
    // In base mode worker 0 is who is told.
    assert_eq!(in_end.contains(&workers[1]), are_processes);
    let root = if server.mode() == Mode::Process { vec![server.pid()] } else { Vec::new() };
    assert_eq!(expect_in_manager(server, "managerStop")?, root);
    Ok(())
}

pub fn clients_can_connect_until_the_end_begins_and_not_when_it_is_over(
    server: &Running,
) -> Outcome {
    wait_until_up(server)?;
    server.signal(libc::SIGTERM)?;
    wait_for_end(server)?;
    for line in ["open in beforeShutdown: true", "open in shutdown: false"] {
        server.wait_line(|found| found == line, STEP)?;
    }
    let line = line_of(server, "shutdown")?;
    let place = format!("shutdown {} own true main true worker -1 others []", server.pid());
    assert_eq!(line, place);
    Ok(())
}

pub fn a_reload_is_told_before_anybody_stops_and_when_all_are_replaced(
    server: &Running,
) -> Outcome {
    wait_until_up(server)?;
    let old = [pid_of(server, 0, 1)?, pid_of(server, 1, 1)?];
    server.signal(libc::SIGUSR1)?;
    wait_for_lines(server, 1, "afterReload ")?;
    wait_for_lines(server, 4, "worker ")?;
    let new = [pid_of(server, 0, 2)?, pid_of(server, 1, 2)?];
    let before = expect_in_manager(server, "beforeReload")?;
    let after = expect_in_manager(server, "afterReload")?;
    let are_processes = server.mode() != Mode::Thread;
    assert_eq!(old.iter().all(|pid| before.contains(pid)), are_processes);
    assert!(!new.iter().any(|pid| before.contains(pid)));
    assert!(!old.iter().any(|pid| after.contains(pid)));
    assert_eq!(new.iter().all(|pid| after.contains(pid)), are_processes);
    let lines = server.lines_so_far();
    let (first, last) = (place_of(&lines, "beforeReload ")?, place_of(&lines, "afterReload ")?);
    let stops = (0..lines.len()).filter(|at| lines[*at].starts_with("workerStop "));
    let stops: Vec<usize> = stops.collect();
    assert!(stops.len() == 2 && stops.iter().all(|at| first < *at && *at < last), "{lines:?}");
    Ok(())
}

pub fn a_loss_is_told_when_the_dead_is_gone_and_before_anybody_follows(
    server: &Running,
) -> Outcome {
    wait_until_up(server)?;
    let workers = [pid_of(server, 0, 1)?, pid_of(server, 1, 1)?];
    kill(workers[1])?;
    let successor = pid_of(server, 1, 2)?;
    let in_error = expect_in_manager(server, "workerError")?;
    assert!(in_error.contains(&workers[0]) && !in_error.contains(&workers[1]), "{in_error:?}");
    assert!(!in_error.contains(&successor));
    let root = usize::from(server.mode() == Mode::Process);
    assert_eq!(in_error.len(), 1 + root, "{in_error:?}");
    Ok(())
}
