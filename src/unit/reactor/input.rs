//! What comes in: reading, and which connections are read when.

use std::sync::atomic::Ordering;

use crate::model::connection::Connection;
use crate::model::kind::{hold, MessageKind};
use crate::model::{SessionId, UnitId};
use crate::net::stream::{Moved, NO_MEMORY};
use crate::net::tls::is_client_hello;
use crate::proto::raw::LARGEST_MESSAGE;

use super::framing::Batch;
use super::peers::Peer;
use super::{Reactor, State};
use crate::unit::Unit;

/// Reads of one connection before others have their turn.
const READS_PER_TURN: usize = 16;

/// Why reading of a connection stopped.
pub(super) enum Stop {
    /// Nothing is left to read, or it is not to be read now.
    Drained,
    /// There may be more; others come first.
    Turn,
    /// The lane of this worker is full.
    Full(UnitId),
    /// The peer has ended (0) or the connection is broken (`errno`).
    Ended(i32),
}

impl Reactor {
    /// Reads a connection until nothing is left or others come first. `is_final`: a short read does
    /// not prove that nothing is left.
    pub(super) fn read(&self, unit: &Unit, session: SessionId, is_final: bool) {
        if self.is_quiet.get() {
            return;
        }
        let into_lane = match self.is_own_worker || !self.dispatch.is_for_life() {
            true => None,
            false => self.read_into_lane(unit, session, is_final),
        };
        let stop = into_lane.unwrap_or_else(|| self.read_framed(unit, session, is_final));
        match stop {
            Stop::Drained => {}
            Stop::Turn => self.queue(session, None),
            Stop::Full(worker) => self.queue(session, Some(worker)),
            Stop::Ended(errno) => self.end_of_peer(unit, session, errno),
        }
    }

    /// Remembers that a connection is to be read later, once.
    pub(super) fn queue(&self, session: SessionId, stalled_by: Option<UnitId>) {
        let state = &mut *self.state.borrow_mut();
        let Some(peer) = state.peers.get_mut(session) else { return };
        if std::mem::replace(&mut peer.is_queued, true) {
            return;
        }
        match stalled_by {
            Some(worker) => state.stalled.push(worker, session),
            None => state.unfinished.push_back(session),
        }
    }

    /// Reads straight to where the worker finds it; `None` if messages have to be cut first.
    fn read_into_lane(&self, unit: &Unit, session: SessionId, is_final: bool) -> Option<Stop> {
        let state = &mut *self.state.borrow_mut();
        let peer = state.peers.get_mut(session).filter(|peer| peer.is_read());
        let Some(peer) = peer else { return Some(Stop::Drained) };
        if !peer.framer.takes_anything() {
            return None;
        }
        self.settle_worker(unit, peer);
        Some(self.read_all(unit, peer, is_final))
    }

    /// Reads, and hands over the messages that the framer finds.
    fn read_framed(&self, unit: &Unit, session: SessionId, is_final: bool) -> Stop {
        for _ in 0..READS_PER_TURN {
            if unit.leaves_alone() {
                return Stop::Drained;
            }
            if let Some(worker) = self.blocked_worker(unit, session) {
                return Stop::Full(worker);
            }
            let mut batch = match self.begin_batch(session) {
                Some(Ok(batch)) => batch,
                Some(Err(_)) => return Stop::Ended(NO_MEMORY),
                None => return Stop::Drained,
            };
            let stop = self.read_batch(unit, session, &mut batch, is_final);
            self.end_batch(session, batch);
            if let Some(stop) = stop {
                return stop;
            }
        }
        Stop::Turn
    }

