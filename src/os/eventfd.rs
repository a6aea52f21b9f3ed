//! A bell: a descriptor that is readable from the first ring until it is cleared.
//!
//! It is made before a fork and works in every process that inherits it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::checked;

/// A non-blocking, close-on-exec eventfd.
#[derive(Debug)]
pub struct EventFd {
    fd: OwnedFd,
}

impl EventFd {
    /// A bell that has not been rung.
    pub fn new() -> io::Result<Self> {
        // SAFETY: plain system call.
        let fd = checked(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })?;
        // SAFETY: the call has just made this descriptor, and nobody else knows it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Makes the bell readable. Safe to call from a signal handler.
    pub fn ring(&self) {
        ring(self.fd.as_raw_fd());
    }

    /// Silences the bell; `false` if nobody had rung it.
    pub fn clear(&self) -> bool {
        let mut count = 0_u64;
        let size = uninterrupted(|| {
            // SAFETY: the eight bytes of the counter outlive the call.
            unsafe { libc::read(self.fd.as_raw_fd(), (&mut count as *mut u64).cast(), 8) }
        });
        debug_assert!(size == 8 || Errno::last() == Errno::EAGAIN, "a read of an eventfd");
        size == 8
    }
}

/// Calls until the call was not interrupted. The kernel itself interrupts none that does not wait,
/// but what stands between may, and a ring that is lost is a unit that sleeps on.
fn uninterrupted(mut call: impl FnMut() -> isize) -> isize {
    loop {
        let size = call();
        if size >= 0 || Errno::last() != Errno::EINTR {
            return size;
        }
    }
}

/// Rings a bell by its descriptor: for signal handlers, which own nothing.
pub(super) fn ring(fd: RawFd) {
    let one = 1_u64;
    // SAFETY: the eight bytes outlive the call.
    let size = uninterrupted(|| unsafe { libc::write(fd, (&one as *const u64).cast(), 8) });
    // EAGAIN means that the counter is full, so that the bell is ringing anyway.
    debug_assert!(size == 8 || Errno::last() == Errno::EAGAIN, "a write to an eventfd");
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::process::wait_for;
    use std::time::Duration;

    fn is_readable(bell: &EventFd) -> bool {
        wait_for(bell, Some(Duration::ZERO)).unwrap()
    }

    #[test]
    fn many_rings_are_one_and_clearing_ends_them() {
        let bell = EventFd::new().unwrap();
        assert!(!is_readable(&bell) && !bell.clear());
        bell.ring();
        bell.ring();
        assert!(is_readable(&bell));
        assert!(bell.clear());
        assert!(!is_readable(&bell) && !bell.clear());
    }

    #[test]
    fn a_full_counter_still_rings() {
        let bell = EventFd::new().unwrap();
        nix::unistd::write(&bell, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        bell.ring();
        assert!(bell.clear());
    }

    #[test]
    fn the_bell_does_not_survive_an_exec() {
        let bell = EventFd::new().unwrap();
        let flags = nix::fcntl::fcntl(bell.as_raw_fd(), nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}
