//! Timers, deferred calls and the program's own descriptors, in the loop of the calling unit.

use std::os::fd::RawFd;

use crate::error::{code, Error, Result};
use crate::event::timer::TimerId;
use crate::event::Interests;
use crate::unit::timer::{DeferHook, IoHook, TimerHook};
use crate::unit::{self, Unit};

use super::run::is_taken;
use super::{refuse, Server, CONFIGURING};

impl Server {
    /// Calls `hook` after `ms` milliseconds; again and again if `is_repeated`.
    pub fn add_timer(&self, ms: i64, is_repeated: bool, hook: TimerHook) -> Result<TimerId> {
        self.with_unit(|unit| unit.add_timer(ms, is_repeated, hook))
    }

    /// Ends a timer of the calling process.
    pub fn clear_timer(&self, id: TimerId) -> Result<()> {
        self.with_unit(|unit| unit.clear_timer(id))
    }

    /// Calls `hook` once, after the events of the present round.
    pub fn defer(&self, hook: DeferHook) -> Result<()> {
        self.with_unit(|unit| unit.defer(hook))
    }
}

fn with_loop<R>(act: impl FnOnce(&Unit) -> Result<R>) -> Result<R> {
    unit::with_current(act).unwrap_or_else(|| Err(no_loop()))
}

#[cold]
fn no_loop() -> Error {
    if !is_taken() {
        return refuse(CONFIGURING);
    }
    let text = "this thread runs no callbacks of a server, so it has no loop";
    Error::new(code::WRONG_OPERATION, text)
}

/// Watches a descriptor of the program in the loop of the calling unit.
pub fn add_io(fd: RawFd, interests: Interests, hook: IoHook) -> Result<()> {
    with_loop(|unit| unit.add_io(fd, interests, hook))
}

/// Changes what it is watched for.
pub fn set_io(fd: RawFd, interests: Interests) -> Result<()> {
    with_loop(|unit| unit.set_io(fd, interests))
}

/// Watches it no longer.
pub fn remove_io(fd: RawFd) -> Result<()> {
    with_loop(|unit| unit.remove_io(fd))
}
