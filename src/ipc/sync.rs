//! What the rings stand on: atomics, shared memory, and the places where a test may stop a process.
//!
//! `lane.rs`, `shared_lane.rs`, `ready.rs` and `message.rs` name nothing else of the crate, so that
//! the model checker (`tests/loom`) compiles the very same files over its own version of this one.

pub use std::sync::atomic::{fence, AtomicU32, AtomicU64, Ordering};

pub use crate::shm::{Bytes, Line, Place, RobustMutex, Shared};

/// Units that one wiring can join.
pub const MAX_UNITS: usize = 1024;

/// A point between two steps that others can see. In tests the process may end here.
#[cfg(not(test))]
#[inline(always)]
pub fn step() {}

#[cfg(test)]
pub use super::tests::step;
