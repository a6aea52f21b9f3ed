//! How user processes are replaced, and what keeps one alive.

use crate::api::{the, Process};
use crate::common::api::Handle;
use crate::common::{process, Mode, Outcome, Running, Setup, STEP};
use crate::puppet::timers::{add, after, clear_timer, defer, del, tick};
use crate::puppet::{self, ask, ask_until, connect_to, pid_of, Gate};
use crate::{life, obedient, prepare, report, USER};
use std::cell::Cell;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};
use swoole::ffi::types::SW_IO_READ;

/// No process or thread has the number of its predecessor while others are started all the time.
pub fn it_is_started_again_when_it_returns(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    for number in 1..4 {
        let pid = life(server, number)?;
        assert_eq!(ask(&mut client, &format!("pid {USER}"))?, pid.to_string());
        client.send(b"!user end")?;
        let successor = life(server, number + 1)?;
        assert_ne!(successor, pid);
        // Read by the successor.
        assert_eq!(ask(&mut client, "user echo again")?, "again");
        ask_until(&mut client, &format!("pid {USER}"), |line| line == successor.to_string())?;
    }
    if server.mode() != Mode::Thread {
        client.send(b"!user exit 0")?;
        life(server, 5)?;
    }
    let lines = server.lines_so_far();
    assert!(!lines.iter().any(|line| line.starts_with("error")), "{lines:?}");
    Ok(())
}

pub fn a_reload_leaves_it_alone(server: &Running) -> Outcome {
    let pid = life(server, 1)?;
    server.connect()?;
    server.signal(libc::SIGUSR1)?;
    for worker in [0, 1] {
        pid_of(server, worker, 2)?;
    }
    let mut client = server.connect()?;
    assert_eq!(ask(&mut client, "user echo there")?, "there");
    assert_eq!(ask(&mut client, &format!("pid {USER}"))?, pid.to_string());
    let lines = server.lines_so_far();
    assert_eq!(lines.iter().filter(|line| line.starts_with("life")).count(), 1);
    Ok(())
}

/// Each of the first five lives finds a byte in the pipe and ends at once.
pub fn serve_five_quick_ends(setup: &Setup) -> Outcome {
    fn body(_: Handle, process: Process) {
        report!("life {}", process.pid());
        let mut byte = [0];
        let count = process.stream().read(&mut byte).expect("a byte or the end");
        match (count, byte) {
            (1, [b'r']) => {}
            (1, _) => std::process::exit(3),
            _ => report!("pipe ended"),
        }
    }
    let server = prepare(setup, &[], body)?;
    let bytes = if setup.mode == Mode::Thread { b"rrrrr" } else { b"xxrxx" };
    the().stream().write_all(bytes)?;
    puppet::run(&server)
}

pub fn five_quick_ends_are_no_reason_to_wait(server: &Running) -> Outcome {
    const LIMIT: Duration = Duration::from_secs(3);
    life(server, 1)?;
    let begin = Instant::now();
    life(server, 6)?;
    let took = begin.elapsed();
    assert!(took < LIMIT, "five starts took {took:?}");
    if server.mode() != Mode::Thread {
        let is_error = |line: &str| line.starts_with(&format!("error {USER} "));
        let errors = server.wait_lines(4, is_error, STEP)?;
        assert!(errors.iter().all(|line| line.ends_with("code 3 signal 0 status 768")));
    }
    Ok(())
}

pub fn it_is_started_again_when_it_is_killed_and_reads_on(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let (mut peer, gate) = (server.connect()?, Gate::new()?);
    let pid = life(server, 1)?;
    // Stuck, so that what follows is not read by it.
    client.send(format!("!user push 999 1 {}", gate.port()?).as_bytes())?;
    let held = gate.wait()?;
    for (number, text) in ["one", "two", "three"].iter().enumerate() {
        peer.send(format!("!user echo {text}").as_bytes())?;
        server.wait_lines(number + 2, |line| line == "told", STEP)?;
    }
    puppet::kill(pid)?;
    let successor = life(server, 2)?;
    assert_ne!(successor, pid);
    assert_eq!(peer.receive(14)?, b"one\ntwo\nthree\n");
    assert_eq!(ask(&mut client, &format!("pid {USER}"))?, successor.to_string());
    let line = format!("error {USER} {pid} code 0 signal 9 status 9");
    server.wait_line(|told| told == line, STEP)?;
    drop(held);
    Ok(())
}

/// Whether this process waits for something.
fn is_asleep(pid: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
}

/// The reader is stuck, so the sender waits with a part of its message published.
pub fn half_a_message_is_dropped_when_it_is_killed(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let (mut peer, fd) = connect_to(server, 1)?;
    let pid = life(server, 1)?;
    let held = puppet::hold_worker(&mut peer)?;
    client.send(format!("!user push {fd} 4000000 1").as_bytes())?;
    server.wait_line(|line| line == "pushing", STEP)?;
    // What it waits for now can only be room.
    let end = Instant::now() + STEP;
    while !is_asleep(pid) {
        assert!(Instant::now() < end, "it does not wait");
        ask(&mut client, "who")?;
    }
    puppet::kill(pid)?;
    life(server, 2)?;
    drop(held);
    assert_eq!(peer.receive(9)?, b"released\n");
    assert_eq!(ask(&mut peer, "user echo whole")?, "whole");
    Ok(())
}

