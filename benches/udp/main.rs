//! UDP echo: this library's server in BASE and PROCESS mode beside a loop of recvmmsg and sendmmsg
//! in C, in datagrams of 64 bytes per second of server CPU.
//!
//! `cargo bench --bench udp [-- --quick]`. All servers run at the same time on one core and are
//! loaded in turn from another one; ratios are made of the slices of one round, and the table shows
//! their medians. Without `--bench`, as `cargo test` runs it, each server echoes a little.

#[path = "../echo/cores.rs"]
#[allow(dead_code)]
mod cores;
#[path = "../echo/process.rs"]
#[allow(dead_code)]
mod process;
mod server;

use std::env;
use std::io;
use std::net::UdpSocket;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cores::Cores;
use server::{Kind, Running};

const BYTES: usize = 64;
const ROUNDS: usize = 41;
const QUICK_ROUNDS: usize = 5;
const SLICE: Duration = Duration::from_millis(100);
/// Datagrams in flight: as many as one batch takes, and one.
const WINDOWS: [usize; 2] = [64, 1];
/// What BASE mode has to reach with a window of a batch.
const TARGET: f64 = 0.8;
const PATIENCE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let outcome = match env::args().any(|argument| argument == "--bench") {
        true => measure(if env::args().any(|it| it == "--quick") { QUICK_ROUNDS } else { ROUNDS }),
        false => start_all().map(drop),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// All servers that could be built, each of which has answered.
fn start_all() -> io::Result<Vec<Running>> {
    let cores = Cores::choose()?;
    cores::move_to(cores.load)?;
    Kind::ALL.iter().map(|kind| Running::start(*kind, cores)).collect()
}

/// Sends windows of datagrams until the time is over; how many came back. One that is lost is
/// waited for in vain, which is an error: nothing here gives a reason for that.
fn load(socket: &UdpSocket, window: usize, time: Duration) -> io::Result<u64> {
    let begin = Instant::now();
    let (sent, mut back) = ([7; BYTES], [0; BYTES + 1]);
    let mut count = 0;
    while begin.elapsed() < time {
        for _ in 0..window {
            socket.send(&sent)?;
        }
        for _ in 0..window {
            if socket.recv(&mut back)? != BYTES {
                return Err(io::Error::other("an answer has another length"));
            }
            count += 1;
        }
    }
    Ok(count)
}

/// Datagrams per second of CPU in one slice.
fn slice(server: &Running, window: usize) -> io::Result<f64> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server.address())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let pids = server.pids()?;
    let before_ns = process::cpu_ns(&pids)?;
    let count = load(&socket, window, SLICE)?;
    let spent_ns = process::cpu_ns(&pids)?.saturating_sub(before_ns);
    Ok(count as f64 * 1e9 / spent_ns.max(1) as f64)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn measure(rounds: usize) -> io::Result<()> {
    let servers = start_all()?;
    println!("{:<8} {:<16} {:>14} {:>8}", "window", "server", "per CPU second", "x raw");
    for window in WINDOWS {
        let mut rates = vec![Vec::new(); servers.len()];
        let mut ratios = vec![Vec::new(); servers.len()];
        // One for the caches.
        for round in 0..=rounds {
            let mut raw = None;
            for (index, server) in servers.iter().enumerate() {
                let rate = slice(server, window)?;
                let raw = *raw.get_or_insert(rate);
                if round > 0 {
                    rates[index].push(rate);
                    ratios[index].push(rate / raw);
                }
            }
        }
        for (index, server) in servers.iter().enumerate() {
            let (rate, ratio) = (median(&mut rates[index]), median(&mut ratios[index]));
            let is_judged = server.kind() == Kind::Base && window == WINDOWS[0];
            let verdict = match (is_judged, ratio >= TARGET) {
                (false, _) => "",
                (true, true) => "  met",
                (true, false) => "  missed",
            };
            let title = server.kind().title();
            println!("{window:<8} {title:<16} {rate:>14.0} {ratio:>8.2}{verdict}");
        }
    }
    Ok(())
}
