//! The reading end of a unit: all lanes that lead to it, read in turns.
//!
//! The unit's loop takes messages with [`Inbox::next`] until there are none, frees their memory
//! with [`Inbox::release`], and before it sleeps asks [`Inbox::prepare_sleep`]. A message's bytes
//! lie in shared memory and are valid until the next call on the inbox.

use std::ops::Deref;

use super::assembly::Assembler;
use super::lane::{LaneReader, Record};
use super::message::{Header, Mark};
use super::ready::READY_WORDS;
use super::shared_lane::TurnWords;
use super::sync::{fence, Ordering, Place};
use super::tally::{is_counted, Account};
use super::wiring::Wiring;
use crate::os::draft::Draft;

/// Messages that are taken from one lane before the next one has its turn.
const BURST: u32 = 64;
/// The shared lane's bit, and its place among the lanes.
const SHARED: usize = 0;

/// Set of lanes.
type LaneSet = [u64; READY_WORDS];

/// What an inbox reads.
pub(super) struct Ends {
    pub unit: u16,
    /// The shared lane, then the others in the order of their bits.
    pub lanes: Vec<LaneReader>,
    /// The writers of the others.
    pub sources: Vec<u16>,
    pub turn: Place<TurnWords>,
}

/// The reading end.
pub struct Inbox {
    wiring: Wiring,
    ends: Ends,
    /// Lanes that may have something.
    live: LaneSet,
    /// Lanes with messages that were claimed and not freed.
    held: LaneSet,
    /// The lane whose turn it is, and what is left of it.
    current: usize,
    burst: u32,
    assembler: Assembler,
    /// How far this reader is in the shared lane.
    account: Account,
    /// Where the memory of the shared lane was given back last.
    given_back: u64,
}

/// A message that was handed out.
pub struct Message<'a> {
    pub header: Header,
    pub payload: Payload<'a>,
}

/// The bytes of a message.
pub enum Payload<'a> {
    /// In the lane.
    Borrowed(&'a [u8]),
    /// Put together from pieces.
    Owned(Draft),
    /// It is not there: a predecessor had its first pieces.
    Lost,
}

impl Deref for Payload<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Payload::Borrowed(bytes) => bytes,
            Payload::Owned(bytes) => bytes,
            Payload::Lost => &[],
        }
    }
}

impl Inbox {
    pub(super) fn new(wiring: Wiring, ends: Ends) -> Self {
        let mut live = [0; READY_WORDS];
        // Bits that a predecessor took are lost: every lane may have something.
        (0..ends.lanes.len()).for_each(|lane| insert(&mut live, lane));
        let assembler = Assembler::default();
        let account = ends.turn.departures().account();
        Self {
            wiring,
            ends,
            live,
            held: [0; READY_WORDS],
            current: SHARED,
            burst: BURST,
            assembler,
            // What predecessors have used is still there.
            given_back: 0,
            account,
        }
    }

    fn word_count(&self) -> usize {
        self.ends.lanes.len() / 64 + 1
    }

    /// The lane whose turn it is; `None` when no lane has anything.
    #[inline]
    fn turn(&mut self) -> Option<usize> {
        if self.burst > 0 && contains(&self.live, self.current) {
            self.burst -= 1;
            return Some(self.current);
        }
        self.next_turn()
    }

    fn next_turn(&mut self) -> Option<usize> {
        let words = self.word_count();
        if let Some(ready) = self.wiring.ready(self.ends.unit) {
            for (index, live) in self.live.iter_mut().enumerate().take(words) {
                *live |= ready.take(index);
            }
        }
        self.current = next_after(&self.live, self.current)?;
        self.burst = BURST - 1;
        Some(self.current)
    }

