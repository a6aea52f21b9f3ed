//! Dispatch: which worker gets what a connection sends.
//!
//! A rule is what `dispatch_mode` names. Some look at the connection alone; others take a worker
//! anew for each message, by what the workers have to do. A function of the program stands in front
//! of the rule, if there is one. Where a reactor is a worker too, it serves its own connections.
//!
//! Whatever the rule, a connection has a *home*: the worker of its session id. What is no message
//! (that it has come, that it has ended, how full its buffer is) goes there wherever the rule names
//! no worker for it.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use crate::error::code;
use crate::model::connection::Connection;
use crate::model::control::Control;
use crate::model::hooks::EventKind;
use crate::model::plan::Plan;
use crate::model::settings::InForce;
use crate::model::{SessionId, UnitId};
use crate::os::address::Address;
use crate::os::address_text::AddressText;

/// The most bytes of a message that a dispatch function sees.
const SHOWN_BYTES: usize = 8152;

/// How a worker is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// One after the other, message by message.
    InTurn,
    /// By session id.
    BySession,
    /// One that has nothing to do, message by message.
    Idle,
    /// By the address of the peer.
    ByAddress,
    /// By the user that the connection is bound to, by session id as long as there is none.
    ByUid,
    /// The one with the least to do when the first is heard of a connection, for its life.
    LeastLoadedForLife,
    /// The one with the least to do, message by message.
    LeastLoaded,
}

impl Rule {
    /// The rule that `dispatch_mode` names.
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Rule::InTurn,
            2 => Rule::BySession,
            4 => Rule::ByAddress,
            5 => Rule::ByUid,
            8 => Rule::LeastLoadedForLife,
            9 | 10 => Rule::LeastLoaded,
            _ => Rule::Idle,
        }
    }

    /// Whether everything of a connection goes to one worker, in order.
    pub fn is_ordered(self) -> bool {
        matches!(self, Rule::BySession | Rule::ByAddress | Rule::LeastLoadedForLife)
    }

    /// The events that are not raised under this rule unless the program asks for them.
    pub fn unsafe_events(self) -> &'static [EventKind] {
        use EventKind::{BufferEmpty, BufferFull, Close, Connect};
        match self {
            Rule::BySession | Rule::ByAddress | Rule::LeastLoadedForLife => &[],
            Rule::ByUid => &[BufferFull, BufferEmpty],
            Rule::InTurn | Rule::Idle | Rule::LeastLoaded => {
                &[Connect, Close, BufferFull, BufferEmpty]
            }
        }
    }

    fn looks_at_load(self) -> bool {
        matches!(self, Rule::Idle | Rule::LeastLoaded | Rule::LeastLoadedForLife)
    }
}

/// What a dispatch function is asked about. The numbers are those of the C interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Subject {
    /// Bytes or a frame of a connection.
    Data = 0,
    /// A datagram.
    Datagram = 1,
    /// A connection has ended, or is to be.
    Close = 4,
    /// A connection was accepted.
    Connect = 5,
    /// Much output waits.
    BufferFull = 13,
    /// Little output waits again.
    BufferEmpty = 14,
}

/// A dispatch function of the program: session id or number of the sender, subject, bytes.
pub type Chooser = Arc<dyn Fn(i64, i32, &[u8]) -> i32 + Send + Sync>;

/// What a dispatch function says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It goes to this worker.
    Worker(UnitId),
    /// It is thrown away.
    Discard,
    /// The connection is to be closed.
    Close,
    /// The rule decides; also if there is no function.
    Rule,
}

/// How the connections of one reactor find their worker; made once, read for each message.
#[derive(Clone)]
pub struct Dispatch {
    /// The reactor itself is the worker: nothing else matters then.
    own: Option<UnitId>,
    rule: Rule,
    workers: Vec<UnitId>,
    chooser: Option<Chooser>,
    /// So much a worker may have in progress.
    limit: Option<u64>,
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} over {:?}, own {:?}", self.rule, self.workers, self.own)
    }
}

