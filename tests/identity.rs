//! As whom and where a server runs: user, group, root folder, processors; and that the program is
//! left as it was.
//!
//! Much of it can only be seen by root. Who runs the tests as somebody else is told what is left
//! out, and sees that the settings are ignored with a warning.

mod common;

#[path = "identity/guest.rs"]
mod guest;
#[path = "identity/processors.rs"]
mod processors;

use common::prelude::*;
use common::process;
use guest::*;
use processors::*;
use std::fs;

pub type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const FORKING: [Mode; 2] = [Mode::Process, Mode::Base];
/// The user and the group that nobody else uses, as every distribution has them.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    // SAFETY: takes nothing.
    unsafe { libc::geteuid() == 0 }
}

/// Says what cannot be tested here.
fn needs_root(what: &str) -> bool {
    if !is_root() {
        eprintln!("not root: {what} is not tested");
    }
    is_root()
}

/// The name of the group with the number of [`NOBODY`].
fn group_name() -> String {
    // SAFETY: a number is handed in.
    let entry = unsafe { libc::getgrgid(NOBODY) };
    if entry.is_null() {
        return "no group has this number".to_owned();
    }
    // SAFETY: the entry is valid until the next such call, and its name ends with a NUL.
    unsafe { std::ffi::CStr::from_ptr((*entry).gr_name) }.to_string_lossy().into_owned()
}

/// User, group, other groups, working directory, and whether the marker of the new root is seen.
fn who() -> String {
    let mut groups = [0; 64];
    // SAFETY: the array has the length that is told.
    let count = unsafe { libc::getgroups(64, groups.as_mut_ptr()) };
    let groups = &groups[..usize::try_from(count).unwrap_or(0)];
    // SAFETY: they take nothing.
    let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
    let folder = std::env::current_dir().map_or("?".into(), |path| path.display().to_string());
    let is_jailed = fs::metadata("/marker").is_ok();
    format!("{user} {group} {groups:?} in {folder}, jailed {is_jailed}")
}

/// An echo server that reports as whom each of its processes runs.
fn serve(setup: &Setup, workers: &str, settings: &[(&str, &str)]) -> Outcome {
    let server = setup.server()?;
    server.set("worker_num", workers)?;
    for (name, value) in settings {
        server.set(name, value)?;
    }
    server.on("workerStart", |_, event| {
        let worker = event.worker();
        report!("worker {} {}: {}", worker.worker_id, worker.worker_pid, who());
    })?;
    server.on("managerStart", |_, _| report!("manager {}: {}", std::process::id(), who()))?;
    server.on("receive", |server, event| match event.data() {
        b"stuck" => loop {
            report!("stuck");
            std::thread::park();
        },
        bytes => report!("sent {}", server.send(event.fd(), bytes).is_ok()),
    })?;
    server.start()?;
    report!("returned: {}", who());
    Ok(())
}

/// The pid and the identity of a process of this name, in its life of this number, from 1.
fn identity(server: &Running, name: &str, life: usize) -> Fallible<(i32, String)> {
    let start = format!("{name} ");
    let lines = server.wait_lines(life, |line| line.starts_with(&start), STEP)?;
    let rest = lines[life - 1].strip_prefix(&start).ok_or("no identity")?;
    let (pid, identity) = rest.split_once(": ").ok_or("no pid")?;
    Ok((pid.parse()?, identity.to_owned()))
}

fn as_nobody(setup: &Setup) -> Outcome {
    serve(setup, "2", &[("user", "nobody"), ("group", &group_name())])
}

fn workers_are_the_user_before_their_start_event(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    let nobody = format!("{NOBODY} {NOBODY} [{NOBODY}] ");
    let has_changed = needs_root("the change of user and group");
    for worker in ["worker 0", "worker 1"] {
        let (pid, who) = identity(server, worker, 1)?;
        assert!(who.starts_with(&nobody) || !has_changed, "{worker}: {who}");
        // The successor is the same person.
        process::send_signal(pid, libc::SIGKILL)?;
        let (_, who) = identity(server, worker, 2)?;
        assert!(who.starts_with(&nobody) || !has_changed, "{worker} again: {who}");
    }
    server.connect()?.echo(b"again")?;
    let (manager, who) = identity(server, "manager", 1)?;
    let is_changed = who.starts_with(&nobody);
    assert_eq!(is_changed, has_changed && server.mode() == Mode::Process, "manager: {who}");
    assert_eq!(manager == server.pid(), server.mode() == Mode::Base);
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    let line = server.wait_line(|line| line.starts_with("returned: "), STEP)?;
    assert!(!line.contains(&NOBODY.to_string()) || !has_changed, "{line}");
    Ok(())
}

/// The kernel forgets the order to end with the parent when the user changes.
fn who_has_changed_still_ends_with_the_root(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.send(b"stuck")?;
    server.wait_line(|line| line == "stuck", STEP)?;
    server.signal(libc::SIGKILL)?;
    assert!(!server.wait_exit(STEP)?.success());
    Ok(())
}

