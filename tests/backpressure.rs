//! Slow readers and slow workers: everything arrives, in order, in bounded memory, and nobody pays
//! for the slowness of others.

mod common;
mod puppet;

use common::api::Handle;
use common::prelude::*;
use puppet::{ask, ask_until, connect_to, hold_worker, memory_bytes, number, poll, serve};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const MIB: usize = 1 << 20;
const BLOB_BYTES: usize = 64 * MIB;
const PAGE: usize = 4096;
/// `socket_buffer_size` of these servers.
const SOCKET_BUFFER: usize = 2 * MIB;
const SOCKET_BUFFER_SETTING: &str = "2M";
/// What a server may take beyond that: its lanes, the message on its way, the allocator's slack,
/// and what a worker and a reactor keep for a second for the next large message, 4 MiB each.
const SLACK: usize = 3 * MIB + 2 * 4 * MIB;
/// A socket that takes nothing for so long is stuck.
const STUCK_MS: i32 = 300;
/// The server answers while others are stuck, on a machine that runs other tests meanwhile.
const PROMPT: Duration = Duration::from_secs(1);

/// The same bytes in every process: each page begins with its number, and none has a byte that
/// begins an order.
fn blob() -> &'static [u8] {
    static BLOB: OnceLock<Vec<u8>> = OnceLock::new();
    BLOB.get_or_init(|| {
        let mut blob = vec![0xa5; BLOB_BYTES];
        for (number, page) in blob.chunks_exact_mut(PAGE).enumerate() {
            page[..4].copy_from_slice(&(number as u32 | 0x8080_8080).to_be_bytes());
            page[4..12].copy_from_slice(&(number as u64).to_be_bytes());
        }
        blob
    })
}

thread_local! {
    /// How far this worker has compared what a connection sends.
    static COMPARED: RefCell<HashMap<i64, usize>> = RefCell::default();
}

/// The puppet with four more orders.
///
/// ```text
/// !blob FD OFFSET LENGTH      sends that part of the blob in one message
/// !pour FD FROM               sends the MiBs of the blob from this one on until one is refused:
///                             the number of that one, and the error
/// !records FD COUNT           sends records of this worker
/// !compare                    what this connection sends from now on is the blob; answers at last
/// ```
fn large_puppet(setup: &Setup) -> Outcome {
    blob();
    serve(setup, &[("socket_buffer_size", SOCKET_BUFFER_SETTING)], obey_large)
}

/// As the large puppet, but no send is refused.
fn patient_puppet(setup: &Setup) -> Outcome {
    serve(setup, &[("worker_num", "3"), ("socket_buffer_size", "0")], obey_large)
}

fn obey_large(server: Handle, event: &Event) {
    let fd = event.fd();
    if compare(server, fd, event.data()) {
        return;
    }
    let text = std::str::from_utf8(event.data()).unwrap_or("");
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = match *words.as_slice() {
        ["!blob", to, offset, length] => {
            let start: usize = number(offset);
            let part = &blob()[start..start + number::<usize>(length)];
            code_of(server.send(number(to), part)).to_string()
        }
        ["!pour", to, from] => pour(server, number(to), number(from)),
        ["!records", to, count] => send_records(server, number(to), number(count)),
        ["!compare"] => {
            COMPARED.with(|compared| compared.borrow_mut().insert(fd, 0));
            "comparing".to_owned()
        }
        _ => return puppet::obey(server, event),
    };
    puppet::answer(server, fd, format!("{line}\n").as_bytes());
}

fn code_of(result: common::api::Result<()>) -> i32 {
    result.err().map_or(0, |error| error.code)
}

fn pour(server: Handle, to: i64, from: usize) -> String {
    for (index, part) in blob().chunks_exact(MIB).enumerate().skip(from) {
        let code = code_of(server.send(to, part));
        if code != 0 {
            return format!("{index} {code}");
        }
    }
    format!("{} 0", BLOB_BYTES / MIB)
}

