//! One mapping that all processes of a server share, carved into typed areas.
//!
//! A [`Layout`] adds up what is needed, [`Layout::map`] makes a memfd of that size and maps it
//! before the first fork. Pages cost memory only once they are touched. The memfd has no name and
//! is closed right after, so nothing stays behind when the program is killed. Views keep the
//! mapping alive.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};

use super::Shared;
use crate::error::{code, Error, Result};
use crate::os::memory;

/// Every area begins on a cache line of its own.
const ALIGN: usize = 64;

/// What a region will hold, added up before it is mapped.
#[derive(Debug, Default)]
pub struct Layout {
    /// Bytes so far, stuck at the greatest number once the sum no longer fits.
    len: usize,
}

/// Where `count` of `T` lie in the region that the layout becomes.
pub struct Area<T> {
    offset: usize,
    count: usize,
    holds: PhantomData<fn() -> T>,
}

/// Where raw bytes lie in the region that the layout becomes.
#[derive(Clone, Copy, Debug)]
pub struct ByteArea {
    offset: usize,
    len: usize,
}

impl<T> Clone for Area<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Area<T> {}

impl<T> Area<T> {
    /// Fails to compile for a type that an area's beginning would not align.
    const FITS: () = assert!(std::mem::align_of::<T>() <= ALIGN);
}

impl Layout {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds room for `count` of `T`, all bytes zero.
    pub fn array<T: Shared>(&mut self, count: usize) -> Area<T> {
        let () = Area::<T>::FITS;
        let offset = self.add(count.saturating_mul(std::mem::size_of::<T>()));
        Area { offset, count, holds: PhantomData }
    }

    /// Adds `len` raw bytes, all zero.
    pub fn bytes(&mut self, len: usize) -> ByteArea {
        ByteArea { offset: self.add(len), len }
    }

    fn add(&mut self, len: usize) -> usize {
        let offset = self.len;
        self.len = offset.saturating_add(len).saturating_add(ALIGN - 1) / ALIGN * ALIGN;
        offset
    }

    /// Maps the region, shared with every process forked from now on.
    ///
    /// # Errors
    ///
    /// `MALLOC_FAIL` for a sum that no address space holds, else what the system said.
    pub fn map(self) -> Result<Region> {
        if self.len > isize::MAX as usize - 2 * ALIGN {
            return Err(Error::new(code::MALLOC_FAIL, "the shared memory does not fit"));
        }
        let len = self.len.max(ALIGN);
        let what = || format!("sharing {len} bytes of memory");
        let file = memfd(len).map_err(|cause| Error::system(&what(), &cause))?;
        let map = MmapOptions::new().len(len).map_raw(&file);
        let map = map.map_err(|cause| Error::system(&what(), &cause))?;
        Ok(Region { map: Arc::new(map) })
    }
}

/// An unnamed file in memory of `len` zero bytes.
fn memfd(len: usize) -> io::Result<File> {
    // SAFETY: the name ends with NUL; it only labels the mapping in /proc.
    let fd = unsafe { libc::memfd_create(b"swoole\0".as_ptr().cast(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was made right above and belongs to nobody else.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.set_len(len as u64)?;
    Ok(file)
}

/// The mapping. Cloning it is cheap and maps nothing anew.
#[derive(Clone, Debug)]
pub struct Region {
    map: Arc<MmapRaw>,
}

impl Region {
    /// The things of an area of this region's layout; none if the area is of a greater region.
    pub fn view<T: Shared>(&self, area: &Area<T>) -> Mapped<T> {
        let start = self.locate(area.offset, area.count.saturating_mul(std::mem::size_of::<T>()));
        Mapped {
            start: start.map_or(NonNull::dangling(), NonNull::cast),
            count: if start.is_some() { area.count } else { 0 },
            region: self.clone(),
        }
    }

    /// The raw bytes of an area of this region's layout; none if the area is of a greater region.
    pub fn bytes(&self, area: &ByteArea) -> Bytes {
        let start = self.locate(area.offset, area.len);
        Bytes {
            start: start.unwrap_or(NonNull::dangling()),
            len: if start.is_some() { area.len } else { 0 },
            region: self.clone(),
        }
    }

    fn locate(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.map.len());
        debug_assert!(inside, "the area is of another layout");
        if !inside {
            return None;
        }
        // SAFETY: the offset lies inside the mapping.
        NonNull::new(unsafe { self.map.as_mut_ptr().add(offset) })
    }
}

/// An area as the slice it is. Holds the region.
pub struct Mapped<T> {
    start: NonNull<T>,
    count: usize,
    region: Region,
}

// SAFETY: a view is a shared reference with the mapping held beside it, and `T: Shared` is `Sync`.
unsafe impl<T: Shared> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: Shared> Sync for Mapped<T> {}

impl<T> Clone for Mapped<T> {
    fn clone(&self) -> Self {
        Self { start: self.start, count: self.count, region: self.region.clone() }
    }
}

impl<T: Shared> Mapped<T> {
    /// One of the things, to be kept by itself.
    pub fn place(&self, index: usize) -> Option<Place<T>> {
        let spot = NonNull::from(self.get(index)?);
        Some(Place { spot, _region: self.region.clone() })
    }
}

impl<T: Shared> Deref for Mapped<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `view` has checked the bounds, the start is aligned as every area is, any bytes
        // are a valid `T: Shared`, and the region is held.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

/// One thing of an area. Holds the region.
pub struct Place<T> {
    spot: NonNull<T>,
    _region: Region,
}

// SAFETY: as for `Mapped`.
unsafe impl<T: Shared> Send for Place<T> {}
// SAFETY: as for `Mapped`.
unsafe impl<T: Shared> Sync for Place<T> {}

impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        Self { spot: self.spot, _region: self._region.clone() }
    }
}

