//! The program's own work in a unit's loop: timers, deferred calls, descriptors.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use crate::error::{code, Error, Result};
use crate::event::timer::{TimerId, Timers};
use crate::event::{Interests, Ready, Token};
use crate::model::worker::Stage;
use crate::model::{SessionId, WorkerId};
use crate::os::{clock, socket};

use super::reactor::Look;
use super::{Now, Unit};

const NS_PER_MS: u64 = 1_000_000;

/// A timer callback of the program; it is told its own id.
pub type TimerHook = Rc<dyn Fn(TimerId)>;
/// A deferred call.
pub type DeferHook = Box<dyn FnOnce()>;
/// A callback for a descriptor of the program: what it is ready for.
pub type IoHook = Rc<dyn Fn(RawFd, Interests)>;

/// Why the unit has set a timer of its own.
#[derive(Clone, Copy)]
pub(super) enum Timer {
    /// Accepting was suspended and goes on.
    Accept,
    /// Something that is waited for should have happened.
    Deadline,
    /// The counts are written down.
    Stats,
    /// It is looked which connections are idle.
    Idle(Look),
    /// The time for a list of tasks is up.
    Tasks,
    /// Handshakes may have taken too long.
    Handshake,
}

/// A descriptor of the program.
struct Watched {
    /// The round of the loop in which it was added.
    since: u64,
    interests: Interests,
    hook: IoHook,
}

/// What the program has in this loop, and the timers of the unit itself, which the program does not
/// see.
#[derive(Default)]
pub(super) struct Agenda {
    own_timers: RefCell<Timers<Timer>>,
    timers: RefCell<Timers<TimerHook>>,
    deferred: RefCell<VecDeque<DeferHook>>,
    watched: RefCell<HashMap<RawFd, Watched>>,
    round: Cell<u64>,
    /// The round in which the timers of the program had their turn last.
    swept: Cell<u64>,
    /// A deadline was over, so the loop turns once more.
    turns_again: Cell<bool>,
}

impl Agenda {
    /// Sets a timer of the unit itself.
    pub(super) fn set(&self, due_ns: u64, timer: Timer) {
        self.own_timers.borrow_mut().add(due_ns, None, timer);
    }

    /// Whether the unit itself has a timer that is due by then.
    pub(super) fn is_set_by(&self, due_ns: u64) -> bool {
        self.own_timers.borrow().next_due_ns().is_some_and(|first_ns| first_ns <= due_ns)
    }

    /// The loop has waited, a round begins.
    pub(super) fn begin_round(&self) {
        self.round.set(self.round.get().wrapping_add(1));
    }

    /// Whether the timers of the program have their turn: calls that one sweep has deferred come
    /// before the next one, but for those that a round begins with.
    fn may_sweep(&self) -> bool {
        let round = self.round.get();
        self.swept.replace(round) != round || self.deferred.borrow().is_empty()
    }

    /// When the loop has to wake up by itself; 0 if there is something to do now. It is asked for
    /// when the loop is about to wait for that.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        match self.deferred.borrow().is_empty() && !self.turns_again.take() {
            true => self.next_timer_ns(),
            false => Some(0),
        }
    }

    /// Whether the program has anything here that is still to come.
    pub(super) fn has_work(&self) -> bool {
        self.timers.borrow().next_due_ns().is_some()
            || !self.deferred.borrow().is_empty()
            || !self.watched.borrow().is_empty()
    }

    /// Drops all that the program has here; its descriptors stay open.
    fn clear(&self) -> Vec<RawFd> {
        self.timers.replace(Timers::default());
        self.deferred.replace(VecDeque::new());
        self.watched.replace(HashMap::new()).into_keys().collect()
    }

    #[inline]
    fn next_timer_ns(&self) -> Option<u64> {
        let own_ns = self.own_timers.borrow().next_due_ns();
        let program_ns = self.timers.borrow().next_due_ns();
        own_ns.into_iter().chain(program_ns).min()
    }

    /// Whom an event is for, and what is told. The event may be older than what a callback has
    /// changed since: nobody is told of what he does not watch for, nor of what was before him.
    /// Nothing is lost by that, the next round tells it again.
    fn hook_of(&self, fd: RawFd, ready: Ready) -> Option<(Interests, IoHook)> {
        let all = self.watched.borrow();
        let watched = all.get(&fd).filter(|watched| watched.since != self.round.get())?;
        let told = Interests {
            is_reading: watched.interests.is_reading && ready.is_readable,
            is_writing: watched.interests.is_writing && ready.is_writable,
        };
        (told.is_reading || told.is_writing).then(|| (told, Rc::clone(&watched.hook)))
    }
}

