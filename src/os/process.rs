//! Processes: fork, watch, signal, reap, end.
//!
//! This is the one place that forks. Only a process with a single thread may, because a lock that
//! another thread holds at that moment would stay locked in the child for ever.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::resource::{getrlimit, Resource};

use super::signal::{self, MaskGuard};
use super::{checked, retried};

pub use super::cpu::cpu_count;

/// The number of a process, as the system knows it.
pub type Pid = i32;

/// The largest descriptor number that is ever planned with.
pub const MAX_DESCRIPTORS: usize = 1_048_576;

/// The `errno` of [`fork`] in a process with several threads.
pub const HAS_THREADS: i32 = libc::EDEADLK;

/// How long a thread that was joined may stay in the system's list before it counts as running.
const THREAD_END_LIMIT: Duration = Duration::from_millis(50);
const THREAD_END_STEP: Duration = Duration::from_millis(1);

/// The two sides of a fork.
#[derive(Debug)]
pub enum Forked {
    /// In the parent: the child's number, and the descriptor that becomes readable when it ends.
    Parent { pid: Pid, pidfd: OwnedFd },
    /// In the child: all signals are blocked as long as `held` lives. Hand it to
    /// [`signal::Signals::in_child`], so that none arrives before its handler is there.
    Child { held: MaskGuard },
}

/// Forks the calling process, which must have one thread only: otherwise EDEADLK.
pub fn fork() -> io::Result<Forked> {
    fork_beside(0)
}

/// Forks the calling process while it has so many other threads, all of which the caller has parked
/// where they hold no lock. EDEADLK if there are more. The child has the calling thread alone.
///
/// The buffers of C's stdio are written first, or both sides would write them. The child must not
/// return into the caller's stack: it does its work and ends by [`exit`].
pub fn fork_beside(parked: usize) -> io::Result<Forked> {
    if !has_threads(1 + parked)? {
        return Err(Errno::EDEADLK.into());
    }
    // SAFETY: a null stream means all streams; no other thread runs that could use one.
    unsafe { libc::fflush(std::ptr::null_mut()) };
    let held = signal::block_all();
    // SAFETY: no other thread runs, so the child inherits no lock that is held elsewhere.
    let pid = checked(unsafe { libc::fork() })?;
    if pid == 0 {
        forget_threads();
        return Ok(Forked::Child { held });
    }
    match open_pidfd(pid) {
        Ok(pidfd) => Ok(Forked::Parent { pid, pidfd }),
        Err(cause) => {
            abandon(pid);
            Err(cause)
        }
    }
}

/// Takes back a child that cannot be watched. Its signals are blocked, so it has done nothing yet
/// that anybody could miss.
fn abandon(pid: Pid) {
    // SAFETY: plain system call; `pid` is our own child and not reaped.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let mut raw = 0;
    // SAFETY: `raw` outlives the call. That it fails means that nothing is left to reap.
    while unsafe { libc::waitpid(pid, &mut raw, 0) } == -1 && Errno::last() == Errno::EINTR {}
}

/// Whether there are no more threads than these. One that was just joined stays listed for a moment
/// until the kernel has put it away, and is waited for.
fn has_threads(most: usize) -> io::Result<bool> {
    let started = Instant::now();
    while thread_count()? > most {
        if started.elapsed() >= THREAD_END_LIMIT {
            return Ok(false);
        }
        thread::sleep(THREAD_END_STEP);
    }
    Ok(true)
}

/// Ends this process at once: no exit handler, no buffer, nothing of the program's.
pub fn exit_at_once(code: i32) -> ! {
    // SAFETY: ends the process, so nothing can be left in a bad state.
    unsafe { libc::_exit(code) }
}

/// In a forked child: closes a descriptor that belongs to the parent, whose owner will never be
/// dropped here.
pub fn close_descriptor(fd: RawFd) {
    // SAFETY: closing is sound for any number; the caller says that nobody here uses it.
    unsafe { libc::close(fd) };
}

