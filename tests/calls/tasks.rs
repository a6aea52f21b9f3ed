//! What can go wrong with a call about tasks.

use super::table::When::Always;
use super::table::{row, Function};
use swoole::ffi::status::*;

pub const TASKS: &[Function] =
    &[row("sw_server_is_task_worker", Always, Some(|s| sw_server_is_task_worker(s)), &[])];