pub fn the_program_is_told_how_it_ended(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let pid = life(server, 1)?;
    client.send(b"!user exit 7")?;
    let line = format!("error {USER} {pid} code 7 signal 0 status 1792");
    server.wait_line(|told| told == line, STEP)?;
    // By default it dies of this one, also while the server goes on.
    for (number, signal) in [(2, libc::SIGTERM), (3, libc::SIGUSR1)] {
        let pid = life(server, number)?;
        process::send_signal(pid, signal)?;
        let line = format!("error {USER} {pid} code 0 signal {signal} status {signal}");
        server.wait_line(|told| told == line, STEP)?;
    }
    life(server, 4)?;
    assert_eq!(ask(&mut client, "user echo alive")?, "alive");
    let lines = server.lines_so_far();
    assert_eq!(lines.iter().filter(|line| line.starts_with("error")).count(), 3);
    Ok(())
}

/// Returns at once; a tick, a call that is put off and a timer that fires once go on.
pub fn serve_timers(setup: &Setup) -> Outcome {
    fn body(server: Handle, process: Process) {
        let pid = process.pid();
        report!("life {pid}");
        let counted = Rc::new(Cell::new(0));
        let call = move |id| {
            counted.set(counted.get() + 1);
            if counted.get() == 5 {
                clear_timer(server, id).expect("its own timer");
                let count = Rc::clone(&counted);
                let last = move |_| {
                    assert_eq!(server.worker_pid(-1), pid);
                    report!("ticks {}", count.get());
                };
                after(server, 1, last).expect("a timer");
            }
        };
        let begin = move || {
            tick(server, 2, call).expect("a timer");
        };
        defer(server, begin).expect("a call");
    }
    puppet::run(&prepare(setup, &[], body)?)
}

pub fn timers_keep_it_alive_until_the_last_is_cleared(server: &Running) -> Outcome {
    life(server, 4)?;
    let lines = server.wait_lines(3, |line| line.starts_with("ticks "), STEP)?;
    assert_eq!(lines, ["ticks 5"; 3]);
    let lines = server.lines_so_far();
    let of_user = |line: &&String| line.starts_with("life") || line.starts_with("ticks");
    let order: Vec<&str> = lines.iter().filter(of_user).take(6).map(|line| &line[..5]).collect();
    assert_eq!(order, ["life ", "ticks", "life ", "ticks", "life ", "ticks"]);
    assert!(!lines.iter().any(|line| line.starts_with("error")), "{lines:?}");
    Ok(())
}

/// Returns at once; its pipe is watched until it says "end".
pub fn serve_descriptors(setup: &Setup) -> Outcome {
    fn body(server: Handle, process: Process) {
        report!("life {}", process.pid());
        let call = move |fd, _| match process.next() {
            Some((_, order)) if order == b"end" => del(fd).expect("it is watched"),
            Some((fd, order)) => puppet::answer(server, fd, &order),
            None => del(fd).expect("it is watched"),
        };
        add(process.socket(), SW_IO_READ, call).expect("the pipe");
    }
    puppet::run(&prepare(setup, &[], body)?)
}

pub fn descriptors_keep_it_alive_until_the_last_is_removed(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    for number in 1..4 {
        let pid = life(server, number)?;
        for text in ["a", "b"] {
            client.send(format!("!user {text}").as_bytes())?;
            assert_eq!(client.receive(1)?, text.as_bytes());
        }
        assert_eq!(ask(&mut client, &format!("pid {USER}"))?, pid.to_string());
        client.send(b"!user end")?;
    }
    life(server, 4)?;
    Ok(())
}

/// Each life looks whether its end blocks, has it block no more, and takes a byte. The third finds
/// none and waits for the end.
pub fn serve_nonblocking(setup: &Setup) -> Outcome {
    fn body(_: Handle, process: Process) {
        let mut stream = process.stream();
        // SAFETY: asks for the flags of a descriptor that is open.
        let flags = unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_GETFL) };
        report!("life {}", process.pid());
        report!("blocks: {}", flags & libc::O_NONBLOCK == 0);
        stream.set_nonblocking(true).expect("a flag");
        if stream.read(&mut [0]).is_err() {
            stream.set_nonblocking(false).expect("a flag");
            assert_eq!(process.next(), None);
        }
    }
    let server = prepare(setup, &[], body)?;
    the().stream().write_all(b"xy")?;
    puppet::run(&server)
}

pub fn its_pipe_blocks_again_in_the_next_life(server: &Running) -> Outcome {
    let lines = server.wait_lines(3, |line| line.starts_with("blocks"), STEP)?;
    assert_eq!(lines, ["blocks: true"; 3]);
    Ok(())
}

/// Three user processes that all obey.
pub fn serve_three(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[], obedient)?;
    Process::start_with(*server, obedient)?;
    Process::start_with(*server, obedient)?;
    puppet::run(&server)
}

pub fn several_have_each_their_number_and_pipe(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let mut ids = || -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        (0..3).map(|number| ask(&mut client, &format!("user{number} id"))).collect()
    };
    let before = ids()?;
    for (number, id) in before.iter().enumerate() {
        assert!(id.starts_with(&format!("-1 {} ", USER + number as i32)), "{id}");
    }
    let mut other = server.connect()?;
    other.send(b"!user1 end")?;
    life(server, 4)?;
    let after = ids()?;
    assert_eq!((&before[0], &before[2]), (&after[0], &after[2]));
    assert_ne!(before[1], after[1]);
    assert_eq!(ask(&mut other, "user2 stats")?, "2 3 2");
    Ok(())
}
