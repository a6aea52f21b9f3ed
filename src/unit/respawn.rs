//! When a child that has ended may be started again: at once, unless it keeps ending as soon as it
//! has started. No clock here, the time is handed in.

use std::collections::HashMap;

use crate::model::UnitId;

/// A life shorter than this is a quick one.
const QUICK_NS: u64 = 1_000_000_000;
/// So many quick lives in a row are followed by a start at once.
const FREE_STARTS: u32 = 10;
/// The first delay; each further one is twice as long, up to the longest.
const FIRST_DELAY_NS: u64 = 100_000_000;
const LONGEST_DELAY_NS: u64 = 1_000_000_000;

#[derive(Default)]
struct History {
    started_ns: u64,
    quick_lives: u32,
    not_before_ns: u64,
}

/// The histories of the children of one unit.
#[derive(Default)]
pub(super) struct Respawn {
    histories: HashMap<UnitId, History>,
}

impl Respawn {
    /// A child has started.
    pub(super) fn note_start(&mut self, id: UnitId, now_ns: u64) {
        self.histories.entry(id).or_default().started_ns = now_ns;
    }

    /// A child has ended, `in_order` if somebody wanted it to. Gives how many nanoseconds its next
    /// start waits if that is the first time that it waits at all.
    pub(super) fn note_end(&mut self, id: UnitId, now_ns: u64, in_order: bool) -> Option<u64> {
        let history = self.histories.entry(id).or_default();
        let is_quick = now_ns.saturating_sub(history.started_ns) < QUICK_NS;
        if in_order || !is_quick {
            history.quick_lives = 0;
            history.not_before_ns = 0;
            return None;
        }
        history.quick_lives = history.quick_lives.saturating_add(1);
        let too_many = history.quick_lives.checked_sub(FREE_STARTS + 1)?;
        let delay_ns = FIRST_DELAY_NS.saturating_mul(1 << too_many.min(10)).min(LONGEST_DELAY_NS);
        history.not_before_ns = now_ns.saturating_add(delay_ns);
        (too_many == 0).then_some(delay_ns)
    }

    /// The child could not be started: it is tried again later.
    pub(super) fn note_failure(&mut self, id: UnitId, now_ns: u64) {
        let again_ns = now_ns.saturating_add(LONGEST_DELAY_NS);
        self.histories.entry(id).or_default().not_before_ns = again_ns;
    }

    /// How long the start of this child has to wait; 0 if it may start now.
    pub(super) fn wait_ns(&self, id: UnitId, now_ns: u64) -> u64 {
        self.histories.get(&id).map_or(0, |row| row.not_before_ns.saturating_sub(now_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHILD: UnitId = UnitId(3);
    const MS: u64 = 1_000_000;

    /// Lives for `life_ns` again and again; the delays before each next start.
    fn delays(respawn: &mut Respawn, now_ns: &mut u64, life_ns: u64, lives: usize) -> Vec<u64> {
        let mut delays = Vec::new();
        for _ in 0..lives {
            respawn.note_start(CHILD, *now_ns);
            *now_ns += life_ns;
            respawn.note_end(CHILD, *now_ns, false);
            let wait_ns = respawn.wait_ns(CHILD, *now_ns);
            *now_ns += wait_ns;
            delays.push(wait_ns / MS);
        }
        delays
    }

    #[test]
    fn the_first_starts_are_immediate_then_they_slow_down_and_never_stop() {
        let (mut respawn, mut now_ns) = (Respawn::default(), 0);
        assert_eq!(delays(&mut respawn, &mut now_ns, MS, 10), [0; 10]);
        assert_eq!(delays(&mut respawn, &mut now_ns, MS, 6), [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(delays(&mut respawn, &mut now_ns, MS, 100), [1000; 100]);
    }

    #[test]
    fn a_life_that_lasts_or_ends_in_order_is_forgiven_all() {
        let (mut respawn, mut now_ns) = (Respawn::default(), 0);
        delays(&mut respawn, &mut now_ns, MS, 12);
        assert_eq!(delays(&mut respawn, &mut now_ns, 1000 * MS, 1), [0]);
        assert_eq!(delays(&mut respawn, &mut now_ns, MS, 11)[9..], [0, 100]);
        respawn.note_start(CHILD, now_ns);
        assert_eq!(respawn.note_end(CHILD, now_ns, true), None);
        assert_eq!(respawn.wait_ns(CHILD, now_ns), 0);
    }

    #[test]
    fn the_first_delay_is_told_once_and_a_failed_start_is_tried_again() {
        let (mut respawn, mut told) = (Respawn::default(), Vec::new());
        for _ in 0..14 {
            respawn.note_start(CHILD, 0);
            told.extend(respawn.note_end(CHILD, MS, false));
        }
        assert_eq!(told, [100 * MS]);
        respawn.note_failure(UnitId(9), 5 * MS);
        assert_eq!(respawn.wait_ns(UnitId(9), 5 * MS), 1000 * MS);
        assert_eq!(respawn.wait_ns(UnitId(9), 1005 * MS), 0);
    }
}
