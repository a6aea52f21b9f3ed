//! Connections and ports.

use crate::model::settings::table::{
    row, Default, Name, Row, ANY_COUNT, BUFFER_SIZE, I32_MAX, SHORT_COUNT,
};
use crate::model::value::Kind;

pub(super) const ROWS: &[Row] = &[
    row(
        Name::MaxConnection,
        &["max_connection", "max_conn"],
        ANY_COUNT,
        Default::Derived("100000, at most the limit of open files"),
        "How many connections are held at once, in each process that accepts: a connection \
         whose descriptor is this number or higher is refused. At most 1048576 and the limit \
         of open files; at least what the server itself needs.",
    ),
    row(
        Name::StartSessionId,
        &["start_session_id"],
        ANY_COUNT,
        Default::Int(0),
        "The first connection gets the session id behind this one.",
    ),
    row(
        Name::EnableDelayReceive,
        &["enable_delay_receive"],
        Kind::Bool,
        Default::Bool(false),
        "Nothing is read from a connection before sw_server_confirm is called for it.",
    ),
    row(
        Name::EnableReusePort,
        &["enable_reuse_port"],
        Kind::Bool,
        Default::Bool(false),
        "SW_BASE mode: each worker listens for itself on the TCP ports, and the system \
         spreads connections over them. Ports added afterwards share their address with other \
         programs that want that, in any mode.",
    ),
    row(
        Name::Backlog,
        &["backlog"],
        SHORT_COUNT,
        Default::Int(512),
        "Length of the queue of connections that wait to be accepted; 0 is 512.",
    )
    .per_port(),
    row(
        Name::Ipv6Only,
        &["ipv6_only"],
        Kind::Bool,
        Default::Bool(false),
        "An IPv6 port takes no IPv4 peers.",
    )
    .per_port(),
    row(
        Name::OpenTcpNodelay,
        &["open_tcp_nodelay"],
        Kind::Bool,
        Default::Bool(true),
        "Small packets are sent at once (TCP_NODELAY).",
    )
    .per_port(),
    row(
        Name::TcpDeferAccept,
        &["tcp_defer_accept"],
        SHORT_COUNT,
        Default::Int(0),
        "Seconds for which the system holds a connection back until it has sent something; 0 \
         is off.",
    )
    .per_port(),
    row(
        Name::TcpFastopen,
        &["tcp_fastopen"],
        SHORT_COUNT,
        Default::Int(0),
        "Length of the queue of connections that bring data with their first packet; 0 is \
         off.",
    )
    .per_port(),
    row(
        Name::OpenTcpKeepalive,
        &["open_tcp_keepalive"],
        Kind::Bool,
        Default::Bool(false),
        "The system probes idle peers, as the next four settings say.",
    )
    .per_port(),
    row(
        Name::TcpKeepidle,
        &["tcp_keepidle"],
        SHORT_COUNT,
        Default::Int(3600),
        "Seconds of silence before the first probe.",
    )
    .per_port(),
    row(
        Name::TcpKeepinterval,
        &["tcp_keepinterval"],
        SHORT_COUNT,
        Default::Int(60),
        "Seconds between probes.",
    )
    .per_port(),
    row(
        Name::TcpKeepcount,
        &["tcp_keepcount"],
        SHORT_COUNT,
        Default::Int(5),
        "Unanswered probes that end a connection.",
    )
    .per_port(),
    row(
        Name::TcpUserTimeout,
        &["tcp_user_timeout"],
        Kind::Int { min: 0, max: I32_MAX },
        Default::Int(0),
        "Milliseconds for which sent data may stay unacknowledged; 0 is as the system has it. \
         Applies with open_tcp_keepalive only.",
    )
    .per_port(),
    row(
        Name::KernelReceiveBuffer,
        &["kernel_socket_recv_buffer_size"],
        BUFFER_SIZE,
        Default::Int(0),
        "SO_RCVBUF of connections; 0 leaves it to the system.",
    )
    .per_port(),
    row(
        Name::KernelSendBuffer,
        &["kernel_socket_send_buffer_size"],
        BUFFER_SIZE,
        Default::Int(0),
        "SO_SNDBUF of connections; 0 leaves it to the system.",
    )
    .per_port(),
    row(
        Name::HeartbeatCheckInterval,
        &["heartbeat_check_interval"],
        SHORT_COUNT,
        Default::Int(0),
        "Seconds between two looks for idle connections. If it is not set, half of the \
         shortest heartbeat_idle_time.",
    ),
    row(
        Name::HeartbeatIdleTime,
        &["heartbeat_idle_time"],
        SHORT_COUNT,
        Default::Int(0),
        "Seconds without a byte received after which a connection is closed; 0 is twice \
         heartbeat_check_interval, if that is set.",
    )
    .per_port(),
    row(
        Name::MaxIdleTime,
        &["max_idle_time"],
        Kind::Seconds,
        Default::Seconds(0),
        "Seconds after which a connection is closed if no byte came and no waiting byte was \
         taken by the system; 0 is never.",
    )
    .per_port(),
];
