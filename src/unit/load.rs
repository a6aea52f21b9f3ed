//! What workers have to do, as they and the reactors count it for each other. It is counted only
//! where a rule of dispatching looks at it, or where requests in progress are limited.
//!
//! Reactors count what they give a worker, when they have chosen it and again when the message is
//! posted; the worker counts what it is done with. A process that dies in between leaves a
//! difference, which is gone as soon as its successor finds its inbox empty.

use crate::error::{code, Error, Result};
use crate::ipc::Inbox;
use crate::model::connection::Connection;
use crate::model::dispatch::Dispatch;
use crate::model::kind::MessageKind;
use crate::model::plan::UnitPlan;
use crate::model::{route, UnitId};

use super::{Runtime, Unit};

impl Runtime {
    /// How the reactor that this unit is finds workers.
    pub(super) fn dispatch(&self, unit: UnitId) -> Dispatch {
        let own = || Dispatch::new(&self.plan, &self.settings, None, unit);
        self.dispatches.get(unit.index()).cloned().unwrap_or_else(own)
    }

    /// How the owner of a connection finds its worker.
    pub fn dispatch_of(&self, record: &Connection) -> Option<&Dispatch> {
        self.dispatches.get(route::reactor_of(record).index())
    }

    /// Whether reactors count what they give to the worker that this unit is.
    pub(super) fn counts_load(&self, unit: &UnitPlan) -> bool {
        let is_fed = unit.roles.is_worker() && !unit.roles.is_reactor();
        is_fed && self.dispatches().any(Dispatch::counts_load)
    }

    /// Whether each connection has a worker for life.
    pub(super) fn keeps_workers(&self) -> bool {
        self.dispatches().all(Dispatch::is_for_life)
    }

    /// Whether programs are not told of the end of connections, because of the rule.
    pub(super) fn drops_events(&self) -> bool {
        !self.settings.raises_unsafe_events && self.dispatches().any(Dispatch::drops_close)
    }

    fn dispatches(&self) -> impl Iterator<Item = &Dispatch> {
        let ids = self.plan.reactors().iter();
        ids.filter_map(|id| self.dispatches.get(id.index()))
    }
}

impl Unit {
    /// This unit, a reactor, is about to give a worker a message.
    pub(super) fn claim(&self, worker: UnitId) {
        if let Some(record) = self.runtime.control.unit(worker) {
            record.claim();
        }
    }

    /// It has given it the message.
    pub(super) fn count_given(&self, worker: UnitId) {
        if let Some(record) = self.runtime.control.unit(worker) {
            record.give();
        }
    }

    /// Whether a worker has as many requests in progress as it may. If so, this unit is rung when
    /// there are less.
    #[inline]
    pub(super) fn is_full(&self, worker: UnitId, limit: Option<u64>) -> bool {
        let Some(limit) = limit else { return false };
        self.runtime.control.unit(worker).is_some_and(|record| record.await_progress(limit))
    }

    /// Whether the worker that this unit is, with a reactor of its own, has as many requests in
    /// progress as it may.
    #[inline]
    pub(super) fn has_enough(&self) -> bool {
        let limit = self.runtime.settings.worker_max_concurrency;
        limit.is_some_and(|limit| self.declared.get() >= limit)
    }

    /// Whether reactors count messages of this kind that they give to the worker that this unit is.
    #[inline]
    pub(super) fn is_counted(&self, kind: MessageKind) -> bool {
        use MessageKind::{Connect, Packet, Receive};
        self.counts_load && matches!(kind, Connect | Receive | Packet)
    }

    /// The worker is done with a message that was counted.
    pub(super) fn note_done(&self) {
        if let Some(record) = self.record() {
            record.finish_one();
            self.tell_progress();
        }
    }

    /// Whether the loop may sleep, since nothing is in the inbox.
    pub(super) fn is_out_of_work(&self, inbox: &mut Inbox) -> bool {
        if !self.counts_load {
            return inbox.prepare_sleep();
        }
        // Asked first: what was given until now is in the inbox, or was.
        let given = self.record().map(|record| record.given());
        let is_out = inbox.prepare_sleep();
        if let (Some(record), Some(given), true) =
            (self.record(), given, is_out && inbox.is_empty() && !inbox.has_part())
        {
            record.finish_all(given);
            self.tell_progress();
        }
        is_out
    }

    /// There may be less in progress: rings the reactors if one waits for that.
    fn tell_progress(&self) {
        let runtime = &self.runtime;
        if runtime.settings.worker_max_concurrency.is_none() {
            return;
        }
        if self.record().is_some_and(|record| record.take_awaited()) {
            for reactor in runtime.plan.reactors() {
                runtime.control.wiring.ring(reactor.0);
            }
        }
    }

    /// A request goes on after its callback has returned.
    pub fn begin_request(&self) -> Result<()> {
        self.declare(self.declared.get().saturating_add(1))
    }

    /// Such a request is over.
    pub fn end_request(&self) -> Result<()> {
        let less = self.declared.get().checked_sub(1).ok_or_else(|| {
            let text = "no request of this worker is in progress, see sw_server_begin_request";
            Error::new(code::WRONG_OPERATION, text)
        })?;
        self.declare(less)?;
        if self.reactor.is_some() && self.runtime.settings.worker_max_concurrency.is_some() {
            // Its own reactor may wait for this, and looks in the next turn.
            self.wake_within(0);
        }
        self.tell_progress();
        Ok(())
    }

    fn declare(&self, count: u64) -> Result<()> {
        if self.worker.is_none() {
            let text = "requests are in progress in event workers only, the caller is none";
            return Err(Error::new(code::WRONG_OPERATION, text));
        }
        self.declared.set(count);
        if let Some(record) = self.record() {
            record.set_declared(count);
        }
        Ok(())
    }
}
