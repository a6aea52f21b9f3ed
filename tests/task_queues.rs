//! Tasks that travel through a System V queue.

#[path = "task_waits/api.rs"]
#[allow(dead_code)]
mod api;
mod common;
#[path = "task_queues/gone.rs"]
mod gone;
#[path = "task_queues/letters.rs"]
mod letters;
#[path = "task_queues/limits.rs"]
mod limits;
#[path = "task_waits/lives.rs"]
#[allow(dead_code)]
mod lives;
#[path = "messages/api.rs"]
#[allow(dead_code)]
mod messages;
mod puppet;
#[path = "task_queues/queues.rs"]
mod queues;
#[path = "task_queues/rights.rs"]
mod rights;
#[path = "task_waits/serving.rs"]
#[allow(dead_code)]
mod serving;
#[path = "tasks/api.rs"]
#[allow(dead_code)]
mod tasks;

use common::prelude::*;
use gone::*;
use letters::*;
use limits::*;
use lives::no_wait_is_confused_in_a_storm_of_kills;
use queues::*;
use rights::*;

server_tests! {
    a_task_goes_through_the_queue_to_the_worker_that_it_names: addressed;
    any_task_worker_takes_a_task_of_a_shared_queue: shared;
    a_task_of_a_worker_that_dies_has_failed: addressed, in [Mode::Process, Mode::Base];
    no_wait_is_confused_in_a_storm_of_kills: addressed, in [Mode::Process, Mode::Base];
    what_another_program_puts_there_is_done_or_skipped: keyed;
    tasks_that_take_long_are_done_one_after_the_other: keyed;
    what_was_not_done_is_done_by_the_next_run: keyed_shortly;
    a_task_that_is_answered_later_needs_another_mode: refused;
    the_worker_that_a_task_names_does_not_count: streamed;
    a_message_to_a_task_worker_waits_behind_its_queued_tasks: mailed;
    no_task_worker_of_a_shared_queue_is_sent_to: mailed_shared;
    without_its_queue_a_server_refuses_tasks_and_counts_none: keyed;
    who_hands_in_waits_while_the_queue_is_full: keyed, in [Mode::Process, Mode::Base];
    what_a_small_queue_does_not_take_travels_in_files: small;
    without_a_queue_there_is_no_start: exhausted;
    workers_of_another_user_use_the_queue: as_nobody, in [Mode::Process, Mode::Base];
    a_queue_of_another_user_is_none_for_this_server: of_another_user;
}
