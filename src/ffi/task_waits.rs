//! Tasks whose results are waited for, or told together.
#![allow(non_camel_case_types)]

use std::ffi::{c_int, c_void};

use super::callback::enter;
use super::handle::{borrow, bytes, fill, guard};
use super::library::buffer_of;
use super::types::{sw_buffer_t, sw_server_t};
use crate::error::{code, Error, Result};
use crate::server::task_waits::LONGEST_LIST;
use crate::unit::tasks::ListHook;

/// Bytes that belong to whoever hands them over.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sw_bytes_t {
    /// The bytes; NULL if there are none.
    pub data: *const u8,
    /// How many bytes `data` holds.
    pub len: usize,
}

/// What is called once with the results of a list of tasks: `results[i]` is that of task `i`, with
/// `data` NULL where there is none. The bytes are valid until the callback returns. `user_data` is
/// that of the call which handed the list in.
pub type sw_tasks_done_fn_t = Option<
    extern "C-unwind" fn(
        server: *mut sw_server_t,
        results: *const sw_bytes_t,
        count: usize,
        user_data: *mut c_void,
    ),
>;

const NO_BUFFER: sw_buffer_t = sw_buffer_t { data: std::ptr::null_mut(), len: 0 };

/// Hands in a task and waits for its first answer. The worker handles nothing else meanwhile; what
/// it has sent before leaves. A later answer, or one that comes too late, is dropped, and the log
/// says that the task has expired; it never ends another wait. The event "finish" is not raised.
///
/// - `server`: the server.
/// - `data`: the bytes; NULL only if `len` is 0.
/// - `len`: how many; any number below 4 GiB.
/// - `timeout`: seconds, also parts of them, 0.001 at least; 0 or less for no limit, then a task
///   that is never answered keeps the worker for ever. 0.5 is usual.
/// - `task_worker`: 0 to `task_worker_num` - 1, or -1 for one that has nothing to do, if there is
///   one.
/// - `result`: takes the answer. That of an empty one is not NULL; without an answer it is empty.
///
/// Returns: true if there was an answer in time, of whatever length.
///
/// Errors: SW_ERROR_TASK_TIMEOUT (the time is up; the task is done all the same),
/// SW_ERROR_SERVER_WORKER_TERMINATED (the task worker died with the task in its hands, or this
/// worker has been replaced), SW_ERROR_INVALID_PARAMS (no such task worker, NULL, NaN),
/// SW_ERROR_OPERATION_NOT_SUPPORT (not in an event worker, or `task_worker_num` is 0),
/// SW_ERROR_TASK_PACKAGE_TOO_BIG, SW_ERROR_QUEUE_FULL (no memory is left to keep it),
/// SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in callbacks of event workers.
///
/// Memory: the bytes are copied; the result is given back by sw_buffer_free.
#[no_mangle]
pub extern "C" fn sw_server_taskwait(
    server: *mut sw_server_t,
    data: *const c_void,
    len: usize,
    timeout: f64,
    task_worker: c_int,
    result: *mut sw_buffer_t,
) -> bool {
    guard(false, || {
        let owner = &borrow(server)?.server;
        fill("result", result, NO_BUFFER)?;
        let mut answer = NO_BUFFER;
        owner.task_wait(bytes(data, len)?, timeout, task_worker, |bytes| {
            answer = buffer_of(bytes);
        })?;
        fill("result", result, answer)?;
        Ok(true)
    })
}

/// Hands in several tasks, each to a task worker that has nothing to do, if there is one, and waits
/// until each is answered or the time is up. The worker handles nothing else meanwhile, see
/// sw_server_taskwait. Answers that come too late are dropped.
///
/// - `server`: the server.
/// - `tasks`: `count` of them; NULL only if `count` is 0.
/// - `count`: 0 to 1024.
/// - `timeout`: seconds for all of them together, as for sw_server_taskwait.
/// - `results`: takes `count` answers, in the order of the tasks; `data` is NULL where there is
///   none, also because a task worker died, and not NULL for an empty one. NULL only if `count` is
///   0.
///
/// Returns: how many were answered; -1 on an error, `results` are empty then.
///
/// Errors: SW_ERROR_INVALID_PARAMS (too many, NULL, NaN), SW_ERROR_TASK_DISPATCH_FAIL (not one
/// could be handed in), SW_ERROR_OPERATION_NOT_SUPPORT (not in an event worker, or
/// `task_worker_num` is 0), SW_ERROR_SERVER_WORKER_TERMINATED (this worker has been replaced),
/// SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in callbacks of event workers.
///
/// Memory: the bytes are copied; each result is given back by sw_buffer_free.
#[no_mangle]
pub extern "C" fn sw_server_task_wait_multi(
    server: *mut sw_server_t,
    tasks: *const sw_bytes_t,
    count: usize,
    timeout: f64,
    results: *mut sw_buffer_t,
) -> c_int {
    guard(-1, || {
        let owner = &borrow(server)?.server;
        let tasks = list(tasks, count)?;
        for index in 0..count {
            fill("results", place(results, index), NO_BUFFER)?;
        }
        let answered = owner.task_wait_multi(&tasks, timeout, |index, bytes| {
            // The place was filled before, so this is no error.
            if let Err(error) = fill("results", place(results, index), buffer_of(bytes)) {
                log::error!("{error}");
            }
        })?;
        Ok(c_int::try_from(answered).unwrap_or(c_int::MAX))
    })
}

