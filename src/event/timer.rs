//! Timers of one unit: what is due, in order. No clock here, the time is handed in.
//!
//! A pass takes what is due at one moment: [`Timers::begin_pass`], then [`Timers::take_due`] until
//! it gives nothing, each followed by [`Timers::done`] when the callback has run. A timer that is
//! added meanwhile waits for the next pass. Everything costs log n at most, and a timer that is
//! cleared is gone at once.

use std::collections::{BTreeMap, HashMap};

/// Names a timer; ids ascend from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId(pub i64);

/// When a timer is due, and which of those due at the same time was set first.
type Place = (u64, u64);

#[derive(Debug)]
struct Entry<K> {
    id: TimerId,
    interval_ns: Option<u64>,
    key: K,
}

/// Timers that each carry a `K`.
#[derive(Debug)]
pub struct Timers<K> {
    queue: BTreeMap<Place, Entry<K>>,
    /// Where each living timer stands; one whose callback runs stands where it stood.
    places: HashMap<TimerId, Place>,
    last_id: i64,
    last_order: u64,
}

/// One pass over what is due.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    now_ns: u64,
    last_order: u64,
}

/// A timer that is due. Hand it to [`Timers::done`] afterwards.
#[derive(Debug)]
pub struct Due<K> {
    /// Which one.
    pub id: TimerId,
    /// What it carries.
    pub key: K,
    due_ns: u64,
    interval_ns: Option<u64>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { queue: BTreeMap::new(), places: HashMap::new(), last_id: 0, last_order: 0 }
    }
}

impl<K> Timers<K> {
    /// `key` becomes due at `due_ns`; with an interval, again on the grid that begins there.
    pub fn add(&mut self, due_ns: u64, interval_ns: Option<u64>, key: K) -> TimerId {
        self.last_id += 1;
        let id = TimerId(self.last_id);
        self.insert(due_ns, Entry { id, interval_ns, key });
        id
    }

    fn insert(&mut self, due_ns: u64, entry: Entry<K>) {
        self.last_order += 1;
        let place = (due_ns, self.last_order);
        self.places.insert(entry.id, place);
        self.queue.insert(place, entry);
    }

    /// The timer never fires again. False if there is none: it was cleared, or it has fired and
    /// does not repeat.
    pub fn clear(&mut self, id: TimerId) -> bool {
        match self.places.remove(&id) {
            Some(place) => {
                self.queue.remove(&place);
                true
            }
            None => false,
        }
    }

    /// When the next one is due.
    pub fn next_due_ns(&self) -> Option<u64> {
        self.queue.keys().next().map(|place| place.0)
    }

    /// Begins a pass at `now_ns`.
    pub fn begin_pass(&self, now_ns: u64) -> Pass {
        Pass { now_ns, last_order: self.last_order }
    }

    /// Takes the next timer of the pass.
    pub fn take_due(&mut self, pass: Pass) -> Option<Due<K>> {
        let due_now = self.queue.range(..=(pass.now_ns, u64::MAX));
        let place = *due_now.map(|row| row.0).find(|place| place.1 <= pass.last_order)?;
        let Entry { id, interval_ns, key } = self.queue.remove(&place)?;
        Some(Due { id, key, due_ns: place.0, interval_ns })
    }

    /// The callback has run, it is `now_ns`: a repeating timer that was not cleared meanwhile is
    /// due at the next point of its grid; points that have passed are left out.
    pub fn done(&mut self, due: Due<K>, now_ns: u64) {
        let Due { id, key, due_ns, interval_ns } = due;
        let was_cleared = self.places.remove(&id).is_none();
        let Some(interval_ns) = interval_ns.filter(|_| !was_cleared) else { return };
        let passed = now_ns.saturating_sub(due_ns) / interval_ns.max(1);
        let steps = passed.saturating_add(1);
        let next_ns = due_ns.saturating_add(steps.saturating_mul(interval_ns.max(1)));
        self.insert(next_ns, Entry { id, interval_ns: Some(interval_ns), key });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(timers: &mut Timers<&'static str>, now_ns: u64) -> Vec<&'static str> {
        let pass = timers.begin_pass(now_ns);
        let mut fired = Vec::new();
        while let Some(due) = timers.take_due(pass) {
            fired.push(due.key);
            timers.done(due, now_ns);
        }
        fired
    }

    #[test]
    fn timers_come_when_due_and_equal_ones_in_the_order_of_adding() {
        let mut timers = Timers::default();
        timers.add(20, None, "c");
        timers.add(10, None, "z");
        timers.add(10, None, "a");
        assert_eq!(timers.next_due_ns(), Some(10));
        assert!(pass(&mut timers, 9).is_empty());
        assert_eq!(pass(&mut timers, 10), ["z", "a"]);
        assert_eq!(pass(&mut timers, u64::MAX), ["c"]);
        assert!(timers.is_empty() && timers.next_due_ns().is_none());
    }

    #[test]
    fn a_repeating_timer_stays_on_its_grid_and_leaves_out_what_has_passed() {
        let mut timers = Timers::default();
        timers.add(10, Some(10), "tick");
        let first = timers.take_due(timers.begin_pass(10)).unwrap();
        timers.done(first, 25);
        assert_eq!(timers.next_due_ns(), Some(30));
        let second = timers.take_due(timers.begin_pass(31)).unwrap();
        timers.done(second, 31);
        assert_eq!(timers.next_due_ns(), Some(40));
        let third = timers.take_due(timers.begin_pass(40)).unwrap();
        timers.done(third, 50);
        assert_eq!(timers.next_due_ns(), Some(60));
    }

    #[test]
    fn a_timer_added_in_a_pass_waits_for_the_next_one() {
        let mut timers = Timers::default();
        timers.add(1, None, "old");
        let now = timers.begin_pass(5);
        let old = timers.take_due(now).unwrap();
        timers.add(1, None, "new");
        timers.done(old, 5);
        assert!(timers.take_due(now).is_none());
        assert_eq!(pass(&mut timers, 5), ["new"]);
    }

    #[test]
    fn a_cleared_timer_never_fires_again_even_if_its_own_callback_clears_it() {
        let mut timers = Timers::default();
        let tick = timers.add(1, Some(1), "tick");
        let once = timers.add(1, None, "once");
        let now = timers.begin_pass(1);
        let running = timers.take_due(now).unwrap();
        assert!(timers.clear(tick) && !timers.clear(tick));
        timers.done(running, 1);
        assert!(timers.clear(once));
        assert!(timers.take_due(now).is_none() && timers.is_empty());
        assert!(!timers.clear(TimerId(99)));
        let own = timers.add(1, None, "own");
        let running = timers.take_due(timers.begin_pass(1)).unwrap();
        assert!(timers.clear(own) && !timers.clear(own));
        timers.done(running, 1);
        assert!(timers.is_empty());
        assert_eq!(timers.add(1, None, "next"), TimerId(4));
    }

    #[test]
    fn a_million_timers_are_set_cleared_and_taken_in_order() {
        let mut timers = Timers::default();
        let ids: Vec<TimerId> =
            (0..1_000_000_u64).map(|i| timers.add(i * 7919 % 1_000_003, None, "x")).collect();
        assert!(ids.iter().step_by(2).all(|id| timers.clear(*id)));
        let (now, mut last, mut count) = (timers.begin_pass(u64::MAX), 0, 0);
        while let Some(due) = timers.take_due(now) {
            assert!(due.due_ns >= last);
            last = due.due_ns;
            count += 1;
            timers.done(due, last);
        }
        assert_eq!((count, timers.len()), (500_000, 0));
    }
}
