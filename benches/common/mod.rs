//! What all benches share: how servers are built, started on a core of their own and looked at, and
//! how a bench is told what to do.

pub mod binaries;
pub mod cores;
pub mod launch;
pub mod process;

use std::env;
use std::io;
use std::process::ExitCode;

/// Runs one of the two and says what went wrong. Cargo asks for measuring with `--bench`; without,
/// as `cargo test` runs it, a bench checks itself.
pub fn run(
    measure: impl FnOnce() -> io::Result<()>,
    check_self: impl FnOnce() -> io::Result<()>,
) -> ExitCode {
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

/// The number of rounds: that of `SW_BENCH_ROUNDS`, if there is one.
pub fn rounds(usual: usize) -> io::Result<usize> {
    let Ok(text) = env::var("SW_BENCH_ROUNDS") else { return Ok(usual) };
    match text.parse() {
        Ok(rounds) if rounds > 0 => Ok(rounds),
        _ => Err(io::Error::other(format!("SW_BENCH_ROUNDS is {text}, not a number above 0"))),
    }
}

/// The one in the middle, or what lies between the two in the middle; not a number if there is
/// none.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(above), 1) => *above,
        (Some(above), _) => (values[middle - 1] + above) / 2.0,
        (None, _) => f64::NAN,
    }
}

/// Fails if known values do not have the known medians.
pub fn check_median() -> io::Result<()> {
    let known: [(&[f64], f64); 3] = [(&[7.0], 7.0), (&[9.0, 1.0], 5.0), (&[3.0, 100.0, 1.0], 3.0)];
    match known.iter().all(|(values, expected)| median(values) == *expected) && median(&[]).is_nan()
    {
        true => Ok(()),
        false => Err(io::Error::other("the median is wrong")),
    }
}
