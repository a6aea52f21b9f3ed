//! How a server ends: who may ask for it, what is still answered, what happens to who does not end.

use super::{await_end, is_event};
use super::{MANAGER_START, MANAGER_STOP, SHUTDOWN, START};
use super::{WORKER_ERROR, WORKER_START, WORKER_STOP};
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::common::{process, GRACE};
use std::ffi::CString;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

fn gate_path() -> PathBuf {
    std::env::temp_dir().join("gate")
}

/// Makes a pipe with a name, at which a callback can wait for the test.
pub fn make_gate() -> Outcome {
    let path = gate_path();
    let text = CString::new(path.to_str().ok_or("the path is no text")?)?;
    // SAFETY: the path is a text that lives through the call.
    if unsafe { libc::mkfifo(text.as_ptr(), 0o600) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    report!("gate {}", path.display());
    Ok(())
}

/// Blocks until the test opens the gate, which is gone then.
pub fn wait_at_gate() {
    let mut word = String::new();
    let read = std::fs::File::open(gate_path()).and_then(|mut gate| gate.read_to_string(&mut word));
    assert!(read.is_ok() && word == "open", "{read:?}");
    std::fs::remove_file(gate_path()).expect("the gate was there");
}

/// Opening for writing waits until a callback waits at the gate.
pub fn open_gate(server: &Running) -> Outcome {
    let line = server.wait_line(|line| line.starts_with("gate "), STEP)?;
    let path = line.trim_start_matches("gate ").to_owned();
    std::fs::OpenOptions::new().write(true).open(path)?.write_all(b"open")?;
    Ok(())
}

/// Asks twice: the second time does no harm.
fn ask_for_end(server: Handle, _: &Event) {
    report!("asked {}, {}", server.shutdown().is_ok(), server.shutdown().is_ok());
}

fn end_in(setup: &Setup, event: &str) -> Outcome {
    let server = setup.server()?;
    server.on("receive", |server, event| {
        report!("sent {}", server.send(event.fd(), event.data()).is_ok());
    })?;
    server.on("shutdown", |_, _| report!("shutdown"))?;
    server.on(event, ask_for_end)?;
    server.start()?;
    report!("start returned");
    Ok(())
}

pub fn end_in_start(setup: &Setup) -> Outcome {
    end_in(setup, "start")
}

pub fn end_in_manager_start(setup: &Setup) -> Outcome {
    end_in(setup, "managerStart")
}

pub fn end_in_worker_start(setup: &Setup) -> Outcome {
    end_in(setup, "workerStart")
}

pub fn end_in_connect(setup: &Setup) -> Outcome {
    end_in(setup, "connect")
}

pub fn end_in_close(setup: &Setup) -> Outcome {
    end_in(setup, "close")
}

pub fn end_in_worker_error(setup: &Setup) -> Outcome {
    end_in(setup, "workerError")
}

/// From every event of the end itself.
pub fn end_while_ending(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("receive", |_, _| {})?;
    for name in ["beforeShutdown", "workerStop", "managerStop"] {
        server.on(name, ask_for_end)?;
    }
    server.on("shutdown", |_, _| report!("shutdown"))?;
    server.start()?;
    report!("start returned");
    Ok(())
}

pub fn end_in_receive(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("receive", |server, event| {
        ask_for_end(server, event);
        report!("sent {}", server.send(event.fd(), &vec![b'a'; 1 << 20]).is_ok());
    })?;
    server.on("shutdown", |_, _| report!("shutdown"))?;
    server.start()?;
    report!("start returned");
    Ok(())
}

fn check_asked_end(server: &Running) -> Outcome {
    let lines = await_end(server)?;
    let count = |text: &str| lines.iter().filter(|line| *line == text).count();
    assert!(count("asked true, true") >= 1, "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("false")), "{lines:?}");
    assert_eq!(count("shutdown"), 1);
    assert!(lines.ends_with(&["shutdown".to_owned(), "start returned".to_owned()]), "{lines:?}");
    Ok(())
}

pub fn an_end_asked_for_in_start_is_orderly(server: &Running) -> Outcome {
    check_asked_end(server)
}

pub fn an_end_asked_for_in_manager_start_is_orderly(server: &Running) -> Outcome {
    check_asked_end(server)
}

pub fn an_end_asked_for_in_worker_start_is_orderly(server: &Running) -> Outcome {
    check_asked_end(server)
}

pub fn an_end_asked_for_in_connect_is_orderly(server: &Running) -> Outcome {
    let _client = server.connect()?;
    check_asked_end(server)
}

pub fn an_end_asked_for_in_receive_is_orderly_and_the_answer_arrives(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.send(b"the last request")?;
    let answer = client.receive_to_end()?;
    assert!(answer == vec![b'a'; 1 << 20], "{} bytes came", answer.len());
    check_asked_end(server)
}

pub fn an_end_asked_for_in_close_is_orderly(server: &Running) -> Outcome {
    drop(server.connect()?);
    check_asked_end(server)
}

pub fn an_end_asked_for_in_worker_error_is_orderly(server: &Running) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    // The processes that have no children are workers; the manager is the parent of them.
    let all = server.descendants()?;
    let has_children = |pid: i32| all.iter().any(|process| process.parent == pid);
    let worker = all.iter().find(|process| !has_children(process.pid)).ok_or("no worker")?;
    process::send_signal(worker.pid, libc::SIGKILL)?;
    check_asked_end(server)
}

pub fn an_end_asked_for_while_it_ends_is_harmless(server: &Running) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    server.signal(libc::SIGTERM)?;
    check_asked_end(server)
}

