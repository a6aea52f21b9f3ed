//! The root: the caller of `start`. It brings the server up and takes it down, in order.
//!
//! See LIFECYCLE.md for the steps and who waits for whom.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::error::{code, describe, Error, Result};
use crate::model::plan::{Roles, UnitPlan};
use crate::model::worker::{Command, Stage};
use crate::model::UnitId;
use crate::os::process;

use super::family::FORCE_AFTER_NS;
use super::successors::Successors;
use super::{notify, Timer, Unit};

/// How much longer than workers a manager may take to end.
const MANAGER_SLACK_NS: u64 = 1_000_000_000;

/// How far the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// Its units are starting.
    Starting,
    /// It serves.
    Serving,
    /// Nothing is accepted or read any more.
    Quiescing,
    /// The manager ends the workers.
    EndingWorkers,
    /// Reactors send what waits, then close.
    EndingReactors,
    /// The root's own roles end.
    EndingSelf,
}

/// The root role of unit 0.
pub(super) struct Root {
    step: Cell<Step>,
    failure: RefCell<Option<Error>>,
    /// The service manager was told that the server serves.
    has_told_ready: Cell<bool>,
    /// And that it reloads.
    has_told_reload: Cell<bool>,
    /// When workers that the root has to end itself are ended by force.
    force_at_ns: Cell<Option<u64>>,
    /// When a manager that is stuck is ended by force.
    give_up_at_ns: Cell<Option<u64>>,
    /// When the program's own timers and descriptors in the root are not waited for any longer.
    wait_until_ns: Cell<Option<u64>>,
    successors: Successors,
}

impl Default for Root {
    fn default() -> Self {
        Self {
            step: Cell::new(Step::Starting),
            failure: RefCell::default(),
            has_told_ready: Cell::new(false),
            has_told_reload: Cell::new(false),
            force_at_ns: Cell::new(None),
            give_up_at_ns: Cell::new(None),
            wait_until_ns: Cell::new(None),
            successors: Successors::default(),
        }
    }
}

impl Root {
    /// Starts the children of the root: first what is forked, then what is a thread.
    pub(super) fn begin(&self, unit: &Rc<Unit>) -> Result<()> {
        // Before anything that could raise the start event.
        write_pid_file(&unit.runtime.settings.pid_file);
        self.successors.begin();
        let children: Vec<UnitPlan> = unit.runtime.plan.children(unit.plan.id).copied().collect();
        for plan in children.iter().filter(|plan| !plan.roles.is_managed()) {
            if let Err(error) = unit.family.start(unit, plan) {
                self.fail(unit, error);
                break;
            }
        }
        Ok(())
    }

    /// What `start` returns.
    pub(super) fn verdict(&self, unit: &Unit) -> Result<()> {
        let own = self.failure.borrow_mut().take();
        match (unit.runtime.control.root().start_failure(), own) {
            (0, None) => Ok(()),
            (0, Some(error)) => Err(error),
            (number, _) => {
                let text = format!("start the workers: {}", describe(number));
                Err(Error::new(number, text))
            }
        }
    }

    /// Whether a manager in the same unit has to end the workers now.
    pub(super) fn is_ending_workers(&self) -> bool {
        self.step.get() >= Step::EndingWorkers
    }

    pub(super) fn fail(&self, unit: &Unit, error: Error) {
        log::error!("the server could not start: {error}");
        self.failure.borrow_mut().get_or_insert(error);
        unit.runtime.control.root().request_end();
    }

    /// Takes the next step, if what it waits for has happened.
    /// `has_unread`: messages wait in the root's inbox.
    pub(super) fn advance(&self, unit: &Rc<Unit>, has_unread: bool) -> bool {
        if unit.manager.is_none() {
            while let Some(ended) = unit.family.take_ended(&unit.runtime) {
                self.note_loss(unit, &ended.plan);
            }
            self.force_late(unit);
            self.give_up_manager(unit);
            if self.step.get() == Step::Serving {
                self.successors.replace_manager(unit);
            }
        }
        let has_moved = self.take_step(unit, has_unread);
        self.tell_ready(unit);
        self.tell_reload(unit);
        has_moved
    }

    /// Once the server serves. Where each worker listens for itself, one of them must do so.
    fn tell_ready(&self, unit: &Unit) {
        let runtime = &unit.runtime;
        let is_up = |id: &UnitId| {
            runtime.control.unit(*id).is_some_and(|record| record.stage() == Stage::Running)
        };
        let is_listening =
            || !runtime.settings.opens_own_listeners || runtime.plan.workers().iter().any(is_up);
        if self.step.get() == Step::Serving && !self.has_told_ready.get() && is_listening() {
            self.has_told_ready.set(true);
            notify::ready(runtime);
        }
    }

