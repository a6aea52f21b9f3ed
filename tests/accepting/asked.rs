//! What a port asks of its sockets, seen where the server runs.

use crate::common::prelude::*;
use crate::ports::{add, ask_peer, option, port, reach};
use crate::puppet::{self, answer, number, obey};
use libc::{IPPROTO_TCP, SOL_SOCKET};

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const KEPT: [(&str, &str); 5] = [
    ("open_tcp_keepalive", "true"),
    ("tcp_keepidle", "11"),
    ("tcp_keepinterval", "12"),
    ("tcp_keepcount", "13"),
    ("tcp_user_timeout", "14000"),
];

/// What accepted sockets can have, too.
fn inherited(fd: i32) -> String {
    let of = |level, name| option(fd, level, name);
    format!(
        "nodelay {} alive {} {} {} {} timeout {} buffers {} {}",
        of(IPPROTO_TCP, libc::TCP_NODELAY) != 0,
        of(SOL_SOCKET, libc::SO_KEEPALIVE),
        of(IPPROTO_TCP, libc::TCP_KEEPIDLE),
        of(IPPROTO_TCP, libc::TCP_KEEPINTVL),
        of(IPPROTO_TCP, libc::TCP_KEEPCNT),
        of(IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
        of(SOL_SOCKET, libc::SO_RCVBUF),
        of(SOL_SOCKET, libc::SO_SNDBUF),
    )
}

fn tell_options(server: api::Handle, event: &Event) {
    match event.data() {
        b"!options" => {
            let info = server.client_info(event.fd(), false).expect("the record of a connection");
            answer(server, event.fd(), format!("{}\n", inherited(info.socket_fd)).as_bytes());
        }
        _ => obey(server, event),
    }
}

fn report_ports(server: api::Handle, _: &Event) {
    let sockets = (0..9).map_while(|index| Some((index, port(server, index).ok()?.socket())));
    for (index, socket) in sockets {
        let defer = option(socket, IPPROTO_TCP, libc::TCP_DEFER_ACCEPT) > 0;
        let open = option(socket, IPPROTO_TCP, libc::TCP_FASTOPEN);
        report!("port {index} {} {defer} {open} {}", inherited(socket), backlog(socket));
    }
}

/// The length of the queue of a TCP socket that listens.
fn backlog(socket: i32) -> u32 {
    /// Where `tcpi_sacked` stands, which says it for such a socket.
    const PLACE: usize = 28;
    let mut bytes = [0_u8; PLACE + 4];
    let mut length = bytes.len() as libc::socklen_t;
    // SAFETY: the place has the length that is told.
    unsafe {
        let place = bytes.as_mut_ptr().cast();
        libc::getsockopt(socket, IPPROTO_TCP, libc::TCP_INFO, place, &mut length);
    }
    u32::from_ne_bytes(bytes[PLACE..].try_into().expect("four bytes"))
}

/// A port with nothing set, one with all, one without keep-alive, one at a path.
pub fn with_options(setup: &Setup) -> Outcome {
    let server = puppet::prepare(setup, &[], tell_options)?;
    server.on("connect", |server, event| {
        let info = server.client_info(event.fd(), false).expect("the record of a connection");
        report!("connect {}", info.server_port);
    })?;
    let add_tcp = || add(*server, "127.0.0.1", 0, SW_SOCK_TCP);
    let (all, few) = (add_tcp()?, add_tcp()?);
    let path = std::env::temp_dir().join("asked.sock");
    let at_path = add(*server, &path.to_string_lossy(), 0, SW_SOCK_UNIX_STREAM)?;
    for (name, value) in KEPT {
        all.set(name, value)?;
    }
    all.set("open_tcp_nodelay", "false")?;
    all.set("tcp_defer_accept", "100")?;
    all.set("tcp_fastopen", "15")?;
    for port in [all, at_path] {
        port.set("kernel_socket_recv_buffer_size", "64K")?;
        port.set("kernel_socket_send_buffer_size", "32K")?;
    }
    few.set("tcp_user_timeout", "14000")?;
    few.set("tcp_fastopen", "true")?;
    server.on("start", report_ports)?;
    for port in [all, few, at_path] {
        report!("made {} {}", port.host(), port.number());
    }
    server.start()?;
    Ok(())
}

/// What the system has where nothing is asked for.
fn untouched() -> Fallible<(String, String)> {
    let of_tcp = |name: &str| -> Fallible<String> {
        Ok(std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"))?.trim().to_owned())
    };
    let time = of_tcp("tcp_keepalive_time")?;
    let (interval, count) = (of_tcp("tcp_keepalive_intvl")?, of_tcp("tcp_keepalive_probes")?);
    let default = |name| of_tcp(name).map(|it| it.split_whitespace().nth(1).map(str::to_owned));
    let buffers = (default("tcp_rmem")?, default("tcp_wmem")?);
    let (receive, send) = (buffers.0.ok_or("no default")?, buffers.1.ok_or("no default")?);
    Ok((
        format!("alive 0 {time} {interval} {count} timeout 0"),
        format!("buffers {receive} {send}"),
    ))
}

/// The system doubles the sizes that it is asked for.
const SIZES: &str = "buffers 131072 65536";
const ALIVE: &str = "alive 1 11 12 13 timeout 14000";

pub fn a_port_asks_its_sockets_for_what_it_was_told(server: &Running) -> Outcome {
    let (plain, buffers) = untouched()?;
    for wanted in [
        format!("port 0 nodelay true {plain} {buffers} false 0 512"),
        format!("port 1 nodelay false {ALIVE} {SIZES} true 15 512"),
        format!("port 2 nodelay true {plain} {buffers} false 1 512"),
    ] {
        server.wait_line(|line| line == wanted, STEP)?;
    }
    let log = server.log();
    assert!(!log.contains("could not be set"), "{log}");
    Ok(())
}

/// The host and number of the port that was made as this one.
fn made(server: &Running, place: usize) -> Fallible<(String, i32)> {
    server.wait_line(|line| line == "ready", STEP)?;
    let lines = server.wait_lines(place + 1, |line| line.starts_with("made "), STEP)?;
    let words: Vec<&str> = lines[place].split(' ').collect();
    Ok((words[1].to_owned(), number(words[2])))
}

fn options_at(server: &Running, place: usize) -> Fallible<String> {
    let (host, port) = made(server, place)?;
    Ok(ask_peer(&mut *reach(&host, port)?, "!options")?)
}

pub fn accepted_sockets_have_the_options_of_their_port(server: &Running) -> Outcome {
    assert_eq!(options_at(server, 0)?, format!("nodelay false {ALIVE} {SIZES}"));
    let (plain, _) = untouched()?;
    let few = options_at(server, 1)?;
    assert!(few.starts_with(&format!("nodelay true {plain} buffers ")), "{few}");
    let at_path = options_at(server, 2)?;
    assert!(at_path.ends_with(SIZES), "{at_path}");
    Ok(())
}

pub fn who_says_nothing_is_not_accepted_where_that_is_put_off(server: &Running) -> Outcome {
    let (host, all) = made(server, 0)?;
    let mut silent = reach(&host, all)?;
    let (host, few) = made(server, 1)?;
    let others: Vec<_> = (0..3).map(|_| reach(&host, few)).collect::<Result<_, _>>()?;
    server.wait_lines(3, |line| line == format!("connect {few}"), STEP)?;
    let wanted = format!("connect {all}");
    assert!(!server.lines_so_far().contains(&wanted), "it was accepted");
    silent.write_all(b"x")?;
    server.wait_line(|line| line == wanted, STEP)?;
    drop(others);
    Ok(())
}

/// The system takes no such times.
pub fn with_wrong_options(setup: &Setup) -> Outcome {
    let server = puppet::prepare(setup, &KEPT, tell_options)?;
    server.set("tcp_keepidle", "40000")?;
    server.set("tcp_keepcount", "1000")?;
    server.on("start", report_ports)?;
    server.start()?;
    Ok(())
}

pub fn what_the_system_refuses_is_a_warning(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    let line = server.wait_line(|line| line.starts_with("port 0 "), STEP)?;
    // What it takes is set all the same.
    assert!(line.contains(" alive 1 ") && line.contains(" 12 "), "{line}");
    assert!(line.contains(" timeout 14000 "), "{line}");
    let log = server.log();
    assert_eq!(log.matches("open_tcp_keepalive could not be set").count(), 1, "{log}");
    Ok(())
}

/// The length of the queue of each port, from the second one on.
const QUEUES: [&str; 4] = ["7", "0", "-5", "99999"];

pub fn with_queues(setup: &Setup) -> Outcome {
    let server = puppet::prepare(setup, &[("backlog", "9")], obey)?;
    for length in QUEUES {
        add(*server, "127.0.0.1", 0, SW_SOCK_TCP)?.set("BACKLOG", length)?;
    }
    server.on("start", report_ports)?;
    server.start()?;
    Ok(())
}

pub fn the_queue_is_as_long_as_was_told(server: &Running) -> Outcome {
    let most: u32 = number(std::fs::read_to_string("/proc/sys/net/core/somaxconn")?.trim());
    for (index, length) in [9, 7, 512, 512, 65_535].into_iter().enumerate() {
        let line = server.wait_line(|line| line.starts_with(&format!("port {index} ")), STEP)?;
        assert_eq!(line.rsplit(' ').next(), Some(&*length.min(most).to_string()));
    }
    Ok(())
}
