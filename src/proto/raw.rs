//! No framing: whatever one read brought is one message.

use crate::proto::framer::{Framer, Verdict};

/// The most bytes of one raw message.
pub const LARGEST_MESSAGE: usize = 64 * 1024;

/// The framer that takes anything.
#[derive(Debug, Default)]
pub struct Raw;

impl Framer for Raw {
    #[inline]
    fn next(&mut self, unread: &[u8]) -> Verdict {
        match unread.len().min(LARGEST_MESSAGE) {
            0 => Verdict::More,
            count => Verdict::Message(count),
        }
    }

    fn takes_anything(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_there_is_is_one_message_up_to_the_limit() {
        assert_eq!(Raw.next(&[]), Verdict::More);
        assert_eq!(Raw.next(&[1]), Verdict::Message(1));
        assert_eq!(Raw.next(&[0; LARGEST_MESSAGE]), Verdict::Message(LARGEST_MESSAGE));
        assert_eq!(Raw.next(&[0; LARGEST_MESSAGE + 1]), Verdict::Message(LARGEST_MESSAGE));
    }
}
