//! The servers that are compared.

use std::env;
use std::io;
use std::path::PathBuf;

use crate::case::Kind;
use crate::common::binaries::{compile, compile_with_library};
use crate::round::Launchers;

pub fn build_all() -> Launchers {
    let launcher = |kind| launcher(kind).map_err(|error| error.to_string());
    Kind::ALL.iter().map(|kind| (*kind, launcher(*kind))).collect()
}

fn launcher(kind: Kind) -> io::Result<Vec<PathBuf>> {
    let swoole = |mode: &str| Ok(vec![compile_with_library("swoole_echo")?, mode.into()]);
    match kind {
        Kind::Raw => Ok(vec![compile("raw_epoll", &[])?]),
        Kind::Rings => Ok(vec![compile("shared_ring", &[])?]),
        Kind::Libuv => Ok(vec![compile("libuv_echo", &["-luv".into()])?]),
        Kind::Tokio => Ok(vec![env::current_exe()?, crate::SERVE_TOKIO.into()]),
        Kind::Base => swoole("base"),
        Kind::Process => swoole("process"),
    }
}
