//! The shared record of a connection: what every process can read about it.
//!
//! The acceptor fills a claimed slot before it is published. From then on the owning reactor is the
//! only writer of the reactor's part and the bound worker the only writer of the worker's part;
//! `closed`, what the worker is awaited for, and what is anybody's are written from all sides, by
//! one atomic step each. All fields are atomics and every value is possible: whoever reads trusts
//! none of them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::sync::atomic::{fence, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};

use crate::model::{SessionId, UnitId, WorkerId};
use crate::os::address::{Address, UnixPath};
use crate::shm::shared_record;

/// A bit of `closed`: the close callback has begun; nobody may begin it again.
pub const NOTIFIED: u32 = 1;
/// A bit of `closed`: the close callback has returned.
pub const DONE: u32 = 2;
/// A bit of `closed`: the server closed, not the peer.
pub const BY_SERVER: u32 = 4;
/// Above these bits of `closed` stands the unit that has begun the close callback.
const CLOSER_SHIFT: u32 = 16;

/// A mark: it is not closed for being idle. Anybody sets and clears it.
const PROTECTED: u32 = 1;
/// A mark: nothing is read before it is confirmed. Whoever clears it has confirmed it.
const UNCONFIRMED: u32 = 2;

const FAMILY_V4: u32 = 1;
const FAMILY_V6: u32 = 2;
const FAMILY_UNIX: u32 = 3;
const PATH_WORDS: usize = 13;

shared_record! {
    /// What is known of one connection. Zero is "nothing known".
    #[derive(Debug, Default)]
    pub struct Connection {
        // The reactor's part.
        /// The descriptor in the process of the reactor.
        pub descriptor: AtomicI32,
        /// The unit that owns the connection.
        pub reactor: AtomicU32,
        /// When bytes last came, nanoseconds of wall-clock time.
        pub last_recv_ns: AtomicU64,
        /// Bytes handed to the worker since accept.
        pub dispatched_bytes: AtomicU64,
        /// Bytes in memory that wait for the peer.
        pub queued_bytes: AtomicU64,
        /// Bytes of files that wait for the peer.
        pub queued_file_bytes: AtomicU64,
        /// Files of which they are.
        pub queued_files: AtomicU32,
        /// Not 0: a send was refused since the buffer was last called empty. Whoever refuses sets
        /// it, and tells the reactor if it was 0; the reactor clears it.
        pub refused: AtomicU32,
        /// When bytes were last written.
        pub last_send_ns: AtomicU64,
        /// `errno` of an abnormal end.
        pub close_errno: AtomicI32,
        /// The number of the reactor.
        pub reactor_number: AtomicI32,
        /// What `taken_bytes` has to reach for the reactor to be told that it may read on; 0 while
        /// it reads. Set by the reactor, cleared by the worker that tells.
        awaited_bytes: AtomicU64,

        // Anybody's.
        /// Marks, see above.
        marks: AtomicU32,
        /// What the program has bound it to, once; 0: nothing.
        uid: AtomicU32,

        // The worker's part.
        /// Bytes that the worker has taken since accept.
        pub taken_bytes: AtomicU64,
        /// When the bytes that the worker took last had arrived.
        pub last_dispatch_ns: AtomicU64,
        /// The bits above.
        pub closed: AtomicU32,
        /// `closed` of the connection that had this slot before.
        former_closed: AtomicU32,
        /// The session that had this slot before.
        former_session: AtomicI64,

        // Written once, by the acceptor.
        /// Index of the port that accepted it.
        port_index: AtomicU32,
        peer_port: AtomicU32,
        /// When it was accepted.
        pub connect_ns: AtomicU64,
        peer_family: AtomicU32,
        // Written once, by the reactor.
        /// The worker that was chosen for its life, plus one; 0: none.
        worker: AtomicU32,
        peer_words: [AtomicU64; PATH_WORDS],
    }
}

const _: () = assert!(std::mem::size_of::<Connection>() == 240);

/// What became of the session that an id names but that is not open any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Former {
    /// The server had closed it.
    ClosedByServer,
    /// The client had closed it.
    ClosedByClient,
}

