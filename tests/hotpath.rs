//! The way of a message costs no allocation, and no system call between reactor and worker while
//! both are busy.

mod common;

use common::prelude::*;
use common::process::group_members;
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counts what this process allocates, in the library too.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static MESSAGES: AtomicU64 = AtomicU64::new(0);
static FIRST: AtomicU64 = AtomicU64::new(0);

// SAFETY: the system's allocator does the work; counting changes nothing of it.
unsafe impl GlobalAlloc for Counting {
    /// # Safety
    /// - As the system's.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    /// # Safety
    /// - As the system's.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const WARM_UP: u64 = 1_000;
const COUNTED: u64 = 5_000;
const SIZES: [usize; 2] = [64, 16 * 1024];

/// Echoes, and counts what was allocated in the worker between two messages and in the master
/// between the first accept and the end.
fn counting_echo(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.set("worker_num", "1")?;
    server
        .on("start", |_, _| FIRST.store(ALLOCATIONS.load(Ordering::Relaxed), Ordering::Relaxed))?;
    server.on("receive", |server, event| {
        let is_sent = server.send(event.fd(), event.data()).is_ok();
        let count = MESSAGES.fetch_add(1, Ordering::Relaxed) + 1;
        let so_far = ALLOCATIONS.load(Ordering::Relaxed);
        match count {
            WARM_UP => FIRST.store(so_far, Ordering::Relaxed),
            COUNTED => report!("worker {}", so_far - FIRST.load(Ordering::Relaxed)),
            _ => {}
        }
        if !is_sent {
            report!("not sent");
        }
    })?;
    server.on("shutdown", |_, _| {
        let first = FIRST.load(Ordering::Relaxed);
        report!("master {}", ALLOCATIONS.load(Ordering::Relaxed) - first);
    })?;
    server.start()?;
    Ok(())
}

fn a_message_allocates_nothing(server: &Running) -> Outcome {
    let mut clients = Vec::new();
    for _ in 0..16 {
        clients.push(server.connect()?);
    }
    let mut sent = 0;
    while sent < COUNTED + 100 {
        for client in &mut clients {
            client.echo(&vec![1; SIZES[sent as usize % 2]])?;
            sent += 1;
        }
    }
    let line = server.wait_line(|line| line.starts_with("worker "), STEP)?;
    let in_worker: u64 = line["worker ".len()..].parse()?;
    assert!(in_worker < 10, "{in_worker} allocations for {COUNTED} messages in the worker");
    server.end_in_order()?;
    let lines = server.lines_so_far();
    let line = lines.iter().find(|line| line.starts_with("master ")).ok_or("no end")?;
    let in_master: u64 = line["master ".len()..].parse()?;
    assert!(in_master < 500, "{in_master} allocations for {COUNTED} messages in the master");
    assert!(!lines.iter().any(|line| line == "not sent"));
    Ok(())
}

/// Echoes after some work, so that messages wait while the worker is busy.
fn busy_echo(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.set("worker_num", "1")?;
    server.on("receive", |server, event| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(5) {
            std::hint::spin_loop();
        }
        if server.send(event.fd(), event.data()).is_err() {
            report!("not sent");
        }
    })?;
    server.start()?;
    Ok(())
}

/// Calls of write(2) in all processes of the server: its doorbells, since sockets are written by
/// send(2), which is not counted there.
fn writes(server: &Running) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    let mut sum = 0;
    for process in group_members(server.pid())? {
        let text = fs::read_to_string(format!("/proc/{}/io", process.pid))?;
        let line = text.lines().find_map(|line| line.strip_prefix("syscw: ")).ok_or("no syscw")?;
        sum += line.parse::<u64>()?;
    }
    Ok(sum)
}

fn busy_units_do_not_ring_each_other(server: &Running) -> Outcome {
    const CLIENTS: u64 = 64;
    const ROUNDS: u64 = 50;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(server.connect()?);
    }
    let before = writes(server)?;
    for _ in 0..ROUNDS {
        for client in &mut clients {
            client.send(&[7; 64])?;
        }
        for client in &mut clients {
            assert_eq!(client.receive(64)?, [7; 64]);
        }
    }
    let rings = writes(server)? - before;
    let messages = CLIENTS * ROUNDS;
    println!("{rings} rings for {messages} messages there and back");
    // One at the beginning of a round and some at its end, where one of the two waits.
    assert!(rings < messages / 3, "{rings} rings for {messages} messages");
    assert!(!server.lines_so_far().iter().any(|line| line == "not sent"));
    Ok(())
}

server_tests! {
    a_message_allocates_nothing: counting_echo;
    busy_units_do_not_ring_each_other: busy_echo;
}
