//! Tasks: handing them in, and answering them.

use std::ffi::{c_int, c_void};

use super::callback::enter;
use super::handle::{borrow, bytes, guard};
use super::server::translate;
use super::types::{sw_callback_t, sw_server_t};
use crate::model::hooks::Event;
use crate::unit::tasks::FinishHook;

/// Hands in a task, which runs in a task worker, behind others of this process for the same one. It
/// never blocks in event workers: a task that finds no room waits in the memory of the worker.
///
/// The result goes to `on_finish`, with an event of kind SW_EVENT_FINISH, or to the event "finish"
/// of the server. `on_finish` is called at most once, for the first answer, or with `data` NULL if
/// the task worker died with the task in its hands; all further answers are events of the server,
/// as are those for a worker that was replaced meanwhile. A task that was handed in and has not
/// begun outlives both processes.
///
/// - `server`: the server.
/// - `data`: the bytes; NULL only if `len` is 0.
/// - `len`: how many; any number below 4 GiB.
/// - `task_worker`: 0 to `task_worker_num` - 1, or -1 for one that has nothing to do, if there is
///   one.
/// - `on_finish`: what takes the first answer; NULL for the event of the server. Ignored outside of
///   event workers: nobody can answer a task of the master, the manager or a user process.
/// - `user_data`: handed to `on_finish` as it is; may be NULL.
///
/// Returns: the id of the task, 0 or above and ascending in each process; -1 on an error:
/// `on_finish` will not be called.
///
/// Errors: SW_ERROR_INVALID_PARAMS (no such task worker, NULL), SW_ERROR_OPERATION_NOT_SUPPORT (in
/// a task worker, or `task_worker_num` is 0), SW_ERROR_TASK_PACKAGE_TOO_BIG, SW_ERROR_QUEUE_FULL
/// (no memory is left to keep it), SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in callbacks, of any process but task workers.
///
/// Memory: the bytes are copied; `user_data` must live until `on_finish` was called.
#[no_mangle]
pub extern "C" fn sw_server_task(
    server: *mut sw_server_t,
    data: *const c_void,
    len: usize,
    task_worker: c_int,
    on_finish: sw_callback_t,
    user_data: *mut c_void,
) -> i64 {
    guard(-1, || {
        let owner = &borrow(server)?.server;
        let hook = on_finish.map(|call| -> FinishHook {
            let (server, user_data) = (server as usize, user_data as usize);
            Box::new(move |event: &Event<'_>| {
                let told = translate(event);
                let (server, user_data) = (server as *mut sw_server_t, user_data as *mut c_void);
                enter("finish", || call(server, &told, user_data));
            })
        });
        owner.task(bytes(data, len)?, task_worker, hook)
    })
}

/// Answers the task whose callback runs. Each answer is one event "finish" in the worker that
/// handed the task in, or in its successor, in the order of the calls; a task need not be answered.
/// Waits while that worker has no room for it, for `socket_send_timeout` at most.
///
/// - `server`: the server.
/// - `data`: the bytes; NULL only if `len` is 0.
/// - `len`: how many; any number below 4 GiB. An answer may be empty.
///
/// Returns: true if the answer was taken; it arrives whatever becomes of this process.
///
/// Errors: SW_ERROR_OPERATION_NOT_SUPPORT (outside of a task callback, no task workers, or the task
/// came from the master, the manager or a user process), SW_ERROR_SERVER_SEND_TO_WORKER_TIMEOUT,
/// SW_ERROR_SERVER_WORKER_TERMINATED (the server ends, and the worker has), SW_ERROR_MALLOC_FAIL,
/// SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in the task callback.
///
/// Memory: the bytes are copied.
#[no_mangle]
pub extern "C" fn sw_server_finish(
    server: *mut sw_server_t,
    data: *const c_void,
    len: usize,
) -> bool {
    guard(false, || {
        borrow(server)?.server.finish(bytes(data, len)?)?;
        Ok(true)
    })
}

/// Answers a task at any time after it was given to this task worker, by the worker id and the id
/// that stand in its event. For servers with `task_object` or `task_enable_coroutine` on, where a
/// task is open when its callback returns without an answer, and several may be open at a time.
///
/// A task may be answered again, for as long as it is among the last 1024 that were answered. If a
/// task worker ends, whoever handed in the tasks that are open there is told that they have failed.
/// One that is replaced in order waits for them, for `max_wait_time` at most. Of more than 16384
/// open tasks an old one is given up.
///
/// - `server`: the server.
/// - `worker_id`: `worker_id` of the task.
/// - `task_id`: `id` of the task.
/// - `data`: the bytes; NULL only if `len` is 0.
/// - `len`: how many; any number below 4 GiB. An answer may be empty.
///
/// Returns: true if the answer was taken; it arrives whatever becomes of this process.
///
/// Errors: SW_ERROR_WRONG_OPERATION (no such task is open here, or not running),
/// SW_ERROR_OPERATION_NOT_SUPPORT (not in a task worker, no task workers, both settings are off, or
/// the task came from the master, the manager or a user process),
/// SW_ERROR_SERVER_SEND_TO_WORKER_TIMEOUT, SW_ERROR_SERVER_WORKER_TERMINATED (the server ends, and
/// the worker has), SW_ERROR_MALLOC_FAIL, SW_ERROR_INVALID_PARAMS (NULL).
///
/// Where: in callbacks of task workers.
///
/// Memory: the bytes are copied.
#[no_mangle]
pub extern "C" fn sw_server_finish_task(
    server: *mut sw_server_t,
    worker_id: c_int,
    task_id: i64,
    data: *const c_void,
    len: usize,
) -> bool {
    guard(false, || {
        borrow(server)?.server.finish_task(worker_id, task_id, bytes(data, len)?)?;
        Ok(true)
    })
}
