//! What a server is, without running it: settings, placement, shared records, callbacks.
//!
//! Nothing here opens a socket, starts a process or waits. The floor above (`unit`) runs what is
//! described here.

pub mod command;
pub mod connection;
pub mod control;
pub mod dispatch;
pub mod hooks;
pub mod kind;
pub mod packet;
pub mod plan;
pub mod port;
pub mod route;
pub mod settings;
pub mod task;
pub mod user;
pub mod value;
pub mod worker;

/// The id of one accepted connection, what C calls `fd`; positive, never used twice by a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub i64);

/// The number of a worker: 0 to `worker_num` - 1; those of user processes follow. It survives a
/// respawn, the process does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

/// The number of a unit in the plan; unit 0 is the caller of `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(pub u16);

impl UnitId {
    /// The unit that `start` itself becomes.
    pub const ROOT: UnitId = UnitId(0);

    /// As an index into tables that have one row a unit.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl WorkerId {
    /// As an index into tables that have one row a worker.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
