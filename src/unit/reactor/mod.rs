//! The reactor: owns connections, reads and cuts what they send, writes what is sent to them.
//!
//! Bytes are read straight into the lane of the worker that will get them, and written straight
//! from the lane in which they came; copied is only what the socket would not take. Where messages
//! have to be cut, they go to the lane, or to the callback, from the buffer they were read into.
//! Small sends to one connection that follow each other leave as one write.

mod choice;
mod ending;
mod framing;
mod handshake;
mod holding;
mod idle;
mod input;
mod levels;
mod output;
mod peers;
mod waiting;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::AsRawFd;

use crate::error::{Error, Result};
use crate::event::{Ready, Token};
use crate::model::dispatch::{Dispatch, Subject};
use crate::model::hooks::EventKind;
use crate::model::kind::{hold, MessageKind};
use crate::model::plan::UnitPlan;
use crate::model::{SessionId, UnitId};
use crate::net::in_buffer::{Buffers, Kept};
use crate::net::out_buffer::OutBuffer;
use crate::net::pool::Pool;
use crate::net::stream::Stream;
use crate::proto::framer::Choice;

use super::acceptor::Accepted;
use super::{Runtime, Unit};
use framing::Complaints;
use handshake::Shaking;
pub(super) use idle::Look;
use idle::{Idle, Traffic};
use levels::Levels;
use output::Burst;
use peers::{Life, Peer, Peers};

/// What the reactor alone writes.
struct State {
    peers: Peers,
    pool: Pool,
    burst: Burst,
    /// Connections that were taken in and whose worker has not been told.
    ungreeted: VecDeque<SessionId>,
    shaking: Shaking,
    /// Connections with more to read than their turn allowed.
    unfinished: VecDeque<SessionId>,
    /// Connections that are not read because the lane of their worker is full, by worker.
    stalled: Queues,
    /// Connections with more to write than their turn allowed.
    unwritten: VecDeque<SessionId>,
    /// Connections whose next file finds no descriptor, and when they are tried again.
    starved: Vec<SessionId>,
    starved_until_ns: u64,
    /// Connections whose buffers have become full or empty, which their workers are to hear.
    levels: Levels,
    /// Connections that broke while they were written to, with the cause.
    broken: Vec<(SessionId, i32)>,
    /// Connections that were closed and whose peers have to hear of it; while a unit leaves alone.
    parting: Option<Vec<Stream>>,
    /// For what is not read straight into a lane.
    buffers: Buffers,
    complaints: Complaints,
}

/// The reactor role of a unit.
pub(super) struct Reactor {
    number: i32,
    dispatch: Dispatch,
    is_own_worker: bool,
    counts_load: bool,
    /// Some port speaks WebSocket.
    has_upgrades: bool,
    is_quiet: Cell<bool>,
    idle: Idle,
    state: RefCell<State>,
}

/// One queue of connections a worker.
#[derive(Default)]
struct Queues {
    rows: Vec<(UnitId, VecDeque<SessionId>)>,
}

impl Queues {
    fn push(&mut self, worker: UnitId, session: SessionId) {
        match self.rows.iter_mut().find(|row| row.0 == worker) {
            Some(row) => row.1.push_back(session),
            None => self.rows.push((worker, VecDeque::from([session]))),
        }
    }
}

impl Reactor {
    pub(super) fn new(runtime: &Runtime, plan: &UnitPlan) -> Self {
        let is_own_worker = plan.worker.is_some();
        let dispatch = runtime.dispatch(plan.id);
        Self {
            number: plan.reactor.map_or(-1, i32::from),
            is_own_worker,
            counts_load: dispatch.counts_load(),
            dispatch,
            has_upgrades: runtime.ports.iter().any(|port| port.settings.framing.open_websocket),
            is_quiet: Cell::new(false),
            idle: Idle::new(runtime),
            state: RefCell::new(State {
                peers: Peers::new(runtime.control.connections.capacity()),
                pool: Pool::default(),
                burst: Burst::default(),
                ungreeted: VecDeque::new(),
                shaking: Shaking::default(),
                unfinished: VecDeque::new(),
                stalled: Queues::default(),
                unwritten: VecDeque::new(),
                starved: Vec::new(),
                starved_until_ns: 0,
                levels: Levels::default(),
                broken: Vec::new(),
                parting: None,
                buffers: Buffers::default(),
                complaints: Complaints::default(),
            }),
        }
    }

    /// The reactor's number, as users see it.
    pub(super) fn number(&self) -> i32 {
        self.number
    }

    /// Lets acceptors of this process register connections with this unit's loop.
    pub(super) fn begin(&self, unit: &Unit) -> Result<()> {
        let Some(handover) = unit.runtime.handovers.get(unit.plan.id.index()) else {
            return Ok(());
        };
        let watcher = unit
            .watcher
            .try_clone()
            .map_err(|error| Error::system("share an event loop", &error))?;
        handover.watcher.lock().replace(watcher);
        Ok(())
    }

    /// Whether there is something to do that no event will tell of.
    pub(super) fn is_busy(&self) -> bool {
        let state = self.state.borrow();
        !(state.unfinished.is_empty() && state.unwritten.is_empty() && state.levels.is_empty())
    }

    /// Reads no more.
    pub(super) fn quiesce(&self) {
        self.is_quiet.set(true);
        self.state.borrow_mut().unfinished.clear();
    }

    /// Takes in the connections that an acceptor of another thread has left, and tells their
    /// workers.
    fn take_post(&self, unit: &Unit) {
        self.take_in_post(unit);
        self.greet(unit);
    }

