//! What can go wrong with a call about tasks.

use super::table::When::{Always, Callback};
use super::table::{bad, row, Function, Raw};
use std::ptr::{null, null_mut};
use swoole::ffi::error_codes::*;
use swoole::ffi::status::*;
use swoole::ffi::task::*;

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
];
