//! A server that does what its clients say: one command in, one line of text out. So a test decides
//! from outside which worker calls what, and when.

use crate::common::api::{remote_ip, Error, Handle};
use crate::common::prelude::*;
use crate::common::{process, Client};

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

/// What one `fill` asks for at a time.
const FILL_PIECE: usize = 64 * 1024;

/// A pipe by which one worker releases another one that waits in a callback.
static RELEASE_READER: AtomicI32 = AtomicI32::new(-1);
static RELEASE_WRITER: AtomicI32 = AtomicI32::new(-1);

/// The server, still to be started. It reports every connection and every close.
pub fn command_server(setup: &Setup) -> Result<Server, Box<dyn std::error::Error + Send + Sync>> {
    let server = setup.server()?;
    make_release_pipe()?;
    server.on("connect", |server, event| {
        report!("connect {} in worker {}", event.fd(), server.worker_id());
    })?;
    server.on("receive", |server, event| {
        let text = String::from_utf8_lossy(event.data()).into_owned();
        let answer = obey(server, event.fd(), text.trim_end());
        if let Err(error) = server.send(event.fd(), format!("{answer}\n").as_bytes()) {
            report!("no answer to '{}': {}", text.trim_end(), error.code);
        }
    })?;
    server.on("close", |server, event| {
        let (fd, reactor) = (event.fd(), event.connection().reactor_id);
        report!("close {fd} in worker {} by {reactor}", server.worker_id());
    })?;
    Ok(server)
}

pub fn run_commands(setup: &Setup) -> Outcome {
    command_server(setup)?.start()?;
    Ok(())
}

fn make_release_pipe() -> std::io::Result<()> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for the two descriptors.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    RELEASE_READER.store(ends[0], Ordering::Relaxed);
    RELEASE_WRITER.store(ends[1], Ordering::Relaxed);
    Ok(())
}

/// Blocks until somebody says `release`.
pub fn wait_for_release() {
    let mut byte = 0_u8;
    let reader = RELEASE_READER.load(Ordering::Relaxed);
    // SAFETY: one byte is read into a place for one.
    let count = unsafe { libc::read(reader, (&mut byte as *mut u8).cast(), 1) };
    assert_eq!(count, 1, "the release could not be read");
}

pub fn release() {
    let writer = RELEASE_WRITER.load(Ordering::Relaxed);
    // SAFETY: one byte that lives through the call.
    assert_eq!(unsafe { libc::write(writer, b"x".as_ptr().cast(), 1) }, 1);
}

fn outcome(result: Result<(), Error>) -> String {
    result.map_or_else(|error| format!("error {}", error.code), |()| "ok".to_owned())
}

/// Does what a command says; what is answered.
pub fn obey(server: Handle, own: i64, text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let number = |index: usize| -> i64 { words[index].parse().expect("a number") };
    match words[0] {
        "who" => format!("{own} {} {}", server.worker_id(), server.worker_pid(-1)),
        "send" => outcome(server.send(number(1), words[2].as_bytes())),
        "send_zeros" => outcome(server.send(number(1), &vec![0; number(2) as usize])),
        "close" => outcome(server.close(number(1), false)),
        "reset" => outcome(server.close(number(1), true)),
        "exist" => match server.exist(number(1)) {
            true => "ok".to_owned(),
            false => format!("error {}", server.last_error()),
        },
        "info" => info(server, number(1), false),
        "info_closed" => info(server, number(1), true),
        "list" => match server.client_list(number(1), number(2) as i32) {
            Ok(ids) => format!("ids {ids:?}"),
            Err(error) => format!("error {}", error.code),
        },
        "stats" => format!("{:?}", server.stats().expect("stats")),
        "fill" => fill(server, number(1)),
        "flood_and_close" => flood_and_close(server, own, number(1) as usize),
        "flood_and_cut" => flood_and_cut(server, own, number(1) as usize),
        "hold" => {
            report!("holding {}", server.worker_id());
            wait_for_release();
            "held".to_owned()
        }
        "release" => {
            release();
            "ok".to_owned()
        }
        other => format!("unknown {other}"),
    }
}

fn info(server: Handle, fd: i64, ignore_closed: bool) -> String {
    match server.client_info(fd, ignore_closed) {
        Err(error) => format!("error {}", error.code),
        Ok(info) => format!(
            "server_port={} server_fd={} socket_fd={} socket_type={} remote_port={} remote_ip={} \
             reactor_id={} connect_time={} last_time={} last_recv_time={} last_send_time={} \
             last_dispatch_time={} recv_queued_bytes={} send_queued_bytes={} close_errno={} \
             websocket_status={} has_uid={} uid={}",
            info.server_port,
            info.server_fd,
            info.socket_fd,
            info.socket_type,
            info.remote_port,
            remote_ip(&info),
            info.reactor_id,
            info.connect_time,
            info.last_time,
            info.last_recv_time,
            info.last_send_time,
            info.last_dispatch_time,
            info.recv_queued_bytes,
            info.send_queued_bytes,
            info.close_errno,
            info.websocket_status,
            info.has_uid,
            info.uid,
        ),
    }
}

