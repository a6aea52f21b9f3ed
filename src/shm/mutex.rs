//! A mutex that processes share and that survives the death of its holder.
//!
//! It is initialised in place before the first fork. Whoever takes it after a death is told so and
//! repairs what it guards; the lock itself is sound again at once.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;

use super::Shared;
use crate::error::{Error, Result};

/// A process-shared, robust `pthread` mutex. It guards what lies beside it, not inside it.
#[repr(C)]
pub struct RobustMutex {
    raw: UnsafeCell<libc::pthread_mutex_t>,
}

// SAFETY: fixed size, all zero is an unlocked plain mutex, and the links which the C library keeps
// in it while it is held are followed only by the thread that holds it.
unsafe impl Shared for RobustMutex {}

// SAFETY: the C library makes every operation on the mutex safe between threads and processes.
unsafe impl Sync for RobustMutex {}
// SAFETY: it is not bound to the thread that made it; only a held lock is, and [`Guard`] stays.
unsafe impl Send for RobustMutex {}

/// The lock is held as long as this lives.
pub struct Guard<'a> {
    mutex: &'a RobustMutex,
    /// The last holder died inside: what the lock guards may be half written.
    pub owner_died: bool,
    /// A mutex must be unlocked by the thread that locked it.
    not_send: std::marker::PhantomData<*const ()>,
}

fn check(what: &str, status: libc::c_int) -> Result<()> {
    match status {
        0 => Ok(()),
        number => Err(Error::system(what, &io::Error::from_raw_os_error(number))),
    }
}

/// Ends the attributes on every way out.
struct Attributes(MaybeUninit<libc::pthread_mutexattr_t>);

impl Attributes {
    fn new() -> Result<Self> {
        let mut raw = MaybeUninit::uninit();
        // SAFETY: the C library fills in the attributes it is handed.
        check("pthread_mutexattr_init", unsafe { libc::pthread_mutexattr_init(raw.as_mut_ptr()) })?;
        Ok(Self(raw))
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: `new` has initialised them; nobody uses them after this.
        let status = unsafe { libc::pthread_mutexattr_destroy(self.0.as_mut_ptr()) };
        debug_assert_eq!(status, 0);
    }
}

impl Default for RobustMutex {
    /// What zeroed memory is: not usable between processes until [`RobustMutex::init`].
    fn default() -> Self {
        Self { raw: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER) }
    }
}

impl RobustMutex {
    /// Makes a usable mutex of zeroed memory, before anybody else can reach it.
    pub fn init(&self) -> Result<()> {
        let mut attributes = Attributes::new()?;
        let raw = attributes.0.as_mut_ptr();
        // SAFETY: the attributes are initialised and owned here.
        let status =
            unsafe { libc::pthread_mutexattr_setpshared(raw, libc::PTHREAD_PROCESS_SHARED) };
        check("pthread_mutexattr_setpshared", status)?;
        // SAFETY: as above.
        let status = unsafe { libc::pthread_mutexattr_setrobust(raw, libc::PTHREAD_MUTEX_ROBUST) };
        check("pthread_mutexattr_setrobust", status)?;
        // SAFETY: the caller has told nobody of this mutex yet, so it is not in use.
        check("pthread_mutex_init", unsafe { libc::pthread_mutex_init(self.raw.get(), raw) })
    }

    /// Waits for the lock.
    ///
    /// # Errors
    ///
    /// The system's: a thread that locks twice, or memory that is no mutex any more.
    pub fn lock(&self) -> Result<Guard<'_>> {
        // SAFETY: `init` was called on this memory before it was shared.
        let status = unsafe { libc::pthread_mutex_lock(self.raw.get()) };
        let owner_died = status == libc::EOWNERDEAD;
        if owner_died {
            // SAFETY: this thread holds the lock, as EOWNERDEAD says.
            check("pthread_mutex_consistent", unsafe {
                libc::pthread_mutex_consistent(self.raw.get())
            })?;
        } else {
            check("pthread_mutex_lock", status)?;
        }
        Ok(Guard { mutex: self, owner_died, not_send: std::marker::PhantomData })
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the guard exists only while this thread holds the lock.
        let status = unsafe { libc::pthread_mutex_unlock(self.mutex.raw.get()) };
        debug_assert_eq!(status, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::{Layout, Place};
    use std::sync::atomic::{AtomicU64, Ordering};

    fn shared_mutex() -> (Place<RobustMutex>, Place<AtomicU64>) {
        let mut layout = Layout::new();
        let mutex = layout.array::<RobustMutex>(1);
        let number = layout.array::<AtomicU64>(1);
        let region = layout.map().unwrap();
        let mutex = region.view(&mutex).place(0).unwrap();
        mutex.init().unwrap();
        (mutex, region.view(&number).place(0).unwrap())
    }

    #[test]
    fn threads_take_turns() {
        let (mutex, number) = shared_mutex();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let guard = mutex.lock().unwrap();
                        assert!(!guard.owner_died);
                        // Not atomic as a whole: turns that overlap would lose one.
                        number.store(number.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(number.load(Ordering::Relaxed), 8000);
    }

    #[test]
    fn the_next_holder_learns_of_a_death_and_the_one_after_does_not() {
        let (mutex, _) = shared_mutex();
        crate::shm::tests::in_child(|| {
            if let Ok(guard) = mutex.lock() {
                std::mem::forget(guard);
            }
        });
        assert!(mutex.lock().unwrap().owner_died);
        assert!(!mutex.lock().unwrap().owner_died);
    }
}
