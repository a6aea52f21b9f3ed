//! What comes and goes.

use crate::client::{path_of, Tls, Wishes};
use crate::common::prelude::*;
use crate::common::Client;
use crate::sending::{bytes, Scrap, FILLING, MIB};
use crate::server::socket_path;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Instant;

const SIZES: [usize; 11] = [1, 2, 100, 4096, 16_383, 16_384, 16_385, 65_536, 65_537, 262_144, MIB];

pub fn every_size_comes_back_in_both_versions(server: &Running) -> Outcome {
    for version in rustls::ALL_VERSIONS {
        let mut client = Wishes::new(&[version], None)?.connect(server)?;
        assert_eq!(client.0.conn.protocol_version(), Some(version.version));
        for size in SIZES {
            client.echo(&bytes(0, size))?;
        }
    }
    Ok(())
}

pub fn what_a_worker_has_no_room_for_is_read_later(server: &Running) -> Outcome {
    let mut client = Wishes::usual()?.connect(server)?;
    for _ in 0..3 {
        client.echo(&bytes(0, MIB))?;
    }
    Ok(())
}

/// Messages and records have nothing to do with each other: many in one, one in many.
pub fn messages_are_cut_from_what_was_decrypted(server: &Running) -> Outcome {
    let mut client = Wishes::usual()?.connect(server)?;
    let line = |length: usize| [&vec![b'l'; length - 1][..], b"\n"].concat();
    let lengths: Vec<usize> = (0..300).map(|index| 1 + index * 37 % 5000).collect();
    let all: Vec<u8> = lengths.iter().flat_map(|length| line(*length)).collect();
    let expected: String = lengths.iter().map(|length| format!("{length}\n")).collect();
    for step in [all.len(), 100_000, 16_384, 5000, 700] {
        for piece in all.chunks(step) {
            client.send(piece)?;
        }
        let answers = client.receive(expected.len())?;
        assert!(answers == expected.as_bytes(), "in pieces of {step}");
    }
    // The last bytes of a record that holds the end of the stream, too.
    client.0.conn.writer().write_all(&line(60_000))?;
    client.end()?;
    assert_eq!(client.receive_to_end()?, b"60000\n");
    Ok(())
}

pub fn many_clients_are_served_at_once(server: &Running) -> Outcome {
    const COUNT: usize = 60;
    let wishes = Wishes::usual()?;
    let mut clients: Vec<Tls> = Vec::new();
    for _ in 0..COUNT {
        clients.push(wishes.connect(server)?);
    }
    for size in [1, 1000, 40_000] {
        for client in &mut clients {
            client.send(&vec![7; size])?;
        }
        for client in &mut clients {
            assert_eq!(client.receive(size)?, vec![7; size]);
        }
    }
    assert_eq!(clients[0].ask("aborted")?, format!("0 {COUNT}"));
    server.wait_lines(COUNT, |line| line.starts_with("connect "), STEP)?;
    Ok(())
}

/// The last message of the client's handshake and its first one arrive together: no event follows.
pub fn what_was_sent_with_the_end_of_the_handshake_arrives(server: &Running) -> Outcome {
    let wishes = Wishes::usual()?;
    for size in [1, 70_000] {
        let mut client = wishes.on(server.connect()?.stream, "localhost")?;
        let Tls(stream) = &mut client;
        stream.conn.write_tls(&mut stream.sock)?;
        while stream.conn.is_handshaking() {
            stream.conn.read_tls(&mut stream.sock)?;
            stream.conn.process_new_packets()?;
        }
        let mut flight = Vec::new();
        stream.conn.set_buffer_limit(None);
        stream.conn.writer().write_all(&bytes(0, size))?;
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut flight)?;
        }
        stream.sock.write_all(&flight)?;
        assert!(client.receive(size)? == bytes(0, size));
    }
    Ok(())
}

pub fn ports_of_every_kind_have_tls_or_not(server: &Running) -> Outcome {
    let wishes = Wishes::usual()?;
    server.connect()?.echo(b"plain")?;
    let socket = TcpStream::connect(("::1", server.port()))?;
    socket.set_read_timeout(Some(STEP))?;
    let mut over_ipv6 = wishes.on(socket, "localhost")?;
    let socket = UnixStream::connect(socket_path(server.temporary()))?;
    socket.set_read_timeout(Some(STEP))?;
    let mut over_unix = wishes.on(socket, "localhost")?;
    for size in SIZES {
        over_ipv6.echo(&bytes(0, size))?;
        over_unix.echo(&bytes(0, size))?;
    }
    // Who speaks what the port does not is told apart in the log.
    let plain = wishes.on(server.connect()?.stream, "localhost")?.shake();
    assert!(plain.is_err(), "a plain port sends back what it gets, which is no handshake");
    wait_log(server, "speaks TLS to 127.0.0.1")?;
    let mut stranger = TcpStream::connect(("::1", server.port()))?;
    stranger.set_read_timeout(Some(STEP))?;
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
    assert!(matches!(stranger.read(&mut [0]), Ok(0) | Err(_)));
    wait_log(server, "plain HTTP, not TLS")?;
    Ok(())
}

