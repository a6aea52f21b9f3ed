//! Signals as events: a handler notes which one came and rings a bell; the loop asks and acts.
//!
//! The library is a guest in somebody's program. What it changes, it remembers and puts back when
//! [`Signals`] is dropped. Signals belong to the process, so one [`Signals`] exists at a time.
//!
//! The handler touches nothing but three atomics and one `write`, and keeps `errno`. It counts
//! itself in and out, so that the bell is never closed under it.

use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::thread;

use libc::c_int;
use nix::errno::Errno;

use super::checked;
use super::eventfd::{self, EventFd};
use super::process::{self, Pid};

pub use libc::{SIGALRM, SIGCHLD, SIGHUP, SIGKILL, SIGPIPE, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};

/// The largest signal number; a set of them fits into 64 bits.
const MAX_SIGNAL: c_int = 64;
const NO_BELL: RawFd = -1;

/// The signals that came and were not taken yet. Written by the handler, swapped by `take`.
static ARRIVED: AtomicU64 = AtomicU64::new(0);
/// The signals whose handler is ours. Written by whoever sets up or puts back, of which there is
/// one at a time.
static WATCHED: AtomicU64 = AtomicU64::new(0);
/// The descriptor to ring, [`NO_BELL`] if nobody listens. Pairs with `IN_HANDLER`: see `silence`.
static BELL: AtomicI32 = AtomicI32::new(NO_BELL);
/// How many threads are inside the handler now.
static IN_HANDLER: AtomicU32 = AtomicU32::new(0);

/// The lowest real-time signal that programs may use, known at run time only.
pub fn real_time_min() -> c_int {
    libc::SIGRTMIN()
}

/// Which signals a process wants, which it does not, and which should do what they always do.
/// SIGCHLD belongs to the last while children are watched: ignored, it would have them vanish.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignalPlan<'a> {
    pub watch: &'a [c_int],
    pub ignore: &'a [c_int],
    pub default: &'a [c_int],
}

/// The signal handling of this process, as long as it lives.
#[derive(Debug)]
pub struct Signals {
    bell: EventFd,
    former: Vec<(c_int, libc::sigaction)>,
    mask: Option<MaskGuard>,
    owner: Pid,
}

impl Signals {
    /// Sets up what `plan` says and lets its signals through to this thread. EBUSY if a
    /// [`Signals`] exists already; on any error nothing is changed.
    pub fn install(plan: &SignalPlan) -> io::Result<Self> {
        let bell = EventFd::new()?;
        let listening =
            BELL.compare_exchange(NO_BELL, bell.as_raw_fd(), Ordering::SeqCst, Ordering::SeqCst);
        if listening.is_err() {
            return Err(Errno::EBUSY.into());
        }
        let mask = Some(block_all());
        // From here on the drop puts back whatever was done so far.
        let mut signals = Self { bell, former: Vec::new(), mask, owner: process::pid() };
        ARRIVED.store(0, Ordering::SeqCst);
        signals.apply(plan, true)?;
        signals.let_through(plan);
        Ok(signals)
    }

    /// Sets up a forked child afresh: forgets what came for the parent, resets what the parent
    /// watched and `plan` does not name, and only then lets signals through again. `held` is what
    /// the fork gave. Nothing is put back later: the child ends by itself.
    pub fn in_child(plan: &SignalPlan, held: MaskGuard) -> io::Result<Self> {
        let bell = EventFd::new()?;
        let mut signals =
            Self { bell, former: Vec::new(), mask: Some(held), owner: process::pid() };
        for signal in SignalBits(WATCHED.swap(0, Ordering::SeqCst)) {
            set_action(signal, libc::SIG_DFL)?;
        }
        IN_HANDLER.store(0, Ordering::SeqCst);
        ARRIVED.store(0, Ordering::SeqCst);
        BELL.store(signals.bell.as_raw_fd(), Ordering::SeqCst);
        signals.apply(plan, false)?;
        signals.let_through(plan);
        if let Some(held) = signals.mask.take() {
            held.forget();
        }
        Ok(signals)
    }

    /// The signals that came since the last call, each once. Clears the bell.
    pub fn take(&self) -> SignalBits {
        self.bell.clear();
        SignalBits(ARRIVED.swap(0, Ordering::SeqCst))
    }

