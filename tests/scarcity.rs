//! A system that has no room for another process: who is missing is missed for a while, and started
//! as soon as that is possible.

mod common;
mod puppet;

use common::prelude::*;
use puppet::life::{count_of, wait_for_lines, wait_for_log};
use puppet::{connect_to, kill, pid_of, serve_with, timers};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A user that owns nothing: what the system refuses is refused to all but the first one.
const NOBODY: u32 = 65_534;
/// How often a start that has failed is tried again, and how often the manager looks for room.
const RETRY: Duration = Duration::from_secs(1);
const LOOK_MS: i64 = 10;

/// Through which a worker tells the manager that there is room again.
static ROOM: OnceLock<(UnixStream, UnixStream)> = OnceLock::new();

fn allow_processes(is_allowed: bool) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is written into a place for one.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NPROC, &mut limit) }, 0);
    limit.rlim_cur = if is_allowed { limit.rlim_max } else { 0 };
    // SAFETY: a valid limit is read.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &limit) }, 0);
}

fn lose_room(server: api::Handle, _: &Event) {
    // SAFETY: both take numbers only. Whoever is not the first user may not become another one.
    let is_nobody = unsafe { libc::geteuid() != 0 || libc::setuid(NOBODY) == 0 };
    assert!(is_nobody, "{}", std::io::Error::last_os_error());
    allow_processes(false);
    let timer = timers::tick(server, LOOK_MS, |_| {
        let mut room = &ROOM.get().expect("made before start").1;
        if matches!(room.read(&mut [0]), Ok(1)) {
            allow_processes(true);
            report!("room");
        }
    });
    report!("manager {} {}", std::process::id(), timer.is_ok());
}

fn confined(setup: &Setup) -> Outcome {
    let (giver, taker) = UnixStream::pair()?;
    taker.set_nonblocking(true)?;
    assert!(ROOM.set((giver, taker)).is_ok(), "one server in a process");
    let on_receive = |server: api::Handle, event: &Event| match event.data() {
        b"!room" => (&ROOM.get().expect("made before start").0).write_all(&[0]).expect("a pipe"),
        _ => puppet::obey(server, event),
    };
    serve_with(setup, &[], on_receive, |server| server.on("managerStart", lose_room))
}

fn a_worker_that_cannot_be_started_is_tried_again_until_it_can(server: &Running) -> Outcome {
    let is_manager = |line: &str| line.starts_with("manager ") && line.ends_with(" true");
    server.wait_line(is_manager, STEP)?;
    let (mut control, _) = connect_to(server, 0)?;
    let (mut client, _) = connect_to(server, 1)?;
    kill(pid_of(server, 1, 1)?)?;
    let killed = Instant::now();
    let failures = |log: &str| log.matches("could not be started again").count();
    wait_for_log(server, |log| failures(log) > 0)?;
    control.echo(b"the others serve")?;
    if server.mode() == Mode::Process {
        client.send(b"patience")?;
    }
    // Not only once, and not all the time.
    wait_for_log(server, |log| failures(log) > 1)?;
    let most = killed.elapsed().as_secs_f64() / RETRY.as_secs_f64() + 1.0;
    assert!(failures(&server.log()) as f64 <= most, "{} of {most}", failures(&server.log()));
    control.send(b"!room")?;
    server.wait_line(|line| line == "room", STEP)?;
    pid_of(server, 1, 2)?;
    if server.mode() == Mode::Process {
        assert_eq!(client.receive(8)?, b"patience");
    }
    connect_to(server, 1)?.0.echo(b"and it serves")?;
    wait_for_lines(server, 1, "error 1 ")?;
    assert_eq!((count_of(server, "error "), count_of(server, "worker ")), (1, 3));
    Ok(())
}

server_tests! {
    // Nothing starts threads again that have not ended in order.
    a_worker_that_cannot_be_started_is_tried_again_until_it_can: confined,
        in [Mode::Process, Mode::Base];
}
