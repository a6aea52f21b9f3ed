//! Which worker gets the next event of a connection, where workers are units of their own.
//!
//! Most rules give a connection a worker for life, and its bytes are read straight into the lane of
//! that. Where a worker is chosen for each message, the message is read first: a function of the
//! program wants to see it, and a turn that is taken has to be used. Only while some worker has no
//! room is the choice made before, so that nothing is read that would have to wait for it.

use crate::model::dispatch::{Answer, Subject};
use crate::model::kind::{self, MessageKind};
use crate::model::{SessionId, UnitId};
use crate::proto::framer::{Choice, Frame};
use crate::proto::raw::LARGEST_MESSAGE;

use super::input::count_given;
use super::peers::Peer;
use super::Reactor;
use crate::unit::Unit;

/// Stands for any worker: none is chosen yet, or whichever has room first is waited for.
pub(super) const ANYBODY: UnitId = UnitId(u16::MAX);

/// Bytes that may wait here for workers without room before nothing more is read for a function of
/// the program to choose a worker for, since nobody knows which it will be.
const MOST_WAITING: usize = 16 * 1024 * 1024;

impl Reactor {
    /// The worker that a connection begins with; [`ANYBODY`] if that is chosen with the first
    /// event.
    pub(super) fn first_worker(&self, unit: &Unit, session: SessionId) -> UnitId {
        let record = unit.runtime.control.connections.get(session.0);
        match (self.dispatch.of_connection(session, record), self.dispatch.chooses_once()) {
            (Some(worker), _) => worker,
            (None, true) => ANYBODY,
            (None, false) => self.dispatch.home(session),
        }
    }

    /// Chooses the worker of a connection that has none and keeps it for life.
    pub(super) fn settle_worker(&self, unit: &Unit, peer: &mut Peer) {
        if peer.worker == ANYBODY {
            peer.worker = self.by_rule(unit, peer.session, Subject::Data);
        }
    }

    /// What the rule says.
    fn by_rule(&self, unit: &Unit, session: SessionId, subject: Subject) -> UnitId {
        let record = unit.runtime.control.connections.get(session.0);
        if let Some(worker) = self.dispatch.of_connection(session, record) {
            return worker;
        }
        if self.dispatch.chooses_once() {
            let worker = self.next_worker(unit);
            let number = self.dispatch.workers().iter().position(|id| *id == worker);
            if let (Some(record), Some(number)) = (record, number) {
                record.set_worker(number as u16);
            }
            return worker;
        }
        match subject {
            Subject::Data => self.take_turn(session).unwrap_or_else(|| self.next_worker(unit)),
            _ => self.dispatch.home(session),
        }
    }

    fn next_worker(&self, unit: &Unit) -> UnitId {
        let now_ns = unit.now.get().monotonic_ns;
        self.dispatch.next(&unit.runtime.control, now_ns, |worker| self.is_shut(unit, worker))
    }

    /// The turn that was taken for the next message of a connection.
    fn take_turn(&self, session: SessionId) -> Option<UnitId> {
        if !self.dispatch.is_in_turn() {
            return None;
        }
        self.state.borrow_mut().peers.get_mut(session)?.turn.take()
    }

    /// The worker for an event that is no message, if it is to be told.
    pub(super) fn worker_for(
        &self,
        unit: &Unit,
        session: SessionId,
        subject: Subject,
    ) -> Option<UnitId> {
        match self.dispatch.ask(session.0, subject, &[]) {
            Answer::Worker(worker) => Some(worker),
            Answer::Rule => Some(self.by_rule(unit, session, subject)),
            Answer::Discard => None,
            Answer::Close => {
                self.end_of_protocol(unit, session, 0);
                None
            }
        }
    }

    /// The worker that closes a connection. Whatever a function of the program says, there is one.
    pub(super) fn closing_worker(&self, unit: &Unit, session: SessionId) -> UnitId {
        let worker = match self.dispatch.ask(session.0, Subject::Close, &[]) {
            Answer::Worker(worker) => worker,
            Answer::Rule | Answer::Discard | Answer::Close => {
                self.by_rule(unit, session, Subject::Close)
            }
        };
        if let Some(peer) = self.state.borrow_mut().peers.get_mut(session) {
            peer.worker = worker;
        }
        worker
    }

