//! Waiting on a word of shared memory, and waking those who do, across processes.

use std::io;
use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use nix::errno::Errno;

use super::{checked, clock};

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Somebody woke us; the word need not have changed.
    ByWake,
    /// The word did not hold the expected value when the wait began.
    Changed,
    TimedOut,
}

/// Sleeps while `word` holds `expected`, until a [`wake`] or until `timeout` has passed. Look at
/// the word again afterwards, whatever the answer.
pub fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> io::Result<Woken> {
    // An absolute end, so that an interrupted wait can simply be begun again.
    let deadline = timeout.and_then(clock::monotonic_after);
    let deadline = deadline.as_ref().map_or(ptr::null(), |deadline| deadline as *const _);
    loop {
        // SAFETY: the word is aligned and alive, the deadline is alive or null; the word is looked
        // up by the kernel by its page, so that other processes' mappings of it count.
        let result = unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT_BITSET,
                expected,
                deadline,
                ptr::null::<u32>(),
                libc::FUTEX_BITSET_MATCH_ANY,
            )
        };
        match Errno::result(result) {
            Ok(_) => return Ok(Woken::ByWake),
            Err(Errno::EAGAIN) => return Ok(Woken::Changed),
            Err(Errno::ETIMEDOUT) => return Ok(Woken::TimedOut),
            Err(Errno::EINTR) => {}
            Err(cause) => return Err(cause.into()),
        }
    }
}

/// Wakes at most `count` of those who wait on `word`; returns how many it were.
pub fn wake(word: &AtomicU32, count: u32) -> io::Result<u32> {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    // SAFETY: the word is aligned and alive; the kernel only takes its address.
    let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
    Ok(u32::try_from(checked(result)?).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::testing::passes_in_child;
    use std::sync::atomic::Ordering;
    use std::thread;
    use std::time::Instant;

    const LONG: Option<Duration> = Some(Duration::from_secs(10));

    #[test]
    fn a_word_that_has_changed_is_not_waited_for() {
        let word = AtomicU32::new(1);
        assert_eq!(wait(&word, 0, LONG).unwrap(), Woken::Changed);
    }

    #[test]
    fn the_timeout_ends_a_wait_and_not_before_its_time() {
        let word = AtomicU32::new(0);
        let started = Instant::now();
        let timeout = Duration::from_millis(20);
        assert_eq!(wait(&word, 0, Some(timeout)).unwrap(), Woken::TimedOut);
        assert!(started.elapsed() >= timeout);
        assert_eq!(wait(&word, 0, Some(Duration::ZERO)).unwrap(), Woken::TimedOut);
    }

    #[test]
    fn a_wake_without_sleepers_wakes_nobody() {
        assert_eq!(wake(&AtomicU32::new(0), u32::MAX).unwrap(), 0);
    }

    #[test]
    fn a_wake_reaches_a_sleeping_thread() {
        let word = AtomicU32::new(0);
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| wait(&word, 0, LONG).unwrap());
            while wake(&word, 1).unwrap() == 0 {
                thread::yield_now();
            }
            assert_eq!(sleeper.join().unwrap(), Woken::ByWake);
        });
    }

    #[test]
    fn a_wake_reaches_another_process() {
        let map = memmap2::MmapOptions::new().len(4096).map_raw(&shared_file()).unwrap();
        // SAFETY: the map is shared, aligned to a page, zero, and outlives the test.
        let word = unsafe { &*map.as_mut_ptr().cast::<AtomicU32>() };
        assert!(passes_in_child(|| {
            // SAFETY: the child ends by _exit.
            if unsafe { libc::fork() } == 0 {
                while wake(word, 1).unwrap_or(1) == 0 {
                    thread::yield_now();
                }
                // SAFETY: ends this child at once.
                unsafe { libc::_exit(0) };
            }
            assert_eq!(wait(word, 0, LONG).unwrap(), Woken::ByWake);
        }));
        assert_eq!(word.load(Ordering::Relaxed), 0);
    }

    fn shared_file() -> std::fs::File {
        use std::os::fd::FromRawFd;
        // SAFETY: a C string and no flags.
        let fd = unsafe { libc::memfd_create("futex\0".as_ptr().cast(), 0) };
        assert!(fd >= 0);
        // SAFETY: the call has just made this descriptor.
        let file = unsafe { std::fs::File::from_raw_fd(fd) };
        file.set_len(4096).unwrap();
        file
    }
}