impl Connection {
    /// Fills the record of a connection that was just accepted.
    pub fn open(&self, descriptor: i32, port_index: u32, peer: &Address, now_ns: u64) {
        self.descriptor.store(descriptor, Ordering::Relaxed);
        self.last_recv_ns.store(now_ns, Ordering::Relaxed);
        self.connect_ns.store(now_ns, Ordering::Relaxed);
        self.port_index.store(port_index, Ordering::Relaxed);
        for field in [
            &self.dispatched_bytes,
            &self.queued_bytes,
            &self.queued_file_bytes,
            &self.last_send_ns,
            &self.taken_bytes,
            &self.last_dispatch_ns,
            &self.awaited_bytes,
        ] {
            field.store(0, Ordering::Relaxed);
        }
        self.queued_files.store(0, Ordering::Relaxed);
        self.refused.store(0, Ordering::Relaxed);
        self.worker.store(0, Ordering::Relaxed);
        self.close_errno.store(0, Ordering::Relaxed);
        self.closed.store(0, Ordering::Relaxed);
        self.marks.store(0, Ordering::Relaxed);
        self.uid.store(0, Ordering::Relaxed);
        self.set_peer(peer);
    }

    /// Nothing will be read before it is confirmed. Said before the record is published.
    pub fn delay(&self) {
        self.marks.store(UNCONFIRMED, Ordering::Relaxed);
    }

    /// Whether it waits to be confirmed.
    pub fn is_unconfirmed(&self) -> bool {
        self.marks.load(Ordering::Relaxed) & UNCONFIRMED != 0
    }

    /// Confirms it; true for one caller alone, and if it waited for that.
    pub fn confirm(&self) -> bool {
        self.marks.fetch_and(!UNCONFIRMED, Ordering::Relaxed) & UNCONFIRMED != 0
    }

    /// Exempts it from being closed for being idle, or no longer.
    pub fn protect(&self, is_protected: bool) {
        match is_protected {
            true => self.marks.fetch_or(PROTECTED, Ordering::Relaxed),
            false => self.marks.fetch_and(!PROTECTED, Ordering::Relaxed),
        };
    }

    /// Whether it is exempt from being closed for being idle.
    pub fn is_protected(&self) -> bool {
        self.marks.load(Ordering::Relaxed) & PROTECTED != 0
    }

