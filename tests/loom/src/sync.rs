//! What the rings stand on, for the model checker.

use std::cell::UnsafeCell;
use std::ops::Deref;
use std::sync::Arc;

pub use loom::sync::atomic::{fence, AtomicU32, AtomicU64, Ordering};

/// Small, since every atomic costs the checker time.
pub const MAX_UNITS: usize = 64;

/// The mark of the library's shared types.
///
/// # Safety
///
/// - As in the library; here nothing depends on it.
pub unsafe trait Shared: Send + Sync + 'static {}

/// Memory that both ends hold.
pub type Place<T> = Arc<T>;

/// The padding of the library, without the padding.
#[derive(Default)]
pub struct Line<T>(T);

impl<T> Deref for Line<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A lock whose holders do not die.
#[derive(Default)]
pub struct RobustMutex(loom::sync::Mutex<()>);

impl RobustMutex {
    /// Waits for the lock.
    pub fn lock(&self) -> loom::sync::LockResult<loom::sync::MutexGuard<'_, ()>> {
        self.0.lock()
    }
}

/// Processes do not die here.
pub fn step() {}

/// Bytes that one cell watches.
const BLOCK: usize = 32;

struct Memory {
    bytes: Box<[UnsafeCell<u8>]>,
    watch: Vec<loom::cell::UnsafeCell<()>>,
}

// SAFETY: the cells beside the bytes end the model when an access is not ordered after another.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// The bytes of a ring. Access is reported to the checker for each block that it touches.
#[derive(Clone)]
pub struct Bytes(Arc<Memory>);

impl Bytes {
    /// Zeroed bytes.
    pub fn new(len: usize) -> Self {
        let bytes = (0..len).map(|_| UnsafeCell::new(0)).collect();
        let watch = (0..len / BLOCK).map(|_| loom::cell::UnsafeCell::new(())).collect();
        Self(Arc::new(Memory { bytes, watch }))
    }

    pub fn len(&self) -> usize {
        self.0.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The checker has no system to give anything to.
    ///
    /// # Safety
    ///
    /// - As in the library.
    pub unsafe fn give_back(&self) -> std::io::Result<()> {
        Ok(())
    }

    fn blocks(&self, offset: usize, len: usize) -> Option<&[loom::cell::UnsafeCell<()>]> {
        self.0.watch.get(offset / BLOCK..(offset + len).div_ceil(BLOCK))
    }

    fn at(&self, offset: usize, len: usize) -> Option<*mut u8> {
        let part = self.0.bytes.get(offset..offset + len)?;
        Some(part.as_ptr() as *mut u8)
    }

    /// # Safety
    ///
    /// - Nobody writes to the bytes while the slice lives.
    pub unsafe fn slice(&self, offset: usize, len: usize) -> Option<&[u8]> {
        self.blocks(offset, len)?.iter().for_each(|block| block.with(|_| ()));
        // SAFETY: the range lies inside; the checker has just found no concurrent writer.
        Some(unsafe { std::slice::from_raw_parts(self.at(offset, len)?, len) })
    }

    /// # Safety
    ///
    /// - Nobody else uses the bytes while the slice lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice_mut(&self, offset: usize, len: usize) -> Option<&mut [u8]> {
        self.blocks(offset, len)?.iter().for_each(|block| block.with_mut(|_| ()));
        // SAFETY: the range lies inside; the checker has just found no concurrent access.
        Some(unsafe { std::slice::from_raw_parts_mut(self.at(offset, len)?, len) })
    }
}
