//! The plan: which units a server has, what each does, and how each is started.
//!
//! This is the only file that looks at the mode. Everything above reads the plan: a mode is a
//! placement of the same roles.
//!
//! | role | PROCESS | BASE | THREAD |
//! |---|---|---|---|
//! | root | the caller | the caller | the caller |
//! | acceptor | root; a reactor that is alone | every worker | root |
//! | manager | fork of the root | root, if there is anything to manage | thread |
//! | reactor | threads of the root (single thread: the root) | its worker | its worker |
//! | worker | forks of the manager | forks of the manager (single: the root) | threads |
//! | task | forks of the manager | forks of the manager | threads |
//! | user | forks of the manager | forks of the manager | threads |

use crate::model::settings::InForce;
use crate::model::{UnitId, WorkerId};

/// How the roles of a server are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each worker accepts and does its own input and output.
    Base = 1,
    /// The master does input and output, workers run the callbacks.
    Process = 2,
    /// As base, with threads.
    Thread = 3,
}

impl Mode {
    /// The mode with the number that C gives, `None` for another number.
    pub fn from_number(number: i32) -> Option<Self> {
        match number {
            1 => Some(Mode::Base),
            2 => Some(Mode::Process),
            3 => Some(Mode::Thread),
            _ => None,
        }
    }

    /// Whether a server has as many workers as processors if nothing was said.
    pub fn workers_follow_cpus(self) -> bool {
        self != Mode::Base
    }

    /// Whether workers are threads of the caller's process.
    pub fn has_worker_threads(self) -> bool {
        self == Mode::Thread
    }

    /// Whether reactors are units of their own.
    pub fn has_reactor_threads(self) -> bool {
        self == Mode::Process
    }

    /// Whether the workers listen, each for itself, if they are told to.
    pub fn workers_listen(self) -> bool {
        self == Mode::Base
    }

    /// Whether `output_buffer_size` limits one send.
    pub fn limits_output(self) -> bool {
        self == Mode::Process
    }
}

/// What a unit does. A unit wears a set of roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// Orders the life of the server: signals, phases, the end. Always unit 0.
    pub const ROOT: Roles = Roles(1);
    /// Starts, watches and replaces workers.
    pub const MANAGER: Roles = Roles(2);
    /// Accepts connections.
    pub const ACCEPTOR: Roles = Roles(4);
    /// Owns connections: reads, cuts frames, writes.
    pub const REACTOR: Roles = Roles(8);
    /// Runs the data callbacks.
    pub const WORKER: Roles = Roles(16);
    /// Runs a function of the program, and nothing else.
    pub const USER: Roles = Roles(32);
    /// Runs tasks, and none of the data callbacks.
    pub const TASK: Roles = Roles(64);

    /// No role.
    const NONE: Roles = Roles(0);

    const fn and(self, other: Roles) -> Roles {
        Roles(self.0 | other.0)
    }

    /// Whether all of `other` is worn.
    pub fn has(self, other: Roles) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether it owns connections.
    pub fn is_reactor(self) -> bool {
        self.has(Roles::REACTOR)
    }

    /// Whether it runs the data callbacks.
    pub fn is_worker(self) -> bool {
        self.has(Roles::WORKER)
    }

    /// Whether it runs tasks.
    pub fn is_task(self) -> bool {
        self.has(Roles::TASK)
    }

    /// Whether it is a worker of either kind: it has a start and a stop callback, and is replaced.
    pub fn is_any_worker(self) -> bool {
        self.is_worker() || self.is_task()
    }

    /// Whether it runs a function of the program.
    pub fn is_user(self) -> bool {
        self.has(Roles::USER)
    }

    /// Whether a manager starts and replaces it.
    pub fn is_managed(self) -> bool {
        self.is_any_worker() || self.is_user()
    }

    /// Whether it starts and replaces workers.
    pub fn is_manager(self) -> bool {
        self.has(Roles::MANAGER)
    }

    /// Whether it owns connections of workers elsewhere.
    pub fn is_reactor_only(self) -> bool {
        self.is_reactor() && !self.is_worker()
    }
}

/// How a unit comes to life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It is the caller itself.
    Here,
    /// As a thread of its parent.
    Thread,
    /// As a process forked by its parent.
    Fork,
}

/// One unit of the plan.
#[derive(Clone, Copy, Debug)]
pub struct UnitPlan {
    /// Its number.
    pub id: UnitId,
    /// What it does.
    pub roles: Roles,
    /// How it is started.
    pub start: Start,
    /// Who starts and watches it; the root is its own parent.
    pub parent: UnitId,
    /// Its worker id, which task workers and user processes have as well.
    pub worker: Option<WorkerId>,
    /// Its reactor number, if it is a reactor.
    pub reactor: Option<u16>,
    /// Its registration number, if it is a user process.
    pub user: Option<u16>,
}

