//! Tasks: what goes with one, and what others may know of those of a unit.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use crate::shm::{shared_record, Counter};

/// What stands in the flags of a task. The numbers are those of the C interface.
pub mod flag {
    /// The payload travels in a file.
    pub const TEMPORARY_FILE: u8 = 1;
    /// Whoever handed it in goes on.
    pub const NONBLOCK: u8 = 4;
    /// A callback of this one task takes the result.
    pub const CALLBACK: u8 = 8;
    /// Whoever handed it in waits for it and others.
    pub const WAIT_ALL: u8 = 16;
    /// It is one of a list whose results are told together.
    pub const COROUTINE: u8 = 32;
    /// No answer is possible: it was not handed in by a worker.
    pub const NO_REPLY: u8 = 128;
}

shared_record! {
    /// What others may know of the tasks of one unit.
    #[repr(align(64))]
    #[derive(Debug, Default)]
    pub struct TaskRecord {
        /// Tasks that this unit has handed in and that wait in its own memory. It alone writes it,
        /// and whoever buries it.
        pub held: Counter,
        /// Tasks that this unit, or its predecessors, had done when its life began.
        pub life_base: Counter,
        /// The ticket of the wait that is open, 0 for none. This unit alone writes it, with
        /// release; whoever answers acquires it.
        pub open_wait: AtomicU64,
        /// Tasks of the message queue that this unit and its predecessors have done. It alone
        /// writes it.
        pub from_queue: Counter,
        /// 1 while this unit takes something from the message queue. It alone writes it, and
        /// whoever buries it.
        pub taking: Counter,
    }
}

shared_record! {
    /// What there is once a server.
    #[repr(align(64))]
    #[derive(Debug, Default)]
    pub struct TaskRoot {
        /// The task worker whose turn it is. Whoever hands in a task raises it.
        pub turn: AtomicU32,
        /// The second in which somebody last said that no task worker is idle.
        pub told_at_s: AtomicU64,
        /// Tasks that were put into the message queue. Whoever does that raises it.
        pub queued: AtomicU64,
        /// Tasks that were lost in the memory of units that have died.
        pub lost: AtomicU64,
    }
}

/// Tasks that can be open in a task worker at once.
pub const OPEN_LIMIT: usize = 16_384;

shared_record! {
    /// A task whose callback has returned and that is still to be answered. Its task worker writes
    /// it, and whoever buries that.
    #[derive(Debug, Default)]
    pub struct OpenTask {
        /// The unit that handed it in, plus one; 0 is a free row. Written last.
        holder: AtomicU32,
        flags: AtomicU32,
        id: AtomicI64,
        ticket: AtomicU64,
    }
}

impl OpenTask {
    /// Notes a task.
    pub fn fill(&self, source: u16, flags: u8, id: i64, ticket: u64) {
        self.flags.store(u32::from(flags), Ordering::Relaxed);
        self.id.store(id, Ordering::Relaxed);
        self.ticket.store(ticket, Ordering::Relaxed);
        // Whoever looks, looks when the writer has ended: the order is what counts.
        self.holder.store(u32::from(source) + 1, Ordering::Release);
    }

    /// Source, flags, id and ticket of the task, if there is one.
    pub fn told(&self) -> Option<(u16, u8, i64, u64)> {
        let source = self.holder.load(Ordering::Acquire).checked_sub(1)?;
        let flags = self.flags.load(Ordering::Relaxed) as u8;
        let (id, ticket) = (self.id.load(Ordering::Relaxed), self.ticket.load(Ordering::Relaxed));
        Some((u16::try_from(source).ok()?, flags, id, ticket))
    }

    /// The row is free.
    pub fn clear(&self) {
        self.holder.store(0, Ordering::Release);
    }
}

/// The tasks of a server.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskCounts {
    /// Handed in.
    pub accepted: u64,
    /// Handed in and not begun.
    pub waiting: u64,
}
