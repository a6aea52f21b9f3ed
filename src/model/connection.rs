//! The shared record of a connection: what every process can read about it.
//!
//! The acceptor fills a claimed slot before it is published. From then on the owning reactor is the
//! only writer of the reactor's part and the bound worker the only writer of the worker's part;
//! `closed`, what the worker is awaited for, and what is anybody's are written from all sides, by
//! one atomic step each. All fields are atomics and every value is possible: whoever reads trusts
//! none of them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::sync::atomic::{fence, AtomicI32, AtomicI64, AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::model::{SessionId, UnitId, WorkerId};
use crate::os::address::{Address, UnixPath};
use crate::shm::shared_record;

/// A bit of `closed`: the close callback has begun; nobody may begin it again.
pub const NOTIFIED: u32 = 1;
/// A bit of `closed`: the close callback has returned.
pub const DONE: u32 = 2;
/// A bit of `closed`: the server closed, not the peer.
pub const BY_SERVER: u32 = 4;
/// A bit of `closed`: the handshake of TLS is not finished, nobody sees the connection yet. Set
/// before the record is published, cleared by the reactor.
pub const UNFINISHED: u32 = 8;
/// A bit of `closed`: what waits for the peer is not wanted any more. Set by another worker than
/// the one that runs the close callback, which sees it when that has returned.
const CUT: u32 = 16;
/// Above these bits of `closed` stands the unit that has begun the close callback.
const CLOSER_SHIFT: u32 = 16;

/// A mark: it is not closed for being idle. Anybody sets and clears it.
const PROTECTED: u64 = 1 << 32;
/// A mark: nothing is read before it is confirmed. Whoever clears it has confirmed it.
const UNCONFIRMED: u64 = 1 << 33;
/// Above the marks stand these many low bits of the session id. Two sessions of one slot that have
/// the same ones are at least 2^30 connections apart.
const ID_BITS: u32 = 30;

const FAMILY_V4: u32 = 1;
const FAMILY_V6: u32 = 2;
const FAMILY_UNIX: u32 = 3;
/// In the word of a peer its port stands in the low bits, the family above.
const PORT_BITS: u32 = 16;
const PATH_WORDS: usize = 13;

/// Whether a connection has become one of WebSocket. The numbers are those of the C interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u16)]
pub enum Upgrade {
    /// It has not.
    #[default]
    None = 0,
    /// It has.
    Active = 3,
    /// One side has sent a close frame.
    Closing = 4,
}

