//! Start and end of a server.

use std::mem::take;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crate::error::{clear_last, code, Error, Result};
use crate::log::{self as sink, Mark};
use crate::model::control::Reload;
use crate::model::hooks::{Event, EventKind};
use crate::model::plan::Plan;
use crate::model::port::Port;
use crate::model::settings::InForce;
use crate::model::worker::Leave;
use crate::os::file::OwnFile;
use crate::os::signal::{self, SignalPlan, Signals};
use crate::os::{file, process};
use crate::unit::tasks::TaskQueue;
use crate::unit::{self, Runtime};

use super::port::unlink;
use super::process::Added;
use super::{stats_file, Server, CONFIGURING, FINISHED, RUNNING};

/// A server runs in this process. Signals and the identity of log lines belong to the process, so
/// there is one at a time.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the signals of this process for as long as the server runs. Where there is nobody to
/// reload, the signals that ask for it mean nothing, unless there are certificates to be read.
fn take_signals(plan: &Plan, has_tls: bool) -> Result<Signals> {
    let mut watch = vec![signal::SIGTERM, signal::real_time_min(), signal::SIGWINCH];
    let mut ignore = vec![signal::SIGHUP, signal::SIGPIPE];
    let has_manager = plan.manager().is_some();
    for (reload, is_heard) in
        [(signal::SIGUSR1, has_manager || has_tls), (signal::SIGUSR2, has_manager)]
    {
        if is_heard { &mut watch } else { &mut ignore }.push(reload);
    }
    watch.push(signal::SIGALRM);
    let plan = SignalPlan { watch: &watch, ignore: &ignore, default: &[signal::SIGCHLD] };
    Signals::install(&plan).map_err(|error| Error::system("set up signals", &error))
}

/// Whether a server runs in this process.
pub(super) fn is_taken() -> bool {
    IS_TAKEN.load(Ordering::Acquire)
}

/// The process is taken by a server as long as this lives.
struct Turn;

impl Turn {
    fn take() -> Result<Self> {
        if IS_TAKEN.swap(true, Ordering::AcqRel) {
            return Err(Error::new(
                code::SERVER_ONLY_START_ONE,
                "another server runs in this process, start this one after it has ended",
            ));
        }
        Ok(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        IS_TAKEN.store(false, Ordering::Release);
    }
}

/// What the log of this process was before a server took it; it is so again when this is dropped.
struct Voice {
    level: u8,
}

impl Voice {
    fn take() -> Self {
        Self { level: sink::level() }
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        sink::close();
        sink::set_level(self.level);
        sink::set_identity(Mark::Outside, 0);
    }
}

impl Server {
    /// Runs the server. Returns when it has ended, in the process that called it.
    pub fn start(&self) -> Result<()> {
        clear_last();
        self.check_phase()?;
        self.setup.lock().check()?;
        let _turn = Turn::take()?;
        let switched =
            self.phase.compare_exchange(CONFIGURING, RUNNING, Ordering::AcqRel, Ordering::Acquire);
        if switched.is_err() {
            return self.check_phase();
        }
        let _voice = Voice::take();
        let result = self.run();
        self.phase.store(FINISHED, Ordering::Release);
        if let Err(error) = &result {
            log::error!("start failed: {error}");
        }
        result
    }

    fn check_phase(&self) -> Result<()> {
        self.configure(|_| Ok(()))
    }

