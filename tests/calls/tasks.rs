//! What can go wrong with a call about tasks.

use super::table::When::{Always, Callback};
use super::table::{bad, row, Function, Raw};
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use swoole::ffi::error_codes::*;
use swoole::ffi::status::*;
use swoole::ffi::task::*;
use swoole::ffi::task_waits::*;
use swoole::ffi::types::{sw_buffer_t, sw_server_t};

const NO_TASKS: i32 = SW_ERROR_OPERATION_NOT_SUPPORT;

fn task(server: Raw, target: i32) -> bool {
    sw_server_task(server, b"data".as_ptr().cast(), 4, target, None, null_mut()) != -1
}

fn task_of(server: Raw, len: usize) -> bool {
    sw_server_task(server, null(), len, -1, None, null_mut()) != -1
}

fn finish(server: Raw) -> bool {
    sw_server_finish(server, b"data".as_ptr().cast(), 4)
}

fn wait(server: Raw, timeout: f64) -> bool {
    let mut result = sw_buffer_t { data: null_mut(), len: 0 };
    sw_server_taskwait(server, b"data".as_ptr().cast(), 4, timeout, -1, &mut result)
}

fn wait_for_nothing(server: Raw) -> bool {
    sw_server_taskwait(server, null(), 0, 1.0, -1, null_mut())
}

fn wait_multi(server: Raw, count: usize) -> bool {
    sw_server_task_wait_multi(server, null(), count, 1.0, null_mut()) != -1
}

fn wait_without_place(server: Raw) -> bool {
    let task = sw_bytes_t { data: null(), len: 0 };
    sw_server_task_wait_multi(server, &task, 1, 1.0, null_mut()) != -1
}

extern "C-unwind" fn done(_: *mut sw_server_t, _: *const sw_bytes_t, _: usize, _: *mut c_void) {}

fn list(server: Raw, count: usize) -> bool {
    sw_server_task_co(server, null(), count, 1.0, Some(done), null_mut())
}

fn list_for_nobody(server: Raw) -> bool {
    sw_server_task_co(server, null(), 0, 1.0, None, null_mut())
}

fn finish_task(server: Raw) -> bool {
    sw_server_finish_task(server, 0, 0, b"data".as_ptr().cast(), 4)
}

fn finish_task_with(server: Raw, len: usize) -> bool {
    sw_server_finish_task(server, 0, 0, null(), len)
}

/// The server of these calls has no task workers; see `tests/tasks.rs` for those of one that has.
pub const TASKS: &[Function] = &[
    row("sw_server_is_task_worker", Always, Some(|s| sw_server_is_task_worker(s)), &[]),
    row(
        "sw_server_task",
        Callback,
        Some(|s| task(s, -1)),
        &[
            bad("no task workers", |s| task(s, -1), NO_TASKS, "task_worker_num"),
            bad("no task worker 0", |s| task(s, 0), NO_TASKS, "task_worker_num"),
            bad("no bytes", |s| task_of(s, 1), SW_ERROR_INVALID_PARAMS, "1 bytes"),
            bad("a length of -1", |s| task_of(s, usize::MAX), SW_ERROR_INVALID_PARAMS, "bytes"),
        ],
    ),
    row(
        "sw_server_finish",
        Callback,
        Some(finish),
        &[
            bad("no task workers", finish, NO_TASKS, "task_worker_num"),
            bad("no bytes", |s| sw_server_finish(s, null(), 1), SW_ERROR_INVALID_PARAMS, "1 bytes"),
        ],
    ),
    row(
        "sw_server_finish_task",
        Callback,
        Some(finish_task),
        &[
            bad("no task workers", finish_task, NO_TASKS, "task_worker_num"),
            bad("no bytes", |s| finish_task_with(s, 1), SW_ERROR_INVALID_PARAMS, "1 bytes"),
        ],
    ),
    row(
        "sw_server_taskwait",
        Callback,
        Some(|s| wait(s, 0.1)),
        &[
            bad("no task workers", |s| wait(s, 0.1), NO_TASKS, "task_worker_num"),
            bad("no task workers, for ever", |s| wait(s, 0.0), NO_TASKS, "task_worker_num"),
            bad("no result", wait_for_nothing, SW_ERROR_INVALID_PARAMS, "result"),
        ],
    ),
    row(
        "sw_server_task_wait_multi",
        Callback,
        Some(|s| wait_multi(s, 0)),
        &[
            bad("no task workers", |s| wait_multi(s, 0), NO_TASKS, "task_worker_num"),
            bad("no tasks", |s| wait_multi(s, 1), SW_ERROR_INVALID_PARAMS, "1 tasks"),
            bad("too many", |s| wait_multi(s, 1025), SW_ERROR_INVALID_PARAMS, "too many"),
            bad("a count of -1", |s| wait_multi(s, usize::MAX), SW_ERROR_INVALID_PARAMS, "many"),
            bad("no results", wait_without_place, SW_ERROR_INVALID_PARAMS, "results"),
        ],
    ),
    row(
        "sw_server_task_co",
        Callback,
        Some(|s| list(s, 0)),
        &[
            bad("no task workers", |s| list(s, 0), NO_TASKS, "task_worker_num"),
            bad("no tasks", |s| list(s, 1), SW_ERROR_INVALID_PARAMS, "1 tasks"),
            bad("too many", |s| list(s, 1025), SW_ERROR_INVALID_PARAMS, "too many"),
            bad("no callback", list_for_nobody, SW_ERROR_INVALID_PARAMS, "callback"),
        ],
    ),
];