static IN_HANDLER: AtomicPtr<sw_server_t> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn handle_interrupt(_: libc::c_int) {
    let server = Handle { raw: IN_HANDLER.load(Ordering::Relaxed) };
    if server.shutdown().is_err() {
        std::process::abort();
    }
}

pub fn end_in_handler(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("receive", |server, event| {
        report!("sent {}", server.send(event.fd(), event.data()).is_ok());
    })?;
    server.on("shutdown", |_, _| report!("shutdown"))?;
    IN_HANDLER.store(server.raw, Ordering::Relaxed);
    // SAFETY: the handler asks for the end only, which the library allows there.
    unsafe { libc::signal(libc::SIGINT, handle_interrupt as *const () as libc::sighandler_t) };
    server.start()?;
    report!("start returned");
    Ok(())
}

pub fn an_end_asked_for_in_a_signal_handler_is_orderly(server: &Running) -> Outcome {
    server.connect()?.echo(b"before")?;
    server.signal(libc::SIGINT)?;
    let lines = await_end(server)?;
    assert!(lines.ends_with(&["shutdown".to_owned(), "start returned".to_owned()]), "{lines:?}");
    Ok(())
}

/// A server that gets SIGTERM from itself as soon as it raises one of its first events.
fn end_at(setup: &Setup, event: &str) -> Outcome {
    let server = super::telling_server(setup)?;
    server.on(event, |server, told| {
        super::tell(server, told);
        // SAFETY: takes numbers only.
        let result = unsafe { libc::kill(libc::getpgrp(), libc::SIGTERM) };
        report!("told {result}");
    })?;
    server.start()?;
    report!("start returned");
    Ok(())
}

pub fn get_signal_in_start(setup: &Setup) -> Outcome {
    end_at(setup, "start")
}

pub fn get_signal_in_manager_start(setup: &Setup) -> Outcome {
    end_at(setup, "managerStart")
}

pub fn get_signal_in_worker_start(setup: &Setup) -> Outcome {
    end_at(setup, "workerStart")
}

/// What has begun is ended: each event of a beginning has that of its end.
fn check_pairs(server: &Running) -> Outcome {
    server.wait_line(|line| line == "told 0", STEP)?;
    let lines = await_end(server)?;
    let count = |kind: &'static str| lines.iter().filter(|line| is_event(kind)(line)).count();
    assert_eq!((count(START), count(SHUTDOWN)), (1, 1), "{lines:?}");
    assert_eq!((count(MANAGER_START), count(MANAGER_STOP)), (1, 1), "{lines:?}");
    assert_eq!((count(WORKER_START), count(WORKER_STOP)), (2, 2), "{lines:?}");
    assert_eq!(count(WORKER_ERROR), 0, "{lines:?}");
    Ok(())
}

