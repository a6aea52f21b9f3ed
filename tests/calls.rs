//! Bad calls. Whatever a function is given, and wherever it is called: it fails with the number
//! that the specification names and one clear sentence, or does nothing; and the server goes on.
//!
//! The tables have a row for each function that the library exports, which a test compares with
//! what `nm` finds: a new function needs a row, and a row needs something that goes wrong.

#[path = "calls/control.rs"]
mod control;
#[path = "calls/datagrams.rs"]
mod datagrams;
#[path = "calls/dispatching.rs"]
mod dispatching;
#[path = "calls/launch.rs"]
mod launch;
#[path = "calls/messages.rs"]
mod messages;
#[path = "calls/ports.rs"]
mod ports;
#[path = "calls/table.rs"]
mod table;
#[path = "calls/tasks.rs"]
mod tasks;

mod common;

use common::prelude::*;
use std::net::TcpListener;
use std::process::Command;
use std::ptr::{null, null_mut};
use std::sync::atomic::Ordering;
use swoole::ffi::server::sw_server_free;
use swoole::ffi::server::sw_server_new;
use swoole::ffi::timer::sw_event_del;
use table::When::{Always, Callback, Configure, Run};
use table::*;

/// The number for a call in the wrong phase.
const PHASE: i32 = SW_ERROR_WRONG_OPERATION;

/// Where and when calls are tried.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    BeforeStart,
    /// A callback that has no connection.
    Event,
    /// A receive callback.
    Receive,
    /// While the server runs, but on a thread or in a process that is none of its own.
    Outside,
    AfterStart,
}

impl Function {
    fn takes_server(&self) -> bool {
        self.name.starts_with("sw_server_")
    }

    /// Whether it knows which server it is called on.
    fn knows_server(&self) -> bool {
        self.takes_server() || self.name.starts_with("sw_port_")
    }
}

/// Every function of the library.
fn functions() -> impl Iterator<Item = &'static Function> {
    let more = ports::PORTS.iter().chain(control::CONTROL).chain(datagrams::DATAGRAMS);
    let more = more.chain(tasks::TASKS).chain(messages::MESSAGES);
    let more = more.chain(dispatching::DISPATCHING).chain(launch::LAUNCH);
    TABLE.iter().chain(more)
}

impl When {
    fn is_right(self, place: Place) -> bool {
        match place {
            Place::BeforeStart => self == Configure || self == Always,
            Place::Event | Place::Receive => self != Configure,
            Place::Outside => self == Run || self == Always,
            Place::AfterStart => self == Always,
        }
    }
}

/// Tries one call; what is wrong with its answer, if anything.
fn try_bad(server: Raw, function: &str, bad: &Bad) -> Option<String> {
    // So that an error of an earlier call is not taken for the one of this call.
    assert!(!new(LOCALHOST, 77_777, SW_BASE, SW_SOCK_TCP));
    let before = api::last_error();
    let has_succeeded = (bad.call)(server);
    let after = api::last_error();
    let is_right = if bad.code == 0 {
        has_succeeded && after == before
    } else {
        !has_succeeded && after.code == bad.code && is_sentence(&after.message, bad.names)
    };
    let told = format!("{function}, {}: {has_succeeded}, last error {after}", bad.what);
    (!is_right).then_some(told)
}

/// One sentence that a person can read and that names what it is about.
fn is_sentence(text: &str, names: &str) -> bool {
    let is_clean = !text.contains(char::is_control) && !text.ends_with('.');
    is_clean && (10..=200).contains(&text.len()) && text.contains(names)
}

/// Tries all that must fail here; what did not, and how much was tried. `outside` is the number for
/// what belongs into a callback.
fn try_all(server: Raw, place: Place, outside: i32) -> (Vec<String>, usize) {
    let mut wrong = Vec::new();
    let mut count = 0;
    let mut attempt = |function: &Function, bad: &Bad| {
        count += 1;
        wrong.extend(try_bad(server, function.name, bad));
    };
    for function in functions() {
        match function.call {
            _ if function.when.is_right(place) => {}
            // After the end it is in its place again.
            _ if function.name == "sw_server_free" && place == Place::AfterStart => {}
            Some(call) => {
                // What is given no server cannot know whether one runs.
                let is_outside = function.when == Callback && function.knows_server();
                let code = if is_outside { outside } else { PHASE };
                attempt(function, &bad("wrong place", call, code, ""));
            }
            None => {}
        }
        let needs_connection = function.when == Callback && place != Place::Receive;
        if function.when.is_right(place) && !needs_connection {
            function.bad.iter().for_each(|bad| attempt(function, bad));
        }
    }
    (wrong, count)
}

fn report_all(server: Raw, name: &str, place: Place) {
    let (wrong, count) = try_all(server, place, PHASE);
    report_result(name, &wrong, count);
}

