//! One line of the log, as it is put together.

use std::cell::Cell;
use std::fmt::{self, Write};

use super::{Level, IDENTITY, MAX_LINE, NS_PER_S, NS_PER_US, SINK};
use crate::os::process;

/// A line that grows up to [`MAX_LINE`].
pub(super) struct Line {
    text: Vec<u8>,
}

/// What a line ends in when its message was longer.
const CUT: &[u8] = b"...\n";

impl Line {
    /// With the date in front.
    pub(super) fn begin(wall_ns: u64) -> Self {
        let sink = SINK.read();
        let mut text = Vec::with_capacity(256);
        text.push(b'[');
        if let Some(date) = sink.date_format.expand(wall_ns / NS_PER_S) {
            text.extend_from_slice(date.as_bytes());
        }
        if sink.has_microseconds {
            let microseconds = wall_ns % NS_PER_S / NS_PER_US;
            text.extend_from_slice(format!("<.{microseconds:06}>").as_bytes());
        }
        Self { text }
    }

    /// A message that is too long, or whose parts fail, ends where it did.
    pub(super) fn fill(&mut self, level: Level, message: fmt::Arguments) {
        let (mark, worker_id) = IDENTITY.with(Cell::get);
        let (sign, pid, level) = (mark.sign(), process::pid(), level.name());
        let all = format_args!(" {sign}{pid}.{worker_id}]\t{level}\t{message}");
        if self.write_fmt(all).is_err() {
            self.text.extend_from_slice(CUT.strip_suffix(b"\n").unwrap_or(CUT));
        }
    }

    pub(super) fn ended(mut self) -> Vec<u8> {
        self.text.push(b'\n');
        self.text
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_LINE.saturating_sub(self.text.len() + CUT.len());
        if text.len() <= room {
            self.text.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.text.extend_from_slice(text.get(..end).unwrap_or_default().as_bytes());
        Err(fmt::Error)
    }
}
