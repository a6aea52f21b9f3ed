//! Builds the servers that are written in C, next to the bench itself.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name under which a program asks for the library when it starts.
const LOADED_NAME: &str = concat!("libswoole.so.", env!("CARGO_PKG_VERSION_MAJOR"));

/// Where the built servers and what they print are kept.
pub fn directory() -> io::Result<PathBuf> {
    let directory = executable_directory()?.join("bench-servers");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// A server of this library. The library stands beside the bench, where cargo has built both.
pub fn compile_with_library(name: &str) -> io::Result<PathBuf> {
    let own = executable_directory()?;
    let above = own.parent().map(Path::to_path_buf);
    let mut places = [Some(own), above].into_iter().flatten();
    let library = places.find(|place| place.join("libswoole.so").exists());
    let library = library.ok_or_else(|| io::Error::other("libswoole.so is not built"))?;
    let installed = directory()?.join(LOADED_NAME);
    // A server may run from the old one, which must stay as it is.
    let copied = installed.with_extension("new");
    fs::copy(library.join("libswoole.so"), &copied)?;
    fs::rename(copied, &installed)?;
    let flags = [
        format!("-I{}", source_directory().join("include").display()),
        format!("-Wl,-rpath,{}", directory()?.display()),
        installed.display().to_string(),
    ];
    compile(name, &flags)
}

/// Another server; if that fails, the first error of the compiler.
pub fn compile(name: &str, flags: &[String]) -> io::Result<PathBuf> {
    let program = directory()?.join(name);
    let source = source_directory().join("benches/servers").join(format!("{name}.c"));
    let made = program.with_extension("new");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-o"]).arg(&made).arg(source);
    let output = compiler.args(flags).output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = words.lines().find(|line| line.contains("error:")).unwrap_or("cc failed");
        return Err(io::Error::other(line.trim().to_owned()));
    }
    fs::rename(made, &program)?;
    Ok(program)
}

fn source_directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn executable_directory() -> io::Result<PathBuf> {
    let executable = env::current_exe()?;
    let parent = executable.parent().map(Path::to_path_buf);
    parent.ok_or_else(|| io::Error::other("the bench stands in no directory"))
}
