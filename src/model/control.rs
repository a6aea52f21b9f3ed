//! Control: the root of shared memory. Everything that two processes look at hangs here.
//!
//! It is made before the first fork and inherited; nothing in it has a name outside, so nothing is
//! left behind by a kill.

use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};

use crate::error::{code, Error, Result};
use crate::ipc::lane::payload_limit;
use crate::ipc::{Wiring, WiringPlan};
use crate::model::connection::Connection;
use crate::model::plan::{Plan, Roles};
use crate::model::settings::{InForce, CONNECTION_CEILING};
use crate::model::task::{OpenTask, TaskRecord, TaskRoot, OPEN_LIMIT};
use crate::model::worker::{write_off, UnitCounters, UnitRecord};
use crate::model::UnitId;
use crate::shm::{shared_record, Counter, Layout, Mapped, Place, Table, TableArea};

/// Bytes of a lane between a reactor and a worker.
pub const LANE_BYTES: usize = 512 * 1024;
/// What is longer may travel in pieces, and is counted.
pub const LONGEST_PIECE: usize = payload_limit(LANE_BYTES);
/// Bytes of the lane into a unit that all others share.
pub const SHARED_LANE_BYTES: usize = 512 * 1024;
/// Bytes of that lane into a task worker, and into a worker that gets results from there. What is
/// not used of it costs no memory, and a quarter of it travels in one piece.
pub const TASK_LANE_BYTES: usize = 16 << 20;
const LEAST_SLOTS: usize = 1024;

shared_record! {
    /// What there is once a server.
    #[repr(align(64))]
    #[derive(Debug, Default)]
    pub struct Root {
        /// The last session id given out. Any acceptor raises it.
        pub session_round: AtomicU64,
        is_started: AtomicU32,
        is_announced: AtomicU32,
        is_open: AtomicU32,
        is_ending: AtomicU32,
        /// Written by the manager: the error that kept it from starting its workers.
        start_failure: AtomicI32,
        master_pid: AtomicI32,
        manager_pid: AtomicI32,
        start_time_s: AtomicI64,
        /// Next id of a message that travels in pieces; begins at 1.
        pub message_round: AtomicU64,
        /// The number of the last request for a command. Whoever stands for the master raises it.
        pub command_round: AtomicU64,
        /// Bits of [`Reload`] that somebody has asked for and the manager has not taken.
        reload_wish: AtomicU32,
        /// Written by the manager: a round is running.
        is_reloading: AtomicU32,
        /// Raised by whoever is told that the log file was moved away.
        log_round: AtomicU32,
        /// Whose turn it is where workers have turns. Any reactor raises it.
        pub dispatch_round: AtomicU64,
        /// Raised by the manager: certificates may have been replaced.
        terms_round: AtomicU32,
        /// Raised by whoever takes no more from sockets that others take from, too.
        accept_round: AtomicU32,
    }
}

shared_record! {
    /// Sends to connections of a port, the first for all ports, by workers that have a successor
    /// already, which counts for itself alone.
    #[derive(Debug, Default)]
    pub struct RetiredSends {
        /// Sends that were accepted.
        pub responses: AtomicU64,
        /// Bytes of those.
        pub sent_bytes: AtomicU64,
    }
}

/// What is to be replaced. The numbers are bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Reload {
    /// All event workers and task workers.
    All = 1,
    /// Task workers only.
    Tasks = 2,
}

/// The shared memory of one server.
#[derive(Clone)]
pub struct Control {
    root: Place<Root>,
    units: Mapped<UnitRecord>,
    counters: Mapped<UnitCounters>,
    /// One row a unit for each port but the first.
    port_counters: Mapped<UnitCounters>,
    retired: Mapped<RetiredSends>,
    tasks: Mapped<TaskRecord>,
    task_root: Place<TaskRoot>,
    /// The rows of each task worker.
    open_tasks: Mapped<OpenTask>,
    /// The unit of the first task worker.
    first_task: u16,
    open_limit: usize,
    port_count: usize,
    /// All connections.
    pub connections: Table<Connection>,
    /// The inboxes of all units.
    pub wiring: Wiring,
}

/// Twice as many as there can be connections: `max_connection` in each process that accepts.
fn slot_count(plan: &Plan, settings: &InForce) -> usize {
    let acceptors = plan.units().iter().filter(|unit| unit.roles.has(Roles::ACCEPTOR)).count();
    let most = usize::try_from(settings.max_connection).unwrap_or(0).saturating_mul(acceptors);
    let wanted = most.saturating_mul(2);
    wanted.max(LEAST_SLOTS).next_power_of_two().min(CONNECTION_CEILING as usize)
}

fn no_root() -> Error {
    Error::new(code::MALLOC_FAIL, "the shared memory has no room for its root")
}