    /// Hands a message to the worker that it is for. False: the connection has to be closed.
    pub(super) fn give(
        &self,
        unit: &Unit,
        session: SessionId,
        message: &[u8],
        frame: Frame,
    ) -> bool {
        let (worker, is_claimed) = match self.dispatch.ask(session.0, Subject::Data, message) {
            Answer::Worker(worker) => (worker, false),
            Answer::Rule => {
                (self.by_rule(unit, session, Subject::Data), self.dispatch.chooses_each())
            }
            Answer::Discard => return self.outlives_a_loss(session),
            Answer::Close => return false,
        };
        if !is_claimed {
            self.claim(unit, worker);
        }
        // Who has heard last of it, or has it for life: its successor is asked about it.
        if self.dispatch.has_chooser() || self.dispatch.chooses_once() {
            if let Some(peer) = self.state.borrow_mut().peers.get_mut(session) {
                peer.worker = worker;
            }
        }
        count_given(unit, session, message.len());
        unit.note_length(message.len());
        // If the connection has ended when the worker takes it, its port is still known.
        let record = unit.runtime.control.connections.get(session.0);
        let port = record.map_or(0, |record| record.port());
        let extra = kind::receive(port, frame);
        unit.post(worker, MessageKind::Receive, session, extra, message);
        self.count_load(unit, worker);
        true
    }

    /// Whether a connection goes on after a message that nobody got. Where messages are cut from a
    /// stream, the stream ends with that.
    fn outlives_a_loss(&self, session: SessionId) -> bool {
        let mut state = self.state.borrow_mut();
        let peer = state.peers.get_mut(session);
        peer.is_some_and(|peer| matches!(peer.framer, Choice::Raw(_) | Choice::WebSocket(_)))
    }

    /// A worker is about to be given something, if anybody counts that.
    #[inline]
    pub(super) fn claim(&self, unit: &Unit, worker: UnitId) {
        if self.counts_load {
            unit.claim(worker);
        }
    }

    /// A worker has been given something, if anybody counts that.
    #[inline]
    pub(super) fn count_load(&self, unit: &Unit, worker: UnitId) {
        if self.counts_load {
            unit.count_given(worker);
        }
    }

    /// Whether a worker takes no message now.
    #[inline]
    pub(super) fn is_shut(&self, unit: &Unit, worker: UnitId) -> bool {
        unit.is_full(worker, self.dispatch.limit()) || unit.outbox.borrow().is_blocked(worker.0)
    }

    /// Whom a connection has to wait for before it is read, if for anybody.
    pub(super) fn blocked_worker(&self, unit: &Unit, session: SessionId) -> Option<UnitId> {
        let peer = &mut *self.state.borrow_mut();
        self.worker_to_wait_for(unit, peer.peers.get_mut(session)?)
    }

    /// The same before its next message is handed over.
    pub(super) fn worker_to_wait_for(&self, unit: &Unit, peer: &mut Peer) -> Option<UnitId> {
        if self.is_own_worker {
            return unit.has_enough().then_some(unit.plan.id);
        }
        if self.dispatch.limit().is_none() && !unit.outbox.borrow().has_pending() {
            return None;
        }
        let is_shut = |worker: &UnitId| self.is_shut(unit, *worker);
        if self.dispatch.has_chooser() {
            // The one that it chose last is likely to be the next, too.
            let is_much = unit.outbox.borrow().pending_bytes() > MOST_WAITING;
            return Some(peer.worker).filter(is_shut).or_else(|| is_much.then_some(ANYBODY));
        }
        let record = unit.runtime.control.connections.get(peer.session.0);
        if let Some(worker) = self.dispatch.of_connection(peer.session, record) {
            return Some(worker).filter(is_shut);
        }
        if self.dispatch.is_in_turn() {
            let turn = *peer.turn.get_or_insert_with(|| self.next_worker(unit));
            return Some(turn).filter(is_shut);
        }
        self.dispatch.workers().iter().all(is_shut).then_some(ANYBODY)
    }

    /// Whether what a connection waits for is there.
    pub(super) fn has_room(&self, unit: &Unit, worker: UnitId) -> bool {
        if self.is_own_worker {
            return !unit.has_enough();
        }
        if worker == ANYBODY {
            let is_much = unit.outbox.borrow().pending_bytes() > MOST_WAITING;
            let mut workers = self.dispatch.workers().iter();
            return !(self.dispatch.has_chooser() && is_much)
                && workers.any(|worker| !self.is_shut(unit, *worker));
        }
        let mut outbox = unit.outbox.borrow_mut();
        outbox.reserve(worker.0, LARGEST_MESSAGE, LARGEST_MESSAGE).is_some()
            && !unit.is_full(worker, self.dispatch.limit())
    }
}
