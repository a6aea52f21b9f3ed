//! Many connections, no descriptors left, peers that misbehave: the server holds what it can, uses
//! little for it, goes on by itself, and its counters stay exact.

mod common;

use common::prelude::*;
use common::process::{self, group_members};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many idle connections a server must hold.
const MANY: usize = 10_000;
/// Descriptors that tests beside this one, the harness and a server need for themselves.
const RESERVE: u64 = 500;
/// What a connection that has echoed once may cost, in all processes together.
const MOST_BYTES: u64 = 1024;
const CYCLES: u64 = 10_000;
/// How long to wait before looking once more at what nobody tells.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What a step of a test may fail with.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One at a time: the descriptors of this process are for one such test.
static CROWD: Mutex<()> = Mutex::new(());

/// Sets how many descriptors this process may have, and returns that; `None`: as many as it can.
fn limit_descriptors(wanted: Option<u64>) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the place for the answer lives through the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = wanted.map_or(limit.rlim_max, |wanted| wanted.min(limit.rlim_max));
    // SAFETY: the value lives through the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
        0 => Ok(limit.rlim_cur),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Echoes; "?" asks for the counts, "bye" to be closed, "much" for more than a socket takes.
fn obey(server: api::Handle, event: &Event) {
    let fd = event.fd();
    let outcome = match event.data() {
        b"?" => server.stats().and_then(|stats| {
            let sw_stats_t { accept_count, close_count, connection_num, abort_count, .. } = stats;
            let text = format!("{accept_count} {close_count} {connection_num} {abort_count}\n");
            server.send(fd, text.as_bytes())
        }),
        b"bye" => server.close(fd, false),
        b"much" => server.send(fd, &[7; 4 << 20]),
        bytes => server.send(fd, bytes),
    };
    // The peer may have gone meanwhile.
    let is_peer_gone =
        |code| [SW_ERROR_SESSION_CLOSED_BY_CLIENT, SW_ERROR_SESSION_NOT_EXIST].contains(&code);
    if let Err(error) = outcome.or_else(|e| if is_peer_gone(e.code) { Ok(()) } else { Err(e) }) {
        report!("WRONG {error}");
    }
}

fn serve_many(setup: &Setup) -> Outcome {
    limit_descriptors(None)?;
    let server = setup.server()?;
    server.on("receive", obey)?;
    server.on("workerStart", |_, _| report!("worker"))?;
    server.on("workerError", |_, event| report!("WRONG worker {}", event.error().worker_id))?;
    server.start()?;
    Ok(())
}

/// More descriptors than a server with two workers makes before it serves.
const MOST_OWN_DESCRIPTORS: u64 = 40;
const FEW_DESCRIPTORS: u64 = 96;

fn serve_few(setup: &Setup) -> Outcome {
    limit_descriptors(Some(FEW_DESCRIPTORS))?;
    let server = setup.server()?;
    server.on("receive", obey)?;
    server.start()?;
    Ok(())
}

/// One process accepts, and has room for few.
fn serve_in_one(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.set("max_connection", "60")?;
    server.set("worker_num", "1")?;
    server.on("receive", obey)?;
    server.start()?;
    Ok(())
}

/// What this process has: descriptors, threads, children.
fn own_things() -> io::Result<(u64, usize, String)> {
    let children = fs::read_to_string("/proc/thread-self/children")?;
    // One descriptor is the folder that is being read.
    let descriptors = fs::read_dir("/proc/self/fd")?.count() as u64 - 1;
    Ok((descriptors, fs::read_dir("/proc/self/task")?.count(), children))
}

/// Starts with more and more descriptors, from next to none to enough.
fn start_with_few(setup: &Setup) -> Outcome {
    for more in 1..=MOST_OWN_DESCRIPTORS {
        let before = own_things()?;
        let server = setup.server()?;
        server.on("start", |server, _| report!("told {}", server.shutdown().is_ok()))?;
        server.on("receive", obey)?;
        limit_descriptors(Some(before.0 + 1 + more))?;
        let outcome = server.start();
        limit_descriptors(None)?;
        drop(server);
        // A thread that was joined is listed for a moment more.
        let end = Instant::now() + STEP;
        while own_things()? != before && Instant::now() < end {
            std::thread::yield_now();
        }
        assert_eq!(own_things()?, before, "with {more} descriptors: {outcome:?}");
        report!("start {more} {}", outcome.err().map_or(0, |error| error.code));
    }
    Ok(())
}

/// Accepted, closed, open, dropped.
#[derive(Debug, PartialEq)]
struct Counts([u64; 4]);

