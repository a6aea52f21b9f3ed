//! Sends that wait until everything has gone.

use super::api::{self, receive_filling, MIB};
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::{self, ask, connect_to, serve};

/// More than the system takes for a peer that does not read.
const MUCH: usize = 32 * MIB;

pub fn patient(setup: &Setup) -> Outcome {
    serve(setup, &[], reporting)
}

pub fn hasty(setup: &Setup) -> Outcome {
    serve(setup, &[("send_timeout", "0.2")], reporting)
}

/// Tells when a wait is over, and what waits then.
fn reporting(server: Handle, event: &Event) {
    let text = std::str::from_utf8(event.data()).unwrap_or("");
    let words: Vec<&str> = text.split_whitespace().collect();
    if let ["!report", fd, length] = *words.as_slice() {
        let fd = puppet::number(fd);
        let data = vec![api::FILLING; puppet::number(length)];
        let code = api::code_of(api::send_and_wait(server, fd, &data));
        report!("over {code} {}", api::waiting(server, fd));
        return;
    }
    api::obey(server, event);
}

pub fn a_send_that_waits_returns_when_all_has_gone(server: &Running) -> Outcome {
    let (mut reader, fd) = connect_to(server, 1)?;
    let (mut control, _) = connect_to(server, 1)?;
    // What was queued before goes first.
    assert_eq!(ask(&mut control, &format!("blob {fd} {MUCH}"))?, "0");
    assert_eq!(ask(&mut control, &format!("tell {fd} between"))?, "1008");
    control.send(format!("!report {fd} {MUCH}").as_bytes())?;
    receive_filling(&mut reader, MUCH + MUCH / 4)?;
    assert!(!server.lines_so_far().iter().any(|line| line.starts_with("over")));
    receive_filling(&mut reader, MUCH - MUCH / 4)?;
    assert_eq!(server.wait_line(|line| line.starts_with("over"), STEP)?, "over 0 0");
    control.echo(&[puppet::NO_TEXT; 10])?;
    reader.echo(&[puppet::NO_TEXT; 10])?;
    Ok(())
}

pub fn a_send_waits_no_longer_than_the_timeout_and_leaves_no_half(server: &Running) -> Outcome {
    let (mut reader, fd) = connect_to(server, 1)?;
    let (mut control, _) = connect_to(server, 1)?;
    let timeout = libc::ETIMEDOUT.to_string();
    // The first has begun to leave and leaves in whole, the second has not and does not.
    for _ in 0..2 {
        assert_eq!(ask(&mut control, &format!("wait {fd} {MUCH}"))?, timeout);
    }
    receive_filling(&mut reader, MUCH)?;
    let more = format!("tell {fd} more");
    assert_eq!(puppet::ask_until(&mut control, &more, |line| line == "told")?, "told");
    assert_eq!(reader.receive(4)?, b"more");
    Ok(())
}

pub fn a_peer_that_leaves_ends_the_wait(server: &Running) -> Outcome {
    let (reader, fd) = connect_to(server, 1)?;
    let (mut control, _) = connect_to(server, 1)?;
    control.send(format!("!report {fd} {MUCH}").as_bytes())?;
    puppet::poll(&[std::os::fd::AsRawFd::as_raw_fd(&reader.stream)], libc::POLLIN, 10_000)?;
    drop(reader);
    let line = server.wait_line(|line| line.starts_with("over"), STEP)?;
    assert!(line != "over 0 0" && !line.starts_with("over 110"), "{line}");
    let close = format!("close {fd}");
    server.wait_line(|line| line == close, STEP)?;
    control.echo(&[puppet::NO_TEXT; 10])?;
    Ok(())
}

pub fn only_the_owner_of_a_connection_can_wait(server: &Running) -> Outcome {
    let (mut reader, fd) = connect_to(server, 1)?;
    let (mut control, _) = connect_to(server, 0)?;
    let expected = if server.mode() == Mode::Process { "507" } else { "1005" };
    assert_eq!(ask(&mut control, &format!("wait {fd} 10"))?, expected);
    let (mut own, _) = connect_to(server, 1)?;
    let expected = if server.mode() == Mode::Process { "507" } else { "0" };
    assert_eq!(ask(&mut own, &format!("wait {fd} 10"))?, expected);
    if server.mode() != Mode::Process {
        receive_filling(&mut reader, 10)?;
        assert_eq!(ask(&mut own, "wait 999983 10")?, "1005");
    }
    Ok(())
}
