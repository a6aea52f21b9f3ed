//! WebSocket frames: each whole message unmasked, fragments put together.

pub(super) mod handshake;

use std::borrow::Cow;
use std::sync::Arc;

use crate::error::code;
use crate::proto::framer::{Answer, Body, Frame, Framer, Message, Verdict};
use crate::proto::settings::FramerSettings;

/// What the flags of a message say.
pub mod flag {
    /// The message is whole.
    pub const FIN: u8 = 1;
    /// The first bit of an extension: the payload is compressed.
    pub const RSV1: u8 = 4;
    /// The second bit of an extension.
    pub const RSV2: u8 = 8;
    /// The third bit of an extension.
    pub const RSV3: u8 = 16;
    /// The payload came masked.
    pub const MASK: u8 = 32;
}

/// The kinds of frames.
pub mod opcode {
    /// Goes on with a message.
    pub const CONTINUATION: u8 = 0;
    /// Text.
    pub const TEXT: u8 = 1;
    /// Bytes.
    pub const BINARY: u8 = 2;
    /// The sender ends.
    pub const CLOSE: u8 = 8;
    /// Asks for a pong.
    pub const PING: u8 = 9;
    /// Answers a ping.
    pub const PONG: u8 = 10;
}

/// The most bytes that a control frame carries.
const CONTROL_BYTES: u64 = 125;

/// The framer of an upgraded connection.
#[derive(Debug)]
pub struct WebSocket {
    settings: Arc<FramerSettings>,
    /// A message whose last fragment has not come.
    open: Option<Box<Fragments>>,
    ending: Ending,
}

#[derive(Debug)]
struct Fragments {
    frame: Frame,
    bytes: Vec<u8>,
}

/// How far the end of the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Nobody has sent a close frame.
    No,
    /// The server has sent one.
    Sent,
    /// That of the peer is to be echoed and stands in the unread bytes still.
    Echoed,
    /// All is said.
    Over,
}

/// The head of one frame.
struct Head {
    frame: Frame,
    mask: [u8; 4],
    start: usize,
    end: usize,
}

impl WebSocket {
    pub(super) fn new(settings: Arc<FramerSettings>) -> Self {
        Self { settings, open: None, ending: Ending::No }
    }

    /// The server has sent a close frame.
    pub(super) fn close_sent(&mut self) {
        if self.ending == Ending::No {
            self.ending = Ending::Sent;
        }
    }

    fn head(&self, unread: &[u8]) -> Result<Head, Verdict> {
        let &[first, second, ..] = unread else { return Err(Verdict::More { until: 2 }) };
        let frame = Frame { opcode: first & 15, flags: flags(first, second) };
        let short = u64::from(second & 127);
        self.check(frame, short)?;
        let (start, payload) = match short {
            126 => match unread.get(2..4) {
                Some(&[a, b]) => (4, u64::from(u16::from_be_bytes([a, b]))),
                Some(_) | None => return Err(Verdict::More { until: 4 }),
            },
            127 => match unread.get(2..10).and_then(|bytes| bytes.try_into().ok()) {
                Some(bytes) => (10, u64::from_be_bytes(bytes)),
                None => return Err(Verdict::More { until: 10 }),
            },
            _ => (2, short),
        };
        if payload > i64::MAX as u64 {
            return Err(malformed(2, "the highest bit of the length is set"));
        }
        let is_masked = frame.flags & flag::MASK != 0;
        let (mask_start, start) = (start, if is_masked { start + 4 } else { start });
        self.check_size(frame, start as u64 + payload, payload)?;
        let end = start + payload as usize;
        if unread.len() < end {
            return Err(Verdict::More { until: end });
        }
        // Without a mask this is empty and no key.
        let mask = unread.get(mask_start..start).and_then(|bytes| bytes.try_into().ok());
        let mask = mask.unwrap_or_default();
        Ok(Head { frame, mask, start, end })
    }

    /// What can be wrong with the first two bytes.
    fn check(&self, frame: Frame, short: u64) -> Result<(), Verdict> {
        let is_final = frame.flags & flag::FIN != 0;
        match frame.opcode {
            opcode::CLOSE..=opcode::PONG if !is_final => {
                Err(malformed(0, "a control frame in fragments"))
            }
            opcode::CLOSE..=opcode::PONG if short > CONTROL_BYTES => {
                Err(malformed(1, "a control frame of more than 125 bytes"))
            }
            opcode::CONTINUATION if self.open.is_none() => {
                Err(malformed(0, "a continuation of nothing"))
            }
            opcode::TEXT | opcode::BINARY if self.open.is_some() => {
                Err(malformed(0, "a new message before the last fragment of another"))
            }
            _ => Ok(()),
        }
    }

