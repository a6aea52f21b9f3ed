//! Reloads while clients work: what they notice, and what is counted.

use crate::common::prelude::*;
use crate::puppet::life::{count_of, manager_pid, wait_for_lines};
use crate::puppet::{ask, ask_until, connect_to, hold_worker, number, pid_of, NO_TEXT};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

const ROUNDS: usize = 20;
const CLIENTS: usize = 8;
/// Bytes that a client has sent and not got back.
const WINDOW: usize = 4096;

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub fn connections_outlive_a_reload(server: &Running) -> Outcome {
    let (mut first, first_fd) = connect_to(server, 0)?;
    let (mut second, second_fd) = connect_to(server, 1)?;
    let mut idle = server.connect()?;
    for round in 1..=3 {
        assert_eq!(ask(&mut first, "reload")?, "true");
        wait_for_lines(server, round, "after ")?;
        let new = [pid_of(server, 0, round + 1)?, pid_of(server, 1, round + 1)?];
        assert_eq!(ask(&mut first, "who")?, format!("0 {} {first_fd}", new[0]));
        assert_eq!(ask(&mut second, "who")?, format!("1 {} {second_fd}", new[1]));
        first.echo(&[NO_TEXT; 100_000])?;
    }
    idle.echo(b"it was there all the time")?;
    for fd in [first_fd, second_fd] {
        assert_eq!(count_of(server, &format!("close {fd} ")), 0);
    }
    assert_eq!(ask(&mut idle, "manager")?, manager_pid(server)?.to_string());
    Ok(())
}

/// Numbers one after the other, of which no byte begins an order.
fn stream_of_numbers() -> impl Iterator<Item = u8> {
    (0_u32..).flat_map(|number| (number | 0x8080_8080).to_be_bytes())
}

/// Sends numbers and gets them back, many at once, until it is over; how many bytes they were.
fn keep_counting(mut client: Client, is_over: &AtomicBool) -> Result<usize, Failure> {
    let (mut to_send, mut expected) = (stream_of_numbers(), stream_of_numbers());
    let (mut sent, mut back) = (0, 0);
    let mut bytes = [0; WINDOW];
    while !is_over.load(Ordering::Relaxed) || back < sent {
        if !is_over.load(Ordering::Relaxed) && sent - back < WINDOW / 2 {
            let more: Vec<u8> = to_send.by_ref().take(WINDOW / 4).collect();
            client.send(&more)?;
            sent += more.len();
        }
        let count = client.stream.read(&mut bytes)?;
        if count == 0 {
            return Err(format!("the connection has ended after {back} bytes").into());
        }
        for byte in &bytes[..count] {
            if expected.next() != Some(*byte) {
                return Err(format!("another byte than the next one came after {back}").into());
            }
            back += 1;
        }
    }
    Ok(back)
}

pub fn nothing_is_lost_by_twenty_reloads_under_load(server: &Running) -> Outcome {
    let clients: Result<Vec<Client>, _> = (0..CLIENTS).map(|_| server.connect()).collect();
    let clients = clients?;
    let is_over = AtomicBool::new(false);
    let counts: Result<Vec<usize>, Failure> = std::thread::scope(|scope| {
        let is_over = &is_over;
        let run = |client| scope.spawn(move || keep_counting(client, is_over));
        let running: Vec<_> = clients.into_iter().map(run).collect();
        let reload = |round: usize| {
            server.signal(libc::SIGUSR1)?;
            wait_for_lines(server, round, "after ").map(drop)
        };
        let reloaded = (1..=ROUNDS).try_for_each(reload);
        is_over.store(true, Ordering::Relaxed);
        let ended = |handle: std::thread::ScopedJoinHandle<'_, Result<usize, Failure>>| {
            handle.join().map_err(|_| "a client panicked")?
        };
        let counts: Result<Vec<usize>, Failure> = running.into_iter().map(ended).collect();
        reloaded.and(counts)
    });
    println!("bytes that came back: {:?}", counts?);
    wait_for_lines(server, 2 + 2 * ROUNDS, "worker ")?;
    assert_eq!((count_of(server, "error "), count_of(server, "before ")), (0, ROUNDS));
    Ok(())
}

/// What a client gets until the end, and the close callback that was for it.
fn expect_the_end(server: &Running, client: &mut Client, fd: i64, pid: i32) -> Outcome {
    assert_eq!(client.receive_to_end()?, b"");
    let close = server.wait_line(|line| line.starts_with(&format!("close {fd} ")), STEP)?;
    assert_eq!(close, format!("close {fd} by {pid}"));
    Ok(())
}

