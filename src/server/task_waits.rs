//! Tasks whose results are waited for, or told together.

use std::time::Duration;

use crate::error::{code, Error, Result};
use crate::unit::tasks::{ListHook, Wait, Waited};
use crate::unit::Unit;

use super::task::{check_task_workers, number_of};
use super::Server;

/// The most tasks of one list.
pub const LONGEST_LIST: usize = 1024;
/// Shorter waits are as long.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

impl Server {
    /// Hands in a task and waits for its result, which `take` gets; `timeout` is in seconds.
    pub fn task_wait(
        &self,
        data: &[u8],
        timeout: f64,
        target: i32,
        mut take: impl FnMut(&[u8]),
    ) -> Result<()> {
        self.with_unit(|unit| {
            check_waiter(unit)?;
            let (number, timeout) = (number_of(unit, target)?, length_of(timeout)?);
            let wait = Wait { tasks: &[data], number, timeout, is_list: false };
            match unit.wait_for_tasks(&wait, &mut |_, answer| take(answer))? {
                Waited { answered: 1.., .. } => Ok(()),
                Waited { failed_by: Some(by), .. } => {
                    let text = format!("task worker {by} died with the task in its hands");
                    Err(Error::new(code::SERVER_WORKER_TERMINATED, text))
                }
                Waited { .. } => {
                    let text = "the time is up and the task has not been answered";
                    Err(Error::new(code::TASK_TIMEOUT, text))
                }
            }
        })
    }

    /// Hands in tasks and waits for their results; `take` gets each with the index of its task. How
    /// many were answered.
    pub fn task_wait_multi(
        &self,
        tasks: &[&[u8]],
        timeout: f64,
        mut take: impl FnMut(usize, &[u8]),
    ) -> Result<usize> {
        self.with_unit(|unit| {
            check_list(unit, tasks)?;
            let timeout = length_of(timeout)?;
            if tasks.is_empty() {
                return Ok(0);
            }
            let wait = Wait { tasks, number: None, timeout, is_list: true };
            let waited = unit.wait_for_tasks(&wait, &mut take)?;
            check_accepted(waited.accepted)?;
            Ok(waited.answered)
        })
    }

    /// Hands in tasks and goes on; `hook` is told of the results together.
    pub fn task_list(&self, tasks: &[&[u8]], timeout: f64, hook: ListHook) -> Result<()> {
        self.with_unit(|unit| {
            check_list(unit, tasks)?;
            let timeout = length_of(timeout)?;
            match tasks.is_empty() {
                true => unit.defer(Box::new(move || hook(&[]))),
                false => check_accepted(unit.hand_in_list(tasks, timeout, hook)?),
            }
        })
    }
}

/// Only a worker is told of results.
fn check_waiter(unit: &Unit) -> Result<()> {
    check_task_workers(unit)?;
    match unit.plan().roles.is_worker() {
        true => Ok(()),
        false => {
            let text = "only event workers wait for tasks, this is another process";
            Err(Error::new(code::OPERATION_NOT_SUPPORT, text))
        }
    }
}

fn check_list(unit: &Unit, tasks: &[&[u8]]) -> Result<()> {
    check_waiter(unit)?;
    match tasks.len() {
        0..=LONGEST_LIST => Ok(()),
        count => {
            let text = format!("too many concurrent tasks: {count} are more than {LONGEST_LIST}");
            Err(Error::new(code::INVALID_PARAMS, text))
        }
    }
}

fn check_accepted(count: usize) -> Result<()> {
    match count {
        0 => Err(Error::new(code::TASK_DISPATCH_FAIL, "not one of the tasks could be handed in")),
        _ => Ok(()),
    }
}

/// How long a wait may be; `None` for any time.
fn length_of(seconds: f64) -> Result<Option<Duration>> {
    if seconds.is_nan() {
        return Err(Error::new(code::INVALID_PARAMS, "NaN is no number of seconds"));
    }
    // What is longer than a duration can be has no end either.
    let length = Some(seconds).filter(|seconds| *seconds > 0.0);
    let length = length.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(length.map(|length| length.max(SHORTEST_WAIT)))
}
