//! Task workers: their lives, what is handed to them, what comes back.

#[path = "tasks/api.rs"]
mod api;
mod common;
#[path = "tasks/handing.rs"]
mod handing;
#[path = "tasks/lives.rs"]
mod lives;
#[path = "tasks/others.rs"]
mod others;
#[path = "users/api.rs"]
mod processes;
mod puppet;
#[path = "tasks/refusals.rs"]
mod refusals;
#[path = "tasks/results.rs"]
mod results;
#[path = "tasks/storm.rs"]
mod storm;

use common::prelude::*;
use handing::{tasked, tasked_one};
use lives::*;
use others::*;
use refusals::*;
use results::*;
use storm::*;

server_tests! {
    [both_faces];
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

    // What is handed in, and what comes back.
    a_result_is_an_event_of_the_worker_that_asked: tasked;
    a_callback_takes_the_first_answer_alone: tasked;
    a_task_need_not_be_answered_and_an_answer_may_be_empty: tasked;
    the_time_of_a_task_is_that_of_the_call: tasked;
    wrong_calls_are_refused: tasked;
    without_task_workers_there_are_no_tasks: without_workers;
    a_busy_task_worker_is_avoided: tasked;
    tasks_of_any_size_arrive_and_come_back: tasked;
    a_burst_to_a_sleeping_task_worker_is_accepted_and_done_in_order: tasked_one;
    a_slow_pool_does_not_keep_a_worker_from_its_clients: tasked_one;
    a_task_of_who_is_no_worker_has_no_answer: one_way;
    a_storm_leaves_no_memory_behind: tasked_one;
    an_answer_that_its_worker_does_not_take_is_refused_in_time: impatient;
    a_directory_for_tasks_is_made_or_refused: with_directories;

    // What survives whom.
    what_was_in_hand_fails_and_the_rest_is_done: tasked_one, in [Mode::Process, Mode::Base];
    each_task_that_kills_its_worker_fails_alone: tasked_one, in [Mode::Process, Mode::Base];
    queued_tasks_survive_a_reload: tasked_one;
    a_result_for_a_worker_that_was_replaced_is_an_event: tasked_one,
        in [Mode::Process, Mode::Base];
    a_task_worker_leaves_after_its_limit_and_nothing_is_lost: limited;
    a_small_limit_is_exact: exact;
    every_task_runs_at_most_once_and_everybody_hears_of_his: stormed;
}
