//! Sending to connections: bytes, files, and bytes that are waited for.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{code, Error, Result};
use crate::model::connection::Connection;
use crate::model::hooks::EventKind;
use crate::model::plan::Roles;
use crate::model::route;
use crate::model::SessionId;
use crate::net::file_part::{self, FilePart, Unsendable};
use crate::os::{clock, file};
use crate::unit::later::{Parcel, SentHook};
use crate::unit::Unit;

use super::connection::check_visible;
use super::Server;

/// Files that may wait for one peer.
const MOST_FILES: u32 = 1024;
const NS_PER_MS: u64 = 1_000_000;

impl Server {
    /// Queues `data` for the peer of a connection.
    #[inline]
    pub fn send(&self, session: SessionId, data: &[u8]) -> Result<()> {
        self.with_unit(|unit| send(unit, session, data))
    }

    /// As [`Server::send`]; where that would be refused because too much waits for the peer, the
    /// bytes wait for room, in order, and `done` is told in the end.
    pub fn send_async(&self, session: SessionId, data: &[u8], done: SentHook) -> Result<()> {
        self.with_unit(|unit| send_async(unit, session, data, done))
    }

    /// Queues `length` bytes of a file from `offset` on for the peer of a connection; all that
    /// follow if `length` is 0.
    pub fn send_file(
        &self,
        session: SessionId,
        path: &Path,
        offset: i64,
        length: usize,
    ) -> Result<()> {
        self.with_unit(|unit| send_file(unit, session, path, offset, length as u64))
    }

    /// Sends `data` to the peer of a connection and waits until all of it was written.
    pub fn send_and_wait(&self, session: SessionId, data: &[u8]) -> Result<()> {
        self.with_unit(|unit| send_and_wait(unit, session, data))
    }
}

#[inline]
fn send(unit: &Unit, session: SessionId, data: &[u8]) -> Result<()> {
    check_payload(data)?;
    let settings = &unit.runtime().settings;
    if settings.output_buffer_size.is_some_and(|limit| data.len() as u64 > limit) {
        return Err(too_long(data.len(), settings.output_buffer_size.unwrap_or_default()));
    }
    let record = route::open(&unit.runtime().control.connections, session)?;
    let limit = unit.runtime().port_of(record).map_or(0, |port| port.settings.socket_buffer_size);
    if unit.waiting_bytes(record, session) >= limit {
        // Whoever tries again and again in one callback gets on.
        unit.push_out(record, session);
        let waiting = unit.waiting_bytes(record, session);
        if waiting >= limit {
            return Err(overflow(unit, record, session, waiting));
        }
    }
    unit.send(record, session, data)?;
    unit.count_send(record.port(), data.len() as u64);
    Ok(())
}

fn send_async(unit: &Unit, session: SessionId, data: &[u8], done: SentHook) -> Result<()> {
    let is_behind = unit.has_later(session);
    match is_behind {
        true => check_payload(data)?,
        false => match send(unit, session, data) {
            Err(error) if error.code() == code::OUTPUT_BUFFER_OVERFLOW => {}
            result => return result.map(|()| unit.tell_sent(done, 0)),
        },
    }
    let record = route::open(&unit.runtime().control.connections, session)?;
    let bytes = data.to_vec();
    let timeout_ms = unit.runtime().settings.send_timeout_ms;
    let parcel = Parcel {
        attempt: Box::new(move |unit| send(unit, session, &bytes)),
        deadline_ns: (timeout_ms > 0)
            .then(|| clock::monotonic_ns().saturating_add(timeout_ms.saturating_mul(NS_PER_MS))),
        done,
    };
    unit.send_later(record, session, parcel);
    Ok(())
}

#[inline]
fn check_payload(data: &[u8]) -> Result<()> {
    match data.is_empty() {
        true => Err(Error::new(code::NO_PAYLOAD, "there are no bytes to send")),
        false => Ok(()),
    }
}

#[cold]
fn too_long(length: usize, limit: u64) -> Error {
    let text = format!("{length} bytes exceed output_buffer_size, which is {limit}");
    log::warn!("{text}");
    Error::new(code::DATA_LENGTH_TOO_LARGE, text)
}

