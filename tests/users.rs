//! User processes: what runs in them, what they can do, how they are replaced and how they end.

#[path = "users/api.rs"]
mod api;
mod common;
#[path = "users/ending.rs"]
mod ending;
#[path = "users/inside.rs"]
mod inside;
#[path = "users/lives.rs"]
mod lives;
mod puppet;

use api::{nth, Process};
use common::api::Handle;
use common::prelude::*;
use ending::*;
use inside::*;
use lives::*;
use puppet::{ask, number, pid_of};

/// The worker id of the user process of a server with two workers.
pub const USER: i32 = 2;

type Made = Result<Server, common::api::Error>;

/// The puppet with a user process. `!user ORDER` goes to it, `!user1 ORDER` to the next, as soon as
/// it is reported; `!pid ID` is answered with the pid of a worker or user process.
pub fn prepare(setup: &Setup, settings: &[(&str, &str)], body: api::Body) -> Made {
    let server = puppet::prepare(setup, settings, |server, event| {
        let text = String::from_utf8_lossy(event.data());
        match text.split_once(' ') {
            Some(("!pid", id)) => {
                let answer = format!("{}\n", server.worker_pid(number(id)));
                puppet::answer(server, event.fd(), answer.as_bytes());
            }
            Some((word, order)) if word.starts_with("!user") => {
                let index = number(word.trim_start_matches("!user"));
                nth(index).tell(event.fd(), order.as_bytes()).expect("the pipe takes it");
                report!("told");
            }
            _ => puppet::obey(server, event),
        }
    })?;
    Process::start_with(*server, body)?;
    Ok(server)
}

/// Its user process does what comes through the pipe:
///
/// ```text
/// echo TEXT        sends the text
/// send LENGTH      sends a text of so many bytes
/// join, all TEXT   remembers this connection, sends a text to all that joined
/// close FD         closes that connection; no answer
/// part FD          sends it a text before; no answer
/// exit CODE        ends its process
/// end              returns
/// ...              see `inside::answer_of`
/// ```
pub fn obedient(server: Handle, process: Process) {
    report!("life {}", process.pid());
    let mut joined = Vec::new();
    while let Some((fd, order)) = process.next() {
        let order = String::from_utf8(order).expect("a text");
        let (word, rest) = order.split_once(' ').unwrap_or((&order, ""));
        match word {
            "echo" => puppet::answer(server, fd, format!("{rest}\n").as_bytes()),
            "send" => puppet::answer(server, fd, &vec![b's'; number(rest)]),
            "join" => {
                joined.push(fd);
                puppet::answer(server, fd, b"joined\n");
            }
            "all" => {
                let line = format!("{rest}\n");
                joined.iter().for_each(|fd| puppet::answer(server, *fd, line.as_bytes()));
            }
            "close" => {
                let is_closed = server.close(number(rest), false).is_ok();
                report!("closed {rest}: {is_closed}");
            }
            "part" => {
                puppet::answer(server, number(rest), b"last\n");
                report!("parted {rest}: {}", server.close(number(rest), false).is_ok());
            }
            "exit" => std::process::exit(number(rest)),
            "end" => return,
            _ => {
                let answer = answer_of(server, process, fd, &order);
                puppet::answer(server, fd, format!("{answer}\n").as_bytes());
            }
        }
    }
    report!("pipe ended");
}

pub fn serve_obedient(setup: &Setup) -> Outcome {
    puppet::run(&prepare(setup, &[], obedient)?)
}

/// The pid of the user process in its life of this number, counted from 1.
pub fn life(server: &Running, number: usize) -> Result<i32, String> {
    let lines = server.wait_lines(number, |line| line.starts_with("life "), STEP)?;
    Ok(puppet::number(lines[number - 1].trim_start_matches("life ")))
}

fn messages_go_through_its_pipe_and_answers_to_the_clients(server: &Running) -> Outcome {
    let mut clients = [server.connect()?, server.connect()?, server.connect()?];
    for round in 0..20 {
        for (index, client) in clients.iter_mut().enumerate() {
            let text = format!("{round}.{index}");
            assert_eq!(ask(client, &format!("user echo {text}"))?, text);
        }
    }
    Ok(())
}

