//! Accepting at the limit: who has no room takes nobody for a second, and holds who is there. And
//! what a port asks of its sockets.

#[path = "accepting/asked.rs"]
mod asked;
mod common;
#[path = "ports/api.rs"]
mod ports;
mod puppet;

use asked::*;
use common::hidden::hidden;
use common::prelude::*;
use libc::c_int;
use ports::{add, ask_peer, port, reach, Peer};
use puppet::life::wait_for_log;
use puppet::{answer, ask, number, obey, poll};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How long accepting rests.
const REST: Duration = Duration::from_secs(1);
/// A rest that may begin a little before it is looked at.
const MOST_OF_A_REST: Duration = Duration::from_millis(800);
/// A rest and what comes after it, on a busy machine.
const REST_AND_MORE: Duration = Duration::from_secs(4);

/// What all processes of a server share: how the system answers when it is asked for a connection.
#[derive(Default)]
struct System {
    /// The error that it answers with; 0: none.
    error: AtomicI32,
    /// How many times it does; -1: always.
    times: AtomicI32,
    calls: AtomicI32,
}

fn system() -> &'static System {
    static SYSTEM: OnceLock<usize> = OnceLock::new();
    let place = SYSTEM.get_or_init(|| {
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        let size = std::mem::size_of::<System>();
        // SAFETY: maps new memory.
        let place = unsafe { libc::mmap(std::ptr::null_mut(), size, access, kind, -1, 0) };
        assert_ne!(place, libc::MAP_FAILED);
        place as usize
    });
    // SAFETY: the memory is never unmapped, large enough, and holds atomics, which may all be zero.
    unsafe { &*(*place as *const System) }
}

/// Stands before the one of the system. The reports of a callback use none of it.
///
/// # Safety
/// - As of the system.
#[no_mangle]
pub unsafe extern "C" fn accept4(
    listener: c_int,
    address: *mut libc::sockaddr,
    length: *mut libc::socklen_t,
    flags: c_int,
) -> c_int {
    type Accept =
        unsafe extern "C" fn(c_int, *mut libc::sockaddr, *mut libc::socklen_t, c_int) -> c_int;
    let system = system();
    system.calls.fetch_add(1, Ordering::Relaxed);
    let has_error = system.times.load(Ordering::Relaxed) != 0;
    if has_error {
        // It answers so once somebody waits; before that, there is nobody to be refused.
        let mut waiting = libc::pollfd { fd: listener, events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor is looked at.
        if unsafe { libc::poll(&mut waiting, 1, 0) } == 1 {
            if system.times.load(Ordering::Relaxed) > 0 {
                system.times.fetch_sub(1, Ordering::Relaxed);
            }
            // SAFETY: the place is that of this thread.
            unsafe { *libc::__errno_location() = system.error.load(Ordering::Relaxed) };
            return -1;
        }
    }
    // SAFETY: the hidden function has this type.
    let accept: Accept = unsafe { std::mem::transmute(hidden(b"accept4\0")) };
    // SAFETY: as of the caller.
    unsafe { accept(listener, address, length, flags) }
}

/// Bytes of connections and of refusals: connections, aborted, accepted, of server and first port.
fn counts(server: api::Handle) -> String {
    let of = |stats: sw_stats_t| {
        format!("{} {} {}", stats.connection_num, stats.abort_count, stats.accept_count)
    };
    let all = server.stats().map(of).unwrap_or_default();
    let ports: Vec<String> =
        (0..2).filter_map(|index| port(server, index).ok()?.stats().ok()).map(of).collect();
    format!("{all} {}", ports.join(" "))
}

fn obey_here(server: api::Handle, event: &Event) {
    let order = std::str::from_utf8(event.data()).unwrap_or_default();
    let words: Vec<&str> = order.split(' ').collect();
    let line = match &words[..] {
        ["!fail", error, times] => {
            system().error.store(number(error), Ordering::Relaxed);
            system().times.store(number(times), Ordering::Relaxed);
            "true".to_owned()
        }
        ["!calls"] => system().calls.load(Ordering::Relaxed).to_string(),
        ["!counts"] => counts(server),
        _ => return obey(server, event),
    };
    answer(server, event.fd(), format!("{line}\n").as_bytes());
}

/// One worker, so that one unit accepts.
fn prepare(setup: &Setup, settings: &[(&str, &str)]) -> Fallible<Server> {
    system();
    let server = puppet::prepare(setup, &[("worker_num", "1")], obey_here)?;
    for (name, value) in settings {
        server.set(name, value)?;
    }
    let second = add(*server, "127.0.0.1", 0, SW_SOCK_TCP)?;
    report!("second {}", second.number());
    Ok(server)
}

fn with_faults(setup: &Setup) -> Outcome {
    puppet::run(&prepare(setup, &[])?)
}

fn failures(log: &str) -> usize {
    log.matches("cannot accept, trying again in 1 s").count()
}

/// Looks at how often the system is asked.
fn try_once_in_a_rest(server: &Running, held: &mut Client) -> Outcome {
    let (begin, calls) = (Instant::now(), ask(held, "calls")?);
    let seen = failures(&server.log());
    wait_for_log(server, |log| failures(log) > seen + 1)?;
    let calls = number::<u32>(&ask(held, "calls")?) - number::<u32>(&calls);
    let rests = begin.elapsed().as_secs_f64() / REST.as_secs_f64();
    assert!(f64::from(calls) <= rests + 2.0, "{calls} calls in {rests} rests");
    Ok(())
}

/// The errors are those of a system that has no room; ENOTSOCK stands for all that are unheard of.
fn who_cannot_accept_rests_and_goes_on_when_there_is_room(server: &Running) -> Outcome {
    let mut held = server.connect()?;
    for error in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::ENOTSOCK] {
        let seen = failures(&server.log());
        assert_eq!(ask(&mut held, &format!("fail {error} -1"))?, "true");
        let mut waiting = server.connect()?;
        waiting.send(b"patience")?;
        wait_for_log(server, |log| failures(log) > seen)?;
        held.echo(b"who is there is served")?;
        if error == libc::EMFILE {
            try_once_in_a_rest(server, &mut held)?;
        }
        assert_eq!(ask(&mut held, "fail 0 0")?, "true");
        let begin = Instant::now();
        assert_eq!(waiting.receive(8)?, b"patience");
        assert!(begin.elapsed() < REST_AND_MORE, "{:?}", begin.elapsed());
    }
    // Nobody was refused.
    assert_eq!(ask(&mut held, "counts")?.split(' ').nth(1), Some("0"));
    Ok(())
}

