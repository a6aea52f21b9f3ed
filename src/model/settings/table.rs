//! What a row of the table of settings is.

use super::chapters::CHAPTERS;
use crate::model::value::{Kind, Value};

pub(super) const U32_MAX: i64 = u32::MAX as i64;
pub(super) const I32_MAX: i64 = i32::MAX as i64;
pub(super) const ANY_COUNT: Kind = Kind::Int { min: 0, max: U32_MAX };
pub(super) const AT_LEAST_ONE: Kind = Kind::Int { min: 1, max: U32_MAX };
pub(super) const SHORT_COUNT: Kind = Kind::Int { min: 0, max: 65_535 };
pub(super) const ANY_SIZE: Kind = Kind::Size { max: U32_MAX, unlimited: None };
pub(super) const BUFFER_SIZE: Kind = Kind::Size { max: I32_MAX, unlimited: Some(I32_MAX) };
/// A place in the header of a message.
pub(super) const OFFSET: Kind = Kind::Offset { most: 8152 };

/// Names one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    WorkerNum,
    ReactorNum,
    SingleThread,
    MaxRequest,
    MaxRequestGrace,
    ReloadAsync,
    MaxWaitTime,
    Daemonize,
    EnableCoroutine,
    EventObject,
    Bootstrap,
    InitArguments,
    MaxConnection,
    StartSessionId,
    EnableDelayReceive,
    EnableReusePort,
    Backlog,
    Ipv6Only,
    OpenTcpNodelay,
    TcpDeferAccept,
    TcpFastopen,
    OpenTcpKeepalive,
    TcpKeepidle,
    TcpKeepinterval,
    TcpKeepcount,
    TcpUserTimeout,
    KernelReceiveBuffer,
    KernelSendBuffer,
    HeartbeatCheckInterval,
    HeartbeatIdleTime,
    MaxIdleTime,
    OutputBufferSize,
    InputBufferSize,
    SocketBufferSize,
    BufferHighWatermark,
    BufferLowWatermark,
    SendYield,
    SendTimeout,
    MaxQueuedBytes,
    OpenEofCheck,
    OpenEofSplit,
    PackageEof,
    OpenLengthCheck,
    PackageLengthType,
    PackageLengthOffset,
    PackageBodyOffset,
    PackageMaxLength,
    OpenHttpProtocol,
    OpenWebsocketProtocol,
    OpenHttp2Protocol,
    OpenMqttProtocol,
    OpenRedisProtocol,
    DispatchMode,
    EnableUnsafeEvent,
    DiscardTimeoutRequest,
    MaxConcurrency,
    WorkerMaxConcurrency,
    TaskWorkerNum,
    TaskIpcMode,
    TaskMaxRequest,
    TaskMaxRequestGrace,
    TaskTmpdir,
    TaskEnableCoroutine,
    TaskUseObject,
    MessageQueueKey,
    User,
    Group,
    Chroot,
    PidFile,
    StatsFile,
    StatsTimerInterval,
    OpenCpuAffinity,
    CpuAffinityIgnore,
    AdminServer,
    LogFile,
    LogLevel,
    LogDateFormat,
    LogDateWithMicroseconds,
    LogRotation,
    TraceFlags,
    DebugMode,
    DisplayErrors,
    PrintBacktraceOnError,
    SslCertFile,
    SslKeyFile,
    SslPassphrase,
    SslProtocols,
    SslCiphers,
    SslPreferServerCiphers,
    SslEcdhCurve,
    SslDhparam,
    SslCompress,
    SslVerifyPeer,
    SslAllowSelfSigned,
    SslClientCertFile,
    SslCafile,
    SslCapath,
    SslVerifyDepth,
    SslSniCerts,
    SslSessionTickets,
    SslMethod,
    HttpParseCookie,
    HttpParsePost,
    HttpParseFiles,
    HttpCompression,
    HttpCompressionLevel,
    HttpCompressionMinLength,
    HttpCompressionTypes,
    UploadTmpDir,
    UploadMaxFilesize,
    EnableStaticHandler,
    DocumentRoot,
    StaticHandlerLocations,
    HttpIndexFiles,
    HttpAutoindex,
    UrlRewriteRules,
    WebsocketSubprotocol,
    WebsocketCompression,
    WebsocketMask,
    OpenWebsocketCloseFrame,
    OpenWebsocketPingFrame,
    OpenWebsocketPongFrame,
    Http2HeaderTableSize,
    Http2EnablePush,
    Http2MaxConcurrentStreams,
    Http2InitWindowSize,
    Http2MaxFrameSize,
    Http2MaxHeaderListSize,
    Http2MaxHeaders,
    MaxCoroutine,
    EnableDeadlockCheck,
    HookFlags,
    EnablePreemptiveScheduler,
    CStackSize,
    Resolver,
    DnsServer,
    DnsCacheExpire,
    DnsCacheCapacity,
    DnsCacheRefreshTime,
    SocketDnsTimeout,
    SocketConnectTimeout,
    SocketReadTimeout,
    SocketTimeout,
    AioCoreWorkerNum,
    AioWorkerNum,
    AioMaxWaitTime,
    AioMaxIdleTime,
    IouringEntries,
    IouringWorkers,
    IouringFlag,
    EnableSignalfd,
    EnableKqueue,
    WaitSignal,
    SocketDontwait,
    DnsLookupRandom,
    UseAsyncResolver,
    RequestSlowlogFile,
    RequestSlowlogTimeout,
    SocketWriteTimeout,
}