    /// The next message, from the lanes in turns.
    // Not an iterator: a message borrows the inbox.
    #[allow(clippy::should_implement_trait)]
    #[inline]
    pub fn next(&mut self) -> Option<Message<'_>> {
        let (lane, record) = loop {
            let lane = self.turn()?;
            let record = self.ends.lanes.get_mut(lane).and_then(LaneReader::claim);
            let Some(record) = record else {
                remove(&mut self.live, lane);
                continue;
            };
            insert(&mut self.held, lane);
            if is_counted(&record.header, record.mark) {
                self.ends.turn.departures().begin(self.account.handled + 1);
            }
            if record.mark == Mark::Whole {
                break (lane, record);
            }
            if let Some((header, pages)) = self.assemble(lane, &record) {
                return Some(Message { header, payload: Payload::Owned(pages) });
            }
            if is_counted(&record.header, record.mark) {
                return Some(Message { header: record.header, payload: Payload::Lost });
            }
        };
        let payload = self.ends.lanes.get(lane).map(|reader| reader.payload(&record))?;
        Some(Message { header: record.header, payload: Payload::Borrowed(payload) })
    }

    #[cold]
    fn assemble(&mut self, lane: usize, record: &Record) -> Option<(Header, Draft)> {
        let payload = self.ends.lanes.get(lane)?.payload(record);
        let life = self.wiring.life_of(record.header.source);
        let pages = self.assembler.add(&record.header, life, payload)?;
        // Pieces carry the total in 32 bits.
        Some((Header { size: pages.len() as u32, ..record.header }, pages))
    }

    /// The caller is done with the last message, one that is counted; `has_failed`: nobody has
    /// handled it to the end.
    #[inline]
    pub fn settle(&mut self, has_failed: bool) {
        self.account.handled += 1;
        self.account.failed += u64::from(has_failed);
        self.settle_position();
    }

    /// The caller is done with all that was handed out.
    #[inline]
    fn settle_position(&mut self) {
        let claimed = self.ends.lanes.first().map_or(0, LaneReader::claimed);
        if claimed != self.account.position {
            self.account.position = claimed;
            self.ends.turn.departures().settle(self.account);
        }
    }

    /// Bytes that went through the shared lane since its memory was given back.
    #[inline]
    pub fn used_bytes(&self) -> u64 {
        self.account.position.wrapping_sub(self.given_back)
    }

    /// Gives the memory of the shared lane back to the system, if it is empty.
    pub fn give_back(&mut self) {
        self.release();
        let Some(lane) = self.ends.lanes.get(SHARED) else { return };
        // No writer is at work meanwhile.
        let Ok(_guard) = self.ends.turn.lock().lock() else { return };
        if lane.is_drained() {
            self.given_back = self.account.position;
            // SAFETY: it is drained, and writers wait for the lock that is held here.
            if let Err(cause) = unsafe { lane.give_back() } {
                log::debug!("the memory of a lane could not be given back: {cause}");
            }
        }
    }

    /// Frees the memory of all messages handed out so far, and rings the writers that wait for it.
    pub fn release(&mut self) {
        if self.held == [0; READY_WORDS] {
            return;
        }
        if contains(&self.held, SHARED) {
            // What is free can be told no more when this reader has died.
            self.settle_position();
        }
        let held = std::mem::replace(&mut self.held, [0; READY_WORDS]);
        for lane in lanes_of(&held) {
            if let Some(reader) = self.ends.lanes.get_mut(lane) {
                reader.free();
            }
        }
        // Pairs with the fence of the writers between wanting room and looking for it once more.
        fence(Ordering::SeqCst);
        for lane in lanes_of(&held) {
            if self.ends.lanes.get_mut(lane).is_some_and(LaneReader::take_wants_room) {
                self.ring_writers(lane);
            }
        }
    }

    #[cold]
    fn ring_writers(&self, lane: usize) {
        let ring = |unit| {
            if let Some(Err(cause)) = self.wiring.bell(unit).map(|bell| bell.ring_for_room()) {
                log::warn!("unit {unit} could not be woken: {cause}");
            }
        };
        match lane.checked_sub(1) {
            None => self.ends.turn.take_waiting(ring),
            Some(index) => self.ends.sources.get(index).copied().into_iter().for_each(ring),
        }
    }

    /// Whether a writer has said that there is something. Nothing is taken.
    pub fn is_called(&self) -> bool {
        let words = self.word_count();
        self.wiring.ready(self.ends.unit).is_some_and(|ready| ready.is_called(words))
    }

    /// Call it when [`Inbox::next`] gave nothing and the loop is about to wait. False: something
    /// has come meanwhile, do not wait. After the wait call [`Inbox::wake`].
    pub fn prepare_sleep(&mut self) -> bool {
        self.release();
        let words = self.word_count();
        let is_idle = self.live == [0; READY_WORDS];
        is_idle && self.wiring.ready(self.ends.unit).is_some_and(|ready| ready.prepare_sleep(words))
    }

    /// The loop is awake: nobody needs to ring.
    pub fn wake(&mut self) {
        if let Some(ready) = self.wiring.ready(self.ends.unit) {
            ready.wake();
        }
    }

    /// A message has come in part, and the rest is on its way. Whoever leaves the inbox to a
    /// successor reads on until that is over, since the first part is in its private memory.
    pub fn has_part(&self) -> bool {
        self.assembler.is_waiting(|source| self.wiring.life_of(source))
    }

    /// While this is refused no message is begun that travels in pieces, so that
    /// [`Inbox::has_part`] comes to an end. A successor takes them again.
    pub fn take_pieces(&self, is_taking: bool) {
        if self.wiring.set_takes_pieces(self.ends.unit, is_taking) && is_taking {
            self.wiring.call_writers();
        }
    }

    /// Which of the inboxes it is.
    pub fn number(&self) -> u16 {
        self.ends.unit
    }

    /// Bytes that are published and not handed out, headers included.
    pub fn unread_bytes(&self) -> u64 {
        self.wiring.unread_bytes(self.ends.unit)
    }

    /// Nothing is published that was not handed out.
    pub fn is_empty(&self) -> bool {
        self.unread_bytes() == 0
    }

    /// How often since the last call messages were dropped: nonsense left by a dying process, or a
    /// large message whose writer died before its end or for which there was no memory.
    pub fn take_damages(&mut self) -> u32 {
        let lanes = self.ends.lanes.iter_mut().map(LaneReader::take_damages);
        let in_lanes = lanes.fold(0, u32::saturating_add);
        in_lanes.saturating_add(self.assembler.take_losses())
    }
}

