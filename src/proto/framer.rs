//! The framer: what a protocol answers about the unread bytes of one connection.

use crate::proto::raw::Raw;

/// What a framer found at the front of the unread bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// One message of so many bytes, at least one and no more than there are.
    Message(usize),
    /// The message is not complete.
    More,
    /// The bytes break the protocol; the connection is to be closed.
    Broken,
}

/// A protocol, with the state of one connection.
pub trait Framer {
    /// Looks at the unread bytes; called again with the rest after each message.
    fn next(&mut self, unread: &[u8]) -> Verdict;

    /// Whether any bytes are a message, so that they can be read straight to where they go.
    fn takes_anything(&self) -> bool;
}

/// The framer of a connection, chosen by the settings of its port.
#[derive(Debug)]
pub enum Choice {
    /// Whatever arrives is a message.
    Raw(Raw),
}

impl Framer for Choice {
    #[inline]
    fn next(&mut self, unread: &[u8]) -> Verdict {
        match self {
            Choice::Raw(framer) => framer.next(unread),
        }
    }

    #[inline]
    fn takes_anything(&self) -> bool {
        match self {
            Choice::Raw(framer) => framer.takes_anything(),
        }
    }
}
