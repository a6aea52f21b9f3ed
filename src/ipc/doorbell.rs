//! How one unit wakes another: an eventfd that is made before the forks.
//!
//! Nobody ever reads the eventfd. It is watched edge-triggered, where each write is a new edge; a
//! read by one process could swallow the edge of another that has inherited the same descriptor.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::os::eventfd::EventFd;
use crate::os::{clock, futex};
use crate::shm::{Line, Place, Shared};

/// Counts the calls to a unit, for one that waits for nothing else: a lane has room again, or there
/// is something in its answer box.
#[repr(C)]
#[derive(Default)]
pub struct RoomCalls {
    /// Raised by whoever calls. Release and acquire: the memory that was freed is seen.
    count: Line<AtomicU32>,
}

// SAFETY: one atomic.
unsafe impl Shared for RoomCalls {}

/// The bell of one unit.
pub struct Doorbell {
    fd: EventFd,
    calls: Place<RoomCalls>,
}

impl Doorbell {
    /// A bell that every process forked from now on can ring.
    pub fn new(calls: Place<RoomCalls>) -> Result<Self> {
        let fd = EventFd::new().map_err(|cause| Error::system("making a doorbell", &cause))?;
        Ok(Self { fd, calls })
    }

    /// Wakes the unit's loop. Safe in a signal handler.
    pub fn ring(&self) {
        self.fd.ring();
    }

    /// Wakes the unit because a lane that it writes has room again.
    pub fn ring_for_room(&self) -> io::Result<()> {
        self.fd.ring();
        self.call()
    }

    /// Wakes the unit if it sleeps for a call, and not if it is in its loop.
    pub fn call(&self) -> io::Result<()> {
        self.calls.count.fetch_add(1, Ordering::Release);
        futex::wake(&self.calls.count, u32::MAX).map(drop)
    }

    /// How often the unit was called so far.
    pub fn calls(&self) -> u32 {
        self.calls.count.load(Ordering::Acquire)
    }

    /// Sleeps until there was a call beyond `seen`; false when the deadline has come first.
    pub fn wait_for_call(&self, seen: u32, deadline_ns: u64) -> bool {
        let left_ns = deadline_ns.saturating_sub(clock::monotonic_ns());
        if left_ns == 0 {
            return false;
        }
        let left = Duration::from_nanos(left_ns);
        // Every answer but the deadline's means: look again.
        !matches!(
            futex::wait(&self.calls.count, seen, Some(left)),
            Ok(futex::Woken::TimedOut) | Err(_)
        )
    }
}

impl AsRawFd for Doorbell {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
