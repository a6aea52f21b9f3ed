//! Commands: functions that the one that stands for the master has run in other processes.

#[path = "commands/api.rs"]
mod api;
mod common;
#[path = "commands/lost.rs"]
mod lost;
mod puppet;

use api::{add_command, command, give_order, open_orders, take_orders, Reply};
use common::api::Handle;
use common::prelude::*;
use lost::*;
use puppet::{ask, connect_to, number, pid_of};

pub const WORKERS: i32 = 2;
const EVERYWHERE: i32 =
    SW_COMMAND_MASTER | SW_COMMAND_MANAGER | SW_COMMAND_EVENT_WORKER | SW_COMMAND_TASK_WORKER;

/// The puppet, whose `!order COMMAND ID TYPE [DATA]` goes to the one that stands for the master. It
/// reports `COMMAND ID TYPE: ` and the answer, or the number of the error.
pub fn prepare(setup: &Setup, settings: &[(&str, &str)]) -> Result<Server, common::api::Error> {
    let server = puppet::prepare(setup, settings, on_receive)?;
    open_orders();
    server.on("start", |server, _| take_orders(server, obey))?;
    server.on("beforeShutdown", |_, _| api::drop_orders())?;
    register(*server)?;
    Ok(server)
}

fn on_receive(server: Handle, event: &Event) {
    let text = String::from_utf8_lossy(event.data());
    let words: Vec<&str> = text.trim_start_matches('!').split(' ').collect();
    match *words {
        ["order", ..] => {
            give_order(text.trim_start_matches("!order "));
            puppet::answer(server, event.fd(), b"given\n");
        }
        // From here, which may not be the right place.
        ["call", name, id, kind] => {
            let answer = called(server, name, number(id), number(kind), b"");
            puppet::answer(server, event.fd(), format!("{answer}\n").as_bytes());
        }
        _ => puppet::obey(server, event),
    }
}

fn register(server: Handle) -> api_result::Result {
    let who = |server: Handle, data: &[u8], reply: Reply| {
        let answer = format!("{} {} {}", own_pid(), server.worker_id(), data.len());
        reply.answer(answer.as_bytes()).is_ok()
    };
    add_command(server, "who", EVERYWHERE, who)?;
    add_command(server, "worker", SW_COMMAND_EVENT_WORKER, who)?;
    add_command(server, "echo", EVERYWHERE, |_, data, reply| reply.answer(data).is_ok())?;
    add_command(server, "fill", EVERYWHERE, |_, data, reply| {
        let length = number(std::str::from_utf8(data).expect("a number"));
        reply.answer(&filling(length)).is_ok()
    })?;
    add_command(server, "silent", EVERYWHERE, |_, _, _| true)?;
    add_command(server, "fail", EVERYWHERE, |_, _, reply| {
        reply.answer(b"for nothing").expect("an answer is taken");
        false
    })?;
    add_command(server, "twice", EVERYWHERE, |_, _, reply| {
        reply.answer(b"first").expect("an answer is taken");
        report!("second: {}", code(reply.answer(b"second")));
        report!("other: {}", code(Reply(std::ptr::null_mut()).answer(b"")));
        true
    })?;
    add_command(server, "nested", EVERYWHERE, |server, _, reply| {
        let answer = called(server, "who", 1, SW_COMMAND_EVENT_WORKER, b"");
        reply.answer(answer.as_bytes()).is_ok()
    })?;
    lost::register(server)
}

mod api_result {
    pub type Result = std::result::Result<(), crate::common::api::Error>;
}

fn own_pid() -> i32 {
    std::process::id() as i32
}

pub fn filling(length: usize) -> Vec<u8> {
    let row: Vec<u8> = (0..=250).collect();
    let mut bytes = row.repeat(length / row.len() + 1);
    bytes.truncate(length);
    bytes
}

fn code(result: common::api::Result<()>) -> i32 {
    result.err().map_or(0, |error| error.code)
}

/// The answer to a command in words: its text, how long it is if it is a filling, or the number of
/// the error.
fn called(server: Handle, name: &str, id: i32, kind: i32, data: &[u8]) -> String {
    match command(server, name, id, kind, data) {
        Err(error) => error.code.to_string(),
        Ok(answer) if !answer.is_empty() && answer == filling(answer.len()) => {
            format!("{} bytes", answer.len())
        }
        Ok(answer) => String::from_utf8(answer).unwrap_or_else(|_| "SPOILED".to_owned()),
    }
}

