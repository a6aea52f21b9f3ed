//! The settings: what each is when nobody sets it, what becomes of values out of range, and what
//! it changes as seen from outside.

mod common;

#[path = "settings/known.rs"]
mod known;
#[path = "settings/values.rs"]
mod values;

use common::prelude::*;
use known::*;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};
use values::*;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Echoes; some messages are orders.
fn obey(server: api::Handle, event: &Event) {
    let fd = event.fd();
    match event.data() {
        b"stuck" => loop {
            report!("stuck");
            std::thread::park();
        },
        b"much" => report!("sent {}", server.send(fd, &vec![7; 32 << 20]).is_ok()),
        b"change" => {
            let error = server.set("backlog", "5").err().map_or(0, |error| error.code);
            report!("changed {error} {}", server.get_setting("backlog").unwrap_or_default());
        }
        b"fill" => fill(server, fd),
        b"limit" => {
            let code = |len| server.send(fd, &vec![1; len]).err().map_or(0, |error| error.code);
            report!("limit {} {}", code(1000), code(1001));
        }
        bytes => report!("echoed {}", server.send(fd, bytes).is_ok()),
    }
}

/// Sends until the peer is too slow for more.
fn fill(server: api::Handle, fd: i64) {
    let mut sent = 0;
    let error = loop {
        match server.send(fd, &[9; 16 << 10]) {
            Ok(()) if sent < 256 << 20 => sent += 16 << 10,
            Ok(()) => break 0,
            Err(error) => break error.code,
        }
    };
    let waiting = server.client_info(fd, false).map_or(0, |info| info.send_queued_bytes);
    report!("filled {error} {sent} {waiting}");
}

/// Tells who has which descriptors of a connection, as its first message comes.
fn tell_descriptors(server: api::Handle, event: &Event) {
    let Ok(info) = server.client_info(event.fd(), false) else { return };
    let reader =
        if server.mode() == SW_PROCESS { server.master_pid() } else { std::process::id() as i32 };
    let (socket, listener) = (info.socket_fd, info.server_fd);
    report!("descriptors {reader} {socket} {listener}");
    report!("reactor {} of worker {}", info.reactor_id, server.worker_id());
    report!("echoed {}", server.send(event.fd(), event.data()).is_ok());
}

/// A server with these settings, given as the names and values of a JSON object.
fn serve(setup: &Setup, json: &str, receive: api::Callback) -> Outcome {
    let server = setup.server()?;
    server.set_json(json)?;
    server.on("workerStart", |_, event| report!("worker {}", event.worker().worker_id))?;
    server.on("receive", receive)?;
    server.start()?;
    Ok(())
}

/// The numbers of a reported line, behind its first word.
fn told(server: &Running, word: &str) -> Result<Vec<i64>, Failure> {
    let line = server.wait_line(|line| line.split(' ').next() == Some(word), STEP)?;
    Ok(line.split(' ').filter_map(|word| word.parse().ok()).collect())
}

fn threads(pid: i32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/task"))?.count())
}

fn three_workers(setup: &Setup) -> Outcome {
    serve(setup, "{\"worker_num\": 3, \"reactor_num\": 2}", obey)
}

fn worker_num_is_the_number_of_workers(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    let workers = server.wait_lines(3, |line| line.starts_with("worker "), STEP)?;
    for id in 0..3 {
        assert!(workers.contains(&format!("worker {id}")), "{workers:?}");
    }
    let (processes, master_threads) = match server.mode() {
        Mode::Process => (1 + 3, 1 + 2),
        Mode::Base => (3, 1),
        Mode::Thread => (0, 1 + 1 + 3),
    };
    assert_eq!(server.descendants()?.len(), processes);
    assert_eq!(threads(server.pid())?, master_threads);
    Ok(())
}

fn one_worker(setup: &Setup) -> Outcome {
    serve(setup, "{\"worker_num\": 1}", obey)
}

