//! Connections through the C functions: bytes there and back over every kind of stream, the events
//! of a connection, how it is closed, and what can be asked and sent meanwhile.

#[path = "echo/closing.rs"]
mod closing;
#[path = "echo/commands.rs"]
mod commands;
mod common;
#[path = "echo/knowledge.rs"]
mod knowledge;
#[path = "echo/sending.rs"]
mod sending;

use closing::*;
use commands::{new_port, run_commands};
use common::api::Handle;
use common::prelude::*;
use knowledge::*;
use sending::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes that repeat only after a long way, so that nothing can come twice or in another place
/// without being seen.
pub fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn send_back(server: Handle, event: &Event) {
    if let Err(error) = server.send(event.fd(), event.data()) {
        report!("send failed: {error}");
    }
}

fn echo(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("receive", send_back)?;
    server.start()?;
    Ok(())
}

fn bytes_of_every_size_come_back_as_they_were_sent(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    for length in [1, 2, 4095, 4096, 4097, 65_535, 65_536, 65_537, 1 << 20] {
        client.echo(&pattern(length, length as u64))?;
    }
    Ok(())
}

fn a_client_that_has_finished_sending_gets_its_whole_echo(server: &Running) -> Outcome {
    for round in 0..50 {
        let mut client = server.connect()?;
        let bytes = pattern(100, round);
        client.send(&bytes)?;
        client.finish_sending()?;
        assert!(client.receive_to_end()? == bytes, "round {round}");
    }
    let mut client = server.connect()?;
    let bytes = pattern(1 << 20, 1);
    let mut writer = client.stream.try_clone()?;
    let sent = bytes.clone();
    let sending = std::thread::spawn(move || {
        writer.write_all(&sent)?;
        writer.shutdown(std::net::Shutdown::Write)
    });
    let back = client.receive_to_end()?;
    sending.join().map_err(|_| "the sender panicked")??;
    assert!(back == bytes, "{} of {} bytes came back", back.len(), bytes.len());
    Ok(())
}

fn many_clients_at_once_get_each_their_own(server: &Running) -> Outcome {
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(server.connect()?);
    }
    for round in 0..5 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(&pattern(3000, number as u64 * 7 + round))?;
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let back = client.receive(3000)?;
            assert!(back == pattern(3000, number as u64 * 7 + round), "client {number}");
        }
    }
    Ok(())
}

fn echo_over_unix(setup: &Setup) -> Outcome {
    let path = std::env::temp_dir().join("echo.sock");
    let path = path.to_str().ok_or("the path is no text")?.to_owned();
    let server = setup.bare_server(&path, SW_SOCK_UNIX_STREAM)?;
    server.set("worker_num", "2")?;
    server.on("start", |_, _| {})?;
    server.on("receive", |server, event| {
        let info = server.client_info(event.fd(), false).expect("the information");
        report!("type {} port {} peer {}", info.socket_type, info.server_port, info.remote_port);
        send_back(server, event);
    })?;
    report!("path {path}");
    server.start()?;
    report!("the file is gone: {}", !std::path::Path::new(&path).exists());
    Ok(())
}

fn a_unix_stream_port_echoes_and_its_file_goes_at_the_end(server: &Running) -> Outcome {
    let path = server.wait_line(|line| line.starts_with("path "), STEP)?;
    server.wait_line(|line| line == "ready", STEP)?;
    let mut stream = UnixStream::connect(path.trim_start_matches("path "))?;
    stream.set_read_timeout(Some(STEP))?;
    let bytes = pattern(50_000, 3);
    stream.write_all(&bytes)?;
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back)?;
    assert!(back == bytes);
    server.wait_line(|line| line == "type 5 port 0 peer 0", STEP)?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    server.wait_line(|line| line == "the file is gone: true", STEP)?;
    Ok(())
}

fn echo_over_ipv6(setup: &Setup) -> Outcome {
    let server = setup.bare_server("::1", SW_SOCK_TCP6)?;
    server.on("start", |_, _| {})?;
    server.on("receive", |server, event| {
        let info = server.client_info(event.fd(), false).expect("the information");
        let peer = common::api::remote_ip(&info);
        report!("type {} peer {peer} port {}", info.socket_type, info.remote_port);
        send_back(server, event);
    })?;
    server.start()?;
    Ok(())
}

fn an_ipv6_port_echoes(server: &Running) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    let stream = TcpStream::connect(("::1", server.port()))?;
    stream.set_read_timeout(Some(STEP))?;
    let mut client = common::Client { stream };
    client.echo(b"over six")?;
    let wanted = format!("type 3 peer ::1 port {}", client.local_port()?);
    server.wait_line(|line| line == wanted, STEP)?;
    Ok(())
}

fn echo_on_any_port(setup: &Setup) -> Outcome {
    let before = common::process::open_descriptors()?;
    let server = Server::new("127.0.0.1", 0, setup.mode.number(), SW_SOCK_TCP)?;
    report!("port {}", new_port(&before)?);
    server.on("start", |_, _| {})?;
    server.on("receive", |server, event| {
        let info = server.client_info(event.fd(), false).expect("the information");
        report!("server_port {}", info.server_port);
        send_back(server, event);
    })?;
    server.start()?;
    Ok(())
}

