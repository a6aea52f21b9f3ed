//! Sends that wait for room, in the unit that made them: in order for each connection.
//!
//! A send that is refused because too much waits asks the reactor of the connection to tell when
//! there is room, or when there never will be; then it is tried again. So one message goes each
//! way for many sends, and nobody looks again and again.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;

use crate::error::{code, Result};
use crate::model::connection::Connection;
use crate::model::kind::MessageKind;
use crate::model::{route, SessionId};
use crate::net::stream::{CONNECTION_ENDED as CLOSED, TIMED_OUT};
use crate::os::clock;

use super::Unit;

/// What is told when a send has come to its end: 0, or an `errno`.
pub type SentHook = Box<dyn FnOnce(i32)>;

/// How often a worker that has a successor looks whether there is room.
const LOOK_AGAIN_NS: u64 = 20_000_000;

/// Sends what waits, if there is room.
pub type Attempt = Box<dyn Fn(&Unit) -> Result<()>>;

/// A send that waits.
pub struct Parcel {
    /// Sends it; called until it does not say that too much waits.
    pub attempt: Attempt,
    /// When it has waited too long, nanoseconds of monotonic time.
    pub deadline_ns: Option<u64>,
    /// Is told what became of it.
    pub done: SentHook,
}

/// All sends that wait in one unit.
#[derive(Default)]
pub(super) struct Later {
    queues: RefCell<HashMap<SessionId, VecDeque<Parcel>>>,
    /// When the first of them has waited too long, or earlier.
    first_deadline_ns: Cell<Option<u64>>,
}

impl Later {
    /// Whether none waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queues.borrow().is_empty()
    }
}

impl Unit {
    /// Whether a send to this connection waits.
    pub fn has_later(&self, session: SessionId) -> bool {
        self.later.queues.borrow().contains_key(&session)
    }

    /// Keeps a send until there is room, behind those that wait already.
    pub fn send_later(&self, record: &Connection, session: SessionId, parcel: Parcel) {
        if let Some(deadline_ns) = parcel.deadline_ns {
            self.note_deadline(deadline_ns);
        }
        let mut queues = self.later.queues.borrow_mut();
        let queue = queues.entry(session).or_default();
        queue.push_back(parcel);
        let is_first = queue.len() == 1;
        drop(queues);
        if is_first {
            self.await_room(record, session);
        }
    }

    fn note_deadline(&self, deadline_ns: u64) {
        let first_ns = self.later.first_deadline_ns.get();
        self.later
            .first_deadline_ns
            .set(Some(first_ns.map_or(deadline_ns, |ns| ns.min(deadline_ns))));
        self.wake_within(deadline_ns.saturating_sub(self.now.get().monotonic_ns));
    }

    fn await_room(&self, record: &Connection, session: SessionId) {
        let owner = route::reactor_of(record);
        match self.reactor.as_ref().filter(|_| owner == self.plan.id) {
            Some(reactor) => reactor.await_room(self, session, self.plan.id),
            None => {
                self.post(owner, MessageKind::AwaitRoom, session, 0, &[]);
                self.tell_if_hasty();
            }
        }
    }

    /// There is room for a connection, or it has ended: what waits is sent, as far as it goes.
    pub(super) fn send_waiting(&self, session: SessionId) {
        // Taken out: an attempt may find that other sends are waited for.
        let Some(mut queue) = self.later.queues.borrow_mut().remove(&session) else { return };
        while let Some(parcel) = queue.pop_front() {
            let end = match (parcel.attempt)(self) {
                Ok(()) => 0,
                Err(error) if error.code() == code::OUTPUT_BUFFER_OVERFLOW => {
                    queue.push_front(parcel);
                    break;
                }
                Err(_) => CLOSED,
            };
            self.tell_sent(parcel.done, end);
        }
        if queue.is_empty() {
            return;
        }
        self.later.queues.borrow_mut().insert(session, queue);
        match self.runtime.control.connections.get(session.0) {
            Some(record) => self.await_room(record, session),
            None => self.give_up(session),
        }
    }

    /// The connection is gone, and nobody will tell of room.
    fn give_up(&self, session: SessionId) {
        let queue = self.later.queues.borrow_mut().remove(&session);
        for parcel in queue.unwrap_or_default() {
            self.tell_sent(parcel.done, CLOSED);
        }
    }

    /// Ends the sends that have waited too long.
    pub(super) fn expire_sends(&self) {
        let now_ns = clock::monotonic_ns();
        if self.is_detached.get() {
            self.send_unheard();
        }
        if !self.later.first_deadline_ns.get().is_some_and(|first_ns| first_ns <= now_ns) {
            return;
        }
        let is_late = |parcel: &Parcel| parcel.deadline_ns.is_some_and(|due_ns| due_ns <= now_ns);
        let mut late = Vec::new();
        self.later.queues.borrow_mut().retain(|_, queue| {
            let (out, rest) = std::mem::take(queue).into_iter().partition(is_late);
            let out: VecDeque<Parcel> = out;
            late.extend(out);
            *queue = rest;
            !queue.is_empty()
        });
        self.later.first_deadline_ns.set(None);
        let next_ns = {
            let queues = self.later.queues.borrow();
            queues.values().flatten().filter_map(|parcel| parcel.deadline_ns).min()
        };
        if let Some(next_ns) = next_ns {
            self.note_deadline(next_ns);
        }
        for parcel in late {
            self.tell_sent(parcel.done, TIMED_OUT);
        }
    }

    /// What a worker is told that has a successor, its successor hears. So it looks for itself.
    fn send_unheard(&self) {
        let sessions: Vec<SessionId> = self.later.queues.borrow().keys().copied().collect();
        for session in sessions {
            let record = self.runtime.control.connections.get(session.0);
            if record.map_or(true, |record| has_room(self, record)) {
                self.send_waiting(session);
            }
        }
        self.wake_within(LOOK_AGAIN_NS);
    }

    /// Never inside the call that sends.
    pub fn tell_sent(&self, done: SentHook, end: i32) {
        if let Err(error) = self.defer(Box::new(move || done(end))) {
            log::debug!("nobody is told what became of a send: {error}");
        }
    }
}

/// Whether as little waits for the peer of a connection that a send is taken.
pub(super) fn has_room(unit: &Unit, record: &Connection) -> bool {
    let waiting = record.queued_bytes.load(Ordering::Relaxed);
    unit.runtime.port_of(record).map_or(true, |port| waiting < port.settings.socket_buffer_size)
}
