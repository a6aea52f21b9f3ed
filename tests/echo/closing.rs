//! How connections are closed, by whom, and what is told.

use super::commands::{command_server, wait_for_release, Commander};
use crate::common::api::{Error, Handle};
use crate::common::prelude::*;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};

fn code(result: Result<(), Error>) -> i32 {
    result.map_or_else(|error| error.code, |()| 0)
}

fn report_close(server: Handle, event: &Event) {
    let reactor = event.connection().reactor_id;
    report!("close {} in worker {} by {reactor}", event.fd(), server.worker_id());
}

pub fn close_in_connect(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("connect", |server, event| {
        report!("connect: {}", code(server.close(event.fd(), false)));
    })?;
    server.on("receive", |_, event| report!("receive {}", event.fd()))?;
    server.on("close", report_close)?;
    server.start()?;
    Ok(())
}

pub fn a_close_in_connect_ends_a_client_that_has_sent(server: &Running) -> Outcome {
    const ROUNDS: usize = 200;
    for round in 0..ROUNDS {
        let mut client = server.connect()?;
        match client.send(b"into the void") {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error.into()),
            _ => {}
        }
        let end = client.receive_to_end().map_err(|error| format!("round {round}: {error}"))?;
        assert!(end.is_empty());
    }
    server.wait_lines(ROUNDS, |line| line == "connect: 0", STEP)?;
    server.wait_lines(
        ROUNDS,
        |line| line.starts_with("close ") && line.ends_with("by -1"),
        STEP,
    )?;
    assert!(!server.lines_so_far().iter().any(|line| line.starts_with("receive")));
    Ok(())
}

pub fn close_in_receive(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("receive", |server, event| {
        let fd = event.fd();
        let sent = code(server.send(fd, b"last words"));
        report!("sent {sent}, exists {}", server.exist(fd));
        let closed = code(server.close(fd, false));
        report!("closed {closed}, exists {}, {}", server.exist(fd), server.last_error());
        let (again, send) = (code(server.close(fd, false)), code(server.send(fd, b"x")));
        report!("again {again}, send {send}");
    })?;
    server.on("close", report_close)?;
    server.start()?;
    Ok(())
}

pub fn a_close_runs_its_callback_inside_and_only_then_is_over(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.send(b"go")?;
    assert_eq!(client.receive_to_end()?, b"last words");
    server.wait_line(|line| line.starts_with("again"), STEP)?;
    let lines = server.lines_so_far();
    let lines: Vec<&str> = lines.iter().map(String::as_str).filter(|l| *l != "ready").collect();
    let is_close = lines[1].starts_with("close 1 in worker ") && lines[1].ends_with(" by -1");
    assert!(is_close, "{lines:?}");
    assert_eq!(lines[0], "sent 0, exists true");
    assert_eq!(lines[2..], ["closed 0, exists false, 1005", "again 1004, send 1001"]);
    Ok(())
}

pub fn look_in_close(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("receive", |server, event| match event.data() {
        b"answer" => server.send(event.fd(), b"unread").expect("it is open"),
        _ => report!("close: {}", code(server.close(event.fd(), false))),
    })?;
    server.on("close", |server, event| {
        let fd = event.fd();
        let info = server.client_info(fd, false);
        let known = info.map_or_else(|error| error.code, |info| info.close_errno);
        let (close, reset) = (code(server.close(fd, false)), code(server.close(fd, true)));
        let send = code(server.send(fd, b"x"));
        let by = event.connection().reactor_id.signum();
        let exists = server.exist(fd);
        report!("{fd}: by {by}, info {known}, {exists}, close {close}/{reset}, send {send}");
    })?;
    server.start()?;
    Ok(())
}

