//! What a worker may have in progress, and workers whose inboxes are full.

use super::orders::serve;
use super::rules::{who, Fallible};
use crate::common::prelude::*;
use crate::puppet::{ask, ask_until, hold_worker, kill, pid_of, poll, Gate, Held};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

pub fn at_most_two(setup: &Setup) -> Outcome {
    serve(setup, &[("worker_num", "1"), ("worker_max_concurrency", "2")])
}

pub fn at_most_one_of_each(setup: &Setup) -> Outcome {
    let settings = [("worker_num", "2"), ("worker_max_concurrency", "1"), ("dispatch_mode", "10")];
    serve(setup, &settings)
}

pub fn two_in_turn(setup: &Setup) -> Outcome {
    serve(setup, &[("worker_num", "2"), ("dispatch_mode", "1"), ("enable_unsafe_event", "1")])
}

pub fn by_uid(setup: &Setup) -> Outcome {
    let settings = [("worker_num", "2"), ("reactor_num", "1"), ("dispatch_mode", "5")];
    serve(setup, &[&settings[..], &[("socket_buffer_size", "0")]].concat())
}

pub fn at_most_one_message(setup: &Setup) -> Outcome {
    let framing = [("open_eof_split", "1"), ("package_eof", "\n"), ("package_max_length", "64M")];
    let limit = [("worker_num", "1"), ("worker_max_concurrency", "1")];
    serve(setup, &[&framing[..], &limit[..]].concat())
}

/// Begins a request that ends when what is returned is dropped.
fn begin(client: &mut Client) -> Fallible<Held> {
    let gate = Gate::new()?;
    assert_eq!(ask(client, &format!("until {}", gate.port()?))?, "begun");
    gate.wait()
}

fn is_silent(client: &Client, ms: i32) -> Fallible<bool> {
    Ok(poll(&[client.stream.as_raw_fd()], libc::POLLIN, ms)?.is_empty())
}

pub fn a_worker_that_has_enough_gets_no_more_until_a_request_is_over(server: &Running) -> Outcome {
    let mut first = server.connect()?;
    let mut second = server.connect()?;
    let mut third = server.connect()?;
    assert_eq!(ask(&mut first, "end")?, "error 509");
    let one = begin(&mut first)?;
    // With the one that asks.
    ask_until(&mut third, "count", |count| count == "2 2")?;
    let other = begin(&mut second)?;
    third.send(b"waits")?;
    first.send(b"too")?;
    assert!(is_silent(&third, 100)? && is_silent(&first, 0)?, "two are in progress");
    drop(one);
    assert_eq!(third.receive(5)?, b"waits");
    assert_eq!(first.receive(3)?, b"too");
    let one = begin(&mut third)?;
    first.send(b"again")?;
    assert!(is_silent(&first, 100)?);
    drop((one, other));
    assert_eq!(first.receive(5)?, b"again");
    // Those of the gates that have just opened end soon.
    ask_until(&mut second, "count", |count| count == "1 1")?;
    Ok(())
}

pub fn a_message_that_comes_in_pieces_is_in_progress(server: &Running) -> Outcome {
    const LARGE: usize = 24 << 20;
    let mut client = server.connect()?;
    let gate = Gate::new()?;
    let padding = "x".repeat(LARGE);
    client.send(format!("={padding} !until {}\nwaits\n", gate.port()?).as_bytes())?;
    let held = gate.wait()?;
    assert_eq!(client.receive(6)?, b"begun\n");
    assert!(is_silent(&client, 200)?, "one is in progress");
    drop(held);
    assert_eq!(client.receive(6)?, b"waits\n");
    Ok(())
}

pub fn what_a_killed_worker_had_begun_is_over(server: &Running) -> Outcome {
    let mut clients = [server.connect()?, server.connect()?, server.connect()?];
    let [first, second, third] = &mut clients;
    let held = (begin(first)?, begin(second)?);
    third.send(b"waits")?;
    assert!(is_silent(third, 100)?);
    kill(pid_of(server, 0, 1)?)?;
    assert_eq!(third.receive(5)?, b"waits");
    assert_eq!(ask(first, "count")?, "1 1");
    drop(held);
    Ok(())
}

