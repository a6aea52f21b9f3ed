//! Replies to datagrams that leave together.
//!
//! A small answer to the datagram in hand, from the port that it came to, goes where something has
//! just come from: the system refuses none of those but for lack of room. So they wait for each
//! other, until the batch ends or others are told, and leave with one call. Every other datagram
//! goes at once, behind them.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;

use crate::os::address::{Address, Family};
use crate::os::datagram::{Gathered, LARGEST_GATHERED};

use super::Unit;

/// What a unit answers to datagrams.
#[derive(Default)]
pub(super) struct Replies {
    /// The socket and the sender of the datagram in hand.
    in_hand: Cell<Option<(RawFd, Address)>>,
    gathered: RefCell<Gathered>,
}

impl Unit {
    /// Runs the callback of a datagram.
    pub(super) fn answer<R>(&self, fd: RawFd, sender: &Address, act: impl FnOnce() -> R) -> R {
        self.replies.in_hand.set(Some((fd, *sender)));
        let result = act();
        self.replies.in_hand.set(None);
        result
    }

    /// Takes a datagram that can wait for others; false if it has to go by itself, now.
    pub fn gather(&self, fd: RawFd, to: &Address, data: &[u8]) -> bool {
        // Of a path it is told at once that nobody is there any more.
        let is_over_ip = to.family() != Family::Unix;
        let is_answer = is_over_ip && self.replies.in_hand.get() == Some((fd, *to));
        if !is_answer || data.len() > LARGEST_GATHERED || self.is_hasty() {
            self.flush_replies();
            return false;
        }
        if !self.replies.gathered.borrow().takes(fd) {
            self.flush_replies();
        }
        self.replies.gathered.borrow_mut().push(fd, data, to);
        true
    }

    /// Sends what was gathered.
    #[inline]
    pub(super) fn flush_replies(&self) {
        if self.replies.gathered.borrow().is_empty() {
            return;
        }
        let patience = self.runtime.settings.datagram_patience();
        if let Some((count, error)) = self.replies.gathered.borrow_mut().send(patience) {
            crate::warn_limited!("{count} answers to datagrams could not be sent: {error}");
        }
    }
}
