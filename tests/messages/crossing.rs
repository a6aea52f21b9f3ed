//! Workers that send to each other much, at the same time.

use crate::api::{letter, opened, send_message, told};
use crate::common::api::Handle;
use crate::common::{Outcome, Running, Setup, STEP};
use crate::puppet::{self, ask, connect_to, number, pid_of};
use crate::{prepare, report, WORKERS};

/// How many letters each of two workers sends to the other, and their length.
const LETTERS: usize = 40;
const LENGTH: usize = 700_000;

/// Workers that answer `!flood TO` by sending all letters to that worker at once.
pub fn serve_flood(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[("max_wait_time", "20")])?;
    server.on("receive", |server, event| {
        let text = String::from_utf8_lossy(event.data()).into_owned();
        let Some(to) = text.strip_prefix("!flood ") else { return puppet::obey(server, event) };
        for index in 0..LETTERS {
            send_message(server, &letter(&format!("flood.{index}"), LENGTH), number(to))
                .expect("a message is taken");
        }
        puppet::answer(server, event.fd(), b"sent\n");
    })?;
    server.on("afterReload", |_, _| report!("reloaded"))?;
    puppet::run(&server)
}

/// What came from `source`, in order and each once.
fn has_all(server: &Running, source: i32, to: i32) -> Outcome {
    let end = format!(" at {to} from {source} length {LENGTH}");
    let lines = server.wait_lines(LETTERS, |line| line.ends_with(&end), STEP)?;
    let expected: Vec<String> = (0..LETTERS).map(|index| format!("flood.{index}{end}")).collect();
    assert_eq!(lines, expected);
    Ok(())
}

fn flood(server: &Running) -> Outcome {
    let (mut one, _) = connect_to(server, 0)?;
    let (mut two, _) = connect_to(server, 1)?;
    one.send(b"!flood 1")?;
    two.send(b"!flood 0")?;
    assert_eq!(one.receive(5)?, b"sent\n");
    assert_eq!(two.receive(5)?, b"sent\n");
    Ok(())
}

fn has_come_through(server: &Running) -> Outcome {
    has_all(server, 0, 1)?;
    has_all(server, 1, 0)?;
    let lines = server.lines_so_far();
    let letters = lines.iter().filter(|line| line.contains(" from ")).count();
    assert_eq!(letters, 2 * LETTERS, "each came once");
    Ok(())
}

pub fn two_that_flood_each_other_both_come_through(server: &Running) -> Outcome {
    flood(server)?;
    has_come_through(server)
}

pub fn a_reload_in_the_middle_of_a_flood_loses_nothing(server: &Running) -> Outcome {
    flood(server)?;
    let mut third = connect_to(server, 2)?.0;
    assert_eq!(ask(&mut third, "reload")?, "true");
    has_come_through(server)?;
    server.wait_line(|line| line == "reloaded", STEP)?;
    for worker in 0..WORKERS {
        pid_of(server, worker, 2)?;
    }
    Ok(())
}

/// Long before a worker gives up waiting.
pub fn serve_patiently(setup: &Setup) -> Outcome {
    puppet::run(&prepare(setup, &[("max_wait_time", "20")])?)
}

/// The worker that is flooded reads faster than the other one writes, and ends before it.
pub fn the_end_in_the_middle_of_a_flood_comes_soon(server: &Running) -> Outcome {
    let (mut sender, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut sender, "mails 1 flood 600 100000")?, "true");
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    server.wait_line(|line| line == "returned, left: []", STEP)?;
    assert!(!server.lines_so_far().iter().any(|line| line.starts_with("SPOILED")));
    Ok(())
}

/// Workers that send to all others in their last callback.
pub fn serve_goodbye(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[])?;
    server.on("workerStop", |server: Handle, event| {
        let own = event.worker().worker_id;
        for to in (0..WORKERS).filter(|to| *to != own) {
            let sent = send_message(server, &letter("goodbye", 30), to);
            report!("goodbye of {own}: {}", sent.is_ok());
        }
    })?;
    server.on("pipeMessage", |_, event| {
        assert_eq!(opened(told(event).1), Some("goodbye"));
    })?;
    puppet::run(&server)
}

pub fn workers_that_say_goodbye_to_each_other_come_to_an_end(server: &Running) -> Outcome {
    server.connect()?;
    (0..WORKERS).try_for_each(|worker| pid_of(server, worker, 1).map(drop))?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    server.wait_line(|line| line == "returned, left: []", STEP)?;
    let lines = server.lines_so_far();
    let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(count("worker "), WORKERS as usize, "nobody was started again for a goodbye");
    assert_eq!(count("goodbye of "), 2 * WORKERS as usize);
    assert_eq!(lines.iter().filter(|line| line.ends_with(": false")).count(), 0);
    Ok(())
}
