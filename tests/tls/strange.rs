//! Clients that keep to the protocol and are hard to serve all the same.

use crate::client::{hello, path_of, Result, Tls, Wishes};
use crate::common::prelude::*;
use crate::puppet::{kill, pid_now};
use crate::server::long_chain;
use crate::traffic::wait_log;
use nix::sys::socket::{
    connect, setsockopt, socket, sockopt, AddressFamily, SockFlag, SockType, SockaddrIn,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::HandshakeKind;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A certificate of about so many bytes, with its key.
fn large(bytes: usize) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
    let name = |number: usize| format!("{number:0>54}.example.test");
    // Each name is 68 bytes and two more.
    let params = CertificateParams::new((0..bytes / 70).map(name).collect::<Vec<_>>())?;
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.der().clone();
    Ok((certificate, PrivateKeyDer::try_from(key.serialize_der())?))
}

/// The certificate comes to its worker with the news of the connection, in one piece or in many.
pub fn a_large_certificate_of_a_client_is_known(server: &Running) -> Outcome {
    for bytes in [4000, 15_000, 40_000, 60_000] {
        let (certificate, key) = large(bytes)?;
        let length = certificate.len();
        let mut client = Wishes::showing(certificate, key)?.connect(server)?;
        let (_, fd) = client.who()?;
        let told = client.ask(&format!("cert {fd}"))?;
        let is_whole = told.starts_with("-----BEGIN") && told.ends_with("-----|");
        assert!(is_whole && told.len() > length * 4 / 3, "{} of {length}", told.len());
        let connected = format!("connect {fd} {}", told.len());
        server.wait_line(|line| line == connected, STEP)?;
    }
    let (certificate, key) = large(90_000)?;
    let refused = Wishes::showing(certificate, key)?.connect(server);
    assert!(refused.and_then(|mut client| client.echo(b"?")).is_err(), "a certificate without end");
    let mut client = Wishes::usual()?.connect(server)?;
    client.ask_until("aborted", |line| line == "1 1")?;
    Ok(())
}

/// A connection that takes few bytes at a time.
fn narrow(server: &Running) -> Result<TcpStream> {
    server.wait_line(|line| line == "ready", STEP)?;
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::RcvBuf, &2048)?;
    let address = SocketAddrV4::new([127, 0, 0, 1].into(), server.port());
    connect(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(2 * STEP))?;
    stream.set_write_timeout(Some(STEP))?;
    Ok(stream)
}

/// What the server says in its handshake does not fit into the sockets.
pub fn who_takes_the_handshake_slowly_is_waited_for_and_who_never_does_is_not(
    server: &Running,
) -> Outcome {
    let wishes = Wishes::usual()?;
    let begin = Instant::now();
    let mut never = wishes.on(narrow(server)?, "localhost")?;
    never.0.conn.write_tls(&mut never.0.sock)?;
    let mut slow = wishes.on(narrow(server)?, "localhost")?;
    let Tls(stream) = &mut slow;
    stream.conn.write_tls(&mut stream.sock)?;
    let mut reads = 0;
    while stream.conn.is_handshaking() {
        reads += stream.conn.read_tls(&mut (&mut stream.sock).take(500))?.min(1);
        stream.conn.process_new_packets()?;
    }
    assert!(reads > 100, "{reads} reads");
    slow.echo(b"at last")?;
    let mut rest = Vec::new();
    slow.0.sock.set_read_timeout(Some(2 * STEP))?;
    while slow.ask("aborted")? != "1 1" {
        assert!(begin.elapsed() < Duration::from_secs(20), "it is waited for without end");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(begin.elapsed() >= Duration::from_secs(10));
    drop(never.0.sock.read_to_end(&mut rest));
    assert!(rest.len() < 55_000, "{} bytes of the handshake were taken", rest.len());
    slow.echo(b"and on")?;
    Ok(std::fs::remove_file(long_chain(server.temporary()))?)
}

/// Told in order, or by the socket alone.
pub fn an_end_in_the_middle_of_a_message_is_an_end(server: &Running) -> Outcome {
    let wishes = Wishes::usual()?;
    for is_told in [true, false] {
        let mut client = wishes.connect(server)?;
        client.send(b"whole\nand a part")?;
        assert_eq!(client.receive(2)?, b"6\n");
        match is_told {
            true => client.end()?,
            false => client.0.sock.shutdown(std::net::Shutdown::Write)?,
        }
        assert_eq!(client.receive_to_end()?, b"", "only the whole message is answered");
    }
    server.wait_lines(2, |line| line.starts_with("close "), STEP)?;
    let mut client = wishes.connect(server)?;
    client.send(b"on\n")?;
    assert_eq!(client.receive(2)?, b"3\n");
    Ok(())
}

pub fn nobody_negotiates_anew(server: &Running) -> Outcome {
    let mut other = Wishes::usual()?.connect(server)?;
    let address = format!("127.0.0.1:{}", server.port());
    let child = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-tls1_2", "-CAfile", &path_of("ca.crt")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    // There may be no such program.
    let Ok(mut child) = child else { return Ok(()) };
    let mut input = child.stdin.take().ok_or("no pipe")?;
    // A line that is this letter alone asks for it.
    input.write_all(b"R\n")?;
    let output = child.wait_with_output()?;
    drop(input);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("RENEGOTIATING"), "{said}");
    assert!(said.contains("no renegotiation"), "{said}");
    server.wait_line(|line| line.starts_with("close "), STEP)?;
    other.echo(b"nothing happened")
}

