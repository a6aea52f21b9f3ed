//! What each rule shows from outside.

use super::orders::{serve, WORKERS};
use crate::common::prelude::*;
use crate::datagrams::Peer;
use crate::puppet::{ask, ask_until, hold_worker, number, Held};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::{Duration, Instant};

pub type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A server in this mode.
macro_rules! modes {
    ($($name:ident: $($setting:ident = $value:literal),+;)*) => {
        $(pub fn $name(setup: &Setup) -> Outcome {
            serve(setup, &[$((stringify!($setting), $value)),+])
        })*
    };
}

modes! {
    mode_1: dispatch_mode = "1";
    mode_2: dispatch_mode = "2";
    mode_3: dispatch_mode = "3";
    mode_4: dispatch_mode = "4";
    mode_5: dispatch_mode = "5";
    mode_7: dispatch_mode = "7";
    mode_8: dispatch_mode = "8";
    mode_9: dispatch_mode = "9";
    mode_10: dispatch_mode = "10";
    unsafe_mode_1: dispatch_mode = "1", enable_unsafe_event = "1";
    unsafe_mode_9: dispatch_mode = "9", enable_unsafe_event = "1";
}

/// Which worker takes the next message of a connection, and the id of that.
pub fn who(client: &mut Client) -> Fallible<(i64, i64)> {
    let who = ask(client, "who")?;
    let words: Vec<i64> = who.split(' ').map(number).collect();
    Ok((words[0], words[2]))
}

fn clients(server: &Running, count: usize) -> Fallible<Vec<Client>> {
    (0..count).map(|_| server.connect()).collect()
}

pub fn workers_have_turns_message_by_message(server: &Running) -> Outcome {
    let mut clients = clients(server, 3)?;
    let first = who(&mut clients[0])?.0;
    for step in 1..20 {
        let worker = who(&mut clients[step % 3])?.0;
        assert_eq!(worker, (first + step as i64) % WORKERS);
    }
    Ok(())
}

pub fn datagrams_have_turns_too(server: &Running) -> Outcome {
    let peer = Peer::of(server)?;
    let mut last = None;
    for _ in 0..9 {
        let worker: i64 = number(peer.ask_text("!who")?.split(' ').next().unwrap_or_default());
        assert_eq!(worker, last.map_or(worker, |last| (last + 1) % WORKERS));
        last = Some(worker);
    }
    Ok(())
}

pub fn a_connection_stays_with_the_worker_of_its_id(server: &Running) -> Outcome {
    for client in &mut clients(server, 6)? {
        for _ in 0..2 {
            let (worker, fd) = who(client)?;
            assert_eq!(worker, fd % WORKERS);
        }
        assert!(ask(client, "info")?.starts_with("-1 false"));
    }
    Ok(())
}

/// Waits until so many workers are idle. Who has sent an answer is busy until its callback has
/// returned, and who still starts has something to do, too.
fn wait_idle(server: &Running, count: usize) -> Outcome {
    server.wait_lines(WORKERS as usize, |line| line.starts_with("worker "), STEP)?;
    let is_look = |line: &str| line.starts_with("idle ");
    let looks = || server.lines_so_far().iter().filter(|line| is_look(line)).count();
    let wanted = format!("idle {count}");
    let end = Instant::now() + STEP;
    loop {
        // The first of them may have been under way before.
        let seen = server.wait_lines(looks() + 2, is_look, STEP)?;
        if seen.last() == Some(&wanted) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("never {wanted}: {:?}", seen.last()).into());
        }
    }
}

/// Makes so many workers stuck, each by a connection of its own.
fn hold_some(server: &Running, count: usize) -> Fallible<Vec<(Client, Held)>> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut client = server.connect()?;
        let hold = hold_worker(&mut client)?;
        held.push((client, hold));
    }
    Ok(held)
}

pub fn what_is_idle_gets_the_next_message_and_if_nobody_is_somebody(server: &Running) -> Outcome {
    wait_idle(server, 4)?;
    let mut held = hold_some(server, 3)?;
    wait_idle(server, 1)?;
    let mut clients = clients(server, 4)?;
    let free = who(&mut clients[0])?.0;
    let mut last = clients.pop().ok_or("no client")?;
    assert!(!server.log().contains("9007"), "a worker was idle");
    wait_idle(server, 1)?;
    held.extend(hold_some(server, 1)?);
    last.send(b"waits")?;
    let line = "No idle worker is available (error 9007)";
    wait_for_log(server, line)?;
    drop(held);
    assert_eq!(last.receive(5)?, b"waits", "the last candidate has it");
    assert!((0..WORKERS).contains(&free));
    Ok(())
}

