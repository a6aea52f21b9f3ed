//! The table of settings: name, spellings, type and range of each, and whether each port has it.

use crate::model::value::Kind;

const U32_MAX: i64 = u32::MAX as i64;
const I32_MAX: i64 = i32::MAX as i64;

/// Names one row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Name {
    /// Number of event workers.
    WorkerNum,
    /// Number of reactor threads.
    ReactorNum,
    /// No reactor threads, the master does their work.
    SingleThread,
    /// How many connections are held at once.
    MaxConnection,
    /// Length of the accept queue.
    Backlog,
    /// Where log lines go.
    LogFile,
    /// The lowest level that is logged.
    LogLevel,
    /// Limit of the bytes that wait for one slow peer.
    SocketBufferSize,
    /// Limit of one send.
    OutputBufferSize,
    /// Send small packets at once.
    OpenTcpNodelay,
    /// Patience with what should end, in seconds.
    MaxWaitTime,
    /// The date in a log line, in the form of `strftime`.
    LogDateFormat,
    /// The date in a log line has microseconds.
    LogDateWithMicroseconds,
    /// How often a new log file is begun.
    LogRotation,
    /// Where the pid of the calling process is written.
    PidFile,
    /// Requests after which a worker is replaced.
    MaxRequest,
    /// The most that is added to them at random.
    MaxRequestGrace,
    /// Whether a worker that leaves lives on beside its successor.
    ReloadAsync,
    /// Run in the background.
    Daemonize,
    /// As whom workers run.
    User,
    /// In which group workers run.
    Group,
    /// What workers see as the root of the file system.
    Chroot,
    /// Where worker 0 writes the counts of the server.
    StatsFile,
    /// How often it does.
    StatsTimerInterval,
    /// Each reactor thread and worker keeps to one processor.
    OpenCpuAffinity,
    /// Processors that are left to others.
    CpuAffinityIgnore,
    /// Each worker that accepts has listeners of its own.
    EnableReusePort,
    /// Known, but not offered.
    AdminServer,
    /// The session id before the first one.
    StartSessionId,
    /// Connections are read after they were confirmed.
    EnableDelayReceive,
    /// Taken, without effect.
    InputBufferSize,
    /// Bytes waiting for a peer from which on its buffer is called full.
    BufferHighWatermark,
    /// Bytes waiting for a peer at which it is called empty again.
    BufferLowWatermark,
    /// Taken, without effect: nothing here suspends a sender.
    SendYield,
    /// How long a send that waits may wait, in seconds.
    SendTimeout,
    /// Bytes handed to a worker and not taken yet, above which a connection is not read.
    MaxQueuedBytes,
    /// `SO_RCVBUF` of accepted sockets.
    KernelReceiveBuffer,
    /// `SO_SNDBUF` of accepted sockets.
    KernelSendBuffer,
    /// Seconds that a connection may be held back until it has sent something.
    TcpDeferAccept,
    /// Length of the queue of connections that bring data at once.
    TcpFastopen,
    /// Whether idle peers are probed.
    OpenTcpKeepalive,
    /// Seconds before the first probe.
    TcpKeepidle,
    /// Seconds between probes.
    TcpKeepinterval,
    /// Unanswered probes that end a connection.
    TcpKeepcount,
    /// Milliseconds that sent data may stay unacknowledged.
    TcpUserTimeout,
    /// Seconds between two looks for idle connections.
    HeartbeatCheckInterval,
    /// Seconds without a byte received after which a connection is idle.
    HeartbeatIdleTime,
    /// Seconds without traffic after which a connection is closed.
    MaxIdleTime,
    /// An IPv6 port takes no IPv4 peers.
    Ipv6Only,
}

pub(super) struct Row {
    pub(super) name: Name,
    /// The spelling of the documentation first, then its other names.
    spellings: &'static [&'static str],
    pub(super) kind: Kind,
}

pub(super) const COUNT: usize = 49;
const ANY_COUNT: Kind = Kind::Int { min: 0, max: U32_MAX };
const SHORT_COUNT: Kind = Kind::Int { min: 0, max: 65_535 };
const ANY_SIZE: Kind = Kind::Size { max: U32_MAX, unlimited: None };
const BUFFER_SIZE: Kind = Kind::Size { max: I32_MAX, unlimited: Some(I32_MAX) };

