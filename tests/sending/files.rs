//! Files: whole and in parts, in their place among sends, from everywhere, and what goes wrong.

use super::api::{self, bytes, code_of, receive_filling, send_file, Scrap, MIB};
use super::users::Process;
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::{self, ask, ask_until, connect_to, number, serve, serve_with, timers};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

const SIZE: usize = 5 * MIB + 7;

pub fn plain(setup: &Setup) -> Outcome {
    serve(setup, &[], api::obey)
}

pub fn parts_of_files_arrive_in_their_place_from_every_worker(server: &Running) -> Outcome {
    let scrap = Scrap::new(server, SIZE)?;
    let path = scrap.path().display();
    let whole = bytes(0, SIZE);
    for sender in 0..2 {
        let (mut reader, fd) = connect_to(server, 1)?;
        let (mut control, _) = connect_to(server, sender)?;
        assert_eq!(ask(&mut control, &format!("between {fd} {path}"))?, "0");
        assert_eq!(reader.receive(1)?, b"<");
        assert!(reader.receive(SIZE)? == whole, "the whole file");
        assert_eq!(reader.receive(3)?, [b'|', whole[SIZE - 1], b'>']);
        for (offset, length) in [(0, 1), (4096, 100_000), (SIZE - 1, 1), (7, SIZE - 7)] {
            let order = format!("file {fd} {path} {offset} {length}");
            assert_eq!(ask(&mut control, &order)?, "0");
            assert!(reader.receive(length)? == whole[offset..offset + length], "{order}");
        }
        assert_eq!(ask(&mut control, &format!("file {fd} {path} {} 0", SIZE - 9))?, "0");
        assert_eq!(reader.receive(9)?, whole[SIZE - 9..]);
        reader.echo(&[puppet::NO_TEXT; 100])?;
    }
    Ok(())
}

/// A path is bytes; what they mean is the matter of whoever has made the file.
pub fn the_name_of_a_file_need_not_be_text(server: &Running) -> Outcome {
    for sender in 0..2 {
        let (mut reader, fd) = connect_to(server, 1)?;
        let (mut control, _) = connect_to(server, sender)?;
        assert_eq!(ask(&mut control, &format!("odd {fd}"))?, "0");
        assert_eq!(reader.receive(api::ODD.len())?, api::ODD);
    }
    std::fs::remove_file(server.temporary().join(OsStr::from_bytes(api::ODD)))?;
    Ok(())
}

pub fn a_file_is_no_response(server: &Running) -> Outcome {
    let scrap = Scrap::new(server, 100)?;
    let path = scrap.path().display();
    let (mut client, fd) = connect_to(server, 0)?;
    let before: u64 = number(&ask(&mut client, "responses")?);
    client.send(format!("!file {fd} {path} 0 0").as_bytes())?;
    assert_eq!(client.receive(102)?, [&bytes(0, 100)[..], b"0\n"].concat());
    // The answers to both orders, and nothing for the file.
    assert_eq!(ask(&mut client, "responses")?, (before + 2).to_string());
    Ok(())
}

pub fn a_file_that_cannot_be_sent_has_its_number_and_the_connection_goes_on(
    server: &Running,
) -> Outcome {
    let (scrap, empty) = (Scrap::new(server, 1000)?, Scrap::sparse(server, 0)?);
    let (path, empty) = (scrap.path().display(), empty.path().display());
    let folder = std::env::temp_dir();
    let long = "x/".repeat(5000);
    for sender in 0..2 {
        let (mut reader, fd) = connect_to(server, 1)?;
        let (mut control, _) = connect_to(server, sender)?;
        for (what, code) in [
            ("/nowhere/at/all 0 0".to_owned(), 502),
            (format!("{} 0 0", folder.display()), 9013),
            ("/dev/null 0 1".to_owned(), 9013),
            (format!("{long} 0 0"), 504),
            (format!("{empty} 0 0"), 502),
            (format!("{path} 1000 0"), 502),
            (format!("{path} 1000 1"), 502),
            (format!("{path} -1 0"), 505),
            (format!("{path} 0 1001"), 505),
            (format!("{path} 999 2"), 505),
            (format!("{path} 1 {}", usize::MAX), 505),
        ] {
            let order = format!("file {fd} {what}");
            let name: String = order.chars().take(60).collect();
            assert_eq!(ask(&mut control, &order)?, code.to_string(), "{name}");
        }
        let order = format!("file {} {path} 0 0", fd + 999_983);
        assert_eq!(ask(&mut control, &order)?, "1005");
        assert_eq!(ask(&mut control, &format!("file 0 {path} 0 0"))?, "1006");
        assert_eq!(ask(&mut control, &format!("file {fd} {path} 999 1"))?, "0");
        assert_eq!(reader.receive(1)?, bytes(999, 1));
        reader.echo(&[puppet::NO_TEXT; 100])?;
    }
    Ok(())
}

