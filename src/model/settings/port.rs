//! What a port of a running server works with.

use std::sync::Arc;

use crate::net::options::{Keepalive, SocketOptions};
use crate::os::socket::Keepalive as Probes;
use crate::proto::settings::{FramerSettings, LengthType};

use super::table::Name;
use super::{Settings, Value};

/// The settings of one port, in force.
#[derive(Clone, Debug)]
pub struct PortSettings {
    /// What is asked of its sockets.
    pub socket: SocketOptions,
    /// Bytes that may wait for one peer before sends fail.
    pub socket_buffer_size: u64,
    /// Bytes waiting from which on the buffer of a connection is called full.
    pub high_watermark: u64,
    /// Bytes waiting at which it is called empty again.
    pub low_watermark: u64,
    /// Seconds without a byte received after which a connection is idle; 0: never.
    pub heartbeat_idle_time_s: u64,
    /// Milliseconds without traffic after which a connection is closed; 0: never.
    pub max_idle_time_ms: u64,
    /// How its connections are framed.
    pub framing: Arc<FramerSettings>,
}

impl Settings {
    /// What a port with these settings works with.
    pub fn port_in_force(&self) -> PortSettings {
        let buffer = self.int(Name::SocketBufferSize);
        PortSettings {
            socket: self.socket_options(buffer),
            socket_buffer_size: buffer as u64,
            high_watermark: match self.int(Name::BufferHighWatermark) {
                0 => buffer as u64 / 5 * 4,
                bytes => bytes as u64,
            },
            low_watermark: self.int(Name::BufferLowWatermark) as u64,
            heartbeat_idle_time_s: self.int(Name::HeartbeatIdleTime) as u64,
            max_idle_time_ms: self.int(Name::MaxIdleTime) as u64,
            framing: Arc::new(self.framing()),
        }
    }

    fn framing(&self) -> FramerSettings {
        let is_on = |name| self.int(name) != 0;
        let letter = self.text(Name::PackageLengthType).bytes().next();
        FramerSettings {
            max_length: self.package_max_length() as usize,
            open_eof_check: is_on(Name::OpenEofCheck),
            open_eof_split: is_on(Name::OpenEofSplit),
            package_eof: match self.value(Name::PackageEof) {
                Value::Text(text) => text.into_bytes(),
                Value::Bytes(bytes) => bytes,
                Value::Int(_) | Value::Bool(_) | Value::Seconds(_) => Vec::new(),
            },
            open_length_check: is_on(Name::OpenLengthCheck),
            // The table keeps out what is no letter.
            length_type: letter.and_then(LengthType::from_letter).unwrap_or(LengthType::DEFAULT),
            length_offset: self.int(Name::PackageLengthOffset) as usize,
            body_offset: self.int(Name::PackageBodyOffset) as usize,
            length_fn: self.length_fn.clone(),
            open_http: is_on(Name::OpenHttpProtocol),
            open_websocket: is_on(Name::OpenWebsocketProtocol),
            websocket_subprotocol: Vec::new(),
            open_mqtt: is_on(Name::OpenMqttProtocol),
            open_redis: is_on(Name::OpenRedisProtocol),
        }
    }

    /// Whether a port with these settings takes no IPv4 peers on an IPv6 address.
    pub fn is_v6_only(&self) -> bool {
        self.int(Name::Ipv6Only) != 0
    }

    fn socket_options(&self, datagram_buffer: i64) -> SocketOptions {
        // The table keeps each of them in the range of a C int.
        let number = |name| self.int(name) as i32;
        SocketOptions {
            backlog: match number(Name::Backlog) {
                0 => 512,
                length => length,
            },
            is_nodelay: self.int(Name::OpenTcpNodelay) != 0,
            receive_buffer: number(Name::KernelReceiveBuffer),
            send_buffer: number(Name::KernelSendBuffer),
            datagram_buffer: datagram_buffer as i32,
            defer_accept_s: number(Name::TcpDeferAccept),
            fastopen: number(Name::TcpFastopen),
            keepalive: (self.int(Name::OpenTcpKeepalive) != 0).then(|| Keepalive {
                probes: Probes {
                    idle_s: number(Name::TcpKeepidle),
                    interval_s: number(Name::TcpKeepinterval),
                    count: number(Name::TcpKeepcount),
                },
                user_timeout_ms: number(Name::TcpUserTimeout),
            }),
        }
    }
}
