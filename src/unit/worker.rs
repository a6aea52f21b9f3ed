//! The worker: runs the program's data callbacks, one at a time. A task worker begins, ends and is
//! seen to be busy like any other; what it runs is in `task.rs`.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use crate::error::{clear_last, code};
use crate::ipc::Header;
use crate::model::connection::{Connection, Former};
use crate::model::hooks::{
    ConnectionEvent, Event, EventKind, MessageEvent, PacketEvent, WorkerEvent,
};
use crate::model::kind::{self, hold, MessageKind};
use crate::model::route::{self, Session};
use crate::model::worker::{InHand, Leave, Status, UnitCounters};
use crate::model::{SessionId, UnitId, WorkerId};
use crate::os::address::Address;
use crate::os::address_text::AddressText;
use crate::os::{datagram, process};
use crate::proto::framer::Frame;

use super::certificates::Certificates;
use super::{Runtime, Unit};

/// The worker role of a unit.
pub(super) struct Worker {
    id: WorkerId,
    has_ended: Cell<bool>,
    /// Requests after which it leaves; 0: never.
    request_limit: u64,
    /// Reactors may wait until it has taken what they gave it.
    is_awaited: bool,
    /// Several workers take the bytes of one connection.
    is_one_of_many: bool,
    /// What comes after the end of its connection is handled all the same: the program is not told
    /// of the end.
    takes_late_data: bool,
    certificates: RefCell<Certificates>,
}

/// The reactor number in a close event when the server closed.
const BY_SERVER: i32 = -1;

impl Worker {
    pub(super) fn new(id: WorkerId, runtime: &Runtime) -> Self {
        let settings = &runtime.settings;
        Self {
            id,
            has_ended: Cell::new(false),
            request_limit: limit_of(settings.max_request, settings.max_request_grace),
            is_awaited: settings.max_queued_bytes > 0,
            is_one_of_many: !runtime.keeps_workers(),
            takes_late_data: !settings.discards_late_data && runtime.drops_events(),
            certificates: RefCell::default(),
        }
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
        unit.begin_stats();
        let owns_reactor = unit.reactor.is_some();
        let is_awaited = !owns_reactor && !unit.plan.roles.is_task();
        for reactor in unit.runtime.plan.reactors().iter().filter(|_| is_awaited) {
            unit.post(*reactor, MessageKind::WorkerReady, SessionId(0), 0, &[]);
        }
    }

    /// The worker ends: the program's stop callback runs, once.
    pub(super) fn end(&self, unit: &Unit) {
        if self.has_ended.replace(true) {
            return;
        }
        self.raise(unit, &Event::Worker(EventKind::WorkerStop, self.event(unit)));
        log::info!("worker {} stopped, pid {}", self.id.0, unit.own_id());
    }

    /// Something keeps the worker that wants to leave.
    pub(super) fn announce_exit(&self, unit: &Unit) {
        self.raise(unit, &Event::Worker(EventKind::WorkerExit, self.event(unit)));
    }

    fn event(&self, unit: &Unit) -> WorkerEvent {
        let is_task_worker = unit.plan.roles.is_task();
        WorkerEvent { worker: i32::from(self.id.0), pid: unit.own_id(), is_task_worker }
    }

    /// Runs the callback of an event of the server.
    fn raise(&self, unit: &Unit, event: &Event<'_>) {
        self.call(unit, Some(event.kind()), SessionId(0), || unit.raise(event));
    }

    /// Runs the callback of an event of a connection, that of its port.
    #[inline]
    fn raise_of(
        &self,
        unit: &Unit,
        record: &Connection,
        kind: EventKind,
        event: ConnectionEvent<'_>,
    ) {
        let Some(port) = unit.runtime.port_of(record) else { return };
        let session = event.session;
        let event = Event::Connection(kind, event);
        self.call(unit, Some(kind), session, || port.hooks.raise(&event));
    }

