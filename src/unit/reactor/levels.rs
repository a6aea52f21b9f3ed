//! Much waits for a peer, or little again: what the others see of it, and what its worker is told.
//!
//! A buffer becomes full when as much waits as its high watermark says, or when a send was refused
//! because too much waits: here, or on its way here. It becomes empty when no more waits than its
//! low watermark says. Full and empty follow each other by turns, and whoever was refused is told
//! when it may go on. Callbacks run when the turn ends, never inside a send.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use crate::model::connection::Connection;
use crate::model::hooks::EventKind;
use crate::model::kind::MessageKind;
use crate::model::SessionId;

use super::peers::Peer;
use super::Reactor;
use crate::unit::Unit;

/// Buffers that have become full or empty.
#[derive(Default)]
pub(super) struct Levels {
    queue: VecDeque<(SessionId, EventKind)>,
}

impl Levels {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// Lets the others see how much waits, and notes whether that is much or little.
#[cold]
pub(super) fn note_level(unit: &Unit, peer: &mut Peer, record: &Connection, levels: &mut Levels) {
    record.queued_file_bytes.store(peer.out.file_bytes(), Ordering::Relaxed);
    record.queued_files.store(peer.out.file_count(), Ordering::Relaxed);
    peer.has_waited = !peer.out.is_empty();
    let Some(port) = unit.runtime.port_of(record) else { return };
    let has = |kind| port.hooks.has(kind);
    let (tells_full, tells_empty) = (has(EventKind::BufferFull), has(EventKind::BufferEmpty));
    if !tells_full && !tells_empty {
        return;
    }
    let settings = &port.settings;
    let full = if tells_full { settings.high_watermark } else { settings.socket_buffer_size };
    let waiting = peer.out.len() as u64;
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

    /// Tells workers of buffers that have become full or empty. What their callbacks bring about
    /// has its turn after other connections.
    pub(super) fn tell_levels(&self, unit: &Unit) {
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
                    let message = match kind {
                        EventKind::BufferFull => MessageKind::BufferFull,
                        _ => MessageKind::BufferEmpty,
                    };
                    let worker = self.dispatch.worker(session);
                    unit.post(worker, message, session, 0, &[]);
                }
            }
        }
    }
}
