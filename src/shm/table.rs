//! Fixed slots with ids that are never used again.
//!
//! The slot of an id is its distance from the number before the first id, modulo the (power of two)
//! number of slots, and the slot stores the whole id: looking up is one index and one compare. Ids
//! come from one counter; an id whose slot is taken by an older one is skipped. Each slot names its
//! holder, so that the reaper can take back what a dead holder had, even when it died while filling
//! the slot. Whatever bytes stand in the table, nothing here panics or leaves it.
//!
//! The `last` that some functions take is the value of that counter: slots which no id has reached
//! yet are not even looked at, so that they never cost memory.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{Area, Layout, Mapped, Region, Shared};
use crate::error::{code, Error, Result};

/// In an id word: being filled by the holder in the low bits. Ids never have this bit.
const CLAIMED: u64 = 1 << 63;
const FREE: u64 = 0;

/// What an id leads to.
#[repr(C)]
pub struct Slot<R> {
    /// `FREE`, `CLAIMED` with a holder, or the id. Whoever moves it off `FREE` owns the slot.
    id: AtomicU64,
    /// Valid while an id stands: written before it is published.
    holder: AtomicU32,
    record: R,
}

// SAFETY: atomics and a record that may itself be shared.
unsafe impl<R: Shared> Shared for Slot<R> {}

/// Where a table lies in a region.
pub struct TableArea<R>(Area<Slot<R>>);

impl<R> Clone for TableArea<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for TableArea<R> {}

impl<R: Shared> TableArea<R> {
    /// Adds a table with room for `capacity` records, rounded up to a power of two.
    pub fn new(layout: &mut Layout, capacity: usize) -> Self {
        let slots = capacity.max(1).checked_next_power_of_two().unwrap_or(usize::MAX);
        Self(layout.array(slots))
    }
}

/// The table. Cloning it gives another handle on the same slots.
pub struct Table<R> {
    slots: Mapped<Slot<R>>,
    /// The number before the first id.
    origin: u64,
}

impl<R> Clone for Table<R> {
    fn clone(&self) -> Self {
        Self { slots: self.slots.clone(), origin: self.origin }
    }
}

/// A slot that is being filled; given back unless it is published.
pub struct Claimed<'a, R> {
    slot: &'a Slot<R>,
    id: u64,
    holder: u16,
}

impl<R: Shared> Table<R> {
    /// The table in its mapped region.
    pub fn new(region: &Region, area: &TableArea<R>) -> Self {
        Self { slots: region.view(&area.0), origin: 0 }
    }

    /// The same table where ids begin behind `origin`. Said before any id is given.
    pub fn with_origin(self, origin: u64) -> Self {
        Self { origin, ..self }
    }

