//! The loop of a unit: wait, take what came, tell others, see how far the unit is.
//!
//! See LIFECYCLE.md for the stages of a unit and of the server.

use std::rc::Rc;
use std::time::Duration;

use crate::error::{code, Result};
use crate::event::{Loop, Ready, Token};
use crate::ipc::message::TALLIED;
use crate::ipc::{Header, Inbox, Message, Payload};
use crate::model::control::Reload;
use crate::model::hooks::EventKind;
use crate::model::kind::{self, MessageKind};
use crate::model::plan::Start;
use crate::model::worker::Stage;
use crate::model::{SessionId, UnitId};
use crate::net::file_part::FilePart;
use crate::os::{clock, draft, process, signal};

use super::{Unit, CURRENT};

/// Messages that one turn takes before it looks at sockets again.
const MESSAGES_PER_TURN: usize = 1024;
/// Messages after which the units that were written to are rung, so that they work meanwhile.
const MESSAGES_PER_RING: usize = 64;
/// How long messages are taken before sockets have their turn.
const TURN_NS: u64 = 10_000_000;
/// How long what was said may wait for the end of a batch.
const TELL_NS: u64 = 100_000;
/// What a reactor reads waits for so many events instead, but not longer than the time below:
/// telling is a system call too, and where those are slow, there would be one for each read.
const EVENTS_PER_TELL: u32 = 8;
/// See [`EVENTS_PER_TELL`].
const TELL_EVENTS_NS: u64 = 1_000_000;
/// How long the memory of large messages is kept for the next one.
const SPARE_NS: u64 = 1_000_000_000;
/// A callback that takes longer than this is slow.
const SLOW_NS: u64 = 5_000_000;
/// So many callbacks after a slow one, and after the start, nothing that is sent is held back.
pub(super) const HASTY_CALLBACKS: u32 = 64;
/// So many bytes that went through the shared lane are worth giving its memory back,
const REST_BYTES: u64 = 1 << 20;
/// after so long without a message.
const REST_NS: u64 = 500_000_000;
/// A process that has lost its root ends with this code.
const ORPHANED: i32 = 1;

impl Unit {
    /// Lives: starts children and roles, turns until the unit has ended, takes everything down.
    pub(super) fn live(self: &Rc<Self>, mut events: Loop) -> Result<()> {
        let mut inbox = self.runtime.control.wiring.inbox(self.plan.id.0)?;
        self.begin_waits()?;
        CURRENT.with(|current| current.replace(Some(Rc::clone(self))));
        let result = self.begin();
        if result.is_ok() {
            self.run_user();
            while self.stage.get() < Stage::Ended {
                self.turn(&mut events, &mut inbox);
                self.give_way();
            }
        } else {
            // What was started already has nobody left to watch it.
            self.family.abandon_all(&self.runtime);
        }
        self.reach(Stage::Ended);
        CURRENT.with(|current| current.replace(None));
        match (&self.root, result) {
            (Some(root), Ok(())) => root.verdict(self),
            (_, result) => result,
        }
    }

    fn begin(self: &Rc<Self>) -> Result<()> {
        if self.plan.start != Start::Thread {
            self.begin_life();
        }
        self.fail_lost_request();
        if let Some(root) = &self.root {
            root.begin(self)?;
        }
        if let Some(manager) = &self.manager {
            manager.begin(self);
        }
        if let Some(worker) = &self.worker {
            worker.begin(self);
        }
        self.reach(Stage::Running);
        Ok(())
    }

    /// Says how far the unit is, to the parent and whoever looks.
    pub(super) fn reach(&self, stage: Stage) {
        self.stage.set(stage);
        if let Some(record) = self.record() {
            record.reach(stage);
        }
        if self.plan.parent != self.plan.id {
            self.runtime.control.wiring.ring(self.plan.parent.0);
        }
    }

