//! Connections on which nothing happens: the heartbeat, by itself and when it is asked for, and
//! `max_idle_time`.
//!
//! Times are only compared with what no machine can break: nothing is closed too early, and what
//! has to be closed is waited for.

mod common;
#[path = "control/orders.rs"]
mod orders;
#[path = "ports/api.rs"]
mod ports;

use common::prelude::*;
use orders::*;
use std::io::Read;
use std::time::{Duration, Instant};

const IDLE: Duration = Duration::from_secs(2);
/// How often somebody says something who is not idle.
const BEAT: Duration = Duration::from_millis(20);
const FLOOD: usize = 16 << 20;

fn beating(setup: &Setup) -> Outcome {
    let settings = [("heartbeat_check_interval", "1"), ("heartbeat_idle_time", "2")];
    serve(setup, &[("worker_num", "1"), settings[0], settings[1]])
}

fn beating_by_idle_time(setup: &Setup) -> Outcome {
    serve(setup, &[("worker_num", "1"), ("heartbeat_idle_time", "2")])
}

fn without_callback_for_connections(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.set("heartbeat_idle_time", "2")?;
    server.on("receive", |_, _| {})?;
    server.on("close", |_, event| report!("close {} in worker 0 by 0", event.fd()))?;
    server.start()?;
    Ok(())
}

/// The heartbeat looks once an hour: it does nothing that it is not asked for.
fn beating_when_asked(setup: &Setup) -> Outcome {
    let settings = [("heartbeat_check_interval", "3600"), ("heartbeat_idle_time", "2")];
    serve(setup, &[("worker_num", "1"), settings[0], settings[1]])
}

fn never_beating(setup: &Setup) -> Outcome {
    serve(setup, &[("worker_num", "1")])
}

fn moving(setup: &Setup) -> Outcome {
    serve(setup, &[("worker_num", "1"), ("max_idle_time", "2")])
}

/// The first port has no heartbeat, the second one has its own.
fn beating_at_the_second_port(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[("worker_num", "1")])?;
    let second = ports::add(*server, "127.0.0.1", 0, SW_SOCK_TCP)?;
    second.set("heartbeat_idle_time", "2")?;
    report!("second {}", second.number());
    server.start()?;
    Ok(())
}

/// Whoever is closed is told what waits for the peer then.
fn beating_and_looking(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[("worker_num", "1"), ("heartbeat_idle_time", "2")])?;
    server.on("close", |server, event| {
        let fd = event.fd();
        let queued = server.client_info(fd, false).map(|info| info.send_queued_bytes);
        report!("close {fd} with {queued:?}");
    })?;
    server.start()?;
    Ok(())
}

/// Lets somebody speak until a line is reported.
fn speak_until(client: &mut Commander, server: &Running, beginning: &str) -> Outcome {
    let end = Instant::now() + STEP;
    while count(server, beginning) == 0 {
        client.ask("who")?;
        std::thread::sleep(BEAT);
        if Instant::now() > end {
            return Err(format!("no {beginning:?} is reported").into());
        }
    }
    Ok(())
}

fn who_is_silent_is_closed_and_who_speaks_or_is_protected_stays(server: &Running) -> Outcome {
    let mut safe = Commander::connect(server)?;
    assert_eq!(safe.ask(&format!("protect {} 1", safe.fd))?, "ok");
    let mut speaker = Commander::connect(server)?;
    let began = Instant::now();
    let mut silent = Commander::connect(server)?;
    // Sending is no sign of life.
    assert_eq!(speaker.ask(&format!("send {} x", silent.fd))?, "ok");
    speak_until(&mut speaker, server, &format!("close {} ", silent.fd))?;
    assert!(began.elapsed() >= IDLE, "closed after {:?}", began.elapsed());
    assert!(closed_by(server, silent.fd)? >= 0);
    assert_eq!(silent.client.receive_to_end()?, b"x");
    assert_eq!(speaker.ask(&format!("send {} late", silent.fd))?, "error 1001");
    assert_eq!(speaker.ask(&format!("exist {}", safe.fd))?, "ok", "it is older, but protected");
    assert_eq!(speaker.ask(&format!("protect {} 1", safe.fd))?, "ok", "twice is once");
    assert_eq!(speaker.ask(&format!("protect {} 0", safe.fd))?, "ok");
    speak_until(&mut speaker, server, &format!("close {} ", safe.fd))?;
    assert_eq!(speaker.ask(&format!("protect {} 1", safe.fd))?, "error 1005");
    speaker.ask_until("stats", |stats| stats.contains(" connection_num: 1,"))?;
    Ok(())
}