fn user_alone(setup: &Setup) -> Outcome {
    serve(setup, "1", &[("user", "nobody")])
}

fn a_user_brings_its_own_group(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    let (_, who) = identity(server, "worker 0", 1)?;
    let has_changed = needs_root("the change of the user alone");
    assert!(who.starts_with(&format!("{NOBODY} {NOBODY} [")) || !has_changed, "{who}");
    Ok(())
}

fn unknown_names(setup: &Setup) -> Outcome {
    serve(setup, "2", &[("user", "no such user"), ("group", "no such group")])
}

fn unknown_names_are_warned_of_once_and_ignored(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    for worker in ["worker 0", "worker 1"] {
        let (_, who) = identity(server, worker, 1)?;
        // SAFETY: takes nothing.
        assert!(who.starts_with(&format!("{} ", unsafe { libc::getuid() })), "{who}");
    }
    let log = server.log();
    let warnings = if is_root() && server.mode() != Mode::Thread {
        ["user \"no such user\" is ignored", "group \"no such group\" is ignored"]
    } else {
        ["user, group and chroot are ignored"; 2]
    };
    for warning in warnings {
        assert_eq!(log.matches(warning).count(), 1, "{warning}");
    }
    Ok(())
}

fn not_as_root(setup: &Setup) -> Outcome {
    // SAFETY: takes a number. Who is not root is that user, or is not allowed to and need not.
    unsafe { libc::setuid(NOBODY) };
    serve(setup, "2", &[("user", "root"), ("group", "root"), ("chroot", "/")])
}

fn who_is_not_root_is_warned_once_and_served(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    for worker in ["worker 0", "worker 1"] {
        let (_, who) = identity(server, worker, 1)?;
        assert!(!who.starts_with("0 "), "{who}");
    }
    assert_eq!(server.log().matches("user, group and chroot are ignored").count(), 1);
    Ok(())
}

/// The new root is named by a relative path.
fn in_a_jail(setup: &Setup) -> Outcome {
    let folder = std::env::temp_dir();
    fs::create_dir(folder.join("jail"))?;
    fs::write(folder.join("jail/marker"), "")?;
    std::env::set_current_dir(&folder)?;
    let user = [("chroot", "jail"), ("user", "nobody")];
    let result = serve(setup, "2", if setup.mode == Mode::Base { &user[..1] } else { &user });
    fs::remove_dir_all(folder.join("jail"))?;
    result
}

fn workers_and_their_successors_live_in_the_new_root(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    if !needs_root("the change of the root folder") {
        return Ok(());
    }
    for worker in ["worker 0", "worker 1"] {
        let (pid, who) = identity(server, worker, 1)?;
        assert!(who.ends_with(" in /, jailed true"), "{who}");
        // The manager has no /proc any more in which it could count its threads.
        process::send_signal(pid, libc::SIGKILL)?;
        let (_, who) = identity(server, worker, 2)?;
        assert!(who.ends_with(" in /, jailed true"), "{who}");
    }
    server.connect()?.echo(b"again")?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    let line = server.wait_line(|line| line.starts_with("returned: "), STEP)?;
    assert!(line.ends_with("jailed false"), "{line}");
    Ok(())
}

fn in_no_jail(setup: &Setup) -> Outcome {
    serve(setup, "2", &[("chroot", "/nowhere/at/all"), ("user", "nobody")])
}

fn a_root_that_is_not_there_is_warned_of(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    let (_, who) = identity(server, "worker 0", 1)?;
    if needs_root("a root folder that is missing") {
        assert!(who.starts_with(&format!("{NOBODY} ")), "{who}");
        assert!(server.log().contains("setting chroot could not be put into force"));
    }
    Ok(())
}

fn with_admin_server(setup: &Setup) -> Outcome {
    serve(setup, "1", &[("admin_server", "127.0.0.1:9502")])
}

fn the_admin_server_is_refused_with_a_warning(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    let log = server.log();
    assert!(log.contains("admin_server is not offered") && !log.contains("unsupported"), "{log}");
    Ok(())
}

server_tests! {
    workers_are_the_user_before_their_start_event: as_nobody, in FORKING;
    who_has_changed_still_ends_with_the_root: as_nobody, in FORKING;
    a_user_brings_its_own_group: user_alone, in FORKING;
    unknown_names_are_warned_of_once_and_ignored: unknown_names;
    who_is_not_root_is_warned_once_and_served: not_as_root;
    workers_and_their_successors_live_in_the_new_root: in_a_jail, in FORKING;
    a_root_that_is_not_there_is_warned_of: in_no_jail, in FORKING;
    the_admin_server_is_refused_with_a_warning: with_admin_server;
    each_worker_and_reactor_keeps_to_its_processor: on_processors;
    a_server_alone_gives_the_processors_back: alone_on_a_processor, in [Mode::Base];
    processors_that_are_left_to_others_are_not_used: on_some_processors;
    the_program_is_left_as_it_was: leave_all_as_it_was;
    [plain] ignored_processors_are_given_as_text_number_or_list;
}
