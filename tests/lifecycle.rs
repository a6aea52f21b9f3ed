//! The life of a server: its events, who asks for its end and how, what it may be started with, and
//! what it leaves behind, which is nothing.

mod common;
#[path = "lifecycle/ending.rs"]
mod ending;
#[path = "lifecycle/guest.rs"]
mod guest;

use common::api::Handle;
use common::prelude::*;
use common::{process, Client};
use ending::*;
use guest::*;

pub type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A server with two workers that reports every event of its life.
fn telling_server(setup: &Setup) -> Fallible<Server> {
    let server = setup.bare_server("127.0.0.1", SW_SOCK_TCP)?;
    server.set("worker_num", "2")?;
    server.set("log_level", "4")?;
    for name in ["start", "beforeShutdown", "shutdown", "managerStart", "managerStop"] {
        server.on(name, tell)?;
    }
    for name in ["workerStart", "workerStop", "workerError"] {
        server.on(name, tell)?;
    }
    server.on("receive", |server, event| {
        report!("sent {}", server.send(event.fd(), event.data()).is_ok());
    })?;
    Ok(server)
}

/// Which event, in which process and thread, and what the server says of itself.
fn tell(server: Handle, event: &Event) {
    use sw_event_kind_t::*;
    let kind = event.kind();
    let detail = match kind {
        SW_EVENT_WORKER_START | SW_EVENT_WORKER_STOP => {
            let told = event.worker();
            assert!(!told.is_task_worker);
            assert_eq!(told.worker_pid, server.worker_pid(-1), "a worker asks for itself");
            format!("id {} known_as {}", told.worker_id, told.worker_pid)
        }
        SW_EVENT_WORKER_ERROR => {
            let told = event.error();
            format!(
                "id {} of {} status {} exit {} signal {}",
                told.worker_id, told.worker_pid, told.status, told.exit_code, told.signal
            )
        }
        _ => format!("id {}", server.worker_id()),
    };
    // SAFETY: gettid takes nothing.
    let thread = unsafe { libc::gettid() };
    report!(
        "{kind:?} {detail} pid {} thread {thread} master {} manager {} since {}",
        std::process::id(),
        server.master_pid(),
        server.manager_pid(),
        server.stats().map_or(0, |stats| stats.start_time)
    );
}

pub fn live(setup: &Setup) -> Outcome {
    telling_server(setup)?.start()?;
    report!("start returned");
    Ok(())
}

/// The number behind a word of a reported line.
pub fn number(line: &str, word: &str) -> Fallible<i64> {
    let mut words = line.split(' ').skip_while(|found| *found != word);
    let found = words.nth(1).ok_or_else(|| format!("no {word} in {line}"))?;
    Ok(found.parse()?)
}

pub fn is_event(kind: &'static str) -> impl Fn(&str) -> bool {
    move |line| line.split(' ').next() == Some(kind)
}

const START: &str = "SW_EVENT_START";
const BEFORE: &str = "SW_EVENT_BEFORE_SHUTDOWN";
const SHUTDOWN: &str = "SW_EVENT_SHUTDOWN";
const MANAGER_START: &str = "SW_EVENT_MANAGER_START";
const MANAGER_STOP: &str = "SW_EVENT_MANAGER_STOP";
const WORKER_START: &str = "SW_EVENT_WORKER_START";
const WORKER_STOP: &str = "SW_EVENT_WORKER_STOP";
const WORKER_ERROR: &str = "SW_EVENT_WORKER_ERROR";

/// Waits until all that a server with two workers raises at its start has been told.
pub fn wait_until_up(server: &Running) -> Outcome {
    server.wait_line(is_event(START), STEP)?;
    server.wait_line(is_event(MANAGER_START), STEP)?;
    server.wait_lines(2, is_event(WORKER_START), STEP)?;
    Ok(())
}

/// Tells a server to end and waits until it has: all lines that it reported.
pub fn end(server: &Running) -> Fallible<Vec<String>> {
    server.signal(libc::SIGTERM)?;
    await_end(server)
}

pub fn await_end(server: &Running) -> Fallible<Vec<String>> {
    let status = server.wait_exit(STEP)?;
    assert!(status.success(), "{status}");
    server.assert_nothing_left()?;
    Ok(server.lines_so_far())
}

/// The one line of an event that must come once.
fn only<'a>(lines: &'a [String], kind: &str) -> Fallible<(usize, &'a str)> {
    let mut found =
        lines.iter().enumerate().filter(|(_, line)| line.split(' ').next() == Some(kind));
    match (found.next(), found.next()) {
        (Some((at, line)), None) => Ok((at, line)),
        (first, _) => {
            Err(format!("{kind} came {} times", first.map_or("no", |_| "several")).into())
        }
    }
}