/// Nobody but the timer has a reason to look at it.
fn who_has_never_said_anything_is_closed(server: &Running) -> Outcome {
    let began = Instant::now();
    let mut mute = server.connect()?;
    assert!(mute.receive_to_end()?.is_empty());
    assert!(began.elapsed() >= IDLE);
    assert!(closed_by(server, 1)? >= 0);
    Ok(())
}

/// What comes to somebody who does not read, until its end: less than was sent.
fn take_what_is_left(slow: &mut Commander) -> usize {
    let mut got = Vec::new();
    // A reset is an end, too.
    slow.client.stream.read_to_end(&mut got).unwrap_or_default();
    got.len()
}

fn what_waits_for_who_does_not_read_is_cut(server: &Running) -> Outcome {
    let mut speaker = Commander::connect(server)?;
    let (mut open, mut closed) = (Commander::connect(server)?, Commander::connect(server)?);
    for slow in [&open, &closed] {
        let flood = format!("send_zeros {} {FLOOD}", slow.fd);
        assert_eq!(speaker.ask(&flood)?, "ok");
    }
    assert_eq!(speaker.ask(&format!("close {}", closed.fd))?, "ok");
    assert_eq!(closed_by(server, closed.fd)?, -1);
    speak_until(&mut speaker, server, &format!("close {} ", open.fd))?;
    assert!(closed_by(server, open.fd)? >= 0);
    let end = Instant::now() + STEP;
    while speaker.stat("connection_num")? > 1 {
        assert!(Instant::now() < end, "output keeps a connection");
        std::thread::sleep(BEAT);
    }
    for slow in [&mut open, &mut closed] {
        let got = take_what_is_left(slow);
        assert!(got < FLOOD, "all {got} bytes came");
    }
    assert_eq!(count(server, &format!("close {} ", closed.fd)), 1);
    Ok(())
}

fn what_was_cut_waits_no_more(server: &Running) -> Outcome {
    let mut speaker = Commander::connect(server)?;
    let slow = Commander::connect(server)?;
    assert_eq!(speaker.ask(&format!("send_zeros {} {FLOOD}", slow.fd))?, "ok");
    let waits = |info: &str| !info.contains(" send_queued_bytes=0 ");
    speaker.ask_until(&format!("info {}", slow.fd), waits)?;
    speak_until(&mut speaker, server, &format!("close {} ", slow.fd))?;
    let wanted = format!("close {} with Ok(0)", slow.fd);
    server.wait_line(|line| line == wanted, STEP)?;
    Ok(())
}

fn a_port_has_a_heartbeat_of_its_own(server: &Running) -> Outcome {
    let mut first = Commander::connect(server)?;
    let line = server.wait_line(|line| line.starts_with("second "), STEP)?;
    let began = Instant::now();
    let mut second = Client::connect(line["second ".len()..].parse()?)?;
    assert!(second.receive_to_end()?.is_empty());
    assert!(began.elapsed() >= IDLE, "closed after {:?}", began.elapsed());
    assert!(closed_by(server, 2)? >= 0);
    assert_eq!(first.ask("who")?.split(' ').next(), Some("1"), "it has none");
    // And on demand: the call looks at the second port alone, where nobody is left.
    assert_eq!(first.ask("heartbeat 0 10")?, "ids []");
    Ok(())
}

fn a_paused_connection_is_silent_too(server: &Running) -> Outcome {
    let mut speaker = Commander::connect(server)?;
    let paused = Commander::connect(server)?;
    assert_eq!(speaker.ask(&format!("pause {}", paused.fd))?, "ok");
    speak_until(&mut speaker, server, &format!("close {} ", paused.fd))?;
    assert!(closed_by(server, paused.fd)? >= 0);
    Ok(())
}

