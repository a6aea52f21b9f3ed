//! Managers after the first: the one fork that happens beside other threads.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::error::{code, Error, Result};
use crate::log as sink;
use crate::model::plan::{Roles, Start, UnitPlan};
use crate::model::UnitId;
use crate::os::process;

use super::respawn::Respawn;
use super::Unit;

/// How long reactors may take to end their turn and stand still.
const PARK_LIMIT: Duration = Duration::from_millis(300);

/// What the root needs to put a manager in the place of one that was killed.
#[derive(Default)]
pub(super) struct Successors {
    /// What was open before the first fork, and what a manager may have.
    inherited: RefCell<HashSet<RawFd>>,
    respawn: RefCell<Respawn>,
    has_complained: Cell<bool>,
}

impl Successors {
    /// Before the first fork.
    pub(super) fn begin(&self) {
        match process::open_descriptors() {
            Ok(open) => self.inherited.borrow_mut().extend(open),
            Err(error) => log::warn!("the open descriptors cannot be listed: {error}"),
        }
    }

    /// The manager has ended while the server serves.
    pub(super) fn note_end(&self, unit: &Unit, id: UnitId) {
        self.respawn.borrow_mut().note_end(id, unit.now.get().monotonic_ns, false);
    }

    /// Starts another manager if there is none.
    pub(super) fn replace_manager(&self, unit: &Rc<Unit>) {
        let runtime = &unit.runtime;
        let Some(plan) = runtime.plan.manager().and_then(|id| runtime.plan.unit(id)).copied()
        else {
            return;
        };
        if plan.start != Start::Fork || unit.family.life_of(plan.id).is_some() {
            return;
        }
        let now_ns = unit.now.get().monotonic_ns;
        let wait_ns = self.respawn.borrow().wait_ns(plan.id, now_ns);
        if wait_ns > 0 {
            return unit.wake_within(wait_ns);
        }
        match start_beside_threads(unit, &plan) {
            Ok(()) => {
                self.has_complained.set(false);
                self.respawn.borrow_mut().note_start(plan.id, now_ns);
            }
            Err(error) => {
                if !self.has_complained.replace(true) {
                    log::error!("no manager can be started, workers are not replaced: {error}");
                }
                self.respawn.borrow_mut().note_failure(plan.id, now_ns);
                unit.wake_within(self.respawn.borrow().wait_ns(plan.id, now_ns));
            }
        }
    }

    /// In a forked manager: closes what the root, its reactors and the program have opened since
    /// the first fork. Above all connections: a copy here would keep them open for ever.
    pub(super) fn close_later_descriptors(&self, unit: &Unit) {
        let Ok(open) = process::open_descriptors() else { return };
        let inherited = self.inherited.borrow();
        let connections = connection_descriptors(unit);
        let log_file = sink::descriptor();
        for fd in open {
            let is_first = inherited.contains(&fd) && !connections.contains(&fd);
            if !is_first && log_file != Some(fd) {
                process::close_descriptor(fd);
            }
        }
    }
}

/// Forks a manager while the reactors stand still.
fn start_beside_threads(unit: &Rc<Unit>, plan: &UnitPlan) -> Result<()> {
    let runtime = &unit.runtime;
    let reactors: Vec<UnitId> = runtime
        .plan
        .children(unit.plan.id)
        .filter(|child| child.start == Start::Thread && child.roles.has(Roles::REACTOR))
        .map(|child| child.id)
        .collect();
    let wake = || reactors.iter().for_each(|id| runtime.control.wiring.ring(id.0));
    let standstill = runtime.parking.stop(reactors.len(), PARK_LIMIT, wake);
    if standstill.is_none() {
        let text = "a reactor does not come to a standstill";
        return Err(Error::new(code::SYSTEM_CALL_FAIL, text));
    }
    unit.family.start_beside(unit, plan, reactors.len())
}

/// The descriptors of all connections. A number that was the program's may be a connection's now.
fn connection_descriptors(unit: &Unit) -> HashSet<RawFd> {
    let connections = &unit.runtime.control.connections;
    let mut found = HashSet::new();
    let mut page = [0_i64; 256];
    let mut from = 0;
    loop {
        let count = connections.scan(from, unit.last_session(), &mut page);
        for id in page.iter().take(count) {
            from = *id;
            if let Some(record) = connections.get(*id) {
                found.insert(record.descriptor.load(Ordering::Relaxed));
            }
        }
        if count < page.len() {
            return found;
        }
    }
}
