//! How a unit ends: with the server, or alone while the server runs on.
//!
//! A worker that leaves in order takes nothing new, finishes what it has begun, and waits for its
//! timers and descriptors. Where its connections are not its own, its successor works beside it
//! meanwhile: see [`Unit::detach`].

use std::cell::Cell;
use std::rc::Rc;

use crate::error::code;
use crate::ipc::Inbox;
use crate::model::plan::Start;
use crate::model::worker::{Command, Leave, Stage, Status};
use crate::model::UnitId;
use crate::os::{clock, process};

use super::{Timer, Unit};

/// How long a worker waits for the reactors to read what it has said, before its successor speaks.
const HAND_OVER_NS: u64 = 1_000_000_000;
/// How long a worker that stands for the master waits after a signal for the end of the server.
const DOUBT_NS: u64 = 100_000_000;
/// How long a reactor that reads no more takes messages before it is quiet all the same.
const QUIET_NS: u64 = 100_000_000;

/// Messages that travel in pieces, for a unit that leaves.
#[derive(Default)]
pub(super) struct Parts {
    /// One has come in part: the unit takes the rest of it.
    pub(super) are_open: Cell<bool>,
    /// Nobody begins another one.
    are_refused: Cell<bool>,
    /// Until when what this unit has for other workers shall leave before its successor speaks.
    order_until_ns: Cell<Option<u64>>,
}

/// How often a unit looks whether those have ended that it has something for.
const LOOK_AGAIN_NS: u64 = 20_000_000;

impl Unit {
    /// The unit, a worker, is to leave while the server runs on. It does so after the callback that
    /// runs; what is more urgent counts. Where nobody would replace it, the server ends.
    pub fn leave(&self, how: Leave) {
        if self.root.is_some() {
            return self.runtime.request_end();
        }
        let how = if self.is_hurried() { Leave::AtOnce } else { how };
        if self.worker.is_some() && self.leave.get() < how {
            self.leave.set(how);
        }
    }

    /// Whether the worker has been told to leave.
    #[inline]
    pub fn is_leaving(&self) -> bool {
        self.leave.get() != Leave::Stay
    }

    /// How a worker leaves that was told nothing else. A task worker does so after the task in its
    /// hands: the others are its successor's.
    pub(super) fn usual_leave(&self) -> Leave {
        match self.runtime.settings.is_reload_async && !self.is_hurried() {
            true => Leave::InOrder,
            false => Leave::AtOnce,
        }
    }

    /// A task worker that has answered when a callback returns has nothing to wait for.
    fn is_hurried(&self) -> bool {
        self.plan.roles.is_task() && !self.runtime.settings.is_task_async
    }

    /// Whether what the program has in the loop is dropped, since the worker was told to leave at
    /// once.
    pub(super) fn drops_program(&self) -> bool {
        self.leave.get() == Leave::AtOnce && !self.is_hurried()
    }

    /// What the unit was told by its parent.
    pub(super) fn command(&self) -> Command {
        self.record().map_or(Command::Run, |record| record.command())
    }

    /// Whether the unit leaves and the server stays: what it was sent is its successor's. While
    /// the server ends, a worker answers what it was given and waits until its parent tells it: a
    /// signal to the whole group reaches workers before anybody else has heard of it.
    pub(super) fn leaves_alone(&self) -> bool {
        self.is_leaving()
            && self.command() != Command::Finish
            && (self.is_detached.get() || !self.runtime.control.root().is_ending())
    }

    /// Hears what others want of this unit, between two callbacks.
    #[inline]
    pub(super) fn hear_wishes(&self) {
        let Some(record) = self.record() else { return };
        let (command, wish) = (record.command(), record.wish());
        if wish != Leave::Stay {
            self.leave(wish);
        }
        if command != Command::Run {
            self.announce_end();
            self.quiesce();
        } else if self.leaves_alone() {
            self.quiesce();
        }
    }

    /// Does what the parent, or somebody else to this unit alone, has said.
    pub(super) fn obey(self: &Rc<Self>, inbox: &mut Inbox) {
        self.hear_wishes();
        self.become_quiet(!inbox.is_empty());
        self.look_for_parts(inbox);
        let has_ended = match self.command() {
            Command::Finish => self.finish(!inbox.is_empty() || self.has_queued_tasks()),
            Command::Run | Command::Quiesce if self.leaves_alone() && self.is_in_doubt() => false,
            Command::Run | Command::Quiesce if self.leaves_alone() => {
                if self.is_past_finish_deadline()
                    || !(self.parts.are_open.get() || self.keeps_order() || self.awaits_results())
                {
                    self.detach();
                }
                self.finish(false)
            }
            Command::Run => {
                self.open_acceptor();
                self.is_idle_user()
            }
            Command::Quiesce => false,
        };
        if has_ended {
            self.stage.set(Stage::Ended);
        }
    }

