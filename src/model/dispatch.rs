//! Dispatch: which worker gets what a connection sends.
//!
//! Mode 2, the default: every event of a connection goes to the worker `session id mod worker_num`,
//! and every datagram to the worker that the address of its sender chooses in the same way.
//! Where a reactor is a worker too, it serves its own connections.

use crate::model::plan::Plan;
use crate::model::{SessionId, UnitId};
use crate::os::address::Address;
use crate::os::address_text::AddressText;

/// How the connections of one reactor find their worker; made once, read for each frame.
#[derive(Clone, Debug)]
pub enum Dispatch {
    /// The reactor itself is the worker.
    Own(UnitId),
    /// By session id over these workers; never empty.
    BySession(Vec<UnitId>),
}

impl Dispatch {
    /// The dispatch of the reactor that `unit` is.
    pub fn new(plan: &Plan, unit: UnitId) -> Self {
        match plan.unit(unit) {
            Some(own) if own.worker.is_none() => Dispatch::BySession(plan.workers().to_vec()),
            Some(_) | None => Dispatch::Own(unit),
        }
    }

    /// The worker for an event of `session`.
    #[inline]
    pub fn worker(&self, session: SessionId) -> UnitId {
        match self {
            Dispatch::Own(unit) => *unit,
            Dispatch::BySession(workers) => nth(workers, session.0.unsigned_abs()),
        }
    }

    /// The worker for a datagram of this sender.
    #[inline]
    pub fn worker_for(&self, sender: &Address) -> UnitId {
        match self {
            Dispatch::Own(unit) => *unit,
            Dispatch::BySession(workers) => nth(workers, u64::from(number_of(sender))),
        }
    }
}

#[inline]
fn nth(workers: &[UnitId], number: u64) -> UnitId {
    let index = number as usize % workers.len().max(1);
    workers.get(index).copied().unwrap_or(UnitId::ROOT)
}

/// The number that stands for a sender, in the place of a session id.
fn number_of(sender: &Address) -> u32 {
    match sender {
        Address::V4(address) => u32::from_ne_bytes(address.ip().octets()),
        Address::V6(_) | Address::Unix(_) => crc_32(AddressText::of(sender).as_bytes()),
    }
}

/// The usual one: that of Ethernet and zip.
fn crc_32(bytes: &[u8]) -> u32 {
    let add = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ 0xedb8_8320 & (crc & 1).wrapping_neg()
        })
    };
    !bytes.iter().fold(u32::MAX, add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::address::Family;

    #[test]
    fn a_session_always_finds_the_same_worker() {
        let dispatch = Dispatch::BySession(vec![UnitId(4), UnitId(5), UnitId(6)]);
        assert_eq!(dispatch.worker(SessionId(7)), UnitId(5));
        assert_eq!(dispatch.worker(SessionId(7)), UnitId(5));
        assert_eq!(dispatch.worker(SessionId(i64::MAX)), dispatch.worker(SessionId(i64::MAX)));
        assert_eq!(Dispatch::Own(UnitId(1)).worker(SessionId(9)), UnitId(1));
    }

    #[test]
    fn a_sender_finds_its_worker_by_its_address_alone() {
        let workers: Vec<UnitId> = (10..17).map(UnitId).collect();
        let dispatch = Dispatch::BySession(workers);
        let number = u32::from_ne_bytes([192, 168, 1, 77]);
        for port in [1, 2] {
            let sender = Address::parse(Family::V4, "192.168.1.77", port).unwrap();
            assert_eq!(dispatch.worker_for(&sender), UnitId(10 + (number % 7) as u16));
            assert_eq!(Dispatch::Own(UnitId(1)).worker_for(&sender), UnitId(1));
        }
        // What others compute of the text.
        assert_eq!(crc_32(b"123456789"), 0xcbf4_3926);
        let sender = Address::parse(Family::V6, "::1", 5).unwrap();
        assert_eq!(dispatch.worker_for(&sender), UnitId(10 + (crc_32(b"::1") % 7) as u16));
        let sender = Address::parse(Family::Unix, "/a", 5).unwrap();
        assert_eq!(dispatch.worker_for(&sender), UnitId(10 + (crc_32(b"/a") % 7) as u16));
        assert_eq!(dispatch.worker_for(&Address::UNNAMED), UnitId(10));
    }
}