fn a_connection_that_is_gone_does_not_hold_up_others(server: &Running) -> Outcome {
    let mut held = server.connect()?;
    for error in [libc::ECONNABORTED, libc::EPERM, libc::EPROTO, libc::ENETUNREACH] {
        assert_eq!(ask(&mut held, &format!("fail {error} 3"))?, "true");
        server.connect()?.echo(b"here I am")?;
    }
    assert_eq!(failures(&server.log()), 0);
    Ok(())
}

/// So many connections have descriptors.
const ROOM: usize = 5;

/// Few descriptors: where connections are accepted, there is no more room.
fn with_few_descriptors(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[])?;
    let confine = |_: api::Handle, _: &Event| {
        let open = common::process::open_descriptors().expect("the own descriptors");
        // The system takes the lowest numbers first.
        let free = (0..).filter(|number| !open.contains(number)).nth(ROOM);
        let limit = free.map_or(0, |number| number as libc::rlim_t);
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: a valid limit is read.
        let is_set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } == 0;
        report!("confined {is_set}");
    };
    server.on("start", confine)?;
    puppet::run(&server)
}

/// Those of the clients to whom an answer has come.
fn answered(clients: &[Client]) -> Fallible<Vec<usize>> {
    let fds: Vec<i32> = clients.iter().map(|client| client.stream.as_raw_fd()).collect();
    Ok(poll(&fds, libc::POLLIN, 0)?)
}

/// Waits until so many have an answer.
fn await_answers(clients: &[Client], count: usize) -> Fallible<Vec<usize>> {
    let end = Instant::now() + STEP;
    loop {
        let found = answered(clients)?;
        if found.len() >= count {
            assert_eq!(found.len(), count);
            return Ok(found);
        }
        assert!(Instant::now() < end, "{} of {count}", found.len());
        // One more may be there at any time; those that are do not wake it.
        let is_silent = |(index, _): &(usize, &Client)| !found.contains(index);
        let silent = clients.iter().enumerate().filter(is_silent);
        let fds: Vec<i32> = silent.map(|(_, client)| client.stream.as_raw_fd()).collect();
        poll(&fds, libc::POLLIN, 100)?;
    }
}