    fn apply(&mut self, plan: &SignalPlan, remember: bool) -> io::Result<()> {
        let handler: extern "C" fn(c_int) = note_arrival;
        let lists = [
            (plan.watch, handler as libc::sighandler_t),
            (plan.ignore, libc::SIG_IGN),
            (plan.default, libc::SIG_DFL),
        ];
        for (list, action) in lists {
            for signal in list {
                let former = set_action(*signal, action)?;
                if remember {
                    self.former.push((*signal, former));
                }
            }
        }
        WATCHED.store(
            plan.watch.iter().fold(0, |bits, signal| bits | bit_of(*signal)),
            Ordering::SeqCst,
        );
        Ok(())
    }

    /// Gives this thread the mask that it had, without the signals that should reach it.
    fn let_through(&self, plan: &SignalPlan) {
        let Some(mask) = &self.mask else { return };
        let mut open = mask.former;
        for signal in plan.watch.iter().chain(plan.default) {
            // SAFETY: an initialised set and a number that set_action has accepted.
            unsafe { libc::sigdelset(&mut open, *signal) };
        }
        set_mask(&open);
    }

    /// Nobody listens any more: waits until no thread is inside the handler with the bell in hand.
    /// A handler counts itself before it reads BELL, and this writes BELL before it reads the
    /// count, all in one order: either it sees no bell, or it is waited for.
    fn silence(&self) {
        let mine = self.bell.as_raw_fd();
        if BELL.compare_exchange(mine, NO_BELL, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            while IN_HANDLER.load(Ordering::SeqCst) != 0 {
                thread::yield_now();
            }
        }
    }
}

impl Drop for Signals {
    /// In the process that made it: puts back the dispositions, newest first, then the mask. A
    /// forked child that drops its copy changes nothing.
    fn drop(&mut self) {
        if self.owner != process::pid() {
            if let Some(mask) = self.mask.take() {
                mask.forget();
            }
            return;
        }
        // No signal may come while this is half done.
        let blocked = block_all();
        for (signal, former) in self.former.drain(..).rev() {
            // SAFETY: the disposition came from the same call, and its handler is the program's.
            let result = unsafe { libc::sigaction(signal, &former, ptr::null_mut()) };
            debug_assert_eq!(result, 0, "signal {signal} could be set but not put back");
            WATCHED.fetch_and(!bit_of(signal), Ordering::SeqCst);
        }
        self.silence();
        // The mask that is put back behind this is the one from before the set-up.
        if self.mask.is_some() {
            blocked.forget();
        }
    }
}

impl AsFd for Signals {
    /// The bell: readable when signals wait for [`Signals::take`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.bell.as_raw_fd()
    }
}

/// A set of signals, handed out from the lowest number to the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalBits(u64);

