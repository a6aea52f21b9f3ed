//! The receiver: a reactor's part that reads datagrams and hands each to its worker.
//!
//! A port is watched level-triggered and exclusively: what one turn has left is told again, and of
//! several units that read the same socket one wakes up. While the worker of a datagram has no room
//! in its inbox, the port is not read; the system keeps what comes meanwhile, and drops the rest.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;

use crate::event::Token;
use crate::model::dispatch::{number_of, Answer, Dispatch, Subject};
use crate::model::kind::MessageKind;
use crate::model::port::Port;
use crate::model::{SessionId, UnitId};
use crate::os::address::Address;
use crate::os::datagram::{sender, Batch, Datagram};

use super::{Timer, Unit};

/// Datagrams that one system call takes.
const BATCH: usize = 64;
/// Batches of one port before other events have their turn.
const BATCHES_PER_EVENT: usize = 16;
/// How long datagrams of one port are handled before other events have their turn.
const TURN_NS: u64 = 10_000_000;
/// How long a port rests that cannot be read.
const REST_NS: u64 = 1_000_000_000;

/// Why a port is not read.
#[derive(Clone, Copy)]
enum Pause {
    /// Until the inbox of this worker has room.
    Full(UnitId),
    /// Until then.
    Rest(u64),
}

/// Reads datagrams; every reactor has one.
pub(super) struct Receiver {
    dispatch: Dispatch,
    is_own_worker: bool,
    is_open: Cell<bool>,
    /// The memory that is read into; taken out while callbacks run. None without datagrams.
    batch: RefCell<Option<Batch>>,
    paused: RefCell<Vec<(usize, Pause)>>,
}

impl Receiver {
    pub(super) fn new(dispatch: Dispatch, is_own_worker: bool) -> Self {
        Self {
            dispatch,
            is_own_worker,
            is_open: Cell::new(false),
            batch: RefCell::default(),
            paused: RefCell::default(),
        }
    }

    /// Begins to read.
    pub(super) fn open(&self, unit: &Unit) {
        if unit.is_quiesced.get() || self.is_open.replace(true) {
            return;
        }
        if ports_of(unit).next().is_none() {
            return;
        }
        match Batch::new(BATCH) {
            Ok(batch) => self.batch.replace(Some(batch)),
            Err(error) => return log::error!("no datagrams are received, no memory: {error}"),
        };
        ports_of(unit).for_each(|(number, port)| watch(unit, number, port));
    }

    /// Reads no more.
    pub(super) fn close(&self, unit: &Unit) {
        if !self.is_open.replace(false) {
            return;
        }
        let paused = self.paused.take();
        let is_watched = |number: usize| paused.iter().all(|paused| paused.0 != number);
        for (_, port) in ports_of(unit).filter(|(number, _)| is_watched(*number)) {
            unwatch(unit, port);
        }
    }

    /// Has the system tell once more of datagrams that wait.
    pub(super) fn look_again(&self, unit: &Unit) {
        let paused = self.paused.borrow();
        let is_watched = |number: usize| paused.iter().all(|paused| paused.0 != number);
        for (number, port) in ports_of(unit).filter(|row| self.is_open.get() && is_watched(row.0)) {
            unwatch(unit, port);
            watch(unit, number, port);
        }
    }

