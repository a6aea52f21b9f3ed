//! Builds the servers that are written in C, next to the bench itself, and says what could not be.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::case::Kind;

/// How each server is started: its kind and its command line but for the port, which comes last.
/// Or, in words, why it cannot be measured here.
pub type Launchers = Vec<(Kind, Result<Vec<PathBuf>, String>)>;

/// The name under which a program asks for the library when it starts.
const LOADED_NAME: &str = concat!("libswoole.so.", env!("CARGO_PKG_VERSION_MAJOR"));

/// Where the built servers and what they print are kept.
pub fn directory() -> io::Result<PathBuf> {
    let directory = executable_directory()?.join("echo-servers");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// A server of this library. The library stands beside the bench, where cargo has built both.
pub fn swoole_server(name: &str) -> io::Result<Result<PathBuf, String>> {
    let include = source_directory().join("include");
    if !include.join("swoole.h").exists() {
        return Ok(Err("include/swoole.h is not built".to_owned()));
    }
    let own = executable_directory()?;
    let above = own.parent().map(Path::to_path_buf);
    let mut places = [Some(own), above].into_iter().flatten();
    let Some(library) = places.find(|place| place.join("libswoole.so").exists()) else {
        return Ok(Err("libswoole.so is not built".to_owned()));
    };
    let built = library.join("libswoole.so");
    let installed = directory()?.join(LOADED_NAME);
    fs::copy(&built, &installed)?;
    let flags = [
        format!("-I{}", include.display()),
        format!("-Wl,-rpath,{}", directory()?.display()),
        installed.display().to_string(),
    ];
    compile(name, &flags)
}

/// Another server.
pub fn compile(name: &str, flags: &[String]) -> io::Result<Result<PathBuf, String>> {
    let program = directory()?.join(name);
    let source = source_directory().join("benches/servers").join(format!("{name}.c"));
    let mut compiler = Command::new("cc");
    compiler.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-o"]).arg(&program).arg(source);
    let output = match compiler.args(flags).output() {
        Ok(output) => output,
        Err(error) => return Ok(Err(format!("cc: {error}"))),
    };
    if output.status.success() {
        return Ok(Ok(program));
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = words.lines().find(|line| line.contains("error:")).unwrap_or("cc failed");
    Ok(Err(line.trim().to_owned()))
}

fn source_directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn executable_directory() -> io::Result<PathBuf> {
    let executable = env::current_exe()?;
    executable
        .parent()
        .map(Path::to_path_buf)
        .ok_or_else(|| io::Error::other("the bench stands in no directory"))
}
