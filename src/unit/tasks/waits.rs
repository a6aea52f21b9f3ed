//! Waiting for the results of tasks, and answering somebody who waits.
//!
//! Who waits sleeps on one word of shared memory. It takes what comes into its answer box and
//! nothing else; but what it has said goes out before, and what finds room meanwhile follows.
//!
//! Each wait has a ticket that is never used again. It stands in the shared record as long as the
//! wait is open, and travels with the task and its answer: an answer with another ticket is too
//! late, and is dropped by whoever sees that first. Nothing has to be taken back when the one who
//! waits is killed: its successor finds the box, and opens waits of its own.

use std::sync::atomic::{fence, Ordering};
use std::time::Duration;

use crate::error::{code, Error, Result};
use crate::ipc::{Header, Inbox, Payload};
use crate::model::kind::MessageKind;
use crate::model::task::flag;
use crate::model::{SessionId, UnitId};
use crate::os::clock;

use super::Unit;

/// What is waited for.
pub struct Wait<'a> {
    /// The tasks.
    pub tasks: &'a [&'a [u8]],
    /// The task worker that does them, by its number; `None` for any.
    pub number: Option<usize>,
    /// `None`: as long as it takes.
    pub timeout: Option<Duration>,
    /// It is a list, of which each may fail by itself.
    pub is_list: bool,
}

/// How a wait has ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waited {
    /// Tasks that were handed in.
    pub accepted: usize,
    /// Those of them that were answered.
    pub answered: usize,
    /// The worker id of a task worker that died with one of them in its hands.
    pub failed_by: Option<i32>,
}

/// What takes the first answer to the task with this index.
pub type Take<'a> = dyn FnMut(usize, &[u8]) + 'a;

/// What is still to come.
struct Open {
    ticket: u64,
    first_id: u32,
    is_settled: Vec<bool>,
    left: usize,
}

impl Open {
    /// The task that an answer is for, if it is the first one.
    fn settle(&mut self, header: &Header) -> Option<usize> {
        let id = u32::try_from(header.session).ok().filter(|_| header.extra == self.ticket)?;
        let index = id.wrapping_sub(self.first_id) as usize;
        let is_settled = self.is_settled.get_mut(index).filter(|is_settled| !**is_settled)?;
        *is_settled = true;
        self.left -= 1;
        Some(index)
    }
}

/// Whether somebody stands still until this task is answered.
pub(in crate::unit) fn is_waited_for(task: &Header) -> bool {
    task.flags & (flag::NONBLOCK | flag::NO_REPLY) == 0
}

/// An answer that nobody waits for any more. Those of a list are dropped without a word.
#[cold]
pub(super) fn tell_expired(task: &Header) {
    if task.flags & flag::WAIT_ALL == 0 {
        let number = code::TASK_TIMEOUT;
        crate::warn_limited!("task[{}] has expired (error {number})", task.session);
    }
}

/// When a wait of this length that begins now is over.
pub(super) fn end_of(timeout: Option<Duration>) -> u64 {
    let length_ns = timeout.and_then(|timeout| u64::try_from(timeout.as_nanos()).ok());
    length_ns.map_or(u64::MAX, |length_ns| clock::monotonic_ns().saturating_add(length_ns))
}

impl Unit {
    /// A life begins: no wait is open, and what predecessors waited for is thrown away.
    pub(in crate::unit) fn begin_waits(&self) -> Result<()> {
        let wiring = &self.runtime.control.wiring;
        let Some(number) = wiring.answer_box(self.plan.id.0) else { return Ok(()) };
        self.show_wait(0);
        let mut inbox = wiring.inbox(number)?;
        throw_away(&mut inbox);
        self.tasks.answers.replace(Some(inbox));
        Ok(())
    }

    /// Lets others see which wait is open; 0: none.
    fn show_wait(&self, ticket: u64) {
        if let Some(record) = self.runtime.control.task_record(self.plan.id) {
            record.open_wait.store(ticket, Ordering::Release);
        }
        // Pairs with that of whoever answers, between finding no room and looking at the ticket.
        fence(Ordering::SeqCst);
    }

    /// A worker whose successor is there already would take its answers away.
    pub(super) fn check_place(&self) -> Result<()> {
        match self.is_detached.get() {
            false => Ok(()),
            true => {
                let text = "this worker has been replaced, and its successor gets the results";
                Err(Error::new(code::SERVER_WORKER_TERMINATED, text))
            }
        }
    }

    /// Hands in tasks and stands still until each is answered or has failed, or the time is up.
    pub fn wait_for_tasks(&self, wait: &Wait<'_>, take: &mut Take<'_>) -> Result<Waited> {
        self.check_place()?;
        let deadline_ns = end_of(wait.timeout);
        let mut answers = self.tasks.answers.borrow_mut();
        let Some(inbox) = answers.as_mut() else {
            let text = "only a worker that has started can wait for tasks";
            return Err(Error::new(code::OPERATION_NOT_SUPPORT, text));
        };
        let round = self.tasks.waits.get().wrapping_add(1).max(1);
        self.tasks.waits.set(round);
        let ticket = self.tasks.life.get() << 32 | u64::from(round);
        self.show_wait(ticket);
        let result = self.hand_in_all(wait, ticket).map(|(open, mut waited)| {
            self.note_held_tasks();
            if let Some(reactor) = &self.reactor {
                reactor.flush_burst(self);
            }
            self.wait_at(inbox, open, deadline_ns, &mut waited, take);
            waited
        });
        self.show_wait(0);
        throw_away(inbox);
        if inbox.has_part() {
            // The rest of it will not come, or not be taken.
            *inbox = self.runtime.control.wiring.inbox(inbox.number())?;
        }
        result
    }

