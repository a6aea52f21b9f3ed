//! How many messages went into a shared lane and came out of it, exact whoever dies where.
//!
//! A count and the position that it belongs to cannot be stored as one. So each side has two rows
//! and writes the one that does not hold: a process that dies in between leaves the other one. Only
//! messages of a kind with [`TALLIED`] are counted, and a message in pieces with its last piece.
//!
//! What a reader has in its hands lies between the position up to which it is done and the one up
//! to which it has claimed; the memory there is not free yet, so others can tell what it was when
//! the reader has died.

use super::message::{Header, Mark, TALLIED};
use super::sync::{step, AtomicU64, Ordering};

/// In the place of a position: the row does not hold.
pub(super) const VOID: u64 = u64::MAX;

/// What goes into a lane. Written under its lock.
#[repr(C)]
#[derive(Default)]
pub struct Arrivals {
    rows: [Arrival; 2],
}

/// So many messages have arrived if the tail lies beyond this position.
#[repr(C)]
#[derive(Default)]
struct Arrival {
    beyond: AtomicU64,
    count: AtomicU64,
}

/// Whether a record brings a message to its end that is counted.
#[inline]
pub fn is_counted(header: &Header, mark: Mark) -> bool {
    header.kind & TALLIED != 0 && matches!(mark, Mark::Whole | Mark::LastPiece)
}

impl Arrivals {
    /// How many messages had arrived when the tail was there.
    pub fn count(&self, tail: u64) -> u64 {
        let rows = self.rows.iter();
        let holding = rows.filter(|row| row.beyond.load(Ordering::Acquire) < tail);
        holding.map(|row| row.count.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    /// A record is about to be published behind `tail`. It counts as soon as the tail has moved.
    #[inline]
    pub fn prepare(&self, tail: u64, is_counted: bool) {
        let before = self.count(tail);
        for row in &self.rows {
            // Of a writer that has died before its record was there.
            if row.beyond.load(Ordering::Relaxed) >= tail {
                row.beyond.store(VOID, Ordering::Release);
                step();
            }
        }
        if !is_counted {
            return;
        }
        let is_free = |row: &&Arrival| {
            row.beyond.load(Ordering::Relaxed) == VOID || row.count.load(Ordering::Relaxed) < before
        };
        if let Some(row) = self.rows.iter().find(is_free).or(self.rows.first()) {
            row.beyond.store(VOID, Ordering::Release);
            step();
            row.count.store(before + 1, Ordering::Release);
            step();
            row.beyond.store(tail, Ordering::Release);
            step();
        }
    }
}

/// How far a reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Everything before this position is done with.
    pub position: u64,
    /// Messages that are.
    pub handled: u64,
    /// Those of them that nobody has handled to the end.
    pub failed: u64,
}

/// What comes out of a lane. Written by its reader, or on behalf of one that has died.
#[repr(C)]
#[derive(Default)]
pub struct Departures {
    pub(super) rows: [Departure; 2],
    /// Messages that were begun, for whoever wants to know now.
    begun: AtomicU64,
}

#[repr(C)]
#[derive(Default)]
pub(super) struct Departure {
    pub(super) position: AtomicU64,
    pub(super) handled: AtomicU64,
    failed: AtomicU64,
}

impl Departures {
    /// How far the reader is, or was when it died.
    pub fn account(&self) -> Account {
        let read = |row: &Departure| Account {
            position: row.position.load(Ordering::Acquire),
            handled: row.handled.load(Ordering::Relaxed),
            failed: row.failed.load(Ordering::Relaxed),
        };
        let rows = self.rows.iter().map(read).filter(|account| account.position != VOID);
        rows.max_by_key(|account| account.position).unwrap_or_default()
    }

    /// The reader is so far, farther than before.
    #[inline]
    pub fn settle(&self, account: Account) {
        let [one, other] = &self.rows;
        let (first, second) =
            (one.position.load(Ordering::Relaxed), other.position.load(Ordering::Relaxed));
        // The one that does not hold, or holds what is older.
        let is_first_older = first == VOID || (second != VOID && first <= second);
        let row = if is_first_older { one } else { other };
        row.position.store(VOID, Ordering::Release);
        step();
        row.handled.store(account.handled, Ordering::Release);
        row.failed.store(account.failed, Ordering::Release);
        step();
        row.position.store(account.position, Ordering::Release);
        step();
    }

    /// Says how many messages were begun.
    #[inline]
    pub fn begin(&self, count: u64) {
        self.begun.store(count, Ordering::Relaxed);
    }

    /// How many were, as last said.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }
}

/// What has become of the messages of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Published.
    pub arrived: u64,
    /// Handed to the reader's callback.
    pub begun: u64,
    /// Done with.
    pub handled: u64,
    /// Those of them that nobody has handled to the end.
    pub failed: u64,
}
