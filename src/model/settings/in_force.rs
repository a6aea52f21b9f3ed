//! What a running server works with: the settings with all clamps applied and all numbers derived.

use std::time::Duration;

use super::table::{Name, U32_MAX};
use super::{
    list_of, Settings, CONNECTION_CEILING, DEFAULT_CONNECTIONS, REACTORS_PER_CPU, WORKERS_PER_CPU,
    WORKER_CEILING,
};
use crate::model::dispatch::Rule;

/// The numbers that a running server works with.
#[derive(Clone, Debug)]
pub struct InForce {
    /// Event workers.
    pub worker_count: i64,
    /// Task workers.
    pub task_worker_count: i64,
    /// Reactors, also where they are no threads of their own.
    pub reactor_count: i64,
    /// The master itself is the only reactor.
    pub is_single_thread: bool,
    /// Descriptor numbers from here on are refused.
    pub max_connection: i64,
    /// Empty: standard output.
    pub log_file: String,
    /// 0 debug to 6 none.
    pub log_level: u8,
    /// For `strftime`.
    pub log_date_format: String,
    /// Whether the date has microseconds.
    pub log_has_microseconds: bool,
    /// 0 never, 1 monthly, 2 daily, 3 hourly, 4 every minute.
    pub log_rotation: u8,
    /// Empty: none is written.
    pub pid_file: String,
    /// Whether the server leaves the foreground.
    pub is_daemon: bool,
    /// As whom workers run; empty: nothing changes.
    pub user: String,
    /// In which group; empty: that of the user, if there is one.
    pub group: String,
    /// What workers see as the root; empty: nothing changes.
    pub chroot: String,
    /// Empty: none is written.
    pub stats_file: String,
    /// Milliseconds.
    pub stats_interval_ms: u64,
    /// Whether each reactor thread and worker keeps to one processor.
    pub keeps_to_cpus: bool,
    /// Those that are none of theirs.
    pub ignored_cpus: Vec<usize>,
    /// Whether each worker opens the TCP ports for itself.
    pub opens_own_listeners: bool,
    /// Whether ports that are added share their address with other programs.
    pub shares_new_ports: bool,
    /// The session id before the first one.
    pub start_session_id: u64,
    /// Whether connections are read after they were confirmed.
    pub is_receive_delayed: bool,
    /// Bytes handed to a worker and not taken yet, above which a connection is not read; 0: any.
    pub max_queued_bytes: u64,
    /// Milliseconds that a send that waits may wait; 0: any.
    pub send_timeout_ms: u64,
    /// Milliseconds that a datagram may wait for room; 0: any.
    pub datagram_timeout_ms: u64,
    /// Seconds between two looks for silent peers; 0: none was set, see [`complete_heartbeat`].
    pub heartbeat_check_interval_s: u64,
    /// Whether that was set, and is not derived.
    pub keeps_heartbeat_interval: bool,
    /// Bytes of one send; `None`: no limit in this mode.
    pub output_buffer_size: Option<u64>,
    /// Seconds.
    pub max_wait_time_s: u64,
    /// Requests after which a worker is replaced; 0: never.
    pub max_request: u64,
    /// The most that is added to them at random.
    pub max_request_grace: u64,
    /// How the worker of a message is chosen, where reactors have several.
    pub dispatch_rule: Rule,
    /// Whether all events are raised, whatever the rule.
    pub raises_unsafe_events: bool,
    /// Whether what comes to a worker after the end of its connection is thrown away.
    pub discards_late_data: bool,
    /// Requests that a worker may have in progress; `None`: any number.
    pub worker_max_concurrency: Option<u64>,
    /// Bytes of a message of the first port; longer tasks are told, too.
    pub package_max_length: u64,
    /// Key of the message queue that tasks travel through; `None`: they do not.
    pub task_queue_key: Option<i64>,
    /// Whether a task goes to the task worker that it names.
    pub keeps_task_target: bool,
    /// Where large tasks of the message queue lie.
    pub task_folder: String,
    /// Whether a task may be answered when its callback has returned.
    pub is_task_async: bool,
    /// Tasks after which a task worker is replaced; 0: never.
    pub task_max_request: u64,
    /// The most that is added to them at random.
    pub task_max_request_grace: u64,
    /// Whether a worker that leaves lives on, beside its successor where that is possible.
    pub is_reload_async: bool,
    /// One sentence for each value that was not taken as it was given.
    pub warnings: Vec<String>,
}

/// What stands for any time.
const ANY_TIME: Duration = Duration::from_secs(u32::MAX as u64);

