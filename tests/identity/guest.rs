//! The library is a guest: what belongs to the whole process is as before once start has returned.

use crate::common::prelude::*;
use crate::common::process;
use crate::Fallible;
use std::ffi::CStr;
use std::fs;
use std::time::Instant;

/// Umask, locale, working directory, standard descriptors, environment and processors.
fn belongings() -> Fallible<String> {
    // SAFETY: takes a number; put back by the next line.
    let mask = unsafe { libc::umask(0) };
    // SAFETY: as above.
    unsafe { libc::umask(mask) };
    // SAFETY: nothing is set; the text is valid until the locale is set.
    let locale = unsafe { CStr::from_ptr(libc::setlocale(libc::LC_ALL, std::ptr::null())) };
    let folder = std::env::current_dir()?;
    let mut standard = Vec::new();
    for number in 0..3 {
        standard.push(fs::read_link(format!("/proc/self/fd/{number}"))?);
    }
    let environment = std::env::vars_os().count();
    let cpus = swoole::os::cpu::allowed_cpus()?;
    // SAFETY: takes nothing.
    let group = unsafe { libc::getpgrp() };
    let descriptors = process::open_descriptors()?.len();
    Ok(format!(
        "{mask:o} {locale:?} {folder:?} {standard:?} {environment} {cpus:?} {group} {descriptors}"
    ))
}

/// With all that could leave a trace.
pub fn leave_all_as_it_was(setup: &Setup) -> Outcome {
    // SAFETY: takes a number.
    unsafe { libc::umask(0o027) };
    // SAFETY: the text ends with a NUL. Where there is no such locale, nothing changes.
    unsafe { libc::setlocale(libc::LC_ALL, b"C.UTF-8\0".as_ptr().cast()) };
    let folder = std::env::temp_dir();
    std::env::set_current_dir(&folder)?;
    let before = belongings()?;
    for is_failing in [false, true, false] {
        let server = setup.server()?;
        server.set("log_file", "server.log")?;
        server.set("pid_file", "server.pid")?;
        server.set("stats_file", "server.json")?;
        server.set("stats_timer_interval", "5")?;
        server.set("open_cpu_affinity", "true")?;
        server.set("enable_reuse_port", "true")?;
        server.on("receive", |server, event| {
            report!("sent {}", server.send(event.fd(), event.data()).is_ok());
        })?;
        if is_failing {
            // A daemon cannot be made of a process with threads.
            server.set("daemonize", "true")?;
            let (keep, ended) = std::sync::mpsc::channel::<()>();
            let other = std::thread::spawn(move || ended.recv());
            let error = server.start().err().ok_or("it started")?;
            drop(keep);
            report!("failed {} {}", error.code, other.join().is_ok());
        } else {
            server.start()?;
        }
        drop(server);
        report!("left: {}", belongings()? == before);
        if belongings()? != before {
            report!("{before} became {}", belongings()?);
        }
    }
    for name in ["server.log", "server.json"] {
        fs::remove_file(folder.join(name))?;
    }
    Ok(())
}

pub fn the_program_is_left_as_it_was(server: &Running) -> Outcome {
    for turn in [1, 2] {
        server.wait_lines(turn, |line| line == "ready", STEP)?;
        let mut client = Client::connect(server.port())?;
        client.echo(b"hello")?;
        let end = Instant::now() + STEP;
        while !server.temporary().join("server.json").exists() {
            assert!(Instant::now() < end, "no stats_file");
            client.echo(b"a turn of the loop")?;
        }
        server.signal(libc::SIGTERM)?;
        assert!(client.receive_to_end()?.is_empty());
        server.wait_lines(if turn == 1 { 2 } else { 3 }, |line| line == "left: true", STEP)?;
    }
    let line = server.wait_line(|line| line.starts_with("failed "), STEP)?;
    assert_eq!(line, format!("failed {} true", libc::EDEADLK));
    assert!(server.wait_exit(STEP)?.success());
    Ok(())
}
