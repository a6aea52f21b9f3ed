//! Who is silent, who is slow, and who only has to wait.

use crate::client::{hello, Tls, Wishes};
use crate::common::prelude::*;
use crate::puppet::Gate;
use crate::sending::MIB;
use std::io::Write;
use std::time::{Duration, Instant};

/// What a client would send in one record.
fn sealed(client: &mut Tls, bytes: &[u8]) -> Result<Vec<u8>, std::io::Error> {
    let mut sealed = Vec::new();
    client.0.conn.writer().write_all(bytes)?;
    client.0.conn.write_tls(&mut sealed)?;
    Ok(sealed)
}

/// Each byte is heard, also of a record that takes longer than a silence may.
pub fn a_record_that_comes_slowly_keeps_its_connection(server: &Running) -> Outcome {
    const MESSAGE: &[u8] = b"slowly, and yet it comes";
    let mut client = Wishes::usual()?.connect(server)?;
    let sealed = sealed(&mut client, MESSAGE)?;
    let pause = Duration::from_secs(5) / sealed.len() as u32;
    for byte in sealed {
        client.0.sock.write_all(&[byte])?;
        std::thread::sleep(pause);
    }
    assert_eq!(client.receive(MESSAGE.len())?, MESSAGE);
    Ok(())
}

/// The silent and who does not take what waits are closed; who talks is not.
pub fn where_nothing_flows_a_connection_is_closed(server: &Running) -> Outcome {
    let wishes = Wishes::usual()?;
    let begin = Instant::now();
    let mut stalled = wishes.on(server.connect()?.stream, "localhost")?;
    let mut silent = wishes.connect(server)?;
    let mut greedy = wishes.connect(server)?;
    let mut lively = wishes.connect(server)?;
    let (_, fd) = silent.who()?;
    let (_, greedy_fd) = greedy.who()?;
    greedy.send(format!("!blob {greedy_fd} {}", 24 * MIB).as_bytes())?;
    let mut closed = 0;
    while closed < 2 {
        assert!(begin.elapsed() < Duration::from_secs(8), "{closed} of two");
        lively.echo(b"talk")?;
        let mut lines = server.lines_so_far();
        lines.retain(|line| [format!("close {fd}"), format!("close {greedy_fd}")].contains(line));
        closed = lines.len();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(silent.receive_to_end()?, b"");
    assert!(stalled.shake().is_err(), "before the deadline of handshakes");
    lively.ask_until("aborted", |line| line == "1 1" || line == "0 1")?;
    lively.echo(b"talk")
}

/// The time in which the worker looks at nobody does not count.
pub fn a_handshake_is_not_blamed_for_a_busy_worker(server: &Running) -> Outcome {
    let wishes = Wishes::usual()?;
    let mut client = wishes.connect(server)?;
    let mut waiting = wishes.on(server.connect()?.stream, "localhost")?;
    waiting.0.sock.set_read_timeout(Some(2 * STEP))?;
    let mut stalled = server.connect()?;
    let hello = hello()?;
    stalled.send(&hello[..hello.len() / 2])?;
    client.ask_until("aborted", |line| line == "0 3")?;
    let gate = Gate::new()?;
    client.send(format!("!hold {}", gate.port()?).as_bytes())?;
    let held = gate.wait()?;
    let shaking = std::thread::spawn(move || waiting.shake().map(|()| waiting));
    std::thread::sleep(Duration::from_secs(12));
    drop(held);
    let mut waiting = shaking.join().map_err(|_| "the client has panicked")??;
    waiting.echo(b"at last")?;
    // One that does nothing is dropped all the same.
    let end = Instant::now() + Duration::from_secs(12);
    while waiting.ask("aborted")? != "1 2" {
        assert!(Instant::now() < end, "a handshake that does not come to an end");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
