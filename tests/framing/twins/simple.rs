//! The twins of the framers that need few lines.

use super::{broken, found, Cut};
use swoole::error::code;
use swoole::proto::settings::FramerSettings;

pub fn raw(buffer: &[u8]) -> Cut {
    match buffer.len() {
        0 => Cut::Wait,
        count => found(&buffer[..count.min(65536)], count.min(65536)),
    }
}

pub fn eof(settings: &FramerSettings, buffer: &[u8]) -> Cut {
    if !buffer.is_empty() && buffer.ends_with(&settings.package_eof) {
        return found(buffer, buffer.len());
    }
    if buffer.len() >= settings.max_length {
        return broken(code::PACKAGE_LENGTH_TOO_LARGE);
    }
    Cut::Wait
}

pub fn eof_split(settings: &FramerSettings, buffer: &[u8]) -> Cut {
    for end in 1..=buffer.len().min(settings.max_length) {
        if buffer[..end].ends_with(&settings.package_eof) {
            return found(&buffer[..end], end);
        }
    }
    if buffer.len() >= settings.max_length {
        return broken(code::PACKAGE_LENGTH_TOO_LARGE);
    }
    Cut::Wait
}

/// The value of a field, as wide as needed to hold any.
fn value(letter: u8, field: &[u8]) -> i128 {
    let is_little = match letter {
        b'n' | b'N' | b'J' => false,
        b'v' | b'V' | b'P' => true,
        _ => cfg!(target_endian = "little"),
    };
    let mut bytes = field.to_vec();
    if is_little {
        bytes.reverse();
    }
    let value = bytes.iter().fold(0i128, |value, byte| value * 256 + i128::from(*byte));
    let is_signed = b"cslq".contains(&letter);
    match is_signed && bytes[0] >= 128 {
        true => value - (1 << (8 * bytes.len())),
        false => value,
    }
}

pub fn length(settings: &FramerSettings, letter: u8, buffer: &[u8]) -> Cut {
    let width = match letter {
        b'c' | b'C' => 1,
        b's' | b'S' | b'n' | b'v' => 2,
        b'l' | b'L' | b'N' | b'V' => 4,
        _ => 8,
    };
    let start = settings.length_offset;
    if buffer.len() < start + width {
        return Cut::Wait;
    }
    let value = value(letter, &buffer[start..start + width]);
    if !(0..1 << 63).contains(&value) {
        return broken(code::PACKAGE_MALFORMED_DATA);
    }
    match value + settings.body_offset as i128 {
        0 => broken(code::PACKAGE_LENGTH_NOT_FOUND),
        size if size > settings.max_length as i128 => broken(code::PACKAGE_LENGTH_TOO_LARGE),
        size if size > buffer.len() as i128 => Cut::Wait,
        size => found(&buffer[..size as usize], size as usize),
    }
}

pub fn length_fn(settings: &FramerSettings, buffer: &[u8]) -> Cut {
    let shown = &buffer[..buffer.len().min(8152)];
    if shown.is_empty() {
        return Cut::Wait;
    }
    match settings.length_fn.as_ref().expect("there is a function")(shown) {
        ..=-1 => broken(code::PACKAGE_MALFORMED_DATA),
        0 if shown.len() == 8152 => broken(code::PACKAGE_LENGTH_NOT_FOUND),
        0 => Cut::Wait,
        size if size > settings.max_length as i64 => broken(code::PACKAGE_LENGTH_TOO_LARGE),
        size if size > buffer.len() as i64 => Cut::Wait,
        size => found(&buffer[..size as usize], size as usize),
    }
}

pub fn mqtt(settings: &FramerSettings, buffer: &[u8]) -> Cut {
    let (mut multiplier, mut value, mut at) = (1, 0, 1);
    loop {
        if at >= buffer.len() {
            return Cut::Wait;
        }
        let byte = buffer[at];
        value += usize::from(byte % 128) * multiplier;
        at += 1;
        if byte < 128 {
            break;
        }
        if at > 4 {
            return broken(code::PACKAGE_MALFORMED_DATA);
        }
        multiplier *= 128;
    }
    match at + value {
        size if size > settings.max_length => broken(code::PACKAGE_LENGTH_TOO_LARGE),
        size if size > buffer.len() => Cut::Wait,
        size => found(&buffer[..size], size),
    }
}

/// A line of a Redis command: a letter and a number.
enum Line {
    Missing,
    Bad,
    Number(char, i128, usize),
}

fn line(buffer: &[u8]) -> Line {
    let Some(letter) = buffer.first() else { return Line::Missing };
    let text: String =
        buffer[1..].iter().take_while(|b| **b != b'\r').map(|b| *b as char).collect();
    let digits = text.strip_prefix('-').unwrap_or(&text);
    if digits.len() > 20 || !digits.chars().all(|c| c.is_ascii_digit()) {
        return Line::Bad;
    }
    let end = 1 + text.len();
    match buffer.get(end..) {
        Some([]) => Line::Missing,
        Some([b'\r', ..]) if digits.is_empty() => Line::Bad,
        Some([b'\r']) => Line::Missing,
        Some([b'\r', b'\n', ..]) => {
            Line::Number(*letter as char, text.parse().expect("digits are a number"), end + 2)
        }
        _ => Line::Bad,
    }
}

pub fn redis(settings: &FramerSettings, buffer: &[u8]) -> Cut {
    let limit = settings.max_length;
    let buffer = &buffer[..buffer.len().min(limit)];
    let wait = || match buffer.len() >= limit {
        true => broken(code::PACKAGE_LENGTH_TOO_LARGE),
        false => Cut::Wait,
    };
    if buffer.first().is_some_and(|first| *first != b'*') {
        return broken(code::PACKAGE_MALFORMED_DATA);
    }
    let (count, mut at) = match line(buffer) {
        Line::Missing => return wait(),
        Line::Number(_, count @ 0.., at) => (count, at),
        Line::Bad | Line::Number(..) => return broken(code::PACKAGE_MALFORMED_DATA),
    };
    if count * 4 + at as i128 > limit as i128 {
        return broken(code::PACKAGE_LENGTH_TOO_LARGE);
    }
    for _ in 0..count {
        if buffer.get(at).is_some_and(|first| !b"$:".contains(first)) {
            return broken(code::PACKAGE_MALFORMED_DATA);
        }
        match line(&buffer[at..]) {
            Line::Missing => return wait(),
            Line::Number(':', _, length) | Line::Number('$', -1, length) => at += length,
            Line::Number('$', size @ 0.., length) => {
                let end = (at + length) as i128 + size + 2;
                if end > limit as i128 {
                    return broken(code::PACKAGE_LENGTH_TOO_LARGE);
                }
                if end > buffer.len() as i128 {
                    return wait();
                }
                at = end as usize;
                if &buffer[at - 2..at] != b"\r\n" {
                    return broken(code::PACKAGE_MALFORMED_DATA);
                }
            }
            Line::Bad | Line::Number(..) => return broken(code::PACKAGE_MALFORMED_DATA),
        }
    }
    found(&buffer[..at], at)
}
