//! Tasks that travel through a System V queue.

#[path = "task_waits/api.rs"]
#[allow(dead_code)]
mod api;
mod common;
mod puppet;
#[path = "task_queues/queues.rs"]
mod queues;
#[path = "task_waits/serving.rs"]
#[allow(dead_code)]
mod serving;
#[path = "tasks/api.rs"]
#[allow(dead_code)]
mod tasks;

use common::prelude::*;
use queues::*;

server_tests! {
    a_task_goes_through_the_queue_to_the_worker_that_it_names: addressed;
    any_task_worker_takes_a_task_of_a_shared_queue: shared;
    a_task_of_a_worker_that_dies_has_failed: addressed, in [Mode::Process, Mode::Base];
    what_another_program_puts_there_is_done_or_skipped: keyed;
    tasks_that_take_long_are_done_one_after_the_other: keyed;
    what_was_not_done_is_done_by_the_next_run: keyed_shortly;
    a_task_that_is_answered_later_needs_another_mode: refused;
    the_worker_that_a_task_names_does_not_count: streamed;
}
