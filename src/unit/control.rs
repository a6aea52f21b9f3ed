//! What the program wants of the reading of a connection. It is said to the reactor that owns it.

use crate::model::connection::Connection;
use crate::model::dispatch::Dispatch;
use crate::model::kind::{hold, MessageKind};
use crate::model::{route, SessionId};

use super::Unit;

impl Unit {
    /// Reads a connection no more. What was read already still arrives.
    pub fn pause(&self, record: &Connection, session: SessionId) {
        match self.reactor.as_ref().filter(|_| route::reactor_of(record) == self.plan.id) {
            Some(reactor) => reactor.pause(self, session, hold::PAUSED),
            None => self.tell_reactor(record, session, MessageKind::Pause, hold::PAUSED),
        }
    }

    /// Reads a paused connection again.
    pub fn resume(&self, record: &Connection, session: SessionId) {
        self.let_go(record, session, hold::PAUSED);
    }

    /// Reads a connection that was confirmed.
    pub fn read_confirmed(&self, record: &Connection, session: SessionId) {
        self.let_go(record, session, hold::UNCONFIRMED);
    }

    /// A connection was bound to a user. If what it sends waits for room, that is no longer the
    /// room of the worker that it was for.
    pub fn note_bound(&self, record: &Connection, session: SessionId) {
        if self.runtime.dispatch_of(record).is_some_and(Dispatch::is_by_uid) {
            self.let_go(record, session, hold::NOTHING);
        }
    }

    fn let_go(&self, record: &Connection, session: SessionId, reason: u8) {
        match self.reactor.as_ref().filter(|_| route::reactor_of(record) == self.plan.id) {
            Some(reactor) => reactor.resume(self, session, reason),
            None => self.tell_reactor(record, session, MessageKind::Resume, reason),
        }
    }

    fn tell_reactor(&self, record: &Connection, session: SessionId, kind: MessageKind, why: u8) {
        self.post(route::reactor_of(record), kind, session, u64::from(why), &[]);
        self.tell_if_hasty();
    }
}