fn a_long_message_of_it_arrives_whole_many_times_at_once(server: &Running) -> Outcome {
    const LENGTH: usize = 2 << 20;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(server.connect()?);
    }
    for _ in 0..2 {
        for client in &mut clients {
            client.send(format!("!user send {LENGTH}").as_bytes())?;
        }
        for client in &mut clients {
            assert!(client.receive(LENGTH)? == [b's'; 1].repeat(LENGTH));
            // Nothing of another message is in between, and nothing behind.
            assert_eq!(ask(client, "user echo next")?, "next");
        }
    }
    Ok(())
}

fn it_sends_to_all_connections_of_all_workers(server: &Running) -> Outcome {
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = server.connect()?;
        assert_eq!(ask(&mut client, "user join")?, "joined");
        clients.push(client);
    }
    for text in ["first", "second"] {
        clients[7].send(format!("!user all {text}").as_bytes())?;
        for client in &mut clients {
            assert_eq!(client.receive(text.len() + 1)?, format!("{text}\n").as_bytes());
        }
    }
    Ok(())
}

/// One worker, so that in BASE mode nothing but the user process asks for a manager.
fn serve_with_one_worker(setup: &Setup) -> Outcome {
    puppet::run(&prepare(setup, &[("worker_num", "1")], obedient)?)
}

fn one_worker_and_a_user_process_have_a_manager(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    assert_eq!(ask(&mut client, "user echo hello")?, "hello");
    let id = ask(&mut client, "user id")?;
    assert_eq!(id, format!("-1 1 {}", life(server, 1)?));
    let line = server.wait_line(|line| line.starts_with("manager "), STEP)?;
    let manager: i32 = number(line.trim_start_matches("manager "));
    assert_eq!(manager != 0, server.mode() != Mode::Thread);
    if server.mode() != Mode::Thread {
        puppet::kill(pid_of(server, 0, 1)?)?;
        pid_of(server, 0, 2)?;
        assert_eq!(ask(&mut server.connect()?, "user echo again")?, "again");
    }
    Ok(())
}

server_tests! {
    [both_faces];
    messages_go_through_its_pipe_and_answers_to_the_clients: serve_obedient;
    a_long_message_of_it_arrives_whole_many_times_at_once: serve_obedient;
    it_sends_to_all_connections_of_all_workers: serve_obedient;
    one_worker_and_a_user_process_have_a_manager: serve_with_one_worker;
    it_sees_what_workers_see: serve_obedient;
    it_closes_connections: serve_obedient;
    it_stops_workers_and_cannot_be_stopped: serve_obedient;
    it_ends_the_server: serve_obedient;
    // Threads share the signals of their process.
    its_signals_are_those_of_a_plain_program: serve_obedient, in [Mode::Process, Mode::Base];
    what_it_sends_arrives_while_it_waits_for_something_else: serve_obedient;
    a_worker_that_waits_for_it_is_not_waited_for_in_vain: wait_for_each_other;
    it_is_started_again_when_it_returns: serve_obedient;
    a_reload_leaves_it_alone: serve_obedient;
    five_quick_ends_are_no_reason_to_wait: serve_five_quick_ends;
    it_is_started_again_when_it_is_killed_and_reads_on: serve_obedient,
        in [Mode::Process, Mode::Base];
    // Elsewhere nobody who reads is ever stuck, or nobody can be killed.
    half_a_message_is_dropped_when_it_is_killed: serve_obedient, in [Mode::Base];
    the_program_is_told_how_it_ended: serve_obedient, in [Mode::Process, Mode::Base];
    timers_keep_it_alive_until_the_last_is_cleared: serve_timers;
    descriptors_keep_it_alive_until_the_last_is_removed: serve_descriptors;
    its_pipe_blocks_again_in_the_next_life: serve_nonblocking;
    it_ends_with_the_server_after_the_workers: serve_obedient;
    it_can_end_in_order: serve_until_the_end;
    a_timer_does_not_hold_up_the_end: serve_endless_timer;
    it_is_killed_if_it_does_not_end: serve_deaf, in [Mode::Process, Mode::Base];
    it_dies_with_the_master: serve_deaf;
    it_dies_with_the_manager_and_the_server_goes_on: serve_deaf, in [Mode::Process];
    wrong_calls_are_refused: make_mistakes;
    several_have_each_their_number_and_pipe: serve_three;
    [plain] a_process_is_freed_with_its_server;
}
