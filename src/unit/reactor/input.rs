//! What comes in: reading, cutting messages, handing them to their worker.

use std::sync::atomic::Ordering;

use crate::model::kind::{hold, MessageKind};
use crate::model::{SessionId, UnitId};
use crate::net::stream::Moved;
use crate::proto::framer::{Framer, Verdict};
use crate::proto::raw::LARGEST_MESSAGE;

use super::peers::{Life, Peer};
use super::{Reactor, State};
use crate::unit::Unit;

/// Reads of one connection before others have their turn.
const READS_PER_TURN: usize = 16;

/// Why reading of a connection stopped.
enum Stop {
    /// Nothing is left to read.
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
        let stop = into_lane.unwrap_or_else(|| self.read_through_framer(unit, session, is_final));
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

    fn read_through_framer(&self, unit: &Unit, session: SessionId, is_final: bool) -> Stop {
        for _ in 0..READS_PER_TURN {
            if unit.leaves_alone() {
                return Stop::Drained;
            }
            if let Some(worker) = self.blocked_worker(unit, session) {
                return Stop::Full(worker);
            }
            // The buffer is taken out while callbacks run, so that no borrow is held.
            let taken = self.state.borrow_mut().scratch.take();
            let Some(mut scratch) = taken else { return Stop::Turn };
            let moved = self.read_once(unit, session, &mut scratch);
            let stop = match moved {
                Moved::Bytes(count) => {
                    count_read(unit, session, count);
                    let is_whole = count == scratch.len();
                    if !self.cut(unit, session, scratch.get_mut(..count).unwrap_or_default()) {
                        Some(Stop::Ended(0))
                    } else if self.hold_if_full(unit, session) {
                        Some(Stop::Drained)
                    } else {
                        (!is_whole && !is_final).then_some(Stop::Drained)
                    }
                }
                Moved::WouldBlock => Some(Stop::Drained),
                Moved::End => Some(Stop::Ended(0)),
                Moved::Broken(errno) => Some(Stop::Ended(errno)),
            };
            self.state.borrow_mut().scratch = Some(scratch);
            if let Some(stop) = stop {
                return stop;
            }
        }
        Stop::Turn
    }

    /// Stops reading a connection whose worker has too many of its bytes.
    fn hold_if_full(&self, unit: &Unit, session: SessionId) -> bool {
        let limit = unit.runtime.settings.max_queued_bytes;
        let State { peers, .. } = &mut *self.state.borrow_mut();
        limit > 0 && peers.get_mut(session).is_some_and(|peer| hold_full(unit, peer, limit))
    }

    fn read_once(&self, unit: &Unit, session: SessionId, into: &mut [u8]) -> Moved {
        match self.state.borrow_mut().peers.get_mut(session) {
            Some(peer) if peer.is_read() => {
                let moved = peer.stream.read(into);
                if let Moved::Bytes(_) = moved {
                    peer.traffic.heard_ns = unit.now.get().monotonic_ns;
                }
                moved
            }
            Some(_) | None => Moved::WouldBlock,
        }
    }

    /// Cuts messages and hands each over. False if the bytes break the protocol.
    fn cut(&self, unit: &Unit, session: SessionId, bytes: &mut [u8]) -> bool {
        let Some(kept) = self.take_unread(session) else { return true };
        let mut joined;
        let mut rest = match kept.is_empty() {
            true => bytes,
            false => {
                joined = [kept.as_slice(), bytes].concat();
                joined.as_mut_slice()
            }
        };
        while !rest.is_empty() {
            let verdict = match self.state.borrow_mut().peers.get_mut(session) {
                // A worker that leaves takes no message more, whatever was read with the last.
                Some(peer) if peer.life == Life::Open && !unit.leaves_alone() => {
                    peer.framer.next(rest)
                }
                Some(_) | None => return true,
            };
            match verdict {
                Verdict::Message(message) => {
                    if !self.hand_over(unit, session, message.bytes(rest)) {
                        return false;
                    }
                    rest = rest.get_mut(message.used..).unwrap_or_default();
                }
                Verdict::More { .. } => {
                    self.keep_unread(session, rest);
                    return true;
                }
                // Only the raw framer is chosen, which says none of these.
                Verdict::Skip { .. } | Verdict::Answer(_) | Verdict::Broken(_) | Verdict::End => {
                    return false
                }
            }
        }
        true
    }

    fn take_unread(&self, session: SessionId) -> Option<Vec<u8>> {
        let mut state = self.state.borrow_mut();
        state.peers.get_mut(session).map(|peer| std::mem::take(&mut peer.unread))
    }

    fn keep_unread(&self, session: SessionId, rest: &[u8]) {
        if let Some(peer) = self.state.borrow_mut().peers.get_mut(session) {
            peer.unread.extend_from_slice(rest);
        }
    }

    /// False: the connection has to be closed.
    #[inline]
    fn hand_over(&self, unit: &Unit, session: SessionId, message: &[u8]) -> bool {
        match &unit.worker {
            Some(own) if self.is_own_worker => {
                own.receive(unit, session, unit.now.get().wall_ns, message, None);
                self.flush_burst(unit);
                true
            }
            Some(_) | None => self.give(unit, session, message),
        }
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
                    // Counted first: the worker must not have taken more than was handed over.
                    count_read(unit, peer.session, count);
                    grant.publish(&unit.header(MessageKind::Receive, peer.session, 0), count);
                    self.count_given(unit, peer.worker);
                    peer.traffic.heard_ns = unit.now.get().monotonic_ns;
                    if limit > 0 && hold_full(unit, peer, limit) {
                        return Stop::Drained;
                    }
                    if count < LARGEST_MESSAGE && !is_final {
                        return Stop::Drained;
                    }
                }
                Moved::WouldBlock => return Stop::Drained,
                Moved::End => return Stop::Ended(0),
                Moved::Broken(errno) => return Stop::Ended(errno),
            }
        }
        Stop::Turn
    }
}

#[inline]
fn count_read(unit: &Unit, session: SessionId, count: usize) {
    let mut port = 0;
    if let Some(record) = unit.runtime.control.connections.get(session.0) {
        port = record.port();
        let before = record.dispatched_bytes.load(Ordering::Relaxed);
        record.dispatched_bytes.store(before.wrapping_add(count as u64), Ordering::Relaxed);
        record.last_recv_ns.store(unit.now.get().wall_ns, Ordering::Relaxed);
    }
    unit.count(port, |counters| {
        counters.received_bytes.add(count as u64);
        counters.dispatched.add(1);
    });
}

/// Stops reading a connection of whose bytes its worker has more than `limit`. Whoever takes them
/// tells when there are few enough.
fn hold_full(unit: &Unit, peer: &mut Peer, limit: u64) -> bool {
    let Some(record) = unit.runtime.control.connections.get(peer.session.0) else { return false };
    let is_full = record.await_worker(peer.given_bytes(record), limit);
    if is_full {
        peer.hold(hold::FULL);
    }
    is_full
}
