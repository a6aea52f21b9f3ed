//! What controls a connection: reading it or not, its user, how long it may be idle.

use std::sync::atomic::Ordering;

use crate::error::{code, Error, Result};
use crate::model::connection::{Connection, Wish};
use crate::model::route::{self, Session};
use crate::model::SessionId;
use crate::os::clock;
use crate::unit::Unit;

use super::connection::{check_visible, close, list, LARGEST_PAGE};
use super::Server;

const NS_PER_S: u64 = 1_000_000_000;

impl Server {
    /// Reads a connection no more until it is resumed.
    pub fn pause(&self, session: SessionId) -> Result<()> {
        self.with_unit(|unit| {
            unit.pause(live(unit, session)?, session);
            Ok(())
        })
    }

    /// Reads a paused connection again.
    pub fn resume(&self, session: SessionId) -> Result<()> {
        self.with_unit(|unit| {
            unit.resume(live(unit, session)?, session);
            Ok(())
        })
    }

    /// Exempts a connection from being closed for being idle, or no longer.
    pub fn protect(&self, session: SessionId, is_protected: bool) -> Result<()> {
        self.with_unit(|unit| match live(unit, session)?.protect(session, is_protected) {
            Wish::Done => Ok(()),
            Wish::Refused | Wish::TooLate => Err(route::not_exist(session)),
        })
    }

    /// Begins to read a connection that waits for that.
    pub fn confirm(&self, session: SessionId) -> Result<()> {
        self.with_unit(|unit| {
            let record = waiting(unit, session)?;
            match record.confirm(session) {
                Wish::Done => {
                    unit.read_confirmed(record, session);
                    Ok(())
                }
                Wish::Refused => {
                    let text = format!("connection {} does not wait to be confirmed", session.0);
                    Err(Error::new(code::WRONG_OPERATION, text))
                }
                // Its end is known by now, and what it was.
                Wish::TooLate => waiting(unit, session).and(Err(route::not_exist(session))),
            }
        })
    }

    /// Binds a connection to a user, once.
    pub fn bind(&self, session: SessionId, uid: i64) -> Result<()> {
        self.with_unit(|unit| {
            let number = checked_uid(uid)?;
            let record = live(unit, session)?;
            match record.bind(session, number) {
                Wish::Done => {
                    unit.note_bound(record, session);
                    Ok(())
                }
                Wish::TooLate => Err(route::not_exist(session)),
                Wish::Refused => {
                    let text = format!("connection {} is bound to a user already", session.0);
                    Err(Error::new(code::WRONG_OPERATION, text))
                }
            }
        })
    }

    /// Tells `found` of each connection whose peer is silent for too long, at most `most` of them,
    /// and closes it if `closes_them`; how many there were.
    pub fn heartbeat(
        &self,
        closes_them: bool,
        most: usize,
        mut found: impl FnMut(usize, SessionId),
    ) -> Result<usize> {
        self.with_unit(|unit| {
            if unit.runtime().settings.heartbeat_check_interval_s == 0 {
                let text = "no heartbeat is configured, see heartbeat_check_interval";
                return Err(Error::new(code::OPERATION_NOT_SUPPORT, text));
            }
            let now_ns = clock::monotonic_ns();
            let mut page = [0_i64; LARGEST_PAGE];
            let (mut count, mut from) = (0, SessionId(0));
            while count < most {
                let wanted = page.get_mut(..LARGEST_PAGE.min(most - count)).unwrap_or_default();
                let listed = list(unit, from, wanted, |record| is_silent(unit, record, now_ns));
                if listed == 0 {
                    break;
                }
                for id in page.iter().take(listed) {
                    from = SessionId(*id);
                    found(count, from);
                    count += 1;
                    if closes_them {
                        close_if_open(unit, from);
                    }
                }
            }
            Ok(count)
        })
    }
}

/// Closes a connection, unless its peer has gone meanwhile.
fn close_if_open(unit: &Unit, session: SessionId) {
    if let Err(error) = close(unit, session, false) {
        log::debug!("{error}");
    }
}

/// The record of an open connection that the caller may see.
fn live(unit: &Unit, session: SessionId) -> Result<&Connection> {
    let connections = &unit.runtime().control.connections;
    let record = route::open(connections, session).map_err(|_| route::not_exist(session))?;
    check_visible(unit, record, session)?;
    Ok(record)
}

/// The record of an open connection, for whoever confirms it.
fn waiting(unit: &Unit, session: SessionId) -> Result<&Connection> {
    let found = route::find(&unit.runtime().control.connections, session);
    let is_of_server = |error: &Error| error.code() == code::SESSION_CLOSED_BY_SERVER;
    match found {
        Session::Open(record) => {
            check_visible(unit, record, session)?;
            Ok(record)
        }
        Session::Invalid | Session::Unknown => Err(found.refusal(session)),
        Session::Closing(_) | Session::Closed(..) => {
            Err(Some(found.refusal(session)).filter(is_of_server).unwrap_or_else(|| {
                let text = format!("connection {} is closed already", session.0);
                Error::new(code::SESSION_CLOSED, text)
            }))
        }
    }
}

/// The users that there can be: 32 bits, signed or unsigned, and not 0.
fn checked_uid(uid: i64) -> Result<u32> {
    let is_in_range = (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(&uid) && uid != 0;
    match is_in_range {
        // A negative number is what it is in two's complement.
        true => Ok(uid as u32),
        false => {
            let text = format!("uid {uid} is 0 or not within -2147483648 to 4294967295");
            Err(Error::new(code::INVALID_PARAMS, text))
        }
    }
}

/// Whether its peer has been silent for as long as the heartbeat of its port allows.
fn is_silent(unit: &Unit, record: &Connection, now_ns: u64) -> bool {
    let Some(port) = unit.runtime().port_of(record) else { return false };
    let limit_ns = port.settings.heartbeat_idle_time_s.saturating_mul(NS_PER_S);
    limit_ns > 0 && !record.is_protected() && is_silent_for(record, limit_ns, now_ns)
}

fn is_silent_for(record: &Connection, limit_ns: u64, now_ns: u64) -> bool {
    now_ns.saturating_sub(record.heard_ns.load(Ordering::Relaxed)) >= limit_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_peer_is_silent_is_no_matter_of_the_wall_clock() {
        let record = Connection::default();
        record.heard_ns.store(1_000, Ordering::Relaxed);
        for wall_ns in [0, 1, u64::MAX] {
            record.last_recv_ns.store(wall_ns, Ordering::Relaxed);
            assert!(!is_silent_for(&record, 100, 1_099));
            assert!(is_silent_for(&record, 100, 1_100));
        }
    }

    #[test]
    fn a_uid_is_32_bits_and_not_0() {
        for (uid, wanted) in [
            (1, Some(1)),
            (-10, Some(4_294_967_286)),
            (-1, Some(u32::MAX)),
            (i64::from(u32::MAX), Some(u32::MAX)),
            (i64::from(i32::MIN), Some(1 << 31)),
            (0, None),
            (1 << 32, None),
            (i64::from(i32::MIN) - 1, None),
            (i64::MAX, None),
            (i64::MIN, None),
        ] {
            let number = checked_uid(uid).map_err(|error| error.code());
            assert_eq!(number, wanted.ok_or(code::INVALID_PARAMS), "uid {uid}");
        }
    }
}
