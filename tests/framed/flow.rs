//! Messages and the life of a connection: full lanes, pauses, ends, and workers that come and go.

use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::{ask, ask_until, connect_to, hold_worker, memory_bytes, number, poll};
use crate::speech::*;
use crate::{expect, last_words, next_unit, Fallible, Lab};
use std::io::{self, Write};
use std::os::fd::AsRawFd;

/// A socket that takes nothing for so long is stuck.
const STUCK_MS: i32 = 300;

/// The worker of a connection, the process that it is, and the session.
pub fn a_message_that_has_waited_for_a_callback_says_when_it_came(server: &Running) -> Outcome {
    let lab = Lab::new(server)?;
    for name in ["length", "split"] {
        let mut client = lab.connect(name)?;
        client.send(&[frame(name, b"#nap"), frame(name, b"#age")].concat())?;
        expect(&mut client, &[unit(name, b"#nap"), unit(name, b"#age"), b"true".to_vec()])?;
    }
    Ok(())
}

pub fn who(client: &mut Client, name: &str) -> Fallible<(i32, i32, i64)> {
    client.send(&frame(name, b"#who"))?;
    expect(client, &[unit(name, b"#who")])?;
    let line = String::from_utf8(next_unit(client)?)?;
    let words: Vec<i64> = line.split(' ').map(number).collect();
    Ok((words[0] as i32, words[1] as i32, words[2]))
}

/// A connection of that worker on which that protocol is spoken, and its session.
fn connect_speaker(lab: &Lab, name: &str, worker: i32) -> Fallible<(Client, i64)> {
    let mut others = Vec::new();
    for _ in 0..64 {
        let mut client = lab.connect(name)?;
        let (its_worker, _, fd) = who(&mut client, name)?;
        if its_worker == worker {
            return Ok((client, fd));
        }
        others.push(client);
    }
    Err(format!("no connection came to worker {worker}").into())
}

fn frames(bodies: &[&[u8]]) -> Bytes {
    bodies.iter().flat_map(|body| frame("length", body)).collect()
}

fn units(bodies: &[&[u8]]) -> Vec<Bytes> {
    bodies.iter().map(|body| unit("length", body)).collect()
}

pub fn a_callback_that_closes_gets_nothing_more(server: &Running) -> Outcome {
    let lab = Lab::new(server)?;
    let mut client = lab.connect("length")?;
    client.send(&frames(&[b"one", b"two #close", b"three", b"four"]))?;
    expect(&mut client, &units(&[b"one", b"two #close"]))?;
    assert_eq!(last_words(&mut client)?, b"");
    let line = lab.wait("end ")?;
    assert!(line.ends_with("reactor -1 code 0"), "{line}");
    Ok(())
}

/// Where messages have to travel to their worker, those on their way arrive.
pub fn a_callback_that_pauses_gets_nothing_before_it_is_resumed(server: &Running) -> Outcome {
    let lab = Lab::new(server)?;
    let mut client = lab.connect("length")?;
    let (worker, _, fd) = who(&mut client, "length")?;
    let (mut puppet, _) = connect_to(server, worker)?;
    let bodies: [&[u8]; 4] = [b"one", b"two #pause", b"three", b"four"];
    client.send(&frames(&bodies))?;
    expect(&mut client, &units(&bodies[..2]))?;
    lab.wait(&format!("paused {fd}: true"))?;
    // The worker has turned meanwhile.
    ask(&mut puppet, "who")?;
    ask(&mut puppet, "who")?;
    if server.mode() != Mode::Process {
        let ready = poll(&[client.stream.as_raw_fd()], libc::POLLIN, 0)?;
        assert!(ready.is_empty(), "a message came through a pause");
    }
    assert_eq!(ask(&mut puppet, &format!("resume {fd}"))?, "true");
    expect(&mut client, &units(&bodies[2..]))?;
    client.send(&frames(&[b"five"]))?;
    expect(&mut client, &units(&[b"five"]))
}

pub fn what_is_not_whole_at_the_end_is_thrown_away(server: &Running) -> Outcome {
    let lab = Lab::new(server)?;
    for name in EXACT {
        let mut client = lab.connect(name)?;
        let whole = frame(name, b"whole");
        client.send(&[&whole, &whole[..whole.len() - 1]].concat())?;
        client.finish_sending()?;
        assert_eq!(last_words(&mut client)?, answer_to(&unit(name, b"whole")), "{name}");
    }
    let lines = server.wait_lines(EXACT.len(), |line| line.starts_with("end "), STEP)?;
    assert!(lines.iter().all(|line| line.ends_with(" code 0") && !line.contains("reactor -1")));
    Ok(())
}