/// Waits until the log has a text. The log is a file: nothing tells of it.
pub fn wait_log(server: &Running, text: &str) -> Outcome {
    let end = Instant::now() + STEP;
    while !server.log().contains(text) {
        if Instant::now() > end {
            return Err(format!("the log does not say {text:?}").into());
        }
        std::thread::yield_now();
    }
    Ok(())
}

pub fn files_and_sends_keep_their_order(server: &Running) -> Outcome {
    const SIZE: usize = 3 * MIB + 7;
    let scrap = Scrap::new(server, SIZE)?;
    let (path, whole) = (scrap.path().display(), bytes(0, SIZE));
    let mut client = Wishes::usual()?.connect(server)?;
    let (_, fd) = client.who()?;
    client.send(format!("!between {fd} {path}").as_bytes())?;
    assert_eq!(client.receive(1)?, b"<");
    assert!(client.receive(SIZE)? == whole, "the whole file");
    assert_eq!(client.receive(5)?, [b'|', whole[SIZE - 1], b'>', b'0', b'\n']);
    for (offset, length) in [(0, 1), (4096, 100_000), (SIZE - 1, 1), (7, SIZE - 7)] {
        client.send(format!("!file {fd} {path} {offset} {length}").as_bytes())?;
        assert!(client.receive(length)? == whole[offset..offset + length]);
        assert_eq!(client.receive(2)?, b"0\n");
    }
    Ok(())
}

pub fn a_send_that_waits_returns_when_all_has_gone(server: &Running) -> Outcome {
    const SIZE: usize = 6 * MIB;
    let mut client = Wishes::usual()?.connect(server)?;
    let (_, fd) = client.who()?;
    client.send(format!("!wait {fd} {SIZE}").as_bytes())?;
    assert!(client.receive(SIZE)? == vec![FILLING; SIZE]);
    assert_eq!(client.receive(2)?, b"0\n");
    client.echo(b"and on")
}

pub fn what_a_slow_client_does_not_take_waits(server: &Running) -> Outcome {
    const SIZE: usize = 12 * MIB;
    let wishes = Wishes::usual()?;
    let (mut slow, mut other) = (wishes.connect(server)?, wishes.connect(server)?);
    let (worker, fd) = slow.who()?;
    slow.send(format!("!blob {fd} {SIZE}").as_bytes())?;
    let is_seen = server.mode() != Mode::Base || other.who()?.0 == worker;
    if is_seen {
        other.ask_until(&format!("waiting {fd}"), |line| line != "0")?;
    }
    other.echo(b"meanwhile")?;
    assert!(slow.receive(SIZE)? == vec![FILLING; SIZE]);
    assert_eq!(slow.receive(2)?, b"0\n");
    if is_seen {
        other.ask_until(&format!("waiting {fd}"), |line| line == "0")?;
    }
    Ok(())
}

/// Also what was decrypted before, of which no event tells.
pub fn a_paused_connection_is_read_when_it_is_resumed(server: &Running) -> Outcome {
    let wishes = Wishes::usual()?;
    let (mut client, mut other) = (wishes.connect(server)?, wishes.connect(server)?);
    let (worker, fd) = client.who()?;
    while server.mode() != Mode::Process && other.who()?.0 != worker {
        other = wishes.connect(server)?;
    }
    for size in [1, 16_384, 300_000] {
        assert_eq!(client.ask(&format!("pause {fd}"))?, "true");
        client.0.conn.set_buffer_limit(None);
        client.0.conn.writer().write_all(&bytes(0, size))?;
        // More than the sockets take waits here.
        while client.0.conn.wants_write() && client.0.conn.write_tls(&mut client.0.sock)? > 0 {}
        other.echo(b"meanwhile")?;
        assert_eq!(other.ask(&format!("resume {fd}"))?, "true");
        assert!(client.receive(size)? == bytes(0, size), "{size}");
    }
    // The end of a peer is noticed then, too.
    assert_eq!(client.ask(&format!("pause {fd}"))?, "true");
    client.end()?;
    other.echo(b"meanwhile")?;
    assert_eq!(other.ask(&format!("exist {fd}"))?, "true");
    assert_eq!(other.ask(&format!("resume {fd}"))?, "true");
    assert_eq!(client.receive_to_end()?, b"");
    Ok(())
}

