//! Handing in tasks, and hearing of their results.
//!
//! A task that found room is in shared memory, and neither the end of this unit nor that of the
//! task worker takes it away. One that found none waits here, in order, and the unit goes on.

mod lists;
pub(super) mod queue;
mod waits;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::Ordering;

use crate::error::{code, set_last, Error, Result};
use crate::ipc::{Header, Inbox, Payload};
use crate::model::hooks::{Event, EventKind, FinishEvent};
use crate::model::kind::MessageKind;
use crate::model::task::{flag, TaskCounts};
use crate::model::worker::UnitRecord;
use crate::model::{SessionId, UnitId};

use super::worker::Worker;
use super::Unit;
use lists::Lists;

pub use lists::ListHook;
pub use queue::TaskQueue;
pub(super) use waits::is_waited_for;
pub use waits::{Wait, Waited};

/// What takes the result of one task.
pub type FinishHook = Box<dyn FnOnce(&Event<'_>)>;

const NS_PER_S: u64 = 1_000_000_000;

/// What a unit knows of the tasks that it has handed in.
#[derive(Default)]
pub(super) struct Tasks {
    next_id: Cell<u32>,
    /// Which life of this unit it is: ids begin again in each, and a result may be for an earlier.
    life: Cell<u64>,
    hooks: RefCell<HashMap<u32, FinishHook>>,
    /// What others were told of the tasks that wait here.
    held: Cell<u64>,
    /// How often this life has waited.
    waits: Cell<u32>,
    /// What the answers come to that are waited for.
    answers: RefCell<Option<Inbox>>,
    lists: Lists,
}

impl Unit {
    /// Hands in a task, for the task worker with this number or for one that has nothing to do; its
    /// id.
    pub fn hand_in(
        &self,
        number: Option<usize>,
        data: &[u8],
        hook: Option<FinishHook>,
    ) -> Result<i64> {
        let to = self.task_worker(number)?;
        // Nobody but a worker can be answered.
        let hook = hook.filter(|_| self.plan.roles.is_worker());
        let flags = match &hook {
            _ if !self.plan.roles.is_worker() => flag::NONBLOCK | flag::NO_REPLY,
            Some(_) => flag::NONBLOCK | flag::CALLBACK,
            None => flag::NONBLOCK,
        };
        let id = self.tasks.next_id.get();
        self.post_task(to, id, flags, self.tasks.life.get(), data)?;
        if let Some(hook) = hook {
            self.tasks.hooks.borrow_mut().insert(id, hook);
        }
        self.tasks.next_id.set(id.wrapping_add(1));
        self.tell_if_hasty();
        self.note_held_tasks();
        Ok(i64::from(id))
    }

    /// The task worker with this number, or any; also any where the number does not count.
    fn task_worker(&self, number: Option<usize>) -> Result<UnitId> {
        let to = match number.filter(|_| self.runtime.settings.keeps_task_target) {
            Some(number) => self.runtime.plan.tasks().get(number).copied(),
            None => self.free_task_worker(),
        };
        to.ok_or_else(|| {
            let text = format!("there is no task worker {}", number.unwrap_or(0));
            Error::new(code::INVALID_PARAMS, text)
        })
    }

    /// Hands in one task of those that are waited for.
    fn hand_in_one(
        &self,
        number: Option<usize>,
        flags: u8,
        ticket: u64,
        data: &[u8],
    ) -> Result<()> {
        let to = self.task_worker(number)?;
        let id = self.tasks.next_id.get();
        self.tasks.next_id.set(id.wrapping_add(1));
        self.post_task(to, id, flags, ticket, data)
    }

    /// Puts a task into the inbox of a task worker, or behind those that wait for room there.
    fn post_task(&self, to: UnitId, id: u32, flags: u8, ticket: u64, data: &[u8]) -> Result<()> {
        if u32::try_from(data.len()).is_err() {
            let text = format!("a task of {} bytes is too big, 4 GiB is too much", data.len());
            return Err(Error::new(code::TASK_PACKAGE_TOO_BIG, text));
        }
        self.warn_if_big(data.len());
        let header = self.header(MessageKind::Task, SessionId(i64::from(id)), ticket);
        let header = Header { flags, ..header };
        if let Some(queue) = &self.runtime.queue {
            return self.queue_task(queue, to, &header, data);
        }
        if self.outbox.borrow_mut().post(to.0, &header, &[data]) {
            return Ok(());
        }
        let text = format!("no memory to keep a task of {} bytes until there is room", data.len());
        Err(Error::new(code::QUEUE_FULL, text))
    }

    /// The first task worker from the one whose turn it is that has nothing to do; the one whose
    /// turn it is if they all have.
    fn free_task_worker(&self) -> Option<UnitId> {
        let workers = self.runtime.plan.tasks();
        let control = &self.runtime.control;
        let turn = control.task_root().turn.fetch_add(1, Ordering::Relaxed) as usize;
        let at = |step: usize| workers.get(turn.wrapping_add(step) % workers.len().max(1)).copied();
        let is_free = |id: &UnitId| {
            control.unit(*id).is_some_and(UnitRecord::is_idle)
                && control.wiring.unread_bytes(id.0) == 0
        };
        let free = (0..workers.len()).filter_map(at).find(is_free);
        if free.is_none() {
            self.tell_none_is_free();
        }
        free.or_else(|| at(0))
    }

    /// At most once a second, whoever says it.
    #[cold]
    fn tell_none_is_free(&self) {
        let told_at_s = &self.runtime.control.task_root().told_at_s;
        let now_s = self.now.get().monotonic_ns / NS_PER_S + 1;
        if told_at_s.load(Ordering::Relaxed) < now_s
            && told_at_s.fetch_max(now_s, Ordering::Relaxed) < now_s
        {
            let number = code::SERVER_NO_IDLE_WORKER;
            log::warn!("No idle task worker is available (error {number})");
        }
    }

    /// What is longer than a message of the first port may be is told, and goes on.
    pub(super) fn warn_if_big(&self, len: usize) {
        if len as u64 > self.runtime.settings.package_max_length {
            crate::warn_limited!(
                "task package is too big: {len} bytes, it is delivered all the same"
            );
        }
    }

    /// Lets others see how many tasks wait here.
    #[inline]
    pub(super) fn note_held_tasks(&self) {
        let held = self.outbox.borrow().pending_tally();
        if self.tasks.held.replace(held) == held || self.is_detached.get() {
            return;
        }
        if let Some(record) = self.runtime.control.task_record(self.plan.id) {
            record.held.set(held);
        }
    }

    /// A life begins: nothing waits here, and results for earlier ones are not taken for its own.
    pub(super) fn begin_task_life(&self) {
        let control = &self.runtime.control;
        self.tasks.life.set(control.unit(self.plan.id).map_or(0, UnitRecord::generation));
        if let Some(record) = control.task_record(self.plan.id) {
            record.life_base.set(self.runtime.tasks_done_by(self.plan.id));
        }
    }

    /// The result of a task has come: to the callback of that task, the first one, or to that of
    /// the server.
    pub(super) fn take_result(&self, worker: &Worker, header: &Header, payload: &Payload<'_>) {
        if worker.has_ended() || matches!(payload, Payload::Lost) {
            return;
        }
        if header.flags & flag::COROUTINE != 0 {
            return self.take_of_list(header, Some(payload));
        }
        let hook = self.take_hook(header);
        let event = Event::Finish(FinishEvent {
            task: header.session,
            worker: self.worker_of(UnitId(header.source)),
            answered_ns: header.time,
            data: Some(payload),
        });
        let is_known = hook.is_some() || self.runtime.hooks.has(EventKind::Finish);
        if !is_known {
            crate::warn_limited!(
                "the result of task {} is dropped: nobody asked for it",
                header.session
            );
            return;
        }
        worker.call(self, Some(EventKind::Finish), SessionId(0), || match hook {
            Some(hook) => hook(&event),
            None => self.raise(&event),
        });
    }

    /// A task will not be done: its task worker died with it in its hands.
    pub(super) fn take_failure(&self, worker: &Worker, header: &Header, payload: &Payload<'_>) {
        if header.flags & flag::COROUTINE != 0 {
            return self.take_of_list(header, None);
        }
        let by = self.failed_by(payload);
        let Some(hook) = self.take_hook(header).filter(|_| !worker.has_ended()) else { return };
        let text = format!("task worker {by} died with task {} in its hands", header.session);
        let event = Event::Finish(FinishEvent {
            task: header.session,
            worker: by,
            answered_ns: header.time,
            data: None,
        });
        worker.call(self, Some(EventKind::Finish), SessionId(0), || {
            set_last(&Error::new(code::SERVER_WORKER_TERMINATED, text));
            hook(&event);
        });
    }

    /// The worker id of the task worker that a failure names.
    fn failed_by(&self, payload: &Payload<'_>) -> i32 {
        let by: Option<[u8; 2]> = payload.get(..2).and_then(|bytes| bytes.try_into().ok());
        by.map_or(-1, |bytes| self.worker_of(UnitId(u16::from_ne_bytes(bytes))))
    }

    /// The callback of the task that a message is about, if it waits for its first result.
    fn take_hook(&self, header: &Header) -> Option<FinishHook> {
        let is_own = header.flags & flag::CALLBACK != 0 && header.extra == self.tasks.life.get();
        let id = u32::try_from(header.session).ok().filter(|_| is_own)?;
        self.tasks.hooks.borrow_mut().remove(&id)
    }

    /// The worker id of a unit, -1 if it has none.
    pub(super) fn worker_of(&self, id: UnitId) -> i32 {
        let unit = self.runtime.plan.unit(id);
        unit.and_then(|unit| unit.worker).map_or(-1, |worker| i32::from(worker.0))
    }

    /// Tasks that the calling task worker has done since it started.
    pub fn own_tasks(&self) -> Option<u64> {
        self.task.as_ref().map(|task| task.done())
    }
}

impl super::Runtime {
    /// Tasks that a task worker and its predecessors have done to the end.
    pub(super) fn tasks_done_by(&self, id: UnitId) -> u64 {
        let tally = self.control.wiring.tally(id.0);
        let from_queue = self.control.task_record(id).map_or(0, |record| record.from_queue.get());
        tally.handled.saturating_sub(tally.failed) + from_queue
    }

    /// Tasks that a task worker has done in the life that is, or was, its last.
    pub(super) fn life_tasks(&self, id: UnitId) -> u64 {
        let base = self.control.task_record(id).map_or(0, |record| record.life_base.get());
        self.tasks_done_by(id).saturating_sub(base)
    }

    /// What died in the memory of a unit is accepted and lost.
    pub(super) fn write_off_tasks(&self, id: UnitId) {
        let Some(record) = self.control.task_record(id) else { return };
        let lost = record.held.get();
        if lost > 0 {
            record.held.set(0);
            self.control.task_root().lost.fetch_add(lost, Ordering::Relaxed);
            log::warn!("{lost} tasks were lost with unit {}, which waited for room", id.0);
        }
    }

    /// How many tasks there were, and are.
    pub fn task_counts(&self) -> TaskCounts {
        let control = &self.control;
        let mut counts = TaskCounts::default();
        for id in self.plan.tasks() {
            let tally = control.wiring.tally(id.0);
            counts.accepted += tally.arrived;
            counts.waiting += tally.arrived - tally.begun;
        }
        let records = self.plan.units().iter().filter_map(|unit| control.task_record(unit.id));
        let held: u64 = records.map(|record| record.held.get()).sum();
        counts.waiting += held;
        let queued = self.queue.as_ref().map_or(0, |queue| queue.waiting().messages);
        counts.waiting += queued;
        counts.accepted += control.task_root().queued.load(Ordering::Relaxed);
        counts.accepted += held + control.task_root().lost.load(Ordering::Relaxed);
        counts
    }
}
