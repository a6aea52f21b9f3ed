//! What a server meets at its start and what its callbacks may count on: starts that fail half-way,
//! hooks that panic, limits of each process, stack and signals of a callback, and who is known.

#[allow(dead_code)]
#[path = "echo/commands.rs"]
mod commands;
mod common;

use commands::{command_server, Commander};
use common::hidden::hidden;
use common::prelude::*;
use common::process;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::Arc;
use std::time::Instant;
use swoole::model::hooks;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// After so many successes the next fork fails; below 0: none does.
static FORKS: AtomicI32 = AtomicI32::new(-1);
/// The same for threads.
static THREADS: AtomicI32 = AtomicI32::new(-1);

/// Counts down, and says whether it is this one that fails.
fn is_failing(countdown: &AtomicI32) -> bool {
    countdown.load(Ordering::Relaxed) >= 0 && countdown.fetch_sub(1, Ordering::Relaxed) == 0
}

/// What the library calls to make a process.
#[export_name = "fork"]
extern "C" fn make_process() -> libc::pid_t {
    type Fork = extern "C" fn() -> libc::pid_t;
    if is_failing(&FORKS) {
        // SAFETY: the place of this thread's errno is always valid.
        unsafe { *libc::__errno_location() = libc::EAGAIN };
        return -1;
    }
    // SAFETY: the C library's function has this type.
    let hidden: Fork = unsafe { std::mem::transmute(hidden(b"fork\0")) };
    hidden()
}

type Body = extern "C" fn(*mut libc::c_void) -> *mut libc::c_void;

/// What the library calls to make a thread.
#[export_name = "pthread_create"]
extern "C" fn make_thread(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    body: Body,
    argument: *mut libc::c_void,
) -> libc::c_int {
    type Create = extern "C" fn(
        *mut libc::pthread_t,
        *const libc::pthread_attr_t,
        Body,
        *mut libc::c_void,
    ) -> libc::c_int;
    if is_failing(&THREADS) {
        return libc::EAGAIN;
    }
    // SAFETY: the C library's function has this type.
    let hidden: Create = unsafe { std::mem::transmute(hidden(b"pthread_create\0")) };
    hidden(thread, attributes, body, argument)
}

fn echoing(setup: &Setup) -> Fallible<Server> {
    let server = setup.server()?;
    server.on("receive", |server, event| {
        if let Err(error) = server.send(event.fd(), event.data()) {
            report!("send failed: {error}");
        }
    })?;
    Ok(server)
}

/// Descriptors, live processes of the group, whether children are left, threads, shared mappings.
fn belongings() -> Fallible<String> {
    let mut descriptors = process::open_descriptors()?;
    descriptors.sort_unstable();
    // SAFETY: getpgrp takes nothing.
    let members = process::group_members(unsafe { libc::getpgrp() })?;
    // SAFETY: nobody asks for the status.
    let child = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let shared = maps.lines().filter(|line| line.contains("memfd:")).count();
    let count = members.len();
    Ok(format!("{descriptors:?} {count} processes, child {child}, {threads} threads, {shared}"))
}

/// Which fork or thread fails: each that a server with two workers and two reactors makes.
fn failures(mode: Mode) -> Vec<(&'static AtomicI32, i32)> {
    let (forks, threads) = match mode {
        Mode::Process => (3, 2),
        Mode::Base => (2, 0),
        Mode::Thread => (0, 2),
    };
    let forks = (0..forks).map(|count| (&FORKS, count));
    forks.chain((0..threads).map(|count| (&THREADS, count))).collect()
}

fn start_in_vain(setup: &Setup) -> Outcome {
    let before = belongings()?;
    for (countdown, count) in failures(setup.mode) {
        let what = if std::ptr::eq(countdown, &FORKS) { "fork" } else { "thread" };
        let server = setup.bare_server("127.0.0.1", SW_SOCK_TCP)?;
        server.set("worker_num", "2")?;
        server.set("reactor_num", "2")?;
        server.on("receive", |_, _| {})?;
        countdown.store(count, Ordering::Relaxed);
        let code = server.start().map_or_else(|error| error.code, |()| 0);
        countdown.store(-1, Ordering::Relaxed);
        drop(server);
        let (after, is_same) = settle_to(&before)?;
        report!("{what} {count}: code {code}, clean {is_same}");
        if !is_same {
            report!("before {before}");
            report!("after {after}");
        }
    }
    echoing(setup)?.start()?;
    Ok(())
}

