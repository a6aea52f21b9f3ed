//! Puts messages together that were too large for their lane.
//!
//! The pieces of one message come in order, behind each other, from one writer. A writer that
//! dies in the middle never goes on: its message is given up when its unit begins the next large
//! one. A reader that dies in the middle leaves pieces without a beginning: they are given up
//! too.

use super::message::{Header, Piece};
use crate::os::draft::Draft;

/// Unfinished messages of one unit: its present process and those that it is replacing.
const WRITERS_PER_UNIT: usize = 4;

struct Assembly {
    piece: Piece,
    source: u16,
    /// Which life of the source it was that began.
    life: u32,
    bytes: Draft,
    filled: usize,
}

/// The unfinished messages of one inbox, oldest first.
#[derive(Default)]
pub struct Assembler {
    open: Vec<Assembly>,
    losses: u32,
}

impl Assembler {
    /// Adds one piece; the whole message when this was the last one. `None`: more pieces are to
    /// come, or the message is lost. `life` is the number of the present life of the source.
    pub fn add(&mut self, header: &Header, life: u32, payload: &[u8]) -> Option<Draft> {
        let Some((piece, part)) = Piece::decode(payload) else {
            self.lose();
            return None;
        };
        if piece.offset == 0 {
            self.begin(header.source, life, piece);
        }
        let index = self.open.iter().position(|open| open.piece.writer == piece.writer)?;
        let open = self.open.get_mut(index)?;
        let (start, end) = (open.filled, open.filled + part.len());
        let place = open.bytes.get_mut(start..end);
        let fits = piece.offset as usize == start && piece.total == open.piece.total;
        match place.filter(|_| fits) {
            Some(place) => place.copy_from_slice(part),
            None => {
                self.open.remove(index);
                self.lose();
                return None;
            }
        }
        open.filled = end;
        (end == open.bytes.len()).then(|| self.open.remove(index).bytes)
    }

    /// Makes room for a message that begins with `piece`.
    fn begin(&mut self, source: u16, life: u32, piece: Piece) {
        let before = self.open.len();
        self.open.retain(|open| open.piece.writer != piece.writer);
        if self.open.iter().filter(|open| open.source == source).count() >= WRITERS_PER_UNIT {
            let oldest = self.open.iter().position(|open| open.source == source);
            oldest.map(|index| self.open.remove(index));
        }
        (self.open.len()..before).for_each(|_| self.lose());
        match Draft::new(piece.total as usize) {
            Ok(bytes) => self.open.push(Assembly { piece, source, life, bytes, filled: 0 }),
            Err(_) => self.lose(),
        }
    }

    /// Whether there is a message whose other pieces are still to come: the source lives on.
    pub fn is_waiting(&self, life_of: impl Fn(u16) -> u32) -> bool {
        self.open.iter().any(|open| open.life == life_of(open.source))
    }

    fn lose(&mut self) {
        self.losses = self.losses.saturating_add(1);
    }

    /// How many messages were given up since this was last asked.
    pub fn take_losses(&mut self) -> u32 {
        std::mem::take(&mut self.losses)
    }
}
