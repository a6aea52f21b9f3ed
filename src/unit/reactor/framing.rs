//! What was read becomes messages: the framer of the connection is asked, and what it says is done.
//!
//! The messages of one read are one batch: they are handed over one after the other, the worker is
//! rung once, and where it is this unit what it answers leaves together. Between two of them
//! anything may have happened to the connection, since callbacks run: each time it is looked at
//! anew. While a batch is in hand its bytes belong to nobody else, so no borrow is held.

use std::io;
use std::sync::atomic::Ordering;

use crate::model::connection::Upgrade;
use crate::model::SessionId;
use crate::net::in_buffer::InBuffer;
use crate::proto::framer::{room_to_read, Frame, Framer, Message, Verdict, Violation};
use crate::proto::websocket::opcode;

use super::input::{count_given, hold_full, Stop};
use super::peers::Life;
use super::{Reactor, State};
use crate::unit::later::has_room;
use crate::unit::Unit;

/// Where callbacks are fast, so many are run before this unit looks up: reading the clock costs as
/// much as cutting a message.
const MESSAGES_PER_LOOK: u32 = 4;
/// How long answers wait for the end of a batch.
const ANSWER_NS: u64 = 100_000;
/// How long one connection has its turn.
const TURN_NS: u64 = 10_000_000;

/// How many lines a second tell of peers that break their protocols.
const COMPLAINTS_PER_S: u32 = 64;
const NS_PER_S: u64 = 1_000_000_000;

/// Every peer is worth a line, but no crowd of them fills the disk.
#[derive(Default)]
pub(super) struct Complaints {
    since_ns: u64,
    told: u32,
    untold: u64,
}

