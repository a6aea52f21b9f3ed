//! A queue that somebody has removed.

use super::queues::Foreign;
use crate::common::prelude::*;
use crate::puppet::life::wait_for_log;
use crate::puppet::{ask, ask_until, connect_to};

pub fn without_its_queue_a_server_refuses_tasks_and_counts_none(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let queue = Foreign::open(server)?;
    assert_eq!(ask(&mut client, "give 0 echo own")?, "0");
    ask_until(&mut client, "tasks", |told| told == "1 1 0 1")?;
    queue.0.remove()?;
    let no_queue = libc::EINVAL;
    assert_eq!(ask(&mut client, "give 0 echo x")?, format!("error {no_queue}"));
    assert_eq!(ask(&mut client, "wait 0 9000 echo x")?, format!("error {no_queue}"));
    let none = SW_ERROR_TASK_DISPATCH_FAIL;
    assert_eq!(ask(&mut client, "list 9000 echo x|echo y")?, format!("error {none}"));
    assert_eq!(ask(&mut client, "co 9000 echo x|echo y")?, none.to_string());
    assert_eq!(ask(&mut client, &format!("give 0 {}", "x".repeat(20_000)))?, "error 22");
    wait_for_log(server, |log| log.contains("the message queue cannot be read"))?;
    ask_until(&mut client, "tasks", |told| told == "1 1 0 1")?;
    assert_eq!(std::fs::read_dir(server.temporary()).map_or(0, Iterator::count), 0);
    Ok(())
}