fn one_worker_in_base_mode_is_the_caller_itself(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    assert_eq!(server.descendants()?, []);
    assert_eq!(threads(server.pid())?, 1);
    Ok(())
}

fn three_reactors(setup: &Setup) -> Outcome {
    serve(setup, "{\"worker_num\": 4, \"reactor_num\": 3}", tell_descriptors)
}

fn connections_are_spread_over_all_reactors(server: &Running) -> Outcome {
    let mut clients = Vec::new();
    for _ in 0..12 {
        let mut client = server.connect()?;
        client.echo(b"x")?;
        clients.push(client);
    }
    let lines = server.wait_lines(12, |line| line.starts_with("reactor "), STEP)?;
    let pairs = lines.iter().filter_map(|line| {
        let mut numbers = line.split(' ').filter_map(|word| word.parse::<i32>().ok());
        Some((numbers.next()?, numbers.next()?))
    });
    let pairs: Vec<(i32, i32)> = pairs.collect();
    assert_eq!(pairs.len(), 12, "{lines:?}");
    if server.mode() == Mode::Process {
        assert_eq!(threads(server.pid())?, 1 + 3);
        for reactor in 0..3 {
            assert_eq!(pairs.iter().filter(|pair| pair.0 == reactor).count(), 4, "{pairs:?}");
        }
    } else {
        // Each worker is its own reactor, whatever is set.
        assert!(pairs.iter().all(|(reactor, worker)| reactor == worker), "{pairs:?}");
    }
    Ok(())
}

fn single_thread(setup: &Setup) -> Outcome {
    serve(setup, "{\"single_thread\": true, \"reactor_num\": 3}", obey)
}

fn a_single_thread_serves_all(server: &Running) -> Outcome {
    let mut clients = [server.connect()?, server.connect()?, server.connect()?];
    clients.iter_mut().try_for_each(|client| client.echo(b"hello"))?;
    let wanted = if server.mode() == Mode::Thread { 1 + 1 + 2 } else { 1 };
    assert_eq!(threads(server.pid())?, wanted);
    Ok(())
}

fn few_connections(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.set_int("max_conn", 60)?;
    server.on("connect", |_, event| report!("connect {}", event.fd()))?;
    server.on("close", |_, event| report!("close {}", event.fd()))?;
    server.on("receive", |server, event| {
        let stats = server.stats().unwrap_or_default();
        let (open, dropped) = (stats.connection_num, stats.abort_count);
        let balance = stats.accept_count - stats.close_count;
        report!("counted {dropped} {} {}", open == balance, event.data().len());
        report!("echoed {}", server.send(event.fd(), event.data()).is_ok());
    })?;
    server.start()?;
    Ok(())
}

fn more_than_max_connection_are_refused_and_accepting_goes_on(server: &Running) -> Outcome {
    let mut held = vec![server.connect()?];
    held[0].echo(b"x")?;
    let refused = loop {
        let mut client = Client::connect(server.port())?;
        match client.echo(b"x") {
            Ok(()) => held.push(client),
            Err(error) => break error,
        }
        assert!(held.len() < 120, "nobody was refused");
    };
    assert!(refused.downcast_ref::<io::Error>().is_some(), "{refused}");
    assert!(held.len() > 20, "{} are held, then {refused}", held.len());
    // Its connect event may come after its first bytes were sent.
    let held_count = held.len();
    server.wait_lines(held_count, |line| line.starts_with("connect "), STEP)?;
    held.iter_mut().try_for_each(|client| client.echo(b"xx"))?;
    let is_count = |line: &str| line.starts_with("counted ") && line.ends_with(" 2");
    let count = server.wait_lines(held_count, is_count, STEP)?;
    assert!(count.iter().all(|line| line == "counted 1 true 2"), "{count:?}");
    assert!(server.log().contains("too many connections"), "{}", server.log());
    held.truncate(held_count / 2);
    Client::connect(server.port())?.echo(b"again")?;
    held.iter_mut().try_for_each(|client| client.echo(b"xx"))?;
    let is_connect = |line: &str| line.starts_with("connect ");
    server.wait_lines(held_count + 1, is_connect, STEP)?;
    let connects = server.lines_so_far().iter().filter(|line| is_connect(line)).count();
    assert_eq!(connects, held_count + 1, "what is refused has no events");
    Ok(())
}

