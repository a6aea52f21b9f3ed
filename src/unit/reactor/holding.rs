//! Connections that are not read for a while: paused, not confirmed, or too much for their worker.
//!
//! Events of such a connection pass by, since they come once: when no reason is left it is read as
//! if one had come. Its end is not noticed before that, unless output fails.

use std::sync::atomic::Ordering;

use crate::model::kind::{hold, MessageKind};
use crate::model::{SessionId, UnitId};

use super::peers::{Life, Peer};
use super::{Reactor, State};
use crate::unit::Unit;

impl Peer {
    /// Whether it is its worker that keeps it from being read.
    pub(super) fn is_full(&self) -> bool {
        self.held & hold::FULL != 0
    }

    /// Not to be read, for this reason.
    pub(super) fn hold(&mut self, reason: u8) {
        if self.held == 0 {
            self.written_before = self.stream.written_bytes();
        }
        self.held |= reason;
    }
}

impl Reactor {
    /// Reads a connection no more, for one of the reasons in [`hold`].
    pub(in crate::unit) fn pause(&self, unit: &Unit, session: SessionId, reason: u8) {
        if !self.knows(session) {
            self.take_in_post(unit);
        }
        if let Some(peer) = self.state.borrow_mut().peers.get_mut(session) {
            peer.hold(reason);
        }
    }

    /// One reason is gone: reads what has come meanwhile, in this turn or the next, if no other is
    /// left.
    pub(in crate::unit) fn resume(&self, unit: &Unit, session: SessionId, reason: u8) {
        if !self.knows(session) {
            self.take_in_post(unit);
        }
        if reason == hold::NOTHING {
            self.state.borrow_mut().choose_again(session);
        }
        let was_held = {
            let State { peers, .. } = &mut *self.state.borrow_mut();
            let Some(peer) = peers.get_mut(session) else { return };
            let before = peer.held;
            peer.held &= !reason;
            before != 0 && peer.is_read()
        };
        if was_held && !self.is_quiet.get() {
            self.queue(session, None);
        }
    }

    /// Nobody reads, and what was written since then has met a connection that is broken.
    pub(super) fn end_if_output_fails(&self, session: SessionId) {
        let State { peers, broken, .. } = &mut *self.state.borrow_mut();
        let Some(peer) = peers.get_mut(session) else { return };
        if peer.held != 0 && peer.stream.written_bytes() != peer.written_before {
            if let Some(errno) = peer.stream.take_failure() {
                broken.push((session, errno));
            }
        }
    }

    /// A worker has started anew: its predecessor may have died between doing something and saying
    /// so.
    pub(super) fn catch_up(&self, unit: &Unit, worker: UnitId) {
        for (session, reasons) in self.say_given(unit, worker) {
            self.resume(unit, session, reasons);
        }
        for session in self.refused(unit) {
            self.note_refused(unit, session);
        }
    }

    /// Connections of which a send was refused, by whomever, and nobody may have said so here.
    fn refused(&self, unit: &Unit) -> Vec<SessionId> {
        let connections = &unit.runtime.control.connections;
        let is_refused = |session: &SessionId| {
            let record = connections.get(session.0);
            record.is_some_and(|record| record.refused.load(Ordering::Relaxed) != 0)
        };
        self.state.borrow().peers.iter().map(|peer| peer.session).filter(is_refused).collect()
    }

    /// Tells a worker what it was given; the connections that were confirmed, or had enough taken
    /// of them, without a word. Any process confirms, so those of other workers are looked at, too.
    fn say_given(&self, unit: &Unit, worker: UnitId) -> Vec<(SessionId, u8)> {
        let mut gone = Vec::new();
        // The manager tells of dead processes, too, and is given nothing.
        let is_given = self.dispatch.workers().contains(&worker);
        let State { peers, .. } = &*self.state.borrow();
        for peer in peers.iter().filter(|peer| peer.life == Life::Open) {
            let session = peer.session;
            let Some(record) = unit.runtime.control.connections.get(session.0) else { continue };
            let is_its = peer.worker == worker || !self.dispatch.is_for_life();
            if is_given && is_its && record.undelivered_bytes() > 0 {
                let given = record.dispatched_bytes.load(Ordering::Relaxed);
                unit.post(worker, MessageKind::Given, session, given, &[]);
            }
            let unconfirmed = if record.is_unconfirmed() { 0 } else { hold::UNCONFIRMED };
            let full = if record.awaits_worker() { 0 } else { hold::FULL };
            let reasons = peer.held & (unconfirmed | full);
            if reasons != 0 {
                gone.push((session, reasons));
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hooks::Hooks;
    use crate::model::plan::{Mode, Plan};
    use crate::model::settings::{Machine, Settings};
    use crate::net::stream::Stream;
    use crate::os::address::Address;
    use crate::unit::acceptor::Accepted;
    use crate::unit::Runtime;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    #[test]
    fn what_a_worker_did_and_did_not_say_before_it_died_is_found_when_it_starts_anew() {
        let machine = Machine { cpu_count: 1, descriptor_limit: 1024, port_descriptor: 3 };
        let mut settings = Settings::new(Mode::Process, machine);
        settings.set_text("single_thread", "true").unwrap();
        let settings = settings.in_force();
        let plan = Plan::new(Mode::Process, &settings, 0);
        let runtime =
            Runtime::new(plan, settings, Hooks::default(), Vec::new(), Vec::new()).unwrap();
        let (unit, _events) = Unit::new(Arc::new(runtime), UnitId::ROOT).unwrap();
        let (reactor, control) = (unit.reactor.as_ref().unwrap(), &unit.runtime.control);
        let claim = || {
            let claimed = control.connections.claim(&control.root().session_round, 0, 9).unwrap();
            claimed.open(SessionId(claimed.id()), 3, 0, &Address::UNNAMED, 1);
            let session = SessionId(claimed.publish());
            let (near, far) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            let stream = Stream::new(near.into());
            reactor.adopt(&unit, Accepted { session, stream, is_watched: false });
            (session, far, control.connections.get(session.0).unwrap())
        };
        let (told, _far, record) = claim();
        assert!(record.await_worker(101, 100));
        record.taken_bytes.store(1, Ordering::Relaxed);
        assert!(record.is_awaited(), "and it dies before it says so");
        let (waiting, _far, record) = claim();
        assert!(record.await_worker(101, 100));
        for session in [told, waiting] {
            reactor.pause(&unit, session, hold::FULL);
            reactor.ask_again(&unit, reactor.dispatch.home(session));
        }
        // Whoever confirms need not be its worker; it has died before it said so, too.
        let (confirmed, _far, _) = claim();
        reactor.pause(&unit, confirmed, hold::UNCONFIRMED);
        reactor.ask_again(&unit, UnitId(77));
        let state = reactor.state.borrow();
        assert_eq!(state.unfinished.iter().collect::<Vec<_>>(), [&told, &confirmed]);
    }
}
