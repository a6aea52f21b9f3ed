//! Identity, files and log.

use crate::model::settings::table::{row, Default, Name, Row, U32_MAX};
use crate::model::value::Kind;

pub(super) const ROWS: &[Row] = &[
    row(
        Name::User,
        &["user"],
        Kind::Text,
        Default::Text(""),
        "As whom workers run; the server has to be started as root. A name that is none \
         changes nothing.",
    ),
    row(
        Name::Group,
        &["group"],
        Kind::Text,
        Default::Text(""),
        "In which group workers run; that of the user if only user is set.",
    ),
    row(
        Name::Chroot,
        &["chroot"],
        Kind::Path,
        Default::Text(""),
        "What workers see as the root of the file system.",
    ),
    row(
        Name::PidFile,
        &["pid_file"],
        Kind::Path,
        Default::Text(""),
        "Where the pid of the calling process is written, until the regular end.",
    ),
    row(
        Name::StatsFile,
        &["stats_file"],
        Kind::Path,
        Default::Text(""),
        "Where worker 0 writes the counts of the server: JSON if the name ends with .json, \
         else lines.",
    ),
    row(
        Name::StatsTimerInterval,
        &["stats_timer_interval"],
        Kind::Int { min: 1, max: U32_MAX },
        Default::Int(1000),
        "Milliseconds between two writings of stats_file.",
    ),
    row(
        Name::OpenCpuAffinity,
        &["open_cpu_affinity"],
        Kind::Bool,
        Default::Bool(false),
        "Each reactor thread and worker keeps to one processor.",
    ),
    row(
        Name::CpuAffinityIgnore,
        &["cpu_affinity_ignore"],
        Kind::CpuList,
        Default::Text(""),
        "Numbers of processors that are left to others.",
    ),
    row(
        Name::AdminServer,
        &["admin_server"],
        Kind::Text,
        Default::Text(""),
        "A management endpoint, which is not offered.",
    )
    .warned(),
    row(
        Name::LogFile,
        &["log_file"],
        Kind::Path,
        Default::Text(""),
        "Where log lines go; empty is standard output.",
    ),
    row(
        Name::LogLevel,
        &["log_level"],
        Kind::Int { min: 0, max: 6 },
        Default::Int(2),
        "The lowest level that is logged: 0 debug, 1 trace, 2 info, 3 notice, 4 warning, 5 \
         error, 6 nothing.",
    ),
    row(
        Name::LogDateFormat,
        &["log_date_format"],
        Kind::DateFormat,
        Default::Text("%F %T"),
        "The date in log lines, as strftime has it; at most 127 bytes when written out.",
    ),
    row(
        Name::LogDateWithMicroseconds,
        &["log_date_with_microseconds"],
        Kind::Bool,
        Default::Bool(false),
        "Microseconds stand behind the date.",
    ),
    row(
        Name::LogRotation,
        &["log_rotation"],
        Kind::Int { min: 0, max: 4 },
        Default::Int(0),
        "A new log file is begun: 0 never, 1 monthly, 2 daily, 3 hourly, 4 every minute; the \
         date stands behind its name.",
    ),
    row(
        Name::TraceFlags,
        &["trace_flags"],
        Kind::Int { min: 0, max: i64::MAX },
        Default::Int(0),
        "There are no groups of trace lines.",
    )
    .stored(),
    row(Name::DebugMode, &["debug_mode"], Kind::Bool, Default::Bool(false), "Take log_level 0.")
        .stored(),
    row(
        Name::DisplayErrors,
        &["display_errors"],
        Kind::Bool,
        Default::Bool(true),
        "Errors go to the log and to sw_last_error.",
    )
    .stored(),
    row(
        Name::PrintBacktraceOnError,
        &["print_backtrace_on_error"],
        Kind::Bool,
        Default::Bool(false),
        "Not offered.",
    )
    .stored(),
];
