//! The server, as a Rust program sees it; the C face is a translation of this one.
//!
//! A server is configured, run once, and finished. What may be called when is decided here.

mod command;
pub mod connection;
pub mod control;
pub mod datagram;
mod dispatching;
mod message;
pub mod port;
pub mod process;
mod run;
mod sending;
mod stats_file;
pub mod status;
pub mod task;
pub mod task_waits;
pub mod timer;

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::error::{code, Error, Result};
use crate::model::command::ProgramCommand;
use crate::model::hooks::{EventKind, Hook, Hooks, Pull};
use crate::model::plan::Mode;
use crate::model::settings::{Machine, Settings, Value};
use crate::net::listener::{Listener, Manner};
use crate::os::activation;
use crate::os::process::{cpu_count, descriptor_limit, pid, Pid};
use crate::unit::{self, Runtime, Unit};

use port::{PortFacts, PortSetup, Wanted};
use process::Added;

const CONFIGURING: u8 = 0;
const RUNNING: u8 = 1;
const FINISHED: u8 = 2;

/// The bit of a socket type that asks for TLS.
const TLS: i32 = 512;

/// The host that stands for the listeners that a service manager has opened.
const INHERITED: &str = "SYSTEMD";

/// The listeners that this program was started with, in their order. What they are is their own
/// matter: the type that the program names is not asked for.
fn inherited_listeners() -> Result<Vec<Listener>> {
    let refusal = |text: &str| Error::new(code::INVALID_PARAMS, format!("host SYSTEMD: {text}"));
    let descriptors = activation::inherited().map_err(|text| refusal(&text))?;
    let mut listeners = Vec::new();
    for descriptor in descriptors {
        match Listener::adopt(descriptor) {
            Ok(Some(listener)) => listeners.push(listener),
            Ok(None) => {
                log::warn!("descriptor {descriptor} neither listens nor is bound, it is left out")
            }
            Err(error) => log::warn!("descriptor {descriptor} is no socket to serve: {error}"),
        }
    }
    match listeners.is_empty() {
        true => Err(refusal(
            "none of the descriptors of LISTEN_FDS is a socket that listens or is bound",
        )),
        false => Ok(listeners),
    }
}

/// What is set before start.
struct Setup {
    settings: Settings,
    hooks: Hooks,
    ports: Vec<PortSetup>,
    processes: Vec<Added>,
    commands: Vec<ProgramCommand>,
}

/// One server.
pub struct Server {
    mode: Mode,
    phase: AtomicU8,
    /// The process that has bound the ports.
    maker: Pid,
    setup: Mutex<Setup>,
    /// What can be asked of the ports in any phase.
    facts: RwLock<Vec<PortFacts>>,
    runtime: RwLock<Option<Arc<Runtime>>>,
}

impl Drop for Server {
    /// The socket files of a server that was never started go with it, but not with the copy of it
    /// that a process forked by the program has.
    fn drop(&mut self) {
        if self.maker == pid() {
            self.setup.get_mut().remove_files();
        }
    }
}

impl Server {
    /// Makes a server with its first port, which is bound here.
    pub fn new(host: &str, port: i32, mode: i32, kind: i32) -> Result<Self> {
        let mode = Mode::from_number(mode).ok_or_else(|| {
            Error::new(
                code::INVALID_PARAMS,
                format!("{mode} is no mode, take SW_BASE, SW_PROCESS or SW_THREAD"),
            )
        })?;
        let Wanted { kind, number: port, is_tls } = port::checked(kind, port)?;
        let listeners = match host.eq_ignore_ascii_case(INHERITED) && port == 0 {
            true => inherited_listeners()?,
            false if mode.workers_listen() => vec![Listener::bind_or_join(kind, host, port)?],
            false => vec![Listener::bind(kind, host, port, Manner::default())?],
        };
        let last = listeners.iter().map(AsRawFd::as_raw_fd).max();
        let machine = Machine {
            cpu_count: i64::try_from(cpu_count()).unwrap_or(1),
            descriptor_limit: i64::try_from(descriptor_limit()).unwrap_or(i64::MAX),
            port_descriptor: i64::from(last.unwrap_or(0)),
        };
        let settings = Settings::new(mode, machine);
        let hooks = Hooks::default();
        let facts = listeners.iter().map(PortFacts::of).collect();
        // Among those that were inherited, TLS is for the streams.
        let is_single = listeners.len() == 1;
        let setup_of = |listener: Listener| {
            let has_tls = is_tls && (is_single || listener.kind().is_stream());
            PortSetup::new(listener, has_tls)
        };
        let ports = listeners.into_iter().map(setup_of).collect();
        let (processes, commands) = (Vec::new(), Vec::new());
        let setup = Setup { settings, hooks, ports, processes, commands };
        Ok(Self {
            mode,
            phase: AtomicU8::new(CONFIGURING),
            maker: pid(),
            setup: Mutex::new(setup),
            facts: RwLock::new(facts),
            runtime: RwLock::new(None),
        })
    }

