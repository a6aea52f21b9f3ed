//! The task worker: runs the program's task callback, one task at a time, and answers.
//!
//! What it has claimed and not settled is in its hands: see `ipc/tally.rs`. When it dies, whoever
//! starts its successor tells those who wait for these tasks that they have failed.

mod open;

use std::cell::Cell;

use crate::error::{code, Error, Result};
use crate::ipc::{Header, Payload};
use crate::model::hooks::{Event, EventKind, TaskEvent};
use crate::model::kind::MessageKind;
use crate::model::settings::InForce;
use crate::model::task::flag;
use crate::model::worker::Stage;
use crate::model::{SessionId, UnitId};
use crate::os::clock;

use super::tasks::is_waited_for;
use super::worker::limit_of;
use super::Unit;
use open::OpenTasks;

/// The task role of a unit.
pub(super) struct TaskWorker {
    /// The task whose callback runs.
    current: Cell<Option<Header>>,
    /// It was answered.
    is_answered: Cell<bool>,
    /// Those that are not answered yet, where this may be later.
    open: Option<OpenTasks>,
    /// Tasks since this life began.
    done: Cell<u64>,
    /// Tasks after which it leaves; 0: never.
    limit: u64,
}

impl TaskWorker {
    pub(super) fn new(settings: &InForce) -> Self {
        Self {
            current: Cell::new(None),
            is_answered: Cell::new(false),
            open: settings.is_task_async.then(OpenTasks::default),
            done: Cell::new(0),
            limit: limit_of(settings.task_max_request, settings.task_max_request_grace),
        }
    }

    /// Tasks since this life began.
    pub(super) fn done(&self) -> u64 {
        self.done.get()
    }

    /// Runs one task.
    pub(super) fn run(&self, unit: &Unit, header: &Header, payload: &Payload<'_>) {
        if matches!(payload, Payload::Lost) {
            return unit.fail_task(unit.plan.id, header);
        }
        let event = TaskEvent {
            id: header.session,
            worker: unit.worker_of(UnitId(header.source)),
            flags: header.flags,
            handed_ns: header.time,
            data: payload,
        };
        let Some(worker) = &unit.worker else { return };
        self.current.set(Some(*header));
        self.is_answered.set(false);
        let raise = || unit.raise(&Event::Task(event));
        worker.call(unit, Some(EventKind::Task), SessionId(0), raise);
        self.current.set(None);
        if let Some(open) = &self.open {
            unit.keep_task(open, header, self.is_answered.get());
        }
        self.done.set(self.done.get() + 1);
        if self.limit > 0 && self.done.get() >= self.limit {
            unit.leave(unit.usual_leave());
        }
    }
}

impl Unit {
    /// Answers the task whose callback runs. Waits while the inbox of whoever handed it in is full:
    /// an answer that was taken outlives this process.
    pub fn answer_task(&self, data: &[u8]) -> Result<()> {
        let current = self.task.as_ref().and_then(|task| task.current.get());
        let Some(task) = current else {
            let text = "no task is in hand here, answer inside of the task callback";
            return Err(Error::new(code::OPERATION_NOT_SUPPORT, text));
        };
        self.give_answer(&task, data)?;
        if let Some(task) = &self.task {
            task.is_answered.set(true);
        }
        Ok(())
    }

    fn give_answer(&self, task: &Header, data: &[u8]) -> Result<()> {
        if task.flags & flag::NO_REPLY != 0 {
            let text = "nobody waits for an answer: the task was not handed in by a worker";
            log::warn!("{text}");
            return Err(Error::new(code::OPERATION_NOT_SUPPORT, text));
        }
        self.warn_if_big(data.len());
        self.note_length(data.len());
        match is_waited_for(task) {
            true => self.answer_wait(task, data),
            false => self.send_answer(task, data),
        }
    }

    fn send_answer(&self, task: &Header, data: &[u8]) -> Result<()> {
        let to = UnitId(task.source);
        if self.has_gone(to) {
            let text = format!("the server ends, and worker {} has", self.worker_of(to));
            return Err(Error::new(code::SERVER_WORKER_TERMINATED, text));
        }
        let header = Header {
            flags: task.flags,
            time: clock::wall_ns(),
            ..self.header(MessageKind::TaskResult, SessionId(task.session), task.extra)
        };
        let mut outbox = self.outbox.borrow_mut();
        if !outbox.post(to.0, &header, &[data]) {
            let text = format!("no memory for an answer of {} bytes", data.len());
            return Err(Error::new(code::MALLOC_FAIL, text));
        }
        if outbox.is_blocked(to.0) && !self.wait_for_room(&mut outbox, to) {
            outbox.withdraw(to.0);
            let text = format!("worker {} did not take the result in time", self.worker_of(to));
            log::warn!("send result to worker timed out: {text}");
            return Err(Error::new(code::SERVER_SEND_TO_WORKER_TIMEOUT, text));
        }
        drop(outbox);
        self.tell_if_hasty();
        Ok(())
    }

    fn wait_for_room(&self, outbox: &mut crate::ipc::Outbox, to: UnitId) -> bool {
        let patience_ns = self.runtime.settings.datagram_patience().as_nanos();
        let patience_ns = u64::try_from(patience_ns).unwrap_or(u64::MAX);
        outbox.wait_for(to.0, clock::monotonic_ns().saturating_add(patience_ns))
    }

    /// Whether a worker has ended and has no successor, since the server ends.
    fn has_gone(&self, id: UnitId) -> bool {
        let control = &self.runtime.control;
        let has_ended = || control.unit(id).is_some_and(|record| record.stage() == Stage::Ended);
        control.root().is_ending() && has_ended()
    }

    /// Tells whoever handed in a task that it will not be done: `by` had it in its hands.
    pub(super) fn fail_task(&self, by: UnitId, task: &Header) {
        if task.flags & flag::NO_REPLY != 0 {
            return;
        }
        if is_waited_for(task) {
            return self.fail_wait(by, task);
        }
        let header = self.header(MessageKind::TaskFailed, SessionId(task.session), task.extra);
        let header = Header { flags: task.flags, ..header };
        if !self.outbox.borrow_mut().post(task.source, &header, &[&by.0.to_ne_bytes()]) {
            log::warn!(
                "unit {} cannot be told that its task {} has failed",
                task.source,
                task.session
            );
        }
    }

    /// Settles what a task worker that has died had in its hands. Whoever waits is told first, and
    /// not at the end of this turn, in which a fork may come: a manager that dies in between leaves
    /// all of it to the next one, and whoever has been told then takes no second time.
    pub(super) fn settle_tasks_of(&self, id: UnitId) {
        let wiring = &self.runtime.control.wiring;
        let lost = wiring.lost_with(id.0);
        for task in &lost {
            log::warn!(
                "task {} of worker {} was lost with task worker {}",
                task.session,
                self.worker_of(UnitId(task.source)),
                self.worker_of(id)
            );
            self.fail_task(id, task);
        }
        self.fail_open_tasks(id);
        self.tell_half_taken(id);
        if !lost.is_empty() {
            self.tell_others();
        }
        wiring.settle_dead(id.0, lost.len() as u64);
    }
}
