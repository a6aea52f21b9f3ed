//! One command, one table: tasks, and messages of workers, beside messages through a pair of unix
//! datagram sockets in C, all on one core, in the same run.
//!
//! `cargo bench --bench tasks`. Ratios are made of the times of one round, and the table shows
//! their medians. `SW_BENCH_ROUNDS` sets the number of rounds. Without `--bench`, as `cargo test`
//! runs it, the bench checks its arithmetic and ends.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The name under which a program asks for the library when it starts.
const LOADED_NAME: &str = concat!("libswoole.so.", env!("CARGO_PKG_VERSION_MAJOR"));
const MESSAGES: &str = "100000";
const ROUNDS: usize = 7;
/// What is measured, by which program, beside what, and what the ratio should be at most.
const ROWS: [(&str, &str, &str, f64); 4] = [
    ("oneway", "swoole_task", "oneway", 0.25),
    ("finish", "swoole_task", "pingpong", 0.40),
    ("wait", "swoole_task", "pingpong", 0.70),
    ("message", "swoole_message", "pingpong", 0.65),
];
const MODES: [(&str, &str); 3] = [("process", "2"), ("base", "1"), ("thread", "3")];

fn main() -> ExitCode {
    let outcome = match env::args().any(|argument| argument == "--bench") {
        true => measure(),
        false => check_self(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn check_self() -> io::Result<()> {
    match median(&mut [3.0, 1.0, 2.0]) == 2.0 && median(&mut [4.0, 1.0]) == 4.0 {
        true => Ok(()),
        false => Err(io::Error::other("the median is wrong")),
    }
}

fn measure() -> io::Result<()> {
    let rounds = match env::var("SW_BENCH_ROUNDS") {
        Ok(text) => text.parse().map_err(|_| io::Error::other("SW_BENCH_ROUNDS is no number"))?,
        Err(_) => ROUNDS,
    };
    let raw = compile("raw_datagrams", &[])?;
    let library = installed_library()?;
    let include = format!("-I{}", source_directory().join("include").display());
    let path = format!("-Wl,-rpath,{}", directory()?.display());
    let flags = [include, path, library.display().to_string()];
    for (kind, program, beside, target) in ROWS {
        let own = compile(program, &flags)?;
        for (mode, number) in MODES {
            let arguments: Vec<&str> = match kind {
                "message" => vec![number, MESSAGES],
                _ => vec![number, kind, MESSAGES],
            };
            let (mut times, mut ratios) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                let time = run(&own, &arguments)?;
                times.push(time);
                ratios.push(time / run(&raw, &[beside, MESSAGES])?);
            }
            let (time, ratio) = (median(&mut times), median(&mut ratios));
            let verdict = if ratio <= target { "met" } else { "missed" };
            println!(
                "{kind:<8} {mode:<8} {time:>6.0} ns  {ratio:>5.2} x  target {target} {verdict}"
            );
        }
    }
    Ok(())
}

/// The nanoseconds that the program prints; it runs on one core.
fn run(program: &Path, arguments: &[&str]) -> io::Result<f64> {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program).args(arguments);
    // cargo names its folders here, where an older library may lie; it would come first.
    let output = command.env_remove("LD_LIBRARY_PATH").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| {
        let written = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!("{} {arguments:?}: {text}{written}", program.display()))
    })
}

fn compile(name: &str, flags: &[String]) -> io::Result<PathBuf> {
    let program = directory()?.join(name);
    let source = source_directory().join("benches/servers").join(format!("{name}.c"));
    let mut compiler = Command::new("cc");
    compiler.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-o"]).arg(&program).arg(source);
    let output = compiler.args(flags).output()?;
    match output.status.success() {
        true => Ok(program),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

/// The library that cargo has built with the bench, under the name that programs ask for.
fn installed_library() -> io::Result<PathBuf> {
    let own = executable_directory()?;
    let above = own.parent().map(Path::to_path_buf);
    let mut places = [Some(own), above].into_iter().flatten();
    let place = places.find(|place| place.join("libswoole.so").exists());
    let place = place.ok_or_else(|| io::Error::other("libswoole.so is not built"))?;
    let installed = directory()?.join(LOADED_NAME);
    fs::copy(place.join("libswoole.so"), &installed)?;
    Ok(installed)
}

/// Where the programs are kept.
fn directory() -> io::Result<PathBuf> {
    let directory = executable_directory()?.join("task-servers");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

fn executable_directory() -> io::Result<PathBuf> {
    let executable = env::current_exe()?;
    let parent = executable.parent().map(Path::to_path_buf);
    parent.ok_or_else(|| io::Error::other("the bench stands in no directory"))
}

fn source_directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The upper one of two in the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