impl InForce {
    /// How long a datagram may wait for room.
    pub fn datagram_patience(&self) -> Duration {
        match self.datagram_timeout_ms {
            0 => ANY_TIME,
            timeout_ms => Duration::from_millis(timeout_ms),
        }
    }
}

impl Settings {
    /// What a server with these settings works with: clamps applied, numbers derived.
    pub fn in_force(&self) -> InForce {
        let mut warnings = Vec::new();
        let worker_count = self.worker_count(&mut warnings);
        let task_worker_count = self.task_worker_count(worker_count, &mut warnings);
        let reactor_count = self.reactor_count(worker_count, &mut warnings);
        self.warn_of_the_past(&mut warnings);
        InForce {
            worker_count,
            task_worker_count,
            reactor_count,
            is_single_thread: self.int(Name::SingleThread) != 0,
            max_connection: self.max_connection(worker_count + task_worker_count, &mut warnings),
            log_file: self.text(Name::LogFile),
            log_level: self.int(Name::LogLevel) as u8,
            log_date_format: self.text(Name::LogDateFormat),
            log_has_microseconds: self.int(Name::LogDateWithMicroseconds) != 0,
            log_rotation: self.int(Name::LogRotation) as u8,
            pid_file: self.text(Name::PidFile),
            is_daemon: self.int(Name::Daemonize) != 0,
            user: self.text(Name::User),
            group: self.text(Name::Group),
            chroot: self.text(Name::Chroot),
            stats_file: self.text(Name::StatsFile),
            stats_interval_ms: self.int(Name::StatsTimerInterval) as u64,
            keeps_to_cpus: self.int(Name::OpenCpuAffinity) != 0,
            ignored_cpus: list_of(&self.text(Name::CpuAffinityIgnore)),
            shares_new_ports: self.int(Name::EnableReusePort) != 0,
            opens_own_listeners: self.mode.workers_listen() && self.int(Name::EnableReusePort) != 0,
            start_session_id: self.int(Name::StartSessionId) as u64,
            is_receive_delayed: self.int(Name::EnableDelayReceive) != 0,
            max_queued_bytes: match self.mode.limits_output() {
                true => self.int(Name::MaxQueuedBytes) as u64,
                false => 0,
            },
            send_timeout_ms: self.int(Name::SendTimeout) as u64,
            datagram_timeout_ms: self.int(Name::SocketWriteTimeout) as u64,
            heartbeat_check_interval_s: match self.int(Name::HeartbeatCheckInterval) as u64 {
                0 => interval_for(self.int(Name::HeartbeatIdleTime) as u64),
                seconds => seconds,
            },
            keeps_heartbeat_interval: self.int(Name::HeartbeatCheckInterval) != 0,
            output_buffer_size: self
                .mode
                .limits_output()
                .then_some(self.int(Name::OutputBufferSize) as u64),
            max_wait_time_s: self.int(Name::MaxWaitTime) as u64,
            max_request: self.int(Name::MaxRequest) as u64,
            max_request_grace: self.int(Name::MaxRequestGrace) as u64,
            dispatch_rule: Rule::from_number(self.int(Name::DispatchMode) as u8),
            raises_unsafe_events: self.int(Name::EnableUnsafeEvent) != 0,
            discards_late_data: self.int(Name::DiscardTimeoutRequest) != 0,
            worker_max_concurrency: Some(self.int(Name::WorkerMaxConcurrency))
                .filter(|most| *most < U32_MAX)
                .map(|most| most as u64),
            package_max_length: self.package_max_length() as u64,
            task_queue_key: self.task_queue_key(),
            keeps_task_target: self.int(Name::TaskIpcMode) < 3,
            task_folder: self.task_folder(),
            is_task_async: self.int(Name::TaskEnableCoroutine) != 0
                || self.int(Name::TaskUseObject) != 0,
            task_max_request: self.int(Name::TaskMaxRequest) as u64,
            task_max_request_grace: self.int(Name::TaskMaxRequestGrace) as u64,
            is_reload_async: self.int(Name::ReloadAsync) != 0,
            warnings,
        }
    }

    fn warn_of_the_past(&self, warnings: &mut Vec<String>) {
        if !self.text(Name::AdminServer).is_empty() {
            warnings.push("admin_server is not offered, the setting is ignored".to_owned());
        }
        if self.int(Name::SslMethod) != 0 {
            warnings.push("ssl_method has no meaning any more, see ssl_protocols".to_owned());
        }
    }

    fn task_folder(&self) -> String {
        match self.text(Name::TaskTmpdir) {
            path if path.is_empty() => std::env::temp_dir().to_string_lossy().into_owned(),
            path => path,
        }
    }

