//! Handshakes that come to nothing.

use crate::client::{hello, Result, Tls, Wishes};
use crate::common::prelude::*;
use crate::common::{process, Client};
use crate::puppet::memory_bytes;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Each has some 700 handshakes.
const ROUNDS: usize = 5;
/// What is needed once is there by then.
const MOST_ROUNDS: usize = 15;
const GARBAGE: usize = 200;
const HEALTHY: usize = 100;
/// Handshakes that have begun and do not go on, all the time.
const STALLED: usize = 100;
/// Memory is measured after each round of all of them. What a few bytes of each come to is more.
const GROWTH_BYTES: u64 = 12 * 1024;

/// Bytes that nobody means anything by.
fn noise(seed: &mut u64, length: usize) -> Vec<u8> {
    let mut next = || {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Says something and leaves: how depends on a number.
fn disturb(port: u16, bytes: &[u8], number: usize) -> std::io::Result<()> {
    let mut client = Client::connect(port)?;
    // The server may have had enough before it has all of it.
    let sent = client.send(bytes);
    if number % 3 == 0 && sent.is_ok() && client.stream.shutdown(Shutdown::Write).is_ok() {
        drop(client.stream.read(&mut [0; 4096]));
    }
    Ok(())
}

/// Shakes hands and leaves behind so many bytes of the last flight; how many it has.
fn leave_in_the_end(port: u16, is_old: bool, end: usize) -> Result<usize> {
    let version = if is_old { &rustls::version::TLS12 } else { &rustls::version::TLS13 };
    let stream = Client::connect(port)?.stream;
    let Tls(mut stream) = Wishes::new(&[version], None)?.on(stream, "localhost")?;
    stream.conn.write_tls(&mut stream.sock)?;
    while stream.conn.is_handshaking() && !(is_old && stream.conn.wants_write()) {
        stream.conn.read_tls(&mut stream.sock)?;
        stream.conn.process_new_packets()?;
    }
    let mut flight = Vec::new();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut flight)?;
    }
    stream.sock.write_all(flight.get(..end).unwrap_or(&flight))?;
    Ok(flight.len())
}

fn disturb_all(port: u16) -> Result<usize> {
    let hello = hello()?;
    let mut count = 0;
    for is_old in [true, false] {
        let (mut end, mut length) = (0, 1);
        while end < length {
            length = leave_in_the_end(port, is_old, end)?;
            end += 1;
        }
        count += length;
    }
    for end in 0..=hello.len() {
        disturb(port, &hello[..end], count)?;
        count += 1;
    }
    let mut seed = 0x5eed;
    for _ in 0..GARBAGE {
        let length = usize::from(noise(&mut seed, 1)[0]) * 7 + 1;
        let mut bytes = noise(&mut seed, length);
        match count % 4 {
            0 => {}
            // A record of a handshake with nothing proper in it.
            1 => bytes.splice(..0, [22, 3, 1, (length >> 8) as u8, length as u8]).for_each(drop),
            // A proper hello with something wrong behind it.
            2 => bytes.splice(..0, hello.clone()).for_each(drop),
            _ => {
                let at = usize::from(bytes[0]) % hello.len();
                bytes = hello.clone();
                bytes[at] ^= 0x55;
            }
        }
        disturb(port, &bytes, count)?;
        count += 1;
    }
    Ok(count)
}

/// Descriptors of all processes of the server.
fn descriptors(server: &Running) -> std::io::Result<usize> {
    let mut pids: Vec<i32> = server.descendants()?.iter().map(|process| process.pid).collect();
    pids.push(server.pid());
    let of = |pid: &i32| std::fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count);
    pids.iter().map(of).sum()
}

fn echo_until(clients: &mut [Tls], is_over: &AtomicBool) -> Outcome {
    while !is_over.load(Ordering::Relaxed) {
        for client in clients.iter_mut() {
            // Lanes are in use from one end to the other soon, too.
            client.echo(&[5; 5000])?;
        }
    }
    Ok(())
}

