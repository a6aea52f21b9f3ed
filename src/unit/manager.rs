//! The manager: starts the workers and user processes, watches them, replaces those that end, ends
//! them all.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::error::Error;
use crate::model::control::Reload;
use crate::model::hooks::{Event, EventKind, WorkerError};
use crate::model::kind::MessageKind;
use crate::model::plan::{Roles, Start, UnitPlan};
use crate::model::worker::{Command, InHand, Leave, Stage};
use crate::model::{SessionId, UnitId};
use crate::os::process::{self, ExitStatus, Pid};
use crate::os::signal;

use super::family::{Ended, LifeId, FORCE_AFTER_NS};
use super::reload::Round;
use super::respawn::Respawn;
use super::{Timer, Unit};

/// The manager role of a unit.
#[derive(Default)]
pub(super) struct Manager {
    has_announced: Cell<bool>,
    has_ended: Cell<bool>,
    finish_at_ns: Cell<Option<u64>>,
    kill_at_ns: Cell<Option<u64>>,
    is_ending: Cell<bool>,
    has_forced: Cell<bool>,
    respawn: RefCell<Respawn>,
    round: RefCell<Option<Round>>,
    has_told_tasks: Cell<bool>,
    has_told_users: Cell<bool>,
}

impl Manager {
    /// Starts all workers. Whoever forks has no other thread yet, and the manager never has one. If
    /// one cannot be started, the server ends, and the manager stays to end those that were.
    pub(super) fn begin(&self, unit: &Rc<Unit>) {
        if unit.plan.start != Start::Thread {
            unit.runtime.control.root().set_manager_pid(process::pid());
        }
        // A manager before this one may have died in the middle of a round.
        unit.runtime.control.root().set_reloading(false);
        if unit.record().is_some_and(|record| record.generation() > 1) {
            return self.take_over(unit);
        }
        let children: Vec<UnitPlan> = children_of(unit).collect();
        for plan in &children {
            if let Err(error) = self.start(unit, plan) {
                return fail_start(unit, error);
            }
        }
    }

    /// The manager before this one has died. Its workers go on, and are replaced, one way or the
    /// other, by children of this one: only those can be seen to end in every detail.
    fn take_over(&self, unit: &Rc<Unit>) {
        // User processes have ended with it.
        have_reactors_catch_up(unit);
        let workers: Vec<UnitPlan> = workers_of(unit).collect();
        for plan in &workers {
            match unit.family.adopt(unit, plan) {
                Ok(true) => self.respawn.borrow_mut().note_start(plan.id, 0),
                Ok(false) => {}
                Err(error) => log::error!("unit {} cannot be taken over: {error}", plan.id.0),
            }
        }
        let targets = self.targets(unit, Reload::All);
        let round = Round::begin(unit, targets, unit.usual_leave(), false);
        self.round.replace(Some(round));
    }

