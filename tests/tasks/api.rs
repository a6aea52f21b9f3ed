//! The functions of `swoole.h` about tasks, as a test calls them.

use crate::common::api::{last_error, Event, Handle, Result};
use std::ffi::{c_int, c_void};
use swoole::ffi::types::*;

// What is in a server is private to the library, so the compiler cannot see how it is laid out.
#[allow(improper_ctypes)]
extern "C" {
    fn sw_server_is_task_worker(server: *const sw_server_t) -> bool;
    fn sw_server_task(
        server: *mut sw_server_t,
        data: *const c_void,
        len: usize,
        task_worker: c_int,
        on_finish: sw_callback_t,
        user_data: *mut c_void,
    ) -> i64;
    fn sw_server_finish(server: *mut sw_server_t, data: *const c_void, len: usize) -> bool;
}

/// The last error, if the id is none.
fn checked(id: i64) -> Result<i64> {
    match id {
        -1 => Err(last_error()),
        id => Ok(id),
    }
}

/// Hands in a task whose result is an event of the server.
pub fn task(server: Handle, data: &[u8], to: i32) -> Result<i64> {
    let nobody = std::ptr::null_mut();
    // SAFETY: the handle is that of a server, and the bytes live through the call.
    checked(unsafe {
        sw_server_task(server.raw, data.as_ptr().cast(), data.len(), to, None, nobody)
    })
}

/// What a test wants called with the first result: `None` if there will be none.
pub type OnFinish = Box<dyn FnOnce(Handle, i64, i32, Option<&[u8]>)>;

/// Hands in a task whose first result goes to `on_finish`.
pub fn task_for(server: Handle, data: &[u8], to: i32, on_finish: OnFinish) -> Result<i64> {
    let on_finish = Box::into_raw(Box::new(on_finish));
    // SAFETY: as above; `call_once` gets the box that was made for it.
    let id = unsafe {
        let call: sw_callback_t = Some(call_once);
        sw_server_task(server.raw, data.as_ptr().cast(), data.len(), to, call, on_finish.cast())
    };
    if id == -1 {
        // SAFETY: it will not be called.
        drop(unsafe { Box::from_raw(on_finish) });
    }
    checked(id)
}

extern "C-unwind" fn call_once(
    server: *mut sw_server_t,
    event: *const sw_event_t,
    user_data: *mut c_void,
) {
    // SAFETY: `task_for` gave the box, and this is called once.
    let on_finish: Box<OnFinish> = unsafe { Box::from_raw(user_data.cast()) };
    // SAFETY: the library lends a valid event until this function returns.
    let event = Event(unsafe { &*event });
    let told = finished(&event);
    on_finish(
        Handle { raw: server },
        told.task_id,
        told.task_worker_id,
        bytes(told.data, told.len),
    );
}

pub fn finish(server: Handle, data: &[u8]) -> Result<()> {
    // SAFETY: as above.
    match unsafe { sw_server_finish(server.raw, data.as_ptr().cast(), data.len()) } {
        true => Ok(()),
        false => Err(last_error()),
    }
}

fn bytes<'a>(data: *const u8, len: usize) -> Option<&'a [u8]> {
    if data.is_null() {
        assert_eq!(len, 0, "there is a length without bytes");
        return None;
    }
    // SAFETY: the library lends so many bytes while the callback runs.
    Some(unsafe { std::slice::from_raw_parts(data, len) })
}

/// The task of a task event.
pub fn given<'a>(event: &'a Event) -> &'a sw_task_t {
    assert_eq!(event.kind(), sw_event_kind_t::SW_EVENT_TASK);
    // SAFETY: this kind carries this member.
    unsafe { &event.0.task }
}

/// The bytes of a task.
pub fn data_of<'a>(event: &'a Event) -> &'a [u8] {
    let task = given(event);
    bytes(task.data, task.len).unwrap_or_default()
}

/// The result of a finish event.
pub fn finished<'a>(event: &'a Event) -> &'a sw_task_result_t {
    assert_eq!(event.kind(), sw_event_kind_t::SW_EVENT_FINISH);
    // SAFETY: this kind carries this member.
    unsafe { &event.0.finish }
}

/// The bytes of a result.
pub fn result_of<'a>(event: &'a Event) -> &'a [u8] {
    let told = finished(event);
    bytes(told.data, told.len).expect("the event of the server has a result")
}

pub fn is_task_worker(server: Handle) -> bool {
    // SAFETY: the handle of a callback is that of a server.
    unsafe { sw_server_is_task_worker(server.raw) }
}
