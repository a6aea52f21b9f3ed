//! What peers have sent and nobody has taken yet.
//!
//! Whoever reads a connection takes a buffer, which begins with what was kept of that connection,
//! reads behind that, takes away what he can use, and gives the buffer back. Little that is left is
//! kept in memory of its own size, and nothing costs nothing. Where much is left the connection
//! keeps the buffer itself, so that what has been read of a large message is not copied; the
//! buffer grows by moving its pages. Buffers are spare memory afterwards, up to a bound.

use std::io;

use crate::os::memory::Pages;

/// Bytes of a fresh buffer, twice those of the largest message of a peer without framing, so that a
/// read of one such message falls short, which says that nothing is left. Whole pages: some
/// processors copy several times slower to an address up to 31 bytes before the source's, modulo
/// the size of a page, and what the kernel copies from mostly begins at a multiple of 32.
const FRESH_BYTES: usize = 128 * 1024;

/// What is left of a read and not more than this is kept outside of the buffer. Each read copies it
/// twice, which costs less than the read itself.
const FEW_BYTES: usize = 16 * 1024;

/// How much memory is kept for later.
const SPARE_BYTES: usize = 8 * 1024 * 1024;

/// What a connection keeps between two reads.
#[derive(Debug)]
pub enum Kept {
    /// Little, or nothing.
    Few(Vec<u8>),
    /// The whole buffer.
    Many(InBuffer),
}

impl Default for Kept {
    fn default() -> Self {
        Kept::Few(Vec::new())
    }
}

/// The memory for reading; one for many connections.
#[derive(Debug, Default)]
pub struct Buffers {
    spare: Vec<Pages>,
    spare_bytes: usize,
}

impl Buffers {
    /// A buffer that begins with what was kept.
    pub fn take(&mut self, kept: Kept) -> io::Result<InBuffer> {
        let few = match kept {
            Kept::Few(few) => few,
            Kept::Many(buffer) => return Ok(buffer),
        };
        let pages = match self.spare.pop() {
            Some(pages) => pages,
            None => Pages::new(FRESH_BYTES)?,
        };
        self.spare_bytes = self.spare_bytes.saturating_sub(pages.len());
        let mut buffer = InBuffer { pages, start: 0, end: 0 };
        if !few.is_empty() {
            if let Some(place) = buffer.room(few.len())?.get_mut(..few.len()) {
                place.copy_from_slice(&few);
                buffer.add(few.len());
            }
        }
        Ok(buffer)
    }

    /// What is left in a buffer, to be kept until the next read.
    pub fn keep(&mut self, buffer: InBuffer) -> Kept {
        if buffer.len() > FEW_BYTES {
            return Kept::Many(buffer);
        }
        let few = buffer.bytes().to_vec();
        self.give_back(buffer);
        Kept::Few(few)
    }

    /// The memory of a buffer whose bytes nobody needs.
    pub fn give_back(&mut self, buffer: InBuffer) {
        let bytes = self.spare_bytes.saturating_add(buffer.pages.len());
        if bytes <= SPARE_BYTES {
            self.spare_bytes = bytes;
            self.spare.push(buffer.pages);
        }
    }
}

/// Bytes that come at the end and go from the front.
#[derive(Debug)]
pub struct InBuffer {
    pages: Pages,
    start: usize,
    end: usize,
}

