//! Messages whose header tells how long they are.

use std::sync::Arc;

use crate::error::code;
use crate::proto::framer::{Framer, Verdict};
use crate::proto::settings::FramerSettings;

/// How many bytes a length function is shown at most.
const SHOWN_BYTES: usize = 8152;

/// The framer of a length field. It remembers nothing: the field says all.
#[derive(Debug)]
pub struct Length {
    settings: Arc<FramerSettings>,
}

impl Length {
    pub(super) fn new(settings: Arc<FramerSettings>) -> Self {
        Self { settings }
    }

    /// The verdict on a header that does not tell the length of a message.
    #[cold]
    fn refuse(&self, value: i64) -> Verdict {
        let FramerSettings { length_offset, body_offset, max_length, .. } = *self.settings;
        if value < 0 {
            let what = format!("the length is negative ({value})");
            return Verdict::broken(code::PACKAGE_MALFORMED_DATA, length_offset, what);
        }
        let length = value as u64 + body_offset as u64;
        if length == 0 {
            let what = "the length of the whole message is 0";
            return Verdict::broken(code::PACKAGE_LENGTH_NOT_FOUND, length_offset, what);
        }
        Verdict::too_large(max_length, length_offset, length)
    }
}

impl Framer for Length {
    #[inline]
    fn next(&mut self, unread: &mut [u8]) -> Verdict {
        let settings = &*self.settings;
        let header = settings.length_offset + settings.length_type.width();
        let Some(field) = unread.get(settings.length_offset..header) else {
            return Verdict::More { until: header };
        };
        let value = settings.length_type.decode(field);
        let length = value.checked_add(settings.body_offset as i64).filter(|_| value >= 0);
        match length.map(|length| length as usize) {
            Some(length) if length > 0 && length <= settings.max_length => {
                if length <= unread.len() {
                    Verdict::message(length)
                } else {
                    Verdict::More { until: length }
                }
            }
            Some(_) | None => self.refuse(value),
        }
    }
}

/// The framer that asks a function of the program.
#[derive(Debug)]
pub struct LengthByFn {
    settings: Arc<FramerSettings>,
    /// What the function has said, until the message is complete; 0: it has not.
    length: usize,
}

impl LengthByFn {
    pub(super) fn new(settings: Arc<FramerSettings>) -> Self {
        Self { settings, length: 0 }
    }

    /// Asks for the length, or says why there is none.
    fn ask(&self, unread: &[u8]) -> Result<usize, Verdict> {
        let Some(ask) = &self.settings.length_fn else { return Ok(unread.len()) };
        let shown = unread.len().min(SHOWN_BYTES);
        let limit = self.settings.max_length;
        let answer = ask(unread.get(..shown).unwrap_or_default());
        match usize::try_from(answer) {
            Err(_) => {
                let what = format!("the length function calls the bytes malformed ({answer})");
                Err(Verdict::broken(code::PACKAGE_MALFORMED_DATA, 0, what))
            }
            Ok(0) if shown == SHOWN_BYTES => {
                let what = format!("the length function finds none in {shown} bytes");
                Err(Verdict::broken(code::PACKAGE_LENGTH_NOT_FOUND, shown, what))
            }
            Ok(0) => Err(Verdict::More { until: unread.len() + 1 }),
            Ok(length) if length > limit => Err(Verdict::too_large(limit, 0, length as u64)),
            Ok(length) => Ok(length),
        }
    }
}

impl Framer for LengthByFn {
    fn next(&mut self, unread: &mut [u8]) -> Verdict {
        if unread.is_empty() {
            return Verdict::More { until: 1 };
        }
        if self.length == 0 {
            match self.ask(unread) {
                Ok(length) => self.length = length,
                Err(verdict) => return verdict,
            }
        }
        if self.length > unread.len() {
            return Verdict::More { until: self.length };
        }
        Verdict::message(std::mem::take(&mut self.length))
    }
}
