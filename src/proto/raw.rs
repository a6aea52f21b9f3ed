//! No framing: whatever one read brought is one message.

use crate::proto::framer::{Framer, Verdict};

/// The most bytes of one raw message.
pub const LARGEST_MESSAGE: usize = 64 * 1024;

/// The framer that takes anything.
#[derive(Debug, Default)]
pub struct Raw;

impl Framer for Raw {
    #[inline]
    fn next(&mut self, unread: &mut [u8]) -> Verdict {
        match unread.len().min(LARGEST_MESSAGE) {
            0 => Verdict::More { until: 1 },
            count => Verdict::message(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_there_is_is_one_message_up_to_the_limit() {
        assert_eq!(Raw.next(&mut []), Verdict::More { until: 1 });
        assert_eq!(Raw.next(&mut [1]), Verdict::message(1));
        let mut bytes = [0; LARGEST_MESSAGE + 1];
        assert_eq!(Raw.next(&mut bytes[1..]), Verdict::message(LARGEST_MESSAGE));
        assert_eq!(Raw.next(&mut bytes), Verdict::message(LARGEST_MESSAGE));
    }
}
