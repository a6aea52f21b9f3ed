//! Connections on which nothing happens: the heartbeat and `max_idle_time`.
//!
//! One timer for each of the two walks the connections of the reactor, and none is set while there
//! are no connections. That bytes were read is noted as they are; that bytes were written is seen
//! by the walk, which compares how many the socket has taken.

use std::cell::Cell;

use crate::model::port::Port;
use crate::model::SessionId;

use super::peers::{Life, Peer};
use super::{Reactor, State};
use crate::unit::timer::Timer;
use crate::unit::{Runtime, Unit};

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;
/// In each `max_idle_time` the connections are looked at so often,
const LOOKS_PER_IDLE_TIME: u64 = 4;
/// but not more often than this: a look goes through all of them,
const SHORTEST_LOOK_NS: u64 = 10 * NS_PER_MS;
/// nor more seldom.
const LONGEST_LOOK_NS: u64 = NS_PER_S;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::unit) enum Look {
    /// Peers that are silent for longer than the heartbeat of their port allows.
    Heartbeat,
    /// Connections whose bytes flow in no direction, or not any more to a peer who does not read.
    Traffic,
}

/// When bytes have flowed, nanoseconds of monotonic time.
pub(super) struct Traffic {
    /// When bytes last came.
    pub(super) heard_ns: u64,
    /// Bytes that the socket had taken at the last look,
    written: u64,
    /// when that was first seen,
    written_ns: u64,
    /// and since when it takes nothing of what waits for it.
    stuck_ns: u64,
}

impl Traffic {
    pub(super) fn new(now_ns: u64) -> Self {
        Self { heard_ns: now_ns, written: 0, written_ns: now_ns, stuck_ns: now_ns }
    }

    /// Notes what the socket has taken, and whether more waits for it.
    fn look(&mut self, written: u64, is_waiting: bool, now_ns: u64) {
        let has_moved = std::mem::replace(&mut self.written, written) != written;
        if has_moved {
            self.written_ns = now_ns;
        }
        if has_moved || !is_waiting {
            self.stuck_ns = now_ns;
        }
    }

    /// Whether nothing has flowed for so long, or nothing to a peer for whom something waits.
    fn is_idle(&self, limit_ns: u64, now_ns: u64) -> bool {
        let flowed_ns = self.heard_ns.max(self.written_ns);
        let is_older = |since_ns: u64| now_ns.saturating_sub(since_ns) >= limit_ns;
        is_older(flowed_ns) || is_older(self.stuck_ns)
    }
}

/// The two timers of a reactor.
pub(super) struct Idle {
    heartbeat: Clock,
    traffic: Clock,
}

struct Clock {
    /// 0: it is never set.
    interval_ns: u64,
    is_set: Cell<bool>,
}

impl Clock {
    fn new(interval_ns: u64) -> Self {
        Self { interval_ns, is_set: Cell::new(false) }
    }

    fn begin(&self, unit: &Unit, look: Look) {
        if self.interval_ns > 0 && !self.is_set.replace(true) {
            unit.set_timer(self.interval_ns, Timer::Idle(look));
        }
    }
}

impl Idle {
    pub(super) fn new(runtime: &Runtime) -> Self {
        let ports = runtime.ports.iter().filter(|port| port.is_stream());
        let idle_times = ports.map(|port| port.settings.max_idle_time_ms.saturating_mul(NS_PER_MS));
        let shortest_ns = idle_times.filter(|time_ns| *time_ns > 0).min();
        let look_ns = shortest_ns.map_or(0, |time_ns| {
            (time_ns / LOOKS_PER_IDLE_TIME).clamp(SHORTEST_LOOK_NS, LONGEST_LOOK_NS)
        });
        let interval_ns = runtime.settings.heartbeat_check_interval_s.saturating_mul(NS_PER_S);
        Self { heartbeat: Clock::new(interval_ns), traffic: Clock::new(look_ns) }
    }

    /// There is a connection to look after.
    #[inline]
    pub(super) fn begin(&self, unit: &Unit) {
        self.heartbeat.begin(unit, Look::Heartbeat);
        self.traffic.begin(unit, Look::Traffic);
    }
}

impl Reactor {
    /// Ends the connections on which nothing happens.
    pub(in crate::unit) fn end_idle(&self, unit: &Unit, look: Look) {
        let clock = match look {
            Look::Heartbeat => &self.idle.heartbeat,
            Look::Traffic => &self.idle.traffic,
        };
        clock.is_set.set(false);
        if self.is_quiet.get() {
            return;
        }
        for session in self.idle_sessions(unit, look) {
            // What has come while this unit was busy elsewhere counts as heard.
            self.read(unit, session, true);
            if self.is_idle_still(unit, session, look) {
                log::debug!("connection {} is idle and is closed", session.0);
                self.end_forcibly(unit, session);
            }
        }
        if self.state.borrow().peers.iter().next().is_some() {
            clock.begin(unit, look);
        }
    }

    fn idle_sessions(&self, unit: &Unit, look: Look) -> Vec<SessionId> {
        let State { peers, .. } = &mut *self.state.borrow_mut();
        let idle = peers.iter_mut().filter_map(|peer| is_idle(unit, peer, look).then_some(peer));
        idle.map(|peer| peer.session).collect()
    }

    fn is_idle_still(&self, unit: &Unit, session: SessionId, look: Look) -> bool {
        let State { peers, .. } = &mut *self.state.borrow_mut();
        peers.get_mut(session).is_some_and(|peer| is_idle(unit, peer, look))
    }
}

fn is_idle(unit: &Unit, peer: &mut Peer, look: Look) -> bool {
    let now_ns = unit.now.get().monotonic_ns;
    if look == Look::Traffic {
        peer.traffic.look(peer.stream.written_bytes(), peer.has_waiting(), now_ns);
    }
    let Some(record) = unit.runtime.control.connections.get(peer.session.0) else { return false };
    let Some(Port { settings, .. }) = unit.runtime.port_of(record) else { return false };
    // One whose worker has no room is not read, whatever its peer says.
    let is_waited_for = peer.life == Life::Open && (peer.is_queued || peer.is_full());
    if record.is_protected() || is_waited_for {
        return false;
    }
    match look {
        Look::Heartbeat => {
            let limit_ns = settings.heartbeat_idle_time_s.saturating_mul(NS_PER_S);
            limit_ns > 0 && now_ns.saturating_sub(peer.traffic.heard_ns) >= limit_ns
        }
        Look::Traffic => {
            let limit_ns = settings.max_idle_time_ms.saturating_mul(NS_PER_MS);
            limit_ns > 0 && peer.traffic.is_idle(limit_ns, now_ns)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_any_direction_keep_a_connection() {
        let mut traffic = Traffic::new(0);
        assert!(!traffic.is_idle(100, 99) && traffic.is_idle(100, 100));
        traffic.look(10, false, 90);
        assert!(!traffic.is_idle(100, 180), "the socket has taken bytes");
        traffic.look(10, false, 180);
        assert!(traffic.is_idle(100, 190));
        traffic.heard_ns = 150;
        assert!(!traffic.is_idle(100, 190));
    }

    #[test]
    fn a_peer_that_does_not_read_what_waits_is_idle_whatever_it_sends() {
        let mut traffic = Traffic::new(0);
        traffic.look(10, true, 50);
        traffic.heard_ns = 140;
        traffic.look(10, true, 140);
        assert!(!traffic.is_idle(100, 149) && traffic.is_idle(100, 150));
        traffic.look(11, true, 149);
        assert!(!traffic.is_idle(100, 248));
    }
}
