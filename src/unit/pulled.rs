//! Where the program turns the loop of a process itself, event by event: the loop waits no longer
//! than the program wants to, and the program has its turn when that time is over.

use std::time::Duration;

use crate::error::Result;
use crate::model::connection::Connection;
use crate::model::SessionId;
use crate::os::clock;

use super::{Runtime, Unit};

impl Unit {
    /// How long the loop may wait that would wait for `patience`.
    #[inline]
    pub(super) fn wait_of(&self, patience: Option<Duration>) -> Option<Duration> {
        let Some(until_ns) = self.runtime.pulled_until_ns() else { return patience };
        let left_ns = until_ns.saturating_sub(clock::monotonic_ns());
        // Rounded up, as with timers.
        let left = Duration::from_millis(left_ns.div_ceil(1_000_000));
        Some(patience.map_or(left, |patience| patience.min(left)))
    }

    /// Lets the program go on if the time is over that it wanted to wait.
    #[inline]
    pub(super) fn give_way(&self) {
        let is_due = |until_ns| clock::monotonic_ns() >= until_ns;
        if let (true, Some(pull)) =
            (self.runtime.pulled_until_ns().is_some_and(is_due), self.runtime.hooks.pull)
        {
            (pull.pause)();
        }
    }

    /// Whether this connection is closed a little later, since the program is not called back.
    pub fn closes_later(
        &self,
        record: &Connection,
        session: SessionId,
        is_reset: bool,
    ) -> Result<bool> {
        match self.runtime.hooks.pull.filter(|_| self.is_bound(record, session)) {
            Some(pull) => (pull.takes_close)(session, is_reset),
            None => Ok(false),
        }
    }
}

impl Runtime {
    #[inline]
    fn pulled_until_ns(&self) -> Option<u64> {
        self.hooks.pull.and_then(|pull| (pull.until_ns)())
    }

    /// This process is new.
    pub(super) fn note_birth(&self) {
        if let Some(pull) = self.hooks.pull {
            (pull.begin)();
        }
    }

    /// The unit of this forked process has ended: returns when the program is done with it.
    pub(super) fn note_death(&self) {
        if let Some(pull) = self.hooks.pull {
            (pull.end)();
        }
    }
}
