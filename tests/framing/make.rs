//! Makes connections out of entropy: settings, a stream of frames that are mostly right, and cuts.

use std::sync::Arc;

use swoole::proto::settings::{FramerSettings, LengthType};

/// A port: its name is that of its folder in the corpus.
#[derive(Clone)]
pub struct Setup {
    pub name: &'static str,
    pub settings: FramerSettings,
    /// Of the length.
    pub letter: u8,
}

pub const NAMES: &[&str] =
    &["raw", "eof", "eof_split", "length", "length_fn", "http", "websocket", "mqtt", "redis"];

pub const LETTERS: &[u8] = b"NcCsSnvlLVqQJP";

/// The length that a text of digits and a colon announces, for what stands behind it.
pub fn length_in_digits(bytes: &[u8]) -> i64 {
    let Some(colon) = bytes.iter().position(|byte| *byte == b':') else { return 0 };
    let digits = std::str::from_utf8(&bytes[..colon]).ok();
    digits
        .and_then(|digits| digits.parse::<i64>().ok())
        .map_or(-1, |n| n.saturating_add(colon as i64 + 1))
}

/// Bytes that decide, and zeros when there are no more of them.
pub struct Entropy<'a>(pub &'a [u8]);

impl Entropy<'_> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn below(&mut self, count: usize) -> usize {
        (usize::from(self.byte()) << 8 | usize::from(self.byte())) % count.max(1)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let count = self.below(most + 1);
        (0..count).map(|_| self.byte()).collect()
    }
}

/// The settings of a name, of which entropy decides what is left open.
pub fn setup(name: &'static str, entropy: &mut Entropy) -> Setup {
    let letter = if name == "length" { entropy.pick(LETTERS) } else { b'N' };
    let mut settings = FramerSettings {
        max_length: entropy.pick(&[2 * 1024 * 1024, 65536, 300, 64, 20]),
        package_eof: entropy.pick(&[b"\r\n\r\n".as_slice(), b"\n", b"aa", b"abcabcab"]).to_vec(),
        length_type: LengthType::from_letter(letter).expect("the letter is known"),
        length_offset: entropy.pick(&[0, 0, 1, 5]),
        body_offset: entropy.pick(&[4, 0, 1, 2, 9, 13]),
        ..FramerSettings::default()
    };
    match name {
        "eof" => settings.open_eof_check = true,
        "eof_split" => settings.open_eof_split = true,
        "length" => settings.open_length_check = true,
        "length_fn" => {
            settings.open_length_check = true;
            settings.length_fn = Some(Arc::new(length_in_digits));
        }
        "http" => settings.open_http = true,
        "websocket" => settings.open_websocket = true,
        "mqtt" => settings.open_mqtt = true,
        "redis" => settings.open_redis = true,
        _ => {}
    }
    Setup { name, settings, letter }
}

/// Some frames, mostly right ones.
pub fn stream(setup: &Setup, entropy: &mut Entropy) -> Vec<u8> {
    let mut stream = Vec::new();
    if setup.name == "websocket" {
        stream.extend_from_slice(&handshake());
    }
    for _ in 0..1 + entropy.below(6) {
        stream.extend(frame(setup, entropy));
    }
    stream
}

/// A request that upgrades a connection.
pub fn handshake() -> Vec<u8> {
    b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec()
}

fn frame(setup: &Setup, entropy: &mut Entropy) -> Vec<u8> {
    let body = entropy.bytes(40);
    match setup.name {
        "eof" | "eof_split" => [body, setup.settings.package_eof.clone()].concat(),
        "length" => length_frame(setup, entropy, &body),
        "length_fn" => [format!("{}:", body.len()).as_bytes(), &body].concat(),
        "http" => request(entropy, &body),
        "websocket" => websocket_frame(entropy, body),
        "mqtt" if entropy.below(4) == 0 => [vec![0x30, 0x80 | body.len() as u8, 0], body].concat(),
        "mqtt" => [vec![0xc0, body.len() as u8], body].concat(),
        "redis" => command(entropy, &body),
        _ => body,
    }
}

/// A frame of a length field; the body is cut where the field cannot hold more.
fn length_frame(setup: &Setup, entropy: &mut Entropy, body: &[u8]) -> Vec<u8> {
    let FramerSettings { length_type, length_offset, body_offset, .. } = setup.settings;
    let header = length_offset + length_type.width();
    let value = match entropy.below(12) {
        0 => i64::from(entropy.byte()) - 128,
        _ => (header + body.len()) as i64 - body_offset as i64,
    };
    let mut field = value.to_le_bytes()[..length_type.width()].to_vec();
    if b"nNJ".contains(&setup.letter) || cfg!(target_endian = "big") {
        field.reverse();
    }
    [vec![b'h'; length_offset], field, body.to_vec()].concat()
}

/// In each list the right ones stand first.
const METHODS: &[&str] = &["GET", "POST", "M-SEARCH", "UNSUBSCRIBE", "PRI", "get", "GETS"];
const TARGETS: &[&str] = &["/", "/a?b=c", "*", "  /x", "http://a.b/c%20d", "\r", ""];
const VERSIONS: &[&str] = &["1.1", "1.1", "1.0", "  1.1", "1.2", "2.0", "1.1 "];
const HEADERS: &[&str] = &[
    "Host: a\r\n",
    "Expect: 100-Continue\r\n",
    "X-Content-Length: 7\r\n",
    "Upgrade: h2c\r\n",
    "T:\r\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Content-Length: 5\r\n",
    "content-length:0\r\n",
    "Content-Length: -1\r\n",
    "Content-Length: 99999999999999999999\r\n",
    "Upgrade: h2c, WebSocket\r\n",
    "A\n",
];
const EXTENSIONS: &[&str] = &["", ";a=b", " ", " ;", "g"];
const CHUNK_ENDS: &[&str] = &["0\r\n\r\n", "00\r\nA: b\r\n\r\n", "\r\n", "f\n", "0\r\n\n"];

