//! Who is refused and tries again in the same callback, from a worker and a task worker.

use super::api::{code_of, receive_filling, FILLING, MIB};
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::{self, ask, connect_to, number, prepare};
use crate::tasks;
use std::time::{Duration, Instant};

const TEXT: usize = 300_000;
const COUNT: usize = 40;

pub fn insistent(setup: &Setup) -> Outcome {
    let limit = MIB.to_string();
    let settings = [("socket_buffer_size", limit.as_str()), ("task_worker_num", "1")];
    let server = prepare(setup, &settings, obey)?;
    server.on("task", |server, event| {
        let fd = number(&String::from_utf8_lossy(tasks::data_of(event)));
        report!("in a task: {}", insist(server, fd));
    })?;
    puppet::run(&server)
}

fn obey(server: Handle, event: &Event) {
    let text = String::from_utf8_lossy(event.data()).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    match *words.as_slice() {
        ["!insist", fd] => report!("in a worker: {}", insist(server, number(fd))),
        ["!delegate", fd] => drop(tasks::task(server, fd.as_bytes(), 0).expect("a task")),
        ["!pieces"] => {
            let count = server.stats().expect("it runs").pipe_packet_msg_id;
            puppet::answer(server, event.fd(), format!("{count}\n").as_bytes());
        }
        _ => puppet::obey(server, event),
    }
}

/// Sends texts, each until it is taken; how many.
fn insist(server: Handle, fd: i64) -> usize {
    let text = vec![FILLING; TEXT];
    let end = Instant::now() + STEP;
    let is_taken = |_: &usize| loop {
        match code_of(server.send(fd, &text)) {
            0 => break true,
            SW_ERROR_OUTPUT_BUFFER_OVERFLOW if Instant::now() < end => {
                // Others may want the processor to read.
                std::thread::sleep(Duration::from_millis(1));
            }
            code => panic!("error {code}"),
        }
    };
    (0..COUNT).take_while(is_taken).count()
}

pub fn who_tries_again_in_one_callback_gets_on(server: &Running) -> Outcome {
    let (mut control, _) = connect_to(server, 0)?;
    let before: u64 = number(&ask(&mut control, "pieces")?);
    for (order, line) in [("insist", "in a worker"), ("delegate", "in a task")] {
        let (mut reader, fd) = connect_to(server, 1)?;
        let (mut other, _) = connect_to(server, 1)?;
        other.send(format!("!{order} {fd}").as_bytes())?;
        receive_filling(&mut reader, COUNT * TEXT)?;
        server.wait_line(|told| told == format!("{line}: {COUNT}"), STEP)?;
    }
    // They went through other processes in pieces, unless the worker has its connections itself.
    let pieces = number::<u64>(&ask(&mut control, "pieces")?) - before;
    let by_worker = if server.mode() == Mode::Process { COUNT } else { 0 };
    assert_eq!(pieces, (by_worker + COUNT) as u64);
    Ok(())
}
