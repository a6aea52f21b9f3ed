//! Timers and the event loop of the calling process.

use std::ffi::{c_int, c_void};
use std::rc::Rc;

use super::callback::enter;
use super::handle::{borrow, guard};
use super::types::{
    sw_defer_fn_t, sw_io_fn_t, sw_server_t, sw_timer_fn_t, SW_IO_READ, SW_IO_WRITE,
};
use crate::error::{code, Error, Result};
use crate::event::timer::TimerId;
use crate::event::Interests;
use crate::server::timer;

fn no_callback() -> Error {
    Error::new(code::INVALID_PARAMS, "the callback is NULL")
}

fn add_timer(
    server: *mut sw_server_t,
    milliseconds: i64,
    is_repeated: bool,
    callback: sw_timer_fn_t,
    user_data: *mut c_void,
) -> i64 {
    guard(-1, || {
        let handle = borrow(server)?;
        let call = callback.ok_or_else(no_callback)?;
        let hook = Rc::new(move |id: TimerId| enter("timer", || call(id.0, user_data)));
        Ok(handle.server.add_timer(milliseconds, is_repeated, hook)?.0)
    })
}

/// Calls the program again and again, on a grid that begins now. Points of the grid that pass while
/// the callback runs are left out.
///
/// - `server`: the server.
/// - `milliseconds`: between two calls; at least 1.
/// - `callback`: what is called, with the id of the timer; not NULL.
/// - `user_data`: handed to the callback; may be NULL.
///
/// Returns: the id of the timer, 1 or above and ascending in each process; -1 on an error.
///
/// Errors: SW_ERROR_INVALID_PARAMS (less than 1 ms, NULL), SW_ERROR_WRONG_OPERATION (not running,
/// or inside the worker's stop callback).
///
/// Where: in callbacks, of any process. The timer belongs to the calling process, in SW_THREAD
/// mode to the calling thread, and ends with it.
///
/// Memory: `user_data` stays the caller's and must live as long as the timer.
#[no_mangle]
pub extern "C" fn sw_server_tick(
    server: *mut sw_server_t,
    milliseconds: i64,
    callback: sw_timer_fn_t,
    user_data: *mut c_void,
) -> i64 {
    add_timer(server, milliseconds, true, callback, user_data)
}

/// Calls the program once.
///
/// - `server`: the server.
/// - `milliseconds`: from now; at least 1.
/// - `callback`: what is called, with the id of the timer; not NULL.
/// - `user_data`: handed to the callback; may be NULL.
///
/// Returns: the id of the timer, 1 or above and ascending in each process; -1 on an error.
///
/// Errors: as for sw_server_tick.
///
/// Where: as for sw_server_tick.
///
/// Memory: `user_data` stays the caller's and must live until the call.
#[no_mangle]
pub extern "C" fn sw_server_after(
    server: *mut sw_server_t,
    milliseconds: i64,
    callback: sw_timer_fn_t,
    user_data: *mut c_void,
) -> i64 {
    add_timer(server, milliseconds, false, callback, user_data)
}

/// Ends a timer: it never fires again. A timer may end itself in its own callback, where also one
/// that fires once still exists.
///
/// - `server`: the server.
/// - `timer_id`: the id that sw_server_tick or sw_server_after gave.
///
/// Returns: true if there was such a timer.
///
/// Errors: SW_ERROR_INVALID_PARAMS (no such timer in this process, or it has fired already),
/// SW_ERROR_WRONG_OPERATION (not running, or inside the worker's stop callback).
///
/// Where: in callbacks, of the process that set the timer.
#[no_mangle]
pub extern "C" fn sw_server_clear_timer(server: *mut sw_server_t, timer_id: i64) -> bool {
    guard(false, || {
        borrow(server)?.server.clear_timer(TimerId(timer_id))?;
        Ok(true)
    })
}

/// Calls the program once, after the events and timers of the present round of the loop and before
/// it waits again; several calls come in the order of registration.
///
/// - `server`: the server.
/// - `callback`: what is called; not NULL.
/// - `user_data`: handed to the callback; may be NULL.
///
/// Returns: true if it was registered.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (not running, or inside the
/// worker's stop callback).
///
/// Where: in callbacks, of any process.
///
/// Memory: `user_data` stays the caller's and must live until the call.
#[no_mangle]
pub extern "C" fn sw_server_defer(
    server: *mut sw_server_t,
    callback: sw_defer_fn_t,
    user_data: *mut c_void,
) -> bool {
    guard(false, || {
        let handle = borrow(server)?;
        let call = callback.ok_or_else(no_callback)?;
        handle.server.defer(Box::new(move || enter("deferred call", || call(user_data))))?;
        Ok(true)
    })
}