impl<T: Shared> Deref for Place<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the spot was a valid reference in a mapping that is held.
        unsafe { self.spot.as_ref() }
    }
}

/// Raw shared bytes. What may be read or written when is the business of a protocol beside them.
#[derive(Clone)]
pub struct Bytes {
    start: NonNull<u8>,
    len: usize,
    region: Region,
}

// SAFETY: the address is valid in every thread while the region is held; access is unsafe.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

impl Bytes {
    /// How many bytes there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// `len` bytes from `offset` on as a byte range of its own.
    pub fn part(&self, offset: usize, len: usize) -> Option<Bytes> {
        let start = self.at(offset, len)?;
        Some(Bytes { start, len, region: self.region.clone() })
    }

    /// Gives the whole pages among these bytes back to the system; they read as zero then.
    ///
    /// # Safety
    ///
    /// - Nobody reads or writes them meanwhile.
    pub unsafe fn give_back(&self) -> io::Result<()> {
        // SAFETY: inside the held mapping; the caller vouches for the others.
        unsafe { memory::give_back(self.start.as_ptr(), self.len) }
    }

    #[inline]
    fn at(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: the range was just found to lie inside.
        NonNull::new(unsafe { self.start.as_ptr().add(offset) })
    }

    /// The bytes at `offset`, `None` outside the range.
    ///
    /// # Safety
    ///
    /// - Nobody writes to them while the slice lives.
    #[inline]
    pub unsafe fn slice(&self, offset: usize, len: usize) -> Option<&[u8]> {
        let start = self.at(offset, len)?;
        // SAFETY: inside the held mapping; the caller vouches for the writers.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), len) })
    }

    /// The bytes at `offset` to be written, `None` outside the range.
    ///
    /// # Safety
    ///
    /// - Nobody else reads or writes them while the slice lives.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice_mut(&self, offset: usize, len: usize) -> Option<&mut [u8]> {
        let start = self.at(offset, len)?;
        // SAFETY: inside the held mapping; the caller vouches for being alone.
        Some(unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::tests::in_child;
    use std::sync::atomic::{AtomicU64, AtomicU8, Ordering};

    #[test]
    fn areas_lie_apart_on_lines_of_their_own_and_begin_as_zero() {
        let mut layout = Layout::new();
        let small = layout.array::<AtomicU8>(3);
        let numbers = layout.array::<AtomicU64>(5);
        let raw = layout.bytes(100);
        let region = layout.map().unwrap();
        let (small, numbers, raw) =
            (region.view(&small), region.view(&numbers), region.bytes(&raw));
        assert_eq!((small.len(), numbers.len(), raw.len()), (3, 5, 100));
        assert!(small.iter().all(|byte| byte.load(Ordering::Relaxed) == 0));
        small.iter().for_each(|byte| byte.store(0xff, Ordering::Relaxed));
        assert!(numbers.iter().all(|number| number.load(Ordering::Relaxed) == 0));
        assert_eq!(numbers.as_ptr() as usize % 64, 0);
        // SAFETY: nobody else knows of this region.
        assert_eq!(unsafe { raw.slice(0, 100) }, Some(&[0; 100][..]));
    }

    #[test]
    fn a_child_and_its_parent_see_the_same_memory() {
        let mut layout = Layout::new();
        let area = layout.array::<AtomicU64>(1);
        let view = layout.map().unwrap().view(&area);
        in_child(|| view[0].store(77, Ordering::SeqCst));
        assert_eq!(view[0].load(Ordering::SeqCst), 77);
    }

    #[test]
    fn views_outlive_the_region_they_came_from() {
        let mut layout = Layout::new();
        let area = layout.array::<AtomicU64>(2);
        let region = layout.map().unwrap();
        let place = region.view(&area).place(1).unwrap();
        drop(region);
        place.store(5, Ordering::Relaxed);
        assert_eq!(place.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn untouched_areas_cost_no_memory() {
        let mut layout = Layout::new();
        let area = layout.bytes(1 << 40);
        assert_eq!(layout.map().unwrap().bytes(&area).len(), 1 << 40);
    }

    #[test]
    fn ranges_outside_are_refused() {
        let mut layout = Layout::new();
        let area = layout.bytes(64);
        let bytes = layout.map().unwrap().bytes(&area);
        assert!(bytes.part(0, 65).is_none());
        assert!(bytes.part(usize::MAX, 2).is_none());
        assert_eq!(bytes.part(60, 4).map(|part| part.len()), Some(4));
        let mut huge = Layout::new();
        huge.array::<AtomicU64>(usize::MAX);
        assert_eq!(huge.map().unwrap_err().code(), code::MALLOC_FAIL);
    }
}