fn events_come_once_where_they_belong_and_in_order(server: &Running) -> Outcome {
    wait_until_up(server)?;
    let lines = end(server)?;
    let (_, start) = only(&lines, START)?;
    let (_, manager_start) = only(&lines, MANAGER_START)?;
    let (before_at, before) = only(&lines, BEFORE)?;
    let (manager_stop_at, manager_stop) = only(&lines, MANAGER_STOP)?;
    let (shutdown_at, shutdown) = only(&lines, SHUTDOWN)?;
    let root = i64::from(server.pid());
    let of_worker_0 = |line: &&String| line.contains(" id 0 ");
    let starts: Vec<&String> = lines.iter().filter(|l| is_event(WORKER_START)(l)).collect();
    let first = starts.iter().find(|line| of_worker_0(line)).ok_or("worker 0 did not start")?;
    let (face, manager) = match server.mode() {
        Mode::Process => (root, number(manager_start, "pid")?),
        Mode::Base => (number(first, "pid")?, root),
        Mode::Thread => (root, root),
    };
    assert_eq!(number(start, "pid")?, face);
    assert_eq!(number(before, "pid")?, face);
    assert_eq!(number(manager_start, "pid")?, manager);
    assert_eq!(number(manager_stop, "pid")?, manager);
    assert_eq!(number(shutdown, "pid")?, root);
    assert_eq!(manager == root, server.mode() != Mode::Process);
    assert_eq!(number(start, "thread")?, face, "the start event is of the main thread");
    for line in [start, before, manager_start, manager_stop] {
        let known = if server.mode() == Mode::Thread { 0 } else { manager };
        assert_eq!((number(line, "master")?, number(line, "manager")?), (face, known), "{line}");
        assert!(number(line, "since")? > 1_600_000_000, "{line}");
    }
    assert!(manager_stop_at < shutdown_at && before_at < manager_stop_at);
    assert_eq!(lines.get(shutdown_at + 1).map(String::as_str), Some("start returned"));
    workers_start_and_stop_once(server, &lines, manager_stop_at)
}

/// Both workers, each in its own process or thread, stop after they started and before the manager.
fn workers_start_and_stop_once(server: &Running, lines: &[String], manager_stop: usize) -> Outcome {
    let mut homes = Vec::new();
    for id in 0..2 {
        let of_id = |line: &String| number(line, "id").ok() == Some(id);
        let find = |kind: &'static str| -> Vec<usize> {
            let is_it = |line: &String| is_event(kind)(line) && of_id(line);
            (0..lines.len()).filter(|at| is_it(&lines[*at])).collect()
        };
        let (starts, stops) = (find(WORKER_START), find(WORKER_STOP));
        let ([start], [stop]) = (starts.as_slice(), stops.as_slice()) else {
            return Err(format!("worker {id} started {starts:?}, stopped {stops:?}").into());
        };
        assert!(start < stop && *stop < manager_stop);
        let (start, stop) = (&lines[*start], &lines[*stop]);
        let home = if server.mode() == Mode::Thread { "thread" } else { "pid" };
        assert_eq!(number(start, home)?, number(start, "known_as")?);
        assert_eq!(number(start, home)?, number(stop, home)?);
        assert_ne!(number(start, "master")?, 0, "known from the first event on");
        assert!(number(start, "since")? > 0);
        homes.push(number(start, home)?);
    }
    let root = i64::from(server.pid());
    assert!(homes[0] != homes[1] && !homes.contains(&root), "{homes:?}");
    assert!(!lines.iter().any(|line| is_event(WORKER_ERROR)(line)));
    Ok(())
}

fn live_alone(setup: &Setup) -> Outcome {
    let server = telling_server(setup)?;
    server.set("worker_num", "1")?;
    server.start()?;
    report!("start returned");
    Ok(())
}

fn a_single_process_has_no_manager_and_raises_all_else_itself(server: &Running) -> Outcome {
    server.wait_line(is_event(START), STEP)?;
    assert_eq!(server.descendants()?, []);
    let mut lines = end(server)?;
    lines.retain(|line| line != "ready");
    let kinds: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(kinds, [WORKER_START, START, BEFORE, WORKER_STOP, SHUTDOWN, "start"]);
    let pid = i64::from(server.pid());
    for line in &lines[..4] {
        assert_eq!(number(line, "pid")?, pid, "{line}");
        assert_eq!((number(line, "master")?, number(line, "manager")?), (pid, 0), "{line}");
    }
    Ok(())
}

