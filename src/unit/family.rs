//! The children of a unit: who they are, which of them have ended, and how they are told.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::thread::JoinHandle;

use crate::error::{code, Error, Result};
use crate::event::Token;
use crate::model::plan::{Roles, UnitPlan};
use crate::model::worker::{Command, Stage};
use crate::model::UnitId;
use crate::os::leash::Leash;
use crate::os::process::{self, ExitStatus, Pid};
use crate::os::signal;

use super::{spawn, Runtime, Unit};

/// How long workers are waited for before they are ended by force, for each second of
/// `max_wait_time`.
pub(super) const FORCE_AFTER_NS: u64 = 2_000_000_000;

/// The time at which somebody is ended by force who has been.
const GIVEN_UP: u64 = u64::MAX;

/// What a child is to the system.
pub(super) enum Child {
    Process {
        pid: Pid,
        pidfd: OwnedFd,
        /// It has not begun, and waits to be let go.
        leash: Option<Leash>,
    },
    Thread {
        handle: JoinHandle<()>,
    },
}

/// Names one life of one child, and no other in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LifeId(u64);

struct Member {
    plan: UnitPlan,
    life: LifeId,
    child: Child,
    may_have_ended: bool,
    /// It has left its place to a successor.
    is_detached: bool,
    /// When it is ended by force because it has been leaving for so long.
    give_up_ns: Option<u64>,
}

/// The children of one unit.
#[derive(Default)]
pub(super) struct Family {
    members: RefCell<Vec<Member>>,
    lives: Cell<u64>,
}

impl Child {
    /// Ends it at once, and waits until nothing of it is left. A thread must have been told to end.
    fn abandon(self) {
        match self {
            Child::Process { pid, pidfd, .. } => {
                let ended = process::kill(pid, signal::SIGKILL)
                    .and_then(|()| process::wait_for(&pidfd, None))
                    .and_then(|_| process::reap(pid));
                if let Err(error) = ended {
                    log::warn!("process {pid} could not be ended: {error}");
                }
            }
            Child::Thread { handle } => {
                if handle.join().is_err() {
                    log::error!("a thread ended by a panic");
                }
            }
        }
    }

    /// Lets it begin.
    fn release(&mut self) {
        if let Child::Process { leash, .. } = self {
            // If it has died on the leash, its end tells that.
            if let Some(Err(error)) = leash.take().map(Leash::release) {
                log::debug!("a child was not there to be let go: {error}");
            }
        }
    }

    fn pid(&self) -> Option<Pid> {
        match self {
            Child::Process { pid, .. } => Some(*pid),
            Child::Thread { .. } => None,
        }
    }
}

/// A child that has ended.
pub(super) struct Ended {
    pub(super) plan: UnitPlan,
    pub(super) life: LifeId,
    /// The process that it was; threads have none.
    pub(super) process: Option<(Pid, ExitStatus)>,
    /// A successor has its place already.
    pub(super) is_detached: bool,
}

#[cfg(test)]
impl Ended {
    /// One that was killed.
    pub(super) fn killed(plan: UnitPlan, is_detached: bool) -> Self {
        let process = Some((1, ExitStatus { raw: signal::SIGKILL }));
        Self { plan, life: LifeId(0), process, is_detached }
    }
}

impl Family {
    /// Starts a unit of the plan. In a forked child this does not return.
    pub(super) fn start(&self, parent: &Rc<Unit>, plan: &UnitPlan) -> Result<()> {
        self.start_beside(parent, plan, 0)
    }

    /// As [`Family::start`], while so many threads of this process are parked.
    pub(super) fn start_beside(
        &self,
        parent: &Rc<Unit>,
        plan: &UnitPlan,
        parked: usize,
    ) -> Result<()> {
        if let Some(record) = parent.runtime.control.unit(plan.id) {
            record.prepare_life();
        }
        let Some(mut child) = spawn::start(parent, plan, parked)? else { return Ok(()) };
        if let Child::Process { pid, pidfd, .. } = &child {
            if let Some(record) = parent.runtime.control.unit(plan.id) {
                record.set_pid(*pid);
            }
            parent.runtime.note_face(plan.id, *pid);
            if let Err(error) = parent.watcher.watch(pidfd.as_raw_fd(), Token::Child(plan.id.0)) {
                child.abandon();
                return Err(Error::system("watch a child process", &error));
            }
        }
        child.release();
        self.add(plan, child);
        Ok(())
    }

