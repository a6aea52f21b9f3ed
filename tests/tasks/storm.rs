//! Task workers are killed all the time, and leave after a limit, while tasks of all sizes come in.

use super::api::{data_of, finish, given, task_for};
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::life::wait_for_lines;
use crate::puppet::{self, answer, ask, ask_until, connect_to, kill, number, pid_now};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Tasks of each of the two workers, and how many of them are under way at most.
const TASKS: u32 = 10_000;
const UNDER_WAY: u32 = 64;
const WORKERS: usize = 2;

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

/// Most are small, some do not fit into one piece of the lane of a worker.
fn size_of(index: u32) -> usize {
    match index.wrapping_mul(2_654_435_761) >> 20 {
        0..=7 => 1 << 20,
        8..=63 => 100_000,
        64..=511 => 5_000,
        rest => 8 + (rest % 500) as usize,
    }
}

fn give_next(server: Handle) {
    while GIVEN.with(Cell::get) < TASKS
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
            if done + failed == TASKS {
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
    let place = given(event).worker_id as usize * TASKS as usize + index as usize;
    let ledger = LEDGER.get().expect("made before start");
    ledger.begun[place].fetch_add(1, Ordering::Relaxed);
    ledger.done[place].fetch_add(1, Ordering::Relaxed);
    finish(server, data).expect("the worker takes it");
}

pub fn stormed(setup: &Setup) -> Outcome {
    let count = WORKERS * TASKS as usize;
    let ledger = Ledger { begun: shared_counts(count), done: shared_counts(count) };
    assert!(LEDGER.set(ledger).is_ok());
    let settings = [("task_worker_num", "3"), ("task_max_request", "200")];
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
    let mut clients = [connect_to(server, 0)?.0, connect_to(server, 1)?.0];
    for client in &mut clients {
        assert_eq!(ask(client, "storm")?, "begun");
    }
    let mut kills = 0;
    let end = Instant::now() + 4 * STEP;
    let heard = |server: &Running| {
        server.lines_so_far().iter().filter(|line| line.starts_with("heard ")).count()
    };
    while heard(server) < WORKERS && server.mode() != Mode::Thread {
        assert!(Instant::now() < end, "the storm does not end");
        // The one of whoever is killed may have ended by its limit just now.
        kill(pid_now(server, 2 + kills % 3)?).ok();
        kills += 1;
        crate::common::process::wait_gone(server.pid(), Duration::from_millis(50)).ok();
    }
    let lines = server.wait_lines(WORKERS, |line| line.starts_with("heard "), 4 * STEP)?;
    let numbers: Vec<Vec<u32>> =
        lines.iter().map(|line| line.split(' ').skip(2).map(number).collect()).collect();
    let (done, failed) = (numbers[0][0] + numbers[1][0], numbers[0][1] + numbers[1][1]);
    assert_eq!(done + failed, 2 * TASKS);
    // Each kill can take one task, at most.
    assert!(failed <= kills as u32, "{failed} failed of {kills} kills");
    let all = format!("3 3 0 {}", 2 * TASKS);
    ask_until(&mut clients[0], "tasks", |told| told == all)?;
    let ledger: Vec<u32> = ask(&mut clients[0], "ledger")?.split(' ').map(number).collect();
    // A task whose worker died before it was in the callback has never begun there.
    assert!(ledger[0] <= 2 * TASKS && ledger[0] + failed >= 2 * TASKS, "{ledger:?}");
    assert!((done..=ledger[0]).contains(&ledger[1]), "{done} heard, {ledger:?}");
    assert_eq!(ledger[2], 1, "a task has run twice");
    wait_for_lines(server, 1, "heard 0")?;
    Ok(())
}