fn a_killed_worker_is_an_error_and_its_successor_does_not_start_the_server_again(
    server: &Running,
) -> Outcome {
    wait_until_up(server)?;
    let is_first = |line: &str| is_event(WORKER_START)(line) && line.contains(" id 0 ");
    let first = server.wait_line(is_first, STEP)?;
    let pid = number(&first, "pid")?;
    process::send_signal(i32::try_from(pid)?, libc::SIGKILL)?;
    let error = server.wait_line(is_event(WORKER_ERROR), STEP)?;
    server.wait_lines(2, is_first, STEP)?;
    assert_eq!((number(&error, "id")?, number(&error, "of")?), (0, pid));
    assert_eq!((number(&error, "exit")?, number(&error, "signal")?), (0, 9));
    assert_eq!(number(&error, "status")?, 9);
    let manager_start = server.wait_line(is_event(MANAGER_START), STEP)?;
    assert_eq!(number(&error, "pid")?, number(&manager_start, "pid")?);
    let lines = end(server)?;
    only(&lines, START)?;
    only(&lines, BEFORE)?;
    only(&lines, WORKER_ERROR)?;
    // The killed one did not stop in order, its successor and the other one did.
    assert_eq!(lines.iter().filter(|line| is_event(WORKER_STOP)(line)).count(), 2);
    Ok(())
}

fn a_server_has_as_many_processes_as_its_mode_says(server: &Running) -> Outcome {
    wait_until_up(server)?;
    let wanted = match server.mode() {
        Mode::Process => 2 + 2,
        Mode::Base => 2 + 1,
        Mode::Thread => 1,
    };
    assert_eq!(server.descendants()?.len() + 1, wanted);
    Ok(())
}

/// A server whose start callback lasts until the test releases it.
fn start_slowly(setup: &Setup) -> Outcome {
    let server = setup.bare_server("127.0.0.1", SW_SOCK_TCP)?;
    server.set("worker_num", "1")?;
    server.on("connect", |_, event| report!("connect {}", event.fd()))?;
    server.on("receive", |server, event| {
        report!("sent {}", server.send(event.fd(), event.data()).is_ok());
    })?;
    make_gate()?;
    server.on("start", |_, _| {
        report!("start begins");
        wait_at_gate();
        report!("start ends");
    })?;
    server.start()?;
    Ok(())
}

fn connections_wait_until_the_start_event_is_over(server: &Running) -> Outcome {
    server.wait_line(|line| line == "start begins", STEP)?;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = Client::connect(server.port())?;
        client.send(b"early")?;
        clients.push(client);
    }
    open_gate(server)?;
    for client in &mut clients {
        assert_eq!(client.receive(5)?, b"early");
    }
    server.wait_lines(5, |line| line.starts_with("connect"), STEP)?;
    let lines = server.lines_so_far();
    let place = |text: &str| lines.iter().position(|line| line.starts_with(text));
    assert!(place("start ends") < place("connect"), "{lines:?}");
    Ok(())
}

server_tests! {
    [both_faces];
    events_come_once_where_they_belong_and_in_order: live;
    a_single_process_has_no_manager_and_raises_all_else_itself: live_alone, in [Mode::Base];
    // Threads cannot be killed.
    a_killed_worker_is_an_error_and_its_successor_does_not_start_the_server_again: live,
        in [Mode::Process, Mode::Base];
    a_server_has_as_many_processes_as_its_mode_says: live;
    connections_wait_until_the_start_event_is_over: start_slowly;

    an_end_asked_for_in_start_is_orderly: end_in_start;
    an_end_asked_for_in_manager_start_is_orderly: end_in_manager_start;
    an_end_asked_for_in_worker_start_is_orderly: end_in_worker_start;
    an_end_asked_for_in_connect_is_orderly: end_in_connect;
    an_end_asked_for_in_receive_is_orderly_and_the_answer_arrives: end_in_receive;
    an_end_asked_for_in_close_is_orderly: end_in_close;
    an_end_asked_for_in_worker_error_is_orderly: end_in_worker_error,
        in [Mode::Process, Mode::Base];
    an_end_asked_for_while_it_ends_is_harmless: end_while_ending;
    an_end_asked_for_in_a_signal_handler_is_orderly: end_in_handler;
    a_signal_in_start_ends_in_order: get_signal_in_start;
    a_signal_in_manager_start_ends_in_order: get_signal_in_manager_start;
    a_signal_in_worker_start_ends_in_order: get_signal_in_worker_start;
    // A thread that is stuck cannot be ended by anybody.
    a_stuck_worker_is_killed_after_twice_the_wait: get_stuck, in [Mode::Process, Mode::Base];
    // Elsewhere nobody takes requests for a worker that is busy.
    requests_taken_before_the_end_are_answered: answer_late, in [Mode::Process];
    a_request_in_hand_at_the_end_is_answered: answer_one_late;

    a_server_follows_another_on_its_port: serve_in_turn;
    a_start_that_cannot_be_is_refused: start_wrongly;
    signals_are_as_they_were_after_the_end: keep_signals;
    nothing_is_left_in_the_process: leave_nothing;
}
