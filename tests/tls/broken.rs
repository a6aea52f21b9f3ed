//! Handshakes that come to nothing.

use crate::client::{hello, Tls, Wishes};
use crate::common::prelude::*;
use crate::common::{process, Client};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Rounds of a hello that is cut at every byte.
const ROUNDS: usize = 10;
const GARBAGE: usize = 1000;
const HEALTHY: usize = 10;

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

fn disturb_all(port: u16) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
    let hello = hello()?;
    let mut count = 0;
    for _ in 0..ROUNDS {
        for end in 0..=hello.len() {
            disturb(port, &hello[..end], count)?;
            count += 1;
        }
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
            client.echo(&[5; 300])?;
        }
    }
    Ok(())
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
    let is_over = AtomicBool::new(false);
    let count = std::thread::scope(|scope| {
        let serving = scope.spawn(|| echo_until(&mut healthy, &is_over));
        let count = disturb_all(server.port());
        is_over.store(true, Ordering::Relaxed);
        serving.join().map_err(|_| "a healthy client has panicked")??;
        count
    })?;
    let expected = format!("{count} {HEALTHY}");
    healthy[0].ask_until("aborted", |line| line == expected)?;
    let end = Instant::now() + STEP;
    while descriptors(server)? != before {
        assert!(Instant::now() < end, "{} descriptors, not {before}", descriptors(server)?);
    }
    let lines = server.lines_so_far();
    let told = lines.iter().filter(|line| line.starts_with("connect ")).count();
    assert_eq!(told, HEALTHY);
    assert!(!lines.iter().any(|line| line.starts_with("close ")));
    assert!(process::live_process(server.pid()).is_some());
    Ok(())
}

pub fn a_handshake_that_stalls_has_a_deadline(server: &Running) -> Outcome {
    const STALLED: usize = 20;
    const DEADLINE: Duration = Duration::from_secs(10);
    let hello = hello()?;
    let mut healthy = Wishes::usual()?.connect(server)?;
    let begin = Instant::now();
    let mut stalled: Vec<TcpStream> = Vec::new();
    for number in 0..STALLED {
        let mut stream = server.connect()?.stream;
        stream.set_read_timeout(Some(DEADLINE + STEP))?;
        // Some send nothing, some a part, some all and then nothing.
        stream.write_all(&hello[..hello.len() * number / (STALLED - 1)])?;
        stalled.push(stream);
    }
    for stream in &mut stalled {
        let mut rest = Vec::new();
        // The end, behind what the server has said; or a reset.
        drop(stream.read_to_end(&mut rest));
    }
    assert!(begin.elapsed() >= DEADLINE);
    healthy.ask_until("aborted", |line| line == format!("{STALLED} 1"))?;
    Ok(())
}
