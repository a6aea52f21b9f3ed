//! The pull face: `sw_server_launch` and what comes after it. That events have the same contents
//! and order as callbacks is tested by the files whose cases run with both faces.

mod common;
mod puppet;

use common::api::Handle;
use common::prelude::*;
use common::pull::{self, Next};
use puppet::{ask, ask_until, number};
use std::ffi::c_void;
use swoole::ffi::launch::{sw_role_t, sw_server_launch_process};
use swoole::ffi::process::{sw_process_new, sw_server_add_process};
use swoole::ffi::timer::{sw_server_clear_timer, sw_server_tick};

const WRONG: i32 = SW_ERROR_WRONG_OPERATION;

/// A server whose receive events are taken one by one.
fn pulled(setup: &Setup, wanted: &[&str]) -> Result<Server, api::Error> {
    pull::choose();
    let server = setup.bare_server("127.0.0.1", SW_SOCK_TCP)?;
    server.set("worker_num", "2")?;
    server.on("receive", puppet::obey)?;
    for name in wanted {
        server.want(name)?;
    }
    Ok(server)
}

/// Ends the process if it is a child of the one that launched.
fn end(caller: u32) {
    if std::process::id() != caller {
        std::process::exit(0);
    }
}

/// What the processes of a server do with each event, until it has ended.
fn take_all(server: Handle, timeout: f64, mut take: impl FnMut(Option<&Event>)) -> Outcome {
    let caller = std::process::id();
    let role = server.launch()?;
    report!("{role:?}");
    if role == sw_role_t::SW_ROLE_ENDED {
        return Ok(());
    }
    assert_eq!(server.role(), role);
    loop {
        match server.next_event(timeout)? {
            Next::Event(event) => take(Some(&Event(&event))),
            Next::Timeout => take(None),
            Next::Forked => report!("forked {:?}", server.role()),
            Next::Ended => break,
        }
    }
    report!("left {role:?}");
    end(caller);
    Ok(())
}

fn echo_of(server: Handle) -> impl FnMut(Option<&Event>) {
    move |event| {
        let kind = event.map(Event::kind);
        if let (Some(event), Some(sw_event_kind_t::SW_EVENT_RECEIVE)) = (event, kind) {
            puppet::obey(server, event);
        }
    }
}

fn run_every_role(setup: &Setup) -> Outcome {
    let server = pulled(setup, &["task"])?;
    server.set("task_worker_num", "1")?;
    // SAFETY: the type of the function is that of the C interface.
    let process = sw_process_new(Some(sw_server_launch_process), std::ptr::null_mut::<c_void>());
    assert!(sw_server_add_process(server.raw, process) >= 0);
    take_all(*server, -1.0, echo_of(*server))
}

fn each_process_comes_out_with_its_role_and_the_caller_when_all_is_over(
    server: &Running,
) -> Outcome {
    let is = |role: &'static str| move |line: &str| line == role;
    server.wait_lines(2, is("SW_ROLE_WORKER"), STEP)?;
    server.wait_line(is("SW_ROLE_TASK_WORKER"), STEP)?;
    // It has nothing to do, so it ends and is started again.
    server.wait_lines(2, is("SW_ROLE_USER_PROCESS"), STEP)?;
    server.wait_line(is("left SW_ROLE_USER_PROCESS"), STEP)?;
    Client::connect(server.port())?.echo(b"hello")?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    server.wait_lines(2, is("left SW_ROLE_WORKER"), STEP)?;
    server.wait_line(is("left SW_ROLE_TASK_WORKER"), STEP)?;
    server.wait_lines(1, is("SW_ROLE_ENDED"), STEP)?;
    Ok(())
}

/// `worker_num` of 1: in BASE mode the caller is the worker.
fn run_alone(setup: &Setup) -> Outcome {
    let server = pulled(setup, &["workerStart"])?;
    server.set("worker_num", "1")?;
    take_all(*server, -1.0, echo_of(*server))
}

fn a_caller_that_is_the_worker_takes_its_events(server: &Running) -> Outcome {
    server.wait_line(|line| line == "SW_ROLE_WORKER", STEP)?;
    let mut client = Client::connect(server.port())?;
    let told = ask(&mut client, "who")?;
    let pid: i32 = number(told.split(' ').nth(1).unwrap_or_default());
    assert_eq!(pid == server.pid(), server.mode() == Mode::Base);
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    Ok(())
}

/// Looks, and never waits: a loop that turns only where it may wait would do nothing.
fn run_looking(setup: &Setup) -> Outcome {
    let server = pulled(setup, &[])?;
    take_all(*server, 0.0, echo_of(*server))
}

fn a_program_that_only_looks_gets_everything(server: &Running) -> Outcome {
    server.wait_line(|line| line == "SW_ROLE_WORKER", STEP)?;
    let mut client = Client::connect(server.port())?;
    for _ in 0..100 {
        client.echo(b"hello")?;
    }
    Ok(())
}

