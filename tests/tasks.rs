//! Task workers: their lives, what is handed to them, what comes back.

#[path = "tasks/api.rs"]
mod api;
mod common;
#[path = "tasks/lives.rs"]
mod lives;
mod puppet;

use common::prelude::*;
use lives::*;

server_tests! {
    task_workers_start_and_stop_like_workers: lived;
    a_reload_replaces_task_workers_too: lived;
    task_workers_are_reloaded_alone: lived;
    a_signal_reloads_task_workers_alone: lived;
    a_task_worker_can_be_stopped: lived;
    a_task_worker_is_told_to_end_by_a_signal: lived, in [Mode::Process, Mode::Base];
    a_killed_task_worker_is_replaced: lived, in [Mode::Process, Mode::Base];
    timers_run_in_a_task_worker_and_do_not_keep_it: lived;
    one_worker_with_a_task_worker_has_a_manager: lived_with_one, in [Mode::Base];
    without_a_task_callback_there_is_no_start: without_callback;
    others_see_what_a_task_worker_does: lived;
}
