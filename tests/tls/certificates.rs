//! Certificates: which is shown, which are asked for, and when they are read.

use crate::client::{certificate, path_of, Result as Found, Wishes};
use crate::common::api::Error;
use crate::common::prelude::*;
use crate::server::{copies, pair, replace};
use crate::traffic::wait_log;
use rustls::pki_types::CertificateDer;
use rustls::HandshakeKind;
use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

pub fn a_session_is_resumed_in_every_worker(server: &Running) -> Outcome {
    let wishes = Wishes::usual()?;
    let mut first = wishes.connect(server)?;
    let mut workers = BTreeSet::from([first.who()?.0]);
    assert_eq!(first.0.conn.handshake_kind(), Some(HandshakeKind::Full));
    for round in 0.. {
        let mut client = wishes.connect(server)?;
        workers.insert(client.who()?.0);
        assert_eq!(client.0.conn.handshake_kind(), Some(HandshakeKind::Resumed), "{round}");
        if workers.len() == 2 && round > 10 {
            break;
        }
        assert!(round < 100, "all came to the same worker");
    }
    Ok(())
}

/// What a client sees who believes to speak to `name`.
fn seen(server: &Running, name: &str) -> Found<Option<CertificateDer<'static>>> {
    let mut client = Wishes::usual()?.on(server.connect()?.stream, name)?;
    client.shake()?;
    Ok(client.shown())
}

pub fn a_name_chooses_the_certificate(server: &Running) -> Outcome {
    assert_eq!(seen(server, "localhost")?, Some(certificate("server")?));
    assert_eq!(seen(server, "a.named.test")?, Some(certificate("named")?));
    assert_eq!(seen(server, "B.Named.Test")?, Some(certificate("named")?));
    // These get the port's own, which is none of theirs.
    assert!(seen(server, "a.b.named.test").is_err());
    assert!(seen(server, "elsewhere.test").is_err());
    assert_eq!(seen(server, "127.0.0.1")?, Some(certificate("server")?));
    Ok(())
}

fn told(name: &str) -> std::io::Result<String> {
    Ok(fs::read_to_string(path_of(&format!("{name}.crt")))?.replace('\n', "|"))
}

pub fn clients_without_a_good_certificate_are_never_seen(server: &Running) -> Outcome {
    for wishes in [Wishes::usual()?, Wishes::with("stranger")?] {
        // With TLS 1.3 the client may hear of it only with its first read.
        let refused = wishes.connect(server).and_then(|mut client| client.echo(b"?"));
        assert!(refused.is_err());
    }
    let mut client = Wishes::with("client")?.connect(server)?;
    let (_, fd) = client.who()?;
    let shown = client.ask(&format!("cert {fd}"))?;
    assert_eq!(shown, told("client")?);
    client.ask_until("aborted", |line| line == "2 1")?;
    let connected = format!("connect {fd} {}", shown.len());
    server.wait_line(|line| line == connected, STEP)?;
    let told = server.lines_so_far().iter().filter(|line| line.starts_with("connect ")).count();
    assert_eq!(told, 1);
    wait_log(server, "the client gave no certificate")?;
    Ok(())
}

pub fn a_certificate_is_known_in_its_worker_alone(server: &Running) -> Outcome {
    let mut known = Wishes::with("stranger")?.connect(server)?;
    let (worker, fd) = known.who()?;
    assert_eq!(known.ask(&format!("cert {fd}"))?, told("stranger")?);
    let mut others = Vec::new();
    for round in 0.. {
        let mut other = Wishes::usual()?.connect(server)?;
        let (of, own) = other.who()?;
        assert_eq!(other.ask(&format!("cert {own}"))?, "1013", "it has shown none");
        assert_eq!(other.ask("cert 999999")?, "1013");
        if of != worker {
            assert_eq!(other.ask(&format!("cert {fd}"))?, "1013");
            break;
        }
        assert_eq!(other.ask(&format!("cert {fd}"))?, told("stranger")?);
        others.push(other);
        // Where workers accept for themselves, all may come to the same one.
        if round > 20 {
            assert_eq!(server.mode(), Mode::Base);
            break;
        }
    }
    known.end()?;
    known.receive_to_end()?;
    server.wait_line(|line| line == format!("close {fd}"), STEP)?;
    let mut last = Wishes::usual()?.connect(server)?;
    assert_eq!(last.ask(&format!("cert {fd}"))?, "1013");
    Ok(())
}

pub fn certificates_are_replaced_by_a_reload_and_a_bad_pair_is_not(server: &Running) -> Outcome {
    let (old, new) = (certificate("server")?, certificate("renewed")?);
    assert_eq!(seen(server, "localhost")?, Some(old));
    let mut before = Wishes::usual()?.connect(server)?;
    let reloads =
        |count| server.wait_lines(count, |line| line.starts_with("worker "), STEP).map(drop);
    replace(server.temporary(), "renewed.crt", "renewed.key")?;
    server.signal(libc::SIGUSR1)?;
    reloads(4)?;
    until(|| Ok(seen(server, "localhost").is_ok_and(|shown| shown == Some(new.clone()))))?;
    if server.mode() == Mode::Process {
        before.echo(b"as before")?;
    }
    wait_log(server, "Server has reloaded all workers")?;
    // A key that is not that of the certificate.
    replace(server.temporary(), "renewed.crt", "server.key")?;
    server.signal(libc::SIGUSR1)?;
    reloads(6)?;
    wait_log(server, "stay as they were")?;
    wait_log(server, "this key is not that of ssl_cert_file")?;
    until(|| Ok(seen(server, "localhost").is_ok_and(|shown| shown == Some(new.clone()))))?;
    let (certificate, key) = copies(server.temporary());
    fs::remove_file(certificate)?;
    fs::remove_file(key)?;
    Ok(())
}