pub fn inside_the_close_callback_the_connection_is_known_but_dead(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.send(b"close me")?;
    assert!(client.receive_to_end()?.is_empty());
    let line = server.wait_line(|line| line.starts_with("1: "), STEP)?;
    assert_eq!(line, "1: by -1, info 0, false, close 1003/1003, send 1003");
    drop(server.connect()?);
    let line = server.wait_line(|line| line.starts_with("2: "), STEP)?;
    let of_peer = line.replace("by 1", "by 0");
    assert_eq!(of_peer, "2: by 0, info 0, false, close 1003/1003, send 1003");
    let mut leaving = server.connect()?;
    leaving.send(b"answer")?;
    // Who goes and has not read everything sends a reset.
    leaving.stream.peek(&mut [0])?;
    drop(leaving);
    let line = server.wait_line(|line| line.starts_with("3: "), STEP)?;
    assert!(line.contains(&format!(" info {}, false, ", libc::ECONNRESET)), "{line}");
    Ok(())
}

/// Waits for the close of a connection: in which worker it was told, and by which reactor.
fn told_close(server: &Running, fd: i64) -> Result<(i32, i32), String> {
    let beginning = format!("close {fd} in worker ");
    let line = server.wait_line(|line| line.starts_with(&beginning), STEP)?;
    let numbers = line[beginning.len()..].split_once(" by ").ok_or("not a close")?;
    let number = |text: &str| text.parse().map_err(|_| format!("no number in {line}"));
    Ok((number(numbers.0)?, number(numbers.1)?))
}

pub fn a_peer_that_goes_is_told_by_its_reactor(server: &Running) -> Outcome {
    let mut stays = Commander::connect(server)?;
    let goes = Commander::connect(server)?;
    let (fd, worker) = (goes.fd, goes.worker);
    drop(goes);
    let (told_in, reactor) = told_close(server, fd)?;
    assert_eq!(told_in, worker);
    assert!((0..2).contains(&reactor), "reactor {reactor}");
    let gone = stays.ask_until(&format!("send {fd} late"), |answer| answer == "error 1002")?;
    assert_eq!(gone, "error 1002");
    assert_eq!(stays.ask(&format!("exist {fd}"))?, "error 1005");
    assert_eq!(stays.ask(&format!("info {fd}"))?, "error 1005");
    assert_eq!(stays.ask(&format!("close {fd}"))?, "error 1004");
    Ok(())
}

