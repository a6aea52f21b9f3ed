//! Bytes arrive: at connections that never spoke, while callbacks are busy, when a worker or the
//! server is told to end, and before a connection is closed.

mod common;
mod puppet;

use common::api::Handle;
use common::prelude::*;
use common::process;
use puppet::Gate;
use std::io::Read;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How long a callback of a busy worker takes.
const WORK: Duration = Duration::from_millis(20);

fn report_refusal(what: &str, result: api::Result<()>) {
    if let Err(error) = result {
        report!("{what} refused: {error}");
    }
}

/// Is stuck until the gate opens whose port the message names.
fn stick(event: &Event) {
    let port = std::str::from_utf8(event.data()).map_or(0, puppet::number::<u16>);
    let opened = TcpStream::connect(("127.0.0.1", port)).and_then(|mut gate| gate.read(&mut [0]));
    assert!(opened.is_ok(), "the gate is broken: {opened:?}");
}

/// Sends the number of a gate's port, and waits until the callback is stuck there.
fn hold(client: &mut Client) -> Fallible<puppet::Held> {
    let gate = Gate::new()?;
    client.send(gate.port()?.to_string().as_bytes())?;
    gate.wait()
}

const IDLE: usize = 7;

/// Sends to everybody once it knows of all, and else asks to be asked again.
fn tell_everybody(server: Handle, event: &Event) {
    let everybody = server.client_list(0, 100).expect("a list");
    if everybody.len() <= IDLE {
        report_refusal("again", server.send(event.fd(), b"again"));
        return;
    }
    for fd in everybody {
        report_refusal("hello", server.send(fd, b"hello"));
    }
}

fn broadcaster(setup: &Setup) -> Fallible<Server> {
    let server = setup.server()?;
    match setup.mode {
        Mode::Process => server.set("reactor_num", "2")?,
        // There a worker lists its own connections only.
        Mode::Base => server.set("worker_num", "1")?,
        Mode::Thread => {}
    }
    server.on("receive", tell_everybody)?;
    Ok(server)
}

fn broadcast(setup: &Setup) -> Outcome {
    broadcaster(setup)?.start()?;
    Ok(())
}

fn broadcast_with_connect(setup: &Setup) -> Outcome {
    let server = broadcaster(setup)?;
    server.on("connect", |_, _| {})?;
    server.start()?;
    Ok(())
}

fn a_broadcast_reaches_connections_that_never_sent(server: &Running) -> Outcome {
    let idle: Result<Vec<Client>, _> = (0..IDLE).map(|_| server.connect()).collect();
    let mut speaker = server.connect()?;
    let end = Instant::now() + STEP;
    speaker.send(b"tell")?;
    while speaker.receive(5)? == b"again" {
        assert!(Instant::now() < end, "the connections are never all known");
        speaker.send(b"tell")?;
    }
    for (number, client) in idle?.iter_mut().enumerate() {
        let heard = client.receive(5).map_err(|error| format!("client {number}: {error}"))?;
        assert_eq!(heard, b"hello", "client {number}");
    }
    Ok(())
}

fn a_broadcast_reaches_connections_whose_connect_was_told(server: &Running) -> Outcome {
    a_broadcast_reaches_connections_that_never_sent(server)
}

fn labour(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.set("worker_num", "1")?;
    server.on("receive", |server, event| {
        std::thread::sleep(WORK);
        report_refusal("reply", server.send(event.fd(), b"r"));
    })?;
    server.start()?;
    Ok(())
}

fn the_first_reply_does_not_wait_for_the_last_callback(server: &Running) -> Outcome {
    const COUNT: usize = 20;
    let clients: Result<Vec<Client>, _> = (0..COUNT).map(|_| server.connect()).collect();
    let mut clients = clients?;
    let begin = Instant::now();
    clients.iter_mut().try_for_each(|client| client.send(b"x"))?;
    let fds: Vec<i32> = clients.iter().map(|client| client.stream.as_raw_fd()).collect();
    let limit_ms = i32::try_from(STEP.as_millis())?;
    let ready = puppet::poll(&fds, libc::POLLIN, limit_ms)?;
    let first = begin.elapsed();
    assert!(!ready.is_empty(), "no reply came");
    for client in &mut clients {
        assert_eq!(client.receive(1)?, b"r");
    }
    let last = begin.elapsed();
    assert!(first < last / 2, "the first of {COUNT} replies came after {first:?} of {last:?}");
    Ok(())
}

fn speak_and_stick(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("receive", |server, event| {
        report_refusal("early", server.send(event.fd(), b"early"));
        stick(event);
    })?;
    server.start()?;
    Ok(())
}

fn a_reply_leaves_while_its_callback_goes_on(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    for _ in 0..5 {
        let _held = hold(&mut client)?;
        assert_eq!(client.receive(5)?, b"early");
    }
    Ok(())
}