/// There is no manager and nobody is replaced: connections live on.
pub fn the_only_worker_reads_its_certificates_again(server: &Running) -> Outcome {
    let (old, new) = (certificate("server")?, certificate("renewed")?);
    assert_eq!(seen(server, "localhost")?, Some(old));
    let mut before = Wishes::usual()?.connect(server)?;
    replace(server.temporary(), "renewed.crt", "renewed.key")?;
    server.signal(libc::SIGUSR1)?;
    until(|| Ok(seen(server, "localhost")? == Some(new.clone())))?;
    replace(server.temporary(), "renewed.crt", "server.key")?;
    server.signal(libc::SIGUSR1)?;
    wait_log(server, "stay as they were")?;
    assert_eq!(seen(server, "localhost")?, Some(new));
    // Nobody is there whom this could be for.
    server.signal(libc::SIGUSR2)?;
    before.echo(b"as before")?;
    let (certificate, key) = copies(server.temporary());
    fs::remove_file(certificate)?;
    fs::remove_file(key)?;
    Ok(())
}

/// The worker that knows it need not be the one that closes.
pub fn a_certificate_is_forgotten_with_its_connection(server: &Running) -> Outcome {
    let wishes = Wishes::with("client")?;
    let mut known = wishes.connect(server)?;
    let (worker, fd) = known.who()?;
    // One of the same worker, to ask it.
    let mut other = wishes.connect(server)?;
    while other.who()?.0 != worker {
        other = wishes.connect(server)?;
    }
    assert!(other.ask(&format!("cert {fd}"))?.starts_with("-----BEGIN CERTIFICATE-----|"));
    assert_eq!(known.ask(&format!("bind {}", 3 - worker))?, "true");
    assert_eq!(known.who()?.0, 1 - worker);
    known.end()?;
    known.receive_to_end()?;
    server.wait_line(|line| line == format!("close {fd}"), STEP)?;
    other.ask_until(&format!("exist {fd}"), |line| line == "false")?;
    other.ask_until(&format!("cert {fd}"), |line| line == "1013")?;
    Ok(())
}

/// Waits for what nothing tells of.
fn until(mut is_so: impl FnMut() -> Found<bool>) -> Outcome {
    let end = Instant::now() + STEP;
    while !is_so()? {
        if Instant::now() > end {
            return Err("it does not come to that".into());
        }
    }
    Ok(())
}

/// A server that will not start.
fn made(kind: i32, settings: &[(&str, &str)]) -> std::result::Result<Server, Error> {
    let server = Server::new("127.0.0.1", 0, SW_BASE, kind)?;
    for event in ["receive", "packet"] {
        server.on(event, |_, _| {})?;
    }
    for (name, value) in settings {
        server.set(name, value)?;
    }
    Ok(server)
}

fn refusal(kind: i32, settings: &[(&str, &str)]) -> Result<Error, Error> {
    let server = made(kind, settings)?;
    let error = server.start().expect_err("the server has started");
    assert!(!server.is_running());
    Ok(error)
}

const SECURE: i32 = SW_SOCK_TCP | SW_SSL;

pub fn a_start_without_a_usable_certificate_says_why() -> Outcome {
    let [certificate, key] = pair("server");
    let (certificate, key) = ((certificate.0, &*certificate.1), (key.0, &*key.1));
    for settings in [&[][..], &[certificate], &[key]] {
        let error = refusal(SECURE, settings)?;
        assert_eq!(error.code, SW_ERROR_SSL_CREATE_CONTEXT_FAILED);
        assert!(error.message.contains("both ssl_cert_file and ssl_key_file"), "{error}");
    }
    let error = refusal(SECURE, &[certificate, key, ("ssl_verify_peer", "true")])?;
    assert!(error.message.contains("ssl_client_cert_file"), "{error}");
    Ok(())
}

pub fn what_is_not_offered_is_refused_at_start() -> Outcome {
    let [certificate, key] = pair("server");
    let (certificate, key) = ((certificate.0, &*certificate.1), (key.0, &*key.1));
    for (setting, word) in [
        (("ssl_compress", "true"), "ssl_compress"),
        (("ssl_dhparam", &*path_of("server.crt")), "ssl_dhparam"),
        (("ssl_protocols", "16"), "ssl_protocols"),
        (("ssl_protocols", "128"), "ssl_protocols"),
    ] {
        let error = refusal(SECURE, &[certificate, key, setting])?;
        assert!(error.message.contains(word), "{error}");
    }
    for kind in [SW_SOCK_UDP, SW_SOCK_UNIX_DGRAM] {
        if kind == SW_SOCK_UDP {
            let error = refusal(kind | SW_SSL, &[certificate, key])?;
            assert_eq!(error.code, SW_ERROR_OPERATION_NOT_SUPPORT);
            assert!(error.message.contains("DTLS"), "{error}");
        }
    }
    Ok(())
}

pub fn files_that_cannot_be_used_are_refused_when_they_are_set() -> Outcome {
    let bad = [("ssl_cert_file", "/nowhere/at/all"), ("ssl_ciphers", "no-such-suite")];
    for (name, value) in bad {
        let server = made(SECURE, &[])?;
        let before = server.get_setting(name)?;
        assert!(server.set(name, value).is_err(), "{name}");
        assert_eq!(server.get_setting(name)?, before);
        assert!(server.set_json(&format!(r#"{{"{name}": "{value}"}}"#)).is_err(), "{name}");
        assert_eq!(server.get_setting(name)?, before);
        // They are nothing to ports without TLS.
        made(SW_SOCK_TCP, &[(name, value)])?;
    }
    Ok(())
}
