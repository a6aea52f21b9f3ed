//! Commands: functions of the program that run in a process which is asked for.

use std::sync::Arc;

/// Bytes of data that the manager takes with a command are fewer than this.
pub const MANAGER_LIMIT: usize = 8152;

/// Which kind of process a command runs in. The numbers are those of the C interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Office {
    /// The master.
    Master = 1 << 1,
    /// A reactor thread, which runs no commands.
    Reactor = 1 << 2,
    /// An event worker.
    EventWorker = 1 << 3,
    /// A task worker.
    TaskWorker = 1 << 4,
    /// The manager.
    Manager = 1 << 5,
}

impl Office {
    const ALL: [Office; 5] =
        [Office::Master, Office::Reactor, Office::EventWorker, Office::TaskWorker, Office::Manager];

    /// The one with this number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|office| *office as i32 == number)
    }

    /// Whether it is one of those whose numbers are added up in `bits`.
    pub fn is_in(self, bits: i32) -> bool {
        self as i32 & bits != 0
    }

    /// Whether `bits` are some of these numbers, and nothing else.
    pub fn are_some(bits: i32) -> bool {
        let all = Self::ALL.into_iter().fold(0, |all, office| all | office as i32);
        bits != 0 && bits & !all == 0
    }
}

/// What a command does: an answer, or none if it failed.
pub type CommandHook = Arc<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// A command of the program.
#[derive(Clone)]
pub struct ProgramCommand {
    /// By which it is called.
    pub name: String,
    /// The offices where it may run, added up.
    pub offices: i32,
    /// What it does.
    pub hook: CommandHook,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_office_is_one_bit_and_several_are_a_sum() {
        assert_eq!(Office::from_number(8), Some(Office::EventWorker));
        for number in [0, 1, 3, 6, 64, -8, i32::MIN] {
            assert_eq!(Office::from_number(number), None, "{number}");
        }
        let (master, worker) = (Office::Master, Office::EventWorker);
        assert!(master.is_in(2 | 32) && !worker.is_in(2 | 32));
        assert!(Office::are_some(2 | 4 | 8 | 16 | 32) && Office::are_some(16));
        assert!(![0, 1, 2 | 64, -1].into_iter().any(Office::are_some));
    }
}