/// The table. Defaults stand in `Settings::default_of`: some depend on mode and machine.
pub(super) const TABLE: [Row; COUNT] = [
    Row { name: Name::WorkerNum, spellings: &["worker_num"], kind: ANY_COUNT },
    Row { name: Name::ReactorNum, spellings: &["reactor_num"], kind: SHORT_COUNT },
    Row { name: Name::SingleThread, spellings: &["single_thread"], kind: Kind::Bool },
    Row { name: Name::MaxConnection, spellings: &["max_connection", "max_conn"], kind: ANY_COUNT },
    Row { name: Name::Backlog, spellings: &["backlog"], kind: SHORT_COUNT },
    Row { name: Name::LogFile, spellings: &["log_file"], kind: Kind::Path },
    Row { name: Name::LogLevel, spellings: &["log_level"], kind: Kind::Int { min: 0, max: 6 } },
    Row { name: Name::SocketBufferSize, spellings: &["socket_buffer_size"], kind: BUFFER_SIZE },
    Row {
        name: Name::OutputBufferSize,
        spellings: &["output_buffer_size", "buffer_output_size"],
        kind: ANY_SIZE,
    },
    Row { name: Name::OpenTcpNodelay, spellings: &["open_tcp_nodelay"], kind: Kind::Bool },
    Row { name: Name::MaxWaitTime, spellings: &["max_wait_time"], kind: ANY_COUNT },
    Row { name: Name::LogDateFormat, spellings: &["log_date_format"], kind: Kind::DateFormat },
    Row {
        name: Name::LogDateWithMicroseconds,
        spellings: &["log_date_with_microseconds"],
        kind: Kind::Bool,
    },
    Row {
        name: Name::LogRotation,
        spellings: &["log_rotation"],
        kind: Kind::Int { min: 0, max: 4 },
    },
    Row { name: Name::PidFile, spellings: &["pid_file"], kind: Kind::Path },
    Row { name: Name::MaxRequest, spellings: &["max_request"], kind: ANY_COUNT },
    Row { name: Name::MaxRequestGrace, spellings: &["max_request_grace"], kind: ANY_COUNT },
    Row { name: Name::ReloadAsync, spellings: &["reload_async"], kind: Kind::Bool },
    Row { name: Name::Daemonize, spellings: &["daemonize"], kind: Kind::Bool },
    Row { name: Name::User, spellings: &["user"], kind: Kind::Text },
    Row { name: Name::Group, spellings: &["group"], kind: Kind::Text },
    Row { name: Name::Chroot, spellings: &["chroot"], kind: Kind::Path },
    Row { name: Name::StatsFile, spellings: &["stats_file"], kind: Kind::Path },
    Row {
        name: Name::StatsTimerInterval,
        spellings: &["stats_timer_interval"],
        kind: Kind::Int { min: 1, max: U32_MAX },
    },
    Row { name: Name::OpenCpuAffinity, spellings: &["open_cpu_affinity"], kind: Kind::Bool },
    Row { name: Name::CpuAffinityIgnore, spellings: &["cpu_affinity_ignore"], kind: Kind::CpuList },
    Row { name: Name::EnableReusePort, spellings: &["enable_reuse_port"], kind: Kind::Bool },
    Row { name: Name::AdminServer, spellings: &["admin_server"], kind: Kind::Text },
    Row { name: Name::StartSessionId, spellings: &["start_session_id"], kind: ANY_COUNT },
    Row { name: Name::EnableDelayReceive, spellings: &["enable_delay_receive"], kind: Kind::Bool },
    Row {
        name: Name::InputBufferSize,
        spellings: &["input_buffer_size", "buffer_input_size"],
        kind: ANY_SIZE,
    },
    Row { name: Name::BufferHighWatermark, spellings: &["buffer_high_watermark"], kind: ANY_SIZE },
    Row { name: Name::BufferLowWatermark, spellings: &["buffer_low_watermark"], kind: ANY_SIZE },
    Row { name: Name::SendYield, spellings: &["send_yield"], kind: Kind::Bool },
    Row { name: Name::SendTimeout, spellings: &["send_timeout"], kind: Kind::Seconds },
    Row { name: Name::MaxQueuedBytes, spellings: &["max_queued_bytes"], kind: ANY_SIZE },
    Row {
        name: Name::KernelReceiveBuffer,
        spellings: &["kernel_socket_recv_buffer_size"],
        kind: BUFFER_SIZE,
    },
    Row {
        name: Name::KernelSendBuffer,
        spellings: &["kernel_socket_send_buffer_size"],
        kind: BUFFER_SIZE,
    },
    Row { name: Name::TcpDeferAccept, spellings: &["tcp_defer_accept"], kind: SHORT_COUNT },
    Row { name: Name::TcpFastopen, spellings: &["tcp_fastopen"], kind: SHORT_COUNT },
    Row { name: Name::OpenTcpKeepalive, spellings: &["open_tcp_keepalive"], kind: Kind::Bool },
    Row { name: Name::TcpKeepidle, spellings: &["tcp_keepidle"], kind: SHORT_COUNT },
    Row { name: Name::TcpKeepinterval, spellings: &["tcp_keepinterval"], kind: SHORT_COUNT },
    Row { name: Name::TcpKeepcount, spellings: &["tcp_keepcount"], kind: SHORT_COUNT },
    Row {
        name: Name::TcpUserTimeout,
        spellings: &["tcp_user_timeout"],
        kind: Kind::Int { min: 0, max: I32_MAX },
    },
    Row {
        name: Name::HeartbeatCheckInterval,
        spellings: &["heartbeat_check_interval"],
        kind: SHORT_COUNT,
    },
    Row { name: Name::HeartbeatIdleTime, spellings: &["heartbeat_idle_time"], kind: SHORT_COUNT },
    Row { name: Name::MaxIdleTime, spellings: &["max_idle_time"], kind: Kind::Seconds },
    Row { name: Name::Ipv6Only, spellings: &["ipv6_only"], kind: Kind::Bool },
];

impl Name {
    /// Whether each port has a value of its own.
    pub(super) fn is_per_port(self) -> bool {
        matches!(
            self,
            Name::Backlog
                | Name::SocketBufferSize
                | Name::OpenTcpNodelay
                | Name::BufferHighWatermark
                | Name::BufferLowWatermark
                | Name::KernelReceiveBuffer
                | Name::KernelSendBuffer
                | Name::TcpDeferAccept
                | Name::TcpFastopen
                | Name::OpenTcpKeepalive
                | Name::TcpKeepidle
                | Name::TcpKeepinterval
                | Name::TcpKeepcount
                | Name::TcpUserTimeout
                | Name::HeartbeatIdleTime
                | Name::MaxIdleTime
                | Name::Ipv6Only
        )
    }
}

/// The row of a name, in any case; `None` if there is no such setting.
pub(super) fn row_of(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.spellings.iter().any(|known| known.eq_ignore_ascii_case(name)))
}
