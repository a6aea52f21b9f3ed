//! Which lanes of an inbox have something, and whether its reader sleeps.
//!
//! A writer publishes, then sets the lane's bit, then looks whether the reader sleeps. The reader
//! says that it sleeps, then looks at the bits once more. With a full fence between both pairs, the
//! reader sees the bit or the writer sees the sleeper, who is then rung; never is it neither. A
//! reader that is awake is never rung.

use super::sync::{fence, step, AtomicU32, AtomicU64, Line, Ordering, Shared, MAX_UNITS};

/// A bit for the shared lane and one for a lane from each unit.
pub const READY_WORDS: usize = MAX_UNITS / 64 + 1;

/// The state of one reader.
#[repr(C)]
#[derive(Default)]
pub struct ReadyWords {
    /// Raised by the reader, lowered by the reader or by the writer that rings it.
    asleep: Line<AtomicU32>,
    /// Bits are set by writers and taken by the reader.
    lanes: Line<[AtomicU64; READY_WORDS]>,
}

// SAFETY: atomics only.
unsafe impl Shared for ReadyWords {}

impl ReadyWords {
    /// Says that the lane has messages. A full fence and [`ReadyWords::take_asleep`] must follow;
    /// one fence serves many announcements.
    #[inline]
    pub fn announce(&self, lane: usize) {
        if let Some(word) = self.lanes.get(lane / 64) {
            // Release pairs with the acquire in `take`: who takes the bit sees the lane's tail.
            word.fetch_or(1 << (lane % 64), Ordering::Release);
            step();
        }
    }

    /// The reader sleeps and nobody else rings it: the caller must.
    #[inline]
    pub fn take_asleep(&self) -> bool {
        // Ordered by the fence that the caller has made; the swap lets one of many writers ring.
        self.asleep.load(Ordering::Relaxed) != 0 && self.asleep.swap(0, Ordering::Relaxed) != 0
    }

    /// Takes the bits of one word.
    #[inline]
    pub fn take(&self, index: usize) -> u64 {
        match self.lanes.get(index) {
            // Most words are empty most of the time, and looking does not take the line away.
            Some(word) if word.load(Ordering::Relaxed) != 0 => word.swap(0, Ordering::Acquire),
            _ => 0,
        }
    }

    /// The reader is about to sleep. False: one of the first `words` words has bits, it must not.
    pub fn prepare_sleep(&self, words: usize) -> bool {
        self.asleep.store(1, Ordering::Relaxed);
        step();
        // Pairs with the fence between `announce` and `take_asleep`.
        fence(Ordering::SeqCst);
        if !self.is_called(words) {
            return true;
        }
        self.wake();
        false
    }

    /// Whether one of the first `words` words has bits.
    pub fn is_called(&self, words: usize) -> bool {
        self.lanes.iter().take(words).any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// The reader is awake, whoever woke it.
    pub fn wake(&self) {
        self.asleep.store(0, Ordering::Relaxed);
    }
}
