//! Workers that listen each for itself: the kernel spreads connections, and programs share a port.

mod common;
#[path = "ports/api.rs"]
mod ports;
#[path = "puppet/mod.rs"]
mod puppet;

use common::prelude::*;
use puppet::{ask, kill, number, obey, pid_of, Gate};
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::time::Instant;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SHARED: (&str, &str) = ("enable_reuse_port", "true");
/// The state of a socket that listens, as the system shows it.
const LISTENING: &str = "0A";

fn shared(setup: &Setup) -> Outcome {
    // What a worker has to write must not run out of time on a busy machine.
    puppet::serve(setup, &[SHARED, ("max_wait_time", "10")], obey)
}

/// The inodes of all sockets that listen at this port.
fn listeners(port: u16) -> Fallible<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for line in fs::read_to_string("/proc/net/tcp")?.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_at_port = words.get(1).is_some_and(|at| at.ends_with(&format!(":{port:04X}")));
        if is_at_port && words.get(3) == Some(&LISTENING) {
            found.insert((*words.get(9).ok_or("no inode")?).to_owned());
        }
    }
    Ok(found)
}

/// Connects until it is this worker that answers: where a connection goes is a matter of chance.
fn reach(server: &Running, worker: i32) -> Fallible<Client> {
    let mut others = Vec::new();
    for _ in 0..100 {
        let mut client = server.connect()?;
        if ask(&mut client, "who")?.starts_with(&format!("{worker} ")) {
            return Ok(client);
        }
        others.push(client);
    }
    Err(format!("100 connections did not come to worker {worker}").into())
}

/// Waits until so many listen.
fn await_listeners(server: &Running, count: usize) -> Outcome {
    let end = Instant::now() + STEP;
    while listeners(server.port())?.len() != count {
        assert!(Instant::now() < end, "{:?}", listeners(server.port())?);
        std::thread::yield_now();
    }
    Ok(())
}

fn each_worker_listens_for_itself(server: &Running) -> Outcome {
    let mut one = reach(server, 0)?;
    let mut two = reach(server, 1)?;
    one.echo(b"one")?;
    two.echo(b"two")?;
    let count = if server.mode() == Mode::Base { 2 } else { 1 };
    assert_eq!(listeners(server.port())?.len(), count);
    Ok(())
}

/// The descriptor that is told is the one that this worker listens with.
fn know_the_listener(setup: &Setup) -> Outcome {
    puppet::serve(setup, &[SHARED], |server, event| {
        let info = server.client_info(event.fd(), false);
        let Ok(info) = info else { return };
        // SAFETY: takes a number.
        let is_open = unsafe { libc::fcntl(info.server_fd, libc::F_GETFD) } == libc::FD_CLOEXEC;
        let link = fs::read_link(format!("/proc/self/fd/{}", info.server_fd));
        let link = link.map_or("?".into(), |link| link.display().to_string());
        let least = server.stats().map_or(-1, |stats| stats.min_fd);
        let line = format!(
            "{} {is_open} {} {link}\n",
            info.server_port,
            least == i64::from(info.server_fd)
        );
        puppet::answer(server, event.fd(), line.as_bytes());
    })
}

fn the_listener_of_a_connection_is_known(server: &Running) -> Outcome {
    server.wait_lines(2, |line| line.starts_with("worker "), STEP)?;
    await_listeners(server, 2)?;
    let sockets = listeners(server.port())?;
    let mut client = server.connect()?;
    let line = ask(&mut client, "listener")?;
    let (start, link) = line.rsplit_once(' ').ok_or("no link")?;
    assert_eq!(start, format!("{} true true", server.port()));
    assert!(sockets.iter().any(|inode| link == format!("socket:[{inode}]")), "{link} {sockets:?}");
    Ok(())
}

fn a_successor_listens_again(server: &Running) -> Outcome {
    for (worker, life) in [(0, 1), (1, 1), (0, 2)] {
        server.connect()?;
        kill(pid_of(server, worker, life)?)?;
        pid_of(server, worker, life + 1)?;
        await_listeners(server, 2)?;
        reach(server, worker)?.echo(b"again")?;
    }
    Ok(())
}

