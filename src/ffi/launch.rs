//! The pull face: the program takes events one by one instead of being called back. Such as cannot
//! give a library functions to call, or not over a fork, embed the server by this.
//!
//! The engine is the same and knows next to nothing of it: it runs on a second stack of the same
//! thread. The hook of an event that is wanted hands it over and steps out; `sw_server_next_event`
//! steps in again, which is the return of the callback. So what an event points to stays, and
//! whatever holds while a callback runs holds until the next event is asked for.
//!
//! A fork copies both stacks: the child comes out where its parent has stepped in.

#![allow(non_camel_case_types)]

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_double, c_void};
use std::rc::Rc;
use std::sync::Arc;

use super::handle::{borrow, fill, guard, text};
use super::server::translate;
use super::types::{sw_event_t, sw_process_t, sw_server_t};
use crate::error::{code, Error, Result};
use crate::model::hooks::{Event, Hook, Pull};
use crate::model::SessionId;
use crate::os::clock;
use crate::os::second_stack::{is_inside, step_out, SecondStack};
use crate::unit;

const NS_PER_S: f64 = 1e9;

/// What a process does that has come out of `sw_server_launch`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum sw_role_t {
    /// The server could not start.
    SW_ROLE_FAILED = -1,
    /// The caller, and the server has ended.
    SW_ROLE_ENDED = 0,
    /// The caller in SW_PROCESS mode: it has the events of the server.
    SW_ROLE_MASTER = 1,
    /// It has the events of reloads and of workers that fail. SW_BASE: the caller.
    SW_ROLE_MANAGER = 2,
    /// It has the events of connections.
    SW_ROLE_WORKER = 3,
    /// It has the tasks.
    SW_ROLE_TASK_WORKER = 4,
    /// It runs the function of a user process, see `sw_server_launch_process`.
    SW_ROLE_USER_PROCESS = 5,
}

/// What has come out of `sw_server_next_event`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum sw_next_t {
    /// The call was wrong, or the server could not start: see `sw_last_error`.
    SW_NEXT_FAILED = -1,
    /// No event came in time.
    SW_NEXT_TIMEOUT = 0,
    /// An event.
    SW_NEXT_EVENT = 1,
    /// This is a new process: its parent was in this call when it was forked. Ask `sw_server_role`
    /// which. It happens only where the master or the manager takes events, as those fork.
    SW_NEXT_FORKED = 2,
    /// There will be no more. In the caller the server has ended; any other process has to exit,
    /// with 0, and does so in the next call if it has not.
    SW_NEXT_ENDED = 3,
}

/// What the engine has stepped out with.
#[derive(Clone, Copy)]
enum Handed {
    /// An event.
    Event(sw_event_t),
    /// Nothing: the time is over, or the program is to go on.
    Turn,
    /// The unit of this process, a child, has ended.
    End,
}

/// A server that was launched in this thread.
struct Launched {
    stack: SecondStack,
    /// What start has returned.
    outcome: Rc<Cell<Option<Result<()>>>>,
}

/// What both stacks of this thread see.
struct Exchange {
    /// Empty also while the engine runs.
    launched: Cell<Option<Launched>>,
    /// The handle of that server.
    server: Cell<usize>,
    handed: Cell<Option<Handed>>,
    until_ns: Cell<Option<u64>>,
    /// The program has not been told that this process is new.
    is_new: Cell<bool>,
    /// The program has come out in this process.
    is_known: Cell<bool>,
    /// The program works on an event.
    is_in_hand: Cell<bool>,
    /// Connections to be closed when it is done with that, and whether at once.
    closes: RefCell<Vec<(SessionId, bool)>>,
}

thread_local! {
    static EXCHANGE: Exchange = const {
        Exchange {
            launched: Cell::new(None),
            server: Cell::new(0),
            handed: Cell::new(None),
            until_ns: Cell::new(None),
            is_new: Cell::new(false),
            is_known: Cell::new(false),
            is_in_hand: Cell::new(false),
            closes: RefCell::new(Vec::new()),
        }
    };
}

