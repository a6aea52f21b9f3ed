//! The acceptor: takes connections from the listeners and gives each its session and its reactor.
//!
//! A reactor in another thread gets the connection without being woken: the acceptor registers it
//! with the reactor's loop, and the first event, or the first message, makes the reactor look into
//! its post. It is woken only if a connect callback is to run.

use std::cell::Cell;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;

use crate::error::code;
use crate::event::Token;
use crate::model::hooks::EventKind;
use crate::model::{SessionId, UnitId};
use crate::net::listener::{Accept, Listener};
use crate::net::stream::Stream;
use crate::os::address::Address;

use super::{Timer, Unit};

/// Connections taken from one listener before other events have their turn.
const ACCEPTS_PER_EVENT: usize = 64;
/// How long accepting rests when there is no room for a connection.
const REST_NS: u64 = 1_000_000_000;

/// A connection on its way from the acceptor to its reactor.
pub(super) struct Accepted {
    pub(super) session: SessionId,
    pub(super) stream: Stream,
    /// Whether the reactor's loop knows it already.
    pub(super) is_watched: bool,
}

/// The acceptor role of a unit.
#[derive(Default)]
pub(super) struct Acceptor {
    is_open: Cell<bool>,
    is_resting: Cell<bool>,
}

impl Acceptor {
    /// Begins to accept.
    pub(super) fn open(&self, unit: &Unit) {
        if self.is_open.replace(true) {
            return;
        }
        self.watch(unit);
    }

    /// Accepts no more.
    pub(super) fn close(&self, unit: &Unit) {
        if !self.is_open.replace(false) {
            return;
        }
        if !self.is_resting.get() {
            self.unwatch(unit);
        }
        // The kernel would go on giving connections to a listener that nobody else looks after.
        if unit.runtime.settings.opens_own_listeners {
            unit.runtime.listeners.iter().for_each(Listener::close_own);
        }
    }

    /// Goes on after a rest.
    pub(super) fn resume(&self, unit: &Unit) {
        if self.is_resting.replace(false) && self.is_open.get() {
            self.watch(unit);
        }
    }

    fn watch(&self, unit: &Unit) {
        for (number, listener) in unit.runtime.listeners.iter().enumerate() {
            let token = Token::Listener(number as u16);
            if let Err(error) = unit.watcher.watch_listener(listener.as_raw_fd(), token) {
                log::error!("listener {} cannot be watched: {error}", listener.host());
            }
        }
    }

    fn unwatch(&self, unit: &Unit) {
        for listener in &unit.runtime.listeners {
            if let Err(error) = unit.watcher.forget(listener.as_raw_fd()) {
                log::debug!("listener {} was not watched: {error}", listener.host());
            }
        }
    }

    fn rest(&self, unit: &Unit) {
        if !self.is_resting.replace(true) {
            self.unwatch(unit);
            unit.set_timer(REST_NS, Timer::Accept);
        }
    }

    /// Takes what waits at a listener.
    pub(super) fn accept(&self, unit: &Unit, number: usize) {
        let Some(listener) = unit.runtime.listeners.get(number) else { return };
        for _ in 0..ACCEPTS_PER_EVENT {
            if !self.is_open.get() || self.is_resting.get() {
                return;
            }
            match listener.accept() {
                Accept::Connection(socket, peer) => self.admit(unit, number, socket, &peer),
                Accept::Nothing => return,
                Accept::NoRoom(error) => {
                    crate::warn_limited!("cannot accept, trying again in 1 s: {error}");
                    self.rest(unit);
                }
                Accept::Gone => {}
            }
        }
    }

    fn admit(&self, unit: &Unit, port: usize, socket: OwnedFd, peer: &Address) {
        let Some(counters) = unit.counters() else { return };
        let descriptor = socket.as_raw_fd();
        let most = unit.runtime.settings.max_connection;
        if i64::from(descriptor) >= most {
            counters.aborted.add(1);
            crate::warn_limited!("too many connections, max_connection is {most}");
            self.rest(unit);
            return;
        }
        let (owner, reactor_number) = owner_of(unit, descriptor);
        let control = &unit.runtime.control;
        let tries = usize::try_from(most).unwrap_or(1);
        let round = &control.root().session_round;
        let Some(claimed) = control.connections.claim(round, unit.plan.id.0, tries) else {
            counters.aborted.add(1);
            let number = code::SERVER_TOO_MANY_SOCKET;
            crate::warn_limited!("the table of connections is full (error {number})");
            self.rest(unit);
            return;
        };
        claimed.open(descriptor, port as u32, peer, unit.now.get().wall_ns);
        claimed.set_owner(owner.0, reactor_number);
        let session = SessionId(claimed.publish());
        counters.accepted.add(1);
        let stream = Stream::new(socket);
        match &unit.reactor {
            Some(own) if owner == unit.plan.id => {
                own.adopt(unit, Accepted { session, stream, is_watched: false });
            }
            Some(_) | None => hand_over(unit, owner, session, stream),
        }
    }
}

/// Who gets a connection: the unit itself if it is a reactor, else the reactor whose turn it is by
/// the descriptor.
fn owner_of(unit: &Unit, descriptor: i32) -> (UnitId, i32) {
    if let Some(own) = &unit.reactor {
        return (unit.plan.id, own.number());
    }
    let reactors = unit.runtime.plan.reactors();
    let index = descriptor.unsigned_abs() as usize % reactors.len().max(1);
    (reactors.get(index).copied().unwrap_or(unit.plan.id), index as i32)
}

fn hand_over(unit: &Unit, owner: UnitId, session: SessionId, stream: Stream) {
    let Some(handover) = unit.runtime.handovers.get(owner.index()) else { return };
    let descriptor = stream.as_raw_fd();
    // The reactor takes from the post under the same lock: an event finds the connection there, and
    // nobody closes the descriptor meanwhile.
    let watcher = handover.watcher.lock();
    let token = Token::Session(session.0);
    let is_watched =
        watcher.as_ref().is_some_and(|watcher| watcher.watch(descriptor, token).is_ok());
    handover.post.push(Accepted { session, stream, is_watched });
    drop(watcher);
    if !is_watched || unit.runtime.hooks.has(EventKind::Connect) {
        unit.runtime.control.wiring.ring(owner.0);
    }
}

impl Unit {
    /// The last session id given out.
    pub fn last_session(&self) -> u64 {
        self.runtime.control.root().session_round.load(Ordering::Relaxed)
    }
}