/// The descriptors that are open in this process now.
pub fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let mut open: Vec<RawFd> = fs::read_dir("/proc/self/fd")?.filter_map(number).collect();
    // Reading the folder has opened one itself.
    open.retain(|fd| fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok());
    Ok(open)
}
/// The folder of the threads of this process, opened when `/proc` was about to go out of sight;
/// -1 as long as it has not.
static THREADS: AtomicI32 = AtomicI32::new(NO_FOLDER);
const NO_FOLDER: RawFd = -1;
const THREAD_FOLDER: &str = "/proc/self/task";
/// A folder has a link for its name, one for itself, and here one for each thread.
const OWN_LINKS: u64 = 2;

/// The number of threads of this process.
pub fn thread_count() -> io::Result<usize> {
    match THREADS.load(Ordering::Relaxed) {
        NO_FOLDER => Ok(fs::read_dir(THREAD_FOLDER)?.count()),
        folder => {
            let links = nix::sys::stat::fstat(folder)?.st_nlink;
            Ok(usize::try_from(links.saturating_sub(OWN_LINKS)).unwrap_or(usize::MAX))
        }
    }
}

/// Has threads be counted, and so this process fork, where there is no `/proc` any more: before the
/// root of the file system changes.
pub(super) fn keep_counting_threads() -> io::Result<()> {
    if THREADS.load(Ordering::Relaxed) == NO_FOLDER {
        THREADS.store(fs::File::open(THREAD_FOLDER)?.into_raw_fd(), Ordering::Relaxed);
    }
    Ok(())
}

/// In a forked child: the folder is that of the parent.
fn forget_threads() {
    match THREADS.swap(NO_FOLDER, Ordering::Relaxed) {
        NO_FOLDER => {}
        folder => close_descriptor(folder),
    }
}

/// Goes on in a child that has a session of its own and stands in `/`; the calling process ends
/// with 0 at once, and what it would do at its exit is left to the child. EDEADLK in a process with
/// several threads, which would be lost.
pub fn leave_foreground() -> io::Result<()> {
    match fork()? {
        Forked::Parent { .. } => exit_at_once(0),
        Forked::Child { held } => drop(held),
    }
    nix::unistd::setsid()?;
    Ok(nix::unistd::chdir("/")?)
}

/// Ends the process as the program itself would: exit handlers run, buffers are written.
pub fn exit(code: i32) -> ! {
    // SAFETY: exit never returns; the handlers it runs are the program's own.
    unsafe { libc::exit(code) }
}

/// The number of this process.
pub fn pid() -> Pid {
    nix::unistd::getpid().as_raw()
}

/// The number of the parent of this process; another one once the parent has died.
pub fn parent_pid() -> Pid {
    nix::unistd::getppid().as_raw()
}

/// The system's number of this thread.
pub fn thread_id() -> Pid {
    nix::unistd::gettid().as_raw()
}

/// Sends a signal to one process; signal 0 only asks whether it exists. A number below 1 would mean
/// a group, or everybody, and is refused with EINVAL.
pub fn kill(pid: Pid, signal: i32) -> io::Result<()> {
    one_process(pid)?;
    // SAFETY: plain system call.
    checked(unsafe { libc::kill(pid, signal) }).map(drop)
}

fn one_process(pid: Pid) -> io::Result<()> {
    if pid < 1 {
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// A descriptor that becomes readable when the process ends.
pub fn open_pidfd(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: plain system call with the arguments it wants; close-on-exec is its default.
    let fd = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })? as RawFd;
    // SAFETY: the call has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// As [`open_pidfd`]; `None` if there is no such process (any more).
pub fn find_pidfd(pid: Pid) -> io::Result<Option<OwnedFd>> {
    match open_pidfd(pid) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(error) if pid < 1 || error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits until the process behind `pidfd` has ended, at most `timeout`, for ever without one.
/// `false` means that it still runs.
pub fn wait_for(pidfd: &impl AsFd, timeout: Option<Duration>) -> io::Result<bool> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let fd = pidfd.as_fd().as_raw_fd();
    loop {
        let mut watched = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let left_ms = deadline.map_or(-1, poll_ms_until);
        // SAFETY: one entry, which outlives the call.
        match Errno::result(unsafe { libc::poll(&mut watched, 1, left_ms) }) {
            Ok(0) if left_ms == 0 => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) if watched.revents & libc::POLLNVAL != 0 => return Err(Errno::EBADF.into()),
            Ok(_) => return Ok(true),
            Err(cause) => return Err(cause.into()),
        }
    }
}

