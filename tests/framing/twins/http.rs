//! The twin of the framer of HTTP.

use super::{Cut, Memory};
use crate::drive::{message, Event};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use sha1::{Digest, Sha1};
use swoole::error::code;
use swoole::proto::settings::FramerSettings;

const METHODS: &str = "DELETE GET HEAD POST PUT PATCH CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE \
    PROPFIND PROPPATCH UNLOCK REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE \
    UNSUBSCRIBE PURGE";

pub fn bad() -> Event {
    let farewell = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    Event::Broken { code: code::SERVER_INVALID_REQUEST, farewell }
}

pub fn too_large() -> Event {
    let farewell = b"HTTP/1.1 413 Request Entity Too Large\r\n\r\n".to_vec();
    Event::Broken { code: code::PACKAGE_LENGTH_TOO_LARGE, farewell }
}

pub fn go_on() -> Event {
    Event::Answer(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())
}

/// Where something ends, or what stands against it.
enum Part {
    Missing,
    Bad,
    TooLarge,
    End(usize),
}

pub fn cut(settings: &FramerSettings, buffer: &[u8], memory: &mut Memory) -> Cut {
    let head = &buffer[..buffer.len().min(65536)];
    let end = match request_line(head) {
        Part::End(at) => (at..head.len()).find(|at| head[*at..].starts_with(b"\r\n\r\n")),
        Part::Missing => None,
        Part::Bad | Part::TooLarge => return Cut::Over(vec![bad()]),
    };
    let Some(end) = end.map(|at| at + 4) else {
        return if buffer.len() < 65536 { Cut::Wait } else { Cut::Over(vec![bad()]) };
    };
    let text: String = head[..end].iter().map(|byte| *byte as char).collect();
    let values = |name: &str| -> Vec<String> {
        let lines = text.split('\n').skip(1).filter_map(|line| line.split_once(':'));
        let named = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim_matches(SPACE).to_ascii_lowercase()).collect()
    };
    let last = |name: &str| values(name).pop().unwrap_or_default();
    let lengths: Vec<u128> = values("content-length").iter().map(|text| number(text)).collect();
    if lengths.iter().any(|length| *length != lengths[0]) {
        return Cut::Over(vec![bad()]);
    }
    let length = lengths.first().copied().unwrap_or(0);
    let codings = last("transfer-encoding");
    let is_chunked = codings.rsplit(',').next().unwrap_or("").trim_matches(SPACE) == "chunked";
    let is_upgrade = values("upgrade")
        .iter()
        .any(|list| list.split(',').any(|token| token.trim_matches(SPACE) == "websocket"));
    let has_body = is_chunked || length > 0;
    if settings.open_websocket && is_upgrade && !has_body && text.starts_with("GET ") {
        return upgrade(&text, end, memory);
    }
    let body_end = match (is_chunked, end as u128 + length) {
        (true, _) => chunks(settings, buffer, end),
        (false, end) if has_body && end > settings.max_length as u128 => Part::TooLarge,
        (false, end) if end > buffer.len() as u128 => Part::Missing,
        (false, end) => Part::End(end as usize),
    };
    match body_end {
        Part::Bad => Cut::Over(vec![bad()]),
        Part::TooLarge => Cut::Over(vec![too_large()]),
        Part::End(end) => {
            memory.has_continued = false;
            let used = if has_body { buffer.len() } else { end };
            Cut::Found(vec![message(&buffer[..end])], used)
        }
        Part::Missing => {
            let is_1_0 = text.split("\r\n").next().is_some_and(|line| line.ends_with("/1.0"));
            let is_due = last("expect") == "100-continue" && !is_1_0;
            match is_due && !std::mem::replace(&mut memory.has_continued, true) {
                true => Cut::Found(vec![go_on()], 0),
                false => Cut::Wait,
            }
        }
    }
}

const SPACE: [char; 5] = [' ', '\t', '\r', '\n', '\u{c}'];

fn number(text: &str) -> u128 {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    // What is beyond 64 bits is the same for whoever compares.
    digits.parse::<u64>().map_or(if digits.is_empty() { 0 } else { u64::MAX.into() }, u128::from)
}

