//! The same tests through the pull face: `on` becomes `sw_server_want`, and `start` launches the
//! server and calls the test's callbacks itself, as events come.

use super::api::{last_error, Handle, Result};
use std::cell::RefCell;
use std::ffi::{c_char, c_void, CString};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use swoole::ffi::launch::{sw_next_t, sw_role_t};
use swoole::ffi::types::{sw_callback_t, sw_event_t, sw_server_t, SW_THREAD};

#[allow(improper_ctypes)]
extern "C" {
    fn sw_server_want(server: *mut sw_server_t, event: *const c_char) -> bool;
    fn sw_server_launch(server: *mut sw_server_t) -> sw_role_t;
    fn sw_server_next_event(
        server: *mut sw_server_t,
        timeout: f64,
        event: *mut sw_event_t,
    ) -> sw_next_t;
    fn sw_server_event_done(server: *mut sw_server_t) -> bool;
    fn sw_server_role(server: *const sw_server_t) -> sw_role_t;
}

/// The events in the order of their numbers, from 1 on.
const NAMES: [&str; 20] = [
    "start",
    "beforeShutdown",
    "shutdown",
    "managerStart",
    "managerStop",
    "beforeReload",
    "afterReload",
    "workerStart",
    "workerStop",
    "workerExit",
    "workerError",
    "connect",
    "receive",
    "close",
    "packet",
    "bufferFull",
    "bufferEmpty",
    "task",
    "finish",
    "pipeMessage",
];

/// A callback and what it is registered with.
#[derive(Clone, Copy)]
struct Wanted {
    server: *mut sw_server_t,
    kind: i32,
    callback: sw_callback_t,
    user_data: *mut c_void,
}

static IS_CHOSEN: AtomicBool = AtomicBool::new(false);

thread_local! {
    static WANTED: RefCell<Vec<Wanted>> = const { RefCell::new(Vec::new()) };
}

/// From now on tests of this process go through this face.
pub fn choose() {
    IS_CHOSEN.store(true, Ordering::Relaxed);
}

/// Whether this server goes through this face: threads of the library cannot.
pub fn is_chosen(server: Handle) -> bool {
    IS_CHOSEN.load(Ordering::Relaxed) && server.mode() != SW_THREAD
}

/// As `sw_server_on`.
pub fn on(server: Handle, event: &str, callback: sw_callback_t, user_data: *mut c_void) -> bool {
    let name = CString::new(event).expect("a text of a test holds no NUL");
    // SAFETY: the handle is alive, as `Handle` says, and the text lives through the call.
    if callback.is_none() || !unsafe { sw_server_want(server.raw, name.as_ptr()) } {
        return false;
    }
    let kind = NAMES.iter().position(|known| known.eq_ignore_ascii_case(event));
    let kind = kind.expect("the library knows the event, too") as i32 + 1;
    WANTED.with_borrow_mut(|wanted| {
        wanted.retain(|entry| entry.server != server.raw || entry.kind != kind);
        wanted.push(Wanted { server: server.raw, kind, callback, user_data });
    });
    true
}

/// What a call that gives one event has given.
pub enum Next {
    Event(sw_event_t),
    Timeout,
    Forked,
    Ended,
}

/// As the functions of these names; `role` asks the process.
impl Handle {
    pub fn want(self, event: &str) -> Result<()> {
        let name = CString::new(event).expect("a text of a test holds no NUL");
        // SAFETY: the handle is alive, as `Handle` says, and the text lives through the call.
        unsafe { sw_server_want(self.raw, name.as_ptr()) }.then_some(()).ok_or_else(last_error)
    }

    pub fn launch(self) -> Result<sw_role_t> {
        // SAFETY: the handle is alive, as `Handle` says.
        match unsafe { sw_server_launch(self.raw) } {
            sw_role_t::SW_ROLE_FAILED => Err(last_error()),
            role => Ok(role),
        }
    }

    pub fn next_event(self, timeout: f64) -> Result<Next> {
        let mut event = MaybeUninit::uninit();
        // SAFETY: the handle is alive, as `Handle` says; the place can be written.
        match unsafe { sw_server_next_event(self.raw, timeout, event.as_mut_ptr()) } {
            sw_next_t::SW_NEXT_FAILED => Err(last_error()),
            sw_next_t::SW_NEXT_TIMEOUT => Ok(Next::Timeout),
            // SAFETY: it was filled, as the result says.
            sw_next_t::SW_NEXT_EVENT => Ok(Next::Event(unsafe { event.assume_init() })),
            sw_next_t::SW_NEXT_FORKED => Ok(Next::Forked),
            sw_next_t::SW_NEXT_ENDED => Ok(Next::Ended),
        }
    }

    pub fn event_done(self) -> Result<()> {
        // SAFETY: the handle is alive, as `Handle` says.
        unsafe { sw_server_event_done(self.raw) }.then_some(()).ok_or_else(last_error)
    }

    pub fn role(self) -> sw_role_t {
        // SAFETY: the handle is alive, as `Handle` says.
        unsafe { sw_server_role(self.raw) }
    }
}

/// As `sw_server_start`: launches the server and does what its callbacks would do.
pub fn start(server: Handle) -> Result<()> {
    let caller = std::process::id();
    if server.launch()? == sw_role_t::SW_ROLE_ENDED {
        return Ok(());
    }
    loop {
        match server.next_event(-1.0)? {
            Next::Event(event) => {
                call_back(server, &event);
                server.event_done()?;
            }
            Next::Forked | Next::Timeout => {}
            Next::Ended if std::process::id() == caller => return Ok(()),
            Next::Ended => std::process::exit(0),
        }
    }
}

fn call_back(server: Handle, event: &sw_event_t) {
    // SAFETY: all members begin with the kind.
    let kind = unsafe { event.kind } as i32;
    let is_it = |entry: &&Wanted| entry.server == server.raw && entry.kind == kind;
    let wanted = WANTED.with_borrow(|wanted| wanted.iter().find(is_it).copied());
    let Wanted { callback, user_data, .. } = wanted.expect("an event that is wanted");
    callback.expect("a callback")(server.raw, event, user_data);
}
