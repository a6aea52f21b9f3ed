//! Task workers are killed all the time, and leave after a limit, while tasks of all sizes come in.
//!
//! With SWOOLE_STORM it is four workers that hand in so many tasks together, and what became of
//! them is told: `make storm` does that with 400,000.

use super::api::{data_of, finish, given, task_for};
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::{
    self, answer, ask, ask_until, connect_to, kill, memory_bytes, number, pid_now,
};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Tasks of each worker that are under way, at most.
const UNDER_WAY: u32 = 64;
/// What may be left of the memory of a storm.
const REST_BYTES: u64 = 8 << 20;

/// How large the storm is.
#[derive(Clone, Copy)]
struct Storm {
    workers: u32,
    /// Of each of them.
    tasks: u32,
}

impl Storm {
    fn wanted() -> Option<u32> {
        std::env::var("SWOOLE_STORM").ok()?.parse().ok()
    }

    fn get() -> Self {
        match Self::wanted() {
            Some(tasks) => Self { workers: 4, tasks: (tasks / 4).max(1) },
            None => Self { workers: 2, tasks: 10_000 },
        }
    }

    fn total(self) -> u32 {
        self.workers * self.tasks
    }

    fn limit(self) -> Duration {
        4 * STEP + Duration::from_millis(2) * self.total().saturating_sub(20_000)
    }
}

/// How often each task has begun and is about to be answered, in memory that all processes see.
struct Ledger {
    begun: &'static [AtomicU32],
    done: &'static [AtomicU32],
}

static LEDGER: OnceLock<Ledger> = OnceLock::new();

fn shared_counts(count: usize) -> &'static [AtomicU32] {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, of zeroes, which is never taken away.
    unsafe {
        let start = libc::mmap(std::ptr::null_mut(), count * 4, protection, flags, -1, 0);
        assert_ne!(start, libc::MAP_FAILED);
        std::slice::from_raw_parts(start.cast(), count)
    }
}

thread_local! {
    static HEARD: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
    static GIVEN: Cell<u32> = const { Cell::new(0) };
    static WAITING: RefCell<HashMap<i64, u32>> = RefCell::default();
}

/// From 4 bytes to a MiB, as many from each power of two to the next, so that some do not fit into
/// one piece of the lane of a worker.
fn size_of(index: u32) -> usize {
    let mixed = index.wrapping_mul(2_654_435_761);
    let size = 1 << ((mixed >> 24) % 20);
    4.max(size + (mixed as usize & 0xff_ffff) % size + 1)
}

fn give_next(server: Handle) {
    let tasks = Storm::get().tasks;
    while GIVEN.with(Cell::get) < tasks
        && WAITING.with(|waiting| waiting.borrow().len()) < UNDER_WAY as usize
    {
        let index = GIVEN.with(|given| given.replace(given.get() + 1));
        let mut data = vec![index as u8; size_of(index)];
        data[..4].copy_from_slice(&index.to_ne_bytes());
        let hook = move |server: Handle, id: i64, _: i32, result: Option<&[u8]>| {
            let expected = WAITING.with(|waiting| waiting.borrow_mut().remove(&id));
            assert_eq!(expected, Some(index), "the result of another task");
            let (mut done, mut failed) = HEARD.with(Cell::get);
            match result {
                Some(result) => {
                    assert!(result.len() == size_of(index) && result[..4] == index.to_ne_bytes());
                    done += 1;
                }
                None => {
                    assert_eq!(server.last_error(), SW_ERROR_SERVER_WORKER_TERMINATED);
                    failed += 1;
                }
            }
            HEARD.with(|heard| heard.set((done, failed)));
            if done + failed == tasks {
                report!("heard {} {done} {failed}", server.worker_id());
            }
            give_next(server);
        };
        let id = task_for(server, &data, -1, Box::new(hook)).expect("it is accepted");
        WAITING.with(|waiting| waiting.borrow_mut().insert(id, index));
    }
}

fn run(server: Handle, event: &Event) {
    let data = data_of(event);
    let index = u32::from_ne_bytes(data[..4].try_into().expect("four bytes"));
    let place = given(event).worker_id as usize * Storm::get().tasks as usize + index as usize;
    let ledger = LEDGER.get().expect("made before start");
    ledger.begun[place].fetch_add(1, Ordering::Relaxed);
    ledger.done[place].fetch_add(1, Ordering::Relaxed);
    finish(server, data).expect("the worker takes it");
}

