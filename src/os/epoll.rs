//! What the event loop's own crate does not offer: a listener that many processes watch, of which
//! one is woken for a connection instead of all, and descriptors that are watched level-triggered.

use std::io;
use std::os::fd::RawFd;
use std::ptr;

use super::checked;

/// Has `epoll_fd` report `token` while `fd` can be read: level-triggered, and to one of the epoll
/// instances that wait this way. It cannot be modified, only removed and added again.
pub fn add_exclusive(epoll_fd: RawFd, fd: RawFd, token: u64) -> io::Result<()> {
    let events = (libc::EPOLLIN | libc::EPOLLEXCLUSIVE) as u32;
    let mut event = libc::epoll_event { events, u64: token };
    // SAFETY: the event outlives the call, which copies it.
    checked(unsafe { libc::epoll_ctl(epoll_fd, libc::EPOLL_CTL_ADD, fd, &mut event) }).map(drop)
}

/// Has `epoll_fd` report `token` while `fd` can be read or written, as asked for: level-triggered.
pub fn add_level(
    epoll_fd: RawFd,
    fd: RawFd,
    reads: bool,
    writes: bool,
    token: u64,
) -> io::Result<()> {
    control_level(epoll_fd, libc::EPOLL_CTL_ADD, fd, (reads, writes), token)
}

/// Changes what [`add_level`] asked for.
pub fn change_level(
    epoll_fd: RawFd,
    fd: RawFd,
    reads: bool,
    writes: bool,
    token: u64,
) -> io::Result<()> {
    control_level(epoll_fd, libc::EPOLL_CTL_MOD, fd, (reads, writes), token)
}

fn control_level(
    epoll_fd: RawFd,
    operation: libc::c_int,
    fd: RawFd,
    (reads, writes): (bool, bool),
    token: u64,
) -> io::Result<()> {
    let reading = if reads { libc::EPOLLIN } else { 0 };
    let writing = if writes { libc::EPOLLOUT } else { 0 };
    let mut event = libc::epoll_event { events: (reading | writing) as u32, u64: token };
    // SAFETY: the event outlives the call, which copies it.
    checked(unsafe { libc::epoll_ctl(epoll_fd, operation, fd, &mut event) }).map(drop)
}

/// Takes `fd` out again. Do it before closing: while another process has the same socket open, the
/// kernel goes on reporting it here.
pub fn remove(epoll_fd: RawFd, fd: RawFd) -> io::Result<()> {
    // SAFETY: the operation takes no event.
    let result = unsafe { libc::epoll_ctl(epoll_fd, libc::EPOLL_CTL_DEL, fd, ptr::null_mut()) };
    checked(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::eventfd::EventFd;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    fn tokens_of(poll: &mut mio::Poll) -> Vec<usize> {
        let mut events = mio::Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        events.iter().map(|event| event.token().0).collect()
    }

    #[test]
    fn the_token_is_reported_as_long_as_there_is_something_to_read() {
        let mut poll = mio::Poll::new().unwrap();
        let bell = EventFd::new().unwrap();
        add_exclusive(poll.as_raw_fd(), bell.as_raw_fd(), 77).unwrap();
        assert!(tokens_of(&mut poll).is_empty());
        bell.ring();
        assert_eq!(tokens_of(&mut poll), [77]);
        assert_eq!(tokens_of(&mut poll), [77]);
        bell.clear();
        assert!(tokens_of(&mut poll).is_empty());
    }

    #[test]
    fn what_was_removed_is_silent_and_can_be_added_again() {
        let mut poll = mio::Poll::new().unwrap();
        let bell = EventFd::new().unwrap();
        bell.ring();
        add_exclusive(poll.as_raw_fd(), bell.as_raw_fd(), 1).unwrap();
        let twice = add_exclusive(poll.as_raw_fd(), bell.as_raw_fd(), 1).unwrap_err();
        assert_eq!(twice.raw_os_error(), Some(libc::EEXIST));
        remove(poll.as_raw_fd(), bell.as_raw_fd()).unwrap();
        assert!(tokens_of(&mut poll).is_empty());
        let absent = remove(poll.as_raw_fd(), bell.as_raw_fd()).unwrap_err();
        assert_eq!(absent.raw_os_error(), Some(libc::ENOENT));
        add_exclusive(poll.as_raw_fd(), bell.as_raw_fd(), 2).unwrap();
        assert_eq!(tokens_of(&mut poll), [2]);
    }
}
