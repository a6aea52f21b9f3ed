//! What a unit says to others: messages, and what a call of the program wants of a connection.
//!
//! Nothing here runs a loop or waits: messages leave at the end of the turn, see `turn.rs`.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use crate::error::{code, Error, Result};
use crate::ipc::Header;
use crate::model::connection::Connection;
use crate::model::control::LONGEST_PIECE;
use crate::model::kind::MessageKind;
use crate::model::{route, SessionId, UnitId};
use crate::net::file_part::FilePart;
use crate::net::stream::PEER_GONE;

use super::Unit;

/// Connections whose bytes on the way are known. A power of two.
const ROWS: usize = 64;

/// At most how many bytes a unit has on the way to each of the connections that it has sent to
/// last. A row is taken over by another connection with the same remainder: then nothing is known
/// of the first, whose bytes in a lane do not count any more.
pub(super) struct OnWay {
    rows: [Cell<(SessionId, u64)>; ROWS],
}

impl Default for OnWay {
    fn default() -> Self {
        Self { rows: std::array::from_fn(|_| Cell::new((SessionId(0), 0))) }
    }
}

impl OnWay {
    #[inline]
    fn row(&self, session: SessionId) -> Option<&Cell<(SessionId, u64)>> {
        self.rows.get(session.0 as usize % ROWS)
    }

    #[inline]
    fn add(&self, session: SessionId, bytes: u64) {
        if let Some(row) = self.row(session) {
            row.set((session, self.of(session).saturating_add(bytes)));
        }
    }

    #[inline]
    fn of(&self, session: SessionId) -> u64 {
        let row = self.row(session).map(Cell::get);
        row.filter(|row| row.0 == session).map_or(0, |row| row.1)
    }

    /// There are no more than `most`; how many there are.
    fn trim(&self, session: SessionId, most: u64) -> u64 {
        let bytes = self.of(session).min(most);
        if let Some(row) = self.row(session) {
            row.set((session, bytes));
        }
        bytes
    }
}

/// What waits here for one connection because its reactor's inbox is full.
#[derive(Clone, Copy, Default)]
pub(super) struct HeldBack {
    bytes: u64,
    files: u32,
}

impl Unit {
    /// Sends a message to another unit; it leaves at the end of the turn.
    #[inline]
    pub(super) fn post(
        &self,
        to: UnitId,
        kind: MessageKind,
        session: SessionId,
        extra: u64,
        payload: &[u8],
    ) {
        let header = self.header(kind, session, extra);
        if !self.outbox.borrow_mut().post(to.0, &header, &[payload]) {
            let number = code::MALLOC_FAIL;
            crate::warn_limited!("no memory for a message to unit {} (error {number})", to.0);
        }
    }

    #[inline]
    pub(super) fn header(&self, kind: MessageKind, session: SessionId, extra: u64) -> Header {
        let time = self.now.get().wall_ns;
        let source = self.plan.id.0;
        Header { kind: kind as u8, source, session: session.0, time, extra, ..Header::default() }
    }

