//! Starting units: as a fork or as a thread, and watching what was started.

use std::cell::RefCell;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::mpsc::{self, Sender};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::error::{code, Error, Result};
use crate::event::Token;
use crate::log::{set_identity, Mark};
use crate::model::plan::{Roles, Start, UnitPlan};
use crate::model::worker::{Command, Stage};
use crate::model::UnitId;
use crate::os::process::{self, ExitStatus, Forked, Pid};
use crate::os::signal::{self, MaskGuard, SignalPlan, Signals};

use super::{Runtime, Unit};

/// A unit that could not begin its life ends with this code.
const FAILED: i32 = 255;
/// How long workers are waited for before they are ended by force, for each second of
/// `max_wait_time`.
pub(super) const FORCE_AFTER_NS: u64 = 2_000_000_000;

/// The stack of a thread where the system sets no limit, in bytes.
const UNLIMITED_STACK: usize = 8 << 20;
/// No thread gets more.
const MOST_STACK: usize = 256 << 20;

enum Child {
    Process { pid: Pid, pidfd: OwnedFd, may_have_ended: bool },
    Thread { handle: JoinHandle<()> },
}

/// The children of one unit.
#[derive(Default)]
pub(super) struct Family {
    members: RefCell<Vec<(UnitPlan, Child)>>,
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
}

/// A child that has ended.
pub(super) struct Ended {
    pub(super) plan: UnitPlan,
    /// The process that it was; threads have none.
    pub(super) process: Option<(Pid, ExitStatus)>,
}

impl Family {
    /// Starts a unit of the plan. In a forked child this does not return.
    pub(super) fn start(&self, parent: &Rc<Unit>, plan: &UnitPlan) -> Result<()> {
        if let Some(record) = parent.runtime.control.unit(plan.id) {
            record.reach(Stage::Down);
        }
        let child = match plan.start {
            Start::Fork => self.fork(parent, plan)?,
            Start::Thread => start_thread(&parent.runtime, plan.id)?,
            Start::Here => return Ok(()),
        };
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
        self.members.borrow_mut().push((*plan, child));
        Ok(())
    }

    /// Takes in a process that its parent, which is gone, had started. Nothing happens if it has
    /// ended, too.
    pub(super) fn adopt(&self, unit: &Unit, plan: &UnitPlan) -> Result<()> {
        let pid = unit.runtime.control.unit(plan.id).map_or(0, |record| record.pid());
        let failed = |error| Error::system("watch a process", &error);
        let Some(pidfd) = process::find_pidfd(pid).map_err(failed)? else { return Ok(()) };
        unit.watcher.watch(pidfd.as_raw_fd(), Token::Child(plan.id.0)).map_err(failed)?;
        let child = Child::Process { pid, pidfd, may_have_ended: false };
        self.members.borrow_mut().push((*plan, child));
        Ok(())
    }

    fn fork(&self, parent: &Rc<Unit>, plan: &UnitPlan) -> Result<Child> {
        match process::fork() {
            Ok(Forked::Parent { pid, pidfd }) => {
                Ok(Child::Process { pid, pidfd, may_have_ended: false })
            }
            Ok(Forked::Child { held }) => {
                self.leave(parent);
                run_child(Arc::clone(&parent.runtime), plan, held)
            }
            Err(error) if error.raw_os_error() == Some(process::HAS_THREADS) => {
                Err(Error::system("fork a program that has several threads", &error))
            }
            Err(error) => Err(Error::system("fork", &error)),
        }
    }

    /// In a forked child: closes what belongs to the parent alone.
    fn leave(&self, parent: &Unit) {
        process::close_descriptor(parent.loop_descriptor);
        process::close_descriptor(parent.watcher.descriptor());
        for (_, child) in self.members.borrow().iter() {
            if let Child::Process { pidfd, .. } = child {
                process::close_descriptor(pidfd.as_raw_fd());
            }
        }
    }

    /// The loop says that this child's process has ended.
    pub(super) fn note_end(&self, unit: UnitId) {
        for (plan, child) in self.members.borrow_mut().iter_mut() {
            match child {
                Child::Process { may_have_ended, .. } if plan.id == unit => *may_have_ended = true,
                Child::Process { .. } | Child::Thread { .. } => {}
            }
        }
    }

