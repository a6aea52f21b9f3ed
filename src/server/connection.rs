//! Connections: close, look up, list.

use std::sync::atomic::Ordering;

use crate::error::{code, Error, Result};
use crate::model::connection::{Connection, Upgrade};
use crate::model::dispatch::Dispatch;
use crate::model::route::{self, Session};
use crate::model::{SessionId, WorkerId};
use crate::unit::Unit;

use super::Server;

/// The most ids that one call lists.
pub const LARGEST_PAGE: usize = 100;

/// What is known of a connection.
#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    /// Port number of the listener, 0 for unix sockets.
    pub server_port: i32,
    /// Descriptor of the listener.
    pub server_fd: i32,
    /// Descriptor of the connection in the process that owns it.
    pub socket_fd: i32,
    /// The number of the socket type.
    pub socket_type: i32,
    /// Port of the peer.
    pub remote_port: i32,
    /// Address of the peer, or its path.
    pub remote_ip: String,
    /// The reactor that owns it.
    pub reactor_number: i32,
    /// Nanoseconds of wall-clock time; 0 for what has not happened.
    pub connect_ns: u64,
    /// See above.
    pub last_recv_ns: u64,
    /// See above.
    pub last_send_ns: u64,
    /// See above.
    pub last_dispatch_ns: u64,
    /// `errno` of an abnormal end.
    pub close_errno: i32,
    /// Bytes that were received and that the worker has not taken.
    pub recv_queued_bytes: u64,
    /// Bytes that wait for the peer, of memory and of files.
    pub send_queued_bytes: u64,
    /// Whom it is bound to; 0 for nobody, where that makes a difference to dispatching.
    pub uid: Option<u32>,
    /// The worker that was chosen for its life, by what the workers had to do.
    pub worker: Option<WorkerId>,
    /// How far it has become a WebSocket connection.
    pub upgrade: Upgrade,
}

impl Server {
    /// Closes a connection: after what is queued, or at once with `is_reset`.
    pub fn close(&self, session: SessionId, is_reset: bool) -> Result<()> {
        self.with_unit(|unit| close(unit, session, is_reset))
    }

    /// Whether the connection is open, as far as the caller may see it.
    pub fn exist(&self, session: SessionId) -> Result<()> {
        self.with_unit(|unit| {
            let connections = &unit.runtime().control.connections;
            let record =
                route::open(connections, session).map_err(|_| route::not_exist(session))?;
            check_visible(unit, record, session)
        })
    }

    /// What is known of a connection; of a closed one only in its close callback, or while its
    /// record is held and `ignore_closed` is set.
    pub fn client_info(&self, session: SessionId, ignore_closed: bool) -> Result<ClientInfo> {
        self.with_unit(|unit| {
            let connections = &unit.runtime().control.connections;
            let record = match route::find(connections, session) {
                Session::Open(record) => record,
                // Its own close callback runs in the worker that it is bound to.
                Session::Closing(record) if ignore_closed || unit.is_bound(record, session) => {
                    record
                }
                Session::Closed(_, Some(record)) if ignore_closed => record,
                Session::Invalid => return Err(route::invalid_id(session)),
                Session::Closing(_) | Session::Closed(..) | Session::Unknown => {
                    return Err(route::not_exist(session));
                }
            };
            check_visible(unit, record, session)?;
            let info = info_of(unit, record, session);
            // The slot may have been given to another connection while it was read.
            let is_held = connections.contains(session.0);
            is_held.then_some(info).ok_or_else(|| route::not_exist(session))
        })
    }

    /// The certificate that the peer of a connection has shown, as PEM, where its connect callback
    /// has run.
    pub fn client_certificate(&self, session: SessionId) -> Result<Vec<u8>> {
        self.with_unit(|unit| {
            unit.certificate_of(session).ok_or_else(|| {
                let text = format!("no certificate of connection {} is known here", session.0);
                Error::new(code::SSL_EMPTY_PEER_CERTIFICATE, text)
            })
        })
    }

    /// Fills `ids` with open connections above `start`, ascending; how many there were.
    pub fn client_list(&self, start: SessionId, ids: &mut [i64]) -> Result<usize> {
        self.with_unit(|unit| list_from(unit, start, ids, |_| true))
    }

    /// As [`Server::client_list`], of one port.
    pub fn port_client_list(
        &self,
        port: usize,
        start: SessionId,
        ids: &mut [i64],
    ) -> Result<usize> {
        self.with_unit(|unit| list_from(unit, start, ids, |record| record.port() == port))
    }
}

