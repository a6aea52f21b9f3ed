//! Who can send to whom, made once before the first fork.
//!
//! Every unit has one shared lane, which all may write to, and a lane of its own from each unit
//! that the plan names. A unit reads through one [`Inbox`] and writes through one [`Outbox`];
//! both are made after the fork, by the unit itself, and a successor simply makes them again.
//!
//! A unit that waits for answers and for nothing else has a second inbox for these, its answer box,
//! with a number behind those of the units. Its bell is the word that the unit sleeps on while it
//! waits, the one by which it is called for room, so that one sleep ends by either.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;

use super::doorbell::{Doorbell, RoomCalls};
use super::inbox::{Ends, Inbox};
use super::lane::{capacity_for, LaneReader, LaneWords, LaneWriter};
use super::message::Header;
use super::outbox::{Lane, Outbox};
use super::ready::ReadyWords;
use super::shared_lane::{SharedLaneWriter, TurnWords};
use super::sync::MAX_UNITS;
use super::tally::{is_counted, Account, Tally};
use crate::error::{code, Error, Result};
use crate::shm::{Area, ByteArea, Bytes, Layout, Line, Mapped, Region, Shared};

/// What is known of one unit besides its lanes.
#[repr(C)]
pub struct UnitWords {
    /// Bits and sleep of its inbox.
    ready: ReadyWords,
    /// How often an inbox was made for it: more than once means that a reader has gone before.
    inboxes: Line<AtomicU32>,
    /// The same for outboxes that write its own lanes.
    outboxes: AtomicU32,
    /// Written by its reader: no message that travels in pieces is to be begun.
    refuses_pieces: AtomicU32,
}

// SAFETY: atomics only.
unsafe impl Shared for UnitWords {}

/// Where everything lies in the region.
pub struct WiringPlan {
    /// Units and answer boxes.
    units: usize,
    /// Whose the answer boxes are, which have the last numbers.
    boxes: Vec<u16>,
    /// Source and target of each lane that has one writer.
    lanes: Vec<(u16, u16)>,
    lane_bytes: usize,
    /// Offset and length of each shared ring.
    shared: Vec<(usize, usize)>,
    unit_words: Area<UnitWords>,
    room_calls: Area<RoomCalls>,
    turns: Area<TurnWords>,
    /// The shared lanes by unit, then the others.
    lane_words: Area<LaneWords>,
    shared_rings: ByteArea,
    rings: ByteArea,
    writers: Area<AtomicU64>,
}

impl WiringPlan {
    /// Plans the inboxes of `units` units. `lanes` lists source and target of each lane that is one
    /// unit's own; capacities are in bytes for each lane and rounded up to a power of two. That of
    /// the shared lane of a unit is `shared_capacity` of its number. `boxes` lists the units that
    /// have an answer box; that of the first has the number `units`, and so on.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMS`: more units than can be joined, or a lane of a unit that there is not, or
    /// one that stands twice.
    pub fn new(
        layout: &mut Layout,
        units: usize,
        boxes: &[u16],
        lanes: &[(u16, u16)],
        lane_capacity: usize,
        shared_capacity: impl Fn(u16) -> usize,
    ) -> Result<Self> {
        check(units, lanes)?;
        let units = units + boxes.len();
        let lane_bytes = capacity_for(lane_capacity);
        let mut shared_bytes = 0_usize;
        let place = |unit: usize| {
            let len = capacity_for(shared_capacity(unit as u16));
            let offset = shared_bytes;
            shared_bytes = shared_bytes.saturating_add(len);
            (offset, len)
        };
        let shared: Vec<(usize, usize)> = (0..units).map(place).collect();
        Ok(Self {
            units,
            boxes: boxes.to_vec(),
            lanes: lanes.to_vec(),
            lane_bytes,
            shared,
            unit_words: layout.array(units),
            room_calls: layout.array(units),
            turns: layout.array(units),
            lane_words: layout.array(units + lanes.len()),
            shared_rings: layout.bytes(shared_bytes),
            rings: layout.bytes(lanes.len().saturating_mul(lane_bytes)),
            writers: layout.array(1),
        })
    }
}

