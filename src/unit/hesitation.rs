//! Hesitation: who has just asked or answered another unit gives the processor away a few times
//! before it sleeps. Where the other one answers at once neither of them has to be woken, which
//! costs more than the answer; on one core giving the processor away is what lets it answer.

use std::cell::Cell;
use std::thread;

/// How often the processor is given away before a sleep: some microseconds where nobody takes it.
const LOOKS: u32 = 10;
/// After `n` times in vain the next 2^n - 1 sleeps begin at once, for an `n` up to this.
const MOST_FAILURES: u32 = 8;

/// Whether to hesitate, by how it went the last times.
#[derive(Default)]
pub(super) struct Hesitation {
    is_expecting: Cell<bool>,
    failures: Cell<u32>,
    left_out: Cell<u32>,
}

impl Hesitation {
    /// Somebody was asked or answered, and is likely to go on at once.
    #[inline]
    pub(super) fn anticipate(&self) {
        self.is_expecting.set(true);
    }

    /// About to sleep: whether what was expected has come meanwhile.
    #[inline]
    pub(super) fn is_over(&self, has_come: impl Fn() -> bool) -> bool {
        self.is_expecting.replace(false) && self.hesitate(has_come)
    }

    fn hesitate(&self, has_come: impl Fn() -> bool) -> bool {
        let left_out = self.left_out.get();
        if left_out > 0 {
            self.left_out.set(left_out - 1);
            return false;
        }
        for _ in 0..LOOKS {
            thread::yield_now();
            if has_come() {
                self.failures.set(0);
                return true;
            }
        }
        let failures = (self.failures.get() + 1).min(MOST_FAILURES);
        self.failures.set(failures);
        self.left_out.set((1 << failures) - 1);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(hesitation: &Hesitation, coming: u32) -> (bool, u32) {
        let count = Cell::new(0);
        hesitation.anticipate();
        let is_over = hesitation.is_over(|| {
            count.set(count.get() + 1);
            count.get() == coming
        });
        (is_over, count.get())
    }

    #[test]
    fn it_looks_some_times_and_ever_less_often_where_that_does_not_help() {
        let hesitation = Hesitation::default();
        assert!(!hesitation.is_over(|| unreachable!("nothing is expected")));
        assert_eq!(looks(&hesitation, 1), (true, 1));
        assert!(!hesitation.is_over(|| unreachable!("nothing more is expected")));
        assert_eq!(looks(&hesitation, LOOKS), (true, LOOKS));
        let mut rounds = Vec::new();
        for round in 0..2000 {
            match looks(&hesitation, u32::MAX) {
                (false, LOOKS) => rounds.push(round),
                other => assert_eq!(other, (false, 0)),
            }
        }
        assert_eq!(rounds[..4], [0, 2, 6, 14]);
        assert_eq!(rounds[rounds.len() - 1] - rounds[rounds.len() - 2], 1 << MOST_FAILURES);
        // It has helped again: it is not left out any more.
        while looks(&hesitation, 1) != (true, 1) {}
        assert_eq!(looks(&hesitation, 3), (true, 3));
    }
}