/// Handshakes of every kind that come to nothing, while healthy clients are served; how many.
fn disturb_while_serving(server: &Running, healthy: &mut [Tls]) -> Result<usize> {
    let hello = hello()?;
    let mut stalled = Vec::new();
    for number in 0..STALLED {
        let mut client = server.connect()?;
        client.send(&hello[..hello.len() * number / STALLED])?;
        stalled.push(client);
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| echo_until(healthy, &is_over));
        let count = disturb_all(server.port());
        drop(stalled);
        is_over.store(true, Ordering::Relaxed);
        serving.join().map_err(|_| "a healthy client has panicked")??;
        Ok(count? + STALLED)
    })
}

pub fn broken_handshakes_leave_nothing_behind(server: &Running) -> Outcome {
    let wishes = Wishes::usual()?;
    let mut healthy: Vec<Tls> = Vec::new();
    for _ in 0..HEALTHY {
        let mut client = wishes.connect(server)?;
        client.echo(b"begin")?;
        healthy.push(client);
    }
    let before = descriptors(server)?;
    let (mut total, mut memory) = (0, Vec::new());
    // What is needed once is there after the first ones, and the table of connections is in use
    // from one end to the other.
    for round in 1.. {
        total += disturb_while_serving(server, &mut healthy)?;
        let expected = format!("{total} {HEALTHY}");
        healthy[0].ask_until("aborted", |line| line == expected)?;
        let end = Instant::now() + STEP;
        while descriptors(server)? != before {
            assert!(Instant::now() < end, "{} descriptors, not {before}", descriptors(server)?);
        }
        memory.push(memory_bytes(server)?);
        let growths = memory.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        if round >= ROUNDS && growths.min() < Some(GROWTH_BYTES) {
            break;
        }
        assert!(round < MOST_ROUNDS, "memory that is never given back: {memory:?}");
    }
    let lines = server.lines_so_far();
    let told = lines.iter().filter(|line| line.starts_with("connect ")).count();
    assert_eq!(told, HEALTHY);
    assert!(!lines.iter().any(|line| line.starts_with("close ")));
    assert!(process::live_process(server.pid()).is_some());
    Ok(())
}

/// They take all places, and who comes then is served when they have had their time.
pub fn handshakes_that_stall_give_their_places_back(server: &Running) -> Outcome {
    const MOST: usize = 80;
    const DEADLINE: Duration = Duration::from_secs(10);
    let (wishes, hello) = (Wishes::usual()?, hello()?);
    let mut healthy = wishes.connect(server)?;
    let begin = Instant::now();
    let mut stalled: Vec<TcpStream> = Vec::new();
    for number in 0..MOST {
        let mut stream = server.connect()?.stream;
        stream.set_read_timeout(Some(DEADLINE + STEP))?;
        // Some send nothing, some a part, some all and then nothing.
        stream.write_all(&hello[..hello.len() * number / (MOST - 1)])?;
        stalled.push(stream);
    }
    healthy.ask_until("aborted", |line| !line.starts_with("0 "))?;
    let is_served = || wishes.connect(server).is_ok_and(|mut client| client.echo(b"again").is_ok());
    while !is_served() {
        assert!(begin.elapsed() < DEADLINE + STEP, "the places are not given back");
        healthy.echo(b"all the time")?;
    }
    assert!(begin.elapsed() >= DEADLINE);
    for stream in &mut stalled[..MOST / 4] {
        // The end, behind what the server has said; or a reset.
        drop(stream.read_to_end(&mut Vec::new()));
    }
    drop(stalled);
    healthy.ask_until("aborted", |line| line.ends_with(" 1"))?;
    server.wait_lines(2, |line| line.starts_with("connect "), STEP)?;
    let told = server.lines_so_far().iter().filter(|line| line.starts_with("connect ")).count();
    assert_eq!(told, 2);
    Ok(())
}