/// Where the first line ends, before its line end.
fn request_line(head: &[u8]) -> Part {
    if head.len() < 16 {
        return Part::Missing;
    }
    let is_method = |name: &&str| head.starts_with(format!("{name} ").as_bytes());
    let Some(method) = METHODS.split(' ').find(is_method) else { return Part::Bad };
    let mut at = method.len();
    let skip = |at: &mut usize, is_space: bool| {
        while head.get(*at).is_some_and(|b| (*b == b' ') == is_space && !b"\r\n".contains(b)) {
            *at += 1;
        }
    };
    skip(&mut at, true);
    skip(&mut at, false);
    match head.get(at) {
        None => return Part::Missing,
        Some(b'\r' | b'\n') => return Part::Bad,
        Some(_) => skip(&mut at, true),
    }
    let got = &head[at..head.len().min(at + 10)];
    let is_begun = |line: &[u8]| line.starts_with(got);
    match is_begun(b"HTTP/1.0\r\n") || is_begun(b"HTTP/1.1\r\n") {
        false => Part::Bad,
        true if got.len() < 10 => Part::Missing,
        true => Part::End(at + 8),
    }
}

fn upgrade(text: &str, end: usize, memory: &mut Memory) -> Cut {
    let mut keys = text.split('\n').filter_map(|line| line.split_once(':'));
    let key = keys.rfind(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let key = key.map(|(_, value)| value.trim_matches(SPACE).chars().map(|c| c as u8).collect());
    match key.filter(|key: &Vec<u8>| key.len() == 24) {
        None => Cut::Over(vec![bad()]),
        Some(key) => {
            memory.is_websocket = true;
            Cut::Found(vec![Event::Answer(accept(&key))], end)
        }
    }
}

/// The handshake's answer; what is in it is tested elsewhere with a key that is known.
pub fn accept(key: &[u8]) -> Vec<u8> {
    let guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let digest = Sha1::digest([key, guid].concat());
    let accept = STANDARD.encode(digest);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Version: 13\r\n\
         Server: swoole-http-server\r\n\r\n"
    )
    .into_bytes()
}

/// The line at the front of `bytes`, of which the unit may have so many more.
fn line(bytes: &[u8], room: usize) -> Result<&[u8], Part> {
    let most = room.min(4096);
    match bytes.iter().take(most).position(|byte| *byte == b'\n') {
        Some(0) => Err(Part::Bad),
        Some(at) if bytes[at - 1] == b'\r' => Ok(&bytes[..=at]),
        Some(_) => Err(Part::Bad),
        None if bytes.len() >= room && room <= 4096 => Err(Part::TooLarge),
        None if bytes.len() >= most => Err(Part::Bad),
        None => Err(Part::Missing),
    }
}

fn chunks(settings: &FramerSettings, buffer: &[u8], mut at: usize) -> Part {
    let limit = settings.max_length;
    loop {
        if buffer.get(at).is_some_and(|byte| !byte.is_ascii_hexdigit()) {
            return Part::Bad;
        }
        let line = match line(&buffer[at..], limit.saturating_sub(at)) {
            Ok(line) => line,
            Err(part) => return part,
        };
        let text: String = line.iter().map(|byte| *byte as char).collect();
        let size = text.split(';').next().unwrap_or("").trim_end_matches(SPACE);
        if !size.chars().all(|c| c.is_ascii_hexdigit()) {
            return Part::Bad;
        }
        let size = size.trim_start_matches('0');
        at += line.len();
        if size.is_empty() {
            break;
        }
        let size = if size.len() > 16 { u128::MAX / 2 } else { hex(size) };
        if at as u128 + size + 7 > limit as u128 {
            return Part::TooLarge;
        }
        at += size as usize + 2;
        if at > buffer.len() {
            return Part::Missing;
        }
        if &buffer[at - 2..at] != b"\r\n" {
            return Part::Bad;
        }
    }
    loop {
        match line(&buffer[at..], limit.saturating_sub(at)) {
            Ok(b"\r\n") => return Part::End(at + 2),
            Ok(line) => at += line.len(),
            Err(part) => return part,
        }
    }
}

fn hex(text: &str) -> u128 {
    u128::from_str_radix(text, 16).expect("hex digits are a number")
}
