//! Memory straight from the system, in whole pages, given back to it at once when it is dropped.

use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::{self, NonNull};
use std::slice;

use nix::errno::Errno;

use super::checked;

/// An anonymous mapping that belongs to this process: zero at first, and costing nothing until it
/// is touched. A forked child sees a copy.
#[derive(Debug)]
pub struct Pages {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping has one owner, like a box of bytes, and no thread is special to it.
unsafe impl Send for Pages {}
// SAFETY: a shared reference only reads.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps `len` zero bytes; EINVAL for none.
    pub fn new(len: usize) -> io::Result<Self> {
        if isize::try_from(len).is_err() {
            return Err(Errno::ENOMEM.into());
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(Errno::ENOMEM)?;
        Ok(Self { start, len })
    }

    /// Gives the memory of a part back to the system. It reads as zeroes then, and costs nothing
    /// until it is touched. EINVAL, and nothing happens, if the part does not begin a page or does
    /// not lie inside.
    pub fn give_up(&mut self, part: Range<usize>) -> io::Result<()> {
        let bytes = self.get_mut(part).ok_or(Errno::EINVAL)?;
        let (start, len) = (bytes.as_mut_ptr().cast(), bytes.len());
        // SAFETY: our own private anonymous memory, which nobody else looks at: it becomes zero.
        checked(unsafe { libc::madvise(start, len, libc::MADV_DONTNEED) }).map(drop)
    }

    /// Makes it `len` bytes long, which is not less than before: what is there moves with its pages
    /// and is not copied, what comes behind it is zero.
    pub fn grow(&mut self, len: usize) -> io::Result<()> {
        if len < self.len || isize::try_from(len).is_err() {
            return Err(Errno::EINVAL.into());
        }
        let old = self.start.as_ptr().cast();
        // SAFETY: exactly what was mapped, and `self` is borrowed alone: nobody looks at the old
        // place. If it fails, all stays as it was.
        let start = unsafe { libc::mremap(old, self.len, len, libc::MREMAP_MAYMOVE) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        self.start = NonNull::new(start.cast()).ok_or(Errno::ENOMEM)?;
        self.len = len;
        Ok(())
    }
}

/// Gives the whole pages of a shared mapping back to the system, for all who share it; they read as
/// zero then.
///
/// # Safety
///
/// - The range lies in a mapping of the caller's, and nobody is at work on it meanwhile.
pub unsafe fn give_back(start: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the call takes nothing but a question.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    let skipped = start.align_offset(page);
    let whole = len.saturating_sub(skipped) / page * page;
    if whole == 0 {
        return Ok(());
    }
    let first = start.wrapping_add(skipped).cast();
    // SAFETY: the caller's own memory stays mapped, and is looked at by nobody.
    checked(unsafe { libc::madvise(first, whole, libc::MADV_REMOVE) }).map(drop)
}

/// Knows the process that made it. In a process that was forked since, also by code that knows
/// nothing of this library, it is a stranger. Asking makes no system call.
#[derive(Debug)]
pub struct Home(Pages);

impl Home {
    /// The calling process.
    pub fn new() -> io::Result<Self> {
        let mut pages = Pages::new(1)?;
        let page = pages.start.as_ptr().cast();
        // SAFETY: the mapping is our own; a fork of the process gets zeroes in its place.
        checked(unsafe { libc::madvise(page, pages.len, libc::MADV_WIPEONFORK) })?;
        if let Some(mark) = pages.first_mut() {
            *mark = 1;
        }
        Ok(Self(pages))
    }

    /// Whether this is still the process that made it.
    #[inline]
    pub fn is_here(&self) -> bool {
        // SAFETY: mapped and initialised. Volatile, since a fork changes it behind our back.
        unsafe { self.0.start.as_ptr().read_volatile() == 1 }
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: mapped, zeroed by the kernel, and unchanged as long as `self` is borrowed.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: mapped, and the borrow of `self` is the only one.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, and no borrow of it is left.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(result, 0, "a mapping of our own could not be undone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::testing::passes_in_child;

    #[test]
    fn pages_are_zero_and_keep_what_is_written_also_in_another_thread() {
        let mut pages = Pages::new(10_000).unwrap();
        assert_eq!(pages.len(), 10_000);
        assert!(pages.iter().all(|byte| *byte == 0));
        pages[9_999] = 7;
        let pages = std::thread::spawn(move || pages).join().unwrap();
        assert_eq!(pages[9_999], 7);
    }

    #[test]
    fn a_part_that_is_given_up_is_zero_and_the_rest_stays() {
        let mut pages = Pages::new(64 * 1024).unwrap();
        pages.fill(7);
        pages.give_up(16 * 1024..32 * 1024).unwrap();
        let is_zero = |byte: &u8| *byte == 0;
        assert!(pages[16 * 1024..32 * 1024].iter().all(is_zero));
        assert!(!pages[..16 * 1024].iter().chain(&pages[32 * 1024..]).any(is_zero));
        for wrong in [1..4096, 60 * 1024..65 * 1024] {
            let refused = pages.give_up(wrong).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
        }
        assert_eq!(pages[1], 7);
    }

    #[test]
    fn impossible_lengths_are_errors() {
        assert_eq!(Pages::new(0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert_eq!(Pages::new(usize::MAX).unwrap_err().raw_os_error(), Some(libc::ENOMEM));
        assert_eq!(Pages::new(1 << 60).unwrap_err().raw_os_error(), Some(libc::ENOMEM));
    }

    #[test]
    fn pages_that_grow_keep_what_they_have_and_are_zero_behind_it() {
        let mut pages = Pages::new(5_000).unwrap();
        pages.fill(7);
        pages.grow(1 << 20).unwrap();
        assert_eq!(pages.len(), 1 << 20);
        assert!(pages[..5_000].iter().all(|byte| *byte == 7));
        assert!(pages[5_000..].iter().all(|byte| *byte == 0));
        for bad in [0, 4_999, usize::MAX, 1 << 60] {
            assert!(pages.grow(bad).is_err());
        }
        assert!(pages.len() == 1 << 20 && pages[4_999] == 7);
    }

    #[test]
    fn a_forked_process_is_not_the_one_that_made_its_home() {
        let home = Home::new().unwrap();
        assert!(home.is_here());
        assert!(passes_in_child(|| {
            assert!(!home.is_here());
            assert!(Home::new().unwrap().is_here());
        }));
        assert!(home.is_here());
    }

    #[test]
    fn the_memory_goes_back_to_the_system() {
        // In a process with one thread, so that nobody maps the place again meanwhile.
        assert!(passes_in_child(|| {
            let pages = Pages::new(1 << 20).unwrap();
            let address = pages.as_ptr().cast_mut().cast();
            // SAFETY: only asks whether the memory is mapped.
            let is_mapped = || unsafe { libc::madvise(address, 1 << 20, libc::MADV_NORMAL) } == 0;
            assert!(is_mapped());
            drop(pages);
            assert!(!is_mapped());
        }));
    }
}
