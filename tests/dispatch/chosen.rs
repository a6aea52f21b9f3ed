//! A function of the program that chooses workers: its answers, and what it is asked.

use super::orders::{serve_chosen, EVENTS_AT};
use super::rules::{wait_for_log, who, Fallible};
use crate::common::prelude::*;
use crate::datagrams::Peer;
use crate::puppet::{ask, hold_worker, number, poll, Gate};
use std::io::Read;
use std::os::fd::AsRawFd;

pub fn chosen(setup: &Setup) -> Outcome {
    serve_chosen(setup, &[])
}

pub fn chosen_with_small_buffers(setup: &Setup) -> Outcome {
    serve_chosen(setup, &[("socket_buffer_size", "1M"), ("kernel_socket_send_buffer_size", "8K")])
}

pub fn chosen_for_mode_1(setup: &Setup) -> Outcome {
    serve_chosen(setup, &[("dispatch_mode", "1")])
}

pub fn chosen_with_late_data(setup: &Setup) -> Outcome {
    serve_chosen(setup, &[("dispatch_mode", "1"), ("discard_timeout_request", "0")])
}

pub fn chosen_with_framing(setup: &Setup) -> Outcome {
    serve_chosen(setup, &[("open_eof_split", "1"), ("package_eof", "$")])
}

pub fn a_connection_with_framing_does_not_outlive_a_message_that_is_discarded(
    server: &Running,
) -> Outcome {
    for gone in ["=-1 gone$", "=-2 gone$", "=4 gone$"] {
        let mut client = server.connect()?;
        client.send(b"=1 one$")?;
        assert_eq!(client.receive(4)?, b"one$");
        client.send(b"=2 two$")?;
        assert_eq!(client.receive(4)?, b"two$");
        client.send(format!("{gone}=3 never$").as_bytes())?;
        assert_eq!(client.receive_to_end()?, b"");
    }
    server.wait_lines(3, |line| line.starts_with("close "), STEP)?;
    Ok(())
}

pub fn a_connection_that_is_refused_sees_its_end_and_no_reset(server: &Running) -> Outcome {
    let mut first = server.connect()?;
    let held = hold_worker(&mut first)?;
    // Its close callback waits, so that it is closed with this unread.
    let mut refused = server.connect()?;
    refused.send(b"nobody reads this")?;
    std::thread::sleep(std::time::Duration::from_millis(50));
    drop(held);
    assert_eq!(refused.receive_to_end()?, b"");
    assert_eq!(first.receive(9)?, b"released\n");
    server.wait_line(|line| line.starts_with("close "), STEP)?;
    Ok(())
}

/// Gives an order to a worker.
fn ask_at(client: &mut Client, worker: i64, order: &str) -> Fallible<String> {
    client.send(format!("={worker} !{order}").as_bytes())?;
    let mut line = Vec::new();
    loop {
        match client.receive(1)?[0] {
            b'\n' => return Ok(String::from_utf8(line)?),
            byte => line.push(byte),
        }
    }
}

fn asked(server: &Running, what: &str) -> Result<String, String> {
    server.wait_line(|line| line == format!("asked {what}"), STEP)
}

pub fn its_number_is_the_worker_and_its_other_answers_mean_what_they_say(
    server: &Running,
) -> Outcome {
    let mut client = server.connect()?;
    let (first, fd) = who(&mut client)?;
    assert_eq!(first, fd % 4, "the mode decides where it does not");
    for worker in [3, 0, 1, 2, 1] {
        assert!(ask_at(&mut client, worker, "who")?.starts_with(&format!("{worker} ")));
    }
    // Discarded: the connection lives, on a port without framing.
    for (index, wrong) in ["-1", "4", "99", "-4", "-2147483648"].iter().enumerate() {
        let message = format!("={wrong} gone{}", "!".repeat(100 * (index + 1)));
        client.send(message.as_bytes())?;
        // Two messages that are read at once are one.
        server.wait_lines(1, |line| line == format!("asked {fd} 0 {}", message.len()), STEP)?;
        assert!(ask_at(&mut client, 2, "who")?.starts_with("2 "));
    }
    wait_for_log(server, "the dispatch function gave 4, which is none of 4 workers")?;
    assert!(ask_at(&mut client, -3, "who")?.starts_with(&format!("{} ", fd % 4)));
    asked(server, &format!("{fd} 5 0"))?;
    client.send(b"=-2 close")?;
    assert_eq!(client.receive_to_end()?, b"", "closed");
    let connect = format!("connect {fd} in {EVENTS_AT}");
    server.wait_line(|line| line == connect, STEP)?;
    let close = format!("close {fd} in {EVENTS_AT}");
    server.wait_line(|line| line == close, STEP)?;
    asked(server, &format!("{fd} 4 0"))?;
    Ok(())
}