fn counts(client: &mut Client) -> io::Result<Counts> {
    client.send(b"?")?;
    let mut text = Vec::new();
    while text.last() != Some(&b'\n') {
        text.extend(client.receive(1)?);
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut numbers = text.split_whitespace().map_while(|number| number.parse().ok());
    Ok(Counts(std::array::from_fn(|_| numbers.next().unwrap_or(u64::MAX))))
}

/// Asks again and again until the answer is right, at most for one step.
fn settle<T: std::fmt::Debug>(
    server: &Running,
    mut ask: impl FnMut() -> Result<T, Failure>,
    is_right: impl Fn(&T) -> bool,
) -> Outcome {
    let end = Instant::now() + STEP;
    loop {
        let answer = ask()?;
        if is_right(&answer) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("this did not settle: {answer:?}").into());
        }
        process::wait_gone(server.pid(), LOOK_AGAIN)?;
    }
}

/// Sends four bytes and gets them back.
fn touch(client: &mut Client) -> Outcome {
    client.send(b"echo")?;
    assert_eq!(client.receive(4)?, b"echo");
    Ok(())
}

/// The memory of all processes of the server that is its own, shared memory counted once.
fn memory_bytes(server: &Running) -> Result<u64, Failure> {
    let mut kib = 0;
    for member in group_members(server.pid())? {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", member.pid))?;
        for line in text.lines() {
            let rest = line.strip_prefix("Pss_Anon:").or_else(|| line.strip_prefix("Pss_Shmem:"));
            let number = rest.and_then(|rest| rest.trim().strip_suffix(" kB"));
            kib += number.map_or(Ok(0), str::parse::<u64>)?;
        }
    }
    Ok(kib * 1024)
}

/// How many descriptors each process has.
type Descriptors = BTreeMap<i32, usize>;

fn descriptors(server: &Running) -> Result<Descriptors, Failure> {
    let mut found = BTreeMap::new();
    for member in group_members(server.pid())? {
        found.insert(member.pid, fs::read_dir(format!("/proc/{}/fd", member.pid))?.count());
    }
    Ok(found)
}

/// The time that all processes of the server have computed.
fn cpu_time(server: &Running) -> Result<Duration, Failure> {
    let mut total = Duration::ZERO;
    for member in group_members(server.pid())? {
        for entry in fs::read_dir(format!("/proc/{}/task", member.pid))? {
            let text = fs::read_to_string(entry?.path().join("schedstat"))?;
            let ns = text.split(' ').next().unwrap_or_default().parse()?;
            total += Duration::from_nanos(ns);
        }
    }
    Ok(total)
}

fn assert_nothing_wrong(server: &Running) {
    let lines = server.lines_so_far();
    let wrong: Vec<&String> = lines.iter().filter(|line| line.starts_with("WRONG")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn ten_thousand_idle_connections_are_held_and_cost_little(server: &Running) -> Outcome {
    let _alone = CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = limit_descriptors(None)?;
    let count = MANY.min(usize::try_from(limit.saturating_sub(RESERVE))?);
    let mut asking = server.connect()?;
    touch(&mut asking)?;
    let before = memory_bytes(server)?;
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = Client::connect(server.port())?;
        touch(&mut client)?;
        clients.push(client);
    }
    let cost = memory_bytes(server)?.saturating_sub(before) / count as u64;
    println!("{:?}: {count} connections (limit {limit}) cost {cost} bytes each", server.mode());
    let all = count as u64 + 1;
    assert_eq!(counts(&mut asking)?, Counts([all, 0, all, 0]));
    clients.iter_mut().step_by(97).try_for_each(touch)?;
    assert!(cost <= MOST_BYTES, "a connection costs {cost} bytes");
    drop(clients);
    let left = Counts([all, all - 1, 1, 0]);
    settle(server, || Ok(counts(&mut asking)?), |found| *found == left)?;
    assert_nothing_wrong(server);
    Ok(())
}

/// The clients that have an answer, or the end, before them.
fn ready(clients: &[Client]) -> io::Result<usize> {
    let entry = |client: &Client| {
        let fd = client.stream.as_raw_fd();
        libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
    };
    let mut entries: Vec<libc::pollfd> = clients.iter().map(entry).collect();
    // SAFETY: the entries live through the call, and there are so many of them.
    match unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, 0) } {
        -1 => Err(io::Error::last_os_error()),
        count => Ok(usize::try_from(count).unwrap_or(0)),
    }
}

fn is_ready(client: &Client) -> bool {
    let mut byte = [0];
    client.stream.set_nonblocking(true).expect("a socket can be switched");
    let is_ready = client.stream.peek(&mut byte).is_ok();
    client.stream.set_nonblocking(false).expect("a socket can be switched");
    is_ready
}

