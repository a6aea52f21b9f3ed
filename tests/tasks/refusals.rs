//! Answers that nobody takes.

use super::api::{finish, task};
use super::handing::prepare;
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::life::wait_for_lines;
use crate::puppet::{self, answer, ask, connect_to, hold, number, Gate};
use std::time::Instant;

/// Answers of more than this find no room in the inbox of an event worker.
const ANSWER: usize = 1 << 20;

/// The finish event is stuck in the gate that the first answer names.
pub fn impatient(setup: &Setup) -> Outcome {
    let settings = [("task_worker_num", "1"), ("socket_send_timeout", "0.3")];
    let server = prepare(setup, &settings)?;
    server.on("receive", |server, event| match event.data().strip_prefix(b"!stick ") {
        Some(port) => {
            let id = task(server, port, 0).expect("it is accepted");
            answer(server, event.fd(), format!("{id}\n").as_bytes());
        }
        None => puppet::obey(server, event),
    })?;
    server.on("task", |server, event| {
        let port = String::from_utf8_lossy(super::api::data_of(event)).into_owned();
        finish(server, port.as_bytes()).expect("there is room");
        answer_in_vain(server);
        hold(number(&port));
        report!("at last: {}", puppet::life::told(finish(server, b"last")));
    })?;
    server.on("finish", |_, event| {
        let result = super::api::result_of(event);
        if let Some(port) = std::str::from_utf8(result).ok().and_then(|port| port.parse().ok()) {
            hold(port);
        }
        report!("heard {} bytes", result.len());
    })?;
    puppet::run(&server)
}

/// Until one is refused.
fn answer_in_vain(server: Handle) {
    let data = vec![b'a'; ANSWER];
    for taken in 0..1000 {
        let begin = Instant::now();
        if let Err(error) = finish(server, &data) {
            let was_patient = begin.elapsed().as_millis() >= 300;
            return report!("refused {taken} {} {was_patient}", error.code);
        }
    }
    report!("refused none");
}

pub fn an_answer_that_its_worker_does_not_take_is_refused_in_time(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    assert_eq!(ask(&mut client, &format!("stick {}", gate.port()?))?, "0");
    // The finish event is stuck, then the task is.
    let stuck = gate.wait()?;
    let line = wait_for_lines(server, 1, "refused ")?.remove(0);
    let words: Vec<&str> = line.split(' ').collect();
    let code = SW_ERROR_SERVER_SEND_TO_WORKER_TIMEOUT.to_string();
    assert_eq!(words[2..], [code.as_str(), "true"], "{line}");
    assert!(server.log().contains("send result to worker timed out"));
    let task = gate.wait()?;
    drop(stuck);
    // Those that were taken arrive, and no part of the one that was not.
    wait_for_lines(server, number(words[1]), &format!("heard {ANSWER} bytes"))?;
    drop(task);
    wait_for_lines(server, 1, "at last: true")?;
    wait_for_lines(server, 1, "heard 4 bytes")?;
    let heard = server.lines_so_far().iter().filter(|line| line.starts_with("heard ")).count();
    assert_eq!(heard, number::<usize>(words[1]) + 2);
    Ok(())
}