fn check(units: usize, lanes: &[(u16, u16)]) -> Result<()> {
    if units > MAX_UNITS {
        let text = format!("{units} processes and threads are more than {MAX_UNITS}");
        return Err(Error::new(code::INVALID_PARAMS, text));
    }
    let mut sorted = lanes.to_vec();
    sorted.sort_unstable();
    let is_unit = |unit: u16| usize::from(unit) < units;
    let unknown = sorted.iter().find(|(from, to)| !is_unit(*from) || !is_unit(*to));
    let twice =
        sorted.windows(2).find_map(|pair| pair.first().filter(|lane| Some(*lane) == pair.last()));
    match unknown.or(twice) {
        Some((from, to)) => {
            let text = format!("a lane from unit {from} to unit {to} cannot be");
            Err(Error::new(code::INVALID_PARAMS, text))
        }
        None => Ok(()),
    }
}

/// A lane with one writer, seen from one of its ends.
#[derive(Clone, Copy)]
struct End {
    /// Which of the plan's lanes.
    lane: usize,
    /// The unit at the other end.
    peer: u16,
    /// The lane's bit at the reader.
    bit: u16,
}

struct Shape {
    plan: WiringPlan,
    /// For each unit the lanes that it reads, in the order of their bits, and those that it writes.
    incoming: Vec<Vec<End>>,
    outgoing: Vec<Vec<End>>,
    unit_words: Mapped<UnitWords>,
    turns: Mapped<TurnWords>,
    lane_words: Mapped<LaneWords>,
    shared_rings: Bytes,
    rings: Bytes,
    writers: Mapped<AtomicU64>,
    bells: Vec<Doorbell>,
}

/// The wiring, inherited by every process. Cloning it is cheap.
#[derive(Clone)]
pub struct Wiring {
    shape: Arc<Shape>,
}

fn no_unit(unit: u16) -> Error {
    Error::new(code::INVALID_PARAMS, format!("there is no unit {unit}"))
}

impl Wiring {
    /// Makes locks and doorbells. The region is of the layout that the plan was added to.
    ///
    /// # Errors
    ///
    /// The system's, when there are no more descriptors.
    pub fn new(region: &Region, plan: WiringPlan) -> Result<Self> {
        let turns = region.view(&plan.turns);
        turns.iter().try_for_each(|turn| turn.lock().init())?;
        let calls = region.view(&plan.room_calls);
        let bells = (0..plan.units - plan.boxes.len())
            .filter_map(|unit| calls.place(unit))
            .map(Doorbell::new);
        let (incoming, outgoing) = ends(&plan);
        let shape = Shape {
            bells: bells.collect::<Result<_>>()?,
            incoming,
            outgoing,
            unit_words: region.view(&plan.unit_words),
            turns,
            lane_words: region.view(&plan.lane_words),
            shared_rings: region.bytes(&plan.shared_rings),
            rings: region.bytes(&plan.rings),
            writers: region.view(&plan.writers),
            plan,
        };
        Ok(Self { shape: Arc::new(shape) })
    }

    /// How many inboxes there are.
    fn inbox_count(&self) -> usize {
        self.shape.plan.units
    }

    /// The descriptor that a unit's loop watches, edge-triggered. Never read it.
    pub fn doorbell_fd(&self, unit: u16) -> Option<RawFd> {
        self.bell(unit).map(Doorbell::as_raw_fd)
    }

    /// Wakes a unit, asleep or not. Safe in a signal handler.
    pub fn ring(&self, unit: u16) {
        match self.bell(unit) {
            Some(bell) => bell.ring(),
            None => self.call_owner(unit),
        }
    }

    /// Wakes the unit that sleeps at an answer box.
    fn call_owner(&self, number: u16) {
        let index = usize::from(number).checked_sub(self.shape.bells.len());
        let owner = index.and_then(|index| self.shape.plan.boxes.get(index));
        let bell = owner.and_then(|owner| self.bell(*owner));
        if let Some(Err(cause)) = bell.map(Doorbell::call) {
            log::warn!("a unit that waits for an answer could not be woken: {cause}");
        }
    }

    /// The number of a unit's answer box, `None` if it has none.
    pub fn answer_box(&self, unit: u16) -> Option<u16> {
        let index = self.shape.plan.boxes.iter().position(|owner| *owner == unit)?;
        u16::try_from(self.shape.bells.len() + index).ok()
    }

    /// How often a unit was called so far: for room, or to its answer box.
    pub fn calls(&self, unit: u16) -> u32 {
        self.bell(unit).map_or(0, Doorbell::calls)
    }

    /// Sleeps until the unit is called beyond `seen`; false if the deadline (monotonic, in ns) has
    /// come first.
    pub fn wait_for_call(&self, unit: u16, seen: u32, deadline_ns: u64) -> bool {
        self.bell(unit).is_some_and(|bell| bell.wait_for_call(seen, deadline_ns))
    }

