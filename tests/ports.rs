//! Many ports in one server: each with its own address, callbacks, settings and counts.

#[path = "ports/addresses.rs"]
mod addresses;
mod common;
#[path = "ports/files.rs"]
mod files;
#[path = "ports/api.rs"]
mod ports;
mod puppet;

use addresses::*;
use common::prelude::*;
use files::*;
use ports::{add, ask_peer, bound_to, option, port, reach, Peer};
use puppet::{answer, ask, kill, number, obey, pid_of};
use std::collections::BTreeSet;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How many ports [`many`] has.
const COUNT: usize = 4;

/// How a port is described by what may be asked at any time.
fn facts(server: api::Handle, index: usize) -> String {
    let port = match port(server, index) {
        Ok(port) => port,
        Err(error) => return error.code.to_string(),
    };
    let (socket, number) = (port.socket(), port.number() as u16);
    let state = match (socket, bound_to(socket)) {
        (-1, _) => "none",
        // Where a path has its first letters, others have the number.
        (_, (libc::AF_UNIX, letters)) if letters != 0 => "open",
        (_, (_, bound)) if bound == number && number != 0 => "open",
        _ => "closed",
    };
    format!("{index} {} {number} {} {state}", port.host(), port.kind())
}

fn all_facts(server: api::Handle, when: &str) {
    (0..COUNT).for_each(|index| report!("facts {when} {}", facts(server, index)));
}

/// The counts of a port, or those of the server.
fn counts(stats: &sw_stats_t) -> String {
    let sw_stats_t { connection_num, abort_count, accept_count, close_count, .. } = stats;
    let sw_stats_t { request_count, response_count, dispatch_count, .. } = stats;
    let sw_stats_t { total_recv_bytes, total_send_bytes, .. } = stats;
    format!(
        "{connection_num} {abort_count} {accept_count} {close_count} {dispatch_count} \
         {request_count} {response_count} {total_recv_bytes} {total_send_bytes}"
    )
}

/// What the servers of this file do beside what a puppet does.
fn obey_here(server: api::Handle, event: &Event) {
    let fd = event.fd();
    let order = std::str::from_utf8(event.data()).unwrap_or_default();
    let words: Vec<&str> = order.split(' ').collect();
    let line = match &words[..] {
        ["!port", index] => {
            let stats = port(server, number(index)).and_then(|port| port.stats());
            stats.map_or_else(|error| error.code.to_string(), |stats| counts(&stats))
        }
        ["!all"] => server.stats().map_or_else(|error| error.to_string(), |it| counts(&it)),
        ["!list", index, start, size] => {
            let list = port(server, number(index))
                .and_then(|port| port.client_list(number(start), number(size)));
            list.map_or_else(|error| error.code.to_string(), |list| format!("{list:?}"))
        }
        ["!info"] => server.client_info(fd, false).map_or_else(
            |error| error.code.to_string(),
            |info| {
                let is_its = (0..COUNT).find(|index| {
                    port(server, *index).is_ok_and(|port| port.socket() == info.server_fd)
                });
                format!("{} {is_its:?} {}", info.server_port, info.socket_type)
            },
        ),
        ["!facts", index] => facts(server, number(index)),
        _ => return obey(server, event),
    };
    answer(server, fd, format!("{line}\n").as_bytes());
}

/// Four ports: the first one, one with a receive callback of its own, one of IPv6 with a connect
/// callback of its own, and one at a path with all of its own.
fn many(setup: &Setup) -> Outcome {
    many_with(setup, &[])
}

fn many_with(setup: &Setup, settings: &[(&str, &str)]) -> Outcome {
    let server = puppet::prepare(setup, settings, obey_here)?;
    let path = std::env::temp_dir().join("port.sock");
    let second = add(*server, "127.0.0.1", 0, SW_SOCK_TCP)?;
    let third = add(*server, "::1", 0, SW_SOCK_TCP6)?;
    let fourth = add(*server, &path.to_string_lossy(), 77_777, SW_SOCK_UNIX_STREAM)?;
    server.on("connect", |_, _| report!("connect: first"))?;
    second.on("RECEIVE", |server, event| answer(server, event.fd(), b"second\n"))?;
    third.on("connect", |_, _| report!("connect: third"))?;
    fourth.on("Receive", |server, event| {
        match event.data().starts_with(b"!") {
            true => obey_here(server, event),
            false => answer(server, event.fd(), b"fourth\n"),
        };
    })?;
    fourth.on("connect", |_, _| report!("connect: fourth"))?;
    fourth.on("close", |_, _| report!("close: fourth"))?;
    all_facts(*server, "before");
    server.on("start", |server, _| all_facts(server, "start"))?;
    server.on("workerStart", |server, event| {
        let worker = event.worker();
        all_facts(server, "worker");
        report!("worker {} {}", worker.worker_id, worker.worker_pid);
    })?;
    server.on("managerStart", |server, _| all_facts(server, "manager"))?;
    server.on("shutdown", |server, _| all_facts(server, "shutdown"))?;
    server.start()?;
    all_facts(*server, "after");
    Ok(())
}

