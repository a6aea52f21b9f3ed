//! The framer: what a protocol answers about the unread bytes of one connection.
//!
//! Whoever owns the connection keeps its unread bytes and asks [`Framer::next`] about them, again
//! after each verdict except `More`, `Broken` and `End`, and again when more has arrived. Between
//! two questions bytes go from the front, as many as the last verdict has used, and come at the
//! end; nothing else changes. What has become a message is said once: who cannot hand it over now
//! keeps it. A framer remembers how far it has looked, so no byte is searched twice. It allocates
//! nothing for a length that a peer has only announced.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

use crate::error::code;
use crate::proto::eof::Eof;
use crate::proto::http::Http;
use crate::proto::length::{Length, LengthByFn};
use crate::proto::mqtt::Mqtt;
use crate::proto::raw::Raw;
use crate::proto::redis::Redis;
use crate::proto::settings::{FramerSettings, Protocol};
use crate::proto::websocket::{is_close_frame, WebSocket};

/// How many of the first bytes the line of a violation shows.
const SHOWN_BYTES: usize = 16;

/// The least room for a read while the rest of a message is not known to be smaller.
const READ_BYTES: usize = 64 * 1024;

/// What a framer found at the front of the unread bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A message.
    Message(Message),
    /// Bytes that mean nothing by themselves.
    Skip {
        /// How many.
        used: usize,
        /// What is odd about them.
        warning: Option<&'static str>,
    },
    /// Nothing can be said before the unread bytes are so many. Reading beyond is allowed, asking
    /// earlier too. Where the length of the message is known, that is it.
    More {
        /// Bytes from the front, more than there are.
        until: usize,
    },
    /// The peer is to be told something at once.
    Answer(Answer),
    /// The bytes break the protocol: the peer is told its farewell and the connection closed.
    Broken(Box<Violation>),
    /// The peer has taken its leave: the connection is to be closed when all output has gone.
    End,
}

impl Verdict {
    /// A message that is the first `count` unread bytes.
    #[inline]
    pub(super) fn message(count: usize) -> Self {
        let body = Body::Unread(0..count);
        Verdict::Message(Message { used: count, body, frame: Frame::default() })
    }

    /// A violation of which the peer is told nothing.
    #[cold]
    pub(super) fn broken(code: i32, offset: usize, what: impl Into<Cow<'static, str>>) -> Self {
        Verdict::Broken(Box::new(Violation { code, offset, what: what.into(), farewell: b"" }))
    }

    /// A message of `length` bytes where `limit` are allowed.
    #[cold]
    pub(super) fn too_large(limit: usize, offset: usize, length: u64) -> Self {
        let what = format!("a message of {length} bytes, package_max_length is {limit}");
        Verdict::broken(code::PACKAGE_LENGTH_TOO_LARGE, offset, what)
    }
}

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// How many unread bytes it took, with all that belongs to it.
    pub used: usize,
    /// Where its bytes are.
    pub body: Body,
    /// What a WebSocket frame says besides.
    pub frame: Frame,
}

impl Message {
    /// Its bytes, given the unread ones.
    #[inline]
    pub fn bytes<'a>(&'a self, unread: &'a [u8]) -> &'a [u8] {
        match &self.body {
            Body::Unread(range) => unread.get(range.clone()).unwrap_or_default(),
            Body::Assembled(bytes) => bytes,
        }
    }
}

/// Where the bytes of a message are.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// Among the unread bytes.
    Unread(Range<usize>),
    /// Put together from several frames.
    Assembled(Vec<u8>),
}

/// The head of a WebSocket message; of another message all is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// 1 text, 2 binary, 8 close, 9 ping, 10 pong.
    pub opcode: u8,
    /// The bits of [`crate::proto::websocket::flag`].
    pub flags: u8,
}

impl Frame {
    /// All of it in one number.
    #[inline]
    pub fn to_bits(self) -> u16 {
        u16::from_le_bytes([self.opcode, self.flags])
    }

    /// What that number was made of.
    #[inline]
    pub fn from_bits(bits: u16) -> Self {
        let [opcode, flags] = bits.to_le_bytes();
        Self { opcode, flags }
    }
}

