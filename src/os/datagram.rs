//! Datagrams, many in one call, and who sent them.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::address::{Address, Family, RawAddress};
use super::memory::Pages;
use super::socket::{self, SocketKind};
use super::{checked, retried};

/// The most that one datagram of a batch may hold: more than any that comes over IP.
pub const LARGEST_DATAGRAM: usize = 64 * 1024;
/// From one place to the next. Not a power of two: with one, all beginnings would compete for the
/// same few lines of the caches.
const STRIDE: usize = LARGEST_DATAGRAM + 4096 + 64;

/// Places for datagrams, filled by one call. Memory is touched as far as datagrams reach.
pub struct Batch {
    memory: Pages,
    senders: Vec<libc::sockaddr_storage>,
    /// Each points to its message's place in `memory`.
    pieces: Vec<libc::iovec>,
    /// Each points to its sender and its piece, which stay where they are.
    headers: Vec<libc::mmsghdr>,
    /// How many headers the last call may have changed.
    used: usize,
    /// How many datagrams it has taken.
    taken: usize,
}

/// A datagram of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// What it holds.
    pub data: &'a [u8],
    /// Who sent it, in the form of the system: see [`sender`].
    pub sender: &'a [u8],
    /// Its end is missing, it was larger than [`LARGEST_DATAGRAM`].
    pub is_cut: bool,
}

impl Batch {
    /// Places for `count` datagrams.
    pub fn new(count: usize) -> io::Result<Self> {
        let mut memory = Pages::new(count * STRIDE)?;
        // SAFETY: all-zero is a valid sockaddr_storage, of no family.
        let mut senders = vec![unsafe { mem::zeroed::<libc::sockaddr_storage>() }; count];
        let places = memory.chunks_exact_mut(STRIDE);
        let mut pieces: Vec<libc::iovec> = places
            .map(|place| libc::iovec {
                iov_base: place.as_mut_ptr().cast(),
                iov_len: LARGEST_DATAGRAM,
            })
            .collect();
        let header = |(piece, sender): (&mut libc::iovec, &mut libc::sockaddr_storage)| {
            // SAFETY: all-zero is a valid message that points nowhere.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_name = (sender as *mut libc::sockaddr_storage).cast();
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
            header
        };
        let headers = pieces.iter_mut().zip(&mut senders).map(header).collect();
        Ok(Self { memory, senders, pieces, headers, used: count, taken: 0 })
    }

    /// How many places there are.
    pub fn capacity(&self) -> usize {
        self.pieces.len()
    }

    /// Takes up to `most` datagrams that wait at a socket, in the place of those that were taken
    /// before; how many. Fewer than `most`: nothing is left. EAGAIN: nothing was there.
    pub fn receive(&mut self, fd: RawFd, most: usize) -> io::Result<usize> {
        let len = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        for header in self.headers.iter_mut().take(self.used) {
            header.msg_hdr.msg_namelen = len;
            header.msg_hdr.msg_flags = 0;
        }
        (self.used, self.taken) = (1, 0);
        let count = most.min(self.headers.len()) as libc::c_uint;
        let (headers, flags) = (self.headers.as_mut_ptr(), libc::MSG_DONTWAIT);
        // SAFETY: there are at least `count` headers. Each points to one piece and one sender,
        // which lie in vectors of this batch that never grow; each piece to a place of its length.
        let receive = || unsafe { libc::recvmmsg(fd, headers, count, flags as _, ptr::null_mut()) };
        self.taken = retried(receive)?.unsigned_abs() as usize;
        // Also a call that takes nothing may have changed the first one.
        self.used = self.taken.max(1);
        Ok(self.taken)
    }

    /// One of those that the last call has taken.
    #[inline]
    pub fn get(&self, index: usize) -> Option<Datagram<'_>> {
        let header = self.headers.get(index).filter(|_| index < self.taken)?;
        let start = index * STRIDE;
        let len = (header.msg_len as usize).min(LARGEST_DATAGRAM);
        let sender = self.senders.get(index)?;
        let sender_len =
            (header.msg_hdr.msg_namelen as usize).min(mem::size_of::<libc::sockaddr_storage>());
        let sender = (sender as *const libc::sockaddr_storage).cast::<u8>();
        Some(Datagram {
            data: self.memory.get(start..start + len)?,
            // SAFETY: the storage is at least so long, and all of it is initialised.
            sender: unsafe { std::slice::from_raw_parts(sender, sender_len) },
            is_cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        })
    }
}

/// Reads who sent a datagram. A Unix socket that did not bind sends without an address.
#[inline]
pub fn sender(bytes: &[u8]) -> io::Result<Address> {
    match bytes.is_empty() {
        true => Ok(Address::UNNAMED),
        false => Address::try_from(&RawAddress::from_bytes(bytes)),
    }
}

/// Sends one datagram whole. While there is no room for it, waits, `patience` at most; then EAGAIN.
pub fn send_patiently(fd: RawFd, bytes: &[u8], to: &Address, patience: Duration) -> io::Result<()> {
    let mut room = None;
    loop {
        match socket::send_to(fd, bytes, to) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
                let room = match &mut room {
                    Some(room) => room,
                    None => room.insert(Room::new(fd, to, patience)?),
                };
                if !room.wait()? {
                    return Err(error);
                }
            }
            result => return result.map(drop),
        }
    }
}

/// Where it is seen that there is room for a datagram again.
struct Room {
    fd: RawFd,
    /// A Unix socket is full at the side of the receiver, which is seen by who is connected to it.
    _connected: Option<std::os::fd::OwnedFd>,
    deadline: Instant,
}

