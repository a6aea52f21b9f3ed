//! Ports: add, set up, ask.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use crate::error::{code, Error, Result};
use crate::model::hooks::{EventKind, Hook, Hooks};
use crate::model::port::{check_hooks, Port, MOST_PORTS};
use crate::model::settings::Settings;
use crate::net::listener::{Listener, Manner};
use crate::net::tls::TermsInForce;
use crate::os::socket::SocketKind;
use crate::proto::settings::LengthFn;

use super::{event_of, warn_unknown, Server, Setup, TLS};

/// A port before start.
pub(super) struct PortSetup {
    listener: Listener,
    /// Its own settings; `None`: it was never set and has those of the server.
    pub(super) settings: Option<Settings>,
    pub(super) hooks: Hooks,
    is_tls: bool,
    /// Made when its settings are known.
    terms: Option<TermsInForce>,
}

/// What never changes.
pub(super) struct PortFacts {
    host: String,
    number: u16,
    kind: SocketKind,
}

impl PortFacts {
    pub(super) fn of(listener: &Listener) -> Self {
        let (host, number, kind) = (listener.host(), listener.port(), listener.kind());
        Self { host: host.to_owned(), number, kind }
    }
}

impl PortSetup {
    pub(super) fn new(listener: Listener, is_tls: bool) -> Self {
        Self { listener, settings: None, hooks: Hooks::default(), is_tls, terms: None }
    }

    /// Reads what its TLS needs; `of_server`: what holds where it has no settings of its own.
    fn make_terms(&mut self, of_server: &Settings) -> Result<()> {
        if !self.is_tls {
            return Ok(());
        }
        let settings = self.settings.as_ref().unwrap_or(of_server).tls()?;
        let terms = TermsInForce::new(settings).map_err(|error| {
            let (host, number) = (self.listener.host(), self.listener.port());
            let text = format!("port {host}:{number}: {}", error.message());
            Error::new(error.code(), text)
        })?;
        self.terms = Some(terms);
        Ok(())
    }
}

/// The kind of socket that C names by a number, which has no bit for TLS.
fn kind_of(number: i32) -> Result<SocketKind> {
    match number {
        1 => Ok(SocketKind::Tcp),
        3 => Ok(SocketKind::Tcp6),
        5 => Ok(SocketKind::UnixStream),
        2 => Ok(SocketKind::Udp),
        4 => Ok(SocketKind::Udp6),
        6 => Ok(SocketKind::UnixDgram),
        _ => Err(Error::new(
            code::BAD_SOCKET_TYPE,
            format!("{number} is no socket type, take one of SW_SOCK_TCP to SW_SOCK_UNIX_DGRAM"),
        )),
    }
}

/// The number by which C names a kind of socket.
pub(super) fn number_of(kind: SocketKind) -> i32 {
    match kind {
        SocketKind::Tcp => 1,
        SocketKind::Udp => 2,
        SocketKind::Tcp6 => 3,
        SocketKind::Udp6 => 4,
        SocketKind::UnixStream => 5,
        SocketKind::UnixDgram => 6,
    }
}

/// What a listener can be asked for.
pub(super) struct Wanted {
    pub(super) kind: SocketKind,
    pub(super) number: u16,
    pub(super) is_tls: bool,
}

/// A socket type and a port number that a listener can have.
pub(super) fn checked(kind: i32, port: i32) -> Result<Wanted> {
    let is_tls = (1..=6).contains(&(kind ^ TLS));
    let kind = kind_of(if is_tls { kind ^ TLS } else { kind })?;
    if kind.is_unix() {
        return Ok(Wanted { kind, number: 0, is_tls });
    }
    let number = u16::try_from(port).map_err(|_| {
        let text = format!("port {port} is not in the range 0 to 65535");
        Error::new(code::SERVER_INVALID_LISTEN_PORT, text)
    })?;
    Ok(Wanted { kind, number, is_tls })
}

/// Refuses one port more than a server can have. Where every port has a descriptor of its own, the
/// limit of those is mostly reached before.
fn check_room(count: usize) -> Result<()> {
    if count < MOST_PORTS {
        return Ok(());
    }
    let text = format!("a server has at most {MOST_PORTS} ports");
    Err(Error::new(code::SERVER_TOO_MANY_LISTEN_PORT, text))
}

/// Takes the file of a unix socket away, if it is still the one that was bound here.
pub(super) fn unlink(listener: &Listener) {
    if let Err(error) = listener.unlink() {
        log::warn!("socket file {:?} is not removed: {error}", listener.host());
    }
}

