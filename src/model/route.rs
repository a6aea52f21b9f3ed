//! Route: from a session id to its record, and what an id that is not open means.

use std::sync::atomic::Ordering;

use crate::error::{code, Error, Result};
use crate::model::connection::{Connection, Former, BY_SERVER, DONE, NOTIFIED, UNFINISHED};
use crate::model::{SessionId, UnitId};
use crate::shm::Table;

/// What a session id stands for at this moment.
#[derive(Clone, Copy, Debug)]
pub enum Session<'a> {
    /// A live connection.
    Open(&'a Connection),
    /// Its close callback runs.
    Closing(&'a Connection),
    /// It is closed; the record may be held while output is still being sent.
    Closed(Former, Option<&'a Connection>),
    /// Never given out, long gone, or still in its handshake.
    Unknown,
    /// Zero or negative.
    Invalid,
}

/// Looks `session` up: one index and one compare.
#[inline]
pub fn find(connections: &Table<Connection>, session: SessionId) -> Session<'_> {
    if session.0 <= 0 {
        return Session::Invalid;
    }
    let Some(record) = connections.get(session.0) else {
        let former = connections.peek(session.0).and_then(|record| record.former(session));
        return former.map_or(Session::Unknown, |former| Session::Closed(former, None));
    };
    let closed = record.closed.load(Ordering::Acquire);
    if closed & (NOTIFIED | UNFINISHED) == 0 {
        Session::Open(record)
    } else if closed & UNFINISHED != 0 {
        Session::Unknown
    } else if closed & DONE == 0 {
        Session::Closing(record)
    } else if closed & BY_SERVER != 0 {
        Session::Closed(Former::ClosedByServer, Some(record))
    } else {
        Session::Closed(Former::ClosedByClient, Some(record))
    }
}

/// The unit that owns the connection.
#[inline]
pub fn reactor_of(record: &Connection) -> UnitId {
    UnitId(record.reactor.load(Ordering::Relaxed))
}

impl Session<'_> {
    /// Why nothing can be sent to this session; for one that is open it is an unknown one.
    pub fn refusal(&self, session: SessionId) -> Error {
        let id = session.0;
        match self {
            Session::Invalid => invalid_id(session),
            Session::Closing(_) => {
                Error::new(code::SESSION_CLOSING, format!("connection {id} is being closed"))
            }
            Session::Closed(Former::ClosedByServer, _) => Error::new(
                code::SESSION_CLOSED_BY_SERVER,
                format!("connection {id} was closed by the server"),
            ),
            Session::Closed(Former::ClosedByClient, _) => Error::new(
                code::SESSION_CLOSED_BY_CLIENT,
                format!("connection {id} was closed by the client"),
            ),
            Session::Open(_) | Session::Unknown => not_exist(session),
        }
    }
}

/// The record of a live connection, or why there is none.
#[inline]
pub fn open(connections: &Table<Connection>, session: SessionId) -> Result<&Connection> {
    match find(connections, session) {
        Session::Open(record) => Ok(record),
        other => Err(other.refusal(session)),
    }
}

/// The error for an id that names no connection.
pub fn not_exist(session: SessionId) -> Error {
    Error::new(code::SESSION_NOT_EXIST, format!("there is no connection {}", session.0))
}

/// The error for an id that cannot name one.
pub fn invalid_id(session: SessionId) -> Error {
    let id = session.0;
    Error::new(code::SESSION_INVALID_ID, format!("{id} is no connection id, ids begin at 1"))
}
