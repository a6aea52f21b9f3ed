//! A twin of each framer: slow, without memory of what it has looked at, written from the law
//! alone. It is shown the whole buffer each time and says what is at its front.

pub mod http;
mod simple;
mod websocket;

use crate::drive::Event;
use swoole::proto::settings::{FramerSettings, Protocol};

/// What is at the front of a buffer.
pub enum Cut {
    /// Nothing that is whole.
    Wait,
    /// This, and so many bytes are used.
    Found(Vec<Event>, usize),
    /// This, and the connection is over.
    Over(Vec<Event>),
}

/// What a connection is besides its buffer.
#[derive(Default)]
pub struct Memory {
    is_websocket: bool,
    has_continued: bool,
    fragments: Option<(u8, u8, Vec<u8>)>,
}

fn broken(code: i32) -> Cut {
    Cut::Over(vec![crate::drive::broken(code)])
}

fn found(bytes: &[u8], used: usize) -> Cut {
    Cut::Found(vec![crate::drive::message(bytes)], used)
}

/// What comes of pieces, for each of them. `letter` is that of the length.
pub fn run(settings: &FramerSettings, letter: u8, pieces: &[&[u8]]) -> Vec<Vec<Event>> {
    let (mut buffer, mut memory, mut is_over) = (Vec::new(), Memory::default(), false);
    let mut outcome = Vec::new();
    for piece in pieces {
        let mut events = Vec::new();
        let mut rest = *piece;
        while !is_over && !rest.is_empty() {
            let (read, behind) = rest.split_at(read_bytes(settings, buffer.len(), rest.len()));
            rest = behind;
            buffer.extend_from_slice(read);
            while !is_over {
                match cut(settings, letter, &buffer, &mut memory) {
                    Cut::Wait => break,
                    Cut::Found(found, used) => {
                        events.extend(found);
                        buffer.drain(..used);
                    }
                    Cut::Over(last) => {
                        events.extend(last);
                        is_over = true;
                    }
                }
            }
        }
        outcome.push(events);
    }
    outcome
}

/// How much of what has arrived one read brings. It means something without `split` only.
fn read_bytes(settings: &FramerSettings, buffered: usize, arrived: usize) -> usize {
    if settings.protocol() != Protocol::Eof || settings.open_eof_split {
        return arrived;
    }
    arrived.min(8192).min(settings.max_length - buffered)
}

fn cut(settings: &FramerSettings, letter: u8, buffer: &[u8], memory: &mut Memory) -> Cut {
    match settings.protocol() {
        Protocol::Raw => simple::raw(buffer),
        Protocol::Eof if settings.open_eof_split => simple::eof_split(settings, buffer),
        Protocol::Eof => simple::eof(settings, buffer),
        Protocol::Length => simple::length(settings, letter, buffer),
        Protocol::LengthFn => simple::length_fn(settings, buffer),
        Protocol::Http if memory.is_websocket => websocket::cut(settings, buffer, memory),
        Protocol::Http => http::cut(settings, buffer, memory),
        Protocol::Mqtt => simple::mqtt(settings, buffer),
        Protocol::Redis => simple::redis(settings, buffer),
    }
}
