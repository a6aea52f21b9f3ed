//! Memory for large messages, which a thread uses again and again.
//!
//! The system takes several times as long to hand out pages of zeroes as it takes to copy a message
//! into them. So what a thread has used for one message is kept for the next, up to a bound, as
//! long as there are such messages.

use std::cell::RefCell;
use std::io;
use std::ops::{Deref, DerefMut};

use super::memory::Pages;

/// How much a thread keeps for later.
const SPARE_BYTES: usize = 4 << 20;
/// Sizes are multiples of this, so that one use fits another.
const UNIT_BYTES: usize = 256 << 10;

#[derive(Default)]
struct Spare {
    pages: Vec<Pages>,
    bytes: usize,
    /// Something was taken or kept since this was last asked.
    is_used: bool,
    /// When that was.
    used_ns: u64,
}

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

impl Spare {
    /// Pages of at least `len` bytes, and not more than twice as many.
    fn take(&mut self, len: usize) -> Option<Pages> {
        let fits = |pages: &Pages| (len..=len.saturating_mul(2)).contains(&pages.len());
        let pages = self.pages.swap_remove(self.pages.iter().rposition(fits)?);
        self.bytes -= pages.len();
        self.is_used = true;
        Some(pages)
    }

    fn keep(&mut self, pages: Pages) {
        if self.bytes.saturating_add(pages.len()) <= SPARE_BYTES {
            self.bytes += pages.len();
            self.pages.push(pages);
            self.is_used = true;
        }
    }
}

/// Gives back to the system what this thread keeps, if no message has needed it for `after_ns`.
/// Whether there is something left to give back later.
pub fn give_back_unused(now_ns: u64, after_ns: u64) -> bool {
    let look = |spare: &mut Spare| {
        if std::mem::take(&mut spare.is_used) {
            spare.used_ns = now_ns;
        } else if now_ns.saturating_sub(spare.used_ns) >= after_ns {
            *spare = Spare::default();
        }
        spare.bytes > 0
    };
    SPARE.with(|spare| {
        spare.try_borrow_mut().is_ok_and(|mut spare| spare.bytes > 0 && look(&mut spare))
    })
}

/// Bytes that whoever takes them writes before he reads them: at first they are zero, or what an
/// earlier message has left.
#[derive(Debug)]
pub struct Draft {
    /// There until it is dropped.
    pages: Option<Pages>,
    len: usize,
}

impl Draft {
    /// `len` bytes.
    ///
    /// # Errors
    ///
    /// The system's, if there is no memory.
    pub fn new(len: usize) -> io::Result<Self> {
        let size = len.max(1).checked_next_multiple_of(UNIT_BYTES).unwrap_or(usize::MAX);
        let spare = SPARE.try_with(|spare| spare.try_borrow_mut().ok()?.take(size));
        let pages = match spare.ok().flatten() {
            Some(pages) => pages,
            None => Pages::new(size)?,
        };
        Ok(Self { pages: Some(pages), len })
    }
}

impl Deref for Draft {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.pages.as_deref().and_then(|pages| pages.get(..self.len)).unwrap_or_default()
    }
}

impl DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.pages.as_deref_mut().and_then(|pages| pages.get_mut(..self.len)).unwrap_or_default()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let Some(pages) = self.pages.take() else { return };
        // A thread that ends keeps nothing: the pages go back to the system.
        let _ = SPARE.try_with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut() {
                spare.keep(pages);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spare_bytes() -> usize {
        SPARE.with(|spare| {
            let spare = spare.borrow();
            assert_eq!(spare.pages.iter().map(|pages| pages.len()).sum::<usize>(), spare.bytes);
            spare.bytes
        })
    }

    #[test]
    fn what_was_used_is_used_again_for_what_is_about_as_large() {
        let mut first = Draft::new(300_000).unwrap();
        assert_eq!(first.len(), 300_000);
        first.fill(7);
        let place = first.as_ptr();
        drop(first);
        assert_eq!(spare_bytes(), 2 * UNIT_BYTES);
        let small = Draft::new(1).unwrap();
        assert_eq!((small.len(), small.as_ptr()), (1, place));
        drop(small);
        let large = Draft::new(3 * UNIT_BYTES).unwrap();
        assert_ne!(large.as_ptr(), place);
        assert_eq!(Draft::new(2 * UNIT_BYTES).unwrap().as_ptr(), place);
    }

    #[test]
    fn a_thread_keeps_no_more_than_its_bound() {
        let drafts: Vec<Draft> = (0..40).map(|_| Draft::new(2 * UNIT_BYTES).unwrap()).collect();
        drop(drafts);
        assert_eq!(spare_bytes(), SPARE_BYTES);
        drop(Draft::new(SPARE_BYTES + 1).unwrap());
        assert_eq!(spare_bytes(), SPARE_BYTES);
    }

    #[test]
    fn what_is_not_used_any_more_goes_back() {
        assert!(!give_back_unused(5, 10));
        drop(Draft::new(1).unwrap());
        assert!(give_back_unused(100, 10) && give_back_unused(109, 10));
        drop(Draft::new(1).unwrap());
        assert!(give_back_unused(111, 10) && give_back_unused(120, 10));
        assert_eq!(spare_bytes(), UNIT_BYTES);
        assert!(!give_back_unused(121, 10));
        assert_eq!(spare_bytes(), 0);
    }

    #[test]
    fn none_and_too_many_bytes() {
        assert!(Draft::new(0).unwrap().is_empty());
        assert!(Draft::new(usize::MAX).is_err());
        assert!(Draft::new(1 << 60).is_err());
    }
}
