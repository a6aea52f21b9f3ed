//! Dispatch: which worker gets what a connection sends.
//!
//! Mode 2, the default: every event of a connection goes to the worker `session id mod worker_num`.
//! Where a reactor is a worker too, it serves its own connections.

use crate::model::plan::Plan;
use crate::model::{SessionId, UnitId};

/// How the connections of one reactor find their worker; made once, read for each frame.
#[derive(Clone, Debug)]
pub enum Dispatch {
    /// The reactor itself is the worker.
    Own(UnitId),
    /// By session id over these workers; never empty.
    BySession(Vec<UnitId>),
}

impl Dispatch {
    /// The dispatch of the reactor that `unit` is.
    pub fn new(plan: &Plan, unit: UnitId) -> Self {
        match plan.unit(unit) {
            Some(own) if own.worker.is_none() => Dispatch::BySession(plan.workers().to_vec()),
            Some(_) | None => Dispatch::Own(unit),
        }
    }

    /// The worker for an event of `session`.
    #[inline]
    pub fn worker(&self, session: SessionId) -> UnitId {
        match self {
            Dispatch::Own(unit) => *unit,
            Dispatch::BySession(workers) => {
                let index = session.0.unsigned_abs() as usize % workers.len().max(1);
                workers.get(index).copied().unwrap_or(UnitId::ROOT)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_always_finds_the_same_worker() {
        let dispatch = Dispatch::BySession(vec![UnitId(4), UnitId(5), UnitId(6)]);
        assert_eq!(dispatch.worker(SessionId(7)), UnitId(5));
        assert_eq!(dispatch.worker(SessionId(7)), UnitId(5));
        assert_eq!(dispatch.worker(SessionId(i64::MAX)), dispatch.worker(SessionId(i64::MAX)));
        assert_eq!(Dispatch::Own(UnitId(1)).worker(SessionId(9)), UnitId(1));
    }
}
