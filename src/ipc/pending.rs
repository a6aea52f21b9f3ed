//! Messages on their way into a lane: cut into pieces when they are too large, and kept in private
//! memory while the lane is full.

use std::collections::VecDeque;
use std::io;

use super::lane::Writer;
use super::message::{Header, Mark, Piece, PIECE_BYTES, TALLIED};
use crate::os::draft::Draft;

/// What is kept at once, and given back at once when it is published.
const CHUNK_BYTES: usize = 1 << 20;
/// Up to this size the allocator keeps a message, beyond it the system.
const SMALL_BYTES: usize = 64 << 10;

/// Bytes that are taken from front to back.
pub trait Source {
    /// Fills `out` with the next bytes; there are always enough.
    fn take(&mut self, out: &mut [u8]);
}

/// A payload that lies in several slices.
pub struct Parts<'a> {
    rest: &'a [&'a [u8]],
    /// Bytes of the first slice that are gone.
    taken: usize,
}

impl<'a> Parts<'a> {
    /// All bytes of all slices.
    pub fn new(parts: &'a [&'a [u8]]) -> Self {
        Self { rest: parts, taken: 0 }
    }
}

impl Source for Parts<'_> {
    #[inline]
    fn take(&mut self, out: &mut [u8]) {
        let mut done = 0;
        while let Some((part, behind)) = self.rest.split_first() {
            let part = part.get(self.taken..).unwrap_or_default();
            let count = part.len().min(out.len() - done);
            if let (Some(to), Some(from)) = (out.get_mut(done..done + count), part.get(..count)) {
                to.copy_from_slice(from);
            }
            done += count;
            if count < part.len() {
                self.taken += count;
                break;
            }
            (self.rest, self.taken) = (behind, 0);
        }
        debug_assert_eq!(done, out.len());
    }
}

/// One message and how far it has come.
#[derive(Clone, Copy)]
pub struct Progress {
    pub header: Header,
    /// Which writer sends it, for its pieces.
    pub writer: u64,
    pub total: u32,
    pub sent: u32,
}

/// What became of an attempt to publish a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Laid {
    /// All of it is published.
    All,
    /// Some pieces are.
    Some,
    /// There was no room at all.
    Nothing,
}

impl Progress {
    /// Publishes as much as there is room for. `may_begin` is asked before the first piece of a
    /// message that travels in pieces.
    #[inline]
    pub fn lay(
        &mut self,
        lane: &mut impl Writer,
        source: &mut impl Source,
        may_begin: impl FnOnce() -> bool,
    ) -> Laid {
        let size = self.total as usize;
        if size > lane.max_payload() {
            let is_begun = self.sent > 0 || may_begin();
            return if is_begun { self.lay_pieces(lane, source) } else { Laid::Nothing };
        }
        match lane.put(&self.header, Mark::Whole, size, |out| source.take(out)) {
            true => Laid::All,
            false => Laid::Nothing,
        }
    }

    fn lay_pieces(&mut self, lane: &mut impl Writer, source: &mut impl Source) -> Laid {
        let limit = (lane.max_payload() - PIECE_BYTES) as u32;
        let mut laid = Laid::Nothing;
        while self.sent < self.total {
            let count = limit.min(self.total - self.sent);
            let piece = Piece { writer: self.writer, total: self.total, offset: self.sent };
            let is_last = self.sent + count == self.total;
            let mark = if is_last { Mark::LastPiece } else { Mark::Piece };
            let is_put = lane.put(&self.header, mark, PIECE_BYTES + count as usize, |out| {
                let (head, part) = out.split_at_mut(PIECE_BYTES.min(out.len()));
                head.copy_from_slice(&piece.encode());
                source.take(part);
            });
            if !is_put {
                return laid;
            }
            self.sent += count;
            laid = Laid::Some;
        }
        Laid::All
    }

    /// Bytes that are not published.
    pub fn left(&self) -> usize {
        (self.total - self.sent) as usize
    }
}

enum Chunk {
    Small(Vec<u8>),
    Large(Draft),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Small(bytes) => bytes,
            Chunk::Large(bytes) => bytes,
        }
    }

    /// The next `size` bytes of a source.
    fn copy(source: &mut impl Source, size: usize) -> io::Result<Self> {
        if size <= SMALL_BYTES {
            let mut bytes = vec![0; size];
            source.take(&mut bytes);
            return Ok(Chunk::Small(bytes));
        }
        let mut bytes = Draft::new(size)?;
        source.take(&mut bytes);
        Ok(Chunk::Large(bytes))
    }
}

/// A copy of bytes in chunks, each given back when it is used up.
struct Chunks {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are gone.
    taken: usize,
}

impl Source for Chunks {
    fn take(&mut self, out: &mut [u8]) {
        let mut done = 0;
        while let Some(chunk) = self.chunks.front() {
            let part = chunk.bytes().get(self.taken..).unwrap_or_default();
            let count = part.len().min(out.len() - done);
            if let (Some(to), Some(from)) = (out.get_mut(done..done + count), part.get(..count)) {
                to.copy_from_slice(from);
            }
            done += count;
            if count < part.len() {
                self.taken += count;
                break;
            }
            self.chunks.pop_front();
            self.taken = 0;
        }
        debug_assert_eq!(done, out.len());
    }
}

/// A message that waits for room.
pub struct Pending {
    progress: Progress,
    chunks: Chunks,
}

impl Pending {
    /// Copies what is left of a message.
    ///
    /// # Errors
    ///
    /// The system's, when there is no memory.
    pub fn copy(progress: Progress, source: &mut impl Source) -> io::Result<Self> {
        let mut left = progress.left();
        let mut chunks = VecDeque::with_capacity(left.div_ceil(CHUNK_BYTES));
        while left > 0 {
            let size = left.min(CHUNK_BYTES);
            chunks.push_back(Chunk::copy(source, size)?);
            left -= size;
        }
        Ok(Self { progress, chunks: Chunks { chunks, taken: 0 } })
    }

    /// Publishes as much as there is room for; see [`Progress::lay`].
    pub fn lay(&mut self, lane: &mut impl Writer, may_begin: impl FnOnce() -> bool) -> Laid {
        self.progress.lay(lane, &mut self.chunks, may_begin)
    }

    /// Whether it counts in its lane when it is there.
    pub fn is_tallied(&self) -> bool {
        self.progress.header.kind & TALLIED != 0
    }

    /// Bytes that are not published.
    pub fn left(&self) -> usize {
        self.progress.left()
    }
}