/// What was told of a port before start, by word: number, host, port, type.
fn told(server: &Running, index: usize) -> Fallible<(String, i32, i32)> {
    let start = format!("facts before {index} ");
    let line = server.wait_line(|line| line.starts_with(&start), STEP)?;
    let words: Vec<&str> = line[start.len()..].split(' ').collect();
    Ok((words[0].to_owned(), number(words[1]), number(words[2])))
}

/// Connects to a port of the server.
fn connect_at(server: &Running, index: usize) -> Fallible<Box<dyn Peer>> {
    server.wait_line(|line| line == "ready", STEP)?;
    let (host, port, _) = told(server, index)?;
    Ok(reach(&host, port)?)
}

fn each_port_has_its_own_callbacks_or_those_of_the_first(server: &Running) -> Outcome {
    for (index, greeting, answer) in [
        (0, "connect: first", "?\n"),
        (1, "connect: first", "second\n"),
        (2, "connect: third", "?\n"),
        (3, "connect: fourth", "fourth\n"),
    ] {
        let before = server.lines_so_far().iter().filter(|line| *line == greeting).count();
        let mut peer = connect_at(server, index)?;
        server.wait_lines(before + 1, |line| line == greeting, STEP)?;
        assert_eq!(ask_peer(&mut *peer, "?\n")? + "\n", answer, "port {index}");
        let closes = |line: &str| match index {
            3 => line == "close: fourth",
            _ => line.starts_with("close ") && !line.contains("fourth"),
        };
        let before = server.lines_so_far().iter().filter(|line| closes(line)).count();
        drop(peer);
        server.wait_lines(before + 1, closes, STEP)?;
    }
    let connects = server.lines_so_far().iter().filter(|it| it.starts_with("connect: ")).count();
    assert_eq!(connects, COUNT, "a connection was greeted twice");
    Ok(())
}

fn a_connection_knows_its_port(server: &Running) -> Outcome {
    for (index, kind) in [(0, SW_SOCK_TCP), (2, SW_SOCK_TCP6), (3, SW_SOCK_UNIX_STREAM)] {
        let (_, port, told_kind) = told(server, index)?;
        assert_eq!(told_kind, kind);
        assert_eq!(port == 0, kind == SW_SOCK_UNIX_STREAM);
        let mut peer = connect_at(server, index)?;
        assert_eq!(ask_peer(&mut *peer, "!info")?, format!("{port} Some({index}) {kind}"));
    }
    Ok(())
}

fn what_a_port_is_can_be_asked_in_every_phase_and_process(server: &Running) -> Outcome {
    connect_at(server, 0)?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    // The manager is a process or a thread, or it is the process that has called start.
    let times = [("start", 1), ("worker", 2), ("manager", 1), ("shutdown", 1), ("after", 1)];
    for index in 0..COUNT {
        let (host, port, kind) = told(server, index)?;
        assert_eq!(port == 0, kind == SW_SOCK_UNIX_STREAM);
        for (when, count) in times {
            let begin = format!("facts {when} {index} ");
            let lines = server.wait_lines(count, |line| line.starts_with(&begin), STEP)?;
            // Nobody listens any more when the last callback runs.
            let state = match when {
                "shutdown" => "closed",
                "after" => "none",
                _ => "open",
            };
            let wanted = format!("{begin}{host} {port} {kind} {state}");
            assert!(lines.iter().all(|line| *line == wanted), "{lines:?}");
        }
    }
    Ok(())
}

/// Has three peers at the first port and one at each other one, and lets each say something.
fn populate(server: &Running) -> Fallible<Vec<Box<dyn Peer>>> {
    let mut peers = Vec::new();
    for index in [0, 0, 0, 1, 2, 3] {
        let mut peer = connect_at(server, index)?;
        ask_peer(&mut *peer, "hello\n")?;
        peers.push(peer);
    }
    Ok(peers)
}

fn words(line: &str) -> Vec<u64> {
    line.split(' ').map(number).collect()
}

