//! A signal to all processes at once, as a terminal or a service manager sends it: each hears of
//! the end by itself, in any order, and still the end is in order.

mod common;

use common::prelude::*;
use common::process;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

const ROUNDS: u64 = 20;
const CLIENTS: usize = 8;
const REQUEST: usize = 64;
const BATCH: usize = 4;
/// So many answered batches before the signal, and so many more in each round.
const LEAST_ANSWERS: u64 = 50;
const MORE_ANSWERS: u64 = 7;

fn counting(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.set("worker_num", "3")?;
    server.on("receive", |server, event| {
        if let Err(error) = server.send(event.fd(), event.data()) {
            report!("refused {error}");
        }
    })?;
    server.on("workerStart", |_, event| report!("worker {}", event.worker().worker_id))?;
    server.on("workerStop", |_, event| report!("stop {}", event.worker().worker_id))?;
    server.on("workerError", |_, event| report!("error {}", event.error().worker_id))?;
    // Nobody reads any more then.
    server.on("managerStop", |server, _| match server.stats() {
        Ok(stats) => report!("read {}", stats.total_recv_bytes),
        Err(error) => report!("refused {error}"),
    })?;
    server.on("shutdown", |_, _| report!("shutdown"))?;
    server.start()?;
    report!("returned");
    Ok(())
}

/// Asks several times and waits for the answers, until the server is no more: how many bytes came.
fn keep_asking(mut client: Client, answers: &AtomicU64) -> Result<usize, String> {
    let mut received = 0;
    for number in 0_u64.. {
        let request = [number as u8; REQUEST];
        let is_sent = (0..BATCH).all(|_| client.stream.write_all(&request).is_ok());
        let mut answer = Vec::new();
        // What was read is answered, even if the rest of the batch was not read.
        let read = (&mut client.stream).take((BATCH * REQUEST) as u64).read_to_end(&mut answer);
        if answer.iter().any(|byte| *byte != request[0]) {
            return Err(format!("{answer:?} answers {}, {read:?}", request[0]));
        }
        received += answer.len();
        if !is_sent || answer.len() < BATCH * REQUEST {
            break;
        }
        answers.fetch_add(1, Ordering::Relaxed);
    }
    Ok(received)
}

/// Ends one server by a signal to all of its processes.
fn end_all(server: &Running, least: u64) -> Outcome {
    let answers = AtomicU64::new(0);
    let clients = (0..CLIENTS).map(|_| server.connect()).collect::<Result<Vec<_>, _>>()?;
    let answered: usize = std::thread::scope(|scope| {
        let answers = &answers;
        let ask = |client| scope.spawn(move || keep_asking(client, answers));
        let clients: Vec<_> = clients.into_iter().map(ask).collect();
        while answers.load(Ordering::Relaxed) < least && !clients.iter().any(|c| c.is_finished()) {
            std::thread::yield_now();
        }
        process::send_signal(-server.pid(), libc::SIGTERM)?;
        let each = clients.into_iter().map(|client| client.join().map_err(|_| "a panic")?);
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(each.sum::<Result<usize, String>>()?)
    })?;
    let status = server.wait_exit(STEP)?;
    assert!(status.success(), "{status}");
    server.assert_nothing_left()?;
    let lines = server.lines_so_far();
    let count = |beginning: &str| lines.iter().filter(|l| l.starts_with(beginning)).count();
    assert!(["read ", "shutdown", "returned"].iter().all(|line| count(line) == 1), "{lines:?}");
    for worker in 0..3 {
        // One that has heard of its end before all others has a successor, which ends, too.
        let (starts, stops) = (format!("worker {worker}"), format!("stop {worker}"));
        assert_eq!(count(&starts), count(&stops), "{lines:?}");
    }
    assert_eq!((count("error"), count("refused")), (0, 0), "{lines:?}");
    let read = server.wait_line(|line| line.starts_with("read "), STEP)?;
    assert_eq!(read, format!("read {answered}"), "what was read was answered");
    Ok(())
}

fn a_signal_to_all_processes_ends_the_server_in_order(server: &Running) -> Outcome {
    end_all(server, LEAST_ANSWERS)?;
    for round in 1..ROUNDS {
        let next = server.spawn_beside()?;
        let outcome = end_all(&next, LEAST_ANSWERS + round * MORE_ANSWERS);
        outcome.map_err(|error| format!("round {round}: {error}\n{}", next.story()))?;
    }
    Ok(())
}

fn telling(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("receive", |_, _| {})?;
    server.on("beforeShutdown", |_, _| report!("before"))?;
    server.on("shutdown", |_, _| report!("after"))?;
    server.start()?;
    Ok(())
}

/// Whoever raises it may hear of the signal before anybody knows that it is the end of the server.
fn a_signal_to_all_processes_is_told_before_it_ends_them(server: &Running) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    process::send_signal(-server.pid(), libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    server.assert_nothing_left()?;
    assert_eq!(server.lines_so_far(), ["ready", "before", "after"]);
    Ok(())
}

server_tests! {
    a_signal_to_all_processes_is_told_before_it_ends_them: telling;
    a_signal_to_all_processes_ends_the_server_in_order: counting;
}
