//! The harness of the server tests: one body for all modes, each server a process group of its own.
//!
//! The library forks, and refuses to in a process with several threads, while a test runs in a
//! thread of many. So the test binary has a `main` of its own (`harness = false` in `Cargo.toml`)
//! and plays two parts. Started by cargo it registers one trial for each case and mode; a trial
//! starts the same binary again with the name of the case in the environment. There `main` finds
//! the name and runs the server's body on its only thread.
//!
//! ```text
//! mod common;
//! use common::prelude::*;
//!
//! fn echo(setup: &Setup) -> Outcome {
//!     let server = setup.server()?;
//!     server.on("receive", |server, event| {
//!         report!("receive {} bytes", event.data().len());
//!         report!("sent: {}", server.send(event.fd(), event.data()).is_ok());
//!     })?;
//!     server.start()?;
//!     Ok(())
//! }
//!
//! fn a_client_gets_back_what_it_sent(server: &Running) -> Outcome {
//!     let mut client = server.connect()?;
//!     client.echo(b"hello")?;
//!     server.wait_line(|line| line == "receive 5 bytes", STEP)?;
//!     Ok(())
//! }
//!
//! server_tests! {
//!     a_client_gets_back_what_it_sent: echo;
//!     some_other_thing: echo, in [Mode::Base, Mode::Thread];  // and why not in PROCESS
//! }
//! ```
//!
//! When the body of the client returns, the server is told to end by SIGTERM, unless the body has
//! waited for its end itself. It must exit with 0, leave no process and no file behind, and free
//! its port. What the server wrote is shown if anything failed.
#![allow(dead_code, unused_imports, unused_macros)]

pub mod api;
pub mod cc;
pub mod client;
pub mod hidden;
pub mod process;
pub mod pull;
pub mod report;
pub mod running;

use libtest_mimic::{Arguments, Failed, Trial};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::Duration;

pub use api::{Event, Server};
pub use client::Client;
pub use report::report_line;
pub use running::Running;

pub mod prelude {
    pub use super::{api, Client, Event, Mode, Outcome, Running, Server, Setup, STEP};
    pub use crate::{report, server_tests};
    pub use swoole::ffi::{error_codes::*, types::*};
}

/// How long one step of a test may take: a line, an answer, an end.
pub const STEP: Duration = Duration::from_secs(10);
/// How long the processes of a server may take to go when the first of them has ended.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long a server under test may live.
pub const LIFETIME: Duration = Duration::from_secs(400);

/// What a body of a test returns; `?` takes any error, also a text.
pub type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// The name and body of a test that needs no server.
pub type Plain = (&'static str, fn() -> Outcome);

/// Which cases run also with a server that takes its events one by one: none, or all but these.
pub type Pulled = Option<&'static [&'static str]>;

/// The mode that a server under test runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Base,
    Process,
    Thread,
}

impl Mode {
    pub const ALL: &'static [Self] = &[Self::Process, Self::Base, Self::Thread];

    /// The number that `sw_server_new` takes.
    pub fn number(self) -> i32 {
        match self {
            Self::Base => swoole::ffi::types::SW_BASE,
            Self::Process => swoole::ffi::types::SW_PROCESS,
            Self::Thread => swoole::ffi::types::SW_THREAD,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Process => "process",
            Self::Thread => "thread",
        }
    }
}

/// One test: what the server does, what its clients do, and in which modes.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub server: fn(&Setup) -> Outcome,
    pub client: fn(&Running) -> Outcome,
    pub modes: &'static [Mode],
}

impl Case {
    pub fn full_name(&self, mode: Mode) -> String {
        format!("{}::{}", mode.name(), self.name)
    }
}

/// What the body of a server is given.
pub struct Setup {
    pub mode: Mode,
    pub port: u16,
}

impl Setup {
    /// A server on the port of this test with two workers, which reports "ready" when it serves.
    pub fn server(&self) -> Result<Server, api::Error> {
        self.server_of(swoole::ffi::types::SW_SOCK_TCP)
    }

    /// The same, of another type of socket for 127.0.0.1.
    pub fn server_of(&self, sock_type: i32) -> Result<Server, api::Error> {
        let server = self.bare_server("127.0.0.1", sock_type)?;
        server.set("worker_num", "2")?;
        server.on("start", |_, _| {})?;
        Ok(server)
    }