/// Refuses TLS on datagrams.
fn check_stream(port: &PortSetup) -> Result<()> {
    if !port.is_tls || port.listener.kind().is_stream() {
        return Ok(());
    }
    let text = format!(
        "port {}:{} has SW_SSL with a datagram type, which would be DTLS and is not offered: take \
         SW_SOCK_TCP, SW_SOCK_TCP6 or SW_SOCK_UNIX_STREAM with it, or leave SW_SSL out",
        port.listener.host(),
        port.listener.port()
    );
    Err(Error::new(code::OPERATION_NOT_SUPPORT, text))
}

fn no_port(index: usize) -> Error {
    Error::new(code::INVALID_PARAMS, format!("the server has no port {index}"))
}

impl Setup {
    /// Refuses what this build does not offer, and a port that nobody would serve.
    pub(super) fn check(&mut self) -> Result<()> {
        self.settings.check_offered()?;
        let own = self.ports.iter().filter_map(|port| port.settings.as_ref());
        own.into_iter().try_for_each(Settings::check_offered)?;
        self.ports.iter().try_for_each(check_stream)?;
        if self.settings.in_force().task_worker_count > 0 && !self.hooks.has(EventKind::Task) {
            let text = "require 'onTask' callback: task_worker_num is set, and nobody would run \
                        what is handed to the task workers";
            return Err(Error::new(code::SERVER_INVALID_CALLBACK, text));
        }
        let Some(first) = self.ports.first() else { return Ok(()) };
        let check = |port: &PortSetup| {
            check_hooks(port.listener.kind().is_stream(), &port.hooks.or(&first.hooks))
        };
        self.ports.iter().try_for_each(check)?;
        let Setup { ports, settings, .. } = self;
        ports.iter_mut().try_for_each(|port| port.make_terms(settings))
    }

    /// Refuses values for TLS that were not there `before` and cannot be used. They are none of the
    /// business of ports without it.
    pub(super) fn check_server_tls(&self, before: &Settings) -> Result<()> {
        let mut ports = self.ports.iter().enumerate();
        let is_meant = |(index, port): (usize, &PortSetup)| {
            port.is_tls && (index == 0 || port.settings.is_none())
        };
        match ports.any(is_meant) {
            true => self.settings.check_tls(before),
            false => Ok(()),
        }
    }

    /// The ports as units see them; none is left here.
    pub(super) fn take_ports(&mut self) -> Vec<Port> {
        let fallback = self.ports.first().map(|first| first.hooks.clone()).unwrap_or_default();
        let server = &self.settings;
        let make = |port: PortSetup| Port {
            settings: port.settings.as_ref().unwrap_or(server).port_in_force(),
            hooks: port.hooks.or(&fallback),
            listener: port.listener,
            tls: port.terms,
        };
        std::mem::take(&mut self.ports).into_iter().map(make).collect()
    }

    /// Has each IPv6 port take the peers that its settings ask for. Sockets are bound before that
    /// is known.
    pub(super) fn settle_addresses(&mut self) -> Result<()> {
        let of_server = self.settings.is_v6_only();
        self.ports.iter_mut().try_for_each(|port| {
            let own = port.settings.as_ref().map(Settings::is_v6_only);
            port.listener.set_v6_only(own.unwrap_or(of_server))
        })
    }

    /// Removes the socket files of ports that will never be served.
    pub(super) fn remove_files(&mut self) {
        for port in std::mem::take(&mut self.ports) {
            unlink(&port.listener);
        }
    }

    /// Changes the settings of a port. What is refused was not set: nothing changes, and a port
    /// that had the settings of the server still has them.
    fn set_of_port<R>(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut Settings) -> Result<R>,
    ) -> Result<R> {
        let port = self.ports.get_mut(index).ok_or_else(|| no_port(index))?;
        // What was set for the server holds for the first port.
        let mut changed = match (&port.settings, index) {
            (Some(own), _) => own.clone(),
            (None, 0) => self.settings.clone(),
            (None, _) => self.settings.blank(),
        };
        let before = port.is_tls.then(|| changed.clone());
        let result = act(&mut changed)?;
        before.map_or(Ok(()), |before| changed.check_tls(&before))?;
        port.settings = Some(changed);
        Ok(result)
    }
}

impl Server {
    /// Adds a port, which is bound here; its index.
    pub fn add_listener(&self, host: &str, port: i32, kind: i32) -> Result<usize> {
        self.configure(|setup| {
            check_room(setup.ports.len())?;
            let Wanted { kind, number, is_tls } = checked(kind, port)?;
            let is_shared = setup.settings.in_force().shares_new_ports;
            let manner = Manner { is_shared, is_v6_only: setup.settings.is_v6_only() };
            let listener = Listener::bind(kind, host, number, manner)?;
            listener.check_apart(setup.ports.iter().map(|port| &port.listener))?;
            setup.settings.note_port(listener.as_raw_fd());
            self.facts.write().push(PortFacts::of(&listener));
            setup.ports.push(PortSetup::new(listener, is_tls));
            Ok(setup.ports.len() - 1)
        })
    }