    /// Takes in the connections that an acceptor of another thread has left. It runs no callback,
    /// so it may be done inside one.
    fn take_in_post(&self, unit: &Unit) {
        let Some(handover) = unit.runtime.handovers.get(unit.plan.id.index()) else { return };
        // What comes while this unit leaves is for its successor.
        if unit.leaves_alone() {
            return;
        }
        loop {
            // Under the lock: the acceptor registers a connection before it leaves it here.
            let watcher = handover.watcher.lock();
            let accepted = handover.post.pop();
            drop(watcher);
            let Some(accepted) = accepted else { return };
            self.take_in(unit, accepted);
        }
    }

    /// Leaves to the successor what acceptors of other threads have left here.
    pub(in crate::unit) fn leave_post(&self, unit: &Unit) {
        let Some(handover) = unit.runtime.handovers.get(unit.plan.id.index()) else { return };
        let mut watcher = handover.watcher.lock();
        watcher.take();
        let left: Vec<Accepted> = std::iter::from_fn(|| handover.post.pop()).collect();
        for accepted in left {
            if let Err(error) = unit.watcher.forget(accepted.stream.as_raw_fd()) {
                log::debug!("connection {} was not watched: {error}", accepted.session.0);
            }
            handover.post.push(Accepted { is_watched: false, ..accepted });
        }
    }

    /// Takes a connection in and tells its worker.
    pub(super) fn adopt(&self, unit: &Unit, accepted: Accepted) {
        self.take_in(unit, accepted);
        self.greet(unit);
    }

    fn take_in(&self, unit: &Unit, accepted: Accepted) {
        let Accepted { session, stream, is_watched } = accepted;
        if !is_watched {
            let watched = unit.watcher.watch(stream.as_raw_fd(), Token::Session(session.0));
            if let Err(error) = watched {
                log::warn!("connection {} is dropped, it cannot be watched: {error}", session.0);
                self.forget(unit, session);
                return;
            }
        }
        let Some(stream) = self.secured(unit, session, stream) else { return };
        let record = unit.runtime.control.connections.get(session.0);
        let is_shaking = record.is_some_and(|record| unit.runtime.has_tls(record.port()));
        let is_delayed = record.is_some_and(|record| record.is_unconfirmed());
        let held = if is_delayed { hold::UNCONFIRMED } else { 0 };
        let port = record.and_then(|record| unit.runtime.port_of(record));
        let peer = Peer {
            session,
            stream,
            out: OutBuffer::default(),
            framer: port.map_or_else(Choice::default, |port| Choice::new(&port.settings.framing)),
            unread: Kept::default(),
            until: 0,
            is_in_hand: false,
            worker: self.first_worker(unit, session),
            turn: None,
            life: if is_shaking { Life::Shaking } else { Life::Open },
            is_write_watched: is_shaking,
            is_cut: false,
            has_ended: false,
            is_queued: false,
            is_write_queued: false,
            has_waited: false,
            is_full: false,
            held,
            noted_bytes: 0,
            written_before: 0,
            traffic: Traffic::new(unit.now.get().monotonic_ns),
        };
        let is_greeted =
            record.is_some_and(|record| unit.runtime.has_hook(record.port(), EventKind::Connect));
        let state = &mut *self.state.borrow_mut();
        state.peers.insert(peer);
        if is_shaking {
            state.shaking.begin(unit, session);
        } else if is_greeted {
            state.ungreeted.push_back(session);
        }
        self.idle.begin(unit);
    }

    /// Tells the workers of connections that were taken in, before anything else of them.
    fn greet(&self, unit: &Unit) {
        loop {
            let Some(session) = self.state.borrow_mut().ungreeted.pop_front() else { return };
            let certificate = self.certificate(unit, session).unwrap_or_default();
            match &unit.worker {
                Some(own) if self.is_own_worker => {
                    own.connect(unit, session, certificate.as_bytes());
                    self.flush_burst(unit);
                }
                Some(_) | None => {
                    if let Some(worker) = self.worker_for(unit, session, Subject::Connect) {
                        let certificate = certificate.as_bytes();
                        self.claim(unit, worker);
                        unit.post(worker, MessageKind::Connect, session, 0, certificate);
                        self.count_load(unit, worker);
                    }
                }
            }
        }
    }

    /// Something has happened to a connection.
    pub(super) fn take_event(&self, unit: &Unit, session: SessionId, ready: Ready) {
        let mut life = self.life_of(session);
        if life.is_none() {
            self.take_in_post(unit);
            life = self.life_of(session);
        }
        // What was decrypted with the end of a handshake is read as if an event had come.
        let is_shaken = life == Some(Life::Shaking);
        if is_shaken && !self.shake(unit, session) {
            return;
        }
        self.greet(unit);
        if ready.is_writable {
            self.write_waiting(unit, session);
        }
        if ready.is_readable || is_shaken {
            self.read(unit, session, ready.is_final || is_shaken);
        }
        if ready.is_final {
            self.end_if_output_fails(session);
        }
    }

    #[inline]
    fn life_of(&self, session: SessionId) -> Option<Life> {
        self.state.borrow_mut().peers.get_mut(session).map(|peer| peer.life)
    }

    #[inline]
    fn knows(&self, session: SessionId) -> bool {
        self.state.borrow_mut().peers.get_mut(session).is_some()
    }

    /// Ends a turn: takes in what acceptors left, reads what had to wait, ends what broke.
    pub(super) fn settle(&self, unit: &Unit) {
        self.take_post(unit);
        self.read_unfinished(unit);
        self.read_stalled(unit);
        self.flush_burst(unit);
        self.write_unwritten(unit);
        self.tell_levels(unit);
        self.end_broken(unit);
    }
}
