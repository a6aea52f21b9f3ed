//! Descriptors that whoever started this program has opened for it: socket activation.
//!
//! Three variables of the environment tell of them. They are left as they are: they belong to the
//! program, which may want to look as well.

use std::env;
use std::io;
use std::ops::Range;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use super::{checked, process};

/// Where they begin if nothing is said.
const FIRST: RawFd = 3;

/// The numbers of the descriptors that are meant for this process, or why there are none.
pub fn inherited() -> Result<Range<RawFd>, String> {
    let pid: i32 = variable("LISTEN_PID")?.ok_or("LISTEN_PID is not set")?;
    if pid != process::pid() {
        return Err(format!("LISTEN_PID is {pid}, which is not this process"));
    }
    let count: RawFd = variable("LISTEN_FDS")?.ok_or("LISTEN_FDS is not set")?;
    let first: RawFd = variable("LISTEN_FDS_START")?.unwrap_or(FIRST);
    match first.checked_add(count) {
        Some(end) if count > 0 && first >= 0 => Ok(first..end),
        _ => Err(format!("LISTEN_FDS is {count}, beginning at {first}: those are no descriptors")),
    }
}

fn variable(name: &str) -> Result<Option<i32>, String> {
    let Some(text) = env::var_os(name) else { return Ok(None) };
    let number = text.to_str().and_then(|text| text.trim().parse().ok());
    number.map(Some).ok_or(format!("{name} is {text:?}, which is no number"))
}

/// A handle of our own for a descriptor that somebody else has opened. Neither is inherited by what
/// this program executes; the other one stays open.
pub fn share(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: plain system call, which takes no memory.
    let flags = checked(unsafe { libc::fcntl(fd, libc::F_GETFD) })?;
    // SAFETY: as above.
    checked(unsafe { libc::fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC) })?;
    // SAFETY: as above; the number behind the standard ones.
    let copy = checked(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, FIRST) })?;
    // SAFETY: the call has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_shared_descriptor_is_another_one_and_is_not_inherited() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let copy = share(file.as_raw_fd()).unwrap();
        assert!(copy.as_raw_fd() >= FIRST && copy.as_raw_fd() != file.as_raw_fd());
        for fd in [copy.as_raw_fd(), file.as_raw_fd()] {
            // SAFETY: plain system call, which takes no memory.
            assert_eq!(unsafe { libc::fcntl(fd, libc::F_GETFD) }, libc::FD_CLOEXEC);
        }
        assert_eq!(share(-1).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