/// While it ends, the others get all connections. What it has to write keeps it alive.
fn a_worker_that_ends_listens_no_more(server: &Running) -> Outcome {
    const MUCH: usize = 6_000_000;
    server.connect()?;
    await_listeners(server, 2)?;
    let mut slow = reach(server, 0)?;
    let gate = Gate::new()?;
    slow.send(format!("!say {} {MUCH}", gate.port()?).as_bytes())?;
    let held = gate.wait()?;
    let pid = pid_of(server, 0, 1)?;
    common::process::send_signal(pid, libc::SIGTERM)?;
    drop(held);
    await_listeners(server, 1)?;
    for _ in 0..20 {
        assert!(ask(&mut server.connect()?, "who")?.starts_with("1 "));
    }
    assert!(common::process::live_process(pid).is_some(), "it had nothing to write");
    assert_eq!(slow.receive(MUCH)?.len(), MUCH);
    pid_of(server, 0, 2)?;
    await_listeners(server, 2)?;
    reach(server, 0)?.echo(b"hello, successor")?;
    Ok(())
}

fn alone(setup: &Setup) -> Outcome {
    puppet::serve(setup, &[SHARED, ("worker_num", "1")], obey)
}

fn a_worker_alone_is_reached(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    assert_eq!(listeners(server.port())?.len(), 1);
    Ok(())
}

/// The system chooses the port; it is the same in all workers.
fn at_any_port(setup: &Setup) -> Outcome {
    let server = Server::new("127.0.0.1", 0, setup.mode.number(), SW_SOCK_TCP)?;
    server.set("worker_num", "2")?;
    server.set(SHARED.0, SHARED.1)?;
    server.on("start", |_, _| {})?;
    server.on("workerStart", |server, event| {
        report!("worker {} {}", event.worker().worker_id, std::process::id());
        report!("port {}", server_port(server));
    })?;
    server.on("receive", obey)?;
    server.start()?;
    Ok(())
}

/// What the descriptors of this process are bound to.
fn server_port(server: api::Handle) -> u16 {
    let least = server.stats().map_or(-1, |stats| stats.min_fd);
    // SAFETY: all-zero is an address, of no family.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    let mut length = std::mem::size_of_val(&address) as libc::socklen_t;
    let place: *mut libc::sockaddr_in = &mut address;
    // SAFETY: the place has the length that is told.
    unsafe { libc::getsockname(least as i32, place.cast(), &mut length) };
    u16::from_be(address.sin_port)
}

fn a_port_that_the_system_has_chosen_is_that_of_all(server: &Running) -> Outcome {
    let lines = server.wait_lines(2, |line| line.starts_with("port "), STEP)?;
    assert_eq!(lines[0], lines[1]);
    let port: u16 = number(lines[0].trim_start_matches("port "));
    assert_ne!(port, 0);
    server.wait_line(|line| line == "ready", STEP)?;
    Client::connect(port)?.echo(b"hello")?;
    kill(pid_of(server, 0, 1)?)?;
    let lines = server.wait_lines(3, |line| line.starts_with("port "), STEP)?;
    assert_eq!(lines[2], lines[0]);
    Ok(())
}

/// Two servers, one after the other made, that run at the same port.
fn two_programs(setup: &Setup) -> Outcome {
    puppet::serve(setup, &[SHARED, ("log_level", "2")], obey)
}

fn two_programs_serve_one_port(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    await_listeners(server, 2)?;
    let second = server.spawn_beside()?;
    second.wait_line(|line| line == "ready", STEP)?;
    await_listeners(server, 4)?;
    let pids =
        |of: &Running| -> Fallible<Vec<i32>> { Ok(vec![pid_of(of, 0, 1)?, pid_of(of, 1, 1)?]) };
    let wanted = [pids(server)?, pids(&second)?];
    let mut seen = [false; 2];
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = Client::connect(server.port())?;
        let who = ask(&mut client, "who")?;
        let pid: i32 = number(who.split(' ').nth(1).ok_or("no pid")?);
        for (is_seen, pids) in seen.iter_mut().zip(&wanted) {
            *is_seen |= pids.contains(&pid);
        }
        clients.push(client);
    }
    assert_eq!(seen, [true; 2], "200 connections went to one of the two");
    second.signal(libc::SIGTERM)?;
    assert!(second.wait_exit(STEP)?.success());
    await_listeners(server, 2)?;
    server.connect()?.echo(b"the first goes on")?;
    Ok(())
}