/// A thread that was joined may still be on its way out.
fn settle_to(before: &str) -> Fallible<(String, bool)> {
    let end = Instant::now() + std::time::Duration::from_secs(1);
    loop {
        let after = belongings()?;
        if after == before || Instant::now() > end {
            let is_same = after == before;
            return Ok((after, is_same));
        }
        std::thread::yield_now();
    }
}

fn a_start_that_fails_half_way_leaves_nothing(server: &Running) -> Outcome {
    server.connect()?.echo(b"the next one serves")?;
    let lines = server.lines_so_far();
    let told: Vec<&String> = lines.iter().filter(|line| line.contains(": code ")).collect();
    assert_eq!(told.len(), failures(server.mode()).len());
    let wanted = format!(": code {}, clean true", libc::EAGAIN);
    assert!(told.iter().all(|line| line.ends_with(&wanted)), "{lines:#?}");
    Ok(())
}

/// A server of the Rust face, whose hook panics where no C wrapper catches it.
fn panic_in_hook(setup: &Setup) -> Outcome {
    let (port, mode) = (i32::from(setup.port), setup.mode.number());
    let server = swoole::server::Server::new("127.0.0.1", port, mode, SW_SOCK_TCP)?;
    server.set("worker_num", "2")?;
    server.on("start", Arc::new(|_| report!("ready")))?;
    server.on("receive", Arc::new(|_| panic!("a hook of the test panics")))?;
    let on_error: hooks::Hook = Arc::new(|event| {
        if let hooks::Event::Error(error) = event {
            report!("error code {} signal {}", error.exit_code, error.signal);
        }
    });
    server.on("workerError", on_error)?;
    let result = server.start();
    report!("returned in {}: {}", std::process::id(), result.is_ok());
    Ok(())
}

fn a_hook_that_panics_ends_its_process_with_255(server: &Running) -> Outcome {
    for turn in 1..=2 {
        server.connect()?.send(b"panic")?;
        let errors = server.wait_lines(turn, |line| line.starts_with("error "), STEP)?;
        assert_eq!(errors[turn - 1], "error code 255 signal 0");
    }
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    server.assert_nothing_left()?;
    let lines = server.lines_so_far();
    let returned: Vec<&String> = lines.iter().filter(|l| l.starts_with("returned ")).collect();
    assert_eq!(returned, [&format!("returned in {}: true", server.pid())]);
    Ok(())
}

/// As many descriptors as this process may have.
fn raise_descriptor_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the place for the answer lives through the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the value lives through the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn serve_in_four(setup: &Setup) -> Outcome {
    raise_descriptor_limit()?;
    let server = echoing(setup)?;
    server.set("worker_num", "4")?;
    server.set("max_connection", "512")?;
    server.start()?;
    Ok(())
}

/// A connection that a process with room has taken; one without closes it at once.
fn find_room(server: &Running, end: Instant) -> Fallible<Client> {
    loop {
        let mut client = server.connect()?;
        match client.send(b"x").and_then(|()| client.receive(1)) {
            Ok(heard) => {
                assert_eq!(heard, b"x");
                return Ok(client);
            }
            Err(error) if Instant::now() > end => return Err(error.into()),
            Err(_) => {}
        }
    }
}

fn each_process_has_its_own_connection_limit(server: &Running) -> Outcome {
    raise_descriptor_limit()?;
    let end = Instant::now() + STEP;
    let clients: Result<Vec<Client>, _> = (0..1600).map(|_| find_room(server, end)).collect();
    // All of them, and at once.
    let mut clients = clients?;
    clients.iter_mut().try_for_each(|client| client.send(b"y"))?;
    for (number, client) in clients.iter_mut().enumerate() {
        let heard = client.receive(1).map_err(|error| format!("client {number}: {error}"))?;
        assert_eq!(heard, b"y", "client {number}");
    }
    Ok(())
}