impl SignalBits {
    /// Whether this signal is among them.
    pub fn contains(self, signal: c_int) -> bool {
        self.0 & bit_of(signal) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Iterator for SignalBits {
    type Item = c_int;

    fn next(&mut self) -> Option<c_int> {
        if self.0 == 0 {
            return None;
        }
        let lowest = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        c_int::try_from(lowest + 1).ok()
    }
}

/// No bit for what is no signal.
fn bit_of(signal: c_int) -> u64 {
    match signal {
        1..=MAX_SIGNAL => 1 << (signal - 1),
        _ => 0,
    }
}

/// The handler of every watched signal.
extern "C" fn note_arrival(signal: c_int) {
    let errno = Errno::last_raw();
    IN_HANDLER.fetch_add(1, Ordering::SeqCst);
    ARRIVED.fetch_or(bit_of(signal), Ordering::SeqCst);
    let bell = BELL.load(Ordering::SeqCst);
    if bell != NO_BELL {
        eventfd::ring(bell);
    }
    IN_HANDLER.fetch_sub(1, Ordering::SeqCst);
    Errno::set_raw(errno);
}

/// Sets what a signal does and returns what it did before.
fn set_action(signal: c_int, action: libc::sighandler_t) -> io::Result<libc::sigaction> {
    if bit_of(signal) == 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut wanted = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all-zero is a valid sigaction.
    let wanted = unsafe { wanted.assume_init_mut() };
    wanted.sa_sigaction = action;
    // The program may run on small stacks of its own, with an alternate one for signals.
    wanted.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    let mut former = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: both outlive the call; the action is SIG_DFL, SIG_IGN or a handler that is safe.
    checked(unsafe { libc::sigaction(signal, wanted, former.as_mut_ptr()) })?;
    // SAFETY: zeroed, and filled by the call.
    Ok(unsafe { former.assume_init() })
}

/// Signals are blocked for this thread while this lives; the drop puts the former mask back.
#[derive(Debug)]
pub struct MaskGuard {
    former: libc::sigset_t,
    /// A mask belongs to one thread.
    of_this_thread: PhantomData<*const ()>,
}

impl MaskGuard {
    /// Leaves the mask as it is.
    fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for MaskGuard {
    fn drop(&mut self) {
        set_mask(&self.former);
    }
}

/// Blocks every signal for this thread. Threads that it starts meanwhile inherit that for good.
pub fn block_all() -> MaskGuard {
    let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the pointer is valid for writes.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: zeroed, and filled by the call.
    let former = set_mask(unsafe { all.assume_init_ref() });
    MaskGuard { former, of_this_thread: PhantomData }
}

/// Whether a watched signal has come that nobody has taken. One load, for use between callbacks.
#[inline]
pub fn has_arrived() -> bool {
    ARRIVED.load(Ordering::Relaxed) != 0
}

/// Lets every signal through to this thread.
pub fn unblock_all() {
    let mut none = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the pointer is valid for writes.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: zeroed, and filled by the call.
    set_mask(unsafe { none.assume_init_ref() });
}

fn set_mask(mask: &libc::sigset_t) -> libc::sigset_t {
    let mut former = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: both sets outlive the call.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, former.as_mut_ptr()) };
    debug_assert_eq!(result, 0, "setting a whole mask cannot fail");
    // SAFETY: zeroed is a valid set, and the call has filled it.
    unsafe { former.assume_init() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::process::{fork, kill, reap, wait_for, Forked};
    use crate::os::testing::passes_in_child;
    use std::time::Duration;

    const LONG: Option<Duration> = Some(Duration::from_secs(10));

    fn action_of(signal: c_int) -> libc::sighandler_t {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: only reads the disposition into a valid place.
        assert_eq!(unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) }, 0);
        // SAFETY: zeroed, and filled by the call.
        unsafe { action.assume_init() }.sa_sigaction
    }

    fn is_blocked(signal: c_int) -> bool {
        let guard = block_all();
        // SAFETY: an initialised set and a valid number.
        unsafe { libc::sigismember(&guard.former, signal) == 1 }
    }

    fn send_myself(signal: c_int) {
        kill(process::pid(), signal).unwrap();
    }

    #[test]
    fn watched_signals_arrive_once_each_in_order_and_ring_the_bell() {
        assert!(passes_in_child(|| {
            let rtmin = real_time_min();
            let watch = [libc::SIGTERM, libc::SIGUSR1, rtmin];
            let signals = Signals::install(&SignalPlan { watch: &watch, ..Default::default() });
            let signals = signals.unwrap();
            assert!(signals.take().is_empty());
            for signal in [rtmin, libc::SIGTERM, libc::SIGUSR1, libc::SIGTERM] {
                send_myself(signal);
            }
            assert!(wait_for(&signals, LONG).unwrap());
            let taken = signals.take();
            assert!(taken.contains(rtmin) && !taken.contains(libc::SIGUSR2));
            assert_eq!(taken.collect::<Vec<_>>(), [libc::SIGUSR1, libc::SIGTERM, rtmin]);
            assert!(!wait_for(&signals, Some(Duration::ZERO)).unwrap());
        }));
    }

    #[test]
    fn the_drop_puts_back_what_the_program_had() {
        assert!(passes_in_child(|| {
            set_action(libc::SIGUSR2, libc::SIG_IGN).unwrap();
            set_action(libc::SIGCHLD, libc::SIG_IGN).unwrap();
            let blocked = block_all();
            let plan = SignalPlan {
                watch: &[libc::SIGTERM, libc::SIGUSR2],
                ignore: &[libc::SIGHUP],
                default: &[libc::SIGCHLD],
            };
            let signals = Signals::install(&plan).unwrap();
            assert_eq!(action_of(libc::SIGHUP), libc::SIG_IGN);
            assert_eq!(action_of(libc::SIGCHLD), libc::SIG_DFL);
            assert!(!is_blocked(libc::SIGTERM) && is_blocked(libc::SIGINT));
            drop(signals);
            assert_eq!(action_of(libc::SIGTERM), libc::SIG_DFL);
            assert_eq!(action_of(libc::SIGUSR2), libc::SIG_IGN);
            assert_eq!(action_of(libc::SIGHUP), libc::SIG_DFL);
            assert_eq!(action_of(libc::SIGCHLD), libc::SIG_IGN);
            assert!(is_blocked(libc::SIGTERM));
            drop(blocked);
            assert!(!is_blocked(libc::SIGTERM));
        }));
    }

