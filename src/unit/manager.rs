//! The manager: starts the workers and user processes, watches them, replaces those that end, ends
//! them all.

use std::cell::Cell;
use std::rc::Rc;

use crate::error::Error;
use crate::model::hooks::{Event, EventKind, WorkerError};
use crate::model::plan::{Roles, Start, UnitPlan};
use crate::model::worker::{Command, Stage, UnitCounters};
use crate::model::{SessionId, UnitId};
use crate::os::process::{self, ExitStatus};
use crate::os::signal;

use super::spawn::{Ended, FORCE_AFTER_NS};
use super::{Timer, Unit};

/// How long the manager waits before it tries again to start a worker.
const RETRY_NS: u64 = 1_000_000_000;

/// The manager role of a unit.
#[derive(Default)]
pub(super) struct Manager {
    has_announced: Cell<bool>,
    has_ended: Cell<bool>,
    finish_at_ns: Cell<Option<u64>>,
    kill_at_ns: Cell<Option<u64>>,
    is_ending: Cell<bool>,
    has_forced: Cell<bool>,
    has_told_users: Cell<bool>,
    retry_at_ns: Cell<Option<u64>>,
}

impl Manager {
    /// Starts all workers. Whoever forks has no other thread yet, and the manager never has one. If
    /// one cannot be started, the server ends, and the manager stays to end those that were.
    pub(super) fn begin(&self, unit: &Rc<Unit>) {
        if unit.plan.start != Start::Thread {
            unit.runtime.control.root().set_manager_pid(process::pid());
        }
        let workers: Vec<UnitPlan> = workers_of(unit).collect();
        for plan in &workers {
            if let Err(error) = unit.family.start(unit, plan) {
                return fail_start(unit, error);
            }
        }
    }

    /// Whether all workers are gone and the program was told.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.get()
    }

    /// Looks after the workers.
    pub(super) fn advance(&self, unit: &Rc<Unit>) {
        if unit.runtime.control.root().is_started() && !self.has_announced.replace(true) {
            log::info!("manager started, pid {}", process::pid());
            unit.raise(&Event::Plain(EventKind::ManagerStart));
        }
        let is_told = unit.record().is_some_and(|record| record.command() == Command::Finish);
        if is_told || unit.root.as_ref().is_some_and(|root| root.is_ending_workers()) {
            self.begin_end(unit);
        }
        while let Some(ended) = unit.family.take_ended(&unit.runtime) {
            self.bury(unit, &ended);
        }
        self.replace_missing(unit);
        self.finish_workers(unit);
        self.finish_users(unit);
        self.force_late(unit);
        if self.is_ending.get() && unit.family.is_empty() && !self.has_ended.replace(true) {
            if self.has_announced.get() {
                unit.raise(&Event::Plain(EventKind::ManagerStop));
            }
            log::info!("manager stopped, pid {}", process::pid());
        }
    }

    fn begin_end(&self, unit: &Unit) {
        if self.is_ending.replace(true) {
            return;
        }
        unit.family.tell_all(&unit.runtime, Command::Quiesce, Roles::is_reactor);
        // A callback of the manager may have taken long in this turn.
        unit.refresh_now();
        let now_ns = unit.now.get().monotonic_ns;
        let wait_s = unit.runtime.settings.max_wait_time_s;
        let wait_ns = wait_s.saturating_mul(1_000_000_000);
        self.finish_at_ns.set(Some(now_ns.saturating_add(wait_ns)));
        unit.set_timer(wait_ns, Timer::Deadline);
        if wait_ns > 0 {
            let force_ns = wait_s.saturating_mul(FORCE_AFTER_NS);
            self.kill_at_ns.set(Some(now_ns.saturating_add(force_ns)));
            unit.set_timer(force_ns, Timer::Deadline);
        }
    }

    /// Ends the workers once none of them begins anything any more: what one of them has sent to
    /// another has arrived then. A worker that is stuck is not waited for that long.
    fn finish_workers(&self, unit: &Unit) {
        let Some(finish_at_ns) = self.finish_at_ns.get() else { return };
        let runtime = &unit.runtime;
        let are_quiet = unit.family.have_reached(runtime, Stage::Quiet, Roles::is_reactor);
        if are_quiet || unit.now.get().monotonic_ns >= finish_at_ns {
            self.finish_at_ns.set(None);
            unit.family.tell_all(runtime, Command::Finish, Roles::is_worker);
        }
    }

    /// Ends the user processes once there are no workers left that could have use for them.
    fn finish_users(&self, unit: &Unit) {
        let is_time = self.is_ending.get() && !unit.family.has(Roles::is_worker);
        if is_time && !self.has_told_users.replace(true) {
            unit.family.end_users(&unit.runtime);
        }
    }

    /// Workers that do not end are ended.
    fn force_late(&self, unit: &Unit) {
        let is_late = self.kill_at_ns.get().is_some_and(|at| unit.now.get().monotonic_ns >= at);
        if is_late && !unit.family.is_empty() {
            self.has_forced.set(true);
            self.kill_at_ns.set(None);
            unit.family.force_all();
        }
    }

    /// A worker has ended: the program is told if that was not in order, and what the worker had
    /// is taken back before a successor starts.
    fn bury(&self, unit: &Unit, ended: &Ended) {
        let worker = ended.plan.worker.map_or(-1, |id| i32::from(id.0));
        if let Some((pid, status)) = ended.process {
            let signal = status.signal().unwrap_or(0);
            let exit_code = status.exit_code().unwrap_or(0);
            if status.raw == 0 || is_told_user(unit, ended, status) {
                log::info!("worker {worker} ended, pid {pid}");
            } else {
                log::warn!(
                    "worker {worker} ended abnormally, pid {pid}, exit code {exit_code}, \
                     signal {signal}"
                );
                let status = status.raw;
                let error = WorkerError { worker, pid, status, exit_code, signal };
                unit.raise(&Event::Error(error));
            }
        }
        purge(unit, &ended.plan);
    }

    /// Starts a successor for each worker that is missing; while the server ends, only for those
    /// that left messages unanswered.
    fn replace_missing(&self, unit: &Rc<Unit>) {
        let now_ns = unit.now.get().monotonic_ns;
        let may_try = self.retry_at_ns.get().map_or(true, |at| now_ns >= at);
        if self.has_forced.get() || !may_try {
            return;
        }
        // A signal to all processes ends workers before this one has heard of it.
        unit.hear_signals();
        let is_ending = self.is_ending.get() || unit.runtime.control.root().is_ending();
        let is_wanted = |plan: &UnitPlan| {
            let unread_bytes = unit.runtime.control.wiring.unread_bytes(plan.id.0);
            let is_served = plan.roles.is_worker() && !plan.roles.is_reactor();
            !is_ending || (is_served && unread_bytes > 0)
        };
        self.retry_at_ns.set(None);
        let missing: Vec<UnitPlan> = workers_of(unit)
            .filter(|plan| !unit.family.has_unit(plan.id))
            .filter(is_wanted)
            .collect();
        for plan in &missing {
            if let Err(error) = unit.family.start(unit, plan) {
                log::error!("unit {} could not be started again: {error}", plan.id.0);
                self.retry_at_ns.set(Some(now_ns.saturating_add(RETRY_NS)));
                unit.set_timer(RETRY_NS, Timer::Deadline);
                return;
            }
        }
    }
}