    fn run(&self) -> Result<()> {
        let (mut settings, hooks, mut ports, processes, commands) = {
            let setup = &mut *self.setup.lock();
            let (ports, commands) = (setup.take_ports(), take(&mut setup.commands));
            let processes = take(&mut setup.processes);
            (setup.settings.in_force(), setup.hooks.clone(), ports, processes, commands)
        };
        keep_paths(&mut settings);
        let plan = Plan::new(self.mode, &settings, processes.len());
        drop_unsafe_events(&plan, &mut settings, &mut ports);
        if let Err(error) = begin(&plan, &settings, &ports) {
            ports.iter().for_each(|port| unlink(&port.listener));
            return Err(error);
        }
        if plan.is_start_event_deprecated() && hooks.has(EventKind::Start) {
            log::warn!("the start event is deprecated in this mode, use workerStart");
        }
        let queue = match open_queue(&plan, &settings) {
            Ok(queue) => queue,
            Err(error) => {
                ports.iter().for_each(|port| unlink(&port.listener));
                return Err(error);
            }
        };
        let users = processes.iter().map(Added::plan).collect();
        let files: Vec<OwnFile> =
            ports.iter().filter_map(|port| port.listener.file().cloned()).collect();
        let made = Runtime::new(plan, settings, hooks, users, ports);
        if made.is_err() {
            files.iter().for_each(|file| file.remove().unwrap_or_default());
            queue.iter().for_each(TaskQueue::close);
        }
        let mut runtime = made?;
        runtime.commands = commands;
        runtime.use_queue(queue);
        if !runtime.settings.stats_file.is_empty() {
            runtime.write_stats = Some(stats_file::write);
        }
        let runtime = Arc::new(runtime);
        for (process, unit) in processes.iter().zip(runtime.plan.users()) {
            process.sit(&runtime, *unit);
        }
        self.runtime.write().replace(Arc::clone(&runtime));
        // They are handled until the last callback has returned.
        let signals = take_signals(&runtime.plan, runtime.any_tls()).map(Rc::new);
        let result = match &signals {
            Ok(signals) => unit::run_root(Arc::clone(&runtime), Rc::clone(signals)),
            Err(error) => Err(error.clone()),
        };
        runtime.ports.iter().for_each(close);
        runtime.queue.iter().for_each(TaskQueue::close);
        if result.is_ok() {
            runtime.hooks.raise(&Event::Plain(EventKind::Shutdown));
            log::info!("server has ended");
        }
        remove_pid_file(&runtime.settings.pid_file);
        self.runtime.write().take();
        result
    }

    /// Whether it runs and no end was asked for.
    pub fn is_serving(&self) -> bool {
        self.look(|runtime| !runtime.control.root().is_ending()).unwrap_or(false)
    }

    /// Asks for all workers, or the task workers only, to be replaced. Whoever knows that a reload
    /// runs is refused: the manager, and every thread where the manager is one.
    pub fn reload(&self, only_tasks: bool) -> Result<()> {
        let what = if only_tasks { Reload::Tasks } else { Reload::All };
        let is_manager = unit::with_current(|unit| unit.plan().roles.is_manager()).unwrap_or(false);
        self.with_runtime(|runtime| {
            let plan = &runtime.plan;
            let refused = |text| Err(Error::new(code::OPERATION_NOT_SUPPORT, text));
            if plan.manager().is_none() {
                return refused(
                    "there is no manager that could replace the only worker; to have certificates \
                     read again send it SIGUSR1",
                );
            }
            if only_tasks && plan.has_manager_thread() && plan.tasks().is_empty() {
                return refused("there are no task workers to reload");
            }
            let is_known = is_manager || plan.has_manager_thread();
            let root = runtime.control.root();
            if is_known && (root.is_reloading() || root.has_reload_wish()) {
                return refused("a reload is running, ask again when it has ended");
            }
            runtime.request_reload(what);
            Ok(())
        })?
    }

    /// Has a worker leave: the caller, if `worker` is -1 or its own id. It is replaced.
    pub fn stop(&self, worker: i32, is_patient: bool) -> Result<()> {
        self.with_unit(|unit| {
            let own = unit.worker_id().map(|id| i32::from(id.0));
            let patience = if is_patient { Leave::InOrder } else { Leave::AtOnce };
            if own.is_some() && (worker == -1 || own == Some(worker)) {
                unit.leave(patience);
                return Ok(());
            }
            if worker == -1 {
                return Err(super::status::no_worker());
            }
            let runtime = unit.runtime();
            let target = usize::try_from(worker).ok();
            let target = target.and_then(|index| runtime.plan.by_worker_id(index));
            if target.is_some_and(|id| runtime.plan.users().contains(&id)) {
                let text = format!("{worker} is a user process, which ends by itself only");
                return Err(Error::new(code::OPERATION_NOT_SUPPORT, text));
            }
            let record = target.and_then(|id| runtime.control.unit(id));
            let (Some(id), Some(record)) = (target, record) else {
                return Err(super::status::unknown_worker(worker));
            };
            let is_async = runtime.settings.is_reload_async;
            record.ask(if is_async { Leave::InOrder } else { patience });
            runtime.control.wiring.ring(id.0);
            Ok(())
        })
    }

