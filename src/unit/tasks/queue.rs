//! Tasks that travel through a System V queue, for `task_ipc_mode` 2 and 3.
//!
//! Nobody can watch such a queue. Whoever puts a task there rings the task worker that it is for,
//! or one that is idle; and each looks by itself now and then, since other programs ring nobody.
//! Results travel as always.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{fchown, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::ipc::{Header, Inbox, Payload};
use crate::model::packet::{self, PACKET_HEADER};
use crate::model::task::{flag, OpenTask};
use crate::model::worker::Command;
use crate::model::UnitId;
use crate::os::identity::{self, User};
use crate::os::queue::{MessageQueue, Waiting, LONGEST_MESSAGE};
use crate::os::{clock, process};

use super::Unit;

/// How often a task worker looks by itself.
const LOOK_NS: u64 = 20_000_000;
/// How long tasks are taken before others have their turn.
const TURN_NS: u64 = 10_000_000;
/// Payloads from here on travel in a file, or from less on where a queue takes less than that.
const INLINE_LIMIT: usize = LONGEST_MESSAGE - PACKET_HEADER;
/// What such files are called.
const FILE_PREFIX: &str = "swoole.task.";

/// The queue of a server.
pub struct TaskQueue {
    queue: MessageQueue,
    /// It goes with the server.
    is_private: bool,
    /// Any task worker takes any task.
    is_shared: bool,
    folder: String,
    /// Payloads from here on travel in a file.
    inline_limit: usize,
    /// Which server it is, other than every one before.
    server: u64,
    /// Whom task workers run as, if not as the root.
    owner: Option<User>,
}

impl TaskQueue {
    /// The queue with this key, 0 for one of the server alone.
    pub fn open(key: i64, is_shared: bool, folder: &str) -> Result<Self> {
        let failed = |cause| Error::system(&format!("open message queue {key}"), &cause);
        let queue = MessageQueue::open(key).map_err(failed)?;
        let capacity = usize::try_from(queue.capacity().map_err(failed)?).unwrap_or(usize::MAX);
        let inline_limit = INLINE_LIMIT.min(capacity.saturating_sub(PACKET_HEADER));
        let server = clock::wall_ns() ^ (process::pid() as u64) << 40;
        let (is_private, folder) = (key == 0, folder.to_owned());
        Ok(Self { queue, is_private, is_shared, folder, inline_limit, server, owner: None })
    }

    /// Task workers run as this user, who must be able to use the queue and read files of tasks.
    pub(in crate::unit) fn give_to(&mut self, owner: User) {
        if let Err(cause) = self.queue.give_to(owner.id, owner.group) {
            log::warn!("user {} cannot be given the message queue: {cause}", owner.id);
        }
        self.owner = Some(owner);
    }

    /// The server has ended.
    pub fn close(&self) {
        if !self.is_private {
            return;
        }
        if let Err(cause) = self.queue.remove() {
            log::warn!("the message queue cannot be removed: {cause}");
        }
    }

    /// What waits there.
    pub fn waiting(&self) -> Waiting {
        self.queue.waiting().unwrap_or_default()
    }

    /// Any task worker takes any task.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    fn kind_for(&self, worker: i32) -> i64 {
        i64::from(worker) + 1
    }

    /// Puts a task into the queue, and waits for room there.
    fn send(&self, worker: i32, header: &Header, data: &[u8]) -> Result<()> {
        let mut bytes = Vec::with_capacity(PACKET_HEADER + data.len().min(self.inline_limit));
        let failed = |cause| Error::system("put a task into the message queue", &cause);
        if data.len() < self.inline_limit {
            packet::encode(header, self.server, data, &mut bytes);
            return self.queue.send(self.kind_for(worker), &bytes).map_err(failed);
        }
        let path = self
            .write_file(data)
            .map_err(|cause| Error::system(&format!("write a task to {}", self.folder), &cause))?;
        let header = Header { flags: header.flags | flag::TEMPORARY_FILE, ..*header };
        packet::encode(&header, self.server, path.as_bytes(), &mut bytes);
        self.queue.send(self.kind_for(worker), &bytes).map_err(|cause| {
            remove_file(&path);
            failed(cause)
        })
    }

    fn write_file(&self, data: &[u8]) -> std::io::Result<String> {
        let path = format!(
            "{}/{FILE_PREFIX}{:x}.{:x}",
            self.folder,
            process::pid(),
            clock::monotonic_ns()
        );
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let owner = self.owner.filter(|_| identity::is_privileged());
        let given = owner.map_or(Ok(()), |to| fchown(&file, Some(to.id), Some(to.group)));
        given.and_then(|()| file.write_all(data)).map_err(|cause| {
            remove_file(&path);
            cause
        })?;
        Ok(path)
    }

    /// The bytes of a file that a packet names, which is removed. Only files of tasks: the packet
    /// may be anybody's.
    fn read_file(&self, name: &[u8]) -> Option<Vec<u8>> {
        let path = Path::new(std::str::from_utf8(name).ok()?);
        let is_ours = path.parent() == Some(Path::new(&self.folder))
            && path.file_name()?.to_str()?.starts_with(FILE_PREFIX);
        if !is_ours {
            return None;
        }
        let bytes = fs::read(path).ok();
        remove_file(path.to_str()?);
        bytes
    }
}