impl Control {
    /// Maps everything that a server of this plan shares.
    pub fn new(plan: &Plan, settings: &InForce, port_count: usize) -> Result<Self> {
        let count = plan.units().len();
        let mut layout = Layout::new();
        let root = layout.array::<Root>(1);
        let units = layout.array::<UnitRecord>(count);
        let counters = layout.array::<UnitCounters>(count);
        let others = port_count.saturating_sub(1);
        let port_counters = layout.array::<UnitCounters>(count * others);
        let retired = layout.array::<RetiredSends>(port_count);
        let tasks = layout.array::<TaskRecord>(count);
        let task_root = layout.array::<TaskRoot>(1);
        let open_limit = match settings.is_task_async {
            true => OPEN_LIMIT,
            // A task of the message queue that is in hand stands nowhere else.
            false => usize::from(settings.task_queue_key.is_some()),
        };
        let open_tasks = layout.array::<OpenTask>(plan.tasks().len() * open_limit);
        let connections = TableArea::<Connection>::new(&mut layout, slot_count(plan, settings));
        let has_tasks = !plan.tasks().is_empty();
        let is_any_worker =
            |unit: u16| plan.unit(UnitId(unit)).is_some_and(|unit| unit.roles.is_any_worker());
        let shared_bytes = |unit| match has_tasks && is_any_worker(unit) {
            true => TASK_LANE_BYTES,
            false => SHARED_LANE_BYTES,
        };
        // One inbox more than there are units: the desk. Only workers wait for results of tasks.
        let boxes: Vec<u16> = match has_tasks {
            true => plan.workers().iter().map(|unit| unit.0).collect(),
            false => Vec::new(),
        };
        let wiring = WiringPlan::new(
            &mut layout,
            count + 1,
            &boxes,
            &plan.lanes(),
            LANE_BYTES,
            shared_bytes,
        )?;
        let region = layout.map()?;
        let control = Self {
            root: region.view(&root).place(0).ok_or_else(no_root)?,
            units: region.view(&units),
            counters: region.view(&counters),
            port_counters: region.view(&port_counters),
            retired: region.view(&retired),
            tasks: region.view(&tasks),
            task_root: region.view(&task_root).place(0).ok_or_else(no_root)?,
            open_tasks: region.view(&open_tasks),
            first_task: plan.tasks().first().map_or(0, |unit| unit.0),
            open_limit,
            port_count,
            connections: Table::new(&region, &connections).with_origin(settings.start_session_id),
            wiring: Wiring::new(&region, wiring)?,
        };
        control.root().message_round.store(1, Ordering::Relaxed);
        control.root().session_round.store(settings.start_session_id, Ordering::Relaxed);
        Ok(control)
    }

    /// What there is once.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The record of a unit.
    pub fn unit(&self, id: UnitId) -> Option<&UnitRecord> {
        self.units.get(id.index())
    }

    /// The inbox for answers to commands, which is not that of a unit.
    pub fn desk(&self) -> UnitId {
        UnitId(self.units.len() as u16)
    }

    /// The counters of a unit.
    pub fn counters(&self, id: UnitId) -> Option<&UnitCounters> {
        self.counters.get(id.index())
    }

    /// What a unit counts for a port; `None` for the first one.
    #[inline]
    pub fn port_counters(&self, id: UnitId, port: usize) -> Option<&UnitCounters> {
        let other = port.checked_sub(1).filter(|_| port < self.port_count)?;
        self.port_counters.get(id.index() * (self.port_count - 1) + other)
    }

    /// The late sends of a port; the first row has those of all.
    pub fn retired(&self, port: usize) -> Option<&RetiredSends> {
        self.retired.get(port)
    }

    /// What others may know of the tasks of a unit.
    pub fn task_record(&self, id: UnitId) -> Option<&TaskRecord> {
        self.tasks.get(id.index())
    }

    /// What there is once for all tasks.
    pub fn task_root(&self) -> &TaskRoot {
        &self.task_root
    }

    /// A row for a task that is open in a task worker.
    pub fn open_task(&self, id: UnitId, row: usize) -> Option<&OpenTask> {
        let number = id.0.checked_sub(self.first_task).filter(|_| row < self.open_limit)?;
        self.open_tasks.get(usize::from(number) * self.open_limit + row)
    }

    /// How many rows each task worker has.
    pub fn open_limit(&self) -> usize {
        self.open_limit
    }

    /// How many ports there are.
    pub fn port_count(&self) -> usize {
        self.port_count
    }

    /// The sum of one counter of a port, which is not the first, over all units.
    pub fn sum_of_port(&self, port: usize, counter: impl Fn(&UnitCounters) -> &Counter) -> u64 {
        let units = (0..self.units.len()).map(|index| UnitId(index as u16));
        let rows = units.filter_map(|id| self.port_counters(id, port));
        rows.map(|row| counter(row).get()).fold(0, u64::wrapping_add)
    }

    /// Counts the connections as closed that a dead unit has accepted and that have died with it;
    /// how many they were.
    pub fn write_off(&self, id: UnitId) -> u64 {
        for port in 1..self.port_count {
            if let Some(counters) = self.port_counters(id, port) {
                write_off(&counters.accepted, &counters.closed);
            }
        }
        self.counters(id).map_or(0, |counters| write_off(&counters.accepted, &counters.closed))
    }

