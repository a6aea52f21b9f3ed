//! Every cause of closing, in every mode: each connection is told of once, each of its closes is
//! told once and after that, no id is ever given twice, and in the end nothing is left.
//!
//! Each cause closes `EACH` connections, or as many as `CLOSE_MATRIX` says. The server counts in
//! memory that its processes share, so that a callback that comes twice or in the wrong order is
//! noticed where it runs.

mod common;
#[path = "control/orders.rs"]
mod orders;
#[path = "ports/api.rs"]
mod ports;

use common::api::Handle;
use common::prelude::*;
use common::process;
use orders::*;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, AtomicU8, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Connections of each cause.
const EACH: usize = 10_000;
/// Connections that are open at once.
const BATCH: usize = 250;
/// Connections that come and go in the end.
const MANY: usize = 100_000;
/// Bytes by which a server may grow while its connections only come and go.
const NOISE: u64 = 4 << 20;
/// How long all closes of a cause may take to be told.
const PATIENCE: Duration = Duration::from_secs(30);
const MOST_IDS: usize = 1 << 19;

/// What was told of each id: nothing, that it is connected, that it is closed.
struct Tally {
    ids: [AtomicU8; MOST_IDS],
    connects: AtomicU32,
    closes: AtomicU32,
    wrong: AtomicU32,
}

static TALLY: OnceLock<&'static Tally> = OnceLock::new();

/// The tally, in memory that the processes forked from now on share.
fn make_tally() -> &'static Tally {
    // SAFETY: a new mapping, at a place that the system chooses.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            std::mem::size_of::<Tally>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(memory, libc::MAP_FAILED, "no memory");
    // SAFETY: it is as large as a tally, never unmapped, and zeros are a tally.
    unsafe { &*memory.cast::<Tally>() }
}

impl Tally {
    /// Something is told of an id, which must be in this state.
    fn step(&self, fd: i64, from: u8, count: &AtomicU32) {
        let place = &self.ids[usize::try_from(fd).expect("an id") % MOST_IDS];
        if place.swap(from + 1, Ordering::Relaxed) != from {
            self.wrong.fetch_add(1, Ordering::Relaxed);
            report!("id {fd} was not in state {from}");
        }
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn line(&self) -> String {
        let number = |count: &AtomicU32| count.load(Ordering::Relaxed);
        format!("{} {} {}", number(&self.connects), number(&self.closes), number(&self.wrong))
    }
}

fn tally() -> &'static Tally {
    TALLY.get().expect("the tally is made before start")
}

fn connected(_: Handle, event: &Event) {
    tally().step(event.fd(), 0, &tally().connects);
}

fn closed(_: Handle, event: &Event) {
    tally().step(event.fd(), 1, &tally().closes);
}

fn received(server: Handle, event: &Event) {
    let fd = event.fd();
    let answer = match event.data() {
        b"e" => "e".to_owned(),
        b"c" => return server.close(fd, false).expect("a close of its own"),
        b"R" => return server.close(fd, true).expect("a reset of its own"),
        b"tally" => tally().line() + "\n",
        data => orders::obey(server, fd, std::str::from_utf8(data).expect("text")) + "\n",
    };
    server.send(fd, answer.as_bytes()).expect("an answer");
}

/// The ports beside the first one, by what closes their connections.
const PORTS: [&str; 3] = ["connect", "heartbeat", "idle"];

fn matrix(setup: &Setup) -> Outcome {
    TALLY.get_or_init(make_tally);
    let server = prepare(setup, &[("max_connection", "8192")])?;
    let [at_once, beating, moving] =
        PORTS.map(|_| ports::add(*server, "127.0.0.1", 0, SW_SOCK_TCP));
    let (at_once, beating, moving) = (at_once?, beating?, moving?);
    at_once.on("connect", |server, event| {
        connected(server, event);
        server.close(event.fd(), false).expect("a close in its connect callback");
    })?;
    beating.set("heartbeat_idle_time", "1")?;
    moving.set("max_idle_time", "0.3")?;
    for (name, port) in PORTS.iter().zip([at_once, beating, moving]) {
        report!("port {name} {}", port.number());
    }
    listen_everywhere(*server)?;
    server.on("connect", connected)?;
    server.on("close", closed)?;
    server.on("receive", received)?;
    server.start()?;
    report!("in the end {}", tally().line());
    Ok(())
}

/// Both ends of a test: a connection for orders in each worker, and what was closed until now.
struct Matrix<'a> {
    server: &'a Running,
    orders: [Commander; 2],
    each: usize,
    done: usize,
}

impl<'a> Matrix<'a> {
    fn new(server: &'a Running) -> Fallible<Self> {
        let mut first = Commander::connect(server)?;
        let mut second = first.connect_elsewhere(server)?;
        if first.worker == 1 {
            std::mem::swap(&mut first, &mut second);
        }
        let each = std::env::var("CLOSE_MATRIX").ok().and_then(|text| text.parse().ok());
        let mut matrix =
            Self { server, orders: [first, second], each: each.unwrap_or(EACH), done: 0 };
        // It may have taken some to find two workers.
        matrix.done = matrix.counts()?[0] as usize - 2;
        matrix.settle("the search")?;
        Ok(matrix)
    }

