//! What goes out: sends, bursts of small ones, and what the socket would not take yet.

use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use crate::event::Token;
use crate::ipc::Payload;
use crate::model::SessionId;
use crate::net::stream::{Moved, NO_DESCRIPTOR, NO_MEMORY, PEER_GONE};

use super::levels::{note_level, Levels};
use super::peers::{Life, Peer};
use super::{Reactor, State};
use crate::unit::timer::Timer;
use crate::unit::Unit;

/// Sends up to this size wait for the next one to the same connection.
const SMALL_SEND: usize = 4 * 1024;
/// Bytes of small sends that are gathered before they are written.
const BURST_BYTES: usize = 16 * 1024;

/// Bytes that are written to one connection before others have their turn.
const WRITTEN_PER_TURN: usize = 1024 * 1024;

/// How long a file waits for a descriptor before it is tried again.
const STARVED_NS: u64 = 50_000_000;

/// Small sends to one connection that will leave together.
#[derive(Default)]
pub(super) struct Burst {
    session: Option<SessionId>,
    bytes: Vec<u8>,
}

impl Reactor {
    /// Sends a message that came through the inbox.
    #[inline]
    pub(in crate::unit) fn send_message(
        &self,
        unit: &Unit,
        session: SessionId,
        payload: Payload<'_>,
    ) {
        match payload {
            Payload::Borrowed(bytes) => self.send(unit, session, bytes),
            // Only what is counted in its lane is told of when it is lost.
            Payload::Lost => {}
            Payload::Owned(bytes) => {
                self.flush_burst(unit);
                if !self.knows(session) {
                    self.take_in_post(unit);
                }
                let state = &mut *self.state.borrow_mut();
                if let Some(peer) = state.peers.get_mut(session) {
                    if peer.takes_output() {
                        peer.out.append_draft(bytes, 0);
                        state.write_out(unit, session);
                    }
                }
            }
        }
    }

    /// Sends `bytes`: gathers small ones, writes big ones at once, keeps what the socket refuses.
    #[inline]
    pub(in crate::unit) fn send(&self, unit: &Unit, session: SessionId, bytes: &[u8]) {
        let is_next = self.state.borrow().burst.session == Some(session);
        // A connection that has never sent anything may still be in the post.
        if !is_next && !self.knows(session) {
            self.take_in_post(unit);
        }
        let state = &mut *self.state.borrow_mut();
        if self.has_upgrades {
            state.note_close_frame(unit, session, bytes);
        }
        if !is_next {
            state.flush_burst(unit);
        }
        // What would only be queued is queued at once, so that all see how much waits.
        let is_small = bytes.len() <= SMALL_SEND && (is_next || !state.has_waiting(session));
        if is_small && state.burst.bytes.len() + bytes.len() <= BURST_BYTES {
            state.burst.session = Some(session);
            state.burst.bytes.extend_from_slice(bytes);
        } else {
            state.write_with_burst(unit, session, bytes);
        }
    }

    /// Writes what was gathered.
    #[inline]
    pub(in crate::unit) fn flush_burst(&self, unit: &Unit) {
        let mut state = self.state.borrow_mut();
        if state.burst.session.is_some() {
            state.flush_burst(unit);
        }
    }

    /// Tries again to open files for which there was no descriptor.
    pub(super) fn feed(&self, unit: &Unit) {
        let state = &mut *self.state.borrow_mut();
        let now_ns = unit.now.get().monotonic_ns;
        if state.starved.is_empty() || now_ns < state.starved_until_ns {
            return;
        }
        state.starved_until_ns = now_ns.saturating_add(STARVED_NS);
        state.unwritten.extend(state.starved.drain(..));
    }

    /// Goes on with connections that had to let others come first.
    pub(super) fn write_unwritten(&self, unit: &Unit) {
        self.feed(unit);
        let count = self.state.borrow().unwritten.len();
        for _ in 0..count {
            let Some(session) = self.state.borrow_mut().unwritten.pop_front() else { return };
            if let Some(peer) = self.state.borrow_mut().peers.get_mut(session) {
                peer.is_write_queued = false;
            }
            self.write_waiting(unit, session);
        }
    }

    /// Writes what waits for a connection inside of a callback, which may go on for long: those
    /// whose turn comes have theirs.
    pub(in crate::unit) fn push_out(&self, unit: &Unit, session: SessionId) {
        self.write_unwritten(unit);
        self.write_waiting(unit, session);
    }

    /// The socket has room again.
    pub(super) fn write_waiting(&self, unit: &Unit, session: SessionId) {
        let state = &mut *self.state.borrow_mut();
        if state.has_waiting(session) {
            state.write_out(unit, session);
        }
        if state.peers.get_mut(session).is_some_and(|peer| peer.is_done()) {
            state.release(unit, session, false);
        }
    }

    /// Whether output waits for any peer.
    pub(in crate::unit) fn has_output(&self, unit: &Unit) -> bool {
        self.flush_burst(unit);
        self.state.borrow().peers.iter().any(Peer::owes_output)
    }
}

