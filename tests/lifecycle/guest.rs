//! The library is a guest in a program: what it refuses, and that it leaves all as it was.

use super::{await_end, Fallible};
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::common::{process, Client};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

fn echoing(setup: &Setup) -> Fallible<Server> {
    let server = setup.server()?;
    server.on("receive", |server, event| {
        report!("sent {}", server.send(event.fd(), event.data()).is_ok());
    })?;
    Ok(server)
}

const TURNS: usize = 3;

pub fn serve_in_turn(setup: &Setup) -> Outcome {
    for turn in 0..TURNS {
        let server = echoing(setup)?;
        server.start()?;
        report!("turn {turn} over");
    }
    Ok(())
}

pub fn a_server_follows_another_on_its_port(server: &Running) -> Outcome {
    for turn in 0..TURNS {
        server.wait_lines(turn + 1, |line| line == "ready", STEP)?;
        let mut client = Client::connect(server.port())?;
        client.echo(&vec![b'0'; 100_000])?;
        // Left open, so that the port has connections that nobody has ended yet.
        server.signal(libc::SIGTERM)?;
        assert!(client.receive_to_end()?.is_empty());
        server.wait_line(|line| line == format!("turn {turn} over"), STEP)?;
    }
    await_end(server)?;
    Ok(())
}

static OTHER: AtomicPtr<sw_server_t> = AtomicPtr::new(std::ptr::null_mut());

fn refusal(result: Result<(), crate::common::api::Error>) -> String {
    result.map_or_else(|error| format!("{} {}", error.code, error.message), |()| "ok".to_owned())
}

pub fn start_wrongly(setup: &Setup) -> Outcome {
    let empty = setup.server()?;
    report!("empty: {}", refusal(empty.start()));
    // A server that was refused can be completed and started.
    let other = Server::new("127.0.0.1", 0, setup.mode.number(), SW_SOCK_TCP)?;
    other.on("receive", |_, _| {})?;
    OTHER.store(other.raw, Ordering::Relaxed);
    empty.on("receive", |_, _| {})?;
    empty.on("workerStart", |server, event| {
        if event.worker().worker_id == 0 {
            report!("again: {}", refusal(server.start()));
            let other = Handle { raw: OTHER.load(Ordering::Relaxed) };
            report!("other: {}", refusal(other.start()));
            report!("asked {}", server.shutdown().is_ok());
        }
    })?;
    empty.start()?;
    report!("over: {}", refusal(empty.start()));
    report!("shutdown: {}", refusal(empty.shutdown()));
    Ok(())
}

pub fn a_start_that_cannot_be_is_refused(server: &Running) -> Outcome {
    await_end(server)?;
    for (name, code, words) in [
        ("empty", 9015, "onReceive"),
        ("again", 509, "running"),
        ("other", 9008, "another server"),
        ("over", 509, "ended"),
        ("shutdown", 509, "ended"),
    ] {
        let beginning = format!("{name}: {code} ");
        let line = server.wait_line(|line| line.starts_with(&beginning), STEP)?;
        assert!(line.contains(words), "{line}");
    }
    Ok(())
}

extern "C" fn count_signal(_: libc::c_int) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed);
}

/// A flag that the C library sets for itself whenever it sets an action.
const RESTORER: i32 = 0x0400_0000;

/// The handler, flags and mask of every signal, and the mask of this thread, as bytes.
fn signal_state() -> Vec<Vec<u8>> {
    let mut state = Vec::new();
    for signal in 1..=64 {
        // SAFETY: all-zero is a value of this type.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: nothing is set; the old action is written into a place for one.
        if unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) } == 0 {
            let mut blocked = Vec::new();
            for other in 1..=64 {
                // SAFETY: the set was filled by the system.
                blocked.push(unsafe { libc::sigismember(&action.sa_mask, other) } as u8);
            }
            blocked.extend(action.sa_sigaction.to_ne_bytes());
            blocked.extend((action.sa_flags & !RESTORER).to_ne_bytes());
            state.push(blocked);
        }
    }
    // SAFETY: all-zero is a value of this type.
    let mut mask: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is changed; the mask is written into a place for one.
    assert_eq!(unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut mask) }, 0);
    // SAFETY: the set was filled by the system.
    state.push((1..=64).map(|signal| unsafe { libc::sigismember(&mask, signal) } as u8).collect());
    state
}

