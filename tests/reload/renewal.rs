//! The log file is moved away while the server runs: every process goes on in a new one.

use crate::common::prelude::*;
use crate::common::process;
use crate::puppet::life::{end, live, manager_pid, wait_for_lines};
use crate::puppet::pid_of;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the new file may take.
const RENEWED: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

fn log_file() -> PathBuf {
    std::env::temp_dir().join("server.log")
}

pub fn write_to_file(setup: &Setup) -> Outcome {
    let file = log_file();
    let path = file.to_str().ok_or("a path that is no text")?;
    report!("file {path}");
    live(setup, &[("log_file", path)])?;
    for name in ["server.log.1", "server.log.2", "server.log"] {
        let file = file.with_file_name(name);
        for line in std::fs::read_to_string(&file)?.lines() {
            report!("{name}: {line}");
        }
        std::fs::remove_file(file)?;
    }
    Ok(())
}

/// Moves the file away and tells the server by this signal.
fn renew(server: &Running, file: &Path, number: u32, signal: i32) -> Outcome {
    std::fs::rename(file, file.with_extension(format!("log.{number}")))?;
    server.signal(signal)?;
    let end = Instant::now() + RENEWED;
    while !file.exists() {
        assert!(Instant::now() < end, "there is no new file");
        process::wait_gone(server.pid(), LOOK_AGAIN)?;
    }
    Ok(())
}

pub fn a_log_file_that_was_moved_away_is_there_again_for_every_process(
    server: &Running,
) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    let line = wait_for_lines(server, 1, "file ")?.swap_remove(0);
    let file = PathBuf::from(line.trim_start_matches("file "));
    let manager = manager_pid(server)?;
    let old = [pid_of(server, 0, 1)?, pid_of(server, 1, 1)?];
    // The last line of the beginning.
    while !std::fs::read_to_string(&file)?.contains("server started") {
        process::wait_gone(server.pid(), LOOK_AGAIN)?;
    }
    renew(server, &file, 1, libc::SIGWINCH)?;
    // All of them have something to say about a reload.
    server.signal(libc::SIGUSR1)?;
    wait_for_lines(server, 1, "after ")?;
    let new = [pid_of(server, 0, 2)?, pid_of(server, 1, 2)?];
    renew(server, &file, 2, libc::SIGRTMIN())?;
    end(server)?;

    let wrote = |name: &str, text: &str, pid: i32| {
        let lines = server.lines_so_far();
        let is_it = |line: &&String| {
            // Where workers are threads, the number of the process stands in front.
            let is_own = server.mode() == Mode::Thread || line.contains(&format!("{pid}."));
            line.starts_with(&format!("{name}: ")) && line.contains(text) && is_own
        };
        assert_eq!(lines.iter().filter(is_it).count(), 1, "{name} of {pid}: {text}");
    };
    wrote("server.log.1", "server started", server.pid());
    wrote("server.log.2", "is reloading all workers now", manager);
    wrote("server.log", "server has ended", server.pid());
    wrote("server.log", "manager stopped", manager);
    for worker in 0..2 {
        wrote("server.log.1", &format!("worker {worker} started"), old[worker]);
        wrote("server.log.2", &format!("worker {worker} stopped"), old[worker]);
        wrote("server.log.2", &format!("worker {worker} started"), new[worker]);
        wrote("server.log", &format!("worker {worker} stopped"), new[worker]);
    }
    assert_eq!(server.log(), "");
    Ok(())
}