    /// Binds it to a user, who is not 0. False if it is bound already.
    pub fn bind(&self, uid: u32) -> bool {
        self.uid.compare_exchange(0, uid, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Whom it is bound to.
    pub fn uid(&self) -> Option<u32> {
        Some(self.uid.load(Ordering::Relaxed)).filter(|uid| *uid != 0)
    }

    /// The worker that was chosen for its life, by a rule that looks at the workers.
    pub fn worker(&self) -> Option<WorkerId> {
        let number = self.worker.load(Ordering::Relaxed).checked_sub(1)?;
        u16::try_from(number).ok().map(WorkerId)
    }

    /// Chooses a worker for its life. Its reactor does, once.
    pub fn set_worker(&self, worker: u16) {
        self.worker.store(u32::from(worker) + 1, Ordering::Relaxed);
    }

    /// Index of the port that accepted it.
    #[inline]
    pub fn port(&self) -> usize {
        self.port_index.load(Ordering::Relaxed) as usize
    }

    /// Names the owner; before the record is published.
    pub fn set_owner(&self, reactor: u16, reactor_number: i32) {
        self.reactor.store(u32::from(reactor), Ordering::Relaxed);
        self.reactor_number.store(reactor_number, Ordering::Relaxed);
    }

    fn set_peer(&self, peer: &Address) {
        let mut bytes = [0_u8; PATH_WORDS * 8];
        let (family, port) = match peer {
            Address::V4(address) => {
                copy_front(&mut bytes, &address.ip().octets());
                (FAMILY_V4, address.port())
            }
            Address::V6(address) => {
                copy_front(&mut bytes, &address.ip().octets());
                (FAMILY_V6, address.port())
            }
            Address::Unix(path) => {
                copy_front(&mut bytes, path.as_bytes());
                (FAMILY_UNIX, 0)
            }
        };
        let used = if family == FAMILY_UNIX { PATH_WORDS } else { 2 };
        for (word, chunk) in self.peer_words.iter().zip(bytes.chunks_exact(8)).take(used) {
            let mut eight = [0_u8; 8];
            eight.copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(eight), Ordering::Relaxed);
        }
        self.peer_family.store(family, Ordering::Relaxed);
        self.peer_port.store(u32::from(port), Ordering::Relaxed);
    }

    /// The address of the peer; `None` if the record holds none.
    pub fn peer(&self) -> Option<Address> {
        let mut bytes = [0_u8; PATH_WORDS * 8];
        for (word, chunk) in self.peer_words.iter().zip(bytes.chunks_exact_mut(8)) {
            chunk.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        let port = self.peer_port.load(Ordering::Relaxed) as u16;
        let mut four = [0_u8; 4];
        let mut sixteen = [0_u8; 16];
        four.copy_from_slice(bytes.get(..4)?);
        sixteen.copy_from_slice(bytes.get(..16)?);
        match self.peer_family.load(Ordering::Relaxed) {
            FAMILY_V4 => Some(Address::V4(SocketAddrV4::new(Ipv4Addr::from(four), port))),
            FAMILY_V6 => Some(Address::V6(SocketAddrV6::new(Ipv6Addr::from(sixteen), port, 0, 0))),
            FAMILY_UNIX => {
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                Some(UnixPath::new(bytes.get(..end)?).map_or(Address::UNNAMED, Address::Unix))
            }
            _ => None,
        }
    }

    /// The worker takes bytes; as one of many that do, if `is_one_of_many`.
    #[inline]
    pub fn take_bytes(&self, count: u64, is_one_of_many: bool) {
        if is_one_of_many {
            self.taken_bytes.fetch_add(count, Ordering::Relaxed);
        } else {
            let taken = self.taken_bytes.load(Ordering::Relaxed).wrapping_add(count);
            self.taken_bytes.store(taken, Ordering::Relaxed);
        }
    }

    /// So many bytes were given before, whatever became of them. Where many workers take them, the
    /// others may still have some, and the reactor waits for a little less than it could.
    pub fn correct_taken(&self, given: u64, is_one_of_many: bool) {
        match is_one_of_many {
            true => self.taken_bytes.fetch_max(given, Ordering::Relaxed),
            false => self.taken_bytes.swap(given, Ordering::Relaxed),
        };
    }

    /// Bytes that the reactor has handed over and the worker has not taken.
    pub fn undelivered_bytes(&self) -> u64 {
        let dispatched = self.dispatched_bytes.load(Ordering::Relaxed);
        dispatched.saturating_sub(self.taken_bytes.load(Ordering::Relaxed))
    }

    /// The reactor stops reading until the worker has taken so many of the `given` bytes that at
    /// most `limit` are left. False if that is so already.
    pub fn await_worker(&self, given: u64, limit: u64) -> bool {
        let awaited = given.saturating_sub(limit);
        if self.taken_bytes.load(Ordering::Relaxed) >= awaited {
            return false;
        }
        self.awaited_bytes.store(awaited, Ordering::Relaxed);
        // Pairs with the fence in `is_awaited`: either it sees what is awaited, or what it has
        // taken is seen here.
        fence(Ordering::SeqCst);
        let waits = self.taken_bytes.load(Ordering::Relaxed) < awaited;
        if !waits {
            self.awaited_bytes.store(0, Ordering::Relaxed);
        }
        waits
    }

    /// The worker has taken bytes: whether the reactor has to be told, which is so once.
    pub fn is_awaited(&self) -> bool {
        fence(Ordering::SeqCst);
        let awaited = self.awaited_bytes.load(Ordering::Relaxed);
        awaited != 0
            && self.taken_bytes.load(Ordering::Relaxed) >= awaited
            && self.awaited_bytes.swap(0, Ordering::Relaxed) != 0
    }

    /// Whether the worker is still to tell that it has taken bytes.
    pub fn awaits_worker(&self) -> bool {
        let awaited = self.awaited_bytes.load(Ordering::Relaxed);
        self.taken_bytes.load(Ordering::Relaxed) < awaited
    }

    /// The server ends it by itself: whoever asks later is told that the server closed it.
    pub fn blame_server(&self) {
        self.closed.fetch_or(BY_SERVER, Ordering::AcqRel);
    }

    /// Begins the close callback, in the worker `closer`. `false` if somebody has begun it already.
    pub fn begin_close(&self, by_server: bool, closer: UnitId) -> bool {
        let bits = if by_server { NOTIFIED | BY_SERVER } else { NOTIFIED };
        let bits = bits | u32::from(closer.0) << CLOSER_SHIFT;
        let begin = |closed: u32| (closed & NOTIFIED == 0).then_some(closed | bits);
        // Acquire and release: what the callback sees is what was known when it began.
        self.closed.fetch_update(Ordering::AcqRel, Ordering::Acquire, begin).is_ok()
    }

    /// The worker that has begun the close callback, if any has.
    pub fn closer(&self) -> Option<UnitId> {
        let closed = self.closed.load(Ordering::Acquire);
        (closed & NOTIFIED != 0).then_some(UnitId((closed >> CLOSER_SHIFT) as u16))
    }

    /// Whether another worker than this one has begun the close callback and has not returned.
    pub fn is_closed_elsewhere(&self, worker: UnitId) -> bool {
        let is_done = self.closed.load(Ordering::Acquire) & DONE != 0;
        !is_done && self.closer().is_some_and(|closer| closer != worker)
    }

    /// Whether the server has closed it, not the peer.
    pub fn is_closed_by_server(&self) -> bool {
        self.closed.load(Ordering::Acquire) & BY_SERVER != 0
    }

    /// The close callback has returned.
    pub fn end_close(&self) {
        self.closed.fetch_or(DONE, Ordering::AcqRel);
    }

    /// Remembers, in a slot about to be freed, which session it was and who closed it.
    pub fn bury(&self, session: SessionId) {
        let closed = self.closed.load(Ordering::Acquire);
        self.former_closed.store(closed, Ordering::Relaxed);
        self.former_session.store(session.0, Ordering::Release);
    }

    /// What became of `session`, if this slot had it last.
    pub fn former(&self, session: SessionId) -> Option<Former> {
        if self.former_session.load(Ordering::Acquire) != session.0 {
            return None;
        }
        Some(if self.former_closed.load(Ordering::Relaxed) & BY_SERVER != 0 {
            Former::ClosedByServer
        } else {
            Former::ClosedByClient
        })
    }
}

fn copy_front(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(peer: &Address) -> Connection {
        let record = Connection::default();
        record.open(7, 0, peer, 1_000);
        record
    }

    #[test]
    fn an_address_comes_back_as_it_was_put_in() {
        for peer in [
            Address::V4("127.0.0.1:80".parse().unwrap()),
            Address::V6("[::1]:65535".parse().unwrap()),
            Address::Unix(UnixPath::new(b"/tmp/peer").unwrap()),
            Address::UNNAMED,
        ] {
            assert_eq!(opened(&peer).peer(), Some(peer));
        }
        assert_eq!(Connection::default().peer(), None);
    }

    #[test]
    fn the_close_callback_is_begun_once() {
        let record = opened(&Address::UNNAMED);
        assert_eq!(record.closer(), None);
        assert!(record.begin_close(true, UnitId(7)));
        assert!(!record.begin_close(false, UnitId(8)));
        assert_eq!(record.closer(), Some(UnitId(7)));
        assert!(record.is_closed_elsewhere(UnitId(8)) && !record.is_closed_elsewhere(UnitId(7)));
        record.end_close();
        assert!(!record.is_closed_elsewhere(UnitId(8)));
        record.bury(SessionId(9));
        assert_eq!(record.former(SessionId(9)), Some(Former::ClosedByServer));
        assert_eq!(record.former(SessionId(8)), None);
    }

    #[test]
    fn it_is_bound_and_confirmed_once() {
        let record = opened(&Address::UNNAMED);
        assert_eq!((record.uid(), record.confirm()), (None, false));
        record.delay();
        assert!(record.is_unconfirmed());
        record.protect(true);
        assert_eq!((record.confirm(), record.confirm()), (true, false));
        assert!(record.is_protected() && !record.is_unconfirmed());
        assert_eq!((record.bind(u32::MAX), record.bind(7)), (true, false));
        assert_eq!(record.uid(), Some(u32::MAX));
        record.open(7, 0, &Address::UNNAMED, 2_000);
        assert_eq!((record.uid(), record.is_protected()), (None, false));
    }

    #[test]
    fn a_reactor_waits_until_few_enough_bytes_are_left_and_is_told_once() {
        let record = opened(&Address::UNNAMED);
        assert!(!record.await_worker(100, 100), "the limit may be reached");
        assert!(record.await_worker(101, 100));
        assert!(!record.is_awaited(), "nothing was taken");
        assert!(record.awaits_worker());
        record.taken_bytes.store(1, Ordering::Relaxed);
        assert!(!record.awaits_worker());
        assert_eq!((record.is_awaited(), record.is_awaited()), (true, false));
        assert!(!record.await_worker(101, 100));
    }

    #[test]
    fn a_worker_that_claims_to_have_taken_more_than_it_was_given_leaves_nothing_undelivered() {
        let record = opened(&Address::UNNAMED);
        record.taken_bytes.store(5, Ordering::Relaxed);
        assert_eq!(record.undelivered_bytes(), 0);
    }
}