    fn check_size(&self, frame: Frame, whole: u64, payload: u64) -> Result<(), Verdict> {
        let limit = self.settings.max_length;
        let before = match (&self.open, frame.opcode) {
            (Some(open), opcode::CONTINUATION) => open.bytes.len() as u64,
            (Some(_) | None, _) => 0,
        };
        let most = whole.max(payload + before);
        if most > limit as u64 {
            return Err(Verdict::too_large(limit, 1, most));
        }
        Ok(())
    }

    /// A frame of a message in fragments, the last or not. The bytes are copied as they come: a
    /// peer that announces much and sends little costs little.
    fn fragment(&mut self, head: &Head, payload: &[u8]) -> Verdict {
        let fresh = || Box::new(Fragments { frame: head.frame, bytes: Vec::new() });
        let mut open = self.open.take().unwrap_or_else(fresh);
        open.bytes.extend_from_slice(payload);
        if head.frame.flags & flag::FIN == 0 {
            self.open = Some(open);
            return Verdict::Skip { used: head.end, warning: None };
        }
        let frame = Frame { flags: open.frame.flags | flag::FIN, ..open.frame };
        Verdict::Message(Message { used: head.end, body: Body::Assembled(open.bytes), frame })
    }

    /// The peer ends: first the echo, then the message, then the end.
    fn close(&mut self, head: &Head, unread: &mut [u8]) -> Verdict {
        match self.ending {
            Ending::No => {
                self.ending = Ending::Echoed;
                let mut bytes = vec![0x80 | opcode::CLOSE, (head.end - head.start) as u8];
                bytes.extend_from_slice(unread.get(head.start..head.end).unwrap_or_default());
                mask(bytes.get_mut(2..).unwrap_or_default(), head.mask);
                Verdict::Answer(Answer { used: 0, bytes: Cow::Owned(bytes), is_upgrade: false })
            }
            Ending::Echoed => {
                self.ending = Ending::Over;
                message(head, unread)
            }
            Ending::Sent | Ending::Over => {
                self.ending = Ending::Over;
                Verdict::End
            }
        }
    }
}

/// Whether these bytes, which a server sends, are a whole close frame.
pub(super) fn is_close_frame(bytes: &[u8]) -> bool {
    match bytes {
        [first, length, payload @ ..] => {
            *first == 0x80 | opcode::CLOSE && usize::from(*length) == payload.len()
        }
        _ => false,
    }
}

fn message(head: &Head, unread: &mut [u8]) -> Verdict {
    mask(unread.get_mut(head.start..head.end).unwrap_or_default(), head.mask);
    let body = Body::Unread(head.start..head.end);
    Verdict::Message(Message { used: head.end, body, frame: head.frame })
}

/// The flags in the first two bytes of a frame.
fn flags(first: u8, second: u8) -> u8 {
    let bits = [
        (first & 0x80, flag::FIN),
        (first & 0x40, flag::RSV1),
        (first & 0x20, flag::RSV2),
        (first & 0x10, flag::RSV3),
        (second & 0x80, flag::MASK),
    ];
    bits.iter().filter(|(bit, _)| *bit != 0).fold(0, |flags, (_, flag)| flags | flag)
}

/// Masks or unmasks, eight bytes at once where there are so many.
fn mask(bytes: &mut [u8], key: [u8; 4]) {
    if key == [0; 4] {
        return;
    }
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(word) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
        }
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cold]
fn malformed(offset: usize, what: &'static str) -> Verdict {
    Verdict::broken(code::PACKAGE_MALFORMED_DATA, offset, what)
}

impl Framer for WebSocket {
    fn next(&mut self, unread: &mut [u8]) -> Verdict {
        if self.ending == Ending::Over {
            return Verdict::End;
        }
        let head = match self.head(unread) {
            Ok(head) => head,
            Err(verdict) => return verdict,
        };
        let is_final = head.frame.flags & flag::FIN != 0;
        match head.frame.opcode {
            opcode::TEXT | opcode::BINARY if is_final => message(&head, unread),
            opcode::PING | opcode::PONG => message(&head, unread),
            opcode::CLOSE => self.close(&head, unread),
            opcode::CONTINUATION | opcode::TEXT | opcode::BINARY => {
                let payload = unread.get_mut(head.start..head.end).unwrap_or_default();
                mask(payload, head.mask);
                self.fragment(&head, payload)
            }
            _ => Verdict::Skip { used: head.end, warning: Some("a frame of an unknown opcode") },
        }
    }
}