impl Complaints {
    /// `None` if there were enough in this second, else how many were left out before.
    fn pass(&mut self, now_ns: u64) -> Option<u64> {
        if now_ns.saturating_sub(self.since_ns) >= NS_PER_S {
            (self.since_ns, self.told) = (now_ns, 0);
        }
        if self.told >= COMPLAINTS_PER_S {
            self.untold += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

/// The unread bytes of a connection, taken out while they are being cut.
pub(super) struct Batch {
    pub(super) unread: InBuffer,
    /// The framer is asked again when there are so many bytes.
    until: usize,
}

impl Batch {
    /// Whether the framer is to be asked.
    pub(super) fn is_due(&self) -> bool {
        self.unread.len() >= self.until
    }

    /// Where the next read goes. A length that was only announced costs no memory.
    pub(super) fn room(&mut self) -> io::Result<&mut [u8]> {
        self.unread.room(room_to_read(self.unread.len(), self.until))
    }
}

impl State {
    /// A close frame of the program is one side's farewell.
    pub(super) fn note_close_frame(&mut self, unit: &Unit, session: SessionId, bytes: &[u8]) {
        let peer = self.peers.get_mut(session);
        if peer.is_some_and(|peer| peer.framer.note_sent(bytes)) {
            note_upgrade(unit, session, Upgrade::Closing);
        }
    }
}

impl Reactor {
    /// Takes the unread bytes of a connection; `None` if it is not to be read, or in hand already:
    /// a timer that fires between two callbacks may want to read it.
    pub(super) fn begin_batch(&self, session: SessionId) -> Option<io::Result<Batch>> {
        let State { peers, buffers, .. } = &mut *self.state.borrow_mut();
        let peer = peers.get_mut(session).filter(|peer| peer.is_read() && !peer.is_in_hand)?;
        let taken = buffers.take(std::mem::take(&mut peer.unread));
        peer.is_in_hand = taken.is_ok();
        Some(taken.map(|unread| Batch { unread, until: peer.until }))
    }

    /// Keeps what is left, if the connection can still be read.
    pub(super) fn end_batch(&self, session: SessionId, batch: Batch) {
        let Batch { unread, until } = batch;
        let State { peers, buffers, .. } = &mut *self.state.borrow_mut();
        match peers.get_mut(session) {
            Some(peer) if peer.life == Life::Open => {
                peer.is_in_hand = false;
                peer.until = until;
                peer.unread = buffers.keep(unread);
            }
            Some(_) | None => buffers.give_back(unread),
        }
    }

    /// Hands over all messages there are; `None` if more has to be read before there is another.
    pub(super) fn cut(&self, unit: &Unit, session: SessionId, batch: &mut Batch) -> Option<Stop> {
        // Where it stops in the middle, the framer is asked first when it goes on.
        batch.until = 0;
        let stop = self.cut_all(unit, session, batch);
        if self.is_own_worker {
            self.flush_burst(unit);
        }
        stop
    }

    fn cut_all(&self, unit: &Unit, session: SessionId, batch: &mut Batch) -> Option<Stop> {
        let begin_ns = unit.last_look_ns.get();
        let mut written_ns = begin_ns;
        let mut count = 0;
        loop {
            let verdict = match self.ask(unit, session, batch.unread.bytes_mut()) {
                Ok(verdict) => verdict,
                Err(stop) => return Some(stop),
            };
            match verdict {
                Verdict::Message(message) => {
                    if !self.take_message(unit, session, &message, &mut batch.unread) {
                        self.end_of_protocol(unit, session, 0);
                        return Some(Stop::Drained);
                    }
                }
                Verdict::Skip { used, warning } => {
                    if let Some(warning) = warning {
                        crate::warn_limited!("{} sent {warning}", peer_name(unit, session));
                    }
                    batch.unread.consume(used);
                }
                Verdict::More { until } => {
                    batch.until = until;
                    return None;
                }
                Verdict::Answer(answer) => {
                    if answer.is_upgrade {
                        note_upgrade(unit, session, Upgrade::Active);
                    }
                    if answer.is_upgrade || has_room_for(unit, session) {
                        self.send(unit, session, &answer.bytes);
                    }
                    batch.unread.consume(answer.used);
                }
                Verdict::Broken(violation) => {
                    self.break_off(unit, session, &violation, batch.unread.bytes());
                    return Some(Stop::Drained);
                }
                Verdict::End => {
                    self.end_of_protocol(unit, session, 0);
                    return Some(Stop::Drained);
                }
            }
            count += 1;
            let is_time_to_look = unit.is_hasty() || count % MESSAGES_PER_LOOK == 0;
            if self.is_own_worker && is_time_to_look && !batch.unread.is_empty() {
                let now_ns = unit.look_up();
                if now_ns.saturating_sub(written_ns) > ANSWER_NS {
                    self.flush_burst(unit);
                    written_ns = now_ns;
                }
                if now_ns.saturating_sub(begin_ns) > TURN_NS {
                    return Some(Stop::Turn);
                }
            }
        }
    }

    /// Asks the framer, unless the connection is closed or not to be read for now, or its worker
    /// has no room. What has become a message is said once and is not lost after that: it waits
    /// for room in the outbox.
    fn ask(&self, unit: &Unit, session: SessionId, unread: &mut [u8]) -> Result<Verdict, Stop> {
        let mut framer = {
            let State { peers, .. } = &mut *self.state.borrow_mut();
            let peer = peers.get_mut(session).filter(|peer| peer.is_read());
            // A worker that leaves takes no message more, whatever was read with the last.
            let Some(peer) = peer.filter(|_| !unit.leaves_alone()) else {
                return Err(Stop::Drained);
            };
            if let Some(worker) = self.worker_to_wait_for(unit, peer) {
                return Err(Stop::Full(worker));
            }
            if !peer.framer.calls_program() {
                return Ok(peer.framer.next(unread));
            }
            std::mem::take(&mut peer.framer)
        };
        let verdict = framer.next(unread);
        let State { peers, .. } = &mut *self.state.borrow_mut();
        let Some(peer) = peers.get_mut(session) else { return Err(Stop::Drained) };
        peer.framer = framer;
        match peer.life {
            Life::Open => Ok(verdict),
            Life::Shaking | Life::Closing | Life::Draining => Err(Stop::Drained),
        }
    }

    /// Hands a message over and takes its bytes away. False: the connection has to be closed.
    #[inline]
    fn take_message(
        &self,
        unit: &Unit,
        session: SessionId,
        message: &Message,
        unread: &mut InBuffer,
    ) -> bool {
        let bytes = message.bytes(unread.bytes());
        // Only in a frame of WebSocket nothing means something.
        let is_nothing = bytes.is_empty() && message.frame.opcode == 0;
        if message.frame.opcode == opcode::CLOSE {
            note_upgrade(unit, session, Upgrade::Closing);
        }
        let goes_on = is_nothing || self.hand_over(unit, session, bytes, message.frame);
        unread.consume(message.used);
        goes_on
    }

    #[inline]
    fn hand_over(&self, unit: &Unit, session: SessionId, message: &[u8], frame: Frame) -> bool {
        match &unit.worker {
            Some(own) if self.is_own_worker => {
                count_given(unit, session, message.len());
                let record = unit.runtime.control.connections.get(session.0);
                // A callback before this one may have taken its time.
                let read_ns = record.map(|record| record.last_recv_ns.load(Ordering::Relaxed));
                let read_ns = read_ns.unwrap_or_else(|| unit.now.get().wall_ns);
                own.receive(unit, session, read_ns, message, frame, None);
                true
            }
            Some(_) | None => {
                let goes_on = self.give(unit, session, message, frame);
                self.hold_if_full(unit, session);
                goes_on
            }
        }
    }

    /// Stops reading a connection whose worker has too many of its bytes.
    #[inline]
    fn hold_if_full(&self, unit: &Unit, session: SessionId) {
        let limit = unit.runtime.settings.max_queued_bytes;
        if limit == 0 {
            return;
        }
        if let Some(peer) = self.state.borrow_mut().peers.get_mut(session) {
            hold_full(unit, peer, limit);
        }
    }

    /// Ends a connection that broke its protocol.
    #[cold]
    fn break_off(&self, unit: &Unit, session: SessionId, violation: &Violation, unread: &[u8]) {
        let framer = self.state.borrow_mut().peers.get_mut(session).map(|peer| peer.framer.name());
        let untold = self.state.borrow_mut().complaints.pass(unit.now.get().monotonic_ns);
        if let Some(untold) = untold {
            let peer = peer_name(unit, session);
            let line = violation.line(&peer, framer.unwrap_or_default(), unread);
            match untold {
                0 => log::warn!("{line}"),
                more => log::warn!("{line} (and {more} more like this)"),
            }
        }
        if !violation.farewell.is_empty() {
            self.send(unit, session, violation.farewell);
        }
        self.end_of_protocol(unit, session, violation.code);
    }
}

/// Whether as little waits for a peer that it is told more. One that asks and never reads is not
/// told for ever.
fn has_room_for(unit: &Unit, session: SessionId) -> bool {
    let record = unit.runtime.control.connections.get(session.0);
    record.is_some_and(|record| has_room(unit, record))
}

fn note_upgrade(unit: &Unit, session: SessionId, upgrade: Upgrade) {
    if let Some(record) = unit.runtime.control.connections.get(session.0) {
        record.set_upgrade(upgrade);
    }
}

/// How the log calls the peer of a connection.
#[cold]
fn peer_name(unit: &Unit, session: SessionId) -> String {
    let record = unit.runtime.control.connections.get(session.0);
    let address = record.and_then(|record| record.peer());
    address.map_or_else(|| format!("connection {}", session.0), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hooks::Hooks;
    use crate::model::plan::{Mode, Plan};
    use crate::model::port::Port;
    use crate::model::settings::{Machine, Settings};
    use crate::model::UnitId;
    use crate::net::listener::{Listener, Manner};
    use crate::net::stream::Stream;
    use crate::os::address::Address;
    use crate::os::socket::SocketKind;
    use crate::unit::acceptor::Accepted;
    use crate::unit::Runtime;
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;
    use std::sync::atomic::Ordering;
    use std::sync::Arc;

    /// A reactor of its own, and a connection to it.
    fn connected(given: &[(&str, &str)]) -> (Rc<Unit>, SessionId, UnixStream) {
        let machine = Machine { cpu_count: 2, descriptor_limit: 1024, port_descriptor: 3 };
        let mut settings = Settings::new(Mode::Process, machine);
        for (name, value) in [&[("single_thread", "true")], given].concat() {
            assert_eq!(settings.set_text(name, value), Ok(true));
        }
        let kind = SocketKind::Tcp;
        let port = Port {
            listener: Listener::bind(kind, "127.0.0.1", 0, Manner::default()).unwrap(),
            settings: settings.port_in_force(),
            hooks: Hooks::default(),
            tls: None,
        };
        let settings = settings.in_force();
        let plan = Plan::new(Mode::Process, &settings, 0);
        let runtime = Runtime::new(plan, settings, Hooks::default(), Vec::new(), vec![port]);
        let (unit, _events) = Unit::new(Arc::new(runtime.unwrap()), UnitId::ROOT).unwrap();
        let control = &unit.runtime.control;
        let claimed = control.connections.claim(&control.root().session_round, 0, 9).unwrap();
        claimed.open(SessionId(claimed.id()), 3, 0, &Address::UNNAMED, 1);
        let session = SessionId(claimed.publish());
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        far.set_nonblocking(true).unwrap();
        let accepted = Accepted { session, stream: Stream::new(near.into()), is_watched: false };
        unit.reactor.as_ref().unwrap().adopt(&unit, accepted);
        (unit, session, far)
    }

    #[test]
    fn the_worker_that_was_chosen_for_life_is_known_when_it_starts_anew() {
        let given = [("dispatch_mode", "8"), ("open_eof_split", "true"), ("worker_num", "2")];
        let (unit, session, mut far) = connected(&given);
        let reactor = unit.reactor.as_ref().unwrap();
        far.write_all(b"one\r\n\r\n").unwrap();
        reactor.read(&unit, session, true);
        let record = unit.runtime.control.connections.get(session.0).unwrap();
        let worker = unit.runtime.plan.workers()[record.worker().unwrap().index()];
        assert_eq!(record.undelivered_bytes(), 7);
        assert_eq!(reactor.state.borrow_mut().peers.get_mut(session).unwrap().worker, worker);
    }

    #[test]
    fn a_worker_is_told_what_was_given_and_the_manager_is_not() {
        let (unit, session, mut far) = connected(&[("dispatch_mode", "1"), ("worker_num", "2")]);
        let reactor = unit.reactor.as_ref().unwrap();
        far.write_all(b"one").unwrap();
        reactor.read(&unit, session, true);
        let unread = |id: UnitId| unit.outbox.borrow().unread_bytes(id.0);
        let plan = &unit.runtime.plan;
        for (id, is_told) in [(plan.manager().unwrap(), false), (plan.workers()[1], true)] {
            let before = unread(id);
            reactor.ask_again(&unit, id);
            assert_eq!(unread(id) > before, is_told);
        }
    }

    #[test]
    fn a_peer_that_reads_nothing_is_not_told_for_ever() {
        let given = [("open_http_protocol", "true"), ("socket_buffer_size", "1000")];
        let (unit, session, mut far) = connected(&given);
        let reactor = unit.reactor.as_ref().unwrap();
        let mut ask = |queued| {
            let record = unit.runtime.control.connections.get(session.0).unwrap();
            record.queued_bytes.store(queued, Ordering::Relaxed);
            let head = "POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n";
            far.write_all(head.as_bytes()).unwrap();
            reactor.read(&unit, session, true);
            reactor.flush_burst(&unit);
            let mut answer = [0; 100];
            let told = far.read(&mut answer);
            far.write_all(b"x").unwrap();
            reactor.read(&unit, session, true);
            told.map_err(|error| error.kind())
        };
        assert_eq!(ask(999), Ok(25));
        assert_eq!(ask(1000), Err(ErrorKind::WouldBlock));
    }

    #[test]
    fn a_crowd_is_told_of_in_so_many_lines_a_second_and_counted_beyond() {
        let mut complaints = Complaints::default();
        let told = (0..100).filter(|_| complaints.pass(5 * NS_PER_S).is_some()).count();
        assert_eq!(told, COMPLAINTS_PER_S as usize);
        assert_eq!(complaints.pass(6 * NS_PER_S - 1), None);
        assert_eq!(complaints.pass(6 * NS_PER_S), Some(100 - told as u64 + 1));
        assert_eq!(complaints.pass(6 * NS_PER_S), Some(0));
    }
}
