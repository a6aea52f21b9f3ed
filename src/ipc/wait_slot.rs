//! Blocking for one answer: a futex in shared memory that another process completes.
//!
//! A slot's word holds a generation and a state, so that an answer which comes too late finds
//! another generation and satisfies nobody. The holder is written before anything else and
//! cleared last, so that the reaper finds every slot of a dead unit, whatever it died in.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::os::{clock, futex};
use crate::shm::{Area, Layout, Mapped, Region, Shared};

/// The states, in the low bits of a slot's word.
const IDLE: u32 = 0;
const WAITING: u32 = 1;
const DONE: u32 = 2;
const FAILED: u32 = 3;
const STATE_BITS: u32 = 2;
const STATE_MASK: u32 = (1 << STATE_BITS) - 1;

#[repr(C)]
struct WaitSlot {
    /// The unit that uses the slot plus one; 0 is free. Taken by compare and exchange.
    holder: AtomicU32,
    /// Generation and state. The holder opens and closes it; anyone may complete it.
    word: AtomicU32,
}

// SAFETY: atomics only.
unsafe impl Shared for WaitSlot {}

/// Where the slots lie in a region.
#[derive(Clone, Copy)]
pub struct WaitSlotsArea(Area<WaitSlot>);

impl WaitSlotsArea {
    /// Adds `count` slots: so many can wait at once.
    pub fn new(layout: &mut Layout, count: usize) -> Self {
        Self(layout.array(count))
    }
}

/// The slots. Cloning gives another handle on the same ones.
#[derive(Clone)]
pub struct WaitSlots {
    slots: Mapped<WaitSlot>,
}

/// One wait: which slot, and the word that it had when the wait began. Travels in messages as a
/// number.
#[derive(Clone, Copy)]
struct Ticket {
    index: u32,
    waiting: u32,
}

impl Ticket {
    fn to_number(self) -> u64 {
        u64::from(self.index) << 32 | u64::from(self.waiting)
    }

    /// `None` for a number that is no ticket.
    fn from_number(number: u64) -> Option<Self> {
        let ticket = Self { index: (number >> 32) as u32, waiting: number as u32 };
        (ticket.waiting & STATE_MASK == WAITING).then_some(ticket)
    }

    fn word_in(self, state: u32) -> u32 {
        self.waiting & !STATE_MASK | state
    }
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was completed.
    Done,
    /// It was failed: there will be no answer.
    Failed,
    /// The deadline came first, or the ticket was none of an open wait.
    TimedOut,
}

impl WaitSlots {
    /// The slots in their mapped region.
    pub fn new(region: &Region, area: &WaitSlotsArea) -> Self {
        Self { slots: region.view(&area.0) }
    }

    fn slot(&self, ticket: Ticket) -> Option<&WaitSlot> {
        self.slots.get(ticket.index as usize)
    }

    /// Begins a wait of unit `holder`: the ticket that whoever answers must have. `None`: all slots
    /// are in use. Close it with [`WaitSlots::wait`] or [`WaitSlots::close`].
    pub fn open(&self, holder: u16) -> Option<u64> {
        let mark = u32::from(holder) + 1;
        let index = self.slots.iter().position(|slot| slot.take(mark))?;
        let slot = self.slots.get(index)?;
        let generation = (slot.word.load(Ordering::Relaxed) >> STATE_BITS).wrapping_add(1);
        let waiting = generation << STATE_BITS | WAITING;
        slot.word.store(waiting, Ordering::Relaxed);
        Some(Ticket { index: index as u32, waiting }.to_number())
    }

    /// Blocks until the ticket is completed or failed, or until the deadline (monotonic, in ns;
    /// `None` for no deadline), and closes it.
    ///
    /// # Errors
    ///
    /// The system's, when waiting is not possible; the ticket is closed then too.
    pub fn wait(&self, ticket: u64, deadline_ns: Option<u64>) -> Result<Outcome> {
        let Some(parsed) = Ticket::from_number(ticket) else { return Ok(Outcome::TimedOut) };
        let Some(slot) = self.slot(parsed) else { return Ok(Outcome::TimedOut) };
        // Acquire pairs with the release in `end`: what was written before the answer is seen.
        while slot.word.load(Ordering::Acquire) == parsed.waiting {
            let left_ns = deadline_ns.map(|end| end.saturating_sub(clock::monotonic_ns()));
            if left_ns == Some(0) {
                break;
            }
            let left = left_ns.map(Duration::from_nanos);
            if let Err(cause) = futex::wait(&slot.word, parsed.waiting, left) {
                self.close(ticket);
                return Err(Error::system("waiting for an answer", &cause));
            }
        }
        Ok(self.close(ticket))
    }

    /// Ends a wait without blocking: how it stands at this moment. Answers that come later are told
    /// that they are too late.
    pub fn close(&self, ticket: u64) -> Outcome {
        let Some(ticket) = Ticket::from_number(ticket) else { return Outcome::TimedOut };
        let Some(slot) = self.slot(ticket) else { return Outcome::TimedOut };
        let idle = ticket.word_in(IDLE);
        let expired =
            slot.word.compare_exchange(ticket.waiting, idle, Ordering::Acquire, Ordering::Acquire);
        let outcome = match expired {
            Err(word) if word == ticket.word_in(DONE) => Outcome::Done,
            Err(word) if word == ticket.word_in(FAILED) => Outcome::Failed,
            // Another generation: the slot is not the caller's any more.
            Err(_) => return Outcome::TimedOut,
            Ok(_) => Outcome::TimedOut,
        };
        slot.word.store(idle, Ordering::Relaxed);
        slot.free();
        outcome
    }