pub fn keep_signals(setup: &Setup) -> Outcome {
    for (signal, action) in [
        (libc::SIGTERM, count_signal as *const () as libc::sighandler_t),
        (libc::SIGUSR1, count_signal as *const () as libc::sighandler_t),
        (libc::SIGHUP, libc::SIG_DFL),
        (libc::SIGCHLD, libc::SIG_IGN),
        (libc::SIGPIPE, libc::SIG_DFL),
    ] {
        // SAFETY: the handler counts only.
        unsafe { libc::signal(signal, action) };
    }
    // SAFETY: all-zero is a value of this type.
    let mut blocked: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in [libc::SIGTERM, libc::SIGUSR2, libc::SIGALRM] {
        // SAFETY: a valid set and a valid signal.
        unsafe { libc::sigaddset(&mut blocked, signal) };
    }
    // SAFETY: the set is valid, the old one is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &blocked, std::ptr::null_mut()) };
    let before = signal_state();
    let server = echoing(setup)?;
    server.start()?;
    let after = signal_state();
    report!("signals are as before: {}", after == before);
    for (number, (old, new)) in before.iter().zip(&after).enumerate() {
        if old != new {
            report!("of {} {old:?} became {new:?}", number + 1);
        }
    }
    Ok(())
}

pub fn signals_are_as_they_were_after_the_end(server: &Running) -> Outcome {
    server.connect()?.echo(b"meanwhile")?;
    for signal in [libc::SIGHUP, libc::SIGPIPE, libc::SIGALRM, libc::SIGWINCH] {
        server.signal(signal)?;
    }
    server.connect()?.echo(b"none of them ends it")?;
    server.signal(libc::SIGTERM)?;
    server.wait_line(|line| line == "signals are as before: true", STEP)?;
    await_end(server)?;
    Ok(())
}

/// What this process has of the system: descriptors, threads, shared mappings.
fn belongings() -> Fallible<(Vec<i32>, usize, usize)> {
    let mut descriptors = process::open_descriptors()?;
    descriptors.sort_unstable();
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let shared = maps.lines().filter(|line| line.contains("memfd:")).count();
    Ok((descriptors, std::fs::read_dir("/proc/self/task")?.count(), shared))
}

pub fn leave_nothing(setup: &Setup) -> Outcome {
    let before = belongings()?;
    report!("before {before:?}");
    for _ in 0..TURNS {
        let server = echoing(setup)?;
        let log = std::env::temp_dir().join("server.log");
        server.set("log_file", log.to_str().ok_or("the path is no text")?)?;
        server.start()?;
        std::fs::remove_file(log)?;
        // All is given back by the end, not by the free.
        report!("after {:?}", belongings()?);
        drop(server);
        report!("freed {:?}", belongings()?);
    }
    Ok(())
}

pub fn nothing_is_left_in_the_process(server: &Running) -> Outcome {
    for turn in 0..TURNS {
        server.wait_lines(turn + 1, |line| line == "ready", STEP)?;
        let mut client = Client::connect(server.port())?;
        client.echo(&vec![b'1'; 200_000])?;
        server.signal(libc::SIGTERM)?;
        server.wait_lines(turn + 1, |line| line.starts_with("freed "), STEP)?;
    }
    let lines = await_end(server)?;
    let of = |word: &str| -> Vec<String> {
        lines.iter().filter_map(|line| line.strip_prefix(word).map(str::to_owned)).collect()
    };
    let before = of("before ");
    assert_eq!(before.len(), 1);
    assert_eq!(of("after "), vec![before[0].clone(); TURNS]);
    assert_eq!(of("freed "), vec![before[0].clone(); TURNS]);
    Ok(())
}
