//! Messages between the processes of a server: who reaches whom, whole and in order, and what
//! becomes of them when processes end.

#[path = "messages/api.rs"]
mod api;
mod common;
#[path = "messages/crossing.rs"]
mod crossing;
#[path = "messages/lives.rs"]
mod lives;
#[path = "users/api.rs"]
mod process;
mod puppet;
#[path = "messages/tasks.rs"]
mod tasks;

use api::{letter, opened, send_message, told};
use common::api::Handle;
use common::prelude::*;
use crossing::*;
use lives::*;
use process::{nth, Process};
use puppet::life::told as answer_of_call;
use puppet::{ask, connect_to, hold_worker, number};
use tasks::*;

const WORKERS: i32 = 3;
const USER: i32 = WORKERS;

/// The puppet with three workers and a user process, all of which send messages when told to:
///
/// ```text
/// !mail TO TAG LENGTH          sends a letter to a worker
/// !mails TO TAG COUNT LENGTH   sends so many, with the tags TAG.0, TAG.1 ...
/// !bare TO LENGTH              sends so many bytes of nothing
/// !user ORDER                  has the user process do one of these; it reports the answer
/// ```
///
/// What arrives is reported: `TAG at WORKER from SENDER length LENGTH`.
pub fn prepare(setup: &Setup, settings: &[(&str, &str)]) -> Result<Server, common::api::Error> {
    let server = puppet::prepare(setup, settings, on_receive)?;
    server.set("worker_num", &WORKERS.to_string())?;
    server.on("pipeMessage", on_message)?;
    Ok(server)
}

fn on_receive(server: Handle, event: &Event) {
    let text = String::from_utf8_lossy(event.data());
    let words: Vec<&str> = text.trim_start_matches('!').split(' ').collect();
    let answer = match *words {
        ["user", ..] => {
            let order = text.trim_start_matches("!user ");
            nth(0).tell(event.fd(), order.as_bytes()).expect("the pipe takes it");
            "told".to_owned()
        }
        _ => match mailed(server, &words) {
            Some(answer) => answer,
            None => return puppet::obey(server, event),
        },
    };
    puppet::answer(server, event.fd(), format!("{answer}\n").as_bytes());
}

/// Sends what an order says; `None` for other orders.
fn mailed(server: Handle, words: &[&str]) -> Option<String> {
    let to = |word: &str| word.parse().expect("a worker id");
    Some(answer_of_call(match words {
        ["mail", worker, tag, length] => {
            send_message(server, &letter(tag, number(length)), to(worker))
        }
        ["mails", worker, tag, count, length] => (0..number(count)).try_for_each(|index: usize| {
            let letter = letter(&format!("{tag}.{index}"), number(length));
            send_message(server, &letter, to(worker))
        }),
        ["bare", worker, length] => send_message(server, &vec![0; number(length)], to(worker)),
        _ => return None,
    }))
}

fn on_message(server: Handle, event: &Event) {
    let (message, bytes) = told(event);
    let (own, source) = (server.worker_id(), message.source_worker_id);
    let is_bare = bytes.iter().all(|byte| *byte == 0);
    let tag = if is_bare { Some("bare") } else { opened(bytes) };
    report!("{} at {own} from {source} length {}", tag.unwrap_or("SPOILED"), bytes.len());
}

/// Does what comes through the pipe.
fn user_process(server: Handle, process: Process) {
    while let Some((_, order)) = process.next() {
        let order = String::from_utf8(order).expect("a text");
        let words: Vec<&str> = order.split(' ').collect();
        report!("user {order}: {}", mailed(server, &words).expect("a known order"));
    }
}

fn serve(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[])?;
    Process::start_with(*server, user_process)?;
    puppet::run(&server)
}

/// The letters that came, or will, with a tag that begins like this, in the order of their arrival.
fn letters(server: &Running, tag: &str, count: usize) -> Result<Vec<String>, String> {
    server.wait_lines(count, |line| line.starts_with(tag) && line.contains(" from "), STEP)
}

fn every_process_reaches_every_worker(server: &Running) -> Outcome {
    let mut clients = Vec::new();
    for worker in 0..WORKERS {
        clients.push(connect_to(server, worker)?.0);
    }
    for (sender, client) in clients.iter_mut().enumerate() {
        for to in (0..WORKERS).filter(|to| *to != sender as i32) {
            assert_eq!(ask(client, &format!("mail {to} w{sender}to{to} 100"))?, "true");
            let line = letters(server, &format!("w{sender}to{to} "), 1)?;
            assert_eq!(line, [format!("w{sender}to{to} at {to} from {sender} length 100")]);
        }
    }
    for to in 0..WORKERS {
        clients[0].send(format!("!user mail {to} u{to} 100").as_bytes())?;
        let line = letters(server, &format!("u{to} "), 1)?;
        assert_eq!(line, [format!("u{to} at {to} from {USER} length 100")]);
    }
    Ok(())
}

