//! The callbacks of the program: when and where each comes and what it is told, and what becomes of
//! the server when one of them does not return because its process dies.

mod common;
#[path = "callbacks/dying.rs"]
mod dying;
mod puppet;
#[path = "callbacks/telling.rs"]
mod telling;
#[path = "callbacks/trouble.rs"]
mod trouble;

use common::{Case, Mode};
use telling::*;
use trouble::case;

const PROCESSES: &[Mode] = &[Mode::Process, Mode::Base];

const TOLD: &[Case] = &[
    case(
        "every_event_comes_with_what_it_was_registered_with",
        tell_all,
        every_event_comes_with_what_it_was_registered_with,
        Mode::ALL,
    ),
    case(
        "workers_are_there_from_the_managers_start_to_its_stop",
        tell_all,
        workers_are_there_from_the_managers_start_to_its_stop,
        Mode::ALL,
    ),
    case(
        "clients_can_connect_until_the_end_begins_and_not_when_it_is_over",
        tell_all,
        clients_can_connect_until_the_end_begins_and_not_when_it_is_over,
        Mode::ALL,
    ),
    case(
        "a_reload_is_told_before_anybody_stops_and_when_all_are_replaced",
        tell_all,
        a_reload_is_told_before_anybody_stops_and_when_all_are_replaced,
        Mode::ALL,
    ),
    case(
        "a_loss_is_told_when_the_dead_is_gone_and_before_anybody_follows",
        tell_all,
        a_loss_is_told_when_the_dead_is_gone_and_before_anybody_follows,
        PROCESSES,
    ),
];

fn main() -> std::process::ExitCode {
    let cases = [
        TOLD,
        dying::OF_THE_ROOT,
        dying::OF_THE_CALLER,
        dying::OF_A_MANAGER_THAT_CALLED,
        dying::OF_A_WORKER_THAT_CALLED,
        dying::OF_A_PARENT,
        dying::OF_A_MANAGER,
        dying::OF_A_WORKER,
        dying::OF_THE_FIRST_WORKER,
    ];
    common::run(&cases.concat(), &[], None)
}
