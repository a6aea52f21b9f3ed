//! Memory that processes share. It knows nothing of servers.
//!
//! [`region`] maps it once, before the first fork, and carves it into typed areas; the other
//! files are what is put there. Always: only [`Shared`] types, no names that outlive a killed
//! program, and whatever a dead process left behind is read as input, never trusted.

pub mod counter;
pub mod mutex;
pub mod region;
pub mod table;

use std::sync::atomic::{
    AtomicI32, AtomicI64, AtomicU16, AtomicU32, AtomicU64, AtomicU8, AtomicUsize,
};

pub use counter::{Counter, Line};
pub use mutex::RobustMutex;
pub use region::{Area, ByteArea, Bytes, Layout, Mapped, Place, Region};
pub use table::{Claimed, Table, TableArea};

/// A type that may lie in memory which several processes write at the same time.
///
/// # Safety
///
/// - It is `repr(C)` or `repr(transparent)`, of fixed size, and nothing in it drops.
/// - All bytes zero is a valid value, and so is every other pattern a dying process could leave.
/// - It holds no pointer, reference or descriptor that a reader would follow.
/// - Every access through `&Self` is atomic or under a lock that lies beside it.
pub unsafe trait Shared: Send + Sync + 'static {}

macro_rules! shared_atomics {
    ($($atomic:ty)*) => {
        // SAFETY: an atomic integer has a fixed size, is valid in every pattern and points nowhere.
        $(unsafe impl Shared for $atomic {})*
    };
}

shared_atomics!(AtomicI32 AtomicI64 AtomicU8 AtomicU16 AtomicU32 AtomicU64 AtomicUsize);

// SAFETY: an array of things that may be shared adds nothing to them.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}

/// Declares a record that may lie in shared memory: `repr(C)`, and every field may lie there too,
/// which is checked when it is compiled. So floors that have no `unsafe` can have records.
macro_rules! shared_record {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$field_meta:meta])* $vis:vis $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        pub struct $name {
            $($(#[$field_meta])* $vis $field: $type,)*
        }

        const _: () = {
            const fn may_be_shared<T: $crate::shm::Shared>() {}
            $(may_be_shared::<$type>();)*
        };

        // SAFETY: `repr(C)`, and each field may be shared, as asserted above; it has no `Drop`,
        // because nothing that drops may be shared.
        #[allow(unsafe_code)]
        unsafe impl $crate::shm::Shared for $name {}
    };
}
pub(crate) use shared_record;

#[cfg(test)]
pub(crate) mod tests {
    /// Seconds after which a child that hangs is killed by its own alarm.
    const CHILD_LIMIT_S: u32 = 20;

    /// Runs `act` in a forked child that ends right after, and waits for it.
    ///
    /// The program is threaded here, so `act` must touch nothing but shared memory and its own
    /// stack. The exit status of the child: 0 if `act` came back, else what `act` ended it with.
    pub(crate) fn in_child(act: impl FnOnce()) -> i32 {
        // SAFETY: the child does what the comment above allows, and never returns into the harness.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork failed");
        if pid == 0 {
            // SAFETY: a plain system call.
            unsafe { libc::alarm(CHILD_LIMIT_S) };
            let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).is_ok();
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(i32::from(!passed)) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above; the status lies on this stack.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        assert!(libc::WIFEXITED(status), "the child was killed: {status}");
        libc::WEXITSTATUS(status)
    }
}
