//! The table: a line for each server in each case, as soon as the case is done.

use crate::case::{Case, Kind, Metric};
use crate::common::median;

/// What one server did in one round of one case.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub requests_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub cpu_us: f64,
}

/// What is known of one server in one case; what was not measured is `None` or empty.
#[derive(Default)]
pub struct Line {
    /// One sample a round. All servers of a case have the same rounds.
    pub samples: Vec<Sample>,
    pub calls: Option<f64>,
    pub memory_bytes: Option<f64>,
    /// Why this server gave no numbers.
    pub failure: Option<String>,
}

/// How many targets were met, missed, and could not be looked at.
#[derive(Default)]
pub struct Score {
    pub met: usize,
    pub missed: usize,
    pub unknown: usize,
}

pub fn print_head() {
    println!(
        "{:<15} {:<10} {:>9} {:>9} {:>9} {:>8} {:>6} {:>6} {:>6} {:>6} {:>7}  target",
        "case",
        "server",
        "req/s",
        "p50 us",
        "p99 us",
        "cpu us",
        "cpu x",
        "rate x",
        "p50 x",
        "calls",
        "B/conn"
    );
}

/// Prints the lines of one case; the first line is the yardstick of the ratios.
pub fn print_case(case: &Case, lines: &[(Kind, Line)], score: &mut Score) {
    let yardstick = lines.first().map(|(_, line)| line.samples.as_slice()).unwrap_or_default();
    for (kind, line) in lines {
        print_line(case, *kind, line, yardstick, score);
    }
    println!();
}

fn print_line(case: &Case, kind: Kind, line: &Line, yardstick: &[Sample], score: &mut Score) {
    let value = |metric| value_of(metric, line, yardstick);
    let verdicts = case.targets_of(kind).map(|target| judge(target, value(target.0), score));
    let verdicts = verdicts.collect::<Vec<_>>().join(", ");
    if let Some(failure) = &line.failure {
        println!("{:<15} {:<10} {failure}  {verdicts}", case.name, kind.title());
        return;
    }
    let own = |field: fn(&Sample) -> f64| middle(line.samples.iter().map(field));
    println!(
        "{:<15} {:<10} {:>9} {:>9} {:>9} {:>8} {:>6} {:>6} {:>6} {:>6} {:>7}  {verdicts}",
        case.name,
        kind.title(),
        cell(own(|sample| sample.requests_per_s), 0),
        cell(own(|sample| sample.p50_us), 1),
        cell(own(|sample| sample.p99_us), 1),
        cell(own(|sample| sample.cpu_us), 3),
        cell(value(Metric::Cpu), 2),
        cell(value(Metric::Rate), 2),
        cell(value(Metric::Median), 2),
        cell(value(Metric::Calls), 2),
        cell(value(Metric::Memory), 0),
    );
}

fn judge((metric, bound): (Metric, f64), value: Option<f64>, score: &mut Score) -> String {
    let verdict = match value {
        None => {
            score.unknown += 1;
            "?"
        }
        Some(value) if metric.is_met(value, bound) => {
            score.met += 1;
            "ok"
        }
        Some(_) => {
            score.missed += 1;
            "MISS"
        }
    };
    format!("{}{bound} {verdict}", metric.relation())
}

fn value_of(metric: Metric, line: &Line, yardstick: &[Sample]) -> Option<f64> {
    let ratio = |field: fn(&Sample) -> f64| {
        middle(line.samples.iter().zip(yardstick).map(|(own, raw)| field(own) / field(raw)))
    };
    match metric {
        Metric::Cpu => ratio(|sample| sample.cpu_us),
        Metric::Rate => ratio(|sample| sample.requests_per_s),
        Metric::Median => ratio(|sample| sample.p50_us),
        Metric::Calls => line.calls,
        Metric::Memory => line.memory_bytes,
    }
}

fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

fn middle(values: impl Iterator<Item = f64>) -> Option<f64> {
    Some(median(&values.collect::<Vec<_>>())).filter(|value| !value.is_nan())
}