fn without_descriptors_the_server_serves_what_it_has_and_waits_for_room(
    server: &Running,
) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    let connect = || Client::connect(server.port());
    let mut asking = connect()?;
    touch(&mut asking)?;
    let mut clients = (0..3 * FEW_DESCRIPTORS).map(|_| connect()).collect::<Result<Vec<_>, _>>()?;
    clients.iter_mut().try_for_each(|client| client.send(b"x"))?;
    // Each process that accepts has come to its limit and says so.
    let acceptors = if server.mode() == Mode::Base { 2 } else { 1 };
    let full = |log: &String| log.matches("cannot accept").count() >= acceptors;
    settle(server, || Ok(server.log()), full)?;
    let Counts([accepted, ..]) = counts(&mut asking)?;
    settle(server, || Ok(ready(&clients)?), |served| *served as u64 + 1 == accepted)?;
    let (mut held, waiting): (Vec<_>, Vec<_>) = clients.into_iter().partition(is_ready);
    let (least, most) = (FEW_DESCRIPTORS as usize / 2, FEW_DESCRIPTORS as usize * acceptors);
    assert!((least..most).contains(&held.len()), "{} connections are held", held.len());

    let before = cpu_time(server)?;
    assert!(!process::wait_gone(server.pid(), Duration::from_secs(1))?, "the server lives");
    let spent = cpu_time(server)? - before;
    assert!(spent < Duration::from_millis(300), "the server turns in vain: {spent:?} in 1 s");
    for client in &mut held {
        assert_eq!(client.receive(1)?, b"x");
        touch(client)?;
    }
    assert_eq!(ready(&waiting)?, 0, "there is no room for those who wait");

    let freed = held.len() / 2;
    held.truncate(held.len() - freed);
    settle(server, || Ok(ready(&waiting)?), |served| *served >= freed)?;
    held.iter_mut().try_for_each(touch)?;
    drop((asking, held, waiting));
    let mut last = connect()?;
    touch(&mut last)?;
    settle(server, || Ok(counts(&mut last)?), |Counts(found)| found[2] == 1)?;
    Ok(())
}

/// Whoever comes too much is sent away, and for a second nobody else is looked at.
fn after_one_connection_too_many_accepting_rests_for_a_second(server: &Running) -> Outcome {
    let mut held = vec![server.connect()?];
    let last = loop {
        let last = Instant::now();
        let mut client = Client::connect(server.port())?;
        match touch(&mut client) {
            Ok(()) => held.push(client),
            Err(_) => break last,
        }
        assert!(held.len() < 60, "nobody is sent away");
    };
    let mut waiting = Client::connect(server.port())?;
    held.truncate(held.len() / 2);
    touch(&mut waiting)?;
    let rest = last.elapsed();
    // The second begins with a turn of the loop, which may be a little older than the connection.
    assert!(rest > Duration::from_millis(700), "accepting went on after {rest:?}");
    held.iter_mut().try_for_each(touch)?;
    assert_eq!(counts(&mut waiting)?.0[3], 1);
    Ok(())
}

/// A client to ask, and what is open beside it when every worker is up.
fn begin_counting(server: &Running) -> Result<(Client, Descriptors), Failure> {
    server.wait_lines(2, |line| line == "worker", STEP)?;
    let mut asking = server.connect()?;
    touch(&mut asking)?;
    Ok((asking, descriptors(server)?))
}

/// Connects and leaves in one of four ways.
fn come_and_go(server: &Running, way: u64) -> Outcome {
    let mut client = Client::connect(server.port())?;
    match way {
        0 => {}
        1 => touch(&mut client)?,
        2 => {
            client.send(b"bye")?;
            assert_eq!(client.receive_to_end()?, b"");
        }
        _ => {
            client.send(b"last words")?;
            client.finish_sending()?;
            assert_eq!(client.receive_to_end()?, b"last words");
        }
    }
    Ok(())
}

fn ten_thousand_short_connections_leave_exact_counters_and_no_descriptor(
    server: &Running,
) -> Outcome {
    let _alone = CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut asking, before) = begin_counting(server)?;
    (0..CYCLES).try_for_each(|cycle| come_and_go(server, cycle % 4))?;
    let wanted = Counts([CYCLES + 1, CYCLES, 1, 0]);
    settle(server, || Ok(counts(&mut asking)?), |found| *found == wanted)?;
    settle(server, || descriptors(server), |found| *found == before)?;
    assert_nothing_wrong(server);
    Ok(())
}

