//! One command, one table: messages behind their length, cut and sent back by this library in BASE
//! and PROCESS mode, beside a raw epoll server in C that does the same.
//!
//! `cargo bench --bench framed [-- [--quick] [part of a case's name ...]]`. How it is measured and
//! what the columns mean stands in the bench `echo`, whose parts it uses. `SW_BENCH_ROUNDS` sets
//! the number of rounds. Without `--bench`, as `cargo test` runs it, each server is asked once.

#[path = "../echo/case.rs"]
#[allow(dead_code)]
mod case;
#[path = "../echo/churn.rs"]
#[allow(dead_code)]
mod churn;
#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;
#[path = "../echo/histogram.rs"]
#[allow(dead_code)]
mod histogram;
#[path = "../echo/idle.rs"]
#[allow(dead_code)]
mod idle;
#[path = "../echo/load.rs"]
mod load;
#[path = "../echo/report.rs"]
#[allow(dead_code)]
mod report;
#[path = "../echo/round.rs"]
mod round;
#[path = "../echo/syscalls.rs"]
#[allow(dead_code)]
mod syscalls;

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::case::Kind::{self, Base, Process};
use crate::case::Metric::{Cpu, Rate};
use crate::case::{stream, Case};
use crate::common::binaries::{compile, compile_with_library};
use crate::common::cores::{self, Cores};
use crate::common::launch::Running;
use crate::load::{Load, Until};
use crate::report::Score;
use crate::round::Launchers;

const ROUNDS: usize = 41;
const QUICK_ROUNDS: usize = 3;
const HEADER: usize = 4;
const MIB: usize = 1 << 20;

const CASES: &[Case] = &[
    stream("64B c64", (64, 64, 1), &[(Base, Cpu, 1.15), (Process, Cpu, 1.40)]),
    stream(
        "64B c64 x16",
        (64, 64, 16),
        &[(Base, Cpu, 1.3), (Base, Rate, 0.8), (Process, Cpu, 1.8), (Process, Rate, 0.55)],
    ),
    stream("64KiB c16", (64 * 1024, 16, 1), &[(Base, Cpu, 1.10), (Process, Cpu, 1.75)]),
    stream("1MiB c4", (MIB, 4, 1), &[(Base, Cpu, 1.05), (Process, Cpu, 2.0)]),
];

/// How much is measured.
pub struct Options {
    rounds: usize,
    is_quick: bool,
    is_tracing: bool,
}

/// One message of so many bytes, with its length in front.
fn message(size: usize) -> Vec<u8> {
    let body = load::pattern(size.saturating_sub(HEADER));
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}

fn main() -> ExitCode {
    common::run(measure, check_self)
}

fn build_all() -> Launchers {
    let limit = format!("package_max_length={}", 4 * MIB);
    let swoole = |mode: &str| {
        let program = compile_with_library("swoole_echo")?;
        Ok(vec![program, mode.into(), "open_length_check=1".into(), PathBuf::from(&limit)])
    };
    let raw = compile("raw_framed", &[]).map(|program| vec![program]);
    let all = [(Kind::Raw, raw), (Base, swoole("base")), (Process, swoole("process"))];
    let in_words = |command: io::Result<_>| command.map_err(|error| error.to_string());
    all.map(|(kind, command)| (kind, in_words(command))).into()
}

fn measure() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    let rounds = common::rounds(if is_quick { QUICK_ROUNDS } else { ROUNDS })?;
    let options = Options { rounds, is_quick, is_tracing: false };
    let names: Vec<&String> = arguments.iter().filter(|name| !name.starts_with('-')).collect();
    let is_chosen = |case: &&Case| names.is_empty() || names.iter().any(|n| case.name.contains(*n));
    let launchers = build_all();
    let cores = Cores::choose()?;
    cores::move_to(cores.load)?;
    println!("servers on core {}, load on core {}, {rounds} rounds\n", cores.server, cores.load);
    if !cores.are_apart() {
        println!("there is only one core: servers and load disturb each other, trust no ratio\n");
    }
    report::print_head();
    let mut score = Score::default();
    for case in CASES.iter().filter(is_chosen) {
        let lines = round::run_case(case, &launchers, &options, cores);
        report::print_case(case, &lines, &mut score);
    }
    println!("targets: {} met, {} missed, {} unknown", score.met, score.missed, score.unknown);
    Ok(())
}

/// Every server sends back what it is sent, however much is under way.
fn check_self() -> io::Result<()> {
    let cores = Cores::choose()?;
    for (kind, command) in build_all() {
        let server = Running::start(&command.map_err(io::Error::other)?, cores)?;
        for (size, in_flight) in [(HEADER + 1, 1), (64, 100), (100_000, 3), (MIB, 2)] {
            let mut load = Load::open(server.address(), (size, 2, in_flight))?;
            let run = load.run(Until::Sent(in_flight), true);
            run.map_err(|error| io::Error::other(format!("{}, {size}: {error}", kind.title())))?;
        }
    }
    Ok(())
}