    /// The sum of one counter over all units.
    pub fn sum(&self, counter: impl Fn(&UnitCounters) -> &Counter) -> u64 {
        self.counters.iter().map(|row| counter(row).get()).fold(0, u64::wrapping_add)
    }
}

impl Root {
    /// The server begins; said before anything of it runs.
    pub fn set_start_time(&self, now_s: i64) {
        self.start_time_s.store(now_s, Ordering::Relaxed);
    }

    /// The server is up: start events are raised, connections are taken.
    pub fn set_started(&self) {
        self.is_started.store(1, Ordering::Release);
    }

    /// Whether the server is up.
    pub fn is_started(&self) -> bool {
        self.is_started.load(Ordering::Acquire) != 0
    }

    /// True for the first caller: the start event is raised once a server.
    pub fn claim_start_event(&self) -> bool {
        self.is_announced.swap(1, Ordering::AcqRel) == 0
    }

    /// Whether the start event has been raised, or is.
    pub fn is_announced(&self) -> bool {
        self.is_announced.load(Ordering::Relaxed) != 0
    }

    /// The start event is over: connections are taken.
    pub fn open(&self) {
        self.is_open.store(1, Ordering::Release);
    }

    /// Whether connections are taken.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire) != 0
    }

    /// Asks for an orderly end. Safe in a signal handler.
    pub fn request_end(&self) {
        self.is_ending.store(1, Ordering::Release);
    }

    /// Asks for the end of a server whose workers could not be started: `number` says why.
    pub fn fail_start(&self, number: i32) {
        self.start_failure.store(number, Ordering::Relaxed);
        // Release: who sees the end sees its cause.
        self.request_end();
    }

    /// The error that kept the manager from starting its workers; 0 if there was none.
    pub fn start_failure(&self) -> i32 {
        self.start_failure.load(Ordering::Relaxed)
    }

    /// Whether the end was asked for.
    pub fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire) != 0
    }

    /// Asks for a reload. Safe in a signal handler.
    pub fn request_reload(&self, what: Reload) {
        self.reload_wish.fetch_or(what as u32, Ordering::AcqRel);
    }

    /// What was asked for since the last call; all of it includes the task workers.
    pub fn take_reload_wish(&self) -> Option<Reload> {
        // Looked at first: this is asked in every turn, and a swap takes the line from all others.
        if self.reload_wish.load(Ordering::Relaxed) == 0 {
            return None;
        }
        match self.reload_wish.swap(0, Ordering::AcqRel) {
            0 => None,
            bits if bits & Reload::All as u32 != 0 => Some(Reload::All),
            _ => Some(Reload::Tasks),
        }
    }

    /// The manager says whether a reload runs.
    pub fn set_reloading(&self, is_reloading: bool) {
        self.is_reloading.store(u32::from(is_reloading), Ordering::Release);
    }

    /// Whether a reload runs.
    pub fn is_reloading(&self) -> bool {
        self.is_reloading.load(Ordering::Acquire) != 0
    }

    /// Whether a reload was asked for and has not begun.
    pub fn has_reload_wish(&self) -> bool {
        self.reload_wish.load(Ordering::Acquire) != 0
    }

    /// Every process opens the log file anew before its next line.
    pub fn renew_log(&self) {
        self.log_round.fetch_add(1, Ordering::Relaxed);
    }

    /// A number that changes when the log file is to be opened anew.
    pub fn log_round(&self) -> u32 {
        self.log_round.load(Ordering::Relaxed)
    }

    /// Asks the root to read certificates again.
    pub fn ask_for_terms(&self) {
        self.terms_round.fetch_add(1, Ordering::Relaxed);
    }

    /// How often certificates were to be read again.
    pub fn terms_round(&self) -> u32 {
        self.terms_round.load(Ordering::Relaxed)
    }

    /// Everybody who takes from the same sockets looks at them once more.
    pub fn renew_accept(&self) {
        // Release pairs with the acquire below: who sees it finds what was left.
        self.accept_round.fetch_add(1, Ordering::Release);
    }

    /// A number that changes when sockets are to be looked at.
    pub fn accept_round(&self) -> u32 {
        self.accept_round.load(Ordering::Acquire)
    }

    /// Unix seconds at which the server was started.
    pub fn start_time_s(&self) -> i64 {
        self.start_time_s.load(Ordering::Relaxed)
    }

    /// The pid that stands for the master; 0 before start.
    pub fn master_pid(&self) -> i32 {
        self.master_pid.load(Ordering::Acquire)
    }

    /// Says the pid of the unit that stands for the master.
    pub fn set_master_pid(&self, pid: i32) {
        self.master_pid.store(pid, Ordering::Release);
    }

    /// The pid of the manager; 0 if there is none of its own.
    pub fn manager_pid(&self) -> i32 {
        self.manager_pid.load(Ordering::Acquire)
    }

    /// The manager says its pid.
    pub fn set_manager_pid(&self, pid: i32) {
        self.manager_pid.store(pid, Ordering::Release);
    }
}
