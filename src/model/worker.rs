//! The shared record of a unit: what others may know of it, and what they may tell it.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use crate::shm::{shared_record, Counter};

/// What a unit is told by the one that started it. Only the parent writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Command {
    /// Go on.
    Run = 0,
    /// Accept and read no more, but write and answer.
    Quiesce = 1,
    /// Finish what is begun, then end.
    Finish = 2,
}

/// How far a unit is. Only the unit itself writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Stage {
    /// It does not run yet.
    Down = 0,
    /// It runs.
    Running = 1,
    /// It accepts and reads no more.
    Quiet = 2,
    /// It is done.
    Ended = 3,
}

/// Whether a worker is inside a callback. The numbers are those of the C interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// A callback runs.
    Busy = 1,
    /// It waits.
    Idle = 2,
    /// It ends.
    Exit = 3,
}

shared_record! {
    /// The record of one unit.
    #[repr(align(64))]
    #[derive(Debug, Default)]
    pub struct UnitRecord {
        command: AtomicU32,
        stage: AtomicU32,
        status: AtomicU32,
        pid: AtomicI32,
        generation: AtomicU64,
        request_base: AtomicU64,
        response_base: AtomicU64,
    }
}

impl UnitRecord {
    /// The parent tells the unit something; a command is never taken back while the unit runs.
    pub fn tell(&self, command: Command) {
        self.command.store(command as u32, Ordering::Release);
    }

    /// What the unit was told last.
    pub fn command(&self) -> Command {
        match self.command.load(Ordering::Acquire) {
            0 => Command::Run,
            1 => Command::Quiesce,
            _ => Command::Finish,
        }
    }

    /// The unit says how far it is.
    pub fn reach(&self, stage: Stage) {
        self.stage.store(stage as u32, Ordering::Release);
    }

    /// How far the unit is.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Down,
            1 => Stage::Running,
            2 => Stage::Quiet,
            _ => Stage::Ended,
        }
    }

    /// The worker says whether it is inside a callback.
    #[inline]
    pub fn set_status(&self, status: Status) {
        self.status.store(status as u32, Ordering::Relaxed);
    }

    /// Whether the worker waits for work.
    pub fn is_idle(&self) -> bool {
        self.status.load(Ordering::Relaxed) == Status::Idle as u32
    }

    /// A unit begins a new life as process or thread `pid`; its counters go on where they were.
    pub fn begin_life(&self, pid: i32, counters: &UnitCounters) {
        self.request_base.store(counters.requests.get(), Ordering::Relaxed);
        self.response_base.store(counters.responses.get(), Ordering::Relaxed);
        self.status.store(Status::Idle as u32, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.pid.store(pid, Ordering::Release);
    }

    /// The parent notes a child's process id before the child has said anything.
    pub fn set_pid(&self, pid: i32) {
        self.pid.store(pid, Ordering::Release);
    }

    /// The process id, or thread id where units are threads; 0 if it never ran.
    pub fn pid(&self) -> i32 {
        self.pid.load(Ordering::Acquire)
    }

    /// Requests since this life began.
    pub fn life_requests(&self, counters: &UnitCounters) -> u64 {
        counters.requests.get().saturating_sub(self.request_base.load(Ordering::Relaxed))
    }

    /// Sends since this life began.
    pub fn life_responses(&self, counters: &UnitCounters) -> u64 {
        counters.responses.get().saturating_sub(self.response_base.load(Ordering::Relaxed))
    }
}

shared_record! {
    /// What a unit counts. It alone writes them; sums are made when they are read. A successor goes
    /// on from the numbers of its predecessor, so no total ever falls.
    #[repr(align(64))]
    #[derive(Debug, Default)]
    pub struct UnitCounters {
        /// Connections accepted.
        pub accepted: Counter,
        /// Connections dropped at accept.
        pub aborted: Counter,
        /// Connections whose descriptor was closed.
        pub closed: Counter,
        /// Messages with data handed to a worker.
        pub dispatched: Counter,
        /// Bytes read from sockets.
        pub received_bytes: Counter,
        /// Receive callbacks that have returned.
        pub requests: Counter,
        /// Sends that were accepted.
        pub responses: Counter,
        /// Bytes of those.
        pub sent_bytes: Counter,
        /// Messages with data that this worker took.
        pub taken: Counter,
    }
}

impl UnitCounters {
    /// Counts the connections as closed that the unit has accepted and that have died with it; how
    /// many they were. For the parent, while the unit is dead. The difference is taken and not the
    /// live slots: a slot is published and freed a moment before that is counted, and the unit may
    /// have died in that moment.
    pub fn write_off(&self) -> u64 {
        let lost = self.accepted.get().saturating_sub(self.closed.get());
        self.closed.add(lost);
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_life_counts_from_zero_while_the_total_goes_on() {
        let (record, counters) = (UnitRecord::default(), UnitCounters::default());
        record.begin_life(10, &counters);
        counters.requests.add(3);
        assert_eq!(record.life_requests(&counters), 3);
        record.begin_life(11, &counters);
        assert_eq!((record.life_requests(&counters), counters.requests.get()), (0, 3));
        assert_eq!(record.pid(), 11);
    }

    #[test]
    fn of_a_dead_unit_no_connection_is_left() {
        let counters = UnitCounters::default();
        counters.accepted.add(5);
        counters.closed.add(2);
        assert_eq!(counters.write_off(), 3);
        assert_eq!((counters.write_off(), counters.closed.get()), (0, 5));
        // A reactor whose connections another unit accepts has closed more than it has accepted.
        counters.closed.add(4);
        assert_eq!((counters.write_off(), counters.closed.get()), (0, 9));
    }

    #[test]
    fn garbage_in_a_record_reads_as_the_last_step() {
        let record = UnitRecord::default();
        record.command.store(77, Ordering::Relaxed);
        record.stage.store(77, Ordering::Relaxed);
        assert_eq!((record.command(), record.stage()), (Command::Finish, Stage::Ended));
    }
}
