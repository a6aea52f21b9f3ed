//! Output that a socket would not take yet.
//!
//! A queue of segments, of memory or of a file. Memory comes in blocks that the connections of a
//! reactor share; only what is big is mapped for itself, since there may be many slow peers and
//! only so many mappings. All goes back when it is empty: a connection that waits for nothing holds
//! nothing.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use crate::net::file_part::FilePart;
use crate::net::pool::{Block, Pool};
use crate::net::stream::{Moved, Stream};
use crate::os::draft::Draft;

/// What is less than this stands in blocks. A process can have 65,530 mappings, if nobody has
/// changed that: 16 GiB of such parts.
const LEAST_MAPPED: usize = 256 * 1024;
/// The most bytes of a mapped segment.
const LARGE: usize = 1024 * 1024;
/// Segments that one write hands to the system.
const PARTS_PER_WRITE: usize = 64;

#[derive(Debug)]
enum Memory {
    Block(Block),
    Mapped(Draft),
}

#[derive(Debug)]
struct Stretch {
    memory: Memory,
    start: usize,
    end: usize,
}

#[derive(Debug)]
enum Segment {
    Memory(Stretch),
    File(FilePart),
}

/// The waiting output of one connection.
#[derive(Debug, Default)]
pub struct OutBuffer {
    segments: VecDeque<Segment>,
    /// Bytes in memory.
    len: usize,
    file_count: u32,
    file_bytes: u64,
}

impl Memory {
    fn bytes<'a>(&'a self, pool: &'a Pool) -> &'a [u8] {
        match self {
            Memory::Block(block) => pool.bytes(block),
            Memory::Mapped(bytes) => bytes,
        }
    }

    fn bytes_mut<'a>(&'a mut self, pool: &'a mut Pool) -> &'a mut [u8] {
        match self {
            Memory::Block(block) => pool.bytes_mut(block),
            Memory::Mapped(bytes) => bytes,
        }
    }

    fn give_back(self, pool: &mut Pool) {
        match self {
            Memory::Block(block) => pool.give_back(block),
            Memory::Mapped(bytes) => drop(bytes),
        }
    }
}

impl Stretch {
    fn waiting<'a>(&'a self, pool: &'a Pool) -> &'a [u8] {
        self.memory.bytes(pool).get(self.start..self.end).unwrap_or_default()
    }

