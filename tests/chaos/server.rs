//! The server that is troubled: each request is written into the journal, worked on for a moment,
//! and answered in the way that it asks for.

use crate::api::{data_of, finish, finished, result_of, task_for};
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::frame::{self, Stamp, Verdict, Way};
use crate::journal::Journal;
use crate::users::Process;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::io::{Read, Write};
use std::os::fd::IntoRawFd;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub const WORKERS: i32 = 2;
pub const TASK_WORKERS: i32 = 2;
/// A moment of work, so that trouble finds somebody at it.
const LABOUR: Duration = Duration::from_micros(100);
const FD: usize = 8;

static JOURNAL: OnceLock<Journal> = OnceLock::new();

/// The plain one.
pub fn troubled(setup: &Setup) -> Outcome {
    run(setup, &[])
}

/// Everything that the server wants to write to a disk finds it full.
pub fn on_a_full_disk(setup: &Setup) -> Outcome {
    let folder = std::env::temp_dir();
    let (log, pid) = (folder.join("log"), folder.join("pid"));
    for file in [&log, &pid] {
        std::os::unix::fs::symlink("/dev/full", file)?;
    }
    run(setup, &[("log_file", &log.to_string_lossy()), ("pid_file", &pid.to_string_lossy())])?;
    assert!(!pid.is_symlink(), "the pid file is left");
    Ok(std::fs::remove_file(&log)?)
}

/// It does wrong, a little: of each client it does not answer one request, answers one twice, and
/// one after the next.
pub fn deceitful(setup: &Setup) -> Outcome {
    assert!(DECEIT.set(()).is_ok());
    run(setup, &[])
}

static DECEIT: OnceLock<()> = OnceLock::new();
pub const FORGOTTEN: u64 = 20;
const DOUBLED: u64 = 25;
const LATE: u64 = 30;

thread_local! {
    /// What is answered late, of each connection.
    static HELD_BACK: RefCell<HashMap<i64, Vec<u8>>> = RefCell::default();
}

/// The frames that are sent in the place of one.
fn deceive(fd: i64, number: u64, frame: Vec<u8>) -> Vec<Vec<u8>> {
    match number {
        _ if DECEIT.get().is_none() => vec![frame],
        FORGOTTEN => Vec::new(),
        DOUBLED => vec![frame.clone(), frame],
        LATE => {
            HELD_BACK.with(|held| held.borrow_mut().insert(fd, frame));
            Vec::new()
        }
        _ => {
            let held = HELD_BACK.with(|held| held.borrow_mut().remove(&fd));
            [frame].into_iter().chain(held).collect()
        }
    }
}

/// There are few descriptors.
pub fn with_few_descriptors(setup: &Setup) -> Outcome {
    crate::crowd::limit_descriptors(Some(crate::crowd::FEW))?;
    run(setup, &[])
}

/// There are as many as can be.
pub fn with_many_descriptors(setup: &Setup) -> Outcome {
    crate::crowd::limit_descriptors(None)?;
    run(setup, &[])
}

pub fn run(setup: &Setup, more: &[(&str, &str)]) -> Outcome {
    let server = setup.server()?;
    let (workers, task_workers) = (WORKERS.to_string(), TASK_WORKERS.to_string());
    let settings = [
        ("worker_num", workers.as_str()),
        ("task_worker_num", &task_workers),
        ("max_wait_time", "1"),
        ("open_length_check", "true"),
        ("package_length_type", "N"),
        ("package_body_offset", "4"),
        ("package_max_length", "1000000"),
    ];
    for (name, value) in settings.iter().chain(more) {
        server.set(name, value)?;
    }
    server.on("receive", serve)?;
    server.on("task", perform)?;
    server.on("finish", |server, event| {
        // The result of a task that a worker before this one has handed in.
        let told = finished(event);
        pass_on(server, told.task_id, result_of(event));
    })?;
    server.on("workerStart", |_, event| {
        report!("worker {} {}", event.worker().worker_id, event.worker().worker_pid);
    })?;
    server.on("workerError", |_, event| report!("error {}", event.error().worker_id))?;
    server.on("managerStart", |server, _| report!("manager {}", server.manager_pid()))?;
    server.on("afterReload", |_, _| report!("reloaded"))?;
    Process::start_with(*server, attend)?;
    let (journal, fd) = Journal::create()?;
    assert!(JOURNAL.set(journal).is_ok(), "one server in a process");
    report!("journal {}", fd.into_raw_fd());
    server.start()?;
    Ok(())
}