    fn start(&self, unit: &Rc<Unit>, plan: &UnitPlan) -> Result<(), Error> {
        if plan.roles.is_task() {
            // Its predecessor may have died while there was no manager.
            unit.settle_tasks_of(plan.id);
        }
        unit.family.start(unit, plan)?;
        // Forking takes time, and several may have been forked in this turn.
        unit.refresh_now();
        self.respawn.borrow_mut().note_start(plan.id, unit.now.get().monotonic_ns);
        Ok(())
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
        for (id, life) in unit.family.take_detached(&unit.runtime) {
            self.note_end(unit, id, life, true);
        }
        while let Some(ended) = unit.family.take_ended(&unit.runtime) {
            self.bury(unit, &ended);
        }
        self.replace_missing(unit);
        self.advance_reload(unit);
        self.give_up_overdue(unit);
        self.finish_workers(unit);
        self.finish_tasks(unit);
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
        self.round.replace(None);
        unit.runtime.control.root().set_reloading(false);
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

    /// Ends the task workers once there is nobody left who hands in tasks.
    fn finish_tasks(&self, unit: &Unit) {
        let is_time = self.is_ending.get() && !unit.family.has(Roles::is_worker);
        if is_time && !self.has_told_tasks.replace(true) {
            unit.family.tell_all(&unit.runtime, Command::Finish, Roles::is_task);
        }
    }

    /// Ends the user processes once there are no workers left that could have use for them.
    fn finish_users(&self, unit: &Unit) {
        let is_time = self.is_ending.get() && !unit.family.has(Roles::is_any_worker);
        if is_time && !self.has_told_users.replace(true) {
            unit.family.end_users(&unit.runtime);
        }
    }

    /// A worker that leaves by itself and does not come to an end is ended.
    fn give_up_overdue(&self, unit: &Unit) {
        let wait_s = unit.runtime.settings.max_wait_time_s;
        if self.is_ending.get() || wait_s == 0 {
            return;
        }
        let now_ns = unit.now.get().monotonic_ns;
        let patience_ns = wait_s.saturating_mul(FORCE_AFTER_NS);
        let (overdue, next_ns) = unit.family.overdue(&unit.runtime, now_ns, patience_ns);
        if !overdue.is_empty() {
            unit.family.force(&overdue);
        }
        if let Some(next_ns) = next_ns {
            unit.wake_within(next_ns);
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

    /// Begins, continues or ends a round of reload.
    fn advance_reload(&self, unit: &Unit) {
        if self.is_ending.get() || unit.runtime.control.root().is_ending() {
            self.round.replace(None);
            return;
        }
        let is_running = self.round.borrow().is_some();
        // A round that nobody knows of is no reason to drop what somebody asks for.
        let is_hidden = self.round.borrow().as_ref().is_some_and(|round| !round.is_public);
        let root = unit.runtime.control.root();
        match if is_hidden { None } else { root.take_reload_wish() } {
            // One at a time: what is asked for meanwhile is dropped.
            Some(_) if is_running => log::info!("a reload is running, another one is not begun"),
            Some(Reload::Tasks) if unit.runtime.plan.tasks().is_empty() => {
                log::warn!("cannot reload task workers, task workers is not started");
            }
            Some(what) => self.begin_reload(unit, what),
            None => {}
        }
        let Some(mut round) = self.round.borrow_mut().take() else { return };
        if !round.advance(unit) {
            self.round.replace(Some(round));
            return;
        }
        if !round.is_public {
            return self.advance_reload(unit);
        }
        set_reloading(unit, false);
        log::info!("Server has reloaded all workers");
        unit.raise(&Event::Plain(EventKind::AfterReload));
    }

    fn begin_reload(&self, unit: &Unit, what: Reload) {
        set_reloading(unit, true);
        unit.runtime.renew_log();
        // Task workers alone leave one after the other.
        let (whom, how) = match what {
            Reload::All => ("all", unit.usual_leave()),
            // What is open in a task worker is waited for; else it has nothing to wait for.
            Reload::Tasks if unit.runtime.settings.is_task_async => ("task", unit.usual_leave()),
            Reload::Tasks => ("task", Leave::AtOnce),
        };
        log::info!("Server is reloading {whom} workers now");
        unit.raise(&Event::Plain(EventKind::BeforeReload));
        // The callback may have taken long.
        unit.refresh_now();
        // Before anybody is forked.
        unit.renew_terms();
        let round = Round::begin(unit, self.targets(unit, what), how, true);
        self.round.replace(Some(round));
    }

    fn targets(&self, unit: &Unit, what: Reload) -> Vec<(UnitId, LifeId)> {
        let life = |plan: UnitPlan| unit.family.life_of(plan.id).map(|life| (plan.id, life));
        let is_meant = |plan: &UnitPlan| what == Reload::All || plan.roles.is_task();
        workers_of(unit).filter(is_meant).filter_map(life).collect()
    }

    /// A worker has ended: the program is told if that was not in order, and what the worker had
    /// is taken back before a successor starts.
    fn bury(&self, unit: &Unit, ended: &Ended) {
        let worker = ended.plan.worker.map_or(-1, |id| i32::from(id.0));
        if let Some((pid, status)) = ended.process {
            if status.raw == 0 || is_told_user(unit, ended, status) {
                log::info!("worker {worker} ended, pid {pid}");
            } else {
                self.tell_abnormal(unit, ended, pid, status);
            }
        }
        if ended.is_detached {
            return have_reactors_catch_up(unit);
        }
        purge(unit, &ended.plan);
        unit.runtime.write_off_tasks(ended.plan.id);
        if ended.plan.roles.is_task() {
            unit.settle_tasks_of(ended.plan.id);
        }
        let record = unit.runtime.control.unit(ended.plan.id);
        let was_in_order = record.is_some_and(|record| record.stage() == Stage::Ended);
        // The successor of a worker tells the reactors that it is there; nobody does so here.
        if ended.plan.roles.is_user() && !was_in_order && !self.is_ending.get() {
            have_reactors_catch_up(unit);
        }
        self.note_end(unit, ended.plan.id, ended.life, was_in_order);
    }

    /// A worker has ended, or left its place. One that keeps doing so as soon as it has started,
    /// and before it has done anything, is started more slowly. Not so a user process whose
    /// function returns: nobody but the program knows what it has done.
    fn note_end(&self, unit: &Unit, id: UnitId, life: LifeId, was_in_order: bool) {
        let control = &unit.runtime.control;
        let requests = control
            .unit(id)
            .zip(control.counters(id))
            .map_or(0, |(record, counters)| record.life_requests(counters));
        let is_wanted = self.round.borrow().as_ref().is_some_and(|round| round.wants(life));
        let now_ns = unit.now.get().monotonic_ns;
        let is_useful = requests > 0 || unit.runtime.plan.users().contains(&id);
        // A task worker that has done something is none that fails as soon as it has started.
        let has_done_tasks = unit.runtime.life_tasks(id) > 0;
        let in_order = is_wanted || (was_in_order && is_useful) || has_done_tasks;
        let slowed = self.respawn.borrow_mut().note_end(id, now_ns, in_order);
        if slowed.is_some() && !self.is_ending.get() {
            log::warn!(
                "unit {} keeps ending as soon as it has started, it is started again at most once \
                 a second until it lives longer",
                id.0
            );
        }
    }

    fn tell_abnormal(&self, unit: &Unit, ended: &Ended, pid: Pid, status: ExitStatus) {
        let worker = ended.plan.worker.map_or(-1, |id| i32::from(id.0));
        let signal = status.signal().unwrap_or(0);
        let exit_code = status.exit_code().unwrap_or(0);
        let hand = match ended.is_detached {
            // The record is its successor's.
            true => None,
            false => unit.runtime.control.unit(ended.plan.id).and_then(|record| record.in_hand()),
        };
        log::warn!(
            "worker(pid={pid}, id={worker}) abnormal exit, status={exit_code}, signal={signal}{}",
            hand.map_or_else(String::new, |hand| in_words(unit, hand))
        );
        let error = WorkerError { worker, pid, status: status.raw, exit_code, signal };
        unit.raise(&Event::Error(error));
    }

    /// Starts a successor for each worker that is missing; while the server ends, only for those
    /// that left messages unanswered.
    fn replace_missing(&self, unit: &Rc<Unit>) {
        if self.has_forced.get() {
            return;
        }
        // A signal to all processes ends workers before this one has heard of it.
        unit.hear_signals();
        let is_ending = self.is_ending.get() || unit.runtime.control.root().is_ending();
        let is_wanted = |plan: &UnitPlan| {
            !is_ending || (unread_bytes(unit, plan) > 0 && is_served_to_the_end(unit, plan))
        };
        let missing: Vec<UnitPlan> = children_of(unit)
            .filter(|plan| unit.family.life_of(plan.id).is_none())
            .filter(is_wanted)
            .collect();
        for plan in &missing {
            let now_ns = unit.now.get().monotonic_ns;
            let wait_ns = self.respawn.borrow().wait_ns(plan.id, now_ns);
            if wait_ns > 0 && !is_ending {
                unit.wake_within(wait_ns);
                continue;
            }
            if let Err(error) = self.start(unit, plan) {
                log::error!("unit {} could not be started again: {error}", plan.id.0);
                self.respawn.borrow_mut().note_failure(plan.id, now_ns);
                unit.wake_within(self.respawn.borrow().wait_ns(plan.id, now_ns));
            }
        }
    }
}

/// Lets everybody see whether a reload runs; the root tells whoever has started the server.
fn set_reloading(unit: &Unit, is_reloading: bool) {
    unit.runtime.control.root().set_reloading(is_reloading);
    unit.runtime.control.wiring.ring(UnitId::ROOT.0);
}

/// What a worker had in its hands when it died.
fn in_words(unit: &Unit, hand: InHand) -> String {
    let what = hand.event.map_or("a call of its loop", EventKind::name);
    let whose = match hand.session {
        SessionId(0) => String::new(),
        SessionId(id) => format!(" of connection {id}"),
    };
    let for_ns = unit.now.get().monotonic_ns.saturating_sub(hand.since_ns);
    format!(", in its hands: {what}{whose} for {} ms", for_ns / 1_000_000)
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

/// The workers and user processes.
fn children_of(unit: &Unit) -> impl Iterator<Item = UnitPlan> + '_ {
    let children = unit.runtime.plan.children(unit.plan.id);
    children.filter(|plan| plan.roles.is_managed()).copied()
}

/// What a worker that has ended leaves unread, and owes somebody. Of an event worker that is what
/// reactors gave: for messages that workers send each other while they end they would be started
/// again and again.
fn unread_bytes(unit: &Unit, plan: &UnitPlan) -> u64 {
    let wiring = &unit.runtime.control.wiring;
    match plan.roles.is_task() {
        true => wiring.unread_bytes(plan.id.0),
        false => wiring.unread_own_bytes(plan.id.0),
    }
}

/// Whether what a worker has not read when the server ends is for a successor. What comes to an
/// event worker when all of them have ended are results of tasks; and a task worker that has ended
/// in order had all the time that there is.
fn is_served_to_the_end(unit: &Unit, plan: &UnitPlan) -> bool {
    let manager = unit.manager.as_ref();
    let has_told_tasks = manager.is_some_and(|manager| manager.has_told_tasks.get());
    let record = unit.runtime.control.unit(plan.id);
    let was_in_order = record.is_some_and(|record| record.stage() == Stage::Ended);
    match plan.roles {
        roles if roles.is_task() => !was_in_order,
        roles => roles.is_worker() && !roles.is_reactor() && !has_told_tasks,
    }
}

fn workers_of(unit: &Unit) -> impl Iterator<Item = UnitPlan> + '_ {
    children_of(unit).filter(|plan| plan.roles.is_any_worker())
}

/// Whether this was a user process that has ended by the signal that tells it to.
fn is_told_user(unit: &Unit, ended: &Ended, status: ExitStatus) -> bool {
    // A signal to all processes may have ended it before this one has heard of it.
    unit.hear_signals();
    let is_term = status.signal() == Some(signal::SIGTERM);
    is_term && ended.plan.roles.is_user() && unit.runtime.control.root().is_ending()
}

/// A process has died that may have done something to a connection and not said so: the reactors
/// look what the shared records say of theirs.
fn have_reactors_catch_up(unit: &Unit) {
    for reactor in unit.runtime.plan.reactors() {
        unit.post(*reactor, MessageKind::WorkerReady, SessionId(0), 0, &[]);
    }
}

/// Takes back the connections that lived in a dead worker's process.
fn purge(unit: &Unit, plan: &UnitPlan) {
    if !plan.roles.is_worker() {
        return;
    }
    let control = &unit.runtime.control;
    let last = control.root().session_round.load(std::sync::atomic::Ordering::Relaxed);
    control.connections.reap(plan.id.0, last, |id, record| record.bury(SessionId(id)));
    let lost = control.write_off(plan.id);
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
        self.begin_task_life();
        self.runtime.note_face(self.plan.id, process::pid());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hooks::Hooks;
    use crate::model::plan::{Mode, Plan};
    use crate::model::settings::{Machine, Settings};
    use crate::model::user::{Pipe, UserProcess};
    use crate::unit::Runtime;
    use std::sync::Arc;

    #[test]
    fn reactors_look_around_when_somebody_has_died_whose_successor_would_not_tell_them() {
        let machine = Machine { cpu_count: 1, descriptor_limit: 1024, port_descriptor: 3 };
        let settings = Settings::new(Mode::Process, machine).in_force();
        let plan = Plan::new(Mode::Process, &settings, 1);
        let user = UserProcess { pipe: Arc::new(Pipe::new().unwrap()), hook: Arc::new(|| {}) };
        let runtime =
            Runtime::new(plan, settings, Hooks::default(), vec![user], Vec::new()).unwrap();
        let plan = &runtime.plan;
        let of = |id: UnitId| *plan.unit(id).unwrap();
        let (user, worker) = (of(plan.users()[0]), of(plan.workers()[0]));
        let (reactor, id) = (plan.reactors()[0], plan.manager().unwrap());
        let (unit, _events) = Unit::new(Arc::new(runtime), id).unwrap();
        let mut inbox = unit.runtime.control.wiring.inbox(reactor.0).unwrap();
        let manager = unit.manager.as_ref().unwrap();
        for (plan, is_detached, wanted) in
            [(user, false, true), (worker, true, true), (worker, false, false)]
        {
            manager.bury(&unit, &Ended::killed(plan, is_detached));
            unit.tell_others();
            inbox.wake();
            let kind = inbox.next().map(|message| message.header.kind);
            assert_eq!(kind, wanted.then_some(MessageKind::WorkerReady as u8), "{plan:?}");
        }
    }
}
