//! Programs in other languages that embed the server: each of `c-examples/ffi` has to pass the same
//! small script. A language whose interpreter is not there is skipped, which is said in one line.

mod common;

use common::process::{send_signal, wait_gone, Port};
use common::{Client, Outcome, STEP};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An example, what runs it, and how to find out whether that is there.
struct Example {
    file: &'static str,
    command: &'static [&'static str],
    probe: &'static [&'static str],
    modes: &'static [&'static str],
}

const BASE: &str = "1";
const PROCESS: &str = "2";
const THREAD: &str = "3";

const PYTHON: Example = Example {
    file: "server_ctypes.py",
    command: &["python3"],
    probe: &["-c", "import ctypes"],
    modes: &[BASE, PROCESS, THREAD],
};
const PYTHON_CFFI: Example = Example {
    file: "server_cffi.py",
    command: &["python3"],
    probe: &["-c", "import cffi"],
    modes: &[BASE, PROCESS],
};
const PHP: Example = Example {
    file: "server.php",
    command: &["php", "-d", "ffi.enable=1"],
    probe: &["-r", "exit(class_exists('FFI') ? 0 : 1);"],
    modes: &[BASE, PROCESS],
};
const LUAJIT: Example =
    Example { file: "server.lua", command: &["luajit"], probe: &["-v"], modes: &[BASE, PROCESS] };
const RUBY: Example = Example {
    file: "server.rb",
    command: &["ruby"],
    probe: &["-e", "require 'fiddle/import'"],
    modes: &[BASE, PROCESS],
};

fn library() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    own.ancestors().map(|folder| folder.join("libswoole.so")).find(|it| it.exists())
}

impl Example {
    fn command(&self) -> Option<Command> {
        let (program, arguments) = self.command.split_first()?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        Some(command)
    }

    fn can_run(&self) -> bool {
        let probed = self.command().map(|mut command| {
            let quiet = command.args(self.probe).stdout(Stdio::null()).stderr(Stdio::null());
            quiet.status().is_ok_and(|status| status.success())
        });
        probed.unwrap_or(false)
    }

    fn check(&self) -> Outcome {
        if !self.can_run() {
            println!("skipped: {} cannot be run here, {:?} fails", self.file, self.command);
            return Ok(());
        }
        for mode in self.modes {
            self.play(mode).map_err(|error| format!("{} in mode {mode}: {error}", self.file))?;
        }
        Ok(())
    }

    /// Plays the script in one mode; what the program prints may come in any order.
    fn play(&self, mode: &str) -> Outcome {
        let port = Port::reserve()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("c-examples/ffi").join(self.file);
        let mut command = self.command().ok_or("no command")?;
        command.arg(script).arg(mode).arg(port.number.to_string());
        command.env("SWOOLE_LIBRARY", library().ok_or("libswoole.so is beside the test")?);
        let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/swoole.h");
        let header = command.env("SWOOLE_HEADER", header);
        let child = header.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let pid = i32::try_from(child.id())?;
        let played = talk(port.number, pid);
        send_signal(pid, libc::SIGTERM)?;
        if !wait_gone(pid, STEP)? {
            send_signal(pid, libc::SIGKILL)?;
        }
        let output = child.wait_with_output()?;
        played?;
        assert!(output.status.success(), "{}", output.status);
        let text = String::from_utf8(output.stdout)?;
        // The log of the library goes to the same place.
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('[')).collect();
        lines.sort_unstable();
        let mut expected = vec!["close", "close", "ended"];
        expected.extend(["start 0", "start 1", "start 2", "stop 0", "stop 1", "stop 2"]);
        assert_eq!(lines, expected);
        assert!(port.is_free(), "the port is still taken");
        Ok(())
    }
}

fn talk(port: u16, pid: i32) -> Outcome {
    let mut first = Client::connect_when_open(port, pid)?;
    let mut second = Client::connect(port)?;
    for client in [&mut first, &mut second] {
        for (order, reply) in [
            ("echo hello", "hello"),
            ("task some work", "done SOME WORK"),
            ("tell a secret", "told a secret"),
        ] {
            client.send(order.as_bytes())?;
            assert_eq!(client.receive(reply.len())?, reply.as_bytes(), "to {order}");
        }
    }
    first.send(b"bye ")?;
    assert_eq!(first.receive_to_end()?, b"bye");
    second.send(b"echo still here")?;
    assert_eq!(second.receive(10)?, b"still here");
    // Its close is printed before its end goes out, so the program may be told to end now.
    second.send(b"bye ")?;
    assert_eq!(second.receive_to_end()?, b"bye");
    Ok(())
}

fn python_with_ctypes_serves() -> Outcome {
    PYTHON.check()
}

fn python_with_cffi_serves() -> Outcome {
    PYTHON_CFFI.check()
}

fn php_serves() -> Outcome {
    PHP.check()
}

fn luajit_serves() -> Outcome {
    LUAJIT.check()
}

fn ruby_serves() -> Outcome {
    RUBY.check()
}

server_tests! {
    [plain] python_with_ctypes_serves;
    [plain] python_with_cffi_serves;
    [plain] php_serves;
    [plain] luajit_serves;
    [plain] ruby_serves;
}