pub fn stormed(setup: &Setup) -> Outcome {
    let storm = Storm::get();
    let count = storm.total() as usize;
    let ledger = Ledger { begun: shared_counts(count), done: shared_counts(count) };
    assert!(LEDGER.set(ledger).is_ok());
    let workers = storm.workers.to_string();
    let settings =
        [("worker_num", &*workers), ("task_worker_num", "3"), ("task_max_request", "200")];
    let server = puppet::prepare(setup, &settings, |server, event| match event.data() {
        b"!storm" => {
            give_next(server);
            answer(server, event.fd(), b"begun\n");
        }
        b"!ledger" => {
            let ledger = LEDGER.get().expect("made before start");
            let sum = |counts: &[AtomicU32]| -> u32 {
                counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
            };
            let most = ledger.begun.iter().map(|count| count.load(Ordering::Relaxed)).max();
            let line =
                format!("{} {} {}\n", sum(ledger.begun), sum(ledger.done), most.unwrap_or(0));
            answer(server, event.fd(), line.as_bytes());
        }
        _ => puppet::obey(server, event),
    })?;
    server.on("task", run)?;
    puppet::run(&server)
}

pub fn every_task_runs_at_most_once_and_everybody_hears_of_his(server: &Running) -> Outcome {
    let storm = Storm::get();
    let workers = storm.workers as usize;
    let mut clients = Vec::new();
    for worker in 0..workers {
        clients.push(connect_to(server, worker as i32)?.0);
    }
    let (begin, before) = (Instant::now(), memory_bytes(server)?);
    for client in &mut clients {
        assert_eq!(ask(client, "storm")?, "begun");
    }
    let mut kills = 0;
    let heard = |server: &Running| {
        server.lines_so_far().iter().filter(|line| line.starts_with("heard ")).count()
    };
    while heard(server) < workers && server.mode() != Mode::Thread {
        assert!(begin.elapsed() < storm.limit(), "the storm does not end");
        // The one of whoever is killed may have ended by its limit just now.
        kill(pid_now(server, (workers + kills % 3) as i32)?).ok();
        kills += 1;
        crate::common::process::wait_gone(server.pid(), Duration::from_millis(50)).ok();
    }
    let lines = server.wait_lines(workers, |line| line.starts_with("heard "), storm.limit())?;
    let sum = |place: usize| -> u32 {
        lines.iter().map(|line| number::<u32>(line.split(' ').nth(place).unwrap_or("0"))).sum()
    };
    let (done, failed, total) = (sum(2), sum(3), storm.total());
    let took = begin.elapsed();
    assert_eq!(done + failed, total);
    // Each kill can take one task, at most.
    assert!(failed <= kills as u32, "{failed} failed of {kills} kills");
    let all = format!("3 3 0 {total}");
    ask_until(&mut clients[0], "tasks", |told| told == all)?;
    let ledger: Vec<u32> = ask(&mut clients[0], "ledger")?.split(' ').map(number).collect();
    // A task whose worker died before it was in the callback has never begun there.
    assert!(ledger[0] <= total && ledger[0] + failed >= total, "{ledger:?}");
    assert!((done..=ledger[0]).contains(&ledger[1]), "{done} heard, {ledger:?}");
    assert_eq!(ledger[2], 1, "a task has run twice");
    let after = has_rested(server, before + REST_BYTES + 8 * u64::from(total))?;
    if Storm::wanted().is_some() {
        println!(
            "{:?}: {total} tasks in {:.1} s, {kills} kills, {failed} failed, {} begun, {done} \
             answered, none twice; memory {before} before and {after} after",
            server.mode(),
            took.as_secs_f64(),
            ledger[0]
        );
    }
    Ok(())
}

/// Waits until the processes have no more memory than this; how much that is.
fn has_rested(
    server: &Running,
    most: u64,
) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    let end = Instant::now() + STEP;
    loop {
        let now = memory_bytes(server)?;
        if now <= most {
            return Ok(now);
        }
        assert!(Instant::now() < end, "{now} bytes are left, {most} are enough");
        crate::common::process::wait_gone(server.pid(), Duration::from_millis(50)).ok();
    }
}
