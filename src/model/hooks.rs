//! The program's callbacks, and what each is told.
//!
//! A hook is registered before start and never changes afterwards, so units read the table without
//! a lock. The C face registers a closure that turns an [`Event`] into its C form.

use std::ffi::CStr;
use std::sync::Arc;

use crate::error::Result;
use crate::model::dispatch::Chooser;
use crate::model::SessionId;
use crate::proto::framer::Frame;

/// Names an event. The numbers are those of the C interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum EventKind {
    /// The server is up, nothing was accepted yet.
    Start,
    /// An orderly end was requested.
    BeforeShutdown,
    /// The server has ended.
    Shutdown,
    /// The manager is up.
    ManagerStart,
    /// The manager ends, all its children are gone.
    ManagerStop,
    /// A reload begins.
    BeforeReload,
    /// A reload is complete.
    AfterReload,
    /// A worker is up.
    WorkerStart,
    /// A worker ends.
    WorkerStop,
    /// A worker waits for its loop to become empty.
    WorkerExit,
    /// A worker ended abnormally.
    WorkerError,
    /// A connection was accepted.
    Connect,
    /// Bytes or a frame of a connection.
    Receive,
    /// A connection has ended.
    Close,
    /// A datagram.
    Packet,
    /// Much output waits for a connection.
    BufferFull,
    /// Little output waits again.
    BufferEmpty,
    /// A task to run.
    Task,
    /// The result of a task.
    Finish,
    /// A message from another process.
    PipeMessage,
}

const NAMES: [(&str, EventKind); EventKind::COUNT] = [
    ("start", EventKind::Start),
    ("beforeShutdown", EventKind::BeforeShutdown),
    ("shutdown", EventKind::Shutdown),
    ("managerStart", EventKind::ManagerStart),
    ("managerStop", EventKind::ManagerStop),
    ("beforeReload", EventKind::BeforeReload),
    ("afterReload", EventKind::AfterReload),
    ("workerStart", EventKind::WorkerStart),
    ("workerStop", EventKind::WorkerStop),
    ("workerExit", EventKind::WorkerExit),
    ("workerError", EventKind::WorkerError),
    ("connect", EventKind::Connect),
    ("receive", EventKind::Receive),
    ("close", EventKind::Close),
    ("packet", EventKind::Packet),
    ("bufferFull", EventKind::BufferFull),
    ("bufferEmpty", EventKind::BufferEmpty),
    ("task", EventKind::Task),
    ("finish", EventKind::Finish),
    ("pipeMessage", EventKind::PipeMessage),
];

impl EventKind {
    /// Whether each port can have a callback of its own.
    pub fn is_per_port(self) -> bool {
        (EventKind::Connect as usize..=EventKind::BufferEmpty as usize).contains(&(self as usize))
    }

    /// How many kinds there are.
    pub const COUNT: usize = 20;

    /// The event with this number.
    pub fn from_number(number: usize) -> Option<Self> {
        NAMES.get(number).map(|row| row.1)
    }

    /// Its name, without "on".
    pub fn name(self) -> &'static str {
        NAMES.get(self as usize).map_or("", |row| row.0)
    }

    /// The event with this name, in any case, without "on".
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|row| row.0.eq_ignore_ascii_case(name)).map(|row| row.1)
    }
}

/// What a connection event tells.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionEvent<'a> {
    /// The connection.
    pub session: SessionId,
    /// Its reactor; -1 in a close event if the server closed.
    pub reactor_number: i32,
    /// When the data arrived, nanoseconds of wall-clock time; 0 if there is no data.
    pub arrival_ns: u64,
    /// The bytes; empty but in a receive event.
    pub data: &'a [u8],
    /// What a WebSocket frame says besides.
    pub frame: Frame,
}

/// What a packet event tells: one datagram.
#[derive(Clone, Copy, Debug)]
pub struct PacketEvent<'a> {
    /// The descriptor of the port it came to.
    pub socket: i32,
    /// The number of that port, 0 for a path.
    pub server_port: u16,
    /// The address of the sender, or its path; empty if it has none.
    pub address: &'a CStr,
    /// The port of the sender, 0 for a path.
    pub port: u16,
    /// When it arrived, nanoseconds of wall-clock time.
    pub arrival_ns: u64,
    /// What it holds.
    pub data: &'a [u8],
}

/// What a task event tells.
#[derive(Clone, Copy, Debug)]
pub struct TaskEvent<'a> {
    /// The number of the task.
    pub id: i64,
    /// The worker id of whoever handed it in; -1 for the master and the manager.
    pub worker: i32,
    /// See `model/task.rs`.
    pub flags: u8,
    /// When it was handed in, nanoseconds of wall-clock time.
    pub handed_ns: u64,
    /// What it holds.
    pub data: &'a [u8],
}

/// What a finish event tells.
#[derive(Clone, Copy, Debug)]
pub struct FinishEvent<'a> {
    /// The number of the task.
    pub task: i64,
    /// The worker id of the task worker.
    pub worker: i32,
    /// When it was answered, nanoseconds of wall-clock time.
    pub answered_ns: u64,
    /// The result; `None` if there will be none.
    pub data: Option<&'a [u8]>,
}

/// What a worker's start and stop tell.
#[derive(Clone, Copy, Debug)]
pub struct WorkerEvent {
    /// Its id.
    pub worker: i32,
    /// Its process id, or thread id where workers are threads.
    pub pid: i32,
    /// It runs tasks.
    pub is_task_worker: bool,
}

