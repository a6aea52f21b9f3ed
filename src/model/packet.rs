//! A task in a System V queue, where other programs may put tasks, too.
//!
//! The bytes of a message, numbers as the machine has them:
//!
//! ```text
//!  0  u32  0x4b535453
//!  4  u16  flags: 1 if the payload is the path of a file with the bytes of the task
//!  6  u16  the unit that handed it in
//!  8  u32  id
//! 12  u32  bytes of the payload
//! 16  u64  ticket
//! 24  u64  when it was handed in, nanoseconds since 1970
//! 32  u64  which server it was; of another program, or an earlier run, nobody waits for answers
//! 40       payload
//! ```

use super::task::flag;
use crate::ipc::Header;

/// What every packet begins with.
const MAGIC: u32 = 0x4b53_5453;
/// Bytes before the payload.
pub const PACKET_HEADER: usize = 40;

/// A packet that was taken out of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Flags, source, id, ticket and time of the task.
    pub header: Header,
    /// Which server it is of.
    pub server: u64,
    pub payload: &'a [u8],
}

/// Lays a packet into a buffer.
pub fn encode(header: &Header, server: u64, payload: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&MAGIC.to_ne_bytes());
    out.extend_from_slice(&u16::from(header.flags).to_ne_bytes());
    out.extend_from_slice(&header.source.to_ne_bytes());
    out.extend_from_slice(&(header.session as u32).to_ne_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_ne_bytes());
    out.extend_from_slice(&header.extra.to_ne_bytes());
    out.extend_from_slice(&header.time.to_ne_bytes());
    out.extend_from_slice(&server.to_ne_bytes());
    out.extend_from_slice(payload);
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Reads a packet; `None` for bytes that are none.
pub fn decode(bytes: &[u8]) -> Option<Packet<'_>> {
    let payload = bytes.get(PACKET_HEADER..)?;
    if u32::from_ne_bytes(part(bytes, 0)?) != MAGIC {
        return None;
    }
    let size = u32::from_ne_bytes(part(bytes, 12)?);
    if payload.len() as u64 != u64::from(size) {
        return None;
    }
    let header = Header {
        size,
        flags: u8::try_from(u16::from_ne_bytes(part(bytes, 4)?)).ok()?,
        source: u16::from_ne_bytes(part(bytes, 6)?),
        session: i64::from(u32::from_ne_bytes(part(bytes, 8)?)),
        extra: u64::from_ne_bytes(part(bytes, 16)?),
        time: u64::from_ne_bytes(part(bytes, 24)?),
        ..Header::default()
    };
    Some(Packet { header, server: u64::from_ne_bytes(part(bytes, 32)?), payload })
}

impl Packet<'_> {
    /// The header of the task, which can be answered if this server has handed it in.
    pub fn task(&self, own_server: u64) -> Header {
        match self.server == own_server {
            true => self.header,
            false => Header {
                flags: self.header.flags & flag::TEMPORARY_FILE | flag::NONBLOCK | flag::NO_REPLY,
                // No unit has this number.
                source: u16::MAX,
                ..self.header
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header =
        Header { size: 4, kind: 0, flags: 5, source: 3, session: 7, time: 99, extra: 1 << 40 };

    #[test]
    fn a_packet_is_read_back() {
        let mut bytes = Vec::new();
        encode(&HEADER, 11, b"data", &mut bytes);
        let packet = decode(&bytes).unwrap();
        assert_eq!(packet, Packet { header: HEADER, server: 11, payload: b"data" });
        assert_eq!(packet.task(11), HEADER);
        let foreign = packet.task(12);
        assert_eq!(foreign.flags, 1 | flag::NONBLOCK | flag::NO_REPLY);
        assert_eq!(foreign.source, u16::MAX);
    }

    #[test]
    fn bytes_that_are_no_packet_are_refused() {
        let mut bytes = Vec::new();
        encode(&HEADER, 11, b"data", &mut bytes);
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None);
        }
        bytes.push(0);
        assert_eq!(decode(&bytes), None);
        bytes.pop();
        for at in [0, 3, 5, 12] {
            let mut spoiled = bytes.clone();
            spoiled[at] ^= 0x40;
            assert_eq!(decode(&spoiled), None, "byte {at}");
        }
        assert_eq!(decode(&[0; 40]), None);
    }
}
