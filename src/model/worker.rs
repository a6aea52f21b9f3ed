//! The shared record of a unit: what others may know of it, and what they may tell it.

use std::sync::atomic::{fence, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};

use crate::model::hooks::EventKind;
use crate::model::SessionId;

use crate::shm::{shared_record, Counter};

/// What a unit is told by the one that started it. Only the parent writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Command {
    /// Go on.
    Run = 0,
    /// Accept and read no more, but write and answer.
    Quiesce = 1,
    /// Finish what is begun, then end.
    Finish = 2,
}

/// How far a unit is. Only the unit itself writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Stage {
    /// It does not run yet.
    Down = 0,
    /// It runs.
    Running = 1,
    /// It accepts and reads no more.
    Quiet = 2,
    /// It is done.
    Ended = 3,
}

/// Whether a worker is inside a callback. The numbers are those of the C interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// A callback runs.
    Busy = 1,
    /// It waits.
    Idle = 2,
    /// It ends.
    Exit = 3,
}

/// How a worker leaves while the server runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Leave {
    /// It does not.
    Stay = 0,
    /// After what it has begun: output, timers, descriptors, for `max_wait_time` at most.
    InOrder = 1,
    /// After the callback that runs: the program's timers and descriptors are dropped.
    AtOnce = 2,
}

/// What a worker has in its hands: the callback that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InHand {
    /// The event; `None` for a timer, a deferred call or a descriptor of the program.
    pub event: Option<EventKind>,
    /// The connection it is about; 0 for none.
    pub session: SessionId,
    /// Since when, nanoseconds of monotonic time.
    pub since_ns: u64,
}

/// A worker is passed over whose callback takes longer, if there are others.
const STUCK_NS: u64 = 5_000_000;

/// Where the number of the event in hand stands in the word of the status, plus one.
const EVENT_SHIFT: u32 = 8;
/// In its place: a timer, a deferred call or a descriptor of the program.
const LOOP_CALL: u32 = 0xff;

shared_record! {
    /// The record of one unit.
    #[repr(align(64))]
    #[derive(Debug, Default)]
    pub struct UnitRecord {
        command: AtomicU32,
        stage: AtomicU32,
        /// The status, and above it the event in hand.
        status: AtomicU32,
        pid: AtomicI32,
        hand_session: AtomicI64,
        hand_since_ns: AtomicU64,
        /// What others ask of it. Any process writes it.
        wish: AtomicU32,
        /// The process that has left the inbox to its successor. Written by that process.
        detached_pid: AtomicI32,
        generation: AtomicU64,
        request_base: AtomicU64,
        response_base: AtomicU64,
        /// The number of the request whose command runs, or ran when the unit died; else 0.
        request_in_hand: AtomicU64,

        // What a worker has to do, see `load`; only counted where somebody asks.
        /// Messages that reactors have chosen it for. They all write it.
        claimed: AtomicU64,
        /// Those of them that they have posted.
        given: AtomicU64,
        /// Those of them that it is done with.
        finished: AtomicU64,
        /// Requests that its program has declared to be in progress.
        declared: AtomicU64,
        /// Not 0: a reactor waits until there are fewer requests in progress.
        is_awaited: AtomicU32,
    }
}

fn status_of(word: u32) -> Status {
    match word & ((1 << EVENT_SHIFT) - 1) {
        1 => Status::Busy,
        2 => Status::Idle,
        _ => Status::Exit,
    }
}

impl UnitRecord {
    /// The parent tells the unit something; a command is never taken back while the unit runs.
    pub fn tell(&self, command: Command) {
        self.command.store(command as u32, Ordering::Release);
    }

    /// What the unit was told last.
    pub fn command(&self) -> Command {
        match self.command.load(Ordering::Acquire) {
            0 => Command::Run,
            1 => Command::Quiesce,
            _ => Command::Finish,
        }
    }

    /// The unit says how far it is.
    pub fn reach(&self, stage: Stage) {
        self.stage.store(stage as u32, Ordering::Release);
    }

