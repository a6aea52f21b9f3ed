//! Protocols: how the bytes of a connection become messages. No socket, no clock.

pub mod eof;
pub mod framer;
pub mod http;
pub mod length;
pub mod mqtt;
pub mod raw;
pub mod redis;
pub mod settings;
pub mod websocket;

mod search;
