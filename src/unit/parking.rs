//! Where threads stand still, so that the process can fork beside them.
//!
//! A manager that was killed is replaced by a fork of the root, which has reactor threads by then.
//! A lock that one of them held at that moment would stay locked in the child for ever, so they are
//! asked to come here first, between two turns of their loops, where they hold none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The place, one for each process that has such threads.
#[derive(Default)]
pub(super) struct Parking {
    is_wanted: AtomicBool,
    parked: Mutex<usize>,
    changed: Condvar,
}

/// The threads stand still as long as this lives.
pub(super) struct Standstill<'a>(&'a Parking);

impl Parking {
    /// Called by the threads between two turns. One load, unless they are wanted.
    #[inline]
    pub(super) fn pass(&self) {
        if self.is_wanted.load(Ordering::Acquire) {
            self.park();
        }
    }

    #[cold]
    fn park(&self) {
        let mut parked = self.lock();
        *parked += 1;
        self.changed.notify_all();
        while self.is_wanted.load(Ordering::Acquire) {
            parked = self.changed.wait(parked).unwrap_or_else(PoisonError::into_inner);
        }
        *parked -= 1;
    }

    /// Has so many threads stand still; `wake` makes them turn. `None` if they have not come within
    /// the limit.
    pub(super) fn stop(
        &self,
        count: usize,
        limit: Duration,
        wake: impl FnOnce(),
    ) -> Option<Standstill<'_>> {
        let end = Instant::now() + limit;
        self.is_wanted.store(true, Ordering::Release);
        let standstill = Standstill(self);
        wake();
        let mut parked = self.lock();
        while *parked < count {
            let left = end.checked_duration_since(Instant::now())?;
            let waited = self.changed.wait_timeout(parked, left);
            parked = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(parked);
        Some(standstill)
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Standstill<'_> {
    fn drop(&mut self) {
        let parked = self.0.lock();
        self.0.is_wanted.store(false, Ordering::Release);
        drop(parked);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    #[test]
    fn threads_stand_still_until_they_are_let_go_and_whoever_does_not_come_is_not_waited_for() {
        let (parking, turns, is_over) =
            (Parking::default(), AtomicUsize::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        parking.pass();
                        turns.fetch_add(1, Ordering::Relaxed);
                        thread::yield_now();
                    }
                });
            }
            for _ in 0..100 {
                let standstill = parking.stop(2, Duration::from_secs(10), || {}).unwrap();
                let before = turns.load(Ordering::Relaxed);
                thread::yield_now();
                assert_eq!(turns.load(Ordering::Relaxed), before);
                drop(standstill);
            }
            assert!(parking.stop(3, Duration::from_millis(10), || {}).is_none());
            let before = turns.load(Ordering::Relaxed);
            while turns.load(Ordering::Relaxed) == before {
                thread::yield_now();
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}