fn get_signal_in_shutdown(setup: &Setup) -> Outcome {
    let server = echoing(setup)?;
    server.on("shutdown", |_, _| {
        let pid = i32::try_from(std::process::id()).expect("a pid");
        report!("signal {}", process::send_signal(pid, libc::SIGTERM).is_ok());
        report!("shutdown ends");
    })?;
    report!("returned {}", server.start().is_ok());
    Ok(())
}

fn a_signal_in_the_shutdown_callback_kills_nobody(server: &Running) -> Outcome {
    server.connect()?.echo(b"meanwhile")?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    server.assert_nothing_left()?;
    let lines = server.lines_so_far();
    assert_eq!(lines, ["ready", "signal true", "shutdown ends", "returned true"]);
    Ok(())
}

const ROUNDS: usize = 5;

fn tell_masters(setup: &Setup) -> Outcome {
    for _ in 0..ROUNDS {
        let server = echoing(setup)?;
        server.on("workerStart", |server, event| {
            let (id, pid) = (event.worker().worker_id, std::process::id());
            report!("worker {id} in {pid} knows {}", server.master_pid());
        })?;
        server.start()?;
    }
    Ok(())
}

fn the_master_is_known_when_a_worker_starts(server: &Running) -> Outcome {
    let is_start = |line: &str| line.starts_with("worker ");
    for round in 1..=ROUNDS {
        server.wait_lines(round, |line| line == "ready", STEP)?;
        let lines = server.wait_lines(2 * round, is_start, STEP)?;
        for line in &lines[2 * round - 2..] {
            let words: Vec<&str> = line.split(' ').collect();
            let master = server.pid().to_string();
            match server.mode() {
                // There worker 0 stands in for the master, and others may start before it.
                Mode::Base if words[1] == "0" => assert_eq!(words[5], words[3], "{line}"),
                Mode::Base => {}
                Mode::Process | Mode::Thread => assert_eq!(words[5], master, "{line}"),
            }
        }
        server.signal(libc::SIGTERM)?;
    }
    assert!(server.wait_exit(STEP)?.success());
    Ok(())
}

/// Writes to four mebibytes of the stack.
#[inline(never)]
fn go_deep() -> usize {
    let mut local = [0_u8; 4 << 20];
    std::hint::black_box(&mut local).iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    std::hint::black_box(&local).iter().filter(|byte| **byte == 1).count()
}

fn serve_deeply(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("receive", |server, event| {
        let is_sent = server.send(event.fd(), format!("{:5}", go_deep()).as_bytes());
        report!("sent {}", is_sent.is_ok());
    })?;
    server.start()?;
    Ok(())
}

fn a_callback_has_the_stack_that_the_program_has(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.send(b"go")?;
    assert_eq!(client.receive(5)?, b" 1024");
    Ok(())
}

fn tell_blocked_signals(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("receive", |server, event| {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("a status");
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        report!("blocked {}", mask.unwrap_or("nothing").trim());
        report!("sent {}", server.send(event.fd(), b"done").is_ok());
    })?;
    server.start()?;
    Ok(())
}

/// Signals that nobody can block, that a fault of the thread itself raises, or that the C library
/// keeps for itself.
const UNBLOCKED: [i32; 10] = [
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGSYS,
    32,
    33,
];

fn a_worker_thread_takes_no_signals(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.send(b"go")?;
    assert_eq!(client.receive(4)?, b"done");
    let line = server.wait_line(|line| line.starts_with("blocked "), STEP)?;
    let mask = u64::from_str_radix(line.trim_start_matches("blocked "), 16)?;
    let is_blocked = |signal: &i32| mask >> (signal - 1) & 1 == 1;
    let wanted = (1..=64).filter(|signal| !UNBLOCKED.contains(signal));
    let open: Vec<i32> = wanted.filter(|signal| !is_blocked(signal)).collect();
    assert!(open.is_empty(), "signals {open:?} can come: {line}");
    Ok(())
}