/// Tells the root why there will be no server.
fn fail_start(unit: &Unit, error: Error) {
    match &unit.root {
        Some(root) => root.fail(unit, error),
        None => {
            log::error!("a worker could not be started: {error}");
            unit.runtime.control.root().fail_start(error.code());
            unit.runtime.control.wiring.ring(UnitId::ROOT.0);
        }
    }
}

fn workers_of(unit: &Unit) -> impl Iterator<Item = UnitPlan> + '_ {
    let children = unit.runtime.plan.children(unit.plan.id);
    children.filter(|plan| plan.roles.is_managed()).copied()
}

/// Whether this was a user process that has ended by the signal that tells it to.
fn is_told_user(unit: &Unit, ended: &Ended, status: ExitStatus) -> bool {
    // A signal to all processes may have ended it before this one has heard of it.
    unit.hear_signals();
    let is_term = status.signal() == Some(signal::SIGTERM);
    is_term && ended.plan.roles.is_user() && unit.runtime.control.root().is_ending()
}

/// Takes back the connections that lived in a dead worker's process.
fn purge(unit: &Unit, plan: &UnitPlan) {
    if plan.roles.is_user() {
        return;
    }
    let control = &unit.runtime.control;
    let last = control.root().session_round.load(std::sync::atomic::Ordering::Relaxed);
    control.connections.reap(plan.id.0, last, |id, record| record.bury(SessionId(id)));
    let lost = control.counters(plan.id).map_or(0, UnitCounters::write_off);
    if lost > 0 {
        log::info!("{lost} connections were lost with unit {}", plan.id.0);
    }
}

impl Unit {
    /// Notes the beginning of a life in the shared record.
    pub(super) fn begin_life(&self) {
        if let (Some(record), Some(counters)) = (self.record(), self.counters()) {
            record.begin_life(self.own_id(), counters);
        }
        self.runtime.note_face(self.plan.id, process::pid());
    }
}
