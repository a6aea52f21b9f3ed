//! Files on their way to peers, and sends that wait until everything has gone.

use crate::model::SessionId;
use crate::net::file_part::FilePart;
use crate::net::stream::{Moved, Stream, NO_MEMORY, PEER_GONE, TIMED_OUT};
use crate::os::clock;

use super::output::note_output;
use super::{Reactor, State};
use crate::unit::Unit;

const NS_PER_MS: u64 = 1_000_000;
const NS_PER_S: u64 = 1_000_000_000;
/// How often whoever waits looks whether the server ends.
const LOOK_NS: u64 = 100 * NS_PER_MS;

impl Reactor {
    /// Sends a part of a file behind what was sent before.
    pub(in crate::unit) fn send_file(&self, unit: &Unit, session: SessionId, part: FilePart) {
        if !self.knows(session) {
            self.take_in_post(unit);
        }
        let state = &mut *self.state.borrow_mut();
        state.flush_burst(unit);
        let peer = state.peers.get_mut(session).filter(|peer| peer.takes_output());
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
        let result = state.write_all(unit, session, bytes, deadline_ns);
        let State { peers, pool, levels, broken, .. } = state;
        if let Some(peer) = peers.get_mut(session) {
            if let Some(errno) = result.err().filter(|errno| *errno != TIMED_OUT) {
                peer.cut(&unit.runtime.control.connections, pool);
                broken.push((session, errno));
            }
            note_output(unit, peer, levels);
        }
        result
    }
}

impl State {
    fn write_all(
        &mut self,
        unit: &Unit,
        session: SessionId,
        bytes: &[u8],
        mut deadline_ns: Option<u64>,
    ) -> Result<(), i32> {
        let State { peers, pool, .. } = self;
        let peer = peers.get_mut(session).filter(|peer| peer.takes_output());
        let peer = peer.ok_or(PEER_GONE)?;
        let mut rest = bytes;
        while !rest.is_empty() || peer.stream.wants_write() {
            let is_first = peer.out.is_empty() && !peer.stream.wants_write();
            let moved = match is_first {
                true => peer.stream.write(rest),
                false => peer.write_waiting(pool, usize::MAX),
            };
            match moved {
                Moved::Bytes(count) if is_first => rest = rest.get(count..).unwrap_or_default(),
                Moved::Bytes(_) => {}
                Moved::WouldBlock => {
                    if !wait_for_room(unit, &peer.stream, &mut deadline_ns)? {
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

/// False if the deadline has come. While the server ends nobody waits for longer than others wait
/// for him: a thread cannot be killed.
fn wait_for_room(unit: &Unit, stream: &Stream, deadline_ns: &mut Option<u64>) -> Result<bool, i32> {
    let now_ns = clock::monotonic_ns();
    if unit.runtime.control.root().is_ending() {
        let most_ns = unit.runtime.settings.max_wait_time_s.saturating_mul(NS_PER_S);
        let end_ns = now_ns.saturating_add(most_ns);
        *deadline_ns = Some(deadline_ns.map_or(end_ns, |deadline_ns| deadline_ns.min(end_ns)));
    }
    let left_ns = deadline_ns.map_or(LOOK_NS, |deadline_ns| deadline_ns.saturating_sub(now_ns));
    if left_ns == 0 {
        return Ok(false);
    }
    // A wait that is over too early is begun anew by the caller.
    let left_ms = left_ns.min(LOOK_NS).div_ceil(NS_PER_MS);
    stream.wait_writable(Some(left_ms)).map(|_| true)
}
