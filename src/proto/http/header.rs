//! The few headers that tell where a request ends and what becomes of its connection.

use memchr::memchr;

/// What is wrong and at which offset.
pub(super) type Fault = (usize, &'static str);

/// What the header block says of these things.
#[derive(Debug, Default)]
pub(super) struct Header<'a> {
    /// A length beyond 64 bits is the largest there is, what is no number is 0.
    pub(super) content_length: Option<u64>,
    /// The body comes in chunks.
    pub(super) is_chunked: bool,
    /// `Expect: 100-continue`.
    pub(super) expects_continue: bool,
    /// `Upgrade` names WebSocket.
    pub(super) is_upgrade: bool,
    pub(super) key: Option<&'a [u8]>,
    pub(super) protocols: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// Reads the lines of a header block behind the first one, which ends at `at`.
    pub(super) fn read(head: &'a [u8], at: usize) -> Result<Self, Fault> {
        let mut header = Self::default();
        let mut at = at + 2;
        while let Some(rest) = head.get(at..).filter(|rest| !rest.is_empty()) {
            let end = memchr(b'\n', rest).map_or(rest.len(), |found| found + 1);
            header.line(rest.get(..end).unwrap_or_default()).map_err(|what| (at, what))?;
            at += end;
        }
        Ok(header)
    }

    fn line(&mut self, line: &'a [u8]) -> Result<(), &'static str> {
        // Most lines are of no interest, which their first letter tells.
        if !matches!(line.first(), Some(b'C' | b'c' | b'T' | b't' | b'E' | b'e'))
            && !matches!(line.first(), Some(b'U' | b'u' | b'S' | b's'))
        {
            return Ok(());
        }
        let Some(colon) = memchr(b':', line) else { return Ok(()) };
        let (name, value) = line.split_at(colon);
        let value = trim(value.get(1..).unwrap_or_default());
        let is = |expected: &str| name.eq_ignore_ascii_case(expected.as_bytes());
        if is("Content-Length") {
            let length = decimal(value);
            if self.content_length.is_some_and(|other| other != length) {
                return Err("two content lengths that differ");
            }
            self.content_length = Some(length);
        } else if is("Transfer-Encoding") {
            let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
            self.is_chunked = trim(last).eq_ignore_ascii_case(b"chunked");
        } else if is("Expect") {
            self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
        } else if is("Upgrade") {
            self.is_upgrade |= holds_token(value, b"websocket");
        } else if is("Sec-WebSocket-Key") {
            self.key = Some(value);
        } else if is("Sec-WebSocket-Protocol") {
            self.protocols = Some(value);
        }
        Ok(())
    }
}

/// Whether a list with commas holds a word.
pub(in crate::proto) fn holds_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|word| trim(word).eq_ignore_ascii_case(token))
}

/// The number that a text begins with.
fn decimal(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |value: u64, digit| {
        value.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    })
}

/// The size in the line of a chunk, which may be followed by extensions.
pub(super) fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, rest) = line.split_at(digits);
    let rest = trim(rest);
    if digits.is_empty() || !(rest.is_empty() || rest.starts_with(b";")) {
        return None;
    }
    let value = |digit: &u8| char::from(*digit).to_digit(16).unwrap_or(0);
    Some(digits.iter().fold(0, |size: u64, digit| {
        size.saturating_mul(16).saturating_add(u64::from(value(digit)))
    }))
}

/// The text without the white space around it.
fn trim(text: &[u8]) -> &[u8] {
    let is_black = |byte: &u8| !byte.is_ascii_whitespace();
    let start = text.iter().position(is_black).unwrap_or(text.len());
    let end = text.iter().rposition(is_black).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}
