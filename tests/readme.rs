//! What the README shows is true: its server is the example of the same name, compiles without a
//! warning and serves; what it says about linking is what the test of the packages does.

mod common;

use common::process::{self, Port};
use common::{cc, Client, STEP};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text_of(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first block of the README in this language.
fn block(language: &str) -> String {
    let readme = text_of("README.md");
    let opening = format!("\n```{language}\n");
    let (_, rest) = readme.split_once(&opening).expect("the README shows such a block");
    let (block, _) = rest.split_once("```").expect("the block ends");
    block.to_owned()
}

/// A program in a process group of its own, killed with the group when it is dropped.
struct Program {
    child: Child,
    pid: i32,
}

impl Program {
    fn start(path: &Path, arguments: &[String]) -> Self {
        let child = Command::new(path).args(arguments).process_group(0).spawn();
        let child = child.expect("the program starts");
        let pid = i32::try_from(child.id()).expect("a pid is an i32");
        Self { child, pid }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        for member in process::group_members(self.pid).unwrap_or_default() {
            if let Err(error) = process::send_signal(member.pid, libc::SIGKILL) {
                eprintln!("cannot kill {member:?}: {error}");
            }
        }
        if let Err(error) = self.child.wait() {
            eprintln!("cannot wait for {}: {error}", self.pid);
        }
    }
}

#[test]
fn the_server_of_the_readme_is_the_example() {
    assert_eq!(block("c"), text_of("c-examples/echo.c"));
}

#[test]
fn the_server_of_the_readme_compiles_serves_and_ends_in_order() {
    let folder = cc::library_folder("readme");
    let program = cc::build(cc::Language::C, &folder, "echo", &block("c"));
    let program = program.unwrap_or_else(|complaints| panic!("{complaints}"));
    let port = Port::reserve().expect("a port is free");
    for mode in ["1", "2", "3"] {
        let mut server = Program::start(&program, &[mode.to_owned(), port.number.to_string()]);
        let mut client = Client::connect_when_open(port.number, server.pid).expect("it listens");
        client.echo(b"hello").expect("what was sent comes back");
        process::send_signal(server.pid, libc::SIGTERM).expect("it can be told to end");
        assert!(process::wait_gone(server.pid, STEP).expect("it can be watched"), "mode {mode}");
        assert!(server.child.wait().expect("it has a status").success(), "mode {mode}");
    }
}

#[test]
fn what_the_readme_says_about_linking_is_what_the_test_of_the_packages_does() {
    let project = text_of("cmake/foreign/CMakeLists.txt");
    for line in block("cmake").lines() {
        assert!(project.contains(line), "{line}");
    }
    let test = text_of("cmake/test_installed.cmake");
    assert!(test.contains("--cflags --libs ${package}") && test.contains("swoole swoole-static"));
    let readme = text_of("README.md");
    for package in ["swoole", "swoole-static"] {
        let command = format!("$(pkg-config --cflags --libs {package})");
        assert!(readme.contains(&command), "{command}");
    }
}