    /// How far the unit is.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Down,
            1 => Stage::Running,
            2 => Stage::Quiet,
            _ => Stage::Ended,
        }
    }

    /// The worker waits for work, or ends: it has nothing in its hands.
    #[inline]
    pub fn set_status(&self, status: Status) {
        self.status.store(status as u32, Ordering::Relaxed);
    }

    /// A callback of the worker begins.
    #[inline]
    pub fn set_in_hand(&self, status: Status, hand: InHand) {
        let event = hand.event.map_or(LOOP_CALL, |event| event as u32 + 1);
        self.hand_session.store(hand.session.0, Ordering::Relaxed);
        self.hand_since_ns.store(hand.since_ns, Ordering::Relaxed);
        self.status.store(status as u32 | event << EVENT_SHIFT, Ordering::Relaxed);
    }

    /// The callback that runs, or ran when the worker died.
    #[inline]
    pub fn in_hand(&self) -> Option<InHand> {
        let event = self.status.load(Ordering::Relaxed) >> EVENT_SHIFT;
        if event == 0 {
            return None;
        }
        Some(InHand {
            event: EventKind::from_number(event as usize - 1),
            session: SessionId(self.hand_session.load(Ordering::Relaxed)),
            since_ns: self.hand_since_ns.load(Ordering::Relaxed),
        })
    }

    /// A command begins to run, or 0: it has ended. Gives what stood there before.
    pub fn set_request_in_hand(&self, number: u64) -> u64 {
        self.request_in_hand.swap(number, Ordering::Relaxed)
    }

    /// Whether the worker works, waits or ends.
    pub fn status(&self) -> Status {
        status_of(self.status.load(Ordering::Relaxed))
    }

    /// Whether the worker waits for work.
    pub fn is_idle(&self) -> bool {
        self.status() == Status::Idle
    }

    /// Asks the worker to leave. Any process may; what is more urgent counts.
    pub fn ask(&self, leave: Leave) {
        self.wish.fetch_max(leave as u32, Ordering::AcqRel);
    }

    /// What the worker was asked for.
    #[inline]
    pub fn wish(&self) -> Leave {
        match self.wish.load(Ordering::Relaxed) {
            0 => Leave::Stay,
            1 => Leave::InOrder,
            _ => Leave::AtOnce,
        }
    }

    /// The worker takes no more messages: its successor may start.
    pub fn detach(&self, pid: i32) {
        self.detached_pid.store(pid, Ordering::Release);
    }

    /// Whether the process `pid` has left the inbox to its successor.
    pub fn is_detached(&self, pid: i32) -> bool {
        self.detached_pid.load(Ordering::Acquire) == pid
    }

    /// The parent is about to start the unit: nothing that was said of its predecessor holds.
    pub fn prepare_life(&self) {
        self.detached_pid.store(0, Ordering::Relaxed);
        self.wish.store(Leave::Stay as u32, Ordering::Relaxed);
        self.status.store(Status::Idle as u32, Ordering::Relaxed);
        self.reach(Stage::Down);
    }

    /// How many messages it was chosen for.
    pub fn claimed(&self) -> u64 {
        self.claimed.load(Ordering::Relaxed)
    }

    /// A reactor is about to give it a message.
    #[inline]
    pub fn claim(&self) {
        self.claimed.fetch_add(1, Ordering::Relaxed);
    }

    /// The same, if it was chosen for no other message since `seen` was looked at.
    pub fn claim_if(&self, seen: u64) -> bool {
        let next = seen.wrapping_add(1);
        let result =
            self.claimed.compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed);
        result.is_ok()
    }

    /// A reactor has given it a message. Said behind the message: who sees the number sees that.
    #[inline]
    pub fn give(&self) {
        self.given.fetch_add(1, Ordering::Release);
    }

    /// How many messages it was given.
    pub fn given(&self) -> u64 {
        self.given.load(Ordering::Acquire)
    }

    /// The worker is done with one of them. Only it writes this.
    #[inline]
    pub fn finish_one(&self) {
        // None is left if it was taken for done before it had come, see `finish_all`.
        if self.unfinished() > 0 {
            let finished = self.finished.load(Ordering::Relaxed).wrapping_add(1);
            self.finished.store(finished, Ordering::Relaxed);
        }
    }

    /// The worker has found nothing in its inbox after it was given so many: whatever its
    /// predecessor did not come to count is done. What is done before its reactor has counted it
    /// stays done. What waits at its reactor for room is taken for done, too.
    pub fn finish_all(&self, given: u64) {
        let is_more = given.wrapping_sub(self.finished.load(Ordering::Relaxed)) as i64 > 0;
        if is_more {
            self.finished.store(given, Ordering::Relaxed);
        }
    }

    /// The worker says how many requests its program has begun and not ended.
    pub fn set_declared(&self, count: u64) {
        self.declared.store(count, Ordering::Relaxed);
    }

    /// Requests that its program has begun and not ended.
    pub fn declared(&self) -> u64 {
        self.declared.load(Ordering::Relaxed)
    }

    fn unfinished(&self) -> u64 {
        let left = self.claimed().wrapping_sub(self.finished.load(Ordering::Relaxed)) as i64;
        left.max(0) as u64
    }

    /// Requests in progress, those included that it was given and has not begun.
    pub fn progress(&self) -> u64 {
        self.unfinished().saturating_add(self.declared())
    }

    /// Requests in progress here: the one whose callback runs, and those that were declared.
    pub fn in_progress(&self) -> u64 {
        let event = self.in_hand().and_then(|hand| hand.event);
        let runs = matches!(event, Some(EventKind::Receive | EventKind::Packet));
        self.declared().saturating_add(u64::from(runs))
    }

    /// What it has to do: the requests in progress, or another callback that runs.
    pub fn load(&self) -> u64 {
        let is_elsewhere = self.unfinished() == 0 && !self.is_idle();
        self.progress().saturating_add(u64::from(is_elsewhere))
    }

    /// Whether a callback runs for so long that nobody should wait behind it.
    pub fn is_stuck(&self, now_ns: u64) -> bool {
        self.in_hand().is_some_and(|hand| now_ns.saturating_sub(hand.since_ns) > STUCK_NS)
    }

    /// Whether it waits for work and there is none on the way.
    pub fn has_nothing(&self) -> bool {
        self.is_idle() && self.unfinished() == 0
    }

    /// A reactor wants to hear when fewer than `limit` requests are in progress. False: they are.
    pub fn await_progress(&self, limit: u64) -> bool {
        if self.progress() < limit {
            return false;
        }
        self.is_awaited.store(1, Ordering::Relaxed);
        // Pairs with the fence in `take_awaited`.
        fence(Ordering::SeqCst);
        self.progress() >= limit
    }

    /// There is less in progress: whether reactors have to be rung, which is so once.
    pub fn take_awaited(&self) -> bool {
        fence(Ordering::SeqCst);
        self.is_awaited.load(Ordering::Relaxed) != 0
            && self.is_awaited.swap(0, Ordering::Relaxed) != 0
    }

    /// How often the unit was started.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// A unit begins a new life as process or thread `pid`; its counters go on where they were.
    pub fn begin_life(&self, pid: i32, counters: &UnitCounters) {
        self.request_base.store(counters.requests.get(), Ordering::Relaxed);
        self.response_base.store(counters.responses.get(), Ordering::Relaxed);
        self.status.store(Status::Idle as u32, Ordering::Relaxed);
        self.declared.store(0, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.pid.store(pid, Ordering::Release);
    }

    /// The parent notes a child's process id before the child has said anything.
    pub fn set_pid(&self, pid: i32) {
        self.pid.store(pid, Ordering::Release);
    }

    /// The process id, or thread id where units are threads; 0 if it never ran.
    pub fn pid(&self) -> i32 {
        self.pid.load(Ordering::Acquire)
    }

    /// Requests since this life began.
    pub fn life_requests(&self, counters: &UnitCounters) -> u64 {
        counters.requests.get().saturating_sub(self.request_base.load(Ordering::Relaxed))
    }

    /// Sends since this life began.
    pub fn life_responses(&self, counters: &UnitCounters) -> u64 {
        counters.responses.get().saturating_sub(self.response_base.load(Ordering::Relaxed))
    }
}

