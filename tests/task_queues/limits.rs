//! A queue that is full or small, and a system that has no queue left.

use super::queues::{key, keyed, Foreign};
use super::serving::prepare;
use crate::common::prelude::*;
use crate::common::process;
use crate::puppet::life::{wait_for_end, wait_for_lines};
use crate::puppet::{ask, ask_until, connect_to, pid_of, Gate};
use std::time::{Duration, Instant};
use swoole::os::queue::MessageQueue;

/// Four of these fit into a queue of the usual 16 KiB.
const TASK: usize = 4000;

pub fn who_hands_in_waits_while_the_queue_is_full(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let queue = Foreign::open(server)?;
    let fitting = queue.0.capacity()? as usize / (TASK + 40);
    let gate = Gate::new()?;
    ask(&mut client, &format!("give 0 hold {}", gate.port()?))?;
    let held = gate.wait()?;
    let order = format!("give 0 {}", "x".repeat(TASK));
    for id in 1..=fitting {
        assert_eq!(ask(&mut client, &order)?, id.to_string());
    }
    client.send(format!("!{order}").as_bytes())?;
    wait_until_in_call(pid_of(server, 0, 1)?, libc::SYS_msgsnd)?;
    assert_eq!(queue.0.waiting()?.messages, fitting as u64);
    drop(held);
    let answer = format!("{}\n", fitting + 1);
    assert_eq!(client.receive(answer.len())?, answer.as_bytes());
    wait_for_lines(server, fitting + 1, "task ")?;
    let all = format!("1 1 0 {}", fitting + 2);
    ask_until(&mut client, "tasks", |told| told == all)?;
    Ok(())
}

/// Waits until a process stands in this system call.
fn wait_until_in_call(pid: i32, call: libc::c_long) -> Outcome {
    let end = Instant::now() + STEP;
    loop {
        let told = std::fs::read_to_string(format!("/proc/{pid}/syscall"))?;
        if told.split(' ').next() == Some(call.to_string().as_str()) {
            return Ok(());
        }
        assert!(Instant::now() < end, "it is not in the call: {told}");
        process::wait_gone(pid, Duration::from_millis(5)).ok();
    }
}

/// The queue takes less than the longest message.
pub fn small(setup: &Setup) -> Outcome {
    MessageQueue::open(key(setup.port))?;
    // SAFETY: plain numbers, for which zero is a value.
    let mut told: libc::msqid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: takes a number.
    let id = unsafe { libc::msgget(key(setup.port) as libc::key_t, 0) };
    // SAFETY: the place outlives both calls.
    unsafe {
        assert_eq!(libc::msgctl(id, libc::IPC_STAT, &mut told), 0);
        told.msg_qbytes = 1000;
        assert_eq!(libc::msgctl(id, libc::IPC_SET, &mut told), 0);
    }
    keyed(setup)
}

pub fn what_a_small_queue_does_not_take_travels_in_files(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let _queue = Foreign::open(server)?;
    for (id, size) in [900, 959, 960, 961, 8000, 20_000].into_iter().enumerate() {
        assert_eq!(ask(&mut client, &format!("give 0 {}", "x".repeat(size)))?, id.to_string());
        let flags = if size < 960 { 4 } else { 5 };
        wait_for_lines(server, 1, &format!("task {id} from 0 flags {flags} in 2: {size}"))?;
    }
    assert_eq!(std::fs::read_dir(server.temporary()).map_or(0, Iterator::count), 0);
    Ok(())
}

/// In a system of its own that has no queue left, if this process may make one.
pub fn exhausted(setup: &Setup) -> Outcome {
    // SAFETY: takes a number.
    let is_apart = unsafe { libc::unshare(libc::CLONE_NEWIPC) } == 0;
    if !is_apart || std::fs::write("/proc/sys/kernel/msgmni", "0").is_err() {
        eprintln!("this process may not limit queues: that there is none left is not tested");
        report!("start: {}", libc::ENOSPC);
        return Ok(());
    }
    for mode in ["2", "3"] {
        let server = prepare(setup, &[("task_worker_num", "1"), ("task_ipc_mode", mode)])?;
        report!("start: {}", crate::puppet::life::told(server.start()));
    }
    Ok(())
}

pub fn without_a_queue_there_is_no_start(server: &Running) -> Outcome {
    wait_for_lines(server, 1, &format!("start: {}", libc::ENOSPC))?;
    wait_for_end(server)?;
    assert!(!server.lines_so_far().iter().any(|line| line.contains("start: true")));
    Ok(())
}