    /// Answers a wait, and wakes who waits. False: it is over, the answer is too late.
    pub fn complete(&self, ticket: u64) -> bool {
        self.end(ticket, DONE)
    }

    /// Tells a wait that there will be no answer. False: it is over.
    pub fn fail(&self, ticket: u64) -> bool {
        self.end(ticket, FAILED)
    }

    fn end(&self, ticket: u64, state: u32) -> bool {
        let Some(ticket) = Ticket::from_number(ticket) else { return false };
        let Some(slot) = self.slot(ticket) else { return false };
        let word = ticket.word_in(state);
        // Release pairs with the acquire in `wait`.
        let ended =
            slot.word.compare_exchange(ticket.waiting, word, Ordering::Release, Ordering::Relaxed);
        if ended.is_err() {
            return false;
        }
        if let Err(cause) = futex::wake(&slot.word, u32::MAX) {
            log::warn!("a waiting process could not be woken: {cause}");
        }
        true
    }

    /// The wait is open and not answered.
    pub fn is_waiting(&self, ticket: u64) -> bool {
        let ticket = Ticket::from_number(ticket);
        let slot = ticket.and_then(|ticket| Some((ticket, self.slot(ticket)?)));
        slot.is_some_and(|(ticket, slot)| slot.word.load(Ordering::Relaxed) == ticket.waiting)
    }

    /// Frees every slot of a dead unit; returns how many.
    pub fn reap(&self, holder: u16) -> usize {
        let mark = u32::from(holder) + 1;
        let held = self.slots.iter().filter(|slot| slot.holder.load(Ordering::Acquire) == mark);
        held.map(|slot| {
            // Late answers find no wait; the generation stays, so that the next one is another.
            slot.word.fetch_and(!STATE_MASK, Ordering::Relaxed);
            slot.free();
        })
        .count()
    }
}

impl WaitSlot {
    /// Takes the slot if it is free.
    fn take(&self, mark: u32) -> bool {
        // Acquire pairs with the release in `free`: the word is of the last generation.
        self.holder.load(Ordering::Relaxed) == 0
            && self.holder.compare_exchange(0, mark, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn free(&self) {
        // Release pairs with the acquire in `open`.
        self.holder.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::tests::in_child;

    fn slots(count: usize) -> WaitSlots {
        let mut layout = Layout::new();
        let area = WaitSlotsArea::new(&mut layout, count);
        WaitSlots::new(&layout.map().unwrap(), &area)
    }

    fn after_ms(delay_ms: u64) -> Option<u64> {
        Some(clock::monotonic_ns() + delay_ms * 1_000_000)
    }

    #[test]
    fn an_answer_of_another_process_ends_the_wait() {
        let slots = slots(2);
        let (done, failed) = (slots.open(1).unwrap(), slots.open(1).unwrap());
        assert_eq!(in_child(|| assert!(slots.complete(done) && slots.fail(failed))), 0);
        assert_eq!(slots.wait(done, after_ms(10_000)), Ok(Outcome::Done));
        assert_eq!(slots.wait(failed, None), Ok(Outcome::Failed));
    }

    #[test]
    fn an_answer_wakes_a_sleeper() {
        let slots = slots(1);
        let ticket = slots.open(1).unwrap();
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| slots.wait(ticket, after_ms(20_000)));
            assert!(slots.complete(ticket));
            assert_eq!(sleeper.join().unwrap(), Ok(Outcome::Done));
        });
    }

    #[test]
    fn a_late_answer_satisfies_nobody() {
        let slots = slots(1);
        let slow = slots.open(1).unwrap();
        assert_eq!(slots.wait(slow, after_ms(5)), Ok(Outcome::TimedOut));
        let fast = slots.open(1).unwrap();
        assert_ne!(slow, fast);
        assert!(!slots.complete(slow) && !slots.fail(slow));
        assert!(slots.is_waiting(fast) && !slots.is_waiting(slow));
        assert_eq!(slots.wait(slow, None), Ok(Outcome::TimedOut));
        assert!(slots.complete(fast));
        assert!(!slots.complete(fast), "one answer is enough");
        assert_eq!(slots.wait(fast, None), Ok(Outcome::Done));
    }

    #[test]
    fn slots_run_out_and_come_back() {
        let slots = slots(2);
        let tickets = [slots.open(1).unwrap(), slots.open(2).unwrap()];
        assert_eq!(slots.open(3), None);
        assert_eq!(slots.reap(1), 1);
        assert!(!slots.complete(tickets[0]));
        assert!(slots.open(3).is_some());
        assert_eq!(slots.close(tickets[1]), Outcome::TimedOut);
        assert!(slots.open(4).is_some());
    }

    #[test]
    fn numbers_that_are_no_tickets_are_refused() {
        let slots = slots(1);
        for number in [0, 1, 2, u64::MAX, 1 << 32 | 5, 7 << 32 | 1] {
            assert!(!slots.complete(number) && !slots.is_waiting(number));
            assert_eq!(slots.wait(number, None), Ok(Outcome::TimedOut));
        }
    }
}
