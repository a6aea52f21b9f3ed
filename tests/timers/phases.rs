//! Calls where they do not belong: in the wrong phase, thread or process.

use crate::api::*;
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::descriptors::pipe;
use crate::HOUR_MS;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::OnceLock;

/// What each function answers: the timers and the deferred call, then the descriptors.
fn answers(server: Handle, fd: RawFd, timer: i64) -> [i32; 7] {
    [
        refusal(tick(server, HOUR_MS, |_| {})),
        refusal(after(server, HOUR_MS, |_| {})),
        refusal(clear_timer(server, timer)),
        refusal(defer(server, || {})),
        refusal(add(fd, SW_IO_READ, |_, _| {})),
        refusal(set(fd, SW_IO_READ)),
        refusal(del(fd)),
    ]
}

const PHASE: i32 = SW_ERROR_WRONG_OPERATION;

fn report_answers(server: Handle, name: &str) {
    let (reader, _writer) = pipe();
    report!("{name} {:?}", answers(server, reader.as_raw_fd(), 1));
}

pub fn call_in_every_phase(setup: &Setup) -> Outcome {
    /// The timer and descriptor that a worker has when it ends; threads have each their own.
    fn open(server: Handle) -> (i64, RawFd) {
        let (reader, writer) = pipe();
        let fd = reader.as_raw_fd();
        // They stay open until the process ends.
        std::mem::forget((reader, writer));
        add(fd, SW_IO_READ, |_, _| panic!("nothing was written")).expect("a pipe");
        (tick(server, HOUR_MS, |_| {}).expect("a timer"), fd)
    }
    thread_local!(static OPEN: OnceLock<(i64, RawFd)> = const { OnceLock::new() });
    let server = setup.server()?;
    report_answers(*server, "before");
    server.on("receive", |_, _| {})?;
    server.on("workerStart", |server, _| {
        OPEN.with(|opened| opened.set(open(server)).expect("one start"));
    })?;
    server.on("workerStop", |server, _| {
        let (timer, fd) = OPEN.with(|opened| *opened.get().expect("a start before the stop"));
        report!("stop {:?}", answers(server, fd, timer));
    })?;
    server.on("shutdown", |server, _| report_answers(server, "shutdown"))?;
    server.start()?;
    report_answers(*server, "after");
    Ok(())
}

pub fn calls_in_a_wrong_phase_are_refused(server: &Running) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    for (name, count) in [("before", 1), ("stop", 2), ("shutdown", 1), ("after", 1)] {
        let line = format!("{name} {:?}", [PHASE; 7]);
        server.wait_lines(count, |it| it == line, STEP)?;
    }
    Ok(())
}

pub fn call_from_elsewhere(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("receive", |server, event| {
        let raw = server.raw as usize;
        let elsewhere = move || report_answers(Handle { raw: raw as *mut sw_server_t }, "thread");
        std::thread::spawn(elsewhere).join().expect("a thread that ends");
        report!("process {}", answers_of_child(server));
        server.send(event.fd(), b"done").expect("an answer");
    })?;
    server.start()?;
    Ok(())
}

/// How many calls a forked child is refused, by its exit code.
fn answers_of_child(server: Handle) -> i32 {
    let (reader, _writer) = pipe();
    // SAFETY: the child makes calls that must fail, and ends at once.
    match unsafe { libc::fork() } {
        -1 => -1,
        0 => {
            let answers = answers(server, reader.as_raw_fd(), 1);
            let count = answers.iter().filter(|answer| **answer == PHASE).count();
            // SAFETY: ends the process.
            unsafe { libc::_exit(count as i32) }
        }
        child => {
            let mut status = 0;
            // SAFETY: takes the end of our own child.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            libc::WEXITSTATUS(status)
        }
    }
}

pub fn calls_of_a_foreign_thread_or_process_are_refused(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.send(b"call")?;
    assert_eq!(client.receive(4)?, b"done");
    let unrelated = SW_ERROR_SERVER_UNRELATED_THREAD;
    let answers = [unrelated, unrelated, unrelated, unrelated, PHASE, PHASE, PHASE];
    server.wait_line(|line| line == format!("thread {answers:?}"), STEP)?;
    server.wait_line(|line| line == "process 7", STEP)?;
    Ok(())
}

/// The last close callback of a worker that ends, which has a deadline of its own by then.
pub fn set_a_timer_at_the_end(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("receive", |server, event| {
        server.send(event.fd(), event.data()).expect("an echo");
    })?;
    server.on("close", |server, _| {
        let id = after(server, HOUR_MS, |_| {}).expect("a timer");
        let others = (-10..10).filter(|other| clear_timer(server, *other).is_ok());
        report!("{id} of {:?}", others.collect::<Vec<_>>());
    })?;
    server.start()?;
    Ok(())
}

pub fn the_timers_of_the_server_are_not_seen(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    server.wait_line(|line| line == "1 of [1]", STEP)?;
    let mut client = server.connect()?;
    client.echo(b"hello")?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    let ids = server.wait_lines(2, |line| line.contains(" of "), STEP)?;
    assert!(ids.iter().all(|line| line == "1 of [1]" || line == "2 of [2]"), "{ids:?}");
    Ok(())
}
