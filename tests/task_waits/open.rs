//! Task workers that answer when their callbacks have returned.

use super::serving::{follow, pattern};
use super::tasks::{data_of, finish, given, result_of};
use crate::common::api::{last_error, Handle};
use crate::common::prelude::*;
use crate::puppet::life::{count_of, told, wait_for_lines};
use crate::puppet::{self, ask, connect_to, kill, number, pid_now, pid_of, timers};
use std::cell::RefCell;
use std::collections::HashMap;
use swoole::ffi::task::sw_server_finish_task;

thread_local! {
    /// What each open task is called.
    static OPEN: RefCell<HashMap<String, (i32, i64)>> = RefCell::default();
}

fn finish_task(server: Handle, (worker, id): (i32, i64), data: &[u8]) -> api::Result<()> {
    match sw_server_finish_task(server.raw, worker, id, data.as_ptr().cast(), data.len()) {
        true => Ok(()),
        false => Err(last_error()),
    }
}

/// The server of `serving.rs` with one task worker whose tasks are:
///
/// ```text
/// keep NAME      stays open
/// end NAME       answers that one and itself with NAME
/// later NAME     is answered by a timer
/// both NAME      answers itself at once and later again
/// wrong          what comes of wrong answers
/// ```
pub fn open_at(setup: &Setup, settings: &[(&str, &str)]) -> Outcome {
    let mut all = vec![("task_worker_num", "1"), ("task_object", "true")];
    all.extend_from_slice(settings);
    let server = puppet::prepare(setup, &all, follow)?;
    server.on("task", run)?;
    server.on("finish", |_, event| {
        report!("finish {}", String::from_utf8_lossy(result_of(event)));
    })?;
    server.on("afterReload", |_, _| report!("after"))?;
    puppet::run(&server)
}

pub fn opened(setup: &Setup) -> Outcome {
    open_at(setup, &[])
}

pub fn opened_shortly(setup: &Setup) -> Outcome {
    open_at(setup, &[("max_wait_time", "1")])
}

fn later(server: Handle, task: (i32, i64), name: String) {
    let call = Box::new(move |_| {
        assert_eq!(finish(server, b"x").map_err(|error| error.code), Err(507));
        report!("answered {name}: {}", told(finish_task(server, task, name.as_bytes())));
    });
    timers::after(server, 10, call).expect("a timer");
}

fn run(server: Handle, event: &Event) {
    let task = given(event);
    let own = (task.worker_id, task.id);
    let text = String::from_utf8_lossy(data_of(event)).into_owned();
    let name = text.split(' ').nth(1).unwrap_or_default().to_owned();
    match text.split(' ').next().unwrap_or_default() {
        "keep" => drop(OPEN.with(|open| open.borrow_mut().insert(name.clone(), own))),
        "end" => {
            let other = OPEN.with(|open| open.borrow()[&name]);
            report!("answered {name}: {}", told(finish_task(server, other, name.as_bytes())));
            finish_task(server, own, name.as_bytes()).expect("the own task");
        }
        "later" => later(server, own, name.clone()),
        "both" => {
            finish(server, name.as_bytes()).expect("the own task");
            later(server, own, name.clone());
        }
        "big" => finish_task(server, own, &pattern(number(&name))).expect("the own task"),
        "wrong" => {
            let pairs = [(own.0, own.1 + 1), (7, own.1), (-1, own.1), (own.0, -1)];
            let codes = pairs.map(|pair| told(finish_task(server, pair, b"x")));
            finish(server, codes.join(" ").as_bytes()).expect("the own task");
        }
        _ => finish(server, text.as_bytes()).expect("the own task"),
    }
    if !name.is_empty() {
        report!("begun {name}");
    }
}

pub fn open_tasks_are_answered_in_any_order(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    for name in ["a", "b", "c"] {
        ask(&mut client, &format!("give 0 keep {name}"))?;
    }
    wait_for_lines(server, 3, "begun ")?;
    assert_eq!(count_of(server, "finish"), 0);
    for name in ["c", "a", "b"] {
        assert_eq!(ask(&mut client, &format!("wait 0 20000 end {name}"))?, format!("got {name}"));
        wait_for_lines(server, 1, &format!("finish {name}"))?;
    }
    // Each may be answered again.
    assert_eq!(ask(&mut client, "wait 0 20000 end a")?, "got a");
    wait_for_lines(server, 2, "finish a")?;
    assert_eq!(ask(&mut client, "wait 0 20000 big 3000000")?, "got 3000000 bytes");
    Ok(())
}

pub fn a_timer_answers_whoever_waits(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, "wait 0 20000 later x")?, "got x");
    assert_eq!(ask(&mut client, "list 20000 later a|later b|both c")?, "3: a,b,c");
    wait_for_lines(server, 1, "answered c: true")?;
    ask(&mut client, "give 0 both d")?;
    wait_for_lines(server, 2, "finish d")?;
    ask(&mut client, "co 20000 later e|later f")?;
    wait_for_lines(server, 1, "done in 0: 2: e,f")?;
    Ok(())
}

pub fn wrong_answers_are_refused(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, "wait 0 20000 wrong")?, "got 509 509 509 509");
    assert_eq!(ask(&mut client, "finish_task")?, "507", "in a worker");
    Ok(())
}

pub fn open_tasks_of_a_dead_task_worker_have_failed(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    ask(&mut client, "co 0 keep a|keep b|echo c")?;
    wait_for_lines(server, 2, "begun ")?;
    client.send(b"!wait 0 0 keep d")?;
    wait_for_lines(server, 1, "begun d")?;
    kill(pid_now(server, 2)?)?;
    let told = "error 9003\n";
    assert_eq!(client.receive(told.len())?, told.as_bytes());
    wait_for_lines(server, 1, "done in 0: 1: -,-,echo c")?;
    pid_of(server, 2, 2)?;
    assert_eq!(ask(&mut client, "wait 0 20000 later x")?, "got x");
    Ok(())
}

pub fn open_tasks_keep_a_task_worker_that_is_reloaded(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    ask(&mut client, "co 0 later a|keep b|later c")?;
    wait_for_lines(server, 1, "begun b")?;
    assert_eq!(ask(&mut client, "reload tasks")?, "true");
    // `b` is never answered: it has failed when this task worker has gone.
    wait_for_lines(server, 1, "done in 0: 2: a,-,c")?;
    wait_for_lines(server, 1, "after")?;
    assert_eq!(ask(&mut client, "wait 0 20000 later x")?, "got x");
    Ok(())
}