fn port_0_is_a_port_that_the_system_chose(server: &Running) -> Outcome {
    let line = server.wait_line(|line| line.starts_with("port "), STEP)?;
    let port: u16 = line.trim_start_matches("port ").parse()?;
    assert_ne!(port, 0);
    server.wait_line(|line| line == "ready", STEP)?;
    common::Client::connect(port)?.echo(b"anywhere")?;
    server.wait_line(|line| line == format!("server_port {port}"), STEP)?;
    Ok(())
}

fn tell_events(setup: &Setup) -> Outcome {
    fn tell(server: Handle, event: &Event) {
        let told = event.connection();
        report!(
            "{:?} fd {} reactor {} time {} null {} len {} worker {}",
            event.kind(),
            told.fd,
            told.reactor_id,
            told.dispatch_time,
            told.data.is_null(),
            told.len,
            server.worker_id()
        );
    }
    let server = setup.server()?;
    server.on("connect", tell)?;
    server.on("receive", |server, event| {
        tell(server, event);
        send_back(server, event);
    })?;
    server.on("close", tell)?;
    server.start()?;
    Ok(())
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The part of a reported event behind a word.
fn part<T: std::str::FromStr>(line: &str, word: &str) -> Option<T> {
    let mut words = line.split(' ').skip_while(|found| *found != word);
    words.nth(1)?.parse().ok()
}

fn events_come_in_order_in_one_worker_with_all_they_tell(server: &Running) -> Outcome {
    for fd in 1..=4_i64 {
        let began = now_s();
        let mut client = server.connect()?;
        client.echo(b"one")?;
        client.echo(b"three")?;
        drop(client);
        let is_of_it = |line: &str| part(line, "fd") == Some(fd);
        let lines = server.wait_lines(4, is_of_it, STEP)?;
        let kinds: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
        let receive = "SW_EVENT_RECEIVE";
        assert_eq!(kinds, ["SW_EVENT_CONNECT", receive, receive, "SW_EVENT_CLOSE"]);
        let reactor: Option<i32> = part(&lines[0], "reactor");
        let worker: Option<i32> = part(&lines[0], "worker");
        assert!(matches!(reactor, Some(0..=1)) && matches!(worker, Some(0..=1)), "{lines:?}");
        for line in &lines {
            assert_eq!(part(line, "reactor"), reactor, "{line}");
            assert_eq!(part(line, "worker"), worker, "{line}");
        }
        for (line, len) in [(&lines[0], 0), (&lines[1], 3), (&lines[2], 5), (&lines[3], 0)] {
            assert_eq!(part(line, "len"), Some(len), "{line}");
            assert_eq!(part(line, "null"), Some(len == 0), "{line}");
            let time: f64 = part(line, "time").ok_or("no time")?;
            let is_right = if len == 0 { time == 0.0 } else { time >= began && time <= now_s() };
            assert!(is_right, "{line}, began {began}");
        }
    }
    Ok(())
}

server_tests! {
    // These look at what holds when the call that closes has returned: there, not yet.
    [both_faces but a_close_runs_its_callback_inside_and_only_then_is_over,
        a_close_delivers_what_was_queued];
    bytes_of_every_size_come_back_as_they_were_sent: echo;
    a_client_that_has_finished_sending_gets_its_whole_echo: echo;
    many_clients_at_once_get_each_their_own: echo;
    a_unix_stream_port_echoes_and_its_file_goes_at_the_end: echo_over_unix;
    an_ipv6_port_echoes: echo_over_ipv6;
    port_0_is_a_port_that_the_system_chose: echo_on_any_port;
    events_come_in_order_in_one_worker_with_all_they_tell: tell_events;

    a_close_in_connect_ends_a_client_that_has_sent: close_in_connect;
    a_close_runs_its_callback_inside_and_only_then_is_over: close_in_receive;
    inside_the_close_callback_the_connection_is_known_but_dead: look_in_close;
    a_peer_that_goes_is_told_by_its_reactor: run_commands;
    a_reset_is_seen_by_the_client: run_commands;
    ids_that_name_nothing_are_refused: run_commands;
    a_close_from_another_worker_runs_in_the_bound_one: run_commands;
    // Where workers accept themselves, one that is stuck has no connection that others could see.
    a_close_by_another_worker_comes_after_the_connect: wait_in_first_close,
        in [Mode::Process, Mode::Thread];
    a_close_by_the_manager_runs_in_the_bound_worker: close_in_manager;
    a_close_by_the_master_runs_in_the_bound_worker: close_before_shutdown;
    a_close_delivers_what_was_queued: run_commands;
    a_reset_after_a_close_cuts_what_waits: run_commands;
    a_close_is_told_once_when_both_ends_close: close_on_everything;

    what_is_known_of_a_connection_is_right: run_commands;
    connections_are_listed_in_pages: command_in_one_worker;
    statistics_count_what_happened: run_commands;
    a_foreign_connection_can_be_sent_to_and_closed_but_seen_by_its_owner_only_in_base: run_commands;

    a_stale_id_never_reaches_the_next_connection: command_in_one_worker;
    a_peer_that_does_not_read_overflows_and_recovers: command_in_one_worker;
    one_send_is_limited_where_it_crosses_processes: command_with_small_output;
}