fn who_has_no_descriptors_left_serves_those_it_holds(server: &Running) -> Outcome {
    const MANY: usize = 3 * ROOM;
    server.wait_line(|line| line == "confined true", STEP)?;
    server.wait_line(|line| line == "ready", STEP)?;
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..MANY {
        let mut client = Client::connect(server.port())?;
        client.send(b"hello")?;
        clients.push(client);
    }
    wait_for_log(server, |log| failures(log) > 0)?;
    let mut served = await_answers(&clients, ROOM)?;
    for index in &served {
        assert_eq!(clients[*index].receive(5)?, b"hello");
    }
    try_once_in_a_rest(server, &mut clients[served[0]])?;
    for index in &served {
        clients[*index].echo(b"and still")?;
    }
    assert!(answered(&clients)?.is_empty(), "there was more room");
    // Those that leave make room for as many others.
    served.reverse();
    let leaving: Vec<Client> = served.iter().map(|index| clients.remove(*index)).collect();
    drop(leaving);
    let begin = Instant::now();
    let first = await_answers(&clients, ROOM)?[0];
    assert!(begin.elapsed() < REST_AND_MORE, "{:?}", begin.elapsed());
    assert_eq!(clients[first].receive(5)?, b"hello");
    let line = ask(&mut clients[first], "counts")?;
    assert_eq!(line.split(' ').nth(1), Some("0"), "nobody was refused: {line}");
    Ok(())
}

/// A limit that is a little above the descriptors that are open anyway.
fn with_few_connections(setup: &Setup) -> Outcome {
    puppet::run(&prepare(setup, &[("max_connection", "48")])?)
}

/// Whether the peer is served; otherwise it was closed without a word.
fn is_served(peer: &mut dyn Peer) -> bool {
    peer.write_all(b"hello").is_ok() && matches!(peer.read(&mut [0; 5]), Ok(5))
}

fn above_the_limit_one_in_a_second_is_refused_on_any_port(server: &Running) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    let line = server.wait_line(|line| line.starts_with("second "), STEP)?;
    let (first, second) = (i32::from(server.port()), number(&line["second ".len()..]));
    let mut asker = reach("127.0.0.1", first)?;
    assert!(is_served(&mut *asker));
    let mut held = Vec::new();
    let refused = loop {
        let mut peer = reach("127.0.0.1", first)?;
        if !is_served(&mut *peer) {
            break Instant::now();
        }
        held.push(peer);
        assert!(held.len() < 48, "there is no limit");
    };
    assert!(!held.is_empty());
    let calls = |asker: &mut dyn Peer| ask_peer(asker, "!calls").map(|it| number::<u32>(&it));
    let before = calls(&mut *asker)?;
    // Who comes meanwhile waits, at every port, and is refused in his turn.
    assert!(!is_served(&mut *reach("127.0.0.1", second)?));
    assert!(refused.elapsed() > MOST_OF_A_REST, "{:?}", refused.elapsed());
    assert!(refused.elapsed() < REST_AND_MORE, "{:?}", refused.elapsed());
    let tried = calls(&mut *asker)? - before;
    assert!(f64::from(tried) <= refused.elapsed().as_secs_f64() + 2.0, "{tried} calls");
    let count = held.len() + 1;
    let line = ask_peer(&mut *asker, "!counts")?;
    assert_eq!(line, format!("{count} 2 {count} {count} 1 {count} 0 1 0"));
    // All that are held are served, and one that goes makes room.
    assert!(held.iter_mut().all(|peer| is_served(&mut **peer)));
    held.pop();
    let begin = Instant::now();
    assert!(is_served(&mut *reach("127.0.0.1", second)?), "there is room");
    assert!(begin.elapsed() < REST_AND_MORE, "{:?}", begin.elapsed());
    let line = ask_peer(&mut *asker, "!counts")?;
    assert!(line.split(' ').skip(1).step_by(3).eq(["2", "1", "1"]), "{line}");
    assert!(server.log().contains("too many connections"));
    Ok(())
}

server_tests! {
    who_cannot_accept_rests_and_goes_on_when_there_is_room: with_faults;
    a_connection_that_is_gone_does_not_hold_up_others: with_faults;
    who_has_no_descriptors_left_serves_those_it_holds: with_few_descriptors;
    above_the_limit_one_in_a_second_is_refused_on_any_port: with_few_connections;
    a_port_asks_its_sockets_for_what_it_was_told: with_options;
    accepted_sockets_have_the_options_of_their_port: with_options, in [Mode::Base, Mode::Thread];
    what_the_system_refuses_is_a_warning: with_wrong_options;
    who_says_nothing_is_not_accepted_where_that_is_put_off: with_options;
    the_queue_is_as_long_as_was_told: with_queues;
}
