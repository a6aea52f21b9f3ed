//! The rings between processes under a model checker: every interleaving, and every value that the
//! memory model lets a load return, for small sizes.
//!
//! The files are the library's own. Only what they stand on is replaced: atomics and fences are
//! loom's, and each block of ring memory has a cell beside it that reports a race.

#[path = "."]
pub mod ipc {
    //! The same neighbours that the files have in the library.

    #[path = "../../../src/ipc/lane.rs"]
    pub mod lane;
    #[path = "../../../src/ipc/message.rs"]
    pub mod message;
    #[path = "../../../src/ipc/ready.rs"]
    pub mod ready;
    #[path = "../../../src/ipc/shared_lane.rs"]
    pub mod shared_lane;
    pub mod sync;
    #[path = "../../../src/ipc/tally.rs"]
    pub mod tally;
}

#[cfg(test)]
mod models;
