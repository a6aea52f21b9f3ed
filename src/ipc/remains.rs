//! What can be told of a lane whose reader has died or is done: its part of `lane.rs`.

use super::{LaneReader, LaneWords, Ring};
use crate::ipc::message::{record_bytes, Header, Mark};
use crate::ipc::sync::{Bytes, Ordering, Place};

impl LaneReader {
    /// Stands where a reader has stopped that has died, and changes nothing: see
    /// [`LaneReader::handed_out_since`].
    pub fn attach_behind(words: Place<LaneWords>, bytes: Bytes) -> Self {
        let claimed = words.reader.claimed.load(Ordering::Relaxed);
        let ring = Ring { words, bytes };
        Self { ring, claimed, released: claimed, tail: claimed, damages: 0 }
    }

    /// Nothing is published that was not handed out and freed.
    pub fn is_drained(&self) -> bool {
        self.released == self.ring.words.tail.load(Ordering::Acquire)
    }

    /// Gives the memory of the ring back to the system.
    ///
    /// # Safety
    ///
    /// - It is drained, and no writer is at work.
    pub unsafe fn give_back(&self) -> std::io::Result<()> {
        // SAFETY: nothing that is published lies there, and nobody writes, as the caller says.
        unsafe { self.ring.bytes.give_back() }
    }

    /// The records from a position to the last one that was handed out, for as long as none of them
    /// is freed. Stops where they make no sense.
    pub fn handed_out_since(&self, position: u64) -> Vec<(Header, Mark)> {
        let (mut at, mut found) = (position, Vec::new());
        if !self.ring.is_possible(self.claimed, position) {
            return found;
        }
        while at != self.claimed {
            let offset = self.ring.offset(at);
            let to_end = self.ring.capacity() - offset as u64;
            let there = self.claimed.wrapping_sub(at).min(to_end);
            let Some((header, mark)) = self.read_header(offset, there as usize) else { break };
            let step = match mark {
                Mark::Padding => to_end,
                Mark::Whole | Mark::Piece | Mark::LastPiece => {
                    found.push((header, mark));
                    record_bytes(header.size as usize) as u64
                }
            };
            at = at.wrapping_add(step);
        }
        found
    }
}
