//! A ring of messages with many writers, taken in turns under a robust mutex, and one reader.
//!
//! It is the ring of `lane.rs`; each turn begins with the published tail. A writer that dies inside
//! the lock has published its message or not; what it had not published is overwritten by the next
//! turn, so the death of an owner asks for no repair at all. Writers that wait for room stand in a
//! bitmap by unit.

use super::lane::{LaneWords, LaneWriter, Writer};
use super::message::{Header, Mark};
use super::sync::{step, AtomicU64, Bytes, Line, Ordering, Place, RobustMutex, Shared, MAX_UNITS};
use super::tally::{is_counted, Account, Arrivals, Departures, Tally};

const WAITING_WORDS: usize = MAX_UNITS / 64;

/// The part of a shared ring that is not bytes and not the ring's own words. The mutex must be
/// initialised before it is shared.
#[repr(C)]
#[derive(Default)]
pub struct TurnWords {
    lock: RobustMutex,
    /// A bit for each unit that waits for room: set by the writer, taken by the reader.
    waiting: [AtomicU64; WAITING_WORDS],
    /// Written under the lock.
    arrivals: Arrivals,
    /// Written by the reader.
    departures: Line<Departures>,
}

// SAFETY: a mutex made for it, and atomics.
unsafe impl Shared for TurnWords {}

impl TurnWords {
    /// The lock, to be initialised in place.
    pub fn lock(&self) -> &RobustMutex {
        &self.lock
    }

    /// What has become of the messages, when the tail is at `tail`.
    pub fn tally(&self, tail: u64) -> Tally {
        let Account { handled, failed, .. } = self.departures.account();
        let begun = self.departures.begun().max(handled);
        Tally { arrived: self.arrivals.count(tail).max(begun), begun, handled, failed }
    }

    /// What the reader is done with.
    pub fn departures(&self) -> &Departures {
        &self.departures
    }

    /// Tells `ring` each unit that waits for room. The reader calls it when it has taken the flag
    /// of the ring, and rings them all.
    pub fn take_waiting(&self, mut ring: impl FnMut(u16)) {
        for (index, word) in self.waiting.iter().enumerate() {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut bits = word.swap(0, Ordering::Acquire);
            while bits != 0 {
                ring((index * 64) as u16 + bits.trailing_zeros() as u16);
                bits &= bits - 1;
            }
        }
    }
}

/// One of many writing ends.
pub struct SharedLaneWriter {
    lane: LaneWriter,
    turn: Place<TurnWords>,
    unit: u16,
}

impl SharedLaneWriter {
    /// The writing end of `unit`, which must be less than [`MAX_UNITS`].
    pub fn attach(
        words: Place<LaneWords>,
        bytes: Bytes,
        turn: Place<TurnWords>,
        unit: u16,
    ) -> Self {
        Self { lane: LaneWriter::new(words, bytes), turn, unit }
    }

    /// See [`LaneWriter::unread_bytes`].
    pub fn unread_bytes(&self) -> u64 {
        self.lane.unread_bytes()
    }
}

/// Has `unit` rung when there is room. The flag of the ring goes up after the bit, so that the
/// reader who takes the flag finds the bit.
#[cold]
fn wait_for_room(lane: &mut LaneWriter, turn: &TurnWords, unit: u16) {
    if let Some(word) = turn.waiting.get(usize::from(unit) / 64) {
        // Release pairs with the acquire in `take_waiting`, only to keep bit and flag in order.
        word.fetch_or(1 << (unit % 64), Ordering::Release);
    }
    step();
    lane.want_room();
}

impl Writer for SharedLaneWriter {
    fn max_payload(&self) -> usize {
        self.lane.max_payload()
    }

    fn put(
        &mut self,
        header: &Header,
        mark: Mark,
        size: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> bool {
        let Self { lane, turn, unit } = self;
        // A lock that fails is memory that is no lock: the message stays with its sender.
        let Ok(_guard) = turn.lock.lock() else { return false };
        step();
        lane.resume();
        if !lane.has_room(size) {
            wait_for_room(lane, turn, *unit);
        }
        turn.arrivals.prepare(lane.tail(), is_counted(header, mark));
        let is_put = lane.put(header, mark, size, fill);
        step();
        is_put
    }
}
