//! HTTP/1 requests, whole: header block and body as they came.
//!
//! Only what tells where a request ends is looked at; the rest is for whoever handles it. On a port
//! with WebSocket an upgrade is answered here, and the connection gets a framer for its frames.

mod header;

use std::borrow::Cow;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;

use memchr::{memchr, memchr3};

use crate::error::code;
use crate::proto::framer::{Answer, Body, Frame, Framer, Message, Verdict, Violation};
use crate::proto::search;
use crate::proto::settings::FramerSettings;
use crate::proto::websocket::{handshake, WebSocket};
use header::Header;

pub(super) use header::holds_token;

/// The most bytes of a header block.
const HEAD_BYTES: usize = 64 * 1024;
/// The most bytes of the line that tells the size of a chunk.
const CHUNK_LINE_BYTES: usize = 4096;
/// The least bytes of a request that anything is said about.
const LEAST_BYTES: usize = 16;
/// How a body in chunks ends.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
const TOO_LARGE: &[u8] = b"HTTP/1.1 413 Request Entity Too Large\r\n\r\n";
/// For a request that comes when `max_concurrency` others are being handled.
pub const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\r\n";

/// What a request line ends with; the `?` is 0 or 1.
const VERSION: &[u8] = b"HTTP/1.?\r\n";

const METHODS: &[&str] = &[
    "GET",
    "POST",
    "PUT",
    "DELETE",
    "HEAD",
    "PATCH",
    "OPTIONS",
    "CONNECT",
    "TRACE",
    "COPY",
    "LOCK",
    "MKCOL",
    "MOVE",
    "PROPFIND",
    "PROPPATCH",
    "UNLOCK",
    "REPORT",
    "MKACTIVITY",
    "CHECKOUT",
    "MERGE",
    "M-SEARCH",
    "NOTIFY",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "PURGE",
];

/// What is expected next. `at` and `searched` of the framer mean something else in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first bytes of a request.
    Method,
    /// The target, which begins at `at` or behind the spaces there.
    Target,
    /// Behind spaces at `at`: the version.
    Version,
    /// The rest of the header block; its first line ends at `at`.
    Head,
    /// A body that ends at `at`.
    Body,
    /// At `at`: the line with the size of a chunk.
    ChunkSize,
    /// A chunk that ends, with its line end, at `at`.
    Chunk,
    /// At `at`: a line behind the last chunk. The first empty one ends the request.
    Trailer,
}

/// The framer of HTTP.
#[derive(Debug)]
pub struct Http {
    settings: Arc<FramerSettings>,
    at: usize,
    /// How many bytes need not be searched again.
    searched: usize,
    phase: Phase,
    /// The client waits for a word before it sends the body.
    expects_continue: bool,
    is_upgraded: bool,
}

type Step = ControlFlow<Verdict>;

impl Http {
    pub(super) fn new(settings: Arc<FramerSettings>) -> Self {
        let phase = Phase::Method;
        Self { settings, at: 0, searched: 0, phase, expects_continue: false, is_upgraded: false }
    }

    /// What goes on with the connection once it has been upgraded.
    #[inline]
    pub(super) fn take_upgraded(&mut self) -> Option<WebSocket> {
        self.is_upgraded.then(|| WebSocket::new(Arc::clone(&self.settings)))
    }

    fn go_on(&mut self, phase: Phase, at: usize) -> Step {
        (self.phase, self.at, self.searched) = (phase, at, at);
        Continue(())
    }

    /// A whole request. What was read behind a body is thrown away with it.
    fn finish(&mut self, end: usize, used: usize) -> Step {
        (self.phase, self.at, self.searched) = (Phase::Method, 0, 0);
        self.expects_continue = false;
        let body = Body::Unread(0..end);
        Break(Verdict::Message(Message { used, body, frame: Frame::default() }))
    }

    fn method(&mut self, unread: &[u8]) -> Step {
        if unread.len() < LEAST_BYTES {
            return Break(Verdict::More { until: LEAST_BYTES });
        }
        let is_method = |name: &&&str| {
            unread.starts_with(name.as_bytes()) && unread.get(name.len()) == Some(&b' ')
        };
        match METHODS.iter().find(is_method) {
            Some(name) => self.go_on(Phase::Target, name.len()),
            None if unread.starts_with(b"PRI * HTTP/2.0\r\n") => {
                bad(0, "HTTP/2 is not spoken on this port")
            }
            None => bad(0, "no method of HTTP"),
        }
    }