    /// How many ports there are.
    pub fn port_count(&self) -> usize {
        self.facts.read().len()
    }

    fn with_facts<R>(&self, index: usize, act: impl FnOnce(&PortFacts) -> R) -> Result<R> {
        self.facts.read().get(index).map(act).ok_or_else(|| no_port(index))
    }

    /// The host or path that a port was made with.
    pub fn port_host(&self, index: usize) -> Result<String> {
        self.with_facts(index, |facts| facts.host.clone())
    }

    /// The number of a port, the real one; 0 for a path.
    pub fn port_number(&self, index: usize) -> Result<u16> {
        self.with_facts(index, |facts| facts.number)
    }

    /// The number of the socket type of a port.
    pub fn port_type(&self, index: usize) -> Result<i32> {
        self.with_facts(index, |facts| number_of(facts.kind))
    }

    /// The listening descriptor of a port, until the server has ended. Where each worker listens
    /// for itself there is none but in a worker: what is asked of another one means nothing.
    pub fn port_socket(&self, index: usize) -> Result<RawFd> {
        let of = |listener: &Listener, opens_own: bool| match opens_own && !listener.is_open_here()
        {
            true => None,
            false => Some(listener.as_raw_fd()),
        };
        let running = self.look(|runtime| {
            let port = runtime.ports.get(index)?;
            Some(of(&port.listener, runtime.settings.opens_own_listeners))
        });
        let found = running.flatten().or_else(|| {
            let setup = self.setup.lock();
            let port = setup.ports.get(index)?;
            Some(of(&port.listener, setup.settings.in_force().opens_own_listeners))
        });
        let refused = |text| Error::new(code::WRONG_OPERATION, text);
        match found {
            Some(Some(descriptor)) => Ok(descriptor),
            Some(None) => Err(refused("each worker opens this listener for itself, ask in one")),
            None if index < self.port_count() => {
                Err(refused("the server has ended and listens no more"))
            }
            None => Err(no_port(index)),
        }
    }

    /// Takes a setting of a port as text. A name that no port has does nothing.
    pub fn port_set(&self, index: usize, name: &str, value: &[u8]) -> Result<()> {
        self.set_port(index, name, |settings| settings.set_bytes(name, value))
    }

    /// Takes a setting of a port as a number. A name that no port has does nothing.
    pub fn port_set_int(&self, index: usize, name: &str, value: i64) -> Result<()> {
        self.set_port(index, name, |settings| settings.set_int(name, value))
    }

    fn set_port(
        &self,
        index: usize,
        name: &str,
        act: impl FnOnce(&mut Settings) -> Result<bool>,
    ) -> Result<()> {
        self.configure(|setup| {
            // What only a server has does nothing here, but the port was set.
            let is_known = match Settings::is_server_wide(name) {
                true => setup.set_of_port(index, |_| Ok(true))?,
                false => setup.set_of_port(index, act)?,
            };
            if !is_known {
                warn_unknown(name);
            }
            setup.settle_addresses()
        })
    }

    /// Takes a JSON object of settings of a port, all or none.
    pub fn port_set_json(&self, index: usize, json: &[u8]) -> Result<()> {
        self.configure(|setup| {
            let unknown = setup.set_of_port(index, |settings| settings.set_json_of_port(json))?;
            unknown.iter().for_each(|name| warn_unknown(name));
            setup.settle_addresses()
        })
    }

    /// Has a function tell the lengths of the messages on a port, in place of an earlier one.
    pub fn port_set_length_fn(&self, index: usize, length_fn: Arc<LengthFn>) -> Result<()> {
        self.configure(|setup| {
            setup.set_of_port(index, |settings| {
                settings.set_length_fn(length_fn);
                Ok(())
            })
        })
    }

    /// Registers a callback of a port, in place of an earlier one.
    pub fn port_on(&self, index: usize, event: &str, hook: Hook) -> Result<EventKind> {
        self.configure(|setup| {
            let kind = event_of(event)?;
            if !kind.is_per_port() {
                let text = format!("{event:?} is an event of the server, see sw_server_on");
                return Err(Error::new(code::INVALID_PARAMS, text));
            }
            let port = setup.ports.get_mut(index).ok_or_else(|| no_port(index))?;
            port.hooks.set(kind, hook);
            Ok(kind)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_60000_ports_at_most() {
        assert!(check_room(59_999).is_ok());
        let refused = check_room(60_000).unwrap_err();
        assert_eq!(refused.code(), code::SERVER_TOO_MANY_LISTEN_PORT);
    }
}
