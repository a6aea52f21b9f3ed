//! The servers of these tests: puppets on ports with TLS.
//!
//! ```text
//! !cert FD                    the certificate of that peer in one line, or the error
//! !aborted                    connections that were aborted, and those that are there
//! !cut                        closes this connection with a reset; no answer
//! !pause FD, !resume FD       as the functions: whether they were done
//! !bind UID                   binds this connection: whether that was done
//! !leave PATH                 sends a file and closes this connection; no answer
//! !drop PATH                  the same with a reset
//! ```

use crate::client::path_of;
use crate::common::api::{last_error, Handle};
use crate::common::prelude::*;
use crate::puppet::{self, answer, number};
use crate::report;
use crate::sending;
use std::ffi::CString;
use std::fs;
use std::path::PathBuf;
use swoole::ffi::connection::sw_server_get_client_cert;
use swoole::ffi::control::{sw_server_bind, sw_server_confirm, sw_server_pause, sw_server_resume};
use swoole::ffi::library::sw_buffer_free;
use swoole::ffi::port::{sw_port_set, sw_server_add_listener};

const SECURE: i32 = SW_SOCK_TCP | SW_SSL;

/// What a call on a port with TLS takes for a pair.
pub fn pair(name: &str) -> [(&'static str, String); 2] {
    let file = |end| path_of(&format!("{name}.{end}"));
    [("ssl_cert_file", file("crt")), ("ssl_key_file", file("key"))]
}

/// The certificate of a peer with bars for ends of lines, or the number of the error.
fn certificate_of(server: Handle, fd: i64) -> String {
    let mut out = sw_buffer_t { data: std::ptr::null_mut(), len: 0 };
    if !sw_server_get_client_cert(server.raw, fd, &mut out) {
        return last_error().code.to_string();
    }
    // SAFETY: the library has filled it.
    let bytes = unsafe { std::slice::from_raw_parts(out.data, out.len) };
    let text = String::from_utf8_lossy(bytes).replace('\n', "|");
    sw_buffer_free(&mut out);
    text
}

pub fn obey(server: Handle, event: &Event) {
    let text = std::str::from_utf8(event.data()).unwrap_or("");
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = match *words.as_slice() {
        ["!cert", fd] => certificate_of(server, number(fd)),
        ["!aborted"] => server.stats().map_or_else(
            |error| error.to_string(),
            |stats| format!("{} {}", stats.abort_count, stats.connection_num),
        ),
        ["!cut"] => {
            report!("cut: {}", server.close(event.fd(), true).is_ok());
            return;
        }
        ["!pause", fd] => sw_server_pause(server.raw, number(fd)).to_string(),
        ["!resume", fd] => sw_server_resume(server.raw, number(fd)).to_string(),
        ["!bind", uid] => sw_server_bind(server.raw, event.fd(), number(uid)).to_string(),
        ["!leave" | "!drop", path] => {
            let sent = sending::send_file(server, event.fd(), path, 0, 0);
            let closed = server.close(event.fd(), words[0] == "!drop");
            report!("left: {} {}", sent.is_ok(), closed.is_ok());
            return;
        }
        _ => return sending::obey(server, event),
    };
    answer(server, event.fd(), format!("{line}\n").as_bytes());
}

fn secure(setup: &Setup, settings: &[(&str, &str)]) -> Result<Server, api::Error> {
    let server = setup.server_of(SECURE)?;
    for (name, value) in pair("server") {
        server.set(name, &value)?;
    }
    let server = puppet::dress(server, settings, obey)?;
    server.on("connect", |server, event| {
        let fd = event.fd();
        report!("connect {fd} {}", certificate_of(server, fd).len());
    })?;
    Ok(server)
}

fn serve(setup: &Setup, settings: &[(&str, &str)]) -> Outcome {
    puppet::run(&secure(setup, settings)?)
}

pub fn plain(setup: &Setup) -> Outcome {
    serve(setup, &[])
}

pub fn with_little_room(setup: &Setup) -> Outcome {
    serve(setup, &[("max_queued_bytes", "100000")])
}

pub fn with_a_large_buffer(setup: &Setup) -> Outcome {
    serve(setup, &[("socket_buffer_size", "33554432")])
}

pub fn with_lines(setup: &Setup) -> Outcome {
    let server = secure(setup, &[("open_eof_split", "true"), ("package_eof", "\n")])?;
    server.on("receive", |server, event| {
        // Each message is one line: its length is told.
        answer(server, event.fd(), format!("{}\n", event.data().len()).as_bytes());
    })?;
    puppet::run(&server)
}

pub fn with_requests(setup: &Setup) -> Outcome {
    let framing = [("open_http_protocol", "true"), ("package_max_length", "4M")];
    let server = secure(setup, &framing)?;
    server.on("receive", |server, event| {
        let text = format!("{:>8}", event.data().len());
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{text}");
        puppet::answer(server, event.fd(), answer.as_bytes());
    })?;
    puppet::run(&server)
}

pub fn with_tickets(setup: &Setup) -> Outcome {
    serve(setup, &[("ssl_session_tickets", "true"), ("enable_reuse_port", "true")])
}

pub fn with_heartbeat(setup: &Setup) -> Outcome {
    serve(setup, &[("heartbeat_idle_time", "2"), ("heartbeat_check_interval", "1")])
}

pub fn with_idle_time(setup: &Setup) -> Outcome {
    serve(setup, &[("max_idle_time", "2"), ("socket_buffer_size", "33554432")])
}

/// The table of connections is in use from one end to the other soon.
pub fn with_a_small_table(setup: &Setup) -> Outcome {
    serve(setup, &[("max_connection", "300")])
}

/// In one process that takes no more connections than these.
pub fn with_few_places(setup: &Setup) -> Outcome {
    serve(setup, &[("worker_num", "1"), ("max_connection", "80")])
}

/// A certificate of each kind, and all suites that anybody has heard of.
pub fn with_all_suites(setup: &Setup) -> Outcome {
    let [(_, certificate), (_, key)] = pair("rsa");
    let names =
        format!(r#"{{"rsa.test": {{"ssl_cert_file": "{certificate}", "ssl_key_file": "{key}"}}}}"#);
    let ciphers = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";
    serve(setup, &[("ssl_sni_certs", &names), ("ssl_ciphers", ciphers)])
}

/// Where a test has its chain of many certificates.
pub fn long_chain(temporary: PathBuf) -> PathBuf {
    temporary.join("long.crt")
}

/// What a client gets in the handshake is about 57 KB, and hardly anything is sent at once.
pub fn with_a_long_chain(setup: &Setup) -> Outcome {
    let server = secure(setup, &[("kernel_socket_send_buffer_size", "2048")])?;
    let one = fs::read_to_string(path_of("server.crt"))?;
    let more = fs::read_to_string(path_of("named.crt"))?.repeat(140);
    let path = long_chain(std::env::temp_dir());
    fs::write(&path, one + &more)?;
    let path = path.to_str().ok_or("a path that is no text")?;
    let key = path_of("server.key");
    server.set_json(&format!(r#"{{"ssl_cert_file": "{path}", "ssl_key_file": "{key}"}}"#))?;
    puppet::run(&server)
}

/// Without a manager.
pub fn alone(setup: &Setup) -> Outcome {
    serve(setup, &[("worker_num", "1")])
}

pub fn with_levels(setup: &Setup) -> Outcome {
    let levels = [("buffer_high_watermark", "2M"), ("buffer_low_watermark", "1M")];
    let server = secure(setup, &[&levels[..], &[("socket_buffer_size", "33554432")]].concat())?;
    server.on("bufferFull", |_, event| report!("bufferFull {}", event.fd()))?;
    server.on("bufferEmpty", |_, event| report!("bufferEmpty {}", event.fd()))?;
    puppet::run(&server)
}

/// Whoever is bound gets another worker.
pub fn bound(setup: &Setup) -> Outcome {
    let authorities = path_of("ca.crt");
    serve(setup, &[("ssl_client_cert_file", &authorities), ("dispatch_mode", "5")])
}

pub fn with_names(setup: &Setup) -> Outcome {
    let [(_, certificate), (_, key)] = pair("named");
    let names = format!(
        r#"{{"*.named.test": {{"ssl_cert_file": "{certificate}", "ssl_key_file": "{key}"}}}}"#
    );
    serve(setup, &[("ssl_sni_certs", &names)])
}

pub fn verifying(setup: &Setup) -> Outcome {
    serve(setup, &[("ssl_client_cert_file", &path_of("ca.crt")), ("ssl_verify_peer", "true")])
}

pub fn asking(setup: &Setup) -> Outcome {
    serve(setup, &[("ssl_client_cert_file", &path_of("ca.crt"))])
}

/// Where the certificate and the key are that a test replaces.
pub fn copies(temporary: PathBuf) -> (PathBuf, PathBuf) {
    (temporary.join("own.crt"), temporary.join("own.key"))
}

pub fn replace(temporary: PathBuf, certificate: &str, key: &str) -> std::io::Result<()> {
    let (to_certificate, to_key) = copies(temporary);
    fs::copy(path_of(certificate), to_certificate)?;
    fs::copy(path_of(key), to_key)?;
    Ok(())
}

pub fn with_copies(setup: &Setup) -> Outcome {
    serve_copies(setup, &[])
}

pub fn with_copies_alone(setup: &Setup) -> Outcome {
    serve_copies(setup, &[("worker_num", "1")])
}

fn serve_copies(setup: &Setup, settings: &[(&str, &str)]) -> Outcome {
    replace(std::env::temp_dir(), "server.crt", "server.key")?;
    let (certificate, key) = copies(std::env::temp_dir());
    let server = secure(setup, settings)?;
    server.set_json(&format!(
        r#"{{"ssl_cert_file": "{}", "ssl_key_file": "{}"}}"#,
        certificate.display(),
        key.display()
    ))?;
    puppet::run(&server)
}

pub fn delayed(setup: &Setup) -> Outcome {
    let server = secure(setup, &[("enable_delay_receive", "true")])?;
    server.on("connect", |server, event| {
        report!("confirmed {}", sw_server_confirm(server.raw, event.fd()));
    })?;
    puppet::run(&server)
}

/// Where the port of this test is that is a file.
pub fn socket_path(temporary: PathBuf) -> PathBuf {
    temporary.join("tls.sock")
}

/// The first port is plain.
pub fn on_all_ports(setup: &Setup) -> Outcome {
    let server = puppet::prepare(setup, &[], obey)?;
    let path = socket_path(std::env::temp_dir());
    let path = path.to_str().ok_or("a path that is no text")?;
    for (host, kind) in [("::1", SW_SOCK_TCP6), (path, SW_SOCK_UNIX_STREAM)] {
        let (host, number) = (CString::new(host)?, i32::from(setup.port));
        let port = sw_server_add_listener(server.raw, host.as_ptr(), number, kind | SW_SSL);
        for (name, value) in pair("server") {
            let (name, value) = (CString::new(name)?, CString::new(value)?);
            if !sw_port_set(port, name.as_ptr(), value.as_ptr()) {
                return Err(last_error().into());
            }
        }
    }
    puppet::run(&server)
}
