//! A ring of messages with one writer and one reader, in memory that both processes share.
//!
//! Three positions, bytes since the beginning of time: `tail` (published), `claimed` (handed to
//! the reader's caller) and `released` (its memory is free again); always `released <= claimed <=
//! tail <= released + capacity`. The writer writes a whole record behind the tail and then moves
//! the tail with one store: a writer that dies at any instruction has published the message or
//! has not. The reader moves `claimed` before it hands a message out: when it dies, its successor
//! goes on behind that message. A record lies in one piece; where it does not fit before the end
//! of the ring, a padding record fills the rest and is published with it.
//!
//! Each side keeps its own position and a copy of the other's, and reads the other's cache line
//! only when the copy says full or empty.
//!
//! No room: the writer raises `wants_room`, then looks once more; the reader frees memory, then
//! looks at `wants_room`. With a full fence between both pairs at least one sees the other.
//!
//! Positions and headers come from memory that a dying process may have spoiled: they are checked,
//! and a reader that finds nonsense drops everything up to the tail and counts it.

use std::ops::{Deref, DerefMut};

use super::message::{record_bytes, Header, Mark, HEADER_BYTES, RECORD_LIMIT};
use super::sync::{fence, step, AtomicU32, AtomicU64, Bytes, Line, Ordering, Place, Shared};

// Named, so that the model checker, which has this file from elsewhere, finds it as well.
#[path = "remains.rs"]
mod remains;

/// The part of a ring that is not bytes. All zero is an empty ring.
#[repr(C)]
#[derive(Default)]
pub struct LaneWords {
    /// Written by the writer (release); read by the reader (acquire).
    tail: Line<AtomicU64>,
    reader: Line<ReaderWords>,
    /// Raised by the writer, lowered by the reader; ordered by the fences on both sides.
    wants_room: Line<AtomicU32>,
}

/// Written by the reader alone.
#[repr(C)]
#[derive(Default)]
struct ReaderWords {
    /// Read by a successor.
    claimed: AtomicU64,
    /// Stored with release when the memory is no longer read; loaded by the writer with acquire.
    released: AtomicU64,
}

impl LaneWords {
    /// The position behind the last record that is published.
    pub fn tail(&self) -> u64 {
        self.tail.load(Ordering::Acquire)
    }

    /// Bytes that are published and not claimed, for anyone who wants to know.
    pub fn unread_bytes(&self) -> u64 {
        let claimed = self.reader.claimed.load(Ordering::Relaxed);
        self.tail.load(Ordering::Relaxed).wrapping_sub(claimed).min(MAX_CAPACITY as u64)
    }

    /// Sets tail, claimed and released to anything.
    #[cfg(test)]
    pub fn spoil(&self, [tail, claimed, released]: [u64; 3]) {
        self.tail.store(tail, Ordering::Relaxed);
        self.reader.claimed.store(claimed, Ordering::Relaxed);
        self.reader.released.store(released, Ordering::Relaxed);
    }
}

// SAFETY: atomics only, every pattern is valid, and positions are checked before they are used.
unsafe impl Shared for LaneWords {}

/// The smallest and the greatest ring, in bytes. Both are powers of two, as every size between.
pub const MIN_CAPACITY: usize = 8 * HEADER_BYTES;
/// See [`MIN_CAPACITY`].
pub const MAX_CAPACITY: usize = RECORD_LIMIT;

/// The size that a ring has when `bytes` are asked for.
pub fn capacity_for(bytes: usize) -> usize {
    bytes.clamp(MIN_CAPACITY, MAX_CAPACITY).next_power_of_two()
}

/// What one message in a ring may hold at most, so that there is always a place for it.
pub const fn payload_limit(capacity: usize) -> usize {
    capacity / 4 - HEADER_BYTES
}

/// Words and bytes of one ring, as both ends hold them.
#[derive(Clone)]
struct Ring {
    words: Place<LaneWords>,
    bytes: Bytes,
}

