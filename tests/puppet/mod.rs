//! A server that does what its clients tell it, and how a client tells it.
//!
//! A message that begins with `!` is an order, answered with one line; any other is sent back. A
//! client sends an order alone and waits for its answer, so that each comes as one message.
//!
//! ```text
//! !who                        worker, pid and session of this connection
//! !master                     the pid that stands for the master
//! !stats                      connections, accepted, dispatched
//! !exist FD                   whether the worker sees that connection
//! !queued                     bytes that wait for any peer, as far as the worker sees them
//! !tell FD TEXT               sends a text to another connection
//! !hold PORT                  is stuck until the gate at that port opens
//! !say PORT LENGTH            sends a text of so many bytes, then is stuck; no answer
//! !arm EVENT PORT             is stuck in the next `connect` or `close` callback of this worker
//! !close                      closes this connection; no answer
//! !part LENGTH                sends a text of so many bytes, then closes; no answer
//! !exit CODE, !abort, !panic  ends the process; no answer
//! ```
//!
//! Those about the lives of workers are in `life.rs`.
//!
//! A file of tests adds orders of its own by handing [`serve`] a callback for `receive` that ends
//! with [`obey`].
#![allow(dead_code)]

pub mod life;
#[path = "../timers/api.rs"]
pub mod timers;

use crate::common::api::{self, Handle};
use crate::common::{process, Client, Event, Mode, Outcome, Running, Server, Setup, STEP};
use crate::report;
use std::cell::Cell;
use std::error::Error;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Instant;
use swoole::ffi::types::sw_status_info_t;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A byte that is not the beginning of any text.
pub const NO_TEXT: u8 = 0xff;

thread_local! {
    /// In which gate the next callback of its kind is stuck.
    static IN_CONNECT: Cell<Option<u16>> = const { Cell::new(None) };
    static IN_CLOSE: Cell<Option<u16>> = const { Cell::new(None) };
}

/// Runs the server with two workers and these settings.
pub fn serve(setup: &Setup, settings: &[(&str, &str)], on_receive: fn(Handle, &Event)) -> Outcome {
    run(&prepare(setup, settings, on_receive)?)
}

/// As [`serve`], with callbacks of its own, which `register` adds or puts in the place of others.
pub fn serve_with(
    setup: &Setup,
    settings: &[(&str, &str)],
    on_receive: fn(Handle, &Event),
    register: impl FnOnce(Handle) -> api::Result<()>,
) -> Outcome {
    let server = prepare(setup, settings, on_receive)?;
    register(*server)?;
    run(&server)
}

/// Makes the server.
pub fn prepare(
    setup: &Setup,
    settings: &[(&str, &str)],
    on_receive: fn(Handle, &Event),
) -> std::result::Result<Server, api::Error> {
    dress(setup.server()?, settings, on_receive)
}

/// Makes a puppet of a server.
pub fn dress(
    server: Server,
    settings: &[(&str, &str)],
    on_receive: fn(Handle, &Event),
) -> std::result::Result<Server, api::Error> {
    for (name, value) in settings {
        server.set(name, value)?;
    }
    server.on("receive", on_receive)?;
    server.on("connect", |_, _| hold_if_armed(&IN_CONNECT))?;
    server.on("close", |_, event| {
        report!("close {}", event.fd());
        hold_if_armed(&IN_CLOSE);
    })?;
    server.on("workerStart", |_, event| {
        report!("worker {} {}", event.worker().worker_id, event.worker().worker_pid);
    })?;
    server.on("workerStop", |_, event| {
        report!("stop {} {}", event.worker().worker_id, event.worker().worker_pid);
    })?;
    server.on("workerError", |_, event| {
        let error = event.error();
        let sw_status_info_t { worker_id, worker_pid, status, exit_code, signal, .. } = *error;
        report!("error {worker_id} {worker_pid} code {exit_code} signal {signal} status {status}");
    })?;
    server.on("managerStart", |server, _| report!("manager {}", server.manager_pid()))?;
    server.on("managerStop", |_, _| report!("manager stop"))?;
    server.on("shutdown", |_, _| report!("shutdown"))?;
    Ok(server)
}

/// Runs it.
pub fn run(server: &Server) -> Outcome {
    server.start()?;
    report!("returned, left: {:?}", others_of_the_group()?);
    Ok(())
}

/// The plain puppet.
pub fn puppet(setup: &Setup) -> Outcome {
    serve(setup, &[], obey)
}