/// Milliseconds until `deadline` for poll: rounded up, so that 0 means it has passed.
fn poll_ms_until(deadline: Instant) -> i32 {
    let left = deadline.saturating_duration_since(Instant::now());
    i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus {
    /// The status word of `waitpid`.
    pub raw: i32,
}

impl ExitStatus {
    /// The code it exited with, `None` if a signal ended it.
    pub fn exit_code(self) -> Option<i32> {
        libc::WIFEXITED(self.raw).then(|| libc::WEXITSTATUS(self.raw))
    }

    /// The signal that ended it, `None` if it exited.
    pub fn signal(self) -> Option<i32> {
        libc::WIFSIGNALED(self.raw).then(|| libc::WTERMSIG(self.raw))
    }
}

/// Takes the status of a child that has ended, `None` if it still runs. Never waits, and touches no
/// other child: those of the host program are not ours.
pub fn reap(pid: Pid) -> io::Result<Option<ExitStatus>> {
    one_process(pid)?;
    let mut raw = 0;
    // SAFETY: `raw` outlives the call.
    let ended = retried(|| unsafe { libc::waitpid(pid, &mut raw, libc::WNOHANG) })?;
    Ok((ended != 0).then_some(ExitStatus { raw }))
}

/// Has the kernel send `signal` to this process when the thread that forked it ends. `parent` is
/// who forked it: ESRCH says that it was gone before the kernel could take the order.
pub fn die_with_parent(signal: i32, parent: Pid) -> io::Result<()> {
    let signal = libc::c_ulong::try_from(signal).map_err(|_| Errno::EINVAL)?;
    // SAFETY: plain system call; the unused arguments are zero.
    checked(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) })?;
    if parent_pid() != parent {
        return Err(Errno::ESRCH.into());
    }
    Ok(())
}

/// The stack that the system gives the first thread of a program, in bytes; `None` if unlimited.
pub fn stack_limit() -> Option<usize> {
    let (soft, _) = getrlimit(Resource::RLIMIT_STACK).ok()?;
    usize::try_from(soft).ok().filter(|_| soft != libc::RLIM_INFINITY)
}

