//! What the framers of a port are told: which protocol is spoken on it, and its limits.

use std::fmt;
use std::sync::Arc;

/// Tells the length of the frame at the front of the bytes: above 0 is the length with its header,
/// 0 means that more bytes are needed, below 0 that they are malformed.
pub type LengthFn = dyn Fn(&[u8]) -> i64 + Send + Sync;

/// The framing of a port, made once at start and shared by its connections.
#[derive(Clone)]
pub struct FramerSettings {
    /// The most bytes of one message.
    pub max_length: usize,
    /// Messages end with `package_eof`.
    pub open_eof_check: bool,
    /// Each `package_eof` ends one; alone enough to switch the framing on.
    pub open_eof_split: bool,
    /// 1 to 8 bytes.
    pub package_eof: Vec<u8>,
    /// A length stands in the header of each message.
    pub open_length_check: bool,
    /// How the length is written.
    pub length_type: LengthType,
    /// Where it stands.
    pub length_offset: usize,
    /// What is added to it to have the length of the whole.
    pub body_offset: usize,
    /// Finds the length in place of type and offsets.
    pub length_fn: Option<Arc<LengthFn>>,
    /// HTTP/1 requests.
    pub open_http: bool,
    /// HTTP/1 requests, of which an upgrade makes WebSocket connections.
    pub open_websocket: bool,
    /// The sub-protocol that is agreed to if a client offers it; empty: none.
    pub websocket_subprotocol: Vec<u8>,
    /// MQTT packets.
    pub open_mqtt: bool,
    /// Redis commands.
    pub open_redis: bool,
}

impl Default for FramerSettings {
    fn default() -> Self {
        Self {
            max_length: 2 * 1024 * 1024,
            open_eof_check: false,
            open_eof_split: false,
            package_eof: b"\r\n\r\n".to_vec(),
            open_length_check: false,
            length_type: LengthType::DEFAULT,
            length_offset: 0,
            body_offset: 4,
            length_fn: None,
            open_http: false,
            open_websocket: false,
            websocket_subprotocol: Vec::new(),
            open_mqtt: false,
            open_redis: false,
        }
    }
}

impl FramerSettings {
    /// The protocol of the port: of several the first in this order, none is raw.
    pub fn protocol(&self) -> Protocol {
        if self.open_eof_check || self.open_eof_split {
            Protocol::Eof
        } else if self.open_length_check && self.length_fn.is_some() {
            Protocol::LengthFn
        } else if self.open_length_check {
            Protocol::Length
        } else if self.open_http || self.open_websocket {
            Protocol::Http
        } else if self.open_mqtt {
            Protocol::Mqtt
        } else if self.open_redis {
            Protocol::Redis
        } else {
            Protocol::Raw
        }
    }

    /// The name by which a port says what it speaks.
    pub fn name(&self) -> &'static str {
        match self.protocol() {
            Protocol::Raw => "raw",
            Protocol::Eof => "eof",
            Protocol::Length | Protocol::LengthFn => "length",
            Protocol::Http if self.open_websocket => "http|websocket",
            Protocol::Http => "http",
            Protocol::Mqtt => "mqtt",
            Protocol::Redis => "redis",
        }
    }
}

impl fmt::Debug for FramerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} up to {} bytes", self.name(), self.max_length)
    }
}

/// What can be spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Whatever arrives is a message.
    Raw,
    /// A mark ends a message.
    Eof,
    /// A field tells the length.
    Length,
    /// A function of the program tells the length.
    LengthFn,
    /// HTTP/1, and WebSocket if it is on.
    Http,
    /// MQTT 3 packets.
    Mqtt,
    /// Redis request arrays.
    Redis,
}

/// How a length is written: the letter of `package_length_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthType {
    width: u8,
    is_signed: bool,
    is_big: bool,
}

const NATIVE_IS_BIG: bool = cfg!(target_endian = "big");

/// Letter, bytes, whether it is signed, whether the highest byte comes first.
const LETTERS: &[(u8, u8, bool, bool)] = &[
    (b'c', 1, true, false),
    (b'C', 1, false, false),
    (b's', 2, true, NATIVE_IS_BIG),
    (b'S', 2, false, NATIVE_IS_BIG),
    (b'n', 2, false, true),
    (b'v', 2, false, false),
    (b'l', 4, true, NATIVE_IS_BIG),
    (b'L', 4, false, NATIVE_IS_BIG),
    (b'N', 4, false, true),
    (b'V', 4, false, false),
    (b'q', 8, true, NATIVE_IS_BIG),
    (b'Q', 8, false, NATIVE_IS_BIG),
    (b'J', 8, false, true),
    (b'P', 8, false, false),
];

impl LengthType {
    /// `N`: four bytes, the highest first.
    pub const DEFAULT: Self = Self { width: 4, is_signed: false, is_big: true };

    /// The type of a letter, if there is one.
    pub fn from_letter(letter: u8) -> Option<Self> {
        let row = LETTERS.iter().find(|row| row.0 == letter)?;
        Some(Self { width: row.1, is_signed: row.2, is_big: row.3 })
    }

    /// How many bytes it has.
    #[inline]
    pub fn width(self) -> usize {
        usize::from(self.width)
    }

    /// The value of a field of that width. What does not fit into 63 bits is negative.
    #[inline]
    pub fn decode(self, field: &[u8]) -> i64 {
        let value = match (field, self.is_big) {
            (&[a], _) => u64::from(a),
            (&[a, b], true) => u64::from(u16::from_be_bytes([a, b])),
            (&[a, b], false) => u64::from(u16::from_le_bytes([a, b])),
            (&[a, b, c, d], true) => u64::from(u32::from_be_bytes([a, b, c, d])),
            (&[a, b, c, d], false) => u64::from(u32::from_le_bytes([a, b, c, d])),
            (&[a, b, c, d, e, f, g, h], true) => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            (&[a, b, c, d, e, f, g, h], false) => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            (_, _) => 0,
        };
        let unused = 64 - 8 * u32::from(self.width);
        match self.is_signed {
            true => ((value << unused) as i64) >> unused,
            false => value as i64,
        }
    }
}