/// The pids of this process group without the caller's.
fn others_of_the_group() -> io::Result<Vec<i32>> {
    // SAFETY: getpgrp takes nothing.
    let members = process::group_members(unsafe { libc::getpgrp() })?;
    let own = std::process::id();
    Ok(members.iter().map(|member| member.pid).filter(|pid| pid.unsigned_abs() != own).collect())
}

/// Does what a message says.
pub fn obey(server: Handle, event: &Event) {
    let fd = event.fd();
    let order = std::str::from_utf8(event.data()).ok().and_then(|text| text.strip_prefix('!'));
    let Some(order) = order else {
        answer(server, fd, event.data());
        return;
    };
    let words: Vec<&str> = order.split_whitespace().collect();
    if let Some(line) = answer_of(server, fd, &words) {
        answer(server, fd, format!("{line}\n").as_bytes());
    }
}

/// Sends, and reports if that is refused.
pub fn answer(server: Handle, fd: i64, data: &[u8]) {
    if let Err(error) = server.send(fd, data) {
        report!("refused {fd}: {}", error.code);
    }
}

/// Does what an order says; what is answered, if anything.
pub fn answer_of(server: Handle, fd: i64, words: &[&str]) -> Option<String> {
    Some(match words {
        ["who"] => {
            let worker = server.worker_id();
            format!("{worker} {} {fd}", server.worker_pid(worker))
        }
        ["master"] => server.master_pid().to_string(),
        ["stats"] => stats_of(server),
        ["exist", fd] => server.exist(number(fd)).to_string(),
        ["queued"] => queued_bytes(server).to_string(),
        ["tell", fd, text] => match server.send(number(fd), text.as_bytes()) {
            Ok(()) => "told".to_owned(),
            Err(error) => error.code.to_string(),
        },
        ["hold", port] => {
            hold(number(port));
            "released".to_owned()
        }
        ["say", port, length] => {
            answer(server, fd, &vec![b's'; number(length)]);
            hold(number(port));
            return None;
        }
        ["arm", event, port] => {
            let event = if *event == "close" { &IN_CLOSE } else { &IN_CONNECT };
            event.with(|gate| gate.set(Some(number(port))));
            "armed".to_owned()
        }
        ["close"] => {
            report!("closed: {}", server.close(fd, false).is_ok());
            return None;
        }
        ["part", length] => {
            answer(server, fd, &vec![b'p'; number(length)]);
            report!("closed: {}", server.close(fd, false).is_ok());
            return None;
        }
        ["exit", code] => std::process::exit(number(code)),
        ["abort"] => std::process::abort(),
        ["panic"] => panic!("told to panic"),
        other => return life::answer_of_life(server, fd, other),
    })
}

fn stats_of(server: Handle) -> String {
    match server.stats() {
        Ok(stats) => {
            format!("{} {} {}", stats.connection_num, stats.accept_count, stats.dispatch_count)
        }
        Err(error) => error.to_string(),
    }
}

fn queued_bytes(server: Handle) -> u64 {
    let all = server.client_list(0, 100).unwrap_or_default();
    let info = all.iter().filter_map(|fd| server.client_info(*fd, true).ok());
    info.map(|info| info.send_queued_bytes).sum()
}

pub fn number<N: std::str::FromStr + Default>(word: &str) -> N {
    word.parse().unwrap_or_default()
}

fn hold_if_armed(event: &'static std::thread::LocalKey<Cell<Option<u16>>>) {
    if let Some(port) = event.with(Cell::take) {
        hold(port);
    }
}

/// Is stuck until the gate opens.
pub fn hold(port: u16) {
    let opened = TcpStream::connect(("127.0.0.1", port)).and_then(|mut gate| gate.read(&mut [0]));
    if let Err(error) = opened {
        report!("the gate at {port} is broken: {error}");
    }
}

/// Where a callback of the server is stuck for as long as the test wants it to be.
pub struct Gate(TcpListener);

/// A callback that is stuck. It goes on when this is dropped.
pub struct Held(TcpStream);

impl Gate {
    pub fn new() -> io::Result<Self> {
        Ok(Self(TcpListener::bind("127.0.0.1:0")?))
    }

    pub fn port(&self) -> io::Result<u16> {
        Ok(self.0.local_addr()?.port())
    }

