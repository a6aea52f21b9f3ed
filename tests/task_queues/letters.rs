//! Messages of the program to task workers whose tasks travel through a queue.

use super::messages::{send_message, told};
use super::serving::{follow, prepare};
use super::tasks::{data_of, given};
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::life::wait_for_lines;
use crate::puppet::{self, answer, ask, connect_to, number, Gate};

fn obey(server: Handle, event: &Event) {
    let text = String::from_utf8_lossy(event.data()).into_owned();
    let words: Vec<&str> = text.splitn(3, ' ').collect();
    let ["!mail", to, text] = *words else { return follow(server, event) };
    let line = puppet::life::told(send_message(server, text.as_bytes(), number(to)));
    answer(server, event.fd(), format!("{line}\n").as_bytes());
}

fn serve(setup: &Setup, mode: &str) -> Outcome {
    let server = prepare(setup, &[("task_worker_num", "1"), ("task_ipc_mode", mode)])?;
    server.on("receive", obey)?;
    server.on("task", |_, event| {
        let text = String::from_utf8_lossy(data_of(event)).into_owned();
        report!("took task {}", given(event).id);
        if let Some(port) = text.strip_prefix("hold ") {
            puppet::hold(number(port));
        }
    })?;
    server.on("pipeMessage", |server, event| {
        let (message, bytes) = told(event);
        let (own, text) = (server.worker_id(), String::from_utf8_lossy(bytes).into_owned());
        report!("took {text} in {own} from {}", message.source_worker_id);
    })?;
    puppet::run(&server)
}

pub fn mailed(setup: &Setup) -> Outcome {
    serve(setup, "2")
}

pub fn mailed_shared(setup: &Setup) -> Outcome {
    serve(setup, "3")
}

pub fn a_message_to_a_task_worker_waits_behind_its_queued_tasks(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    ask(&mut client, &format!("give 0 hold {}", gate.port()?))?;
    let held = gate.wait()?;
    for id in 1..=20 {
        assert_eq!(ask(&mut client, &format!("give 0 echo {id}"))?, id.to_string());
        assert_eq!(ask(&mut client, &format!("mail 2 letter{id}"))?, "true");
    }
    drop(held);
    let lines = wait_for_lines(server, 41, "took ")?;
    for id in 1..=20 {
        let place = |line: String| lines.iter().position(|other| *other == line);
        let task = place(format!("took task {id}")).ok_or("no task")?;
        let letter = place(format!("took letter{id} in 2 from 0")).ok_or("no letter")?;
        assert!(task < letter, "letter {id} has overtaken its task: {lines:?}");
    }
    Ok(())
}

pub fn no_task_worker_of_a_shared_queue_is_sent_to(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, "mail 2 x")?, "507");
    assert_eq!(ask(&mut client, "mail 3 x")?, "505", "there is none");
    assert_eq!(ask(&mut client, "mail 0 x")?, "505", "it is this one");
    assert_eq!(ask(&mut client, "mail 1 hello")?, "true");
    wait_for_lines(server, 1, "took hello in 1 from 0")?;
    Ok(())
}