    /// Runs a callback; others see that the worker is busy, and with what. A callback may run
    /// inside another one, which is in hand again afterwards.
    #[inline]
    pub(super) fn call(
        &self,
        unit: &Unit,
        event: Option<EventKind>,
        session: SessionId,
        act: impl FnOnce(),
    ) {
        let Some(record) = unit.record() else { return act() };
        let outer = record.in_hand();
        let hand = InHand { event, session, since_ns: unit.last_look_ns.get() };
        record.set_in_hand(if unit.is_leaving() { Status::Exit } else { Status::Busy }, hand);
        act();
        match (outer, unit.is_leaving()) {
            (Some(hand), false) => record.set_in_hand(Status::Busy, hand),
            (Some(hand), true) => record.set_in_hand(Status::Exit, hand),
            (None, false) => record.set_status(Status::Idle),
            (None, true) => record.set_status(Status::Exit),
        }
    }

    /// A connection was accepted; the certificate of its peer, if any, is kept as long as it is
    /// open.
    pub(super) fn connect(&self, unit: &Unit, session: SessionId, certificate: &[u8]) {
        let connections = &unit.runtime.control.connections;
        if let Session::Open(record) = route::find(connections, session) {
            if !certificate.is_empty() {
                let is_open = |session: SessionId| connections.contains(session.0);
                self.certificates.borrow_mut().keep(session, certificate, is_open);
            }
            self.raise_of(unit, record, EventKind::Connect, connection_event(record, session));
        }
    }

    /// Bytes of a connection.
    #[inline]
    pub(super) fn receive(
        &self,
        unit: &Unit,
        session: SessionId,
        arrival_ns: u64,
        data: &[u8],
        frame: Frame,
        header: Option<&Header>,
    ) {
        let connections = &unit.runtime.control.connections;
        let record = match route::find(connections, session) {
            Session::Open(record) => record,
            other => return self.receive_late(unit, session, &other, header, data),
        };
        record.take_bytes(data.len() as u64, self.is_one_of_many);
        record.last_dispatch_ns.store(arrival_ns, Ordering::Relaxed);
        if self.is_awaited {
            tell_if_awaited(unit, record, session);
        }
        let event = connection_event(record, session);
        let event = ConnectionEvent { arrival_ns, data, frame, ..event };
        if let Some(counters) = unit.counters() {
            counters.taken.add(1);
            let port = record.port();
            self.raise_of(unit, record, EventKind::Receive, event);
            self.count_handled(unit, counters, port);
        }
    }

    /// A datagram that came through the inbox.
    pub(super) fn packet_message(&self, unit: &Unit, header: &Header, payload: &[u8]) {
        let length = usize::try_from(header.extra).unwrap_or(usize::MAX);
        let parts = payload.get(..length).zip(payload.get(length..));
        let sent = parts.and_then(|(from, data)| Some((datagram::sender(from).ok()?, data)));
        let Some((sender, data)) = sent else {
            return unit.drop_unknown(header.kind, header.source);
        };
        self.packet(unit, header.session as usize, &sender, header.time, data);
    }

    /// Bytes of a connection that is not open any more.
    #[cold]
    fn receive_late(
        &self,
        unit: &Unit,
        session: SessionId,
        state: &Session<'_>,
        header: Option<&Header>,
        data: &[u8],
    ) {
        let is_by_server = match state {
            Session::Closing(record) => record.is_closed_by_server(),
            Session::Closed(former, _) => *former == Former::ClosedByServer,
            Session::Open(_) | Session::Unknown | Session::Invalid => false,
        };
        let header = header.filter(|_| self.takes_late_data && !is_by_server);
        let known = header.and_then(|header| {
            let (port, frame) = kind::read_receive(header.extra);
            let reactor = unit.runtime.plan.unit(UnitId(header.source))?.reactor?;
            Some((header, port, frame, unit.runtime.ports.get(port)?, unit.counters()?, reactor))
        });
        let Some((header, number, frame, port, counters, reactor)) = known else {
            let number = code::SESSION_DISCARD_TIMEOUT_DATA;
            crate::warn_limited!(
                "{} bytes of connection {} came after it was closed (error {number})",
                data.len(),
                session.0
            );
            return;
        };
        let (reactor_number, arrival_ns) = (i32::from(reactor), header.time);
        let event = ConnectionEvent { session, reactor_number, arrival_ns, data, frame };
        counters.taken.add(1);
        let event = Event::Connection(EventKind::Receive, event);
        self.call(unit, Some(EventKind::Receive), session, || port.hooks.raise(&event));
        self.count_handled(unit, counters, number);
    }