fn begin(frame: &[u8]) -> Stamp {
    let (client, number) = frame::name_of(frame).expect("a frame");
    JOURNAL.get().expect("made before start").begin(client, number);
    let stamp = frame::open(frame).expect("a whole frame");
    let end = Instant::now() + LABOUR;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
    stamp
}

/// Sends a frame back with what has come of it. Its client may have gone.
fn answer(server: Handle, fd: i64, stamp: Stamp, request: &[u8], verdict: Verdict) {
    let mut frame = request.to_vec();
    frame::judge(&mut frame, verdict);
    let frames = deceive(fd, stamp.number, frame);
    if frames.iter().all(|frame| server.send(fd, frame).is_ok()) {
        JOURNAL.get().expect("made before start").answer(stamp.client, stamp.number);
    }
}

fn serve(server: Handle, event: &Event) {
    let (fd, data) = (event.fd(), event.data());
    // Guests that send anything else but requests are here, too.
    let Some(stamp) = frame::open(data) else { return };
    match stamp.way {
        Way::Worker => answer(server, fd, begin(data), data, Verdict::Answered),
        Way::Task => hand_in(server, fd, stamp, data),
        Way::User => {
            let mut message = fd.to_be_bytes().to_vec();
            message.extend(data);
            pipe_in(&message);
        }
        Way::Ask => {
            let text = server.stats().map_or_else(
                |error| error.to_string(),
                |stats| {
                    let sw_stats_t { connection_num, accept_count, close_count, .. } = stats;
                    let sw_stats_t { request_count, tasking_num, .. } = stats;
                    let counts =
                        [connection_num, accept_count, close_count, request_count, tasking_num];
                    counts.map(|count| count.to_string()).join(" ")
                },
            );
            let told = Stamp { verdict: Verdict::Answered, ..stamp };
            if let Err(error) = server.send(fd, &frame::sealed(told, text.as_bytes())) {
                report!("the asking client is not answered: {error}");
            }
        }
    }
}

/// The pipe takes a message as a whole. What the system refuses once it does not refuse again.
fn pipe_in(message: &[u8]) {
    loop {
        match crate::users::the().stream().write(message) {
            Ok(count) => return assert_eq!(count, message.len(), "half a message"),
            Err(error) if matches!(error.kind(), Interrupted | WouldBlock) => {}
            Err(error) => panic!("the pipe is broken: {error}"),
        }
    }
}

/// The tasks of a client go to one task worker, which keeps their order.
fn hand_in(server: Handle, fd: i64, stamp: Stamp, data: &[u8]) {
    let mut task = fd.to_be_bytes().to_vec();
    task.extend(data);
    let request = data.to_vec();
    let to = i32::from(stamp.client) % TASK_WORKERS;
    let hook =
        Box::new(move |server: Handle, id: i64, _: i32, result: Option<&[u8]>| match result {
            Some(result) => pass_on(server, id, result),
            None => answer(server, fd, stamp, &request, Verdict::Failed),
        });
    if let Err(error) = task_for(server, &task, to, hook) {
        report!("a task is refused: {error}");
        answer(server, fd, stamp, data, Verdict::Failed);
    }
}

fn perform(server: Handle, event: &Event) {
    let data = data_of(event);
    begin(&data[FD..]);
    if let Err(error) = finish(server, data) {
        report!("a result is refused: {error}");
    }
}

fn pass_on(server: Handle, id: i64, result: &[u8]) {
    let (fd, frame) = result.split_at(FD);
    let (client, number) = frame::name_of(frame).expect("a frame");
    JOURNAL.get().expect("made before start").pass(client, number);
    let Some(stamp) = frame::open(frame) else {
        report!("task {id} has another result");
        return;
    };
    let fd = i64::from_be_bytes(fd.try_into().expect("8 bytes"));
    answer(server, fd, stamp, frame, Verdict::Answered);
}

/// The user process. What it reads at once is one message, whoever died before.
fn attend(server: Handle, process: Process) {
    report!("user {}", std::process::id());
    let mut message = [0; FD + frame::SMALL];
    loop {
        match process.stream().read(&mut message) {
            Ok(0) => return,
            Ok(count) => assert_eq!(count, message.len(), "half a message"),
            Err(error) if matches!(error.kind(), Interrupted | WouldBlock) => continue,
            Err(error) => panic!("the pipe is broken: {error}"),
        }
        let (fd, frame) = message.split_at(FD);
        let fd = i64::from_be_bytes(fd.try_into().expect("8 bytes"));
        let stamp = begin(frame);
        answer(server, fd, stamp, frame, Verdict::Answered);
    }
}
