//! Peers that do not keep to the protocol: plain bytes, cuts at every byte, changed bytes, and
//! handshakes in the smallest pieces.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::ClientConnection;

use super::certificates::{plain_settings, Folder};
use super::peer::{sockets, Server, Wishes};
use crate::error::{code, Error};
use crate::net::stream::Moved;
use crate::net::tls::{Handshake, Terms, TlsSettings};

struct Scene {
    _folder: Folder,
    terms: Terms,
    wishes: Wishes,
}

fn scene(protocols: u32) -> Scene {
    let folder = Folder::new();
    let (settings, trusted) = plain_settings(&folder);
    let terms = Terms::new(&TlsSettings { protocols, ..settings }).unwrap();
    Scene { _folder: folder, terms, wishes: Wishes::trusting(&trusted) }
}

impl Scene {
    /// A client that is moved by hand.
    fn client(&self) -> ClientConnection {
        let name = "localhost".try_into().unwrap();
        ClientConnection::new(Arc::clone(&self.wishes.config), name).unwrap()
    }

    fn hello(&self) -> Vec<u8> {
        sent_by(&mut self.client())
    }

    /// What a server says to a peer who sends these bytes and ends.
    fn answer_to(&self, bytes: &[u8]) -> Error {
        let (mut near, far) = sockets();
        near.write_all(bytes).unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        let mut server = Server::new(far, &self.terms);
        server.handshake().unwrap_err()
    }
}

/// All that a client wants to send now.
fn sent_by(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Hands the client what the server has sent; false if it does not like it.
fn receive(client: &mut ClientConnection, near: &mut TcpStream) -> bool {
    client.read_tls(near).is_ok_and(|count| count > 0) && client.process_new_packets().is_ok()
}

/// Goes on with a handshake by hand until both are done, each flight changed by `change`.
fn shake(
    scene: &Scene,
    mut change: impl FnMut(usize, Vec<u8>) -> Vec<u8>,
    mut step: impl FnMut(&mut TcpStream, &[u8], &mut Server) -> Handshake,
) -> (Handshake, ClientConnection, TcpStream, Server) {
    let (mut near, far) = sockets();
    let mut server = Server::new(far, &scene.terms);
    let mut client = scene.client();
    let mut flight = 0;
    loop {
        let bytes = change(flight, sent_by(&mut client));
        flight += 1;
        let state = step(&mut near, &bytes, &mut server);
        while state == Handshake::Done && client.is_handshaking() {
            assert!(receive(&mut client, &mut near));
        }
        let is_over = matches!(state, Handshake::Done | Handshake::Failed(_));
        if is_over || !client.is_handshaking() || !receive(&mut client, &mut near) {
            return (state, client, near, server);
        }
        // The server's flight may come in pieces.
        while client.is_handshaking() && !client.wants_write() {
            if !receive(&mut client, &mut near) {
                return (state, client, near, server);
            }
        }
    }
}

/// Sends, and has the server take it all.
fn send(near: &mut TcpStream, bytes: &[u8], server: &mut Server) -> Handshake {
    near.write_all(bytes).unwrap();
    // All is there: the same system holds both ends.
    server.stream.handshake()
}

#[test]
fn a_peer_that_speaks_something_else_is_told_apart() {
    let scene = scene(0);
    for (bytes, named) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], "plain HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"\x80\x2e\x01\x00\x02\x00\x15", "SSLv2"),
        (b"echo me\n", "no TLS"),
        (b"\x00", "no TLS"),
        (b"", "without a byte"),
    ] {
        let error = scene.answer_to(bytes);
        assert!(error.message().contains(named), "{error}");
        assert!(!error.message().contains('\n'));
    }
}

#[test]
fn what_is_no_tls_gets_no_answer() {
    let scene = scene(0);
    let (mut near, far) = sockets();
    near.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut server = Server::new(far, &scene.terms);
    assert_eq!(server.handshake().unwrap_err().code(), code::SSL_BAD_CLIENT);
    drop(server);
    let mut answer = Vec::new();
    assert_eq!(near.read_to_end(&mut answer).unwrap_or(0), 0);
}

#[test]
fn a_hello_that_is_cut_at_any_byte_fails_in_order() {
    let scene = scene(0);
    let hello = scene.hello();
    for end in 1..hello.len() {
        let error = scene.answer_to(&hello[..end]);
        assert_eq!(error.code(), code::SSL_RESET, "cut at {end}: {error}");
    }
}

