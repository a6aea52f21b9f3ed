//! Waiting for tasks: what comes back to whom, when a wait ends, and whom it survives.

#[path = "task_waits/api.rs"]
mod api;
#[path = "task_waits/at_once.rs"]
mod at_once;
mod common;
#[path = "task_waits/lists.rs"]
mod lists;
#[path = "task_waits/lives.rs"]
mod lives;
#[path = "task_waits/open.rs"]
mod open;
mod puppet;
#[path = "task_waits/serving.rs"]
mod serving;
#[path = "tasks/api.rs"]
#[allow(dead_code)]
mod tasks;

use at_once::*;
use common::prelude::*;
use lists::*;
use lives::*;
use open::*;
use serving::{waiting, waiting_one, waiting_without};

server_tests! {
    // One task.
    a_wait_gets_the_first_answer_and_raises_no_event: waiting;
    answers_of_any_size_come_to_whom_waits: waiting;
    a_wait_that_is_not_answered_ends_in_time: waiting;
    a_flood_of_answers_does_not_keep_a_wait_from_its_end: waiting;
    a_late_answer_ends_no_other_wait: waiting_one;
    a_late_answer_in_pieces_is_dropped: waiting_one;
    who_waits_has_said_all_and_handles_nothing: waiting;
    a_task_that_found_no_room_follows_while_its_worker_waits: waiting_one;
    wrong_waits_are_refused: waiting;
    only_workers_wait: waiting;
    without_task_workers_nobody_waits: waiting_without;

    // Lists.
    answers_of_a_list_stand_where_their_tasks_do: waiting;
    a_list_has_up_to_1024_tasks: waiting;
    a_list_is_told_while_its_worker_goes_on: waiting;
    two_lists_are_under_way_at_a_time: waiting;
    a_late_answer_to_a_list_is_dropped: waiting;
    a_list_keeps_a_worker_that_is_reloaded: waiting;
    a_list_does_not_keep_a_worker_for_ever: waiting_shortly;

    // Tasks that are open when their callback has returned.
    open_tasks_are_answered_in_any_order: opened;
    a_timer_answers_whoever_waits: opened;
    wrong_answers_are_refused: opened;
    open_tasks_of_a_dead_task_worker_have_failed: opened, in [Mode::Process, Mode::Base];
    open_tasks_keep_a_task_worker_that_is_reloaded: opened_shortly;

    // Deaths.
    who_waits_hears_at_once_of_the_death_of_a_task_worker: waiting,
        in [Mode::Process, Mode::Base];
    a_list_hears_of_the_death_of_a_task_worker: waiting_one, in [Mode::Process, Mode::Base];
    nothing_is_left_of_a_worker_that_is_killed_while_it_waits: waiting_one,
        in [Mode::Process, Mode::Base];
    a_wait_outlives_a_reload: waiting;
    no_wait_is_confused_in_a_storm_of_kills: waiting, in [Mode::Process, Mode::Base];
}
