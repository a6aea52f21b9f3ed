//! The counts of the server in a file, written by worker 0 again and again.

mod common;
#[path = "puppet/mod.rs"]
mod puppet;

use common::prelude::*;
use puppet::{ask, connect_to, hold_worker, kill, obey, pid_of};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn serve(setup: &Setup, file: &str) -> Outcome {
    let path = std::env::temp_dir().join(file);
    let text = path.to_str().ok_or("the path is no text")?;
    let result = puppet::serve(setup, &[("stats_file", text), ("stats_timer_interval", "5")], obey);
    report!("the file stays: {}", path.exists());
    fs::remove_file(path)?;
    result
}

fn into_lines(setup: &Setup) -> Outcome {
    serve(setup, "stats")
}

fn into_json(setup: &Setup) -> Outcome {
    serve(setup, "stats.JSON")
}

fn path(server: &Running, file: &str) -> PathBuf {
    server.temporary().join(file)
}

fn read_lines(text: &str) -> Fallible<BTreeMap<String, i64>> {
    let mut fields = BTreeMap::new();
    for line in text.lines() {
        let (name, value) = line.split_once(": ").ok_or_else(|| format!("what is {line:?}?"))?;
        fields.insert(name.to_owned(), value.parse()?);
    }
    Ok(fields)
}

fn read_json(text: &str) -> Fallible<BTreeMap<String, i64>> {
    Ok(serde_json::from_str(text)?)
}

/// Reads until it is what is wanted. What is read must be whole each time.
fn read_until(
    path: &PathBuf,
    read: fn(&str) -> Fallible<BTreeMap<String, i64>>,
    client: &mut Client,
    is_it: impl Fn(&BTreeMap<String, i64>) -> bool,
) -> Fallible<BTreeMap<String, i64>> {
    let end = Instant::now() + STEP;
    loop {
        if let Ok(text) = fs::read_to_string(path) {
            let fields = read(&text)?;
            if is_it(&fields) {
                return Ok(fields);
            }
            assert!(Instant::now() < end, "{text}");
        }
        assert!(Instant::now() < end, "there is no file");
        ask(client, "who")?;
    }
}

/// The fields of the structure in the header.
fn fields_of_the_header() -> Fallible<Vec<String>> {
    let header = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/include/swoole.h"))?;
    let (before, _) = header.split_once("} sw_stats_t;").ok_or("no sw_stats_t")?;
    let (_, fields) = before.rsplit_once('{').ok_or("no structure")?;
    let names = fields.lines().filter_map(|line| line.trim().strip_suffix(';'));
    Ok(names.filter_map(|line| line.rsplit(' ').next()).map(str::to_owned).collect())
}

fn check(
    server: &Running,
    file: &str,
    read: fn(&str) -> Fallible<BTreeMap<String, i64>>,
) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    let path = path(server, file);
    read_until(&path, read, &mut client, |_| true)?;
    let before = fs::read_to_string(&path).map(|text| read(&text))??;
    let mut others = vec![server.connect()?, server.connect()?];
    for other in &mut others {
        other.echo(b"12345")?;
    }
    let is_newer = |now: &BTreeMap<String, i64>| {
        now["accept_count"] >= before["accept_count"] + 2
            && now["request_count"] >= before["request_count"] + 2
            && now["total_recv_bytes"] >= before["total_recv_bytes"] + 10
            && now["connection_num"] >= 3
    };
    let now = read_until(&path, read, &mut client, is_newer)?;
    assert_eq!(now["worker_num"], 2);
    assert!(now["start_time"] > 1_600_000_000);
    let mut names = fields_of_the_header()?;
    names.sort();
    assert_eq!(now.into_keys().collect::<Vec<_>>(), names);
    server.signal(libc::SIGTERM)?;
    server.wait_line(|line| line == "the file stays: true", STEP)?;
    assert!(server.wait_exit(STEP)?.success());
    Ok(())
}

fn the_counts_are_written_line_by_line(server: &Running) -> Outcome {
    check(server, "stats", read_lines)
}

fn the_counts_are_written_as_one_json_object(server: &Running) -> Outcome {
    check(server, "stats.JSON", read_json)
}

/// The one that writes is worker 0, and its successor.
fn a_successor_goes_on_writing(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    let path = path(server, "stats");
    read_until(&path, read_lines, &mut client, |_| true)?;
    kill(pid_of(server, 0, 1)?)?;
    pid_of(server, 0, 2)?;
    fs::remove_file(&path)?;
    read_until(&path, read_lines, &mut client, |_| true)?;
    Ok(())
}

/// A worker that is stuck does not write; nobody does it in its place.
fn worker_0_writes_alone(server: &Running) -> Outcome {
    let (mut stuck, _) = connect_to(server, 0)?;
    let path = path(server, "stats");
    let (mut client, _) = connect_to(server, 1)?;
    read_until(&path, read_lines, &mut client, |_| true)?;
    let held = hold_worker(&mut stuck)?;
    fs::remove_file(&path)?;
    for _ in 0..200 {
        ask(&mut client, "who")?;
    }
    assert!(!path.exists());
    drop(held);
    read_until(&path, read_lines, &mut client, |_| true)?;
    Ok(())
}

fn to_nowhere(setup: &Setup) -> Outcome {
    let settings = [("stats_file", "/nowhere/at/all"), ("stats_timer_interval", "5")];
    puppet::serve(setup, &settings, obey)
}

fn a_file_that_cannot_be_written_is_warned_of(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let end = Instant::now() + STEP;
    while !server.log().contains("stats_file \"/nowhere/at/all\" cannot be written") {
        assert!(Instant::now() < end, "no warning");
        ask(&mut client, "who")?;
    }
    Ok(())
}

server_tests! {
    the_counts_are_written_line_by_line: into_lines;
    the_counts_are_written_as_one_json_object: into_json;
    a_successor_goes_on_writing: into_lines, in [Mode::Process, Mode::Base];
    worker_0_writes_alone: into_lines;
    a_file_that_cannot_be_written_is_warned_of: to_nowhere;
}
