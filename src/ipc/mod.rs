//! How messages travel between units, threads or processes.
//!
//! From the ground up: [`message`] is the header, [`lane`] a ring with one writer,
//! [`shared_lane`] one with many, [`tally`] what went through it, [`ready`] the protocol of
//! sleeping and ringing, [`doorbell`] what wakes; [`wiring`] joins them into an [`inbox`] and an
//! [`outbox`] for each unit.
//!
//! What always holds: a message is published whole or not at all, none is dropped for want of room,
//! two messages of one unit to another stay in order, and a process that dies at any instruction
//! leaves lanes that its successor continues.

pub mod assembly;
pub mod doorbell;
pub mod inbox;
pub mod lane;
pub mod message;
pub mod outbox;
pub mod pending;
pub mod ready;
pub mod shared_lane;
pub mod sync;
pub mod tally;
pub mod wiring;

pub use inbox::{Inbox, Message, Payload};
pub use message::Header;
pub use outbox::{Outbox, Reserved};
pub use tally::Tally;
pub use wiring::{Wiring, WiringPlan};

#[cfg(test)]
mod tally_tests;
#[cfg(test)]
mod tests;
