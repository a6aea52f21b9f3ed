//! Tasks whose callback has returned and that are still to be answered.
//!
//! Only an asynchronous task worker has such. Each stands in a row of shared memory until its first
//! answer, so that whoever handed it in can be told when this worker dies. After that it is kept in
//! mind for a while, since a task may be answered more than once.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use crate::error::{code, Error, Result};
use crate::ipc::Header;
use crate::model::task::flag;
use crate::model::UnitId;

use super::Unit;

/// Answered tasks that can be answered again.
const KEPT_IN_MIND: usize = 1024;
/// Rows that are looked at for a free one before the one of an old task is taken.
const ROWS_TRIED: usize = 64;

/// The unit that handed a task in, and its id there.
type Key = (u16, i64);

fn key_of(task: &Header) -> Key {
    (task.source, task.session)
}

/// The open tasks of a task worker.
#[derive(Default)]
pub(super) struct OpenTasks {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// With their rows.
    open: HashMap<Key, (usize, Header)>,
    answered: VecDeque<Header>,
    /// The row behind the one that was taken last.
    next_row: usize,
}

impl State {
    fn find(&self, key: Key) -> Option<Header> {
        let open = self.open.get(&key).map(|(_, task)| *task);
        open.or_else(|| self.answered.iter().rev().find(|task| key_of(task) == key).copied())
    }

    fn keep_in_mind(&mut self, task: Header) {
        if self.answered.len() == KEPT_IN_MIND {
            self.answered.pop_front();
        }
        self.answered.push_back(task);
    }
}

impl OpenTasks {
    /// Whether any is not answered.
    pub(super) fn is_any_open(&self) -> bool {
        !self.state.borrow().open.is_empty()
    }

    /// They are not waited for any more.
    pub(super) fn forget(&self) {
        self.state.replace(State::default());
    }
}

impl Unit {
    /// The callback of a task has returned.
    pub(super) fn keep_task(&self, open: &OpenTasks, task: &Header, is_answered: bool) {
        if task.flags & flag::NO_REPLY != 0 {
            return;
        }
        if is_answered {
            return open.state.borrow_mut().keep_in_mind(*task);
        }
        let state = &mut *open.state.borrow_mut();
        // The same pair once more is that of a worker that was replaced.
        let row = state.open.remove(&key_of(task)).map(|(row, _)| row);
        let Some(row) = row.or_else(|| self.free_row(state)) else { return };
        if let Some(place) = self.runtime.control.open_task(self.plan.id, row) {
            place.fill(task.source, task.flags, task.session, task.extra);
            state.open.insert(key_of(task), (row, *task));
        }
    }

    /// A free row. If none is near, an old task that nobody has answered is given up for it.
    fn free_row(&self, state: &mut State) -> Option<usize> {
        let control = &self.runtime.control;
        let count = control.open_limit();
        let rows = (0..ROWS_TRIED).map(|step| (state.next_row + step) % count.max(1));
        let is_free = |row: &usize| {
            control.open_task(self.plan.id, *row).is_some_and(|place| place.told().is_none())
        };
        let found = rows.clone().find(is_free);
        let row = found.or_else(|| rows.clone().next()).filter(|row| *row < count)?;
        state.next_row = row + 1;
        if found.is_none() {
            let old = state.open.iter().find(|(_, (taken, _))| *taken == row);
            if let Some((key, task)) = old.map(|(key, (_, task))| (*key, *task)) {
                crate::warn_limited!("too many tasks are open: task {} is given up", task.session);
                state.open.remove(&key);
                self.fail_task(self.plan.id, &task);
            }
        }
        Some(row)
    }

    /// Answers a task that was given to this task worker, by the worker id of whoever handed it in
    /// and its id there.
    pub fn answer_open_task(&self, worker: i32, id: i64, data: &[u8]) -> Result<()> {
        let Some(task) = &self.task else {
            let text = "no task worker calls: tasks are answered there";
            return Err(Error::new(code::OPERATION_NOT_SUPPORT, text));
        };
        let Some(open) = &task.open else {
            let text = "task_object and task_enable_coroutine are off: use sw_server_finish";
            return Err(Error::new(code::OPERATION_NOT_SUPPORT, text));
        };
        let index = usize::try_from(worker).ok();
        let source = index.and_then(|index| self.runtime.plan.by_worker_id(index));
        let key = source.map(|source| (source.0, id));
        let current = task.current.get().filter(|task| Some(key_of(task)) == key);
        if current.is_some() {
            return self.answer_task(data);
        }
        let found = key.and_then(|key| open.state.borrow().find(key));
        let Some(header) = found else {
            let text = format!("no task {id} of worker {worker} is open here");
            return Err(Error::new(code::WRONG_OPERATION, text));
        };
        self.give_answer(&header, data)?;
        let state = &mut *open.state.borrow_mut();
        if let Some((row, _)) = state.open.remove(&key_of(&header)) {
            if let Some(place) = self.runtime.control.open_task(self.plan.id, row) {
                place.clear();
            }
            state.keep_in_mind(header);
        }
        Ok(())
    }

    /// Tells whoever handed in the tasks that were open in a task worker which has ended.
    pub(super) fn fail_open_tasks(&self, id: UnitId) {
        let control = &self.runtime.control;
        let rows = (0..control.open_limit()).map_while(|row| control.open_task(id, row));
        for place in rows {
            let Some((source, flags, session, extra)) = place.told() else { continue };
            crate::warn_limited!(
                "task {session} of worker {} was lost with task worker {}",
                self.worker_of(UnitId(source)),
                self.worker_of(id)
            );
            self.fail_task(id, &Header { source, flags, session, extra, ..Header::default() });
            place.clear();
        }
    }

    /// Whether answers are owed that keep the unit.
    pub(in crate::unit) fn owes_results(&self) -> bool {
        let open = self.task.as_ref().and_then(|task| task.open.as_ref());
        open.is_some_and(OpenTasks::is_any_open)
    }

    /// Those who wait are told by whoever buries this unit.
    pub(in crate::unit) fn forget_open_tasks(&self) {
        if let Some(open) = self.task.as_ref().and_then(|task| task.open.as_ref()) {
            open.forget();
        }
    }
}
