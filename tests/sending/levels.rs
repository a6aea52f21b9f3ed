//! Much waits for a peer, or little again: limits, watermarks and their events.

use super::api::{self, receive_filling, MIB};
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::{self, ask, ask_until, connect_to, number, prepare, run};

const HIGH: usize = 2 * MIB;
const LOW: usize = MIB;
/// So much the system may take for a peer that does not read.
const SYSTEM: usize = 12 * MIB;

fn puppet_with(setup: &Setup, settings: &[(&str, &str)], events: &[&str]) -> Outcome {
    let server = prepare(setup, settings, api::obey)?;
    for event in events {
        server.on(event, |server, event| {
            let name = match event.kind() {
                sw_event_kind_t::SW_EVENT_BUFFER_FULL => "full",
                _ => "empty",
            };
            let waiting = api::waiting(server, event.fd());
            report!("{name} {} {} {waiting}", event.fd(), server.worker_id());
        })?;
    }
    run(&server)
}

pub fn both(setup: &Setup) -> Outcome {
    let settings = [("buffer_high_watermark", "2M"), ("buffer_low_watermark", "1M")];
    puppet_with(setup, &settings, &["bufferFull", "bufferEmpty"])
}

pub fn empty_alone(setup: &Setup) -> Outcome {
    puppet_with(setup, &[("socket_buffer_size", "1M")], &["bufferEmpty"])
}

pub fn full_alone(setup: &Setup) -> Outcome {
    puppet_with(setup, &[], &["bufferFull"])
}

/// Kind, connection, worker, and what waited.
fn events(server: &Running) -> Vec<(String, i64, i32, usize)> {
    let lines = server.lines_so_far();
    let events =
        lines.iter().filter(|line| line.starts_with("full ") || line.starts_with("empty "));
    let parse = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[0].to_owned(), number(words[1]), number(words[2]), number(words[3]))
    };
    events.map(parse).collect()
}

fn is_about(line: &str, kind: &str, fd: i64) -> bool {
    line.starts_with(&format!("{kind} {fd} "))
}

pub fn full_and_empty_take_turns_in_the_bound_worker(server: &Running) -> Outcome {
    for sender in 0..2 {
        let (mut reader, fd) = connect_to(server, 1)?;
        let (mut control, _) = connect_to(server, sender)?;
        for round in 1..=3 {
            assert_eq!(ask(&mut control, &format!("blob {fd} {}", SYSTEM + HIGH))?, "0");
            let full = |line: &str| is_about(line, "full", fd);
            server.wait_lines(round, full, STEP)?;
            // More of it makes it no fuller.
            if round == 2 {
                ask_until(&mut control, &format!("blob {fd} 10"), |code| code == "1008")?;
            }
            receive_filling(&mut reader, SYSTEM + HIGH)?;
            server.wait_lines(round, |line| is_about(line, "empty", fd), STEP)?;
            // What was taken before the refusal.
            ask_until(&mut control, &format!("tell {fd} more"), |line| line == "told")?;
            let mut byte = [0];
            while byte != *b"m" {
                byte.copy_from_slice(&reader.receive(1)?);
            }
            assert_eq!(reader.receive(3)?, b"ore");
        }
        let of_this: Vec<_> = events(server).into_iter().filter(|event| event.1 == fd).collect();
        assert_eq!(of_this.len(), 6, "{of_this:?}");
        for (index, (kind, _, worker, waiting)) in of_this.iter().enumerate() {
            assert_eq!(kind, if index % 2 == 0 { "full" } else { "empty" });
            assert_eq!(*worker, 1);
            assert!(kind == "full" || *waiting <= LOW, "{of_this:?}");
        }
    }
    Ok(())
}

pub fn without_a_refusal_nothing_becomes_empty_alone(server: &Running) -> Outcome {
    let (mut reader, fd) = connect_to(server, 1)?;
    let (mut control, _) = connect_to(server, 0)?;
    let (mut other, _) = connect_to(server, 1)?;
    // What a fast reader takes at once waits for nobody.
    for _ in 0..5 {
        assert_eq!(ask(&mut control, &format!("blob {fd} 100000"))?, "0");
        receive_filling(&mut reader, 100_000)?;
    }
    other.echo(&[puppet::NO_TEXT; 10])?;
    assert_eq!(events(server), []);
    let answer = ask(&mut control, &format!("pour {fd} {MIB}"))?;
    let (count, code) = answer.split_once(' ').ok_or("no answer")?;
    assert_eq!(code, "1008");
    receive_filling(&mut reader, number::<usize>(count) * MIB)?;
    server.wait_line(|line| is_about(line, "empty", fd), STEP)?;
    assert_eq!(ask(&mut control, &format!("tell {fd} more"))?, "told");
    assert_eq!(reader.receive(4)?, b"more");
    Ok(())
}

/// Whoever is refused stops; whoever hears that there is room goes on. Nobody waits for ever.
pub fn pump(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[("socket_buffer_size", "64K")], |server, event| {
        report!("refused {}", pump_on(server, event.fd()));
    })?;
    server.on("bufferEmpty", |server, event| {
        pump_on(server, event.fd());
    })?;
    run(&server)
}

const PUMPED: usize = 3000;
const PUMPED_BYTES: usize = 10_000;

thread_local! {
    static LEFT: std::cell::RefCell<std::collections::HashMap<i64, usize>> =
        std::cell::RefCell::default();
}

/// How many are left.
fn pump_on(server: Handle, fd: i64) -> usize {
    let left = |fd| LEFT.with(|all| all.borrow().get(&fd).copied().unwrap_or(PUMPED));
    let text = [api::FILLING; PUMPED_BYTES];
    while left(fd) > 0 && server.send(fd, &text).is_ok() {
        let after = left(fd) - 1;
        LEFT.with(|all| all.borrow_mut().insert(fd, after));
    }
    left(fd)
}

pub fn a_producer_that_goes_on_when_told_never_waits_for_ever(server: &Running) -> Outcome {
    for _ in 0..3 {
        let mut readers = [server.connect()?, server.connect()?];
        for reader in &mut readers {
            reader.send(&[puppet::NO_TEXT])?;
        }
        for reader in &mut readers {
            receive_filling(reader, PUMPED * PUMPED_BYTES)?;
        }
    }
    Ok(())
}

pub fn a_buffer_becomes_full_again_also_where_nobody_asks_for_empty(server: &Running) -> Outcome {
    let (mut reader, fd) = connect_to(server, 1)?;
    let (mut control, _) = connect_to(server, 1)?;
    for round in 1..=3 {
        let answer = ask(&mut control, &format!("pour {fd} {MIB}"))?;
        let (count, code) = answer.split_once(' ').ok_or("no answer")?;
        assert_eq!(code, "1008");
        server.wait_lines(round, |line| is_about(line, "full", fd), STEP)?;
        receive_filling(&mut reader, number::<usize>(count) * MIB)?;
        ask_until(&mut control, &format!("waiting {fd}"), |line| line == "0")?;
        assert_eq!(events(server).len(), round);
    }
    Ok(())
}