    /// Takes one child that has ended out of the family.
    pub(super) fn take_ended(&self, runtime: &Runtime) -> Option<Ended> {
        let mut members = self.members.borrow_mut();
        let mut found = None;
        for (index, (plan, child)) in members.iter().enumerate() {
            let status = match child {
                Child::Process { pid, may_have_ended: true, .. } => match process::reap(*pid) {
                    Ok(Some(status)) => Some((*pid, status)),
                    // Somebody else has taken its status.
                    Err(_) => Some((*pid, ExitStatus { raw: 0 })),
                    Ok(None) => continue,
                },
                Child::Process { .. } => continue,
                Child::Thread { handle } => {
                    let stage = runtime.control.unit(plan.id).map(|record| record.stage());
                    if stage != Some(Stage::Ended) && !handle.is_finished() {
                        continue;
                    }
                    None
                }
            };
            found = Some((index, status));
            break;
        }
        let (index, process) = found?;
        let (plan, child) = members.swap_remove(index);
        if let Child::Thread { handle } = child {
            if handle.join().is_err() {
                log::error!("the thread of unit {} ended by a panic", plan.id.0);
            }
        }
        Some(Ended { plan, process })
    }

    /// Tells every child whose roles are meant, and rings it.
    pub(super) fn tell_all(&self, runtime: &Runtime, command: Command, meant: fn(Roles) -> bool) {
        for (plan, _) in self.members.borrow().iter().filter(|row| meant(row.0.roles)) {
            if let Some(record) = runtime.control.unit(plan.id) {
                record.tell(command);
            }
            runtime.control.wiring.ring(plan.id.0);
        }
    }

