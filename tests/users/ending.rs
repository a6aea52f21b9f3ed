//! How user processes end with the server, and what is refused.

use crate::api::{the, Process};
use crate::common::api::{self, Handle, Server};
use crate::common::{process, Mode, Outcome, Running, Setup, GRACE, STEP};
use crate::puppet::timers::tick;
use crate::puppet::{self, number};
use crate::{life, prepare, report, USER};
use std::io::Read;
use std::ptr::null_mut;
use swoole::ffi::error_codes::*;
use swoole::ffi::process::*;
use swoole::ffi::types::*;

const INVALID: i32 = SW_ERROR_INVALID_PARAMS;
const PHASE: i32 = SW_ERROR_WRONG_OPERATION;
/// A timer that does not fire while a test runs.
const HOUR_MS: i64 = 3_600_000;

/// Where this line stands among all that were reported.
fn place_of(lines: &[String], wanted: &str) -> Result<usize, String> {
    let place = lines.iter().position(|line| line.starts_with(wanted));
    place.ok_or_else(|| format!("{wanted:?} was not reported"))
}

/// Ends the server in order; what was reported.
fn end(server: &Running) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    server.wait_line(|line| line == "returned, left: []", STEP)?;
    Ok(server.lines_so_far())
}

pub fn it_ends_with_the_server_after_the_workers(server: &Running) -> Outcome {
    life(server, 1)?;
    server.connect()?;
    let lines = end(server)?;
    assert!(!lines.iter().any(|line| line.starts_with("error")), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("life")).count(), 1);
    assert!(place_of(&lines, "stop 0")?.max(place_of(&lines, "stop 1")?) < lines.len());
    if server.mode() == Mode::Thread {
        assert!(place_of(&lines, "stop 0")? < place_of(&lines, "pipe ended")?);
        assert!(place_of(&lines, "stop 1")? < place_of(&lines, "pipe ended")?);
        assert!(place_of(&lines, "pipe ended")? < place_of(&lines, "manager stop")?);
    }
    Ok(())
}

/// Does nothing, so that a system call returns.
extern "C" fn interrupt(_: i32) {}

fn set_handler(signal: i32, handler: usize) {
    // SAFETY: all-zero is a disposition with an empty mask and no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    // SAFETY: a valid disposition, whose handler does nothing that it must not.
    assert_eq!(unsafe { libc::sigaction(signal, &action, null_mut()) }, 0);
}

/// Blocks SIGTERM; gives the mask without it.
fn hold_sigterm() -> libc::sigset_t {
    // SAFETY: all-zero is a set, the calls get two of them.
    unsafe {
        let (mut set, mut former) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        assert_eq!(libc::sigprocmask(libc::SIG_BLOCK, &set, &mut former), 0);
        former
    }
}