#[test]
fn a_hello_with_any_byte_changed_is_taken_or_refused_but_breaks_nothing() {
    let scene = scene(0);
    let hello = scene.hello();
    for index in 0..hello.len() {
        for change in [1, 0x80, 0xff] {
            let mut bytes = hello.clone();
            bytes[index] ^= change;
            let error = scene.answer_to(&bytes);
            assert!((1011..=1020).contains(&error.code()), "byte {index}: {error}");
        }
    }
}

/// Where records have what is for show: the minor version, and in TLS 1.3 the kind.
fn shown_in(flight: &[u8]) -> Vec<usize> {
    let mut places = Vec::new();
    let mut start = 0;
    while let Some([kind, _, _, high, low]) = flight.get(start..start + 5) {
        places.push(start + 2);
        if *kind == 23 {
            places.push(start);
        }
        start += 5 + (usize::from(*high) << 8 | usize::from(*low));
    }
    places
}

#[test]
fn an_answer_with_any_byte_changed_or_cut_off_never_ends_a_handshake() {
    for protocols in [32, 64] {
        let scene = scene(protocols);
        let (state, client, ..) = shake(&scene, |_, bytes| bytes, send);
        assert!(state == Handshake::Done && !client.is_handshaking());
        let mut answer = Vec::new();
        let note = |flight, bytes: Vec<u8>| {
            if flight == 1 {
                answer.clone_from(&bytes);
            }
            bytes
        };
        shake(&scene, note, send);
        let shown = shown_in(&answer);
        for index in 0..answer.len() {
            let changed = |flight, mut bytes: Vec<u8>| {
                if flight == 1 && index < bytes.len() {
                    bytes[index] ^= 1;
                }
                bytes
            };
            let (state, ..) = shake(&scene, changed, send);
            let is_as_expected = match state {
                Handshake::Done => shown.contains(&index),
                Handshake::NeedsRead | Handshake::Failed(_) => true,
                Handshake::NeedsWrite => false,
            };
            assert!(is_as_expected, "byte {index} of {answer:?}: {state:?}");
            let cut = |flight, mut bytes: Vec<u8>| {
                if flight == 1 {
                    bytes.truncate(index);
                }
                bytes
            };
            let (state, _, near, mut server) = shake(&scene, cut, send);
            assert_eq!(state, Handshake::NeedsRead, "cut at {index}");
            near.shutdown(Shutdown::Write).unwrap();
            assert_eq!(server.handshake().unwrap_err().code(), code::SSL_RESET);
        }
    }
}

/// The same handshake bytes in records of one byte each.
fn crumbled(bytes: &[u8]) -> Vec<u8> {
    let mut rest = bytes;
    let mut crumbs = Vec::new();
    while let [kind, major, minor, high, low, behind @ ..] = rest {
        let length = usize::from(*high) << 8 | usize::from(*low);
        let (body, next) = behind.split_at(length);
        for byte in body {
            crumbs.extend_from_slice(&[*kind, *major, *minor, 0, 1, *byte]);
        }
        rest = next;
    }
    crumbs
}

#[test]
fn a_handshake_byte_by_byte_and_in_records_of_a_byte_is_done_all_the_same() {
    for protocols in [32, 64] {
        let scene = scene(protocols);
        let one_by_one = |near: &mut TcpStream, bytes: &[u8], server: &mut Server| {
            let mut state = Handshake::NeedsRead;
            for byte in bytes {
                state = send(near, &[*byte], server);
            }
            state
        };
        let (state, ..) = shake(&scene, |_, bytes| bytes, one_by_one);
        assert_eq!(state, Handshake::Done);
        let crumble = |flight, bytes: Vec<u8>| match flight {
            0 => crumbled(&bytes),
            _ => bytes,
        };
        let (state, _client, _near, mut server) = shake(&scene, crumble, one_by_one);
        assert_eq!(state, Handshake::Done);
        server.write_all(b"fine");
    }
}

