//! Workers that leave after so many requests.

use crate::common::prelude::*;
use crate::puppet::life::{count_of, live_with, wait_for_lines};
use crate::puppet::{ask, hold_worker, obey, pid_of, NO_TEXT};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const CLIENTS: usize = 8;

fn limited(setup: &Setup, settings: &[(&str, &str)]) -> Outcome {
    live_with(setup, settings, |server| {
        server.on("receive", |server, event| {
            report!("request {} {}", server.worker_id(), server.worker_pid(-1));
            obey(server, event);
        })
    })
}

pub fn ten_requests(setup: &Setup) -> Outcome {
    limited(setup, &[("max_request", "10")])
}

pub fn ten_requests_and_grace(setup: &Setup) -> Outcome {
    limited(setup, &[("max_request", "10"), ("max_request_grace", "20")])
}

pub fn ten_requests_of_one(setup: &Setup) -> Outcome {
    limited(setup, &[("max_request", "10"), ("worker_num", "1")])
}

/// Sends one request after the other, and connects again where the worker has taken the connection
/// along; how many were answered.
fn keep_asking(server: &Running, is_over: &AtomicBool) -> Result<usize, Failure> {
    let mut client = server.connect()?;
    let mut answered = 0;
    while !is_over.load(Ordering::Relaxed) {
        let is_sent = client.send(&[NO_TEXT; 4]).is_ok();
        let mut back = [0; 4];
        match std::io::Read::read(&mut client.stream, &mut back) {
            Ok(4) if back == [NO_TEXT; 4] => answered += 1,
            // The end, where it was not possible to send, too.
            Ok(0) if server.mode() != Mode::Process => client = server.connect()?,
            other => return Err(format!("{other:?} after {answered}, sent {is_sent}").into()),
        }
    }
    Ok(answered)
}

/// Has clients work until so many lives have ended.
fn work_for(server: &Running, lives: usize) -> Outcome {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ask = || scope.spawn(|| keep_asking(server, &is_over));
        let clients: Vec<_> = (0..CLIENTS).map(|_| ask()).collect();
        let ended = wait_for_lines(server, lives, "stop ");
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        ended.map(drop)
    })
}

/// How many requests each life had that has ended.
fn requests_of_lives(server: &Running) -> Vec<usize> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut ended = Vec::new();
    for line in server.lines_so_far() {
        if let Some(life) = line.strip_prefix("request ") {
            *counts.entry(life.to_owned()).or_default() += 1;
        } else if let Some(life) = line.strip_prefix("stop ") {
            ended.push(life.to_owned());
        }
    }
    ended.iter().map(|life| counts.get(life).copied().unwrap_or(0)).collect()
}

pub fn a_life_lasts_exactly_ten_requests(server: &Running) -> Outcome {
    work_for(server, 20)?;
    let requests = requests_of_lives(server);
    assert!(requests.len() >= 20 && requests.iter().all(|count| *count == 10), "{requests:?}");
    assert_eq!(count_of(server, "error "), 0);
    Ok(())
}

pub fn with_a_grace_lives_differ(server: &Running) -> Outcome {
    work_for(server, 12)?;
    let requests = requests_of_lives(server);
    assert!(requests.iter().all(|count| (11..=30).contains(count)), "{requests:?}");
    assert!(requests.iter().any(|count| *count != requests[0]), "{requests:?}");
    Ok(())
}

pub fn connecting_and_ending_are_no_requests(server: &Running) -> Outcome {
    for _ in 0..25 {
        drop(server.connect()?);
    }
    wait_for_lines(server, 25, "close ")?;
    let mut client = server.connect()?;
    for _ in 0..9 {
        client.echo(&[NO_TEXT; 4])?;
    }
    assert!(ask(&mut client, "who")?.starts_with("0 "));
    wait_for_lines(server, 1, "stop ")?;
    assert_eq!(requests_of_lives(server), [10]);
    pid_of(server, 0, 2)?;
    Ok(())
}

pub fn what_is_beyond_the_limit_is_the_successors(server: &Running) -> Outcome {
    let mut stuck = server.connect()?;
    let clients: Result<Vec<Client>, _> = (0..25).map(|_| server.connect()).collect();
    let mut clients = clients?;
    let held = hold_worker(&mut stuck)?;
    for client in &mut clients {
        client.send(&[NO_TEXT; 4])?;
    }
    drop(held);
    for client in &mut clients {
        assert_eq!(client.receive(4)?, [NO_TEXT; 4]);
    }
    wait_for_lines(server, 2, "stop ")?;
    pid_of(server, 0, 3)?;
    assert_eq!(requests_of_lives(server), [10, 10]);
    assert_eq!(count_of(server, "request "), 26);
    Ok(())
}
