//! Queues with a key, which other programs find, and queues without one.

use super::serving::prepare;
use super::tasks::{data_of, given};
use crate::common::prelude::*;
use crate::puppet::life::{end, wait_for_end, wait_for_lines, wait_for_log};
use crate::puppet::{self, ask, ask_until, connect_to, number, pid_of, Gate};
use swoole::ipc::Header;
use swoole::model::packet;
use swoole::os::queue::MessageQueue;

/// Longer than tasks are taken before others have their turn, and than it takes to look again.
const LABOUR: std::time::Duration = std::time::Duration::from_millis(50);

/// A key of this server alone, from its port.
pub fn key(port: u16) -> i64 {
    0x5357_0000 + i64::from(port)
}

fn serve(setup: &Setup, settings: &[(&str, &str)]) -> Outcome {
    let key = key(setup.port).to_string();
    let settings: Vec<(&str, &str)> = settings
        .iter()
        .map(|(name, value)| (*name, if *value == "KEY" { key.as_str() } else { *value }))
        .collect();
    let server = prepare(setup, &settings)?;
    if settings.iter().any(|(name, _)| *name == "message_queue_key") {
        server.on("task", |server, event| {
            let (task, own) = (given(event), server.worker_id());
            let text = String::from_utf8_lossy(data_of(event)).into_owned();
            if let Some(port) = text.strip_prefix("hold ") {
                puppet::hold(number(port));
            }
            if text == "labour" {
                std::thread::sleep(LABOUR);
            }
            let text = if text.len() > 99 { text.len().to_string() } else { text };
            report!(
                "task {} from {} flags {} in {own}: {text}",
                task.id,
                task.worker_id,
                task.flags
            );
        })?;
    }
    puppet::run(&server)
}

pub fn addressed(setup: &Setup) -> Outcome {
    serve(setup, &[("task_worker_num", "2"), ("task_ipc_mode", "2")])
}

pub fn shared(setup: &Setup) -> Outcome {
    serve(setup, &[("task_worker_num", "2"), ("task_ipc_mode", "3")])
}

pub fn streamed(setup: &Setup) -> Outcome {
    serve(setup, &[("task_worker_num", "2"), ("task_ipc_mode", "4")])
}

pub fn keyed(setup: &Setup) -> Outcome {
    let key = ("message_queue_key", "KEY");
    serve(setup, &[("task_worker_num", "1"), ("task_ipc_mode", "2"), key])
}

pub fn keyed_shortly(setup: &Setup) -> Outcome {
    let key = ("message_queue_key", "KEY");
    let settings = [("task_worker_num", "1"), ("task_ipc_mode", "3"), key];
    serve(setup, &settings)
}

pub fn refused(setup: &Setup) -> Outcome {
    for (mode, setting) in [("2", "task_object"), ("3", "task_enable_coroutine")] {
        let settings = [("task_worker_num", "1"), ("task_ipc_mode", mode), (setting, "true")];
        let server = prepare(setup, &settings)?;
        report!("start: {}", puppet::life::told(server.start()));
    }
    Ok(())
}

pub fn a_task_that_is_answered_later_needs_another_mode(server: &Running) -> Outcome {
    wait_for_lines(server, 2, "start: 509")?;
    wait_for_end(server)
}

fn waits_come_back(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    for to in [-1, 0, 1] {
        assert_eq!(ask(&mut client, &format!("wait {to} 9000 echo hello"))?, "got hello");
    }
    for size in [100, 8151, 8152, 8192, 800_000] {
        assert_eq!(ask(&mut client, &format!("large {size}"))?, format!("got {size} bytes"));
    }
    assert_eq!(ask(&mut client, "list 9000 echo a|echo b|echo c")?, "3: a,b,c");
    // The files that large tasks were in are gone.
    assert_eq!(std::fs::read_dir(server.temporary()).map_or(0, Iterator::count), 0);
    ask_until(&mut client, "tasks", |told| told == "2 2 0 11")?;
    Ok(())
}

pub fn a_task_goes_through_the_queue_to_the_worker_that_it_names(server: &Running) -> Outcome {
    waits_come_back(server)?;
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    ask(&mut client, &format!("give 0 hold {} x", gate.port()?))?;
    let held = gate.wait()?;
    assert_eq!(ask(&mut client, "wait 0 50 echo x")?, "error 2003", "it is busy");
    assert_eq!(ask(&mut client, "wait 1 9000 echo x")?, "got x");
    drop(held);
    Ok(())
}