pub fn wait_for_log(server: &Running, text: &str) -> Outcome {
    let end = Instant::now() + STEP;
    while !server.log().contains(text) {
        if Instant::now() > end {
            return Err(format!("the log does not say {text:?}").into());
        }
        // There is no event that tells of a line in a file.
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Many messages that are read in one turn.
pub fn a_burst_is_dealt_out_among_the_idle(server: &Running) -> Outcome {
    wait_idle(server, 4)?;
    let mut held = hold_some(server, 1)?;
    wait_idle(server, 3)?;
    let mut clients = clients(server, 3)?;
    let mut gates = Vec::new();
    for client in &mut clients {
        let gate = crate::puppet::Gate::new()?;
        client.send(format!("!hold {}", gate.port()?).as_bytes())?;
        gates.push(gate);
    }
    // All three are stuck at the same time: each worker got one of them.
    for gate in &gates {
        held.push((server.connect()?, gate.wait()?));
    }
    assert_eq!(held.len(), 4);
    Ok(())
}

/// Connects from an address of this machine.
fn connect_from(ip: Ipv4Addr, port: u16) -> io::Result<Client> {
    let address = |ip: Ipv4Addr, port: u16| libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
        sin_zero: [0; 8],
    };
    let len = std::mem::size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: plain system calls; the addresses live through them.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        let own = address(ip, 0);
        let peer = address(Ipv4Addr::LOCALHOST, port);
        let is_done = fd >= 0
            && libc::bind(fd, (&own as *const libc::sockaddr_in).cast(), len) == 0
            && libc::connect(fd, (&peer as *const libc::sockaddr_in).cast(), len) == 0;
        if !is_done {
            return Err(io::Error::last_os_error());
        }
        let stream = TcpStream::from_raw_fd(fd);
        stream.set_read_timeout(Some(STEP))?;
        Ok(Client { stream })
    }
}

pub fn the_address_of_the_peer_names_the_worker(server: &Running) -> Outcome {
    drop(server.connect()?);
    for last in [2_u8, 7, 8, 101] {
        let ip = Ipv4Addr::new(127, 0, 3, last);
        let wanted = i64::from(u32::from(ip)) % WORKERS;
        for _ in 0..2 {
            let mut client = connect_from(ip, server.port())?;
            assert_eq!(who(&mut client)?.0, wanted, "{ip}");
        }
        let peer = Peer::at(&ip.to_string())?;
        peer.0.connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, server.port()))?;
        assert!(peer.ask_text("!who")?.starts_with(&format!("{wanted} ")), "{ip}");
    }
    Ok(())
}

pub fn the_user_that_a_connection_is_bound_to_names_the_worker(server: &Running) -> Outcome {
    for uid in [1_i64, 6, 4_294_967_295, -10] {
        let mut client = server.connect()?;
        let (worker, fd) = who(&mut client)?;
        assert_eq!(worker, fd % WORKERS);
        assert_eq!(ask(&mut client, "info")?, "-1 true 0");
        assert_eq!(ask(&mut client, &format!("bind {uid}"))?, "ok");
        let stored = i64::from(uid as u32);
        for _ in 0..2 {
            assert_eq!(who(&mut client)?.0, stored % WORKERS);
        }
        assert_eq!(ask(&mut client, "info")?, format!("-1 true {stored}"));
        // The program is told of both ends of it.
        let connect = format!("connect {fd} in {}", fd % WORKERS);
        server.wait_line(|line| line == connect, STEP)?;
        drop(client);
        let close = format!("close {fd} in {}", stored % WORKERS);
        server.wait_line(|line| line == close, STEP)?;
    }
    assert!(!server.log().contains("9015"));
    Ok(())
}

pub fn a_connection_gets_the_least_loaded_worker_for_life(server: &Running) -> Outcome {
    wait_idle(server, 4)?;
    let held = hold_some(server, 2)?;
    let mut clients = Vec::new();
    let mut workers = Vec::new();
    for _ in 0..2 {
        let mut client = server.connect()?;
        let (worker, fd) = who(&mut client)?;
        assert_eq!(ask(&mut client, "info")?, format!("{worker} false 0"));
        assert_eq!(ask(&mut client, "begin")?, worker.to_string());
        let connect = format!("connect {fd} in {worker}");
        server.wait_line(|line| line == connect, STEP)?;
        workers.push(worker);
        clients.push(client);
    }
    assert_ne!(workers[0], workers[1], "the first has something to do");
    drop(held);
    for _ in 0..20 {
        for (client, worker) in clients.iter_mut().zip(&workers) {
            assert_eq!(who(client)?.0, *worker, "for life, whoever has less to do");
        }
    }
    // Its end is told there, too.
    let fd = who(&mut clients[1])?.1;
    drop(clients);
    let close = format!("close {fd} in {}", workers[1]);
    server.wait_line(|line| line == close, STEP)?;
    Ok(())
}