/// How many descriptors this process may have open, at most [`MAX_DESCRIPTORS`].
pub fn descriptor_limit() -> usize {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) => usize::try_from(soft).unwrap_or(MAX_DESCRIPTORS).min(MAX_DESCRIPTORS),
        // It fails for a bad address or a bad resource only.
        Err(_) => MAX_DESCRIPTORS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::eventfd::EventFd;
    use crate::os::testing::passes_in_child;

    const LONG: Option<Duration> = Some(Duration::from_secs(10));

    /// Forks a child that runs `body` and ends with the code it returns.
    fn child_of(body: impl FnOnce() -> i32) -> (Pid, OwnedFd) {
        match fork().unwrap() {
            Forked::Parent { pid, pidfd } => (pid, pidfd),
            // SAFETY: ends this child at once.
            Forked::Child { .. } => unsafe { libc::_exit(body()) },
        }
    }

    #[test]
    fn a_process_with_threads_is_refused_a_fork() {
        let (keep, ended) = std::sync::mpsc::channel::<()>();
        let other = thread::spawn(move || ended.recv());
        assert_eq!(fork().unwrap_err().raw_os_error(), Some(libc::EDEADLK));
        drop(keep);
        assert!(other.join().unwrap().is_err());
    }

    #[test]
    fn a_fork_right_after_a_join_is_not_refused() {
        assert!(passes_in_child(|| {
            for _ in 0..20 {
                thread::spawn(|| ()).join().unwrap();
                let (pid, pidfd) = child_of(|| 0);
                assert!(wait_for(&pidfd, LONG).unwrap());
                reap(pid).unwrap().unwrap();
            }
        }));
    }

    #[test]
    fn threads_are_counted_where_there_is_no_proc() {
        assert!(passes_in_child(|| {
            keep_counting_threads().unwrap();
            keep_counting_threads().unwrap();
            assert_eq!(thread_count().unwrap(), 1);
            let (keep, ended) = std::sync::mpsc::channel::<()>();
            let other = thread::spawn(move || ended.recv());
            assert_eq!(thread_count().unwrap(), 2);
            assert_eq!(fork().unwrap_err().raw_os_error(), Some(libc::EDEADLK));
            drop(keep);
            assert!(other.join().unwrap().is_err());
            let (pid, pidfd) = child_of(|| i32::from(thread_count().unwrap() != 1));
            assert!(wait_for(&pidfd, LONG).unwrap());
            assert_eq!(reap(pid).unwrap().unwrap().exit_code(), Some(0));
        }));
    }

    #[test]
    fn who_leaves_the_foreground_ends_with_0_and_goes_on_in_a_session_of_its_own() {
        assert!(passes_in_child(|| {
            let (read, write) = nix::unistd::pipe().unwrap();
            let (starter, starter_fd) = child_of(|| {
                leave_foreground().unwrap();
                let is_leader = nix::unistd::getsid(None).unwrap().as_raw() == pid();
                let is_at_root = std::env::current_dir().unwrap() == std::path::Path::new("/");
                nix::unistd::write(&write, &[u8::from(is_leader && is_at_root)]).unwrap();
                9
            });
            assert!(wait_for(&starter_fd, LONG).unwrap());
            assert_eq!(reap(starter).unwrap().unwrap().exit_code(), Some(0));
            let mut answer = [7];
            assert_eq!(nix::unistd::read(read.as_raw_fd(), &mut answer).unwrap(), 1);
            assert_eq!(answer, [1]);
        }));
    }

    #[test]
    fn a_process_is_found_until_it_is_reaped() {
        assert!(passes_in_child(|| {
            let (pid, pidfd) = child_of(|| 0);
            assert!(find_pidfd(pid).unwrap().is_some());
            assert!(wait_for(&pidfd, LONG).unwrap());
            reap(pid).unwrap().unwrap();
            assert!(find_pidfd(pid).unwrap().is_none());
            assert!(find_pidfd(0).unwrap().is_none() && find_pidfd(-1).unwrap().is_none());
        }));
    }

    #[test]
    fn the_exit_code_of_a_child_reaches_the_parent() {
        assert!(passes_in_child(|| {
            let parent = pid();
            let (child, pidfd) = child_of(|| if parent_pid() == parent { 7 } else { 8 });
            assert!(wait_for(&pidfd, LONG).unwrap());
            let status = reap(child).unwrap().unwrap();
            assert_eq!((status.exit_code(), status.signal()), (Some(7), None));
            assert_eq!(reap(child).unwrap_err().raw_os_error(), Some(libc::ECHILD));
        }));
    }

    #[test]
    fn a_running_child_is_not_reaped_and_a_killed_one_tells_its_signal() {
        assert!(passes_in_child(|| {
            let (child, pidfd) = child_of(|| loop {
                thread::park();
            });
            assert!(!wait_for(&pidfd, Some(Duration::from_millis(1))).unwrap());
            assert_eq!(reap(child).unwrap(), None);
            kill(child, libc::SIGKILL).unwrap();
            assert!(wait_for(&pidfd, None).unwrap());
            let status = reap(child).unwrap().unwrap();
            assert_eq!((status.exit_code(), status.signal()), (None, Some(libc::SIGKILL)));
        }));
    }

    #[test]
    fn a_child_is_deaf_to_signals_until_it_gives_the_mask_back() {
        assert!(passes_in_child(|| {
            let ready = EventFd::new().unwrap();
            let (child, pidfd) = match fork().unwrap() {
                Forked::Parent { pid, pidfd } => (pid, pidfd),
                Forked::Child { held } => {
                    kill(pid(), libc::SIGTERM).unwrap();
                    ready.ring();
                    drop(held);
                    // SAFETY: ends this child at once; the signal should have done so before.
                    unsafe { libc::_exit(3) }
                }
            };
            assert!(wait_for(&pidfd, LONG).unwrap());
            assert_eq!(reap(child).unwrap().unwrap().signal(), Some(libc::SIGTERM));
            assert!(ready.clear(), "the signal struck while it was blocked");
        }));
    }

    #[test]
    fn numbers_that_mean_a_group_are_refused() {
        for pid in [0, -1, -5, i32::MIN] {
            assert_eq!(kill(pid, 0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
            assert_eq!(reap(pid).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        }
    }

    #[test]
    fn a_child_dies_with_its_parent() {
        assert!(passes_in_child(|| {
            let ready = EventFd::new().unwrap();
            // SAFETY: makes the orphan below a child of this process, so that it can be watched.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }, 0);
            let (read, write) = nix::unistd::pipe().unwrap();
            let (middle, middle_fd) = child_of(|| {
                let parent = pid();
                let (orphan, _) = child_of(|| {
                    die_with_parent(libc::SIGKILL, parent).unwrap();
                    ready.ring();
                    loop {
                        thread::park();
                    }
                });
                wait_until_rung(&ready);
                nix::unistd::write(&write, &orphan.to_ne_bytes()).unwrap();
                0
            });
            let mut bytes = [0; 4];
            assert_eq!(nix::unistd::read(read.as_raw_fd(), &mut bytes).unwrap(), 4);
            let orphan = Pid::from_ne_bytes(bytes);
            assert!(wait_for(&middle_fd, LONG).unwrap());
            reap(middle).unwrap().unwrap();
            let orphan_fd = open_pidfd(orphan).unwrap();
            assert!(wait_for(&orphan_fd, LONG).unwrap());
            assert_eq!(reap(orphan).unwrap().unwrap().signal(), Some(libc::SIGKILL));
        }));
    }

    /// Blocks until the bell is rung: a pidfd and an eventfd are waited for in the same way.
    fn wait_until_rung(bell: &EventFd) {
        assert!(wait_for(bell, LONG).unwrap());
    }

    #[test]
    fn a_parent_that_is_gone_already_is_noticed() {
        assert!(passes_in_child(|| {
            let error = die_with_parent(libc::SIGKILL, pid()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
        }));
    }

    #[test]
    fn the_descriptor_limit_is_the_soft_limit() {
        assert!(passes_in_child(|| {
            nix::sys::resource::setrlimit(Resource::RLIMIT_NOFILE, 123, 123).unwrap();
            assert_eq!(descriptor_limit(), 123);
        }));
        assert!(descriptor_limit() <= MAX_DESCRIPTORS);
    }

    #[test]
    fn stdio_is_written_before_the_fork_and_only_once() {
        assert!(passes_in_child(|| {
            let (read, write) = nix::unistd::pipe().unwrap();
            // SAFETY: the descriptor is open and the mode a C string.
            let stream = unsafe { libc::fdopen(write.as_raw_fd(), "w\0".as_ptr().cast()) };
            assert!(!stream.is_null());
            // SAFETY: a stream that is open and a C string.
            assert!(unsafe { libc::fputs("once\0".as_ptr().cast(), stream) } >= 0);
            let (child, pidfd) = match fork().unwrap() {
                Forked::Parent { pid, pidfd } => (pid, pidfd),
                Forked::Child { .. } => {
                    // SAFETY: the child's own copy of the stream; then it ends.
                    unsafe { libc::fflush(stream) };
                    // SAFETY: ends this child at once.
                    unsafe { libc::_exit(0) }
                }
            };
            assert!(wait_for(&pidfd, LONG).unwrap());
            reap(child).unwrap().unwrap();
            // SAFETY: this side's copy of the stream.
            assert_eq!(unsafe { libc::fflush(stream) }, 0);
            let mut bytes = [0; 64];
            assert_eq!(nix::unistd::read(read.as_raw_fd(), &mut bytes).unwrap(), 4);
        }));
    }
}