    fn target(&mut self, unread: &[u8]) -> Step {
        while unread.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
        self.searched = self.searched.max(self.at);
        match memchr3(b' ', b'\r', b'\n', unread.get(self.searched..).unwrap_or_default()) {
            Some(found) => {
                let end = self.searched + found;
                match unread.get(end) {
                    Some(b' ') => self.go_on(Phase::Version, end),
                    Some(_) | None => bad(end, "a request line without a version"),
                }
            }
            None => self.more_head(unread),
        }
    }

    fn version(&mut self, unread: &[u8]) -> Step {
        while unread.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
        for (index, expected) in VERSION.iter().enumerate() {
            let at = self.at + index;
            match (unread.get(at), expected) {
                (None, _) => return self.more_head(unread),
                (Some(b'0' | b'1'), b'?') => {}
                (Some(byte), _) if byte == expected && *byte != b'?' => {}
                (Some(_), _) => return bad(at, "neither HTTP/1.0 nor HTTP/1.1"),
            }
        }
        // The search for the empty line begins with the end of this one.
        self.go_on(Phase::Head, self.at + VERSION.len() - 2)
    }

    fn head(&mut self, unread: &[u8]) -> Step {
        match search::end_of(b"\r\n\r\n", unread, self.searched) {
            Some(end) => self.judge(unread, end),
            None => self.more_head(unread),
        }
    }

    /// More of a header block is needed, unless it is too long already.
    fn more_head(&mut self, unread: &[u8]) -> Step {
        if unread.len() >= HEAD_BYTES {
            return bad(HEAD_BYTES, "the header block has more than 65536 bytes");
        }
        self.searched = unread.len();
        Break(Verdict::More { until: unread.len() + 1 })
    }

    /// The header block ends at `end`: is there a body, and how long?
    fn judge(&mut self, unread: &[u8], end: usize) -> Step {
        let head = unread.get(..end).unwrap_or_default();
        let header = match Header::read(head, self.at) {
            Ok(header) => header,
            Err(violation) => return bad(violation.0, violation.1),
        };
        let has_body = header.is_chunked || header.content_length.unwrap_or(0) > 0;
        if self.settings.open_websocket && header.is_upgrade && !has_body && is_get(head) {
            return self.upgrade(&header, end);
        }
        let is_1_0 = head.get(self.at.wrapping_sub(1)) == Some(&b'0');
        self.expects_continue = header.expects_continue && !is_1_0;
        if header.is_chunked {
            return self.go_on(Phase::ChunkSize, end);
        }
        let whole = header.content_length.unwrap_or(0).saturating_add(end as u64);
        match usize::try_from(whole) {
            _ if !has_body => self.finish(end, end),
            Ok(whole) if whole <= self.settings.max_length => self.go_on(Phase::Body, whole),
            Ok(_) | Err(_) => self.too_large(end, whole),
        }
    }

    fn upgrade(&mut self, header: &Header<'_>, end: usize) -> Step {
        let Some(key) = header.key.filter(|key| key.len() == handshake::KEY_BYTES) else {
            return bad(end, "a WebSocket handshake without a key of 24 characters");
        };
        self.is_upgraded = true;
        let offered = header.protocols.unwrap_or_default();
        let bytes = handshake::answer(key, offered, &self.settings.websocket_subprotocol);
        Break(Verdict::Answer(Answer { used: end, bytes: Cow::Owned(bytes), is_upgrade: true }))
    }

    fn body(&mut self, unread: &[u8]) -> Step {
        if unread.len() < self.at {
            return Break(Verdict::More { until: self.at });
        }
        self.finish(self.at, unread.len())
    }