    fn task_queue_key(&self) -> Option<i64> {
        matches!(self.int(Name::TaskIpcMode), 2 | 3).then_some(self.int(Name::MessageQueueKey))
    }

    fn worker_count(&self, warnings: &mut Vec<String>) -> i64 {
        let ceiling = WORKER_CEILING.min(WORKERS_PER_CPU * self.machine.cpu_count);
        match self.int(Name::WorkerNum) {
            0 => self.machine.cpu_count.min(ceiling),
            wanted if wanted > ceiling => {
                warnings.push(format!("worker_num {wanted} is too many, {ceiling} are used"));
                ceiling
            }
            wanted => wanted,
        }
    }

    fn task_worker_count(&self, worker_count: i64, warnings: &mut Vec<String>) -> i64 {
        let ceiling = WORKERS_PER_CPU * self.machine.cpu_count;
        let ceiling = ceiling.min(WORKER_CEILING - worker_count).max(1);
        match self.int(Name::TaskWorkerNum) {
            wanted if wanted > ceiling => {
                warnings.push(format!("task_worker_num {wanted} is too many, {ceiling} are used"));
                ceiling
            }
            wanted => wanted,
        }
    }

    fn reactor_count(&self, worker_count: i64, warnings: &mut Vec<String>) -> i64 {
        if self.int(Name::SingleThread) != 0 || !self.mode.has_reactor_threads() {
            return 1;
        }
        let ceiling = REACTORS_PER_CPU * self.machine.cpu_count;
        let wanted = match self.int(Name::ReactorNum) {
            0 => self.machine.cpu_count,
            wanted if wanted > ceiling => {
                warnings.push(format!("reactor_num {wanted} is too many, {ceiling} are used"));
                ceiling
            }
            wanted => wanted,
        };
        wanted.min(worker_count)
    }

    fn max_connection(&self, process_count: i64, warnings: &mut Vec<String>) -> i64 {
        let limit = self.machine.descriptor_limit;
        let least = process_count * 2 + 32 + self.machine.port_descriptor;
        match self.int(Name::MaxConnection) {
            0 => DEFAULT_CONNECTIONS.min(limit),
            wanted if wanted > CONNECTION_CEILING.min(limit) => {
                let most = CONNECTION_CEILING.min(limit);
                warnings.push(format!(
                    "max_connection {wanted} exceeds the descriptor limit, {most} is used"
                ));
                most
            }
            wanted if wanted < least => {
                let raised = limit.max(least + 1);
                warnings.push(format!(
                    "max_connection {wanted} is less than the server itself needs ({least}), \
                     {raised} is used"
                ));
                raised
            }
            wanted => wanted,
        }
    }
}

/// The seconds between two looks for peers that are silent for `idle_s`; 0: none are looked for.
fn interval_for(idle_s: u64) -> u64 {
    match idle_s {
        0 => 0,
        seconds => (seconds / 2).max(1),
    }
}

/// Completes what was set: ports without an idle time get twice the interval, and an interval that
/// was not set is the shortest that a port needs. One that was set stays (`is_kept`).
pub fn complete_heartbeat(interval_s: &mut u64, is_kept: bool, idle_times_s: &mut [&mut u64]) {
    if *interval_s > 0 {
        for idle_s in idle_times_s.iter_mut().filter(|idle_s| ***idle_s == 0) {
            **idle_s = 2 * *interval_s;
        }
    }
    if !is_kept {
        let wanted = idle_times_s.iter().map(|idle_s| interval_for(**idle_s));
        *interval_s = wanted.filter(|seconds| *seconds > 0).min().unwrap_or(*interval_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_completed_from_what_was_set() {
        for (interval, is_kept, idle, wanted_interval, wanted_idle) in [
            (0, false, [0, 0], 0, [0, 0]),
            (0, false, [0, 9], 4, [0, 9]),
            (0, false, [1, 9], 1, [1, 9]),
            (0, false, [3, 2], 1, [3, 2]),
            // Derived from what was set for the server, of which a port asks for more.
            (4, false, [9, 3], 1, [9, 3]),
            (4, false, [9, 0], 4, [9, 8]),
            (10, true, [0, 3], 10, [20, 3]),
            (1, true, [0, 0], 1, [2, 2]),
        ] {
            let (mut interval, [mut first, mut second]) = (interval, idle);
            complete_heartbeat(&mut interval, is_kept, &mut [&mut first, &mut second]);
            assert_eq!((interval, [first, second]), (wanted_interval, wanted_idle));
        }
    }
}