/// False if these bytes are no part of a blob.
fn compare(server: Handle, fd: i64, data: &[u8]) -> bool {
    let Some(start) = COMPARED.with(|compared| compared.borrow().get(&fd).copied()) else {
        return false;
    };
    let end = start + data.len();
    let is_same = blob().get(start..end) == Some(data);
    COMPARED.with(|compared| compared.borrow_mut().insert(fd, end));
    if !is_same || end >= BLOB_BYTES {
        COMPARED.with(|compared| compared.borrow_mut().remove(&fd));
        puppet::answer(server, fd, format!("{is_same} {end}\n").as_bytes());
    }
    true
}

/// Watches the memory of a server while something happens; returns the result, and the greatest
/// amount above that of the beginning.
fn with_memory_watched<T>(
    server: &Running,
    happening: impl FnOnce() -> Result<T>,
) -> Result<(T, usize)> {
    let before = memory_bytes(server)?;
    let (peak, is_over) = (AtomicU64::new(before), AtomicBool::new(false));
    let result = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                peak.fetch_max(memory_bytes(server)?, Ordering::Relaxed);
                poll(&[], 0, 2)?;
            }
            Ok::<_, std::io::Error>(())
        });
        let result = happening();
        is_over.store(true, Ordering::Relaxed);
        watching.join().map_err(|_| "the watcher panicked")??;
        result
    })?;
    let above = peak.into_inner() - before;
    println!("{:?}: {} KiB above {} KiB", server.mode(), above / 1024, before / 1024);
    Ok((result, usize::try_from(above)?))
}

/// Makes sure that the processes have touched what they touch for any message, so that memory is
/// compared like with like.
fn warm_up(server: &Running) -> Outcome {
    for worker in 0..2 {
        connect_to(server, worker)?.0.echo(&blob()[..MIB])?;
    }
    Ok(())
}

/// Receives a part of the blob.
fn receive_blob(client: &mut Client, start: usize, length: usize) -> Outcome {
    let mut chunk = vec![0; 256 * 1024];
    let mut at = start;
    while at < start + length {
        let wanted = chunk.len().min(start + length - at);
        client.stream.read_exact(&mut chunk[..wanted])?;
        if chunk[..wanted] != blob()[at..at + wanted] {
            return Err(format!("the blob is damaged behind byte {at}").into());
        }
        at += wanted;
    }
    Ok(())
}

fn one_send_of_64_mib_arrives_and_takes_its_own_size(server: &Running) -> Outcome {
    warm_up(server)?;
    let ((), above) = with_memory_watched(server, || {
        for sender in 0..2 {
            let (mut reader, fd) = connect_to(server, 1)?;
            let (mut control, _) = connect_to(server, sender)?;
            let (mut owner, _) = connect_to(server, 1)?;
            let order = format!("blob {fd} 0 {BLOB_BYTES}");
            assert_eq!(ask(&mut control, &order)?, "0");
            // All of it is on this side of the socket, but for what the system has taken.
            ask_until(&mut owner, "queued", |line| number::<usize>(line) > BLOB_BYTES - 12 * MIB)?;
            // Far above the limit, which one message may exceed, nothing more is taken.
            ask_until(&mut control, &format!("tell {fd} more"), |line| line == "1008")?;
            receive_blob(&mut reader, 0, BLOB_BYTES)?;
            ask_until(&mut control, &format!("tell {fd} more"), |line| line == "told")?;
            assert_eq!(reader.receive(4)?, b"more");
        }
        Ok(())
    })?;
    let most = BLOB_BYTES + SOCKET_BUFFER + SLACK;
    assert!(above <= most, "{above} bytes are more than {most}");
    assert!(above >= BLOB_BYTES - 12 * MIB, "the memory was not looked at in time: {above}");
    Ok(())
}

fn sends_of_1_mib_are_refused_and_tried_again_until_all_have_arrived(server: &Running) -> Outcome {
    warm_up(server)?;
    let ((), above) = with_memory_watched(server, || {
        for sender in 0..2 {
            let (mut reader, fd) = connect_to(server, 1)?;
            let (mut control, _) = connect_to(server, sender)?;
            let (mut sent, mut read, mut refusals) = (0, 0, 0);
            while read < BLOB_BYTES {
                let answer = ask(&mut control, &format!("pour {fd} {sent}"))?;
                let (next, code) = answer.split_once(' ').ok_or("no answer")?;
                assert!(["0", "1008"].contains(&code), "{answer}");
                refusals += usize::from(code == "1008");
                sent = number(next);
                let part = (sent * MIB - read).min(MIB / 2);
                receive_blob(&mut reader, read, part)?;
                read += part;
            }
            assert!(refusals > 10, "{refusals} refusals");
        }
        Ok(())
    })?;
    let most = MIB + SOCKET_BUFFER + SLACK;
    assert!(above <= most, "{above} bytes are more than {most}");
    Ok(())
}