    /// Counts what is longer than a piece of a usual lane.
    #[inline]
    pub(super) fn note_length(&self, length: usize) {
        if length > LONGEST_PIECE {
            self.runtime.control.root().message_round.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends `data` to the peer of an open connection. What finds no room in the inbox of its
    /// reactor is held back here, in order, and counts as waiting for the peer.
    #[inline]
    pub fn send(&self, record: &Connection, session: SessionId, data: &[u8]) -> Result<()> {
        let owner = route::reactor_of(record);
        if let Some(reactor) = self.reactor.as_ref().filter(|_| owner == self.plan.id) {
            reactor.send(self, session, data);
            if self.is_hasty() {
                reactor.flush_burst(self);
            }
            return Ok(());
        }
        self.note_length(data.len());
        let header = self.header(MessageKind::Send, session, 0);
        let mut outbox = self.outbox.borrow_mut();
        if !outbox.post(owner.0, &header, &[data]) {
            let text = format!("no memory to keep {} bytes for the peer", data.len());
            return Err(Error::new(code::MALLOC_FAIL, text));
        }
        self.on_way.add(session, data.len() as u64);
        if outbox.is_blocked(owner.0) {
            self.held_back.borrow_mut().entry(session).or_default().bytes += data.len() as u64;
        }
        drop(outbox);
        self.tell_if_hasty();
        Ok(())
    }

    /// Sends a part of a file to the peer of an open connection.
    pub fn send_file(&self, record: &Connection, session: SessionId, part: FilePart) {
        let owner = route::reactor_of(record);
        match self.reactor.as_ref().filter(|_| owner == self.plan.id) {
            Some(reactor) => reactor.send_file(self, session, part),
            None => {
                self.post(owner, MessageKind::SendFile, session, 0, &part.encode());
                if self.outbox.borrow().is_blocked(owner.0) {
                    self.held_back.borrow_mut().entry(session).or_default().files += 1;
                }
                self.tell_if_hasty();
            }
        }
    }

    /// Sends `data` to the peer of a connection that this unit owns, and waits until it has gone.
    /// An `errno` tells why it has not.
    pub fn send_and_wait(
        &self,
        session: SessionId,
        data: &[u8],
        deadline_ns: Option<u64>,
    ) -> std::result::Result<(), i32> {
        match &self.reactor {
            Some(reactor) => reactor.send_and_wait(self, session, data, deadline_ns),
            None => Err(PEER_GONE),
        }
    }

    /// What waits in this unit for a peer goes on its way, if it can.
    #[cold]
    pub fn push_out(&self, record: &Connection, session: SessionId) {
        match &self.reactor {
            Some(reactor) if route::reactor_of(record) == self.plan.id => {
                reactor.push_out(self, session);
            }
            Some(_) | None => self.tell_others(),
        }
    }

    /// A send was refused because too much waits: the reactor sees to it that the worker hears when
    /// there is room, behind all that this unit has sent before.
    #[cold]
    pub fn note_refused(&self, record: &Connection, session: SessionId) {
        if record.refused.swap(1, Ordering::Relaxed) != 0 {
            return;
        }
        let owner = route::reactor_of(record);
        match self.reactor.as_ref().filter(|_| owner == self.plan.id) {
            Some(reactor) => reactor.note_refused(self, session),
            None => {
                self.post(owner, MessageKind::Refused, session, 0, &[]);
                self.tell_if_hasty();
            }
        }
    }

    /// Closes a connection for the server. In the bound worker the close callback runs here.
    pub fn close(&self, record: &Connection, session: SessionId, is_reset: bool) {
        match &self.worker {
            Some(worker) if self.is_bound(record, session) => worker.close(self, session, is_reset),
            Some(_) | None => self.close_elsewhere(route::reactor_of(record), session, is_reset),
        }
    }

    /// Has a connection closed in its worker. The way leads through its reactor, whose lane to the
    /// worker has the order: nothing overtakes what the worker was told of the connection before.
    fn close_elsewhere(&self, owner: UnitId, session: SessionId, is_reset: bool) {
        match &self.reactor {
            Some(reactor) if owner == self.plan.id => reactor.close_for(self, session, is_reset),
            Some(_) | None => {
                self.post(owner, MessageKind::CloseFor, session, u64::from(is_reset), &[]);
                self.tell_if_hasty();
            }
        }
    }

    /// Throws away what still waits for the peer of a connection that the server has closed.
    pub fn cut(&self, record: &Connection, session: SessionId) {
        self.tell_closed(route::reactor_of(record), session, true);
        self.tell_if_hasty();
    }

    /// Tells the reactor that the worker is done with a connection.
    pub(super) fn tell_closed(&self, owner: UnitId, session: SessionId, is_reset: bool) {
        match &self.reactor {
            Some(reactor) if owner == self.plan.id => reactor.finish(self, session, is_reset),
            Some(_) | None => {
                self.post(owner, MessageKind::Closed, session, u64::from(is_reset), &[]);
            }
        }
    }

    /// The bytes that wait for the peer of a connection: `queued` at its reactor, and those of this
    /// unit that have not come there.
    ///
    /// What is in a lane counts only if something waits already. A peer that has taken everything
    /// so far is likely to take that too; so where nothing waits, a lane full of it can follow.
    #[inline]
    pub fn waiting_bytes(&self, record: &Connection, session: SessionId) -> u64 {
        let queued = record.queued_bytes.load(Ordering::Relaxed);
        let held_back = self.held_back_for(session).bytes;
        if (queued == 0 && held_back == 0) || self.on_way.of(session) == 0 {
            return queued.saturating_add(held_back);
        }
        let owner = route::reactor_of(record);
        let unread = self.outbox.borrow().unread_bytes(owner.0);
        queued.saturating_add(self.on_way.trim(session, unread.saturating_add(held_back)))
    }

    /// The files that wait for the peer of a connection, but for those in a lane, which has an end.
    pub fn waiting_files(&self, record: &Connection, session: SessionId) -> u32 {
        let queued = record.queued_files.load(Ordering::Relaxed);
        queued.saturating_add(self.held_back_for(session).files)
    }

    /// What this unit holds back for a connection because its reactor's inbox is full.
    #[inline]
    fn held_back_for(&self, session: SessionId) -> HeldBack {
        if !self.outbox.borrow().has_pending() {
            return HeldBack::default();
        }
        self.held_back.borrow().get(&session).copied().unwrap_or_default()
    }
}
