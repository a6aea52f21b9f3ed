//! Much waits for a peer, or little again: what the others see of it, and what its worker is told.
//!
//! A buffer becomes full when as much waits as its high watermark says, or when a send was refused
//! because too much waits: here, or on its way here. It becomes empty when no more waits than its
//! low watermark says. Full and empty follow each other by turns, and whoever was refused is told
//! when it may go on. Callbacks run when the turn ends, never inside a send.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;

use crate::model::connection::Connection;
use crate::model::dispatch::Subject;
use crate::model::hooks::EventKind;
use crate::model::kind::MessageKind;
use crate::model::{SessionId, UnitId};

use super::peers::Peer;
use super::Reactor;
use crate::unit::later::has_room;
use crate::unit::Unit;

/// Buffers that have become full or empty.
#[derive(Default)]
pub(super) struct Levels {
    queue: VecDeque<(SessionId, EventKind)>,
    /// Who waits for room for a connection.
    awaited: HashMap<SessionId, Vec<UnitId>>,
    /// Connections for which there is room now, or never again.
    roomy: VecDeque<SessionId>,
}

impl Levels {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.roomy.is_empty()
    }

    /// A connection has ended: nobody waits for it any longer.
    pub(super) fn end(&mut self, session: SessionId) {
        if self.awaited.contains_key(&session) {
            self.roomy.push_back(session);
        }
    }
}

/// Lets the others see how much waits, and notes whether that is much or little.
#[cold]
pub(super) fn note_level(unit: &Unit, peer: &mut Peer, record: &Connection, levels: &mut Levels) {
    record.queued_file_bytes.store(peer.out.file_bytes(), Ordering::Relaxed);
    record.queued_files.store(peer.out.file_count(), Ordering::Relaxed);
    peer.has_waited = peer.has_waiting();
    if levels.awaited.contains_key(&peer.session) && has_room(unit, record) {
        levels.roomy.push_back(peer.session);
    }
    let Some(port) = unit.runtime.port_of(record) else { return };
    let has = |kind| port.hooks.has(kind);
    let (tells_full, tells_empty) = (has(EventKind::BufferFull), has(EventKind::BufferEmpty));
    if !tells_full && !tells_empty {
        return;
    }
    let settings = &port.settings;
    let full = if tells_full { settings.high_watermark } else { settings.socket_buffer_size };
    let waiting = peer.waiting_bytes();
    let is_refused = record.refused.load(Ordering::Relaxed) != 0;
    if !peer.is_full && (is_refused || waiting >= full) {
        peer.is_full = true;
        if tells_full {
            levels.queue.push_back((peer.session, EventKind::BufferFull));
        }
    }
    if peer.is_full && waiting <= settings.low_watermark && (waiting < full || waiting == 0) {
        peer.is_full = false;
        record.refused.store(0, Ordering::Relaxed);
        if tells_empty {
            levels.queue.push_back((peer.session, EventKind::BufferEmpty));
        }
    }
}

impl Reactor {
    /// A send was refused, and whoever it was waits to hear when there is room.
    pub(in crate::unit) fn note_refused(&self, unit: &Unit, session: SessionId) {
        let state = &mut *self.state.borrow_mut();
        let record = unit.runtime.control.connections.get(session.0);
        if let (Some(peer), Some(record)) = (state.peers.get_mut(session), record) {
            note_level(unit, peer, record, &mut state.levels);
        }
    }

    /// A unit waits until there is room for a connection, behind what it has sent before.
    pub(in crate::unit) fn await_room(&self, unit: &Unit, session: SessionId, waiter: UnitId) {
        let state = &mut *self.state.borrow_mut();
        let waiters = state.levels.awaited.entry(session).or_default();
        if !waiters.contains(&waiter) {
            waiters.push(waiter);
        }
        let record = unit.runtime.control.connections.get(session.0);
        let waits = state.peers.get_mut(session).is_some()
            && record.is_some_and(|record| !has_room(unit, record));
        if !waits {
            state.levels.roomy.push_back(session);
        }
    }

    /// Tells whoever waits that there is room, or that the connection has ended.
    fn tell_room(&self, unit: &Unit) {
        let count = self.state.borrow().levels.roomy.len();
        for _ in 0..count {
            let waiters = {
                let levels = &mut self.state.borrow_mut().levels;
                levels.roomy.pop_front().and_then(|session| {
                    levels.awaited.remove(&session).map(|waiters| (session, waiters))
                })
            };
            let Some((session, waiters)) = waiters else { continue };
            for waiter in waiters {
                match waiter == unit.plan.id {
                    true => unit.send_waiting(session),
                    false => unit.post(waiter, MessageKind::Room, session, 0, &[]),
                }
            }
        }
    }

    /// Tells workers of buffers that have become full or empty. What their callbacks bring about
    /// has its turn after other connections.
    pub(super) fn tell_levels(&self, unit: &Unit) {
        self.tell_room(unit);
        let count = self.state.borrow().levels.queue.len();
        for _ in 0..count {
            let Some((session, kind)) = self.state.borrow_mut().levels.queue.pop_front() else {
                return;
            };
            match &unit.worker {
                Some(own) if self.is_own_worker => {
                    own.tell_level(unit, session, kind);
                    self.flush_burst(unit);
                }
                Some(_) | None => {
                    let (message, subject) = match kind {
                        EventKind::BufferFull => (MessageKind::BufferFull, Subject::BufferFull),
                        _ => (MessageKind::BufferEmpty, Subject::BufferEmpty),
                    };
                    if let Some(worker) = self.worker_for(unit, session, subject) {
                        unit.post(worker, message, session, 0, &[]);
                    }
                }
            }
        }
    }
}
