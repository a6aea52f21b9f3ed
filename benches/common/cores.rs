//! Which core the servers run on and which the load, and how a thread is moved there.

use std::io;

use nix::sched::{sched_getaffinity, sched_setaffinity, CpuSet};
use nix::unistd::Pid;

/// Two of the cores this process may use. With a single one there is nothing to keep apart.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    pub server: usize,
    pub load: usize,
}

impl Cores {
    pub fn choose() -> io::Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
        let first = cores.next().ok_or_else(|| io::Error::other("no core is allowed"))?;
        Ok(Self { server: first, load: cores.next_back().unwrap_or(first) })
    }

    pub fn are_apart(self) -> bool {
        self.server != self.load
    }
}

/// Moves the calling thread to `core`; the processes it starts from then on inherit that.
pub fn move_to(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}