/// Refuses to queue more. If the program wants to know when there is room, it will be told.
#[cold]
fn overflow(unit: &Unit, record: &Connection, session: SessionId, waiting: u64) -> Error {
    let port = unit.runtime().port_of(record);
    if port.is_some_and(|port| {
        port.hooks.has(EventKind::BufferFull) || port.hooks.has(EventKind::BufferEmpty)
    }) {
        unit.note_refused(record, session);
    }
    Error::new(
        code::OUTPUT_BUFFER_OVERFLOW,
        format!("{waiting} bytes wait for the slow peer of connection {}", session.0),
    )
}

fn send_file(unit: &Unit, session: SessionId, path: &Path, offset: i64, length: u64) -> Result<()> {
    let has = |role: Roles| unit.plan().roles.has(role);
    if has(Roles::ROOT) && !has(Roles::WORKER) && !has(Roles::MANAGER) {
        let text = "the master sends no files, call from another process";
        return Err(Error::new(code::SERVER_SEND_IN_MASTER, text));
    }
    let offset = u64::try_from(offset).map_err(|_| {
        Error::new(code::INVALID_PARAMS, format!("offset {offset} of a file is negative"))
    })?;
    let record = route::open(&unit.runtime().control.connections, session)?;
    let part = part_of(path, offset, length)?;
    if unit.waiting_files(record, session) >= MOST_FILES {
        let text = format!("{MOST_FILES} files wait for the peer of connection {}", session.0);
        return Err(Error::new(code::OUTPUT_BUFFER_OVERFLOW, text));
    }
    unit.send_file(record, session, part);
    Ok(())
}

/// The part of a file, if there are such a file and such a part.
fn part_of(path: &Path, offset: u64, length: u64) -> Result<FilePart> {
    // Made absolute, nothing at all would be a folder.
    let is_empty = path.as_os_str().is_empty();
    let absolute = if is_empty { PathBuf::new() } else { file::absolute(path) };
    let size = file_part::size_of(&absolute).map_err(|reason| no_file(path, reason))?;
    if offset >= size {
        let text = format!("offset {offset} is not inside of {path:?}, which has {size} bytes");
        return Err(Error::new(code::SYSTEM_CALL_FAIL, text));
    }
    let length = if length == 0 { size - offset } else { length };
    let part = FilePart::new(&absolute, offset, length);
    part.filter(|_| length <= size - offset).ok_or_else(|| {
        let text = format!("{path:?} has no {length} bytes behind byte {offset}, it has {size}");
        Error::new(code::INVALID_PARAMS, text)
    })
}

fn no_file(path: &Path, reason: Unsendable) -> Error {
    // A path may be longer than a message.
    let path: String = path.to_string_lossy().chars().take(100).collect();
    match reason {
        Unsendable::NotRegular => {
            Error::new(code::SERVER_IS_NOT_REGULAR_FILE, format!("{path:?} is no regular file"))
        }
        Unsendable::PathTooLong => {
            Error::new(code::NAME_TOO_LONG, format!("the path {path:?}... is too long"))
        }
        Unsendable::System(error) => {
            Error::new(code::SYSTEM_CALL_FAIL, format!("{path:?} cannot be read: {error}"))
        }
    }
}

fn send_and_wait(unit: &Unit, session: SessionId, data: &[u8]) -> Result<()> {
    check_payload(data)?;
    if session.0 <= 0 {
        return Err(route::invalid_id(session));
    }
    let has = |role: Roles| unit.plan().roles.has(role);
    if !has(Roles::WORKER) || !has(Roles::REACTOR) {
        let text = "only event workers of the modes SW_BASE and SW_THREAD can wait for a send";
        return Err(Error::new(code::OPERATION_NOT_SUPPORT, text));
    }
    let record = route::open(&unit.runtime().control.connections, session)?;
    check_visible(unit, record, session)?;
    if route::reactor_of(record) != unit.plan().id {
        return Err(route::not_exist(session));
    }
    let timeout_ms = unit.runtime().settings.send_timeout_ms;
    let deadline_ns = (timeout_ms > 0)
        .then(|| clock::monotonic_ns().saturating_add(timeout_ms.saturating_mul(NS_PER_MS)));
    unit.send_and_wait(session, data, deadline_ns).map_err(|errno| {
        let cause = io::Error::from_raw_os_error(errno);
        Error::system(&format!("send {} bytes to connection {}", data.len(), session.0), &cause)
    })
}