fn obey(server: Handle, order: &str) {
    let words: Vec<&str> = order.split(' ').collect();
    let (name, id, kind) = (words[0], number(words[1]), number(words[2]));
    let data = match (name, words.get(3)) {
        ("echo" | "who", Some(length)) => filling(number(length)),
        (_, Some(text)) => text.as_bytes().to_vec(),
        (_, None) => Vec::new(),
    };
    report!("{order}: {}", called(server, name, id, kind, &data));
}

/// Has a command called; its answer.
pub fn order(server: &Running, order: &str) -> Result<String, common::api::Error> {
    let given = || -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let before = answers(server, order).len();
        assert_eq!(ask(&mut server.connect()?, &format!("order {order}"))?, "given");
        let start = format!("{order}: ");
        let mut lines = server.wait_lines(before + 1, |line| line.starts_with(&start), STEP)?;
        Ok(lines.swap_remove(before).split_off(start.len()))
    };
    given().map_err(|error| common::api::Error { code: 0, message: error.to_string() })
}

fn answers(server: &Running, order: &str) -> Vec<String> {
    let start = format!("{order}: ");
    server.lines_so_far().into_iter().filter(|line| line.starts_with(&start)).collect()
}

fn serve(setup: &Setup) -> Outcome {
    puppet::run(&prepare(setup, &[])?)
}

/// The pids that stand for the master and the manager.
fn heads(server: &Running) -> Result<(i32, i32), Box<dyn std::error::Error + Send + Sync>> {
    let master = number(&ask(&mut server.connect()?, "master")?);
    let line = server.wait_line(|line| line.starts_with("manager "), STEP)?;
    let manager: i32 = number(line.trim_start_matches("manager "));
    // In BASE mode the caller of start is the manager, and it is called the master's pid as well.
    Ok(match server.mode() {
        Mode::Base => (pid_of(server, 0, 1)?, server.pid()),
        _ => (master, manager),
    })
}

fn every_kind_of_process_answers(server: &Running) -> Outcome {
    server.connect()?;
    let (master, manager) = heads(server)?;
    for worker in 0..WORKERS {
        let pid = pid_of(server, worker, 1)?;
        let answer = order(server, &format!("who {worker} {SW_COMMAND_EVENT_WORKER}"))?;
        assert_eq!(answer, format!("{pid} {worker} 0"));
    }
    // The id means nothing for these.
    for id in [0, 1, -7, 65_536] {
        let answer = order(server, &format!("who {id} {SW_COMMAND_MASTER}"))?;
        let worker = if server.mode() == Mode::Base { 0 } else { -1 };
        assert_eq!(answer, format!("{master} {worker} 0"));
        let answer = order(server, &format!("who {id} {SW_COMMAND_MANAGER}"))?;
        assert_eq!(answer, format!("{manager} -1 0"));
    }
    Ok(())
}

fn serve_tasks(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[("task_worker_num", "2")])?;
    server.on("task", |_, _| {})?;
    puppet::run(&server)
}

fn task_workers_answer_by_their_own_numbers(server: &Running) -> Outcome {
    let task = SW_COMMAND_TASK_WORKER;
    for id in 0..2 {
        let worker = WORKERS + id;
        let pid = pid_of(server, worker, 1)?;
        assert_eq!(order(server, &format!("who {id} {task}"))?, format!("{pid} {worker} 0"));
        assert_eq!(order(server, &format!("echo {id} {task} 800000"))?, "800000 bytes");
        assert_eq!(order(server, &format!("fail {id} {task}"))?, "9010");
        assert_eq!(order(server, &format!("nested {id} {task}"))?, "509");
        assert_eq!(order(server, &format!("die {id} {task}"))?, "9003");
        assert_ne!(pid_of(server, worker, 2)?, pid);
    }
    for id in [2, -1, 65_536, i32::MAX] {
        assert_eq!(order(server, &format!("who {id} {task}"))?, "505");
    }
    assert_eq!(order(server, &format!("who 2 {SW_COMMAND_EVENT_WORKER}"))?, "505");
    assert_eq!(order(server, &format!("worker 0 {task}"))?, "507");
    Ok(())
}

fn data_and_answers_have_any_length(server: &Running) -> Outcome {
    let worker = SW_COMMAND_EVENT_WORKER;
    for length in [1, 8_151, 8_152, 131_041, 800_000, 16 << 20] {
        for id in 0..WORKERS {
            let answer = order(server, &format!("echo {id} {worker} {length}"))?;
            assert_eq!(answer, format!("{length} bytes"));
        }
        let answer = order(server, &format!("fill 0 {SW_COMMAND_MANAGER} {length}"))?;
        assert_eq!(answer, format!("{length} bytes"));
        let answer = order(server, &format!("echo 0 {SW_COMMAND_MASTER} {length}"))?;
        assert_eq!(answer, format!("{length} bytes"));
    }
    assert_eq!(order(server, &format!("echo 1 {worker}"))?, "", "nothing at all");
    // What the manager is told fits into one small message.
    for (length, answer) in [(8_151, "8151 bytes"), (8_152, "1202"), (1 << 20, "1202")] {
        assert_eq!(order(server, &format!("echo 0 {SW_COMMAND_MANAGER} {length}"))?, answer);
    }
    Ok(())
}

