//! Connections that are not read for a while: paused, not confirmed, or too much for their worker.
//!
//! Events of such a connection pass by, since they come once: when no reason is left it is read as
//! if one had come. Its end is not noticed before that, unless output fails.

use std::sync::atomic::Ordering;

use crate::model::connection::Connection;
use crate::model::kind::{hold, MessageKind};
use crate::model::{SessionId, UnitId};

use super::peers::{Life, Peer};
use super::{Reactor, State};
use crate::unit::Unit;

impl Peer {
    /// Whether it is its worker that keeps it from being read.
    pub(super) fn is_full(&self) -> bool {
        self.held & hold::FULL != 0
    }

    /// Not to be read, for this reason.
    pub(super) fn hold(&mut self, reason: u8) {
        if self.held == 0 {
            self.written_before = self.stream.written_bytes();
        }
        self.held |= reason;
    }

    /// Bytes that its worker was given: those that were read but for what is no whole message yet.
    pub(super) fn given_bytes(&self, record: &Connection) -> u64 {
        let read = record.dispatched_bytes.load(Ordering::Relaxed);
        read.saturating_sub(self.unread.len() as u64)
    }
}

impl Reactor {
    /// Reads a connection no more, for one of the reasons in [`hold`].
    pub(in crate::unit) fn pause(&self, unit: &Unit, session: SessionId, reason: u8) {
        if !self.knows(session) {
            self.take_in_post(unit);
        }
        if let Some(peer) = self.state.borrow_mut().peers.get_mut(session) {
            peer.hold(reason);
        }
    }

    /// One reason is gone: reads what has come meanwhile, in this turn or the next, if no other is
    /// left.
    pub(in crate::unit) fn resume(&self, unit: &Unit, session: SessionId, reason: u8) {
        if !self.knows(session) {
            self.take_in_post(unit);
        }
        let was_held = {
            let State { peers, .. } = &mut *self.state.borrow_mut();
            let Some(peer) = peers.get_mut(session) else { return };
            let before = peer.held;
            peer.held &= !reason;
            before != 0 && peer.is_read()
        };
        if was_held && !self.is_quiet.get() {
            self.queue(session, None);
        }
    }

    /// Nobody reads, and what was written since then has met a connection that is broken.
    pub(super) fn end_if_output_fails(&self, session: SessionId) {
        let State { peers, broken, .. } = &mut *self.state.borrow_mut();
        let Some(peer) = peers.get_mut(session) else { return };
        if peer.held != 0 && peer.stream.written_bytes() != peer.written_before {
            if let Some(errno) = peer.stream.take_failure() {
                broken.push((session, errno));
            }
        }
    }

    /// A worker has started anew: its predecessor may have died between doing something and saying
    /// so.
    pub(super) fn catch_up(&self, unit: &Unit, worker: UnitId) {
        for session in self.say_given(unit, worker) {
            self.resume(unit, session, hold::UNCONFIRMED);
        }
    }

    /// Tells a worker what it was given; the connections that were confirmed without a word.
    fn say_given(&self, unit: &Unit, worker: UnitId) -> Vec<SessionId> {
        let mut confirmed = Vec::new();
        let State { peers, .. } = &*self.state.borrow();
        for peer in peers.iter().filter(|peer| peer.worker == worker && peer.life == Life::Open) {
            let session = peer.session;
            let Some(record) = unit.runtime.control.connections.get(session.0) else { continue };
            if record.undelivered_bytes() > 0 {
                let given = peer.given_bytes(record);
                unit.post(worker, MessageKind::Given, session, given, &[]);
            }
            if peer.held & hold::UNCONFIRMED != 0 && !record.is_unconfirmed() {
                confirmed.push(session);
            }
        }
        confirmed
    }
}
