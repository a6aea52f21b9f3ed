//! One command, one table: this library's echo server in BASE and PROCESS mode beside a raw epoll
//! server in C, libuv, tokio, and two bare processes with shared rings.
//!
//! `cargo bench --bench echo [-- [--quick] [part of a case's name ...]]`. All servers run at the
//! same time on one core and are loaded in turn from another one; ratios are made of the slices of
//! one round, and the table shows their medians. CPU time is user and system time of all processes
//! of a server, `calls` its system calls per request, `B/conn` its user memory per idle connection,
//! `x` a ratio to the raw server. A case is called by its message size, its connections (c) and its
//! messages in flight on each (x). `SW_BENCH_ROUNDS` sets the number of rounds, `SW_BENCH_CASES`
//! names cases, divided by commas. Without `--bench`, as `cargo test` runs it, the bench checks
//! itself and ends.

mod case;
mod churn;
#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;
mod histogram;
mod idle;
mod load;
mod report;
mod round;
mod selfcheck;
mod servers;
mod syscalls;
mod tokio_echo;

use std::env;
use std::io;
use std::process::ExitCode;

use crate::case::{Case, Work, CASES};
use crate::common::cores::{self, Cores};
use crate::report::Score;

/// The argument that makes this program the tokio server instead; the port follows.
const SERVE_TOKIO: &str = "--serve-tokio";
const ROUNDS: usize = 41;
const QUICK_ROUNDS: usize = 3;

/// How much is measured.
pub struct Options {
    rounds: usize,
    is_quick: bool,
    is_tracing: bool,
    /// Parts of the names of the cases that run; empty: all.
    names: Vec<String>,
}

/// What the command line asks for.
enum Order {
    Measure(Options),
    CheckSelf,
    ServeTokio(u16),
}

/// One message of so many bytes.
fn message(size: usize) -> Vec<u8> {
    load::pattern(size)
}

fn main() -> ExitCode {
    let outcome = read_order().and_then(|order| match order {
        Order::Measure(options) => measure(options),
        Order::CheckSelf => selfcheck::run(),
        Order::ServeTokio(port) => tokio_echo::serve(port),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn read_order() -> io::Result<Order> {
    let mut arguments = env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == SERVE_TOKIO).is_some() {
        let port = arguments.next().and_then(|port| port.parse().ok());
        return port.map(Order::ServeTokio).ok_or_else(|| io::Error::other("no port"));
    }
    let (mut is_bench, mut is_quick, mut names) = (false, false, listed_names());
    for argument in arguments {
        match argument.as_str() {
            "--bench" => is_bench = true,
            "--quick" => is_quick = true,
            // What cargo is told for its own harness comes here too.
            flag if flag.starts_with('-') => continue,
            name => names.push(name.to_owned()),
        }
    }
    if !is_bench {
        return Ok(Order::CheckSelf);
    }
    let rounds = common::rounds(if is_quick { QUICK_ROUNDS } else { ROUNDS })?;
    Ok(Order::Measure(Options { rounds, is_quick, is_tracing: syscalls::is_available(), names }))
}

fn listed_names() -> Vec<String> {
    let names = env::var("SW_BENCH_CASES").unwrap_or_default();
    names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn measure(options: Options) -> io::Result<()> {
    let launchers = servers::build_all();
    let cores = Cores::choose()?;
    let allowed = idle::connections_allowed()?;
    cores::move_to(cores.load)?;
    print_conditions(&options, cores);
    report::print_head();
    let mut score = Score::default();
    for case in CASES.iter().filter(|case| is_chosen(case, &options.names)) {
        if connections_of(case.work) > allowed {
            println!("{:<15} skipped: at most {allowed} open files are allowed\n", case.name);
            continue;
        }
        let lines = round::run_case(case, &launchers, &options, cores);
        report::print_case(case, &lines, &mut score);
    }
    println!("targets: {} met, {} missed, {} unknown", score.met, score.missed, score.unknown);
    Ok(())
}

fn print_conditions(options: &Options, cores: Cores) {
    let Cores { server, load } = cores;
    println!("servers on core {server}, load on core {load}, {} rounds", options.rounds);
    if !cores.are_apart() {
        println!("there is only one core: servers and load disturb each other, trust no ratio");
    }
    if !options.is_tracing {
        println!("strace is not installed: system calls are not counted");
    }
    println!();
}

fn is_chosen(case: &Case, names: &[String]) -> bool {
    names.is_empty() || names.iter().any(|name| case.name.contains(name.as_str()))
}

fn connections_of(work: Work) -> usize {
    match work {
        Work::Stream { connections, .. } | Work::Idle { connections, .. } => connections,
        Work::Churn { concurrent, .. } => concurrent,
    }
}