/// Sends to all workers but the caller; reports what was refused.
fn send_to_all(server: Handle, tag: &str) {
    for to in (0..WORKERS).filter(|to| *to != server.worker_id()) {
        if let Err(error) = send_message(server, &letter(tag, 50), to) {
            report!("REFUSED {tag} to {to}: {error}");
        }
    }
}

fn serve_announcers(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[])?;
    server.on("start", |server, _| send_to_all(server, "master"))?;
    server.on("managerStart", |server, _| send_to_all(server, "manager"))?;
    server.on("workerStart", |server, event| {
        let worker = event.worker().worker_id;
        report!("worker {worker} {}", event.worker().worker_pid);
        send_to_all(server, &format!("starter{worker}"));
    })?;
    puppet::run(&server)
}

fn the_master_and_the_manager_send_as_nobody(server: &Running) -> Outcome {
    // In BASE mode worker 0 stands for the master, and does not send to itself.
    let (master, to) = if server.mode() == Mode::Base { (0, 1..WORKERS) } else { (-1, 0..WORKERS) };
    let mut expected: Vec<String> =
        to.map(|to| format!("master at {to} from {master} length 50")).collect();
    expected.extend((0..WORKERS).map(|to| format!("manager at {to} from -1 length 50")));
    for from in 0..WORKERS {
        let others = (0..WORKERS).filter(|to| *to != from);
        expected.extend(others.map(|to| format!("starter{from} at {to} from {from} length 50")));
    }
    let mut lines = server.wait_lines(expected.len(), |line| line.contains(" from "), STEP)?;
    lines.sort();
    expected.sort();
    assert_eq!(lines, expected);
    assert!(!server.lines_so_far().iter().any(|line| line.starts_with("REFUSED")));
    Ok(())
}

/// Around the limits of one record in the lane, of what travels in memory elsewhere, and beyond.
const LENGTHS: [usize; 12] = [
    20,
    8_151,
    8_152,
    65_535,
    131_039,
    131_040,
    131_041,
    262_144,
    524_288,
    800_000,
    5 << 20,
    64 << 20,
];

/// What a user process sends, whose calls wait for room.
const USER_LENGTHS: [usize; 4] = [20, 131_040, 131_041, 5 << 20];

fn a_message_of_any_length_arrives_whole(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    for length in [0, 1, 2] {
        assert_eq!(ask(&mut client, &format!("bare 0 {length}"))?, "true");
    }
    let bare: Vec<String> =
        (0..3).map(|length| format!("bare at 0 from 1 length {length}")).collect();
    assert_eq!(letters(server, "bare ", 3)?, bare);
    for length in LENGTHS {
        assert_eq!(ask(&mut client, &format!("mail 0 w{length} {length}"))?, "true");
        let line = letters(server, &format!("w{length} "), 1)?;
        assert_eq!(line, [format!("w{length} at 0 from 1 length {length}")]);
    }
    for length in USER_LENGTHS {
        client.send(format!("!user mail 0 u{length} {length}").as_bytes())?;
        assert_eq!(client.receive(5)?, b"told\n");
        let line = letters(server, &format!("u{length} "), 1)?;
        assert_eq!(line, [format!("u{length} at 0 from {USER} length {length}")]);
    }
    // Only those are counted that needed several pieces.
    let all = LENGTHS.iter().chain(&USER_LENGTHS);
    let pieces = all.filter(|length| **length > 131_040).count();
    let stats = ask(&mut client, "pieces")?;
    assert_eq!(stats, (1 + pieces).to_string());
    Ok(())
}

fn serve_counting(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[])?;
    server.on("receive", |server, event| match event.data() {
        b"!pieces" => {
            let count = server.stats().expect("stats").pipe_packet_msg_id;
            puppet::answer(server, event.fd(), format!("{count}\n").as_bytes());
        }
        _ => on_receive(server, event),
    })?;
    Process::start_with(*server, user_process)?;
    puppet::run(&server)
}

fn messages_of_each_sender_stay_in_order(server: &Running) -> Outcome {
    let (mut target, _) = connect_to(server, 0)?;
    let (mut one, _) = connect_to(server, 1)?;
    let (mut two, _) = connect_to(server, 2)?;
    let held = hold_worker(&mut target)?;
    // More than the lane takes, small ones and ones in pieces.
    for round in 0..4 {
        for (client, name) in [(&mut one, "one"), (&mut two, "two")] {
            assert_eq!(ask(client, &format!("mails 0 {name}{round}small 300 200"))?, "true");
            assert_eq!(ask(client, &format!("mails 0 {name}{round}large 2 300000"))?, "true");
        }
    }
    drop(held);
    for name in ["one", "two"] {
        let lines = letters(server, name, 4 * 302)?;
        let expected = (0..4).flat_map(|round| {
            let small = (0..300).map(move |index| format!("{name}{round}small.{index} "));
            small.chain((0..2).map(move |index| format!("{name}{round}large.{index} ")))
        });
        for (line, tag) in lines.iter().zip(expected) {
            assert!(line.starts_with(&tag), "{line} instead of {tag}");
        }
    }
    Ok(())
}