fn what_cannot_be_is_refused(server: &Running) -> Outcome {
    let (worker, manager) = (SW_COMMAND_EVENT_WORKER, SW_COMMAND_MANAGER);
    for id in [WORKERS, -1, 65_536, 65_537, i32::MAX, i32::MIN] {
        assert_eq!(order(server, &format!("who {id} {worker}"))?, "505", "worker {id}");
        assert_eq!(order(server, &format!("who {id} {SW_COMMAND_TASK_WORKER}"))?, "505");
    }
    for kind in [0, 1, -1, 64, worker | manager, EVERYWHERE] {
        assert_eq!(order(server, &format!("who 0 {kind}"))?, "505", "type {kind}");
    }
    for name in ["unknown", "Who", "wh", ""] {
        assert_eq!(order(server, &format!("{name} 0 {worker}"))?, "9012");
    }
    assert_eq!(order(server, &format!("who 0 {SW_COMMAND_REACTOR_THREAD}"))?, "507");
    for kind in [SW_COMMAND_MASTER, manager, SW_COMMAND_TASK_WORKER] {
        assert_eq!(order(server, &format!("worker 0 {kind}"))?, "507");
    }
    let pid = pid_of(server, 1, 1)?;
    assert_eq!(order(server, &format!("worker 1 {worker}"))?, format!("{pid} 1 0"));
    Ok(())
}

fn only_the_one_that_stands_for_the_master_calls(server: &Running) -> Outcome {
    let (mut other, _) = connect_to(server, 1)?;
    let kinds = [SW_COMMAND_MASTER, SW_COMMAND_EVENT_WORKER, SW_COMMAND_MANAGER];
    for kind in kinds {
        assert_eq!(ask(&mut other, &format!("call who 0 {kind}"))?, "505");
    }
    let (mut first, _) = connect_to(server, 0)?;
    let answer = ask(&mut first, &format!("call who 1 {SW_COMMAND_EVENT_WORKER}"))?;
    let pid = pid_of(server, 1, 1)?;
    let is_face = server.mode() == Mode::Base;
    assert_eq!(answer, if is_face { format!("{pid} 1 0") } else { "505".to_owned() });
    server.wait_line(|line| line == "of the manager: 505", STEP)?;
    Ok(())
}

fn serve_curious_manager(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[])?;
    server.on("managerStart", |server, _| {
        report!("of the manager: {}", called(server, "who", 0, SW_COMMAND_EVENT_WORKER, b""));
    })?;
    puppet::run(&server)
}

fn a_command_answers_once_or_fails(server: &Running) -> Outcome {
    let mut count = 0;
    let places = [
        format!("1 {SW_COMMAND_EVENT_WORKER}"),
        format!("0 {SW_COMMAND_MASTER}"),
        format!("0 {SW_COMMAND_MANAGER}"),
    ];
    for place in places {
        assert_eq!(order(server, &format!("silent {place}"))?, "");
        assert_eq!(order(server, &format!("fail {place}"))?, "9010");
        assert_eq!(order(server, &format!("twice {place}"))?, "first");
        count += 1;
        server.wait_lines(count, |line| line == "second: 509", STEP)?;
        server.wait_lines(count, |line| line == "other: 505", STEP)?;
        assert_eq!(order(server, &format!("nested {place}"))?, "509");
    }
    Ok(())
}

fn commands_are_no_requests(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let requests = |answer: &str| answer.split(' ').nth(1).map_or(0, number::<u64>);
    let before = requests(&ask(&mut client, "counts")?);
    for _ in 0..10 {
        // The order is a request of another connection, maybe to the same worker.
        order(server, &format!("silent 1 {SW_COMMAND_EVENT_WORKER}"))?;
    }
    let after = requests(&ask(&mut client, "counts")?);
    assert_eq!(after - before, 11);
    Ok(())
}

/// Calls for commands in the start event, before anything is accepted.
fn serve_early(setup: &Setup) -> Outcome {
    let server = puppet::prepare(setup, &[], on_receive)?;
    register(*server)?;
    server.on("start", |server, _| {
        for kind in [SW_COMMAND_MASTER, SW_COMMAND_MANAGER, SW_COMMAND_EVENT_WORKER] {
            report!("early {kind}: {}", called(server, "fill", 0, kind, b"300000"));
        }
    })?;
    puppet::run(&server)
}

