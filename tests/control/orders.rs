//! A server that also takes orders about the control of connections, in each of its processes.
//!
//! ```text
//! pause FD, resume FD, confirm FD     as the functions
//! protect FD 0|1, bind FD UID         as the functions
//! heartbeat 0|1 CAPACITY              the ids that are found
//! close_all FD...                     how many of these were closed
//! at PLACE ORDER                      has that process do it: master, manager, user
//! ```
//!
//! What a process did is reported: `PLACE did ORDER: ANSWER`.
#![allow(dead_code, unused_imports)]

#[path = "../echo/commands.rs"]
pub mod commands;
#[path = "../timers/api.rs"]
pub mod timers;
#[path = "../users/api.rs"]
pub mod users;

use crate::common::api::{last_error, Handle, Result as Called};
use crate::common::prelude::*;
use crate::report;
pub use commands::{field, Commander};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};
use swoole::ffi::control::*;

/// How often a process looks for its orders.
const LOOK_MS: i64 = 5;
/// Rounds through the server after which it has seen whatever came before them.
pub const ROUNDS: usize = 50;

pub type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A pipe of orders for each place: its two ends.
static PIPES: [[AtomicI32; 2]; 3] = [
    [AtomicI32::new(-1), AtomicI32::new(-1)],
    [AtomicI32::new(-1), AtomicI32::new(-1)],
    [AtomicI32::new(-1), AtomicI32::new(-1)],
];
static MASTER_TICK: AtomicI64 = AtomicI64::new(0);
const PLACES: [&str; 3] = ["master", "manager", "user"];

fn called(is_ok: bool) -> String {
    outcome(if is_ok { Ok(()) } else { Err(last_error()) })
}

fn outcome(result: Called<()>) -> String {
    result.map_or_else(|error| format!("error {}", error.code), |()| "ok".to_owned())
}

pub fn heartbeat(server: Handle, closes_them: bool, capacity: i32) -> Called<Vec<i64>> {
    let mut ids = vec![0; usize::try_from(capacity).unwrap_or(0).max(1)];
    let count = sw_server_heartbeat(server.raw, closes_them, ids.as_mut_ptr(), capacity);
    ids.truncate(usize::try_from(count).map_err(|_| last_error())?);
    Ok(ids)
}

/// Does what an order says; what is answered.
pub fn obey(server: Handle, own: i64, text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let number = |index: usize| -> i64 { words[index].parse().expect("a number") };
    match words[0] {
        "pause" => called(sw_server_pause(server.raw, number(1))),
        "resume" => called(sw_server_resume(server.raw, number(1))),
        "confirm" => called(sw_server_confirm(server.raw, number(1))),
        "protect" => called(sw_server_protect(server.raw, number(1), number(2) != 0)),
        "bind" => called(sw_server_bind(server.raw, number(1), number(2))),
        "heartbeat" => match heartbeat(server, number(1) != 0, number(2) as i32) {
            Ok(ids) => format!("ids {ids:?}"),
            Err(error) => format!("error {}", error.code),
        },
        "close_all" => {
            let closed = words[1..].iter().filter(|word| {
                let fd = word.parse().expect("a number");
                server.close(fd, false).is_ok()
            });
            closed.count().to_string()
        }
        "at" => {
            let index = PLACES.iter().position(|place| *place == words[1]).expect("a place");
            write_line(PIPES[index][1].load(Ordering::Relaxed), &words[2..].join(" "));
            "told".to_owned()
        }
        _ => commands::obey(server, own, text),
    }
}

fn write_line(pipe: RawFd, text: &str) {
    let line = format!("{text}\n");
    // SAFETY: the bytes live through the call.
    let count = unsafe { libc::write(pipe, line.as_ptr().cast(), line.len()) };
    assert_eq!(count, line.len() as isize, "an order was not written");
}