fn run_with_times(setup: &Setup) -> Outcome {
    let server = pulled(setup, &[])?;
    let handle = *server;
    let mut begin = std::time::Instant::now();
    take_all(handle, 0.02, move |event| {
        match event {
            Some(event) => puppet::obey(handle, event),
            None => report!("waited {}", begin.elapsed().as_millis()),
        }
        begin = std::time::Instant::now();
    })
}

fn a_wait_is_over_in_time_and_not_before(server: &Running) -> Outcome {
    let waits = server.wait_lines(6, |line| line.starts_with("waited"), STEP)?;
    // The first wait of a worker includes its start.
    for wait in &waits {
        let milliseconds: u64 = number(wait.trim_start_matches("waited "));
        assert!(milliseconds >= 20, "{wait}");
    }
    Client::connect(server.port())?.echo(b"hello")?;
    Ok(())
}

fn check_in_hand(server: Handle, event: &Event) {
    let before = event.data().to_vec();
    let wide = vec![b'x'; 100_000];
    for fd in server.client_list(0, 100).unwrap_or_default() {
        report!("sent {}", server.send(fd, &wide).is_ok());
    }
    report!("same {}", event.data() == before);
    report!("done {:?}", server.event_done().map_err(|error| error.code));
    report!("done twice {:?}", server.event_done().map_err(|error| error.code));
}

fn run_in_hand(setup: &Setup) -> Outcome {
    let server = pulled(setup, &[])?;
    let handle = *server;
    take_all(handle, -1.0, move |event| {
        if let Some(event) = event {
            check_in_hand(handle, event);
        }
    })
}

fn an_event_stays_as_it_is_until_it_is_done(server: &Running) -> Outcome {
    server.wait_line(|line| line == "SW_ROLE_WORKER", STEP)?;
    let mut client = Client::connect(server.port())?;
    client.send(b"hello")?;
    assert_eq!(client.receive(100_000)?, vec![b'x'; 100_000]);
    server.wait_line(|line| line == "same true", STEP)?;
    server.wait_line(|line| line == "done Ok(())", STEP)?;
    server.wait_line(|line| line == format!("done twice Err({WRONG})"), STEP)?;
    Ok(())
}

fn run_closing(setup: &Setup) -> Outcome {
    let server = pulled(setup, &["close"])?;
    let handle = *server;
    take_all(handle, -1.0, move |event| {
        let Some(event) = event else { return };
        let fd = event.fd();
        if event.kind() == sw_event_kind_t::SW_EVENT_CLOSE {
            let told = handle.close(fd, false).map_err(|error| error.code);
            report!("closed by {}, again {told:?}", event.connection().reactor_id);
            report!("last words {}", handle.send(fd, b"bye").is_ok());
            return;
        }
        report!("close {}", handle.close(fd, false).is_ok());
        report!("twice {:?}", handle.close(fd, false).map_err(|error| error.code));
        report!("sent {}", handle.send(fd, b"see you, ").is_ok());
    })
}

fn a_close_comes_next_when_the_event_in_hand_is_done(server: &Running) -> Outcome {
    server.wait_line(|line| line == "SW_ROLE_WORKER", STEP)?;
    let mut client = Client::connect(server.port())?;
    client.send(b"hello")?;
    assert_eq!(client.receive(9)?, b"see you, ");
    assert!(client.receive_to_end()?.is_empty());
    server.wait_line(|line| line == "last words false", STEP)?;
    let closing = SW_ERROR_SESSION_CLOSING;
    let lines = server.lines_so_far();
    let told: Vec<&str> = lines.iter().map(String::as_str).filter(|l| !l.contains('_')).collect();
    let twice = format!("twice Err({closing})");
    let closed = format!("closed by -1, again Err({closing})");
    assert_eq!(told, ["close true", &twice, "sent true", &closed, "last words false"]);
    Ok(())
}

extern "C-unwind" fn take_inside(timer: i64, server: *mut c_void) {
    let server = Handle { raw: server.cast() };
    report!("inside {:?}", server.next_event(0.0).err().map(|error| error.code));
    assert!(sw_server_clear_timer(server.raw, timer));
}