pub fn a_signal_in_start_ends_in_order(server: &Running) -> Outcome {
    check_pairs(server)
}

pub fn a_signal_in_manager_start_ends_in_order(server: &Running) -> Outcome {
    check_pairs(server)
}

pub fn a_signal_in_worker_start_ends_in_order(server: &Running) -> Outcome {
    check_pairs(server)
}

pub fn get_stuck(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.set("max_wait_time", "1")?;
    server.on("receive", |_, event| {
        report!("stuck {}", event.fd());
        loop {
            std::thread::park();
        }
    })?;
    server.on("workerStop", |_, event| report!("stopped {}", event.worker().worker_id))?;
    server.on("workerError", |_, event| report!("signal {}", event.error().signal))?;
    server.start()?;
    report!("start returned");
    Ok(())
}

pub fn a_stuck_worker_is_killed_after_twice_the_wait(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.send(b"stop here")?;
    server.wait_line(|line| line.starts_with("stuck "), STEP)?;
    let asked = Instant::now();
    let lines = super::end(server)?;
    let took = asked.elapsed();
    assert!(took > Duration::from_millis(1900) && took < GRACE, "it took {took:?}");
    let count = |text: &str| lines.iter().filter(|line| line.starts_with(text)).count();
    assert_eq!((count("signal 9"), count("stopped "), count("start returned")), (1, 1, 1));
    Ok(())
}

/// More than a worker takes from its inbox in one turn.
const LATE_REQUESTS: u64 = 1100;

/// The first request keeps the only worker busy until all others were handed to it.
pub fn answer_late(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.set("worker_num", "1")?;
    make_gate()?;
    server.on("receive", |server, event| {
        if event.data() == b"first" {
            let are_taken = || server.stats().is_ok_and(|s| s.dispatch_count > LATE_REQUESTS);
            while !are_taken() {
                std::thread::yield_now();
            }
            report!("all are taken");
            wait_at_gate();
        }
        report!("sent {}", server.send(event.fd(), event.data()).is_ok());
    })?;
    server.on("beforeShutdown", |_, _| report!("ending"))?;
    server.start()?;
    Ok(())
}

pub fn requests_taken_before_the_end_are_answered(server: &Running) -> Outcome {
    let mut first = server.connect()?;
    first.send(b"first")?;
    let mut others = Vec::new();
    for number in 0..LATE_REQUESTS {
        let mut client = server.connect()?;
        client.send(format!("request {number:4}").as_bytes())?;
        others.push(client);
    }
    server.wait_line(|line| line == "all are taken", STEP)?;
    server.signal(libc::SIGTERM)?;
    server.wait_line(|line| line == "ending", STEP)?;
    open_gate(server)?;
    assert_eq!(first.receive_to_end()?, b"first");
    for (number, client) in others.iter_mut().enumerate() {
        assert_eq!(client.receive_to_end()?, format!("request {number:4}").as_bytes());
    }
    await_end(server)?;
    Ok(())
}

pub fn answer_one_late(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    make_gate()?;
    server.on("receive", |server, event| {
        report!("in hand");
        wait_at_gate();
        report!("sent {}", server.send(event.fd(), &vec![b'z'; 3 << 20]).is_ok());
    })?;
    server.start()?;
    Ok(())
}

pub fn a_request_in_hand_at_the_end_is_answered(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.send(b"one")?;
    server.wait_line(|line| line == "in hand", STEP)?;
    server.signal(libc::SIGTERM)?;
    open_gate(server)?;
    let answer = client.receive_to_end()?;
    assert!(answer == vec![b'z'; 3 << 20], "{} bytes came", answer.len());
    await_end(server)?;
    Ok(())
}
