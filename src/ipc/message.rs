//! The one header that every message has, and its form in a ring.
//!
//! A record in a ring is a header of 32 bytes, its payload, and a gap to the next multiple of 32.
//! The first word of a header holds the payload's size and a [`Mark`], which says what the record
//! is to the ring; the rest is the sender's. What comes out of shared memory is checked here.

/// Bytes of a header in a ring, and the unit in which records are laid.
pub const HEADER_BYTES: usize = 32;
/// A record's payload is smaller than this: the bits above hold the mark.
pub const RECORD_LIMIT: usize = 1 << 28;

/// A kind of message with this bit is counted in the lane that it goes through, see `tally.rs`.
pub const TALLIED: u8 = 0x80;

/// What goes before every payload. The ring fills in `size`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the payload.
    pub size: u32,
    /// What the message is; the names are the model's.
    pub kind: u8,
    /// Free for the sender.
    pub flags: u8,
    /// The unit that sent it.
    pub source: u16,
    /// The session that it is about, 0 for none.
    pub session: i64,
    /// When it was sent, or what the sender wants known of time.
    pub time: u64,
    /// Free for the sender.
    pub extra: u64,
}

/// What a record is to the ring that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A message of its own.
    Whole,
    /// Nothing: the next record begins at the start of the ring.
    Padding,
    /// A part of a message that is too large for the ring; its payload begins with a [`Piece`].
    Piece,
    /// The part at the end of such a message.
    LastPiece,
}

impl Mark {
    fn bits(self) -> u32 {
        match self {
            Mark::Whole => 1,
            Mark::Padding => 2,
            Mark::Piece => 3,
            Mark::LastPiece => 4,
        }
    }

    fn from_bits(bits: u32) -> Option<Self> {
        match bits {
            1 => Some(Mark::Whole),
            2 => Some(Mark::Padding),
            3 => Some(Mark::Piece),
            4 => Some(Mark::LastPiece),
            // Zero among them: memory that was never written is no record.
            _ => None,
        }
    }
}

const MARK_SHIFT: u32 = RECORD_LIMIT.trailing_zeros();

/// The bytes that a payload of `size` takes in a ring, header and gap included.
#[inline]
pub fn record_bytes(size: usize) -> usize {
    HEADER_BYTES + size.div_ceil(HEADER_BYTES) * HEADER_BYTES
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let part = bytes.get(at..at + N).and_then(|part| part.try_into().ok());
    part.unwrap_or([0; N])
}

impl Header {
    /// The header as it stands in a ring.
    #[inline]
    pub fn encode(&self, mark: Mark) -> [u8; HEADER_BYTES] {
        debug_assert!((self.size as usize) < RECORD_LIMIT);
        let mut out = [0; HEADER_BYTES];
        put(&mut out, 0, &(self.size | mark.bits() << MARK_SHIFT).to_ne_bytes());
        put(&mut out, 4, &[self.kind, self.flags]);
        put(&mut out, 6, &self.source.to_ne_bytes());
        put(&mut out, 8, &self.session.to_ne_bytes());
        put(&mut out, 16, &self.time.to_ne_bytes());
        put(&mut out, 24, &self.extra.to_ne_bytes());
        out
    }

    /// Reads a header back; `None` for bytes that are none. The size is still to be compared with
    /// what the ring holds.
    #[inline]
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<(Header, Mark)> {
        let word = u32::from_ne_bytes(take(bytes, 0));
        let mark = Mark::from_bits(word >> MARK_SHIFT)?;
        let [kind, flags] = take(bytes, 4);
        let header = Header {
            size: word & (RECORD_LIMIT as u32 - 1),
            kind,
            flags,
            source: u16::from_ne_bytes(take(bytes, 6)),
            session: i64::from_ne_bytes(take(bytes, 8)),
            time: u64::from_ne_bytes(take(bytes, 16)),
            extra: u64::from_ne_bytes(take(bytes, 24)),
        };
        Some((header, mark))
    }
}

/// Where a piece belongs in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which writer sends it: no two that ever attached have the same number.
    pub writer: u64,
    /// Bytes of the whole message.
    pub total: u32,
    /// Where this piece goes.
    pub offset: u32,
}

/// Bytes of a [`Piece`] before the part of the payload.
pub const PIECE_BYTES: usize = 16;

impl Piece {
    /// The piece as it stands at the beginning of a record's payload.
    pub fn encode(&self) -> [u8; PIECE_BYTES] {
        let mut out = [0; PIECE_BYTES];
        put(&mut out, 0, &self.writer.to_ne_bytes());
        put(&mut out, 8, &self.total.to_ne_bytes());
        put(&mut out, 12, &self.offset.to_ne_bytes());
        out
    }

    /// Splits a record's payload into the piece and its part; `None` if they do not fit together.
    pub fn decode(payload: &[u8]) -> Option<(Piece, &[u8])> {
        let (head, part) = (payload.get(..PIECE_BYTES)?, payload.get(PIECE_BYTES..)?);
        let piece = Piece {
            writer: u64::from_ne_bytes(take(head, 0)),
            total: u32::from_ne_bytes(take(head, 8)),
            offset: u32::from_ne_bytes(take(head, 12)),
        };
        let end = piece.offset as usize + part.len();
        (end <= piece.total as usize && !part.is_empty()).then_some((piece, part))
    }
}
