//! Words to the service manager that started this program: one datagram each, to the socket that
//! `NOTIFY_SOCKET` names. Where nobody asks for them, nothing happens.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Says `state`, lines of `NAME=value`. `false` if nobody wants to hear it.
pub fn say(state: &str) -> io::Result<bool> {
    let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
        return Ok(false);
    };
    say_to(&name, state).map(|()| true)
}

fn say_to(name: &OsString, state: &str) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name)?,
        path @ [b'/', ..] => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
        _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor @name")),
    };
    let socket = UnixDatagram::unbound()?;
    // A service manager that does not listen must not hold up the server.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_an_at_sign_is_abstract() {
        let name = format!("swoole-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        say_to(&format!("@{name}").into(), "READY=1\nMAINPID=7").unwrap();
        let mut text = [0; 64];
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(text[..length], *b"READY=1\nMAINPID=7");
    }

    #[test]
    fn who_is_not_there_or_has_no_name_is_an_error() {
        assert!(say_to(&"/nowhere/at/all".into(), "READY=1").is_err());
        assert!(say_to(&"vsock:2:1234".into(), "READY=1").is_err());
    }
}
