//! Searching for the end of something in bytes that arrive in pieces.

use memchr::memchr;

/// The position behind the first `mark` in `bytes`, of which `searched` were searched before.
/// Starts so far back that a mark is found which a read has cut.
pub(super) fn end_of(mark: &[u8], bytes: &[u8], searched: usize) -> Option<usize> {
    let (&last, before) = mark.split_last()?;
    let mut from = searched.max(before.len());
    while let Some(found) = memchr(last, bytes.get(from..)?) {
        let at = from + found;
        if bytes.get(..at)?.ends_with(before) {
            return Some(at + 1);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_wherever_the_search_was_interrupted() {
        let bytes = b"ab\r\r\n\r\n\r\n";
        for searched in 0..7 {
            assert_eq!(end_of(b"\r\n\r\n", bytes, searched), Some(7), "searched {searched}");
        }
        assert_eq!(end_of(b"\r\n\r\n", bytes, 7), Some(9));
        assert_eq!(end_of(b"\r\n\r\n", &bytes[..6], 0), None);
        assert_eq!(end_of(b"aa", b"aaa", 0), Some(2));
        assert_eq!(end_of(b"a", b"ba", 1), Some(2));
        assert_eq!(end_of(b"a", b"", 3), None);
        assert_eq!(end_of(b"", b"a", 0), None);
    }
}
