//! User processes: functions of the program that run beside the workers, each with a pipe to it.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use crate::error::{code, Error, Result};
use crate::model::user::{Pipe, UserHook, UserProcess};
use crate::model::UnitId;
use crate::unit::{self, Runtime};

use super::Server;

/// One user process, from the moment it is made.
pub struct Process {
    pipe: Arc<Pipe>,
    is_added: AtomicBool,
    /// Where it runs, once its server does.
    seat: OnceLock<(Weak<Runtime>, UnitId)>,
}

/// A process that was added to a server, and what it runs.
pub(super) struct Added {
    process: Arc<Process>,
    hook: UserHook,
}

impl Process {
    /// Makes a process and its pipe; nothing runs yet.
    pub fn new() -> Result<Arc<Self>> {
        let pipe = Arc::new(Pipe::new()?);
        Ok(Arc::new(Self { pipe, is_added: AtomicBool::new(false), seat: OnceLock::new() }))
    }

    /// The caller's end of the pipe.
    pub fn socket(&self) -> RawFd {
        match unit::user::is_inside(&self.pipe) {
            true => self.pipe.inner(),
            false => self.pipe.outer(),
        }
    }

    /// Its process id, or its thread id where workers are threads; 0 while its server does not run.
    pub fn pid(&self) -> i32 {
        let Some((runtime, unit)) = self.seat.get() else { return 0 };
        let runtime = runtime.upgrade().filter(|runtime| !runtime.has_ended());
        runtime.map_or(0, |runtime| runtime.control.unit(*unit).map_or(0, |record| record.pid()))
    }
}

impl Added {
    /// What the units know of it.
    pub(super) fn plan(&self) -> UserProcess {
        UserProcess { hook: Arc::clone(&self.hook), pipe: Arc::clone(&self.process.pipe) }
    }

    /// The server begins to run.
    pub(super) fn sit(&self, runtime: &Arc<Runtime>, unit: UnitId) {
        // A server runs once and a process has one server, so the seat is empty.
        self.process.seat.get_or_init(|| (Arc::downgrade(runtime), unit));
    }
}

impl Server {
    /// Has the server run `hook` as a user process; gives its registration number.
    pub fn add_process(&self, process: &Arc<Process>, hook: UserHook) -> Result<usize> {
        self.configure(|setup| {
            if process.is_added.swap(true, Ordering::AcqRel) {
                let text = "this process was added before, make another one";
                return Err(Error::new(code::INVALID_PARAMS, text));
            }
            setup.processes.push(Added { process: Arc::clone(process), hook });
            Ok(setup.processes.len() - 1)
        })
    }
}