fn request(entropy: &mut Entropy, body: &[u8]) -> Vec<u8> {
    let is_right = entropy.below(4) > 0;
    let mut pick = |list: &[&'static str], right: usize| {
        entropy.pick(if is_right { &list[..right] } else { list })
    };
    let mut head = pick(METHODS, 4).to_owned();
    head.push_str(&format!(" {} HTTP/{}\r\n", pick(TARGETS, 5), pick(VERSIONS, 4)));
    for _ in 0..3 {
        head.push_str(pick(HEADERS, 5));
    }
    match entropy.below(3) {
        0 => [head.as_bytes(), b"\r\n"].concat(),
        1 => {
            let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), body].concat()
        }
        _ => {
            let head = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
            [head.as_bytes(), &chunks(entropy, body, is_right)].concat()
        }
    }
}

fn chunks(entropy: &mut Entropy, body: &[u8], is_right: bool) -> Vec<u8> {
    let mut chunked = Vec::new();
    for chunk in body.chunks(1 + entropy.below(16)) {
        let extension = entropy.pick(if is_right { &EXTENSIONS[..4] } else { EXTENSIONS });
        chunked.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    let end = entropy.pick(if is_right { &CHUNK_ENDS[..2] } else { CHUNK_ENDS });
    chunked.extend_from_slice(end.as_bytes());
    chunked
}

fn websocket_frame(entropy: &mut Entropy, body: Vec<u8>) -> Vec<u8> {
    if entropy.below(3) == 0 {
        return fragments(entropy, &body);
    }
    let opcode = entropy.pick(&[1, 2, 1, 0, 0, 9, 10, 8, 3, 11]);
    let first = entropy.pick(&[0x80, 0x80, 0x80, 0x00, 0xc0, 0xf0]) | opcode;
    websocket_part(entropy, first, body)
}

/// A message in fragments, perhaps with pings between them.
fn fragments(entropy: &mut Entropy, body: &[u8]) -> Vec<u8> {
    let start = entropy.pick(&[1, 2, 0x42]);
    let mut stream = websocket_part(entropy, start, vec![b'f'; 3]);
    for part in body.chunks(1 + entropy.below(20)) {
        stream.extend(websocket_part(entropy, 0, part.to_vec()));
        if entropy.below(4) == 0 {
            stream.extend(websocket_part(entropy, 0x89, b"ping".to_vec()));
        }
    }
    stream.extend(websocket_part(entropy, 0x80, b"end".to_vec()));
    stream
}

fn websocket_part(entropy: &mut Entropy, first: u8, body: Vec<u8>) -> Vec<u8> {
    let mask = entropy.pick(&[0x80, 0x80, 0]);
    let count = body.len();
    let mut frame = match entropy.below(8) {
        0 => vec![first, mask | 126, 0, count as u8],
        1 => vec![first, mask | 127, 0, 0, 0, 0, 0, 0, 0, count as u8],
        _ => vec![first, mask | count as u8],
    };
    if mask != 0 {
        frame.extend((0..4).map(|_| entropy.byte()));
    }
    frame.extend(body);
    frame
}

fn command(entropy: &mut Entropy, body: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = body.chunks(1 + entropy.below(9)).collect();
    let mut command = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        match entropy.below(8) {
            0 => command.extend_from_slice(b"$-1\r\n"),
            1 => command.extend_from_slice(b":-123\r\n"),
            2 => command.extend_from_slice(b"$0\r\n\r\n"),
            3 if entropy.below(4) == 0 => command.extend_from_slice(b"$-2\r\n"),
            _ => {
                command.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
                command.extend_from_slice(part);
                command.extend_from_slice(b"\r\n");
            }
        }
    }
    command
}

/// Spoils a stream a little.
pub fn mutate(stream: &mut Vec<u8>, entropy: &mut Entropy) {
    for _ in 0..entropy.below(4) {
        let at = entropy.below(stream.len() + 1);
        match entropy.below(6) {
            0 => stream.insert(at, entropy.byte()),
            1 => stream.truncate(at),
            2 => {
                let end = (at + entropy.below(8)).min(stream.len());
                stream.drain(at..end);
            }
            3 => {
                let end = (at + entropy.below(32)).min(stream.len());
                stream.extend_from_within(at..end);
            }
            4 => stream.splice(at..at, [255; 4]).for_each(drop),
            _ => {
                if let Some(byte) = stream.get_mut(at) {
                    *byte = entropy.byte();
                }
            }
        }
    }
}

/// Where a stream is cut: nowhere, everywhere, or at a few places.
pub fn cuts(count: usize, entropy: &mut Entropy) -> Vec<usize> {
    match entropy.below(4) {
        0 => vec![],
        1 => (0..count).collect(),
        _ => (0..1 + entropy.below(8)).map(|_| entropy.below(count + 1)).collect(),
    }
}
