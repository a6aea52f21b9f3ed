//! Functions of the program that run where connections are read, and do there what they should not:
//! they call the server, about the very connection that is in hand.
//!
//! A message is a line. `cut ORDER FD` is followed by the function that tells the length,
//! `choose ORDER FD` by the one that chooses the worker; each line is sent back.

use super::orders::prepare;
use super::rules::Fallible;
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::{self, number};
use crate::report;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use swoole::ffi::control::*;
use swoole::ffi::dispatching::*;
use swoole::ffi::port::*;

/// What may be done to a connection without ending it.
const HARMLESS: &[&str] = &["send", "info", "stats", "list", "protect", "bind", "confirm", "large"];

thread_local! {
    /// How many functions of the program run on this stack.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

fn follow(server: Handle, order: &str, fd: i64) {
    DEPTH.with(|depth| depth.set(depth.get() + 1));
    assert_eq!(DEPTH.get(), 1, "a function is called inside of itself");
    let done = match order {
        "send" => server.send(fd, b"meddled\n").is_ok(),
        "large" => server.send(fd, &[[b'l'; 1 << 20].as_slice(), b"\n"].concat()).is_ok(),
        "info" => server.client_info(fd, false).is_ok(),
        "stats" => server.stats().is_ok(),
        "list" => server.client_list(0, 100).is_ok(),
        "protect" => sw_server_protect(server.raw, fd, true),
        "bind" => sw_server_bind(server.raw, fd, 7),
        "confirm" => sw_server_confirm(server.raw, fd),
        "pause" => sw_server_pause(server.raw, fd),
        "resume" => sw_server_resume(server.raw, fd),
        "close" => server.close(fd, false).is_ok(),
        "reset" => server.close(fd, true).is_ok(),
        other => panic!("unknown order {other}"),
    };
    report!("{order} of {fd}: {done}");
    DEPTH.with(|depth| depth.set(depth.get() - 1));
}

/// Follows a line if it is for this function.
fn read(server: Handle, line: &[u8], whose: &str) {
    let words = String::from_utf8_lossy(line);
    let words: Vec<&str> = words.split_whitespace().collect();
    if let [first, order, fd] = words[..] {
        if first == whose {
            follow(server, order, number(fd));
        }
    }
}

extern "C-unwind" fn cut(data: *const u8, len: usize, server: *mut c_void) -> i64 {
    // SAFETY: the library lends `len` bytes until this returns.
    let bytes = unsafe { std::slice::from_raw_parts(data, len) };
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return 0 };
    read(Handle { raw: server.cast() }, &bytes[..end], "cut");
    end as i64 + 1
}

extern "C-unwind" fn choose(
    server: *mut sw_server_t,
    _: i64,
    event_type: c_int,
    data: *const u8,
    len: usize,
    _: *mut c_void,
) -> c_int {
    if event_type == 0 {
        // SAFETY: the library lends `len` bytes until this returns.
        let line = unsafe { std::slice::from_raw_parts(data, len) };
        read(Handle { raw: server }, line, "choose");
    }
    SW_DISPATCH_DEFAULT
}

fn answer(server: Handle, event: &Event) {
    let line = match event.data() {
        b"who\n" => format!("{}\n", event.fd()).into_bytes(),
        line => line.to_vec(),
    };
    if let Err(error) = server.send(event.fd(), &line) {
        report!("refused {}: {}", event.fd(), error.code);
    }
}

fn serve(setup: &Setup, settings: &[(&str, &str)]) -> Outcome {
    // A process that reads for itself does not see the connections of another.
    let count = if setup.mode == Mode::Base { "1" } else { "4" };
    let own = [("open_length_check", "1"), ("worker_num", count)];
    let server = prepare(setup, &[&own, settings].concat())?;
    server.on("receive", answer)?;
    let port = sw_server_port(server.raw, 0);
    assert!(sw_port_set_length_func(port, Some(cut), server.raw.cast()));
    assert!(sw_server_set_dispatch_func(server.raw, Some(choose), null_mut()));
    puppet::run(&server)
}

pub fn meddling(setup: &Setup) -> Outcome {
    serve(setup, &[("reactor_num", "2")])
}

pub fn meddling_in_mode_5(setup: &Setup) -> Outcome {
    serve(setup, &[("dispatch_mode", "5"), ("single_thread", "1")])
}

fn line(client: &mut Client) -> Fallible<String> {
    let mut line = Vec::new();
    loop {
        match client.receive(1)?[0] {
            b'\n' => return Ok(String::from_utf8(line)?),
            byte => line.push(byte),
        }
    }
}

fn ask(client: &mut Client, order: &str) -> Fallible<String> {
    client.send(format!("{order}\n").as_bytes())?;
    line(client)
}

/// Reads until a line comes back.
fn await_line(client: &mut Client, wanted: &str) -> Outcome {
    while line(client)? != wanted {}
    Ok(())
}

pub fn a_function_where_connections_are_read_may_call_the_server(server: &Running) -> Outcome {
    let whose: &[&str] = match server.mode() {
        Mode::Process => &["cut", "choose"],
        // Nobody chooses where workers read for themselves.
        _ => &["cut"],
    };
    let mut witness = server.connect()?;
    ask(&mut witness, "who")?;
    for whose in whose {
        let mut client = server.connect()?;
        let fd = ask(&mut client, "who")?;
        for order in HARMLESS {
            let order = format!("{whose} {order} {fd}");
            // What comes behind it in the same segment is cut as before.
            client.send(format!("{order}\nbehind it\n").as_bytes())?;
            await_line(&mut client, &order)?;
            await_line(&mut client, "behind it")?;
        }
        // The line in hand is a message already, whatever its connection is told.
        let pause = format!("{whose} pause {fd}");
        assert_eq!(ask(&mut client, &pause)?, pause);
        client.send(b"later\n")?;
        let mut other = server.connect()?;
        let resume = format!("{whose} resume {fd}");
        assert_eq!(ask(&mut other, &resume)?, resume);
        assert_eq!(line(&mut client)?, "later");
        for end in ["close", "reset"] {
            let mut client = server.connect()?;
            let fd = ask(&mut client, "who")?;
            client.send(format!("{whose} {end} {fd}\nnever\n").as_bytes())?;
            let mut bytes = Vec::new();
            // A reset is an end, too.
            std::io::Read::read_to_end(&mut client.stream, &mut bytes).unwrap_or_default();
            assert!(!bytes.ends_with(b"never\n"), "{whose} {end}");
            server.wait_line(|line| line == format!("{end} of {fd}: true"), STEP)?;
        }
    }
    assert_eq!(ask(&mut witness, "still here")?, "still here");
    Ok(())
}