fn report_result(name: &str, wrong: &[String], count: usize) {
    wrong.iter().for_each(|text| report!("WRONG {name}: {text}"));
    report!("{name}: {count} calls");
}

/// Tries all calls in a process that a callback has forked. It reports through a pipe, since the
/// harness takes a lock to report, which the fork may have copied while it was held.
fn try_in_forked_process(server: Raw) {
    use std::io::{Read, Write};
    let (mut reader, mut writer) = std::os::unix::net::UnixStream::pair().expect("a pair");
    // SAFETY: the child makes calls that are made to fail, writes, and ends at once.
    match unsafe { libc::fork() } {
        -1 => report!("WRONG no fork"),
        0 => {
            let (wrong, count) = try_all(server, Place::Outside, PHASE);
            let is_told = writer.write_all(format!("{count}\n{}", wrong.join("\n")).as_bytes());
            // SAFETY: ends the process.
            unsafe { libc::_exit(i32::from(is_told.is_err())) }
        }
        child => {
            drop(writer);
            let mut text = String::new();
            reader.read_to_string(&mut text).expect("the child reports");
            // SAFETY: takes the end of our own child.
            unsafe { libc::waitpid(child, null_mut(), 0) };
            let mut lines = text.lines();
            let count = lines.next().and_then(|count| count.parse().ok()).unwrap_or(0);
            let wrong: Vec<String> = lines.map(str::to_owned).collect();
            report_result("fork", &wrong, count);
        }
    }
}

fn try_in_plain_thread(server: Raw) {
    let address = server as usize;
    let thread = std::thread::spawn(move || {
        let code = SW_ERROR_SERVER_UNRELATED_THREAD;
        let (wrong, count) = try_all(address as Raw, Place::Outside, code);
        report_result("thread", &wrong, count);
    });
    thread.join().expect("the thread ends");
}

fn obey(server: api::Handle, event: &Event) {
    LIVE.store(event.fd(), Ordering::Relaxed);
    match event.data() {
        b"here" => report_all(server.raw, "receive", Place::Receive),
        b"thread" => try_in_plain_thread(server.raw),
        b"fork" => try_in_forked_process(server.raw),
        b"other" => {
            let bad =
                bad("second", |_| start_other(true), SW_ERROR_SERVER_ONLY_START_ONE, "another");
            let wrong: Vec<String> = try_bad(server.raw, "start", &bad).into_iter().collect();
            report_result("other", &wrong, 1);
        }
        bytes => server.send(event.fd(), bytes).expect("a send of a callback"),
    }
    LIVE.store(0, Ordering::Relaxed);
}

fn try_everywhere(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    report_all(server.raw, "before", Place::BeforeStart);
    server.on("receive", obey)?;
    server.on("start", |server, _| report_all(server.raw, "start", Place::Event))?;
    server.on("workerStart", |server, _| report_all(server.raw, "worker", Place::Event))?;
    server.on("workerStop", |server, _| report_all(server.raw, "stop", Place::Event))?;
    server.on("managerStart", |server, _| report_all(server.raw, "manager", Place::Event))?;
    server.on("shutdown", |server, _| report_all(server.raw, "end", Place::Outside))?;
    // Trying has set these, too.
    server.set_json("{\"backlog\": 512, \"max_wait_time\": 3, \"socket_buffer_size\": \"8M\"}")?;
    server.start()?;
    report_all(server.raw, "after", Place::AfterStart);
    Ok(())
}