/// Has the program take an event by sw_server_next_event, in the place of a callback. Events of
/// ports that have a callback of their own stay with that.
///
/// - `server`: the server.
/// - `event`: the name in any case, as for sw_server_on.
///
/// Returns: true if it will be given.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, or no such event), SW_ERROR_WRONG_OPERATION (after
/// start).
///
/// Where: before start, any thread.
///
/// Memory: the name is copied.
#[no_mangle]
pub extern "C" fn sw_server_want(server: *mut sw_server_t, event: *const c_char) -> bool {
    guard(false, || {
        let handle = borrow(server)?;
        let kind = handle.server.on(text("the name of the event", event)?, handing_hook())?;
        if let Some(place) = handle.callbacks.lock().get_mut(kind as usize) {
            *place = None;
        }
        Ok(true)
    })
}

/// Starts the server and returns in each process that has events for the program: in every worker
/// and task worker, in a user process that was made with sw_server_launch_process, and in master
/// and manager if one of their events is wanted. Each then calls sw_server_next_event until nothing
/// comes any more. Where no event is wanted, in the caller, it returns when the server has ended.
///
/// A process is there when the function has returned; "workerStart" is the first event of a worker,
/// if it is wanted. Callbacks that were registered are called as ever, by sw_server_next_event, on
/// a stack of 8 MiB of the library's, so leave them to languages that look at no stack.
///
/// - `server`: a server for which "receive" is wanted, or has a callback.
///
/// Returns: the role of the process, SW_ROLE_ENDED or SW_ROLE_FAILED.
///
/// Errors: as for sw_server_start, SW_ERROR_OPERATION_NOT_SUPPORT (SW_THREAD mode).
///
/// Where: before start, from the only thread of the program.
///
/// Memory: nothing changes hands. The stack belongs to the library. Processes that were forked must
/// not free the server.
#[no_mangle]
pub extern "C" fn sw_server_launch(server: *mut sw_server_t) -> sw_role_t {
    guard(sw_role_t::SW_ROLE_FAILED, || {
        let known = &borrow(server)?.server;
        let pull = Pull { until_ns, pause, begin, end, takes_close };
        known.pull(pull, Arc::new(|_| pause()))?;
        if is_launched() {
            let text = "another server was launched in this process and has not ended";
            return Err(Error::new(code::SERVER_ONLY_START_ONE, text));
        }
        let outcome = Rc::new(Cell::new(None));
        let told = Rc::clone(&outcome);
        let address = server as usize;
        let body = move || {
            let start = || Ok(borrow(address as *mut sw_server_t)?.server.start());
            let internal = || Error::new(code::FATAL_ERROR, "an internal error, see the log");
            told.set(Some(guard(Err(internal()), start)));
        };
        let stack = SecondStack::new(body)
            .map_err(|error| Error::system("make a stack for the server", &error))?;
        let launched = Launched { stack, outcome };
        EXCHANGE.with(|exchange| {
            exchange.server.set(address);
            exchange.until_ns.set(None);
        });
        let is_up = step_in(launched)?;
        EXCHANGE.with(|exchange| exchange.is_new.set(false));
        drop_turn();
        Ok(if is_up { role() } else { sw_role_t::SW_ROLE_ENDED })
    })
}

/// Gives the next event, with the same contents and in the same order as the callbacks get them.
/// The call is also what turns the loop of this process, so nothing else happens there as long as
/// the program does not make it: what was sent leaves, timers fire, and signals are heard inside.
///
/// The event before is done with this, see sw_server_event_done. A connection that the program has
/// closed meanwhile is closed now, and its close event comes next.
///
/// - `server`: the server.
/// - `timeout`: seconds; below 0 waits for ever, 0 looks once.
/// - `event`: is filled if the result is SW_NEXT_EVENT; not NULL.
///
/// Returns: what has come.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, or not a number),
/// SW_ERROR_WRONG_OPERATION (not launched by this thread, has ended, inside a callback, or in a
/// process that the program has forked). In the caller: what sw_server_start fails with.
///
/// Where: in each process that has come out of sw_server_launch, in the thread that has called it.
///
/// Memory: what the event points to is borrowed until this is called again, or until
/// sw_server_event_done.
#[no_mangle]
pub extern "C" fn sw_server_next_event(
    server: *mut sw_server_t,
    timeout: c_double,
    event: *mut sw_event_t,
) -> sw_next_t {
    guard(sw_next_t::SW_NEXT_FAILED, || {
        borrow(server)?;
        if event.is_null() || timeout.is_nan() {
            let text = format!("the event is {event:p}, and the timeout {timeout} s");
            return Err(Error::new(code::INVALID_PARAMS, text));
        }
        let launched = take_launched(server)?;
        // What has come with the process is given first.
        if EXCHANGE.with(|exchange| exchange.handed.get().is_some()) {
            EXCHANGE.with(|exchange| exchange.launched.set(Some(launched)));
            return give(event);
        }
        EXCHANGE.with(|exchange| exchange.until_ns.set(deadline_ns(timeout)));
        if !step_in(launched)? {
            return Ok(sw_next_t::SW_NEXT_ENDED);
        }
        if EXCHANGE.with(|exchange| exchange.is_new.replace(false)) {
            drop_turn();
            return Ok(sw_next_t::SW_NEXT_FORKED);
        }
        give(event)
    })
}