/// Asks until the counts of each port, the first one first, begin as they are wanted: a request is
/// counted when its callback has returned, which is after its answer.
fn await_counts(asker: &mut dyn Peer, wanted: &[&[u64]]) -> Outcome {
    let end = std::time::Instant::now() + STEP;
    loop {
        let ask = |index| ask_peer(asker, &format!("!port {index}")).map(|line| words(&line));
        let rows: Vec<Vec<u64>> = (0..wanted.len()).map(ask).collect::<Result<_, _>>()?;
        if rows.iter().zip(wanted).all(|(row, wanted)| row.starts_with(wanted)) {
            return Ok(());
        }
        assert!(std::time::Instant::now() < end, "{rows:?}");
    }
}

fn the_counts_of_each_port_are_its_own(server: &Running) -> Outcome {
    let mut peers = populate(server)?;
    let mut asker = connect_at(server, 3)?;
    // Connections, aborted, accepted, closed, dispatched, requests, responses, received, sent. The
    // questions go through the last port.
    let second = [1, 0, 1, 0, 1, 1, 1, 6, 7];
    let third: [u64; 9] = [1, 0, 1, 0, 1, 1, 1, 6, 6];
    let fourth = [2, 0, 2, 0];
    await_counts(&mut *asker, &[&[3, 0, 3, 0, 3, 3, 3, 18, 18], &second, &third, &fourth])?;
    // One at the first port goes, and the one at the second.
    peers.drain(2..4);
    let second = [0, 0, 1, 1, 1, 1, 1, 6, 7];
    await_counts(&mut *asker, &[&[2, 0, 3, 1, 3, 3, 3, 18, 18], &second, &third, &fourth])?;
    // What the ports have is what the server has.
    assert_eq!(words(&ask_peer(&mut *asker, "!all")?)[..4], [5, 0, 7, 2]);
    Ok(())
}

fn alone(setup: &Setup) -> Outcome {
    many_with(setup, &[("worker_num", "1")])
}

fn each_port_lists_its_own_connections(server: &Running) -> Outcome {
    let _peers = populate(server)?;
    let mut asker = connect_at(server, 3)?;
    let refused = |code: i32| code.to_string();
    for (question, list) in [
        ("0 0 100", "[1, 2, 3]".to_owned()),
        ("0 0 2", "[1, 2]".to_owned()),
        ("0 2 2", "[3]".to_owned()),
        ("0 3 2", "[]".to_owned()),
        ("1 0 100", "[4]".to_owned()),
        ("2 0 100", "[5]".to_owned()),
        ("3 0 100", "[6, 7]".to_owned()),
        // There is no such port, and no such connection of this one.
        ("4 0 100", refused(PARAMS)),
        ("1 3 100", refused(SW_ERROR_SESSION_NOT_EXIST)),
        ("0 0 101", refused(PARAMS)),
    ] {
        assert_eq!(ask_peer(&mut *asker, &format!("!list {question}"))?, list, "{question}");
    }
    Ok(())
}

/// What died with a worker is counted as closed, for each port.
fn the_counts_of_ports_outlive_a_killed_worker(server: &Running) -> Outcome {
    let peers = populate(server)?;
    for worker in 0..2 {
        kill(pid_of(server, worker, 1)?)?;
        pid_of(server, worker, 2)?;
    }
    let mut asker = connect_at(server, 3)?;
    // Where reactors live on, so do connections.
    let lost = u64::from(server.mode() == Mode::Base);
    let each = [1 - lost, 0, 1, lost];
    let first = [3 - 3 * lost, 0, 3, 3 * lost];
    await_counts(&mut *asker, &[&first, &each, &each, &[2 - lost, 0, 2, lost]])?;
    drop(peers);
    let none = [0, 0, 1, 1];
    await_counts(&mut *asker, &[&[0, 0, 3, 3], &none, &none, &[1, 0, 2, 1]])
}

fn the_counts_of_ports_outlive_a_reload(server: &Running) -> Outcome {
    let mut peers = populate(server)?;
    let mut client = server.connect()?;
    assert_eq!(ask(&mut client, "reload")?, "true");
    for worker in 0..2 {
        pid_of(server, worker, 2)?;
    }
    drop(client);
    // Those of the workers that have left are closed in BASE: the peers see it.
    let is_base = server.mode() == Mode::Base;
    if is_base {
        let ends = |peer: &mut Box<dyn Peer>| matches!(peer.read(&mut [0]), Ok(0) | Err(_));
        assert!(peers.iter_mut().all(ends));
    }
    let mut asker = connect_at(server, 3)?;
    let lost = u64::from(is_base);
    let second = [1 - lost, 0, 1, lost, 1, 1, 1, 6, 7];
    let third = [1 - lost, 0, 1, lost, 1, 1, 1, 6, 6];
    await_counts(&mut *asker, &[&[3 - 3 * lost, 0, 4, 1 + 3 * lost], &second, &third])
}

