//! What the README shows is true: its server is the example of the same name, compiles without a
//! warning and serves; what it says about linking is what the test of the packages does.

mod common;

use common::process::{self, Port};
use common::{Client, STEP};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
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

/// A folder with the library under the name that programs ask for.
fn library_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme");
    let library = std::env::current_exe()
        .expect("the test has a path")
        .ancestors()
        .map(|folder| folder.join("libswoole.so"))
        .find(|path| path.exists())
        .expect("libswoole.so stands beside or above the test");
    fs::create_dir_all(&folder).expect("a folder can be made");
    fs::copy(library, folder.join("libswoole.so.0")).expect("the library can be copied");
    folder
}

/// Compiles C text against the library and returns the program.
fn compile(name: &str, text: &str) -> PathBuf {
    let folder = library_folder();
    let (source, program) = (folder.join(format!("{name}.c")), folder.join(name));
    fs::write(&source, text).expect("the source can be written");
    let output = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
        .arg(root().join("include"))
        .arg(&source)
        .arg("-o")
        .arg(&program)
        .arg(folder.join("libswoole.so.0"))
        .arg(format!("-Wl,-rpath,{}", folder.display()))
        .output()
        .expect("cc runs, see scripts/setup");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
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
    let program = compile("echo", &block("c"));
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