/// Waits with SIGTERM let through, which comes nowhere else; false if it has come.
fn wait_readable(process: Process, mask: &libc::sigset_t) -> bool {
    let mut entry = libc::pollfd { fd: process.socket(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, no time limit, and a set.
    unsafe { libc::ppoll(&mut entry, 1, std::ptr::null(), mask) == 1 }
}

/// Waits until a signal comes or the pipe ends.
pub fn serve_until_the_end(setup: &Setup) -> Outcome {
    fn body(server: Handle, process: Process) {
        if server.mode() == SW_THREAD {
            report!("life {}", process.pid());
            assert_eq!(process.next(), None);
        } else {
            let mask = hold_sigterm();
            set_handler(libc::SIGTERM, interrupt as *const () as usize);
            report!("life {}", process.pid());
            assert!(!wait_readable(process, &mask));
        }
        report!("user ends, running: {}", server.is_running());
    }
    puppet::run(&prepare(setup, &[], body)?)
}

pub fn it_can_end_in_order(server: &Running) -> Outcome {
    life(server, 1)?;
    server.connect()?;
    let lines = end(server)?;
    let place = place_of(&lines, "user ends, running: false")?;
    assert!(place_of(&lines, "stop 0")? < place && place_of(&lines, "stop 1")? < place);
    assert!(place < place_of(&lines, "manager stop")?);
    assert!(!lines.iter().any(|line| line.starts_with("error")), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("life")).count(), 1);
    Ok(())
}

/// A timer that lasts, and a server that would wait for it.
pub fn serve_endless_timer(setup: &Setup) -> Outcome {
    fn body(server: Handle, process: Process) {
        tick(server, HOUR_MS, |_| {}).expect("a timer");
        report!("life {}", process.pid());
    }
    puppet::run(&prepare(setup, &[("max_wait_time", "60")], body)?)
}

pub fn a_timer_does_not_hold_up_the_end(server: &Running) -> Outcome {
    life(server, 1)?;
    server.connect()?;
    end(server)?;
    Ok(())
}

/// Hears nothing and does not end.
pub fn serve_deaf(setup: &Setup) -> Outcome {
    fn body(server: Handle, process: Process) {
        if server.mode() != SW_THREAD {
            set_handler(libc::SIGTERM, libc::SIG_IGN);
        }
        report!("life {}", process.pid());
        loop {
            std::thread::park();
        }
    }
    puppet::run(&prepare(setup, &[("max_wait_time", "1")], body)?)
}

pub fn it_is_killed_if_it_does_not_end(server: &Running) -> Outcome {
    let pid = life(server, 1)?;
    server.connect()?;
    let lines = end(server)?;
    let killed = place_of(&lines, &format!("error {USER} {pid} code 0 signal 9 status 9"))?;
    assert!(killed < place_of(&lines, "manager stop")?);
    Ok(())
}

pub fn it_dies_with_the_master(server: &Running) -> Outcome {
    let pid = life(server, 1)?;
    server.connect()?;
    server.signal(libc::SIGKILL)?;
    assert!(!server.wait_exit(STEP)?.success());
    if server.mode() != Mode::Thread {
        assert!(process::wait_gone(pid, GRACE)?);
    }
    Ok(())
}

pub fn it_dies_with_the_manager_and_the_server_goes_on(server: &Running) -> Outcome {
    let pid = life(server, 1)?;
    let line = server.wait_line(|line| line.starts_with("manager "), STEP)?;
    let mut client = server.connect()?;
    puppet::kill(number(line.trim_start_matches("manager ")))?;
    assert!(process::wait_gone(pid, GRACE)?);
    client.echo(b"hello")?;
    // The next manager has one of its own.
    assert_ne!(life(server, 2)?, pid);
    Ok(())
}

fn code_of<T>(result: api::Result<T>) -> i32 {
    result.err().map_or(0, |error| error.code)
}

fn nothing(_: Handle, _: Process) {}

pub fn make_mistakes(setup: &Setup) -> Outcome {
    let server = puppet::prepare(setup, &[], puppet::obey)?;
    let other = Server::new("127.0.0.1", 0, SW_BASE, SW_SOCK_TCP)?;
    assert!(sw_process_new(None, null_mut()).is_null());
    assert_eq!(api::last_error().code, INVALID);
    assert_eq!(code_of(Process { raw: null_mut() }.add_to(*server)), INVALID);
    let first = Process::start_with(*server, |_, process| drop(process.next()))?;
    for server in [*server, *other] {
        assert_eq!(code_of(first.add_to(server)), INVALID);
    }
    // What was refused has taken no number.
    let second = Process::new(|_, process| drop(process.next()))?;
    assert_eq!(second.add_to(*server)?, 1);
    assert_eq!((first.pid(), second.pid()), (0, 0));
    assert!(first.socket() >= 0 && first.socket() != second.socket());
    server.on("workerStart", |server, _| {
        let late = Process::new(nothing).expect("a process");
        report!("worker {} {}", code_of(late.add_to(server)), code_of(the().add_to(server)));
    })?;
    puppet::run(&server)?;
    let late = Process::new(nothing)?;
    report!("after {} {}", code_of(late.add_to(*server)), first.pid());
    Ok(())
}

pub fn wrong_calls_are_refused(server: &Running) -> Outcome {
    let line = format!("worker {PHASE} {PHASE}");
    server.wait_lines(2, |told| told == line, STEP)?;
    end(server)?;
    server.wait_line(|told| told == format!("after {PHASE} 0"), STEP)?;
    Ok(())
}

pub fn a_process_is_freed_with_its_server() -> Outcome {
    let server = Server::new("127.0.0.1", 0, SW_BASE, SW_SOCK_TCP)?;
    let process = Process::new(nothing)?;
    process.add_to(*server)?;
    // The pipe ends for who has one more descriptor of it.
    let mut end = process.stream().try_clone()?;
    drop(server);
    assert_eq!(end.read(&mut [0])?, 0);
    assert_eq!((process.socket(), api::last_error().code), (-1, INVALID));
    assert_eq!(
        (process.pid(), process.add_to(*Server::new("127.0.0.1", 0, SW_BASE, 1)?).is_err()),
        (-1, true)
    );
    Ok(())
}
