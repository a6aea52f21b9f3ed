//! Output that a socket would not take yet.
//!
//! A queue of segments. Small ones come from a pool that the connections of a reactor share, big
//! ones are mapped and go back to the system when they are empty: a connection that waits for
//! nothing holds nothing.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use crate::net::stream::{Moved, Stream};
use crate::os::memory::Pages;

/// Bytes of a pooled segment.
const SMALL: usize = 16 * 1024;
/// The most bytes of a mapped segment.
const LARGE: usize = 1024 * 1024;
/// Segments that the pool keeps for reuse.
const POOLED: usize = 64;
/// Segments that one write hands to the system.
const PARTS_PER_WRITE: usize = 64;

/// Segments that wait to be used again.
#[derive(Debug, Default)]
pub struct Pool {
    free: Vec<Box<[u8]>>,
}

#[derive(Debug)]
enum Memory {
    Pooled(Box<[u8]>),
    Mapped(Pages),
}

#[derive(Debug)]
struct Segment {
    memory: Memory,
    start: usize,
    end: usize,
}

/// The waiting output of one connection.
#[derive(Debug, Default)]
pub struct OutBuffer {
    segments: VecDeque<Segment>,
    len: usize,
}

impl Pool {
    fn take(&mut self) -> Memory {
        Memory::Pooled(self.free.pop().unwrap_or_else(|| vec![0; SMALL].into_boxed_slice()))
    }

    fn give_back(&mut self, memory: Memory) {
        match memory {
            Memory::Pooled(bytes) if self.free.len() < POOLED => self.free.push(bytes),
            Memory::Pooled(_) | Memory::Mapped(_) => {}
        }
    }
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Memory::Pooled(bytes) => bytes,
            Memory::Mapped(pages) => pages,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Memory::Pooled(bytes) => bytes,
            Memory::Mapped(pages) => pages,
        }
    }
}

impl Segment {
    fn waiting(&self) -> &[u8] {
        self.memory.bytes().get(self.start..self.end).unwrap_or_default()
    }

    /// Copies as much of `bytes` behind what is there as fits; how much that was.
    fn fill(&mut self, bytes: &[u8]) -> usize {
        let Some(spare) = self.memory.bytes_mut().get_mut(self.end..) else { return 0 };
        let count = spare.len().min(bytes.len());
        if let (Some(to), Some(from)) = (spare.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        self.end += count;
        count
    }
}

impl OutBuffer {
    /// Bytes that wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a copy of `bytes` behind what waits. It fails only if the system has no memory; then
    /// nothing was added.
    pub fn append(&mut self, bytes: &[u8], pool: &mut Pool) -> io::Result<()> {
        let before = self.len;
        match self.append_all(bytes, pool) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.truncate(before, pool);
                Err(error)
            }
        }
    }

    fn append_all(&mut self, bytes: &[u8], pool: &mut Pool) -> io::Result<()> {
        let mut rest = bytes;
        if let Some(last) = self.segments.back_mut() {
            let count = last.fill(rest);
            self.len += count;
            rest = rest.get(count..).unwrap_or_default();
        }
        while !rest.is_empty() {
            let memory = if rest.len() <= SMALL {
                pool.take()
            } else {
                Memory::Mapped(Pages::new(rest.len().min(LARGE))?)
            };
            let mut segment = Segment { memory, start: 0, end: 0 };
            let count = segment.fill(rest);
            self.segments.push_back(segment);
            self.len += count;
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Puts whole pages behind what waits, from `start` on, without copying them.
    pub fn append_pages(&mut self, pages: Pages, start: usize) {
        let end = pages.len();
        let start = start.min(end);
        self.len += end - start;
        self.segments.push_back(Segment { memory: Memory::Mapped(pages), start, end });
    }

    /// Writes until nothing waits or the socket takes no more. `Bytes` tells how much went.
    pub fn write_to(&mut self, stream: &Stream, pool: &mut Pool) -> Moved {
        let mut total = 0;
        while !self.is_empty() {
            let mut parts = [IoSlice::new(&[]); PARTS_PER_WRITE];
            let mut count = 0;
            for (part, segment) in parts.iter_mut().zip(&self.segments) {
                *part = IoSlice::new(segment.waiting());
                count += 1;
            }
            match stream.write_parts(parts.get(..count).unwrap_or_default()) {
                Moved::Bytes(written) => {
                    self.consume(written, pool);
                    total += written;
                }
                Moved::WouldBlock if total > 0 => break,
                other => return other,
            }
        }
        Moved::Bytes(total)
    }

    /// Takes `count` bytes away from the front.
    fn consume(&mut self, count: usize, pool: &mut Pool) {
        let mut left = count.min(self.len);
        self.len -= left;
        while let Some(first) = self.segments.front_mut() {
            let here = first.end - first.start;
            if left < here {
                first.start += left;
                return;
            }
            left -= here;
            if let Some(empty) = self.segments.pop_front() {
                pool.give_back(empty.memory);
            }
        }
    }

    /// Takes bytes away from the back until `len` are left.
    fn truncate(&mut self, len: usize, pool: &mut Pool) {
        while self.len > len {
            let Some(last) = self.segments.back_mut() else { return };
            let here = last.end - last.start;
            let cut = here.min(self.len - len);
            last.end -= cut;
            self.len -= cut;
            if cut == here {
                if let Some(empty) = self.segments.pop_back() {
                    pool.give_back(empty.memory);
                }
            }
        }
    }

    /// Throws away all that waits.
    pub fn clear(&mut self, pool: &mut Pool) {
        while let Some(segment) = self.segments.pop_front() {
            pool.give_back(segment.memory);
        }
        self.len = 0;
        self.segments.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    fn pair() -> (Stream, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (Stream::new(near.into()), far)
    }

    #[test]
    fn what_a_slow_reader_does_not_take_arrives_later_in_order() {
        let (near, mut far) = pair();
        let (mut out, mut pool) = (OutBuffer::default(), Pool::default());
        let sent: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 251) as u8).collect();
        let mut offset = 0;
        for size in [1, 100, SMALL, SMALL + 1, LARGE + 7, 3].iter().cycle() {
            let end = (offset + size).min(sent.len());
            out.append(&sent[offset..end], &mut pool).unwrap();
            offset = end;
            if offset == sent.len() {
                break;
            }
        }
        assert_eq!(out.len(), sent.len());
        let mut got = Vec::new();
        let mut chunk = vec![0; 100_000];
        while got.len() < sent.len() {
            assert!(!matches!(out.write_to(&near, &mut pool), Moved::Broken(_) | Moved::End));
            let count = far.read(&mut chunk).unwrap();
            got.extend_from_slice(&chunk[..count]);
        }
        assert!(got == sent && out.is_empty() && out.segments.is_empty());
    }

    #[test]
    fn pages_are_queued_as_they_are_and_clearing_leaves_nothing() {
        let (mut out, mut pool) = (OutBuffer::default(), Pool::default());
        out.append(b"head", &mut pool).unwrap();
        out.append_pages(Pages::new(10_000).unwrap(), 4_000);
        assert_eq!(out.len(), 6_004);
        out.truncate(2, &mut pool);
        assert_eq!(out.len(), 2);
        assert_eq!(out.segments.front().unwrap().waiting(), b"he");
        out.clear(&mut pool);
        assert!(out.is_empty() && pool.free.len() == 1);
    }
}