/// Hands in several tasks, as sw_server_task_wait_multi does, and returns at once. The worker goes
/// on, and calls `on_done` once when each task is answered or the time is up. Any number of lists
/// may be under way. Answers that come too late are dropped, and the log says that the task has
/// expired.
///
/// A worker that leaves in order waits for its lists, as for its timers, for `max_wait_time` at
/// most. Where it is ended by force `on_done` is not called.
///
/// - `server`: the server.
/// - `tasks`: `count` of them; NULL only if `count` is 0.
/// - `count`: 0 to 1024.
/// - `timeout`: seconds for all of them together, as for sw_server_taskwait.
/// - `on_done`: what takes the results, see sw_tasks_done_fn_t.
/// - `user_data`: handed to `on_done` as it is; may be NULL.
///
/// Returns: true if the tasks are handed in; if not, `on_done` is never called.
///
/// Errors: SW_ERROR_INVALID_PARAMS (too many, NULL, NaN), SW_ERROR_TASK_DISPATCH_FAIL (not one
/// could be handed in), SW_ERROR_OPERATION_NOT_SUPPORT (not in an event worker, or
/// `task_worker_num` is 0), SW_ERROR_SERVER_WORKER_TERMINATED (this worker has been replaced),
/// SW_ERROR_WRONG_OPERATION (not running, or the worker has stopped).
///
/// Where: in callbacks of event workers.
///
/// Memory: the bytes are copied; `user_data` must live until `on_done` was called.
#[no_mangle]
pub extern "C" fn sw_server_task_co(
    server: *mut sw_server_t,
    tasks: *const sw_bytes_t,
    count: usize,
    timeout: f64,
    on_done: sw_tasks_done_fn_t,
    user_data: *mut c_void,
) -> bool {
    guard(false, || {
        let owner = &borrow(server)?.server;
        let tasks = list(tasks, count)?;
        let call = on_done
            .ok_or_else(|| Error::new(code::INVALID_PARAMS, "the callback on_done is NULL"))?;
        let (server, user_data) = (server as usize, user_data as usize);
        let hook: ListHook = Box::new(move |answers| {
            let results: Vec<sw_bytes_t> = answers.iter().map(borrowed).collect();
            let (server, user_data) = (server as *mut sw_server_t, user_data as *mut c_void);
            enter("tasks done", || call(server, results.as_ptr(), results.len(), user_data));
        });
        owner.task_list(&tasks, timeout, hook)?;
        Ok(true)
    })
}

fn borrowed(answer: &Option<Vec<u8>>) -> sw_bytes_t {
    match answer {
        Some(bytes) => sw_bytes_t { data: bytes.as_ptr(), len: bytes.len() },
        None => sw_bytes_t { data: std::ptr::null(), len: 0 },
    }
}

/// A list of tasks that a C program gave.
fn list<'a>(tasks: *const sw_bytes_t, count: usize) -> Result<Vec<&'a [u8]>> {
    if count > LONGEST_LIST {
        let text = format!("too many concurrent tasks: {count} are more than {LONGEST_LIST}");
        return Err(Error::new(code::INVALID_PARAMS, text));
    }
    if tasks.is_null() && count > 0 {
        return Err(Error::new(code::INVALID_PARAMS, format!("{count} tasks at NULL")));
    }
    let one = |index| {
        // SAFETY: not NULL; that `count` tasks are there, and stay as they are during the call, is
        // what the header asks for.
        let task = unsafe { tasks.add(index).read() };
        bytes(task.data.cast(), task.len)
    };
    (0..count).map(one).collect()
}

/// One of several places that a C program wants filled.
fn place(results: *mut sw_buffer_t, index: usize) -> *mut sw_buffer_t {
    match results.is_null() {
        true => results,
        false => results.wrapping_add(index),
    }
}
