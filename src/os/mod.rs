//! The calls of the operating system, each wrapped once and safe to call.
//!
//! Everything above asks the system through this floor. Nothing here decides: a call does what its
//! name says and hands the error of the system back. EINTR never comes out.

pub mod activation;
pub mod address;
pub mod address_text;
pub mod clock;
pub mod cpu;
pub mod datagram;
pub mod draft;
pub mod epoll;
pub mod eventfd;
pub mod file;
pub mod futex;
pub mod identity;
pub mod leash;
pub mod memory;
pub mod notify;
pub mod process;
pub mod queue;
pub mod second_stack;
pub mod signal;
pub mod socket;

use std::io;

use nix::errno::{Errno, ErrnoSentinel};

/// The result of a call that reports failure by -1 and `errno`.
fn checked<T: ErrnoSentinel + PartialEq>(result: T) -> io::Result<T> {
    Ok(Errno::result(result)?)
}

/// The same, with the call made again as long as a signal interrupts it.
fn retried<T: ErrnoSentinel + PartialEq>(mut call: impl FnMut() -> T) -> io::Result<T> {
    loop {
        match Errno::result(call()) {
            Err(Errno::EINTR) => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Bodies that need a process of their own: one thread, its own signals and mask.

    use std::panic::{catch_unwind, AssertUnwindSafe};
    use std::time::Duration;

    use super::process;

    /// Seconds after which a child that hangs is killed by its own alarm.
    const CHILD_LIMIT_S: u32 = 20;

    /// Runs `body` in a forked child and says whether it returned without a panic.
    pub(crate) fn passes_in_child(body: impl FnOnce()) -> bool {
        // SAFETY: the child is a copy with this thread alone, runs the body and leaves by _exit.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "the test could not fork");
        if pid == 0 {
            // SAFETY: plain system call.
            unsafe { libc::alarm(CHILD_LIMIT_S) };
            let passed = catch_unwind(AssertUnwindSafe(body)).is_ok();
            // SAFETY: ends the process at once, nothing of the test harness runs again.
            unsafe { libc::_exit(i32::from(!passed)) };
        }
        let pidfd = process::open_pidfd(pid).unwrap();
        assert!(process::wait_for(&pidfd, Some(Duration::from_secs(30))).unwrap());
        process::reap(pid).unwrap().unwrap().exit_code() == Some(0)
    }

    /// Sets the time zone of this process, which must be a child of its own. Goes around the
    /// standard library, whose lock on the environment a thread of the parent may have held.
    ///
    /// The zone is read anew: the parent may have read it before, which is done once a process.
    pub(crate) fn set_zone(zone: &str) {
        extern "C" {
            fn tzset();
        }
        let zone = std::ffi::CString::new(zone).unwrap();
        // SAFETY: two C strings; the process has one thread.
        assert_eq!(unsafe { libc::setenv("TZ\0".as_ptr().cast(), zone.as_ptr(), 1) }, 0);
        // SAFETY: takes nothing; the process has one thread.
        unsafe { tzset() };
    }
}