pub fn it_sees_the_first_bytes_and_the_worker_all(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let fd = who(&mut client)?.1;
    let message = vec![b'x'; 20_000];
    client.send(&message)?;
    assert_eq!(client.receive(message.len())?, message);
    let asked = format!("asked {fd} 0 ");
    let lines = server.lines_so_far();
    let lengths = lines.iter().filter_map(|line| line.strip_prefix(&asked));
    let lengths: Vec<usize> = lengths.map(number).collect();
    assert!(lengths.iter().all(|length| *length <= 8152), "{lengths:?}");
    assert!(lengths.contains(&8152), "{lengths:?}");
    Ok(())
}

pub fn datagrams_are_asked_for_too(server: &Running) -> Outcome {
    let peer = Peer::of(server)?;
    let number = u32::from_ne_bytes([127, 0, 0, 1]);
    peer.0.send(b"=-1 gone")?;
    peer.0.send(b"=-2 gone")?;
    for worker in [2, 0, 3] {
        assert_eq!(
            peer.ask(format!("={worker} message"))?,
            format!("={worker} message").as_bytes()
        );
    }
    assert!(peer.ask_text("!who")?.starts_with(&format!("{} ", number % 4)));
    asked(server, &format!("{number} 1 8"))?;
    assert!(poll(&[peer.0.as_raw_fd()], libc::POLLIN, 0)?.is_empty(), "one was not discarded");
    Ok(())
}

pub fn levels_of_buffers_are_asked_for(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let fd = who(&mut client)?.1;
    const LENGTH: usize = 1_000_000;
    client.send(format!("!big {LENGTH}").as_bytes())?;
    asked(server, &format!("{fd} 13 0"))?;
    let full = format!("SW_EVENT_BUFFER_FULL of {fd} in {EVENTS_AT}");
    server.wait_line(|line| line == full, STEP)?;
    client.receive(LENGTH)?;
    asked(server, &format!("{fd} 14 0"))?;
    let empty = format!("SW_EVENT_BUFFER_EMPTY of {fd} in {EVENTS_AT}");
    server.wait_line(|line| line == empty, STEP)?;
    Ok(())
}

/// A worker is stuck, gets data, and the peer is gone before it takes them.
fn come_late(server: &Running) -> Fallible<i64> {
    let mut other = server.connect()?;
    let gate = Gate::new()?;
    other.send(format!("=2 !hold {}", gate.port()?).as_bytes())?;
    let held = gate.wait()?;
    let mut client = server.connect()?;
    let who = ask_at(&mut client, 1, "who")?;
    let fd: i64 = number(who.rsplit(' ').next().unwrap_or_default());
    client.send(b"=2 late and alone")?;
    // What it is asked about next is behind that.
    asked(server, &format!("{fd} 0 17"))?;
    client.finish_sending()?;
    client.receive_to_end()?;
    // The worker of the events has told the reactor that it is done: the id is gone.
    let mut third = server.connect()?;
    while ask_at(&mut third, 1, &format!("exist {fd}"))? != "false" {}
    drop(held);
    assert_eq!(other.receive(9)?, b"released\n");
    Ok(fd)
}

pub fn data_of_a_connection_that_is_gone_is_discarded(server: &Running) -> Outcome {
    let fd = come_late(server)?;
    wait_for_log(
        server,
        &format!("bytes of connection {fd} came after it was closed (error 1007)"),
    )?;
    assert!(!server.lines_so_far().iter().any(|line| line.starts_with("late data")));
    Ok(())
}

pub fn data_of_a_connection_that_is_gone_is_delivered_if_it_is_asked_for(
    server: &Running,
) -> Outcome {
    let fd = come_late(server)?;
    server.wait_line(|line| line.starts_with(&format!("late data of {fd} at ")), STEP)?;
    // What the server itself has closed is gone whatever was asked for.
    let mut client = server.connect()?;
    let gate = Gate::new()?;
    let mut other = server.connect()?;
    other.send(format!("=2 !hold {}", gate.port()?).as_bytes())?;
    let held = gate.wait()?;
    let who = ask_at(&mut client, 1, "who")?;
    let fd: i64 = number(who.rsplit(' ').next().unwrap_or_default());
    client.send(b"=2 late and alone")?;
    asked(server, &format!("{fd} 0 17"))?;
    client.send(b"=1 !close")?;
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest)?;
    drop(held);
    wait_for_log(
        server,
        &format!("bytes of connection {fd} came after it was closed (error 1007)"),
    )?;
    Ok(())
}

pub fn a_function_for_workers_that_read_for_themselves_is_never_asked(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let first = who(&mut client)?;
    assert_eq!(ask(&mut client, "who")?.split(' ').next(), Some(first.0.to_string().as_str()));
    assert!(!server.lines_so_far().iter().any(|line| line.starts_with("asked")));
    Ok(())
}
