//! The user process: runs a function of the program, then what that has left in the loop. When both
//! are over the unit ends, and the manager starts it again.
//!
//! The loop does not turn while the function runs: what it says leaves in the call that says it.

use std::cell::Cell;
use std::sync::Arc;

use crate::error::clear_last;
use crate::model::user::{Pipe, UserProcess};
use crate::model::worker::Stage;
use crate::os::clock;

use super::turn::HASTY_CALLBACKS;
use super::{Unit, CURRENT};

/// How long a call waits for units that take nothing of what is said to them. One that is stuck may
/// wait for the very function that calls; what it has not taken then leaves with a later call.
const PATIENCE_NS: u64 = 3_000_000_000;

/// The user role of a unit.
pub(super) struct User {
    process: UserProcess,
    /// The function runs.
    is_inside: Cell<bool>,
    /// False after waiting in vain, until something is taken again.
    is_patient: Cell<bool>,
}

/// Whether this thread runs the user process with that pipe, or is the copy of one that does.
pub fn is_inside(pipe: &Arc<Pipe>) -> bool {
    CURRENT.with(|current| match current.try_borrow() {
        Ok(unit) => {
            let user = unit.as_deref().and_then(|unit| unit.user.as_ref());
            user.is_some_and(|user| Arc::ptr_eq(&user.process.pipe, pipe))
        }
        Err(_) => false,
    })
}

impl User {
    pub(super) fn new(process: UserProcess) -> Self {
        Self { process, is_inside: Cell::new(false), is_patient: Cell::new(true) }
    }

    /// Runs the function of the program.
    pub(super) fn run(&self, unit: &Unit) {
        clear_last();
        self.process.pipe.begin_life();
        let id = unit.plan.worker.map_or(-1, |id| i32::from(id.0));
        log::info!("user process {id} started, pid {}", unit.own_id());
        self.is_inside.set(true);
        unit.hasty.set(u32::MAX);
        (self.process.hook)();
        unit.hasty.set(HASTY_CALLBACKS);
        self.is_inside.set(false);
    }

    /// Waits until everything that was said is published, as long as something is taken.
    fn hand_over(&self, unit: &Unit) {
        let mut outbox = unit.outbox.borrow_mut();
        loop {
            let before = outbox.pending_bytes();
            let wait_ns = if self.is_patient.get() { PATIENCE_NS } else { 0 };
            if outbox.flush_blocking(clock::monotonic_ns().saturating_add(wait_ns)) {
                self.is_patient.set(true);
                unit.held_back.borrow_mut().clear();
                return;
            }
            let is_taken = outbox.pending_bytes() < before;
            if self.is_patient.replace(is_taken) && !is_taken {
                log::warn!("what the user process sends is not taken, it goes on without waiting");
            }
            if !is_taken {
                return;
            }
        }
    }
}

impl Unit {
    /// Runs the function of the program, if this is a user process.
    pub(super) fn run_user(&self) {
        let Some(user) = &self.user else { return };
        user.run(self);
        if self.is_idle_user() {
            self.stage.set(Stage::Ended);
        }
    }

    /// Publishes what this unit has said, where nothing is held back. In a function whose loop does
    /// not turn nobody would do that later, so there the call waits.
    #[inline]
    pub(super) fn tell_if_hasty(&self) {
        if !self.is_hasty() {
            return;
        }
        match self.user.as_ref().filter(|user| user.is_inside.get()) {
            Some(user) => user.hand_over(self),
            None => self.tell_others(),
        }
    }

    /// Whether this is a user process with nothing left in its loop.
    pub(super) fn is_idle_user(&self) -> bool {
        self.user.is_some()
            && !self.agenda.has_work()
            && self.later.is_empty()
            && !self.outbox.borrow().has_pending()
    }
}
