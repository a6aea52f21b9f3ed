//! The lives of workers: orders about their ends, and a server that reports each step.
//!
//! ```text
//! !reload [tasks]             asks for a reload
//! !stop WORKER WAIT           asks a worker to end; -1 is the one that is asked
//! !leave WAIT LENGTH          ends this worker, then sends a text of so many bytes
//! !status WORKER              1 busy, 2 idle, 3 exiting
//! !manager                    the pid of the manager
//! !counts                     connections, requests, responses
//! !tasks                      task workers, idle ones, tasks not begun, tasks in all
//! !after MS ORDER             gives itself an order that much later
//! !await PORT ORDER           gives itself an order when the gate opens; its loop waits for that
//! !tick MS                    does nothing, again and again
//! !clear                      ends that, in the next `workerExit` callback of this worker
//! !still PORT                 is stuck in the `workerStop` callback of this worker
//! !crash                      dies of SIGSEGV
//! ```
//!
//! Calls that may fail are answered with `true` or the number of the error. What a worker did with
//! an order that it gave itself is reported: `did PID ORDER: ANSWER`.

use super::{answer, answer_of, hold, hold_if_armed, number, obey, serve_with, timers, Result};
use crate::common::api::{self, Handle};
use crate::common::{process, Event, Mode, Outcome, Running, Setup, STEP};
use crate::report;
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use swoole::ffi::types::SW_IO_READ;

/// How long to wait before looking again at what nobody tells of.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

thread_local! {
    static TICK: Cell<Option<i64>> = const { Cell::new(None) };
    static IS_CLEARING: Cell<bool> = const { Cell::new(false) };
    static IN_STOP: Cell<Option<u16>> = const { Cell::new(None) };
}

/// A puppet that reports the steps of its life, and the own id of whoever reports.
pub fn live(setup: &Setup, settings: &[(&str, &str)]) -> Outcome {
    live_with(setup, settings, |_| Ok(()))
}

/// As [`live`], with more callbacks.
pub fn live_with(
    setup: &Setup,
    settings: &[(&str, &str)],
    register: impl FnOnce(Handle) -> api::Result<()>,
) -> Outcome {
    serve_with(setup, settings, obey, |server| {
        server.on("beforeReload", |_, _| report!("before {}", std::process::id()))?;
        server.on("afterReload", |_, _| report!("after {}", std::process::id()))?;
        server.on("beforeShutdown", |_, _| report!("ending"))?;
        server.on("workerExit", report_exit)?;
        server.on("workerStop", report_stop)?;
        server.on("close", |server, event| {
            report!("close {} by {}", event.fd(), server.worker_pid(-1));
            hold_if_armed(&super::IN_CLOSE);
        })?;
        // The last callback of a kind counts: the test may put its own in the place of these.
        register(server)
    })
}

pub fn report_exit(server: Handle, event: &Event) {
    let (worker, pid) = (event.worker().worker_id, event.worker().worker_pid);
    report!("exit {worker} {pid} status {}", answer_to(server.worker_status(-1)));
    if IS_CLEARING.with(Cell::get) {
        let tick = TICK.with(Cell::take).expect("a tick to clear");
        timers::clear_timer(server, tick).expect("the timer runs");
    }
}

pub fn report_stop(_: Handle, event: &Event) {
    report!("stop {} {}", event.worker().worker_id, event.worker().worker_pid);
    hold_if_armed(&IN_STOP);
}

/// Lives that something happens in, counted over all processes.
static LIVES: OnceLock<(UnixStream, UnixStream)> = OnceLock::new();

/// Before start: the next `count` lives that ask are special.
pub fn set_special_lives(count: usize) {
    let (mut giver, taker) = UnixStream::pair().expect("a pair of sockets");
    giver.write_all(&vec![0; count]).expect("room for a few bytes");
    taker.set_nonblocking(true).expect("a socket that does not block");
    LIVES.set((giver, taker)).expect("once");
}

/// Whether this life is a special one.
pub fn is_special_life() -> bool {
    let mut taker = &LIVES.get().expect("set before start").1;
    matches!(taker.read(&mut [0]), Ok(1))
}

/// How the answer to a call reads that may fail.
pub fn told(result: api::Result<()>) -> String {
    result.map_or_else(|error| error.code.to_string(), |()| "true".to_owned())
}

fn answer_to(result: api::Result<i32>) -> i32 {
    result.unwrap_or_else(|error| error.code)
}