impl Unit {
    /// Runs what is due, if something was by `now_ns`.
    #[inline]
    pub(super) fn take_timers(&self, now_ns: u64) {
        if self.agenda.next_timer_ns().is_some_and(|due_ns| due_ns <= now_ns) {
            self.refresh_now();
            self.sweep_own();
            if self.agenda.may_sweep() {
                self.sweep();
            }
        }
    }

    fn sweep_own(&self) {
        let Now { monotonic_ns, .. } = self.now.get();
        let pass = self.agenda.own_timers.borrow().begin_pass(monotonic_ns);
        loop {
            let due = self.agenda.own_timers.borrow_mut().take_due(pass);
            let Some(due) = due else { return };
            match (due.key, &self.acceptor) {
                (Timer::Accept, Some(acceptor)) => acceptor.resume(self),
                (Timer::Accept, None) => {}
                // Whoever set it may look at a point of the turn that is past, and may have set
                // it in this very turn, or found it set and relied on it.
                (Timer::Deadline, _) => self.agenda.turns_again.set(true),
                (Timer::Stats, _) => self.keep_stats(),
                (Timer::Idle(look), _) => self.end_idle(look),
                (Timer::Tasks, _) => self.end_late_lists(),
                (Timer::Handshake, _) => self.end_slow_handshakes(),
            }
            self.agenda.own_timers.borrow_mut().done(due, monotonic_ns);
        }
    }

    /// Worker 0 begins to write down the counts of the server.
    pub(super) fn begin_stats(&self) {
        let is_first = self.worker_id() == Some(WorkerId(0));
        if is_first && self.runtime.write_stats.is_some() {
            let interval_ns = self.runtime.settings.stats_interval_ms.saturating_mul(NS_PER_MS);
            self.set_timer(interval_ns, Timer::Stats);
        }
    }

    /// Writes them down, and again after a while, until the worker begins to end.
    fn keep_stats(&self) {
        if let (Some(write), true) = (self.runtime.write_stats, self.stage.get() < Stage::Quiet) {
            write(self);
            self.begin_stats();
        }
    }

    fn end_slow_handshakes(&self) {
        if let Some(reactor) = &self.reactor {
            reactor.end_slow_handshakes(self);
        }
    }

    fn end_idle(&self, look: Look) {
        if let Some(reactor) = &self.reactor {
            reactor.end_idle(self, look);
        }
    }

    /// One sweep over the program's timers; what is added meanwhile waits for the next one.
    fn sweep(&self) {
        let Now { monotonic_ns, .. } = self.now.get();
        let pass = self.agenda.timers.borrow().begin_pass(monotonic_ns);
        loop {
            let due = self.agenda.timers.borrow_mut().take_due(pass);
            let Some(due) = due else { return };
            self.call(|| (due.key)(due.id));
            let now_ns = clock::monotonic_ns();
            self.agenda.timers.borrow_mut().done(due, now_ns);
        }
    }

    /// Runs what was deferred before this round; what is deferred by it waits for the next round,
    /// which follows without waiting.
    pub(super) fn take_deferred(&self) {
        let count = self.agenda.deferred.borrow().len();
        for _ in 0..count {
            if self.drops_program() {
                return;
            }
            let hook = self.agenda.deferred.borrow_mut().pop_front();
            if let Some(hook) = hook {
                self.call(hook);
            }
        }
    }

    pub(super) fn take_io(&self, fd: RawFd, ready: Ready) {
        if let Some((told, hook)) = self.agenda.hook_of(fd, ready) {
            self.call(|| hook(fd, told));
        }
    }

    /// Runs a call of the program that is no event; a worker is seen busy meanwhile.
    #[inline]
    pub(super) fn call(&self, act: impl FnOnce()) {
        match &self.worker {
            Some(worker) => worker.call(self, None, SessionId(0), act),
            None => act(),
        }
    }

    /// The program's timers, deferred calls and descriptors are forgotten.
    pub(super) fn drop_agenda(&self) {
        for fd in self.agenda.clear() {
            if let Err(error) = self.watcher.forget(fd) {
                log::debug!("descriptor {fd} was not watched: {error}");
            }
        }
    }