impl Peer {
    /// Whether nothing keeps the connection any more.
    pub(super) fn is_done(&mut self) -> bool {
        self.life == Life::Draining && !self.has_waiting() && self.stream.takes_leave()
    }

    /// Whether something waits that the program has sent.
    fn owes_output(&self) -> bool {
        self.life != Life::Shaking && self.has_waiting()
    }
}

impl State {
    #[inline]
    fn has_waiting(&mut self, session: SessionId) -> bool {
        self.peers.get_mut(session).is_some_and(|peer| peer.has_waiting())
    }

    pub(super) fn flush_burst(&mut self, unit: &Unit) {
        if let Some(session) = self.burst.session {
            self.write_with_burst(unit, session, &[]);
        }
    }

    /// Writes the gathered bytes, if they are of this connection, and `bytes` behind them.
    fn write_with_burst(&mut self, unit: &Unit, session: SessionId, bytes: &[u8]) {
        let State { peers, burst, pool, broken, levels, .. } = self;
        let gathered = burst.session.take().is_some();
        let first = if gathered { burst.bytes.as_slice() } else { &[] };
        if let Some(peer) = peers.get_mut(session).filter(|peer| peer.takes_output()) {
            let total = first.len() + bytes.len();
            let sent = if peer.out.is_empty() { write_now(peer, first, bytes) } else { Ok(0) };
            let kept = sent.and_then(|sent| {
                if sent == total {
                    return Ok(());
                }
                let first_rest = first.get(sent.min(first.len())..).unwrap_or_default();
                let rest = bytes.get(sent.saturating_sub(first.len())..).unwrap_or_default();
                let appended = peer.out.append(first_rest, pool);
                appended.and_then(|()| peer.out.append(rest, pool)).map_err(|_| NO_MEMORY)
            });
            match kept {
                Ok(()) => note_output(unit, peer, levels),
                Err(errno) => {
                    peer.cut(&unit.runtime.control.connections, pool);
                    broken.push((session, errno));
                }
            }
        }
        burst.bytes.clear();
    }

    /// Writes what waits for a connection, as far as the socket takes it.
    pub(super) fn write_out(&mut self, unit: &Unit, session: SessionId) {
        let State { peers, pool, broken, unwritten, starved, levels, .. } = self;
        let Some(peer) = peers.get_mut(session) else { return };
        // Its turn comes.
        if peer.is_write_queued {
            return note_output(unit, peer, levels);
        }
        let errno = match peer.write_waiting(pool, WRITTEN_PER_TURN) {
            Moved::Bytes(count) if count >= WRITTEN_PER_TURN && !peer.out.is_empty() => {
                peer.is_write_queued = true;
                unwritten.push_back(session);
                return note_output(unit, peer, levels);
            }
            Moved::Bytes(_) | Moved::WouldBlock => return note_output(unit, peer, levels),
            Moved::Broken(errno) if NO_DESCRIPTOR.contains(&errno) => {
                peer.is_write_queued = true;
                starved.push(session);
                unit.set_timer(STARVED_NS, Timer::Deadline);
                return note_output(unit, peer, levels);
            }
            Moved::End => PEER_GONE,
            Moved::Broken(errno) => errno,
        };
        peer.cut(&unit.runtime.control.connections, pool);
        broken.push((session, errno));
    }
}

/// Writes both parts, as far as the socket takes them: how many bytes, or the `errno`.
#[inline]
fn write_now(peer: &mut Peer, first: &[u8], second: &[u8]) -> Result<usize, i32> {
    let moved = if second.is_empty() {
        peer.stream.write(first)
    } else if first.is_empty() {
        peer.stream.write(second)
    } else {
        peer.stream.write_parts(&[IoSlice::new(first), IoSlice::new(second)])
    };
    match moved {
        Moved::Bytes(count) => Ok(count),
        Moved::WouldBlock => Ok(0),
        Moved::End => Err(PEER_GONE),
        Moved::Broken(errno) => Err(errno),
    }
}

/// Lets the others see how much waits, and the loop tell when there is room again.
#[inline]
pub(super) fn note_output(unit: &Unit, peer: &mut Peer, levels: &mut Levels) {
    let session = peer.session;
    if let Some(record) = unit.runtime.control.connections.get(session.0) {
        let written = peer.stream.written_bytes();
        if std::mem::replace(&mut peer.noted_bytes, written) != written {
            record.last_send_ns.store(unit.now.get().wall_ns, Ordering::Relaxed);
        }
        record.queued_bytes.store(peer.waiting_bytes(), Ordering::Relaxed);
        if peer.has_waited || peer.has_waiting() {
            note_level(unit, peer, record, levels);
        }
    }
    if peer.has_waiting() && !peer.is_write_watched {
        let token = Token::Session(session.0);
        match unit.watcher.watch_writing_too(peer.stream.as_raw_fd(), token) {
            Ok(()) => peer.is_write_watched = true,
            Err(error) => log::warn!("connection {} cannot be watched: {error}", session.0),
        }
    }
}