fn interests_of(events: c_int) -> Result<Interests> {
    if events == 0 || events & !(SW_IO_READ | SW_IO_WRITE) != 0 {
        let text = format!("events {events} is not SW_IO_READ, SW_IO_WRITE or both");
        return Err(Error::new(code::INVALID_PARAMS, text));
    }
    Ok(Interests { is_reading: events & SW_IO_READ != 0, is_writing: events & SW_IO_WRITE != 0 })
}

/// Watches a descriptor of the program in the loop of the calling process. It becomes non-blocking
/// and is watched level-triggered: the callback is called again as long as the descriptor is
/// ready.
///
/// - `os_fd`: a descriptor of the system that can be waited for; regular files cannot.
/// - `events`: SW_IO_READ, SW_IO_WRITE or both.
/// - `callback`: what is called, with the descriptor and what it is ready for; not NULL.
/// - `user_data`: handed to the callback; may be NULL.
///
/// Returns: true if it is watched.
///
/// Errors: SW_ERROR_INVALID_PARAMS (events, NULL), SW_ERROR_EVENT_ADD_FAILED (watched already), the
/// errno of the system, SW_ERROR_WRONG_OPERATION (no loop in this thread, or inside the worker's
/// stop callback), SW_ERROR_OPERATION_NOT_SUPPORT (in the manager, and in a task worker without
/// task_object and task_enable_coroutine).
///
/// Where: in callbacks, of any process but those two. Remove it before it is closed; a forked
/// child inherits no registration.
///
/// Memory: `user_data` stays the caller's and must live as long as the registration.
#[no_mangle]
pub extern "C" fn sw_event_add(
    os_fd: c_int,
    events: c_int,
    callback: sw_io_fn_t,
    user_data: *mut c_void,
) -> bool {
    guard(false, || {
        let interests = interests_of(events)?;
        let call = callback.ok_or_else(no_callback)?;
        let hook = Rc::new(move |fd: c_int, ready: Interests| {
            let reading = if ready.is_reading { SW_IO_READ } else { 0 };
            let writing = if ready.is_writing { SW_IO_WRITE } else { 0 };
            enter("descriptor", || call(fd, reading | writing, user_data));
        });
        timer::add_io(os_fd, interests, hook)?;
        Ok(true)
    })
}

/// Changes what a descriptor of the program is watched for.
///
/// - `os_fd`: a descriptor that sw_event_add took.
/// - `events`: SW_IO_READ, SW_IO_WRITE or both.
///
/// Returns: true if it was changed.
///
/// Errors: SW_ERROR_INVALID_PARAMS (events), SW_ERROR_EVENT_UPDATE_FAILED (not watched), the errno
/// of the system, SW_ERROR_WRONG_OPERATION (no loop in this thread, or inside the worker's stop
/// callback), SW_ERROR_OPERATION_NOT_SUPPORT (in the manager).
///
/// Where: in callbacks, of the process that added it.
#[no_mangle]
pub extern "C" fn sw_event_set(os_fd: c_int, events: c_int) -> bool {
    guard(false, || {
        timer::set_io(os_fd, interests_of(events)?)?;
        Ok(true)
    })
}

/// Watches a descriptor of the program no longer. It stays open.
///
/// - `os_fd`: a descriptor that sw_event_add took.
///
/// Returns: true if it was watched.
///
/// Errors: SW_ERROR_EVENT_REMOVE_FAILED (not watched), the errno of the system (it was closed
/// before, and is not watched any more), SW_ERROR_WRONG_OPERATION (no loop in this thread, or
/// inside the worker's stop callback), SW_ERROR_OPERATION_NOT_SUPPORT (in the manager).
///
/// Where: in callbacks, of the process that added it, also in its own callback.
#[no_mangle]
pub extern "C" fn sw_event_del(os_fd: c_int) -> bool {
    guard(false, || {
        timer::remove_io(os_fd)?;
        Ok(true)
    })
}
