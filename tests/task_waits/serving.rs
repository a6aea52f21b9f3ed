//! A server that waits for tasks when its clients tell it to.
//!
//! ```text
//! !wait TARGET MS TEXT   waits for a task: `got TEXT` or `error NUMBER`; MS 0 is for ever
//! !said TARGET MS TEXT   the same, but says `first` before
//! !timed MS              waits for a task that is never answered; answered with the milliseconds
//! !storm COUNT MS        waits so often; answered with how many answers were right, wrong, late
//!                        and told to be lost
//! !large LENGTH          waits for a task of so many bytes, which are sent back
//! !list MS A|B|C         waits for a list: `NUMBER: a,-,c`, `-` for what is missing
//! !many COUNT MS         waits for a list of so many; answered with how many answers are right
//! !co MS A|B|C           hands in a list; reports `done in WORKER: NUMBER: a,-,c`
//! !give TARGET TEXT      hands in a task
//! !finish_task           answers a task outside of a task worker
//! !fill TARGET COUNT     hands in so many tasks of 1 MiB that are not answered
//! ```
//!
//! A task is an order, too: `echo TEXT`, `twice TEXT`, `empty`, `none`, `hold PORT TEXT`, `die`,
//! `big LENGTH`, `held PORT LENGTH`, `spout PORT`, `wait`.

use super::api::{task_co, task_wait, task_wait_multi};
use super::tasks::{data_of, finish, given, task};
use crate::common::api::{Error, Handle, Result};
use crate::common::prelude::*;
use crate::common::process;
use crate::puppet::{self, answer, hold, number};
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Instant;
use swoole::ffi::task::sw_server_finish_task;

/// Two workers, two task workers.
pub fn waiting(setup: &Setup) -> Outcome {
    puppet::run(&prepare(setup, &[("task_worker_num", "2")])?)
}

pub fn waiting_one(setup: &Setup) -> Outcome {
    puppet::run(&prepare(setup, &[("task_worker_num", "1")])?)
}

pub fn waiting_without(setup: &Setup) -> Outcome {
    puppet::run(&prepare(setup, &[])?)
}

pub fn prepare(
    setup: &Setup,
    settings: &[(&str, &str)],
) -> std::result::Result<Server, crate::common::api::Error> {
    let server = puppet::prepare(setup, settings, follow)?;
    server.on("task", run)?;
    server.on("finish", |_, _| report!("finish"))?;
    server.on("afterReload", |_, _| report!("after"))?;
    server.on("managerStart", |server, _| {
        report!("manager waited: {}", told(task_wait(server, b"echo", 1.0, -1)));
    })?;
    Ok(server)
}

pub fn pattern(len: usize) -> Vec<u8> {
    let row: Vec<u8> = (0..=250).collect();
    let mut bytes = row.repeat(len / row.len() + 1);
    bytes.truncate(len);
    bytes
}

/// A text that is long is told by its length, if it is what was sent.
fn shortened(data: &[u8]) -> String {
    match data.len() {
        0..=99 => String::from_utf8_lossy(data).into_owned(),
        len if *data == *pattern(len) => format!("{len} bytes"),
        len => format!("{len} other bytes"),
    }
}

fn told(result: Result<Vec<u8>>) -> String {
    match result {
        Ok(data) => format!("got {}", shortened(&data)),
        Err(error) => format!("error {}", error.code),
    }
}

fn refused(error: &Error) -> String {
    format!("error {}", error.code)
}

fn run(server: Handle, event: &Event) {
    let (task, data) = (given(event), data_of(event));
    let text = if data.starts_with(b"none") { "none".to_owned() } else { shortened(data) };
    let words: Vec<&str> = text.splitn(3, ' ').collect();
    let answer = |data: &[u8]| finish(server, data).is_ok();
    match *words {
        ["echo", rest] => drop(answer(rest.as_bytes())),
        ["echo", one, two] => drop(answer(format!("{one} {two}").as_bytes())),
        ["twice", rest] => {
            answer(rest.as_bytes());
            report!("second answer: {}", answer(b"second"));
        }
        ["flags"] => drop(answer(task.flags.to_string().as_bytes())),
        ["empty"] => drop(answer(b"")),
        ["hold", port, rest] => {
            hold(number(port));
            report!("late answer: {}", answer(rest.as_bytes()));
        }
        ["held", port, length] => {
            hold(number(port));
            report!("late answer: {}", answer(&pattern(number(length))));
        }
        ["big", length] => drop(answer(&pattern(number(length)))),
        ["spout", port] => spout(server, number(port)),
        ["die"] => drop(process::send_signal(std::process::id() as i32, libc::SIGKILL)),
        ["wait"] => {
            let alone = told(task_wait(server, b"echo x", 1.0, -1));
            let list = task_wait_multi(server, &[b"echo x".to_vec()], 1.0);
            let list = list.map_or_else(|error| refused(&error), |_| "taken".to_owned());
            let one = task_co(server, &[b"echo x".to_vec()], 1.0, Box::new(|_, _| {}));
            let one = one.map_or_else(|error| refused(&error), |()| "taken".to_owned());
            answer(format!("{alone}, {list}, {one}").as_bytes());
        }
        ["none"] => {}
        _ => drop(answer(data)),
    }
}