/// What waits for a reader that does not read; the system takes less.
const AHEAD: usize = 24 * MIB;

pub fn a_file_that_goes_away_before_its_turn_ends_its_connection_alone(
    server: &Running,
) -> Outcome {
    for shrinks in [false, true] {
        let scrap = Scrap::new(server, SIZE)?;
        let path = scrap.path().display();
        let (mut reader, fd) = connect_to(server, 1)?;
        let (mut control, _) = connect_to(server, 0)?;
        assert_eq!(ask(&mut control, &format!("blob {fd} {AHEAD}"))?, "0");
        assert_eq!(ask(&mut control, &format!("file {fd} {path} 0 {SIZE}"))?, "0");
        // The lanes have been read.
        let (mut owner, _) = connect_to(server, 1)?;
        ask_until(&mut owner, "queued", |line| number::<usize>(line) > SIZE)?;
        let promised = match shrinks {
            true => {
                std::fs::OpenOptions::new().write(true).open(scrap.path())?.set_len(1000)?;
                1000
            }
            false => {
                std::fs::remove_file(scrap.path())?;
                0
            }
        };
        receive_filling(&mut reader, AHEAD)?;
        let mut rest = Vec::new();
        // What comes last is the end or a reset.
        drop(reader.stream.read_to_end(&mut rest));
        assert_eq!(rest, bytes(0, promised));
        let line = format!("close {fd}");
        server.wait_line(|told| told == line, STEP)?;
        control.echo(&[puppet::NO_TEXT; 100])?;
        let name = scrap.path().display().to_string();
        assert!(server.log().contains(&name), "{}", server.log());
    }
    Ok(())
}

/// The other worker takes nothing, so where it owns the connection the files wait where they are
/// sent.
pub fn only_so_many_files_wait_for_a_peer(server: &Running) -> Outcome {
    let scrap = Scrap::new(server, MIB)?;
    let (mut reader, fd) = connect_to(server, 1)?;
    let (mut owner, _) = connect_to(server, 1)?;
    let (mut control, _) = connect_to(server, 0)?;
    let held = puppet::hold_worker(&mut owner)?;
    let answer = ask(&mut control, &format!("stack {fd} {}", scrap.path().display()))?;
    let (count, code) = answer.split_once(' ').ok_or("no number")?;
    assert_eq!(code, "1008", "{count} files wait");
    drop(held);
    assert!(reader.receive(MIB)? == bytes(0, MIB));
    drop(reader);
    server.wait_line(|told| told == format!("close {fd}"), STEP)?;
    Ok(())
}

/// The worker of the connection has not heard yet that it ends, so others still send to it.
pub fn nothing_stands_in_the_place_of_a_file_that_has_gone_away(server: &Running) -> Outcome {
    let scrap = Scrap::new(server, SIZE)?;
    let (mut reader, fd) = connect_to(server, 1)?;
    let (mut control, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut control, &format!("blob {fd} {AHEAD}"))?, "0");
    assert_eq!(ask(&mut control, &format!("file {fd} {} 0 0", scrap.path().display()))?, "0");
    std::fs::remove_file(scrap.path())?;
    let (mut owner, _) = connect_to(server, 1)?;
    let held = puppet::hold_worker(&mut owner)?;
    receive_filling(&mut reader, AHEAD)?;
    // Some of them are refused as long as it counts that much has waited.
    for _ in 0..100 {
        ask(&mut control, &format!("tell {fd} more"))?;
    }
    drop(held);
    let mut rest = Vec::new();
    drop(reader.stream.read_to_end(&mut rest));
    assert_eq!(String::from_utf8_lossy(&rest), "");
    Ok(())
}

