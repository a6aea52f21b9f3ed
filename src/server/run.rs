//! Start and end of a server.

use std::mem::take;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crate::error::{clear_last, code, Error, Result};
use crate::log::{self as sink, Mark};
use crate::model::hooks::{Event, EventKind, Hooks};
use crate::model::plan::Plan;
use crate::model::settings::InForce;
use crate::net::listener::Listener;
use crate::os::signal::{self, SignalPlan, Signals};
use crate::unit::{self, Runtime};

use super::process::Added;
use super::{Server, Setup, CONFIGURING, FINISHED, RUNNING};

/// A server runs in this process. Signals and the identity of log lines belong to the process, so
/// there is one at a time.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// What the root does with signals while the server runs.
const ROOT_SIGNALS: SignalPlan<'static> = SignalPlan {
    watch: &[signal::SIGTERM],
    ignore: &[signal::SIGHUP, signal::SIGPIPE, signal::SIGUSR1, signal::SIGUSR2],
    default: &[signal::SIGCHLD],
};

/// The process is taken by a server as long as this lives.
struct Turn;

impl Turn {
    fn take() -> Result<Self> {
        if IS_TAKEN.swap(true, Ordering::AcqRel) {
            return Err(Error::new(
                code::SERVER_ONLY_START_ONE,
                "another server runs in this process, start this one after it has ended",
            ));
        }
        Ok(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        IS_TAKEN.store(false, Ordering::Release);
    }
}

/// What the log of this process was before a server took it; it is so again when this is dropped.
struct Voice {
    level: u8,
}

impl Voice {
    fn take() -> Self {
        Self { level: sink::level() }
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        sink::close();
        sink::set_level(self.level);
        sink::set_identity(Mark::Outside, 0);
    }
}

impl Server {
    /// Runs the server. Returns when it has ended, in the process that called it.
    pub fn start(&self) -> Result<()> {
        clear_last();
        self.check_phase()?;
        check_hooks(&self.setup.lock().hooks)?;
        let _turn = Turn::take()?;
        let switched =
            self.phase.compare_exchange(CONFIGURING, RUNNING, Ordering::AcqRel, Ordering::Acquire);
        if switched.is_err() {
            return self.check_phase();
        }
        let _voice = Voice::take();
        let result = self.run();
        self.phase.store(FINISHED, Ordering::Release);
        if let Err(error) = &result {
            log::error!("start failed: {error}");
        }
        result
    }

    fn check_phase(&self) -> Result<()> {
        self.configure(|_| Ok(()))
    }

    fn run(&self) -> Result<()> {
        let (settings, hooks, listeners, processes) = {
            let Setup { settings, hooks, listeners, processes } = &mut *self.setup.lock();
            (settings.in_force(), hooks.clone(), take(listeners), take(processes))
        };
        let plan = Plan::new(self.mode, &settings, processes.len());
        open_log(&settings);
        unit::log_as_root(&plan);
        for warning in &settings.warnings {
            log::warn!("{warning}");
        }
        for listener in &listeners {
            if let Err(error) = listener.listen(settings.backlog, settings.is_nodelay) {
                listeners.iter().for_each(unlink);
                return Err(error);
            }
        }
        if plan.is_start_event_deprecated() && hooks.has(EventKind::Start) {
            log::warn!("the start event is deprecated in this mode, use workerStart");
        }
        let users = processes.iter().map(Added::plan).collect();
        let runtime = Arc::new(Runtime::new(plan, settings, hooks, users, listeners)?);
        for (process, unit) in processes.iter().zip(runtime.plan.users()) {
            process.sit(&runtime, *unit);
        }
        self.runtime.write().replace(Arc::clone(&runtime));
        // They are handled until the last callback has returned.
        let signals = Signals::install(&ROOT_SIGNALS)
            .map_err(|error| Error::system("set up signals", &error))
            .map(Rc::new);
        let result = match &signals {
            Ok(signals) => unit::run_root(Arc::clone(&runtime), Rc::clone(signals)),
            Err(error) => Err(error.clone()),
        };
        runtime.listeners.iter().for_each(unlink);
        if result.is_ok() {
            runtime.hooks.raise(&Event::Plain(EventKind::Shutdown));
            log::info!("server has ended");
        }
        remove_pid_file(&runtime.settings.pid_file);
        self.runtime.write().take();
        result
    }

    /// Whether it runs and no end was asked for.
    pub fn is_serving(&self) -> bool {
        self.with_runtime(|runtime| !runtime.control.root().is_ending()).unwrap_or(false)
    }

    /// Asks for an orderly end. Safe in a signal handler.
    pub fn shutdown(&self) -> Result<()> {
        self.with_runtime(Runtime::request_end)
    }
}

fn check_hooks(hooks: &Hooks) -> Result<()> {
    if hooks.has(EventKind::Receive) {
        return Ok(());
    }
    Err(Error::new(
        code::SERVER_INVALID_CALLBACK,
        "require 'onReceive' callback: a stream port needs one, register it with sw_server_on",
    ))
}

fn open_log(settings: &InForce) {
    sink::set_level(settings.log_level);
    sink::set_microseconds(settings.log_has_microseconds);
    if let Err(error) = sink::set_date_format(&settings.log_date_format) {
        log::warn!("{error}");
    }
    if settings.log_file.is_empty() {
        return;
    }
    // The rotation first: it is part of the name.
    let rotation = sink::Rotation::of_number(settings.log_rotation);
    let path = Path::new(&settings.log_file);
    let opened = sink::set_rotation(rotation).and_then(|()| sink::open(path));
    if let Err(error) = opened {
        log::warn!("log_file {:?} cannot be opened: {error}", settings.log_file);
    }
}

fn remove_pid_file(path: &str) {
    if path.is_empty() {
        return;
    }
    if let Err(error) = std::fs::remove_file(path) {
        log::warn!("pid_file {path:?} cannot be removed: {error}");
    }
}

fn unlink(listener: &Listener) {
    if let Err(error) = listener.unlink() {
        log::warn!("socket file {:?} cannot be removed: {error}", listener.host());
    }
}
