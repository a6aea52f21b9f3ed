//! The C face of the library: each `sw_*` function and type that `include/swoole.h` declares.
//!
//! The header is made from this folder, in the order of the modules below, so a chapter of the API
//! is a file here. A function checks its arguments, calls the engine and translates the result; it
//! never decides anything. Its doc comment becomes the comment in the header and has this form,
//! which `tests/tidy` checks:
//!
//! ```text
//! /// What it does, in whole sentences.
//! ///
//! /// - `name`: each parameter in order, with unit and range, and whether it may be NULL.
//! ///
//! /// Returns: the value, left out where there is none.
//! ///
//! /// Errors: by name (`SW_ERROR_...`, `EADDRINUSE`), or "none".
//! ///
//! /// Where: process, phase and thread.
//! ///
//! /// Memory: who owns what, and for how long; left out where no pointer but the handle passes.
//! ```

// The callers are C programs: `unsafe` in the signature would tell them nothing, and what they must
// keep stands in the comments. Each place that follows a pointer says why it may.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

mod callback;
mod handle;

pub mod types;

pub mod library;

pub mod server;

pub mod port;

pub mod connection;

pub mod sending;

pub mod control;

pub mod datagram;

pub mod dispatching;

pub mod message;

pub mod command;

pub mod status;

pub mod task;
pub mod task_waits;

pub mod timer;

pub mod process;

pub mod launch;

pub mod error_codes;
