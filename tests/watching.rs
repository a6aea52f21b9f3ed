//! What happens between the server and the event loops of its units, seen from inside: a connection
//! that is ready while it is handed over, a child whose end cannot be watched for.
//!
//! The function that registers with a loop is this test's own. It can fail, and it can take long.

mod common;
mod puppet;

use common::hidden::hidden;
use common::prelude::*;
use common::process::{group_members, live_process, open_descriptors, wait_gone};
use puppet::{ask, connect_to, kill, obey, pid_of};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

/// After so many successes watching a child fails; below 0: it never does.
static COUNTDOWN: AtomicI32 = AtomicI32::new(-1);
/// The process in which it does; below 0: in any other than this.
static PLACE: AtomicI32 = AtomicI32::new(0);
/// Registering takes long in the first thread.
static IS_SLOW: AtomicBool = AtomicBool::new(false);

/// How long registering takes. Nothing tells when others have had their chance to do something
/// wrong meanwhile, since in order they do nothing but wait.
const SLOW: Duration = Duration::from_millis(20);

/// What the library calls to register with a loop.
#[export_name = "epoll_ctl"]
extern "C" fn control(
    epoll: libc::c_int,
    operation: libc::c_int,
    fd: libc::c_int,
    event: *mut libc::epoll_event,
) -> libc::c_int {
    type Control = extern "C" fn(i32, i32, i32, *mut libc::epoll_event) -> i32;
    let child = child_behind(fd).filter(|_| operation == libc::EPOLL_CTL_ADD && is_failing());
    if let Some(pid) = child {
        // The child goes on meanwhile, if it may: a manager would have workers by then.
        std::thread::sleep(SLOW);
        report!("unwatched {pid}");
        // SAFETY: the place of this thread's errno is always valid.
        unsafe { *libc::__errno_location() = libc::ENOSPC };
        return -1;
    }
    // SAFETY: the C library's function has this type.
    let control: Control = unsafe { std::mem::transmute(hidden(b"epoll_ctl\0")) };
    let result = control(epoll, operation, fd, event);
    // SAFETY: gettid takes nothing.
    let is_first = unsafe { libc::gettid() } == own_pid();
    if operation == libc::EPOLL_CTL_ADD && is_first && IS_SLOW.load(Ordering::Relaxed) {
        std::thread::sleep(SLOW);
    }
    result
}

fn own_pid() -> i32 {
    // SAFETY: getpid takes nothing.
    unsafe { libc::getpid() }
}

/// The child of this process of whose end a descriptor tells.
fn child_behind(fd: i32) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    let process = pid.and_then(|pid| live_process(pid.trim().parse().ok()?));
    process.filter(|process| process.parent == own_pid()).map(|process| process.pid)
}

fn is_failing() -> bool {
    let (place, own) = (PLACE.load(Ordering::Relaxed), own_pid());
    let is_here = if place < 0 { own != -place } else { own == place };
    let is_counting = is_here && COUNTDOWN.load(Ordering::Relaxed) >= 0;
    is_counting && COUNTDOWN.fetch_sub(1, Ordering::Relaxed) == 0
}

fn fail(place: i32, countdown: i32) {
    PLACE.store(place, Ordering::Relaxed);
    COUNTDOWN.store(countdown, Ordering::Relaxed);
}

/// Hands connections over slowly.
fn accept_slowly(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    // One that is alone would accept for itself.
    server.set("reactor_num", "2")?;
    server.on("start", |_, _| IS_SLOW.store(true, Ordering::Relaxed))?;
    server.on("receive", obey)?;
    server.start()?;
    Ok(())
}

/// The reactor is told of the first bytes while the acceptor still hands the connection over. They
/// are told of once.
fn the_first_bytes_of_a_connection_that_is_handed_over_are_read(server: &Running) -> Outcome {
    for _ in 0..20 {
        server.connect()?.echo(b"first")?;
    }
    Ok(())
}