    /// The loop ends with the worker's stop callback: nothing can be changed in it any more.
    fn check_loop(&self) -> Result<()> {
        match self.worker.as_ref().is_some_and(|worker| worker.has_ended()) {
            true => Err(Error::new(
                code::WRONG_OPERATION,
                "the worker has stopped, its loop takes no timers, calls or descriptors any more",
            )),
            false => Ok(()),
        }
    }

    /// As [`Unit::check_loop`]; and a manager looks after its children and nothing else, a task
    /// worker after its tasks unless they may be answered later.
    fn check_watching(&self) -> Result<()> {
        let refused = |text| Err(Error::new(code::OPERATION_NOT_SUPPORT, text));
        if self.manager.is_some() {
            return refused("the manager watches no descriptors of the program, do it in a worker");
        }
        if self.task.is_some() && !self.runtime.settings.is_task_async {
            return refused(
                "a task worker watches descriptors only with task_object or task_enable_coroutine",
            );
        }
        self.check_loop()
    }

    /// Calls the program after `ms` milliseconds, at least 1; again and again if `is_repeated`.
    pub fn add_timer(&self, ms: i64, is_repeated: bool, hook: TimerHook) -> Result<TimerId> {
        self.check_loop()?;
        let Some(ms) = u64::try_from(ms).ok().filter(|ms| *ms > 0) else {
            let text =
                format!("a timer takes 1 millisecond or more, not {ms}; see sw_server_defer");
            return Err(Error::new(code::INVALID_PARAMS, text));
        };
        let interval_ns = ms.saturating_mul(NS_PER_MS);
        let due_ns = clock::monotonic_ns().saturating_add(interval_ns);
        let interval_ns = is_repeated.then_some(interval_ns);
        Ok(self.agenda.timers.borrow_mut().add(due_ns, interval_ns, hook))
    }

    /// The timer never fires again.
    pub fn clear_timer(&self, id: TimerId) -> Result<()> {
        self.check_loop()?;
        match self.agenda.timers.borrow_mut().clear(id) {
            true => Ok(()),
            false => {
                let text = format!("there is no timer {} in this process", id.0);
                Err(Error::new(code::INVALID_PARAMS, text))
            }
        }
    }

    /// Calls the program once, after the events of this round.
    pub fn defer(&self, hook: DeferHook) -> Result<()> {
        self.check_loop()?;
        self.agenda.deferred.borrow_mut().push_back(hook);
        Ok(())
    }

    /// Watches a descriptor of the program, level-triggered. It becomes non-blocking.
    pub fn add_io(&self, fd: RawFd, interests: Interests, hook: IoHook) -> Result<()> {
        self.check_watching()?;
        if self.agenda.watched.borrow().contains_key(&fd) {
            let text = format!("descriptor {fd} is watched already, see sw_event_set");
            return Err(Error::new(code::EVENT_ADD_FAILED, text));
        }
        self.begin_watch(fd, interests)
            .map_err(|error| Error::system(&format!("watch descriptor {fd}"), &error))?;
        let since = self.agenda.round.get();
        self.agenda.watched.borrow_mut().insert(fd, Watched { since, interests, hook });
        Ok(())
    }

    /// What cannot be watched stays as it is.
    fn begin_watch(&self, fd: RawFd, interests: Interests) -> io::Result<()> {
        self.watcher.watch_level(fd, interests, Token::Program(fd))?;
        match socket::set_nonblocking(fd) {
            Ok(()) => Ok(()),
            Err(error) => self.watcher.forget(fd).and(Err(error)),
        }
    }

    /// Changes what a descriptor of the program is watched for.
    pub fn set_io(&self, fd: RawFd, interests: Interests) -> Result<()> {
        self.check_watching()?;
        let mut all = self.agenda.watched.borrow_mut();
        let Some(watched) = all.get_mut(&fd) else {
            let text = format!("descriptor {fd} is not watched");
            return Err(Error::new(code::EVENT_UPDATE_FAILED, text));
        };
        self.watcher
            .change_level(fd, interests, Token::Program(fd))
            .map_err(|error| Error::system(&format!("watch descriptor {fd}"), &error))?;
        watched.interests = interests;
        Ok(())
    }

    /// Watches a descriptor of the program no longer.
    pub fn remove_io(&self, fd: RawFd) -> Result<()> {
        self.check_watching()?;
        if self.agenda.watched.borrow_mut().remove(&fd).is_none() {
            let text = format!("descriptor {fd} is not watched");
            return Err(Error::new(code::EVENT_REMOVE_FAILED, text));
        }
        self.watcher
            .forget(fd)
            .map_err(|error| Error::system(&format!("forget descriptor {fd}"), &error))
    }
}