    /// Ends the user processes. Their loops may not turn: a process gets SIGTERM, a thread sees its
    /// pipe end and the server that is running no more.
    pub(super) fn end_users(&self, runtime: &Runtime) {
        self.tell_all(runtime, Command::Finish, Roles::is_user);
        for (plan, child) in self.members.borrow().iter().filter(|row| row.0.roles.is_user()) {
            let number = plan.user.map_or(usize::MAX, usize::from);
            match (child, runtime.users.get(number)) {
                (Child::Process { pid, .. }, _) => {
                    if let Err(error) = process::kill(*pid, signal::SIGTERM) {
                        log::debug!("unit {} could not be told to end: {error}", plan.id.0);
                    }
                }
                (Child::Thread { .. }, Some(user)) => user.pipe.end(),
                (Child::Thread { .. }, None) => {}
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

    /// Ends every child, when the parent cannot go on, and waits until nothing of them is left.
    pub(super) fn abandon_all(&self, runtime: &Runtime) {
        self.tell_all(runtime, Command::Finish, |_| true);
        self.end_users(runtime);
        let members = std::mem::take(&mut *self.members.borrow_mut());
        for (_, child) in members {
            child.abandon();
        }
    }

    /// Ends every child process by force.
    pub(super) fn kill_all(&self) {
        for (plan, child) in self.members.borrow().iter() {
            if let Child::Process { pid, .. } = child {
                if let Err(error) = process::kill(*pid, signal::SIGKILL) {
                    log::debug!("unit {} could not be killed: {error}", plan.id.0);
                }
            }
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
        let mut wanted = members.iter().filter(|row| meant(row.0.roles));
        wanted.all(|(plan, _)| {
            runtime.control.unit(plan.id).is_some_and(|record| record.stage() >= stage)
        })
    }

    /// Whether this unit is a child that has not ended.
    pub(super) fn has_unit(&self, id: UnitId) -> bool {
        self.members.borrow().iter().any(|row| row.0.id == id)
    }

    /// Whether there is a child whose roles are meant.
    pub(super) fn has(&self, meant: fn(Roles) -> bool) -> bool {
        self.members.borrow().iter().any(|row| meant(row.0.roles))
    }

    /// Whether there is no child left.
    pub(super) fn is_empty(&self) -> bool {
        self.members.borrow().is_empty()
    }
}

/// What a forked process does with signals. A manager ends the server in order when it is told to
/// end; any other process finishes what it has begun.
pub(super) const CHILD_SIGNALS: SignalPlan<'static> = SignalPlan {
    watch: &[signal::SIGTERM],
    ignore: &[signal::SIGHUP, signal::SIGPIPE, signal::SIGUSR1, signal::SIGUSR2],
    default: &[signal::SIGCHLD],
};

/// What a user process does with signals: what the program would expect of a process of its own,
/// but that a pipe or socket without a reader does not end it.
const USER_SIGNALS: SignalPlan<'static> = SignalPlan {
    watch: &[],
    ignore: &[signal::SIGHUP, signal::SIGPIPE],
    default: &[signal::SIGTERM, signal::SIGUSR1, signal::SIGUSR2, signal::SIGCHLD],
};

/// Lives the life of a forked unit, and ends the process.
fn run_child(runtime: Arc<Runtime>, plan: &UnitPlan, held: MaskGuard) -> ! {
    log_as(plan);
    let signal_plan = if plan.roles.is_user() { &USER_SIGNALS } else { &CHILD_SIGNALS };
    let live = || {
        let signals = Signals::in_child(signal_plan, held)
            .map_err(|error| Error::system("set up signals", &error))?;
        die_with_parent(&runtime, plan)?;
        let (unit, events) = Unit::new(Arc::clone(&runtime), plan.id)?;
        unit.watch_signals(Rc::new(signals))?;
        unit.live(events)
    };
    // Nothing may return into the stack of the parent, a panic neither.
    match catch_unwind(AssertUnwindSafe(live)) {
        Ok(Ok(())) => process::exit(0),
        Ok(Err(error)) => log::error!("unit {} could not run: {error}", plan.id.0),
        Err(_) => log::error!("unit {} ended by a panic", plan.id.0),
    }
    process::exit(FAILED)
}

/// A process that is a child of the root and has no children of its own ends with the root even
/// if it is stuck in a callback. The manager must outlive it: it ends the others. A user process,
/// which nobody can reach in its function, ends with the manager.
fn die_with_parent(runtime: &Runtime, plan: &UnitPlan) -> Result<()> {
    let is_root_watched = plan.parent != UnitId::ROOT || plan.roles.has(Roles::MANAGER);
    if is_root_watched && !plan.roles.is_user() {
        return Ok(());
    }
    let parent = runtime.control.unit(plan.parent).map_or(0, |record| record.pid());
    process::die_with_parent(signal::SIGKILL, parent)
        .map_err(|error| Error::system("end with the parent", &error))
}

/// Returns when the thread has all that its unit needs, so that no connection takes the descriptors
/// that a unit is about to make; or with what it could not have.
fn start_thread(runtime: &Arc<Runtime>, id: UnitId) -> Result<Child> {
    let runtime = Arc::clone(runtime);
    let name = runtime.plan.unit(id).map_or("unit", |plan| name_of(plan));
    let (sender, receiver) = mpsc::channel();
    // The thread inherits the mask: signals are the business of the first thread.
    let _held = signal::block_all();
    let handle = thread::Builder::new()
        .name(name.to_owned())
        .stack_size(process::stack_limit().unwrap_or(UNLIMITED_STACK).min(MOST_STACK))
        .spawn(move || run_thread(runtime, id, &sender))
        .map_err(|error| Error::system("start a thread", &error))?;
    let ended = || Error::new(code::FATAL_ERROR, format!("the thread of unit {} ended", id.0));
    match receiver.recv().unwrap_or_else(|_| Err(ended())) {
        Ok(()) => Ok(Child::Thread { handle }),
        Err(error) => {
            if handle.join().is_err() {
                log::error!("the thread of unit {} ended by a panic", id.0);
            }
            Err(error)
        }
    }
}

fn run_thread(runtime: Arc<Runtime>, id: UnitId, parent: &Sender<Result<()>>) {
    if let Some(plan) = runtime.plan.unit(id) {
        log_as(plan);
    }
    let (unit, events) = match Unit::new(Arc::clone(&runtime), id) {
        Ok(made) => made,
        Err(error) => return tell(parent, Err(error)),
    };
    tell(parent, Ok(()));
    let live = || unit.live(events);
    // A panic ends the unit, not silently: its parent is told like after any other end.
    let result = catch_unwind(AssertUnwindSafe(live));
    match result {
        Ok(Ok(())) => return,
        Ok(Err(error)) => log::error!("unit {} could not run: {error}", id.0),
        Err(_) => log::error!("unit {} ended by a panic", id.0),
    }
    if let (Some(record), Some(plan)) = (runtime.control.unit(id), runtime.plan.unit(id)) {
        record.reach(Stage::Ended);
        runtime.control.wiring.ring(plan.parent.0);
    }
    runtime.request_end();
}

fn tell(parent: &Sender<Result<()>>, outcome: Result<()>) {
    if parent.send(outcome).is_err() {
        log::debug!("the parent does not wait for this thread");
    }
}

fn name_of(plan: &UnitPlan) -> &'static str {
    if plan.roles.has(Roles::MANAGER) {
        "sw-manager"
    } else if plan.roles.has(Roles::WORKER) {
        "sw-worker"
    } else if plan.roles.is_user() {
        "sw-user"
    } else {
        "sw-reactor"
    }
}

/// Says in log lines who is speaking.
pub(super) fn log_as(plan: &UnitPlan) {
    let (mark, id) = if let Some(worker) = plan.worker {
        let mark = if plan.roles.is_user() { Mark::UserProcess } else { Mark::EventWorker };
        (mark, i32::from(worker.0))
    } else if plan.roles.has(Roles::MANAGER) {
        (Mark::Manager, 0)
    } else {
        (Mark::Master, plan.reactor.map_or(0, i32::from))
    };
    set_identity(mark, id);
}