impl Ring {
    #[inline]
    fn capacity(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Where a position lies in the bytes.
    #[inline]
    fn offset(&self, position: u64) -> usize {
        (position & (self.capacity().wrapping_sub(1))) as usize
    }

    /// The tail lies where it can, seen from a position that the reader has reached.
    #[inline]
    fn is_possible(&self, tail: u64, reached: u64) -> bool {
        tail.wrapping_sub(reached) <= self.capacity() && tail % HEADER_BYTES as u64 == 0
    }
}

/// The writing end. One at a time: a successor attaches when its predecessor is gone.
pub struct LaneWriter {
    ring: Ring,
    tail: u64,
    /// A copy of the reader's position, maybe old.
    released: u64,
}

/// A place for one record.
#[derive(Clone, Copy)]
struct Room {
    start: u64,
    bytes: u64,
}

impl LaneWriter {
    /// Goes on where the last writer stopped publishing. `bytes` has a length of [`capacity_for`].
    pub fn attach(words: Place<LaneWords>, bytes: Bytes) -> Self {
        let mut writer = Self::new(words, bytes);
        writer.resume();
        writer
    }

    /// A writer among many, which must [`resume`](LaneWriter::resume) before each record.
    pub fn new(words: Place<LaneWords>, bytes: Bytes) -> Self {
        debug_assert!(bytes.len() == capacity_for(bytes.len()));
        Self { ring: Ring { words, bytes }, tail: 0, released: 0 }
    }

    /// Where the next record will be published.
    #[inline]
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// Takes the published tail for its own. No other writer may be at work.
    pub fn resume(&mut self) {
        let words = &self.ring.words;
        // What the last writer stored is ordered before this by its death or by a lock; the acquire
        // pairs with the reader's release of memory that is about to be overwritten.
        self.tail = words.tail.load(Ordering::Relaxed);
        self.released = words.reader.released.load(Ordering::Acquire);
        if !self.ring.is_possible(self.tail, self.released) {
            // A spoiled tail: begin again where the reader is, with a tail that it takes for empty.
            let start = words.reader.claimed.load(Ordering::Relaxed);
            self.tail = start - start % HEADER_BYTES as u64;
            words.tail.store(self.tail, Ordering::Release);
        }
    }

    /// The place for a record of at least `need` bytes, seen with what is known of the reader.
    #[inline]
    fn room(&self, need: u64) -> Option<Room> {
        let used = self.tail.wrapping_sub(self.released);
        let free = self.ring.capacity().checked_sub(used)?;
        let to_end = self.ring.capacity() - self.ring.offset(self.tail) as u64;
        if need <= to_end {
            return (need <= free).then_some(Room { start: self.tail, bytes: free.min(to_end) });
        }
        let bytes = free.checked_sub(to_end).filter(|bytes| need <= *bytes)?;
        Some(Room { start: self.tail.wrapping_add(to_end), bytes })
    }

    fn look(&mut self) {
        // Acquire pairs with the release in `LaneReader::free`.
        self.released = self.ring.words.reader.released.load(Ordering::Acquire);
    }

    /// There is a place for a payload of `size` bytes right now.
    pub fn has_room(&mut self, size: usize) -> bool {
        let need = record_bytes(size) as u64;
        if self.room(need).is_none() {
            self.look();
        }
        self.room(need).is_some()
    }

    #[cold]
    fn room_at_last(&mut self, need: u64) -> Option<Room> {
        self.look();
        if let Some(room) = self.room(need) {
            return Some(room);
        }
        self.want_room();
        self.room(need)
    }

    /// Asks to be rung when half of the ring is free, and looks once more.
    pub fn want_room(&mut self) {
        self.ring.words.wants_room.store(1, Ordering::Relaxed);
        step();
        // Pairs with the fence of the reader between `free` and `take_wants_room`.
        fence(Ordering::SeqCst);
        self.look();
    }

    /// Bytes of records, of any writer, that have not been read or whose memory is not free.
    pub fn unread_bytes(&self) -> u64 {
        let words = &self.ring.words;
        let released = words.reader.released.load(Ordering::Acquire);
        let used = words.tail.load(Ordering::Relaxed).wrapping_sub(released);
        used.min(self.ring.capacity())
    }

    /// Everything that was published has been read and its memory is free.
    pub fn is_drained(&self) -> bool {
        self.released == self.tail
    }

    /// A place for a payload of at least `min` and at most `max` bytes. `None`: there is no room,
    /// and the reader rings when there is; or `min` is more than [`Writer::max_payload`].
    #[inline]
    pub fn reserve(&mut self, min: usize, max: usize) -> Option<Grant<'_>> {
        if min > self.max_payload() {
            return None;
        }
        let need = record_bytes(min) as u64;
        let room = match self.room(need) {
            Some(room) => room,
            None => self.room_at_last(need)?,
        };
        let len = max.max(min).min(room.bytes as usize - HEADER_BYTES);
        Some(Grant { writer: self, start: room.start, len })
    }