/// Closes with a reset.
fn reset(client: Client) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = std::mem::size_of::<libc::linger>() as libc::socklen_t;
    let (fd, value) = (client.stream.as_raw_fd(), std::ptr::addr_of!(linger).cast());
    // SAFETY: the value lives through the call and has the length that is told.
    match unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, value, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Connects and resets: at once, after bytes that nobody may have read, amid a long answer.
fn come_and_reset(server: &Running, way: u64) -> Outcome {
    let mut client = Client::connect(server.port())?;
    match way {
        0 => {}
        1 => client.send(&[3; 20_000])?,
        _ => {
            client.send(b"much")?;
            client.receive(1000)?;
        }
    }
    Ok(reset(client)?)
}

fn a_storm_of_resets_leaves_nothing_behind(server: &Running) -> Outcome {
    let (mut asking, before) = begin_counting(server)?;
    (0..600).try_for_each(|number| come_and_reset(server, number % 3))?;
    // The system may forget a connection that is reset before it is accepted.
    let is_over = |Counts([accepted, closed, open, _]): &Counts| {
        *open == 1 && *accepted == closed + 1 && *accepted > 400
    };
    settle(server, || Ok(counts(&mut asking)?), is_over)?;
    settle(server, || descriptors(server), |found| *found == before)?;
    touch(&mut asking)?;
    assert_nothing_wrong(server);
    Ok(())
}

/// Bytes that anything may be hidden in, the same for the same seed.
fn garbage(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn any_bytes_come_through_beside_each_other(server: &Running) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    let port = server.port();
    std::thread::scope(|scope| {
        let talk = |seed: u64| {
            move || -> Outcome {
                let mut client = Client::connect(port)?;
                for length in [1, 2, 100, 65_535, 65_536, 65_537, 300_000] {
                    client.echo(&garbage(seed, length))?;
                }
                Ok(())
            }
        };
        let talks: Vec<_> = (1..=8).map(|seed| scope.spawn(talk(seed))).collect();
        talks.into_iter().try_for_each(|talk| talk.join().map_err(|_| "a client panicked")?)
    })?;
    assert_nothing_wrong(server);
    Ok(())
}

/// A peer that has ended its side gets the rest of a long answer, then the end.
fn a_half_closed_peer_gets_its_answer_and_the_end(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.send(b"much")?;
    client.receive(1)?;
    client.finish_sending()?;
    assert_eq!(client.receive_to_end()?.len(), (4 << 20) - 1);
    Ok(())
}

/// A peer that neither reads nor ends keeps nobody else waiting, and its end is noticed.
fn a_peer_that_does_not_read_stops_nobody_and_ends(server: &Running) -> Outcome {
    let mut deaf = server.connect()?;
    let mut asking = server.connect()?;
    deaf.send(b"much")?;
    deaf.receive(1)?;
    for _ in 0..50 {
        touch(&mut asking)?;
    }
    assert_eq!(counts(&mut asking)?, Counts([2, 0, 2, 0]));
    drop(deaf);
    settle(server, || Ok(counts(&mut asking)?), |found| *found == Counts([2, 1, 1, 0]))?;
    Ok(())
}

fn a_start_without_descriptors_fails_and_leaves_nothing(server: &Running) -> Outcome {
    assert!(server.wait_exit(2 * STEP)?.success());
    let most = usize::try_from(MOST_OWN_DESCRIPTORS)?;
    let lines = server.wait_lines(most, |line| line.starts_with("start "), STEP)?;
    let codes: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(2)).collect();
    // Up to some number none is enough, and from then on all are.
    let failed = codes.iter().take_while(|code| **code != "0").count();
    assert!(failed > 0 && failed < most, "{codes:?}");
    let no_room = libc::EMFILE.to_string();
    assert!(codes[..failed].iter().all(|code| *code == no_room), "{codes:?}");
    assert!(codes[failed..].iter().all(|code| *code == "0"), "{codes:?}");
    Ok(())
}

server_tests! {
    a_start_without_descriptors_fails_and_leaves_nothing: start_with_few;
    ten_thousand_idle_connections_are_held_and_cost_little: serve_many;
    ten_thousand_short_connections_leave_exact_counters_and_no_descriptor: serve_many;
    without_descriptors_the_server_serves_what_it_has_and_waits_for_room: serve_few;
    after_one_connection_too_many_accepting_rests_for_a_second: serve_in_one;
    a_storm_of_resets_leaves_nothing_behind: serve_many;
    any_bytes_come_through_beside_each_other: serve_many;
    a_half_closed_peer_gets_its_answer_and_the_end: serve_many;
    a_peer_that_does_not_read_stops_nobody_and_ends: serve_many;
}