    /// One read, and what comes of it; `None` if there may be more to read. What was read before
    /// and had to wait comes first.
    fn read_batch(
        &self,
        unit: &Unit,
        session: SessionId,
        batch: &mut Batch,
        is_final: bool,
    ) -> Option<Stop> {
        if batch.is_due() {
            if let Some(stop) = self.cut(unit, session, batch) {
                return Some(stop);
            }
        }
        let Ok(room) = batch.room() else { return Some(Stop::Ended(NO_MEMORY)) };
        let most = room.len();
        let count = match self.read_once(unit, session, room) {
            Moved::Bytes(count) => count,
            Moved::WouldBlock if self.has_pending(session) => return Some(Stop::Turn),
            Moved::WouldBlock => return Some(Stop::Drained),
            Moved::End => return Some(Stop::Ended(0)),
            Moved::Broken(errno) => return Some(Stop::Ended(errno)),
        };
        let is_full = count == most;
        if count_read(unit, session, count) {
            look_for_tls(unit, session, room.get(..count).unwrap_or_default());
        }
        batch.unread.add(count);
        let stop = if batch.is_due() { self.cut(unit, session, batch) } else { None };
        let is_drained = || !is_full && !is_final && !self.has_pending(session);
        stop.or_else(|| is_drained().then_some(Stop::Drained))
    }

    fn read_once(&self, unit: &Unit, session: SessionId, into: &mut [u8]) -> Moved {
        match self.state.borrow_mut().peers.get_mut(session) {
            Some(peer) if peer.is_read() => {
                let moved = peer.stream.read(into);
                match moved {
                    Moved::Bytes(_) => peer.traffic.heard_ns = unit.now.get().monotonic_ns,
                    Moved::WouldBlock | Moved::End | Moved::Broken(_) => peer.listen(unit),
                }
                moved
            }
            Some(_) | None => Moved::WouldBlock,
        }
    }

    /// Whether there is more to read although the socket has none.
    fn has_pending(&self, session: SessionId) -> bool {
        let mut state = self.state.borrow_mut();
        state.peers.get_mut(session).is_some_and(|peer| peer.stream.has_pending_input())
    }

    /// Goes on with connections that had to let others come first.
    pub(super) fn read_unfinished(&self, unit: &Unit) {
        let count = self.state.borrow().unfinished.len();
        for _ in 0..count {
            let Some(session) = self.state.borrow_mut().unfinished.pop_front() else { return };
            self.read_queued(unit, session);
        }
    }

    /// Goes on with connections whose worker has room again, each worker's until its lane is full.
    pub(super) fn read_stalled(&self, unit: &Unit) {
        let workers: usize = self.state.borrow().stalled.rows.len();
        for index in 0..workers {
            while let Some(session) = self.next_stalled(unit, index) {
                self.read_queued(unit, session);
            }
        }
    }

    fn next_stalled(&self, unit: &Unit, index: usize) -> Option<SessionId> {
        let State { stalled, .. } = &mut *self.state.borrow_mut();
        let (worker, queue) = stalled.rows.get_mut(index)?;
        queue.front()?;
        match self.has_room(unit, *worker) {
            true => queue.pop_front(),
            false => None,
        }
    }

    fn read_queued(&self, unit: &Unit, session: SessionId) {
        if let Some(peer) = self.state.borrow_mut().peers.get_mut(session) {
            peer.is_queued = false;
        }
        // Events may have come and gone while it waited: only reading tells whether it has ended.
        self.read(unit, session, true);
    }

    /// Reads a connection into the lane of its worker, message by message.
    fn read_all(&self, unit: &Unit, peer: &mut Peer, is_final: bool) -> Stop {
        let limit = unit.runtime.settings.max_queued_bytes;
        let outbox = &mut *unit.outbox.borrow_mut();
        for _ in 0..READS_PER_TURN {
            if unit.is_full(peer.worker, self.dispatch.limit()) {
                return Stop::Full(peer.worker);
            }
            let reserved = outbox.reserve(peer.worker.0, LARGEST_MESSAGE, LARGEST_MESSAGE);
            let Some(mut grant) = reserved else { return Stop::Full(peer.worker) };
            match peer.stream.read(&mut grant) {
                Moved::Bytes(count) => {
                    if count_read(unit, peer.session, count) {
                        look_for_tls(unit, peer.session, grant.get(..count).unwrap_or_default());
                    }
                    count_given(unit, peer.session, count);
                    self.claim(unit, peer.worker);
                    grant.publish(&unit.header(MessageKind::Receive, peer.session, 0), count);
                    self.count_load(unit, peer.worker);
                    peer.traffic.heard_ns = unit.now.get().monotonic_ns;
                    if limit > 0 && hold_full(unit, peer, limit) {
                        return Stop::Drained;
                    }
                    let is_short = count < LARGEST_MESSAGE && !is_final;
                    if is_short && !peer.stream.has_pending_input() {
                        return Stop::Drained;
                    }
                }
                Moved::WouldBlock => {
                    peer.listen(unit);
                    return match peer.stream.has_pending_input() {
                        true => Stop::Turn,
                        false => Stop::Drained,
                    };
                }
                Moved::End => return Stop::Ended(0),
                Moved::Broken(errno) => return Stop::Ended(errno),
            }
        }
        Stop::Turn
    }
}

