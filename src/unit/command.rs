//! Commands: whoever stands for the master has a function of the program run in another process,
//! and waits for its answer.
//!
//! Answers come to the desk, an inbox that belongs to no unit and is read by the one that asks: so
//! it can wait inside a callback without taking anything else, and no callback runs in another. An
//! answer that comes when nobody waits for it any more wakes the loop, which throws it away.

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::error::{code, Error, Result};
use crate::event::{Loop, Token, Watcher};
use crate::ipc::{Header, Inbox};
use crate::model::command::ProgramCommand;
use crate::model::kind::MessageKind;
use crate::model::plan::Start;
use crate::model::{SessionId, UnitId};
use crate::os::clock;

use super::{Runtime, Unit};

/// How long an answer is waited for.
const PATIENCE_NS: u64 = 5_000_000_000;

/// What a unit has for commands.
pub(super) struct Commanding {
    /// The function of a command runs.
    is_inside: Cell<bool>,
    /// In the unit that asks.
    desk: Option<RefCell<Desk>>,
}

/// Where answers come.
struct Desk {
    inbox: Inbox,
    /// What is waited with; made when it is needed first.
    events: Option<Loop>,
}

/// How a request ended: the answer, or the number of an error.
type Answer = std::result::Result<Vec<u8>, i32>;

impl Commanding {
    pub(super) fn new(runtime: &Runtime, watcher: &Watcher, id: UnitId) -> Result<Self> {
        let asks = runtime.plan.face() == id && runtime.plan.has_commands();
        let desk = match asks && !runtime.commands.is_empty() {
            true => Some(RefCell::new(Desk::open(runtime, watcher)?)),
            false => None,
        };
        Ok(Self { is_inside: Cell::new(false), desk })
    }
}

impl Desk {
    fn open(runtime: &Runtime, watcher: &Watcher) -> Result<Self> {
        let id = runtime.control.desk().0;
        let inbox = runtime.control.wiring.inbox(id)?;
        if let Some(doorbell) = runtime.control.wiring.doorbell_fd(id) {
            watcher
                .watch(doorbell, Token::Desk)
                .map_err(|error| Error::system("watch for answers to commands", &error))?;
        }
        let mut desk = Self { inbox, events: None };
        // What a predecessor asked for is nothing that anybody waits for.
        desk.rest();
        Ok(desk)
    }

    /// Takes what has come; the answer to the request with this number, if it is there.
    fn take(&mut self, number: u64) -> Option<Answer> {
        let mut answer = None;
        while let Some(message) = self.inbox.next() {
            let Header { kind, session, extra, .. } = message.header;
            if kind != MessageKind::Reply as u8 || session as u64 != number {
                let number = code::SERVER_INVALID_COMMAND;
                log::warn!("an answer to command request {session} is too late (error {number})");
                continue;
            }
            answer = Some(match i32::try_from(extra) {
                Ok(0) => Ok(message.payload.to_vec()),
                Ok(number) => Err(number),
                Err(_) => Err(code::SERVER_WORKER_ABNORMAL_PIPE_DATA),
            });
        }
        answer
    }

    /// Nobody waits: who brings an answer now has to ring.
    fn rest(&mut self) {
        loop {
            // No request has this number.
            self.take(0);
            if self.inbox.prepare_sleep() {
                return;
            }
        }
    }

    /// Waits until an answer or room for a request may have come; true if the root has ended.
    fn sleep(&mut self, unit: &Unit, wait_ns: u64) -> io::Result<bool> {
        if !self.inbox.prepare_sleep() {
            return Ok(false);
        }
        let events = match &mut self.events {
            Some(events) => events,
            None => self.events.insert(waiting_loop(unit)?),
        };
        let slept = events.wait(Some(Duration::from_millis(wait_ns.div_ceil(1_000_000))));
        self.inbox.wake();
        slept?;
        let is_orphaned = events.ready().any(|ready| ready.token == Token::RootEnd);
        Ok(is_orphaned)
    }
}

/// A loop that knows what can end the wait for an answer, beside that of the unit.
fn waiting_loop(unit: &Unit) -> io::Result<Loop> {
    let events = Loop::new()?;
    let watcher = events.watcher()?;
    let wiring = &unit.runtime.control.wiring;
    for (id, token) in [(unit.runtime.control.desk(), Token::Desk), (unit.plan.id, Token::Doorbell)]
    {
        if let Some(doorbell) = wiring.doorbell_fd(id.0) {
            watcher.watch(doorbell, token)?;
        }
    }
    if unit.plan.start == Start::Fork {
        watcher.watch(unit.root_descriptor(), Token::RootEnd)?;
    }
    Ok(events)
}

