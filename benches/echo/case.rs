//! What is measured and what must be reached: two tables that the rest of the bench walks.

use std::time::Duration;

/// A server under test. The order is the order of the table; the first is the yardstick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One thread on epoll, in C.
    Raw,
    /// One thread on libuv's loop, in C.
    Libuv,
    /// tokio's current-thread runtime.
    Tokio,
    /// Two processes and two rings in shared memory, in C: the floor of PROCESS mode.
    Rings,
    /// This library in BASE mode.
    Base,
    /// This library in PROCESS mode.
    Process,
}

impl Kind {
    pub const ALL: [Kind; 6] =
        [Kind::Raw, Kind::Libuv, Kind::Tokio, Kind::Rings, Kind::Base, Kind::Process];

    pub fn title(self) -> &'static str {
        match self {
            Kind::Raw => "raw epoll",
            Kind::Libuv => "libuv",
            Kind::Tokio => "tokio",
            Kind::Rings => "bare rings",
            Kind::Base => "BASE",
            Kind::Process => "PROCESS",
        }
    }
}

/// The shape of the load of one case.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Each connection keeps `in_flight` messages of `size` bytes under way.
    Stream { size: usize, connections: usize, in_flight: usize },
    /// `concurrent` times in parallel: connect, echo `size` bytes once, close.
    Churn { size: usize, concurrent: usize },
    /// Connections that have echoed `size` bytes once and are then left alone.
    Idle { size: usize, connections: usize },
}

/// A measured quantity that a target can bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// CPU time per request, as a ratio to the yardstick; at most.
    Cpu,
    /// Requests per second, as a ratio to the yardstick; at least.
    Rate,
    /// Median latency, as a ratio to the yardstick; at most.
    Median,
    /// System calls per request; at most.
    Calls,
    /// Bytes of user memory per idle connection; at most.
    Memory,
}

impl Metric {
    pub fn is_met(self, value: f64, bound: f64) -> bool {
        match self {
            Metric::Rate => value >= bound,
            Metric::Cpu | Metric::Median | Metric::Calls | Metric::Memory => value <= bound,
        }
    }

    pub fn relation(self) -> &'static str {
        match self {
            Metric::Cpu => "cpu<=",
            Metric::Rate => "rate>=",
            Metric::Median => "p50<=",
            Metric::Calls => "calls<=",
            Metric::Memory => "mem<=",
        }
    }
}

/// What a server has to reach in a case.
pub type Target = (Kind, Metric, f64);

/// One case: its name in the table and in the filter, its load, its targets.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub work: Work,
    pub targets: &'static [Target],
}

impl Case {
    /// Many short slices: a disturbance spoils few of them, and the median passes it over.
    pub fn slice(&self, is_quick: bool) -> Duration {
        match (is_quick, self.targets.is_empty()) {
            (true, _) => Duration::from_millis(100),
            (false, true) => Duration::from_millis(150),
            (false, false) => Duration::from_millis(250),
        }
    }

    /// How many rounds this case gets when a case with targets gets `rounds`.
    pub fn rounds(&self, rounds: usize) -> usize {
        if self.targets.is_empty() {
            rounds.div_ceil(3)
        } else {
            rounds
        }
    }

    /// The case in which the system calls are counted too.
    pub fn counts_calls(&self) -> bool {
        self.targets.iter().any(|(_, metric, _)| *metric == Metric::Calls)
    }

    pub fn targets_of(&self, kind: Kind) -> impl Iterator<Item = (Metric, f64)> + '_ {
        self.targets
            .iter()
            .filter(move |target| target.0 == kind)
            .map(|(_, metric, bound)| (*metric, *bound))
    }
}

pub const fn stream(
    name: &'static str,
    (size, connections, in_flight): (usize, usize, usize),
    targets: &'static [Target],
) -> Case {
    Case { name, work: Work::Stream { size, connections, in_flight }, targets }
}

const SMALL: usize = 64;
const MEDIUM: usize = 16 * 1024;
const LARGE: usize = 64 * 1024;

use Kind::{Base, Process};
use Metric::{Calls, Cpu, Median, Memory, Rate};

/// Every case, in the order they run. Closing connections leaves timers behind in the kernel for a
/// minute, so the case that does it in numbers stands behind the others.
pub const CASES: &[Case] = &[
    stream(
        "64B c64",
        (SMALL, 64, 1),
        &[
            (Base, Cpu, 1.10),
            (Base, Rate, 0.95),
            (Base, Calls, 2.4),
            (Process, Cpu, 1.30),
            (Process, Rate, 0.80),
            (Process, Calls, 2.4),
        ],
    ),
    stream("64B c1000", (SMALL, 1000, 1), &[(Base, Cpu, 1.10), (Process, Cpu, 1.25)]),
    stream(
        "64B c1",
        (SMALL, 1, 1),
        &[(Base, Cpu, 1.10), (Process, Cpu, 1.45), (Process, Median, 1.2)],
    ),
    stream("64B c64 x16", (SMALL, 64, 16), &[(Base, Cpu, 1.10), (Process, Cpu, 1.25)]),
    stream("64KiB c16", (LARGE, 16, 1), &[(Base, Cpu, 1.10), (Process, Cpu, 1.70)]),
    stream("64B c1 x16", (SMALL, 1, 16), &[]),
    stream("64B c1000 x16", (SMALL, 1000, 16), &[]),
    stream("16KiB c1", (MEDIUM, 1, 1), &[]),
    stream("16KiB c1 x16", (MEDIUM, 1, 16), &[]),
    stream("16KiB c64", (MEDIUM, 64, 1), &[]),
    stream("16KiB c64 x16", (MEDIUM, 64, 16), &[]),
    stream("16KiB c1000", (MEDIUM, 1000, 1), &[]),
    stream("16KiB c1000 x16", (MEDIUM, 1000, 16), &[]),
    Case {
        name: "connect",
        work: Work::Churn { size: SMALL, concurrent: 32 },
        targets: &[(Base, Cpu, 1.10), (Process, Cpu, 1.35)],
    },
    Case {
        name: "idle c10000",
        work: Work::Idle { size: SMALL, connections: 10_000 },
        targets: &[(Base, Memory, 1024.0), (Process, Memory, 1024.0)],
    },
];
