//! Redis commands: an array of strings, nils and integers, each with its length in a line of text.

use std::sync::Arc;

use crate::error::code;
use crate::proto::framer::{Framer, Verdict};
use crate::proto::settings::FramerSettings;

/// The most bytes of a number: those of the smallest one of 64 bits.
const DIGITS: usize = 20;

/// The least bytes of an element: `:0` and the end of its line.
const ELEMENT_BYTES: u64 = 4;

const LINE_END: &[u8] = b"\r\n";

/// The framer of Redis commands.
#[derive(Debug)]
pub struct Redis {
    settings: Arc<FramerSettings>,
    /// Where the next element begins; 0: the array has not been looked at.
    at: usize,
    /// How many elements of the command are still to come.
    missing: usize,
}

impl Redis {
    pub(super) fn new(settings: Arc<FramerSettings>) -> Self {
        Self { settings, at: 0, missing: 0 }
    }

    /// Takes the next line and what it announces, or says why not.
    fn step(&mut self, unread: &[u8]) -> Result<(), Verdict> {
        let limit = self.settings.max_length;
        let Some(kind) = unread.get(self.at).copied() else {
            return Err(self.more(unread, self.at + 1));
        };
        match (self.at, kind) {
            (0, b'*') | (1.., b'$' | b':') => {}
            (0, _) => return Err(malformed(0, "a command does not begin with *")),
            (1.., _) => return Err(malformed(self.at, "an element begins with neither $ nor :")),
        }
        let (value, line) = self.number(unread)?;
        let end = match (kind, u64::try_from(value)) {
            (b':', _) => line,
            (b'$', Err(_)) if value == -1 => line,
            (_, Err(_)) => return Err(malformed(self.at, "a length is negative")),
            (b'$', Ok(length)) => {
                let end = length.saturating_add((line + LINE_END.len()) as u64);
                if end > limit as u64 {
                    return Err(Verdict::too_large(limit, self.at, end));
                }
                let end = end as usize;
                let Some(text) = unread.get(line..end) else { return Err(self.more(unread, end)) };
                if !text.ends_with(LINE_END) {
                    return Err(malformed(end - LINE_END.len(), "no line end behind a string"));
                }
                end
            }
            (_, Ok(count)) => {
                let least = count.saturating_mul(ELEMENT_BYTES).saturating_add(line as u64);
                if least > limit as u64 {
                    return Err(Verdict::too_large(limit, 0, least));
                }
                // One more: the line of the array is counted down below like an element.
                self.missing = count as usize + 1;
                line
            }
        };
        if end > limit {
            return Err(Verdict::too_large(limit, self.at, end as u64));
        }
        self.at = end;
        self.missing -= 1;
        Ok(())
    }

    /// The number behind the first byte of a line, and where the next line begins.
    fn number(&self, unread: &[u8]) -> Result<(i64, usize), Verdict> {
        let start = self.at + 1;
        let bytes = unread.get(start..).unwrap_or_default();
        let (mut value, mut index, mut digits) = (0i64, 0, 0);
        let is_negative = bytes.first() == Some(&b'-');
        if is_negative {
            index = 1;
        }
        while let Some(digit @ b'0'..=b'9') = bytes.get(index) {
            value = value.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
            index += 1;
            digits += 1;
            if digits > DIGITS {
                return Err(malformed(start, "a number has too many digits"));
            }
        }
        match bytes.get(index..).unwrap_or_default() {
            [] | [b'\r'] if digits > 0 || bytes.len() == index => {
                Err(self.more(unread, unread.len() + 1))
            }
            [b'\r', b'\n', ..] if digits > 0 => {
                let value = if is_negative { -value } else { value };
                Ok((value, start + index + LINE_END.len()))
            }
            _ => Err(malformed(start + index, "no number in its line")),
        }
    }

    fn more(&self, unread: &[u8], until: usize) -> Verdict {
        let limit = self.settings.max_length;
        if unread.len() >= limit {
            return Verdict::too_large(limit, self.at, until as u64);
        }
        Verdict::More { until }
    }
}

#[cold]
fn malformed(offset: usize, what: &'static str) -> Verdict {
    Verdict::broken(code::PACKAGE_MALFORMED_DATA, offset, what)
}

impl Framer for Redis {
    fn next(&mut self, unread: &mut [u8]) -> Verdict {
        let count = unread.len().min(self.settings.max_length);
        let bytes = unread.get(..count).unwrap_or_default();
        loop {
            if let Err(verdict) = self.step(bytes) {
                return verdict;
            }
            if self.missing == 0 {
                return Verdict::message(std::mem::take(&mut self.at));
            }
        }
    }
}