fn a_bad_call_fails_with_its_number_and_a_sentence_and_changes_nothing(
    server: &Running,
) -> Outcome {
    let came = |name: &'static str| move |line: &str| line.starts_with(&format!("{name}: "));
    let mut client = server.connect()?;
    for (command, name) in
        [("here", "receive"), ("thread", "thread"), ("fork", "fork"), ("other", "other")]
    {
        client.send(command.as_bytes())?;
        server.wait_line(came(name), STEP)?;
        client.echo(b"still there")?;
    }
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    for name in ["before", "start", "manager", "end", "after"] {
        server.wait_line(came(name), STEP)?;
    }
    server.wait_lines(2, came("worker"), STEP)?;
    server.wait_lines(2, came("stop"), STEP)?;
    let lines = server.lines_so_far();
    let wrong: Vec<&String> = lines.iter().filter(|line| line.starts_with("WRONG")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// What `libswoole.so` exports, as `nm` sees it.
fn exported() -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
    let own = std::env::current_exe()?;
    let library = own.ancestors().map(|folder| folder.join("libswoole.so")).find(|it| it.exists());
    let library = library.ok_or("libswoole.so stands beside or above the test")?;
    let output = Command::new("nm").args(["-D", "--defined-only", "-P"]).arg(library).output()?;
    let text = String::from_utf8(output.stdout)?;
    let names = text.lines().filter_map(|line| line.split([' ', '@']).next());
    Ok(names.map(str::to_owned).collect())
}

fn the_table_has_every_exported_function() -> Outcome {
    let mut names: Vec<&str> = functions().map(|function| function.name).collect();
    let mut exported = exported()?;
    names.sort_unstable();
    exported.sort_unstable();
    assert_eq!(names, exported);
    let is_idle = |function: &&Function| function.call.is_none() && function.bad.is_empty();
    assert_eq!(functions().find(is_idle).map(|function| function.name), None);
    Ok(())
}

fn what_is_no_server_is_refused_by_every_function() -> Outcome {
    let freed = sw_server_new(LOCALHOST, 0, SW_BASE, SW_SOCK_TCP);
    sw_server_free(freed);
    let mut foreign = [0_u64; 64];
    let wrongs = [
        ("NULL", null_mut(), "NULL"),
        ("freed", freed, "freed"),
        ("something else", foreign.as_mut_ptr().cast(), "sw_server_new"),
        ("a wild pointer", 1_usize as Raw, "sw_server_new"),
    ];
    let mut found = Vec::new();
    for (what, server, names) in wrongs {
        let is_harmless = |it: &&Function| it.name == "sw_server_free" && what == "NULL";
        for function in functions().filter(|it| it.takes_server() && !is_harmless(it)) {
            let call = function.call.map(|call| bad(what, call, PARAMS, names));
            found.extend(call.and_then(|bad| try_bad(server, function.name, &bad)));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(foreign, [0; 64]);
    Ok(())
}

fn a_port_that_is_taken_is_refused_when_the_server_is_made() -> Outcome {
    let taken = TcpListener::bind(("127.0.0.1", 0))?;
    let port = taken.local_addr()?.port();
    for mode in Mode::ALL {
        let error = Server::new("127.0.0.1", port.into(), mode.number(), SW_SOCK_TCP).err();
        let error = error.ok_or("a port was given twice")?;
        assert_eq!(error.code, libc::EADDRINUSE);
        assert!(is_sentence(&error.message, &format!("127.0.0.1:{port}")), "{error}");
    }
    Ok(())
}

fn every_number_has_a_text() -> Outcome {
    for code in -1000..20_000 {
        let text = api::error_text(code);
        assert!(!text.is_empty() && text.len() < 100, "{code}: {text}");
        let is_unknown = text == format!("unknown error {code}");
        let is_ours = swoole::error::name(code).is_some();
        let is_of_system = (0..134).contains(&code);
        assert!(is_unknown || is_ours || is_of_system, "{code}: {text}");
        assert!(!(is_unknown && is_ours), "{code} has no text");
    }
    assert_eq!(api::error_text(libc::EADDRINUSE), "Address already in use");
    Ok(())
}

fn the_last_error_belongs_to_its_thread_and_outlives_success() -> Outcome {
    let server = Server::new("127.0.0.1", 0, SW_BASE, SW_SOCK_TCP)?;
    let refused = server.set("backlog", "many").err().ok_or("a word was taken for a number")?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send((api::last_error(), new(null(), 0, 0, 0))));
    let (fresh, is_made) = receiver.recv_timeout(STEP)?;
    assert_eq!((fresh.code, fresh.message.as_str(), is_made), (0, "", false));
    server.set("backlog", "5")?;
    assert_eq!(api::last_error(), refused);
    assert_eq!(server.last_error(), SW_ERROR_INVALID_PARAMS);
    Ok(())
}

/// Leaves errors wherever a worker could inherit them from.
fn fail_before_work(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("start", |server, _| report!("start {}", server.last_error()))?;
    server.on("managerStart", |server, _| {
        report!("manager {}", server.last_error());
        report!("failed: {}", server.set("backlog", "5").is_err());
    })?;
    server.on("workerStart", |server, _| report!("worker {}", server.last_error()))?;
    server.on("receive", |server, event| {
        report!("receive {}", server.last_error());
        report!("failed: {}", server.send(event.fd(), b"").is_err());
        let code = server.last_error().to_string();
        report!("sent: {}", server.send(event.fd(), code.as_bytes()).is_ok());
    })?;
    assert!(server.on("nope", |_, _| {}).is_err());
    assert_ne!(server.last_error(), 0);
    server.start()?;
    Ok(())
}

fn start_and_every_worker_begin_without_an_error(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.send(b"x")?;
    assert_eq!(client.receive(3)?, SW_ERROR_NO_PAYLOAD.to_string().as_bytes());
    server.wait_line(|line| line == "start 0", STEP)?;
    server.wait_line(|line| line == "receive 0", STEP)?;
    server.wait_lines(2, |line| line == "worker 0", STEP)?;
    Ok(())
}

fn start_with_two_threads(setup: &Setup) -> Outcome {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || receiver.recv().is_ok());
    let server = setup.server()?;
    server.on("receive", obey)?;
    let error = server.start().err().ok_or("a program with two threads was forked")?;
    report!("refused {} {}", error.code, is_sentence(&error.message, "thread"));
    drop(sender);
    assert!(!other.join().unwrap_or(true));
    Ok(())
}

fn a_program_with_threads_is_not_forked(server: &Running) -> Outcome {
    assert!(server.wait_exit(STEP)?.success());
    let line = server.wait_line(|line| line.starts_with("refused"), STEP)?;
    assert_eq!(line, format!("refused {} true", libc::EDEADLK));
    Ok(())
}

/// A start that fails before anything was begun can be made good and repeated.
fn start_again(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    let error = server.start().err().ok_or("started without a receive callback")?;
    report!("refused {}", error.code);
    server.on("receive", obey)?;
    server.start()?;
    let error = server.start().err().ok_or("a finished server started")?;
    report!("refused {}", error.code);
    Ok(())
}

fn a_start_without_callbacks_can_be_repeated_and_one_after_the_end_not(
    server: &Running,
) -> Outcome {
    server.connect()?.echo(b"hello")?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    let refused = server.wait_lines(2, |line| line.starts_with("refused"), STEP)?;
    let codes = [SW_ERROR_SERVER_INVALID_CALLBACK, SW_ERROR_WRONG_OPERATION];
    assert_eq!(refused, codes.map(|code| format!("refused {code}")));
    Ok(())
}

/// So many times a call is made in the wrong phase.
const REPEATED: usize = 100;

/// Makes calls that belong into another phase, and tells how many there were of each kind.
fn call_out_of_phase(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    let is_refused = |result: api::Result<()>| result.is_err_and(|error| error.code == PHASE);
    // Its loop belongs to no server yet.
    let forget = || if sw_event_del(0) { Ok(()) } else { Err(api::last_error()) };
    report!("early: {}", (0..REPEATED).all(|_| is_refused(forget())));
    server.on("receive", obey)?;
    server.on("start", |server, _| {
        let set = || server.set("backlog", "5").is_err_and(|error| error.code == PHASE);
        report!("running: {}", (0..REPEATED).all(|_| set()));
    })?;
    server.start()?;
    report!("late: {}", (0..REPEATED).all(|_| is_refused(server.close(1, false))));
    Ok(())
}

/// The log says so, too, but not each time.
fn a_call_out_of_its_phase_is_refused_and_logged_at_most_once_a_second(
    server: &Running,
) -> Outcome {
    server.connect()?.echo(b"hello")?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    for when in ["early", "running", "late"] {
        server.wait_line(|line| line == format!("{when}: true"), STEP)?;
    }
    let log = server.log();
    for text in [
        "the server is not running, start it",
        "the server is running",
        "is not running, it has ended",
    ] {
        let lines = log.lines().filter(|line| line.contains("\tWARNING\t") && line.contains(text));
        assert!((1..REPEATED / 10).contains(&lines.count()), "{text}: {log}");
    }
    Ok(())
}

/// What may be asked for at any time.
fn ask_at_any_time(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    let ask = |when: &str| {
        let pids = (server.master_pid(), server.manager_pid(), server.worker_pid(0));
        report!("{when} {} {} {pids:?}", server.is_running(), server.worker_id());
    };
    ask("early");
    server.on("receive", obey)?;
    server.start()?;
    ask("late");
    Ok(())
}

fn a_call_that_belongs_into_every_phase_is_not_logged(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    for when in ["early", "late"] {
        server.wait_line(|line| line == format!("{when} false -1 (0, 0, -1)"), STEP)?;
    }
    let log = server.log();
    assert!(!log.contains("running"), "{log}");
    Ok(())
}

server_tests! {
    a_bad_call_fails_with_its_number_and_a_sentence_and_changes_nothing: try_everywhere;
    start_and_every_worker_begin_without_an_error: fail_before_work;
    // Threads need no fork.
    a_program_with_threads_is_not_forked: start_with_two_threads, in [Mode::Process, Mode::Base];
    a_start_without_callbacks_can_be_repeated_and_one_after_the_end_not: start_again;
    a_call_out_of_its_phase_is_refused_and_logged_at_most_once_a_second: call_out_of_phase;
    a_call_that_belongs_into_every_phase_is_not_logged: ask_at_any_time;
    [plain] the_table_has_every_exported_function;
    [plain] what_is_no_server_is_refused_by_every_function;
    [plain] a_port_that_is_taken_is_refused_when_the_server_is_made;
    [plain] every_number_has_a_text;
    [plain] the_last_error_belongs_to_its_thread_and_outlives_success;
}
