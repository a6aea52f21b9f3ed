//! Dispatching: which worker gets what, by every rule and by a function of the program.

#[path = "dispatch/chosen.rs"]
mod chosen;
mod common;
#[path = "datagrams/api.rs"]
#[allow(dead_code)]
mod datagrams;
#[path = "dispatch/limits.rs"]
mod limits;
#[path = "dispatch/meddling.rs"]
mod meddling;
#[path = "dispatch/orders.rs"]
mod orders;
mod puppet;
#[path = "dispatch/rules.rs"]
mod rules;

use chosen::*;
use common::prelude::*;
use limits::*;
use meddling::*;
use orders::serve_every_other;
use rules::*;

/// The same body for servers with other rules.
macro_rules! again {
    ($($name:ident = $client:ident;)*) => {
        $(fn $name(server: &Running) -> Outcome {
            $client(server)
        })*
    };
}

again! {
    mode_7_takes_an_idle_one_too = what_is_idle_gets_the_next_message_and_if_nobody_is_somebody;
    mode_10_looks_at_the_same = a_message_goes_where_least_is_in_progress;
    mode_9_deals_out_a_burst_too = a_burst_is_dealt_out_among_the_idle;
    a_stuck_worker_in_mode_8 = a_stuck_worker_leaves_the_others_alone;
    a_stuck_worker_in_mode_9 = a_stuck_worker_leaves_the_others_alone;
    a_stuck_worker_in_mode_10 = a_stuck_worker_leaves_the_others_alone;
    a_worker_dies_in_mode_2 = nothing_but_the_message_in_hand_goes_with_a_worker;
    a_worker_dies_in_mode_3 = nothing_but_the_message_in_hand_goes_with_a_worker;
    a_worker_dies_in_mode_4 = nothing_but_the_message_in_hand_goes_with_a_worker;
    a_worker_dies_in_mode_5 = nothing_but_the_message_in_hand_goes_with_a_worker;
    a_worker_dies_in_mode_8 = nothing_but_the_message_in_hand_goes_with_a_worker;
    a_worker_dies_in_mode_10 = nothing_but_the_message_in_hand_goes_with_a_worker;
    a_worker_dies_of_a_chosen_message = nothing_but_the_message_in_hand_goes_with_a_worker;
    mode_9_drops_the_same = events_that_cannot_be_kept_in_order_are_dropped_with_a_warning;
    mode_9_raises_the_same = unsafe_events_come_once_each_if_they_are_asked_for;
    mode_2_raises_them_anyway = unsafe_events_come_once_each_if_they_are_asked_for;
    in_mode_5_it_may_too = a_function_where_connections_are_read_may_call_the_server;
    no_data_after_the_end_in_mode_2 = data_of_a_connection_that_is_gone_is_discarded;
}

server_tests! {
    workers_have_turns_message_by_message: mode_1, in [Mode::Process];
    datagrams_have_turns_too: mode_1, in [Mode::Process];
    a_connection_stays_with_the_worker_of_its_id: mode_2, in [Mode::Process];
    what_is_idle_gets_the_next_message_and_if_nobody_is_somebody: mode_3, in [Mode::Process];
    mode_7_takes_an_idle_one_too: mode_7, in [Mode::Process];
    a_burst_is_dealt_out_among_the_idle: mode_3, in [Mode::Process];
    mode_9_deals_out_a_burst_too: mode_9, in [Mode::Process];
    the_address_of_the_peer_names_the_worker: mode_4, in [Mode::Process];
    the_user_that_a_connection_is_bound_to_names_the_worker: mode_5, in [Mode::Process];
    a_connection_gets_the_least_loaded_worker_for_life: mode_8, in [Mode::Process];
    a_message_goes_where_least_is_in_progress: mode_9, in [Mode::Process];
    mode_10_looks_at_the_same: mode_10, in [Mode::Process];
    a_stuck_worker_leaves_the_others_alone: mode_3, in [Mode::Process];
    a_stuck_worker_in_mode_8: mode_8, in [Mode::Process];
    a_stuck_worker_in_mode_9: mode_9, in [Mode::Process];
    a_stuck_worker_in_mode_10: mode_10, in [Mode::Process];
    nothing_but_the_message_in_hand_goes_with_a_worker: mode_1, in [Mode::Process];
    a_worker_dies_in_mode_2: mode_2, in [Mode::Process];
    a_worker_dies_in_mode_3: mode_3, in [Mode::Process];
    a_worker_dies_in_mode_4: mode_4, in [Mode::Process];
    a_worker_dies_in_mode_5: mode_5, in [Mode::Process];
    a_worker_dies_in_mode_8: mode_8, in [Mode::Process];
    a_worker_dies_in_mode_10: mode_10, in [Mode::Process];
    a_worker_dies_of_a_chosen_message: chosen_for_mode_1, in [Mode::Process];
    where_workers_read_for_themselves_there_are_no_rules: mode_1, in [Mode::Base, Mode::Thread];
    events_that_cannot_be_kept_in_order_are_dropped_with_a_warning: mode_1, in [Mode::Process];
    mode_9_drops_the_same: mode_9, in [Mode::Process];
    unsafe_events_come_once_each_if_they_are_asked_for: unsafe_mode_1, in [Mode::Process];
    mode_9_raises_the_same: unsafe_mode_9, in [Mode::Process];
    mode_2_raises_them_anyway: mode_2;
    its_number_is_the_worker_and_its_other_answers_mean_what_they_say: chosen, in [Mode::Process];
    a_connection_with_framing_does_not_outlive_a_message_that_is_discarded:
        chosen_with_framing, in [Mode::Process];
    a_connection_that_is_refused_sees_its_end_and_no_reset:
        serve_every_other, in [Mode::Process];
    it_sees_the_first_bytes_and_the_worker_all: chosen, in [Mode::Process];
    datagrams_are_asked_for_too: chosen, in [Mode::Process];
    levels_of_buffers_are_asked_for: chosen_with_small_buffers, in [Mode::Process];
    data_of_a_connection_that_is_gone_is_discarded: chosen_for_mode_1, in [Mode::Process];
    no_data_after_the_end_in_mode_2: chosen, in [Mode::Process];
    data_of_a_connection_that_is_gone_is_delivered_if_it_is_asked_for:
        chosen_with_late_data, in [Mode::Process];
    a_function_for_workers_that_read_for_themselves_is_never_asked:
        chosen, in [Mode::Base, Mode::Thread];
    a_worker_that_has_enough_gets_no_more_until_a_request_is_over: at_most_two;
    what_a_killed_worker_had_begun_is_over: at_most_two, in [Mode::Process];
    a_message_that_comes_in_pieces_is_in_progress: at_most_one_message, in [Mode::Process];
    a_request_goes_to_a_worker_that_may_take_one: at_most_one_of_each, in [Mode::Process];
    a_full_inbox_stops_whoever_feeds_it_and_nobody_else: two_in_turn, in [Mode::Process];
    a_function_where_connections_are_read_may_call_the_server: meddling;
    in_mode_5_it_may_too: meddling_in_mode_5, in [Mode::Process];
    who_is_bound_waits_no_longer_for_the_worker_that_it_had: by_uid, in [Mode::Process];
}