/// All units of a server.
#[derive(Clone, Debug)]
pub struct Plan {
    units: Vec<UnitPlan>,
    workers: Vec<UnitId>,
    tasks: Vec<UnitId>,
    reactors: Vec<UnitId>,
    users: Vec<UnitId>,
    manager: Option<UnitId>,
    face: UnitId,
    is_record_private: bool,
}

impl Plan {
    /// Places the roles for `mode`, with so many user processes.
    pub fn new(mode: Mode, settings: &InForce, user_count: usize) -> Self {
        let mut plan = Plan {
            units: Vec::new(),
            workers: Vec::new(),
            tasks: Vec::new(),
            reactors: Vec::new(),
            users: Vec::new(),
            manager: None,
            face: UnitId::ROOT,
            is_record_private: mode == Mode::Base,
        };
        // What is to be replaced needs somebody who does it.
        let is_single = settings.worker_count == 1
            && settings.task_worker_count == 0
            && settings.max_request == 0
            && user_count == 0;
        match mode {
            Mode::Process => plan.place_process(settings),
            Mode::Base if is_single => plan.place_single(),
            Mode::Base => plan.place_base(settings),
            Mode::Thread => plan.place_thread(settings),
        }
        let start = if mode == Mode::Thread { Start::Thread } else { Start::Fork };
        let task_count = usize::try_from(settings.task_worker_count).unwrap_or(0);
        plan.place_beside(Roles::TASK, start, task_count);
        plan.place_beside(Roles::USER, start, user_count);
        plan
    }

    /// Children of the manager that own no connections.
    fn place_beside(&mut self, roles: Roles, start: Start, count: usize) {
        for _ in 0..count {
            self.add(roles, start, self.manager.unwrap_or(UnitId::ROOT));
        }
    }

    fn place_process(&mut self, settings: &InForce) {
        let is_single = settings.is_single_thread;
        // A reactor that is alone accepts for itself: a connection wakes one thread less.
        let is_alone = !is_single && settings.reactor_count == 1;
        let (root, reactor) = match (is_single, is_alone) {
            (true, _) => (Roles::ROOT.and(Roles::ACCEPTOR).and(Roles::REACTOR), Roles::NONE),
            (false, true) => (Roles::ROOT, Roles::REACTOR.and(Roles::ACCEPTOR)),
            (false, false) => (Roles::ROOT.and(Roles::ACCEPTOR), Roles::REACTOR),
        };
        let root = self.add(root, Start::Here, UnitId::ROOT);
        let manager = self.add(Roles::MANAGER, Start::Fork, root);
        for _ in 0..if is_single { 0 } else { settings.reactor_count } {
            self.add(reactor, Start::Thread, root);
        }
        for _ in 0..settings.worker_count {
            self.add(Roles::WORKER, Start::Fork, manager);
        }
    }

    fn place_single(&mut self) {
        let all = Roles::ROOT.and(Roles::ACCEPTOR).and(Roles::REACTOR).and(Roles::WORKER);
        self.add(all, Start::Here, UnitId::ROOT);
    }

    fn place_base(&mut self, settings: &InForce) {
        let root = self.add(Roles::ROOT.and(Roles::MANAGER), Start::Here, UnitId::ROOT);
        let worker = Roles::ACCEPTOR.and(Roles::REACTOR).and(Roles::WORKER);
        for _ in 0..settings.worker_count {
            self.add(worker, Start::Fork, root);
        }
        self.face = self.workers.first().copied().unwrap_or(root);
    }

    fn place_thread(&mut self, settings: &InForce) {
        let root = self.add(Roles::ROOT.and(Roles::ACCEPTOR), Start::Here, UnitId::ROOT);
        let manager = self.add(Roles::MANAGER, Start::Thread, root);
        for _ in 0..settings.worker_count {
            self.add(Roles::REACTOR.and(Roles::WORKER), Start::Thread, manager);
        }
    }

    fn add(&mut self, roles: Roles, start: Start, parent: UnitId) -> UnitId {
        let id = UnitId(self.units.len() as u16);
        let managed = self.workers.len() + self.tasks.len() + self.users.len();
        let next_worker = WorkerId(managed as u16);
        let worker = roles.is_managed().then_some(next_worker);
        let reactor = roles.has(Roles::REACTOR).then_some(self.reactors.len() as u16);
        let user = roles.is_user().then_some(self.users.len() as u16);
        self.units.push(UnitPlan { id, roles, start, parent, worker, reactor, user });
        if roles.is_worker() {
            self.workers.push(id);
        }
        if roles.is_task() {
            self.tasks.push(id);
        }
        if user.is_some() {
            self.users.push(id);
        }
        if reactor.is_some() {
            self.reactors.push(id);
        }
        if roles.has(Roles::MANAGER) {
            self.manager = Some(id);
        }
        id
    }