/// What the peer is told at once.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// How many unread bytes it answers and takes away.
    pub used: usize,
    /// What is to be sent.
    pub bytes: Cow<'static, [u8]>,
    /// With this the connection has become a WebSocket connection.
    pub is_upgrade: bool,
}

/// How a peer has broken the protocol.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    /// The number of the error, see [`crate::error::code`].
    pub code: i32,
    /// Where in the unread bytes it stands.
    pub offset: usize,
    /// What is wrong.
    pub what: Cow<'static, str>,
    /// What the peer is told before the connection is closed.
    pub farewell: &'static [u8],
}

impl Violation {
    /// The one line for the log: peer, framer, offset, the first bytes in hex and what is wrong.
    pub fn line(&self, peer: &str, framer: &str, unread: &[u8]) -> String {
        let mut line = format!("{peer} broke {framer} framing at offset {}", self.offset);
        line.push_str(if unread.is_empty() { "" } else { ", first bytes" });
        for byte in unread.iter().take(SHOWN_BYTES) {
            // Writing to a text cannot fail.
            let _ = write!(line, " {byte:02x}");
        }
        line.push_str(if unread.len() > SHOWN_BYTES { " ...: " } else { ": " });
        line.push_str(&self.what);
        line
    }
}

/// A protocol, with the state of one connection.
pub trait Framer {
    /// Looks at the unread bytes. They may be changed: a payload is unmasked in place when it is
    /// reported, once.
    fn next(&mut self, unread: &mut [u8]) -> Verdict;
}

/// The framer of a connection, chosen by the settings of its port.
#[derive(Debug)]
pub enum Choice {
    /// Whatever arrives is a message.
    Raw(Raw),
    /// A mark ends a message.
    Eof(Eof),
    /// A field tells the length.
    Length(Length),
    /// A function of the program tells the length.
    LengthByFn(LengthByFn),
    /// HTTP/1.
    Http(Http),
    /// What an upgrade has made of it.
    WebSocket(WebSocket),
    /// MQTT.
    Mqtt(Mqtt),
    /// Redis.
    Redis(Redis),
}

impl Default for Choice {
    fn default() -> Self {
        Choice::Raw(Raw)
    }
}

impl Choice {
    /// The framer of a new connection.
    pub fn new(settings: &Arc<FramerSettings>) -> Self {
        let shared = || Arc::clone(settings);
        match settings.protocol() {
            Protocol::Raw => Choice::Raw(Raw),
            Protocol::Eof => Choice::Eof(Eof::new(shared())),
            Protocol::Length => Choice::Length(Length::new(shared())),
            Protocol::LengthFn => Choice::LengthByFn(LengthByFn::new(shared())),
            Protocol::Http => Choice::Http(Http::new(shared())),
            Protocol::Mqtt => Choice::Mqtt(Mqtt::new(shared())),
            Protocol::Redis => Choice::Redis(Redis::new(shared())),
        }
    }

    /// Its name in the log.
    pub fn name(&self) -> &'static str {
        match self {
            Choice::Raw(_) => "raw",
            Choice::Eof(_) => "eof",
            Choice::Length(_) | Choice::LengthByFn(_) => "length",
            Choice::Http(_) => "http",
            Choice::WebSocket(_) => "websocket",
            Choice::Mqtt(_) => "mqtt",
            Choice::Redis(_) => "redis",
        }
    }

    /// Whether any bytes are a message, so that they can be read straight to where they go.
    #[inline]
    pub fn takes_anything(&self) -> bool {
        matches!(self, Choice::Raw(_))
    }

    /// Whether asking runs a function of the program: nothing of a unit may be borrowed then.
    #[inline]
    pub fn calls_program(&self) -> bool {
        matches!(self, Choice::LengthByFn(_))
    }

    /// The program has sent these bytes. Whether they are a close frame: that of the peer then ends
    /// the connection without an echo.
    pub fn note_sent(&mut self, bytes: &[u8]) -> bool {
        match self {
            Choice::WebSocket(framer) if is_close_frame(bytes) => {
                framer.close_sent();
                true
            }
            _ => false,
        }
    }
}