/// Where no event can be taken: in a callback, in another thread, in a process of the program's.
fn try_elsewhere(server: Handle) {
    let address = server.raw as usize;
    let thread = std::thread::spawn(move || {
        let server = Handle { raw: address as *mut _ };
        report!("thread {:?}", server.next_event(0.0).err().map(|error| error.code));
    });
    thread.join().expect("the thread ends");
    // SAFETY: the child asks and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let is_refused = server.next_event(0.0).is_err_and(|error| error.code == WRONG);
        // SAFETY: ends the process.
        unsafe { libc::_exit(if is_refused { 7 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: takes the end of our own child.
    unsafe { libc::waitpid(pid, &mut status, 0) };
    report!("copy {}", libc::WEXITSTATUS(status));
    assert!(sw_server_tick(server.raw, 1, Some(take_inside), server.raw.cast()) > 0);
}

fn run_elsewhere(setup: &Setup) -> Outcome {
    let server = pulled(setup, &[])?;
    let handle = *server;
    take_all(handle, -1.0, move |event| {
        if let Some(event) = event {
            try_elsewhere(handle);
            puppet::obey(handle, event);
        }
    })
}

fn events_are_taken_by_the_process_and_thread_that_launched_only(server: &Running) -> Outcome {
    server.wait_line(|line| line == "SW_ROLE_WORKER", STEP)?;
    let mut client = Client::connect(server.port())?;
    client.echo(b"hello")?;
    for place in ["thread", "inside"] {
        server.wait_line(|line| line == format!("{place} Some({WRONG})"), STEP)?;
    }
    server.wait_line(|line| line == "copy 7", STEP)?;
    client.echo(b"hello")?;
    Ok(())
}

/// The manager takes events, too, so workers that it forks later come out of its own call.
fn run_managed(setup: &Setup) -> Outcome {
    let server = pulled(setup, &["workerError", "managerStart"])?;
    let handle = *server;
    let mut echo = echo_of(handle);
    take_all(handle, -1.0, move |event| {
        if let Some(sw_event_kind_t::SW_EVENT_WORKER_ERROR) = event.map(Event::kind) {
            let code = event.map_or(0, |event| event.error().exit_code);
            report!("exit code {code} in {:?}", handle.role());
        }
        echo(event);
    })
}

fn a_worker_that_exits_in_the_middle_is_told_of_and_replaced(server: &Running) -> Outcome {
    server.wait_line(|line| line == "SW_ROLE_MANAGER", STEP)?;
    for round in 1..=3 {
        let mut client = Client::connect(server.port())?;
        client.send(b"!exit 3")?;
        let told = |line: &str| line == "exit code 3 in SW_ROLE_MANAGER";
        server.wait_lines(round, told, STEP)?;
        server.wait_lines(round, |line| line == "forked SW_ROLE_WORKER", STEP)?;
    }
    let mut client = Client::connect(server.port())?;
    ask_until(&mut client, "who", |line| !line.is_empty())?;
    Ok(())
}

/// A callback of its own beside events that are taken.
fn run_mixed(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("connect", |server, event| {
        report!("callback {}", server.send(event.fd(), b"welcome").is_ok());
    })?;
    server.want("receive")?;
    take_all(*server, -1.0, echo_of(*server))
}

fn callbacks_and_events_stand_beside_each_other(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    assert_eq!(client.receive(7)?, b"welcome");
    client.echo(b"hello")?;
    Ok(())
}

fn launch_in_vain(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    let told = server.launch().map_err(|error| error.code);
    report!("nothing wanted: {told:?}");
    server.want("receive")?;
    if setup.mode == Mode::Thread {
        report!("threads: {:?}", server.launch().map_err(|error| error.code));
        return Ok(());
    }
    report!("not launched: {:?}", server.next_event(0.0).err().map(|error| error.code));
    take_all(*server, -1.0, echo_of(*server))?;
    report!("ended: {:?}", server.next_event(0.0).err().map(|error| error.code));
    report!("again: {:?}", server.launch().map_err(|error| error.code));
    Ok(())
}

fn a_launch_that_cannot_be_is_refused_and_can_be_repeated(server: &Running) -> Outcome {
    let is = |line: String| move |told: &str| told == line;
    if server.mode() == Mode::Thread {
        let number = SW_ERROR_OPERATION_NOT_SUPPORT;
        server.wait_line(is(format!("threads: Err({number})")), STEP)?;
        assert!(server.wait_exit(STEP)?.success());
        return Ok(());
    }
    let number = SW_ERROR_SERVER_INVALID_CALLBACK;
    server.wait_line(is(format!("nothing wanted: Err({number})")), STEP)?;
    server.connect()?.echo(b"hello")?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    for place in ["not launched: Some", "ended: Some", "again: Err"] {
        server.wait_line(is(format!("{place}({WRONG})")), STEP)?;
    }
    Ok(())
}

server_tests! {
    each_process_comes_out_with_its_role_and_the_caller_when_all_is_over: run_every_role,
        in [Mode::Process, Mode::Base];
    a_caller_that_is_the_worker_takes_its_events: run_alone, in [Mode::Process, Mode::Base];
    a_program_that_only_looks_gets_everything: run_looking, in [Mode::Process, Mode::Base];
    a_wait_is_over_in_time_and_not_before: run_with_times, in [Mode::Process, Mode::Base];
    an_event_stays_as_it_is_until_it_is_done: run_in_hand, in [Mode::Process, Mode::Base];
    a_close_comes_next_when_the_event_in_hand_is_done: run_closing,
        in [Mode::Process, Mode::Base];
    events_are_taken_by_the_process_and_thread_that_launched_only: run_elsewhere,
        in [Mode::Process, Mode::Base];
    a_worker_that_exits_in_the_middle_is_told_of_and_replaced: run_managed,
        in [Mode::Process, Mode::Base];
    callbacks_and_events_stand_beside_each_other: run_mixed, in [Mode::Process, Mode::Base];
    a_launch_that_cannot_be_is_refused_and_can_be_repeated: launch_in_vain;
}