#[test]
fn a_message_without_end_is_refused_before_it_fills_the_memory() {
    let scene = scene(0);
    let (mut near, far) = sockets();
    let mut server = Server::new(far, &scene.terms);
    // A hello of 65,535 bytes, in records of one byte each.
    let mut bytes = crumbled(&[22, 3, 1, 0, 4, 1, 0, 0xff, 0xff]);
    bytes.extend([22, 3, 1, 0, 1, 0].repeat(1000));
    let refusal = (0..100).find_map(|_| match send(&mut near, &bytes, &mut server) {
        Handshake::Failed(error) => Some(error),
        _ => None,
    });
    assert_eq!(refusal.unwrap().code(), code::SSL_BAD_CLIENT);
}

#[test]
fn a_record_that_was_changed_breaks_the_connection_behind_those_before_it() {
    for protocols in [32, 64] {
        let scene = scene(protocols);
        let (_, mut client, mut near, mut server) = shake(&scene, |_, bytes| bytes, send);
        client.writer().write_all(b"good").unwrap();
        let mut bytes = sent_by(&mut client);
        client.writer().write_all(b"bad").unwrap();
        let changed = bytes.len() + 10;
        bytes.extend(sent_by(&mut client));
        bytes[changed] ^= 1;
        near.write_all(&bytes).unwrap();
        let mut into = [0; 100];
        assert_eq!(server.read(&mut into), Moved::Bytes(4));
        assert!(server.stream.has_pending_input());
        assert_eq!(server.stream.read(&mut into), Moved::Broken(libc::EPROTO));
        assert_eq!(server.stream.read(&mut into), Moved::Broken(libc::EPROTO));
        server.stream.end_writing();
    }
}

#[test]
fn random_bytes_at_any_time_break_nothing() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for protocols in [32, 64] {
        let scene = scene(protocols);
        for _ in 0..100 {
            let (_, _, mut near, mut server) = shake(&scene, |_, bytes| bytes, send);
            let mut bytes: Vec<u8> = (0..random() % 2000).map(|_| random() as u8).collect();
            if random() % 2 == 0 {
                // What looks like a record gets further.
                let length = (bytes.len() as u16).to_be_bytes();
                let kind = 20 + (random() % 5) as u8;
                bytes.splice(0..0, [kind, 3, 3, length[0], length[1]]);
            }
            near.write_all(&bytes).unwrap();
            near.shutdown(Shutdown::Write).unwrap();
            let mut into = [0; 100];
            assert!(matches!(server.read(&mut into), Moved::End | Moved::Broken(_)));
            // It fails or it is taken, as the state allows; it never panics.
            server.stream.write(b"late");
            server.stream.end_writing();
        }
    }
}

/// Many small records, and nobody else is served meanwhile.
#[test]
fn one_read_does_not_go_on_for_as_long_as_a_peer_sends() {
    const RECORDS: usize = 60_000;
    let scene = scene(0);
    let (state, mut client, mut near, mut server) = shake(&scene, |_, bytes| bytes, send);
    assert_eq!(state, Handshake::Done);
    let mut sealed = Vec::new();
    for _ in 0..RECORDS {
        client.writer().write_all(b"s").unwrap();
        sealed.extend(sent_by(&mut client));
    }
    let peer = std::thread::spawn(move || near.write_all(&sealed).map(|()| near));
    let mut room = vec![0; 64 * 1024];
    let mut total = 0;
    while total < RECORDS {
        match server.stream.read(&mut room) {
            Moved::Bytes(count) => {
                total += count;
                assert!(count < RECORDS / 4, "{count} records in one read");
            }
            Moved::WouldBlock => {}
            moved => panic!("{moved:?} after {total}"),
        }
    }
    assert!(!server.stream.has_pending_input());
    drop(peer.join().unwrap().unwrap());
}

#[test]
fn a_part_of_a_record_is_heard_once() {
    let scene = scene(0);
    let (state, mut client, mut near, mut server) = shake(&scene, |_, bytes| bytes, send);
    assert_eq!(state, Handshake::Done);
    client.writer().write_all(b"in pieces").unwrap();
    let sealed = sent_by(&mut client);
    let (last, first) = sealed.split_last().unwrap();
    for byte in first {
        near.write_all(&[*byte]).unwrap();
        assert_eq!(server.stream.read(&mut [0; 64]), Moved::WouldBlock);
        assert!(server.stream.has_heard());
        assert_eq!(server.stream.read(&mut [0; 64]), Moved::WouldBlock);
        assert!(!server.stream.has_heard() && !server.stream.has_pending_input());
    }
    near.write_all(&[*last]).unwrap();
    assert_eq!(server.stream.read(&mut [0; 64]), Moved::Bytes(9));
}