    fn add(&self, plan: &UnitPlan, child: Child) {
        self.lives.set(self.lives.get() + 1);
        let life = LifeId(self.lives.get());
        let (plan, may_have_ended, is_detached, give_up_ns) = (*plan, false, false, None);
        let member = Member { plan, life, child, may_have_ended, is_detached, give_up_ns };
        self.members.borrow_mut().push(member);
    }

    /// Takes in a process that its parent, which is gone, had started. False if it has ended, too.
    pub(super) fn adopt(&self, unit: &Unit, plan: &UnitPlan) -> Result<bool> {
        let pid = unit.runtime.control.unit(plan.id).map_or(0, |record| record.pid());
        let failed = |error| Error::system("watch a process", &error);
        let Some(pidfd) = process::find_pidfd(pid).map_err(failed)? else { return Ok(false) };
        unit.watcher.watch(pidfd.as_raw_fd(), Token::Child(plan.id.0)).map_err(failed)?;
        self.add(plan, Child::Process { pid, pidfd, leash: None });
        Ok(true)
    }

    /// In a forked child: closes what belongs to the parent alone.
    pub(super) fn leave(&self) {
        for member in self.members.borrow().iter() {
            if let Child::Process { pidfd, .. } = &member.child {
                process::close_descriptor(pidfd.as_raw_fd());
            }
        }
    }

    /// The loop says that a process of this unit has ended; it may have two for a while.
    pub(super) fn note_end(&self, unit: UnitId) {
        for member in self.members.borrow_mut().iter_mut().filter(|row| row.plan.id == unit) {
            member.may_have_ended = true;
        }
    }

    /// Sees which children have left their places since the last call.
    pub(super) fn take_detached(&self, runtime: &Runtime) -> Vec<(UnitId, LifeId)> {
        let mut left = Vec::new();
        for member in self.members.borrow_mut().iter_mut().filter(|row| !row.is_detached) {
            let record = runtime.control.unit(member.plan.id);
            if let Some((pid, record)) = member.child.pid().zip(record) {
                member.is_detached = record.is_detached(pid);
            }
            if member.is_detached {
                left.push((member.plan.id, member.life));
            }
        }
        left
    }

    /// Takes one child that has ended out of the family.
    pub(super) fn take_ended(&self, runtime: &Runtime) -> Option<Ended> {
        let mut members = self.members.borrow_mut();
        let (index, process) = members
            .iter_mut()
            .enumerate()
            .find_map(|(index, member)| end_of(member, runtime).map(|end| (index, end)))?;
        let Member { plan, life, child, is_detached, .. } = members.swap_remove(index);
        if let Child::Thread { handle } = child {
            if handle.join().is_err() {
                log::error!("the thread of unit {} ended by a panic", plan.id.0);
            }
        }
        Some(Ended { plan, life, process, is_detached })
    }

    /// The children that have been leaving for longer than `patience_ns` while their parent serves,
    /// and how long until the next one has, if any is leaving. Whose loop does not turn in the end,
    /// because a callback of the program never returns, would stay for ever.
    pub(super) fn overdue(
        &self,
        runtime: &Runtime,
        now_ns: u64,
        patience_ns: u64,
    ) -> (Vec<LifeId>, Option<u64>) {
        let mut members = self.members.borrow_mut();
        for member in members.iter_mut().filter(|row| row.give_up_ns.is_none()) {
            let record = runtime.control.unit(member.plan.id);
            let is_leaving = record.is_some_and(|record| record.stage() >= Stage::Quiet);
            if is_leaving || member.is_detached {
                member.give_up_ns = Some(now_ns.saturating_add(patience_ns));
            }
        }
        let mut overdue = Vec::new();
        let is_due = |member: &&mut Member| member.give_up_ns.is_some_and(|at| at <= now_ns);
        for member in members.iter_mut().filter(is_due) {
            member.give_up_ns = Some(GIVEN_UP);
            overdue.push(member.life);
        }
        let waiting = members.iter().filter_map(|row| row.give_up_ns).filter(|at| *at != GIVEN_UP);
        (overdue, waiting.min().map(|at_ns| at_ns.saturating_sub(now_ns)))
    }

    /// Tells every child whose roles are meant, and rings it.
    pub(super) fn tell_all(&self, runtime: &Runtime, command: Command, meant: fn(Roles) -> bool) {
        for member in self.members.borrow().iter().filter(|row| meant(row.plan.roles)) {
            if let Some(record) = runtime.control.unit(member.plan.id) {
                record.tell(command);
            }
            runtime.control.wiring.ring(member.plan.id.0);
        }
    }