pub(super) fn close(unit: &Unit, session: SessionId, is_reset: bool) -> Result<()> {
    match route::find(&unit.runtime().control.connections, session) {
        Session::Open(record) if unit.closes_later(record, session, is_reset)? => {}
        Session::Open(record) => unit.close(record, session, is_reset),
        // Its output is still on the way, and is not wanted any more.
        Session::Closed(_, Some(record)) if is_reset => unit.cut(record, session),
        Session::Closed(..) => {
            let text = format!("connection {} is closed already", session.0);
            return Err(Error::new(code::SESSION_CLOSED, text));
        }
        other => {
            let error = other.refusal(session);
            if error.code() == code::SESSION_CLOSING {
                crate::notice!("close in the close callback of connection {}", session.0);
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Where records are private, only the owner sees one.
pub(super) fn check_visible(unit: &Unit, record: &Connection, session: SessionId) -> Result<()> {
    let is_private = unit.runtime().plan.is_record_private();
    if is_private && route::reactor_of(record) != unit.plan().id {
        return Err(route::not_exist(session));
    }
    Ok(())
}

fn info_of(unit: &Unit, record: &Connection, session: SessionId) -> ClientInfo {
    use std::os::fd::AsRawFd;

    let listener = unit.runtime().port_of(record).map(|port| &port.listener);
    let peer = record.peer();
    let is_by_uid = unit.runtime().dispatch_of(record).is_some_and(Dispatch::is_by_uid);
    ClientInfo {
        server_port: listener.map_or(0, |listener| i32::from(listener.port())),
        server_fd: listener.map_or(-1, |listener| listener.as_raw_fd()),
        socket_fd: record.descriptor.load(Ordering::Relaxed),
        socket_type: listener.map_or(0, |listener| super::port::number_of(listener.kind())),
        remote_port: peer.as_ref().map_or(0, |peer| i32::from(peer.port())),
        remote_ip: peer.map(|peer| peer.host()).unwrap_or_default(),
        reactor_number: record.reactor_number.load(Ordering::Relaxed),
        connect_ns: record.connect_ns.load(Ordering::Relaxed),
        last_recv_ns: record.last_recv_ns.load(Ordering::Relaxed),
        last_send_ns: record.last_send_ns.load(Ordering::Relaxed),
        last_dispatch_ns: record.last_dispatch_ns.load(Ordering::Relaxed),
        close_errno: record.close_errno.load(Ordering::Relaxed),
        recv_queued_bytes: record.undelivered_bytes(),
        send_queued_bytes: record
            .queued_bytes
            .load(Ordering::Relaxed)
            .saturating_add(record.queued_file_bytes.load(Ordering::Relaxed)),
        uid: record.uid(session).or_else(|| is_by_uid.then_some(0)),
        worker: record.worker(),
        upgrade: record.upgrade(),
    }
}

fn list_from(
    unit: &Unit,
    start: SessionId,
    ids: &mut [i64],
    is_wanted: impl Fn(&Connection) -> bool,
) -> Result<usize> {
    if start.0 != 0 {
        let record = route::open(&unit.runtime().control.connections, start);
        let record = record.ok().filter(|record| is_wanted(record));
        check_visible(unit, record.ok_or_else(|| route::not_exist(start))?, start)?;
    }
    Ok(list(unit, start, ids, is_wanted))
}

/// Pages through the table; closed connections, those that are not wanted, and those of others,
/// where they are private, are left out.
pub(super) fn list(
    unit: &Unit,
    start: SessionId,
    ids: &mut [i64],
    is_wanted: impl Fn(&Connection) -> bool,
) -> usize {
    let connections = &unit.runtime().control.connections;
    let last = unit.last_session();
    let mut from = start.0;
    let mut count = 0;
    let mut page = [0_i64; LARGEST_PAGE];
    while count < ids.len() {
        let found = connections.scan(from, last, &mut page);
        for id in page.iter().take(found) {
            from = *id;
            let session = SessionId(*id);
            let is_listed = route::open(connections, session).is_ok_and(|record| {
                is_wanted(record) && check_visible(unit, record, session).is_ok()
            });
            if let (true, Some(place)) = (is_listed, ids.get_mut(count)) {
                *place = *id;
                count += 1;
            }
        }
        if found < page.len() {
            break;
        }
    }
    count
}
