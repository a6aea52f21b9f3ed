//! How connections end: by the peer, by the server, by a broken socket, with the server.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::model::connection::Connection;
use crate::model::kind::MessageKind;
use crate::model::{SessionId, UnitId};
use crate::net::stream::{Moved, Stream};
use crate::os::clock;

use super::peers::{Life, Peer};
use super::{Reactor, State};
use crate::unit::Unit;

/// Reads that throw away what a peer still sent before its connection is closed.
const DISCARDING_READS: usize = 64;
/// Bytes of each of them.
const DISCARDED_BYTES: usize = 4 * 1024;
/// How long the peers of a unit that leaves alone may take to hear of it.
const FAREWELL_NS: u64 = 1_000_000_000;
/// How often it is looked at whether they have.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl Reactor {
    /// The peer has ended (0) or the connection is broken (`errno`): the worker is told.
    pub(super) fn end_of_peer(&self, unit: &Unit, session: SessionId, errno: i32) {
        if !self.begin_closing(unit, session, errno) {
            return;
        }
        if let Some(record) = unit.runtime.control.connections.get(session.0) {
            record.close_errno.store(errno, Ordering::Relaxed);
        }
        self.tell_end(unit, session);
    }

    /// The server ends a connection by itself: output is dropped, the worker is told. One that is
    /// closed already, and whose output nobody takes, goes at once.
    pub(super) fn end_forcibly(&self, unit: &Unit, session: SessionId) {
        {
            let state = &mut *self.state.borrow_mut();
            state.flush_burst(unit);
            let Some(peer) = state.peers.get_mut(session) else { return };
            match peer.life {
                Life::Draining => return state.release(unit, session, false),
                Life::Shaking => return state.release(unit, session, false),
                Life::Closing => return,
                Life::Open => {}
            }
            peer.cut(&unit.runtime.control.connections, &mut state.pool);
            peer.life = Life::Closing;
        }
        if let Some(record) = unit.runtime.control.connections.get(session.0) {
            record.blame_server();
        }
        self.tell_end(unit, session);
    }

    /// The peer has broken the protocol, of which `code` is the error, or taken its leave (0). What
    /// was sent to it still goes out; what it sends is thrown away.
    pub(super) fn end_of_protocol(&self, unit: &Unit, session: SessionId, code: i32) {
        match self.state.borrow_mut().peers.get_mut(session) {
            Some(peer) if peer.life == Life::Open => peer.life = Life::Closing,
            Some(_) | None => return,
        }
        if let Some(record) = unit.runtime.control.connections.get(session.0) {
            record.close_errno.store(code, Ordering::Relaxed);
        }
        self.tell_end(unit, session);
    }

    fn tell_end(&self, unit: &Unit, session: SessionId) {
        match &unit.worker {
            Some(own) if self.is_own_worker => own.close_for_peer(unit, session),
            Some(_) | None => {
                let worker = self.closing_worker(unit, session);
                unit.post(worker, MessageKind::Close, session, 0, &[]);
            }
        }
    }

    /// Moves an open connection of this reactor to `Closing`; whether it was open.
    fn begin_closing(&self, unit: &Unit, session: SessionId, errno: i32) -> bool {
        let state = &mut *self.state.borrow_mut();
        let Some(peer) = state.peers.get_mut(session) else { return false };
        peer.has_ended = true;
        if errno != 0 {
            peer.cut(&unit.runtime.control.connections, &mut state.pool);
        }
        if peer.life != Life::Open {
            return false;
        }
        peer.life = Life::Closing;
        true
    }

    /// This worker runs its close callback: nothing is read any more.
    pub(in crate::unit) fn shut(&self, unit: &Unit, session: SessionId, worker: UnitId) {
        if !self.knows(session) {
            self.take_in_post(unit);
        }
        let state = &mut *self.state.borrow_mut();
        let Some(peer) = state.peers.get_mut(session) else { return };
        peer.worker = worker;
        if peer.life == Life::Open {
            peer.life = Life::Closing;
        }
    }

    /// Somebody else than its worker closes a connection: the worker is told behind all that it was
    /// told before, be it only that there is one.
    pub(in crate::unit) fn close_for(&self, unit: &Unit, session: SessionId, is_reset: bool) {
        if !self.knows(session) {
            self.take_in_post(unit);
        }
        self.greet(unit);
        if !self.knows(session) {
            return;
        }
        match &unit.worker {
            Some(own) if self.is_own_worker => own.close(unit, session, is_reset),
            Some(_) | None => {
                let worker = self.closing_worker(unit, session);
                unit.post(worker, MessageKind::CloseFor, session, u64::from(is_reset), &[]);
            }
        }
    }

    /// The worker is done with a connection: it goes as soon as its output has gone, at once if
    /// `is_reset`.
    pub(in crate::unit) fn finish(&self, unit: &Unit, session: SessionId, is_reset: bool) {
        let state = &mut *self.state.borrow_mut();
        state.flush_burst(unit);
        let Some(peer) = state.peers.get_mut(session) else { return };
        peer.life = Life::Draining;
        if is_reset {
            peer.cut(&unit.runtime.control.connections, &mut state.pool);
        }
        if is_reset || peer.is_done() {
            state.release(unit, session, is_reset);
        }
    }

    /// A worker has started anew: what its predecessor was told, or had begun, and did not answer
    /// is told again. The close callback runs once all the same, the shared record sees to it.
    pub(in crate::unit) fn ask_again(&self, unit: &Unit, worker: UnitId) {
        self.catch_up(unit, worker);
        let owed: Vec<SessionId> = {
            let State { peers, .. } = &mut *self.state.borrow_mut();
            let mut owed = Vec::new();
            // Where anybody may have closed it, it is asked who has begun.
            let is_its = |peer: &&mut Peer| {
                peer.worker == worker || closer(unit, peer.session) == Some(worker)
            };
            for peer in peers.iter_mut().filter(is_its) {
                if peer.life == Life::Open && closer(unit, peer.session).is_some() {
                    peer.life = Life::Closing;
                }
                if peer.life == Life::Closing {
                    owed.push(peer.session);
                }
            }
            owed
        };
        for session in owed {
            unit.post(worker, MessageKind::Close, session, 0, &[]);
        }
    }

    /// Ends the connections that broke while they were written to.
    pub(super) fn end_broken(&self, unit: &Unit) {
        loop {
            let Some((session, errno)) = self.state.borrow_mut().broken.pop() else { return };
            self.end_of_peer(unit, session, errno);
            let state = &mut *self.state.borrow_mut();
            if state.peers.get_mut(session).is_some_and(|peer| peer.life == Life::Draining) {
                state.release(unit, session, false);
            }
        }
    }

    /// Closes every connection, at the end of the unit. A worker in the same unit runs its close
    /// callbacks; others have ended before. If only this unit ends, no peer sees a reset.
    pub(in crate::unit) fn close_all(&self, unit: &Unit) {
        self.take_post(unit);
        if unit.leaves_alone() {
            self.state.borrow_mut().parting.replace(Vec::new());
        }
        let sessions: Vec<SessionId> =
            self.state.borrow().peers.iter().map(|peer| peer.session).collect();
        for session in sessions {
            match &unit.worker {
                Some(own) if self.is_own_worker => own.close(unit, session, false),
                Some(_) | None => {}
            }
            let state = &mut *self.state.borrow_mut();
            state.flush_burst(unit);
            state.release(unit, session, false);
        }
        let parting = self.state.borrow_mut().parting.take();
        see_off(parting.unwrap_or_default(), unit.finish_deadline_ns.get().unwrap_or(0));
    }

    /// Gives the slot of a connection back that never came to life.
    pub(super) fn forget(&self, unit: &Unit, session: SessionId) {
        let port = give_slot_back(unit, session);
        unit.count_aborted(port);
        count_closed(unit, port);
    }
}