    /// Ends the user processes. Their loops may not turn: a process gets SIGTERM, a thread sees its
    /// pipe end and the server that is running no more.
    pub(super) fn end_users(&self, runtime: &Runtime) {
        self.tell_all(runtime, Command::Finish, Roles::is_user);
        for member in self.members.borrow().iter().filter(|row| row.plan.roles.is_user()) {
            let number = member.plan.user.map_or(usize::MAX, usize::from);
            match (member.child.pid(), runtime.users.get(number)) {
                (Some(pid), _) => send(pid, signal::SIGTERM),
                (None, Some(user)) => user.pipe.end(),
                (None, None) => {}
            }
        }
    }

    /// Ends every child process by force because the wait for their end took too long.
    pub(super) fn force_all(&self) {
        let number = code::SERVER_WORKER_EXIT_TIMEOUT;
        log::warn!(
            "wait timeout, all worker processes will be forcibly terminated (error {number})"
        );
        self.kill_all();
    }

    /// Ends a manager process by force that does not end.
    pub(super) fn force_manager(&self) {
        for member in self.members.borrow().iter().filter(|row| row.plan.roles.is_manager()) {
            if let Some(pid) = member.child.pid() {
                log::warn!("the manager does not end, process {pid} is ended by force");
                send(pid, signal::SIGKILL);
            }
        }
    }

    /// Ends these lives by force, as far as they are processes.
    pub(super) fn force(&self, lives: &[LifeId]) {
        for member in self.members.borrow().iter().filter(|row| lives.contains(&row.life)) {
            let Some(pid) = member.child.pid() else { continue };
            let id = member.plan.worker.map_or(-1, |id| i32::from(id.0));
            log::warn!("force kill worker process(pid={pid}, id={id})");
            send(pid, signal::SIGKILL);
        }
    }

    /// Ends every child, when the parent cannot go on, and waits until nothing of them is left.
    pub(super) fn abandon_all(&self, runtime: &Runtime) {
        self.tell_all(runtime, Command::Finish, |_| true);
        self.end_users(runtime);
        let members = std::mem::take(&mut *self.members.borrow_mut());
        for member in members {
            member.child.abandon();
        }
    }

    /// Ends every child process by force.
    pub(super) fn kill_all(&self) {
        for pid in self.members.borrow().iter().filter_map(|member| member.child.pid()) {
            send(pid, signal::SIGKILL);
        }
    }

    /// Whether all children whose roles are meant have reached `stage`.
    pub(super) fn have_reached(
        &self,
        runtime: &Runtime,
        stage: Stage,
        meant: fn(Roles) -> bool,
    ) -> bool {
        let members = self.members.borrow();
        let mut wanted = members.iter().filter(|row| !row.is_detached && meant(row.plan.roles));
        wanted.all(|member| {
            runtime.control.unit(member.plan.id).is_some_and(|record| record.stage() >= stage)
        })
    }

    /// The life of the child that has this unit's place.
    pub(super) fn life_of(&self, id: UnitId) -> Option<LifeId> {
        let members = self.members.borrow();
        let holder = members.iter().find(|row| row.plan.id == id && !row.is_detached);
        holder.map(|member| member.life)
    }

    /// Whether this child has not ended.
    pub(super) fn has_life(&self, life: LifeId) -> bool {
        self.members.borrow().iter().any(|row| row.life == life)
    }

    /// Whether there is a child whose roles are meant.
    pub(super) fn has(&self, meant: fn(Roles) -> bool) -> bool {
        self.members.borrow().iter().any(|row| meant(row.plan.roles))
    }

    /// Whether there is no child left.
    pub(super) fn is_empty(&self) -> bool {
        self.members.borrow().is_empty()
    }
}

/// How a child has ended: `None` if it has not, else the process that it was.
fn end_of(member: &mut Member, runtime: &Runtime) -> Option<Option<(Pid, ExitStatus)>> {
    match &member.child {
        Child::Process { pid, .. } => {
            if !std::mem::take(&mut member.may_have_ended) {
                return None;
            }
            match process::reap(*pid) {
                Ok(status) => status.map(|status| Some((*pid, status))),
                // It was somebody else's child, or somebody else has taken its status.
                Err(_) => Some(Some((*pid, ExitStatus { raw: 0 }))),
            }
        }
        Child::Thread { handle } => {
            let stage = runtime.control.unit(member.plan.id).map(|record| record.stage());
            (stage == Some(Stage::Ended) || handle.is_finished()).then_some(None)
        }
    }
}

fn send(pid: Pid, signal: i32) {
    if let Err(error) = process::kill(pid, signal) {
        log::debug!("process {pid} could not be sent signal {signal}: {error}");
    }
}