impl Framer for Choice {
    #[inline]
    fn next(&mut self, unread: &mut [u8]) -> Verdict {
        match self {
            Choice::Raw(framer) => framer.next(unread),
            Choice::Eof(framer) => framer.next(unread),
            Choice::Length(framer) => framer.next(unread),
            Choice::LengthByFn(framer) => framer.next(unread),
            Choice::Http(framer) => {
                let verdict = framer.next(unread);
                if let Some(upgraded) = framer.take_upgraded() {
                    *self = Choice::WebSocket(upgraded);
                }
                verdict
            }
            Choice::WebSocket(framer) => framer.next(unread),
            Choice::Mqtt(framer) => framer.next(unread),
            Choice::Redis(framer) => framer.next(unread),
        }
    }
}

/// How much room the next read should have where `buffered` bytes are unread and nothing can be
/// said before they are `until`: never more than the message lacks once that is more than a usual
/// read, and no more than doubles what has arrived, so that an announced length costs no memory.
pub fn room_to_read(buffered: usize, until: usize) -> usize {
    let missing = until.saturating_sub(buffered);
    if missing <= READ_BYTES {
        return READ_BYTES;
    }
    missing.min(buffered.max(READ_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_framer_is_small() {
        assert!(std::mem::size_of::<Choice>() <= 40, "{}", std::mem::size_of::<Choice>());
        assert!(std::mem::size_of::<Verdict>() <= 56, "{}", std::mem::size_of::<Verdict>());
    }

    #[test]
    fn the_first_protocol_of_the_order_is_spoken() {
        let all = FramerSettings {
            open_eof_check: true,
            open_length_check: true,
            length_fn: Some(Arc::new(|_| 0)),
            open_websocket: true,
            open_mqtt: true,
            open_redis: true,
            ..FramerSettings::default()
        };
        let name = |settings: &FramerSettings| {
            let framer = Choice::new(&Arc::new(settings.clone()));
            (framer.name(), settings.name())
        };
        let mut rest = all;
        assert_eq!(name(&rest), ("eof", "eof"));
        (rest.open_eof_check, rest.open_eof_split) = (false, true);
        assert_eq!(name(&rest), ("eof", "eof"));
        rest.open_eof_split = false;
        assert!(Choice::new(&Arc::new(rest.clone())).calls_program());
        assert_eq!(name(&rest), ("length", "length"));
        rest.length_fn = None;
        assert!(!Choice::new(&Arc::new(rest.clone())).calls_program());
        assert_eq!(name(&rest), ("length", "length"));
        rest.open_length_check = false;
        assert_eq!(name(&rest), ("http", "http|websocket"));
        (rest.open_http, rest.open_websocket) = (true, false);
        assert_eq!(name(&rest), ("http", "http"));
        rest.open_http = false;
        assert_eq!(name(&rest), ("mqtt", "mqtt"));
        rest.open_mqtt = false;
        assert_eq!(name(&rest), ("redis", "redis"));
        rest.open_redis = false;
        assert_eq!(name(&rest), ("raw", "raw"));
    }

    #[test]
    fn the_line_of_a_violation_says_all_that_is_known() {
        let what = "a sign is missing".into();
        let violation = Violation { code: 1204, offset: 3, what, farewell: b"" };
        assert_eq!(
            violation.line("127.0.0.1:1", "mqtt", &[0, 255]),
            "127.0.0.1:1 broke mqtt framing at offset 3, first bytes 00 ff: a sign is missing"
        );
        let long = violation.line("p", "f", &[7; 17]);
        assert_eq!(long.matches(" 07").count(), 16);
        assert!(long.contains(" 07 ...: a sign"), "{long}");
        assert!(violation.line("p", "f", &[]).ends_with("offset 3: a sign is missing"));
    }

    #[test]
    fn room_grows_with_what_has_arrived_and_ends_where_a_large_message_ends() {
        let huge = usize::MAX;
        assert_eq!(room_to_read(0, 1), READ_BYTES);
        assert_eq!(room_to_read(0, huge), READ_BYTES);
        assert_eq!(room_to_read(READ_BYTES * 4, huge), READ_BYTES * 4);
        let near_end = READ_BYTES * 5 + 7;
        assert_eq!(room_to_read(READ_BYTES * 4, near_end), READ_BYTES + 7);
    }
}