/// In process mode the reactor shakes hands, and whoever is the worker then serves; where workers
/// do it themselves, the connection ends with its worker, and its place is free again.
pub fn a_worker_that_is_killed_in_a_handshake_leaves_nothing_behind(server: &Running) -> Outcome {
    const COUNT: usize = 20;
    let wishes = Wishes::usual()?;
    let mut first = wishes.connect(server)?;
    let mut half = Vec::new();
    for _ in 0..COUNT {
        let mut client = wishes.on(server.connect()?.stream, "localhost")?;
        let mut hello = Vec::new();
        client.0.conn.write_tls(&mut hello)?;
        client.0.sock.write_all(&hello[..hello.len() / 2])?;
        half.push((client, hello));
    }
    let all = format!("0 {}", COUNT + 1);
    first.ask_until("aborted", |line| line == all)?;
    for worker in 0..2 {
        kill(pid_now(server, worker)?)?;
    }
    if server.mode() == Mode::Process {
        for (client, hello) in &mut half {
            client.0.sock.write_all(&hello[hello.len() / 2..])?;
            client.shake()?;
            client.echo(b"with the next worker")?;
        }
        first.echo(b"as before")?;
        first.ask_until("aborted", |line| line == all)?;
    } else {
        for (client, _) in &mut half {
            assert!(client.shake().is_err(), "its worker is gone");
        }
        server.wait_lines(4, |line| line.starts_with("worker "), STEP)?;
        let mut next = wishes.connect(server)?;
        next.ask_until("aborted", |line| line.ends_with(" 1"))?;
    }
    Ok(())
}

/// Sessions from before are forgotten, since certificates may have changed.
pub fn after_a_reload_sessions_begin_anew_and_are_resumed(server: &Running) -> Outcome {
    let wishes = Wishes::usual()?;
    wishes.connect(server)?.who()?;
    let kind = |wishes: &Wishes| -> Result<Option<HandshakeKind>> {
        let mut client = wishes.connect(server)?;
        client.who()?;
        Ok(client.0.conn.handshake_kind())
    };
    assert_eq!(kind(&wishes)?, Some(HandshakeKind::Resumed));
    server.signal(libc::SIGUSR1)?;
    wait_log(server, "Server has reloaded all workers")?;
    // The certificates are read beside that.
    wait_log(server, "were read again")?;
    // Where each worker listens for itself, nobody may do so for a moment.
    let end = Instant::now() + STEP;
    while server.connect().is_err() && Instant::now() < end {}
    assert_eq!(kind(&wishes)?, Some(HandshakeKind::Full));
    for round in 0..10 {
        assert_eq!(kind(&wishes)?, Some(HandshakeKind::Resumed), "{round}");
    }
    Ok(())
}

/// Connections that have begun a handshake and leave it at that; the server has taken them.
fn half_open(server: &Running, count: usize) -> Result<Vec<TcpStream>> {
    let mut healthy = Wishes::usual()?.connect(server)?;
    let mut half = Vec::new();
    for _ in 0..count {
        let mut stream = server.connect()?.stream;
        stream.write_all(&hello()?[..50])?;
        half.push(stream);
    }
    healthy.ask_until("aborted", |line| line == format!("0 {}", count + 1))?;
    healthy.end()?;
    healthy.receive_to_end()?;
    Ok(half)
}

/// Nobody waits for what has no answer to come.
pub fn a_server_ends_beside_handshakes_that_do_not(server: &Running) -> Outcome {
    let half = half_open(server, 10)?;
    let begin = Instant::now();
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert!(!server.log().contains("timeout"));
    drop(half);
    Ok(())
}

/// Where connections end with their worker, these do, too.
pub fn a_worker_is_replaced_beside_handshakes_that_do_not_end(server: &Running) -> Outcome {
    let mut half = half_open(server, 10)?;
    let begin = Instant::now();
    server.signal(libc::SIGUSR1)?;
    wait_log(server, "Server has reloaded all workers")?;
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert!(!server.log().contains("timeout"));
    let mut client = Wishes::usual()?.connect(server)?;
    if server.mode() != Mode::Process {
        for stream in &mut half {
            drop(stream.read_to_end(&mut Vec::new()));
        }
        client.ask_until("aborted", |line| line.ends_with(" 1"))?;
    }
    let told = server.lines_so_far().iter().filter(|line| line.starts_with("close ")).count();
    assert_eq!(told, 1);
    client.echo(b"on")
}