    fn write_header(&mut self, position: u64, header: &Header, mark: Mark) {
        let at = self.ring.offset(position);
        // SAFETY: the bytes lie behind the tail and before the released memory's end, as `room` has
        // found: the reader does not look there until the tail is moved, and there is one writer.
        if let Some(place) = unsafe { self.ring.bytes.slice_mut(at, HEADER_BYTES) } {
            place.copy_from_slice(&header.encode(mark));
        }
    }
}

/// A place in the ring for one payload. Dropping it publishes nothing.
pub struct Grant<'a> {
    writer: &'a mut LaneWriter,
    start: u64,
    len: usize,
}

impl Grant<'_> {
    /// Publishes the first `len` bytes as the payload of a record.
    #[inline]
    pub fn publish(self, header: &Header, mark: Mark, len: usize) {
        debug_assert!(len <= self.len);
        let len = len.min(self.len);
        let Grant { writer, start, .. } = self;
        if start != writer.tail {
            writer.write_header(writer.tail, &Header::default(), Mark::Padding);
            step();
        }
        writer.write_header(start, &Header { size: len as u32, ..*header }, mark);
        step();
        writer.tail = start.wrapping_add(record_bytes(len) as u64);
        // Release pairs with the acquire in `LaneReader::claim`: who sees the tail sees the record.
        writer.ring.words.tail.store(writer.tail, Ordering::Release);
        step();
    }
}

impl Deref for Grant<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let at = self.writer.ring.offset(self.start) + HEADER_BYTES;
        // SAFETY: as in `write_header`; this borrow keeps the writer from writing meanwhile.
        unsafe { self.writer.ring.bytes.slice(at, self.len) }.unwrap_or_default()
    }
}

impl DerefMut for Grant<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let at = self.writer.ring.offset(self.start) + HEADER_BYTES;
        // SAFETY: as in `write_header`; the grant is borrowed alone.
        unsafe { self.writer.ring.bytes.slice_mut(at, self.len) }.unwrap_or_default()
    }
}

/// Something that lays records into a ring.
pub trait Writer {
    /// The greatest payload of one record.
    fn max_payload(&self) -> usize;

    /// Lays and publishes one record whose payload `fill` writes. False: there is no room, `fill`
    /// was not called, and the reader rings when there is room.
    fn put(
        &mut self,
        header: &Header,
        mark: Mark,
        size: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> bool;
}

impl Writer for LaneWriter {
    #[inline]
    fn max_payload(&self) -> usize {
        payload_limit(self.ring.bytes.len())
    }

    #[inline]
    fn put(
        &mut self,
        header: &Header,
        mark: Mark,
        size: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> bool {
        let Some(mut grant) = self.reserve(size, size) else { return false };
        fill(&mut grant);
        step();
        grant.publish(header, mark, size);
        true
    }
}

/// The reading end. One at a time: a successor attaches when its predecessor reads no more.
pub struct LaneReader {
    ring: Ring,
    claimed: u64,
    released: u64,
    /// A copy of the writer's position, maybe old.
    tail: u64,
    damages: u32,
}

/// A record that was handed out; its memory is valid until it is freed.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// As it was sent; the size is checked.
    pub header: Header,
    /// A message or a piece of one.
    pub mark: Mark,
    at: usize,
}

impl LaneReader {
    /// Goes on behind the last message that was claimed. `bytes` has a length of [`capacity_for`].
    pub fn attach(words: Place<LaneWords>, bytes: Bytes) -> Self {
        debug_assert!(bytes.len() == capacity_for(bytes.len()));
        let claimed = words.reader.claimed.load(Ordering::Relaxed);
        let mut reader = Self {
            ring: Ring { words, bytes },
            claimed,
            released: claimed,
            tail: claimed,
            damages: 0,
        };
        if claimed % HEADER_BYTES as u64 != 0 {
            reader.drop_to_tail();
        }
        // The predecessor holds nothing any more; the release pairs with the writer's `look`.
        reader.ring.words.reader.released.store(reader.claimed, Ordering::Release);
        reader.released = reader.claimed;
        reader
    }

    /// The position behind the last record that was handed out.
    #[inline]
    pub fn claimed(&self) -> u64 {
        self.claimed
    }

