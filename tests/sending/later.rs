//! Sends that wait for room without keeping their callback: in order, to the end, and not for ever.

use super::api::{self, receive_filling, MIB};
use crate::common::api::{last_error, Handle};
use crate::common::prelude::*;
use crate::puppet::{self, ask, connect_to, number};
use std::ffi::c_void;
use swoole::ffi::sending::sw_server_send_async;
use swoole::ffi::types::sw_server_t;

extern "C-unwind" fn report_sent(
    server: *mut sw_server_t,
    fd: i64,
    error: i32,
    number: *mut c_void,
) {
    let server = Handle { raw: server };
    report!("sent {fd} number {} error {error} by {}", number as usize, server.worker_id());
}

fn send_async(server: Handle, fd: i64, data: &[u8], number: usize) -> i32 {
    let (bytes, tag) = (data.as_ptr().cast(), number as *mut c_void);
    match sw_server_send_async(server.raw, fd, bytes, data.len(), Some(report_sent), tag) {
        true => 0,
        false => last_error().code,
    }
}

/// `!later FD COUNT` asks for so many sends of a MiB; the answer is the first error.
fn obey(server: Handle, event: &Event) {
    let text = std::str::from_utf8(event.data()).unwrap_or("");
    let words: Vec<&str> = text.split_whitespace().collect();
    let ["!later", fd, count] = *words.as_slice() else { return api::obey(server, event) };
    let block = vec![api::FILLING; MIB];
    let codes = (0..number(count)).map(|index| send_async(server, number(fd), &block, index));
    let first = codes.into_iter().find(|code| *code != 0).unwrap_or(0);
    puppet::answer(server, event.fd(), format!("{first}\n").as_bytes());
}

pub fn later(setup: &Setup) -> Outcome {
    puppet::serve(setup, &[("socket_buffer_size", "1M")], obey)
}

pub fn later_for_a_while(setup: &Setup) -> Outcome {
    puppet::serve(setup, &[("socket_buffer_size", "1M"), ("send_timeout", "0.2")], obey)
}

/// More than the system takes for a peer that does not read.
const COUNT: usize = 24;

fn sent(fd: i64, number: usize, error: i32) -> String {
    format!("sent {fd} number {number} error {error} by ")
}

/// The workers that ask: the one of the connection, and, where it may, another one.
fn askers(server: &Running) -> std::ops::Range<i32> {
    if server.mode() == Mode::Process {
        0..2
    } else {
        1..2
    }
}

pub fn sends_wait_for_room_and_go_in_order(server: &Running) -> Outcome {
    for asker in askers(server) {
        let (mut reader, fd) = connect_to(server, 1)?;
        let (mut control, _) = connect_to(server, asker)?;
        assert_eq!(ask(&mut control, &format!("later {fd} {COUNT}"))?, "0");
        server.wait_line(|line| line.starts_with(&sent(fd, 0, 0)), STEP)?;
        let is_of_this = |line: &&String| line.starts_with(&format!("sent {fd} "));
        let early = server.lines_so_far().iter().filter(is_of_this).count();
        assert!(early < COUNT, "nothing had to wait");
        receive_filling(&mut reader, COUNT * MIB)?;
        server.wait_line(|line| line.starts_with(&sent(fd, COUNT - 1, 0)), STEP)?;
        let lines = server.lines_so_far();
        let numbers: Vec<String> = lines.iter().filter(is_of_this).cloned().collect();
        let expected: Vec<String> =
            (0..COUNT).map(|number| format!("{}{asker}", sent(fd, number, 0))).collect();
        assert_eq!(numbers, expected);
    }
    Ok(())
}

pub fn a_send_that_waits_too_long_is_given_up(server: &Running) -> Outcome {
    let (mut reader, fd) = connect_to(server, 1)?;
    let (mut control, _) = connect_to(server, 1)?;
    assert_eq!(ask(&mut control, &format!("later {fd} {COUNT}"))?, "0");
    server.wait_line(|line| line.starts_with(&sent(fd, COUNT - 1, libc::ETIMEDOUT)), STEP)?;
    let is_taken =
        |line: &&String| line.starts_with(&format!("sent {fd} ")) && line.contains(" error 0 ");
    let taken = server.lines_so_far().iter().filter(is_taken).count();
    assert!(taken > 0 && taken < COUNT);
    // What was taken arrives, and nothing else.
    receive_filling(&mut reader, taken * MIB)?;
    assert_eq!(ask(&mut control, &format!("tell {fd} more"))?, "told");
    assert_eq!(reader.receive(4)?, b"more");
    Ok(())
}

pub fn a_send_to_a_connection_that_ends_is_told(server: &Running) -> Outcome {
    for asker in askers(server) {
        let (reader, fd) = connect_to(server, 1)?;
        let (mut control, _) = connect_to(server, asker)?;
        assert_eq!(ask(&mut control, &format!("later {fd} {COUNT}"))?, "0");
        server.wait_line(|line| line.starts_with(&sent(fd, 0, 0)), STEP)?;
        drop(reader);
        server.wait_line(|line| line.starts_with(&sent(fd, COUNT - 1, libc::ECONNRESET)), STEP)?;
        assert_eq!(ask(&mut control, &format!("later {fd} 1"))?, "1002");
    }
    Ok(())
}
