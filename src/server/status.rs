//! What a server knows of itself: counts, workers, processes.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{code, Error, Result};
use crate::model::control::RetiredSends;
use crate::model::worker::{Status, UnitCounters, UnitRecord};
use crate::model::UnitId;
use crate::shm::Counter;
use crate::unit::tasks::TaskQueue;
use crate::unit::{self, Unit};

use super::{wrong_phase, Server};

/// The counts of a server. They are read one after the other while it runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Unix seconds.
    pub start_time_s: i64,
    /// Connections whose descriptor is open.
    pub connections: u64,
    /// Connections dropped at accept.
    pub aborted: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections whose descriptor was closed.
    pub closed: u64,
    /// Event workers.
    pub workers: u64,
    /// Task workers.
    pub task_workers: u64,
    /// User processes.
    pub users: u64,
    /// Event workers that wait for work.
    pub idle_workers: u64,
    /// Task workers that wait for work.
    pub idle_task_workers: u64,
    /// Tasks handed in that have not begun.
    pub waiting_tasks: u64,
    /// Tasks in the message queue, and their bytes.
    pub queued_tasks: u64,
    pub queued_task_bytes: u64,
    /// Tasks handed in.
    pub accepted_tasks: u64,
    /// Messages with data handed to workers.
    pub dispatched: u64,
    /// Receive callbacks that have returned.
    pub requests: u64,
    /// Sends that were accepted.
    pub responses: u64,
    /// Bytes read from peers.
    pub received_bytes: u64,
    /// Bytes of accepted sends.
    pub sent_bytes: u64,
    /// Next id of a message in pieces.
    pub message_round: u64,
    /// The last session id given out.
    pub session_round: u64,
    /// The smallest descriptor of a listener.
    pub min_descriptor: i64,
    /// The largest descriptor of a connection.
    pub max_descriptor: i64,
    /// Requests of the calling worker since it started, or its tasks if it is a task worker.
    pub own_requests: u64,
    /// Sends of the calling process since it started.
    pub own_responses: u64,
    /// Messages with data that the calling worker took.
    pub own_dispatched: u64,
    /// Requests in progress.
    pub in_progress: u64,
    /// Those of the calling worker.
    pub own_in_progress: u64,
}

impl Server {
    /// Reads the counts of a port; what a port does not have is 0.
    pub fn port_stats(&self, port: usize) -> Result<Stats> {
        self.port_number(port)?;
        self.with_unit(|unit| Ok(stats_of_port(unit, port)))
    }

    /// Reads all counts.
    pub fn stats(&self) -> Result<Stats> {
        self.with_unit(|unit| Ok(stats_of(unit)))
    }

    /// Whether the caller is a task worker.
    pub fn is_task_worker(&self) -> bool {
        unit::with_current(|unit| unit.plan().roles.is_task()).unwrap_or(false)
    }

    /// The id of the worker that calls, `None` outside of workers.
    pub fn worker_id(&self) -> Option<i32> {
        unit::with_current(|unit| unit.worker_id().map(|id| i32::from(id.0))).flatten()
    }

    /// The process id of a worker or user process, or its thread id where workers are threads; of
    /// the caller if `worker` is -1.
    pub fn worker_pid(&self, worker: i32) -> Result<i32> {
        let wanted = match worker {
            -1 => {
                let own = unit::with_current(Unit::own_managed_pid);
                return own.flatten().ok_or_else(no_worker);
            }
            id => id,
        };
        let pid = self.look(|runtime| {
            let unit = runtime.plan.by_worker_id(usize::try_from(wanted).ok()?)?;
            runtime.control.unit(unit).map(UnitRecord::pid)
        });
        let pid = pid.ok_or_else(|| wrong_phase(self.phase_of_rest()))?;
        pid.ok_or_else(|| unknown_worker(wanted))
    }

    /// Whether a worker works, waits or ends; of the caller if `worker` is -1.
    pub fn worker_status(&self, worker: i32) -> Result<Status> {
        self.with_unit(|unit| {
            let own = unit.worker_id().map(|id| i32::from(id.0));
            if own.is_some() && (worker == -1 || own == Some(worker)) {
                return Ok(unit.own_status());
            }
            let runtime = unit.runtime();
            let index = usize::try_from(worker).ok();
            let id = index.and_then(|index| runtime.plan.by_worker_id(index));
            let id = id.filter(|id| !runtime.plan.users().contains(id));
            let record = id.and_then(|id| runtime.control.unit(id));
            record.map(UnitRecord::status).ok_or_else(|| unknown_worker(worker))
        })
    }

    /// The process that stands for the master, 0 before start.
    pub fn master_pid(&self) -> i32 {
        self.look(|runtime| runtime.control.root().master_pid()).unwrap_or(0)
    }

    /// The manager process, 0 if there is none.
    pub fn manager_pid(&self) -> i32 {
        self.look(|runtime| runtime.control.root().manager_pid()).unwrap_or(0)
    }
}

/// The error of a call for the caller's own worker, outside of workers.
pub(super) fn no_worker() -> Error {
    Error::new(code::WRONG_OPERATION, "the caller is no worker, name a worker id")
}

/// The error for a worker id that is none.
pub(super) fn unknown_worker(worker: i32) -> Error {
    Error::new(code::INVALID_PARAMS, format!("there is no worker {worker}"))
}

