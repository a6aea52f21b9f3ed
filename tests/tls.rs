//! TLS: streams that are encrypted do all that plain ones do, and who does not speak it properly
//! costs nobody anything.
//!
//! The certificates in `tls/files` are for tests alone: the authority of all but `stranger` signed
//! them once, and its key is gone. They are good for a hundred years.

#[path = "tls/broken.rs"]
mod broken;
#[path = "tls/certificates.rs"]
mod certificates;
#[path = "tls/client.rs"]
mod client;
mod common;
#[path = "tls/ending.rs"]
mod ending;
#[path = "tls/idle.rs"]
mod idle;
mod puppet;
#[path = "tls/scan.rs"]
mod scan;
#[path = "sending/api.rs"]
mod sending;
#[path = "tls/server.rs"]
mod server;
#[path = "tls/strange.rs"]
mod strange;
#[path = "tls/traffic.rs"]
mod traffic;

use broken::*;
use certificates::*;
use common::prelude::*;
use ending::*;
use idle::*;
use scan::*;
use server::*;
use strange::*;
use traffic::*;

server_tests! {
    every_size_comes_back_in_both_versions: plain;
    what_a_worker_has_no_room_for_is_read_later: with_little_room, in [Mode::Process];
    messages_are_cut_from_what_was_decrypted: with_lines;
    many_clients_are_served_at_once: plain;
    what_was_sent_with_the_end_of_the_handshake_arrives: plain;
    ports_of_every_kind_have_tls_or_not: on_all_ports;
    files_and_sends_keep_their_order: plain;
    a_send_that_waits_returns_when_all_has_gone: plain, in [Mode::Base, Mode::Thread];
    what_a_slow_client_does_not_take_waits: with_a_large_buffer;
    reading_begins_when_a_connection_is_confirmed: delayed;
    other_programs_get_along: plain;
    curl_talks_to_a_port_that_cuts_requests: with_requests;
    a_session_is_resumed_in_every_worker: with_tickets;
    a_name_chooses_the_certificate: with_names;
    clients_without_a_good_certificate_are_never_seen: verifying;
    a_certificate_is_known_in_its_worker_alone: asking;
    certificates_are_replaced_by_a_reload_and_a_bad_pair_is_not: with_copies;
    the_only_worker_reads_its_certificates_again: with_copies_alone, in [Mode::Base];
    a_certificate_is_forgotten_with_its_connection: bound, in [Mode::Process];
    a_record_that_comes_slowly_keeps_its_connection: with_heartbeat;
    where_nothing_flows_a_connection_is_closed: with_idle_time;
    a_handshake_is_not_blamed_for_a_busy_worker: alone, in [Mode::Base];
    a_paused_connection_is_read_when_it_is_resumed: plain;
    levels_are_told_of_what_waits: with_levels;
    a_file_is_whole_before_the_end_and_a_part_before_a_reset: with_a_large_buffer;
    an_end_is_told_in_order_and_a_reset_is_not: plain;
    a_client_that_has_ended_gets_its_answers: plain;
    clients_outlive_a_killed_worker: plain, in [Mode::Process];
    broken_handshakes_leave_nothing_behind: with_a_small_table;
    handshakes_that_stall_give_their_places_back: with_few_places;
    a_scanner_finds_no_version_below_1_2_and_no_weak_suite: with_all_suites, in [Mode::Process];
    a_scanner_finds_each_good_suite: with_all_suites, in [Mode::Process];
    a_large_certificate_of_a_client_is_known: asking;
    who_takes_the_handshake_slowly_is_waited_for_and_who_never_does_is_not: with_a_long_chain;
    an_end_in_the_middle_of_a_message_is_an_end: with_lines;
    nobody_negotiates_anew: plain;
    a_worker_that_is_killed_in_a_handshake_leaves_nothing_behind: plain,
        in [Mode::Process, Mode::Base];
    a_server_ends_beside_handshakes_that_do_not: plain;
    a_worker_is_replaced_beside_handshakes_that_do_not_end: plain;
    after_a_reload_sessions_begin_anew_and_are_resumed: with_tickets;
    the_heartbeat_ends_what_is_silent_before_and_after_the_handshake: with_heartbeat;
    [plain] a_start_without_a_usable_certificate_says_why;
    [plain] what_is_not_offered_is_refused_at_start;
    [plain] files_that_cannot_be_used_are_refused_when_they_are_set;
}
