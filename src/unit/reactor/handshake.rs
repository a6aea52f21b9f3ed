//! Connections with TLS until they come to life.
//!
//! Nobody but the reactor knows of a connection whose handshake runs: no callback is told of it, no
//! call finds it. One that fails or takes too long is dropped and counted as aborted.

use std::collections::VecDeque;
use std::os::fd::AsRawFd;

use crate::error::{code, Error};
use crate::event::Token;
use crate::model::hooks::EventKind;
use crate::model::SessionId;
use crate::net::stream::Stream;
use crate::net::tls::Handshake;

use super::peers::{Life, Peers};
use super::{Reactor, State};
use crate::unit::timer::Timer;
use crate::unit::Unit;

/// How long a handshake may take.
const HANDSHAKE_NS: u64 = 10_000_000_000;
/// A unit that looks so much too late was busy elsewhere and has kept its peers waiting.
const AWAY_NS: u64 = 1_000_000_000;

/// Handshakes that have begun, and when they have to be over; in that order.
#[derive(Default)]
pub(super) struct Shaking {
    due: VecDeque<(SessionId, u64)>,
    is_timer_set: bool,
}

impl Shaking {
    pub(super) fn begin(&mut self, unit: &Unit, session: SessionId) {
        let due_ns = unit.now.get().monotonic_ns.saturating_add(HANDSHAKE_NS);
        self.due.push_back((session, due_ns));
        self.watch(unit);
    }

    /// Sets the timer for the first of them.
    fn watch(&mut self, unit: &Unit) {
        let Some((_, due_ns)) = self.due.front() else { return };
        if !std::mem::replace(&mut self.is_timer_set, true) {
            let now_ns = unit.now.get().monotonic_ns;
            unit.set_timer(due_ns.saturating_sub(now_ns), Timer::Handshake);
        }
    }

    /// Forgets those in front that are over.
    fn tidy(&mut self, peers: &mut Peers) {
        while let Some((session, _)) = self.due.front() {
            let peer = peers.get_mut(*session);
            if peer.is_some_and(|peer| peer.life == Life::Shaking) {
                return;
            }
            self.due.pop_front();
        }
    }
}

impl Reactor {
    /// The stream with what its port asks for; `None` if the connection had to be dropped. The
    /// loop tells from now on when there is room to write, too.
    pub(super) fn secured(
        &self,
        unit: &Unit,
        session: SessionId,
        stream: Stream,
    ) -> Option<Stream> {
        let record = unit.runtime.control.connections.get(session.0);
        let Some(tls) = record.and_then(|record| unit.runtime.port_of(record)?.tls.as_ref()) else {
            return Some(stream);
        };
        let secured = tls.with(|terms| stream.secured(terms)).and_then(|stream| {
            let token = Token::Session(session.0);
            let watched = unit.watcher.watch_writing_too(stream.as_raw_fd(), token);
            watched.map(|()| stream).map_err(|error| Error::system("watch a socket", &error))
        });
        secured
            .map_err(|error| {
                log::warn!("connection {} is dropped: {error}", session.0);
                self.forget(unit, session);
            })
            .ok()
    }

    /// Goes on with a handshake. True if the connection has come to life by that.
    pub(super) fn shake(&self, unit: &Unit, session: SessionId) -> bool {
        if self.is_quiet.get() {
            return false;
        }
        let state = &mut *self.state.borrow_mut();
        let Some(peer) = state.peers.get_mut(session) else { return false };
        let progress = peer.stream.handshake();
        peer.listen(unit);
        match progress {
            Handshake::NeedsRead | Handshake::NeedsWrite => false,
            Handshake::Done => {
                state.welcome(unit, session);
                true
            }
            Handshake::Failed(error) => {
                // Who only looks whether somebody listens is no news.
                let is_news = error.code() != code::SSL_RESET;
                state.refuse(unit, session, is_news, &error.to_string());
                false
            }
        }
    }

    /// Drops the connections whose handshakes take too long.
    pub(in crate::unit) fn end_slow_handshakes(&self, unit: &Unit) {
        let state = &mut *self.state.borrow_mut();
        let now_ns = unit.now.get().monotonic_ns;
        state.shaking.is_timer_set = false;
        loop {
            let State { shaking, peers, .. } = state;
            shaking.tidy(peers);
            match shaking.due.front() {
                Some((session, due_ns)) if now_ns.saturating_sub(*due_ns) > AWAY_NS => {
                    let session = *session;
                    shaking.due.pop_front();
                    shaking.due.push_back((session, now_ns.saturating_add(HANDSHAKE_NS)));
                }
                Some((session, due_ns)) if *due_ns <= now_ns => {
                    let session = *session;
                    state.refuse(unit, session, true, "the handshake takes too long");
                }
                Some(_) | None => break,
            }
        }
        state.shaking.watch(unit);
    }

    /// The certificate of the peer, where the program wants to see it.
    pub(super) fn certificate(&self, unit: &Unit, session: SessionId) -> Option<String> {
        let record = unit.runtime.control.connections.get(session.0)?;
        let tls = unit.runtime.port_of(record)?.tls.as_ref()?;
        if !tls.keeps_certificates() {
            return None;
        }
        self.state.borrow_mut().peers.get_mut(session)?.stream.peer_certificate()
    }
}

impl State {
    /// The handshake is finished: the connection is there for everybody, and its worker is told.
    fn welcome(&mut self, unit: &Unit, session: SessionId) {
        let State { peers, shaking, ungreeted, .. } = self;
        let Some(peer) = peers.get_mut(session) else { return };
        peer.life = Life::Open;
        peer.traffic.heard_ns = unit.now.get().monotonic_ns;
        if let Some(record) = unit.runtime.control.connections.get(session.0) {
            record.show();
            let port = unit.runtime.port_of(record);
            let keeps =
                port.and_then(|port| port.tls.as_ref()).is_some_and(|tls| tls.keeps_certificates());
            if keeps || unit.runtime.has_hook(record.port(), EventKind::Connect) {
                ungreeted.push_back(session);
            }
        }
        shaking.tidy(peers);
    }

    fn refuse(&mut self, unit: &Unit, session: SessionId, is_news: bool, why: &str) {
        let record = unit.runtime.control.connections.get(session.0);
        let peer = record.and_then(|record| record.peer());
        let peer = peer.map_or_else(String::new, |peer| format!(" from {}", peer.host()));
        match is_news {
            true => crate::warn_limited!("a connection{peer} to a TLS port is dropped: {why}"),
            false => log::debug!("a connection{peer} to a TLS port is dropped: {why}"),
        }
        self.release(unit, session, false);
        let State { shaking, peers, .. } = self;
        shaking.tidy(peers);
    }
}