    /// How many ids can be live at once.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    fn slot(&self, id: u64) -> Option<&Slot<R>> {
        self.slots.get(self.index_of(id))
    }

    #[inline]
    fn index_of(&self, id: u64) -> usize {
        id.wrapping_sub(self.origin) as usize & self.slots.len().wrapping_sub(1)
    }

    /// Takes the slot of the next id whose slot is free, trying at most `tries` ids.
    ///
    /// `counter` is the last id given, shared by all who claim.
    pub fn claim(&self, counter: &AtomicU64, holder: u16, tries: usize) -> Option<Claimed<'_, R>> {
        for _ in 0..tries {
            // The number alone matters: no other memory is ordered by it.
            let id = counter.fetch_add(1, Ordering::Relaxed).checked_add(1)?;
            if id & CLAIMED != 0 {
                return None;
            }
            let slot = self.slot(id)?;
            let mark = CLAIMED | u64::from(holder);
            // Acquire pairs with the release in `release`: the last owner's writes are over.
            let taken =
                slot.id.compare_exchange(FREE, mark, Ordering::Acquire, Ordering::Relaxed).is_ok();
            if taken {
                return Some(Claimed { slot, id, holder });
            }
        }
        None
    }

    /// The record of a live id. Copy out what is needed, then ask [`Table::contains`] again if it
    /// matters: the slot may be given to another id at any time.
    #[inline]
    pub fn get(&self, id: i64) -> Option<&R> {
        let id = u64::try_from(id).ok().filter(|id| *id != FREE)?;
        let slot = self.slot(id)?;
        // Acquire pairs with the release in `publish`.
        (slot.id.load(Ordering::Acquire) == id).then_some(&slot.record)
    }

    /// The record of the slot that an id has or would have, whoever has it now.
    pub fn peek(&self, id: i64) -> Option<&R> {
        self.slot(id.unsigned_abs()).map(|slot| &slot.record)
    }

    /// The id is live.
    #[inline]
    pub fn contains(&self, id: i64) -> bool {
        self.get(id).is_some()
    }

    /// Who holds a live id.
    pub fn holder(&self, id: i64) -> Option<u16> {
        self.get(id)?;
        let holder = self.slot(id.unsigned_abs())?.holder.load(Ordering::Relaxed);
        u16::try_from(holder).ok()
    }

    /// Frees the slot of a live id. False: the id was not live (any more).
    pub fn release(&self, id: i64) -> bool {
        let Some(id) = u64::try_from(id).ok().filter(|id| *id != FREE) else { return false };
        let Some(slot) = self.slot(id) else { return false };
        // Release pairs with the acquire in `claim`.
        slot.id.compare_exchange(id, FREE, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// The slots that ids up to `last` can have reached.
    fn reached(&self, last: u64) -> &[Slot<R>] {
        let all: &[Slot<R>] = &self.slots;
        // The origin is never given, so the slot after `last` is the first untouched one.
        let given = last.saturating_sub(self.origin);
        let end = usize::try_from(given).unwrap_or(usize::MAX).saturating_add(1).min(all.len());
        all.get(..end).unwrap_or(all)
    }

    /// Takes back every slot of a dead holder; `taken` is told each id that was live, and its
    /// record, before the slot is free. Returns how many slots came back, half filled ones
    /// included.
    pub fn reap(&self, holder: u16, last: u64, mut taken: impl FnMut(i64, &R)) -> usize {
        let mut freed = 0;
        for slot in self.reached(last) {
            let word = slot.id.load(Ordering::Acquire);
            let is_live = word != FREE
                && word & CLAIMED == 0
                && slot.holder.load(Ordering::Relaxed) == u32::from(holder);
            if is_live {
                taken(word as i64, &slot.record);
            } else if word != CLAIMED | u64::from(holder) {
                continue;
            }
            // It fails if someone released the slot first; release pairs with the acquire in
            // `claim`.
            let free = slot.id.compare_exchange(word, FREE, Ordering::Release, Ordering::Relaxed);
            freed += usize::from(free.is_ok());
        }
        freed
    }

    /// Fills `ids` with the live ids greater than `from`, ascending; returns how many. Fewer than
    /// asked for means there are no more.
    ///
    /// Ids of the last lap lie in order in the slots. Older ones, whose holders outlived a whole
    /// lap, lie between them in no order, and need one pass over the slots.
    pub fn scan(&self, from: i64, last: u64, ids: &mut [i64]) -> usize {
        let from = u64::try_from(from).unwrap_or(0).max(self.origin);
        let lap_start =
            last.saturating_sub(self.slots.len() as u64).max(self.origin).saturating_add(1);
        let mut count = 0;
        if from.saturating_add(1) < lap_start {
            count = self.smallest_between(from, lap_start, ids);
        }
        for id in from.saturating_add(1).max(lap_start)..last.saturating_add(1) {
            let Some(place) = ids.get_mut(count) else { break };
            if self.contains(id as i64) {
                *place = id as i64;
                count += 1;
            }
        }
        count
    }

    /// The smallest live ids with `from < id < below`, ascending.
    fn smallest_between(&self, from: u64, below: u64, ids: &mut [i64]) -> usize {
        let mut count = 0;
        for slot in self.slots.iter() {
            let id = slot.id.load(Ordering::Acquire);
            if id <= from || id >= below {
                continue;
            }
            let id = id as i64;
            let at = ids.get(..count).map_or(0, |found| found.partition_point(|seen| *seen < id));
            if at == ids.len() {
                continue;
            }
            count = (count + 1).min(ids.len());
            if let Some(tail) = ids.get_mut(at..count) {
                tail.rotate_right(1);
                if let Some(first) = tail.first_mut() {
                    *first = id;
                }
            }
        }
        count
    }

    /// Every word in the table is possible.
    ///
    /// # Errors
    ///
    /// `FATAL_ERROR` with the first slot that holds an id which does not belong there, an id that
    /// was never given, or a holder that cannot be.
    pub fn check(&self, last: u64) -> Result<()> {
        for (index, slot) in self.reached(last).iter().enumerate() {
            let word = slot.id.load(Ordering::Acquire);
            let is_sound = match word {
                FREE => true,
                claimed if claimed & CLAIMED != 0 => claimed & !CLAIMED <= u64::from(u16::MAX),
                id => {
                    let holder = slot.holder.load(Ordering::Relaxed);
                    id <= last && self.index_of(id) == index && holder <= u32::from(u16::MAX)
                }
            };
            if !is_sound {
                let text = format!("slot {index} of a shared table holds {word:#x}");
                return Err(Error::new(code::FATAL_ERROR, text));
            }
        }
        Ok(())
    }
}

impl<R> Claimed<'_, R> {
    /// The id that it will have.
    pub fn id(&self) -> i64 {
        self.id as i64
    }

    /// Makes the id live. The record must be complete.
    pub fn publish(self) -> i64 {
        self.slot.holder.store(u32::from(self.holder), Ordering::Relaxed);
        // Release pairs with the acquire in `get`: who sees the id sees record and holder.
        self.slot.id.store(self.id, Ordering::Release);
        let id = self.id();
        std::mem::forget(self);
        id
    }
}