    /// Datagrams have come to a port.
    pub(super) fn take_event(&self, unit: &Unit, number: usize) {
        let Some(port) = unit.runtime.ports.get(number) else { return };
        let begin_ns = unit.last_look_ns.get();
        for _ in 0..BATCHES_PER_EVENT {
            let is_late = unit.last_look_ns.get().saturating_sub(begin_ns) > TURN_NS;
            if !self.is_open.get() || is_late {
                return;
            }
            if self.is_own_worker && unit.has_enough() {
                return self.pause(unit, number, Pause::Full(unit.plan.id));
            }
            let Some(mut batch) = self.batch.take() else { return };
            let most = self.most(unit);
            let count = match batch.receive(port.listener.as_raw_fd(), most) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => {
                    let host = port.listener.host();
                    crate::warn_limited!("{host}: no datagrams are received for 1 s: {error}");
                    unit.set_timer(REST_NS, Timer::Deadline);
                    let now_ns = unit.now.get().monotonic_ns;
                    self.pause(unit, number, Pause::Rest(now_ns.saturating_add(REST_NS)));
                    0
                }
            };
            let full = self.hand_on(unit, number, &batch);
            self.batch.replace(Some(batch));
            if let Some(worker) = full {
                return self.pause(unit, number, Pause::Full(worker));
            }
            if count < most {
                return;
            }
            if !self.is_own_worker {
                // It works while more is read.
                unit.tell_others();
            }
        }
    }

    /// How many datagrams are taken at once. What a worker has taken it handles, so it takes one by
    /// one while callbacks are slow, which leaves the others to other workers, and never more than
    /// it has left to do.
    fn most(&self, unit: &Unit) -> usize {
        match &unit.worker {
            Some(_) if unit.is_hasty() || self.dispatch.limit().is_some() => 1,
            Some(worker) => worker.requests_left(unit).clamp(1, BATCH as u64) as usize,
            None => BATCH,
        }
    }

    /// Hands the datagrams of a batch on; a worker that has no room for more of them.
    fn hand_on(&self, unit: &Unit, number: usize, batch: &Batch) -> Option<UnitId> {
        let mut full = None;
        let all = (0..batch.capacity()).map_while(|index| batch.get(index));
        for datagram in all.filter(is_whole) {
            let Ok(address) = sender(datagram.sender) else { continue };
            unit.count(number, |counters| counters.dispatched.add(1));
            match &unit.worker {
                Some(own) if self.is_own_worker => {
                    own.packet(unit, number, &address, unit.now.get().wall_ns, datagram.data);
                    if let Some(reactor) = &unit.reactor {
                        reactor.flush_burst(unit);
                    }
                    unit.look_up();
                }
                Some(_) | None => full = self.post(unit, number, &address, &datagram).or(full),
            }
        }
        full
    }

    /// Posts a datagram to its worker; gives the worker if it has no room for more.
    fn post(
        &self,
        unit: &Unit,
        number: usize,
        address: &Address,
        datagram: &Datagram<'_>,
    ) -> Option<UnitId> {
        let (worker, is_claimed) = self.worker_for(unit, address, datagram.data)?;
        let port = SessionId(number as i64);
        let header = unit.header(MessageKind::Packet, port, datagram.sender.len() as u64);
        let counts_load = self.dispatch.counts_load();
        if counts_load && !is_claimed {
            unit.claim(worker);
        }
        if !unit.outbox.borrow_mut().post(worker.0, &header, &[datagram.sender, datagram.data]) {
            crate::warn_limited!("a datagram is lost: there is no memory to keep it");
        }
        if counts_load {
            unit.count_given(worker);
        }
        self.must_wait(unit, worker).then_some(worker)
    }

    /// Whether nothing more is read: this worker has no room, nor has any that could stand for it.
    fn must_wait(&self, unit: &Unit, worker: UnitId) -> bool {
        let is_shut = |worker: &UnitId| self.is_shut(unit, *worker);
        match self.dispatch.is_free() {
            true => self.dispatch.workers().iter().all(is_shut),
            false => is_shut(&worker),
        }
    }

    /// The worker of a datagram, and whether the datagram is counted as one for it; `None` if it is
    /// thrown away.
    fn worker_for(&self, unit: &Unit, address: &Address, data: &[u8]) -> Option<(UnitId, bool)> {
        if self.dispatch.has_chooser() {
            match self.dispatch.ask(i64::from(number_of(address)), Subject::Datagram, data) {
                Answer::Worker(worker) => return Some((worker, false)),
                Answer::Discard | Answer::Close => return None,
                Answer::Rule => {}
            }
        }
        let next = || {
            let (control, now_ns) = (&unit.runtime.control, unit.now.get().monotonic_ns);
            self.dispatch.next(control, now_ns, |worker| self.is_shut(unit, worker))
        };
        match self.dispatch.of_sender(address) {
            Some(worker) => Some((worker, false)),
            None => Some((next(), self.dispatch.chooses_each())),
        }
    }

    /// Whether a worker takes no datagram now.
    fn is_shut(&self, unit: &Unit, worker: UnitId) -> bool {
        match self.is_own_worker {
            true => unit.has_enough(),
            false => {
                unit.outbox.borrow().is_blocked(worker.0)
                    || unit.is_full(worker, self.dispatch.limit())
            }
        }
    }

    fn pause(&self, unit: &Unit, number: usize, pause: Pause) {
        let Some(port) = unit.runtime.ports.get(number).filter(|_| self.is_open.get()) else {
            return;
        };
        unwatch(unit, port);
        self.paused.borrow_mut().push((number, pause));
    }

    /// Goes on with ports whose worker has room again, or that have rested.
    #[inline]
    pub(super) fn resume(&self, unit: &Unit) {
        if self.paused.borrow().is_empty() {
            return;
        }
        let now_ns = unit.now.get().monotonic_ns;
        self.paused.borrow_mut().retain(|(number, pause)| {
            let is_over = match pause {
                Pause::Full(worker) => !self.must_wait(unit, *worker),
                Pause::Rest(until_ns) => now_ns >= *until_ns,
            };
            if let Some(port) = unit.runtime.ports.get(*number).filter(|_| is_over) {
                watch(unit, *number, port);
            }
            !is_over
        });
    }
}

/// Says why, if a datagram is not to be delivered.
fn is_whole(datagram: &Datagram<'_>) -> bool {
    if datagram.is_cut {
        crate::warn_limited!("a datagram of more than {} bytes is dropped", datagram.data.len());
    } else if datagram.data.is_empty() {
        crate::warn_limited!("an empty datagram is dropped");
    }
    !datagram.is_cut && !datagram.data.is_empty()
}

/// The ports whose datagrams a unit reads.
fn ports_of(unit: &Unit) -> impl Iterator<Item = (usize, &Port)> {
    let plan = &unit.runtime.plan;
    let is_mine =
        move |row: &(usize, &Port)| !row.1.is_stream() && plan.reads_datagrams(unit.plan.id, row.0);
    unit.runtime.ports.iter().enumerate().filter(is_mine)
}

fn watch(unit: &Unit, number: usize, port: &Port) {
    let token = Token::Datagrams(number as u16);
    if let Err(error) = unit.watcher.watch_listener(port.listener.as_raw_fd(), token) {
        log::error!("datagrams of {} cannot be watched: {error}", port.listener.host());
    }
}

fn unwatch(unit: &Unit, port: &Port) {
    if let Err(error) = unit.watcher.forget(port.listener.as_raw_fd()) {
        log::debug!("datagrams of {} were not watched: {error}", port.listener.host());
    }
}