    /// The end of the line at `at`, or why there is none.
    fn line(&mut self, unread: &[u8]) -> Result<usize, Step> {
        let limit = self.settings.max_length;
        let most = limit.min(self.at.saturating_add(CHUNK_LINE_BYTES));
        let bytes = unread.get(..unread.len().min(most)).unwrap_or_default();
        if let Some(found) = memchr(b'\n', bytes.get(self.searched..).unwrap_or_default()) {
            let end = self.searched + found + 1;
            return match bytes.get(self.at..end).is_some_and(|line| line.ends_with(b"\r\n")) {
                true => Ok(end),
                false => Err(bad(end - 1, "a line between chunks ends without a carriage return")),
            };
        }
        if bytes.len() == limit {
            return Err(self.too_large(limit, unread.len() as u64));
        }
        if bytes.len() == most {
            return Err(bad(most, "a line between chunks has more than 4096 bytes"));
        }
        self.searched = bytes.len();
        Err(Break(Verdict::More { until: unread.len() + 1 }))
    }

    fn chunk_size(&mut self, unread: &[u8]) -> Step {
        if unread.get(self.at).is_some_and(|byte| !byte.is_ascii_hexdigit()) {
            return bad(self.at, "no size of a chunk");
        }
        let end = match self.line(unread) {
            Ok(end) => end,
            Err(step) => return step,
        };
        let Some(size) = header::chunk_size(unread.get(self.at..end).unwrap_or_default()) else {
            return bad(self.at, "no size of a chunk");
        };
        if size == 0 {
            return self.go_on(Phase::Trailer, end);
        }
        let chunk_end = size.saturating_add(end as u64 + 2);
        let least = chunk_end.saturating_add(LAST_CHUNK.len() as u64);
        if least > self.settings.max_length as u64 {
            return self.too_large(self.at, least);
        }
        self.go_on(Phase::Chunk, chunk_end as usize)
    }

    fn chunk(&mut self, unread: &[u8]) -> Step {
        let Some(chunk) = unread.get(..self.at) else {
            return Break(Verdict::More { until: self.at });
        };
        if !chunk.ends_with(b"\r\n") {
            return bad(self.at - 2, "a chunk does not end where its size says");
        }
        self.go_on(Phase::ChunkSize, self.at)
    }

    fn trailer(&mut self, unread: &[u8]) -> Step {
        let end = match self.line(unread) {
            Ok(end) => end,
            Err(step) => return step,
        };
        match end - self.at {
            2 => self.finish(end, unread.len()),
            _ => self.go_on(Phase::Trailer, end),
        }
    }

    #[cold]
    fn too_large(&self, offset: usize, length: u64) -> Step {
        let limit = self.settings.max_length;
        let what = format!("a request of {length} bytes or more, package_max_length is {limit}");
        broken(code::PACKAGE_LENGTH_TOO_LARGE, offset, what.into(), TOO_LARGE)
    }
}

#[cold]
fn bad(offset: usize, what: &'static str) -> Step {
    broken(code::SERVER_INVALID_REQUEST, offset, what.into(), BAD_REQUEST)
}

fn broken(code: i32, offset: usize, what: Cow<'static, str>, farewell: &'static [u8]) -> Step {
    Break(Verdict::Broken(Box::new(Violation { code, offset, what, farewell })))
}

fn is_get(head: &[u8]) -> bool {
    head.starts_with(b"GET ")
}

impl Framer for Http {
    fn next(&mut self, unread: &mut [u8]) -> Verdict {
        let unread = &*unread;
        let head = unread.get(..unread.len().min(HEAD_BYTES)).unwrap_or_default();
        let verdict = loop {
            let step = match self.phase {
                Phase::Method => self.method(head),
                Phase::Target => self.target(head),
                Phase::Version => self.version(head),
                Phase::Head => self.head(head),
                Phase::Body => self.body(unread),
                Phase::ChunkSize => self.chunk_size(unread),
                Phase::Chunk => self.chunk(unread),
                Phase::Trailer => self.trailer(unread),
            };
            if let Break(verdict) = step {
                break verdict;
            }
        };
        let is_waiting = matches!(verdict, Verdict::More { .. });
        if is_waiting && std::mem::take(&mut self.expects_continue) {
            let bytes = Cow::Borrowed(CONTINUE);
            return Verdict::Answer(Answer { used: 0, bytes, is_upgrade: false });
        }
        verdict
    }
}