/// Writes as much as the socket takes.
fn fill(client: &Client, bytes: &[u8]) -> io::Result<usize> {
    let mut at = 0;
    client.stream.set_nonblocking(true)?;
    while at < bytes.len() {
        match (&client.stream).write(&bytes[at..]) {
            Ok(count) => at += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if poll(&[client.stream.as_raw_fd()], libc::POLLOUT, STUCK_MS)?.is_empty() {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
    }
    client.stream.set_nonblocking(false)?;
    Ok(at)
}

/// No send is refused.
pub fn patient(setup: &Setup) -> Outcome {
    polyglot_with(setup, &[("socket_buffer_size", "0")])
}

pub fn a_worker_that_stands_still_stops_its_own_connections_alone(server: &Running) -> Outcome {
    const COUNT: usize = 16_000;
    let lab = Lab::new(server)?;
    let (mut holder, _) = connect_to(server, 0)?;
    let (mut client, _) = connect_speaker(&lab, "length", 0)?;
    let (mut other, _) = connect_speaker(&lab, "length", 1)?;
    let body = |number: usize| format!("{number:01000}").into_bytes();
    let all: Vec<Bytes> = (0..COUNT).map(|number| frame("length", &body(number))).collect();
    let bytes = all.concat();
    let before = memory_bytes(server)?;
    let held = hold_worker(&mut holder)?;
    let sent = fill(&client, &bytes)?;
    assert!(sent < bytes.len(), "all of {} bytes were taken", bytes.len());
    // Others are served, through the same reactor or another.
    for _ in 0..10 {
        other.send(&frames(&[b"other"]))?;
        expect(&mut other, &units(&[b"other"]))?;
    }
    let above = memory_bytes(server)?.saturating_sub(before);
    assert!(above < 4 * MIB as u64, "{above} bytes wait in the server");
    drop(held);
    let mut writer = client.stream.try_clone()?;
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| writer.write_all(&bytes[sent..]));
        for number in 0..COUNT {
            expect(&mut client, &[unit("length", &body(number))])?;
        }
        Ok(sending.join().map_err(|_| "the sender panicked")??)
    })
}

pub fn half_a_message_outlives_the_worker(server: &Running) -> Outcome {
    let mut lab = Lab::new(server)?;
    let mut client = lab.connect("length")?;
    let (_, pid, _) = who(&mut client, "length")?;
    let bytes = frame("length", &[b'h'; 5000]);
    let (first, second) = bytes.split_at(2000);
    lab.deliver("length", &mut client, first)?;
    assert_eq!(ask(&mut lab.puppet, "reload")?, "true");
    server.wait_lines(4, |line| line.starts_with("worker "), STEP)?;
    client.send(second)?;
    expect(&mut client, std::slice::from_ref(&bytes))?;
    let (_, successor, _) = who(&mut client, "length")?;
    assert_ne!(pid, successor);
    Ok(())
}

pub fn limited(setup: &Setup) -> Outcome {
    polyglot_with(setup, &[("max_queued_bytes", "4096")])
}

pub fn no_more_than_the_limit_waits_for_a_worker(server: &Running) -> Outcome {
    let lab = Lab::new(server)?;
    let (mut holder, _) = connect_to(server, 0)?;
    let (mut asker, _) = connect_to(server, 1)?;
    let (mut client, fd) = connect_speaker(&lab, "length", 0)?;
    let held = hold_worker(&mut holder)?;
    let body = [b'l'; 1000];
    client.send(&frame("length", &body).repeat(100))?;
    // The fifth message is the one that exceeds it.
    let info = format!("info {fd}");
    ask_until(&mut asker, &info, |line| line == "5020")?;
    client.send(&frame("length", &body).repeat(100))?;
    for _ in 0..20 {
        assert_eq!(ask(&mut asker, &info)?, "5020");
    }
    drop(held);
    expect(&mut client, &vec![unit("length", &body); 200])?;
    ask_until(&mut asker, &info, |line| line == "0")?;
    Ok(())
}

/// The puppet is confirmed at once, all others when it is told to.
pub fn delayed(setup: &Setup) -> Outcome {
    polyglot_with(setup, &[("enable_delay_receive", "true"), ("worker_num", "1")])
}

pub fn confirm_puppet(server: Handle, event: &Event) {
    let info = server.client_info(event.fd(), false).expect("it has just come");
    let first = swoole::ffi::port::sw_server_port(server.raw, 0);
    if info.server_port == swoole::ffi::port::sw_port_number(first) {
        swoole::ffi::control::sw_server_confirm(server.raw, event.fd());
    } else {
        report!("came {}", event.fd());
    }
}

pub fn nothing_is_cut_before_it_is_confirmed(server: &Running) -> Outcome {
    let mut lab = Lab::new(server)?;
    let mut client = lab.connect("length")?;
    let bodies: [&[u8]; 3] = [b"one", b"two", b"three"];
    client.send(&frames(&bodies))?;
    let line = lab.wait("came ")?;
    assert_eq!(lab.received("length")?, 0);
    let order = line.replace("came", "confirm");
    assert_eq!(ask(&mut lab.puppet, &order)?, "true");
    expect(&mut client, &units(&bodies))
}
