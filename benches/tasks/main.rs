//! One command, one table: tasks, and messages of workers, beside messages through a pair of unix
//! datagram sockets in C, in the same run, all on one core and then wherever they like.
//!
//! `cargo bench --bench tasks`. Ratios are made of the times of one round, and the table shows
//! their medians. `SW_BENCH_ROUNDS` sets the number of rounds. Without `--bench`, as `cargo test`
//! runs it, the bench checks its arithmetic and ends.

#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;

use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::common::binaries::{compile, compile_with_library};
use crate::common::median;

const MESSAGES: &str = "100000";
const ROUNDS: usize = 7;
/// What is measured, by which program, beside what, and what the ratio should be at most.
const ROWS: [(&str, &str, &str, f64); 4] = [
    ("oneway", "swoole_task", "oneway", 0.25),
    ("finish", "swoole_task", "pingpong", 0.40),
    ("wait", "swoole_task", "pingpong", 0.70),
    ("message", "swoole_message", "pingpong", 0.65),
];
/// Both programs run on these cores.
const PLACES: [(&str, &str); 2] = [("on one core", "0"), ("on all cores", "0-1023")];
const MODES: [(&str, &str); 3] = [("process", "2"), ("base", "1"), ("thread", "3")];

fn main() -> ExitCode {
    common::run(measure, common::check_median)
}

fn measure() -> io::Result<()> {
    let rounds = common::rounds(ROUNDS)?;
    let raw = compile("raw_datagrams", &[])?;
    for (place, cores) in PLACES {
        println!("{place}");
        for (kind, program, beside, target) in ROWS {
            let own = compile_with_library(program)?;
            for (mode, number) in MODES {
                let arguments: Vec<&str> = match kind {
                    "message" => vec![number, MESSAGES],
                    _ => vec![number, kind, MESSAGES],
                };
                let (mut times, mut ratios) = (Vec::new(), Vec::new());
                for _ in 0..rounds {
                    let time = run(cores, &own, &arguments)?;
                    times.push(time);
                    ratios.push(time / run(cores, &raw, &[beside, MESSAGES])?);
                }
                let (time, ratio) = (median(&times), median(&ratios));
                let verdict = if ratio <= target { "met" } else { "missed" };
                println!(
                    "{kind:<8} {mode:<8} {time:>6.0} ns  {ratio:>5.2} x  target {target} {verdict}"
                );
            }
        }
    }
    Ok(())
}

/// The nanoseconds that the program prints.
fn run(cores: &str, program: &Path, arguments: &[&str]) -> io::Result<f64> {
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program).args(arguments);
    // cargo names its folders here, where an older library may lie; it would come first.
    let output = command.env_remove("LD_LIBRARY_PATH").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| {
        let written = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!("{} {arguments:?}: {text}{written}", program.display()))
    })
}