    /// Copies as much of `bytes` behind what is there as fits; how much that was.
    fn fill(&mut self, bytes: &[u8], pool: &mut Pool) -> usize {
        let Some(spare) = self.memory.bytes_mut(pool).get_mut(self.end..) else { return 0 };
        let count = spare.len().min(bytes.len());
        if let (Some(to), Some(from)) = (spare.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        self.end += count;
        count
    }
}

impl OutBuffer {
    /// Bytes in memory that wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of files that wait.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Files that wait.
    pub fn file_count(&self) -> u32 {
        self.file_count
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0 && self.file_count == 0
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
        if let Some(Segment::Memory(last)) = self.segments.back_mut() {
            let count = last.fill(rest, pool);
            self.len += count;
            rest = rest.get(count..).unwrap_or_default();
        }
        while !rest.is_empty() {
            let memory = match rest.len() < LEAST_MAPPED {
                true => Memory::Block(pool.take()?),
                false => Memory::Mapped(Draft::new(rest.len().min(LARGE))?),
            };
            let mut stretch = Stretch { memory, start: 0, end: 0 };
            let count = stretch.fill(rest, pool);
            self.segments.push_back(Segment::Memory(stretch));
            self.len += count;
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Puts bytes behind what waits, from `start` on, without copying them.
    pub fn append_draft(&mut self, bytes: Draft, start: usize) {
        let end = bytes.len();
        let start = start.min(end);
        self.len += end - start;
        let stretch = Stretch { memory: Memory::Mapped(bytes), start, end };
        self.segments.push_back(Segment::Memory(stretch));
    }

    /// Puts a part of a file behind what waits.
    pub fn append_file(&mut self, part: FilePart) {
        self.file_count += 1;
        self.file_bytes += part.left();
        self.segments.push_back(Segment::File(part));
    }

    /// Writes until nothing waits, the socket takes no more, or `most` bytes or a little more have
    /// gone. `Bytes` tells how many went.
    pub fn write_to(&mut self, stream: &mut Stream, pool: &mut Pool, most: usize) -> Moved {
        let mut total = 0;
        while !self.is_empty() && total < most {
            let moved = match self.segments.front_mut() {
                Some(Segment::File(part)) => part.write_to(stream, most - total),
                Some(Segment::Memory(_)) | None => self.write_memory(stream, pool),
            };
            match moved {
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

    /// Writes the memory that lies before the first file.
    fn write_memory(&self, stream: &mut Stream, pool: &Pool) -> Moved {
        let mut parts = [IoSlice::new(&[]); PARTS_PER_WRITE];
        let mut count = 0;
        for (part, segment) in parts.iter_mut().zip(&self.segments) {
            let Segment::Memory(stretch) = segment else { break };
            *part = IoSlice::new(stretch.waiting(pool));
            count += 1;
        }
        stream.write_parts(parts.get(..count).unwrap_or_default())
    }

    /// Takes `count` bytes that were written away from the front.
    fn consume(&mut self, count: usize, pool: &mut Pool) {
        let mut left = count;
        loop {
            match self.segments.front_mut() {
                Some(Segment::Memory(first)) => {
                    let here = first.end - first.start;
                    self.len -= left.min(here);
                    if left < here {
                        first.start += left;
                        return;
                    }
                    left -= here;
                }
                // A file knows itself how much of it was written; nothing behind it was.
                Some(Segment::File(part)) => {
                    self.file_bytes = self.file_bytes.saturating_sub(left as u64);
                    if part.left() > 0 || left == 0 {
                        return;
                    }
                    left = 0;
                    self.file_count -= 1;
                }
                None => return,
            }
            if let Some(Segment::Memory(empty)) = self.segments.pop_front() {
                empty.memory.give_back(pool);
            }
        }
    }

    /// Takes bytes in memory away from the back until `len` are left.
    fn truncate(&mut self, len: usize, pool: &mut Pool) {
        while self.len > len {
            let Some(Segment::Memory(last)) = self.segments.back_mut() else { return };
            let here = last.end - last.start;
            let cut = here.min(self.len - len);
            last.end -= cut;
            self.len -= cut;
            if cut == here {
                if let Some(Segment::Memory(empty)) = self.segments.pop_back() {
                    empty.memory.give_back(pool);
                }
            }
        }
    }

    /// Throws away all that waits.
    pub fn clear(&mut self, pool: &mut Pool) {
        while let Some(segment) = self.segments.pop_front() {
            if let Segment::Memory(stretch) = segment {
                stretch.memory.give_back(pool);
            }
        }
        (self.len, self.file_count, self.file_bytes) = (0, 0, 0);
        self.segments.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::pool::BLOCK;
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;

    fn pair() -> (Stream, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (Stream::new(near.into()), far)
    }

    #[test]
    fn what_a_slow_reader_does_not_take_arrives_later_in_order() {
        let (mut near, mut far) = pair();
        let (mut out, mut pool) = (OutBuffer::default(), Pool::default());
        let sent: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 251) as u8).collect();
        let mut offset = 0;
        let sizes = [1, 100, BLOCK, BLOCK + 1, LEAST_MAPPED - 1, LEAST_MAPPED, LARGE + 7, 3];
        for size in sizes.iter().cycle() {
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
            assert!(!matches!(
                out.write_to(&mut near, &mut pool, usize::MAX),
                Moved::Broken(_) | Moved::End
            ));
            let count = far.read(&mut chunk).unwrap();
            got.extend_from_slice(&chunk[..count]);
        }
        assert!(got == sent && out.is_empty() && out.segments.is_empty());
    }

    #[test]
    fn pages_are_queued_as_they_are_and_clearing_leaves_nothing() {
        let (mut out, mut pool) = (OutBuffer::default(), Pool::default());
        out.append(b"head", &mut pool).unwrap();
        out.append_draft(Draft::new(10_000).unwrap(), 4_000);
        assert_eq!(out.len(), 6_004);
        out.truncate(2, &mut pool);
        assert_eq!(out.len(), 2);
        let Some(Segment::Memory(first)) = out.segments.front() else { panic!("no memory") };
        assert_eq!(first.waiting(&pool), b"he");
        out.clear(&mut pool);
        assert!(out.is_empty() && out.segments.is_empty());
    }

    fn file_with(name: &str, bytes: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sw-out-{name}-{}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn files_and_memory_keep_their_order_and_a_turn_ends_when_enough_has_gone() {
        let (mut near, mut far) = pair();
        let (mut out, mut pool) = (OutBuffer::default(), Pool::default());
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 249) as u8).collect();
        let path = file_with("order", &bytes);
        let mut expected = Vec::new();
        for (offset, length) in [(0, 1), (5, 2_000_000), (7, 2_999_993)] {
            out.append(b"before", &mut pool).unwrap();
            out.append_file(FilePart::new(&path, offset, length).unwrap());
            out.append(b"behind", &mut pool).unwrap();
            expected.extend_from_slice(b"before");
            let (start, length) = (offset as usize, length as usize);
            expected.extend_from_slice(&bytes[start..start + length]);
            expected.extend_from_slice(b"behind");
        }
        assert_eq!((out.len(), out.file_count()), (36, 3));
        assert_eq!(out.file_bytes() as usize + out.len(), expected.len());
        let mut got = Vec::new();
        let mut chunk = vec![0; 100_000];
        while got.len() < expected.len() {
            let moved = out.write_to(&mut near, &mut pool, 10_000);
            assert!(matches!(moved, Moved::WouldBlock | Moved::Bytes(0..=10_006)), "{moved:?}");
            let count = far.read(&mut chunk).unwrap();
            got.extend_from_slice(&chunk[..count]);
            let left = out.file_bytes() as usize + out.len();
            assert!(left + got.len() <= expected.len());
        }
        assert!(got == expected && out.is_empty() && out.segments.is_empty());
        assert_eq!((out.len(), out.file_bytes(), out.file_count()), (0, 0, 0));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_that_has_gone_or_shrunk_breaks_the_connection() {
        let path = file_with("gone", &[7; 1000]);
        let (mut near, mut far) = pair();
        let (mut out, mut pool) = (OutBuffer::default(), Pool::default());
        out.append(b"first", &mut pool).unwrap();
        out.append_file(FilePart::new(&path, 0, 1000).unwrap());
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(400).unwrap();
        let moved = out.write_to(&mut near, &mut pool, usize::MAX);
        assert_eq!(moved, Moved::Broken(libc::EIO));
        let mut got = [0; 405];
        far.read_exact(&mut got).unwrap();
        assert!(got[..5] == *b"first" && got[5..] == [7; 400]);
        out.clear(&mut pool);
        assert!(out.is_empty() && out.file_bytes() == 0);
        out.append_file(FilePart::new(&path, 0, 1000).unwrap());
        std::fs::remove_file(&path).unwrap();
        let moved = out.write_to(&mut near, &mut pool, usize::MAX);
        assert_eq!(moved, Moved::Broken(libc::ENOENT));
    }

    /// The mappings of this process, as the system counts them.
    fn mapping_count() -> usize {
        std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
    }

    #[test]
    fn many_slow_peers_need_few_mappings() {
        const PEERS: usize = 2_000;
        const MESSAGE: usize = BLOCK + 1;
        let mut pool = Pool::default();
        let before = mapping_count();
        let mut peers: Vec<OutBuffer> = (0..PEERS).map(|_| OutBuffer::default()).collect();
        peers.iter_mut().for_each(|out| out.append(&[1; MESSAGE], &mut pool).unwrap());
        // Every other one goes: what its mapping would leave is a hole.
        peers.iter_mut().step_by(2).for_each(|out| out.clear(&mut pool));
        // Other tests map, too.
        let count = mapping_count().saturating_sub(before);
        assert!(count < PEERS / 4, "{count} mappings for {PEERS} peers");
        assert!(peers.iter().skip(1).step_by(2).all(|out| out.len() == MESSAGE));
    }
}