/// What a pipe message event tells.
#[derive(Clone, Copy, Debug)]
pub struct MessageEvent<'a> {
    /// The worker id of the sender, -1 if it has none.
    pub source_worker: i32,
    /// When it was sent, nanoseconds of wall-clock time.
    pub sent_ns: u64,
    /// What it holds.
    pub data: &'a [u8],
}

/// How a worker ended.
#[derive(Clone, Copy, Debug)]
pub struct WorkerError {
    /// Its id.
    pub worker: i32,
    /// The process id it had.
    pub pid: i32,
    /// The raw wait status.
    pub status: i32,
    /// 0 to 255; 0 if a signal ended it.
    pub exit_code: i32,
    /// The signal that ended it, or 0.
    pub signal: i32,
}

/// What a hook is told.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// An event that carries nothing but its kind.
    Plain(EventKind),
    /// Connect, receive or close.
    Connection(EventKind, ConnectionEvent<'a>),
    /// A datagram.
    Packet(PacketEvent<'a>),
    /// A task to run.
    Task(TaskEvent<'a>),
    /// The result of a task.
    Finish(FinishEvent<'a>),
    /// Worker start or stop.
    Worker(EventKind, WorkerEvent),
    /// Worker error.
    Error(WorkerError),
    /// A message from another process.
    Message(MessageEvent<'a>),
}

impl Event<'_> {
    /// Which event it is.
    pub fn kind(&self) -> EventKind {
        match self {
            Event::Plain(kind) | Event::Connection(kind, _) | Event::Worker(kind, _) => *kind,
            Event::Packet(_) => EventKind::Packet,
            Event::Task(_) => EventKind::Task,
            Event::Finish(_) => EventKind::Finish,
            Event::Error(_) => EventKind::WorkerError,
            Event::Message(_) => EventKind::PipeMessage,
        }
    }
}

/// A callback of the program.
pub type Hook = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// Where the program turns the loops of its processes itself and takes events one by one: what a
/// process tells the part that stands between.
#[derive(Clone, Copy, Debug)]
pub struct Pull {
    /// Until when the loop of this thread may wait, monotonic; `None`: for ever.
    pub until_ns: fn() -> Option<u64>,
    /// That time is over. Returns when the loop shall turn again.
    pub pause: fn(),
    /// This process was just forked.
    pub begin: fn(),
    /// The unit of this forked process has ended. Returns when the process shall, too.
    pub end: fn(),
    /// Takes over a close, at once or not, whose event the program could not have before the call
    /// returns.
    pub takes_close: fn(SessionId, bool) -> Result<bool>,
}

/// All callbacks of a server.
#[derive(Clone, Default)]
pub struct Hooks {
    hooks: [Option<Hook>; EventKind::COUNT],
    /// Chooses workers; a server has at most one.
    pub chooser: Option<Chooser>,
    /// The program takes events itself.
    pub pull: Option<Pull>,
}

impl Hooks {
    /// Registers `hook`, in place of an earlier one.
    pub fn set(&mut self, kind: EventKind, hook: Hook) {
        if let Some(place) = self.hooks.get_mut(kind as usize) {
            *place = Some(hook);
        }
    }

    /// Takes a callback out; whether there was one.
    pub fn drop_hook(&mut self, kind: EventKind) -> bool {
        self.hooks.get_mut(kind as usize).is_some_and(|place| place.take().is_some())
    }

    /// These callbacks, and those of `others` for the events that have none here.
    pub fn or(&self, others: &Hooks) -> Hooks {
        let mut all = others.clone();
        for (place, own) in all.hooks.iter_mut().zip(&self.hooks) {
            if own.is_some() {
                place.clone_from(own);
            }
        }
        all
    }

    /// Whether there is a callback for `kind`.
    #[inline]
    pub fn has(&self, kind: EventKind) -> bool {
        matches!(self.hooks.get(kind as usize), Some(Some(_)))
    }

    /// Runs the callback for `event`, if there is one.
    #[inline]
    pub fn raise(&self, event: &Event<'_>) {
        if let Some(Some(hook)) = self.hooks.get(event.kind() as usize) {
            hook(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn names_stand_at_the_numbers_of_their_kinds_and_match_in_any_case() {
        for (index, row) in NAMES.iter().enumerate() {
            assert_eq!(row.1 as usize, index);
            assert_eq!(row.1.name(), row.0);
            assert_eq!(EventKind::from_name(&row.0.to_uppercase()), Some(row.1));
        }
        assert_eq!(EventKind::from_name("onReceive"), None);
    }

    #[test]
    fn the_last_registered_hook_is_the_one_that_runs() {
        let count = Arc::new(AtomicUsize::new(0));
        let mut hooks = Hooks::default();
        for step in [1, 10] {
            let count = Arc::clone(&count);
            hooks.set(
                EventKind::Start,
                Arc::new(move |_| {
                    count.fetch_add(step, Ordering::Relaxed);
                }),
            );
        }
        hooks.raise(&Event::Plain(EventKind::Start));
        hooks.raise(&Event::Plain(EventKind::Shutdown));
        assert_eq!(count.load(Ordering::Relaxed), 10);
        assert!(hooks.has(EventKind::Start) && !hooks.has(EventKind::Shutdown));
    }
}
