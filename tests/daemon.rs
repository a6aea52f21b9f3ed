//! A server that leaves the foreground: who started it is told at once, and it goes on alone.

mod common;

use common::prelude::*;
use common::process;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

extern "C" fn report_exit() {
    report!("exit handler of {}", std::process::id());
}

/// Prints through the C library, whose buffers a fork doubles.
fn print(text: &str, is_flushed: bool) {
    let text = std::ffi::CString::new(text).expect("no NUL");
    // SAFETY: both are texts that live through the call, and the first takes one other.
    unsafe { libc::printf(b"%s\0".as_ptr().cast(), text.as_ptr()) };
    if is_flushed {
        // SAFETY: no stream means all of them.
        unsafe { libc::fflush(std::ptr::null_mut()) };
    }
}

/// All paths are relative.
fn serve(setup: &Setup, host: &str, kind: i32, log_file: &str) -> Outcome {
    let folder = std::env::temp_dir();
    std::env::set_current_dir(&folder)?;
    // SAFETY: the function lives as long as the process.
    unsafe { libc::atexit(report_exit) };
    print("printed before;", false);
    let server = setup.bare_server(host, kind)?;
    server.set("worker_num", "2")?;
    server.set("daemonize", "true")?;
    server.set("log_file", log_file)?;
    server.set("pid_file", "server.pid")?;
    server.on("start", |_, _| print("printed at the start;", true))?;
    server.on("receive", |server, event| {
        report!("sent {}", server.send(event.fd(), event.data()).is_ok());
    })?;
    server.start()?;
    report!("returned, pid file is there: {}", folder.join("server.pid").exists());
    if !log_file.is_empty() {
        fs::remove_file(folder.join(log_file))?;
    }
    Ok(())
}

/// The process that serves, which is in no group that the harness knows.
struct Daemon {
    pid: i32,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // All other processes end with this one. It has ended already if all went well.
        let _ = process::send_signal(self.pid, libc::SIGKILL);
    }
}

impl Daemon {
    /// Waits until it serves; the process that was started must have ended well.
    fn await_it(server: &Running) -> Fallible<Self> {
        server.wait_line(|line| line == "ready", STEP)?;
        let pid = fs::read_to_string(server.temporary().join("server.pid"))?.parse()?;
        let daemon = Self { pid };
        assert!(server.wait_exit(STEP)?.success());
        assert_ne!(pid, server.pid());
        Ok(daemon)
    }

    /// Has it end in order.
    fn end(self, server: &Running) -> Outcome {
        process::send_signal(self.pid, libc::SIGTERM)?;
        assert!(process::wait_gone(self.pid, STEP)?);
        server.wait_line(|line| line == "returned, pid file is there: false", STEP)?;
        Ok(())
    }

    fn link(&self, name: &str) -> Fallible<String> {
        let link = fs::read_link(format!("/proc/{}/{name}", self.pid))?;
        Ok(link.to_string_lossy().into_owned())
    }

    fn session(&self) -> i32 {
        // SAFETY: takes a number.
        unsafe { libc::getsid(self.pid) }
    }
}

fn with_a_log(setup: &Setup) -> Outcome {
    serve(setup, "127.0.0.1", SW_SOCK_TCP, "server.log")
}

fn a_daemon_serves_in_a_session_of_its_own(server: &Running) -> Outcome {
    let daemon = Daemon::await_it(server)?;
    Client::connect(server.port())?.echo(b"hello")?;
    assert_eq!(daemon.link("cwd")?, "/");
    assert_eq!(daemon.session(), daemon.pid);
    daemon.end(server)
}

fn what_a_daemon_prints_goes_to_the_log(server: &Running) -> Outcome {
    let daemon = Daemon::await_it(server)?;
    let path = server.temporary().join("server.log");
    for number in ["fd/1", "fd/2"] {
        assert_eq!(Path::new(&daemon.link(number)?), path);
    }
    let mut client = Client::connect(server.port())?;
    let end = Instant::now() + STEP;
    // Where workers accept, the root may still be on its way.
    while !fs::read_to_string(&path)?.contains("server started") {
        assert!(Instant::now() < end, "the log is elsewhere");
        client.echo(b"a turn of the loop")?;
    }
    let log = fs::read_to_string(&path)?;
    assert!(log.contains("printed at the start;"), "{log}");
    assert!(!log.contains("printed before;"), "{log}");
    // What the program had printed has come out where it was printed, once.
    assert_eq!(server.log().matches("printed before;").count(), 1, "{}", server.log());
    assert!(!server.log().contains("printed at the start;"), "{}", server.log());
    daemon.end(server)
}

fn exit_handlers_run_in_the_daemon_alone(server: &Running) -> Outcome {
    let daemon = Daemon::await_it(server)?;
    let pid = daemon.pid;
    daemon.end(server)?;
    server.wait_line(|line| line == format!("exit handler of {pid}"), STEP)?;
    let lines = server.lines_so_far();
    assert!(!lines.contains(&format!("exit handler of {}", server.pid())), "{lines:?}");
    Ok(())
}

fn without_a_log(setup: &Setup) -> Outcome {
    serve(setup, "server.sock", SW_SOCK_UNIX_STREAM, "")
}

/// That its socket is taken away is seen by the harness: no file may be left.
fn a_daemon_without_a_log_prints_to_nowhere(server: &Running) -> Outcome {
    let daemon = Daemon::await_it(server)?;
    for number in ["fd/1", "fd/2"] {
        assert_eq!(daemon.link(number)?, "/dev/null");
    }
    let mut client = UnixStream::connect(server.temporary().join("server.sock"))?;
    client.set_read_timeout(Some(STEP))?;
    client.write_all(b"hello")?;
    let mut answer = [0; 5];
    client.read_exact(&mut answer)?;
    assert_eq!(&answer, b"hello");
    daemon.end(server)
}

fn with_threads(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.set("daemonize", "true")?;
    server.on("receive", |_, _| {})?;
    let (keep, ended) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || ended.recv());
    let output = fs::read_link("/proc/self/fd/1")?;
    let error = server.start().err().ok_or("it started")?;
    report!("refused {}: {}", error.code, error.message);
    report!("prints there: {}", fs::read_link("/proc/self/fd/1")? == output);
    drop(keep);
    report!("its thread goes on: {}", other.join().is_ok());
    Ok(())
}

fn a_program_with_threads_is_no_daemon(server: &Running) -> Outcome {
    let line = server.wait_line(|line| line.starts_with("refused "), STEP)?;
    let code = format!("refused {}: ", libc::EDEADLK);
    assert!(line.starts_with(&code) && line.contains("several threads"), "{line}");
    server.wait_line(|line| line == "prints there: true", STEP)?;
    server.wait_line(|line| line == "its thread goes on: true", STEP)?;
    assert!(server.wait_exit(STEP)?.success());
    Ok(())
}

server_tests! {
    a_daemon_serves_in_a_session_of_its_own: with_a_log;
    what_a_daemon_prints_goes_to_the_log: with_a_log;
    exit_handlers_run_in_the_daemon_alone: with_a_log;
    a_daemon_without_a_log_prints_to_nowhere: without_a_log;
    a_program_with_threads_is_no_daemon: with_threads;
}
