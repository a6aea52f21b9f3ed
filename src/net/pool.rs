//! Blocks of memory for output that waits, which the connections of a reactor share.
//!
//! Blocks are cut from few large mappings: a process may have a limited number of those, and there
//! may be as many blocks as there are slow peers, and more. What was given back goes back to the
//! system, but for some blocks that are kept for the next who needs one.

use std::io;
use std::ops::Range;

use crate::os::memory::Pages;

/// Bytes of a block.
pub const BLOCK: usize = 16 * 1024;
/// Blocks of one mapping.
const BLOCKS: usize = 256;
/// Blocks that nobody uses and that keep their memory.
const KEPT: usize = 64;

/// A block, until it is given back.
#[derive(Debug)]
pub struct Block(usize);

/// All blocks of one reactor.
#[derive(Debug, Default)]
pub struct Pool {
    mappings: Vec<Pages>,
    /// Free blocks that keep their memory,
    warm: Vec<Block>,
    /// and those that do not.
    cold: Vec<Block>,
    used: usize,
}

impl Block {
    /// The mapping that it lies in, and where.
    fn place(&self) -> (usize, Range<usize>) {
        let start = self.0 % BLOCKS * BLOCK;
        (self.0 / BLOCKS, start..start + BLOCK)
    }
}

impl Pool {
    /// A block that nobody else has. What stands in it is of no meaning.
    pub fn take(&mut self) -> io::Result<Block> {
        if self.warm.is_empty() && self.cold.is_empty() {
            let first = self.mappings.len() * BLOCKS;
            self.mappings.push(Pages::new(BLOCKS * BLOCK)?);
            self.cold.extend((first..first + BLOCKS).rev().map(Block));
        }
        let block = self.warm.pop().or_else(|| self.cold.pop());
        self.used += 1;
        block.ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Nobody uses a block any more.
    pub fn give_back(&mut self, block: Block) {
        self.used = self.used.saturating_sub(1);
        if self.used == 0 && self.mappings.len() > 1 {
            *self = Self::default();
        } else if self.warm.len() < KEPT {
            self.warm.push(block);
        } else {
            let (mapping, place) = block.place();
            let freed = self.mappings.get_mut(mapping).map(|pages| pages.give_up(place));
            if let Some(Err(error)) = freed {
                crate::warn_limited!("memory that nobody uses is kept: {error}");
            }
            self.cold.push(block);
        }
    }

    /// The bytes of a block.
    pub fn bytes(&self, block: &Block) -> &[u8] {
        let (mapping, place) = block.place();
        self.mappings.get(mapping).and_then(|pages| pages.get(place)).unwrap_or_default()
    }

    /// The bytes of a block, to be written.
    pub fn bytes_mut(&mut self, block: &Block) -> &mut [u8] {
        let (mapping, place) = block.place();
        self.mappings.get_mut(mapping).and_then(|pages| pages.get_mut(place)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_is_its_owners_alone() {
        let mut pool = Pool::default();
        let blocks: Vec<Block> = (0..BLOCKS * 2 + 1).map(|_| pool.take().unwrap()).collect();
        assert_eq!(pool.mappings.len(), 3);
        for (number, block) in blocks.iter().enumerate() {
            pool.bytes_mut(block).fill(number as u8);
        }
        for (number, block) in blocks.iter().enumerate() {
            let bytes = pool.bytes(block);
            assert!(bytes.len() == BLOCK && bytes.iter().all(|byte| *byte == number as u8));
        }
    }

    #[test]
    fn what_was_given_back_is_used_again_and_at_the_end_nothing_is_left() {
        let mut pool = Pool::default();
        let mut blocks: Vec<Block> = (0..BLOCKS + 1).map(|_| pool.take().unwrap()).collect();
        blocks.iter().for_each(|block| pool.bytes_mut(block).fill(7));
        for block in blocks.drain(..BLOCKS) {
            pool.give_back(block);
        }
        assert_eq!((pool.warm.len(), pool.cold.len()), (KEPT, BLOCKS - KEPT + BLOCKS - 1));
        let again: Vec<Block> = (0..BLOCKS).map(|_| pool.take().unwrap()).collect();
        assert_eq!(pool.mappings.len(), 2);
        let last = blocks.pop().unwrap();
        assert!(pool.bytes(&last).iter().all(|byte| *byte == 7), "it was not given back");
        // The memory of all but those that were kept was the system's meanwhile.
        let fresh = again.iter().filter(|block| pool.bytes(block).iter().all(|byte| *byte == 0));
        assert_eq!(fresh.count(), BLOCKS - KEPT);
        again.into_iter().chain([last]).for_each(|block| pool.give_back(block));
        assert_eq!((pool.mappings.len(), pool.warm.len(), pool.cold.len()), (0, 0, 0));
    }
}
