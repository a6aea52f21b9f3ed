//! Hesitation: who has just asked or answered another unit gives the processor away for a moment
//! before it sleeps. Where the other one answers at once neither of them has to be woken, which
//! costs more than the answer, on another core many times as much; on one core giving the processor
//! away is what lets it answer.

use std::cell::Cell;
use std::thread;

use crate::os::clock;

/// How long the processor is given away again and again: as long as another one may take to wake up
/// and answer. One with other work comes back later than that, where who sleeps would have it at
/// once when its message or its time has come; so that counts as in vain, too.
const LONGEST_NS: u64 = 100_000;
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
        self.is_expecting.replace(false) && self.hesitate(clock::monotonic_ns, has_come)
    }

    fn hesitate(&self, now_ns: impl Fn() -> u64, has_come: impl Fn() -> bool) -> bool {
        let left_out = self.left_out.get();
        if left_out > 0 {
            self.left_out.set(left_out - 1);
            return false;
        }
        let begin_ns = now_ns();
        let is_over = loop {
            thread::yield_now();
            let is_over = has_come();
            if now_ns().saturating_sub(begin_ns) > LONGEST_NS {
                break is_over;
            }
            if is_over {
                self.failures.set(0);
                return true;
            }
        };
        let failures = (self.failures.get() + 1).min(MOST_FAILURES);
        self.failures.set(failures);
        self.left_out.set((1 << failures) - 1);
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time goes on by so much with each look: whether what comes with a certain look has come, and
    /// the number of looks.
    fn looks(hesitation: &Hesitation, coming: u32, look_ns: u64) -> (bool, u32) {
        let count = Cell::new(0);
        let now_ns = || u64::from(count.get()) * look_ns;
        let has_come = || {
            count.set(count.get() + 1);
            count.get() == coming
        };
        let is_over = hesitation.hesitate(now_ns, has_come);
        (is_over, count.get())
    }

    #[test]
    fn it_looks_only_if_something_is_expected() {
        let hesitation = Hesitation::default();
        assert!(!hesitation.is_over(|| unreachable!("nothing is expected")));
        hesitation.anticipate();
        assert!(hesitation.is_over(|| true));
        assert!(!hesitation.is_over(|| unreachable!("nothing more is expected")));
    }

    #[test]
    fn it_looks_for_a_while_and_ever_less_often_where_that_does_not_help() {
        const LOOK_NS: u64 = LONGEST_NS / 10;
        let hesitation = Hesitation::default();
        assert_eq!(looks(&hesitation, 1, LOOK_NS), (true, 1));
        assert_eq!(looks(&hesitation, 10, LOOK_NS), (true, 10));
        let mut rounds = Vec::new();
        for round in 0..2000 {
            match looks(&hesitation, u32::MAX, LOOK_NS) {
                (false, 11) => rounds.push(round),
                other => assert_eq!(other, (false, 0)),
            }
        }
        assert_eq!(rounds[..4], [0, 2, 6, 14]);
        assert_eq!(rounds[rounds.len() - 1] - rounds[rounds.len() - 2], 1 << MOST_FAILURES);
        // It has helped again: it is not left out any more.
        while looks(&hesitation, 1, LOOK_NS) != (true, 1) {}
        assert_eq!(looks(&hesitation, 3, LOOK_NS), (true, 3));
    }

    #[test]
    fn it_does_not_give_a_busy_processor_away_twice() {
        let hesitation = Hesitation::default();
        assert_eq!(looks(&hesitation, 1, LONGEST_NS), (true, 1));
        assert_eq!(looks(&hesitation, 2, LONGEST_NS + 1), (false, 1));
        assert_eq!(looks(&hesitation, 1, 1), (false, 0), "it was in vain");
        // Also if what was expected has come: it would have come sooner.
        assert_eq!(looks(&hesitation, 1, LONGEST_NS + 1), (true, 1));
        for _ in 0..3 {
            assert_eq!(looks(&hesitation, 1, 1), (false, 0));
        }
        assert_eq!(looks(&hesitation, 1, 1), (true, 1));
    }
}