    /// Asks for an orderly end. Safe in a signal handler.
    pub fn shutdown(&self) -> Result<()> {
        self.with_runtime(Runtime::request_end)
    }
}

/// What comes before everything that is made for this server alone.
fn begin(plan: &Plan, settings: &InForce, ports: &[Port]) -> Result<()> {
    open_log(settings);
    if settings.is_daemon {
        leave_foreground()?;
    }
    unit::log_as_root(plan);
    for warning in &settings.warnings {
        log::warn!("{warning}");
    }
    for tls in ports.iter().filter_map(|port| port.tls.as_ref()) {
        tls.with(|terms| terms.warnings.iter().for_each(|warning| log::warn!("{warning}")));
    }
    for port in ports {
        match settings.opens_own_listeners {
            true => port.listener.prepare(&port.settings.socket)?,
            false => port.listener.listen(&port.settings.socket)?,
        }
    }
    Ok(())
}

/// Takes the callbacks out of events that a rule of dispatching cannot keep in order. There are no
/// rules where reactors serve themselves alone.
fn drop_unsafe_events(plan: &Plan, settings: &mut InForce, ports: &mut [Port]) {
    let is_ruled = plan.units().iter().any(|unit| unit.roles.is_reactor_only());
    if !is_ruled || settings.raises_unsafe_events {
        return;
    }
    for kind in settings.dispatch_rule.unsafe_events() {
        let dropped = ports.iter_mut().filter_map(|port| port.hooks.drop_hook(*kind).then_some(()));
        if dropped.count() > 0 {
            settings.warnings.push(format!(
                "the {} callback is not used: this dispatch_mode does not keep a connection with \
                 one worker; enable_unsafe_event has it called all the same (error {})",
                kind.name(),
                code::SERVER_INVALID_CALLBACK
            ));
        }
    }
}

/// Has paths mean what they mean now, wherever the program or the daemon goes.
fn keep_paths(settings: &mut InForce) {
    let InForce { log_file, pid_file, stats_file, chroot, .. } = settings;
    for path in [log_file, pid_file, stats_file, chroot] {
        if let (false, Ok(absolute)) =
            (path.is_empty(), file::absolute(path.as_str()).into_os_string().into_string())
        {
            *path = absolute;
        }
    }
}

/// Goes on in the background; what the program prints goes to the log.
fn leave_foreground() -> Result<()> {
    process::leave_foreground().map_err(|error| match error.raw_os_error() {
        Some(process::HAS_THREADS) => {
            Error::system("daemonize a program that has several threads", &error)
        }
        _ => Error::system("daemonize", &error),
    })?;
    sink::take_standard_output().map_err(|error| Error::system("give up standard output", &error))
}

fn open_log(settings: &InForce) {
    sink::set_level(settings.log_level);
    sink::set_microseconds(settings.log_has_microseconds);
    if let Err(error) = sink::set_date_format(&settings.log_date_format) {
        log::warn!("{error}");
    }
    if settings.log_file.is_empty() {
        return;
    }
    // The rotation first: it is part of the name.
    let rotation = sink::Rotation::of_number(settings.log_rotation);
    let path = Path::new(&settings.log_file);
    let opened = sink::set_rotation(rotation).and_then(|()| sink::open(path));
    if let Err(error) = opened {
        log::warn!("log_file {:?} cannot be opened: {error}", settings.log_file);
    }
}

fn remove_pid_file(path: &str) {
    if path.is_empty() {
        return;
    }
    if let Err(error) = std::fs::remove_file(path) {
        log::warn!("pid_file {path:?} cannot be removed: {error}");
    }
}

fn close(Port { listener, .. }: &Port) {
    unlink(listener);
    if let Err(error) = listener.close() {
        log::warn!("listener {:?} cannot be closed: {error}", listener.host());
    }
}

/// What tasks travel through where it is not shared memory.
fn open_queue(plan: &Plan, settings: &InForce) -> Result<Option<TaskQueue>> {
    let Some(key) = settings.task_queue_key.filter(|_| !plan.tasks().is_empty()) else {
        return Ok(None);
    };
    if settings.is_task_async {
        let text = "task_ipc_mode 2 and 3 do not go with task_object or task_enable_coroutine";
        return Err(Error::new(code::WRONG_OPERATION, text));
    }
    TaskQueue::open(key, !settings.keeps_task_target, &settings.task_folder).map(Some)
}