    /// A signal has told this worker to end. If it stands for the master it waits a moment: when
    /// the signal went to the whole group, the server ends, and that is for this worker to tell.
    pub(super) fn doubt(&self) {
        if self.runtime.plan.face() == self.plan.id {
            let until_ns = clock::monotonic_ns().saturating_add(DOUBT_NS);
            self.doubt_until_ns.set(until_ns);
            self.agenda.set(until_ns, Timer::Deadline);
        }
    }

    fn is_in_doubt(&self) -> bool {
        self.now.get().monotonic_ns < self.doubt_until_ns.get()
    }

    /// Accepts and reads no more. The unit is quiet from now on; a reactor of workers elsewhere is
    /// when it has handed on what it was told before, see [`Unit::become_quiet`].
    pub(super) fn quiesce(&self) {
        if self.is_quiesced.replace(true) {
            return;
        }
        if let Some(acceptor) = &self.acceptor {
            acceptor.close(self);
        }
        if let Some(receiver) = &self.receiver {
            receiver.close(self);
        }
        self.leave_rest_to_others();
        if let Some(reactor) = &self.reactor {
            reactor.quiesce();
        }
        if !self.plan.roles.is_reactor_only() {
            // Whoever sees this unit quiet has got all that it said.
            self.tell_others();
            self.reach(Stage::Quiet);
        }
    }

    /// A reactor that reads no more is quiet once it has taken what had come until then: a close
    /// that somebody asked for has to reach its worker before that is told to end. Whoever goes on
    /// sending does not hold up the end for long. True when it is quiet.
    pub(super) fn become_quiet(&self, has_unread: bool) -> bool {
        if self.stage.get() >= Stage::Quiet || !self.is_quiesced.get() {
            return self.is_quiesced.get();
        }
        let now_ns = self.now.get().monotonic_ns;
        let until_ns = self.quiet_by_ns.get().unwrap_or_else(|| {
            self.set_timer(QUIET_NS, Timer::Deadline);
            now_ns.saturating_add(QUIET_NS)
        });
        self.quiet_by_ns.set(Some(until_ns));
        // Datagrams that wait for room in the inbox of a worker are not there yet.
        let has_more = has_unread || self.outbox.borrow().has_pending();
        if has_more && now_ns < until_ns {
            return false;
        }
        self.tell_others();
        self.reach(Stage::Quiet);
        true
    }

    /// What has come of a message in pieces is in private memory and cannot be left to a successor.
    /// So who leaves takes the rest, and lets nobody begin another one.
    fn look_for_parts(&self, inbox: &Inbox) {
        if self.is_detached.get() {
            return;
        }
        self.parts.are_open.set(inbox.has_part());
        // Not while it waits for others that leave, too: they might wait for this one. With a
        // successor beside it, it does not have to wait.
        let may_refuse = self.reactor.is_none() || !self.outbox.borrow().has_pending();
        let refuses_pieces = may_refuse && self.leaves_alone();
        if self.parts.are_refused.replace(refuses_pieces) != refuses_pieces {
            inbox.take_pieces(!refuses_pieces);
        }
    }

    /// Whether messages for other workers wait for room, which shall come before those of the
    /// successor. Not for long: they may be for somebody who waits for this unit to go.
    fn keeps_order(&self) -> bool {
        if !self.outbox.borrow().has_pending() {
            return false;
        }
        let now_ns = self.now.get().monotonic_ns;
        let until_ns = self.parts.order_until_ns.get().unwrap_or_else(|| {
            self.set_timer(HAND_OVER_NS, Timer::Deadline);
            now_ns.saturating_add(HAND_OVER_NS)
        });
        self.parts.order_until_ns.set(Some(until_ns));
        now_ns < until_ns
    }

    /// Leaves inbox, lanes and record to a successor, which starts at once, where the connections
    /// are a reactor's and outlive the worker. Everything that was said until now has been read
    /// when it starts, so what it says comes behind; what is said later goes through shared lanes.
    /// As long as a reactor does not read, the worker keeps its place, and tries again.
    fn detach(&self) {
        let Some(record) = self.record() else { return };
        // The tasks that are open in a task worker are noted where its successor notes its own.
        let is_apart =
            self.plan.start == Start::Fork && self.reactor.is_none() && !self.plan.roles.is_task();
        if !is_apart || self.leave.get() != Leave::InOrder {
            return;
        }
        let patience_ns = if self.is_past_finish_deadline() { 0 } else { HAND_OVER_NS };
        let deadline_ns = self.finish_deadline_ns.get().unwrap_or(0);
        let limit_ns = clock::monotonic_ns().saturating_add(patience_ns).min(deadline_ns);
        if !self.outbox.borrow_mut().hand_over(limit_ns) {
            crate::warn_limited!("a reactor has not taken in time what this worker has said");
            return;
        }
        record.detach(process::pid());
        self.is_detached.set(true);
        self.parts.are_open.set(false);
        self.runtime.control.wiring.ring(self.plan.parent.0);
    }

