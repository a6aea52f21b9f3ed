//! What a unit counts: in all, and for the port that it is about.

use std::sync::atomic::Ordering;

use crate::model::worker::UnitCounters;

use super::Unit;

impl Unit {
    /// The unit's counters, as long as they are not its successor's.
    #[inline]
    pub fn counters(&self) -> Option<&UnitCounters> {
        match self.is_detached.get() {
            false => self.runtime.control.counters(self.plan.id),
            true => None,
        }
    }

    /// What this unit counts for a port that is not the first: the first has what is left of the
    /// totals, so that a server with one port counts everything once.
    #[inline]
    pub fn port_counters(&self, port: usize) -> Option<&UnitCounters> {
        match self.is_detached.get() || port == 0 {
            false => self.runtime.control.port_counters(self.plan.id, port),
            true => None,
        }
    }

    /// Counts a send to a connection of a port.
    #[inline]
    pub fn count_send(&self, port: usize, bytes: u64) {
        if self.is_detached.get() {
            return self.count_retired_send(port, bytes);
        }
        self.count(port, |counters| {
            counters.responses.add(1);
            counters.sent_bytes.add(bytes);
        });
    }

    /// Counts something of a port, in all and for the port.
    #[inline]
    pub fn count(&self, port: usize, act: impl Fn(&UnitCounters)) {
        self.counters().into_iter().for_each(&act);
        self.port_counters(port).into_iter().for_each(&act);
    }

    #[cold]
    fn count_retired_send(&self, port: usize, bytes: u64) {
        let control = &self.runtime.control;
        let retired = control.retired(0).into_iter().chain(control.retired(port));
        for sends in retired.take(if port == 0 { 1 } else { 2 }) {
            sends.responses.fetch_add(1, Ordering::Relaxed);
            sends.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Counts a connection that was dropped at accept.
    pub(super) fn count_aborted(&self, port: usize) {
        self.count(port, |counters| counters.aborted.add(1));
    }
}