    /// All units, by their numbers.
    pub fn units(&self) -> &[UnitPlan] {
        &self.units
    }

    /// One unit.
    pub fn unit(&self, id: UnitId) -> Option<&UnitPlan> {
        self.units.get(id.index())
    }

    /// The units that wear the worker role, by worker id.
    pub fn workers(&self) -> &[UnitId] {
        &self.workers
    }

    /// The task workers, by their numbers among themselves.
    pub fn tasks(&self) -> &[UnitId] {
        &self.tasks
    }

    /// The user processes, by registration number.
    pub fn users(&self) -> &[UnitId] {
        &self.users
    }

    /// The worker, task worker or user process with that worker id.
    pub fn by_worker_id(&self, id: usize) -> Option<UnitId> {
        self.workers.iter().chain(&self.tasks).chain(&self.users).nth(id).copied()
    }

    /// The units that wear the reactor role, by reactor number.
    pub fn reactors(&self) -> &[UnitId] {
        &self.reactors
    }

    /// Whether a unit reads the datagrams that come to the port with this index. Where reactors
    /// serve workers elsewhere, each port has one of them; where each worker has its own, all read.
    pub fn reads_datagrams(&self, id: UnitId, port: usize) -> bool {
        let Some(unit) = self.unit(id) else { return false };
        match (unit.reactor, unit.worker) {
            (Some(_), Some(_)) => true,
            (Some(number), None) => port % self.reactors.len().max(1) == usize::from(number),
            (None, _) => false,
        }
    }

    /// The manager, if there is one.
    pub fn manager(&self) -> Option<UnitId> {
        self.manager
    }

    /// The unit that raises the start event and whose pid is the master's.
    pub fn face(&self) -> UnitId {
        self.face
    }

    /// Whether users are told to register for the start of a worker instead of the server's.
    pub fn is_start_event_deprecated(&self) -> bool {
        self.is_record_private
    }

    /// Whether a connection is visible to its owning process only, but for send and close.
    pub fn is_record_private(&self) -> bool {
        self.is_record_private
    }

    /// The units that `parent` starts: those to fork first, then those to run as threads.
    pub fn children(&self, parent: UnitId) -> impl Iterator<Item = &UnitPlan> {
        let of = move |start: Start| {
            let mine = move |unit: &&UnitPlan| unit.start == start && unit.parent == parent;
            self.units.iter().filter(mine)
        };
        of(Start::Fork).chain(of(Start::Thread))
    }

    /// Whether this unit lives in a process other than its parent's.
    pub fn is_forked(&self, id: UnitId) -> bool {
        self.unit(id).is_some_and(|unit| unit.start == Start::Fork)
    }

    /// Whether the manager runs as a process of its own.
    pub fn has_manager_process(&self) -> bool {
        self.manager.is_some_and(|id| self.is_forked(id))
    }

    /// Whether the unit that stands for the master may have commands run elsewhere.
    pub fn has_commands(&self) -> bool {
        !self.has_manager_thread()
    }

    /// Whether the workers are processes, so that their ids are process ids.
    pub fn has_worker_processes(&self) -> bool {
        self.workers.iter().any(|id| self.is_forked(*id))
    }

    /// Whether the manager is a thread, so that everybody knows at once what it does.
    pub fn has_manager_thread(&self) -> bool {
        let manager = self.manager.and_then(|id| self.unit(id));
        manager.is_some_and(|unit| unit.start == Start::Thread)
    }

    /// Whether a reload may have all workers leave at the same time. Threads leave one by one: one
    /// that is stuck cannot be ended by force, and must not keep the others from working.
    pub fn are_workers_replaced_together(&self) -> bool {
        self.has_worker_processes()
    }