/// What the caller is told of a request that has no answer.
fn refusal(name: &str, number: i32) -> Error {
    let text = match number {
        code::SERVER_INVALID_REQUEST => format!("command {name:?} has failed"),
        code::SERVER_WORKER_TERMINATED => {
            format!("the process that command {name:?} ran in has ended in the middle of it")
        }
        _ => format!("the answer to command {name:?} could not be brought"),
    };
    Error::new(number, text)
}

impl Unit {
    /// Whether the function of a command runs here.
    pub fn is_in_command(&self) -> bool {
        self.commanding.is_inside.get()
    }

    /// Runs a command here.
    pub fn run_command(&self, command: &ProgramCommand, data: &[u8]) -> Result<Vec<u8>> {
        let answer = self.enter_command(command, data);
        answer.ok_or_else(|| refusal(&command.name, code::SERVER_INVALID_REQUEST))
    }

    fn enter_command(&self, command: &ProgramCommand, data: &[u8]) -> Option<Vec<u8>> {
        let mut answer = None;
        self.commanding.is_inside.set(true);
        self.call(|| answer = (command.hook)(data));
        self.commanding.is_inside.set(false);
        answer
    }

    /// Has the command with this index run in another unit, and waits for its answer.
    pub fn ask_for(&self, to: UnitId, index: usize, data: &[u8]) -> Result<Vec<u8>> {
        let runtime = &self.runtime;
        let name = runtime.commands.get(index).map_or("", |command| command.name.as_str());
        let Some(desk) = &self.commanding.desk else {
            return Err(refusal(name, code::WRONG_OPERATION));
        };
        let round = &runtime.control.root().command_round;
        let number = round.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let header = self.header(MessageKind::Command, SessionId(number as i64), index as u64);
        if !self.outbox.borrow_mut().post(to.0, &header, &[data]) {
            let text = format!("no memory to keep {} bytes for command {name:?}", data.len());
            return Err(Error::new(code::MALLOC_FAIL, text));
        }
        // No callback runs before the borrow ends.
        let mut desk = desk.borrow_mut();
        let answer = self.await_answer(&mut desk, number);
        desk.rest();
        match answer {
            Ok(Some(answer)) => answer.map_err(|error| refusal(name, error)),
            Ok(None) => {
                let wait_s = PATIENCE_NS / 1_000_000_000;
                let text = format!("command {name:?} was not answered within {wait_s} s");
                Err(Error::new(code::TASK_TIMEOUT, text))
            }
            Err(error) => Err(Error::system("wait for the answer to a command", &error)),
        }
    }

    fn await_answer(&self, desk: &mut Desk, number: u64) -> io::Result<Option<Answer>> {
        let until_ns = clock::monotonic_ns().saturating_add(PATIENCE_NS);
        loop {
            self.tell_others();
            let answer = desk.take(number);
            let wait_ns = until_ns.saturating_sub(clock::monotonic_ns());
            if answer.is_some() || wait_ns == 0 {
                return Ok(answer);
            }
            if desk.sleep(self, wait_ns)? {
                self.end_orphaned();
            }
        }
    }

    /// Throws away answers that nobody waits for.
    pub(super) fn clear_desk(&self) {
        if let Some(desk) = &self.commanding.desk {
            let mut desk = desk.borrow_mut();
            desk.inbox.wake();
            desk.rest();
        }
    }

    /// Runs a command that another unit asks for, and answers.
    pub(super) fn answer_command(&self, header: &Header, data: &[u8]) {
        let command =
            usize::try_from(header.extra).ok().and_then(|index| self.runtime.commands.get(index));
        let Some(command) = command else {
            let number = code::SERVER_INVALID_COMMAND;
            return log::warn!("there is no command {} (error {number})", header.extra);
        };
        let number = header.session as u64;
        if let Some(record) = self.record() {
            record.set_request_in_hand(number);
        }
        match self.enter_command(command, data) {
            Some(answer) => self.reply(number, 0, &answer),
            None => self.reply(number, code::SERVER_INVALID_REQUEST, &[]),
        }
        if let Some(record) = self.record() {
            record.set_request_in_hand(0);
        }
        self.tell_if_hasty();
    }

    /// A predecessor has died in a command: whoever waits need not wait any longer.
    pub(super) fn fail_lost_request(&self) {
        let lost = self.record().map_or(0, |record| record.set_request_in_hand(0));
        if lost != 0 {
            self.reply(lost, code::SERVER_WORKER_TERMINATED, &[]);
            self.tell_others();
        }
    }

    fn reply(&self, number: u64, error: i32, answer: &[u8]) {
        let desk = self.runtime.control.desk();
        let (session, error) = (SessionId(number as i64), u64::from(error.unsigned_abs()));
        self.post(desk, MessageKind::Reply, session, error, answer);
    }
}