fn it_is_told_when_a_message_was_sent(server: &Running) -> Outcome {
    let (mut target, _) = connect_to(server, 0)?;
    let (mut sender, _) = connect_to(server, 1)?;
    let held = hold_worker(&mut target)?;
    let now = || std::time::UNIX_EPOCH.elapsed().map(|time| time.as_secs_f64());
    let before = now()?;
    assert_eq!(ask(&mut sender, "mail 0 timed 100")?, "true");
    let after = now()?;
    drop(held);
    let line = server.wait_line(|line| line.starts_with("sent "), STEP)?;
    let sent: f64 = number(line.trim_start_matches("sent "));
    // A double has steps of a quarter of a microsecond there.
    assert!(before - 1e-6 <= sent && sent <= after + 1e-6, "{before} {sent} {after}");
    Ok(())
}

fn serve_timed(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[])?;
    server.on("pipeMessage", |_, event| report!("sent {:.7}", told(event).0.dispatch_time))?;
    puppet::run(&server)
}

fn messages_are_no_requests(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let own: i32 = ask(&mut client, "who")?.split(' ').next().map_or(0, number);
    let to = (own + 1) % WORKERS;
    let requests = |answer: &str| answer.split(' ').nth(1).map_or(0, number::<u64>);
    let before = requests(&ask(&mut client, "counts")?);
    assert_eq!(ask(&mut client, &format!("mails {to} many 100 50"))?, "true");
    letters(server, "many.", 100)?;
    let after = requests(&ask(&mut client, "counts")?);
    assert_eq!(after - before, 2, "the orders themselves");
    Ok(())
}

fn wrong_targets_are_refused(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    for to in [1, -1, USER, USER + 1, 65_536, 65_537, i32::MAX, i32::MIN] {
        assert_eq!(ask(&mut client, &format!("mail {to} lost 10"))?, "505", "to {to}");
    }
    // Neither can a user process be reached from itself.
    client.send(format!("!user mail {USER} lost 10").as_bytes())?;
    server.wait_line(|line| line == format!("user mail {USER} lost 10: 505"), STEP)?;
    Ok(())
}

fn serve_without_callback(setup: &Setup) -> Outcome {
    let server = puppet::prepare(setup, &[], on_receive)?;
    puppet::run(&server)
}

fn nothing_is_sent_where_nobody_takes_messages(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    for to in [0, 1, 7] {
        assert_eq!(ask(&mut client, &format!("mail {to} lost 10"))?, "9015");
    }
    Ok(())
}

server_tests! {
    [both_faces];
    every_process_reaches_every_worker: serve;
    the_master_and_the_manager_send_as_nobody: serve_announcers;
    a_message_of_any_length_arrives_whole: serve_counting;
    messages_of_each_sender_stay_in_order: serve;
    it_is_told_when_a_message_was_sent: serve_timed;
    messages_are_no_requests: serve;
    wrong_targets_are_refused: serve;
    nothing_is_sent_where_nobody_takes_messages: serve_without_callback;
    two_that_flood_each_other_both_come_through: serve_flood;
    a_reload_in_the_middle_of_a_flood_loses_nothing: serve_flood;
    the_end_in_the_middle_of_a_flood_comes_soon: serve_patiently;
    a_reload_in_a_stream_of_messages_loses_nothing: serve_chain;
    workers_that_say_goodbye_to_each_other_come_to_an_end: serve_goodbye;
    task_workers_send_and_are_sent_to: serve_tasks;
    a_task_worker_that_is_replaced_gets_all_messages: serve_reloaded_tasks;
    // Threads are not killed.
    a_task_worker_that_dies_loses_the_message_in_its_hands: serve_tasks,
        in [Mode::Process, Mode::Base];
    what_a_killed_worker_was_not_given_its_successor_gets: serve,
        in [Mode::Process, Mode::Base];
    a_long_message_outlives_the_worker_that_it_is_for: serve, in [Mode::Process, Mode::Base];
    half_a_message_of_a_killed_sender_is_forgotten: serve, in [Mode::Process, Mode::Base];
    kills_in_a_stream_lose_what_was_in_hands_only: serve_chain, in [Mode::Process, Mode::Base];
}