    /// When a reload begins and when it is over.
    fn tell_reload(&self, unit: &Unit) {
        let is_reloading = unit.runtime.control.root().is_reloading();
        let is_serving = self.step.get() == Step::Serving;
        if self.has_told_reload.replace(is_reloading) == is_reloading || !is_serving {
            return;
        }
        match is_reloading {
            true => notify::reloading(),
            false => notify::ready(&unit.runtime),
        }
    }

    fn take_step(&self, unit: &Rc<Unit>, has_unread: bool) -> bool {
        let runtime = &unit.runtime;
        let is_ending = runtime.control.root().is_ending();
        let next = match self.step.get() {
            Step::Starting if self.has_failed(unit) => self.begin_end(unit),
            // Also if the end was asked for: what is raised at the end was begun then.
            Step::Starting if self.is_up(unit) => {
                self.open(unit);
                Step::Serving
            }
            Step::Serving if is_ending => self.begin_end(unit),
            Step::Quiescing
                if self.have_reactors_reached(unit, Stage::Quiet)
                    && unit.become_quiet(has_unread)
                    && !self.is_held(unit) =>
            {
                unit.family.tell_all(runtime, Command::Finish, Roles::is_manager);
                self.set_patience(unit);
                self.adopt_workers(unit);
                Step::EndingWorkers
            }
            Step::EndingWorkers if self.are_workers_gone(unit) => {
                unit.family.tell_all(runtime, Command::Finish, Roles::is_reactor_only);
                Step::EndingReactors
            }
            Step::EndingReactors if unit.family.is_empty() => Step::EndingSelf,
            Step::EndingSelf => {
                if unit.finish(has_unread) {
                    unit.stage.set(Stage::Ended);
                }
                return false;
            }
            _ => return false,
        };
        self.step.set(next);
        true
    }

    fn has_failed(&self, unit: &Unit) -> bool {
        let is_manager_failed = unit.runtime.control.root().start_failure() != 0;
        is_manager_failed || self.failure.borrow().is_some()
    }

    /// Whether the reactors run and all workers were started; how far those are matters to nobody.
    fn is_up(&self, unit: &Unit) -> bool {
        unit.family.have_reached(&unit.runtime, Stage::Running, Roles::is_manager)
            && self.have_reactors_reached(unit, Stage::Running)
    }

    fn have_reactors_reached(&self, unit: &Unit, stage: Stage) -> bool {
        unit.family.have_reached(&unit.runtime, stage, Roles::is_reactor_only)
    }

    /// The server is up: the program is told, then connections are taken.
    fn open(&self, unit: &Unit) {
        let control = &unit.runtime.control;
        control.root().set_started();
        if let Some(manager) = unit.runtime.plan.manager() {
            control.wiring.ring(manager.0);
        }
        unit.announce_start();
        log::info!("server started, pid {}", process::pid());
        control.root().open();
        unit.open_acceptor();
        for plan in unit.runtime.plan.units() {
            control.wiring.ring(plan.id.0);
        }
    }

    fn begin_end(&self, unit: &Unit) -> Step {
        log::info!("server is ending, pid {}", process::pid());
        if self.has_told_ready.get() {
            notify::stopping();
        }
        if self.step.get() == Step::Serving {
            unit.announce_end();
        }
        unit.quiesce();
        unit.family.tell_all(&unit.runtime, Command::Quiesce, Roles::is_reactor_only);
        unit.set_timer(0, Timer::Deadline);
        Step::Quiescing
    }

    /// Whether the program has timers or descriptors in the root that it is given time for. A root
    /// that is a worker is asked by `finish`, and one that is a manager does short work only.
    fn is_held(&self, unit: &Unit) -> bool {
        if unit.worker.is_some() || unit.manager.is_some() || !unit.agenda.has_work() {
            return false;
        }
        let now_ns = unit.now.get().monotonic_ns;
        let wait_ns = unit.runtime.settings.max_wait_time_s.saturating_mul(1_000_000_000);
        let until_ns = self.wait_until_ns.get().unwrap_or_else(|| {
            unit.set_timer(wait_ns, Timer::Deadline);
            now_ns.saturating_add(wait_ns)
        });
        self.wait_until_ns.set(Some(until_ns));
        if now_ns < until_ns {
            return true;
        }
        let number = code::SERVER_WORKER_EXIT_TIMEOUT;
        log::warn!("graceful shutdown failed, timers or descriptors are left (error {number})");
        unit.drop_agenda();
        false
    }

