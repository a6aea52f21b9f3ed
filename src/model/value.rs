//! What a setting can be: the kinds of values, and how each is read from text, number and list.

use std::fmt;

use crate::os::clock::DateFormat;

/// The type of a setting and what happens to values outside of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A number, moved into the range.
    Int { min: i64, max: i64 },
    /// Bytes, with K, M or G behind; 0 and less become `unlimited`.
    Size { max: i64, unlimited: Option<i64> },
    /// Seconds with a fraction; none or at least a millisecond.
    Seconds,
    /// True or false.
    Bool,
    /// A path.
    Path,
    /// What `strftime` takes.
    DateFormat,
    /// A name or another word.
    Text,
    /// Numbers of processors.
    CpuList,
    /// So many bytes, any.
    Bytes { least: usize, most: usize },
    /// One of these letters; what stands behind it does not count.
    Letter(&'static str),
    /// A number of bytes, 0 or more; too many are refused.
    Offset { most: i64 },
    /// A list or a map, as JSON.
    Json,
}

/// A value, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number or a size in bytes.
    Int(i64),
    /// True or false.
    Bool(bool),
    /// A time, in milliseconds; shown in seconds.
    Seconds(i64),
    /// A path or another text; empty if none. Lists are numbers with commas between.
    Text(String),
    /// Bytes that may be no text.
    Bytes(Vec<u8>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(number) => write!(f, "{number}"),
            Value::Bool(is_on) => write!(f, "{is_on}"),
            Value::Seconds(milliseconds) => write!(f, "{}", *milliseconds as f64 / 1e3),
            Value::Text(text) => f.write_str(text),
            Value::Bytes(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
        }
    }
}

impl Value {
    /// As programs get it: text, or the bytes that were set.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Value::Bytes(bytes) => bytes,
            other => other.to_string().into_bytes(),
        }
    }
}

impl Kind {
    /// Whether a value is a list.
    pub(super) fn is_list(self) -> bool {
        matches!(self, Kind::CpuList)
    }

    /// A number as a value of this kind; sizes and counts are moved into range, never refused.
    pub(super) fn value_of_number(self, number: i64) -> Option<Value> {
        Some(match self {
            Kind::Int { min, max } => Value::Int(number.clamp(min, max)),
            Kind::Size { unlimited: Some(all), .. } if number <= 0 => Value::Int(all),
            Kind::Size { max, .. } => Value::Int(number.clamp(0, max)),
            Kind::Seconds => Value::Seconds(number.max(0).saturating_mul(1000)),
            Kind::Bool => Value::Bool(number != 0),
            Kind::Path | Kind::DateFormat | Kind::Text => Value::Text(number.to_string()),
            Kind::CpuList => Value::Text(number.max(0).to_string()),
            Kind::Offset { most } if number > most => return None,
            Kind::Offset { .. } => Value::Int(number.max(0)),
            Kind::Bytes { .. } | Kind::Letter(_) | Kind::Json => return None,
        })
    }

    /// Bytes that are no text.
    pub(super) fn value_of_bytes(self, bytes: &[u8]) -> Option<Value> {
        match self {
            Kind::Bytes { least, most } => {
                (least..=most).contains(&bytes.len()).then(|| Value::Bytes(bytes.to_vec()))
            }
            _ => None,
        }
    }

    pub(super) fn value_of_text(self, text: &str) -> Option<Value> {
        if let Kind::Bytes { .. } = self {
            return self.value_of_bytes(text.as_bytes());
        }
        let text = text.trim();
        match self {
            Kind::Int { .. } | Kind::Offset { .. } => {
                parse_int(text).and_then(|number| self.value_of_number(number))
            }
            Kind::Size { .. } => parse_size(text).and_then(|number| self.value_of_number(number)),
            Kind::Bytes { .. } => None,
            Kind::Letter(known) => {
                let letter = text.chars().next().filter(|letter| known.contains(*letter));
                letter.map(|letter| Value::Text(letter.to_string()))
            }
            Kind::Json => Some(Value::Text(text.to_owned())),
            Kind::Seconds => parse_seconds(text).map(Value::Seconds),
            Kind::Bool => parse_bool(text).map(Value::Bool),
            Kind::Path | Kind::Text => Some(Value::Text(text.to_owned())),
            Kind::DateFormat => DateFormat::new(text).map(|_| Value::Text(text.to_owned())),
            Kind::CpuList => parse_list(text).map(|cpus| Value::Text(shown_list(&cpus))),
        }
    }

    pub(super) fn expectation(self) -> &'static str {
        match self {
            Kind::Int { .. } => "a whole number",
            Kind::Size { .. } => "a number of bytes, such as 65536, 64K, 2M or 1G",
            Kind::Seconds => "a number of seconds, such as 2 or 0.5",
            Kind::Bool => "true or false",
            Kind::Bytes { .. } => "1 to 8 bytes",
            Kind::Letter(_) => "one of the letters c C s S n v l L N V q Q J P",
            Kind::Offset { .. } => "a number of bytes up to 8152",
            Kind::Json => "a list or a map",
            Kind::Path => "a path",
            Kind::DateFormat => "a format of strftime that gives at most 127 bytes",
            Kind::Text => "a text",
            Kind::CpuList => "numbers of processors with commas between, or a list of them",
        }
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" => Some(true),
        "false" | "off" | "no" => Some(false),
        number => parse_int(number).map(|number| number != 0),
    }
}

/// A whole number; one that does not fit is taken as the largest or smallest there is.
fn parse_int(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text
            .eq_ignore_ascii_case("true")
            .then_some(1)
            .or_else(|| text.eq_ignore_ascii_case("false").then_some(0));
    }
    let magnitude = digits.parse::<i64>().unwrap_or(i64::MAX);
    Some(if is_negative { -magnitude } else { magnitude })
}

fn parse_size(text: &str) -> Option<i64> {
    let without_unit = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text.get(without_unit.len()..)?.to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" => 1 << 10,
        "M" | "MB" => 1 << 20,
        "G" | "GB" => 1 << 30,
        _ => return None,
    };
    parse_int(without_unit.trim_end()).map(|number| number.saturating_mul(factor))
}

/// Seconds as milliseconds; what is more than nothing is at least one of them.
fn parse_seconds(text: &str) -> Option<i64> {
    let seconds: f64 = text.parse().ok().filter(|seconds: &f64| seconds.is_finite())?;
    match seconds > 0.0 {
        true => Some(((seconds * 1e3) as i64).max(1)),
        false => Some(0),
    }
}

/// Numbers with commas between; none at all is an empty list.
pub(super) fn parse_list(text: &str) -> Option<Vec<usize>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(',').map(|number| number.trim().parse().ok()).collect()
}

/// Each number once, in their order.
fn shown_list(numbers: &[usize]) -> String {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let texts: Vec<String> = sorted.iter().map(usize::to_string).collect();
    texts.join(",")
}