/// Settings as far as a socket shows them: whether peers are probed, and small packets held back.
fn with_settings(setup: &Setup) -> Outcome {
    let server = puppet::prepare(setup, &[("open_tcp_keepalive", "true")], obey)?;
    let add_one = || add(*server, "127.0.0.1", 0, SW_SOCK_TCP);
    let (inherits, empty, own, late) = (add_one()?, add_one()?, add_one()?, add_one()?);
    empty.set_json("{}")?;
    own.set("OPEN_TCP_NODELAY", "false")?;
    // What the server is told after its ports were made counts as well; names have any case.
    server.set("Open_Tcp_Nodelay", "0")?;
    late.set("tcp_keepidle", "7")?;
    late.set("open_tcp_KEEPALIVE", "true")?;
    late.set("worker_num", "many")?;
    late.set("document_root", "/srv")?;
    late.set("no_such_thing", "9")?;
    assert_eq!(inherits.set("backlog", "x").map_err(|error| error.code), Err(PARAMS));
    assert_eq!(inherits.set_json("{\"backlog\": []}").map_err(|error| error.code), Err(PARAMS));
    server.on("start", |server, _| {
        for index in 0..5 {
            let socket = port(server, index).map_or(-1, |port| port.socket());
            let alive = option(socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE);
            let is_nodelay = option(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY) != 0;
            let idle = option(socket, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE);
            report!("options {index} {alive} {is_nodelay} {idle}");
        }
    })?;
    server.start()?;
    Ok(())
}

const PARAMS: i32 = SW_ERROR_INVALID_PARAMS;

fn a_port_has_the_settings_of_its_server_or_its_own(server: &Running) -> Outcome {
    let system: i32 =
        number(std::fs::read_to_string("/proc/sys/net/ipv4/tcp_keepalive_time")?.trim());
    for wanted in [
        "options 0 1 false 3600".to_owned(),
        // What was refused was not set: it has all that the server has.
        "options 1 1 false 3600".to_owned(),
        format!("options 2 0 true {system}"),
        format!("options 3 0 false {system}"),
        "options 4 1 true 7".to_owned(),
    ] {
        server.wait_line(|line| line == wanted, STEP)?;
    }
    let log = server.log();
    assert!(log.contains("unsupported option [no_such_thing]"), "{log}");
    assert!(!log.contains("worker_num") && !log.contains("document_root"), "{log}");
    Ok(())
}

/// A port of a kind that the server has no callback for.
fn without_callback(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    let second = add(*server, "127.0.0.1", 0, SW_SOCK_TCP)?;
    second.on("receive", obey)?;
    let start = || server.start().map_err(|error| error.code);
    report!("nothing for the first: {:?}", start());
    server.on("receive", obey)?;
    report!("end: {:?}", start());
    let late = add(*server, "127.0.0.1", 0, SW_SOCK_TCP);
    report!("late: {:?}", late.map_err(|error| error.code).is_err());
    Ok(())
}

fn a_port_without_a_callback_keeps_the_server_from_starting(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    let code = SW_ERROR_SERVER_INVALID_CALLBACK;
    for line in [&*format!("nothing for the first: Err({code})"), "end: Ok(())", "late: true"] {
        server.wait_line(|it| it == line, STEP)?;
    }
    Ok(())
}

/// Two of this kind can run at once: only their added port is at a number that both know.
fn sharing(setup: &Setup) -> Outcome {
    let server = Server::new("127.0.0.1", 0, setup.mode.number(), SW_SOCK_TCP)?;
    server.set("worker_num", "2")?;
    server.set("enable_reuse_port", "true")?;
    server.on("start", |_, _| {})?;
    server.on("receive", obey)?;
    let add_shared = || add(*server, "127.0.0.1", i32::from(setup.port), SW_SOCK_TCP);
    add_shared()?;
    server.on("workerStart", |server, _| {
        let socket = port(server, 1).map_or(-1, |port| port.socket());
        report!("shared {}", option(socket, libc::SOL_SOCKET, libc::SO_REUSEPORT));
    })?;
    // Not by the same server.
    assert_eq!(add_shared().map_err(|error| error.code), Err(libc::EADDRINUSE));
    server.start()?;
    Ok(())
}