    /// The mode it was made with.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether `start` has been called and has not returned.
    #[inline]
    pub fn is_running(&self) -> bool {
        self.phase.load(Ordering::Acquire) == RUNNING
    }

    fn configure<R>(&self, act: impl FnOnce(&mut Setup) -> Result<R>) -> Result<R> {
        match self.phase.load(Ordering::Acquire) {
            CONFIGURING => act(&mut self.setup.lock()),
            phase => Err(refuse(phase)),
        }
    }

    /// Takes a setting as text. A name that is none is logged and ignored.
    pub fn set(&self, name: &str, value: impl AsRef<[u8]>) -> Result<()> {
        let value = value.as_ref();
        self.configure(|setup| setup.set(|settings| settings.set_bytes(name, value), name))
    }

    /// Takes a setting as a number. A name that is none is logged and ignored.
    pub fn set_int(&self, name: &str, value: i64) -> Result<()> {
        self.configure(|setup| setup.set(|settings| settings.set_int(name, value), name))
    }

    /// Takes a JSON object of settings, all or none. Names that are none are logged and ignored.
    pub fn set_json(&self, json: &[u8]) -> Result<()> {
        self.configure(|setup| {
            let before = setup.settings.clone();
            let unknown = setup.settings.set_json(json)?;
            setup.keep_if_usable(before)?;
            setup.tell_first(|settings| settings.set_json(json).map(drop))?;
            setup.settle_addresses()?;
            unknown.iter().for_each(|name| warn_unknown(name));
            Ok(())
        })
    }

    /// The value of a setting that is or would be in force.
    pub fn setting(&self, name: &str) -> Result<Value> {
        self.setup.lock().settings.get(name).ok_or_else(|| {
            Error::new(code::INVALID_PARAMS, format!("there is no setting {name:?}"))
        })
    }

    /// Registers a callback, in place of an earlier one.
    pub fn on(&self, event: &str, hook: Hook) -> Result<EventKind> {
        self.configure(|setup| {
            let kind = event_of(event)?;
            let hooks = match setup.ports.first_mut() {
                Some(first) if kind.is_per_port() => &mut first.hooks,
                Some(_) | None => &mut setup.hooks,
            };
            hooks.set(kind, hook);
            Ok(kind)
        })
    }

    /// The program takes events itself, in every process that has any. The first one of each
    /// worker is its start, so that is raised in any case, for `started` if for nothing else.
    pub fn pull(&self, pull: Pull, started: Hook) -> Result<()> {
        self.configure(|setup| {
            if self.mode.has_worker_threads() {
                return Err(Error::new(
                    code::OPERATION_NOT_SUPPORT,
                    "workers are threads of the library in SW_THREAD mode, use sw_server_start",
                ));
            }
            setup.hooks.pull = Some(pull);
            if !setup.hooks.has(EventKind::WorkerStart) {
                setup.hooks.set(EventKind::WorkerStart, started);
            }
            Ok(())
        })
    }

    /// Hands the calling unit to `act`, if the server runs and the caller is one of its units.
    #[inline]
    fn with_unit<R>(&self, act: impl FnOnce(&Unit) -> Result<R>) -> Result<R> {
        if !self.is_running() {
            return Err(refuse(self.phase_of_rest()));
        }
        unit::with_current(act).unwrap_or_else(|| Err(self.no_unit()))
    }

