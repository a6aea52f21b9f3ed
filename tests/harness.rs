//! The harness of the server tests, held to what it promises: a server that does not end, leaves
//! something behind or fails makes its test fail, and says why.

mod common;

use common::prelude::*;
use common::{process, try_case, LIFETIME};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Instant;

/// An echo server for one connection that needs nothing of the library.
fn echo_once(setup: &Setup) -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", setup.port))?;
    report!("ready");
    let (mut stream, _) = listener.accept()?;
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes)? {
            0 => break,
            count => stream.write_all(&bytes[..count])?,
        }
    }
    report!("mode {:?}", setup.mode);
    Ok(())
}

fn a_server_and_its_client_meet(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.echo(b"hello")?;
    client.echo(&vec![7; 1_000_000])?;
    drop(client);
    let mode = format!("mode {:?}", server.mode());
    server.wait_line(|line| line == mode, STEP)?;
    assert!(server.wait_exit(STEP)?.success());
    Ok(())
}

fn wait_for_a_signal(_: &Setup) -> Outcome {
    println!("words of the server");
    report!("ready");
    loop {
        std::thread::park();
    }
}

fn a_signal_ends_the_server(server: &Running) -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    server.wait_line(|line| line == "ready", STEP)?;
    assert_eq!(server.lines_so_far(), ["ready"]);
    server.signal(libc::SIGTERM)?;
    assert_eq!(server.wait_exit(STEP)?.signal(), Some(libc::SIGTERM));
    Ok(())
}

fn a_missing_line_is_noticed_at_the_end_of_the_server(server: &Running) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    server.signal(libc::SIGKILL)?;
    let missing = server.wait_line(|line| line == "never", LIFETIME);
    assert_eq!(missing, Err("0 of 1 lines came before the end".to_owned()));
    server.wait_exit(STEP)?;
    Ok(())
}

/// Leaves a process that outlives it.
fn leave_a_process(_: &Setup) -> Outcome {
    let child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn()?;
    report!("child {}", child.id());
    Ok(())
}

fn leave_a_file(_: &Setup) -> Outcome {
    std::fs::write(std::env::temp_dir().join("left"), "bytes")?;
    Ok(())
}

fn fail(_: &Setup) -> Outcome {
    Err("this body fails".into())
}

/// The processes of a group that has only a parent and its child.
fn list_its_processes(server: &Running) -> Outcome {
    let child = server.wait_line(|line| line.starts_with("child "), STEP)?;
    let pids: Vec<i32> = server.descendants()?.iter().map(|process| process.pid).collect();
    assert_eq!(format!("child {}", pids[0]), child);
    for pid in &pids {
        process::send_signal(*pid, libc::SIGKILL)?;
    }
    assert!(process::wait_gone(pids[0], STEP)?);
    Ok(())
}

fn leaves_a_process(server: &Running) -> Outcome {
    server.wait_exit(STEP)?;
    Ok(())
}

fn leaves_a_file(server: &Running) -> Outcome {
    server.wait_exit(STEP)?;
    Ok(())
}

fn fails(server: &Running) -> Outcome {
    assert!(process::wait_gone(server.pid(), STEP)?);
    Ok(())
}

fn does_not_handle_its_signal(server: &Running) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    Ok(())
}

/// Runs a case of this file whose test must fail, and returns why it did.
fn failure(name: &str) -> String {
    let case = CASES.iter().find(|case| case.name == name).expect("a case of this file");
    try_case(case, Mode::Base).expect_err("the test must fail")
}

fn what_a_server_leaves_behind_makes_its_test_fail() -> Outcome {
    let text = failure("leaves_a_process");
    assert!(text.starts_with("the server left processes behind: [Process"), "{text}");
    let text = failure("leaves_a_file");
    assert!(text.starts_with("the server left files: [") && text.contains("/left"), "{text}");
    Ok(())
}

fn a_server_that_fails_makes_its_test_fail_with_its_words() -> Outcome {
    let text = failure("fails");
    assert!(text.starts_with("the server ended with exit status: 1"), "{text}");
    assert!(text.contains("the body of the server failed: this body fails"), "{text}");
    let text = failure("does_not_handle_its_signal");
    assert!(text.contains("signal: 15") && text.contains("words of the server"), "{text}");
    Ok(())
}

fn a_port_is_given_to_one_test_only() -> Outcome {
    let first = process::Port::reserve()?;
    let second = process::Port::reserve()?;
    assert_ne!(first.number, second.number);
    assert!(first.is_free());
    let listener = TcpListener::bind(("127.0.0.1", first.number))?;
    assert!(!first.is_free());
    drop(listener);
    // A process that another test has just forked may hold a copy until it begins its program.
    let end = Instant::now() + STEP;
    while !first.is_free() {
        assert!(Instant::now() < end, "the port stays taken");
        std::thread::yield_now();
    }
    Ok(())
}

/// Forked copies of what one look has opened must not be taken for a server by the next.
fn a_free_port_looks_free_while_other_tests_start_servers() -> Outcome {
    const STARTS: usize = 200;
    let port = process::Port::reserve()?;
    let start_and_fail = || {
        let mut command = Command::new("/nonexistent");
        // SAFETY: nothing is done between fork and exec. That there could be makes it a fork.
        unsafe { command.pre_exec(|| Ok(())) };
        assert!(command.spawn().is_err());
    };
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| (0..STARTS).for_each(|_| start_and_fail()));
        while !starting.is_finished() {
            assert!(port.is_free());
        }
        starting.join().expect("it only starts programs");
    });
    Ok(())
}

server_tests! {
    a_server_and_its_client_meet: echo_once;
    a_signal_ends_the_server: wait_for_a_signal, in [Mode::Base];
    a_missing_line_is_noticed_at_the_end_of_the_server: wait_for_a_signal, in [Mode::Base];
    list_its_processes: leave_a_process, in [Mode::Base];
    leaves_a_process: leave_a_process, in [];
    leaves_a_file: leave_a_file, in [];
    fails: fail, in [];
    does_not_handle_its_signal: wait_for_a_signal, in [];
    [plain] what_a_server_leaves_behind_makes_its_test_fail;
    [plain] a_server_that_fails_makes_its_test_fail_with_its_words;
    [plain] a_port_is_given_to_one_test_only;
    [plain] a_free_port_looks_free_while_other_tests_start_servers;
}
