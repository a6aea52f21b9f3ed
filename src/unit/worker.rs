//! The worker: runs the program's data callbacks, one at a time.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use crate::error::{clear_last, code};
use crate::model::connection::Connection;
use crate::model::hooks::{ConnectionEvent, Event, EventKind, WorkerEvent};
use crate::model::kind::MessageKind;
use crate::model::route::{self, Session};
use crate::model::worker::Status;
use crate::model::{SessionId, UnitId, WorkerId};
use crate::os::process;

use super::Unit;

/// The worker role of a unit.
pub(super) struct Worker {
    id: WorkerId,
    has_ended: Cell<bool>,
}

/// The reactor number in a close event when the server closed.
const BY_SERVER: i32 = -1;

impl Worker {
    pub(super) fn new(id: WorkerId) -> Self {
        Self { id, has_ended: Cell::new(false) }
    }

    /// Whether the stop callback has begun.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.get()
    }

    /// The worker's id.
    pub(super) fn id(&self) -> WorkerId {
        self.id
    }

    /// The worker is up: the program's start callback runs, the reactors are told.
    pub(super) fn begin(&self, unit: &Unit) {
        clear_last();
        log::info!("worker {} started, pid {}", self.id.0, unit.own_id());
        self.raise(unit, &Event::Worker(EventKind::WorkerStart, self.event(unit)));
        unit.announce_start();
        unit.begin_stats();
        let owns_reactor = unit.reactor.is_some();
        for reactor in unit.runtime.plan.reactors().iter().filter(|_| !owns_reactor) {
            unit.post(*reactor, MessageKind::WorkerReady, SessionId(0), 0, &[]);
        }
    }

    /// The worker ends: the program's stop callback runs, once.
    pub(super) fn end(&self, unit: &Unit) {
        if self.has_ended.replace(true) {
            return;
        }
        if let Some(record) = unit.record() {
            record.set_status(Status::Exit);
        }
        unit.raise(&Event::Worker(EventKind::WorkerStop, self.event(unit)));
        log::info!("worker {} stopped, pid {}", self.id.0, unit.own_id());
    }

    fn event(&self, unit: &Unit) -> WorkerEvent {
        WorkerEvent { worker: i32::from(self.id.0), pid: unit.own_id() }
    }

    /// Runs a callback; others see that the worker is busy.
    #[inline]
    fn raise(&self, unit: &Unit, event: &Event<'_>) {
        let Some(record) = unit.record() else { return };
        record.set_status(Status::Busy);
        unit.raise(event);
        record.set_status(Status::Idle);
    }

    /// A connection was accepted.
    pub(super) fn connect(&self, unit: &Unit, session: SessionId) {
        if let Session::Open(record) = route::find(&unit.runtime.control.connections, session) {
            let event = connection_event(record, session);
            self.raise(unit, &Event::Connection(EventKind::Connect, event));
        }
    }

    /// Bytes of a connection.
    #[inline]
    pub(super) fn receive(&self, unit: &Unit, session: SessionId, arrival_ns: u64, data: &[u8]) {
        let connections = &unit.runtime.control.connections;
        let Session::Open(record) = route::find(connections, session) else {
            let number = code::SESSION_DISCARD_TIMEOUT_DATA;
            crate::warn_limited!(
                "{} bytes of connection {} came after it was closed (error {number})",
                data.len(),
                session.0
            );
            return;
        };
        let taken = record.taken_bytes.load(Ordering::Relaxed).wrapping_add(data.len() as u64);
        record.taken_bytes.store(taken, Ordering::Relaxed);
        record.last_dispatch_ns.store(arrival_ns, Ordering::Relaxed);
        let event = ConnectionEvent { arrival_ns, data, ..connection_event(record, session) };
        if let Some(counters) = unit.counters() {
            counters.taken.add(1);
            self.raise(unit, &Event::Connection(EventKind::Receive, event));
            counters.requests.add(1);
        }
    }

    /// The peer is gone. The reactor waits for the answer, also if the callback ran before.
    pub(super) fn close_for_peer(&self, unit: &Unit, session: SessionId) {
        let Some(record) = unit.runtime.control.connections.get(session.0) else { return };
        if record.begin_close(false) {
            let event = connection_event(record, session);
            self.raise_close(unit, event);
        }
        record.end_close();
        unit.tell_closed(route::reactor_of(record), session, false);
    }

    /// The server closes. The close callback runs now, in here.
    pub(super) fn close(&self, unit: &Unit, session: SessionId, is_reset: bool) {
        let Some(record) = unit.runtime.control.connections.get(session.0) else { return };
        let owner = route::reactor_of(record);
        if let Session::Open(record) = route::find(&unit.runtime.control.connections, session) {
            // Said first: if this process dies in the callback, the reactor asks its successor.
            self.shut(unit, owner, session);
            if record.begin_close(true) {
                let event = connection_event(record, session);
                self.raise_close(unit, ConnectionEvent { reactor_number: BY_SERVER, ..event });
                record.end_close();
            }
            unit.tell_closed(owner, session, is_reset);
        } else if is_reset {
            unit.tell_closed(owner, session, true);
        }
    }

    fn shut(&self, unit: &Unit, owner: UnitId, session: SessionId) {
        match &unit.reactor {
            Some(reactor) if owner == unit.plan.id => reactor.shut(unit, session),
            Some(_) | None => unit.post(owner, MessageKind::Shut, session, 0, &[]),
        }
    }

    fn raise_close(&self, unit: &Unit, event: ConnectionEvent<'_>) {
        // It may run inside another callback, which is still busy afterwards.
        let was_idle = unit.record().is_some_and(|record| record.is_idle());
        self.raise(unit, &Event::Connection(EventKind::Close, event));
        if let (false, Some(record)) = (was_idle, unit.record()) {
            record.set_status(Status::Busy);
        }
    }
}

fn connection_event(record: &Connection, session: SessionId) -> ConnectionEvent<'static> {
    ConnectionEvent {
        session,
        reactor_number: record.reactor_number.load(Ordering::Relaxed),
        arrival_ns: 0,
        data: &[],
    }
}

impl Unit {
    /// The number by which users know this unit: its process id, or its thread id where workers
    /// are threads.
    pub(super) fn own_id(&self) -> i32 {
        match self.plan.start {
            crate::model::plan::Start::Thread => process::thread_id(),
            crate::model::plan::Start::Here | crate::model::plan::Start::Fork => process::pid(),
        }
    }

    /// Raises the start event, if this unit stands for the master and nobody has done it before.
    pub(super) fn announce_start(&self) {
        let root = self.runtime.control.root();
        if self.runtime.plan.face() == self.plan.id && root.claim_start_event() {
            self.raise(&Event::Plain(EventKind::Start));
        }
    }

    /// Raises the event before the end, if this unit stands for the master. Nothing has stopped.
    pub(super) fn announce_end(&self) {
        let is_face = self.runtime.plan.face() == self.plan.id;
        if is_face && !self.has_announced_end.replace(true) {
            self.raise(&Event::Plain(EventKind::BeforeShutdown));
        }
    }

    /// The id of the worker that this unit is.
    pub fn worker_id(&self) -> Option<WorkerId> {
        self.worker.as_ref().map(Worker::id)
    }
}