    /// Why the caller is no unit although the server runs.
    #[cold]
    fn no_unit(&self) -> Error {
        let (number, text) = if unit::is_copy() {
            (code::WRONG_OPERATION, "a process that a callback has forked is none of the server's")
        } else if self.runtime.read().as_deref().map_or(true, Runtime::has_ended) {
            (code::WRONG_OPERATION, "the workers of the server have ended, nothing is left to call")
        } else {
            let text = "this thread runs no callbacks of the server, call from one that does";
            (code::SERVER_UNRELATED_THREAD, text)
        };
        Error::new(number, text)
    }

    /// Hands what all units read to `act`, in any thread, if the server runs.
    fn with_runtime<R>(&self, act: impl FnOnce(&Runtime) -> R) -> Result<R> {
        self.look(act).ok_or_else(|| refuse(self.phase_of_rest()))
    }

    /// As [`Server::with_runtime`], for what may be asked for in any phase.
    fn look<R>(&self, act: impl FnOnce(&Runtime) -> R) -> Option<R> {
        // A unit knows its runtime without a lock, which a signal handler must not take.
        let known = unit::with_current(|unit| unit.runtime().clone());
        match (self.is_running(), known) {
            (false, _) => None,
            (true, Some(runtime)) => Some(act(&runtime)),
            // Never waits: the lock is held for a moment at start and end alone.
            (true, None) => self.runtime.try_read().as_deref().and_then(Option::as_deref).map(act),
        }
    }

    /// The phase in which nothing runs: before or after. A server that is just starting has none of
    /// what runs.
    fn phase_of_rest(&self) -> u8 {
        match self.phase.load(Ordering::Acquire) {
            FINISHED => FINISHED,
            _ => CONFIGURING,
        }
    }
}

/// What a call gets that belongs into another phase than this one.
fn wrong_phase(phase: u8) -> Error {
    let text = match phase {
        CONFIGURING => "the server is not running, start it first",
        RUNNING => "the server is running, this is possible before start only",
        _ => "the server is not running, it has ended: make a new one",
    };
    Error::new(code::WRONG_OPERATION, text)
}

/// As [`wrong_phase`], and tells the log: many programs do not look at every result.
#[cold]
fn refuse(phase: u8) -> Error {
    let error = wrong_phase(phase);
    // One gate each, so that none of them is held back for another.
    match phase {
        CONFIGURING => crate::warn_limited!("{error}"),
        RUNNING => crate::warn_limited!("{error}"),
        _ => crate::warn_limited!("{error}"),
    }
    error
}

/// The event of that name.
pub fn event_of(name: &str) -> Result<EventKind> {
    EventKind::from_name(name).ok_or_else(|| {
        let error = Error::new(
            code::INVALID_PARAMS,
            format!("there is no event {name:?}, see sw_server_on"),
        );
        log::warn!("{}", error.message());
        error
    })
}

fn warn_unknown(name: &str) {
    log::warn!("unsupported option [{name}]");
}

impl Setup {
    /// Sets a value for the server, and for its first port if that has values of its own.
    fn set(&mut self, act: impl Fn(&mut Settings) -> Result<bool>, name: &str) -> Result<()> {
        let before = self.settings.clone();
        match act(&mut self.settings)? {
            true => {
                self.keep_if_usable(before)?;
                self.tell_first(|settings| act(settings).map(drop))?;
                self.settle_addresses()
            }
            false => {
                warn_unknown(name);
                Ok(())
            }
        }
    }

    /// Takes back what was set if TLS cannot use it.
    fn keep_if_usable(&mut self, before: Settings) -> Result<()> {
        let result = self.check_server_tls(&before);
        if result.is_err() {
            self.settings = before;
        }
        result
    }

    fn tell_first(&mut self, act: impl Fn(&mut Settings) -> Result<()>) -> Result<()> {
        match self.ports.first_mut().and_then(|first| first.settings.as_mut()) {
            Some(own) => act(own),
            None => Ok(()),
        }
    }
}