impl Dispatch {
    /// The dispatch of the reactor that `unit` is.
    pub fn new(plan: &Plan, settings: &InForce, chooser: Option<&Chooser>, unit: UnitId) -> Self {
        let own = match plan.unit(unit) {
            Some(own) if own.worker.is_none() => None,
            Some(_) | None => Some(unit),
        };
        Self {
            own,
            rule: settings.dispatch_rule,
            workers: plan.workers().to_vec(),
            chooser: chooser.cloned(),
            limit: settings.worker_max_concurrency,
        }
    }

    /// Whether one worker has a connection for life, so that nothing has to be asked for a message.
    #[inline]
    pub fn is_for_life(&self) -> bool {
        self.own.is_some() || (self.rule.is_ordered() && self.chooser.is_none())
    }

    /// Whether a worker is chosen once for each connection, by what the workers have to do.
    pub fn chooses_once(&self) -> bool {
        self.own.is_none() && self.rule == Rule::LeastLoadedForLife
    }

    /// Whether a worker is chosen for each message, by what the workers have to do. [`Self::next`]
    /// has counted the message then as one for the worker.
    pub fn chooses_each(&self) -> bool {
        self.own.is_none() && matches!(self.rule, Rule::Idle | Rule::LeastLoaded)
    }

    /// Whether the rule keeps the program from being told of the end of connections.
    pub fn drops_close(&self) -> bool {
        self.own.is_none() && self.rule.unsafe_events().contains(&EventKind::Close)
    }

    /// Whether the user that a connection is bound to makes a difference.
    pub fn is_by_uid(&self) -> bool {
        self.own.is_none() && self.rule == Rule::ByUid
    }

    /// Whether workers and reactors count what each worker has to do.
    pub fn counts_load(&self) -> bool {
        self.own.is_none() && (self.rule.looks_at_load() || self.limit.is_some())
    }

    /// What a worker may have in progress, if there is a limit.
    #[inline]
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// All workers.
    pub fn workers(&self) -> &[UnitId] {
        &self.workers
    }

    /// Whether a function of the program is asked.
    pub fn has_chooser(&self) -> bool {
        self.own.is_none() && self.chooser.is_some()
    }

    /// Asks the function of the program, if there is one. Nothing may be borrowed: it may call
    /// anything back.
    pub fn ask(&self, id: i64, subject: Subject, data: &[u8]) -> Answer {
        let Some(chooser) = self.chooser.as_ref().filter(|_| self.own.is_none()) else {
            return Answer::Rule;
        };
        let answer = chooser(id, subject as i32, data.get(..SHOWN_BYTES).unwrap_or(data));
        match (answer, usize::try_from(answer).ok().and_then(|index| self.workers.get(index))) {
            (_, Some(worker)) => Answer::Worker(*worker),
            (-1, None) => Answer::Discard,
            (-2, None) => Answer::Close,
            (-3, None) => Answer::Rule,
            (_, None) => {
                let count = self.workers.len();
                crate::warn_limited!(
                    "the dispatch function gave {answer}, which is none of {count} workers; what \
                     it was asked about is thrown away"
                );
                Answer::Discard
            }
        }
    }

    /// The worker of a session id.
    #[inline]
    pub fn home(&self, session: SessionId) -> UnitId {
        self.own.unwrap_or_else(|| nth(&self.workers, session.0.unsigned_abs()))
    }

    /// The worker that the rule names by looking at the connection alone; `None` if it looks at the
    /// workers.
    #[inline]
    pub fn of_connection(&self, session: SessionId, record: Option<&Connection>) -> Option<UnitId> {
        if self.own.is_some() {
            return self.own;
        }
        match self.rule {
            Rule::BySession => Some(self.home(session)),
            Rule::ByAddress => {
                let peer = record.and_then(Connection::peer);
                Some(nth(&self.workers, peer.map_or(0, |peer| hash_of(&peer))))
            }
            Rule::ByUid => match record.and_then(|record| record.uid(session)) {
                Some(uid) => Some(nth(&self.workers, u64::from(uid))),
                None => Some(self.home(session)),
            },
            Rule::LeastLoadedForLife => {
                let worker = record.and_then(Connection::worker)?;
                self.workers.get(worker.index()).copied()
            }
            Rule::InTurn | Rule::Idle | Rule::LeastLoaded => None,
        }
    }