    /// A datagram.
    #[inline]
    pub(super) fn packet(
        &self,
        unit: &Unit,
        number: usize,
        sender: &Address,
        arrival_ns: u64,
        data: &[u8],
    ) {
        let Some(port) = unit.runtime.ports.get(number) else { return };
        let Some(counters) = unit.counters() else { return };
        let address = AddressText::of(sender);
        let event = PacketEvent {
            socket: port.listener.as_raw_fd(),
            server_port: port.listener.port(),
            address: address.as_c_str(),
            port: sender.port(),
            arrival_ns,
            data,
        };
        counters.taken.add(1);
        let raise =
            || unit.answer(event.socket, sender, || port.hooks.raise(&Event::Packet(event)));
        self.call(unit, Some(EventKind::Packet), SessionId(0), raise);
        self.count_handled(unit, counters, number);
    }

    /// A message of another process.
    pub(super) fn pipe_message(&self, unit: &Unit, header: &Header, data: &[u8]) {
        let source_worker = header.session as i32;
        let event = MessageEvent { source_worker, sent_ns: header.time, data };
        self.raise(unit, &Event::Message(event));
    }

    #[inline]
    fn count_handled(&self, unit: &Unit, counters: &UnitCounters, port: usize) {
        counters.requests.add(1);
        if let Some(counters) = unit.port_counters(port) {
            counters.requests.add(1);
        }
        if self.request_limit > 0 {
            self.count_request(unit, counters);
        }
    }

    /// How many requests the worker handles before it leaves.
    pub(super) fn requests_left(&self, unit: &Unit) -> u64 {
        match (self.request_limit, unit.record().zip(unit.counters())) {
            (0, _) | (_, None) => u64::MAX,
            (limit, Some((record, counters))) => {
                limit.saturating_sub(record.life_requests(counters))
            }
        }
    }

    /// What a predecessor has taken before it died is not waiting any more, whether it came to say
    /// so or not.
    pub(super) fn correct(&self, unit: &Unit, session: SessionId, given: u64) {
        let Some(record) = unit.runtime.control.connections.get(session.0) else { return };
        record.correct_taken(given, self.is_one_of_many);
        tell_if_awaited(unit, record, session);
    }

    /// A worker leaves after so many requests, exactly.
    #[cold]
    fn count_request(&self, unit: &Unit, counters: &UnitCounters) {
        let handled = unit.record().map_or(0, |record| record.life_requests(counters));
        if handled >= self.request_limit {
            unit.leave(Leave::InOrder);
        }
    }

    /// The buffer of a connection has become full or empty.
    pub(super) fn tell_level(&self, unit: &Unit, session: SessionId, kind: EventKind) {
        let connections = &unit.runtime.control.connections;
        if let (Session::Open(record), false) =
            (route::find(connections, session), self.has_ended())
        {
            self.raise_of(unit, record, kind, connection_event(record, session));
        }
    }

    /// The peer is gone. The reactor waits for the answer, also if the callback ran before.
    pub(super) fn close_for_peer(&self, unit: &Unit, session: SessionId) {
        let Some(record) = unit.runtime.control.connections.get(session.0) else { return };
        if record.begin_close(false, unit.plan.id) {
            self.raise_of(unit, record, EventKind::Close, connection_event(record, session));
        }
        if record.is_closed_elsewhere(unit.plan.id) {
            // It is said there, or by its successor.
            return;
        }
        self.end_close(unit, record, session, false);
    }