fn the_heartbeat_lists_and_closes_when_it_is_asked(server: &Running) -> Outcome {
    let mut speaker = Commander::connect(server)?;
    assert_eq!(speaker.ask("heartbeat 0 10")?, "ids []");
    let began = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(Commander::connect(server)?);
    }
    let safe = Commander::connect(server)?;
    assert_eq!(speaker.ask(&format!("protect {} 1", safe.fd))?, "ok");
    let ids: Vec<i64> = silent.iter().map(|client| client.fd).collect();
    let all = format!("ids {ids:?}");
    let found = speaker.ask_until("heartbeat 0 10", |answer| answer == all)?;
    assert!(began.elapsed() >= IDLE, "{found} after {:?}", began.elapsed());
    assert_eq!(speaker.ask("heartbeat 0 2")?, format!("ids {:?}", &ids[..2]));
    for fd in &ids {
        assert_eq!(speaker.ask(&format!("exist {fd}"))?, "ok", "it was only listed");
    }
    assert_eq!(speaker.ask("heartbeat 1 1")?, format!("ids {:?}", &ids[..1]));
    assert_eq!(speaker.ask("heartbeat 1 10")?, format!("ids {:?}", &ids[1..]));
    assert_eq!(speaker.ask("heartbeat 1 10")?, "ids []");
    for (fd, client) in ids.iter().zip(&mut silent) {
        assert_eq!(closed_by(server, *fd)?, -1);
        assert!(client.client.receive_to_end()?.is_empty());
    }
    assert_eq!(speaker.ask(&format!("exist {}", safe.fd))?, "ok");
    Ok(())
}

fn without_a_heartbeat_nobody_is_looked_for(server: &Running) -> Outcome {
    let mut client = Commander::connect(server)?;
    for order in ["heartbeat 0 10", "heartbeat 1 10"] {
        assert_eq!(client.ask(order)?, "error 507");
    }
    Ok(())
}

fn traffic_in_one_direction_keeps_a_connection_but_not_what_is_stuck(server: &Running) -> Outcome {
    let mut safe = Commander::connect(server)?;
    assert_eq!(safe.ask(&format!("protect {} 1", safe.fd))?, "ok");
    let mut speaker = Commander::connect(server)?;
    // It only hears.
    let mut listener = Commander::connect(server)?;
    // It speaks, but takes nothing of what waits for it.
    let mut stuck = Commander::connect(server)?;
    let began = Instant::now();
    let mut silent = Commander::connect(server)?;
    assert_eq!(speaker.ask(&format!("send_zeros {} {FLOOD}", stuck.fd))?, "ok");
    let end = Instant::now() + STEP;
    let (mut has_silent_ended, mut has_stuck_ended) = (false, false);
    while !(has_silent_ended && has_stuck_ended) {
        assert_eq!(speaker.ask(&format!("send {} x", listener.fd))?, "ok");
        assert_eq!(listener.client.receive(1)?, b"x");
        if !has_stuck_ended {
            // It may have ended in this moment.
            stuck.client.send(b"who").unwrap_or_default();
        }
        std::thread::sleep(BEAT);
        has_silent_ended = count(server, &format!("close {} ", silent.fd)) > 0;
        has_stuck_ended = count(server, &format!("close {} ", stuck.fd)) > 0;
        assert!(Instant::now() < end, "silent {has_silent_ended}, stuck {has_stuck_ended}");
    }
    assert!(began.elapsed() >= IDLE, "after {:?}", began.elapsed());
    for fd in [silent.fd, stuck.fd] {
        assert!(closed_by(server, fd)? >= 0);
        assert_eq!(speaker.ask(&format!("send {fd} late"))?, "error 1001");
    }
    assert!(silent.client.receive_to_end()?.is_empty());
    assert!(take_what_is_left(&mut stuck) < FLOOD);
    assert_eq!(speaker.ask(&format!("exist {}", safe.fd))?, "ok");
    speaker.ask_until("stats", |stats| stats.contains(" connection_num: 3,"))?;
    Ok(())
}

server_tests! {
    who_is_silent_is_closed_and_who_speaks_or_is_protected_stays: beating;
    who_has_never_said_anything_is_closed: without_callback_for_connections;
    what_waits_for_who_does_not_read_is_cut: beating;
    what_was_cut_waits_no_more: beating_and_looking;
    a_port_has_a_heartbeat_of_its_own: beating_at_the_second_port;
    a_paused_connection_is_silent_too: beating_by_idle_time;
    the_heartbeat_lists_and_closes_when_it_is_asked: beating_when_asked;
    without_a_heartbeat_nobody_is_looked_for: never_beating;
    traffic_in_one_direction_keeps_a_connection_but_not_what_is_stuck: moving;
}