/// Does what an order says that is none of the plain puppet's.
pub fn answer_of_life(server: Handle, fd: i64, words: &[&str]) -> Option<String> {
    Some(match words {
        ["reload"] => told(server.reload(false)),
        ["reload", "tasks"] => told(server.reload(true)),
        ["stop", worker, wait] => told(server.stop(number(worker), *wait == "true")),
        ["leave", wait, length] => {
            report!("left: {}", told(server.stop(-1, *wait == "true")));
            answer(server, fd, &vec![b'l'; number(length)]);
            return None;
        }
        ["quit"] => {
            timers::defer(server, || report!("did what was deferred")).expect("a call");
            told(server.stop(-1, false))
        }
        ["status", worker] => answer_to(server.worker_status(number(worker))).to_string(),
        ["manager"] => server.manager_pid().to_string(),
        ["counts"] => match server.stats() {
            Ok(s) => format!("{} {} {}", s.connection_num, s.request_count, s.response_count),
            Err(error) => error.to_string(),
        },
        ["after", ms, order @ ..] => {
            let order = order.join(" ");
            let timer = timers::after(server, number(ms), move |_| act(server, fd, &order));
            told(timer.map(drop))
        }
        ["await", port, order @ ..] => told(wait_for(server, fd, number(port), order.join(" "))),
        ["tasks"] => match server.stats() {
            Ok(s) => format!(
                "{} {} {} {}",
                s.task_worker_num, s.task_idle_worker_num, s.tasking_num, s.task_count
            ),
            Err(error) => error.to_string(),
        },
        ["tick", ms] => {
            let timer = timers::tick(server, number(ms), |_| {});
            told(timer.map(|id| TICK.with(|tick| tick.set(Some(id)))))
        }
        ["clear"] => {
            IS_CLEARING.with(|is_clearing| is_clearing.set(true));
            "true".to_owned()
        }
        ["still", port] => {
            IN_STOP.with(|gate| gate.set(Some(number(port))));
            "true".to_owned()
        }
        ["crash"] => crash(),
        unknown => format!("unknown order {unknown:?}"),
    })
}

/// As a process dies that touches memory it has not. The handler of Rust must be out of the way: it
/// looks for the end of the stack first.
fn crash() -> ! {
    // SAFETY: the default action ends the process.
    unsafe {
        libc::signal(libc::SIGSEGV, libc::SIG_DFL);
        libc::raise(libc::SIGSEGV);
    }
    unreachable!("the signal ends the process");
}

/// Follows an order that the worker has given itself.
fn act(server: Handle, fd: i64, order: &str) {
    let words: Vec<&str> = order.split(' ').collect();
    let done = answer_of(server, fd, &words).unwrap_or_default();
    report!("did {} {order}: {done}", server.worker_pid(-1));
}

/// Follows an order when the gate opens. Until then the loop has a descriptor.
fn wait_for(server: Handle, fd: i64, port: u16, order: String) -> api::Result<()> {
    let gate = TcpStream::connect(("127.0.0.1", port)).expect("a gate");
    let descriptor = gate.as_raw_fd();
    let mut gate = Some(gate);
    timers::add(descriptor, SW_IO_READ, move |descriptor, _| {
        timers::del(descriptor).expect("it was added");
        drop(gate.take());
        act(server, fd, &order);
    })
}

/// Is stuck at a gate, if there is a port.
pub fn hold_at(port: Option<u16>) {
    port.into_iter().for_each(hold);
}

/// The first lines that begin so.
pub fn wait_for_lines(server: &Running, count: usize, beginning: &str) -> Result<Vec<String>> {
    Ok(server.wait_lines(count, |line| line.starts_with(beginning), STEP)?)
}

/// How many lines begin so by now.
pub fn count_of(server: &Running, beginning: &str) -> usize {
    server.lines_so_far().iter().filter(|line| line.starts_with(beginning)).count()
}

/// Where the first line stands that begins so.
pub fn place_of(lines: &[String], beginning: &str) -> Result<usize> {
    let place = lines.iter().position(|line| line.starts_with(beginning));
    Ok(place.ok_or_else(|| format!("no line begins with '{beginning}'"))?)
}

/// Waits until the log is as expected, and gives it.
pub fn wait_for_log(server: &Running, is_it: impl Fn(&str) -> bool) -> Result<String> {
    let end = Instant::now() + STEP;
    loop {
        let log = server.log();
        if is_it(&log) {
            return Ok(log);
        }
        if Instant::now() > end {
            return Err("the log does not become what it should".into());
        }
        process::wait_gone(server.pid(), LOOK_AGAIN)?;
    }
}

/// Waits until the server has ended in order and everything that it reported is here.
pub fn wait_for_end(server: &Running) -> Outcome {
    assert!(server.wait_exit(STEP)?.success());
    Ok(server.assert_nothing_left()?)
}

/// Ends the server, and waits as [`wait_for_end`].
pub fn end(server: &Running) -> Outcome {
    server.signal(libc::SIGTERM)?;
    wait_for_end(server)
}

/// The process of the manager, or the one that it is a thread of.
pub fn manager_pid(server: &Running) -> Result<i32> {
    let line = server.wait_line(|line| line.starts_with("manager "), STEP)?;
    Ok(number(line.trim_start_matches("manager ")))
}

/// Whether a connection outlives its worker.
pub fn connections_outlive(server: &Running) -> bool {
    server.mode() == Mode::Process
}
