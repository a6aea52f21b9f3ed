//! A server with a callback for every event, one of which gets into trouble, once.
//!
//! It reports `EVENT PID` for each event that comes, and what the puppet does. Of the events of
//! workers only those of worker 1 get into trouble, and of those of connections only what follows
//! the order `!trouble` in the same worker.

use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::common::Case;
use crate::puppet::life::{manager_pid, wait_for_lines};
use crate::puppet::{self, ask, connect_to, hold_worker, kill, number, pid_of};
use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::Duration;

pub type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What a callback does instead of returning.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)] // Each of the two is the subject of a test of its own.
pub enum Trouble {
    Abort,
    Stay,
}

/// Nothing outlives the process that called start for longer.
pub const ORPHANED: Duration = Duration::from_secs(1);
/// How long to wait before the next attempt to get a connection to a worker.
const RETRY: Duration = Duration::from_millis(20);
const ATTEMPTS: usize = 100;

thread_local! {
    /// The next event of a connection may get into trouble.
    static IS_ARMED: Cell<bool> = const { Cell::new(false) };
}

/// The event that gets into trouble, how, and whether it has already: whoever reads the one byte.
static PLAN: OnceLock<(&str, Trouble, UnixStream, UnixStream)> = OnceLock::new();

pub const EVENTS: [&str; 14] = [
    "start",
    "beforeShutdown",
    "shutdown",
    "managerStart",
    "managerStop",
    "beforeReload",
    "afterReload",
    "workerStart",
    "workerStop",
    "workerExit",
    "workerError",
    "connect",
    "receive",
    "close",
];

/// One case: the event, what happens, the client that sees it, the modes.
pub const fn case(
    name: &'static str,
    server: fn(&Setup) -> Outcome,
    client: fn(&Running) -> Outcome,
    modes: &'static [Mode],
) -> Case {
    Case { name, server, client, modes }
}

/// Cases of one kind of trouble: for each event what becomes of the server, and who looks.
#[macro_export]
macro_rules! trouble_cases {
    ($trouble:ident, $prefix:literal, in $modes:expr;
     $($event:literal, $outcome:literal: $client:expr;)*) => {
        &[$($crate::trouble::case(
            concat!($prefix, $event, $outcome),
            |setup| $crate::trouble::serve(setup, $event, $crate::trouble::Trouble::$trouble),
            |server| $client(server, $event),
            $modes,
        )),*]
    };
}

/// Runs the server.
pub fn serve(setup: &Setup, event: &'static str, trouble: Trouble) -> Outcome {
    let (mut giver, taker) = UnixStream::pair()?;
    giver.write_all(&[0])?;
    taker.set_nonblocking(true)?;
    assert!(PLAN.set((event, trouble, giver, taker)).is_ok(), "one server in a process");
    let server = setup.server()?;
    server.set("max_wait_time", "1")?;
    for name in EVENTS {
        server.on(name, happen)?;
    }
    puppet::run(&server)
}

fn happen(server: Handle, event: &Event) {
    let name = EVENTS[event.kind() as usize - 1];
    report!("{name} {}", std::process::id());
    tell(name, event);
    get_into_trouble(name, event);
    match name {
        "receive" if event.data() == b"!trouble" => {
            IS_ARMED.with(|is_armed| is_armed.set(true));
            puppet::answer(server, event.fd(), b"armed\n");
        }
        "receive" => puppet::obey(server, event),
        _ => {}
    }
}

/// As the puppet does, for those that look for its lines.
fn tell(name: &str, event: &Event) {
    match name {
        "workerStart" => {
            report!("worker {} {}", event.worker().worker_id, event.worker().worker_pid);
        }
        "workerStop" => report!("stop {} {}", event.worker().worker_id, event.worker().worker_pid),
        "workerError" => {
            let told = event.error();
            let (worker, pid) = (told.worker_id, told.worker_pid);
            report!("error {worker} {pid} code {} signal {}", told.exit_code, told.signal);
        }
        "managerStart" => report!("manager {}", std::process::id()),
        _ => {}
    }
}