/// Tells which worker has which connection and works on it for a while.
fn labour_in_two(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("connect", |server, _| report!("connect {}", server.worker_id()))?;
    server.on("receive", |server, event| {
        report!("work {}", server.worker_id());
        std::thread::sleep(WORK);
        report_refusal("reply", server.send(event.fd(), b"r"));
    })?;
    server.on("workerStart", |_, event| {
        report!("worker {} {}", event.worker().worker_id, event.worker().worker_pid);
    })?;
    server.on("workerStop", |_, event| {
        report!("stop {} {}", event.worker().worker_id, event.worker().worker_pid);
    })?;
    server.start()?;
    Ok(())
}

fn a_busy_worker_that_is_told_to_end_ends_after_the_callback_in_hand(server: &Running) -> Outcome {
    const COUNT: usize = 300;
    let clients: Result<Vec<Client>, _> = (0..COUNT).map(|_| server.connect()).collect();
    let mut clients = clients?;
    let owners = server.wait_lines(COUNT, |line| line.starts_with("connect "), STEP)?;
    let of_first = owners.iter().filter(|line| *line == "connect 0").count();
    let busier = i32::from(of_first < COUNT / 2);
    clients.iter_mut().try_for_each(|client| client.send(b"x"))?;
    // At least half of all, three seconds of work, are this worker's.
    let work = format!("work {busier}");
    server.wait_line(|line| line == work, STEP)?;
    let pid = puppet::pid_of(server, busier, 1)?;
    process::send_signal(pid, libc::SIGTERM)?;
    let stop = format!("stop {busier} {pid}");
    server.wait_line(|line| line == stop, Duration::from_secs(1))?;
    assert!(process::wait_gone(pid, STEP)?);
    if server.mode() == Mode::Process {
        for client in &mut clients {
            assert_eq!(client.receive(1)?, b"r", "its successor serves the rest");
        }
    }
    Ok(())
}

const REPLIES: usize = 4000;
const REPLY: &[u8; 16] = b"0123456789abcdef";

fn answer_much_at_the_end(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.set("single_thread", "true")?;
    server.on("receive", |server, event| {
        report_refusal("shutdown", server.shutdown());
        stick(event);
        (0..REPLIES).for_each(|_| report_refusal("reply", server.send(event.fd(), REPLY)));
    })?;
    server.on("workerStop", |_, event| report!("stop {}", event.worker().worker_id))?;
    server.on("managerStop", |_, _| report!("manager stop"))?;
    server.start()?;
    Ok(())
}

/// While the master is stopped the replies pile up, until nobody is left but the master.
fn all_replies_that_wait_for_the_master_at_the_end_arrive(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let held = hold(&mut client)?;
    // The other worker has ended, so both were told to.
    server.wait_line(|line| line.starts_with("stop "), STEP)?;
    process::send_signal(server.pid(), libc::SIGSTOP)?;
    drop(held);
    let is_over = server.wait_line(|line| line == "manager stop", STEP);
    process::send_signal(server.pid(), libc::SIGCONT)?;
    is_over?;
    let bytes = client.receive_to_end()?;
    assert_eq!(bytes.len(), REPLIES * REPLY.len());
    assert!(bytes.chunks(REPLY.len()).all(|reply| reply == REPLY));
    // It ends by itself: a signal to it could come when it has ended.
    assert!(server.wait_exit(STEP)?.success());
    Ok(())
}

/// How long to look out for a reset that must not come.
const RESET_COMES_IN_MS: i32 = 100;

fn close_with_input_unread(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("receive", |server, event| {
        stick(event);
        report_refusal("bye", server.send(event.fd(), b"bye"));
        report_refusal("close", server.close(event.fd(), false));
    })?;
    server.start()?;
    Ok(())
}

fn a_client_that_still_sends_reads_the_last_words_and_an_orderly_end(server: &Running) -> Outcome {
    let limit_ms = i32::try_from(STEP.as_millis())?;
    for round in 0..10 {
        let mut client = server.connect()?;
        let held = hold(&mut client)?;
        client.send(&[b'u'; 200_000])?;
        drop(held);
        let fds = [client.stream.as_raw_fd()];
        let is_ended = !puppet::poll(&fds, libc::POLLRDHUP, limit_ms)?.is_empty();
        assert!(is_ended, "round {round}: no end came");
        // A reset would follow at once, and throw away what was not read yet.
        puppet::poll(&fds, 0, RESET_COMES_IN_MS)?;
        let heard = client.receive_to_end().map_err(|error| format!("round {round}: {error}"))?;
        assert_eq!(heard, b"bye", "round {round}");
    }
    Ok(())
}

server_tests! {
    a_broadcast_reaches_connections_that_never_sent: broadcast;
    a_broadcast_reaches_connections_whose_connect_was_told: broadcast_with_connect;
    the_first_reply_does_not_wait_for_the_last_callback: labour;
    a_reply_leaves_while_its_callback_goes_on: speak_and_stick;
    // A thread cannot be told to end by a signal.
    a_busy_worker_that_is_told_to_end_ends_after_the_callback_in_hand: labour_in_two,
        in [Mode::Process, Mode::Base];
    // Only there replies wait for another process.
    all_replies_that_wait_for_the_master_at_the_end_arrive: answer_much_at_the_end,
        in [Mode::Process];
    a_client_that_still_sends_reads_the_last_words_and_an_orderly_end: close_with_input_unread;
}