/// Somebody else listens, and does not share.
fn at_a_taken_port(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.set(SHARED.0, SHARED.1)?;
    server.on("receive", obey)?;
    // What is bound with this option is in nobody's way before it listens.
    let other = TcpListener::bind(("127.0.0.1", setup.port));
    report!("other {}", other.is_ok());
    let refusal = server.start().err().map_or(0, |error| error.code);
    report!("start {refusal}");
    drop(other);
    let late = TcpListener::bind(("127.0.0.1", setup.port))?;
    let again = setup.server().err().map_or(0, |error| error.code);
    report!("new {again}");
    drop(late);
    Ok(())
}

fn a_port_that_somebody_does_not_share_is_taken(server: &Running) -> Outcome {
    server.wait_line(|line| line == "other true", STEP)?;
    for step in ["start", "new"] {
        server.wait_line(|line| line == format!("{step} {}", libc::EADDRINUSE), STEP)?;
    }
    assert!(server.wait_exit(STEP)?.success());
    Ok(())
}

/// Who joins a shared port must share it as well.
fn join_and_keep(setup: &Setup) -> Outcome {
    let first = puppet_listener(setup.port)?;
    let server = setup.server()?;
    server.on("receive", obey)?;
    report!("start {}", server.start().err().map_or(0, |error| error.code));
    drop(first);
    Ok(())
}

/// A socket that listens and shares its port.
fn puppet_listener(port: u16) -> Fallible<std::os::fd::OwnedFd> {
    use swoole::os::address::{Address, Family};
    use swoole::os::socket::{bind_shared, listen, SocketKind};
    let address = Address::parse(Family::V4, "127.0.0.1", port)?;
    let socket = bind_shared(SocketKind::Tcp, &address)?;
    listen(std::os::fd::AsRawFd::as_raw_fd(&socket), 1)?;
    Ok(socket)
}

fn who_does_not_share_cannot_join(server: &Running) -> Outcome {
    server.wait_line(|line| line == format!("start {}", libc::EADDRINUSE), STEP)?;
    assert!(server.wait_exit(STEP)?.success());
    Ok(())
}

/// What the descriptor is called in each place: that of the first port, and of one for datagrams.
fn ask_everywhere(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    let datagrams = ports::add(*server, "127.0.0.1", 0, SW_SOCK_UDP)?;
    tell(*server, "made");
    datagrams.on("packet", |_, _| {})?;
    server.on("receive", obey)?;
    server.set(SHARED.0, SHARED.1)?;
    tell(*server, "set");
    server.on("managerStart", |server, _| tell(server, "manager"))?;
    server.on("workerStart", |server, _| tell(server, "worker"))?;
    server.start()?;
    Ok(())
}

/// Whether there are the two descriptors, and whether the first one listens.
fn tell(server: api::Handle, place: &str) {
    let of = |index| ports::port(server, index).map_or(-1, |port| port.socket());
    let (second, first) = (of(1), of(0));
    assert_eq!(swoole::ffi::port::sw_server_get_socket(server.raw), first);
    let error = if first == -1 { server.last_error() } else { 0 };
    let listens = ports::option(first, libc::SOL_SOCKET, libc::SO_ACCEPTCONN) == 1;
    report!("socket {place} {} {} {listens} {error}", first >= 0, second >= 0);
}

fn there_is_no_descriptor_before_a_worker_has_opened_its_own(server: &Running) -> Outcome {
    server.connect()?;
    for line in [
        "socket made true true false 0",
        &format!("socket set false true false {SW_ERROR_WRONG_OPERATION}"),
        &format!("socket manager false true false {SW_ERROR_WRONG_OPERATION}"),
    ] {
        server.wait_line(|it| it == line, STEP)?;
    }
    server.wait_lines(2, |line| line == "socket worker true true true 0", STEP)?;
    Ok(())
}

const BASE: [Mode; 1] = [Mode::Base];

server_tests! {
    each_worker_listens_for_itself: shared;
    the_listener_of_a_connection_is_known: know_the_listener, in BASE;
    there_is_no_descriptor_before_a_worker_has_opened_its_own: ask_everywhere, in BASE;
    a_successor_listens_again: shared, in BASE;
    a_worker_that_ends_listens_no_more: shared, in BASE;
    a_worker_alone_is_reached: alone;
    a_port_that_the_system_has_chosen_is_that_of_all: at_any_port, in BASE;
    two_programs_serve_one_port: two_programs, in BASE;
    a_port_that_somebody_does_not_share_is_taken: at_a_taken_port, in BASE;
    who_does_not_share_cannot_join: join_and_keep, in BASE;
}