/// Releases the event that was given last: what it points to is not looked at any more. The next
/// call of sw_server_next_event does the same.
///
/// - `server`: the server.
///
/// Returns: true if there was one.
///
/// Errors: SW_ERROR_WRONG_OPERATION (none was given, or it is done already; or as for
/// sw_server_next_event).
///
/// Where: as for sw_server_next_event.
#[no_mangle]
pub extern "C" fn sw_server_event_done(server: *mut sw_server_t) -> bool {
    guard(false, || {
        borrow(server)?;
        let launched = take_launched(server)?;
        EXCHANGE.with(|exchange| exchange.launched.set(Some(launched)));
        if !EXCHANGE.with(|exchange| exchange.is_in_hand.replace(false)) {
            return Err(Error::new(code::WRONG_OPERATION, "no event is in hand"));
        }
        Ok(true)
    })
}

/// Tells what this process does.
///
/// - `server`: the server.
///
/// Returns: its role; SW_ROLE_MASTER also while nothing runs; SW_ROLE_FAILED if the server is none.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL).
///
/// Where: in each process that has come out of sw_server_launch, in the thread that has called it.
#[no_mangle]
pub extern "C" fn sw_server_role(server: *const sw_server_t) -> sw_role_t {
    guard(sw_role_t::SW_ROLE_FAILED, || {
        borrow(server)?;
        Ok(role())
    })
}

/// The function for sw_process_new with which a user process comes out of sw_server_launch, with
/// SW_ROLE_USER_PROCESS. What the program does until it calls sw_server_next_event is what the
/// function of the process would do; that call is its return.
///
/// - `server`: the server.
/// - `process`: the user process.
/// - `user_data`: not looked at; may be NULL.
///
/// Errors: none.
///
/// Where: never called by a program, only given to sw_process_new.
///
/// Memory: nothing changes hands.
#[no_mangle]
pub extern "C-unwind" fn sw_server_launch_process(
    server: *mut sw_server_t,
    process: *mut sw_process_t,
    user_data: *mut c_void,
) {
    let (_, _, _) = (server, process, user_data);
    hand_over(Handed::Turn);
}

/// What runs for an event that is wanted.
fn handing_hook() -> Hook {
    Arc::new(|event: &Event<'_>| {
        if !is_inside() {
            let name = event.kind().name();
            crate::warn_limited!("nobody takes the event {name}, see sw_server_launch");
        }
        hand_over(Handed::Event(translate(event)));
    })
}

fn role() -> sw_role_t {
    let roles = unit::with_current(|unit| unit.plan().roles);
    match roles {
        Some(roles) if roles.is_user() => sw_role_t::SW_ROLE_USER_PROCESS,
        Some(roles) if roles.is_task() => sw_role_t::SW_ROLE_TASK_WORKER,
        Some(roles) if roles.is_any_worker() => sw_role_t::SW_ROLE_WORKER,
        Some(roles) if roles.is_manager() => sw_role_t::SW_ROLE_MANAGER,
        Some(_) | None => sw_role_t::SW_ROLE_MASTER,
    }
}

fn is_launched() -> bool {
    EXCHANGE.with(|exchange| {
        let launched = exchange.launched.take();
        let is_launched = launched.is_some();
        exchange.launched.set(launched);
        is_launched || is_inside()
    })
}

/// What this thread has launched, for whoever steps in or puts it back.
fn take_launched(server: *const sw_server_t) -> Result<Launched> {
    let wrong = |text| Err(Error::new(code::WRONG_OPERATION, text));
    if is_inside() {
        return wrong("a callback takes no events, the program that has launched the server does");
    }
    if unit::is_copy() {
        return wrong("a process that the program has forked is none of the server's");
    }
    if EXCHANGE.with(|exchange| exchange.server.get()) != server as usize {
        return wrong("this thread has not launched this server");
    }
    let missing = "this thread has launched no server, or it has ended";
    EXCHANGE.with(|exchange| exchange.launched.take()).map_or_else(|| wrong(missing), Ok)
}

