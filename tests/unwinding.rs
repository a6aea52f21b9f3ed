//! Callbacks that do not return but unwind: an exception of a program in C++, a panic of one in
//! Rust. The process that it happens in ends with 255 at once, and what is left of the server goes
//! on as after any other loss.

mod common;

use common::prelude::*;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a callback can be made to throw, and how the log names it.
const PLACES: [(&[u8], &str); 5] = [
    (b"r", "receive"),
    (b"t", "timer"),
    (b"d", "deferred call"),
    (b"i", "descriptor"),
    (b"c", "close"),
];
const FAILED: i32 = 255;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn library() -> Fallible<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own.ancestors().map(|folder| folder.join("libswoole.so")).find(|it| it.exists());
    Ok(found.ok_or("libswoole.so stands beside or above the test")?)
}

/// Compiles the program in C++ into a folder of this server alone, and becomes it.
fn throw(setup: &Setup, worker_num: &str) -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = std::env::temp_dir().with_file_name("thrower");
    let library = program.with_file_name("libswoole.so.0");
    symlink(self::library()?, &library)?;
    let output = Command::new("c++")
        .args(["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
        .arg(root.join("include"))
        .arg(root.join("tests/unwinding/thrower.cpp"))
        .arg("-o")
        .arg(&program)
        .arg(library)
        .arg("-Wl,-rpath,$ORIGIN")
        .output()
        .map_err(|error| format!("c++ cannot be run, see scripts/setup: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let mut command = Command::new(program);
    command.args([setup.mode.number().to_string(), setup.port.to_string()]).arg(worker_num);
    Err(command.exec().into())
}

fn thrower(setup: &Setup) -> Outcome {
    throw(setup, "2")
}

fn lonely_thrower(setup: &Setup) -> Outcome {
    throw(setup, "1")
}

/// Until a worker has thrown, been reported, and has a successor; the connection that told it to.
fn throw_at(server: &Running, place: usize) -> Fallible<Client> {
    let (order, name) = PLACES[place];
    let mut client = server.connect()?;
    client.send(order)?;
    let errors = server.wait_lines(place + 1, |line| line.starts_with("error "), STEP)?;
    assert_eq!(errors[place], format!("error code {FAILED} signal 0"), "{name}");
    let is_start = |line: &str| line.starts_with("worker ");
    server.wait_lines(2 + place + 1, is_start, STEP)?;
    assert_named(server, name, 1);
    Ok(client)
}

/// So many lines of the log are errors that name the callback.
fn assert_named(server: &Running, name: &str, count: usize) {
    let log = server.log();
    let told = format!("the {name} callback ");
    let lines = log.lines().filter(|line| line.contains("\tERROR\t") && line.contains(&told));
    assert_eq!(lines.count(), count, "{told}: {log}");
}

fn assert_no_exit_in_order(server: &Running) {
    let lines = server.lines_so_far();
    let is_orderly = |line: &&String| ["exit handler", "stop", "caught"].contains(&line.as_str());
    assert_eq!(lines.iter().find(is_orderly), None);
}

fn a_worker_whose_callback_throws_is_replaced_and_the_server_goes_on(server: &Running) -> Outcome {
    for (place, (_, name)) in PLACES.iter().enumerate() {
        let mut client = throw_at(server, place)?;
        match server.mode() {
            // It was closed, and there is nobody to call a second time.
            Mode::Process if *name == "close" => assert_eq!(client.receive_to_end()?, b""),
            // The connection is not the worker's: it serves on.
            Mode::Process => client.echo(b"still there")?,
            // It is, and ends with it.
            Mode::Base | Mode::Thread => assert!(client.receive(1).is_err()),
        }
        server.connect()?.echo(b"new ones come")?;
    }
    assert_no_exit_in_order(server);
    Ok(())
}

fn a_user_process_that_throws_is_replaced(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    for turn in 1..=2 {
        client.send(b"u")?;
        let errors = server.wait_lines(turn, |line| line.starts_with("error "), STEP)?;
        assert_eq!(errors[turn - 1], format!("error code {FAILED} signal 0"));
        assert_named(server, "user process", turn);
    }
    client.echo(b"still there")?;
    assert_no_exit_in_order(server);
    Ok(())
}

fn where_the_only_process_throws_nothing_is_left(server: &Running) -> Outcome {
    server.connect()?.send(b"r")?;
    assert_eq!(server.wait_exit(STEP)?.code(), Some(FAILED));
    assert_no_exit_in_order(server);
    assert_named(server, "receive", 1);
    server.assert_nothing_left()?;
    Ok(())
}

server_tests! {
    a_worker_whose_callback_throws_is_replaced_and_the_server_goes_on: thrower,
        in [Mode::Process, Mode::Base];
    a_user_process_that_throws_is_replaced: thrower, in [Mode::Process, Mode::Base];
    // All threads are one process.
    where_the_only_process_throws_nothing_is_left: lonely_thrower, in [Mode::Base, Mode::Thread];
}