    fn hand_in_all(&self, wait: &Wait<'_>, ticket: u64) -> Result<(Open, Waited)> {
        let flags = if wait.is_list { flag::WAIT_ALL } else { 0 };
        let mut open = Open {
            ticket,
            first_id: self.tasks.next_id.get(),
            is_settled: vec![true; wait.tasks.len()],
            left: 0,
        };
        for (task, is_settled) in wait.tasks.iter().zip(&mut open.is_settled) {
            match self.hand_in_one(wait.number, flags, ticket, task) {
                Ok(()) => {
                    *is_settled = false;
                    open.left += 1;
                }
                Err(error) if !wait.is_list => return Err(error),
                Err(error) => log::warn!("one of a list of tasks is left out: {error}"),
            }
        }
        let waited = Waited { accepted: open.left, ..Waited::default() };
        Ok((open, waited))
    }

    /// Takes answers, asleep in between.
    fn wait_at(
        &self,
        inbox: &mut Inbox,
        mut open: Open,
        deadline_ns: u64,
        waited: &mut Waited,
        take: &mut Take<'_>,
    ) {
        let wiring = &self.runtime.control.wiring;
        let mut is_late = false;
        while open.left > 0 {
            let calls = wiring.calls(self.plan.id.0);
            self.tell_others();
            is_late |= self.take_answers(inbox, &mut open, deadline_ns, waited, take);
            if open.left == 0 || is_late {
                break;
            }
            inbox.release();
            self.hesitation.anticipate();
            // What has come may be other than what is waited for.
            if self.hesitation.is_over(|| inbox.is_called()) || !inbox.prepare_sleep() {
                is_late = clock::monotonic_ns() >= deadline_ns;
                continue;
            }
            is_late = !wiring.wait_for_call(self.plan.id.0, calls, deadline_ns);
            inbox.wake();
        }
    }

    /// Takes what has come. Second answers may come as fast as they are taken, so that there is no
    /// end of them: whether the time was up meanwhile.
    fn take_answers(
        &self,
        inbox: &mut Inbox,
        open: &mut Open,
        deadline_ns: u64,
        waited: &mut Waited,
        take: &mut Take<'_>,
    ) -> bool {
        while open.left > 0 {
            let Some(message) = inbox.next() else { break };
            let left = open.left;
            self.take_answer(open, &message.header, &message.payload, waited, take);
            if open.left == left && clock::monotonic_ns() >= deadline_ns {
                return true;
            }
        }
        false
    }

    fn take_answer(
        &self,
        open: &mut Open,
        header: &Header,
        payload: &Payload<'_>,
        waited: &mut Waited,
        take: &mut Take<'_>,
    ) {
        let is_failure = header.kind == MessageKind::TaskFailed as u8;
        match open.settle(header) {
            Some(_) if is_failure => waited.failed_by = Some(self.failed_by(payload)),
            Some(index) => {
                waited.answered += 1;
                take(index, payload);
            }
            None if is_failure => {}
            None => tell_expired(header),
        }
    }

    /// Whether the wait is open for which a task was handed in.
    fn is_open(&self, task: &Header) -> bool {
        let record = self.runtime.control.task_record(UnitId(task.source));
        record.is_some_and(|record| record.open_wait.load(Ordering::Acquire) == task.extra)
    }

    /// Answers somebody who waits. An answer that is too late is dropped.
    pub(in crate::unit) fn answer_wait(&self, task: &Header, data: &[u8]) -> Result<()> {
        let number = self.runtime.control.wiring.answer_box(task.source);
        let Some(to) = number.filter(|_| self.is_open(task)) else {
            tell_expired(task);
            return Ok(());
        };
        let header = Header {
            flags: task.flags,
            time: clock::wall_ns(),
            ..self.header(MessageKind::TaskResult, SessionId(task.session), task.extra)
        };
        let mut outbox = self.outbox.borrow_mut();
        if !outbox.post(to, &header, &[data]) {
            let text = format!("no memory for an answer of {} bytes", data.len());
            return Err(Error::new(code::MALLOC_FAIL, text));
        }
        // Somebody stands still for it, and may ask again.
        outbox.flush();
        self.hesitation.anticipate();
        let patience = self.runtime.settings.datagram_patience();
        if !outbox.is_blocked(to)
            || outbox.wait_while(to, end_of(Some(patience)), || {
                // See `show_wait`.
                fence(Ordering::SeqCst);
                self.is_open(task)
            })
        {
            return Ok(());
        }
        outbox.withdraw(to);
        if !self.is_open(task) {
            tell_expired(task);
            return Ok(());
        }
        let text = format!(
            "worker {} did not take the result in time",
            self.worker_of(UnitId(task.source))
        );
        log::warn!("send result to worker timed out: {text}");
        Err(Error::new(code::SERVER_SEND_TO_WORKER_TIMEOUT, text))
    }

    /// Tells somebody who waits, if he still does, that his task will not be done.
    pub(in crate::unit) fn fail_wait(&self, by: UnitId, task: &Header) {
        let number = self.runtime.control.wiring.answer_box(task.source);
        let Some(to) = number.filter(|_| self.is_open(task)) else { return };
        let header = self.header(MessageKind::TaskFailed, SessionId(task.session), task.extra);
        let header = Header { flags: task.flags, ..header };
        if !self.outbox.borrow_mut().post(to, &header, &[&by.0.to_ne_bytes()]) {
            log::warn!("unit {} cannot be told that its task has failed", task.source);
        }
    }
}

/// Drops all answers that are there: they are too late.
fn throw_away(inbox: &mut Inbox) {
    while let Some(message) = inbox.next() {
        if message.header.kind == MessageKind::TaskResult as u8 {
            tell_expired(&message.header);
        }
    }
    inbox.release();
}
