//! The acceptor: takes connections from the listeners and gives each its session and its reactor.
//!
//! A reactor in another thread gets the connection without being woken: the acceptor registers it
//! with the reactor's loop, and the first event, or the first message, makes the reactor look into
//! its post. It is woken only if a connect callback is to run, or somebody has to see that nothing
//! comes.

use std::cell::Cell;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;

use crate::error::code;
use crate::event::Token;
use crate::model::hooks::EventKind;
use crate::model::port::Port;
use crate::model::{SessionId, UnitId};
use crate::net::listener::Accept;
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
            unit.runtime.ports.iter().for_each(|port| port.listener.close_own());
        }
    }

    /// Goes on after a rest.
    pub(super) fn resume(&self, unit: &Unit) {
        if self.is_resting.replace(false) && self.is_open.get() {
            self.watch(unit);
        }
    }

    /// Has the system tell once more of connections that wait.
    pub(super) fn look_again(&self, unit: &Unit) {
        if self.is_open.get() && !self.is_resting.get() {
            self.unwatch(unit);
            self.watch(unit);
        }
    }

    fn watch(&self, unit: &Unit) {
        for (number, port) in unit.runtime.ports.iter().enumerate().filter(|row| row.1.is_stream())
        {
            let listener = &port.listener;
            let token = Token::Listener(number as u16);
            if let Err(error) = unit.watcher.watch_listener(listener.as_raw_fd(), token) {
                log::error!("listener {} cannot be watched: {error}", listener.host());
            }
        }
    }

    fn unwatch(&self, unit: &Unit) {
        for Port { listener, .. } in unit.runtime.ports.iter().filter(|port| port.is_stream()) {
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
        let Some(Port { listener, settings, .. }) = unit.runtime.ports.get(number) else { return };
        for _ in 0..ACCEPTS_PER_EVENT {
            if !self.is_open.get() || self.is_resting.get() {
                return;
            }
            match listener.accept() {
                Accept::Connection(socket, peer) => {
                    settings.socket.ask_accepted(socket.as_raw_fd(), listener.kind());
                    self.admit(unit, number, socket, &peer);
                }
                Accept::Nothing => return,
                Accept::Failed(error) => {
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
            unit.count_aborted(port);
            let number = code::SERVER_TOO_MANY_SOCKET;
            crate::warn_limited!("too many connections, max_connection is {most} (error {number})");
            self.rest(unit);
            return;
        }
        let (owner, reactor_number) = owner_of(unit, descriptor);
        let control = &unit.runtime.control;
        let tries = usize::try_from(most).unwrap_or(1);
        let round = &control.root().session_round;
        let Some(claimed) = control.connections.claim(round, unit.plan.id.0, tries) else {
            unit.count_aborted(port);
            let number = code::SERVER_TOO_MANY_SOCKET;
            crate::warn_limited!("the table of connections is full (error {number})");
            self.rest(unit);
            return;
        };
        let (session, now) = (SessionId(claimed.id()), unit.now.get());
        claimed.open(session, descriptor, port as u32, peer, now.wall_ns);
        claimed.heard_ns.store(now.monotonic_ns, Ordering::Relaxed);
        claimed.set_owner(owner.0, reactor_number);
        if unit.runtime.settings.is_receive_delayed {
            claimed.delay();
        }
        if unit.runtime.has_tls(port) {
            claimed.hide();
        }
        let session = SessionId(claimed.publish());
        counters.accepted.add(1);
        if let Some(counters) = unit.port_counters(port) {
            counters.accepted.add(1);
        }
        let stream = Stream::new(socket);
        match &unit.reactor {
            Some(own) if owner == unit.plan.id => {
                own.adopt(unit, Accepted { session, stream, is_watched: false });
            }
            Some(_) | None => {
                hand_over(unit, owner, port, Accepted { session, stream, is_watched: false })
            }
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

fn hand_over(unit: &Unit, owner: UnitId, port: usize, accepted: Accepted) {
    let Accepted { session, stream, .. } = accepted;
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
    let runtime = &unit.runtime;
    if !is_watched || runtime.has_hook(port, EventKind::Connect) || runtime.ends_idle(port) {
        unit.runtime.control.wiring.ring(owner.0);
    }
}

impl Unit {
    /// The last session id given out.
    pub fn last_session(&self) -> u64 {
        self.runtime.control.root().session_round.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Loop;
    use crate::model::hooks::Hooks;
    use crate::model::plan::{Mode, Plan};
    use crate::model::settings::{Machine, Settings};
    use crate::net::listener::{Listener, Manner};
    use crate::os::clock;
    use crate::os::socket::SocketKind;
    use crate::unit::Runtime;
    use std::io::Read;
    use std::net::TcpStream;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    const LIMIT: Duration = Duration::from_secs(10);

    /// A unit that does all by itself and accepts, but does not turn.
    fn accepting_unit() -> (Rc<Unit>, Loop) {
        let machine = Machine { cpu_count: 1, descriptor_limit: 1024, port_descriptor: 3 };
        let settings_of_server = Settings::new(Mode::Base, machine);
        let settings = settings_of_server.in_force();
        let plan = Plan::new(Mode::Base, &settings, 0);
        let manner = Manner::default();
        let listener = Listener::bind(SocketKind::Tcp, "127.0.0.1", 0, manner).unwrap();
        let settings_of_port = settings_of_server.port_in_force();
        listener.listen(&settings_of_port.socket).unwrap();
        let hooks = Hooks::default();
        let port = Port { listener, settings: settings_of_port, hooks, tls: None };
        let runtime =
            Runtime::new(plan, settings, Hooks::default(), Vec::new(), vec![port]).unwrap();
        let (unit, events) = Unit::new(Arc::new(runtime), UnitId::ROOT).unwrap();
        unit.acceptor.as_ref().unwrap().open(&unit);
        (unit, events)
    }

    fn connect(unit: &Unit) -> TcpStream {
        let client =
            TcpStream::connect(("127.0.0.1", unit.runtime.ports[0].listener.port())).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client
    }

    /// Takes what a listener has, if one is ready within the time.
    fn accept_within(unit: &Unit, events: &mut Loop, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            events.wait(Some(left)).unwrap();
            unit.refresh_now();
            if events.ready().any(|ready| ready.token == Token::Listener(0)) {
                unit.acceptor.as_ref().unwrap().accept(unit, 0);
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    }

    #[test]
    fn while_the_table_is_full_accepting_rests_for_a_second_and_goes_on_then() {
        let (unit, mut events) = accepting_unit();
        let (control, counters) = (&unit.runtime.control, unit.counters().unwrap());
        let (round, slots) = (&control.root().session_round, control.connections.capacity());
        let take = || control.connections.claim(round, 0, slots).map(|claimed| claimed.publish());
        let taken: Vec<i64> = std::iter::from_fn(take).collect();
        assert_eq!(taken.len(), slots);
        let begin = Instant::now();
        let mut refused = connect(&unit);
        assert!(accept_within(&unit, &mut events, LIMIT));
        assert_eq!((counters.accepted.get(), counters.aborted.get()), (0, 1));
        assert!(matches!(refused.read(&mut [0]), Ok(0) | Err(_)), "it is closed");
        // There is room at once, but nobody looks.
        assert!(taken.iter().all(|id| control.connections.release(*id)));
        let waiting = connect(&unit);
        assert!(!accept_within(&unit, &mut events, Duration::from_millis(20)));
        let due_ns = unit.agenda.next_due_ns().unwrap();
        while clock::monotonic_ns() < due_ns {
            let left_ns = due_ns.saturating_sub(clock::monotonic_ns());
            events.wait(Some(Duration::from_nanos(left_ns))).unwrap();
            assert!(events.ready().all(|ready| ready.token != Token::Listener(0)));
        }
        assert!(begin.elapsed() >= Duration::from_secs(1));
        unit.take_timers(clock::monotonic_ns());
        assert!(accept_within(&unit, &mut events, LIMIT));
        assert_eq!((counters.accepted.get(), counters.aborted.get()), (1, 1));
        drop(waiting);
    }
}