pub fn a_request_goes_to_a_worker_that_may_take_one(server: &Running) -> Outcome {
    let mut clients = [server.connect()?, server.connect()?, server.connect()?];
    let [first, second, third] = &mut clients;
    let held = begin(first)?;
    let other = begin(second)?;
    third.send(b"waits")?;
    assert!(is_silent(third, 100)?, "each worker has one");
    drop(other);
    assert_eq!(third.receive(5)?, b"waits", "whoever is free first has it");
    drop(held);
    ask_until(first, "count", |count| count == "1 1")?;
    Ok(())
}

/// Silence of which it is no reason that the server itself gets no time: it looks so often
/// meanwhile how many workers are idle.
fn is_silent_for_looks(server: &Running, client: &Client) -> Fallible<bool> {
    const LOOKS: usize = 40;
    let is_look = |line: &str| line.starts_with("idle ");
    let looks = server.lines_so_far().iter().filter(|line| is_look(line)).count();
    server.wait_lines(looks + LOOKS, is_look, STEP)?;
    is_silent(client, 0)
}

/// More than the inbox of a worker holds.
const FLOOD: usize = 6 << 20;
/// More than the sockets hold besides.
const MOST: usize = 64 << 20;

pub fn a_full_inbox_stops_whoever_feeds_it_and_nobody_else(server: &Running) -> Outcome {
    let mut clients = [server.connect()?, server.connect()?, server.connect()?];
    let [first, second, third] = &mut clients;
    let held = hold_worker(first)?;
    let mut flood = server.connect()?;
    let mut writer = flood.stream.try_clone()?;
    let sending = std::thread::spawn(move || writer.write_all(&vec![b'f'; FLOOD]));
    // What has its turn at the other worker comes back, until one message waits for the stuck one.
    let mut back = 0;
    while !(is_silent(&flood, 300)? && is_silent_for_looks(server, &flood)?) {
        let mut bytes = [0; 65_536];
        back += flood.stream.read(&mut bytes)?;
    }
    assert!(back < FLOOD, "the stuck one has none of it");
    // Of two messages one has its turn at the worker that is not stuck, unless a late part of the
    // flood has one between them.
    let fds = [second.stream.as_raw_fd(), third.stream.as_raw_fd()];
    for round in 0.. {
        second.send(b"2")?;
        third.send(b"3")?;
        if poll(&fds, libc::POLLIN, STEP.as_millis() as i32)?.len() == 1 {
            break;
        }
        assert!(round < 5, "nobody has a turn at the stuck one");
        assert_eq!((second.receive(1)?, third.receive(1)?), (b"2".to_vec(), b"3".to_vec()));
    }
    drop(held);
    assert_eq!(second.receive(1)?, b"2");
    assert_eq!(third.receive(1)?, b"3");
    flood.receive(FLOOD - back)?;
    sending.join().map_err(|_| "the sender panicked")??;
    Ok(())
}

/// Sends as much as is taken of somebody whose worker is stuck.
fn fill(client: &Client) -> Fallible<usize> {
    let fds = [client.stream.as_raw_fd()];
    client.stream.set_nonblocking(true)?;
    let mut sent = 0;
    while sent < MOST && !poll(&fds, libc::POLLOUT, 300)?.is_empty() {
        sent += (&client.stream).write(&[b'f'; 65_536])?;
    }
    client.stream.set_nonblocking(false)?;
    assert!(sent < MOST, "somebody takes all of it");
    Ok(sent)
}

pub fn who_is_bound_waits_no_longer_for_the_worker_that_it_had(server: &Running) -> Outcome {
    let mut clients = [(); 6].map(|()| server.connect());
    let mut of = |worker: i64| -> Fallible<Vec<(Client, i64)>> {
        let mut found = Vec::new();
        for client in &mut clients {
            let client = client.as_mut().map_err(|error| error.to_string())?;
            let (its_worker, fd) = who(client)?;
            if its_worker == worker {
                found.push((Client { stream: client.stream.try_clone()? }, fd));
            }
        }
        Ok(found)
    };
    let (mut stuck, mut free) = (of(0)?, of(1)?);
    let held = hold_worker(&mut stuck[0].0)?;
    let sent = fill(&stuck[1].0)?;
    let (client, fd) = &mut stuck[2];
    client.send(b"waits")?;
    // One reactor: what came before this was looked at before it.
    let asker = &mut free[0].0;
    who(asker)?;
    assert_eq!(ask(asker, &format!("bind 1 {fd}"))?, "ok");
    assert_eq!(client.receive(5)?, b"waits", "its worker is another one now");
    drop(held);
    stuck[1].0.receive(sent)?;
    Ok(())
}