/// The next order in a pipe; nothing if that is empty.
fn read_pipe(pipe: RawFd) -> String {
    let mut bytes = [0_u8; 4096];
    // SAFETY: the array has room for what is read.
    let count = unsafe { libc::read(pipe, bytes.as_mut_ptr().cast(), bytes.len()) };
    String::from_utf8_lossy(&bytes[..usize::try_from(count).unwrap_or(0)]).into_owned()
}

/// Does what it is told, again and again.
fn listen(server: Handle, index: usize) -> i64 {
    let pipe = PIPES[index][0].load(Ordering::Relaxed);
    let look = move |_| {
        loop {
            let order = read_pipe(pipe);
            let Some(order) = order.strip_suffix('\n') else { return };
            let answer = obey(server, 0, order);
            // So many ids would be too long for a report.
            if !order.starts_with("close_all") {
                report!("{} did {order}: {answer}", PLACES[index]);
            }
        }
    };
    timers::tick(server, LOOK_MS, look).expect("a timer")
}

/// The server, still to be started, with one reactor: what it has answered to one connection comes
/// after what it has done for another one before.
pub fn prepare(setup: &Setup, settings: &[(&str, &str)]) -> Fallible<Server> {
    let server = commands::command_server(setup)?;
    server.set("reactor_num", "1")?;
    server.set("max_wait_time", "1")?;
    for (name, value) in settings {
        server.set(name, value)?;
    }
    server.on("receive", |server, event| {
        let (fd, text) = (event.fd(), String::from_utf8_lossy(event.data()).into_owned());
        report!("got {fd} {} bytes", text.len());
        let answer = obey(server, fd, text.trim_end());
        if let Err(error) = server.send(fd, format!("{answer}\n").as_bytes()) {
            report!("no answer to {fd}: {}", error.code);
        }
    })?;
    Ok(server)
}

pub fn serve(setup: &Setup, settings: &[(&str, &str)]) -> Outcome {
    prepare(setup, settings)?.start()?;
    Ok(())
}

/// A server that takes orders in every process.
pub fn serve_everywhere(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[])?;
    listen_everywhere(*server)?;
    server.start()?;
    Ok(())
}

/// Has each process take orders.
pub fn listen_everywhere(server: Handle) -> Outcome {
    for pipe in &PIPES {
        let mut ends = [0; 2];
        // SAFETY: the array has room for the two descriptors.
        let made = unsafe {
            libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_DIRECT)
        };
        // Each order is a packet, so that none is read in parts.
        assert_eq!(made, 0, "no pipe");
        pipe[0].store(ends[0], Ordering::Relaxed);
        pipe[1].store(ends[1], Ordering::Relaxed);
    }
    server.on("start", |server, _| {
        MASTER_TICK.store(listen(server, 0), Ordering::Relaxed);
    })?;
    server.on("beforeShutdown", |server, _| {
        let cleared = timers::clear_timer(server, MASTER_TICK.load(Ordering::Relaxed));
        report!("cleared: {}", cleared.is_ok());
    })?;
    server.on("managerStart", |server, _| {
        listen(server, 1);
    })?;
    users::Process::start_with(server, |server, _| {
        listen(server, 2);
    })?;
    Ok(())
}

/// Waits for what a process did with an order.
pub fn deed(server: &Running, place: &str, order: &str) -> Fallible<String> {
    let beginning = format!("{place} did {order}: ");
    let line = server.wait_line(|line| line.starts_with(&beginning), STEP)?;
    Ok(line[beginning.len()..].to_owned())
}

/// Whatever the server was sent before is behind it after this.
pub fn pass_time(client: &mut Commander) -> Outcome {
    for _ in 0..ROUNDS {
        client.ask("who")?;
    }
    Ok(())
}

/// How many reported lines begin like this.
pub fn count(server: &Running, beginning: &str) -> usize {
    server.lines_so_far().iter().filter(|line| line.starts_with(beginning)).count()
}

/// Waits for the close of a connection: by which reactor.
pub fn closed_by(server: &Running, fd: i64) -> Fallible<i32> {
    let beginning = format!("close {fd} in worker ");
    let line = server.wait_line(|line| line.starts_with(&beginning), STEP)?;
    Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
}