/// A descriptor of another process.
fn borrow_descriptor(pid: i64, fd: i64) -> io::Result<OwnedFd> {
    let take = |number: libc::c_long| match i32::try_from(number) {
        // SAFETY: the system has just made this descriptor for us.
        Ok(number) if number >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(number) }),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: the call takes numbers only.
    let owner = take(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the call takes numbers only.
    take(unsafe { libc::syscall(libc::SYS_pidfd_getfd, owner.as_raw_fd(), fd, 0) })
}

/// An option of level TCP.
fn tcp_option<T: Copy>(socket: &OwnedFd, option: i32, mut value: T) -> io::Result<T> {
    let mut length = std::mem::size_of::<T>() as libc::socklen_t;
    let place = std::ptr::addr_of_mut!(value).cast();
    let fd = socket.as_raw_fd();
    // SAFETY: the place has the length that is told.
    match unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, option, place, &mut length) } {
        0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether TCP_NODELAY is set at the server's end, and how many connections its listener lets wait.
fn socket_options(server: &Running) -> Result<(bool, u32), Failure> {
    let mut client = server.connect()?;
    client.echo(b"x")?;
    let numbers = told(server, "descriptors")?;
    let socket = borrow_descriptor(numbers[0], numbers[1])?;
    let listener = borrow_descriptor(server.pid().into(), numbers[2])?;
    let is_nodelay = tcp_option(&socket, libc::TCP_NODELAY, 0)? != 0;
    // SAFETY: all-zero is a value of this record of numbers.
    let info: libc::tcp_info = unsafe { std::mem::zeroed() };
    // For a listener this member counts what may wait.
    Ok((is_nodelay, tcp_option(&listener, libc::TCP_INFO, info)?.tcpi_sacked))
}

fn default_sockets(setup: &Setup) -> Outcome {
    serve(setup, "{}", tell_descriptors)
}

fn nodelay_and_a_backlog_of_512_are_the_defaults(server: &Running) -> Outcome {
    let most = fs::read_to_string("/proc/sys/net/core/somaxconn")?.trim().parse::<u32>()?;
    assert_eq!(socket_options(server)?, (true, most.min(512)));
    Ok(())
}

fn other_sockets(setup: &Setup) -> Outcome {
    serve(setup, "{\"open_tcp_nodelay\": false, \"backlog\": 7}", tell_descriptors)
}

fn nodelay_and_backlog_are_what_was_set(server: &Running) -> Outcome {
    assert_eq!(socket_options(server)?, (false, 7));
    Ok(())
}

fn set_too_late(setup: &Setup) -> Outcome {
    serve(setup, "{\"backlog\": 9}", obey)
}

fn nothing_can_be_set_after_start(server: &Running) -> Outcome {
    server.connect()?.send(b"change")?;
    let line = server.wait_line(|line| line.starts_with("changed"), STEP)?;
    assert_eq!(line, format!("changed {SW_ERROR_WRONG_OPERATION} 9"));
    Ok(())
}

fn set_unknown_names(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.set("work_num", "7")?;
    server.set_int("Backlogs", 7)?;
    server.set_json("{\"log_files\": \"x\", \"nested\": {\"a\": 1}}")?;
    assert!(server.get_setting("work_num").is_err());
    server.on("receive", obey)?;
    server.start()?;
    Ok(())
}

fn an_unknown_name_is_warned_of_once_and_does_no_harm(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    for name in ["work_num", "Backlogs", "log_files", "nested"] {
        let line = format!("unsupported option [{name}]");
        assert_eq!(server.log().matches(&line).count(), 1, "{}", server.log());
    }
    Ok(())
}

/// Logs into a file, and tells how many of its lines say what.
fn log_into_a_file(setup: &Setup) -> Outcome {
    let path = std::env::temp_dir().join("server.log");
    let server = setup.server()?;
    server.set("log_file", path.to_str().ok_or("the path is no text")?)?;
    server.on("receive", obey)?;
    server.start()?;
    let text = fs::read_to_string(&path)?;
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    report!("logged {} {}", count("INFO\tserver started"), count("INFO\tserver has ended"));
    fs::remove_file(path)?;
    Ok(())
}

fn the_log_goes_into_its_file_and_nowhere_else(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    assert_eq!(told(server, "logged")?, [1, 1]);
    assert_eq!(server.log(), "");
    Ok(())
}

fn log_nowhere(setup: &Setup) -> Outcome {
    serve(setup, "{\"log_file\": \"/nowhere/at/all\"}", obey)
}

fn a_log_file_that_cannot_be_opened_is_a_warning(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    let log = server.log();
    let warned = |line: &str| line.contains("WARNING") && line.contains("/nowhere/at/all");
    assert!(log.lines().any(warned) && log.contains("\tINFO\t"), "{log}");
    Ok(())
}

/// Asks for an event that there is not, which is a warning.
fn warn_at_level(setup: &Setup, level: i64) -> Outcome {
    let server = setup.server()?;
    server.set_int("log_level", level)?;
    server.on("receive", obey)?;
    server.on("start", |server, _| report!("refused {}", server.on("nope", |_, _| {}).is_err()))?;
    server.on("workerStart", |server, _| {
        report!("known {}", server.get_callback("nope").is_some());
    })?;
    server.start()?;
    Ok(())
}

fn log_warnings(setup: &Setup) -> Outcome {
    warn_at_level(setup, 4)
}

fn level_4_is_for_warnings_and_errors(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    server.wait_lines(2, |line| line == "known false", STEP)?;
    assert!(server.log().contains("\tWARNING\t") && !server.log().contains("\tINFO\t"));
    Ok(())
}

fn log_nothing(setup: &Setup) -> Outcome {
    warn_at_level(setup, 6)
}

fn level_6_is_silence(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    server.wait_lines(2, |line| line == "known false", STEP)?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    assert_eq!(server.log(), "");
    Ok(())
}

fn small_buffers(setup: &Setup) -> Outcome {
    serve(setup, "{\"socket_buffer_size\": \"64K\", \"buffer_output_size\": 1000000}", obey)
}

fn socket_buffer_size_bounds_what_waits_for_a_slow_peer(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.send(b"fill")?;
    let numbers = told(server, "filled")?;
    let (error, sent, waiting) = (numbers[0], numbers[1], numbers[2]);
    assert_eq!(error, i64::from(SW_ERROR_OUTPUT_BUFFER_OVERFLOW));
    // Where the reactor is another unit it may have taken some more, or not yet all.
    if server.mode() != Mode::Process {
        assert!((64 * KIB..80 * KIB).contains(&waiting), "{waiting} bytes wait");
    }
    // Nothing that was accepted is cut, and then there is room again.
    let bytes = client.receive(usize::try_from(sent)?)?;
    assert!(bytes.iter().all(|byte| *byte == 9));
    client.echo(b"there is room again")?;
    Ok(())
}

fn short_sends(setup: &Setup) -> Outcome {
    serve(setup, "{\"buffer_output_size\": 1000}", obey)
}

fn buffer_output_size_bounds_one_send_in_process_mode(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.send(b"limit")?;
    let is_bound = server.mode() == Mode::Process;
    let refused = if is_bound { SW_ERROR_DATA_LENGTH_TOO_LARGE } else { 0 };
    assert_eq!(told(server, "limit")?, [0, i64::from(refused)]);
    client.receive(if is_bound { 1000 } else { 2001 })?;
    client.echo(b"nothing else came")?;
    Ok(())
}

/// Ends the server, which must end in order, and says how long that took.
fn time_of_end(server: &Running) -> Result<Duration, Failure> {
    let begin = Instant::now();
    server.signal(libc::SIGTERM)?;
    let status = server.wait_exit(STEP)?;
    assert!(status.success(), "{status}");
    Ok(begin.elapsed())
}

/// Makes the server have more output than its peer takes.
fn deafen(server: &Running) -> Result<Client, Failure> {
    let mut client = server.connect()?;
    client.send(b"much")?;
    server.wait_line(|line| line == "sent true", STEP)?;
    client.receive(1)?;
    Ok(client)
}

fn wait_a_second(setup: &Setup) -> Outcome {
    serve(setup, "{\"max_wait_time\": 1}", obey)
}

fn the_end_waits_for_a_slow_peer_as_long_as_max_wait_time(server: &Running) -> Outcome {
    let _deaf = deafen(server)?;
    let time = time_of_end(server)?;
    assert!((Duration::from_secs(1)..Duration::from_secs(3)).contains(&time), "{time:?}");
    assert!(server.log().contains("9101"), "a forced end is told: {}", server.log());
    Ok(())
}

fn wait_not_at_all(setup: &Setup) -> Outcome {
    serve(setup, "{\"max_wait_time\": 0}", obey)
}

fn without_max_wait_time_the_end_waits_for_nobody(server: &Running) -> Outcome {
    let _deaf = deafen(server)?;
    let time = time_of_end(server)?;
    assert!(time < Duration::from_secs(1), "{time:?}");
    Ok(())
}

fn a_stuck_worker_is_killed_after_twice_max_wait_time(server: &Running) -> Outcome {
    server.connect()?.send(b"stuck")?;
    server.wait_line(|line| line == "stuck", STEP)?;
    let time = time_of_end(server)?;
    assert!((Duration::from_secs(2)..Duration::from_secs(5)).contains(&time), "{time:?}");
    Ok(())
}

server_tests! {
    worker_num_is_the_number_of_workers: three_workers;
    one_worker_in_base_mode_is_the_caller_itself: one_worker, in [Mode::Base];
    connections_are_spread_over_all_reactors: three_reactors;
    a_single_thread_serves_all: single_thread;
    more_than_max_connection_are_refused_and_accepting_goes_on: few_connections;
    nodelay_and_a_backlog_of_512_are_the_defaults: default_sockets;
    nodelay_and_backlog_are_what_was_set: other_sockets;
    nothing_can_be_set_after_start: set_too_late;
    an_unknown_name_is_warned_of_once_and_does_no_harm: set_unknown_names;
    the_log_goes_into_its_file_and_nowhere_else: log_into_a_file;
    a_log_file_that_cannot_be_opened_is_a_warning: log_nowhere;
    level_4_is_for_warnings_and_errors: log_warnings;
    level_6_is_silence: log_nothing;
    socket_buffer_size_bounds_what_waits_for_a_slow_peer: small_buffers;
    buffer_output_size_bounds_one_send_in_process_mode: short_sends;
    the_end_waits_for_a_slow_peer_as_long_as_max_wait_time: wait_a_second;
    without_max_wait_time_the_end_waits_for_nobody: wait_not_at_all;
    // A thread cannot be killed.
    a_stuck_worker_is_killed_after_twice_max_wait_time: wait_a_second,
        in [Mode::Process, Mode::Base];
    what_is_absent_keeps_a_server_from_starting_and_is_named: asking_for_what_is_absent;
    [plain] every_setting_is_known_and_takes_what_it_tells;
    [plain] numbers_have_defaults_and_are_moved_into_range;
    [plain] truths_and_sizes_are_read_as_people_write_them;
    [plain] settings_bear_on_each_other;
    [plain] json_is_taken_as_a_whole_or_not_at_all;
}