/// Runs the engine until it has something for the program; false if the server has ended. A process
/// that is forked meanwhile comes out of here, too.
fn step_in(mut launched: Launched) -> Result<bool> {
    EXCHANGE.with(|exchange| exchange.is_in_hand.set(false));
    let is_up = launched.stack.run();
    EXCHANGE.with(|exchange| {
        exchange.is_known.set(is_up);
        if is_up {
            exchange.launched.set(Some(launched));
            return Ok(true);
        }
        let missing = || Err(Error::new(code::FATAL_ERROR, "start has not returned"));
        launched.outcome.take().unwrap_or_else(missing).map(|()| false)
    })
}

/// The program learns that it is there by something else than that it has its turn.
fn drop_turn() {
    EXCHANGE.with(|exchange| match exchange.handed.get() {
        Some(Handed::Turn) => exchange.handed.set(None),
        Some(Handed::Event(_) | Handed::End) | None => {}
    });
}

/// Gives the program what the engine has stepped out with.
fn give(event: *mut sw_event_t) -> Result<sw_next_t> {
    EXCHANGE.with(|exchange| match exchange.handed.take() {
        Some(Handed::Event(told)) => {
            fill("the event", event, told)?;
            exchange.is_in_hand.set(true);
            Ok(sw_next_t::SW_NEXT_EVENT)
        }
        Some(Handed::End) => Ok(sw_next_t::SW_NEXT_ENDED),
        Some(Handed::Turn) | None => Ok(sw_next_t::SW_NEXT_TIMEOUT),
    })
}

/// When a wait is over that begins now; `None`: never.
fn deadline_ns(timeout_s: f64) -> Option<u64> {
    // Times that are too long for the type become its largest value.
    (timeout_s >= 0.0)
        .then(|| clock::monotonic_ns().saturating_add((timeout_s * NS_PER_S).ceil() as u64))
}

/// The program has its turn with this. Returns when it is done with it, and what it wants closed
/// is. Nothing happens where the server was not launched.
fn hand_over(handed: Handed) {
    if !is_inside() {
        return;
    }
    EXCHANGE.with(|exchange| exchange.handed.set(Some(handed)));
    step_out();
    // Those that were asked for meanwhile, and not in the close events that follow.
    let (server, closes) =
        EXCHANGE.with(|exchange| (exchange.server.get(), exchange.closes.take()));
    for (session, is_reset) in closes {
        let closed = borrow(server as *mut sw_server_t)
            .and_then(|known| known.server.close(session, is_reset));
        if let Err(error) = closed {
            log::debug!("{error}");
        }
    }
}

fn pause() {
    hand_over(Handed::Turn);
}

/// The time up to which the loop may wait, if it turns on the second stack.
fn until_ns() -> Option<u64> {
    EXCHANGE.with(|exchange| exchange.until_ns.get()).filter(|_| is_inside())
}

/// In a process that was just forked: nothing is as the parent has left it.
fn begin() {
    EXCHANGE.with(|exchange| {
        exchange.handed.set(None);
        exchange.until_ns.set(None);
        exchange.is_new.set(true);
        exchange.is_known.set(false);
        exchange.is_in_hand.set(false);
        exchange.closes.borrow_mut().clear();
    });
}

/// The program is told of the end of its process, if it has come out there.
fn end() {
    if is_inside() && EXCHANGE.with(|exchange| exchange.is_known.get()) {
        hand_over(Handed::End);
    }
}

/// See [`Pull::takes_close`].
fn takes_close(session: SessionId, is_reset: bool) -> Result<bool> {
    EXCHANGE.with(|exchange| {
        if is_inside() || !exchange.is_known.get() {
            return Ok(false);
        }
        let mut closes = exchange.closes.borrow_mut();
        let is_told =
            |(id, was_reset): &(SessionId, bool)| *id == session && *was_reset >= is_reset;
        if closes.iter().any(is_told) {
            let text = format!("connection {} is being closed", session.0);
            return Err(Error::new(code::SESSION_CLOSING, text));
        }
        closes.push((session, is_reset));
        Ok(true)
    })
}