impl InBuffer {
    /// How many bytes wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether none wait.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The bytes that wait.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.pages.get(self.start..self.end).unwrap_or_default()
    }

    /// The bytes that wait, to be changed.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.pages.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Takes bytes away from the front.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start.saturating_add(count));
    }

    /// Takes all away that came first in the room.
    #[inline]
    pub fn add(&mut self, count: usize) {
        self.end = self.pages.len().min(self.end.saturating_add(count));
    }

    /// A place behind the bytes for `least` more, and as much else as a fresh buffer has.
    #[inline]
    pub fn room(&mut self, least: usize) -> io::Result<&mut [u8]> {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
        if self.pages.len().saturating_sub(self.end) < least {
            self.make_room(least)?;
        }
        let end = self.pages.len().min(self.end.saturating_add(least).max(FRESH_BYTES));
        Ok(self.pages.get_mut(self.end..end).unwrap_or_default())
    }

    /// Bytes are moved to the front only if at least as many have gone from there, so each is moved
    /// once, taken all in all.
    fn make_room(&mut self, least: usize) -> io::Result<()> {
        let len = self.len();
        if self.start >= len {
            self.pages.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, len);
        }
        let needed = self.end.saturating_add(least);
        match needed > self.pages.len() {
            // Twice as long, so that it grows seldom: what is not read into costs no memory.
            true => self.pages.grow(needed.max(2 * self.pages.len())),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(buffer: &mut InBuffer, least: usize, byte: u8, count: usize) {
        let room = buffer.room(least).unwrap();
        assert!(room.len() >= least);
        room[..count].fill(byte);
        buffer.add(count);
    }

    fn spare(buffers: &Buffers) -> usize {
        assert_eq!(
            buffers.spare.iter().map(|pages| pages.len()).sum::<usize>(),
            buffers.spare_bytes
        );
        buffers.spare.len()
    }

    #[test]
    fn nothing_and_little_are_kept_without_a_buffer() {
        let mut buffers = Buffers::default();
        let mut buffer = buffers.take(Kept::default()).unwrap();
        assert_eq!(buffer.room(1).unwrap().len(), FRESH_BYTES);
        read(&mut buffer, 1, 7, 100);
        buffer.consume(90);
        let kept = buffers.keep(buffer);
        assert_eq!(spare(&buffers), 1);
        assert!(matches!(&kept, Kept::Few(few) if *few == [7; 10] && few.capacity() < 64));
        let mut buffer = buffers.take(kept).unwrap();
        assert_eq!((buffer.bytes(), spare(&buffers)), (&[7; 10][..], 0));
        assert_eq!(buffer.room(1).unwrap().len(), FRESH_BYTES - 10);
        buffer.consume(11);
        assert!(buffer.is_empty());
        assert!(matches!(buffers.keep(buffer), Kept::Few(few) if few.capacity() == 0));
        assert_eq!(spare(&buffers), 1);
    }

    #[test]
    fn much_is_kept_where_it_is_and_grows_there() {
        let mut buffers = Buffers::default();
        let mut buffer = buffers.take(Kept::default()).unwrap();
        read(&mut buffer, 1, 1, FRESH_BYTES);
        buffer.consume(1);
        let Kept::Many(kept) = buffers.keep(buffer) else { panic!("it was copied") };
        let mut buffer = buffers.take(Kept::Many(kept)).unwrap();
        read(&mut buffer, 3 * FRESH_BYTES, 2, 3 * FRESH_BYTES);
        // What has gone from the front was too little to move all the rest for it.
        assert_eq!((buffer.start, buffer.len()), (1, 4 * FRESH_BYTES - 1));
        assert!(buffer.bytes()[..FRESH_BYTES - 1].iter().all(|byte| *byte == 1));
        assert!(buffer.bytes()[FRESH_BYTES - 1..].iter().all(|byte| *byte == 2));
        buffer.consume(4 * FRESH_BYTES - 21);
        read(&mut buffer, 100, 3, 100);
        assert_eq!((buffer.start, buffer.len()), (0, 120));
        assert!(buffer.bytes()[..20].iter().all(|byte| *byte == 2));
        assert!(buffer.bytes_mut()[20..].iter().all(|byte| *byte == 3));
    }

    #[test]
    fn spare_memory_has_a_bound() {
        let mut buffers = Buffers::default();
        let fresh = || InBuffer { pages: Pages::new(FRESH_BYTES).unwrap(), start: 0, end: 0 };
        (0..100).for_each(|_| buffers.give_back(fresh()));
        assert_eq!(spare(&buffers), SPARE_BYTES / FRESH_BYTES);
        let huge = InBuffer { pages: Pages::new(SPARE_BYTES + 1).unwrap(), start: 0, end: 0 };
        let mut buffers = Buffers::default();
        buffers.give_back(huge);
        assert_eq!(spare(&buffers), 0);
    }
}
