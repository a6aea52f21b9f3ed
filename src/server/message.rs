//! Messages between the processes of a server.

use crate::error::{code, Error, Result};
use crate::model::hooks::EventKind;
use crate::model::WorkerId;
use crate::unit::tasks::TaskQueue;

use super::status::unknown_worker;
use super::Server;

impl Server {
    /// Sends a message to another worker.
    pub fn send_message(&self, worker: i32, data: &[u8]) -> Result<()> {
        self.with_unit(|unit| {
            let runtime = unit.runtime();
            if !runtime.hooks.has(EventKind::PipeMessage) {
                let text = "nobody takes messages, register a callback for \"pipeMessage\" first";
                return Err(Error::new(code::SERVER_INVALID_CALLBACK, text));
            }
            let index = usize::try_from(worker).map_err(|_| unknown_worker(worker))?;
            if unit.plan().worker.map(WorkerId::index) == Some(index) {
                let text = format!("can't send messages to self, which worker {worker} is");
                return Err(Error::new(code::INVALID_PARAMS, text));
            }
            let target = runtime.plan.by_worker_id(index);
            let target = target.ok_or_else(|| unknown_worker(worker))?;
            if runtime.plan.users().contains(&target) {
                let text = format!("{worker} is a user process, which takes no messages");
                return Err(Error::new(code::INVALID_PARAMS, text));
            }
            let has_shared_queue = runtime.queue.as_ref().is_some_and(TaskQueue::is_shared);
            if has_shared_queue && runtime.plan.tasks().contains(&target) {
                let text = "no task worker can be addressed with task_ipc_mode 3";
                return Err(Error::new(code::OPERATION_NOT_SUPPORT, text));
            }
            unit.send_message(target, data)
        })
    }
}
