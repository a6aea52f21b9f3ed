//! System calls per request, counted by strace in the server alone.
//!
//! A server runs twice under strace, with few requests and with many; the difference between the
//! two counts holds neither its start nor its end nor the opening of connections.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::common::binaries;
use crate::common::cores::Cores;
use crate::common::launch::Running;
use crate::load::{Load, Until};

const FEW: usize = 50;
const MANY: usize = 250;

pub fn is_available() -> bool {
    Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success())
}

/// System calls of all processes of the server per request under the load of `shape`: bytes,
/// connections, messages under way on each.
pub fn per_request(
    command: &[PathBuf],
    cores: Cores,
    shape: (usize, usize, usize),
) -> io::Result<f64> {
    let few = count(command, cores, shape, FEW)?;
    let many = count(command, cores, shape, MANY)?;
    Ok((many as f64 - few as f64) / ((MANY - FEW) * shape.1) as f64)
}

fn count(
    command: &[PathBuf],
    cores: Cores,
    shape: (usize, usize, usize),
    messages: usize,
) -> io::Result<u64> {
    let summary = binaries::directory()?.join("system-calls");
    // With -D it is the server that was started, and strace stands beside it.
    let mut traced: Vec<OsString> = ["strace", "-D", "-c", "-f", "-o"].map(OsString::from).into();
    traced.push(summary.clone().into());
    traced.extend(command.iter().map(OsString::from));
    let server = Running::start(&traced, cores)?;
    let outcome = Load::open(server.address(), shape)
        .and_then(|mut load| load.run(Until::Sent(messages), true));
    drop(server);
    outcome?;
    let calls = total(&fs::read_to_string(&summary)?);
    fs::remove_file(&summary)?;
    calls.ok_or_else(|| io::Error::other("strace gave no summary"))
}

/// The number of calls in the last line of strace's table: share, seconds, time per call, calls.
fn total(summary: &str) -> Option<u64> {
    let line = summary.lines().rev().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
