//! Who may use the queue: workers that run as another user, and servers of another user.
//!
//! That can only be seen by root. Who runs the tests as somebody else is told what is left out.

use super::queues::{key, Foreign};
use super::serving::prepare;
use super::tasks::{data_of, finish, given, task};
use crate::common::prelude::*;
use crate::puppet::life::{wait_for_end, wait_for_lines};
use crate::puppet::{self, ask, ask_until, connect_to};
use std::os::unix::fs::PermissionsExt;
use swoole::os::{identity, queue::MessageQueue};

/// The user that nobody else uses, as every distribution has it.
const NOBODY: u32 = 65_534;

fn needs_root(what: &str) -> bool {
    let is_root = identity::is_privileged();
    if !is_root {
        eprintln!("not root: {what} is not tested");
    }
    is_root
}

pub fn as_nobody(setup: &Setup) -> Outcome {
    let folder = std::env::temp_dir();
    std::fs::create_dir_all(&folder)?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o1777))?;
    // The manager becomes somebody else only where old and new workers live side by side.
    let settings = [
        ("task_worker_num", "1"),
        ("task_ipc_mode", "2"),
        ("user", "nobody"),
        ("reload_async", "false"),
    ];
    let server = prepare(setup, &settings)?;
    server.on("managerStart", |server, _| {
        report!("manager gave: {}", task(server, &[b'm'; 20_000], -1).is_ok());
    })?;
    server.on("task", |server, event| {
        report!("task of {} bytes from {}", data_of(event).len(), given(event).worker_id);
        drop(finish(server, data_of(event)));
    })?;
    puppet::run(&server)
}

pub fn workers_of_another_user_use_the_queue(server: &Running) -> Outcome {
    needs_root("a queue that was opened by root");
    let (mut client, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, "wait 0 9000 hello")?, "got hello");
    assert_eq!(ask(&mut client, "large 20000")?, "got 20000 bytes");
    wait_for_lines(server, 1, "task of 20000 bytes from -1")?;
    ask_until(&mut client, "tasks", |told| told == "1 1 0 3")?;
    assert_eq!(std::fs::read_dir(server.temporary())?.count(), 0);
    Ok(())
}

/// The queue is there before the server, and is of root.
pub fn of_another_user(setup: &Setup) -> Outcome {
    let key = key(setup.port);
    MessageQueue::open(key)?;
    if needs_root("a queue of another user") {
        identity::set_user(NOBODY)?;
    }
    let key = key.to_string();
    let settings =
        [("task_worker_num", "1"), ("task_ipc_mode", "2"), ("message_queue_key", key.as_str())];
    let server = prepare(setup, &settings)?;
    if identity::is_privileged() {
        puppet::run(&server)?;
    } else {
        report!("start: {}", puppet::life::told(server.start()));
    }
    Ok(())
}

pub fn a_queue_of_another_user_is_none_for_this_server(server: &Running) -> Outcome {
    let _queue = Foreign::open(server)?;
    if needs_root("that a queue is refused") {
        wait_for_lines(server, 1, &format!("start: {}", libc::EACCES))?;
        wait_for_end(server)?;
    }
    Ok(())
}