shared_record! {
    /// What a unit counts, in all or for one port. It alone writes them; sums are made when they
    /// are read. A successor goes on from the numbers of its predecessor, so no total ever falls.
    #[repr(align(64))]
    #[derive(Debug, Default)]
    pub struct UnitCounters {
        /// Connections accepted.
        pub accepted: Counter,
        /// Connections dropped at accept.
        pub aborted: Counter,
        /// Connections whose descriptor was closed.
        pub closed: Counter,
        /// Messages with data handed to a worker.
        pub dispatched: Counter,
        /// Bytes read from sockets.
        pub received_bytes: Counter,
        /// Receive callbacks that have returned.
        pub requests: Counter,
        /// Sends that were accepted.
        pub responses: Counter,
        /// Bytes of those.
        pub sent_bytes: Counter,
        /// Messages with data that this worker took.
        pub taken: Counter,
    }
}

/// Counts the connections as closed that a unit has accepted and that have died with it; how many
/// they were. For the parent, while the unit is dead. The difference is taken and not the live
/// slots: a slot is published and freed a moment before that is counted, and the unit may have died
/// in that moment.
pub fn write_off(accepted: &Counter, closed: &Counter) -> u64 {
    let lost = accepted.get().saturating_sub(closed.get());
    closed.add(lost);
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_life_counts_from_zero_while_the_total_goes_on() {
        let (record, counters) = (UnitRecord::default(), UnitCounters::default());
        record.begin_life(10, &counters);
        counters.requests.add(3);
        assert_eq!(record.life_requests(&counters), 3);
        record.begin_life(11, &counters);
        assert_eq!((record.life_requests(&counters), counters.requests.get()), (0, 3));
        assert_eq!(record.pid(), 11);
    }

    #[test]
    fn of_a_dead_unit_no_connection_is_left() {
        let counters = UnitCounters::default();
        counters.accepted.add(5);
        counters.closed.add(2);
        assert_eq!(write_off(&counters.accepted, &counters.closed), 3);
        assert_eq!(
            (write_off(&counters.accepted, &counters.closed), counters.closed.get()),
            (0, 5)
        );
        // A reactor whose connections another unit accepts has closed more than it has accepted.
        counters.closed.add(4);
        assert_eq!(
            (write_off(&counters.accepted, &counters.closed), counters.closed.get()),
            (0, 9)
        );
    }

    #[test]
    fn what_a_worker_has_in_hand_can_be_read_until_it_waits_again() {
        let record = UnitRecord::default();
        assert_eq!(record.in_hand(), None);
        for event in [None, Some(EventKind::WorkerStart), Some(EventKind::PipeMessage)] {
            let hand = InHand { event, session: SessionId(7), since_ns: 9 };
            record.set_in_hand(Status::Busy, hand);
            assert_eq!((record.in_hand(), record.status()), (Some(hand), Status::Busy));
        }
        record.set_status(Status::Idle);
        assert_eq!((record.in_hand(), record.is_idle()), (None, true));
    }

    #[test]
    fn what_a_worker_has_to_do_is_what_it_was_given_declared_and_runs() {
        let (record, counters) = (UnitRecord::default(), UnitCounters::default());
        record.begin_life(10, &counters);
        assert!(record.has_nothing());
        record.claim();
        assert!(!record.claim_if(0) && record.claim_if(1), "somebody was faster");
        record.give();
        record.give();
        record.set_declared(3);
        assert_eq!((record.load(), record.progress(), record.has_nothing()), (5, 5, false));
        assert!(record.await_progress(5) && !record.await_progress(6));
        record.finish_one();
        assert_eq!((record.take_awaited(), record.take_awaited()), (true, false));
        // It dies with one of them in its hands, and its successor finds nothing to do.
        record.begin_life(11, &counters);
        assert_eq!(record.load(), 1);
        record.finish_all(record.given());
        assert!(record.has_nothing());
        let hand = InHand { event: None, session: SessionId(0), since_ns: 0 };
        record.set_in_hand(Status::Busy, hand);
        assert_eq!((record.load(), record.progress(), record.has_nothing()), (1, 0, false));
        record.claim();
        record.finish_one();
        assert_eq!(record.load(), 1, "done before it was counted as given");
        record.set_in_hand(Status::Idle, hand);
        // Its inbox is found empty before that is counted, too.
        record.finish_all(record.given());
        record.give();
        assert!(record.has_nothing(), "{}", record.load());
        // One waits for room and is taken for done; it is not done twice when it has come.
        record.claim();
        record.give();
        record.finish_all(record.given());
        record.finish_one();
        record.claim();
        assert_eq!(record.load(), 1);
    }

    #[test]
    fn the_most_urgent_wish_counts_and_ends_with_the_life() {
        let record = UnitRecord::default();
        record.ask(Leave::AtOnce);
        record.ask(Leave::InOrder);
        assert_eq!(record.wish(), Leave::AtOnce);
        record.detach(5);
        assert!(record.is_detached(5) && !record.is_detached(6));
        record.prepare_life();
        assert!(record.wish() == Leave::Stay && !record.is_detached(5));
    }

    #[test]
    fn garbage_in_a_record_reads_as_the_last_step() {
        let record = UnitRecord::default();
        record.command.store(77, Ordering::Relaxed);
        record.stage.store(77, Ordering::Relaxed);
        record.status.store(u32::MAX, Ordering::Relaxed);
        assert_eq!((record.command(), record.stage()), (Command::Finish, Stage::Ended));
        assert_eq!(record.status(), Status::Exit);
        assert_eq!(record.in_hand().map(|hand| hand.event), Some(None));
    }
}