/// What holds if nobody sets a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Default {
    Int(i64),
    Bool(bool),
    /// In milliseconds.
    Seconds(i64),
    Text(&'static str),
    /// What other settings and the machine make of it, in words.
    Derived(&'static str),
}

/// What a setting changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Applied,
    /// It is kept and told back, there is nothing that it could change.
    Stored,
    /// As `Stored`, with a warning at start.
    Warned,
    /// It belongs to a part that this build does not have: start fails if it asks for something.
    Absent(&'static str),
}

/// One setting.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: Name,
    /// The spelling of the documentation first, then its other names.
    pub(super) spellings: &'static [&'static str],
    pub(super) kind: Kind,
    pub(super) default: Default,
    /// Each port has a value of its own.
    pub(super) is_per_port: bool,
    pub(super) effect: Effect,
    /// What it means, for the reference documentation.
    pub(super) text: &'static str,
}

/// A setting of the server that changes something.
pub(super) const fn row(
    name: Name,
    spellings: &'static [&'static str],
    kind: Kind,
    default: Default,
    text: &'static str,
) -> Row {
    Row { name, spellings, kind, default, is_per_port: false, effect: Effect::Applied, text }
}

impl Row {
    pub(super) const fn per_port(mut self) -> Self {
        self.is_per_port = true;
        self
    }

    pub(super) const fn stored(mut self) -> Self {
        self.effect = Effect::Stored;
        self
    }

    pub(super) const fn warned(mut self) -> Self {
        self.effect = Effect::Warned;
        self
    }

    pub(super) const fn absent(mut self, part: &'static str) -> Self {
        self.effect = Effect::Absent(part);
        self
    }

    /// Whether a value is a list or a map.
    pub(super) fn takes_json(&self) -> bool {
        matches!(self.kind, Kind::Json)
    }

    /// The spelling of the documentation.
    pub(super) fn spelling(&self) -> &'static str {
        self.spellings.first().copied().unwrap_or("")
    }

    /// The default, if it is always the same.
    pub(super) fn fixed_default(&self) -> Option<Value> {
        Some(match self.default {
            Default::Int(number) => Value::Int(number),
            Default::Bool(is_on) => Value::Bool(is_on),
            Default::Seconds(milliseconds) => Value::Seconds(milliseconds),
            Default::Text(text) => Value::Text(text.to_owned()),
            Default::Derived(_) => return None,
        })
    }
}

/// All rows.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    CHAPTERS.iter().flat_map(|chapter| chapter.rows)
}

/// The row of a spelling, in any case; `None` if there is no such setting.
pub(super) fn row_of(spelling: &str) -> Option<&'static Row> {
    rows().find(|row| row.spellings.iter().any(|known| known.eq_ignore_ascii_case(spelling)))
}

/// The row of a name.
pub(super) fn row_named(name: Name) -> Option<&'static Row> {
    rows().find(|row| row.name == name)
}