pub fn the_connections_of_a_replaced_worker_end_with_it(server: &Running) -> Outcome {
    let (mut first, first_fd) = connect_to(server, 0)?;
    let (mut second, second_fd) = connect_to(server, 1)?;
    let old = [pid_of(server, 0, 1)?, pid_of(server, 1, 1)?];
    server.signal(libc::SIGUSR1)?;
    expect_the_end(server, &mut first, first_fd, old[0])?;
    expect_the_end(server, &mut second, second_fd, old[1])?;
    wait_for_lines(server, 1, "after ")?;
    let closes = [count_of(server, &format!("close {first_fd} ")), {
        count_of(server, &format!("close {second_fd} "))
    }];
    assert_eq!(closes, [1, 1]);
    server.connect()?.echo(b"new ones come")?;
    Ok(())
}

pub fn unread_bytes_do_not_reset_the_connections_of_a_replaced_worker(server: &Running) -> Outcome {
    let (mut stuck, _) = connect_to(server, 1)?;
    let clients: Result<Vec<_>, _> = (0..4).map(|_| connect_to(server, 1)).collect();
    let mut clients = clients?;
    let held = hold_worker(&mut stuck)?;
    for (client, _) in &mut clients {
        client.send(&[NO_TEXT; 100_000])?;
    }
    server.signal(libc::SIGUSR1)?;
    wait_for_lines(server, 1, "before ")?;
    // Where one follows the other, the turn of the second one has come.
    pid_of(server, 0, 2)?;
    drop(held);
    for (client, fd) in &mut clients {
        // Some of it may have been answered.
        let back = client.receive_to_end()?;
        assert!(back.len() <= 100_000 && back.iter().all(|byte| *byte == NO_TEXT));
        wait_for_lines(server, 1, &format!("close {fd} "))?;
    }
    assert!(stuck.receive_to_end()?.ends_with(b"released\n"));
    wait_for_lines(server, 1, "after ")?;
    Ok(())
}

pub fn a_client_that_keeps_sending_sees_the_end_and_no_reset(server: &Running) -> Outcome {
    for round in 1..=5 {
        let clients: Result<Vec<Client>, _> = (0..CLIENTS).map(|_| server.connect()).collect();
        let mut clients = clients?;
        // Each of them is known to be taken, and is in the midst of it.
        clients.iter_mut().try_for_each(|client| client.echo(b"hello"))?;
        std::thread::scope(|scope| {
            let mut reading = Vec::new();
            for mut client in clients {
                let mut writer = client.stream.try_clone()?;
                // Until the server does not take it any more, which is no failure.
                scope.spawn(move || while writer.write_all(&[NO_TEXT; 10_000]).is_ok() {});
                reading.push(scope.spawn(move || client.receive_to_end()));
            }
            server.signal(libc::SIGUSR1)?;
            for handle in reading {
                let bytes = handle.join().map_err(|_| "a reader panicked")??;
                assert!(bytes.iter().all(|byte| *byte == NO_TEXT));
            }
            Ok::<_, Failure>(())
        })?;
        wait_for_lines(server, round, "after ")?;
    }
    Ok(())
}

/// A connection to ask on, a new one if its worker has gone.
fn ask_again(server: &Running, client: &mut Client, order: &str) -> Result<String, Failure> {
    loop {
        match ask(client, order) {
            Ok(line) => return Ok(line),
            Err(error) if server.mode() == Mode::Process => return Err(error),
            Err(_) => *client = server.connect()?,
        }
    }
}

pub fn counts_do_not_fall_by_a_reload(server: &Running) -> Outcome {
    let (_first, _) = connect_to(server, 0)?;
    let (_second, _) = connect_to(server, 1)?;
    let mut client = server.connect()?;
    ask_until(&mut client, "counts", |counts| counts.starts_with("3 "))?;
    let mut last = [0; 2];
    for round in 1..=5 {
        server.signal(libc::SIGUSR1)?;
        while count_of(server, "after ") < round {
            let line = ask_again(server, &mut client, "counts")?;
            let counts: Vec<u64> = line.split(' ').map(number).collect();
            assert!(counts[1] >= last[0] && counts[2] > last[1], "{last:?}, then {counts:?}");
            last = [counts[1], counts[2]];
        }
        // Where connections end with their worker, all but the one that asks have ended.
        let left = if server.mode() == Mode::Process { "3 " } else { "1 " };
        let counts = ask_again(server, &mut client, "counts")?;
        assert!(counts.starts_with(left), "{counts}");
    }
    Ok(())
}