fn get_into_trouble(name: &str, event: &Event) {
    let Some((planned, trouble, _, taker)) = PLAN.get() else { return };
    let is_meant = match name {
        "workerStart" | "workerStop" | "workerExit" => event.worker().worker_id == 1,
        "connect" | "receive" | "close" => IS_ARMED.with(Cell::get),
        _ => true,
    };
    let mut taker: &UnixStream = taker;
    if name != *planned || !is_meant || !matches!(taker.read(&mut [0]), Ok(1)) {
        return;
    }
    report!("trouble {}", std::process::id());
    match trouble {
        Trouble::Abort => std::process::abort(),
        Trouble::Stay => loop {
            std::thread::park();
        },
    }
}

/// Waits for the trouble: the process that is in it.
pub fn wait_for_trouble(server: &Running) -> Fallible<i32> {
    let line = server.wait_line(|line| line.starts_with("trouble "), STEP)?;
    Ok(number(line.trim_start_matches("trouble ")))
}

/// Waits until everybody has started.
pub fn wait_until_up(server: &Running) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    manager_pid(server)?;
    wait_for_lines(server, 2, "worker ")?;
    Ok(())
}

/// The clients that were there when the trouble came.
#[derive(Default)]
pub struct Scene {
    /// Connected to worker 0, which is never in trouble, but where it stands for the master.
    pub control: Option<Client>,
    /// Connected to worker 1, in the end.
    pub clients: Vec<Client>,
}

/// Makes this event come, once the server is up, and waits until it has brought trouble.
pub fn provoke(server: &Running, event: &str) -> Fallible<Scene> {
    let mut scene = Scene::default();
    if !["start", "managerStart", "workerStart"].contains(&event) {
        wait_until_up(server)?;
        scene.control = Some(connect_to(server, 0)?.0);
        scene.clients.push(connect_to(server, 1)?.0);
        bring_about(server, event, &mut scene.clients)?;
    }
    wait_for_trouble(server)?;
    Ok(scene)
}

fn bring_about(server: &Running, event: &str, clients: &mut Vec<Client>) -> Outcome {
    let client = &mut clients[0];
    match event {
        "beforeShutdown" | "shutdown" | "managerStop" => server.signal(libc::SIGTERM)?,
        "beforeReload" | "afterReload" => server.signal(libc::SIGUSR1)?,
        "workerStop" => stop_worker(server)?,
        "workerExit" => {
            assert_eq!(ask(client, "tick 3600000")?, "true");
            stop_worker(server)?;
        }
        "workerError" => kill(pid_of(server, 1, 1)?)?,
        "connect" => {
            // Where workers accept themselves, one that is held leaves the next to worker 1.
            let mut other = connect_to(server, 0)?.0;
            let _held = hold_worker(&mut other)?;
            assert_eq!(ask(client, "trouble")?, "armed");
            connect_until_trouble(server, clients)?;
        }
        "receive" => {
            assert_eq!(ask(client, "trouble")?, "armed");
            client.send(b"lost")?;
        }
        "close" => {
            assert_eq!(ask(client, "trouble")?, "armed");
            clients.clear();
        }
        unknown => return Err(format!("nothing brings {unknown} about").into()),
    }
    Ok(())
}

/// By a connection that is used for nothing else: where all are in trouble, no answer comes.
fn stop_worker(server: &Running) -> Outcome {
    let mut other = connect_to(server, 0)?.0;
    other.send(b"!stop 1 true")?;
    wait_for_trouble(server).map(drop)
}

fn connect_until_trouble(server: &Running, clients: &mut Vec<Client>) -> Outcome {
    for _ in 0..ATTEMPTS {
        clients.push(server.connect()?);
        if server.wait_line(|line| line.starts_with("trouble "), RETRY).is_ok() {
            return Ok(());
        }
    }
    Err("no connection has come to worker 1".into())
}

/// Whether worker 0 is the only one that has a connection, which is that of `control`.
pub fn wait_until_alone(control: &mut Client) -> Outcome {
    puppet::ask_until(control, "stats", |line| line.starts_with("1 "))?;
    Ok(())
}