pub fn a_reset_is_seen_by_the_client(server: &Running) -> Outcome {
    let mut stays = Commander::connect(server)?;
    let mut goes = Commander::connect(server)?;
    assert_eq!(stays.ask(&format!("reset {}", goes.fd))?, "ok");
    let end = goes.client.receive_to_end();
    assert_eq!(end.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    assert_eq!(told_close(server, goes.fd)?, (goes.worker, -1));
    Ok(())
}

pub fn ids_that_name_nothing_are_refused(server: &Running) -> Outcome {
    let mut client = Commander::connect(server)?;
    for (fd, wanted) in [
        (0, "error 1006"),
        (-1, "error 1006"),
        (i64::MIN, "error 1006"),
        (100, "error 1005"),
        (99_999, "error 1005"),
        (1 << 40, "error 1005"),
        (i64::MAX, "error 1005"),
    ] {
        for command in ["close", "reset"] {
            assert_eq!(client.ask(&format!("{command} {fd}"))?, wanted, "{command} {fd}");
        }
        // Asking whether it exists is no mistake: there is no such connection, that is all.
        assert_eq!(client.ask(&format!("exist {fd}"))?, "error 1005", "exist {fd}");
        assert_eq!(client.ask(&format!("send {fd} x"))?, wanted, "send {fd}");
        assert_eq!(client.ask(&format!("info {fd}"))?, wanted, "info {fd}");
    }
    assert_eq!(client.ask(&format!("send_zeros {} 0", client.fd))?, "error 550");
    assert_eq!(client.ask(&format!("exist {}", client.fd))?, "ok");
    Ok(())
}

pub fn a_close_from_another_worker_runs_in_the_bound_one(server: &Running) -> Outcome {
    let mut first = Commander::connect(server)?;
    let mut second = first.connect_elsewhere(server)?;
    assert_ne!(first.worker, second.worker);
    assert_eq!(second.ask(&format!("close {}", first.fd))?, "ok");
    assert_eq!(told_close(server, first.fd)?, (first.worker, -1));
    assert!(first.client.receive_to_end()?.is_empty());
    let send = format!("send {} late", first.fd);
    // Until its close callback has returned it is being closed, which is another error.
    second.ask_until(&send, |answer| answer == "error 1001")?;
    let mut third = second.connect_elsewhere(server)?;
    assert_eq!(second.ask(&format!("reset {}", third.fd))?, "ok");
    let end = third.client.receive_to_end();
    assert_eq!(end.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    assert_eq!(told_close(server, third.fd)?, (third.worker, -1));
    Ok(())
}

/// The first close callback of worker 1 waits, so that what comes meanwhile comes at once.
pub fn wait_in_first_close(setup: &Setup) -> Outcome {
    static HAS_WAITED: AtomicBool = AtomicBool::new(false);
    let server = command_server(setup)?;
    server.on("close", |server, event| {
        report!("close {}", event.fd());
        if server.worker_id() == 1 && !HAS_WAITED.swap(true, Ordering::Relaxed) {
            wait_for_release();
        }
    })?;
    server.start()?;
    Ok(())
}

pub fn a_close_by_another_worker_comes_after_the_connect(server: &Running) -> Outcome {
    let mut first = Commander::connect(server)?;
    let mut second = first.connect_elsewhere(server)?;
    if first.worker == 1 {
        std::mem::swap(&mut first, &mut second);
    }
    let (stuck, last) = (second.fd, first.fd.max(second.fd));
    assert_eq!(first.ask(&format!("close {stuck}"))?, "ok");
    server.wait_line(|line| line == format!("close {stuck}"), STEP)?;
    // One of these two belongs to the worker that is stuck.
    let (_third, _fourth) = (server.connect()?, server.connect()?);
    for fd in [last + 1, last + 2] {
        first.ask_until(&format!("exist {fd}"), |answer| answer == "ok")?;
        assert_eq!(first.ask(&format!("close {fd}"))?, "ok");
    }
    assert_eq!(first.ask("release")?, "ok");
    for fd in [last + 1, last + 2] {
        server.wait_line(|line| line == format!("close {fd}"), STEP)?;
        let lines = server.lines_so_far();
        let place = |text: String| lines.iter().position(|line| line.starts_with(&text));
        let connected = place(format!("connect {fd} ")).ok_or("a close without its connect")?;
        assert!(Some(connected) < place(format!("close {fd}")), "{lines:?}");
    }
    first.ask_until("stats", |stats| stats.contains(" connection_num: 1,"))?;
    Ok(())
}

pub fn close_in_manager(setup: &Setup) -> Outcome {
    let server = command_server(setup)?;
    server.on("managerStart", |server, _| {
        wait_for_release();
        report!("manager {}", code(server.close(1, false)));
        report!("unknown {}", code(server.close(100, false)));
    })?;
    server.start()?;
    Ok(())
}

pub fn a_close_by_the_manager_runs_in_the_bound_worker(server: &Running) -> Outcome {
    let mut first = Commander::connect(server)?;
    assert_eq!(first.fd, 1);
    assert_eq!(first.ask("release")?, "ok");
    assert!(first.client.receive_to_end()?.is_empty());
    assert_eq!(told_close(server, 1)?, (first.worker, -1));
    server.wait_line(|line| line == "manager 0", STEP)?;
    server.wait_line(|line| line == "unknown 1005", STEP)?;
    Ok(())
}

/// The one moment at which a callback of the master meets connections.
pub fn close_before_shutdown(setup: &Setup) -> Outcome {
    let server = command_server(setup)?;
    server.on("beforeShutdown", |server, _| {
        report!("before {}", code(server.close(1, false)));
    })?;
    server.start()?;
    Ok(())
}

pub fn a_close_by_the_master_runs_in_the_bound_worker(server: &Running) -> Outcome {
    let mut first = Commander::connect(server)?;
    server.signal(libc::SIGTERM)?;
    assert!(first.client.receive_to_end()?.is_empty());
    assert!(server.wait_exit(STEP)?.success());
    assert_eq!(told_close(server, 1)?, (first.worker, -1));
    server.wait_line(|line| line == "before 0", STEP)?;
    Ok(())
}

pub fn a_close_delivers_what_was_queued(server: &Running) -> Outcome {
    const SIZE: usize = 12 << 20;
    let mut watcher = Commander::connect(server)?;
    let mut slow = Commander::connect(server)?;
    limit_receive_buffer(&slow)?;
    slow.client.send(format!("flood_and_close {SIZE}").as_bytes())?;
    server.wait_line(|line| line == "flood ok, close ok, exist false", STEP)?;
    server.wait_line(|line| line == "again error 1004", STEP)?;
    assert_eq!(told_close(server, slow.fd)?, (slow.worker, -1));
    assert_eq!(watcher.stat("connection_num")?, 2, "it lives until its output has gone");
    let bytes = slow.client.receive_to_end()?;
    assert_eq!(bytes.len(), SIZE);
    assert!(bytes.iter().all(|byte| *byte == b'2'));
    watcher.ask_until("stats", |stats| stats.contains(" connection_num: 1,"))?;
    Ok(())
}

/// Has the kernel take little on behalf of a client that does not read.
pub fn limit_receive_buffer(commander: &Commander) -> std::io::Result<()> {
    let size: i32 = 512 * 1024;
    let descriptor = commander.client.stream.as_raw_fd();
    // SAFETY: the option takes an int, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            descriptor,
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            (&size as *const i32).cast(),
            4,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

pub fn a_reset_after_a_close_cuts_what_waits(server: &Running) -> Outcome {
    const SIZE: usize = 16 << 20;
    let mut watcher = Commander::connect(server)?;
    let mut slow = Commander::connect(server)?;
    limit_receive_buffer(&slow)?;
    slow.client.send(format!("flood_and_cut {SIZE}").as_bytes())?;
    server.wait_line(|line| line == "flood ok, close ok, cut ok", STEP)?;
    watcher.ask_until("stats", |stats| stats.contains(" connection_num: 1,"))?;
    let mut got = Vec::new();
    let end = std::io::Read::read_to_end(&mut slow.client.stream, &mut got);
    assert!(got.len() < SIZE, "all {} bytes came, {end:?}", got.len());
    told_close(server, slow.fd)?;
    let closes = server.lines_so_far();
    let beginning = format!("close {} ", slow.fd);
    assert_eq!(closes.iter().filter(|line| line.starts_with(&beginning)).count(), 1);
    Ok(())
}

pub fn close_on_everything(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("connect", |_, _| {})?;
    server.on("receive", |server, event| {
        let result = code(server.close(event.fd(), event.fd() % 2 == 0));
        assert_eq!(result, 0, "data of a connection that is not open");
    })?;
    server.on("close", |_, event| report!("close {}", event.fd()))?;
    server.start()?;
    Ok(())
}

pub fn a_close_is_told_once_when_both_ends_close(server: &Running) -> Outcome {
    const ROUNDS: usize = 1000;
    for round in 0..ROUNDS {
        let mut client = server.connect()?;
        client.send(b"x")?;
        if round % 3 == 0 {
            match client.finish_sending() {
                Err(error) if error.kind() != ErrorKind::NotConnected => return Err(error.into()),
                _ => {}
            }
        }
    }
    server.wait_lines(ROUNDS, |line| line.starts_with("close "), STEP)?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    server.assert_nothing_left()?;
    let lines = server.lines_so_far();
    let mut fds: Vec<i64> =
        lines.iter().filter_map(|l| l.strip_prefix("close ")?.parse().ok()).collect();
    fds.sort_unstable();
    let all: Vec<i64> = (1..=ROUNDS as i64).collect();
    assert!(fds == all, "{} closes were told", fds.len());
    Ok(())
}
