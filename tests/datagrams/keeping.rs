//! What is kept of datagrams when workers leave, are killed, are stuck, or the server ends.

use crate::api::*;
use crate::common::prelude::*;
use crate::puppet::life::{end, wait_for_end, wait_for_lines, wait_for_log};
use crate::puppet::{self, connect_to, kill, number, pid_of, Gate, Held};
use std::time::{Duration, Instant};

const ROUNDS: usize = 10;
/// Datagrams that are on their way at once: not more than the system keeps for any socket.
const WINDOW: u32 = 32;

/// Sends numbers until it is over and expects each of them back; how many they were.
fn count_on(peer: &Peer, is_over: impl Fn() -> bool) -> Result<u32, Failure> {
    let (mut sent, mut back) = (0_u32, 0_u32);
    loop {
        while sent - back < WINDOW && !is_over() {
            peer.0.send(&sent.to_be_bytes())?;
            sent += 1;
        }
        if back == sent {
            return Ok(back);
        }
        assert_eq!(peer.receive()?, back.to_be_bytes(), "the next one");
        back += 1;
    }
}

pub fn nothing_is_lost_by_ten_reloads_under_load(server: &Running) -> Outcome {
    let peer = Peer::of(server)?;
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let counting =
            scope.spawn(|| count_on(&peer, || is_over.load(std::sync::atomic::Ordering::Relaxed)));
        let reload = |round: usize| {
            server.signal(libc::SIGUSR1)?;
            // One at a time: what is asked for while one runs is dropped.
            wait_for_lines(server, round, "after a reload").map(drop)
        };
        let reloaded = (1..=ROUNDS).try_for_each(reload);
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        let count = counting.join().map_err(|_| "the peer panicked")??;
        assert!(count >= WINDOW, "{count}");
        reloaded
    })
}

/// The worker of this peer, and that it is stuck.
fn hold_worker_of(server: &Running, peer: &Peer) -> Result<(i32, Held), Failure> {
    let who = peer.ask_text("!who")?;
    let worker = number(&who[..1]);
    let gate = Gate::new()?;
    let (mut client, _) = connect_to(server, worker)?;
    client.send(format!("!hold {}", gate.port()?).as_bytes())?;
    Ok((worker, gate.wait()?))
}

pub fn the_successor_of_a_killed_worker_answers_what_was_in_its_inbox(server: &Running) -> Outcome {
    let peer = Peer::of(server)?;
    let (worker, held) = hold_worker_of(server, &peer)?;
    (0..WINDOW).try_for_each(|number| peer.0.send(&number.to_be_bytes()).map(drop))?;
    kill(pid_of(server, worker, 1)?)?;
    for number in 0..WINDOW {
        assert_eq!(peer.receive()?, number.to_be_bytes());
    }
    drop(held);
    let new = pid_of(server, worker, 2)?;
    assert!(peer.ask_text("!who")?.starts_with(&format!("{worker} {new} ")));
    Ok(())
}

pub fn what_workers_have_is_answered_before_the_end(server: &Running) -> Outcome {
    let peer = Peer::of(server)?;
    let (worker, held) = hold_worker_of(server, &peer)?;
    (0..WINDOW).try_for_each(|number| peer.0.send(&number.to_be_bytes()).map(drop))?;
    // The other worker says when the reactor has handed them on.
    let (mut other, _) = connect_to(server, 1 - worker)?;
    puppet::ask_until(&mut other, "stats", |line| {
        line.rsplit(' ').next().is_some_and(|count| number::<u32>(count) > WINDOW)
    })?;
    server.signal(libc::SIGTERM)?;
    wait_for_log(server, |log| log.contains("server is ending"))?;
    drop(held);
    for number in 0..WINDOW {
        assert_eq!(peer.receive()?, number.to_be_bytes());
    }
    wait_for_end(server)
}

/// Nanoseconds that all threads of a process have run.
fn cpu_ns(pid: i32) -> Result<u64, Failure> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        sum += number::<u64>(text.split(' ').next().unwrap_or_default());
    }
    Ok(sum)
}

pub fn a_worker_without_room_stops_its_port_alone(server: &Running) -> Outcome {
    let peer = Peer::of(server)?;
    let (worker, held) = hold_worker_of(server, &peer)?;
    // More than its inbox takes; what does not find room in the system either is lost.
    let data = |number: u32| [number.to_be_bytes().as_slice(), &[7; 20_000]].concat();
    for number in 0..100 {
        peer.0.send(&data(number))?;
    }
    let (mut other, _) = connect_to(server, 1 - worker)?;
    other.echo(b"connections of others are served")?;
    // A time to measure in, not one to wait for.
    let (before, begin) = (cpu_ns(server.pid())?, Instant::now());
    std::thread::sleep(Duration::from_millis(200));
    let share = (cpu_ns(server.pid())? - before) as f64 / begin.elapsed().as_nanos() as f64;
    assert!(share < 0.5, "the reactors turn without need: {share}");
    let line = server.wait_line(|line| line.starts_with("other "), STEP)?;
    drop(held);
    // In order, none twice, and none missing of the first ones, for which there was room.
    let mut last = None;
    peer.0.set_read_timeout(Some(Duration::from_millis(500)))?;
    while let Ok(got) = peer.receive() {
        let number = u32::from_be_bytes(got[..4].try_into()?);
        assert_eq!(got, data(number));
        assert!(number < 20 || Some(number) > last, "{number} behind {last:?}");
        assert!(number >= 20 || number == last.map_or(0, |last| last + 1));
        last = Some(number);
    }
    assert!(last >= Some(20), "{last:?}");
    peer.0.set_read_timeout(Some(STEP))?;
    assert_eq!(peer.ask(b"and it goes on")?, b"and it goes on");
    peer.0.connect(("127.0.0.1", number::<u16>(line.trim_start_matches("other "))))?;
    assert_eq!(peer.ask(b"as does the other port")?, b"as does the other port");
    Ok(())
}

const LIMIT: usize = 10;

/// One worker, which is replaced after so many requests.
pub fn limited(setup: &Setup) -> Outcome {
    let settings = [("worker_num", "1"), ("max_request", "10"), ("max_request_grace", "0")];
    puppet::run(&prepare(setup, &settings, |server, event| {
        report!("handled by {}", server.worker_pid(-1));
        on_packet(server, event);
    })?)
}

pub fn a_worker_leaves_after_exactly_so_many_datagrams(server: &Running) -> Outcome {
    let peer = Peer::of(server)?;
    for number in 0..(3 * LIMIT) as u32 {
        peer.0.send(&number.to_be_bytes())?;
    }
    for number in 0..(3 * LIMIT) as u32 {
        assert_eq!(peer.receive()?, number.to_be_bytes());
    }
    for life in 1..=3 {
        let pid = pid_of(server, 0, life)?;
        let lines = wait_for_lines(server, LIMIT, &format!("handled by {pid}"))?;
        assert_eq!(lines.len(), LIMIT);
    }
    pid_of(server, 0, 4)?;
    end(server)
}