impl Room {
    #[cold]
    fn new(fd: RawFd, to: &Address, patience: Duration) -> io::Result<Self> {
        let connected = match to.family() {
            Family::Unix => {
                let socket = socket::open(SocketKind::UnixDgram)?;
                socket::connect(socket.as_raw_fd(), to)?;
                Some(socket)
            }
            Family::V4 | Family::V6 => None,
        };
        let fd = connected.as_ref().map_or(fd, AsRawFd::as_raw_fd);
        Ok(Self { fd, _connected: connected, deadline: Instant::now() + patience })
    }

    /// False when the patience is at its end.
    fn wait(&self) -> io::Result<bool> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let left_ms = i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
        let mut watched = libc::pollfd { fd: self.fd, events: libc::POLLOUT, revents: 0 };
        // SAFETY: one entry, which outlives the call.
        match checked(unsafe { libc::poll(&mut watched, 1, left_ms) }) {
            Ok(0) => Ok(false),
            Ok(_) => Ok(!left.is_zero()),
            Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    fn bound(kind: SocketKind, host: &str) -> (OwnedFd, Address) {
        let address = Address::parse(kind.family(), host, 0).unwrap();
        let socket = socket::bind(kind, &address).unwrap();
        let address = socket::local_address(socket.as_raw_fd()).unwrap();
        (socket, address)
    }

    #[test]
    fn a_batch_takes_what_waits_in_order_and_tells_who_sent_it() {
        for (kind, host) in [(SocketKind::Udp, "127.0.0.1"), (SocketKind::Udp6, "::1")] {
            let ((socket, address), (client, from)) = (bound(kind, host), bound(kind, host));
            let mut batch = Batch::new(4).unwrap();
            let nothing = batch.receive(socket.as_raw_fd(), 4).unwrap_err();
            assert_eq!(nothing.raw_os_error(), Some(libc::EAGAIN));
            let large = vec![7; 65_507];
            let sent: [&[u8]; 6] = [b"one", b"", b"three", &large, b"five", b"six"];
            for data in sent {
                socket::send_to(client.as_raw_fd(), data, &address).unwrap();
            }
            let mut got = Vec::new();
            for expected in [4, 2] {
                assert_eq!(batch.receive(socket.as_raw_fd(), 9).unwrap(), expected);
                for index in 0..expected {
                    let datagram = batch.get(index).unwrap();
                    assert_eq!(sender(datagram.sender).unwrap(), from);
                    assert!(!datagram.is_cut);
                    got.push(datagram.data.to_vec());
                }
                assert!(batch.get(expected).is_none());
            }
            assert_eq!(got, sent);
        }
    }

    fn path(name: &str) -> String {
        let folder = std::env::temp_dir();
        folder.join(format!("sw-{name}-{}.sock", std::process::id())).display().to_string()
    }

    #[test]
    fn a_large_unix_datagram_is_told_to_be_cut_and_an_unnamed_sender_has_no_address() {
        let path = path("cut");
        let (socket, address) = bound(SocketKind::UnixDgram, &path);
        let client = socket::open(SocketKind::UnixDgram).unwrap();
        for size in [LARGEST_DATAGRAM, LARGEST_DATAGRAM + 1, 1] {
            socket::send_to(client.as_raw_fd(), &vec![1; size], &address).unwrap();
        }
        let mut batch = Batch::new(3).unwrap();
        assert_eq!(batch.receive(socket.as_raw_fd(), 3).unwrap(), 3);
        let all: Vec<Datagram> = (0..3).filter_map(|index| batch.get(index)).collect();
        let told: Vec<(usize, bool)> =
            all.iter().map(|datagram| (datagram.data.len(), datagram.is_cut)).collect();
        assert_eq!(told, [(LARGEST_DATAGRAM, false), (LARGEST_DATAGRAM, true), (1, false)]);
        assert!(all.iter().all(|datagram| sender(datagram.sender).unwrap() == Address::UNNAMED));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn nonsense_is_no_sender_and_does_no_harm() {
        let whole = [0xff; 200];
        for len in 1..whole.len() {
            assert!(sender(&whole[..len]).is_err());
        }
        assert_eq!(sender(&[libc::AF_UNIX as u8, 0]).unwrap(), Address::UNNAMED);
        assert_eq!(sender(&[libc::AF_INET as u8, 0]).unwrap().to_string(), "0.0.0.0:0");
    }

    #[test]
    fn a_full_receiver_is_waited_for() {
        let path = path("full");
        let (socket, address) = bound(SocketKind::UnixDgram, &path);
        let client = socket::open(SocketKind::UnixDgram).unwrap();
        let mut sent = 0_u32;
        while socket::send_to(client.as_raw_fd(), &sent.to_ne_bytes(), &address).is_ok() {
            sent += 1;
        }
        let begin = Instant::now();
        let patience = Duration::from_millis(30);
        let late = send_patiently(client.as_raw_fd(), b"late", &address, patience).unwrap_err();
        assert_eq!(late.raw_os_error(), Some(libc::EAGAIN));
        assert!(begin.elapsed() >= patience);
        std::thread::scope(|scope| {
            let patience = Duration::from_secs(20);
            let (client, address) = (&client, &address);
            let waiting =
                scope.spawn(move || send_patiently(client.as_raw_fd(), b"last", address, patience));
            let mut batch = Batch::new(64).unwrap();
            let mut taken = 0;
            while taken <= sent {
                assert!(super::super::process::wait_for(&socket, Some(patience)).unwrap());
                taken += batch.receive(socket.as_raw_fd(), 64).unwrap() as u32;
            }
            assert_eq!(batch.get(batch.taken - 1).unwrap().data, b"last");
            waiting.join().unwrap().unwrap();
        });
        std::fs::remove_file(&path).unwrap();
    }
}