fn one_is_held(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    ask(&mut client, &format!("give 0 hold {} x", gate.port()?))?;
    let held = gate.wait()?;
    ask_until(&mut client, "tasks", |told| told.starts_with("2 1 "))?;
    for to in [0, 1, -1] {
        ask_until(&mut client, "tasks", |told| told.starts_with("2 1 "))?;
        assert_eq!(ask(&mut client, &format!("wait {to} 9000 echo x"))?, "got x");
    }
    drop(held);
    Ok(())
}

pub fn any_task_worker_takes_a_task_of_a_shared_queue(server: &Running) -> Outcome {
    waits_come_back(server)?;
    one_is_held(server)
}

pub fn the_worker_that_a_task_names_does_not_count(server: &Running) -> Outcome {
    one_is_held(server)
}

pub fn a_task_of_a_worker_that_dies_has_failed(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    for round in 1..=3 {
        assert_eq!(ask(&mut client, "wait 0 0 die")?, "error 9003");
        pid_of(server, 2, round + 1)?;
        assert_eq!(ask(&mut client, "wait 0 0 echo x")?, "got x");
    }
    Ok(())
}

/// The queue of a server, removed with this.
pub struct Foreign(pub MessageQueue);

impl Foreign {
    pub fn open(server: &Running) -> std::io::Result<Self> {
        Ok(Self(MessageQueue::open(key(server.port()))?))
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        drop(self.0.remove());
    }
}

pub fn what_another_program_puts_there_is_done_or_skipped(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let queue = Foreign::open(server)?;
    let mut packet = Vec::new();
    let header = Header { session: 7, ..Header::default() };
    packet::encode(&header, 1, b"from outside", &mut packet);
    queue.0.send(3, b"nonsense")?;
    queue.0.send(3, &packet[..packet.len() - 1])?;
    queue.0.send(3, &packet)?;
    wait_for_lines(server, 1, "task 7 from -1 flags 132 in 2: from outside")?;
    // A file that is none of ours is not read, and stays.
    let path = server.temporary().join("precious");
    std::fs::create_dir_all(server.temporary())?;
    std::fs::write(&path, "text")?;
    let header = Header { session: 8, flags: 1, ..Header::default() };
    packet::encode(&header, 1, path.to_string_lossy().as_bytes(), &mut packet);
    queue.0.send(3, &packet)?;
    assert_eq!(ask(&mut client, "give 0 echo own")?, "0");
    wait_for_lines(server, 1, "task 0 from 0 flags 4 in 2: echo own")?;
    wait_for_log(server, |log| log.contains("bad task packet"))?;
    assert_eq!(std::fs::read_to_string(&path)?, "text");
    std::fs::remove_file(&path)?;
    Ok(())
}

/// Nobody rings for them, so whoever has had no time for the next one must look again.
pub fn tasks_that_take_long_are_done_one_after_the_other(server: &Running) -> Outcome {
    let (_client, _) = connect_to(server, 0)?;
    let queue = Foreign::open(server)?;
    let mut packet = Vec::new();
    for id in 1..=5 {
        let header = Header { session: id, ..Header::default() };
        packet::encode(&header, 1, b"labour", &mut packet);
        queue.0.send(3, &packet)?;
    }
    wait_for_lines(server, 5, "task ")?;
    let lines = server.lines_so_far();
    let told: Vec<&String> = lines.iter().filter(|line| line.starts_with("task ")).collect();
    for (line, id) in told.iter().zip(1..) {
        assert_eq!(**line, format!("task {id} from -1 flags 132 in 2: labour"));
    }
    Ok(())
}

pub fn what_was_not_done_is_done_by_the_next_run(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let queue = Foreign::open(server)?;
    let gate = Gate::new()?;
    ask(&mut client, &format!("give 0 hold {}", gate.port()?))?;
    let held = gate.wait()?;
    for id in 1..=5 {
        assert_eq!(ask(&mut client, &format!("give 0 echo {id}"))?, id.to_string());
    }
    assert_eq!(queue.0.waiting()?.messages, 5);
    server.signal(libc::SIGKILL)?;
    server.wait_exit(STEP)?;
    server.assert_nothing_left()?;
    drop(held);
    let next = server.spawn_beside()?;
    wait_for_lines(&next, 5, "task ")?;
    wait_for_lines(&next, 1, "task 5 from -1 flags 132 in 2: echo 5")?;
    end(&next)
}
