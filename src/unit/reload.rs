//! A round of reload: which workers are to go, which of them have gone, and what happens to those
//! that do not.

use std::collections::VecDeque;

use crate::model::worker::Leave;
use crate::model::UnitId;

use super::family::LifeId;
use super::{Timer, Unit};

/// Workers end by themselves after `max_wait_time`; they get so much longer to do it.
const SLACK_NS: u64 = 250_000_000;

/// One life that is to end.
type Target = (UnitId, LifeId);

/// A round that runs.
pub(super) struct Round {
    /// Who was told and has not gone.
    told: Vec<Target>,
    /// Who is told when the one before has gone.
    waiting: VecDeque<Target>,
    how: Leave,
    kill_at_ns: Option<u64>,
    /// The program and the log are told of it.
    pub(super) is_public: bool,
}

impl Round {
    /// Begins to replace the workers that are there: all at once if they leave in order, since
    /// their successors start beside them, else one after the other.
    pub(super) fn begin(unit: &Unit, targets: Vec<Target>, how: Leave, is_public: bool) -> Self {
        let wait_ns = unit.runtime.settings.max_wait_time_s.saturating_mul(1_000_000_000);
        let mut round = Self {
            told: Vec::new(),
            waiting: VecDeque::from(targets),
            how,
            kill_at_ns: None,
            is_public,
        };
        if wait_ns > 0 {
            let wait_ns = wait_ns.saturating_add(SLACK_NS);
            let now_ns = unit.now.get().monotonic_ns;
            round.kill_at_ns = Some(now_ns.saturating_add(wait_ns));
            unit.set_timer(wait_ns, Timer::Deadline);
        }
        round.tell_next(unit);
        round
    }

    fn tell_next(&mut self, unit: &Unit) {
        let runtime = &unit.runtime;
        let is_all_at_once =
            self.how == Leave::InOrder && runtime.plan.are_workers_replaced_together();
        while self.told.is_empty() || is_all_at_once {
            let Some((id, life)) = self.waiting.pop_front() else { return };
            if unit.family.life_of(id) != Some(life) {
                continue;
            }
            if let Some(record) = runtime.control.unit(id) {
                record.ask(self.how);
            }
            runtime.control.wiring.ring(id.0);
            self.told.push((id, life));
        }
    }

    /// Whether this life is one that the round wants to end.
    pub(super) fn wants(&self, life: LifeId) -> bool {
        self.told.iter().chain(&self.waiting).any(|row| row.1 == life)
    }

    /// Goes on. True when everybody has gone who was there at the beginning.
    pub(super) fn advance(&mut self, unit: &Unit) -> bool {
        self.told.retain(|(_, life)| unit.family.has_life(*life));
        self.tell_next(unit);
        if self.kill_at_ns.is_some_and(|at| unit.now.get().monotonic_ns >= at) {
            self.kill_at_ns = None;
            let late = self.told.iter().chain(&self.waiting).map(|row| row.1);
            unit.family.force(&late.collect::<Vec<_>>());
        }
        self.told.is_empty() && self.waiting.is_empty()
    }
}
