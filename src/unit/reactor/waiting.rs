//! Files on their way to peers, and sends that wait until everything has gone.

use crate::model::SessionId;
use crate::net::file_part::FilePart;
use crate::net::stream::{Moved, Stream, NO_MEMORY, PEER_GONE, TIMED_OUT};
use crate::os::clock;

use super::output::note_output;
use super::peers::Life;
use super::{Reactor, State};
use crate::unit::Unit;

const NS_PER_MS: u64 = 1_000_000;

impl Reactor {
    /// Sends a part of a file behind what was sent before.
    pub(in crate::unit) fn send_file(&self, unit: &Unit, session: SessionId, part: FilePart) {
        if !self.knows(session) {
            self.take_in_post(unit);
        }
        let state = &mut *self.state.borrow_mut();
        state.flush_burst(unit);
        let peer = state.peers.get_mut(session).filter(|peer| peer.life != Life::Draining);
        if let Some(peer) = peer {
            peer.out.append_file(part);
            state.write_out(unit, session);
        }
    }

    /// Sends `bytes` and waits until they have gone, or an `errno` says why they have not. If the
    /// deadline comes first, what was not begun is dropped, and the rest of what was begun is kept.
    pub(in crate::unit) fn send_and_wait(
        &self,
        unit: &Unit,
        session: SessionId,
        bytes: &[u8],
        deadline_ns: Option<u64>,
    ) -> Result<(), i32> {
        if !self.knows(session) {
            self.take_in_post(unit);
        }
        let state = &mut *self.state.borrow_mut();
        state.flush_burst(unit);
        let result = state.write_all(session, bytes, deadline_ns);
        let State { peers, levels, broken, .. } = state;
        if let Some(peer) = peers.get_mut(session) {
            note_output(unit, peer, levels);
        }
        match result {
            Err(errno) if errno != TIMED_OUT => broken.push((session, errno)),
            Ok(()) | Err(_) => {}
        }
        result
    }
}

impl State {
    fn write_all(
        &mut self,
        session: SessionId,
        bytes: &[u8],
        deadline_ns: Option<u64>,
    ) -> Result<(), i32> {
        let State { peers, pool, .. } = self;
        let peer = peers.get_mut(session).filter(|peer| peer.life != Life::Draining);
        let peer = peer.ok_or(PEER_GONE)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let is_first = peer.out.is_empty();
            let moved = match is_first {
                true => peer.stream.write(rest),
                false => peer.out.write_to(&peer.stream, pool, usize::MAX),
            };
            match moved {
                Moved::Bytes(count) if is_first => rest = rest.get(count..).unwrap_or_default(),
                Moved::Bytes(_) => {}
                Moved::WouldBlock => {
                    if !wait_for_room(&peer.stream, deadline_ns)? {
                        if rest.len() < bytes.len() {
                            peer.out.append(rest, pool).map_err(|_| NO_MEMORY)?;
                        }
                        return Err(TIMED_OUT);
                    }
                }
                Moved::End => return Err(PEER_GONE),
                Moved::Broken(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// False if the deadline has come.
fn wait_for_room(stream: &Stream, deadline_ns: Option<u64>) -> Result<bool, i32> {
    let left_ms = deadline_ns
        .map(|deadline_ns| deadline_ns.saturating_sub(clock::monotonic_ns()).div_ceil(NS_PER_MS));
    if left_ms == Some(0) {
        return Ok(false);
    }
    // A wait that is over too early is begun anew by the caller, who looks at the deadline again.
    stream.wait_writable(left_ms).map(|_| true)
}