/// Sends to a connection until that is refused: how many bytes were taken, and the refusal.
fn fill(server: Handle, fd: i64) -> String {
    let piece = [b'f'; FILL_PIECE];
    let mut taken = 0_u64;
    loop {
        match server.send(fd, &piece) {
            Ok(()) => taken += FILL_PIECE as u64,
            Err(error) => return format!("filled {taken} {}", error.code),
        }
    }
}

/// Queues more than the socket takes and closes: all of it has to arrive.
fn flood_and_close(server: Handle, own: i64, size: usize) -> String {
    let sent = outcome(server.send(own, &vec![b'2'; size]));
    let closed = outcome(server.close(own, false));
    report!("flood {sent}, close {closed}, exist {}", server.exist(own));
    report!("again {}", outcome(server.close(own, false)));
    "unheard".to_owned()
}

/// The same, but then what waits is thrown away.
fn flood_and_cut(server: Handle, own: i64, size: usize) -> String {
    let sent = outcome(server.send(own, &vec![b'2'; size]));
    let closed = outcome(server.close(own, false));
    let cut = outcome(server.close(own, true));
    report!("flood {sent}, close {closed}, cut {cut}");
    "unheard".to_owned()
}

/// A client that speaks to this server.
pub struct Commander {
    pub client: Client,
    pub fd: i64,
    pub worker: i32,
    pub pid: i32,
}

type Answer<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

impl Commander {
    pub fn connect(server: &Running) -> Answer<Self> {
        let mut commander = Self { client: server.connect()?, fd: 0, worker: -1, pid: 0 };
        let answer = commander.ask("who")?;
        let numbers: Vec<&str> = answer.split(' ').collect();
        commander.fd = numbers[0].parse()?;
        commander.worker = numbers[1].parse()?;
        commander.pid = numbers[2].parse()?;
        Ok(commander)
    }

    /// A client whose worker is not the one of `self`.
    pub fn connect_elsewhere(&mut self, server: &Running) -> Answer<Self> {
        if server.mode() != Mode::Base {
            return self.connect_until_elsewhere(server);
        }
        // In BASE whoever is free accepts, so the worker of this client is kept busy meanwhile.
        let holding = format!("holding {}", self.worker);
        let before = server.lines_so_far().iter().filter(|line| **line == holding).count();
        self.client.send(b"hold")?;
        server.wait_lines(before + 1, |line| line == holding, STEP)?;
        let mut other = Self::connect(server)?;
        assert_eq!(other.ask("release")?, "ok");
        assert_eq!(self.hear()?, "held");
        Ok(other)
    }

    fn connect_until_elsewhere(&self, server: &Running) -> Answer<Self> {
        let mut others = Vec::new();
        for _ in 0..32 {
            let other = Self::connect(server)?;
            if other.worker != self.worker {
                return Ok(other);
            }
            others.push(other);
        }
        Err("all connections went to one worker".into())
    }

    pub fn ask(&mut self, command: &str) -> Answer<String> {
        self.client.send(command.as_bytes())?;
        self.hear()
    }

    /// The next line that the server says.
    pub fn hear(&mut self) -> Answer<String> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.extend(self.client.receive(1)?);
        }
        line.pop();
        Ok(String::from_utf8(line)?)
    }

    /// Asks again and again until the answer is what is waited for.
    pub fn ask_until(&mut self, command: &str, is_it: impl Fn(&str) -> bool) -> Answer<String> {
        let end = Instant::now() + STEP;
        loop {
            let answer = self.ask(command)?;
            if is_it(&answer) {
                return Ok(answer);
            }
            if Instant::now() > end {
                return Err(format!("{command} still answers {answer}").into());
            }
        }
    }

    /// What one number of the statistics is.
    pub fn stat(&mut self, name: &str) -> Answer<u64> {
        number_of(&self.ask("stats")?, name)
    }
}

/// The value behind `name` in statistics as they are answered.
pub fn number_of(stats: &str, name: &str) -> Answer<u64> {
    let marker = format!(" {name}: ");
    let at = stats.find(&marker).ok_or_else(|| format!("no {name} in {stats}"))?;
    let rest = &stats[at + marker.len()..];
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Ok(digits.parse()?)
}

/// The value behind `name=` in the information on a connection as it is answered.
pub fn field<'a>(info: &'a str, name: &str) -> Answer<&'a str> {
    let marker = format!("{name}=");
    let found = info.split(' ').find_map(|part| part.strip_prefix(marker.as_str()));
    found.ok_or_else(|| format!("no {name} in {info}").into())
}

/// The port that a bound socket of this process listens on: the one that is not in `before`.
pub fn new_port(before: &[i32]) -> std::io::Result<u16> {
    for number in process::open_descriptors()? {
        if before.contains(&number) {
            continue;
        }
        // SAFETY: the descriptor is open; the copy is closed when it is dropped.
        let copy = unsafe { OwnedFd::from_raw_fd(libc::dup(number)) };
        let address = std::net::TcpListener::from(copy).local_addr();
        if let Ok(address) = address {
            return Ok(address.port());
        }
    }
    Err(std::io::Error::other("there is no new socket"))
}