fn many_connections_get_much_at_once(server: &Running) -> Outcome {
    const EACH: usize = 4 * MIB;
    const READERS: usize = 16;
    warm_up(server)?;
    let ((), above) = with_memory_watched(server, || {
        let readers: Result<Vec<_>> = (0..READERS).map(|_| Ok((server.connect()?, 0))).collect();
        let mut readers = readers?;
        for (reader, fd) in &mut readers {
            *fd = number::<i64>(ask(reader, "who")?.rsplit(' ').next().unwrap_or(""));
        }
        let mut controls = [connect_to(server, 0)?.0, connect_to(server, 1)?.0];
        // Both workers send at the same time, before anybody reads.
        for (index, (_, fd)) in readers.iter().enumerate() {
            let order = format!("blob {fd} {} {EACH}", index * EACH);
            assert_eq!(ask(&mut controls[index % 2], &order)?, "0");
        }
        let starts = (0..READERS).map(|index| index * EACH);
        std::thread::scope(|scope| {
            let all: Vec<_> = readers
                .iter_mut()
                .zip(starts)
                .map(|((reader, _), start)| scope.spawn(move || receive_blob(reader, start, EACH)))
                .collect();
            all.into_iter().try_for_each(|one| one.join().map_err(|_| "a reader panicked")?)
        })
    })?;
    let most = EACH * READERS + SOCKET_BUFFER + SLACK;
    assert!(above <= most, "{above} bytes are more than {most}");
    Ok(())
}