impl<R> Deref for Claimed<'_, R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.slot.record
    }
}

impl<R> Drop for Claimed<'_, R> {
    fn drop(&mut self) {
        // Release pairs with the acquire in `claim`.
        self.slot.id.store(FREE, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::tests::in_child;

    fn table(capacity: usize) -> Table<AtomicU64> {
        let mut layout = Layout::new();
        let area = TableArea::new(&mut layout, capacity);
        Table::new(&layout.map().unwrap(), &area)
    }

    fn add(table: &Table<AtomicU64>, last: &AtomicU64, holder: u16) -> i64 {
        table.claim(last, holder, 64).unwrap().publish()
    }

    fn all(table: &Table<AtomicU64>, last: &AtomicU64, page: usize) -> Vec<i64> {
        let (mut ids, mut from) = (Vec::new(), 0);
        loop {
            let mut part = vec![0; page];
            let count = table.scan(from, last.load(Ordering::Relaxed), &mut part);
            ids.extend_from_slice(&part[..count]);
            match part[..count].last() {
                Some(id) if count == page => from = *id,
                _ => return ids,
            }
        }
    }

    #[test]
    fn ids_that_begin_high_use_the_first_slots_and_are_all_found() {
        const ORIGIN: u64 = u32::MAX as u64;
        let table = table(8).with_origin(ORIGIN);
        let counter = AtomicU64::new(ORIGIN);
        let take = || table.claim(&counter, 1, 8).map(|claimed| claimed.publish());
        let ids: Vec<i64> = std::iter::from_fn(take).collect();
        let wanted: Vec<i64> = (1..=8).map(|step| ORIGIN as i64 + step).collect();
        assert_eq!(ids, wanted);
        let last = ORIGIN + 8;
        assert_eq!(table.reached(ORIGIN + 1).len(), 2);
        assert!(table.check(last).is_ok());
        let mut page = [0; 5];
        assert_eq!(table.scan(0, last, &mut page), 5);
        assert_eq!(page[..], wanted[..5]);
        assert_eq!(table.scan(wanted[4], last, &mut page), 3);
        assert!(table.contains(wanted[7]) && !table.contains(8) && !table.contains(1));
    }

    #[test]
    fn an_id_is_found_until_it_is_released_and_never_again() {
        let (table, last) = (table(4), AtomicU64::new(0));
        let claimed = table.claim(&last, 7, 1).unwrap();
        claimed.store(99, Ordering::Relaxed);
        assert!(!table.contains(claimed.id()));
        let id = claimed.publish();
        assert_eq!(table.get(id).map(|record| record.load(Ordering::Relaxed)), Some(99));
        assert_eq!(table.holder(id), Some(7));
        assert!(table.release(id));
        assert!(!table.release(id));
        for _ in 0..4 {
            add(&table, &last, 7);
        }
        assert!(!table.contains(id));
        assert!(table.check(last.load(Ordering::Relaxed)).is_ok());
    }

    #[test]
    fn a_taken_slot_is_skipped_and_a_full_table_says_no() {
        let (table, last) = (table(4), AtomicU64::new(0));
        let ids: Vec<i64> = (0..4).map(|_| add(&table, &last, 1)).collect();
        assert_eq!(ids, [1, 2, 3, 4]);
        assert!(table.claim(&last, 1, 8).is_none());
        assert!(table.release(3));
        let next = add(&table, &last, 1);
        assert_eq!(next % 4, 3);
        assert!(next > 4);
    }

    #[test]
    fn a_claim_that_is_dropped_frees_the_slot() {
        let (table, last) = (table(1), AtomicU64::new(0));
        drop(table.claim(&last, 1, 1).unwrap());
        assert!(table.claim(&last, 1, 1).is_some());
    }

    #[test]
    fn no_number_at_all_makes_a_look_up_fail_badly() {
        let (table, last) = (table(8), AtomicU64::new(0));
        add(&table, &last, 1);
        for id in [0, -1, i64::MIN, i64::MAX, 9, 1 << 40] {
            assert!(!table.contains(id));
            assert!(!table.release(id));
        }
        for word in [u64::MAX, 1, CLAIMED | 0xffff_ffff, 12345] {
            table.slots.iter().for_each(|slot| slot.id.store(word, Ordering::Relaxed));
            table.slots.iter().for_each(|slot| slot.holder.store(u32::MAX, Ordering::Relaxed));
            table.reap(3, u64::MAX, |_, _| ());
            table.scan(-5, u64::MAX - 1, &mut [0; 3]);
            assert!(table.check(1000).is_err());
        }
    }

    #[test]
    fn the_reaper_takes_back_what_the_dead_held_and_nothing_else() {
        let (table, last) = (table(16), AtomicU64::new(0));
        let mine = add(&table, &last, 1);
        let dead = add(&table, &last, 2);
        let half = table.claim(&last, 2, 1).unwrap();
        let half_id = half.id();
        std::mem::forget(half);
        let mut taken = Vec::new();
        assert_eq!(table.reap(2, last.load(Ordering::Relaxed), |id, _| taken.push(id)), 2);
        assert_eq!(taken, [dead]);
        assert!(table.contains(mine) && !table.contains(dead));
        let word = table.slot(half_id as u64).unwrap().id.load(Ordering::Relaxed);
        assert_eq!(word, FREE);
    }

    #[test]
    fn a_slot_whose_claimer_died_comes_back() {
        let mut layout = Layout::new();
        let area = TableArea::<AtomicU64>::new(&mut layout, 1);
        let counter = layout.array::<AtomicU64>(1);
        let region = layout.map().unwrap();
        let (table, counter) = (Table::new(&region, &area), region.view(&counter));
        in_child(|| std::mem::forget(table.claim(&counter[0], 9, 1)));
        assert!(table.claim(&counter[0], 1, 1).is_none());
        assert_eq!(table.reap(9, counter[0].load(Ordering::Relaxed), |_, _| ()), 1);
        assert!(table.claim(&counter[0], 1, 1).is_some());
    }

    #[test]
    fn pages_of_ids_ascend_however_old_the_ids_are() {
        let (table, last) = (table(8), AtomicU64::new(0));
        let mut live = Vec::new();
        let mut seed = 12345_u64;
        for _ in 0..500 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            if live.len() < 8 && seed >> 63 == 0 {
                live.push(add(&table, &last, 1));
            } else if !live.is_empty() {
                let id = live.remove((seed >> 33) as usize % live.len());
                assert!(table.release(id));
            }
            live.sort_unstable();
            for page in 1..5 {
                assert_eq!(all(&table, &last, page), live);
            }
        }
        assert!(last.load(Ordering::Relaxed) > 100);
    }
}
