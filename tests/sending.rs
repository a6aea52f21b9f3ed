//! Sending: files in their place, buffers that are full and empty, sends that wait, and that one
//! peer costs no other.

#[path = "sending/api.rs"]
mod api;
mod common;
#[path = "sending/crowd.rs"]
mod crowd;
#[path = "sending/files.rs"]
mod files;
#[path = "sending/insisting.rs"]
mod insisting;
#[path = "sending/later.rs"]
mod later;
#[path = "sending/levels.rs"]
mod levels;
mod puppet;
#[path = "tasks/api.rs"]
#[allow(dead_code)]
mod tasks;
#[path = "users/api.rs"]
mod users;
#[path = "sending/waiting.rs"]
mod waiting;

use common::prelude::*;
use crowd::*;
use files::*;
use insisting::*;
use later::*;
use levels::*;
use waiting::*;

server_tests! {
    parts_of_files_arrive_in_their_place_from_every_worker: plain;
    the_name_of_a_file_need_not_be_text: plain;
    a_file_is_no_response: plain;
    a_file_that_cannot_be_sent_has_its_number_and_the_connection_goes_on: plain;
    a_file_that_goes_away_before_its_turn_ends_its_connection_alone: plain;
    only_so_many_files_wait_for_a_peer: plain;
    // Elsewhere it is the worker that finds that the file has gone.
    nothing_stands_in_the_place_of_a_file_that_has_gone_away: plain, in [Mode::Process];
    a_file_for_which_there_is_no_descriptor_waits_for_one: plain, in [Mode::Process];
    a_file_larger_than_the_memory_it_takes: plain;
    every_process_but_the_master_sends_files: everybody;
    full_and_empty_take_turns_in_the_bound_worker: both;
    without_a_refusal_nothing_becomes_empty_alone: empty_alone;
    a_buffer_becomes_full_again_also_where_nobody_asks_for_empty: full_alone;
    a_producer_that_goes_on_when_told_never_waits_for_ever: pump;
    a_send_that_waits_returns_when_all_has_gone: patient, in [Mode::Base, Mode::Thread];
    a_send_waits_no_longer_than_the_timeout_and_leaves_no_half: hasty,
        in [Mode::Base, Mode::Thread];
    a_peer_that_leaves_ends_the_wait: patient, in [Mode::Base, Mode::Thread];
    who_tries_again_in_one_callback_gets_on: insistent;
    sends_wait_for_room_and_go_in_order: later;
    a_send_that_waits_too_long_is_given_up: later_for_a_while;
    a_send_to_a_connection_that_ends_is_told: later;
    // Elsewhere the process of the worker is killed.
    a_send_that_waits_does_not_keep_the_server_from_ending: short, in [Mode::Thread];
    only_the_owner_of_a_connection_can_wait: plain;
    blocks_of_four_senders_never_mix: four_senders;
    peers_that_do_not_read_cost_those_that_do_nothing: small_buffers;
}
