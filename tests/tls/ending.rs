//! How connections end.

use crate::client::{Tls, Wishes};
use crate::common::prelude::*;
use crate::puppet;
use crate::sending::MIB;
use std::io::ErrorKind;
use std::time::Instant;

fn gone(server: &Running, fd: i64) -> Result<String, String> {
    server.wait_line(|line| line == format!("close {fd}"), STEP)
}

pub fn an_end_is_told_in_order_and_a_reset_is_not(server: &Running) -> Outcome {
    let wishes = Wishes::usual()?;
    let mut client = wishes.connect(server)?;
    let (_, fd) = client.who()?;
    client.send(b"!close")?;
    assert_eq!(client.receive_to_end()?, b"", "an end that is told is no error");
    gone(server, fd)?;
    const PART: usize = 3 * MIB / 2;
    let mut client = wishes.connect(server)?;
    let (_, fd) = client.who()?;
    client.send(format!("!part {PART}").as_bytes())?;
    assert!(client.receive_to_end()? == vec![b'p'; PART]);
    gone(server, fd)?;
    let mut client = wishes.connect(server)?;
    let (_, fd) = client.who()?;
    client.send(b"!cut")?;
    let error = client.receive_to_end().expect_err("nobody has told the end");
    assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset));
    gone(server, fd)?;
    Ok(())
}

/// The end of its side comes with its last message, and its socket stays open.
pub fn a_client_that_has_ended_gets_its_answers(server: &Running) -> Outcome {
    let wishes = Wishes::usual()?;
    for message in [&b"the last"[..], &vec![3; 100_000]] {
        let mut client = wishes.connect(server)?;
        let (_, fd) = client.who()?;
        let Tls(stream) = &mut client;
        stream.conn.set_buffer_limit(None);
        std::io::Write::write_all(&mut stream.conn.writer(), message)?;
        client.end()?;
        assert!(client.receive_to_end()? == message);
        gone(server, fd)?;
    }
    // One that just goes away has ended as well.
    let mut client = wishes.connect(server)?;
    let (_, fd) = client.who()?;
    drop(client);
    gone(server, fd)?;
    Ok(())
}

pub fn clients_outlive_a_killed_worker(server: &Running) -> Outcome {
    let wishes = Wishes::usual()?;
    let mut clients: Vec<Tls> = Vec::new();
    for _ in 0..8 {
        clients.push(wishes.connect(server)?);
    }
    for worker in 0..2 {
        puppet::kill(puppet::pid_now(server, worker)?)?;
    }
    for client in &mut clients {
        client.echo(&[9; 50_000])?;
    }
    for client in &mut clients {
        client.end()?;
        assert_eq!(client.receive_to_end()?, b"");
    }
    let mut last = wishes.connect(server)?;
    last.ask_until("aborted", |line| line == "0 1")?;
    Ok(())
}

pub fn the_heartbeat_ends_what_is_silent_before_and_after_the_handshake(
    server: &Running,
) -> Outcome {
    let wishes = Wishes::usual()?;
    let begin = Instant::now();
    let mut stalled = server.connect()?;
    let mut silent = wishes.connect(server)?;
    assert_eq!(silent.receive_to_end()?, b"");
    assert_eq!(stalled.receive_to_end()?, b"");
    assert!(begin.elapsed() < std::time::Duration::from_secs(9), "no deadline of handshakes");
    let mut client = wishes.connect(server)?;
    client.ask_until("aborted", |line| line == "1 1")?;
    let seen = server.wait_lines(2, |line| line.starts_with("connect "), STEP)?;
    assert_eq!(seen.len(), 2);
    let closed = server.lines_so_far().iter().filter(|line| line.starts_with("close ")).count();
    assert_eq!(closed, 1, "nobody is told of a connection without a handshake");
    Ok(())
}
