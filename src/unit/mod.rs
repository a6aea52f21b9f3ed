//! What runs. A unit is one thread of control with one loop, one inbox and a set of roles.
//!
//! Messages to a role that the unit wears itself are handled at once, all others go into the inbox
//! of the unit that wears it; so the same code serves every placement. No borrow of a unit's state
//! is held while a callback runs: a callback may call anything back.

mod acceptor;
mod arrival;
mod certificates;
mod command;
mod control;
mod counting;
mod family;
mod hesitation;
pub mod later;
mod leaving;
mod left_over;
mod load;
mod manager;
mod message;
pub mod notify;
mod outgoing;
mod parking;
mod pulled;
mod reactor;
mod receiver;
mod reload;
mod replies;
mod respawn;
mod root;
mod spawn;
mod successors;
mod task;
pub mod tasks;
mod terms;
pub mod timer;
mod turn;
pub mod user;
mod worker;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{code, Error, Result};
use crate::event::post::Post;
use crate::event::{Loop, Token, Watcher};
use crate::ipc::Outbox;
use crate::model::command::ProgramCommand;
use crate::model::connection::Connection;
use crate::model::control::{Control, Reload};
use crate::model::dispatch::Dispatch;
use crate::model::hooks::{Event, EventKind, Hooks};
use crate::model::plan::{Plan, Roles, Start, UnitPlan};
use crate::model::port::Port;
use crate::model::settings::{complete_heartbeat, InForce};
use crate::model::user::UserProcess;
use crate::model::worker::{Leave, Stage, UnitRecord};
use crate::model::{SessionId, UnitId};
use crate::os::memory::Home;
use crate::os::signal::Signals;
use crate::os::{clock, process};

use acceptor::{Accepted, Acceptor};
use arrival::Arrival;
use command::Commanding;
use family::Family;
use hesitation::Hesitation;
use later::Later;
use leaving::Parts;
use manager::Manager;
use outgoing::{HeldBack, OnWay};
use parking::Parking;
use reactor::Reactor;
use receiver::Receiver;
use replies::Replies;
use root::Root;
use task::TaskWorker;
use tasks::Tasks;
use timer::{Agenda, Timer};
use user::User;
use worker::Worker;

/// What a connection leaves its acceptor by, in the process that has both.
#[derive(Default)]
struct Handover {
    post: Post<Accepted>,
    watcher: Mutex<Option<Watcher>>,
}

/// Everything that the units of one server read. It does not change while the server runs.
pub struct Runtime {
    /// Which units there are.
    pub plan: Plan,
    /// The numbers in force.
    pub settings: InForce,
    /// The program's callbacks.
    pub hooks: Hooks,
    /// The ports, the first one first.
    pub ports: Vec<Port>,
    /// The user processes, by registration number.
    pub users: Vec<UserProcess>,
    /// The shared memory.
    pub control: Control,
    /// The program's commands.
    pub commands: Vec<ProgramCommand>,
    /// What tasks travel through instead of lanes.
    pub queue: Option<tasks::TaskQueue>,
    /// What worker 0 does every `stats_timer_interval`.
    pub write_stats: Option<fn(&Unit)>,
    arrival: Arrival,
    handovers: Vec<Handover>,
    dispatches: Vec<Dispatch>,
    parking: Parking,
    root_process: OwnedFd,
}

impl Runtime {
    /// Puts together what the units read. Called in the process that becomes the root.
    pub fn new(
        plan: Plan,
        mut settings: InForce,
        hooks: Hooks,
        users: Vec<UserProcess>,
        mut ports: Vec<Port>,
    ) -> Result<Self> {
        let streams = ports.iter_mut().filter(|port| port.is_stream());
        let mut idle_times: Vec<&mut u64> =
            streams.map(|port| &mut port.settings.heartbeat_idle_time_s).collect();
        let is_kept = settings.keeps_heartbeat_interval;
        complete_heartbeat(&mut settings.heartbeat_check_interval_s, is_kept, &mut idle_times);
        let control = Control::new(&plan, &settings, ports.len())?;
        control.root().set_start_time((clock::wall_ns() / 1_000_000_000) as i64);
        let root_process = process::open_pidfd(process::pid())
            .map_err(|error| Error::system("open a descriptor of the own process", &error))?;
        let ids = plan.units().iter().map(|unit| unit.id);
        let dispatch = |id| Dispatch::new(&plan, &settings, hooks.chooser.as_ref(), id);
        let dispatches = ids.map(dispatch).collect();
        let handovers = plan.units().iter().map(|_| Handover::default()).collect();
        let arrival = Arrival::look_up(&plan, &settings);
        let write_stats = None;
        let parking = Parking::default();
        Ok(Self {
            plan,
            settings,
            hooks,
            ports,
            users,
            control,
            commands: Vec::new(),
            queue: None,
            write_stats,
            arrival,
            handovers,
            dispatches,
            parking,
            root_process,
        })
    }

