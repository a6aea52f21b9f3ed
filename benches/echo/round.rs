//! Runs one case: all servers take turns, a short slice each, round after round, so that whatever
//! else the machine does meets them all alike.

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::case::{Case, Kind, Work};
use crate::churn::Churn;
use crate::common::cores::Cores;
use crate::common::launch::Running;
use crate::common::process;
use crate::idle;
use crate::load::{Load, Run, Until};
use crate::report::{Line, Sample};
use crate::syscalls;
use crate::Options;

/// How each server is started: its kind and its command line but for the port, which comes last.
/// Or, in words, why it cannot be measured here.
pub type Launchers = Vec<(Kind, Result<Vec<PathBuf>, String>)>;

const WARM_UP: Duration = Duration::from_millis(50);
/// After the last reply a server still has to fall asleep, and only then is its CPU time booked.
const SETTLE: Duration = Duration::from_millis(2);

/// One server in one case. Without `running` it gives no (more) numbers, and its line says why. The
/// client goes before its server, which so ends without connections.
struct Contestant<'a> {
    kind: Kind,
    command: &'a [PathBuf],
    running: Option<(Client, Running)>,
    line: Line,
}

enum Client {
    Stream(Load),
    Churn(Churn),
}

impl Client {
    fn open(server: &Running, work: Work) -> io::Result<Self> {
        match work {
            Work::Stream { size, connections, in_flight } => {
                Load::open(server.address(), (size, connections, in_flight)).map(Client::Stream)
            }
            Work::Churn { size, concurrent } => {
                Ok(Client::Churn(Churn::new(server.address(), size, concurrent)))
            }
            Work::Idle { .. } => Err(io::Error::other("idle connections make no load")),
        }
    }

    fn run(&mut self, limit: Duration, is_checked: bool) -> io::Result<Run> {
        match self {
            Client::Stream(load) => load.run(Until::Elapsed(limit), is_checked),
            Client::Churn(churn) => churn.run(limit),
        }
    }
}

/// The lines of the table for `case`, in the order of `launchers`.
pub fn run_case(
    case: &Case,
    launchers: &Launchers,
    options: &Options,
    cores: Cores,
) -> Vec<(Kind, Line)> {
    let mut contestants: Vec<Contestant> = launchers.iter().map(Contestant::new).collect();
    match case.work {
        Work::Idle { size, connections } => {
            for contestant in &mut contestants {
                contestant.measure_memory(size, connections, cores);
            }
        }
        Work::Stream { size, connections, in_flight } => {
            if case.counts_calls() && options.is_tracing {
                for contestant in &mut contestants {
                    contestant.count_calls((size, connections, in_flight), cores);
                }
            }
            take_turns(&mut contestants, case, options, cores);
        }
        Work::Churn { .. } => take_turns(&mut contestants, case, options, cores),
    }
    contestants.into_iter().map(|contestant| (contestant.kind, contestant.line)).collect()
}

fn take_turns(contestants: &mut [Contestant], case: &Case, options: &Options, cores: Cores) {
    for contestant in contestants.iter_mut() {
        contestant.start(case.work, cores);
    }
    for _ in 0..case.rounds(options.rounds) {
        for contestant in contestants.iter_mut() {
            contestant.take_turn(case.slice(options.is_quick));
        }
        // There and back: nobody always follows the same one, and what drifts comes out even.
        contestants.reverse();
    }
    contestants.sort_by_key(|contestant| contestant.kind);
}

impl<'a> Contestant<'a> {
    fn new((kind, command): &'a (Kind, Result<Vec<PathBuf>, String>)) -> Self {
        let (command, failure) = match command {
            Ok(command) => (command.as_slice(), None),
            Err(reason) => (Default::default(), Some(reason.clone())),
        };
        let line = Line { failure, ..Line::default() };
        Self { kind: *kind, command, running: None, line }
    }

    /// Does `step` unless the server has failed; if that fails, the server has.
    fn attempt<T>(&mut self, step: impl FnOnce(&mut Self) -> io::Result<T>) -> Option<T> {
        if self.line.failure.is_some() {
            return None;
        }
        match step(self) {
            Ok(value) => Some(value),
            Err(error) => {
                self.running = None;
                self.line.failure = Some(format!("failed: {error}"));
                None
            }
        }
    }

    fn start(&mut self, work: Work, cores: Cores) {
        self.running = self.attempt(|contestant| {
            let server = Running::start(contestant.command, cores)?;
            let client = Client::open(&server, work)?;
            Ok((client, server))
        });
    }

    fn take_turn(&mut self, limit: Duration) {
        let sample = self.attempt(|contestant| match &mut contestant.running {
            Some((client, server)) => measure_slice(server, client, limit),
            None => Err(io::Error::other("the server does not run")),
        });
        self.line.samples.extend(sample);
    }

    fn count_calls(&mut self, shape: (usize, usize, usize), cores: Cores) {
        self.line.calls = self.attempt(|it| syscalls::per_request(it.command, cores, shape));
    }

    fn measure_memory(&mut self, size: usize, connections: usize, cores: Cores) {
        self.line.memory_bytes = self.attempt(|contestant| {
            let server = Running::start(contestant.command, cores)?;
            idle::measure(&server, size, connections)
        });
    }
}

fn measure_slice(server: &Running, client: &mut Client, limit: Duration) -> io::Result<Sample> {
    client.run(WARM_UP, true)?;
    thread::sleep(SETTLE);
    let pids = server.pids()?;
    let cpu_before_ns = process::cpu_ns(&pids)?;
    let run = client.run(limit, false)?;
    thread::sleep(SETTLE);
    let cpu_ns = process::cpu_ns(&pids)? - cpu_before_ns;
    let requests = run.latencies.count() as f64;
    Ok(Sample {
        requests_per_s: requests / run.elapsed.as_secs_f64(),
        p50_us: run.latencies.quantile_us(0.50),
        p99_us: run.latencies.quantile_us(0.99),
        cpu_us: cpu_ns as f64 / 1000.0 / requests,
    })
}