    #[test]
    fn a_second_set_is_refused_while_the_first_lives() {
        assert!(passes_in_child(|| {
            let plan = SignalPlan { watch: &[libc::SIGTERM], ..Default::default() };
            let first = Signals::install(&plan).unwrap();
            assert_eq!(Signals::install(&plan).unwrap_err().raw_os_error(), Some(libc::EBUSY));
            assert_ne!(action_of(libc::SIGTERM), libc::SIG_DFL);
            drop(first);
            Signals::install(&plan).unwrap();
        }));
    }

    #[test]
    fn a_bad_plan_changes_nothing() {
        assert!(passes_in_child(|| {
            for bad in [0, -3, 65, libc::SIGKILL] {
                let watch = [libc::SIGTERM, bad];
                let plan = SignalPlan { watch: &watch, ..Default::default() };
                let error = Signals::install(&plan).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
                assert_eq!(action_of(libc::SIGTERM), libc::SIG_DFL);
                assert!(!is_blocked(libc::SIGTERM));
            }
        }));
    }

    #[test]
    fn a_child_hears_its_own_signals_and_none_of_its_parent() {
        assert!(passes_in_child(|| {
            let plan = SignalPlan {
                watch: &[libc::SIGTERM, libc::SIGUSR1],
                default: &[libc::SIGCHLD],
                ..Default::default()
            };
            let _programs_own = block_all();
            let parents = Signals::install(&plan).unwrap();
            send_myself(libc::SIGUSR1);
            let (pid, pidfd) = match fork().unwrap() {
                Forked::Parent { pid, pidfd } => (pid, pidfd),
                Forked::Child { held } => {
                    let passed = child_hears_only_sigterm(held);
                    drop(parents);
                    let still_watched = action_of(libc::SIGTERM) != libc::SIG_DFL;
                    // SAFETY: ends this child at once.
                    unsafe { libc::_exit(i32::from(!(passed && still_watched))) }
                }
            };
            assert!(wait_for(&pidfd, LONG).unwrap());
            assert_eq!(reap(pid).unwrap().unwrap().exit_code(), Some(0));
            assert_eq!(parents.take().collect::<Vec<_>>(), [libc::SIGUSR1]);
        }));
    }

    /// In a child whose parent has a pending SIGUSR1. A signal that comes before the set-up waits.
    fn child_hears_only_sigterm(held: MaskGuard) -> bool {
        send_myself(libc::SIGTERM);
        let watch = [libc::SIGTERM, libc::SIGWINCH];
        let plan = SignalPlan { watch: &watch, ..Default::default() };
        let signals = Signals::in_child(&plan, held).unwrap();
        let taken: Vec<_> = signals.take().collect();
        std::mem::forget(signals);
        let is_open = !is_blocked(libc::SIGWINCH) && is_blocked(libc::SIGINT);
        is_open && taken == [libc::SIGTERM] && action_of(libc::SIGUSR1) == libc::SIG_DFL
    }

    #[test]
    fn an_interrupted_call_keeps_its_errno() {
        assert!(passes_in_child(|| {
            let plan = SignalPlan { watch: &[libc::SIGUSR1], ..Default::default() };
            let signals = Signals::install(&plan).unwrap();
            // A full bell has the handler's own write fail with EAGAIN.
            nix::unistd::write(&signals, &(u64::MAX - 1).to_ne_bytes()).unwrap();
            Errno::set_raw(libc::ENOTTY);
            // SAFETY: runs the handler inside this call.
            assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
            assert_eq!(Errno::last_raw(), libc::ENOTTY);
            assert!(signals.take().contains(libc::SIGUSR1));
        }));
    }
}