    /// The server closes. The close callback runs now, in here, unless another worker runs it.
    pub(super) fn close(&self, unit: &Unit, session: SessionId, is_reset: bool) {
        let Some(record) = unit.runtime.control.connections.get(session.0) else { return };
        let owner = route::reactor_of(record);
        if let Session::Open(record) = route::find(&unit.runtime.control.connections, session) {
            // Said first: if this process dies in the callback, the reactor asks its successor.
            self.shut(unit, owner, session);
            if record.begin_close(true, unit.plan.id) {
                let event = connection_event(record, session);
                let event = ConnectionEvent { reactor_number: BY_SERVER, ..event };
                self.raise_of(unit, record, EventKind::Close, event);
                return self.end_close(unit, record, session, is_reset);
            }
        }
        // The record is needed until the callback has returned, wherever it runs.
        if is_reset && !record.cut_elsewhere(unit.plan.id) {
            unit.tell_closed(owner, session, true);
        }
    }

    fn end_close(&self, unit: &Unit, record: &Connection, session: SessionId, is_reset: bool) {
        let is_cut = record.end_close();
        self.certificates.borrow_mut().forget(session);
        unit.tell_closed(route::reactor_of(record), session, is_reset || is_cut);
    }

    fn shut(&self, unit: &Unit, owner: UnitId, session: SessionId) {
        match &unit.reactor {
            Some(reactor) if owner == unit.plan.id => reactor.shut(unit, session, owner),
            Some(_) | None => unit.post(owner, MessageKind::Shut, session, 0, &[]),
        }
    }
}

/// The reactor reads on as soon as few enough bytes of a connection are left.
fn tell_if_awaited(unit: &Unit, record: &Connection, session: SessionId) {
    if record.is_awaited() {
        let reason = u64::from(hold::FULL);
        unit.post(route::reactor_of(record), MessageKind::Resume, session, reason, &[]);
    }
}

/// After how many requests a worker leaves, with its own share of the grace; 0: never.
pub(super) fn limit_of(limit: u64, most_grace: u64) -> u64 {
    match (limit, most_grace) {
        (limit, 0) | (limit @ 0, _) => limit,
        (limit, most) => limit.saturating_add(1 + random() % most),
    }
}

/// A number that is another one in every process, so that workers do not all leave at once.
fn random() -> u64 {
    RandomState::new().hash_one(process::thread_id())
}

fn connection_event(record: &Connection, session: SessionId) -> ConnectionEvent<'static> {
    ConnectionEvent {
        session,
        reactor_number: record.reactor_number.load(Ordering::Relaxed),
        arrival_ns: 0,
        data: &[],
        frame: Frame::default(),
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
        let is_face = self.runtime.plan.face() == self.plan.id;
        if is_face && !root.is_announced() && root.claim_start_event() {
            self.raise_as_face(EventKind::Start);
        }
    }

    /// Raises the event before the end, if this unit stands for the master. Nothing has stopped.
    /// The end may come before a worker that stands for the master has heard that the server is up.
    pub(super) fn announce_end(&self) {
        let is_face = self.runtime.plan.face() == self.plan.id;
        if !is_face || self.has_announced_end.replace(true) {
            return;
        }
        if self.runtime.control.root().is_open() {
            self.announce_start();
        }
        if self.runtime.control.root().is_announced() {
            self.raise_as_face(EventKind::BeforeShutdown);
        }
    }

    fn raise_as_face(&self, kind: EventKind) {
        let event = Event::Plain(kind);
        match &self.worker {
            Some(worker) => worker.raise(self, &event),
            None => self.raise(&event),
        }
    }

    /// The process or thread id of the worker or user process that this unit is.
    pub fn own_managed_pid(&self) -> Option<i32> {
        self.plan.roles.is_managed().then(|| self.own_id())
    }

    /// Whether the worker that this unit is works or ends. Others may see its successor instead.
    pub fn own_status(&self) -> Status {
        match self.is_leaving() {
            true => Status::Exit,
            false => Status::Busy,
        }
    }

    /// The certificate of the peer of a connection, as PEM, where its connect callback has run.
    pub fn certificate_of(&self, session: SessionId) -> Option<Vec<u8>> {
        let certificates = self.worker.as_ref()?.certificates.borrow();
        let is_open = self.runtime.control.connections.contains(session.0);
        certificates.of(session).filter(|_| is_open).map(<[u8]>::to_vec)
    }

    /// The id of the worker that this unit is.
    pub fn worker_id(&self) -> Option<WorkerId> {
        self.worker.as_ref().map(Worker::id)
    }
}