    /// The pairs (from, to) between which many messages go and which get a lane of their own.
    pub fn lanes(&self) -> Vec<(u16, u16)> {
        let mut pairs = Vec::new();
        for reactor in &self.reactors {
            for worker in self.workers.iter().filter(|worker| *worker != reactor) {
                if self.unit(*reactor).is_some_and(|unit| unit.worker.is_none()) {
                    pairs.push((reactor.0, worker.0));
                    pairs.push((worker.0, reactor.0));
                }
            }
        }
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::{Machine, Settings};

    fn plan(mode: Mode, workers: i64) -> Plan {
        plan_with_users(mode, workers, 0)
    }

    fn plan_with_users(mode: Mode, workers: i64, users: usize) -> Plan {
        let machine = Machine { cpu_count: 2, descriptor_limit: 1024, port_descriptor: 3 };
        let mut settings = Settings::new(mode, machine);
        settings.set_int("worker_num", workers).unwrap();
        Plan::new(mode, &settings.in_force(), users)
    }

    #[test]
    fn process_mode_has_a_manager_process_reactor_threads_and_lanes_between() {
        let plan = plan(Mode::Process, 3);
        assert_eq!(plan.units().len(), 1 + 1 + 2 + 3);
        assert!(plan.has_manager_process() && plan.has_worker_processes());
        assert_eq!(plan.lanes().len(), 2 * 2 * 3);
        let starts: Vec<Start> = plan.children(UnitId::ROOT).map(|unit| unit.start).collect();
        assert_eq!(starts, [Start::Fork, Start::Thread, Start::Thread]);
        assert_eq!(plan.children(UnitId(1)).count(), 3);
        assert_eq!(plan.face(), UnitId::ROOT);
    }

    #[test]
    fn a_reactor_that_is_alone_accepts_and_several_do_not() {
        let accepting = |workers| {
            let plan = plan(Mode::Process, workers);
            let wanted = |unit: &&UnitPlan| unit.roles.has(Roles::ACCEPTOR);
            plan.units().iter().filter(wanted).map(|unit| unit.roles.is_reactor()).collect()
        };
        let (alone, several): (Vec<bool>, Vec<bool>) = (accepting(1), accepting(2));
        assert_eq!((alone, several), (vec![true], vec![false]));
    }

    #[test]
    fn the_datagrams_of_a_port_are_read_by_one_reactor_or_by_every_worker() {
        let readers = |plan: &Plan, port| -> Vec<u16> {
            let reads = |unit: &&UnitPlan| plan.reads_datagrams(unit.id, port);
            plan.units().iter().filter(reads).map(|unit| unit.id.0).collect()
        };
        let process = plan(Mode::Process, 2);
        assert_eq!((readers(&process, 0), readers(&process, 3)), (vec![2], vec![3]));
        assert_eq!(readers(&plan(Mode::Process, 1), 3), [2]);
        assert_eq!(readers(&plan(Mode::Base, 1), 1), [0]);
        for mode in [Mode::Base, Mode::Thread] {
            let plan = plan_with_users(mode, 2, 1);
            let workers: Vec<u16> = plan.workers().iter().map(|id| id.0).collect();
            assert_eq!(readers(&plan, 1), workers);
        }
    }

    #[test]
    fn base_mode_with_one_worker_is_one_unit() {
        let plan = plan(Mode::Base, 1);
        assert_eq!(plan.units().len(), 1);
        assert_eq!(plan.manager(), None);
        assert!(plan.lanes().is_empty());
        assert!(plan.is_record_private());
    }

    #[test]
    fn base_mode_with_more_workers_is_managed_by_the_caller_and_fronted_by_worker_0() {
        let plan = plan(Mode::Base, 2);
        assert_eq!(plan.manager(), Some(UnitId::ROOT));
        assert_eq!(plan.face(), UnitId(1));
        assert!(!plan.has_manager_process() && plan.has_worker_processes());
    }

    #[test]
    fn thread_mode_forks_nothing() {
        let plan = plan(Mode::Thread, 2);
        assert!(plan.units().iter().all(|unit| unit.start != Start::Fork));
        assert_eq!(plan.workers(), plan.reactors());
        assert!(plan.lanes().is_empty());
    }

    #[test]
    fn user_processes_follow_the_workers_and_belong_to_the_manager() {
        for mode in [Mode::Process, Mode::Base, Mode::Thread] {
            let plan = plan_with_users(mode, 2, 2);
            let users: Vec<UnitPlan> =
                plan.users().iter().filter_map(|id| plan.unit(*id)).copied().collect();
            assert_eq!(users.len(), 2);
            for (number, user) in users.iter().enumerate() {
                assert_eq!(user.roles, Roles::USER);
                assert_eq!(user.user, Some(number as u16));
                assert_eq!(user.worker, Some(WorkerId(2 + number as u16)));
                assert_eq!(Some(user.parent), plan.manager());
                assert_eq!(plan.by_worker_id(2 + number), Some(user.id));
                assert_eq!(user.start == Start::Thread, mode == Mode::Thread);
            }
            assert_eq!(plan.by_worker_id(1), Some(plan.workers()[1]));
            assert_eq!((plan.workers().len(), plan.by_worker_id(4)), (2, None));
        }
    }

    #[test]
    fn base_mode_with_one_worker_and_a_user_process_has_a_manager() {
        let plan = plan_with_users(Mode::Base, 1, 1);
        assert_eq!(plan.manager(), Some(UnitId::ROOT));
        assert_eq!(plan.units().len(), 1 + 1 + 1);
        assert_eq!(plan.face(), plan.workers()[0]);
    }
}
