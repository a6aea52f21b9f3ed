//! Builds the two servers, next to the bench itself.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name under which a program asks for the library when it starts.
const LOADED_NAME: &str = concat!("libswoole.so.", env!("CARGO_PKG_VERSION_MAJOR"));

/// Where the built servers and what they print are kept.
pub fn directory() -> io::Result<PathBuf> {
    let directory = executable_directory()?.join("tls-servers");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// The server on OpenSSL; an error where that is not there to build with.
pub fn compile_openssl() -> io::Result<PathBuf> {
    compile("openssl_echo", &["-lssl".to_owned(), "-lcrypto".to_owned()])
}

/// The server of this library, which stands beside the bench, where cargo has built both.
pub fn compile_own() -> io::Result<PathBuf> {
    let own = executable_directory()?;
    let above = own.parent().map(Path::to_path_buf);
    let mut places = [Some(own), above].into_iter().flatten();
    let place = places.find(|place| place.join("libswoole.so").exists());
    let place = place.ok_or_else(|| io::Error::other("libswoole.so is not built"))?;
    let installed = directory()?.join(LOADED_NAME);
    fs::copy(place.join("libswoole.so"), &installed)?;
    let flags = [
        format!("-I{}", source_directory().join("include").display()),
        format!("-Wl,-rpath,{}", directory()?.display()),
        installed.display().to_string(),
    ];
    compile("swoole_tls", &flags)
}

fn compile(name: &str, flags: &[String]) -> io::Result<PathBuf> {
    let program = directory()?.join(name);
    let source = source_directory().join("benches/servers").join(format!("{name}.c"));
    let mut compiler = Command::new("cc");
    compiler.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-o"]).arg(&program).arg(source);
    let output = compiler.args(flags).output()?;
    match output.status.success() {
        true => Ok(program),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

fn source_directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn executable_directory() -> io::Result<PathBuf> {
    let executable = env::current_exe()?;
    let parent = executable.parent().map(Path::to_path_buf);
    parent.ok_or_else(|| io::Error::other("the bench stands in no directory"))
}
