//! What a port asks of its sockets.
//!
//! What accepted sockets inherit is asked of the listener, once. An option that the system refuses
//! is a warning: the port serves without it.

use std::io;
use std::os::fd::RawFd;

use crate::os::socket::{self, SocketKind};

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
    /// When and how often.
    pub probes: socket::Keepalive,
    /// Milliseconds that sent data may stay unacknowledged; 0: as the system has it.
    pub user_timeout_ms: i32,
}

fn warn(option: &str, result: io::Result<()>) {
    if let Err(error) = result {
        log::warn!("{option} could not be set: {error}");
    }
}

impl SocketOptions {
    /// Asks a bound socket for what it shall do itself and what accepted ones inherit from it.
    pub fn ask_listener(&self, fd: RawFd, kind: SocketKind) {
        match kind {
            SocketKind::Tcp | SocketKind::Tcp6 => {
                self.ask_for_buffers(fd);
                self.ask_for_tcp(fd);
            }
            // Accepted ones inherit nothing.
            SocketKind::UnixStream => {}
            SocketKind::Udp | SocketKind::Udp6 | SocketKind::UnixDgram => {
                let bytes = self.datagram_buffer;
                warn("the receive buffer", socket::set_receive_buffer(fd, bytes));
                warn("the send buffer", socket::set_send_buffer(fd, bytes));
            }
        }
    }

    /// Asks an accepted socket for what it has not inherited.
    pub fn ask_accepted(&self, fd: RawFd, kind: SocketKind) {
        if kind.is_unix() {
            self.ask_for_buffers(fd);
        }
    }

    fn ask_for_buffers(&self, fd: RawFd) {
        if self.receive_buffer > 0 {
            let result = socket::set_receive_buffer(fd, self.receive_buffer);
            warn("kernel_socket_recv_buffer_size", result);
        }
        if self.send_buffer > 0 {
            let result = socket::set_send_buffer(fd, self.send_buffer);
            warn("kernel_socket_send_buffer_size", result);
        }
    }

    fn ask_for_tcp(&self, fd: RawFd) {
        warn("open_tcp_nodelay", socket::set_nodelay(fd, self.is_nodelay));
        if self.defer_accept_s > 0 {
            warn("tcp_defer_accept", socket::set_defer_accept(fd, self.defer_accept_s));
        }
        if self.fastopen > 0 {
            warn("tcp_fastopen", socket::set_fast_open(fd, self.fastopen));
        }
        let Some(Keepalive { probes, user_timeout_ms }) = self.keepalive else { return };
        warn("open_tcp_keepalive", socket::set_keepalive(fd, &probes));
        if let (true, Ok(timeout_ms)) = (user_timeout_ms > 0, u32::try_from(user_timeout_ms)) {
            warn("tcp_user_timeout", socket::set_user_timeout(fd, timeout_ms));
        }
    }
}
