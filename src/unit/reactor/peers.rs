//! The connections of one reactor: what only their owner knows of them.

use std::sync::atomic::Ordering;

use slab::Slab;

use super::idle::Traffic;
use crate::model::connection::Connection;
use crate::model::{SessionId, UnitId};
use crate::net::in_buffer::Kept;
use crate::net::out_buffer::OutBuffer;
use crate::net::pool::Pool;
use crate::net::stream::{Moved, Stream};
use crate::proto::framer::Choice;
use crate::shm::Table;

/// In the index by slot: no connection. Zero, so that memory is touched only where there is one.
const NONE: u32 = 0;

/// How far the life of a connection is; see LIFECYCLE.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// The handshake of TLS runs: nobody else knows of the connection.
    Shaking,
    /// Bytes flow both ways.
    Open,
    /// The worker was told, or tells, that it ends; output still goes out.
    Closing,
    /// The worker is done; the connection goes when its output has gone.
    Draining,
}

/// One connection, as its reactor sees it.
pub(super) struct Peer {
    pub(super) session: SessionId,
    pub(super) stream: Stream,
    pub(super) out: OutBuffer,
    pub(super) framer: Choice,
    /// Bytes that were read and are no whole message yet, or wait for room.
    pub(super) unread: Kept,
    /// The framer is asked again when there are so many of them.
    pub(super) until: usize,
    /// They are being cut, somewhere below in the stack.
    pub(super) is_in_hand: bool,
    /// Who has it for life, or has heard last of it.
    pub(super) worker: UnitId,
    /// Whose turn it is to get its next message, if that was decided before that came.
    pub(super) turn: Option<UnitId>,
    pub(super) life: Life,
    /// The loop watches for room to write, too.
    pub(super) is_write_watched: bool,
    /// What waited for it was dropped: whatever came now would stand in the place of that.
    pub(super) is_cut: bool,
    /// The peer has ended its side: there is no input to throw away before closing.
    pub(super) has_ended: bool,
    /// It stands in a queue of connections to be read when there is time or room.
    pub(super) is_queued: bool,
    /// It stands in the queue of connections to be written to when there is time.
    pub(super) is_write_queued: bool,
    /// Others were told that something waits for it.
    pub(super) has_waited: bool,
    /// Its buffer was called full and not empty since.
    pub(super) is_full: bool,
    /// Why it is not read, bits of [`hold`](crate::model::kind::hold).
    pub(super) held: u8,
    /// Bytes that the socket had taken when others were last told of its output.
    pub(super) noted_bytes: u64,
    /// Bytes that the socket had taken when it was held.
    pub(super) written_before: u64,
    /// What is known of its traffic.
    pub(super) traffic: Traffic,
}

impl Peer {
    /// Whether what comes is read.
    #[inline]
    pub(super) fn is_read(&self) -> bool {
        self.life == Life::Open && self.held == 0
    }

    /// Whether what is sent to it goes out.
    #[inline]
    pub(super) fn takes_output(&self) -> bool {
        self.life != Life::Draining && !self.is_cut
    }

    /// Whether something waits for the socket.
    #[inline]
    pub(super) fn has_waiting(&self) -> bool {
        !self.out.is_empty() || self.stream.wants_write()
    }

    /// Bytes in memory that wait for the socket.
    #[inline]
    pub(super) fn waiting_bytes(&self) -> u64 {
        (self.out.len() + self.stream.queued_bytes()) as u64
    }

    /// Writes what waits, as far as the socket takes it, but not much more than `most` bytes.
    #[inline]
    pub(super) fn write_waiting(&mut self, pool: &mut Pool, most: usize) -> Moved {
        match self.stream.flush() {
            Ok(true) => self.out.write_to(&mut self.stream, pool, most),
            Ok(false) => Moved::WouldBlock,
            Err(errno) => Moved::Broken(errno),
        }
    }

    /// Drops what waits for it, and all that will be sent to it; the others see that.
    pub(super) fn cut(&mut self, connections: &Table<Connection>, pool: &mut Pool) {
        self.is_cut = true;
        if self.has_waiting() {
            self.stream.cut();
        }
        self.out.clear(pool);
        if let Some(record) = connections.get(self.session.0) {
            record.queued_bytes.store(0, Ordering::Relaxed);
            record.queued_file_bytes.store(0, Ordering::Relaxed);
            record.queued_files.store(0, Ordering::Relaxed);
        }
    }
}

/// All connections of a reactor, by session id: one index, one compare.
pub(super) struct Peers {
    by_slot: Vec<u32>,
    peers: Slab<Peer>,
}

impl Peers {
    /// Room for the sessions of a table of so many slots, which is a power of two.
    pub(super) fn new(slots: usize) -> Self {
        Self { by_slot: vec![NONE; slots.max(1)], peers: Slab::new() }
    }

    #[inline]
    fn slot(&self, session: SessionId) -> usize {
        session.0 as usize & (self.by_slot.len() - 1)
    }

    /// The connection, if it is one of this reactor's.
    #[inline]
    pub(super) fn get_mut(&mut self, session: SessionId) -> Option<&mut Peer> {
        let place = *self.by_slot.get(self.slot(session))?;
        let peer = self.peers.get_mut(place.checked_sub(1)? as usize);
        peer.filter(|peer| peer.session == session)
    }

    /// Takes a connection in.
    pub(super) fn insert(&mut self, peer: Peer) {
        let slot = self.slot(peer.session);
        let key = self.peers.insert(peer);
        if let Some(place) = self.by_slot.get_mut(slot) {
            *place = key as u32 + 1;
        }
    }

    /// Takes a connection out.
    pub(super) fn remove(&mut self, session: SessionId) -> Option<Peer> {
        self.get_mut(session)?;
        let slot = self.slot(session);
        let place = std::mem::replace(self.by_slot.get_mut(slot)?, NONE);
        self.peers.try_remove(place.checked_sub(1)? as usize)
    }

    /// All of them, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.peers.iter_mut().map(|(_, peer)| peer)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().map(|(_, peer)| peer)
    }
}