/// Answers again and again until the gate opens.
fn spout(server: Handle, port: u16) {
    let gate = TcpStream::connect(("127.0.0.1", port));
    let is_shut = |mut gate: &TcpStream| {
        gate.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    match gate.and_then(|gate| gate.set_nonblocking(true).map(|()| gate)) {
        Ok(gate) => while is_shut(&gate) && (0..1000).all(|_| finish(server, b"x").is_ok()) {},
        Err(error) => report!("the gate at {port} is broken: {error}"),
    }
}

fn seconds(ms: &str) -> f64 {
    number::<f64>(ms) / 1000.0
}

fn list_of(texts: &str) -> Vec<Vec<u8>> {
    texts.split('|').map(|text| text.as_bytes().to_vec()).collect()
}

fn told_of_list(count: usize, answers: &[Option<Vec<u8>>]) -> String {
    let one = |answer: &Option<Vec<u8>>| answer.as_deref().map_or("-".to_owned(), shortened);
    let all: Vec<String> = answers.iter().map(one).collect();
    format!("{count}: {}", all.join(","))
}

/// Waits again and again; what became of the waits.
fn storm(server: Handle, count: usize, ms: &str) -> String {
    let (mut right, mut wrong, mut late, mut lost) = (0, 0, 0, 0);
    for index in 0..count {
        // A large one now and then.
        let size = if index % 16 == 0 { 300_000 + index } else { index % 5000 };
        match task_wait(server, format!("big {size}").as_bytes(), seconds(ms), -1) {
            Ok(data) if data == pattern(size) => right += 1,
            Ok(_) => wrong += 1,
            Err(error) if error.code == SW_ERROR_TASK_TIMEOUT => late += 1,
            Err(error) if error.code == SW_ERROR_SERVER_WORKER_TERMINATED => lost += 1,
            Err(error) => return refused(&error),
        }
    }
    format!("{right} right, {wrong} wrong, {late} late, {lost} lost")
}

fn many(server: Handle, count: usize, ms: &str) -> String {
    let texts: Vec<String> = (0..count).map(|index| index.to_string()).collect();
    let tasks: Vec<Vec<u8>> =
        texts.iter().map(|text| format!("echo {text}").into_bytes()).collect();
    match task_wait_multi(server, &tasks, seconds(ms)) {
        Ok((count, answers)) => {
            let pairs = answers.iter().zip(&texts);
            let is_right = |(answer, text): &(&Option<Vec<u8>>, &String)| {
                answer.as_deref() == Some(text.as_bytes())
            };
            assert_eq!(pairs.filter(is_right).count(), count);
            count.to_string()
        }
        Err(error) => refused(&error),
    }
}

/// Does what a client says.
pub fn follow(server: Handle, event: &Event) {
    let text = String::from_utf8_lossy(event.data()).into_owned();
    let words: Vec<&str> = text.splitn(4, ' ').collect();
    let line = match *words {
        ["!wait", to, ms, text] => {
            told(task_wait(server, text.as_bytes(), seconds(ms), number(to)))
        }
        ["!said", to, ms, text] => {
            answer(server, event.fd(), b"first\n");
            let line = told(task_wait(server, text.as_bytes(), seconds(ms), number(to)));
            report!("waited");
            line
        }
        ["!timed", ms] => {
            let begin = Instant::now();
            let result = task_wait(server, b"none", seconds(ms), -1);
            assert_eq!(result.map_err(|error| error.code), Err(SW_ERROR_TASK_TIMEOUT));
            begin.elapsed().as_millis().to_string()
        }
        ["!storm", count, ms] => storm(server, number(count), ms),
        ["!large", length] => told(task_wait(server, &pattern(number(length)), 20.0, -1)),
        ["!list", ms, ..] => {
            let tasks = list_of(text.splitn(3, ' ').last().unwrap_or_default());
            match task_wait_multi(server, &tasks, seconds(ms)) {
                Ok((count, answers)) => told_of_list(count, &answers),
                Err(error) => refused(&error),
            }
        }
        ["!many", count, ms] => many(server, number(count), ms),
        ["!co", ms, ..] => {
            let tasks = list_of(text.splitn(3, ' ').last().unwrap_or_default());
            let own = server.worker_id();
            let on_done = move |server: Handle, answers: Vec<Option<Vec<u8>>>| {
                assert_eq!(server.worker_id(), own);
                let count = answers.iter().filter(|answer| answer.is_some()).count();
                report!("done in {own}: {}", told_of_list(count, &answers));
            };
            puppet::life::told(task_co(server, &tasks, seconds(ms), Box::new(on_done)))
        }
        ["!cos", count] => {
            let tasks = vec![b"none".to_vec(); number(count)];
            let on_done = |_: Handle, answers: Vec<Option<Vec<u8>>>| {
                report!("done with {}", answers.len());
            };
            puppet::life::told(task_co(server, &tasks, 0.001, Box::new(on_done)))
        }
        ["!give", to, ..] => {
            let text = text.splitn(3, ' ').last().unwrap_or_default();
            let id = task(server, text.as_bytes(), number(to));
            id.map_or_else(|error| refused(&error), |id| id.to_string())
        }
        ["!finish_task"] => {
            match sw_server_finish_task(server.raw, 0, 0, b"x".as_ptr().cast(), 1) {
                true => "true".to_owned(),
                false => server.last_error().to_string(),
            }
        }
        ["!fill", to, count] => {
            let data = [b"none ".to_vec(), vec![b'x'; 1 << 20]].concat();
            let count: usize = number(count);
            let taken = (0..count).filter(|_| task(server, &data, number(to)).is_ok()).count();
            taken.to_string()
        }
        _ => return puppet::obey(server, event),
    };
    answer(server, event.fd(), format!("{line}\n").as_bytes());
}