    /// The same for the sender of a datagram.
    #[inline]
    pub fn of_sender(&self, sender: &Address) -> Option<UnitId> {
        if self.own.is_some() {
            return self.own;
        }
        match self.rule {
            Rule::BySession | Rule::ByUid => Some(nth(&self.workers, u64::from(number_of(sender)))),
            Rule::ByAddress => Some(nth(&self.workers, hash_of(sender))),
            Rule::InTurn | Rule::Idle | Rule::LeastLoadedForLife | Rule::LeastLoaded => None,
        }
    }

    /// The worker that has its turn, or has the least to do. One that is shut, or stuck in a
    /// callback, is taken only if all are, and a stuck one before one that is shut; but turns are
    /// strict. Of two reactors that find the same worker idle at the same time, one looks again.
    pub fn next(&self, control: &Control, now_ns: u64, is_shut: impl Fn(UnitId) -> bool) -> UnitId {
        match self.rule {
            Rule::LeastLoadedForLife => self.least_loaded(control, now_ns, is_shut).0,
            Rule::LeastLoaded => {
                for _ in 0..self.workers.len() {
                    let (worker, seen) = self.least_loaded(control, now_ns, &is_shut);
                    if control.unit(worker).is_some_and(|record| record.claim_if(seen)) {
                        return worker;
                    }
                }
                claimed(control, self.least_loaded(control, now_ns, &is_shut).0)
            }
            Rule::Idle => self.idle(control, now_ns, is_shut),
            Rule::InTurn | Rule::BySession | Rule::ByAddress | Rule::ByUid => self.turn(control),
        }
    }

    fn turn(&self, control: &Control) -> UnitId {
        nth(&self.workers, control.root().dispatch_round.fetch_add(1, Ordering::Relaxed))
    }

    /// Also how many messages it had been chosen for before it was looked at.
    fn least_loaded(
        &self,
        control: &Control,
        now_ns: u64,
        is_shut: impl Fn(UnitId) -> bool,
    ) -> (UnitId, u64) {
        let look = |id: &UnitId| {
            let record = control.unit(*id)?;
            let seen = record.claimed();
            let load = (is_shut(*id), record.is_stuck(now_ns), record.load());
            Some((load, *id, seen))
        };
        let least = self.workers.iter().filter_map(look).min_by_key(|(load, ..)| *load);
        least.map_or((UnitId::ROOT, 0), |(_, worker, seen)| (worker, seen))
    }

    fn idle(&self, control: &Control, now_ns: u64, is_shut: impl Fn(UnitId) -> bool) -> UnitId {
        let mut last = None;
        for _ in 0..=self.workers.len() {
            let worker = self.turn(control);
            let Some(record) = control.unit(worker) else { continue };
            let seen = record.claimed();
            let is_shut = is_shut(worker);
            if !is_shut && record.has_nothing() && record.claim_if(seen) {
                return worker;
            }
            let rank = (is_shut, record.is_stuck(now_ns));
            if last.map_or(true, |(before, _)| rank <= before) {
                last = Some((rank, worker));
            }
        }
        let number = code::SERVER_NO_IDLE_WORKER;
        crate::warn_limited!("No idle worker is available (error {number})");
        claimed(control, last.map_or(UnitId::ROOT, |(_, worker)| worker))
    }

    /// Whether turns are taken strictly, so that a worker whose turn it is is waited for.
    pub fn is_in_turn(&self) -> bool {
        self.own.is_none() && self.rule == Rule::InTurn
    }

    /// Whether any worker may stand for another, datagram by datagram.
    pub fn is_free(&self) -> bool {
        let is_free = self.rule.looks_at_load() && self.chooser.is_none();
        self.own.is_none() && is_free
    }

