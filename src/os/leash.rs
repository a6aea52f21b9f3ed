//! A leash: a forked child does nothing until its parent lets it go, and ends if the parent is gone
//! before that.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

/// Made before the fork; the two sides then use their copies differently.
#[derive(Debug)]
pub struct Leash {
    parent: UnixStream,
    child: UnixStream,
}

impl Leash {
    /// A leash for one child.
    pub fn new() -> io::Result<Self> {
        let (parent, child) = UnixStream::pair()?;
        Ok(Self { parent, child })
    }

    /// In the parent: lets the child go.
    pub fn release(mut self) -> io::Result<()> {
        self.parent.write_all(&[1])
    }

    /// In the child: waits. False if the parent has dropped its side, or has died.
    pub fn wait(self) -> bool {
        let Self { parent, mut child } = self;
        drop(parent);
        child.read_exact(&mut [0]).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::process::{fork, reap, wait_for, Forked};
    use crate::os::testing::passes_in_child;
    use std::time::Duration;

    /// What a child on a leash ends with: 1 if it was let go, 0 if not.
    fn code_of_child(act: impl FnOnce(Leash)) -> Option<i32> {
        let leash = Leash::new().unwrap();
        match fork().unwrap() {
            Forked::Parent { pid, pidfd } => {
                // It waits, however long that takes.
                assert!(!wait_for(&pidfd, Some(Duration::from_millis(20))).unwrap());
                act(leash);
                assert!(wait_for(&pidfd, Some(Duration::from_secs(10))).unwrap());
                reap(pid).unwrap().unwrap().exit_code()
            }
            // SAFETY: ends this child at once.
            Forked::Child { .. } => unsafe { libc::_exit(i32::from(leash.wait())) },
        }
    }

    #[test]
    fn a_child_waits_until_it_is_let_go_or_its_parent_has_given_up() {
        assert!(passes_in_child(|| {
            assert_eq!(code_of_child(|leash| leash.release().unwrap()), Some(1));
            assert_eq!(code_of_child(drop), Some(0));
        }));
    }
}