    /// Bytes that wait in a unit's inbox, headers included, seen from anywhere.
    pub fn unread_bytes(&self, unit: u16) -> u64 {
        let shared = self.shape.lane_words.get(usize::from(unit));
        self.unread_own_bytes(unit) + shared.map_or(0, LaneWords::unread_bytes)
    }

    /// Those of them that lie in lanes of one writer.
    pub fn unread_own_bytes(&self, unit: u16) -> u64 {
        let incoming = self.shape.incoming.get(usize::from(unit)).into_iter().flatten();
        let lanes = incoming.map(|end| self.inbox_count() + end.lane);
        lanes.filter_map(|lane| self.shape.lane_words.get(lane)).map(LaneWords::unread_bytes).sum()
    }

    /// What has become of the messages that are counted in the shared lane of a unit.
    pub fn tally(&self, unit: u16) -> Tally {
        let index = usize::from(unit);
        let parts = self.shape.turns.get(index).zip(self.shape.lane_words.get(index));
        parts.map_or(Tally::default(), |(turn, words)| turn.tally(words.tail()))
    }

    /// What a reader that has died had in its hands: the headers of those of its messages that are
    /// counted. They have failed, once [`Wiring::settle_dead`] says so.
    pub fn lost_with(&self, unit: u16) -> Vec<Header> {
        let Some((reader, account)) = self.dead_reader(unit) else { return Vec::new() };
        let records = reader.handed_out_since(account.position);
        let counted = records.into_iter().filter(|(header, mark)| is_counted(header, *mark));
        counted.map(|(header, _)| header).collect()
    }

    /// Settles what a reader that has died had in its hands: so many messages have failed. To be
    /// called before there is a successor.
    pub fn settle_dead(&self, unit: u16, failed: u64) {
        let Some((reader, account)) = self.dead_reader(unit) else { return };
        let turn = self.shape.turns.get(usize::from(unit));
        if let Some(turn) = turn.filter(|_| account.position != reader.claimed()) {
            turn.departures().settle(Account {
                position: reader.claimed(),
                handled: account.handled + failed,
                failed: account.failed + failed,
            });
        }
    }

    /// The shared lane of a unit whose reader has died, and how far that was.
    fn dead_reader(&self, unit: u16) -> Option<(LaneReader, Account)> {
        let index = usize::from(unit);
        let words = self.shape.lane_words.place(index)?;
        let turn = self.shape.turns.get(index)?;
        let reader = LaneReader::attach_behind(words, self.shared_ring_of(unit)?);
        Some((reader, turn.departures().account()))
    }

    /// The reading end of a unit. A successor goes on behind the last message that was claimed; its
    /// predecessor reads no more.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMS` for a unit that is none.
    pub fn inbox(&self, unit: u16) -> Result<Inbox> {
        let ends = self.reading_ends(unit).ok_or_else(|| no_unit(unit))?;
        let words = self.shape.unit_words.get(usize::from(unit)).ok_or_else(|| no_unit(unit))?;
        words.refuses_pieces.store(0, Ordering::Relaxed);
        if words.inboxes.fetch_add(1, Ordering::Relaxed) > 0 {
            // The last reader may have freed memory and died before it rang.
            self.call_writers();
        }
        Ok(Inbox::new(self.clone(), ends))
    }

    /// Calls everybody who may wait for room.
    pub(super) fn call_writers(&self) {
        for bell in &self.shape.bells {
            if let Err(cause) = bell.ring_for_room() {
                log::warn!("a unit that waits for room could not be woken: {cause}");
            }
        }
    }

    /// How often a unit began to write.
    pub(super) fn life_of(&self, unit: u16) -> u32 {
        let words = self.shape.unit_words.get(usize::from(unit));
        words.map_or(0, |words| words.outboxes.load(Ordering::Relaxed))
    }

    /// Whether a message to this unit may be begun that travels in pieces.
    pub(super) fn takes_pieces(&self, unit: u16) -> bool {
        let words = self.shape.unit_words.get(usize::from(unit));
        words.map_or(true, |words| words.refuses_pieces.load(Ordering::Relaxed) == 0)
    }

    /// True if that is a change.
    pub(super) fn set_takes_pieces(&self, unit: u16, is_taking: bool) -> bool {
        let Some(words) = self.shape.unit_words.get(usize::from(unit)) else { return false };
        let before = words.refuses_pieces.swap(u32::from(!is_taking), Ordering::Relaxed);
        before == u32::from(is_taking)
    }