pub fn a_file_larger_than_the_memory_it_takes(server: &Running) -> Outcome {
    const LARGE: u64 = 400 << 20;
    let scrap = Scrap::sparse(server, LARGE)?;
    let (mut reader, fd) = connect_to(server, 1)?;
    let (mut control, _) = connect_to(server, 0)?;
    let (mut owner, _) = connect_to(server, 1)?;
    let before = puppet::memory_bytes(server)?;
    assert_eq!(ask(&mut control, &format!("file {fd} {} 0 0", scrap.path().display()))?, "0");
    ask_until(&mut owner, &format!("waiting {fd}"), |line| {
        number::<u64>(line) > LARGE - (24 << 20)
    })?;
    // Bytes of files do not count for the limit, and what is sent now comes behind them.
    assert_eq!(ask(&mut control, &format!("tell {fd} behind"))?, "told");
    let mut chunk = vec![1; 4 * MIB];
    for _ in 0..LARGE / chunk.len() as u64 {
        reader.stream.read_exact(&mut chunk)?;
        assert!(chunk.iter().all(|byte| *byte == 0));
        owner.echo(&[puppet::NO_TEXT; 10])?;
    }
    assert_eq!(reader.receive(6)?, b"behind");
    let above = puppet::memory_bytes(server)?.saturating_sub(before);
    assert!(above < 4 << 20, "{above} bytes of memory");
    ask_until(&mut owner, &format!("waiting {fd}"), |line| line == "0")?;
    Ok(())
}

/// The file that user processes, managers and masters send.
const COMMON: &str = "/proc/self/exe";

pub fn everybody(setup: &Setup) -> Outcome {
    serve_with(setup, &[], api::obey, |server| {
        server.on("start", |server, _| try_by_timer("start", server))?;
        server.on("managerStart", |server, _| try_by_timer("managerStart", server))?;
        Process::start_with(server, |server, _| try_by_timer("user", server))?;
        Ok(())
    })
}

/// Sends the first bytes of the program as soon as there is a connection, once.
fn try_by_timer(who: &'static str, server: Handle) {
    let mut is_done = false;
    let tried = timers::tick(server, 5, move |id| {
        let code = code_of(send_file(server, 1, COMMON, 0, 1000));
        if !is_done && code != 1005 {
            is_done = true;
            report!("{who} {code}");
            timers::clear_timer(server, id).expect("the timer runs");
        }
    });
    tried.expect("a timer can be set");
}

pub fn every_process_but_the_master_sends_files(server: &Running) -> Outcome {
    let mut reader = server.connect()?;
    let start = std::fs::read("/proc/self/exe")?[..1000].to_vec();
    for _ in 0..2 {
        assert!(reader.receive(1000)? == start);
    }
    let mut told = Vec::new();
    for who in ["start ", "managerStart ", "user "] {
        told.push(server.wait_line(|line| line.starts_with(who), STEP)?);
    }
    // In base mode worker 0 stands in for the master, but it is none.
    let of_start = if server.mode() == Mode::Base { "start 0" } else { "start 9009" };
    assert_eq!(told, [of_start, "managerStart 0", "user 0"]);
    if server.mode() == Mode::Base {
        assert!(reader.receive(1000)? == start);
    }
    Ok(())
}

/// Lets a process open so many descriptors; what it has stays open. How many it could before.
fn limit_files(pid: i32, count: u64) -> std::io::Result<u64> {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both places outlive the calls.
    unsafe {
        if libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &mut before) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        let limit = libc::rlimit { rlim_cur: count, ..before };
        match libc::prlimit(pid, libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut()) {
            0 => Ok(before.rlim_cur),
            _ => Err(std::io::Error::last_os_error()),
        }
    }
}

pub fn a_file_for_which_there_is_no_descriptor_waits_for_one(server: &Running) -> Outcome {
    let scrap = Scrap::new(server, 10_000)?;
    let (mut reader, fd) = connect_to(server, 1)?;
    let (mut control, _) = connect_to(server, 0)?;
    let before = limit_files(server.pid(), 3)?;
    let path = scrap.path().display();
    assert_eq!(ask(&mut control, &format!("file {fd} {path} 0 0"))?, "0");
    ask_until(&mut control, &format!("waiting {fd}"), |line| line == "10000")?;
    assert_eq!(ask(&mut control, &format!("tell {fd} more"))?, "told");
    limit_files(server.pid(), before)?;
    assert!(reader.receive(10_000)? == api::bytes(0, 10_000));
    assert_eq!(reader.receive(4)?, b"more");
    Ok(())
}