    fn turn(self: &Rc<Self>, events: &mut Loop, inbox: &mut Inbox) {
        let timeout = self.wait_of(self.patience(inbox));
        if let Err(error) = events.wait(timeout) {
            log::error!("the event loop failed: {error}");
        }
        if !self.is_detached.get() {
            inbox.wake();
        }
        self.refresh_now();
        // What was said before has been told: the first answer of this turn waits for the others.
        self.told_others_ns.set(self.last_look_ns.get());
        self.untold.set(0);
        self.renew_log();
        self.hear_of_terms();
        self.agenda.begin_round();
        for ready in events.ready() {
            self.take_event(ready);
            self.look_up();
        }
        self.take_left_over();
        self.tell_others();
        self.take_messages(inbox);
        self.take_queued_tasks();
        self.take_timers(self.last_look_ns.get());
        if !self.later.is_empty() {
            self.expire_sends();
        }
        self.take_deferred();
        if let Some(reactor) = &self.reactor {
            reactor.settle(self);
        }
        if let Some(receiver) = &self.receiver {
            receiver.resume(self);
        }
        self.advance(inbox);
        self.tell_others();
        if draft::give_back_unused(self.last_look_ns.get(), SPARE_NS) {
            self.wake_within(SPARE_NS);
        }
        if self.plan.start == Start::Thread && self.plan.parent == UnitId::ROOT {
            self.runtime.parking.pass();
        }
    }

    /// How long the loop may wait: not at all while there is work, else until the next timer.
    fn patience(&self, inbox: &mut Inbox) -> Option<Duration> {
        let is_busy = self.reactor.as_ref().is_some_and(|reactor| reactor.is_busy());
        // A unit that takes no messages now is woken by the reader that makes room for its own.
        // A start callback may have said that it leaves: nothing else makes the loop turn then.
        let is_told = self.leaves_alone() && self.finish_deadline_ns.get().is_none();
        let takes_messages = self.may_take_messages();
        if takes_messages && !is_busy && self.hesitation.is_over(|| inbox.is_called()) {
            return Some(Duration::ZERO);
        }
        if is_busy || is_told || (takes_messages && !self.is_out_of_work(inbox)) {
            return Some(Duration::ZERO);
        }
        self.rest(inbox);
        let due_ns = self.agenda.next_due_ns()?;
        // The callbacks of this turn have taken their time.
        let left_ns = due_ns.saturating_sub(clock::monotonic_ns());
        // Rounded up: the loop counts milliseconds, and waking up too early means turning twice.
        Some(Duration::from_millis(left_ns.div_ceil(1_000_000)))
    }

    /// The unit is about to wait. What a burst has filled goes back to the system some time later.
    fn rest(&self, inbox: &mut Inbox) {
        if inbox.used_bytes() < REST_BYTES || self.is_detached.get() {
            return;
        }
        let idle_ns = self.now.get().monotonic_ns.saturating_sub(self.took_at_ns.get());
        match REST_NS.checked_sub(idle_ns).filter(|left_ns| *left_ns > 0) {
            Some(left_ns) => self.wake_within(left_ns),
            None => inbox.give_back(),
        }
    }

    fn take_event(self: &Rc<Self>, ready: Ready) {
        match ready.token {
            Token::Session(id) => {
                if let Some(reactor) = &self.reactor {
                    reactor.take_event(self, SessionId(id), ready);
                }
            }
            Token::Doorbell => {}
            Token::Listener(number) => {
                if let Some(acceptor) = &self.acceptor {
                    acceptor.accept(self, usize::from(number));
                }
            }
            Token::Datagrams(number) => {
                if let Some(receiver) = &self.receiver {
                    receiver.take_event(self, usize::from(number));
                }
            }
            Token::Child(unit) => self.family.note_end(UnitId(unit)),
            Token::Signal => self.take_signals(),
            Token::RootEnd => self.end_orphaned(),
            Token::Desk => self.clear_desk(),
            Token::Program(fd) => self.take_io(fd, ready),
        }
    }

    /// The root's process is gone. Nothing orderly can be done without it, and the port has to be
    /// free for a restart: this process ends at once, after its children.
    pub(super) fn end_orphaned(&self) {
        self.runtime.queue.iter().for_each(super::tasks::TaskQueue::close);
        self.family.kill_all();
        process::exit_at_once(ORPHANED);
    }

    /// Takes signals that have come, if any; they are the business of the first thread.
    #[inline]
    pub(super) fn hear_signals(&self) {
        if signal::has_arrived() && self.plan.start != Start::Thread {
            self.take_signals();
        }
    }

    fn take_signals(&self) {
        let arrived = self.signals.borrow().as_ref().map(|signals| signals.take());
        let Some(arrived) = arrived else { return };
        let orders_others = self.root.is_some() || self.manager.is_some();
        if arrived.contains(signal::SIGTERM) {
            if orders_others {
                self.runtime.request_end();
            } else {
                self.leave(self.usual_leave());
                self.doubt();
            }
        }
        if arrived.contains(signal::SIGUSR1) && orders_others {
            self.reload_by_signal(Reload::All);
        }
        if arrived.contains(signal::SIGUSR2) && orders_others {
            self.reload_by_signal(Reload::Tasks);
        }
        if arrived.contains(signal::real_time_min()) || arrived.contains(signal::SIGWINCH) {
            self.runtime.renew_log();
            self.renew_log();
        }
    }

