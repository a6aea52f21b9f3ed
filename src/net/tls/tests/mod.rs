//! TLS with real sockets and a client of another make in a thread beside it.
//!
//! The keys in this folder were made for these tests and open nothing.

mod certificates;
mod clients;
mod limit;
mod noise;
mod peer;
mod settings;
mod traffic;

/// A test that waits longer than this for its peer has failed.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
