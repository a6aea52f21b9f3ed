//! Tasks: handing them in, and answering them.

use crate::error::{code, Error, Result};
use crate::unit::tasks::FinishHook;
use crate::unit::Unit;

use super::Server;

impl Server {
    /// Hands in a task, for one of the task workers or, if `target` is -1, for one that has nothing
    /// to do; its id. The first result goes to `hook`, if there is one.
    pub fn task(&self, data: &[u8], target: i32, hook: Option<FinishHook>) -> Result<i64> {
        self.with_unit(|unit| {
            check_hand_in(unit)?;
            unit.hand_in(number_of(unit, target)?, data, hook)
        })
    }

    /// Answers a task of a worker, whose callback may have returned.
    pub fn finish_task(&self, worker: i32, id: i64, data: &[u8]) -> Result<()> {
        self.with_unit(|unit| {
            check_task_workers(unit)?;
            unit.answer_open_task(worker, id, data)
        })
    }

    /// Answers the task whose callback runs.
    pub fn finish(&self, data: &[u8]) -> Result<()> {
        self.with_unit(|unit| {
            check_task_workers(unit)?;
            unit.answer_task(data)
        })
    }
}

pub(super) fn check_task_workers(unit: &Unit) -> Result<()> {
    match unit.runtime().plan.tasks().is_empty() {
        true => {
            let text = "there are no task workers, see task_worker_num";
            Err(Error::new(code::OPERATION_NOT_SUPPORT, text))
        }
        false => Ok(()),
    }
}

/// Whether the caller may hand in tasks.
fn check_hand_in(unit: &Unit) -> Result<()> {
    check_task_workers(unit)?;
    match unit.plan().roles.is_task() {
        true => {
            let text = "a task worker cannot hand in tasks: cannot use in the task worker";
            Err(Error::new(code::OPERATION_NOT_SUPPORT, text))
        }
        false => Ok(()),
    }
}

/// The number of a task worker among themselves, `None` for any.
pub(super) fn number_of(unit: &Unit, target: i32) -> Result<Option<usize>> {
    let count = unit.runtime().plan.tasks().len();
    match usize::try_from(target) {
        Ok(number) if number < count => Ok(Some(number)),
        Err(_) if target == -1 => Ok(None),
        Ok(_) | Err(_) => {
            let text = format!("there is no task worker {target}, their numbers are below {count}");
            Err(Error::new(code::INVALID_PARAMS, text))
        }
    }
}