/// Where watching a child fails, and which child: each that a server with two workers forks.
fn failures(mode: Mode) -> &'static [(i32, i32)] {
    match mode {
        Mode::Process => &[(1, 0), (-1, 0), (-1, 1)],
        Mode::Base => &[(1, 0), (1, 1)],
        Mode::Thread => &[],
    }
}

fn start_unwatched(setup: &Setup) -> Outcome {
    for (place, countdown) in failures(setup.mode) {
        let before = open_descriptors()?;
        let server = setup.bare_server("127.0.0.1", SW_SOCK_TCP)?;
        server.set("worker_num", "2")?;
        server.on("workerStart", |_, _| report!("begun"))?;
        server.on("receive", obey)?;
        fail(place * own_pid(), *countdown);
        let code = server.start().map_or_else(|error| error.code, |()| 0);
        fail(0, -1);
        drop(server);
        let members = group_members(own_pid())?.len();
        // SAFETY: nobody asks for the status.
        let child = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
        let is_closed = open_descriptors()? == before;
        report!("code {code}, {members} process, child {child}, closed {is_closed}");
    }
    let server = setup.server()?;
    server.on("receive", obey)?;
    server.start()?;
    Ok(())
}

fn nothing_is_left_of_a_child_that_cannot_be_watched(server: &Running) -> Outcome {
    server.connect()?.echo(b"the next one serves")?;
    let lines = server.lines_so_far();
    let told: Vec<&String> = lines.iter().filter(|line| line.starts_with("code ")).collect();
    let wanted = format!("code {}, 1 process, child -1, closed true", libc::ENOSPC);
    assert_eq!(told, vec![&wanted; failures(server.mode()).len()]);
    if server.mode() == Mode::Process {
        // The first that is not watched is the manager. Its workers would be nobody's children.
        assert_eq!(lines.iter().find(|line| *line == "begun" || *line == &wanted), Some(&wanted));
    }
    Ok(())
}

/// Whoever watches the workers cannot watch the successor of the first that is killed.
fn follow_unwatched(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("receive", obey)?;
    server.on("workerStart", |_, event| {
        report!("worker {} {}", event.worker().worker_id, event.worker().worker_pid);
    })?;
    server.on("workerError", |_, event| {
        report!("signal {}", event.error().signal);
        fail(own_pid(), 0);
    })?;
    server.start()?;
    Ok(())
}

fn a_successor_that_cannot_be_watched_is_ended_and_another_one_started(
    server: &Running,
) -> Outcome {
    let first = pid_of(server, 1, 1)?;
    server.wait_line(|line| line == "ready", STEP)?;
    let count = server.descendants()?.len();
    kill(first)?;
    let unwatched = server.wait_line(|line| line.starts_with("unwatched "), STEP)?;
    let unwatched = puppet::number(unwatched.trim_start_matches("unwatched "));
    assert!(wait_gone(unwatched, STEP)?, "it lives on");
    let (mut client, fd) = connect_to(server, 1)?;
    let who = ask(&mut client, "who")?;
    let is_new = |pid: i32| who == format!("1 {pid} {fd}") && pid != first;
    let left = server.descendants()?;
    assert!(left.iter().any(|process| is_new(process.pid)), "{who} of {left:?}");
    assert_eq!(left.len(), count, "{left:?}");
    assert!(server.log().contains("could not be started again"), "{}", server.log());
    // The one that was ended is no worker that has failed.
    assert_eq!(server.lines_so_far().iter().filter(|line| *line == "signal 9").count(), 1);
    Ok(())
}

server_tests! {
    // Elsewhere who accepts is the reactor.
    the_first_bytes_of_a_connection_that_is_handed_over_are_read: accept_slowly,
        in [Mode::Process, Mode::Thread];
    // Threads are not watched this way.
    nothing_is_left_of_a_child_that_cannot_be_watched: start_unwatched,
        in [Mode::Process, Mode::Base];
    a_successor_that_cannot_be_watched_is_ended_and_another_one_started: follow_unwatched,
        in [Mode::Process, Mode::Base];
}
