//! The puppet with four workers and orders about dispatching, and a function that chooses workers.
//!
//! ```text
//! !bind UID        binds this connection
//! !bind UID FD     binds another one
//! !info            worker id, whether there is a uid, and which, as the client info has them
//! !begin           begins a request; answers with the worker
//! !end             ends one
//! !until PORT      begins a request that ends when the gate opens
//! !count           requests in progress in the server and in this worker
//! !big LENGTH      sends so many bytes; no other answer
//! ```
//!
//! The function reads its answer at the front of a message: `=1 ` sends it to worker 1, `=-1 `
//! discards it. What stands behind is the message.

use crate::common::api::{last_error, Handle};
use crate::common::prelude::*;
use crate::datagrams;
use crate::puppet::{self, answer, number, timers};
use crate::report;
use std::ffi::{c_int, c_void};
use std::net::TcpStream;
use std::os::fd::IntoRawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI64, Ordering};
use swoole::ffi::control::sw_server_bind;
use swoole::ffi::dispatching::*;

pub const WORKERS: i64 = 4;
/// What connect, close and buffer events are answered with by the function: this worker has them.
pub const EVENTS_AT: c_int = 3;

fn called(is_ok: bool) -> String {
    match is_ok {
        true => "ok".to_owned(),
        false => format!("error {}", last_error().code),
    }
}

/// Begins a request and ends it when the gate opens.
fn begin_until(server: Handle, port: u16) {
    assert!(sw_server_begin_request(server.raw), "{}", last_error());
    let gate = TcpStream::connect(("127.0.0.1", port)).expect("a gate").into_raw_fd();
    let end = move |fd, _| {
        timers::del(fd).expect("it is watched");
        // SAFETY: it was opened for this alone.
        unsafe { libc::close(fd) };
        assert!(sw_server_end_request(server.raw), "{}", last_error());
    };
    timers::add(gate, SW_IO_READ, end).expect("it can be watched");
}

fn answer_of(server: Handle, fd: i64, words: &[&str]) -> Option<String> {
    Some(match words {
        ["bind", uid, other] => called(sw_server_bind(server.raw, number(other), number(uid))),
        ["bind", uid] => called(sw_server_bind(server.raw, fd, number(uid))),
        ["info"] => {
            let info = server.client_info(fd, false).expect("its own");
            format!("{} {} {}", info.worker_id, info.has_uid, info.uid)
        }
        ["begin"] => {
            assert!(sw_server_begin_request(server.raw), "{}", last_error());
            server.worker_id().to_string()
        }
        ["end"] => called(sw_server_end_request(server.raw)),
        ["until", port] => {
            begin_until(server, number(port));
            "begun".to_owned()
        }
        ["count"] => {
            let stats = server.stats().expect("it runs");
            format!("{} {}", stats.concurrency, stats.worker_concurrency)
        }
        _ => return puppet::answer_of(server, fd, words),
    })
}

pub fn obey(server: Handle, event: &Event) {
    let text = String::from_utf8_lossy(event.data());
    // What the function that chooses has read.
    let text = match text.split_once(' ') {
        Some((head, rest)) if head.starts_with('=') => rest,
        Some(_) | None => &text,
    };
    if text.starts_with("late") {
        report!("late data of {} at {}", event.fd(), event.connection().reactor_id);
    }
    let Some(order) = text.strip_prefix('!') else {
        return answer(server, event.fd(), text.as_bytes());
    };
    let words: Vec<&str> = order.trim_end().split(' ').collect();
    if let ["big", length] = words[..] {
        return answer(server, event.fd(), &vec![b'b'; number(length)]);
    }
    if let Some(line) = answer_of(server, event.fd(), &words) {
        answer(server, event.fd(), format!("{line}\n").as_bytes());
    }
}

static TICK: AtomicI64 = AtomicI64::new(0);

/// Reports how many workers are idle, from outside of the workers.
fn watch_idle(server: Handle) {
    let look = move |_| report!("idle {}", server.stats().expect("it runs").idle_worker_num);
    TICK.store(timers::tick(server, 5, look).expect("a timer"), Ordering::Relaxed);
}

/// A server with four workers and these settings, and a port for datagrams at its number.
pub fn prepare(
    setup: &Setup,
    settings: &[(&str, &str)],
) -> Result<crate::common::Server, crate::common::api::Error> {
    let server = puppet::prepare(setup, &[("worker_num", "4")], obey)?;
    for (name, value) in settings {
        server.set(name, value)?;
    }
    server.on("connect", |server, event| {
        report!("connect {} in {}", event.fd(), server.worker_id());
    })?;
    server.on("close", |server, event| {
        report!("close {} in {}", event.fd(), server.worker_id());
    })?;
    if setup.mode == Mode::Process {
        server.on("start", |server, _| watch_idle(server))?;
        server.on("beforeShutdown", |server, _| {
            timers::clear_timer(server, TICK.load(Ordering::Relaxed)).expect("it runs");
        })?;
    }
    server.on("packet", datagrams::on_packet)?;
    datagrams::Port::add(*server, "127.0.0.1", setup.port, SW_SOCK_UDP)?;
    Ok(server)
}

pub fn serve(setup: &Setup, settings: &[(&str, &str)]) -> Outcome {
    puppet::run(&prepare(setup, settings)?)
}

extern "C-unwind" fn choose(
    _: *mut sw_server_t,
    fd: i64,
    event_type: c_int,
    data: *const u8,
    len: usize,
    user_data: *mut c_void,
) -> c_int {
    assert!(user_data.is_null());
    assert_eq!(data.is_null(), len == 0);
    report!("asked {fd} {event_type} {len}");
    if event_type > 1 {
        return EVENTS_AT;
    }
    // SAFETY: the library lends `len` bytes until this returns.
    let data = unsafe { std::slice::from_raw_parts(data, len) };
    let text = String::from_utf8_lossy(data);
    let head = text.split(' ').next().and_then(|head| head.strip_prefix('='));
    head.map_or(SW_DISPATCH_DEFAULT, |number| number.parse().expect("a number"))
}

/// Refuses every other connection.
extern "C-unwind" fn choose_every_other(
    _: *mut sw_server_t,
    fd: i64,
    event_type: c_int,
    _: *const u8,
    _: usize,
    _: *mut c_void,
) -> c_int {
    match event_type {
        5 if fd % 2 == 0 => -2,
        _ => EVENTS_AT,
    }
}

/// A server that takes every other connection.
pub fn serve_every_other(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[])?;
    assert!(sw_server_set_dispatch_func(server.raw, Some(choose_every_other), null_mut()));
    puppet::run(&server)
}

/// The same with a function that chooses.
pub fn serve_chosen(setup: &Setup, settings: &[(&str, &str)]) -> Outcome {
    let server = prepare(setup, settings)?;
    for event in ["bufferFull", "bufferEmpty"] {
        server.on(event, |server, event| {
            report!("{:?} of {} in {}", event.kind(), event.fd(), server.worker_id());
        })?;
    }
    assert!(sw_server_set_dispatch_func(server.raw, Some(choose), null_mut()));
    puppet::run(&server)
}