    /// In a forked child: closes what was opened since the first fork.
    pub(super) fn close_later_descriptors(&self, unit: &Unit) {
        if self.step.get() >= Step::Serving {
            self.successors.close_later_descriptors(unit);
        }
    }

    fn are_workers_gone(&self, unit: &Unit) -> bool {
        match &unit.manager {
            Some(manager) => manager.has_ended(),
            None => !unit.family.has(Roles::is_manager) && !unit.family.has(Roles::is_any_worker),
        }
    }

    /// Ends workers whose manager is gone.
    fn end_adopted(&self, unit: &Unit) {
        let wait_s = unit.runtime.settings.max_wait_time_s;
        if unit.manager.is_some() || !unit.family.has(Roles::is_any_worker) {
            return;
        }
        unit.family.tell_all(&unit.runtime, Command::Finish, Roles::is_any_worker);
        if wait_s > 0 {
            let wait_ns = wait_s.saturating_mul(FORCE_AFTER_NS);
            self.force_at_ns.set(Some(unit.now.get().monotonic_ns.saturating_add(wait_ns)));
            unit.set_timer(wait_ns, Timer::Deadline);
        }
    }

    /// From now on the manager ends the workers. It has its own patience with them, and is given up
    /// itself some time later.
    fn set_patience(&self, unit: &Unit) {
        let wait_s = unit.runtime.settings.max_wait_time_s;
        if wait_s > 0 {
            let wait_ns = wait_s.saturating_mul(FORCE_AFTER_NS).saturating_add(MANAGER_SLACK_NS);
            self.give_up_at_ns.set(Some(unit.now.get().monotonic_ns.saturating_add(wait_ns)));
            unit.set_timer(wait_ns, Timer::Deadline);
        }
    }

    /// A manager that is stuck, in a callback of the program, is ended; its workers are adopted.
    fn give_up_manager(&self, unit: &Unit) {
        let is_late = self.give_up_at_ns.get().is_some_and(|at| unit.now.get().monotonic_ns >= at);
        if is_late {
            self.give_up_at_ns.set(None);
            unit.family.force_manager();
        }
    }

    fn force_late(&self, unit: &Unit) {
        let is_late = self.force_at_ns.get().is_some_and(|at| unit.now.get().monotonic_ns >= at);
        if is_late {
            self.force_at_ns.set(None);
            unit.family.force_all();
        }
    }

    /// The server ends and has no manager. Workers that it has left are watched and ended from
    /// here.
    fn adopt_workers(&self, unit: &Unit) {
        let runtime = &unit.runtime;
        let Some(manager) = runtime.plan.manager().filter(|id| runtime.plan.is_forked(*id)) else {
            return;
        };
        let has_ended_in_order =
            runtime.control.unit(manager).is_some_and(|record| record.stage() == Stage::Ended);
        if unit.family.has(Roles::is_manager) || has_ended_in_order {
            return;
        }
        // User processes have ended with it.
        for plan in runtime.plan.children(manager).filter(|plan| !plan.roles.is_user()) {
            if let Err(error) = unit.family.adopt(unit, plan) {
                log::error!("unit {} is without a manager and is not watched: {error}", plan.id.0);
            }
        }
        self.end_adopted(unit);
    }

    /// A child of the root has ended, which only the end of the server should bring about.
    fn note_loss(&self, unit: &Unit, plan: &UnitPlan) {
        match self.step.get() {
            Step::Starting => {
                let text = format!("unit {} ended before the server was up", plan.id.0);
                self.fail(unit, Error::new(code::SYSTEM_CALL_FAIL, text));
            }
            Step::Serving if plan.roles.has(Roles::MANAGER) => {
                log::error!("the manager process has ended, another one is started");
                self.successors.note_end(unit, plan.id);
            }
            Step::Serving if plan.roles.is_any_worker() => {
                log::error!("unit {} has ended and nobody replaces it", plan.id.0);
            }
            Step::Serving => {
                log::error!("a reactor has ended, the server ends");
                unit.runtime.control.root().request_end();
            }
            Step::EndingWorkers if plan.roles.has(Roles::MANAGER) => self.adopt_workers(unit),
            _ => {}
        }
    }
}

fn write_pid_file(path: &str) {
    if path.is_empty() {
        return;
    }
    if let Err(error) = std::fs::write(path, process::pid().to_string()) {
        log::warn!("pid_file {path:?} cannot be written: {error}");
    }
}
