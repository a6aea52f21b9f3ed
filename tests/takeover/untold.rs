//! A manager that is killed between the death of a task worker and the start of the next one.

use super::unborn::{arm, note};
use crate::common::prelude::*;
use crate::puppet::{self, hold, kill, number, pid_of, Gate};
use crate::report;
use crate::tasks::{data_of, task_for};

/// One worker and one task worker, which is stuck at the gate that a task names. Nobody follows the
/// manager: the worker that waits is the one that has handed in the task.
pub fn guest(setup: &Setup) -> Outcome {
    let settings = [("worker_num", "1"), ("task_worker_num", "1")];
    let server = puppet::prepare(setup, &settings, |server, event| {
        let fd = event.fd();
        let text = String::from_utf8_lossy(event.data()).into_owned();
        let Some(port) = text.strip_prefix("!task ") else { return puppet::obey(server, event) };
        let hook = move |server, _, _, result: Option<&[u8]>| {
            puppet::answer(server, fd, if result.is_some() { b"done" } else { b"lost" });
        };
        report!("given {}", task_for(server, port.as_bytes(), 0, Box::new(hook)).is_ok());
    })?;
    server.on("task", |_, event| hold(number(&String::from_utf8_lossy(data_of(event)))))?;
    server.on("workerError", |_, _| arm())?;
    server.on("start", |_, _| {
        std::thread::spawn(|| loop {
            std::thread::park();
        });
    })?;
    puppet::run(&server)
}

/// What is settled in shared memory is known to nobody else any more.
pub fn a_task_fails_also_where_the_manager_dies_right_after_its_worker(
    server: &Running,
) -> Outcome {
    let mut client = server.connect()?;
    client.echo(b"before")?;
    let (task, fork) = (Gate::new()?, Gate::new()?);
    client.send(format!("!task {}", task.port()?).as_bytes())?;
    let _stuck = task.wait()?;
    note(server, &fork)?;
    kill(pid_of(server, 1, 1)?)?;
    let unborn = fork.wait()?;
    assert_eq!(client.receive(4)?, b"lost");
    drop(unborn);
    client.echo(b"after")
}
