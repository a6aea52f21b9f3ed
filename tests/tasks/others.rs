//! Tasks of the master, the manager and a user process, and what a task does not leave behind.

use super::api::task;
use super::handing::prepare;
use super::processes::Process;
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::life::wait_for_lines;
use crate::puppet::{self, ask, ask_until, connect_to, memory_bytes};
use std::time::{Duration, Instant};

fn give(server: Handle, who: &str) {
    match task(server, b"try", -1) {
        Ok(id) => report!("{who} gave {id}"),
        Err(error) => report!("{who} was refused {}", error.code),
    }
}

pub fn one_way(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[("task_worker_num", "2")])?;
    server.on("start", |server, _| give(server, "master"))?;
    server.on("managerStart", |server, _| give(server, "manager"))?;
    Process::start_with(*server, |server, process| {
        give(server, "user process");
        give(server, "user process");
        while process.next().is_some() {}
    })?;
    puppet::run(&server)
}

pub fn a_task_of_who_is_no_worker_has_no_answer(server: &Running) -> Outcome {
    for line in ["master gave 0", "manager gave 0", "user process gave 0", "user process gave 1"] {
        wait_for_lines(server, 1, line)?;
    }
    // In BASE mode a worker plays the master.
    let is_worker = server.mode() == Mode::Base;
    let refused = SW_ERROR_OPERATION_NOT_SUPPORT;
    let from_nobody = if is_worker { 1 } else { 2 };
    wait_for_lines(server, from_nobody, &format!("tried in -1: {refused}"))?;
    wait_for_lines(server, 2, &format!("tried in 4: {refused}"))?;
    if is_worker {
        wait_for_lines(server, 1, "tried in 0: true")?;
        wait_for_lines(server, 1, "finish 0 by ")?;
    }
    let lines = server.lines_so_far();
    let tasks: Vec<&String> = lines.iter().filter(|line| line.starts_with("task ")).collect();
    assert_eq!(tasks.len(), 4);
    for told in tasks {
        assert_eq!(told.contains(" flags 132: try"), !told.contains(" from 0 "), "{told}");
    }
    Ok(())
}

pub fn a_storm_leaves_no_memory_behind(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    ask(&mut client, "give 0 echo first")?;
    wait_for_lines(server, 1, "finish 0")?;
    let before = memory_bytes(server)?;
    for _ in 0..4 {
        ask(&mut client, "burst 0 30 1000000")?;
    }
    wait_for_lines(server, 121, "finish ")?;
    ask_until(&mut client, "tasks", |told| told == "1 1 0 121")?;
    let end = Instant::now() + STEP;
    loop {
        let now = memory_bytes(server)?;
        if now < before + (4 << 20) {
            return Ok(());
        }
        assert!(Instant::now() < end, "{before} bytes have become {now}");
        crate::common::process::wait_gone(server.pid(), Duration::from_millis(50)).ok();
    }
}

pub fn with_directories(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[("task_worker_num", "1")])?;
    let folder = std::env::temp_dir().join("some/where");
    let path = folder.to_string_lossy().into_owned();
    server.set("task_tmpdir", &path)?;
    report!("made: {}", folder.is_dir());
    std::fs::remove_dir_all(std::env::temp_dir().join("some"))?;
    let long = format!("/{}", "x".repeat(240));
    for refused in ["some/where", "/proc/none/such", &long] {
        let code = server.set("task_tmpdir", refused).map_or_else(|error| error.code, |()| 0);
        report!("refused: {}", code == SW_ERROR_INVALID_PARAMS);
    }
    report!("kept: {}", server.get_setting("task_tmpdir")? == path);
    puppet::run(&server)
}

pub fn a_directory_for_tasks_is_made_or_refused(server: &Running) -> Outcome {
    wait_for_lines(server, 1, "made: true")?;
    wait_for_lines(server, 3, "refused: true")?;
    wait_for_lines(server, 1, "kept: true")?;
    server.connect()?;
    Ok(())
}
