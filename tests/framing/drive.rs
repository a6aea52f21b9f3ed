//! Shows bytes to a framer as a reactor does, and says what came of it.

use std::sync::Arc;

use swoole::proto::framer::{Choice, Framer, Message, Verdict};
use swoole::proto::settings::{FramerSettings, Protocol};

/// What came of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message, with what a WebSocket frame says besides.
    Message { bytes: Vec<u8>, opcode: u8, flags: u8 },
    /// The peer was told something.
    Answer(Vec<u8>),
    /// The connection was closed with this error, after these bytes to the peer.
    Broken { code: i32, farewell: Vec<u8> },
    /// The connection was closed because the peer wished it.
    End,
}

/// A message without more to say.
pub fn message(bytes: &[u8]) -> Event {
    Event::Message { bytes: bytes.to_vec(), opcode: 0, flags: 0 }
}

/// A close of which the peer is told nothing.
pub fn broken(code: i32) -> Event {
    Event::Broken { code, farewell: Vec::new() }
}

/// One connection.
pub struct Connection {
    framer: Choice,
    unread: Vec<u8>,
    limit: usize,
    is_over: bool,
}

impl Connection {
    pub fn new(settings: &Arc<FramerSettings>) -> Self {
        let framer = Choice::new(settings);
        // A raw message and a header block have a limit of their own, which no setting is below.
        let has_own = matches!(settings.protocol(), Protocol::Raw | Protocol::Http);
        let least = if has_own { 65536 } else { 0 };
        let limit = settings.max_length.max(least);
        Self { framer, unread: Vec::new(), limit, is_over: false }
    }

    pub fn framer(&mut self) -> &mut Choice {
        &mut self.framer
    }

    /// Bytes arrive.
    pub fn feed(&mut self, piece: &[u8]) -> Vec<Event> {
        self.unread.extend_from_slice(piece);
        let mut events = Vec::new();
        while !self.is_over {
            let verdict = self.framer.next(&mut self.unread);
            let Some(used) = self.take(verdict, &mut events) else { break };
            self.unread.drain(..used);
        }
        events
    }

    /// Notes a verdict; the bytes it has used, or `None` if there is nothing more to ask.
    fn take(&mut self, verdict: Verdict, events: &mut Vec<Event>) -> Option<usize> {
        let count = self.unread.len();
        match verdict {
            Verdict::Message(message) => {
                let Message { used, frame, .. } = message;
                assert!(used > 0 && used <= count, "{used} of {count} are used");
                let bytes = message.bytes(&self.unread).to_vec();
                assert!(bytes.len() <= self.limit, "{} bytes above the limit", bytes.len());
                events.push(Event::Message { bytes, opcode: frame.opcode, flags: frame.flags });
                Some(used)
            }
            Verdict::Skip { used, .. } => {
                assert!(used > 0 && used <= count, "{used} of {count} are skipped");
                Some(used)
            }
            Verdict::More { until } => {
                assert!(until > count, "{until} are wanted where {count} are");
                None
            }
            Verdict::Answer(answer) => {
                assert!(!answer.bytes.is_empty() && answer.used <= count);
                events.push(Event::Answer(answer.bytes.into_owned()));
                Some(answer.used)
            }
            Verdict::Broken(violation) => {
                assert!(violation.offset <= count.max(self.limit), "{violation:?}");
                assert!(!violation.what.is_empty());
                let farewell = violation.farewell.to_vec();
                events.push(Event::Broken { code: violation.code, farewell });
                self.is_over = true;
                None
            }
            Verdict::End => {
                events.push(Event::End);
                self.is_over = true;
                None
            }
        }
    }
}

/// What comes of pieces, for each of them.
pub fn run(settings: &FramerSettings, pieces: &[&[u8]]) -> Vec<Vec<Event>> {
    let mut connection = Connection::new(&Arc::new(settings.clone()));
    pieces.iter().map(|piece| connection.feed(piece)).collect()
}

/// What comes of bytes that arrive at once.
pub fn at_once(settings: &FramerSettings, bytes: &[u8]) -> Vec<Event> {
    run(settings, &[bytes]).concat()
}

/// Cuts bytes at these places, in any order.
pub fn cut<'a>(bytes: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (bytes.len() + 1)).collect();
    places.sort_unstable();
    let (mut pieces, mut from) = (Vec::new(), 0);
    for place in places.into_iter().chain([bytes.len()]) {
        pieces.push(&bytes[from..place]);
        from = place;
    }
    pieces
}