/// What a port counts: the first port what the others do not.
pub(super) fn stats_of_port(unit: &Unit, port: usize) -> Stats {
    let control = &unit.runtime().control;
    let ports = match port {
        0 => 1..control.port_count(),
        port => port..port + 1,
    };
    let sum = |counter: fn(&UnitCounters) -> &Counter| -> u64 {
        ports.clone().map(|port| control.sum_of_port(port, counter)).fold(0, u64::wrapping_add)
    };
    let late = |of: fn(&RetiredSends) -> &AtomicU64| -> u64 {
        let rows = ports.clone().filter_map(|port| control.retired(port));
        rows.map(|sends| of(sends).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    };
    let others = Stats {
        aborted: sum(|counters| &counters.aborted),
        accepted: sum(|counters| &counters.accepted),
        closed: sum(|counters| &counters.closed),
        dispatched: sum(|counters| &counters.dispatched),
        requests: sum(|counters| &counters.requests),
        responses: sum(|counters| &counters.responses).wrapping_add(late(|sends| &sends.responses)),
        received_bytes: sum(|counters| &counters.received_bytes),
        sent_bytes: sum(|counters| &counters.sent_bytes)
            .wrapping_add(late(|sends| &sends.sent_bytes)),
        ..Stats::default()
    };
    let stats = match port {
        0 => remainder(&stats_of(unit), &others),
        _ => others,
    };
    Stats { connections: stats.accepted.saturating_sub(stats.closed), ..stats }
}

fn remainder(all: &Stats, others: &Stats) -> Stats {
    Stats {
        aborted: all.aborted.saturating_sub(others.aborted),
        accepted: all.accepted.saturating_sub(others.accepted),
        closed: all.closed.saturating_sub(others.closed),
        dispatched: all.dispatched.saturating_sub(others.dispatched),
        requests: all.requests.saturating_sub(others.requests),
        responses: all.responses.saturating_sub(others.responses),
        received_bytes: all.received_bytes.saturating_sub(others.received_bytes),
        sent_bytes: all.sent_bytes.saturating_sub(others.sent_bytes),
        ..Stats::default()
    }
}

pub(super) fn stats_of(unit: &Unit) -> Stats {
    let runtime = unit.runtime();
    let control = &runtime.control;
    let accepted = control.sum(|counters| &counters.accepted);
    let closed = control.sum(|counters| &counters.closed);
    let own = unit.counters().zip(unit.record());
    let tasks = runtime.task_counts();
    let queue = runtime.queue.as_ref().map(TaskQueue::waiting).unwrap_or_default();
    let is_worker = unit.worker_id().is_some();
    let descriptors = runtime.ports.iter().map(|port| i64::from(port.listener.as_raw_fd()));
    let retired = |of: fn(&RetiredSends) -> &AtomicU64| {
        control.retired(0).map_or(0, |sends| of(sends).load(Ordering::Relaxed))
    };
    Stats {
        start_time_s: control.root().start_time_s(),
        connections: accepted.saturating_sub(closed),
        aborted: control.sum(|counters| &counters.aborted),
        accepted,
        closed,
        workers: runtime.plan.workers().len() as u64,
        task_workers: runtime.plan.tasks().len() as u64,
        users: runtime.plan.users().len() as u64,
        idle_workers: idle_of(unit, runtime.plan.workers()),
        idle_task_workers: idle_of(unit, runtime.plan.tasks()),
        waiting_tasks: tasks.waiting,
        queued_tasks: queue.messages,
        queued_task_bytes: queue.bytes,
        accepted_tasks: tasks.accepted,
        dispatched: control.sum(|counters| &counters.dispatched),
        requests: control.sum(|counters| &counters.requests),
        responses: control.sum(|counters| &counters.responses) + retired(|sends| &sends.responses),
        received_bytes: control.sum(|counters| &counters.received_bytes),
        sent_bytes: control
            .sum(|counters| &counters.sent_bytes)
            .wrapping_add(retired(|sends| &sends.sent_bytes)),
        message_round: control.root().message_round.load(Ordering::Relaxed),
        session_round: unit.last_session(),
        min_descriptor: descriptors.min().unwrap_or(0),
        max_descriptor: largest_descriptor(unit),
        own_requests: unit.own_tasks().unwrap_or_else(|| {
            own.filter(|_| is_worker).map_or(0, |(counters, record)| record.life_requests(counters))
        }),
        own_responses: own.map_or(0, |(counters, record)| record.life_responses(counters)),
        own_dispatched: own.map_or(0, |(counters, _)| counters.taken.get()),
        in_progress: in_progress(unit),
        own_in_progress: own.filter(|_| is_worker).map_or(0, |own| own.1.in_progress()),
    }
}

fn idle_of(unit: &Unit, workers: &[UnitId]) -> u64 {
    let runtime = unit.runtime();
    let is_idle = |id: &&UnitId| {
        **id != unit.plan().id && runtime.control.unit(**id).is_some_and(UnitRecord::is_idle)
    };
    workers.iter().filter(is_idle).count() as u64
}

fn in_progress(unit: &Unit) -> u64 {
    let runtime = unit.runtime();
    let records = runtime.plan.workers().iter().filter_map(|id| runtime.control.unit(*id));
    records.map(UnitRecord::in_progress).fold(0, u64::saturating_add)
}

fn largest_descriptor(unit: &Unit) -> i64 {
    let runtime = unit.runtime();
    let connections = &runtime.control.connections;
    let listeners = runtime.ports.iter().map(|port| i64::from(port.listener.as_raw_fd()));
    let mut largest = listeners.max().unwrap_or(0);
    let mut page = [0_i64; super::connection::LARGEST_PAGE];
    let mut from = 0;
    loop {
        let found = connections.scan(from, unit.last_session(), &mut page);
        for id in page.iter().take(found) {
            from = *id;
            if let Some(record) = connections.get(*id) {
                largest = largest.max(i64::from(record.descriptor.load(Ordering::Relaxed)));
            }
        }
        if found < page.len() {
            return largest;
        }
    }
}
