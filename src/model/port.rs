//! A port, as units see it.

use crate::error::{code, Error, Result};
use crate::model::hooks::{EventKind, Hooks};
use crate::model::settings::PortSettings;
use crate::net::listener::Listener;
use crate::net::tls::TermsInForce;

/// The most ports that one server can have.
pub const MOST_PORTS: usize = 60_000;

/// One port of a running server.
pub struct Port {
    /// Its socket.
    pub listener: Listener,
    /// The numbers in force.
    pub settings: PortSettings,
    /// Its callbacks, and where it has none of its own, those of the first port.
    pub hooks: Hooks,
    /// The terms of its connections, if they have TLS.
    pub tls: Option<TermsInForce>,
}

impl Port {
    /// Whether it takes connections; datagrams otherwise.
    pub fn is_stream(&self) -> bool {
        self.listener.kind().is_stream()
    }
}

/// Refuses a port whose callbacks do not serve it.
pub fn check_hooks(is_stream: bool, hooks: &Hooks) -> Result<()> {
    let (kind, event, what) = match is_stream {
        true => (EventKind::Receive, "onReceive", "stream"),
        false => (EventKind::Packet, "onPacket", "datagram"),
    };
    if hooks.has(kind) {
        return Ok(());
    }
    let text = format!("require '{event}' callback: a {what} port needs one, see sw_server_on");
    Err(Error::new(code::SERVER_INVALID_CALLBACK, text))
}
