//! Sending: to whom bytes never go, and how much is taken.

use super::closing::limit_receive_buffer;
use super::commands::{command_server, field, Commander};
use crate::common::prelude::*;

/// The default of `socket_buffer_size`.
const LIMIT: usize = 8 << 20;

pub fn command_with_small_output(setup: &Setup) -> Outcome {
    let server = command_server(setup)?;
    server.set("output_buffer_size", "1M")?;
    server.start()?;
    Ok(())
}

fn number_in(info: &str, name: &str) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
    Ok(field(info, name)?.parse()?)
}

fn socket_of(asker: &mut Commander) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let info = asker.ask(&format!("info {}", asker.fd))?;
    Ok(field(&info, "socket_fd")?.to_owned())
}

/// The next connection gets the descriptor of the one that has gone, which the test sees to.
pub fn a_stale_id_never_reaches_the_next_connection(server: &Running) -> Outcome {
    let mut watcher = Commander::connect(server)?;
    let mut old = Commander::connect(server)?;
    let (stale, socket) = (old.fd, socket_of(&mut old)?);
    assert_eq!(watcher.ask(&format!("close {stale}"))?, "ok");
    assert!(old.client.receive_to_end()?.is_empty());
    watcher.ask_until("stats", |stats| stats.contains(" connection_num: 1,"))?;
    let mut fresh = Vec::new();
    for _ in 0..8 {
        fresh.push(Commander::connect(server)?);
        if socket_of(fresh.last_mut().ok_or("no client")?)? == socket {
            break;
        }
    }
    let heir = fresh.last_mut().ok_or("no client")?;
    assert_eq!(socket_of(heir)?, socket, "no connection got the descriptor again");
    assert_ne!(heir.fd, stale);
    assert_eq!(watcher.ask(&format!("send {stale} ghost"))?, "error 1001");
    assert_eq!(watcher.ask(&format!("close {stale}"))?, "error 1004");
    assert_eq!(watcher.ask(&format!("exist {stale}"))?, "error 1005");
    // The answer to a command is the first thing that the heir hears.
    assert_eq!(heir.ask(&format!("exist {}", heir.fd))?, "ok");
    Ok(())
}

pub fn a_peer_that_does_not_read_overflows_and_recovers(server: &Running) -> Outcome {
    let mut asker = Commander::connect(server)?;
    let mut slow = Commander::connect(server)?;
    limit_receive_buffer(&slow)?;
    let (fill, info) = (format!("fill {}", slow.fd), format!("info {}", slow.fd));
    let mut taken = 0;
    // What was taken and is on its way may still find room in the socket.
    while number_in(&asker.ask(&info)?, "send_queued_bytes")? < LIMIT {
        let answer = asker.ask(&fill)?;
        let words: Vec<&str> = answer.split(' ').collect();
        assert_eq!((words[0], words[2]), ("filled", "1008"), "{answer}");
        taken += words[1].parse::<usize>()?;
    }
    assert_eq!(asker.ask(&format!("send {} more", slow.fd))?, "error 1008");
    assert_eq!(asker.ask(&format!("exist {}", slow.fd))?, "ok");
    let bytes = slow.client.receive(taken)?;
    assert!(bytes.iter().all(|byte| *byte == b'f'));
    assert_eq!(asker.ask(&format!("send {} again", slow.fd))?, "ok");
    assert_eq!(slow.client.receive(5)?, b"again");
    Ok(())
}

pub fn one_send_is_limited_where_it_crosses_processes(server: &Running) -> Outcome {
    let mut client = Commander::connect(server)?;
    let send = |size: usize| format!("send_zeros {} {size}", client.fd);
    let (within, beyond, twice) = (send(1 << 20), send((1 << 20) + 1), send(2 << 20));
    client.client.send(within.as_bytes())?;
    assert!(client.client.receive(1 << 20)?.iter().all(|byte| *byte == 0));
    assert_eq!(client.hear()?, "ok");
    if server.mode() == Mode::Process {
        assert_eq!(client.ask(&beyond)?, "error 1202");
        assert_eq!(client.ask(&twice)?, "error 1202");
    } else {
        client.client.send(twice.as_bytes())?;
        assert_eq!(client.client.receive(2 << 20)?.len(), 2 << 20);
        assert_eq!(client.hear()?, "ok");
    }
    assert_eq!(client.ask("exist 1")?, "ok");
    Ok(())
}
