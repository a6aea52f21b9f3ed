//! Messages to and from task workers.

use crate::api::{letter, opened, send_message, told};
use crate::common::api::Handle;
use crate::common::{Outcome, Running, Setup, STEP};
use crate::puppet::{self, ask, connect_to, kill, pid_of};
use crate::{letters, prepare, report, WORKERS};

/// Two task workers behind the event workers. Who gets a letter with the line `forward_TO_TAG`
/// sends it on with the tag for its line.
pub fn serve_tasks(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[("task_worker_num", "2")])?;
    server.on("task", |_, _| {})?;
    server.on("pipeMessage", |server: Handle, event| {
        let (message, bytes) = told(event);
        let (own, source) = (server.worker_id(), message.source_worker_id);
        let line = opened(bytes).unwrap_or("SPOILED");
        let words: Vec<&str> = line.split('_').collect();
        match *words {
            ["forward", to, tag] => {
                let sent = send_message(server, &letter(tag, bytes.len()), puppet::number(to));
                report!("{tag} forwarded: {}", puppet::life::told(sent));
            }
            ["die"] => kill(std::process::id() as i32).expect("a signal to itself"),
            _ => report!("{line} at {own} from {source} length {}", bytes.len()),
        }
    })?;
    puppet::run(&server)
}

pub fn task_workers_send_and_are_sent_to(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    let (first, second) = (WORKERS, WORKERS + 1);
    for (to, length) in [(first, 100), (second, 100), (second, 3_000_000)] {
        assert_eq!(ask(&mut client, &format!("mail {to} to{to}_{length} {length}"))?, "true");
        let line = letters(server, &format!("to{to}_{length} "), 1)?;
        assert_eq!(line, [format!("to{to}_{length} at {to} from 1 length {length}")]);
    }
    // From a task worker to an event worker, to the other task worker, and not to itself.
    for (to, length) in [(0, 100), (0, 3_000_000), (second, 3_000_000)] {
        let tag = format!("back{to}x{length}");
        let order = format!("mail {first} forward_{to}_{tag} {length}");
        assert_eq!(ask(&mut client, &order)?, "true");
        let line = letters(server, &format!("{tag} "), 1)?;
        assert_eq!(line, [format!("{tag} at {to} from {first} length {length}")]);
    }
    assert_eq!(ask(&mut client, &format!("mail {first} forward_{first}_self 100"))?, "true");
    server.wait_line(|line| line == "self forwarded: 505", STEP)?;
    assert_eq!(ask(&mut client, &format!("mail {} lost 10", second + 1))?, "505");
    Ok(())
}

pub fn a_task_worker_that_is_replaced_gets_all_messages(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    let to = WORKERS;
    for round in 1..=3 {
        let tag = format!("round{round}");
        assert_eq!(ask(&mut client, &format!("mails {to} {tag} 50 200000"))?, "true");
        assert_eq!(ask(&mut client, "reload tasks")?, "true");
        let lines = letters(server, &format!("{tag}."), 50)?;
        for (index, line) in lines.iter().enumerate() {
            assert_eq!(*line, format!("{tag}.{index} at {to} from 1 length 200000"));
        }
        pid_of(server, to, round + 1)?;
        pid_of(server, to + 1, round + 1)?;
        server.wait_lines(round, |line| line == "reloaded", STEP)?;
    }
    Ok(())
}

pub fn serve_reloaded_tasks(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[("task_worker_num", "2"), ("max_wait_time", "20")])?;
    server.on("task", |_, _| {})?;
    server.on("afterReload", |_, _| report!("reloaded"))?;
    puppet::run(&server)
}

pub fn a_task_worker_that_dies_loses_the_message_in_its_hands(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    let to = WORKERS;
    assert_eq!(ask(&mut client, &format!("mail {to} die 100"))?, "true");
    assert_eq!(ask(&mut client, &format!("mails {to} behind 100 100"))?, "true");
    let lines = letters(server, "behind.", 100)?;
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("behind.{index} at {to} from 1 length 100"));
    }
    pid_of(server, to, 2)?;
    Ok(())
}
