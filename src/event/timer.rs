//! Timers of one unit: what is due, in order. No clock here, the time is handed in.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Timers that each carry a `K`. Adding and taking cost log n.
#[derive(Debug)]
pub struct Timers<K> {
    heap: BinaryHeap<Reverse<(u64, u64, K)>>,
    round: u64,
}

impl<K: Ord> Default for Timers<K> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), round: 0 }
    }
}

impl<K: Ord> Timers<K> {
    /// `key` becomes due at `due_ns`; what is due at the same time comes in the order of adding.
    pub fn add(&mut self, due_ns: u64, key: K) {
        self.round += 1;
        self.heap.push(Reverse((due_ns, self.round, key)));
    }

    /// When the next one is due.
    pub fn next_due_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((due_ns, _, _))| *due_ns)
    }

    /// Takes the next one that is due at `now_ns`.
    pub fn pop_due(&mut self, now_ns: u64) -> Option<K> {
        if self.next_due_ns()? > now_ns {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, key))| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_when_due_and_equal_ones_in_the_order_of_adding() {
        let mut timers = Timers::default();
        timers.add(20, "c");
        timers.add(10, "z");
        timers.add(10, "a");
        assert_eq!(timers.next_due_ns(), Some(10));
        assert_eq!(timers.pop_due(9), None);
        assert_eq!(timers.pop_due(10), Some("z"));
        assert_eq!(timers.pop_due(10), Some("a"));
        assert_eq!(timers.pop_due(10), None);
        assert_eq!(timers.pop_due(u64::MAX), Some("c"));
        assert_eq!(timers.next_due_ns(), None);
    }
}
