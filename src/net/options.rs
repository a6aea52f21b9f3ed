//! What a port asks of its sockets.

/// The options of a listener and of the sockets that it accepts.
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketOptions {
    /// For `listen`.
    pub backlog: i32,
    /// Whether `TCP_NODELAY` is set.
    pub is_nodelay: bool,
    /// `SO_RCVBUF` of streams, bytes; 0: left as it is.
    pub receive_buffer: i32,
    /// `SO_SNDBUF` of streams, bytes; 0: left as it is.
    pub send_buffer: i32,
    /// Both buffers of a datagram socket, bytes.
    pub datagram_buffer: i32,
    /// `TCP_DEFER_ACCEPT`, seconds; 0: off.
    pub defer_accept_s: i32,
    /// `TCP_FASTOPEN`, length of the queue; 0: off.
    pub fastopen: i32,
    /// How idle peers are probed, if they are.
    pub keepalive: Option<Keepalive>,
}

/// How idle peers are probed.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    /// Seconds before the first probe.
    pub idle_s: i32,
    /// Seconds between probes.
    pub interval_s: i32,
    /// Unanswered probes that end a connection.
    pub count: i32,
    /// Milliseconds that sent data may stay unacknowledged; 0: as the system has it.
    pub user_timeout_ms: i32,
}