fn an_added_port_is_shared_with_other_programs(server: &Running) -> Outcome {
    server.wait_line(|line| line == "shared 1", STEP)?;
    server.connect()?.echo(b"hello")?;
    let second = server.spawn_beside()?;
    second.wait_line(|line| line == "ready", STEP)?;
    let mut seen = BTreeSet::new();
    let mut clients = Vec::new();
    while seen.len() < 2 && clients.len() < 200 {
        let mut client = Client::connect(server.port())?;
        seen.insert(ask(&mut client, "master")?);
        clients.push(client);
    }
    assert_eq!(seen.len(), 2, "200 connections went to one of the two");
    drop(clients);
    second.signal(libc::SIGTERM)?;
    assert!(second.wait_exit(STEP)?.success());
    server.connect()?.echo(b"the first goes on")?;
    Ok(())
}

fn ports_are_the_same_pointer_each_time_and_end() -> Outcome {
    for mode in Mode::ALL {
        let server = Server::new("127.0.0.1", 0, mode.number(), SW_SOCK_TCP)?;
        let second = add(*server, "localhost", 0, SW_SOCK_TCP)?;
        assert_eq!(port(*server, 1)?, second);
        assert_eq!(port(*server, 0)?, port(*server, 0)?);
        assert_ne!(port(*server, 0)?, second);
        assert_eq!(port(*server, 2).map_err(|error| error.code), Err(PARAMS));
        assert_eq!((second.host().as_str(), second.kind()), ("localhost", SW_SOCK_TCP));
        assert_eq!(bound_to(second.socket()), (libc::AF_INET, second.number() as u16));
        let first = port(*server, 0)?;
        assert_eq!(swoole::ffi::port::sw_server_get_socket(server.raw), first.socket());
        assert_ne!((first.number(), second.number()), (0, 0));
    }
    Ok(())
}

extern "C-unwind" fn one(_: *mut sw_server_t, _: *const sw_event_t, _: *mut std::ffi::c_void) {}

fn a_callback_of_the_first_port_is_that_of_the_server() -> Outcome {
    let server = Server::new("127.0.0.1", 0, SW_BASE, SW_SOCK_TCP)?;
    let (first, second) = (port(*server, 0)?, add(*server, "127.0.0.1", 0, SW_SOCK_TCP)?);
    let on = |port: ports::Port, name: &std::ffi::CStr| {
        swoole::ffi::port::sw_port_on(port.0, name.as_ptr(), Some(one), std::ptr::null_mut())
    };
    assert!(server.get_callback("receive").is_none());
    assert!(on(second, c"receive"));
    assert!(server.get_callback("receive").is_none(), "that of another port is not told");
    assert!(on(first, c"reCEIVE"));
    let wanted: sw_callback_t = Some(one);
    assert_eq!(server.get_callback("Receive").map(|it| it as usize), wanted.map(|it| it as usize));
    Ok(())
}

const FORKED: [Mode; 2] = [Mode::Process, Mode::Base];

server_tests! {
    each_port_has_its_own_callbacks_or_those_of_the_first: many;
    a_connection_knows_its_port: many;
    what_a_port_is_can_be_asked_in_every_phase_and_process: many;
    the_counts_of_each_port_are_its_own: many;
    each_port_lists_its_own_connections: alone;
    the_counts_of_ports_outlive_a_killed_worker: many, in FORKED;
    the_counts_of_ports_outlive_a_reload: many, in FORKED;
    a_port_has_the_settings_of_its_server_or_its_own: with_settings;
    a_port_without_a_callback_keeps_the_server_from_starting: without_callback;
    an_added_port_is_shared_with_other_programs: sharing;
    an_address_of_both_families_takes_peers_of_both: on_both_families;
    a_port_for_ipv6_only_leaves_ipv4_to_others: one_port_for_each_family;
    the_file_of_a_unix_socket_goes_at_the_end: at_a_path;
    a_file_that_is_somebody_elses_stays: at_a_lost_path;
    a_start_that_fails_leaves_no_file: at_a_path_and_a_taken_port;
    [plain] ports_are_the_same_pointer_each_time_and_end;
    [plain] a_callback_of_the_first_port_is_that_of_the_server;
    [plain] a_socket_is_bound_for_ipv6_only_when_that_is_set;
    [plain] an_address_is_taken_once_and_the_first_port_stays_usable;
    [plain] a_path_that_exists_is_taken;
    [plain] the_file_of_a_server_that_never_ran_goes_with_it;
    [plain] the_file_has_the_permissions_that_the_umask_leaves;
}