impl State {
    /// Reads a connection soon if it waits for room: another worker may be the one now.
    pub(super) fn choose_again(&mut self, session: SessionId) {
        for (_, queue) in &mut self.stalled.rows {
            if let Some(at) = queue.iter().position(|waiting| *waiting == session) {
                queue.remove(at);
                self.unfinished.push_back(session);
                return;
            }
        }
    }
}

impl Peer {
    /// A read has given nothing. What has come all the same, a part of a record of TLS, shows that
    /// the peer is there.
    pub(super) fn listen(&mut self, unit: &Unit) {
        if self.stream.has_heard() {
            self.traffic.heard_ns = unit.now.get().monotonic_ns;
            if let Some(record) = unit.runtime.control.connections.get(self.session.0) {
                note_heard(unit, record);
            }
        }
    }
}

fn note_heard(unit: &Unit, record: &Connection) {
    let now = unit.now.get();
    record.last_recv_ns.store(now.wall_ns, Ordering::Relaxed);
    record.heard_ns.store(now.monotonic_ns, Ordering::Relaxed);
}

/// Counts what was read; whether no message was made of what came before.
#[inline]
fn count_read(unit: &Unit, session: SessionId, count: usize) -> bool {
    let (mut port, mut is_first) = (0, false);
    if let Some(record) = unit.runtime.control.connections.get(session.0) {
        port = record.port();
        is_first = record.dispatched_bytes.load(Ordering::Relaxed) == 0;
        note_heard(unit, record);
    }
    unit.count(port, |counters| counters.received_bytes.add(count as u64));
    is_first
}

/// A message goes to its worker. Counted first: the worker must not have taken more than it was
/// given.
#[inline]
pub(super) fn count_given(unit: &Unit, session: SessionId, count: usize) {
    let mut port = 0;
    if let Some(record) = unit.runtime.control.connections.get(session.0) {
        port = record.port();
        let before = record.dispatched_bytes.load(Ordering::Relaxed);
        record.dispatched_bytes.store(before.wrapping_add(count as u64), Ordering::Relaxed);
    }
    unit.count(port, |counters| counters.dispatched.add(1));
}

/// A client that speaks TLS where nobody understands it waits for ever: somebody should know.
fn look_for_tls(unit: &Unit, session: SessionId, bytes: &[u8]) {
    if !is_client_hello(bytes) {
        return;
    }
    let Some(record) = unit.runtime.control.connections.get(session.0) else { return };
    let Some(port) = unit.runtime.port_of(record).filter(|port| port.tls.is_none()) else { return };
    let peer = record.peer().map(|peer| peer.host()).unwrap_or_default();
    crate::warn_limited!(
        "a client ({peer}) speaks TLS to {}:{}, a port without it",
        port.listener.host(),
        port.listener.port()
    );
}

/// Stops reading a connection of whose bytes its worker has more than `limit`. Whoever takes them
/// tells when there are few enough.
pub(super) fn hold_full(unit: &Unit, peer: &mut Peer, limit: u64) -> bool {
    let Some(record) = unit.runtime.control.connections.get(peer.session.0) else { return false };
    let is_full = record.await_worker(record.dispatched_bytes.load(Ordering::Relaxed), limit);
    if is_full {
        peer.hold(hold::FULL);
    }
    is_full
}
