//! The server, as a Rust program sees it; the C face is a translation of this one.
//!
//! A server is configured, run once, and finished. What may be called when is decided here.

pub mod connection;
pub mod process;
mod run;
pub mod status;
pub mod timer;

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::error::{code, Error, Result};
use crate::model::hooks::{EventKind, Hook, Hooks};
use crate::model::plan::Mode;
use crate::model::settings::{Machine, Settings, Value};
use crate::net::listener::Listener;
use crate::os::process::{cpu_count, descriptor_limit};
use crate::os::socket::SocketKind;
use crate::unit::{self, Runtime, Unit};

use process::Added;

const CONFIGURING: u8 = 0;
const RUNNING: u8 = 1;
const FINISHED: u8 = 2;

/// The bit of a socket type that asks for TLS.
const TLS: i32 = 512;

/// What is set before start.
struct Setup {
    settings: Settings,
    hooks: Hooks,
    listeners: Vec<Listener>,
    processes: Vec<Added>,
}

/// One server.
pub struct Server {
    mode: Mode,
    phase: AtomicU8,
    setup: Mutex<Setup>,
    runtime: RwLock<Option<Arc<Runtime>>>,
}

fn kind_of(number: i32) -> Result<SocketKind> {
    match number {
        1 => Ok(SocketKind::Tcp),
        3 => Ok(SocketKind::Tcp6),
        5 => Ok(SocketKind::UnixStream),
        2 | 4 | 6 => Err(Error::new(
            code::OPERATION_NOT_SUPPORT,
            format!("socket type {number} is a datagram type, which this version does not serve"),
        )),
        tls if (1..=6).contains(&(tls ^ TLS)) => Err(Error::new(
            code::OPERATION_NOT_SUPPORT,
            format!("socket type {number} asks for TLS, which this version does not offer"),
        )),
        _ => Err(Error::new(
            code::BAD_SOCKET_TYPE,
            format!("{number} is no socket type, take one of SW_SOCK_TCP to SW_SOCK_UNIX_DGRAM"),
        )),
    }
}

/// The number by which C names a kind of socket.
fn number_of(kind: SocketKind) -> i32 {
    match kind {
        SocketKind::Tcp => 1,
        SocketKind::Udp => 2,
        SocketKind::Tcp6 => 3,
        SocketKind::Udp6 => 4,
        SocketKind::UnixStream => 5,
        SocketKind::UnixDgram => 6,
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
        let kind = kind_of(kind)?;
        let number = u16::try_from(port).map_err(|_| {
            let text = format!("port {port} is not in the range 0 to 65535");
            Error::new(code::SERVER_INVALID_LISTEN_PORT, text)
        });
        let port = if kind.is_unix() { 0 } else { number? };
        let listener = Listener::bind(kind, host, port)?;
        let machine = Machine {
            cpu_count: i64::try_from(cpu_count()).unwrap_or(1),
            descriptor_limit: i64::try_from(descriptor_limit()).unwrap_or(i64::MAX),
            port_descriptor: i64::from(listener.as_raw_fd()),
        };
        let settings = Settings::new(mode, machine);
        let hooks = Hooks::default();
        let setup = Setup { settings, hooks, listeners: vec![listener], processes: Vec::new() };
        Ok(Self {
            mode,
            phase: AtomicU8::new(CONFIGURING),
            setup: Mutex::new(setup),
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
            RUNNING => Err(Error::new(
                code::WRONG_OPERATION,
                "the server is running, this is possible before start only",
            )),
            _ => Err(finished()),
        }
    }

    /// Takes a setting as text. A name that is none is logged and ignored.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        self.configure(|setup| warn_if_unknown(name, setup.settings.set_text(name, value)?))
    }

    /// Takes a setting as a number. A name that is none is logged and ignored.
    pub fn set_int(&self, name: &str, value: i64) -> Result<()> {
        self.configure(|setup| warn_if_unknown(name, setup.settings.set_int(name, value)?))
    }

    /// Takes a JSON object of settings, all or none. Names that are none are logged and ignored.
    pub fn set_json(&self, json: &[u8]) -> Result<()> {
        self.configure(|setup| {
            for name in setup.settings.set_json(json)? {
                warn_if_unknown(&name, false)?;
            }
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
            setup.hooks.set(kind, hook);
            Ok(kind)
        })
    }

    /// The port number of the first port.
    pub fn port(&self) -> Option<u16> {
        let running = self.runtime.read();
        match running.as_deref() {
            Some(runtime) => runtime.listeners.first().map(Listener::port),
            None => self.setup.lock().listeners.first().map(Listener::port),
        }
    }

    /// Hands the calling unit to `act`, if the server runs and the caller is one of its units.
    #[inline]
    fn with_unit<R>(&self, act: impl FnOnce(&Unit) -> Result<R>) -> Result<R> {
        if !self.is_running() {
            return Err(self.not_running());
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
        // A unit knows its runtime without a lock, which a signal handler must not take.
        let result = unit::with_current(|unit| unit.runtime().clone());
        match (self.is_running(), result) {
            (false, _) => Err(self.not_running()),
            (true, Some(runtime)) => Ok(act(&runtime)),
            // Never waits: the lock is held for a moment at start and end alone.
            (true, None) => match self.runtime.try_read().as_deref().and_then(Option::as_deref) {
                Some(runtime) => Ok(act(runtime)),
                None => Err(self.not_running()),
            },
        }
    }

    fn not_running(&self) -> Error {
        match self.phase.load(Ordering::Acquire) {
            FINISHED => finished(),
            _ => Error::new(code::WRONG_OPERATION, "the server is not running, start it first"),
        }
    }
}

fn finished() -> Error {
    Error::new(code::WRONG_OPERATION, "the server has ended, make a new one")
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

fn warn_if_unknown(name: &str, is_known: bool) -> Result<()> {
    if !is_known {
        log::warn!("unsupported option [{name}]");
    }
    Ok(())
}