shared_record! {
    /// What is known of one connection. Zero is "nothing known".
    #[derive(Debug, Default)]
    pub struct Connection {
        // The reactor's part.
        /// The descriptor in the process of the reactor.
        pub descriptor: AtomicI32,
        /// The unit that owns the connection.
        pub reactor: AtomicU16,
        /// How far it has become a WebSocket connection, as a number of [`Upgrade`].
        upgrade: AtomicU16,
        /// When bytes last came, nanoseconds of wall-clock time.
        pub last_recv_ns: AtomicU64,
        /// The same in monotonic time: how long a peer is silent is nothing that a clock which is
        /// set may change.
        pub heard_ns: AtomicU64,
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
        /// Whom the program has bound it to, once, or 0; above that the marks; above those the id
        /// of the session that all this was said of. One word, so that who has looked up one
        /// session never marks the next one in its slot.
        said: AtomicU64,

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
        port_index: AtomicU16,
        /// The worker that its reactor has chosen for its life, plus one; 0: none.
        worker: AtomicU16,
        /// Family and port of the peer.
        peer_place: AtomicU32,
        /// When it was accepted.
        pub connect_ns: AtomicU64,
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

/// What became of a wish that was said of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It holds.
    Done,
    /// Somebody was first, or there was nothing to wish for.
    Refused,
    /// The session has ended meanwhile.
    TooLate,
}

impl Connection {
    /// Fills the record of a connection that was just accepted.
    pub fn open(
        &self,
        session: SessionId,
        descriptor: i32,
        port_index: u32,
        peer: &Address,
        now_ns: u64,
    ) {
        self.said.store(id_bits(session), Ordering::Relaxed);
        self.descriptor.store(descriptor, Ordering::Relaxed);
        self.last_recv_ns.store(now_ns, Ordering::Relaxed);
        self.connect_ns.store(now_ns, Ordering::Relaxed);
        self.port_index.store(port_index as u16, Ordering::Relaxed);
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
        self.upgrade.store(Upgrade::None as u16, Ordering::Relaxed);
        self.worker.store(0, Ordering::Relaxed);
        self.close_errno.store(0, Ordering::Relaxed);
        self.closed.store(0, Ordering::Relaxed);
        self.set_peer(peer);
    }

    /// The reactor says how far it has become a WebSocket connection.
    pub fn set_upgrade(&self, upgrade: Upgrade) {
        self.upgrade.store(upgrade as u16, Ordering::Relaxed);
    }

    /// How far it is.
    pub fn upgrade(&self) -> Upgrade {
        match self.upgrade.load(Ordering::Relaxed) {
            0 => Upgrade::None,
            3 => Upgrade::Active,
            _ => Upgrade::Closing,
        }
    }

    /// What was said of it, if it is still the record of this session; else nothing was.
    fn said_of(&self, session: SessionId) -> u64 {
        let said = self.said.load(Ordering::Relaxed);
        Some(said).filter(|said| is_of(*said, session)).unwrap_or(0)
    }

    /// Says something of `session`, unless the slot is another one's by now.
    fn say(&self, session: SessionId, change: impl Fn(u64) -> Option<u64>) -> Wish {
        let changed = self.said.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |said| {
            change(said).filter(|_| is_of(said, session))
        });
        match changed {
            Ok(_) => Wish::Done,
            Err(said) if is_of(said, session) => Wish::Refused,
            Err(_) => Wish::TooLate,
        }
    }

    /// Nothing will be read before it is confirmed. Said before the record is published.
    pub fn delay(&self) {
        self.said.fetch_or(UNCONFIRMED, Ordering::Relaxed);
    }

    /// Nobody sees it before its handshake is finished. Said before the record is published.
    pub fn hide(&self) {
        self.closed.store(UNFINISHED, Ordering::Relaxed);
    }

    /// The handshake is finished.
    pub fn show(&self) {
        self.closed.fetch_and(!UNFINISHED, Ordering::AcqRel);
    }

    /// Whether it waits to be confirmed.
    pub fn is_unconfirmed(&self) -> bool {
        self.said.load(Ordering::Relaxed) & UNCONFIRMED != 0
    }

    /// Confirms it; done for one caller alone, and if it waited for that.
    pub fn confirm(&self, session: SessionId) -> Wish {
        self.say(session, |said| (said & UNCONFIRMED != 0).then_some(said & !UNCONFIRMED))
    }

    /// Exempts it from being closed for being idle, or no longer.
    pub fn protect(&self, session: SessionId, is_protected: bool) -> Wish {
        self.say(session, |said| match is_protected {
            true => Some(said | PROTECTED),
            false => Some(said & !PROTECTED),
        })
    }

    /// Whether it is exempt from being closed for being idle.
    pub fn is_protected(&self) -> bool {
        self.said.load(Ordering::Relaxed) & PROTECTED != 0
    }

    /// Binds it to a user, who is not 0; refused if it is bound already.
    pub fn bind(&self, session: SessionId, uid: u32) -> Wish {
        self.say(session, |said| (said as u32 == 0).then_some(said | u64::from(uid)))
    }

    /// Whom it is bound to.
    pub fn uid(&self, session: SessionId) -> Option<u32> {
        Some(self.said_of(session) as u32).filter(|uid| *uid != 0)
    }

    /// The worker that was chosen for its life, by a rule that looks at the workers.
    pub fn worker(&self) -> Option<WorkerId> {
        let number = self.worker.load(Ordering::Relaxed).checked_sub(1)?;
        Some(WorkerId(number))
    }

    /// Chooses a worker for its life. Its reactor does, once.
    pub fn set_worker(&self, worker: u16) {
        self.worker.store(worker.wrapping_add(1), Ordering::Relaxed);
    }

    /// Index of the port that accepted it.
    #[inline]
    pub fn port(&self) -> usize {
        self.port_index.load(Ordering::Relaxed) as usize
    }

    /// Names the owner; before the record is published.
    pub fn set_owner(&self, reactor: u16, reactor_number: i32) {
        self.reactor.store(reactor, Ordering::Relaxed);
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
        let place = family << PORT_BITS | u32::from(port);
        self.peer_place.store(place, Ordering::Relaxed);
    }

    /// The address of the peer; `None` if the record holds none.
    pub fn peer(&self) -> Option<Address> {
        let mut bytes = [0_u8; PATH_WORDS * 8];
        for (word, chunk) in self.peer_words.iter().zip(bytes.chunks_exact_mut(8)) {
            chunk.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        let place = self.peer_place.load(Ordering::Relaxed);
        let port = place as u16;
        let mut four = [0_u8; 4];
        let mut sixteen = [0_u8; 16];
        four.copy_from_slice(bytes.get(..4)?);
        sixteen.copy_from_slice(bytes.get(..16)?);
        match place >> PORT_BITS {
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
            // What one has taken may have been corrected away before: no more than all is taken.
            let given = self.dispatched_bytes.load(Ordering::Relaxed);
            let take = |taken: u64| Some(taken.saturating_add(count).min(given));
            let order = Ordering::Relaxed;
            self.taken_bytes.fetch_update(order, order, take).unwrap_or_default();
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

    /// The close callback has returned: whether what waits for the peer was given up meanwhile.
    pub fn end_close(&self) -> bool {
        self.closed.fetch_or(DONE, Ordering::AcqRel) & CUT != 0
    }

    /// Leaves it to the other worker that runs the close callback to give up what waits for the
    /// peer. False if there is none, or not any more.
    pub fn cut_elsewhere(&self, worker: UnitId) -> bool {
        self.is_closed_elsewhere(worker) && self.closed.fetch_or(CUT, Ordering::AcqRel) & DONE == 0
    }

    /// Remembers, in a slot about to be freed, which session it was and who closed it. One that
    /// nobody has seen is not remembered.
    pub fn bury(&self, session: SessionId) {
        let closed = self.closed.load(Ordering::Acquire);
        if closed & UNFINISHED != 0 {
            return;
        }
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

/// The part of an id that stands in the word of what was said.
fn id_bits(session: SessionId) -> u64 {
    (session.0 as u64) << (u64::BITS - ID_BITS)
}

fn is_of(said: u64, session: SessionId) -> bool {
    said & id_bits(SessionId(-1)) == id_bits(session)
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
        record.open(OWN, 7, 0, peer, 1_000);
        record
    }

    const OWN: SessionId = SessionId(9);
    /// The one that has the slot after that.
    const NEXT: SessionId = SessionId(9 + 1024);

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
        assert!(!record.end_close());
        assert!(!record.is_closed_elsewhere(UnitId(8)));
        record.bury(SessionId(9));
        assert_eq!(record.former(SessionId(9)), Some(Former::ClosedByServer));
        assert_eq!(record.former(SessionId(8)), None);
    }

    #[test]
    fn who_runs_the_close_callback_hears_that_what_waits_is_given_up() {
        let record = opened(&Address::UNNAMED);
        assert!(!record.cut_elsewhere(UnitId(8)), "nobody closes it");
        assert!(record.begin_close(true, UnitId(7)));
        assert!(!record.cut_elsewhere(UnitId(7)), "it is this one");
        assert!(record.cut_elsewhere(UnitId(8)));
        assert_eq!(record.closer(), Some(UnitId(7)));
        assert!(record.end_close());
        assert!(!record.cut_elsewhere(UnitId(8)), "too late for the callback");
    }

    #[test]
    fn it_is_bound_and_confirmed_once() {
        let record = opened(&Address::UNNAMED);
        assert_eq!((record.uid(OWN), record.confirm(OWN)), (None, Wish::Refused));
        record.delay();
        assert!(record.is_unconfirmed());
        assert_eq!(record.protect(OWN, true), Wish::Done);
        assert_eq!(record.protect(OWN, true), Wish::Done, "twice is once");
        assert_eq!((record.confirm(OWN), record.confirm(OWN)), (Wish::Done, Wish::Refused));
        assert!(record.is_protected() && !record.is_unconfirmed());
        assert_eq!((record.bind(OWN, u32::MAX), record.bind(OWN, 7)), (Wish::Done, Wish::Refused));
        assert_eq!(record.uid(OWN), Some(u32::MAX));
        assert_eq!(record.protect(OWN, false), Wish::Done);
        assert_eq!((record.is_protected(), record.uid(OWN)), (false, Some(u32::MAX)));
    }

    #[test]
    fn what_is_said_of_a_session_too_late_is_not_said_of_the_next_one_in_its_slot() {
        let record = opened(&Address::UNNAMED);
        assert_eq!((record.bind(OWN, 5), record.protect(OWN, true)), (Wish::Done, Wish::Done));
        // Somebody has found it, and its slot is given to the next one before he speaks.
        record.open(NEXT, 7, 0, &Address::UNNAMED, 2_000);
        record.delay();
        assert_eq!((record.uid(NEXT), record.is_protected()), (None, false));
        assert_eq!(record.confirm(OWN), Wish::TooLate);
        assert_eq!(record.protect(OWN, true), Wish::TooLate);
        assert_eq!(record.bind(OWN, 6), Wish::TooLate);
        assert!(record.is_unconfirmed() && !record.is_protected());
        assert_eq!((record.uid(NEXT), record.uid(OWN)), (None, None));
        assert_eq!(record.bind(NEXT, 7), Wish::Done);
        assert_eq!((record.uid(NEXT), record.uid(OWN)), (Some(7), None));
        assert_eq!(record.confirm(NEXT), Wish::Done);
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
    fn what_was_corrected_for_one_of_many_workers_does_not_count_twice() {
        let record = opened(&Address::UNNAMED);
        record.dispatched_bytes.store(1000, Ordering::Relaxed);
        record.take_bytes(600, true);
        record.correct_taken(1000, true);
        // Another worker had the rest.
        record.take_bytes(400, true);
        record.dispatched_bytes.store(1300, Ordering::Relaxed);
        assert_eq!(record.undelivered_bytes(), 300);
        assert!(record.await_worker(1300, 299) && !record.await_worker(1300, 300));
    }

    #[test]
    fn a_worker_that_claims_to_have_taken_more_than_it_was_given_leaves_nothing_undelivered() {
        let record = opened(&Address::UNNAMED);
        record.taken_bytes.store(5, Ordering::Relaxed);
        assert_eq!(record.undelivered_bytes(), 0);
    }
}
