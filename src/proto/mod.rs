//! Protocols: how the bytes of a connection become messages. No socket, no clock.

pub mod framer;
pub mod raw;
