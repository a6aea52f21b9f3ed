//! What a process or thread does to itself before its unit lives: it opens listeners of its own,
//! keeps to its processor and becomes who it shall run as. All of it was looked up by the root.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Result;
use crate::model::plan::{Plan, Roles, Start, UnitPlan};
use crate::model::settings::InForce;
use crate::os::cpu;
use crate::os::identity::{self, User};

use super::tasks::TaskQueue;
use super::Runtime;

/// What arriving units need to know.
#[derive(Default)]
pub(super) struct Arrival {
    /// The processors that the caller of `start` may use, if units keep to one each.
    allowed_cpus: Vec<usize>,
    /// Those that are dealt out.
    cpus: Vec<usize>,
    identity: Identity,
}

/// As whom workers run.
#[derive(Default)]
struct Identity {
    root: Option<PathBuf>,
    /// The group, and all others that the user belongs to.
    groups: Option<(u32, Vec<u32>)>,
    user: Option<u32>,
    /// Whether this process has done it. What it forks need not and could not do it again.
    is_assumed: AtomicBool,
}

impl Arrival {
    /// Looks up what the settings name, in the root, before it starts anything.
    pub(super) fn look_up(plan: &Plan, settings: &InForce) -> Self {
        let allowed_cpus = match settings.keeps_to_cpus {
            true => cpu::allowed_cpus().unwrap_or_default(),
            false => Vec::new(),
        };
        let is_ours = |cpu: &usize| !settings.ignored_cpus.contains(cpu);
        let cpus: Vec<usize> = allowed_cpus.iter().copied().filter(is_ours).collect();
        if cpus.is_empty() && settings.keeps_to_cpus {
            log::warn!("cpu_affinity_ignore leaves no processor, open_cpu_affinity is ignored");
        }
        Self { allowed_cpus, cpus, identity: Identity::look_up(plan, settings) }
    }

    /// In the process or thread that the unit will be. Fails only if the unit could not work.
    pub(super) fn enter(runtime: &Runtime, plan: &UnitPlan) -> Result<()> {
        let settings = &runtime.settings;
        // A port may be one that only the old identity is allowed.
        if settings.opens_own_listeners && plan.roles.has(Roles::ACCEPTOR) {
            for port in &runtime.ports {
                port.listener.open_own(&port.settings.socket)?;
            }
        }
        runtime.arrival.keep_to_cpu(plan);
        let changes = match plan.start {
            Start::Here => plan.roles.is_any_worker(),
            // Where a worker and its successor overlap, the manager is one of them.
            Start::Fork if plan.roles.is_manager() => settings.is_reload_async,
            Start::Fork => plan.roles.is_any_worker(),
            Start::Thread => false,
        };
        if changes {
            runtime.arrival.identity.assume();
        }
        Ok(())
    }

    /// The caller of `start` gets its processors back.
    pub(super) fn leave(&self) {
        if self.allowed_cpus.is_empty() {
            return;
        }
        if let Err(error) = cpu::keep_to(&self.allowed_cpus) {
            log::warn!("this thread stays on its processor: {error}");
        }
    }

    fn keep_to_cpu(&self, plan: &UnitPlan) {
        let reactor = plan.reactor.filter(|_| plan.start == Start::Thread);
        let Some(number) =
            plan.worker.filter(|_| plan.roles.is_worker()).map(|id| id.0).or(reactor)
        else {
            return;
        };
        let index = usize::from(number) % self.cpus.len().max(1);
        let Some(cpu) = self.cpus.get(index) else { return };
        if let Err(error) = cpu::keep_to(&[*cpu]) {
            log::warn!("unit {} cannot keep to processor {cpu}: {error}", plan.id.0);
        }
    }
}

impl Runtime {
    /// What tasks travel through. Whoever workers run as has to be able to use it.
    pub fn use_queue(&mut self, queue: Option<TaskQueue>) {
        self.queue = queue;
        let Identity { user, groups, .. } = &self.arrival.identity;
        let owner = user.zip(groups.as_ref()).map(|(id, (group, _))| User { id, group: *group });
        if let (Some(queue), Some(owner)) = (&mut self.queue, owner) {
            queue.give_to(owner);
        }
    }
}

impl Identity {
    fn look_up(plan: &Plan, settings: &InForce) -> Self {
        let InForce { user, group, chroot, .. } = settings;
        if user.is_empty() && group.is_empty() && chroot.is_empty() {
            return Self::default();
        }
        let is_in_thread = |unit: &UnitPlan| unit.roles.is_worker() && unit.start == Start::Thread;
        if plan.units().iter().any(is_in_thread) {
            log::warn!("user, group and chroot are ignored: workers are threads of this process");
            return Self::default();
        }
        if !identity::is_privileged() {
            log::warn!("user, group and chroot are ignored: this process does not run as root");
            return Self::default();
        }
        let found = named("user", user, identity::find_user);
        let primary = found.map(|user| user.group);
        let group = named("group", group, identity::find_group).or(primary);
        let others = |group| match found {
            Some(_) => identity::groups_of(user, group).unwrap_or_else(|error| {
                log::warn!("the groups of user {user} cannot be found: {error}");
                vec![group]
            }),
            None => vec![group],
        };
        Self {
            root: (!chroot.is_empty()).then(|| chroot.into()),
            groups: group.map(|group| (group, others(group))),
            user: found.map(|user| user.id),
            is_assumed: AtomicBool::new(false),
        }
    }

    /// Root first, user last: each step needs what the next one gives up. What fails is left out.
    fn assume(&self) {
        if self.is_assumed.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(root) = &self.root {
            warn_if_failed("chroot", identity::change_root(root));
        }
        if let Some((group, others)) = &self.groups {
            warn_if_failed("group", identity::set_groups(*group, others));
        }
        if let Some(user) = self.user {
            warn_if_failed("user", identity::set_user(user));
        }
    }
}

fn named<T>(what: &str, name: &str, find: fn(&str) -> std::io::Result<Option<T>>) -> Option<T> {
    if name.is_empty() {
        return None;
    }
    let reason = match find(name) {
        Ok(Some(found)) => return Some(found),
        Ok(None) => "there is none of this name".to_owned(),
        Err(error) => error.to_string(),
    };
    log::warn!("{what} {name:?} is ignored: {reason}");
    None
}

fn warn_if_failed(what: &str, result: std::io::Result<()>) {
    if let Err(error) = result {
        log::warn!("setting {what} could not be put into force: {error}");
    }
}