    /// Whether the root has ended: no unit runs any more.
    pub fn has_ended(&self) -> bool {
        self.control.unit(UnitId::ROOT).map_or(true, |record| record.stage() == Stage::Ended)
    }

    /// Asks the root for an orderly end. Safe in a signal handler.
    pub fn request_end(&self) {
        self.control.root().request_end();
        self.control.wiring.ring(UnitId::ROOT.0);
    }

    /// Asks the manager for a reload; does nothing where there is none. Safe in a signal handler.
    pub fn request_reload(&self, what: Reload) {
        if let Some(manager) = self.plan.manager() {
            self.control.root().request_reload(what);
            self.control.wiring.ring(manager.0);
        }
    }

    /// Has every unit open the log file anew.
    fn renew_log(&self) {
        self.control.root().renew_log();
        for unit in self.plan.units() {
            self.control.wiring.ring(unit.id.0);
        }
    }

    /// Lets everybody see the pid of the unit that stands for the master, if this is that one.
    fn note_face(&self, id: UnitId, pid: i32) {
        if self.plan.face() == id {
            self.control.root().set_master_pid(pid);
        }
    }

    /// The port that accepted a connection.
    #[inline]
    pub fn port_of(&self, record: &Connection) -> Option<&Port> {
        self.ports.get(record.port())
    }

    /// Whether there is a callback for an event of a port.
    pub fn has_hook(&self, port: usize, kind: EventKind) -> bool {
        self.ports.get(port).is_some_and(|port| port.hooks.has(kind))
    }

    /// Whether connections of a port are looked after while nothing happens to them.
    pub fn ends_idle(&self, port: usize) -> bool {
        self.ports.get(port).is_some_and(|port| {
            let settings = &port.settings;
            // A handshake has its time.
            settings.heartbeat_idle_time_s > 0
                || settings.max_idle_time_ms > 0
                || port.tls.is_some()
        })
    }

    /// Whether connections of a port have TLS.
    #[inline]
    pub fn has_tls(&self, port: usize) -> bool {
        self.ports.get(port).is_some_and(|port| port.tls.is_some())
    }
}

/// Monotonic and wall-clock time of the present turn, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Now {
    monotonic_ns: u64,
    wall_ns: u64,
}

/// One thread of control of the server.
pub struct Unit {
    home: Home,
    plan: UnitPlan,
    runtime: Arc<Runtime>,
    watcher: Watcher,
    loop_descriptor: RawFd,
    outbox: RefCell<Outbox>,
    /// What was sent to each connection while the outbox had messages that wait for room.
    held_back: RefCell<HashMap<SessionId, HeldBack>>,
    /// What was sent to connections of other units and may not have arrived there.
    on_way: OnWay,
    agenda: Agenda,
    /// Sends that wait for room.
    later: Later,
    replies: Replies,
    /// What was handed to the task workers.
    tasks: Tasks,
    hesitation: Hesitation,
    signals: RefCell<Option<Rc<Signals>>>,
    now: Cell<Now>,
    /// When this unit last looked up between two callbacks, and last told others what it had said.
    last_look_ns: Cell<u64>,
    told_others_ns: Cell<u64>,
    /// When it last took a message.
    took_at_ns: Cell<u64>,
    /// Events and messages that were taken since then.
    untold: Cell<u32>,
    /// Callbacks for which nothing that is sent is held back.
    hasty: Cell<u32>,
    /// The round of log files that this unit writes to.
    log_round: Cell<u32>,
    /// The round of certificates that this unit has read, if it reads them for others.
    terms_round: Cell<u32>,
    /// The round of looks at sockets that others have left.
    accept_round: Cell<u32>,
    /// It accepts and reads no more.
    is_quiesced: Cell<bool>,
    /// When it is quiet although messages come and come.
    quiet_by_ns: Cell<Option<u64>>,
    /// Until when it may turn out that not this unit alone was told to end.
    doubt_until_ns: Cell<u64>,
    /// How this unit leaves while the server runs on.
    leave: Cell<Leave>,
    /// Its inbox, its own lanes and its record are its successor's already.
    is_detached: Cell<bool>,
    stage: Cell<Stage>,
    parts: Parts,
    commanding: Commanding,
    finish_deadline_ns: Cell<Option<u64>>,
    /// Reactors count what they give this worker.
    counts_load: bool,
    /// Requests that the program has begun here and not ended.
    declared: Cell<u64>,
    has_announced_end: Cell<bool>,
    family: Family,
    root: Option<Root>,
    manager: Option<Manager>,
    acceptor: Option<Acceptor>,
    reactor: Option<Reactor>,
    receiver: Option<Receiver>,
    worker: Option<Worker>,
    task: Option<TaskWorker>,
    user: Option<User>,
}