fn the_start_event_calls_for_commands(server: &Running) -> Outcome {
    for kind in [SW_COMMAND_MASTER, SW_COMMAND_MANAGER, SW_COMMAND_EVENT_WORKER] {
        let line = server.wait_line(|line| line.starts_with(&format!("early {kind}: ")), STEP)?;
        assert!(line.ends_with(": 300000 bytes"), "{line}");
    }
    server.connect()?.echo(b"hello")?;
    Ok(())
}

fn there_are_none_among_threads(server: &Running) -> Outcome {
    let lines = server.wait_lines(3, |line| line.starts_with("early "), STEP)?;
    assert!(lines.iter().all(|line| line.ends_with(": 507")), "{lines:?}");
    let mut client = server.connect()?;
    assert_eq!(ask(&mut client, &format!("call who 0 {SW_COMMAND_MASTER}"))?, "507");
    Ok(())
}

/// A worker alone, which in BASE mode is all there is.
fn serve_alone(setup: &Setup) -> Outcome {
    puppet::run(&prepare(setup, &[("worker_num", "1")])?)
}

fn a_worker_that_is_alone_answers_itself(server: &Running) -> Outcome {
    let pid = pid_of(server, 0, 1)?;
    for kind in [SW_COMMAND_MASTER, SW_COMMAND_EVENT_WORKER] {
        let answer = order(server, &format!("who 0 {kind}"))?;
        assert_eq!(answer, format!("{pid} 0 0"));
        assert_eq!(order(server, &format!("fill 0 {kind} 300000"))?, "300000 bytes");
        assert_eq!(order(server, &format!("nested 0 {kind}"))?, "509");
    }
    assert_eq!(order(server, &format!("who 0 {SW_COMMAND_MANAGER}"))?, "507");
    assert_eq!(order(server, &format!("who 1 {SW_COMMAND_EVENT_WORKER}"))?, "505");
    Ok(())
}

fn what_is_no_command_is_not_registered() -> Outcome {
    let server = Server::new("127.0.0.1", 0, SW_BASE, SW_SOCK_TCP)?;
    let add = |name: &str, kinds: i32| code(add_command(*server, name, kinds, |_, _, _| true));
    assert_eq!(add("name", SW_COMMAND_MASTER), 0);
    assert_eq!(add("name", SW_COMMAND_MANAGER), 505, "the name is taken");
    assert_eq!(add("", SW_COMMAND_MASTER), 505);
    for kinds in [0, 1, 64, SW_COMMAND_MASTER | 64, -1] {
        assert_eq!(add("other", kinds), 505, "types {kinds}");
    }
    for kinds in [SW_COMMAND_REACTOR_THREAD, SW_COMMAND_MASTER | SW_COMMAND_REACTOR_THREAD] {
        assert_eq!(add("other", kinds), 507, "types {kinds}");
    }
    assert_eq!(add("other", EVERYWHERE), 0);
    Ok(())
}

server_tests! {
    every_kind_of_process_answers: serve, in [Mode::Process, Mode::Base];
    task_workers_answer_by_their_own_numbers: serve_tasks, in [Mode::Process, Mode::Base];
    data_and_answers_have_any_length: serve, in [Mode::Process, Mode::Base];
    what_cannot_be_is_refused: serve, in [Mode::Process, Mode::Base];
    only_the_one_that_stands_for_the_master_calls: serve_curious_manager,
        in [Mode::Process, Mode::Base];
    a_command_answers_once_or_fails: serve, in [Mode::Process, Mode::Base];
    commands_are_no_requests: serve, in [Mode::Process, Mode::Base];
    the_start_event_calls_for_commands: serve_early, in [Mode::Process, Mode::Base];
    there_are_none_among_threads: serve_early, in [Mode::Thread];
    a_worker_that_is_alone_answers_itself: serve_alone, in [Mode::Base];
    what_is_stuck_is_given_up_and_its_late_answer_dropped: serve,
        in [Mode::Process, Mode::Base];
    the_death_of_a_process_in_a_command_is_told: serve, in [Mode::Process, Mode::Base];
    a_successor_runs_what_its_predecessor_did_not_get_to: serve,
        in [Mode::Process, Mode::Base];
    a_command_may_send_much_to_the_one_that_waits: serve_senders,
        in [Mode::Process, Mode::Base];
    a_command_may_send_much_through_a_single_thread: serve_single_thread, in [Mode::Process];
    [plain] what_is_no_command_is_not_registered;
}