impl State {
    /// Closes the descriptor, frees the slot, and with it the id for ever.
    pub(super) fn release(&mut self, unit: &Unit, session: SessionId, is_reset: bool) {
        let Some(peer) = self.peers.remove(session) else { return };
        self.levels.end(session);
        let port = give_slot_back(unit, session);
        count_closed(unit, port);
        let Peer { mut stream, mut out, has_ended, life, .. } = peer;
        out.clear(&mut self.pool);
        if life == Life::Shaking {
            unit.count_aborted(port);
        }
        if is_reset {
            stream.reset();
            return;
        }
        if !has_ended {
            // What the peer sent and nobody will read turns the close into a reset, which can
            // overtake the last answer. So the end goes out first: a peer that has it does not
            // see the reset. Then what is there is thrown away.
            stream.end_writing();
            discard(&mut stream);
            if let Some(parting) = &mut self.parting {
                parting.push(stream);
            }
        }
    }
}

/// Throws away what the peer has sent. False if it has ended.
fn discard(stream: &mut Stream) -> bool {
    let mut waste = [0; DISCARDED_BYTES];
    for _ in 0..DISCARDING_READS {
        match stream.discard(&mut waste) {
            Moved::Bytes(_) => {}
            Moved::WouldBlock => return true,
            Moved::End | Moved::Broken(_) => return false,
        }
    }
    true
}

/// Keeps connections whose writing has ended until their peers have all of it: one that goes on
/// sending would get a reset for that, and lose what is still on its way. No event tells of it, so
/// it is looked at again and again, until the deadline at the latest.
fn see_off(mut parting: Vec<Stream>, deadline_ns: u64) {
    let deadline_ns = deadline_ns.min(clock::monotonic_ns().saturating_add(FAREWELL_NS));
    loop {
        parting
            .retain_mut(|stream| stream.takes_leave() && discard(stream) && !stream.is_delivered());
        if parting.is_empty() || clock::monotonic_ns() >= deadline_ns {
            return;
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// The worker that has begun the close callback, as the shared record says.
fn closer(unit: &Unit, session: SessionId) -> Option<UnitId> {
    unit.runtime.control.connections.get(session.0).and_then(Connection::closer)
}

/// The id is gone for ever; the port that it was accepted on.
fn give_slot_back(unit: &Unit, session: SessionId) -> usize {
    let connections = &unit.runtime.control.connections;
    let Some(record) = connections.get(session.0) else { return 0 };
    let port = record.port();
    record.bury(session);
    connections.release(session.0);
    port
}

fn count_closed(unit: &Unit, port: usize) {
    unit.count(port, |counters| counters.closed.add(1));
}
