//! Messages of the program from one process of the server to another.
//!
//! They go through the lane into the worker that all units share, so a message is in shared memory
//! as soon as it was sent, unless the lane is full; then it waits in the memory of the sender. What
//! is in the lane outlives both: a successor of the worker reads on where its predecessor stopped.

use crate::error::{code, Error, Result};
use crate::ipc::Header;
use crate::model::kind::MessageKind;
use crate::model::{SessionId, UnitId};
use crate::os::clock;

use super::Unit;

/// In the place of the sender, where that has no worker id.
const NO_WORKER: i64 = -1;

impl Unit {
    /// Sends a message of the program to another worker. It never waits, but in the function of a
    /// user process, whose loop does not turn meanwhile.
    pub fn send_message(&self, to: UnitId, data: &[u8]) -> Result<()> {
        let source = self.plan.worker.map_or(NO_WORKER, |id| i64::from(id.0));
        let header = self.header(MessageKind::Message, SessionId(source), 0);
        // The time of this turn may be long ago: the loop of a user process does not turn at all.
        let header = Header { time: clock::wall_ns(), ..header };
        let mut outbox = self.outbox.borrow_mut();
        self.note_length(data.len());
        if !outbox.post(to.0, &header, &[data]) {
            let text = format!("no memory to keep a message of {} bytes", data.len());
            return Err(Error::new(code::MALLOC_FAIL, text));
        }
        drop(outbox);
        self.hesitation.anticipate();
        self.tell_if_hasty();
        Ok(())
    }
}
