//! UDP echo: this library's server in BASE and PROCESS mode beside a loop of recvmmsg and sendmmsg
//! in C, in datagrams of 64 bytes per second of server CPU.
//!
//! `cargo bench --bench udp [-- --quick]`. All servers run at the same time on one core and are
//! loaded in turn from another one; ratios are made of the slices of one round, and the table shows
//! their medians. Without `--bench`, as `cargo test` runs it, each server echoes a little.

#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;

use std::env;
use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::common::binaries::{compile, compile_with_library};
use crate::common::cores::{self, Cores};
use crate::common::launch::Running;
use crate::common::{median, process};

const BYTES: usize = 64;
const ROUNDS: usize = 41;
const QUICK_ROUNDS: usize = 5;
const SLICE: Duration = Duration::from_millis(100);
/// Datagrams in flight: as many as one batch takes, and one.
const WINDOWS: [usize; 2] = [64, 1];
/// What that has to reach with a window of a batch.
const TARGET: f64 = 0.8;
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a server may take to answer what it is asked first.
const FIRST_ANSWER: Duration = Duration::from_millis(50);
/// The server of this library that has no hop from one process to another.
const JUDGED: &str = "swoole base";

fn main() -> ExitCode {
    let is_quick = env::args().any(|argument| argument == "--quick");
    common::run(
        || measure(common::rounds(if is_quick { QUICK_ROUNDS } else { ROUNDS })?),
        || start_all().map(drop),
    )
}

/// All servers, each of which has answered; the others are measured by the first one.
fn start_all() -> io::Result<Vec<(&'static str, Running)>> {
    let cores = Cores::choose()?;
    cores::move_to(cores.load)?;
    let swoole = |mode: &str| Ok(vec![compile_with_library("swoole_udp")?, PathBuf::from(mode)]);
    let raw = compile("raw_udp", &[]).map(|program| vec![program]);
    let all =
        [("raw", raw), ("swoole base", swoole("base")), ("swoole process", swoole("process"))];
    let start = |(title, command): (_, io::Result<Vec<PathBuf>>)| {
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok((title, Running::start_at(port, &command?, cores, answers)?))
    };
    all.into_iter().map(start).collect()
}

/// Asks from a new socket each time: what was sent too early is answered late.
fn answers(address: SocketAddrV4) -> bool {
    let ask = || {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(FIRST_ANSWER))?;
        socket.send(b"ready?")?;
        socket.recv(&mut [0; 16])
    };
    ask().is_ok_and(|count| count == 6)
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

fn measure(rounds: usize) -> io::Result<()> {
    let servers = start_all()?;
    println!("{:<8} {:<16} {:>14} {:>8}", "window", "server", "per CPU second", "x raw");
    for window in WINDOWS {
        let mut rates = vec![Vec::new(); servers.len()];
        let mut ratios = vec![Vec::new(); servers.len()];
        // One for the caches.
        for round in 0..=rounds {
            let mut raw = None;
            for (index, (_, server)) in servers.iter().enumerate() {
                let rate = slice(server, window)?;
                let raw = *raw.get_or_insert(rate);
                if round > 0 {
                    rates[index].push(rate);
                    ratios[index].push(rate / raw);
                }
            }
        }
        for (index, (title, _)) in servers.iter().enumerate() {
            let (rate, ratio) = (median(&rates[index]), median(&ratios[index]));
            let is_judged = *title == JUDGED && window == WINDOWS[0];
            let verdict = match (is_judged, ratio >= TARGET) {
                (false, _) => "",
                (true, true) => "  met",
                (true, false) => "  missed",
            };
            println!("{window:<8} {title:<16} {rate:>14.0} {ratio:>8.2}{verdict}");
        }
    }
    Ok(())
}