    /// Opens the log file anew if somebody was told that it has been moved away.
    fn renew_log(&self) {
        let round = self.runtime.control.root().log_round();
        if self.log_round.replace(round) == round {
            return;
        }
        if let Err(error) = crate::log::reopen() {
            log::warn!("the log file cannot be opened anew: {error}");
        }
    }

    /// A worker answers before it takes the next message: whatever is lost with it when it is
    /// killed is then the one message in its hands. It does not wait for other workers to take what
    /// it has for them, who may wait for this one.
    pub(super) fn may_take_messages(&self) -> bool {
        if self.reactor.is_some() {
            return true;
        }
        // A worker that leaves alone leaves the rest to its successor.
        let takes_more = self.parts.are_open.get() || self.awaits_results();
        (!self.leaves_alone() || takes_more) && !self.outbox.borrow().is_held_up()
    }

    fn take_messages(&self, inbox: &mut Inbox) {
        let begin_ns = self.last_look_ns.get();
        let mut count = 0;
        while count < MESSAGES_PER_TURN && self.may_take_messages() {
            if self.runtime.queue.is_some() && !self.take_tasks_before(inbox) {
                break;
            }
            let Some(message) = inbox.next() else { break };
            let is_counted = message.header.kind & TALLIED != 0;
            let is_lost = matches!(message.payload, Payload::Lost);
            self.take_message(message);
            if is_counted {
                inbox.settle(is_lost);
            }
            count += 1;
            let now_ns = self.look_up();
            if count % MESSAGES_PER_RING == 0 {
                inbox.release();
                self.tell_others();
            }
            if now_ns.saturating_sub(begin_ns) > TURN_NS {
                break;
            }
        }
        if count > 0 {
            inbox.release();
            self.took_at_ns.set(self.last_look_ns.get());
        }
    }

    /// Between two callbacks: what they have said leaves if they take long, what this unit was told
    /// meanwhile is heard, and timers that have become due fire. Gives the time.
    #[inline]
    pub(super) fn look_up(&self) -> u64 {
        let now_ns = clock::monotonic_ns();
        let took_ns = now_ns.saturating_sub(self.last_look_ns.replace(now_ns));
        if took_ns > SLOW_NS {
            self.hasty.set(HASTY_CALLBACKS);
        } else {
            self.hasty.set(self.hasty.get().saturating_sub(1));
        }
        if self.is_time_to_tell(now_ns) {
            self.tell_others();
            self.told_others_ns.set(now_ns);
            self.untold.set(0);
        }
        self.hear_signals();
        self.hear_wishes();
        self.take_timers(now_ns);
        now_ns
    }

    #[inline]
    fn is_time_to_tell(&self, now_ns: u64) -> bool {
        let untold = self.untold.get() + 1;
        self.untold.set(untold);
        let waited_ns = now_ns.saturating_sub(self.told_others_ns.get());
        let is_enough = self.worker.is_some() || untold >= EVENTS_PER_TELL;
        waited_ns > if is_enough { TELL_NS } else { TELL_EVENTS_NS }
    }

    /// Whether callbacks take so long here that nothing they send is held back until they return.
    #[inline]
    pub(super) fn is_hasty(&self) -> bool {
        self.hasty.get() > 0
    }

    fn take_message(&self, message: Message<'_>) {
        let header = message.header;
        let Some(kind) = MessageKind::from_number(header.kind) else {
            return self.drop_unknown(header.kind, header.source);
        };
        self.do_as_told(kind, message);
        if self.is_counted(kind) {
            self.note_done();
        }
    }

