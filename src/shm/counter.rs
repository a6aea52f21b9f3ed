//! Counters that one process raises and every process reads, and the padding that keeps writers of
//! different processes off each other's cache lines.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Shared;

/// One cache line (or a few) that belongs to `T` alone.
#[repr(C, align(64))]
#[derive(Default)]
pub struct Line<T>(T);

impl<T> Line<T> {
    /// Gives `value` a line of its own.
    pub const fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for Line<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

// SAFETY: padding adds no state; everything else is said by `T`.
unsafe impl<T: Shared> Shared for Line<T> {}

/// A number with one writing thread, so that adding needs no locked instruction.
///
/// The sum over all writers is made when it is read; a dead writer's counter is cleared by whoever
/// took note of the death.
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`, wrapping. Only the one writer may call it.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.store(self.get().wrapping_add(amount), Ordering::Relaxed);
    }

    /// Sets the number. Only the one writer may call it, or the reaper of a dead writer.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number as last seen. It orders nothing else, so relaxed is enough.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// SAFETY: transparent over an atomic integer.
unsafe impl Shared for Counter {}

const _: () = assert!(std::mem::size_of::<Line<Counter>>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_adds_and_wraps() {
        let counter = Counter::default();
        counter.add(3);
        counter.add(4);
        assert_eq!(counter.get(), 7);
        counter.add(u64::MAX);
        assert_eq!(counter.get(), 6);
        counter.set(0);
        assert_eq!(counter.get(), 0);
    }

    #[test]
    fn neighbours_never_share_a_cache_line() {
        let lines: [Line<Counter>; 2] = Default::default();
        let distance =
            std::ptr::addr_of!(lines[1]) as usize - std::ptr::addr_of!(lines[0]) as usize;
        assert_eq!(distance % 64, 0);
        assert_ne!(distance, 0);
    }
}