    /// Hands out the next record, if one is published.
    #[inline]
    pub fn claim(&mut self) -> Option<Record> {
        loop {
            if self.claimed == self.tail && !self.look() {
                return None;
            }
            let at = self.ring.offset(self.claimed);
            let there =
                (self.tail.wrapping_sub(self.claimed)).min(self.ring.capacity() - at as u64);
            let Some((header, mark)) = self.read_header(at, there as usize) else {
                self.drop_to_tail();
                return None;
            };
            if mark == Mark::Padding {
                // At most once in a row: `read_header` takes none at the start of the ring.
                self.claimed = self.claimed.wrapping_add(self.ring.capacity() - at as u64);
                continue;
            }
            self.claimed = self.claimed.wrapping_add(record_bytes(header.size as usize) as u64);
            step();
            // For a successor alone: the writer reads `released`.
            self.ring.words.reader.claimed.store(self.claimed, Ordering::Release);
            step();
            return Some(Record { header, mark, at: at + HEADER_BYTES });
        }
    }

    /// Reads the tail; false if nothing new is there.
    #[inline]
    fn look(&mut self) -> bool {
        // Acquire pairs with the release in `Grant::publish`.
        self.tail = self.ring.words.tail.load(Ordering::Acquire);
        if !self.ring.is_possible(self.tail, self.claimed) {
            self.drop_to_tail();
        }
        self.claimed != self.tail
    }

    /// The header of the record at `at`, of which `there` bytes are published.
    #[inline]
    fn read_header(&self, at: usize, there: usize) -> Option<(Header, Mark)> {
        // SAFETY: published bytes are not written until they are released.
        let bytes = unsafe { self.ring.bytes.slice(at, HEADER_BYTES) }?;
        let (header, mark) = Header::decode(bytes.try_into().ok()?)?;
        let is_sound = match mark {
            Mark::Padding => at != 0 && there == self.ring.bytes.len() - at,
            Mark::Whole | Mark::Piece | Mark::LastPiece => {
                record_bytes(header.size as usize) <= there
            }
        };
        is_sound.then_some((header, mark))
    }

    /// Gives up what cannot be understood and goes on with what comes next.
    #[cold]
    fn drop_to_tail(&mut self) {
        self.damages = self.damages.saturating_add(1);
        let tail = self.ring.words.tail.load(Ordering::Acquire);
        self.tail = tail - tail % HEADER_BYTES as u64;
        self.claimed = self.tail;
        self.ring.words.reader.claimed.store(self.claimed, Ordering::Release);
    }

    /// The payload of a record that was claimed and not freed yet.
    #[inline]
    pub fn payload(&self, record: &Record) -> &[u8] {
        let size = record.header.size as usize;
        // SAFETY: the record's memory is claimed, so the writer keeps off it; `read_header` has
        // checked its bounds.
        unsafe { self.ring.bytes.slice(record.at, size) }.unwrap_or_default()
    }

    /// Frees the memory of all records claimed so far. A full fence must follow before
    /// [`LaneReader::take_wants_room`]; one fence serves many lanes.
    #[inline]
    pub fn free(&mut self) {
        self.released = self.claimed;
        step();
        // Release pairs with the acquire in `LaneWriter::look`: the reads above are over.
        self.ring.words.reader.released.store(self.released, Ordering::Release);
        step();
    }

    /// The writer waits for room and there is plenty now: ring it.
    ///
    /// Plenty is half of the ring, so that a writer is not rung for every message of a slow reader;
    /// no record needs more, and a reader that goes on reading always gets there.
    #[inline]
    pub fn take_wants_room(&mut self) -> bool {
        if self.tail.wrapping_sub(self.released) > self.ring.capacity() / 2 {
            return false;
        }
        let wants_room = &self.ring.words.wants_room;
        wants_room.load(Ordering::Relaxed) != 0 && wants_room.swap(0, Ordering::Acquire) != 0
    }

    /// Frees what was claimed; true if the writer must be rung. For a lane that is read alone.
    pub fn release(&mut self) -> bool {
        self.free();
        // Pairs with the fence in `LaneWriter::want_room`.
        fence(Ordering::SeqCst);
        self.take_wants_room()
    }

    /// How often nonsense was found and dropped since this was last asked.
    pub fn take_damages(&mut self) -> u32 {
        std::mem::take(&mut self.damages)
    }
}