pub fn a_message_goes_where_least_is_in_progress(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let mut begun = [0; WORKERS as usize];
    for _ in 0..3 * WORKERS {
        // The one that has answered has one more to do until its callback returns.
        wait_idle(server, 4)?;
        begun[number::<usize>(&ask(&mut client, "begin")?)] += 1;
    }
    assert_eq!(begun, [3; WORKERS as usize]);
    let all = 3 * WORKERS + 1;
    // With the one that asks; one that has answered is in progress until its callback returns.
    let line = format!("{all} 4");
    ask_until(&mut client, "count", |count| count == line)?;
    // What was begun and was not ended is over with its worker.
    client.send(b"!abort")?;
    server.wait_line(|line| line.starts_with("error "), STEP)?;
    server.wait_lines(5, |line| line.starts_with("worker "), STEP)?;
    // The new one has least to do.
    let line = format!("{} 1", all - 3);
    ask_until(&mut client, "count", |count| count == line)?;
    Ok(())
}

pub fn a_stuck_worker_leaves_the_others_alone(server: &Running) -> Outcome {
    let held = hold_some(server, 1)?;
    // So long a callback has to take before it is taken for one that takes long.
    std::thread::sleep(Duration::from_millis(20));
    let begin = Instant::now();
    let mut clients = clients(server, 8)?;
    let message = b"a small message";
    let mut rounds = 0;
    while rounds < 100 || begin.elapsed() < Duration::from_secs(1) {
        for client in &mut clients {
            client.send(message)?;
        }
        // Whatever waited for the stuck one would not come at all.
        for client in &mut clients {
            assert_eq!(client.receive(message.len())?, message);
        }
        rounds += 1;
    }
    drop(held);
    Ok(())
}

pub fn where_workers_read_for_themselves_there_are_no_rules(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let first = who(&mut client)?;
    for _ in 0..5 {
        assert_eq!(who(&mut client)?, first);
    }
    assert!(ask(&mut client, "info")?.starts_with("-1 false"));
    drop(client);
    let (worker, fd) = first;
    let close = format!("close {fd} in {worker}");
    server.wait_line(|line| line == close, STEP)?;
    assert!(!server.log().contains("9015"), "nothing is dropped");
    Ok(())
}

pub fn events_that_cannot_be_kept_in_order_are_dropped_with_a_warning(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    who(&mut client)?;
    client.finish_sending()?;
    assert_eq!(client.receive_to_end()?, b"", "it ends all the same");
    let lines = server.lines_so_far();
    assert!(!lines.iter().any(|line| line.starts_with("con") || line.starts_with("close")));
    for kind in ["connect", "close"] {
        let warning = format!("the {kind} callback is not used");
        assert_eq!(server.log().matches(&warning).count(), 1, "{kind}");
    }
    assert_eq!(server.log().matches("(error 9015)").count(), 2);
    Ok(())
}

pub fn unsafe_events_come_once_each_if_they_are_asked_for(server: &Running) -> Outcome {
    let mut clients = clients(server, 12)?;
    let mut fds = Vec::new();
    for (index, client) in clients.iter_mut().enumerate() {
        let fd = who(client)?.1;
        fds.push(fd);
        // No program is told of a connection whose end it has heard of.
        let connect = format!("connect {fd} in ");
        server.wait_line(|line| line.starts_with(&connect), STEP)?;
        match index % 3 {
            0 => client.finish_sending()?,
            1 => client.send(b"!close")?,
            _ => client.send(b"!part 10000")?,
        }
    }
    for client in &mut clients {
        client.receive_to_end()?;
    }
    for fd in fds {
        for kind in ["connect", "close"] {
            let event = format!("{kind} {fd} in ");
            server.wait_line(|line| line.starts_with(&event), STEP)?;
            let lines = server.lines_so_far();
            assert_eq!(lines.iter().filter(|line| line.starts_with(&event)).count(), 1);
        }
    }
    assert!(!server.log().contains("9015"));
    Ok(())
}

/// Each round one worker dies of the message in its hands; all others are answered once.
pub fn nothing_but_the_message_in_hand_goes_with_a_worker(server: &Running) -> Outcome {
    let mut clients = clients(server, 8)?;
    let mut killer = server.connect()?;
    for round in 0..6_usize {
        killer.send(b"!abort")?;
        for step in 0..20 {
            let message = |index: usize| format!("round {round} step {step} of {index:02}");
            for (index, client) in clients.iter_mut().enumerate() {
                client.send(message(index).as_bytes())?;
            }
            for (index, client) in clients.iter_mut().enumerate() {
                let wanted = message(index);
                assert_eq!(String::from_utf8_lossy(&client.receive(wanted.len())?), wanted);
            }
        }
        server.wait_lines(round + 1, |line| line.starts_with("error "), STEP)?;
    }
    for client in &mut clients {
        let fds = [client.stream.as_raw_fd()];
        assert!(crate::puppet::poll(&fds, libc::POLLIN, 0)?.is_empty(), "an answer came twice");
        client.finish_sending()?;
        assert_eq!(client.receive_to_end()?, b"");
    }
    Ok(())
}