    /// Takes the unit's own roles down, step by step. True when nothing is left of them.
    pub(super) fn finish(&self, has_unread: bool) -> bool {
        self.quiesce();
        if self.manager.as_ref().is_some_and(|manager| !manager.has_ended()) {
            return false;
        }
        let is_late = self.is_past_finish_deadline();
        self.forget_ended();
        self.show_leaving();
        if !is_late && self.is_held(has_unread) {
            // The program is asked to let go of what it holds, and may do so at once, or not wait.
            self.announce_exit(has_unread);
            self.show_leaving();
            if self.is_held(has_unread) {
                return false;
            }
        }
        self.say_what_is_left(has_unread);
        self.end_roles();
        true
    }

    /// From now on others see that the worker ends. One that leaves at once drops what the program
    /// has in its loop.
    fn show_leaving(&self) {
        if self.worker.is_none() {
            return;
        }
        if self.leave.get() == Leave::Stay {
            self.leave.set(self.usual_leave());
        }
        if self.leave.get() == Leave::AtOnce {
            self.drop_agenda();
            self.drop_lists();
            self.forget_open_tasks();
        }
        if let Some(record) = self.record() {
            record.set_status(Status::Exit);
        }
    }

    /// Whether something keeps the unit. The program's own things keep a worker; a master is kept
    /// by them before it takes the next step, see `root.rs`.
    fn is_held(&self, has_unread: bool) -> bool {
        has_unread
            || self.parts.are_open.get()
            || self.outbox.borrow().has_pending()
            || self.reactor.as_ref().is_some_and(|reactor| reactor.has_output(self))
            || (self.worker.is_some() && self.has_plans())
    }

    /// Whether something is to come that the program has asked for.
    fn has_plans(&self) -> bool {
        self.agenda.has_work()
            || !self.later.is_empty()
            || self.awaits_results()
            || self.owes_results()
    }

    /// Workers that have ended with the server take nothing any more, and nobody comes after them.
    fn forget_ended(&self) {
        let control = &self.runtime.control;
        if !control.root().is_ending() || !self.outbox.borrow().has_pending() {
            return;
        }
        let reader = |to: u16| match UnitId(to) == control.desk() {
            true => self.runtime.plan.face(),
            false => UnitId(to),
        };
        let has_ended =
            |to| control.unit(reader(to)).is_some_and(|unit| unit.stage() == Stage::Ended);
        let lost = self.outbox.borrow_mut().forget(has_ended);
        if lost > 0 {
            log::info!("{lost} messages to workers that have ended are left");
        }
        if self.outbox.borrow().has_pending() {
            // Who ends does not ring those that wait for it.
            self.wake_within(LOOK_AGAIN_NS);
        }
    }

    fn announce_exit(&self, has_unread: bool) {
        let is_patient = self.leave.get() == Leave::InOrder && !has_unread;
        if let Some(worker) = self.worker.as_ref().filter(|_| is_patient) {
            worker.announce_exit(self);
        }
    }

    fn say_what_is_left(&self, has_unread: bool) {
        if has_unread {
            let number = code::SERVER_WORKER_UNPROCESSED_DATA;
            log::warn!("the unit ends with messages that nobody has handled (error {number})");
        }
        if self.is_held(has_unread) {
            let number = code::SERVER_WORKER_EXIT_TIMEOUT;
            log::warn!("worker exit timeout, forced termination (error {number})");
        }
    }

    fn end_roles(&self) {
        if let Some(reactor) = &self.reactor {
            if self.leaves_alone() {
                reactor.leave_post(self);
            }
            reactor.close_all(self);
        }
        if let Some(worker) = &self.worker {
            worker.end(self);
        }
        let deadline_ns = self.finish_deadline_ns.get().unwrap_or(0);
        if !self.outbox.borrow_mut().flush_blocking(deadline_ns) {
            log::warn!("messages to other processes were not taken in time");
        }
    }

    /// Whether the unit has had its `max_wait_time` for finishing, counted from the first question.
    pub(super) fn is_past_finish_deadline(&self) -> bool {
        if let Some(deadline_ns) = self.finish_deadline_ns.get() {
            return self.now.get().monotonic_ns >= deadline_ns;
        }
        // The patience begins now, and not with a turn in which a callback took long.
        self.refresh_now();
        let wait_ns = self.runtime.settings.max_wait_time_s.saturating_mul(1_000_000_000);
        self.set_timer(wait_ns, Timer::Deadline);
        let deadline_ns = self.now.get().monotonic_ns.saturating_add(wait_ns);
        self.finish_deadline_ns.set(Some(deadline_ns));
        wait_ns == 0
    }
}
