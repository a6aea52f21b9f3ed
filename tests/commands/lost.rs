//! Commands in processes that are stuck or die, or that have much else to say.

use crate::api::add_command;
use crate::common::api::Handle;
use crate::common::{Outcome, Running, Setup, STEP};
use crate::puppet::{self, ask, connect_to, hold, hold_worker, kill, number, pid_of, Gate};
use crate::{api_result, order, prepare, report};
use std::time::{Duration, Instant};
use swoole::ffi::message::sw_server_send_message;
use swoole::ffi::types::*;

const WORKER: i32 = SW_COMMAND_EVENT_WORKER;
/// How much a command sends to a client, and then again in a message.
const LENGTH: usize = 3_000_000;

pub fn register(server: Handle) -> api_result::Result {
    let places = WORKER | SW_COMMAND_MANAGER | SW_COMMAND_TASK_WORKER;
    add_command(server, "hold", places, |_, data, reply| {
        hold(number(std::str::from_utf8(data).expect("a port")));
        reply.answer(&vec![7; 3_000_000]).is_ok()
    })?;
    add_command(server, "die", places, |_, _, _| {
        kill(std::process::id() as i32).expect("a signal to itself");
        true
    })?;
    add_command(server, "spout", places, |server, data, reply| {
        let fd: i64 = number(std::str::from_utf8(data).expect("a connection"));
        let bytes = vec![b's'; LENGTH];
        server.send(fd, &bytes).expect("the connection is open");
        let (start, len) = (bytes.as_ptr().cast(), bytes.len());
        if !sw_server_send_message(server.raw, start, len, 0) {
            report!("no message: {}", server.last_error());
        }
        reply.answer(b"spouted").is_ok()
    })
}

pub fn what_is_stuck_is_given_up_and_its_late_answer_dropped(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    let begin = Instant::now();
    assert_eq!(order(server, &format!("hold 1 {WORKER} {}", gate.port()?))?, "2003");
    let took = begin.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(8)).contains(&took), "{took:?}");
    assert_eq!(order(server, &format!("who 1 {WORKER} 1"))?, "2003", "it is still stuck");
    // It comes through although nobody waits for its answer, which is large.
    drop(gate.wait()?);
    let pid = pid_of(server, 1, 1)?;
    assert_eq!(order(server, &format!("who 1 {WORKER}"))?, format!("{pid} 1 0"));
    assert_eq!(server.log().matches("is too late (error 9012)").count(), 2);
    assert_eq!(ask(&mut client, "stop 1 true")?, "true");
    pid_of(server, 1, 2)?;
    Ok(())
}

pub fn the_death_of_a_process_in_a_command_is_told(server: &Running) -> Outcome {
    for life in 1..=3 {
        let begin = Instant::now();
        assert_eq!(order(server, &format!("die 1 {WORKER}"))?, "9003");
        assert!(begin.elapsed() < Duration::from_secs(4), "that is no reason to wait");
        pid_of(server, 1, life + 1)?;
    }
    assert_eq!(order(server, &format!("fill 1 {WORKER} 500"))?, "500 bytes");
    Ok(())
}

pub fn a_successor_runs_what_its_predecessor_did_not_get_to(server: &Running) -> Outcome {
    let (mut target, _) = connect_to(server, 1)?;
    let (mut other, _) = connect_to(server, 0)?;
    let first = pid_of(server, 1, 1)?;
    let held = hold_worker(&mut target)?;
    assert_eq!(ask(&mut other, &format!("order echo 1 {WORKER} 400000"))?, "given");
    kill(first)?;
    drop(held);
    let line = server.wait_line(|line| line.starts_with("echo 1 "), STEP)?;
    assert!(line.ends_with(": 400000 bytes"), "{line}");
    assert_ne!(pid_of(server, 1, 2)?, first);
    Ok(())
}

fn spouting(setup: &Setup, settings: &[(&str, &str)]) -> Outcome {
    let server = prepare(setup, settings)?;
    server.on("pipeMessage", |server, event| {
        // SAFETY: this event carries this member.
        let len = unsafe { event.0.pipe_message.len };
        report!("message at {} of {len}", server.worker_id());
    })?;
    puppet::run(&server)
}

pub fn serve_senders(setup: &Setup) -> Outcome {
    spouting(setup, &[])
}

pub fn serve_single_thread(setup: &Setup) -> Outcome {
    spouting(setup, &[("single_thread", "true")])
}

/// To a connection of the caller, where that is a worker, and to the caller itself.
pub fn a_command_may_send_much_to_the_one_that_waits(server: &Running) -> Outcome {
    let (mut client, fd) = connect_to(server, 0)?;
    for round in 1..=3 {
        // Not by `order`, whose connection may be one of the worker that is kept busy here.
        let count = |line: &str| line == format!("spout 1 {WORKER} {fd}: spouted");
        client.send(format!("!order spout 1 {WORKER} {fd}").as_bytes())?;
        assert_eq!(client.receive(6)?, b"given\n");
        assert!(client.receive(LENGTH)? == vec![b's'; LENGTH]);
        server.wait_lines(round, count, STEP)?;
        let message = format!("message at 0 of {LENGTH}");
        server.wait_lines(round, |line| line == message, STEP)?;
    }
    Ok(())
}

/// The one that waits is the one that reads and writes all connections.
pub fn a_command_may_send_much_through_a_single_thread(server: &Running) -> Outcome {
    a_command_may_send_much_to_the_one_that_waits(server)?;
    // Nobody is in the middle of anything.
    give_or_fail(server)
}

fn give_or_fail(server: &Running) -> Outcome {
    assert_eq!(order(server, &format!("fill 0 {WORKER} 9"))?, "9 bytes");
    server.connect()?.echo(b"hello")?;
    Ok(())
}
