//! Starting units: as a fork or as a thread, and watching what was started.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::mpsc::{self, Sender};
use std::sync::Arc;
use std::thread;

use crate::error::{code, Error, Result};
use crate::log::{set_identity, Mark};
use crate::model::plan::{Roles, Start, UnitPlan};
use crate::model::worker::Stage;
use crate::model::UnitId;
use crate::os::leash::Leash;
use crate::os::process::{self, Forked};
use crate::os::signal::{self, MaskGuard, SignalPlan, Signals};

use super::arrival::Arrival;
use super::family::Child;
use super::{Runtime, Unit};

/// A unit that could not begin its life ends with this code.
const FAILED: i32 = 255;

/// The stack of a thread where the system sets no limit, in bytes.
const UNLIMITED_STACK: usize = 8 << 20;
/// No thread gets more.
const MOST_STACK: usize = 256 << 20;

/// Starts a unit of the plan; `None` if it is the caller itself. In a forked child this does not
/// return. So many threads of the parent are parked.
pub(super) fn start(parent: &Rc<Unit>, plan: &UnitPlan, parked: usize) -> Result<Option<Child>> {
    match plan.start {
        Start::Fork => fork(parent, plan, parked).map(Some),
        Start::Thread => start_thread(&parent.runtime, plan.id).map(Some),
        Start::Here => Ok(None),
    }
}

fn fork(parent: &Rc<Unit>, plan: &UnitPlan, parked: usize) -> Result<Child> {
    // Nobody begins before others can find it. Of a manager that is not watched nobody would end
    // the workers, and a worker whose manager is killed before it has noted who that is would not
    // be taken over: it would read the inbox beside its successor.
    let leash = Leash::new().map_err(|error| Error::system("fork", &error))?;
    match process::fork_beside(parked) {
        Ok(Forked::Parent { pid, pidfd }) => Ok(Child::Process { pid, pidfd, leash: Some(leash) }),
        Ok(Forked::Child { held }) => {
            if !leash.wait() {
                process::exit_at_once(FAILED);
            }
            leave(parent);
            parent.runtime.note_birth();
            run_child(Arc::clone(&parent.runtime), plan, held)
        }
        Err(error) if error.raw_os_error() == Some(process::HAS_THREADS) => {
            Err(Error::system("fork a program that has several threads", &error))
        }
        Err(error) => Err(Error::system("fork", &error)),
    }
}

/// In a forked child: closes what belongs to the parent alone.
fn leave(parent: &Unit) {
    process::close_descriptor(parent.loop_descriptor);
    process::close_descriptor(parent.watcher.descriptor());
    parent.family.leave();
    if let Some(root) = &parent.root {
        root.close_later_descriptors(parent);
    }
}

/// Sets up the signals of a forked process. A manager ends or reloads the server when it is told
/// to; a user process does what the program would expect of a process of its own, but that nothing
/// that is meant for the whole server ends it; any other process finishes what it has begun.
fn take_signals(plan: &UnitPlan, held: MaskGuard) -> Result<Signals> {
    let reopen = [signal::real_time_min(), signal::SIGWINCH];
    let (mut watch, mut ignore) = (Vec::new(), vec![signal::SIGHUP, signal::SIGPIPE]);
    let mut default = vec![signal::SIGCHLD];
    if plan.roles.is_user() {
        default.extend([signal::SIGTERM, signal::SIGUSR1, signal::SIGUSR2, signal::SIGWINCH]);
        ignore.push(signal::real_time_min());
    } else if plan.roles.is_manager() {
        watch.extend([signal::SIGTERM, signal::SIGUSR1, signal::SIGUSR2, signal::SIGALRM]);
        watch.extend(reopen);
    } else {
        watch.push(signal::SIGTERM);
        watch.extend(reopen);
        ignore.extend([signal::SIGUSR1, signal::SIGUSR2]);
    }
    let plan = SignalPlan { watch: &watch, ignore: &ignore, default: &default };
    Signals::in_child(&plan, held).map_err(|error| Error::system("set up signals", &error))
}

/// Lives the life of a forked unit, and ends the process.
fn run_child(runtime: Arc<Runtime>, plan: &UnitPlan, held: MaskGuard) -> ! {
    log_as(plan);
    let live = || {
        let signals = take_signals(plan, held)?;
        // The parent may not have heard yet that the file was moved away.
        if let Err(error) = crate::log::reopen() {
            log::warn!("the log file cannot be opened anew: {error}");
        }
        Arrival::enter(&runtime, plan)?;
        // A change of the user takes this back, so it comes behind.
        die_with_parent(&runtime, plan)?;
        let (unit, events) = Unit::new(Arc::clone(&runtime), plan.id)?;
        unit.watch_signals(Rc::new(signals))?;
        unit.live(events)
    };
    // Nothing may return into the stack of the parent, a panic neither.
    match catch_unwind(AssertUnwindSafe(live)) {
        Ok(Ok(())) => {
            runtime.note_death();
            process::exit(0)
        }
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
    let entered = runtime.plan.unit(id).map_or(Ok(()), |plan| {
        log_as(plan);
        Arrival::enter(&runtime, plan)
    });
    let (unit, events) = match entered.and_then(|()| Unit::new(Arc::clone(&runtime), id)) {
        Ok(made) => made,
        Err(error) => return tell(parent, Err(error)),
    };
    // Its number is known when its parent goes on: a process tells its parent by itself.
    unit.begin_life();
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
    } else if plan.roles.is_task() {
        "sw-task"
    } else if plan.roles.is_user() {
        "sw-user"
    } else {
        "sw-reactor"
    }
}

/// Says in log lines who is speaking.
pub(super) fn log_as(plan: &UnitPlan) {
    let (mark, id) = if let Some(worker) = plan.worker {
        let mark = match plan.roles {
            roles if roles.is_user() => Mark::UserProcess,
            roles if roles.is_task() => Mark::TaskWorker,
            _ => Mark::EventWorker,
        };
        (mark, i32::from(worker.0))
    } else if plan.roles.has(Roles::MANAGER) {
        (Mark::Manager, 0)
    } else {
        (Mark::Master, plan.reactor.map_or(0, i32::from))
    };
    set_identity(mark, id);
}