/// The units whose full inboxes do not keep a unit from its own. A pool of tasks that is slow fills
/// memory, but never keeps a worker from its results; and workers may wait for each other. A task
/// worker gives its results away before it takes the next task.
fn not_waited_for(plan: &Plan, unit: &UnitPlan) -> Range<u16> {
    let tasks = plan.tasks();
    let first = if unit.roles.is_task() { tasks.first() } else { plan.workers().first() };
    let last = tasks.last().or(plan.workers().last().filter(|_| !unit.roles.is_task()));
    match (first, last) {
        (Some(first), Some(last)) => first.0..last.0 + 1,
        _ => 0..0,
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Unit>>> = const { RefCell::new(None) };
}

/// Hands the unit that this thread is to `act`; `None` if it is none, or the copy of one in a
/// process that a callback has forked.
#[inline]
pub fn with_current<R>(act: impl FnOnce(&Unit) -> R) -> Option<R> {
    CURRENT.with(|current| match current.try_borrow() {
        Ok(unit) => unit.as_deref().filter(|unit| unit.home.is_here()).map(act),
        Err(_) => None,
    })
}

/// Whether this thread is the copy of a unit, in a process that a callback has forked.
pub fn is_copy() -> bool {
    CURRENT.with(|current| match current.try_borrow() {
        Ok(unit) => unit.as_deref().is_some_and(|unit| !unit.home.is_here()),
        Err(_) => false,
    })
}

/// Runs `plan`'s server in this thread and process, until it has ended.
pub fn run_root(runtime: Arc<Runtime>, signals: Rc<Signals>) -> Result<()> {
    if let Some(plan) = runtime.plan.unit(UnitId::ROOT) {
        Arrival::enter(&runtime, plan)?;
    }
    let live = || {
        let (unit, events) = Unit::new(Arc::clone(&runtime), UnitId::ROOT)?;
        unit.watch_signals(signals)?;
        unit.live(events)
    };
    let result = live();
    runtime.arrival.leave();
    result
}

/// Says in log lines that the root of this plan is speaking.
pub fn log_as_root(plan: &Plan) {
    if let Some(root) = plan.unit(UnitId::ROOT) {
        spawn::log_as(root);
    }
}

impl Unit {
    fn new(runtime: Arc<Runtime>, id: UnitId) -> Result<(Rc<Self>, Loop)> {
        let failed = |error: io::Error| Error::system("make an event loop", &error);
        let plan = *runtime.plan.unit(id).ok_or_else(|| {
            Error::new(code::INVALID_PARAMS, format!("there is no unit {} in the plan", id.0))
        })?;
        let events = Loop::new().map_err(failed)?;
        let watcher = events.watcher().map_err(failed)?;
        let has = |role: Roles| plan.roles.has(role);
        let worker = plan.worker.filter(|_| plan.roles.is_any_worker());
        let process = plan.user.and_then(|number| runtime.users.get(usize::from(number)));
        let unit = Rc::new(Self {
            home: Home::new().map_err(failed)?,
            loop_descriptor: events.descriptor(),
            outbox: RefCell::new(runtime.control.wiring.outbox(id.0)?),
            held_back: RefCell::default(),
            on_way: OnWay::default(),
            agenda: Agenda::default(),
            later: Later::default(),
            replies: Replies::default(),
            tasks: Tasks::default(),
            hesitation: Hesitation::default(),
            signals: RefCell::default(),
            now: Cell::default(),
            last_look_ns: Cell::new(clock::monotonic_ns()),
            told_others_ns: Cell::default(),
            took_at_ns: Cell::default(),
            untold: Cell::default(),
            hasty: Cell::new(turn::HASTY_CALLBACKS),
            log_round: Cell::new(runtime.control.root().log_round()),
            terms_round: Cell::new(runtime.control.root().terms_round()),
            accept_round: Cell::new(runtime.control.root().accept_round()),
            is_quiesced: Cell::new(false),
            quiet_by_ns: Cell::new(None),
            doubt_until_ns: Cell::new(0),
            leave: Cell::new(Leave::Stay),
            is_detached: Cell::new(false),
            stage: Cell::new(Stage::Down),
            parts: Parts::default(),
            commanding: Commanding::new(&runtime, &watcher, id)?,
            finish_deadline_ns: Cell::new(None),
            has_announced_end: Cell::new(false),
            family: Family::default(),
            root: has(Roles::ROOT).then(Root::default),
            manager: has(Roles::MANAGER).then(Manager::default),
            acceptor: has(Roles::ACCEPTOR).then(Acceptor::default),
            reactor: has(Roles::REACTOR).then(|| Reactor::new(&runtime, &plan)),
            receiver: has(Roles::REACTOR)
                .then(|| Receiver::new(runtime.dispatch(id), plan.worker.is_some())),
            worker: worker.map(|id| Worker::new(id, &runtime)),
            counts_load: runtime.counts_load(&plan),
            declared: Cell::default(),
            task: has(Roles::TASK).then(|| TaskWorker::new(&runtime.settings)),
            user: process.cloned().map(User::new),
            watcher,
            plan,
            runtime,
        });
        unit.refresh_now();
        unit.outbox.borrow_mut().leave_waiting(not_waited_for(&unit.runtime.plan, &unit.plan));
        if let Some(doorbell) = unit.runtime.control.wiring.doorbell_fd(id.0) {
            unit.watcher.watch(doorbell, Token::Doorbell).map_err(failed)?;
        }
        if plan.start == Start::Fork {
            unit.watcher.watch(unit.root_descriptor(), Token::RootEnd).map_err(failed)?;
        }
        if let Some(reactor) = &unit.reactor {
            reactor.begin(&unit)?;
        }
        Ok((unit, events))
    }

    fn watch_signals(&self, signals: Rc<Signals>) -> Result<()> {
        self.watcher
            .watch(signals.as_raw_fd(), Token::Signal)
            .map_err(|error| Error::system("watch for signals", &error))?;
        self.signals.replace(Some(signals));
        Ok(())
    }

    /// Becomes readable when the process of the root has ended.
    fn root_descriptor(&self) -> RawFd {
        self.runtime.root_process.as_raw_fd()
    }

    /// What the server's units all read.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// The unit's place in the plan.
    pub fn plan(&self) -> &UnitPlan {
        &self.plan
    }

    /// The unit's shared record, as long as it is not its successor's.
    #[inline]
    pub fn record(&self) -> Option<&UnitRecord> {
        match self.is_detached.get() {
            false => self.runtime.control.unit(self.plan.id),
            true => None,
        }
    }

    /// Whether the close callback of this connection runs here if this unit closes it.
    #[inline]
    pub fn is_bound(&self, record: &Connection, session: SessionId) -> bool {
        let dispatch = self.runtime.dispatch_of(record);
        !self.is_detached.get()
            && dispatch.is_some_and(|dispatch| dispatch.closes(self.plan.id, session, record))
    }

    fn refresh_now(&self) {
        let now = Now { monotonic_ns: clock::monotonic_ns(), wall_ns: clock::wall_ns() };
        self.last_look_ns.set(now.monotonic_ns);
        self.now.set(now);
    }

    fn set_timer(&self, delay_ns: u64, timer: Timer) {
        let due_ns = self.now.get().monotonic_ns.saturating_add(delay_ns);
        self.agenda.set(due_ns, timer);
    }

    /// Sees to it that the loop turns again by then. For whoever asks again in every turn.
    fn wake_within(&self, delay_ns: u64) {
        let due_ns = self.now.get().monotonic_ns.saturating_add(delay_ns);
        if !self.agenda.is_set_by(due_ns) {
            self.agenda.set(due_ns, Timer::Deadline);
        }
    }

    fn raise(&self, event: &Event<'_>) {
        self.runtime.hooks.raise(event);
    }
}
