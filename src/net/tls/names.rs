//! Host names that choose a certificate.
//!
//! A pattern is a name, or a name with one `*` inside its left-most label. The `*` stands for any
//! text without a dot, also for none. Case does not count.

/// Whether a pattern can choose anything.
pub(super) fn is_pattern(pattern: &str) -> bool {
    let (label, rest) = pattern.split_once('.').unwrap_or((pattern, ""));
    !label.is_empty() && !rest.contains('*') && label.matches('*').count() <= 1
}

/// Whether a pattern stands for a name.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some((prefix, suffix)) = pattern.split_once('*') else {
        return pattern.eq_ignore_ascii_case(name);
    };
    // As bytes: a name of a peer may be cut anywhere.
    let (name, prefix, suffix) = (name.as_bytes(), prefix.as_bytes(), suffix.as_bytes());
    let Some(middle_end) = name.len().checked_sub(suffix.len()) else { return false };
    let (Some(start), Some(middle), Some(end)) =
        (name.get(..prefix.len()), name.get(prefix.len()..middle_end), name.get(middle_end..))
    else {
        return false;
    };
    start.eq_ignore_ascii_case(prefix)
        && end.eq_ignore_ascii_case(suffix)
        && !prefix.contains(&b'.')
        && !middle.contains(&b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_what_has_no_dot_in_the_left_most_label() {
        let table = [
            ("a.example", "a.example", true),
            ("a.example", "A.Example", true),
            ("A.EXAMPLE", "a.example", true),
            ("a.example", "b.example", false),
            ("a.example", "x.a.example", false),
            ("a.example", "", false),
            ("*.example", "a.example", true),
            ("*.example", "A.EXAMPLE", true),
            ("*.example", "a.b.example", false),
            ("*.example", "example", false),
            ("*.example", ".example", true),
            ("*.example", "a.examples", false),
            ("w*.example", "www.example", true),
            ("w*.example", "w.example", true),
            ("w*.example", "a.example", false),
            ("w*.example", "w.w.example", false),
            ("*w.example", "www.example", true),
            ("w*1.example", "w1.example", true),
            ("w*1.example", "web1.example", true),
            ("w*1.example", "w.1.example", false),
            ("ab*b.c", "ab.c", false),
            ("ab*b.c", "abb.c", true),
            ("*", "localhost", true),
            ("*", "a.b", false),
            ("a.*.example", "a.b.example", false),
            ("*.\u{e9}", "a.e\u{301}", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(matches(pattern, name), expected, "{pattern} and {name}");
        }
    }

    #[test]
    fn a_pattern_has_one_star_in_its_left_most_label_at_most() {
        for good in ["a", "a.b", "*.b", "w*w.b", "*"] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in ["", ".b", "**.b", "a.*", "*a*.b", "*.*.b"] {
            assert!(!is_pattern(bad), "{bad}");
        }
    }
}