    /// The writing end of a unit. A successor goes on behind the last message that was published,
    /// and tells all readers, since its predecessor may have died before it did.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMS` for a unit that is none.
    pub fn outbox(&self, unit: u16) -> Result<Outbox> {
        let words = self.shape.unit_words.get(usize::from(unit)).ok_or_else(|| no_unit(unit))?;
        let has_predecessor = words.outboxes.fetch_add(1, Ordering::Relaxed) > 0;
        let mut outbox = self.outbox_shared_only(unit)?;
        for end in self.shape.outgoing.get(usize::from(unit)).into_iter().flatten() {
            let parts = self.lane_words_of(end.lane).zip(self.ring_of(end.lane));
            let (words, bytes) = parts.ok_or_else(|| no_unit(unit))?;
            outbox.use_lane(end.peer, Lane::Own(LaneWriter::attach(words, bytes)), end.bit);
        }
        if has_predecessor {
            outbox.announce_all();
        }
        Ok(outbox)
    }

    /// A writing end that uses shared lanes alone: for a unit that is being replaced, whose own
    /// lanes are its successor's.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMS` for a unit that is none.
    pub fn outbox_shared_only(&self, unit: u16) -> Result<Outbox> {
        if usize::from(unit) >= self.inbox_count() {
            return Err(no_unit(unit));
        }
        let targets = 0..self.inbox_count() as u16;
        let lanes: Option<Vec<_>> = targets.map(|to| self.shared_writer(unit, to)).collect();
        // The number only has to be another one each time.
        let writer = self.shape.writers.first().map(|count| count.fetch_add(1, Ordering::Relaxed));
        match (lanes, writer) {
            (Some(lanes), Some(writer)) => Ok(Outbox::new(self.clone(), unit, writer, lanes)),
            _ => Err(no_unit(unit)),
        }
    }

    /// The writing end of `from` in the shared lane of `to`.
    pub(super) fn shared_writer(&self, from: u16, to: u16) -> Option<SharedLaneWriter> {
        let words = self.shape.lane_words.place(usize::from(to))?;
        let turn = self.shape.turns.place(usize::from(to))?;
        Some(SharedLaneWriter::attach(words, self.shared_ring_of(to)?, turn, from))
    }

    fn reading_ends(&self, unit: u16) -> Option<Ends> {
        let index = usize::from(unit);
        let shared =
            LaneReader::attach(self.shape.lane_words.place(index)?, self.shared_ring_of(unit)?);
        let (mut lanes, mut sources) = (vec![shared], Vec::new());
        for end in self.shape.incoming.get(index)? {
            lanes.push(LaneReader::attach(self.lane_words_of(end.lane)?, self.ring_of(end.lane)?));
            sources.push(end.peer);
        }
        Some(Ends { unit, lanes, sources, turn: self.shape.turns.place(index)? })
    }

    fn lane_words_of(&self, lane: usize) -> Option<crate::shm::Place<LaneWords>> {
        self.shape.lane_words.place(self.inbox_count() + lane)
    }

    fn ring_of(&self, lane: usize) -> Option<Bytes> {
        let len = self.shape.plan.lane_bytes;
        self.shape.rings.part(lane.checked_mul(len)?, len)
    }

    fn shared_ring_of(&self, unit: u16) -> Option<Bytes> {
        let (offset, len) = *self.shape.plan.shared.get(usize::from(unit))?;
        self.shape.shared_rings.part(offset, len)
    }

    pub(super) fn ready(&self, unit: u16) -> Option<&ReadyWords> {
        self.shape.unit_words.get(usize::from(unit)).map(|words| &words.ready)
    }

    pub(super) fn bell(&self, unit: u16) -> Option<&Doorbell> {
        self.shape.bells.get(usize::from(unit))
    }
}

/// The lanes of the plan by their readers and by their writers.
fn ends(plan: &WiringPlan) -> (Vec<Vec<End>>, Vec<Vec<End>>) {
    let mut incoming = vec![Vec::new(); plan.units];
    let mut outgoing = vec![Vec::new(); plan.units];
    for (lane, &(from, to)) in plan.lanes.iter().enumerate() {
        let Some(readers) = incoming.get_mut(usize::from(to)) else { continue };
        // Bit 0 is the shared lane's.
        let bit = readers.len() as u16 + 1;
        readers.push(End { lane, peer: from, bit });
        if let Some(writers) = outgoing.get_mut(usize::from(from)) {
            writers.push(End { lane, peer: to, bit });
        }
    }
    (incoming, outgoing)
}

#[cfg(test)]
mod tests;
