//! The embedded runtime of other builds.

use crate::model::settings::table::{row, Default, Name, Row, ANY_COUNT, ANY_SIZE, AT_LEAST_ONE};
use crate::model::value::Kind;

pub(super) const ROWS: &[Row] = &[
    row(
        Name::MaxCoroutine,
        &["max_coroutine", "max_coro_num"],
        ANY_COUNT,
        Default::Int(100_000),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::EnableDeadlockCheck,
        &["enable_deadlock_check"],
        Kind::Bool,
        Default::Bool(true),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::HookFlags,
        &["hook_flags"],
        Kind::Int { min: 0, max: i64::MAX },
        Default::Int(0),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::EnablePreemptiveScheduler,
        &["enable_preemptive_scheduler"],
        Kind::Bool,
        Default::Bool(false),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::CStackSize,
        &["c_stack_size", "stack_size"],
        ANY_SIZE,
        Default::Int(2_097_152),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::Resolver,
        &["name_resolver"],
        Kind::Json,
        Default::Text(""),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::DnsServer,
        &["dns_server"],
        Kind::Text,
        Default::Text(""),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::DnsCacheExpire,
        &["dns_cache_expire"],
        Kind::Seconds,
        Default::Seconds(60_000),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::DnsCacheCapacity,
        &["dns_cache_capacity"],
        ANY_COUNT,
        Default::Int(1000),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::DnsCacheRefreshTime,
        &["dns_cache_refresh_time"],
        Kind::Seconds,
        Default::Seconds(60_000),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::SocketDnsTimeout,
        &["socket_dns_timeout"],
        Kind::Seconds,
        Default::Seconds(60_000),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::SocketConnectTimeout,
        &["socket_connect_timeout"],
        Kind::Seconds,
        Default::Seconds(10_000),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::SocketReadTimeout,
        &["socket_read_timeout", "socket_recv_timeout"],
        Kind::Seconds,
        Default::Seconds(60_000),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::SocketTimeout,
        &["socket_timeout"],
        Kind::Seconds,
        Default::Seconds(60_000),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::AioCoreWorkerNum,
        &["aio_core_worker_num", "thread_num", "min_thread_num"],
        AT_LEAST_ONE,
        Default::Derived("the number of processors"),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::AioWorkerNum,
        &["aio_worker_num", "max_thread_num"],
        AT_LEAST_ONE,
        Default::Derived("eight times the number of processors"),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::AioMaxWaitTime,
        &["aio_max_wait_time"],
        Kind::Seconds,
        Default::Seconds(1),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::AioMaxIdleTime,
        &["aio_max_idle_time"],
        Kind::Seconds,
        Default::Seconds(1_000),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::IouringEntries,
        &["iouring_entries"],
        ANY_COUNT,
        Default::Int(0),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::IouringWorkers,
        &["iouring_workers"],
        ANY_COUNT,
        Default::Int(0),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::IouringFlag,
        &["iouring_flag"],
        ANY_COUNT,
        Default::Int(0),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::EnableSignalfd,
        &["enable_signalfd"],
        Kind::Bool,
        Default::Bool(true),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::EnableKqueue,
        &["enable_kqueue"],
        Kind::Bool,
        Default::Bool(false),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::WaitSignal,
        &["wait_signal"],
        Kind::Bool,
        Default::Bool(false),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::SocketDontwait,
        &["socket_dontwait"],
        Kind::Bool,
        Default::Bool(false),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::DnsLookupRandom,
        &["dns_lookup_random"],
        Kind::Bool,
        Default::Bool(false),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::UseAsyncResolver,
        &["use_async_resolver"],
        Kind::Bool,
        Default::Bool(false),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::RequestSlowlogFile,
        &["request_slowlog_file"],
        Kind::Path,
        Default::Text(""),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::RequestSlowlogTimeout,
        &["request_slowlog_timeout"],
        ANY_COUNT,
        Default::Int(0),
        "Taken and told back; there is nothing here that it could change.",
    )
    .stored(),
    row(
        Name::SocketWriteTimeout,
        &["socket_write_timeout", "socket_send_timeout"],
        Kind::Seconds,
        Default::Seconds(60_000),
        "Seconds for which sw_server_sendto waits while the buffer of its socket is full; 0 \
         is without limit.",
    ),
];