    fn do_as_told(&self, kind: MessageKind, message: Message<'_>) {
        let header = message.header;
        let session = SessionId(header.session);
        match (kind, &self.worker, &self.reactor) {
            (MessageKind::Receive, Some(worker), _) => {
                let (_, frame) = kind::read_receive(header.extra);
                let data = &message.payload;
                worker.receive(self, session, header.time, data, frame, Some(&header));
            }
            (MessageKind::Packet, Some(worker), _) => {
                worker.packet_message(self, &header, &message.payload);
            }
            (MessageKind::Message, Some(worker), _) => {
                worker.pipe_message(self, &header, &message.payload);
            }
            (MessageKind::Command, _, _) => self.answer_command(&header, &message.payload),
            (MessageKind::Connect, Some(worker), _) => {
                worker.connect(self, session, &message.payload);
            }
            (MessageKind::Close, Some(worker), _) => worker.close_for_peer(self, session),
            (MessageKind::CloseFor, _, Some(reactor)) => {
                reactor.close_for(self, session, header.extra != 0);
            }
            (MessageKind::CloseFor, Some(worker), None) => {
                worker.close(self, session, header.extra != 0);
            }
            (MessageKind::Send, _, Some(reactor)) => {
                reactor.send_message(self, session, message.payload);
            }
            (MessageKind::SendFile, _, Some(reactor)) => match FilePart::decode(&message.payload) {
                Some(part) => reactor.send_file(self, session, part),
                None => self.drop_unknown(header.kind, header.source),
            },
            (MessageKind::Refused, _, Some(reactor)) => reactor.note_refused(self, session),
            (MessageKind::AwaitRoom, _, Some(reactor)) => {
                reactor.await_room(self, session, UnitId(header.source));
            }
            (MessageKind::Room, _, _) => self.send_waiting(session),
            (MessageKind::BufferFull, Some(worker), _) => {
                worker.tell_level(self, session, EventKind::BufferFull);
            }
            (MessageKind::BufferEmpty, Some(worker), _) => {
                worker.tell_level(self, session, EventKind::BufferEmpty);
            }
            (MessageKind::Shut, _, Some(reactor)) => {
                reactor.shut(self, session, UnitId(header.source));
            }
            (MessageKind::Closed, _, Some(reactor)) => {
                reactor.finish(self, session, header.extra != 0);
            }
            (MessageKind::Given, Some(worker), _) => worker.correct(self, session, header.extra),
            (MessageKind::Pause, _, Some(reactor)) => {
                reactor.pause(self, session, header.extra as u8);
            }
            (MessageKind::Resume, _, Some(reactor)) => {
                reactor.resume(self, session, header.extra as u8);
            }
            (MessageKind::Task | MessageKind::TaskResult | MessageKind::TaskFailed, _, _) => {
                self.take_task(kind, &header, &message.payload);
            }
            (MessageKind::WorkerReady, _, Some(reactor)) => {
                reactor.ask_again(self, UnitId(header.source));
            }
            (_, _, _) => self.drop_unknown(header.kind, header.source),
        }
    }

    /// A task, or what has become of one.
    fn take_task(&self, kind: MessageKind, header: &Header, payload: &Payload<'_>) {
        match (kind, &self.task, &self.worker) {
            (MessageKind::Task, Some(task), _) => task.run(self, header, payload),
            (MessageKind::TaskResult, _, Some(worker)) => self.take_result(worker, header, payload),
            (MessageKind::TaskFailed, _, Some(worker)) => {
                self.take_failure(worker, header, payload);
            }
            (_, _, _) => self.drop_unknown(header.kind, header.source),
        }
    }

    pub(super) fn drop_unknown(&self, kind: u8, source: u16) {
        let number = code::SERVER_WORKER_ABNORMAL_PIPE_DATA;
        crate::warn_limited!(
            "dropped a message of kind {kind} from unit {source} (error {number})"
        );
    }

    /// Publishes what waits and rings whoever sleeps, once for all that was said meanwhile.
    #[inline]
    pub(super) fn tell_others(&self) {
        self.flush_replies();
        let mut outbox = self.outbox.borrow_mut();
        let was_blocked = outbox.has_pending();
        outbox.flush();
        if !was_blocked {
            return;
        }
        if !outbox.has_pending() {
            self.held_back.borrow_mut().clear();
        }
        drop(outbox);
        self.note_held_tasks();
    }

    /// Looks how far the unit is and takes the next step of its life.
    fn advance(self: &Rc<Self>, inbox: &mut Inbox) {
        loop {
            if let Some(manager) = &self.manager {
                manager.advance(self);
            }
            match &self.root {
                // A step of the root may be what the manager beside it waits for.
                Some(root) if root.advance(self, !inbox.is_empty()) => {}
                Some(_) => return,
                None => return self.obey(inbox),
            }
        }
    }

    /// Accepts and reads datagrams, as soon as all units were started and the start event is over,
    /// if it is raised here or by the root.
    pub(super) fn open_acceptor(&self) {
        if !self.runtime.control.root().is_open() {
            return;
        }
        self.announce_start();
        if let Some(acceptor) = &self.acceptor {
            acceptor.open(self);
        }
        if let Some(receiver) = &self.receiver {
            receiver.open(self);
        }
    }
}
