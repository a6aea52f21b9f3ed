//! Closing from every process.

use super::orders::*;
use crate::common::prelude::*;
use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

/// The processes that are no workers; in BASE mode worker 0 stands for the master.
const PLACES: [&str; 3] = ["master", "manager", "user"];

/// The one connection that sends orders, in the worker that does not stand for the master.
fn commander(server: &Running) -> Fallible<Commander> {
    let mut first = Commander::connect(server)?;
    match first.worker {
        0 => first.connect_elsewhere(server),
        _ => Ok(first),
    }
}

pub fn every_process_closes_and_the_bound_worker_hears_it(server: &Running) -> Outcome {
    let mut client = commander(server)?;
    for place in PLACES {
        for kind in ["close", "reset"] {
            let mut target = Commander::connect(server)?;
            let fd = target.fd;
            let order = format!("{kind} {fd}");
            assert_eq!(client.ask(&format!("at {place} {order}"))?, "told");
            assert_eq!(deed(server, place, &order)?, "ok", "{place}");
            let end = target.client.receive_to_end().map_err(|error| error.kind());
            let wanted =
                if kind == "close" { Ok(Vec::new()) } else { Err(ErrorKind::ConnectionReset) };
            assert_eq!(end, wanted, "{kind} by {place}");
            assert_eq!(closed_by(server, fd)?, -1);
            let told = format!("close {fd} in worker {} by -1", target.worker);
            server.wait_line(|line| line == told, STEP)?;
            assert_eq!(client.ask(&format!("at {place} close 99999"))?, "told");
            assert_eq!(deed(server, place, "close 99999")?, "error 1005", "{place}");
        }
    }
    for fd in 1..client.fd.max(8) {
        assert!(count(server, &format!("close {fd} ")) <= 1, "{fd} was closed twice");
    }
    Ok(())
}

pub fn a_reset_by_another_process_cuts_what_waits(server: &Running) -> Outcome {
    const SIZE: usize = 32 << 20;
    let mut client = commander(server)?;
    for place in PLACES {
        let mut target = Commander::connect(server)?;
        let fd = target.fd;
        let mut sent = 0;
        while sent < SIZE && target.ask_filled(&mut client, fd)? {
            sent += 1 << 20;
        }
        assert_eq!(client.ask(&format!("at {place} reset {fd}"))?, "told");
        assert_eq!(deed(server, place, &format!("reset {fd}"))?, "ok");
        assert_eq!(closed_by(server, fd)?, -1);
        let mut got = Vec::new();
        let end = std::io::Read::read_to_end(&mut target.client.stream, &mut got);
        assert!(end.is_err(), "{} bytes and an orderly end: {place}", got.len());
    }
    client.ask_until("stats", |stats| !stats.contains(" connection_num: 4,"))?;
    Ok(())
}

impl Commander {
    /// Has a megabyte sent to a connection that does not read; false if it is refused.
    fn ask_filled(&self, by: &mut Commander, fd: i64) -> Fallible<bool> {
        Ok(by.ask(&format!("send_zeros {fd} 1048576"))? == "ok")
    }
}

/// Where any worker may close a connection: one whose close callback takes its time, and lets the
/// worker go on that is held.
pub fn closing_slowly(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[("dispatch_mode", "5")])?;
    server.on("close", |server, event| {
        let (fd, reactor) = (event.fd(), event.connection().reactor_id);
        report!("close {fd} in worker {} by {reactor}", server.worker_id());
        if reactor == -1 {
            commands::release();
            let is_known = |_| {
                thread::sleep(Duration::from_millis(5));
                server.client_info(fd, false).is_ok()
            };
            report!("{fd} stays known: {}", (0..60).all(is_known));
        }
    })?;
    listen_everywhere(*server)?;
    server.start()?;
    Ok(())
}

pub fn a_reset_that_comes_to_another_worker_waits_for_the_close_callback(
    server: &Running,
) -> Outcome {
    let mut target = Commander::connect(server)?;
    let fd = target.fd;
    let mut closer = target.connect_elsewhere(server)?;
    let mut held = Commander::connect(server)?;
    while held.worker != target.worker {
        held = Commander::connect(server)?;
    }
    held.client.send(b"hold")?;
    server.wait_line(|line| line == format!("holding {}", held.worker), STEP)?;
    let order = format!("reset {fd}");
    assert_eq!(closer.ask(&format!("at user {order}"))?, "told");
    assert_eq!(deed(server, "user", &order)?, "ok");
    pass_time(&mut closer)?;
    assert_eq!(closer.ask(&format!("close {fd}"))?, "ok");
    assert_eq!(held.hear()?, "held");
    server.wait_line(|line| line == format!("{fd} stays known: true"), STEP)?;
    let end = target.client.receive_to_end().map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset), "the reset is not forgotten");
    assert_eq!(count(server, &format!("close {fd} ")), 1);
    Ok(())
}