    /// How many connects and closes were told, and how many of them were wrong.
    fn counts(&mut self) -> Fallible<[u64; 3]> {
        let line = self.orders[0].ask("tally")?;
        let mut numbers = line.split(' ').map(str::parse);
        let mut next = || numbers.next().ok_or("no number");
        Ok([next()??, next()??, next()??])
    }

    fn port(&self, name: &str) -> Fallible<u16> {
        let beginning = format!("port {name} ");
        let line = self.server.wait_line(|line| line.starts_with(&beginning), STEP)?;
        Ok(line[beginning.len()..].parse()?)
    }

    /// Waits until all that was opened is closed, but for the two that give orders.
    fn settle(&mut self, cause: &str) -> Outcome {
        let wanted = [self.done as u64 + 2, self.done as u64, 0];
        let end = Instant::now() + PATIENCE;
        loop {
            let counts = self.counts()?;
            let stats = self.orders[0].ask("stats")?;
            if counts == wanted && stats.contains(" connection_num: 2,") {
                return Ok(());
            }
            if Instant::now() > end || counts[2] != 0 {
                return Err(format!("{cause}: {counts:?}, not {wanted:?}; {stats}").into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Opens so many connections as the cause has, some at a time, and has them closed.
    fn close(
        &mut self,
        cause: &str,
        port: u16,
        batch: usize,
        mut act: impl FnMut(&mut Self, Vec<Client>) -> Outcome,
    ) -> Outcome {
        let began = Instant::now();
        let mut left = self.each;
        while left > 0 {
            let count = left.min(batch);
            let opened: Result<Vec<Client>, _> =
                (0..count).map(|_| Client::connect(port)).collect();
            self.done += count;
            left -= count;
            act(self, opened?).map_err(|error| format!("{cause}: {error}"))?;
        }
        self.settle(cause)?;
        println!("{:?} {cause}: {} in {:?}", self.server.mode(), self.each, began.elapsed());
        Ok(())
    }
}

/// Speaks and gets an answer: the connection is known to its worker.
fn speak(clients: &mut [Client]) -> Outcome {
    for client in clients.iter_mut() {
        client.send(b"e")?;
    }
    for client in clients {
        client.receive(1)?;
    }
    Ok(())
}

/// Sends, unless the server was faster.
fn say(clients: &mut [Client], word: &[u8]) {
    for client in clients {
        client.send(word).unwrap_or_default();
    }
}

/// Waits for the end of each, be it a reset.
fn hear_ends(clients: Vec<Client>) -> Outcome {
    for mut client in clients {
        match client.stream.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err("there is more than an end".into()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Each in which worker, by its id.
fn ask_who(clients: &mut [Client]) -> Fallible<Vec<(i64, usize)>> {
    for client in clients.iter_mut() {
        client.send(b"who")?;
    }
    let mut all = Vec::new();
    for client in clients {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.extend(client.receive(1)?);
        }
        let text = String::from_utf8(line)?;
        let mut words = text.split(' ');
        let mut next = || words.next().ok_or("no word");
        all.push((next()?.parse()?, next()?.parse()?));
    }
    Ok(all)
}

fn close_all(ids: impl Iterator<Item = i64>) -> String {
    let ids: Vec<String> = ids.map(|fd| fd.to_string()).collect();
    format!("close_all {}", ids.join(" "))
}

fn reset(client: &Client) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the option takes this record, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            client.stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&linger as *const libc::linger).cast(),
            std::mem::size_of::<libc::linger>() as u32,
        )
    };
    assert_eq!(result, 0);
}

fn by_peers_and_their_worker(matrix: &mut Matrix<'_>) -> Outcome {
    let port = matrix.server.port();
    matrix.close("peer at once", port, BATCH, |_, clients| {
        drop(clients);
        Ok(())
    })?;
    matrix.close("peer", port, BATCH, |_, mut clients| speak(&mut clients))?;
    matrix.close("reset by the peer", port, BATCH, |_, mut clients| {
        speak(&mut clients)?;
        clients.iter().for_each(reset);
        Ok(())
    })?;
    for (cause, word) in [("close", b"c"), ("reset", b"R")] {
        matrix.close(cause, port, BATCH, |_, mut clients| {
            say(&mut clients, word);
            hear_ends(clients)
        })?;
    }
    matrix.close("both ends", port, BATCH, |_, mut clients| {
        say(&mut clients, b"c");
        Ok(())
    })?;
    let at_once = matrix.port("connect")?;
    matrix.close("in connect", at_once, BATCH, |_, mut clients| {
        say(&mut clients, b"thrown away");
        hear_ends(clients)
    })
}

fn by_others(matrix: &mut Matrix<'_>) -> Outcome {
    let port = matrix.server.port();
    matrix.close("another worker", port, BATCH, |matrix, mut clients| {
        let all = ask_who(&mut clients)?;
        for worker in [0, 1] {
            let foreign = all.iter().filter(|row| row.1 != worker).map(|row| row.0);
            let count = foreign.clone().count();
            // Where whoever is free accepts, all may be in one.
            if count > 0 {
                let answer = matrix.orders[worker].ask(&close_all(foreign))?;
                assert_eq!(answer, count.to_string());
            }
        }
        hear_ends(clients)
    })?;
    for place in ["master", "manager", "user"] {
        matrix.close(place, port, BATCH, |matrix, mut clients| {
            let all = ask_who(&mut clients)?;
            let order = format!("at {place} {}", close_all(all.iter().map(|row| row.0)));
            assert_eq!(matrix.orders[0].ask(&order)?, "told");
            hear_ends(clients)
        })?;
    }
    Ok(())
}

fn by_time(matrix: &mut Matrix<'_>) -> Outcome {
    for cause in ["heartbeat", "idle"] {
        let port = matrix.port(cause)?;
        let all = matrix.each;
        matrix.close(cause, port, all.min(4_000), |_, clients| hear_ends(clients))?;
    }
    Ok(())
}

/// Where connections outlive their worker: it is killed while closes wait for it.
fn amid_a_kill(matrix: &mut Matrix<'_>) -> Outcome {
    let port = matrix.server.port();
    let mut kills = 0;
    matrix.close("a killed worker", port, BATCH, |matrix, mut clients| {
        speak(&mut clients)?;
        kills += 1;
        let [first, second] = &mut matrix.orders;
        let who = second.ask("who")?;
        let pid = who.rsplit(' ').next().unwrap_or_default().parse()?;
        second.client.send(b"hold")?;
        matrix.server.wait_lines(kills, |line| line == "holding 1", STEP)?;
        drop(clients);
        // The reactor has taken some of it in.
        first.ask("who")?;
        process::send_signal(pid, libc::SIGKILL)?;
        Ok(())
    })
}

fn every_cause_closes_each_connection_once(server: &Running) -> Outcome {
    let mut matrix = Matrix::new(server)?;
    by_peers_and_their_worker(&mut matrix)?;
    by_others(&mut matrix)?;
    by_time(&mut matrix)?;
    if server.mode() == Mode::Process {
        amid_a_kill(&mut matrix)?;
    }
    let stats = matrix.orders[0].ask("stats")?;
    let number = |name: &str| orders::commands::number_of(&stats, name);
    assert_eq!(number("accept_count")?, matrix.done as u64 + 2, "{stats}");
    assert_eq!(number("close_count")?, matrix.done as u64);
    // Ids are skipped whose place is that of a connection which is still there.
    assert!(number("session_round")? >= matrix.done as u64 + 2, "{stats}");
    assert_eq!(number("abort_count")?, 0);
    end_in_order(matrix)
}

/// The end of the server closes what is still open. Where the workers end before the reactors,
/// that is told to nobody.
fn end_in_order(mut matrix: Matrix<'_>) -> Outcome {
    let (server, count) = (matrix.server, matrix.each.min(1_000));
    let opened: Result<Vec<Client>, _> =
        (0..count).map(|_| Client::connect(server.port())).collect();
    let mut clients = opened?;
    speak(&mut clients)?;
    let [connects, closes, wrong] = matrix.counts()?;
    assert_eq!(wrong, 0);
    server.signal(libc::SIGTERM)?;
    hear_ends(clients)?;
    assert!(server.wait_exit(STEP)?.success());
    let told = if server.mode() == Mode::Process { closes } else { connects };
    server.wait_line(|line| line == format!("in the end {connects} {told} 0"), STEP)?;
    server.assert_nothing_left()?;
    Ok(())
}

/// Descriptors and resident bytes of all processes of the server.
fn holdings(server: &Running) -> Fallible<(usize, u64)> {
    let mut pids: Vec<i32> = server.descendants()?.iter().map(|row| row.pid).collect();
    pids.push(server.pid());
    let (mut descriptors, mut bytes) = (0, 0);
    for pid in pids {
        descriptors += std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        let text = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
        let pages: u64 = text.split(' ').nth(1).ok_or("no resident pages")?.parse()?;
        bytes += pages * 4096;
    }
    Ok((descriptors, bytes))
}

fn a_hundred_thousand_connections_leave_nothing_behind(server: &Running) -> Outcome {
    let mut matrix = Matrix::new(server)?;
    let port = server.port();
    let all = matrix.each * (MANY / EACH);
    // What is made once is made by then, each slot of the table of connections among it.
    matrix.each = all * 2 / 5;
    matrix.close("first", port, BATCH, |_, mut clients| speak(&mut clients))?;
    let (descriptors, bytes) = holdings(server)?;
    matrix.each = all - matrix.each;
    matrix.close("many", port, BATCH, |_, mut clients| speak(&mut clients))?;
    let (left, grown) = holdings(server)?;
    assert_eq!(left, descriptors, "descriptors are left");
    assert!(grown < bytes + NOISE, "{bytes} bytes have become {grown}");
    assert_eq!(
        matrix.orders[0].ask("list 0 100")?.matches(", ").count(),
        usize::from(server.mode() != Mode::Base)
    );
    Ok(())
}

server_tests! {
    every_cause_closes_each_connection_once: matrix;
    a_hundred_thousand_connections_leave_nothing_behind: matrix;
}
