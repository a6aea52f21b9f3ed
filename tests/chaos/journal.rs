//! What the server knows of each request, in memory that outlives all of its processes: who had it
//! in hand, how often, and whether it was answered. The auditor reads it from outside.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Clients, and requests of each of them. What is not written to costs nothing.
pub const CLIENTS: usize = 128;
pub const NUMBERS: usize = 1 << 17;

/// One request. All zero: it has not been seen.
#[repr(C)]
pub struct Entry {
    /// The process that had it in hand last.
    pub owner: AtomicU32,
    pub begun: AtomicU32,
    /// Whether the call that answers it was made and took the answer.
    pub answered: AtomicU32,
}

/// What is known of all requests of a client.
#[repr(C)]
pub struct Summary {
    /// The greatest number that was begun.
    last: AtomicU64,
    /// Requests that were begun after a later one.
    late: AtomicU64,
}

#[derive(Clone, Copy)]
pub struct Journal {
    summaries: &'static [Summary],
    entries: &'static [Entry],
}

const LENGTH: usize =
    CLIENTS * (std::mem::size_of::<Summary>() + NUMBERS * std::mem::size_of::<Entry>());

impl Journal {
    /// A new one, and the descriptor by which others find it.
    pub fn create() -> io::Result<(Self, OwnedFd)> {
        // SAFETY: the name ends with a NUL.
        let number = unsafe { libc::memfd_create(b"journal\0".as_ptr().cast(), libc::MFD_CLOEXEC) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        // SAFETY: ftruncate takes numbers.
        if unsafe { libc::ftruncate(fd.as_raw_fd(), LENGTH as libc::off_t) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((Self::map(&fd)?, fd))
    }

    /// That of another process.
    pub fn open(pid: i32, number: i32) -> io::Result<Self> {
        let path = format!("/proc/{pid}/fd/{number}");
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path)?;
        Self::map(&file.into())
    }

    fn map(fd: &OwnedFd) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let (nowhere, fd) = (std::ptr::null_mut(), fd.as_raw_fd());
        // SAFETY: a new mapping of the whole file, which is never taken away.
        let start = unsafe { libc::mmap(nowhere, LENGTH, protection, libc::MAP_SHARED, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping has room for both arrays, lives for ever, and holds nothing but
        // atomics, for which any bytes are valid.
        unsafe {
            let summaries = std::slice::from_raw_parts(start.cast::<Summary>(), CLIENTS);
            let entries = start.cast::<Summary>().add(CLIENTS).cast();
            let entries = std::slice::from_raw_parts(entries, CLIENTS * NUMBERS);
            Ok(Self { summaries, entries })
        }
    }

    pub fn entry(&self, client: u16, number: u64) -> &'static Entry {
        &self.entries[usize::from(client) * NUMBERS + number as usize % NUMBERS]
    }

    /// This process has it in hand from now on.
    pub fn begin(&self, client: u16, number: u64) {
        let (entry, summary) = (self.entry(client, number), &self.summaries[usize::from(client)]);
        entry.owner.store(std::process::id(), Ordering::Relaxed);
        entry.begun.fetch_add(1, Ordering::Relaxed);
        if summary.last.fetch_max(number, Ordering::Relaxed) > number {
            summary.late.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What has come of it is in the hands of this process now.
    pub fn pass(&self, client: u16, number: u64) {
        self.entry(client, number).owner.store(std::process::id(), Ordering::Relaxed);
    }

    pub fn answer(&self, client: u16, number: u64) {
        self.entry(client, number).answered.store(1, Ordering::Relaxed);
    }

    /// The greatest number of a client that was begun.
    pub fn last(&self, client: u16) -> u64 {
        self.summaries[usize::from(client)].last.load(Ordering::Relaxed)
    }

    /// Requests of a client that were begun after a later one.
    pub fn late(&self, client: u16) -> u64 {
        self.summaries[usize::from(client)].late.load(Ordering::Relaxed)
    }
}
