//! One command, one table: `sw_server_sendfile` beside a loop of sendfile in C, on a sparse file of
//! one GiB, in the same run.
//!
//! `cargo bench --bench sendfile`. The servers run at the same time on one core and send the file
//! in turn to a client on another one; ratios are made of the times of one round, and the table
//! shows their medians. `SW_BENCH_ROUNDS` sets the number of rounds. Without `--bench`, as
//! `cargo test` runs it, the bench checks its arithmetic and ends.

#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;

use std::env;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::common::binaries::{compile, compile_with_library};
use crate::common::cores::Cores;
use crate::common::launch::Running;
use crate::common::median;

const FILE_BYTES: u64 = 1 << 30;
const CHUNK_BYTES: usize = 1 << 20;
const ROUNDS: usize = 9;
/// What the ratio to the loop in C should be at least.
const TARGET: f64 = 0.9;

fn main() -> ExitCode {
    common::run(measure, common::check_median)
}

/// The file that is sent; it goes when this is dropped.
struct Sparse(PathBuf);

impl Sparse {
    fn new() -> io::Result<Self> {
        let path = env::temp_dir().join(format!("sw-bench-sendfile-{}", std::process::id()));
        File::create(&path)?.set_len(FILE_BYTES)?;
        Ok(Self(path))
    }
}

impl Drop for Sparse {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}

fn measure() -> io::Result<()> {
    let rounds = common::rounds(ROUNDS)?;
    let file = Sparse::new()?;
    let cores = Cores::choose()?;
    let raw = vec![compile("raw_sendfile", &[])?, file.0.clone()];
    let own = compile_with_library("swoole_sendfile")?;
    let mode = |name: &str| vec![own.clone(), name.into(), file.0.clone()];
    let commands = [("raw", raw), ("base", mode("base")), ("process", mode("process"))];
    let mut clients = Vec::new();
    for (name, command) in &commands {
        let server = Running::start(command, cores)?;
        let stream = TcpStream::connect(server.address())?;
        clients.push((*name, server, stream));
    }
    let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); clients.len()];
    let mut speeds = ratios.clone();
    for round in 0..=rounds {
        let mut first = None;
        // Whoever comes first in a round has it no better in the next one.
        for step in 0..clients.len() {
            let index = (step + round) % clients.len();
            let time = receive(&mut clients[index].2)?.as_secs_f64();
            first = if index == 0 { Some(time) } else { first };
            speeds[index].push(time);
        }
        // The first round only warms up.
        for index in 0..clients.len() {
            let time = speeds[index].last().copied().unwrap_or(f64::NAN);
            if let (Some(raw), true) = (first, round > 0) {
                ratios[index].push(raw / time);
            }
        }
    }
    println!("{rounds} rounds of {} MiB, servers on core {}", FILE_BYTES >> 20, cores.server);
    for (index, (name, ..)) in clients.iter().enumerate() {
        let (speed, ratio) = (median(&speeds[index]), median(&ratios[index]));
        let verdict = if ratio >= TARGET { "met" } else { "missed" };
        let speed = (FILE_BYTES >> 20) as f64 / speed;
        println!("{name:<8} {speed:>8.0} MiB/s  {ratio:>5.2} x  target {TARGET} {verdict}");
    }
    Ok(())
}

/// Asks for the file and takes it.
fn receive(stream: &mut TcpStream) -> io::Result<Duration> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let begin = Instant::now();
    stream.write_all(b"x")?;
    let mut left = FILE_BYTES;
    while left > 0 {
        let wanted = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = stream.read(&mut chunk[..wanted])?;
        if count == 0 {
            return Err(io::Error::other(format!("the server ended {left} bytes too early")));
        }
        left -= count as u64;
    }
    Ok(begin.elapsed())
}