    /// A server with nothing set.
    pub fn bare_server(&self, host: &str, sock_type: i32) -> Result<Server, api::Error> {
        Server::new(host, i32::from(self.port), self.mode.number(), sock_type)
    }
}

/// Declares the cases of a file and its `main`. A line without modes means every mode; `in []`
/// makes no trial, for a case that another test runs. A `[plain]` test needs no server. With
/// `[both_faces];` in front each case runs also with a server that takes its events one by one, but
/// for those that are named there.
#[macro_export]
macro_rules! server_tests {
    (
        $([both_faces $(but $($single:ident),+)?];)?
        $($name:ident: $server:expr $(, in $modes:tt)?;)*
        $([plain] $plain:ident;)*
    ) => {
        const CASES: &[$crate::common::Case] = &[$($crate::common::Case {
            name: stringify!($name),
            server: $server,
            client: $name,
            modes: $crate::server_tests!(@modes $($modes)?),
        }),*];

        fn main() -> std::process::ExitCode {
            let pulled: $crate::common::Pulled =
                $crate::server_tests!(@pulled $([$($(stringify!($single)),+)?])?);
            $crate::common::run(CASES, &[$((stringify!($plain), $plain)),*], pulled)
        }
    };
    (@pulled) => { None };
    (@pulled $single:tt) => { Some(&$single) };
    (@modes) => { $crate::common::Mode::ALL };
    (@modes $modes:tt) => { &$modes };
}

const CASE_VARIABLE: &str = "SW_TEST_SERVER";
const PORT_VARIABLE: &str = "SW_TEST_PORT";
/// Begins the names of cases whose server takes its events one by one.
const PULLED: &str = "pull::";
/// If this is set, the cases of every file run with both faces; `launch.rs` is about one of them.
const FACES_VARIABLE: &str = "SW_TEST_BOTH_FACES";

/// The `main` of a test binary: the server of one case, or all trials.
pub fn run(cases: &[Case], plain: &[Plain], pulled: Pulled) -> ExitCode {
    if let Some(name) = std::env::var_os(CASE_VARIABLE) {
        return serve(cases, &name.to_string_lossy());
    }
    let has_both = std::env::var_os(FACES_VARIABLE).is_some();
    let pulled = pulled.or(has_both.then_some(&[]));
    let mut trials: Vec<Trial> = plain
        .iter()
        .map(|(name, body)| {
            let body = *body;
            Trial::test(*name, move || body().map_err(|error| Failed::from(error.to_string())))
        })
        .collect();
    for case in cases.iter().copied() {
        for mode in case.modes.iter().copied() {
            let body = move || try_case(&case, mode).map_err(Failed::from);
            trials.push(Trial::test(case.full_name(mode), body));
            if mode != Mode::Thread && pulled.is_some_and(|single| !single.contains(&case.name)) {
                let name = format!("{PULLED}{}", case.full_name(mode));
                let other = name.clone();
                let body = move || try_case_as(&case, mode, &other).map_err(Failed::from);
                trials.push(Trial::test(name, body));
            }
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Runs the body of the server called `name`, in the process that was started for it.
fn serve(cases: &[Case], name: &str) -> ExitCode {
    if name.starts_with(PULLED) {
        pull::choose();
    }
    let name = name.trim_start_matches(PULLED);
    let found = cases.iter().find_map(|case| {
        let mode = Mode::ALL.iter().find(|mode| case.full_name(**mode) == name);
        mode.map(|mode| (case, *mode))
    });
    let port = std::env::var(PORT_VARIABLE).ok().and_then(|port| port.parse().ok());
    let (Some((case, mode)), Some(port)) = (found, port) else {
        eprintln!("no case {name}, or no port in {PORT_VARIABLE}");
        return ExitCode::from(2);
    };
    match (case.server)(&Setup { mode, port }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the body of the server failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the server of a case, runs its client and judges the end. The text of a failure holds
/// what the server reported and wrote.
pub fn try_case(case: &Case, mode: Mode) -> Result<(), String> {
    try_case_as(case, mode, &case.full_name(mode))
}

fn try_case_as(case: &Case, mode: Mode, name: &str) -> Result<(), String> {
    let running = Running::spawn(name, mode).map_err(|e| e.to_string())?;
    let client = catch_unwind(AssertUnwindSafe(|| (case.client)(&running)));
    let verdict = match client {
        Ok(Ok(())) => running.end_in_order().map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => Err(panic_text(&*panic)),
    };
    verdict.map_err(|error| format!("{error}\n{}", running.story()))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