    /// Whether `unit` runs the close callback when it closes this connection itself.
    pub fn closes(&self, unit: UnitId, session: SessionId, record: &Connection) -> bool {
        match self.is_for_life() {
            true => self.of_connection(session, Some(record)) == Some(unit),
            false => self.workers.contains(&unit),
        }
    }
}

fn claimed(control: &Control, worker: UnitId) -> UnitId {
    if let Some(record) = control.unit(worker) {
        record.claim();
    }
    worker
}

#[inline]
fn nth(workers: &[UnitId], number: u64) -> UnitId {
    let index = (number % workers.len().max(1) as u64) as usize;
    workers.get(index).copied().unwrap_or(UnitId::ROOT)
}

/// The number that stands for a sender, in the place of a session id.
pub fn number_of(sender: &Address) -> u32 {
    match sender {
        Address::V4(address) => u32::from_ne_bytes(address.ip().octets()),
        Address::V6(_) | Address::Unix(_) => crc_32(AddressText::of(sender).as_bytes()),
    }
}

/// What an address alone, without its port, comes to.
fn hash_of(address: &Address) -> u64 {
    match address {
        Address::V4(address) => u64::from(u32::from_be_bytes(address.ip().octets())),
        Address::V6(address) => times_33(&address.ip().octets()),
        Address::Unix(path) => times_33(path.as_bytes()),
    }
}

fn times_33(bytes: &[u8]) -> u64 {
    let add = |hash: u64, byte: &u8| hash.wrapping_mul(33).wrapping_add(u64::from(*byte));
    bytes.iter().fold(5381, add)
}