/// Writes all of the blob; counts what the socket has taken.
fn flood(client: &Client, written: &AtomicU64) -> Outcome {
    let mut stream = &client.stream;
    for part in blob().chunks(64 * 1024) {
        stream.write_all(part)?;
        written.fetch_add(part.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// Answers come at once on this connection.
fn expect_prompt(client: &mut Client, times: usize) -> Outcome {
    let mut slowest = Duration::ZERO;
    for _ in 0..times {
        let begin = Instant::now();
        client.echo(&[puppet::NO_TEXT; 100])?;
        slowest = slowest.max(begin.elapsed());
    }
    assert!(slowest < PROMPT, "{slowest:?}");
    Ok(())
}

fn a_flood_waits_for_its_worker_and_for_nobody_else(server: &Running) -> Outcome {
    warm_up(server)?;
    let (mut stuck, _) = connect_to(server, 1)?;
    let (mut flooder, _) = connect_to(server, 1)?;
    let (mut other, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut flooder, "compare")?, "comparing");
    flooder.stream.set_write_timeout(None)?;
    let written = AtomicU64::new(0);
    let (written, flooded) = (&written, &flooder);
    let ((), above) = with_memory_watched(server, || {
        let held = hold_worker(&mut stuck)?;
        std::thread::scope(|scope| {
            let flooding = scope.spawn(move || flood(flooded, written));
            let fds = [flooded.stream.as_raw_fd()];
            while !poll(&fds, libc::POLLOUT, STUCK_MS)?.is_empty() {
                expect_prompt(&mut other, 10)?;
            }
            let taken = written.load(Ordering::Relaxed);
            println!("the flood stands at {} KiB", taken / 1024);
            assert!(taken < BLOB_BYTES as u64 / 2, "the reactor reads on: {taken}");
            expect_prompt(&mut other, 100)?;
            drop(held);
            expect_prompt(&mut other, 100)?;
            flooding.join().map_err(|_| "the flood panicked")?
        })
    })?;
    let mut line = [0; 14];
    flooder.stream.read_exact(&mut line)?;
    assert_eq!(String::from_utf8_lossy(&line), format!("true {BLOB_BYTES}\n"));
    assert!(above <= SLACK, "{above} bytes are more than {SLACK}");
    Ok(())
}

fn a_stuck_reader_costs_nobody_but_itself(server: &Running) -> Outcome {
    warm_up(server)?;
    let mut others = Vec::new();
    for worker in 0..2 {
        others.push(connect_to(server, worker)?.0);
    }
    let ((), above) = with_memory_watched(server, || {
        for sender in 0..2 {
            let (mut reader, fd) = connect_to(server, 1)?;
            let (mut sent, mut refusals) = (0, 0);
            while refusals < 50 {
                let answer = ask(&mut others[sender], &format!("pour {fd} {sent}"))?;
                let (next, code) = answer.split_once(' ').ok_or("no answer")?;
                (sent, refusals) = (number(next), refusals + usize::from(code == "1008"));
                assert!(sent < BLOB_BYTES / MIB, "nothing is refused");
                others.iter_mut().try_for_each(|other| expect_prompt(other, 2))?;
            }
            receive_blob(&mut reader, 0, sent * MIB)?;
            let order = format!("tell {fd} more");
            ask_until(&mut others[sender], &order, |line| line == "told")?;
            assert_eq!(reader.receive(4)?, b"more");
        }
        Ok(())
    })?;
    let most = MIB + SOCKET_BUFFER + SLACK;
    assert!(above <= most, "{above} bytes are more than {most}");
    Ok(())
}

/// Length, worker and number of a record stand before its bytes.
const HEAD: usize = 12;
const LARGEST_RECORD: usize = 1000 * 1024;

/// From 5 to 1000 KiB, and every third one so small that it is sent together with others.
fn record(worker: u32, number: u32) -> Vec<u8> {
    let spread = (worker + 1).wrapping_mul(2_654_435_761).wrapping_add(number * 40_503) >> 7;
    let length = match number % 3 {
        0 => HEAD + spread as usize % 1000,
        _ => 5 * 1024 + spread as usize % (LARGEST_RECORD - 5 * 1024),
    };
    let mut record = vec![(worker * 80 + number) as u8; length];
    record[..4].copy_from_slice(&(length as u32).to_be_bytes());
    record[4..8].copy_from_slice(&worker.to_be_bytes());
    record[8..12].copy_from_slice(&number.to_be_bytes());
    record
}

fn send_records(server: Handle, to: i64, count: u32) -> String {
    let worker = server.worker_id().unsigned_abs();
    let refused = (0..count).find(|number| server.send(to, &record(worker, *number)).is_err());
    refused.map_or("all".to_owned(), |number| format!("up to {number}"))
}

fn large_records_of_several_workers_to_one_connection_never_mix(server: &Running) -> Outcome {
    const COUNT: u32 = 30;
    let (mut reader, fd) = connect_to(server, 1)?;
    let order = format!("!records {fd} {COUNT}");
    let controls: Result<Vec<_>> = (0..3).map(|worker| connect_to(server, worker)).collect();
    let mut controls = controls?;
    for (control, _) in &mut controls {
        control.send(order.as_bytes())?;
    }
    let mut next = [0; 3];
    let mut switches = 0;
    let mut last = 0;
    while next.iter().sum::<u32>() < 3 * COUNT {
        let head = reader.receive(HEAD)?;
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (length, worker, number) = (word(0) as usize, word(4), word(8));
        assert!(worker < 3 && (HEAD..=LARGEST_RECORD).contains(&length), "no record: {head:?}");
        assert_eq!(number, next[worker as usize], "records of worker {worker} in order");
        let rest = reader.receive(length - HEAD)?;
        assert!(rest == record(worker, number)[HEAD..], "record {number} of worker {worker}");
        next[worker as usize] += 1;
        switches += usize::from(worker != last);
        last = worker;
    }
    for (control, _) in &mut controls {
        assert_eq!(control.receive(4)?, b"all\n");
    }
    println!("{:?}: the sender changed {switches} times", server.mode());
    assert!(switches >= 2);
    Ok(())
}

server_tests! {
    one_send_of_64_mib_arrives_and_takes_its_own_size: large_puppet;
    sends_of_1_mib_are_refused_and_tried_again_until_all_have_arrived: large_puppet;
    many_connections_get_much_at_once: large_puppet;
    a_flood_waits_for_its_worker_and_for_nobody_else: large_puppet;
    a_stuck_reader_costs_nobody_but_itself: large_puppet;
    large_records_of_several_workers_to_one_connection_never_mix: patient_puppet;
}
