//! Lists of tasks whose results are told together, while the worker goes on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{code, Error, Result};
use crate::ipc::Header;
use crate::model::task::flag;
use crate::model::SessionId;

use super::waits::{end_of, tell_expired};
use super::Unit;
use crate::unit::timer::Timer;

/// What is told of a list: the first answer to each of its tasks.
pub type ListHook = Box<dyn FnOnce(&[Option<Vec<u8>>])>;

struct List {
    answers: Vec<Option<Vec<u8>>>,
    is_settled: Vec<bool>,
    left: usize,
    /// Monotonic; the largest number for no end.
    deadline_ns: u64,
    hook: ListHook,
}

/// The lists that are not complete, by the id of their first task.
#[derive(Default)]
pub(super) struct Lists {
    open: RefCell<BTreeMap<u32, List>>,
}

impl Lists {
    /// Notes what has become of a task: an answer, or none if it has failed. The list, if that was
    /// the last one; the answer back, if nobody waits for it.
    fn settle(&self, header: &Header, answer: Option<&[u8]>) -> Settled {
        let mut open = self.open.borrow_mut();
        let Ok(id) = u32::try_from(header.session) else { return Settled::TooLate };
        let Some((&first, list)) = open.range_mut(..=id).next_back() else {
            return Settled::TooLate;
        };
        let index = (id - first) as usize;
        let place = list.is_settled.get_mut(index).zip(list.answers.get_mut(index));
        let Some((is_settled, kept)) = place.filter(|(is_settled, _)| !**is_settled) else {
            return Settled::TooLate;
        };
        *is_settled = true;
        *kept = answer.map(<[u8]>::to_vec);
        list.left -= 1;
        match list.left {
            0 => open.remove(&first).map_or(Settled::Noted, Settled::Complete),
            _ => Settled::Noted,
        }
    }

    /// Takes one list whose time is up.
    fn take_late(&self, now_ns: u64) -> Option<List> {
        let mut open = self.open.borrow_mut();
        let late = open.iter().find(|(_, list)| list.deadline_ns <= now_ns);
        let first = late.map(|(first, _)| *first)?;
        open.remove(&first)
    }

    /// Whether any is not complete.
    pub(super) fn is_any_open(&self) -> bool {
        !self.open.borrow().is_empty()
    }

    /// Forgets them all.
    pub(super) fn drop_all(&self) {
        // What the hooks hold is let go when the map is free again.
        let open = self.open.take();
        drop(open);
    }
}

enum Settled {
    Noted,
    Complete(List),
    TooLate,
}

impl Unit {
    /// Hands in tasks and goes on; `hook` is told of the results, when all are there or the time is
    /// up. How many were handed in: if it is none, `hook` is dropped.
    pub fn hand_in_list(
        &self,
        tasks: &[&[u8]],
        timeout: Option<Duration>,
        hook: ListHook,
    ) -> Result<usize> {
        self.check_place()?;
        if self.worker.as_ref().is_some_and(|worker| worker.has_ended()) {
            let text = "the worker has stopped, nobody would hear of the results";
            return Err(Error::new(code::WRONG_OPERATION, text));
        }
        let deadline_ns = end_of(timeout);
        // The ids of a list follow each other.
        let count = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        if self.tasks.next_id.get().checked_add(count).is_none() {
            self.tasks.next_id.set(0);
        }
        let first = self.tasks.next_id.get();
        let flags = flag::NONBLOCK | flag::COROUTINE;
        let mut is_settled = vec![true; tasks.len()];
        for (task, is_settled) in tasks.iter().zip(&mut is_settled) {
            match self.hand_in_one(None, flags, self.tasks.life.get(), task) {
                Ok(()) => *is_settled = false,
                Err(error) => log::warn!("one of a list of tasks is left out: {error}"),
            }
        }
        let left = is_settled.iter().filter(|is_settled| !**is_settled).count();
        if left > 0 {
            let answers = tasks.iter().map(|_| None).collect();
            let list = List { answers, is_settled, left, deadline_ns, hook };
            self.tasks.lists.open.borrow_mut().insert(first, list);
            if deadline_ns < u64::MAX {
                self.agenda.set(deadline_ns, Timer::Tasks);
            }
        }
        self.tell_if_hasty();
        self.note_held_tasks();
        Ok(left)
    }

    /// A task of a list was answered, or has failed.
    pub(super) fn take_of_list(&self, header: &Header, answer: Option<&[u8]>) {
        let is_own = header.extra == self.tasks.life.get();
        let settled = match is_own {
            true => self.tasks.lists.settle(header, answer),
            false => Settled::TooLate,
        };
        match settled {
            Settled::Noted => {}
            Settled::Complete(list) => self.tell_list(list),
            Settled::TooLate if answer.is_none() => {}
            Settled::TooLate => tell_expired(header),
        }
    }

    /// Tells of the lists whose time is up.
    pub(in crate::unit) fn end_late_lists(&self) {
        let now_ns = self.now.get().monotonic_ns;
        while let Some(list) = self.tasks.lists.take_late(now_ns) {
            self.tell_list(list);
        }
    }

    fn tell_list(&self, list: List) {
        let Some(worker) = self.worker.as_ref().filter(|worker| !worker.has_ended()) else {
            return;
        };
        worker.call(self, None, SessionId(0), || (list.hook)(&list.answers));
    }

    /// Whether results are to come that keep the unit.
    pub(in crate::unit) fn awaits_results(&self) -> bool {
        self.tasks.lists.is_any_open()
    }

    /// Nobody will be told of what is not there.
    pub(in crate::unit) fn drop_lists(&self) {
        self.tasks.lists.drop_all();
    }
}