fn insert(set: &mut LaneSet, lane: usize) {
    if let Some(word) = set.get_mut(lane / 64) {
        *word |= 1 << (lane % 64);
    }
}

fn remove(set: &mut LaneSet, lane: usize) {
    if let Some(word) = set.get_mut(lane / 64) {
        *word &= !(1 << (lane % 64));
    }
}

fn contains(set: &LaneSet, lane: usize) -> bool {
    set.get(lane / 64).is_some_and(|word| word >> (lane % 64) & 1 != 0)
}

fn lanes_of(set: &LaneSet) -> impl Iterator<Item = usize> + '_ {
    set.iter().enumerate().flat_map(|(index, word)| {
        let rest = |bits: &u64| Some(bits & bits.wrapping_sub(1)).filter(|bits| *bits != 0);
        std::iter::successors(Some(*word).filter(|bits| *bits != 0), rest)
            .map(move |bits| index * 64 + bits.trailing_zeros() as usize)
    })
}

/// The first lane of the set behind `lane`, the first of all if there is none.
fn next_after(set: &LaneSet, lane: usize) -> Option<usize> {
    let start = lane + 1;
    let behind = set.iter().enumerate().skip(start / 64).find_map(|(index, word)| {
        let cut = if index == start / 64 { u64::MAX << (start % 64) } else { u64::MAX };
        let bits = word & cut;
        (bits != 0).then(|| index * 64 + bits.trailing_zeros() as usize)
    });
    behind.or_else(|| lanes_of(set).next())
}
