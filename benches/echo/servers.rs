//! The servers that are compared.

use std::env;
use std::io;
use std::path::PathBuf;

use crate::binaries::{compile, swoole_server, Launchers};
use crate::case::Kind;

pub fn build_all() -> io::Result<Launchers> {
    Kind::ALL.iter().map(|kind| Ok((*kind, launcher(*kind)?))).collect()
}

fn launcher(kind: Kind) -> io::Result<Result<Vec<PathBuf>, String>> {
    let swoole = |mode: &str| {
        let program = swoole_server("swoole_echo")?;
        Ok(program.map(|program| vec![program, PathBuf::from(mode)]))
    };
    match kind {
        Kind::Raw => only(compile("raw_epoll", &[])),
        Kind::Rings => only(compile("shared_ring", &[])),
        Kind::Libuv => only(compile("libuv_echo", &["-luv".into()])),
        Kind::Tokio => Ok(Ok(vec![env::current_exe()?, PathBuf::from(crate::SERVE_TOKIO)])),
        Kind::Base => swoole("base"),
        Kind::Process => swoole("process"),
    }
}

fn only(program: io::Result<Result<PathBuf, String>>) -> io::Result<Result<Vec<PathBuf>, String>> {
    Ok(program?.map(|program| vec![program]))
}
