//! What a service manager is told: that the server serves, reloads, ends.
//!
//! Called by the root. A service manager hears nobody but the process that it has started, unless
//! it is told to.

use crate::model::UnitId;
use crate::os::{clock, notify};

use super::Runtime;

/// The server serves, or serves again after a reload.
pub fn ready(runtime: &Runtime) {
    let pid = runtime.control.unit(UnitId::ROOT).map_or(0, |record| record.pid());
    say(&format!("READY=1\nMAINPID={pid}"));
}

/// A reload begins; [`ready`] says that it is over.
pub fn reloading() {
    say(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::monotonic_ns() / 1_000));
}

/// The server begins to end.
pub fn stopping() {
    say("STOPPING=1");
}

fn say(state: &str) {
    if let Err(error) = notify::say(state) {
        log::warn!("the service manager at NOTIFY_SOCKET was not told {state:?}: {error}");
    }
}