/// A task of the queue that somebody has in hand, in its row of shared memory.
struct Noted<'a>(&'a OpenTask);

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}

fn remove_file(path: &str) {
    if let Err(cause) = fs::remove_file(path) {
        log::warn!("{path} cannot be removed: {cause}");
    }
}

impl Unit {
    /// Puts a task into the queue for a task worker, and rings it.
    pub(super) fn queue_task(
        &self,
        queue: &TaskQueue,
        to: UnitId,
        header: &Header,
        data: &[u8],
    ) -> Result<()> {
        // The call waits while the queue is full, and what was said before shall not.
        self.tell_others();
        queue.send(self.worker_of(to), header, data)?;
        self.runtime.control.task_root().queued.fetch_add(1, Ordering::Relaxed);
        self.runtime.control.wiring.ring(to.0);
        Ok(())
    }

    /// Does what waits in the message queue, as long as nothing else waits for long.
    pub(in crate::unit) fn take_queued_tasks(&self) {
        let Some(queue) = self.runtime.queue.as_ref().filter(|_| self.task.is_some()) else {
            return;
        };
        let begin_ns = self.last_look_ns.get();
        while self.may_take_queued(queue) && self.take_queued_task(queue) {
            if self.look_up().saturating_sub(begin_ns) > TURN_NS {
                // The others have their turn, and then the loop does not wait.
                return self.wake_within(0);
            }
        }
        self.wake_within(LOOK_NS);
    }

    /// What a queue holds that outlives the server is left to the next one.
    fn may_take_queued(&self, queue: &TaskQueue) -> bool {
        self.may_take_messages() && (queue.is_private || self.command() != Command::Finish)
    }

    /// Whether tasks wait that go with the server.
    pub(in crate::unit) fn has_queued_tasks(&self) -> bool {
        let queue = self.runtime.queue.as_ref().filter(|_| self.task.is_some());
        queue.is_some_and(|queue| queue.is_private && queue.waiting().messages > 0)
    }

    /// Does one task of the queue; false if there is none.
    fn take_queued_task(&self, queue: &TaskQueue) -> bool {
        let Some(task) = &self.task else { return false };
        let kind = match queue.is_shared {
            true => 0,
            false => queue.kind_for(self.worker_of(self.plan.id)),
        };
        let mut bytes = Vec::new();
        // From here on until it is noted a task is in nobody's memory but this unit's.
        self.show_taking(true);
        let taken = queue.queue.take(kind, &mut bytes);
        let packet = packet::decode(&bytes);
        let header = packet.map(|packet| packet.task(queue.server));
        let _noted = header.and_then(|header| self.note_queued(&header));
        self.show_taking(false);
        match taken {
            Ok(Some(())) => {}
            Ok(None) => return false,
            Err(cause) => {
                crate::warn_limited!("the message queue cannot be read: {cause}");
                return false;
            }
        }
        let Some((packet, header)) = packet.zip(header) else {
            crate::warn_limited!("bad task packet of {} bytes, it is skipped", bytes.len());
            return true;
        };
        if header.flags & flag::TEMPORARY_FILE == 0 {
            task.run(self, &header, &Payload::Borrowed(packet.payload));
        } else if let Some(bytes) = queue.read_file(packet.payload) {
            task.run(self, &header, &Payload::Borrowed(&bytes));
        } else {
            crate::warn_limited!("bad task packet: the file that it names cannot be read");
            self.fail_task(self.plan.id, &header);
        }
        if let Some(record) = self.runtime.control.task_record(self.plan.id) {
            record.from_queue.add(1);
        }
        true
    }

    /// Lets whoever buries this unit see whether it is just taking something from the queue.
    fn show_taking(&self, is_taking: bool) {
        if let Some(record) = self.runtime.control.task_record(self.plan.id) {
            record.taking.set(u64::from(is_taking));
        }
    }

    /// A task that was taken is in the queue no more: whoever handed it in has to hear of it when
    /// this worker dies. Noted as long as the result lives.
    fn note_queued(&self, header: &Header) -> Option<Noted<'_>> {
        let control = &self.runtime.control;
        let row = control.open_task(self.plan.id, control.open_limit().checked_sub(1)?)?;
        row.fill(header.source, header.flags, header.session, header.extra);
        Some(Noted(row))
    }

    /// Tells of the task that a task worker was taking from the queue when it died, if it had one.
    pub(in crate::unit) fn tell_half_taken(&self, id: UnitId) {
        let Some(record) = self.runtime.control.task_record(id) else { return };
        if record.taking.get() > 0 {
            record.taking.set(0);
            log::warn!(
                "task worker {} died while it took a task from the message queue: if there was \
                 one, it may be lost, and nobody can be told",
                self.worker_of(id)
            );
        }
    }

    /// A message waits behind the tasks that came before it: those that the queue has now. False:
    /// this worker takes no more.
    pub(in crate::unit) fn take_tasks_before(&self, inbox: &Inbox) -> bool {
        let Some(queue) = self.runtime.queue.as_ref().filter(|_| self.task.is_some()) else {
            return true;
        };
        let count = if inbox.is_empty() { 0 } else { queue.waiting().messages };
        for _ in 0..count {
            if !self.may_take_queued(queue) || !self.take_queued_task(queue) {
                break;
            }
            self.look_up();
        }
        self.may_take_messages()
    }
}