/// The usual one: that of Ethernet and zip.
fn crc_32(bytes: &[u8]) -> u32 {
    let add = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ 0xedb8_8320 & (crc & 1).wrapping_neg()
        })
    };
    !bytes.iter().fold(u32::MAX, add)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::model::connection::Wish;
    use crate::model::plan::Mode;
    use crate::model::settings::{Machine, Settings};
    use crate::model::worker::{InHand, Status};
    use crate::os::address::Family;

    fn made(mode: u8, workers: i64, chooser: Option<Chooser>) -> (Dispatch, Control) {
        let machine = Machine { cpu_count: 8, descriptor_limit: 1024, port_descriptor: 3 };
        let mut settings = Settings::new(Mode::Process, machine);
        settings.set_int("dispatch_mode", i64::from(mode)).unwrap();
        settings.set_int("worker_num", workers).unwrap();
        settings.set_int("reactor_num", 1).unwrap();
        let settings = settings.in_force();
        let plan = Plan::new(Mode::Process, &settings, 0);
        let control = Control::new(&plan, &settings, 1).unwrap();
        let reactor = plan.reactors()[0];
        (Dispatch::new(&plan, &settings, chooser.as_ref(), reactor), control)
    }

    fn index(dispatch: &Dispatch, worker: UnitId) -> usize {
        dispatch.workers().iter().position(|id| *id == worker).unwrap()
    }

    /// The worker that has its turn; what it was chosen for is done at once.
    fn next(
        dispatch: &Dispatch,
        control: &Control,
        now_ns: u64,
        shut: &dyn Fn(UnitId) -> bool,
    ) -> usize {
        let worker = dispatch.next(control, now_ns, shut);
        let is_claimed = dispatch.chooses_each();
        assert_eq!(is_claimed, dispatch.rule != Rule::LeastLoadedForLife);
        if is_claimed {
            control.unit(worker).unwrap().finish_one();
        }
        index(dispatch, worker)
    }

    fn connected(ip: &str) -> Connection {
        let record = Connection::default();
        let family = if ip.contains(':') { Family::V6 } else { Family::V4 };
        record.open(SessionId(12), 9, 0, &Address::parse(family, ip, 4000).unwrap(), 1);
        record
    }

    #[test]
    fn a_rule_that_looks_at_the_connection_names_the_worker_that_the_table_of_modes_names() {
        let session = SessionId(12);
        let four = connected("1.2.3.4");
        let name = |mode, record: &Connection| {
            let (dispatch, _) = made(mode, 7, None);
            dispatch.of_connection(session, Some(record)).map(|worker| index(&dispatch, worker))
        };
        assert_eq!(name(2, &four), Some(5));
        assert_eq!(name(4, &four), Some(0x0102_0304 % 7));
        assert_eq!(name(4, &connected("::1")), name(4, &connected("::1")));
        assert_eq!(name(5, &four), Some(5));
        assert_eq!(four.bind(session, u32::MAX - 9), Wish::Done);
        assert_eq!(name(5, &four), Some((u32::MAX - 9) as usize % 7));
        assert_eq!(name(8, &four), None);
        four.set_worker(3);
        assert_eq!(name(8, &four), Some(3));
        for mode in [1, 3, 6, 7, 9, 10, 0, 11, 255] {
            assert_eq!(name(mode, &four), None, "mode {mode}");
        }
    }

    #[test]
    fn a_rule_that_looks_at_the_workers_takes_the_one_that_the_table_of_modes_names() {
        let nobody = |_: UnitId| false;
        let (dispatch, control) = made(1, 3, None);
        let record = |control: &Control, dispatch: &Dispatch, worker: usize| {
            control.unit(dispatch.workers()[worker]).unwrap() as *const _ as usize
        };
        assert_ne!(record(&control, &dispatch, 0), record(&control, &dispatch, 1));
        let turns: Vec<usize> =
            (0..7).map(|_| index(&dispatch, dispatch.next(&control, 0, nobody))).collect();
        assert_eq!(turns, [0, 1, 2, 0, 1, 2, 0]);

        let begin = |dispatch: &Dispatch, control: &Control| {
            for id in dispatch.workers() {
                control.unit(*id).unwrap().prepare_life();
            }
        };
        for mode in [3, 7, 0] {
            let (dispatch, control) = made(mode, 3, None);
            begin(&dispatch, &control);
            let of = |worker: usize| control.unit(dispatch.workers()[worker]).unwrap();
            of(1).claim();
            let turns = [(); 4].map(|()| next(&dispatch, &control, 0, &nobody));
            assert_eq!(turns, [0, 2, 0, 2], "mode {mode}");
            of(0).claim();
            of(2).claim();
            // Four candidates from where the turns are, which is at worker 0: the last one is 0.
            let last = next(&dispatch, &control, 0, &nobody);
            assert_eq!(last, 0, "mode {mode}: the last candidate is taken");
            // One that is stuck takes it some time, one that is shut takes nothing.
            let hand = InHand { event: None, session: SessionId(0), since_ns: 0 };
            for id in dispatch.workers() {
                control.unit(*id).unwrap().set_in_hand(Status::Busy, hand);
            }
            let is_shut = |id: UnitId| id != dispatch.workers()[1];
            for _ in 0..3 {
                let next = next(&dispatch, &control, 1_000_000_000, &is_shut);
                assert_eq!(next, 1, "mode {mode}: the only one with room");
            }
        }

        for mode in [8, 9, 10] {
            let (dispatch, control) = made(mode, 3, None);
            begin(&dispatch, &control);
            let of = |worker: usize| control.unit(dispatch.workers()[worker]).unwrap();
            let next_at = |now_ns| next(&dispatch, &control, now_ns, &nobody);
            assert_eq!(next_at(0), 0, "mode {mode}: the lowest of equals");
            of(0).claim();
            of(1).set_declared(2);
            of(2).claim();
            assert_eq!(next_at(0), 0, "mode {mode}");
            of(0).claim();
            assert_eq!(next_at(0), 2, "mode {mode}");
            of(2).finish_one();
            assert_eq!(next_at(0), 2, "mode {mode}");
            let is_shut = |id: UnitId| id == dispatch.workers()[2];
            assert_eq!(next(&dispatch, &control, 0, &is_shut), 0, "mode {mode}");
            let hand =
                InHand { event: Some(EventKind::Receive), session: SessionId(1), since_ns: 9 };
            of(2).set_in_hand(Status::Busy, hand);
            assert_eq!(next_at(0), 2, "mode {mode}");
            let much_later = 1_000_000_000;
            assert_eq!(next_at(much_later), 0, "mode {mode}: it has been busy for too long");
        }
    }

    #[test]
    fn reactors_that_choose_at_the_same_time_choose_different_workers() {
        for mode in [3, 9] {
            let (dispatch, control) = made(mode, 4, None);
            for id in dispatch.workers() {
                control.unit(*id).unwrap().prepare_life();
            }
            let (steps, twice) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let meet = |step: usize| {
                steps.fetch_add(1, Ordering::AcqRel);
                while steps.load(Ordering::Acquire) < 2 * step {
                    std::hint::spin_loop();
                }
            };
            let choose = |is_first: bool| {
                for round in 0..2000 {
                    meet(2 * round + 1);
                    for _ in 0..2 {
                        dispatch.next(&control, 0, |_| false);
                    }
                    meet(2 * round + 2);
                    for id in dispatch.workers().iter().filter(|_| is_first) {
                        let record = control.unit(*id).unwrap();
                        twice.fetch_add(usize::from(record.progress() > 1), Ordering::Relaxed);
                        record.finish_one();
                    }
                }
            };
            std::thread::scope(|scope| {
                scope.spawn(|| choose(false));
                choose(true);
            });
            assert_eq!(twice.into_inner(), 0, "mode {mode}");
        }
    }

    #[test]
    fn what_a_function_of_the_program_says_is_taken_for_what_it_means() {
        let chooser: Chooser = Arc::new(|id, subject, data| match subject {
            0 if data.len() == SHOWN_BYTES => 1,
            0 => id as i32,
            other => other,
        });
        let (dispatch, _) = made(2, 3, Some(chooser));
        let ask = |id| dispatch.ask(id, Subject::Data, b"x");
        assert_eq!(ask(2), Answer::Worker(dispatch.workers()[2]));
        assert_eq!((ask(-1), ask(-2), ask(-3)), (Answer::Discard, Answer::Close, Answer::Rule));
        for wrong in [3, i64::from(i32::MAX), -4, i64::from(i32::MIN)] {
            assert_eq!(ask(wrong), Answer::Discard);
        }
        let long = vec![0; SHOWN_BYTES + 1];
        let answer = dispatch.ask(0, Subject::Data, &long);
        assert_eq!(answer, Answer::Worker(dispatch.workers()[1]), "it sees the first bytes only");
        assert!(!dispatch.is_for_life());
        let (plain, _) = made(2, 3, None);
        assert_eq!(plain.ask(1, Subject::Close, b""), Answer::Rule);
        assert!(plain.is_for_life());
    }

    #[test]
    fn a_sender_finds_its_worker_by_its_address_alone() {
        let of = |mode, family, host: &str, port| {
            let (dispatch, _) = made(mode, 7, None);
            let sender = Address::parse(family, host, port).unwrap();
            dispatch.of_sender(&sender).map(|worker| index(&dispatch, worker))
        };
        let number = u32::from_ne_bytes([192, 168, 1, 77]) as usize;
        for port in [1, 2] {
            for mode in [2, 5] {
                assert_eq!(of(mode, Family::V4, "192.168.1.77", port), Some(number % 7));
            }
            assert_eq!(of(4, Family::V4, "192.168.1.77", port), Some(0xc0a8_014d % 7));
            assert_eq!(of(1, Family::V4, "192.168.1.77", port), None);
        }
        // What others compute of the text.
        assert_eq!(crc_32(b"123456789"), 0xcbf4_3926);
        assert_eq!(of(2, Family::V6, "::1", 5), Some(crc_32(b"::1") as usize % 7));
        assert_eq!(of(2, Family::Unix, "/a", 5), Some(crc_32(b"/a") as usize % 7));
        assert_eq!(times_33(b"ab"), (5381 * 33 + 97) * 33 + 98);
    }
}