fn run_commands(setup: &Setup) -> Outcome {
    command_server(setup)?.start()?;
    Ok(())
}

/// The worker of the first connection is stuck in its close callback.
fn stick_in_close(setup: &Setup) -> Outcome {
    let server = command_server(setup)?;
    server.on("close", |_, event| {
        if event.fd() == 1 {
            report!("closing");
            commands::wait_for_release();
        }
    })?;
    server.start()?;
    Ok(())
}

fn ids_that_are_no_connection_do_not_exist(server: &Running) -> Outcome {
    let mut client = Commander::connect(server)?;
    for fd in ["0", "-1"] {
        assert_eq!(client.ask(&format!("exist {fd}"))?, "error 1005", "exist {fd}");
    }
    let gone = Commander::connect(server)?.fd;
    let list = format!("list {gone} 10");
    assert_eq!(client.ask_until(&list, |answer| answer != "ids []")?, "error 1005");
    assert_eq!(client.ask("list 0 10")?, format!("ids [{}]", client.fd));
    Ok(())
}

fn a_list_does_not_start_at_a_foreign_connection(server: &Running) -> Outcome {
    let mut first = Commander::connect(server)?;
    let mut second = first.connect_elsewhere(server)?;
    assert_eq!(first.ask(&format!("list {} 10", second.fd))?, "error 1005");
    assert_eq!(second.ask(&format!("list {} 10", first.fd))?, "error 1005");
    assert_eq!(second.ask(&format!("list {} 10", second.fd))?, "ids []");
    Ok(())
}

fn a_closing_connection_is_known_to_who_asks_for_closed_ones_only(server: &Running) -> Outcome {
    let mut first = Commander::connect(server)?;
    let mut second = first.connect_elsewhere(server)?;
    assert_eq!(first.fd, 1);
    drop(first);
    server.wait_line(|line| line == "closing", STEP)?;
    assert_eq!(second.ask("info 1")?, "error 1005");
    let answer = second.ask("info_closed 1")?;
    assert!(answer.starts_with("server_port="), "{answer}");
    assert_eq!(second.ask("release")?, "ok");
    Ok(())
}

/// Tells in its start event which workers there are.
fn count_at_start(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.set("worker_num", "8")?;
    server.on("receive", |_, _| {})?;
    server.on("start", |server, _| {
        let pids = (0..8).map(|worker| server.worker_pid(worker));
        report!("{} workers", pids.filter(|pid| *pid > 0).count());
    })?;
    server.start()?;
    Ok(())
}

fn the_start_event_comes_when_all_workers_were_created(server: &Running) -> Outcome {
    let line = server.wait_line(|line| line.ends_with("workers"), STEP)?;
    assert_eq!(line, "8 workers");
    Ok(())
}

server_tests! {
    the_start_event_comes_when_all_workers_were_created: count_at_start;
    a_start_that_fails_half_way_leaves_nothing: start_in_vain;
    // Where workers are threads there is no process to end but the whole.
    a_hook_that_panics_ends_its_process_with_255: panic_in_hook, in [Mode::Process, Mode::Base];
    // Elsewhere one process accepts.
    each_process_has_its_own_connection_limit: serve_in_four, in [Mode::Base];
    a_signal_in_the_shutdown_callback_kills_nobody: get_signal_in_shutdown;
    the_master_is_known_when_a_worker_starts: tell_masters;
    a_callback_has_the_stack_that_the_program_has: serve_deeply;
    // Elsewhere a worker is a process and takes its own signals.
    a_worker_thread_takes_no_signals: tell_blocked_signals, in [Mode::Thread];
    ids_that_are_no_connection_do_not_exist: run_commands;
    // Only there a worker knows its own connections only.
    a_list_does_not_start_at_a_foreign_connection: run_commands, in [Mode::Base];
    // In BASE nobody but its worker sees it, who is in its callback.
    a_closing_connection_is_known_to_who_asks_for_closed_ones_only: stick_in_close,
        in [Mode::Process, Mode::Thread];
}
