//! A server that hands in tasks when its clients tell it to, and reports what becomes of them.
//!
//! ```text
//! !give TARGET TEXT     hands in a task; answered with its id, or the number of the error
//! !once TARGET TEXT     the same with a callback of its own
//! !slow TARGET x        a task that says when it was handed in, from a callback that took long
//! !large TARGET LENGTH  a task of so many bytes, which are sent back
//! !burst TARGET COUNT LENGTH   so many tasks of about so many bytes; answered with the last id
//! !finish               answers outside of a task; answered with the number of the error
//! ```
//!
//! A task is an order, too: `echo TEXT`, `twice TEXT`, `empty`, `none`, `hold PORT`, `die`, `give`,
//! `watch`, `since TIME`.

use super::api::{data_of, finish, finished, given, result_of, task, task_for};
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::life::told;
use crate::puppet::{self, answer, number};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Two workers, two task workers.
pub fn tasked(setup: &Setup) -> Outcome {
    puppet::run(&prepare(setup, &[("task_worker_num", "2")])?)
}

pub fn tasked_one(setup: &Setup) -> Outcome {
    puppet::run(&prepare(setup, &[("task_worker_num", "1")])?)
}

pub fn prepare(
    setup: &Setup,
    settings: &[(&str, &str)],
) -> Result<Server, crate::common::api::Error> {
    let server = puppet::prepare(setup, settings, follow)?;
    server.on("task", run)?;
    server.on("finish", |server, event| {
        let told = finished(event);
        let result = shortened(result_of(event));
        assert!(told.dispatch_time > 1e9);
        let worker = server.worker_id();
        report!("finish {} by {} in {worker}: {result}", told.task_id, told.task_worker_id);
    })?;
    server.on("beforeReload", |_, _| report!("before"))?;
    server.on("afterReload", |_, _| report!("after"))?;
    Ok(server)
}

/// A text that is long is told by its length, if it is what was sent.
pub fn shortened(data: &[u8]) -> String {
    let text = String::from_utf8_lossy(data);
    match text.len() > 100 {
        true if data == pattern(data.len()) => format!("{} bytes", data.len()),
        true => format!("{} other bytes", data.len()),
        false => text.into_owned(),
    }
}

pub fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = b"abcdefghijklmnopqrstuvw".repeat(len / 23 + 1);
    bytes.truncate(len);
    bytes
}

fn run(server: Handle, event: &Event) {
    let task = given(event);
    assert!(task.dispatch_time > 1e9);
    let data = data_of(event);
    let text = shortened(data);
    let own = server.worker_id();
    report!("task {} from {} in {own} flags {}: {text}", task.id, task.worker_id, task.flags);
    let answer = |data: &[u8]| told(finish(server, data));
    match text.split_once(' ').unwrap_or((&text, "")) {
        ("echo", rest) => drop(answer(rest.as_bytes())),
        ("twice", rest) => {
            for round in 1..=3 {
                answer(format!("{rest} {round}").as_bytes());
            }
        }
        ("empty", _) => drop(answer(b"")),
        ("hold", port) => {
            puppet::hold(number(port));
            answer(b"held");
        }
        ("die", _) => {
            let pid = std::process::id() as i32;
            puppet::kill(pid).expect("the own process");
            std::thread::sleep(STEP);
        }
        ("give", _) => report!("gave: {}", told(super::api::task(server, b"echo", -1).map(drop))),
        ("try", _) => report!("tried in {}: {}", task.worker_id, answer(b"nobody hears")),
        ("watch", _) => report!("watched: {}", told(puppet::timers::add(0, SW_IO_READ, |_, _| {}))),
        ("since", time) => {
            let time: f64 = number(time);
            report!("in time: {}", (time..time + 1.0).contains(&task.dispatch_time));
        }
        ("none", _) => {}
        _ => drop(answer(data)),
    }
}

fn id_or_error(result: crate::common::api::Result<i64>) -> String {
    result.map_or_else(|error| format!("error {}", error.code), |id| id.to_string())
}

/// Does what a client says.
pub fn follow(server: Handle, event: &Event) {
    let text = String::from_utf8_lossy(event.data()).into_owned();
    let words: Vec<&str> = text.splitn(3, ' ').collect();
    let line = match words[..] {
        ["!give", to, text] => id_or_error(task(server, text.as_bytes(), number(to))),
        ["!slow", to, _] => {
            // A callback that has taken its time already.
            std::thread::sleep(Duration::from_millis(30));
            let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
            let text = format!("since {}", since.as_secs_f64());
            id_or_error(task(server, text.as_bytes(), number(to)))
        }
        ["!once", to, text] => {
            let worker = server.worker_id();
            let hook = move |server: Handle, id, by, result: Option<&[u8]>| match result {
                Some(result) => report!("once {id} by {by} in {worker}: {}", shortened(result)),
                None => report!("once {id} by {by} in {worker} failed: {}", server.last_error()),
            };
            id_or_error(task_for(server, text.as_bytes(), number(to), Box::new(hook)))
        }
        ["!large", to, length] => id_or_error(task(server, &pattern(number(length)), number(to))),
        ["!burst", to, rest] => {
            let (count, length) = rest.split_once(' ').expect("two numbers");
            let (count, length): (usize, usize) = (number(count), number(length));
            let mut last = String::new();
            for index in 0..count {
                let len = length / 2 + (index * 37) % (length / 2 + 1);
                last = id_or_error(task(server, &pattern(len.max(101)), number(to)));
            }
            last
        }
        ["!finish"] => told(finish(server, b"nothing")),
        _ => return puppet::obey(server, event),
    };
    answer(server, event.fd(), format!("{line}\n").as_bytes());
}
