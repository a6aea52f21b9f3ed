//! Messages that end with a mark of 1 to 8 bytes.

use std::sync::Arc;

use crate::proto::framer::{Framer, Verdict};
use crate::proto::search;
use crate::proto::settings::FramerSettings;

/// Where messages are not searched for marks, only what ends such a piece, or all that has arrived,
/// can end one: as if reads had at most this size, however large they are.
const PIECE_BYTES: usize = 8192;

/// The framer of marks.
#[derive(Debug)]
pub struct Eof {
    settings: Arc<FramerSettings>,
    /// How many of the unread bytes hold no end.
    searched: usize,
}

impl Eof {
    pub(super) fn new(settings: Arc<FramerSettings>) -> Self {
        Self { settings, searched: 0 }
    }

    /// The end of the first message among the bytes, and how many of them were looked at.
    fn end_of_piece(&self, bytes: &[u8]) -> Option<usize> {
        let mut looked = self.searched;
        while looked < bytes.len() {
            looked = bytes.len().min(looked + PIECE_BYTES);
            if bytes.get(..looked)?.ends_with(&self.settings.package_eof) {
                return Some(looked);
            }
        }
        None
    }
}

impl Framer for Eof {
    fn next(&mut self, unread: &mut [u8]) -> Verdict {
        let limit = self.settings.max_length;
        let count = unread.len().min(limit);
        let bytes = unread.get(..count).unwrap_or_default();
        let end = match self.settings.open_eof_split {
            true => search::end_of(&self.settings.package_eof, bytes, self.searched),
            false => self.end_of_piece(bytes),
        };
        if let Some(end) = end {
            self.searched = 0;
            return Verdict::message(end);
        }
        self.searched = count;
        if count == limit {
            return Verdict::too_large(limit, count, unread.len() as u64);
        }
        Verdict::More { until: count + 1 }
    }
}