pub fn levels_are_told_of_what_waits(server: &Running) -> Outcome {
    const SIZE: usize = 12 * MIB;
    let mut client = Wishes::usual()?.connect(server)?;
    let (_, fd) = client.who()?;
    for round in 1..=2 {
        client.send(format!("!blob {fd} {SIZE}").as_bytes())?;
        server.wait_lines(round, |line| line == format!("bufferFull {fd}"), STEP)?;
        assert!(client.receive(SIZE)? == vec![FILLING; SIZE]);
        assert_eq!(client.receive(2)?, b"0\n");
        server.wait_lines(round, |line| line == format!("bufferEmpty {fd}"), STEP)?;
    }
    Ok(())
}

pub fn a_file_is_whole_before_the_end_and_a_part_before_a_reset(server: &Running) -> Outcome {
    const SIZE: usize = 40 * MIB;
    let scrap = Scrap::new(server, SIZE)?;
    let path = scrap.path().display();
    let wishes = Wishes::usual()?;
    let mut client = wishes.connect(server)?;
    client.send(format!("!leave {path}").as_bytes())?;
    assert!(client.receive_to_end()? == bytes(0, SIZE));
    let mut client = wishes.connect(server)?;
    client.send(format!("!drop {path}").as_bytes())?;
    assert!(client.receive_to_end().is_err(), "what is cut is no whole");
    server.wait_lines(2, |line| line == "left: true true", STEP)?;
    Ok(())
}

pub fn reading_begins_when_a_connection_is_confirmed(server: &Running) -> Outcome {
    let mut client = Wishes::usual()?.connect(server)?;
    client.send(b"early")?;
    server.wait_line(|line| line == "confirmed true", STEP)?;
    assert_eq!(client.receive(5)?, b"early");
    client.echo(&bytes(0, 100_000))
}

/// A program that talks to the server in TLS, and sends back what it got as the last line.
fn talk(program: &str, arguments: &[&str], input: &[u8], length: usize) -> Result<Vec<u8>, String> {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return Err("it is not there".to_owned()) };
    let (mut to, mut from) = match (child.stdin.take(), child.stdout.take()) {
        (Some(to), Some(from)) => (to, from),
        _ => return Err("no pipes".to_owned()),
    };
    let mut answer = vec![0; length];
    let result = to.write_all(input).and_then(|()| from.read_exact(&mut answer));
    drop(to);
    // One of them goes on until its peer has ended.
    drop(child.kill());
    drop(child.wait());
    result.map(|()| answer).map_err(|error| format!("{program}: {error}"))
}

const PYTHON: &str = "
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
with socket.create_connection(('127.0.0.1', int(sys.argv[1])), 10) as raw:
    with context.wrap_socket(raw, server_hostname='localhost') as secure:
        secure.sendall(sys.stdin.buffer.readline())
        sys.stdout.buffer.write(secure.recv(100))
";

pub fn other_programs_get_along(server: &Running) -> Outcome {
    drop(server.connect()?);
    let (authority, port) = (path_of("ca.crt"), server.port().to_string());
    let address = format!("127.0.0.1:{port}");
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments =
            ["s_client", "-quiet", "-connect", &address, "-CAfile", &authority, version];
        match talk("openssl", &arguments, b"from openssl\n", 13) {
            Ok(answer) => assert_eq!(answer, b"from openssl\n"),
            Err(error) if error == "it is not there" => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    let arguments = ["s_client", "-quiet", "-connect", &address, "-tls1_1"];
    assert!(talk("openssl", &arguments, b"old\n", 4).is_err(), "TLS 1.1");
    match talk("python3", &["-c", PYTHON, &port, &authority], b"from python\n", 12) {
        Ok(answer) => assert_eq!(answer, b"from python\n"),
        Err(error) if error == "it is not there" => {}
        Err(error) => return Err(error.into()),
    }
    Client::connect(server.port())?;
    Ok(())
}

/// Each answer is the length of a whole request, of the same connection.
pub fn curl_talks_to_a_port_that_cuts_requests(server: &Running) -> Outcome {
    const BODY: usize = 2 * MIB;
    drop(server.connect()?);
    let scrap = Scrap::new(server, BODY)?;
    let (authority, port) = (path_of("ca.crt"), server.port());
    let body = format!("@{}", scrap.path().display());
    let (name, url) = (format!("localhost:{port}:127.0.0.1"), format!("https://localhost:{port}/"));
    for version in ["--tlsv1.3", "--tls-max 1.2"] {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "10", "--cacert", &authority, "--resolve", &name]);
        curl.args(version.split(' ')).args(["-H", "Expect:", "--data-binary", &body, &url, &url]);
        let Ok(output) = curl.output() else { return Ok(()) };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let lengths: Vec<usize> = said.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(lengths.len() == 2 && lengths.iter().all(|length| *length > BODY), "{said}");
    }
    Ok(())
}