    /// The descriptor that is readable when a callback is stuck here.
    pub fn as_raw_fd(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Waits until a callback is stuck here.
    pub fn wait(&self) -> Result<Held> {
        if poll(&[self.as_raw_fd()], libc::POLLIN, STEP.as_millis() as i32)?.is_empty() {
            return Err("no callback has come to the gate".into());
        }
        Ok(Held(self.0.accept()?.0))
    }
}

/// Which of the descriptors are ready; none when the time is over.
pub fn poll(fds: &[i32], events: i16, timeout_ms: i32) -> io::Result<Vec<usize>> {
    let entry = |fd: &i32| libc::pollfd { fd: *fd, events, revents: 0 };
    let mut entries: Vec<libc::pollfd> = fds.iter().map(entry).collect();
    // SAFETY: the entries are valid, and their number is handed in.
    let count = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as u64, timeout_ms) };
    if count < 0 {
        return Err(io::Error::last_os_error());
    }
    let ready = entries.iter().enumerate().filter(|(_, entry)| entry.revents != 0);
    Ok(ready.map(|(index, _)| index).collect())
}

/// Gives an order and returns the line that answers it.
pub fn ask(client: &mut Client, order: &str) -> Result<String> {
    client.send(format!("!{order}").as_bytes())?;
    let mut line = Vec::new();
    loop {
        match client.receive(1)?[0] {
            b'\n' => return Ok(String::from_utf8(line)?),
            byte => line.push(byte),
        }
    }
}

/// Gives an order until its answer is as expected.
pub fn ask_until(client: &mut Client, order: &str, is_it: impl Fn(&str) -> bool) -> Result<String> {
    let end = Instant::now() + STEP;
    loop {
        let line = ask(client, order)?;
        if is_it(&line) {
            return Ok(line);
        }
        if Instant::now() > end {
            return Err(format!("{order} is still answered with {line}").into());
        }
    }
}

/// Makes the worker of this connection stuck.
pub fn hold_worker(client: &mut Client) -> Result<Held> {
    let gate = Gate::new()?;
    client.send(format!("!hold {}", gate.port()?).as_bytes())?;
    gate.wait()
}

/// Connects until the connection belongs to this worker; returns its session id, too.
pub fn connect_to(server: &Running, worker: i32) -> Result<(Client, i64)> {
    let mut others = Vec::new();
    for _ in 0..64 {
        let mut client = server.connect()?;
        let who = ask(&mut client, "who")?;
        let words: Vec<i64> = who.split(' ').map(number).collect();
        if words[0] == i64::from(worker) {
            return Ok((client, words[2]));
        }
        // Where workers accept themselves, one that is stuck leaves the next connection to others.
        let held = (server.mode() == Mode::Base).then(|| hold_worker(&mut client)).transpose()?;
        others.push((client, held));
    }
    Err(format!("no connection came to worker {worker}").into())
}

/// The pid of a worker in its life of this number, counted from 1.
pub fn pid_of(server: &Running, worker: i32, life: usize) -> Result<i32> {
    let start = format!("worker {worker} ");
    let lines = server.wait_lines(life, |line| line.starts_with(&start), STEP)?;
    Ok(number(lines[life - 1].trim_start_matches(&start)))
}

/// The pid of a worker now.
pub fn pid_now(server: &Running, worker: i32) -> Result<i32> {
    let start = format!("worker {worker} ");
    let lives = server.lines_so_far().iter().filter(|line| line.starts_with(&start)).count();
    pid_of(server, worker, lives.max(1))
}

pub fn kill(pid: i32) -> io::Result<()> {
    process::send_signal(pid, libc::SIGKILL)
}

/// Bytes of memory that all processes of the server have written to, shared ones counted once.
///
/// The processes are looked at one after the other, and bytes that move on meanwhile from one to
/// the next can be seen in both. Looking in both directions, one of the two does not see them
/// twice, whichever way they move.
pub fn memory_bytes(server: &Running) -> io::Result<u64> {
    let mut pids: Vec<i32> = server.descendants()?.iter().map(|process| process.pid).collect();
    pids.push(server.pid());
    let there = pids.iter().map(|pid| written_by(*pid)).sum::<u64>();
    let back = pids.iter().rev().map(|pid| written_by(*pid)).sum::<u64>();
    Ok(there.min(back))
}

fn written_by(pid: i32) -> u64 {
    // A process that has ended meanwhile has no memory.
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    rollup.map_or(0, |rollup| written_bytes(&rollup))
}

/// Files are left out: how much of them counts depends on who else has them mapped.
fn written_bytes(rollup: &str) -> u64 {
    let is_wanted = |line: &&str| line.starts_with("Pss_Anon:") || line.starts_with("Pss_Shmem:");
    let kib = |line: &str| line.split_whitespace().nth(1).map_or(0, number::<u64>);
    rollup.lines().filter(is_wanted).map(|line| kib(line) * 1024).sum()
}
