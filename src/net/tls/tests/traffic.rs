//! Bytes both ways: large and small, fast and slow, to the end.

use std::io::{IoSlice, Read, Write};
use std::sync::{Arc, Barrier};

use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::certificates::{plain_settings, Folder};
use super::peer::{beside, sockets, Client, Server, Wishes};
use crate::net::stream::Moved;
use crate::net::tls::{Terms, TlsSettings};

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index % 251) as u8).collect()
}

fn read_exactly(client: &mut Client, count: usize) -> Vec<u8> {
    let mut all = vec![0; count];
    client.read_exact(&mut all).unwrap();
    all
}

/// Two threads that wait here wait for each other.
fn gate() -> (Arc<Barrier>, Arc<Barrier>) {
    let gate = Arc::new(Barrier::new(2));
    (Arc::clone(&gate), gate)
}

/// A connection in each version, ready to be used: the server, and what becomes of the client.
fn each_version<T: Send + 'static>(
    client: impl FnOnce(&mut Client) -> T + Send + Clone + 'static,
    mut serve: impl FnMut(Server),
) -> Vec<T> {
    let folder = Folder::new();
    let (settings, trusted) = plain_settings(&folder);
    let serve_one = |protocols| {
        let terms = Terms::new(&TlsSettings { protocols, ..settings.clone() }).unwrap();
        let (near, far) = sockets();
        let client = beside(near, &Wishes::trusting(&trusted), client.clone());
        let mut server = Server::new(far, &terms);
        server.handshake().unwrap();
        serve(server);
        client.join().unwrap()
    };
    [32, 64].map(serve_one).into_iter().collect()
}

#[test]
fn a_mebibyte_comes_back_as_it_was_sent_with_reads_of_any_size() {
    for step in [7, 1000, 16 * 1024, 64 * 1024, 1 << 20] {
        // Small steps are slow where nothing is optimized.
        let size = if step < 1000 { 50_000 } else { 1 << 20 };
        let echoed = each_version(
            move |client| {
                client.write_all(&pattern(size)).unwrap();
                let all = read_exactly(client, size);
                client.conn.send_close_notify();
                client.flush().unwrap();
                all == pattern(size)
            },
            |mut server| {
                let all = server.read_exactly(size, step);
                server.write_all(&all);
                server.finish();
            },
        );
        assert_eq!(echoed, [true, true], "step {step}");
    }
}

#[test]
fn a_read_that_is_not_full_has_left_nothing() {
    each_version(
        |client| {
            for size in [1, 100, 16 * 1024, 40_000, 60_000, 1] {
                client.write_all(&pattern(size)).unwrap();
                read_exactly(client, 1);
            }
        },
        |mut server| {
            for size in [1, 100, 16 * 1024, 40_000, 60_000, 1] {
                let mut count = 0;
                let mut into = vec![0; 64 * 1024];
                while count < size {
                    match server.read(&mut into) {
                        Moved::Bytes(more) => count += more,
                        moved => panic!("{moved:?}"),
                    }
                    assert!(!server.stream.has_pending_input());
                }
                assert_eq!(count, size);
                assert_eq!(server.stream.read(&mut into), Moved::WouldBlock);
                server.write_all(b"+");
            }
        },
    );
}

#[test]
fn what_a_small_reader_leaves_is_pending() {
    each_version(
        |client| {
            client.write_all(b"0123456789").unwrap();
            read_exactly(client, 1);
        },
        |mut server| {
            let mut into = [0; 4];
            assert_eq!(server.read(&mut into), Moved::Bytes(4));
            for (count, is_pending) in [(4, true), (2, false)] {
                assert!(server.stream.has_pending_input());
                assert_eq!(server.stream.read(&mut into), Moved::Bytes(count));
                assert_eq!(server.stream.has_pending_input(), is_pending);
            }
            server.write_all(b"+");
        },
    );
}

#[test]
fn a_slow_reader_gets_all_and_no_more_is_taken_than_is_kept_for_it() {
    const SIZE: usize = 16 << 20;
    let (full, seen) = gate();
    each_version(
        move |client| {
            read_exactly(client, 1);
            // Nothing is read before the server has filled all there is.
            seen.wait();
            client.write_all(b"go").unwrap();
            assert!(read_exactly(client, SIZE) == pattern(SIZE));
        },
        |mut server| {
            server.write_all(b"+");
            let all = pattern(SIZE);
            let mut taken = 0;
            while let Moved::Bytes(count) = server.stream.write(&all[taken..]) {
                taken += count;
                assert!(taken < SIZE, "nothing fills the socket");
            }
            assert!(server.stream.wants_write());
            assert!((1..70_000).contains(&server.stream.queued_bytes()));
            assert!(!server.stream.is_delivered());
            assert_eq!(server.stream.write(&all[taken..]), Moved::WouldBlock);
            full.wait();
            assert_eq!(server.read_exactly(2, 2), b"go");
            server.write_all(&all[taken..]);
            assert!(!server.stream.wants_write());
        },
    );
}

#[test]
fn parts_arrive_in_order_also_empty_ones() {
    let sizes = [0, 3, 0, 20_000, 1, 70_000, 0];
    let total: usize = sizes.iter().sum();
    let arrived = each_version(
        move |client| {
            client.write_all(b"go").unwrap();
            read_exactly(client, total) == pattern(total)
        },
        |mut server| {
            server.read_exactly(2, 2);
            let all = pattern(total);
            let mut done = 0;
            while done < total {
                let (mut parts, mut at) = (Vec::new(), 0);
                for size in sizes {
                    let from = (at + size).min(done.max(at));
                    parts.push(IoSlice::new(&all[from..at + size]));
                    at += size;
                }
                match server.stream.write_parts(&parts) {
                    Moved::Bytes(count) => done += count,
                    Moved::WouldBlock => server.flush(),
                    moved => panic!("{moved:?}"),
                }
            }
            server.flush();
        },
    );
    assert_eq!(arrived, [true, true]);
}

#[test]
fn each_side_ends_on_its_own() {
    each_version(
        |client| {
            client.write_all(b"last").unwrap();
            client.conn.send_close_notify();
            client.flush().unwrap();
            // The other direction is open still, and its end is an orderly one.
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
            assert_eq!(all, pattern(100_000));
        },
        |mut server| {
            assert_eq!(server.read_exactly(4, 4), b"last");
            assert_eq!(server.read(&mut [0; 9]), Moved::End);
            assert!(server.stream.has_pending_input(), "the end can be read again");
            server.write_all(&pattern(100_000));
            server.stream.end_writing();
            server.flush();
            assert!(matches!(server.stream.write(b"more"), Moved::Broken(libc::EPIPE)));
            assert_eq!(server.read(&mut [0; 9]), Moved::End);
        },
    );
}

#[test]
fn the_end_follows_what_a_full_socket_has_not_taken() {
    const SIZE: usize = 16 << 20;
    let (full, seen) = gate();
    let counts = each_version(
        move |client| {
            read_exactly(client, 1);
            // It takes nothing more before the server has filled the socket.
            seen.wait();
            seen.wait();
            client.write_all(b"go").unwrap();
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
            all.len()
        },
        |mut server| {
            server.write_all(b"+");
            full.wait();
            let all = vec![1; SIZE];
            let mut taken = 0;
            while let Moved::Bytes(count) = server.stream.write(&all[taken..]) {
                taken += count;
            }
            server.stream.end_writing();
            assert!(server.stream.wants_write());
            full.wait();
            server.read_exactly(2, 2);
            server.flush();
            assert!(taken < SIZE);
            assert_eq!(server.read(&mut [0; 9]), Moved::End);
        },
    );
    assert!(counts.iter().all(|count| *count > 100_000), "{counts:?}");
}

#[test]
fn a_cut_without_a_word_is_an_end_behind_what_came_before() {
    each_version(
        |client| {
            client.write_all(&pattern(1000)).unwrap();
            client.sock.shutdown(std::net::Shutdown::Write).unwrap();
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
        },
        |mut server| {
            assert!(server.read_exactly(1000, 300) == pattern(1000));
            assert_eq!(server.read(&mut [0; 9]), Moved::End);
            server.finish();
        },
    );
}

#[test]
fn a_client_may_ask_for_new_keys_in_the_middle() {
    let folder = Folder::new();
    let (settings, trusted) = plain_settings(&folder);
    let terms = Terms::new(&settings).unwrap();
    let (near, far) = sockets();
    let client = beside(near, &Wishes::trusting(&trusted), |client| {
        for _ in 0..5 {
            client.write_all(b"one").unwrap();
            client.conn.refresh_traffic_keys().unwrap();
            client.write_all(b"two").unwrap();
            assert_eq!(read_exactly(client, 6), b"onetwo");
        }
    });
    let mut server = Server::new(far, &terms);
    server.handshake().unwrap();
    for _ in 0..5 {
        let message = server.read_exactly(6, 6);
        server.write_all(&message);
    }
    server.finish();
    client.join().unwrap();
}

#[test]
fn a_message_that_comes_with_the_end_of_the_handshake_is_there() {
    let folder = Folder::new();
    let (settings, trusted) = plain_settings(&folder);
    let terms = Terms::new(&settings).unwrap();
    let (near, far) = sockets();
    // Written as one: the last message of the handshake and the first of the program.
    let client = beside(near, &Wishes::trusting(&trusted), |client| {
        client.conn.writer().write_all(b"early").unwrap();
        read_exactly(client, 1);
    });
    let mut server = Server::new(far, &terms);
    server.handshake().unwrap();
    assert_eq!(server.read_exactly(5, 5), b"early");
    server.write_all(b"+");
    client.join().unwrap();
}

/// Everything is asserted with the other client already; this one is of a second make, where it is
/// installed.
#[test]
fn the_client_of_openssl_is_understood() {
    let folder = Folder::new();
    let (settings, _) = plain_settings(&folder);
    let terms = Terms::new(&settings).unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let client = Command::new("openssl")
            .args(["s_client", "-quiet", "-connect", &address, "-servername", "localhost"])
            .args(["-verify_return_error", "-CAfile", &settings.own.certificate, version])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut client) = client else { return };
        let (far, _) = listener.accept().unwrap();
        far.set_nonblocking(true).unwrap();
        let mut server = Server::new(far, &terms);
        server.handshake().unwrap();
        let mut input = client.stdin.take().unwrap();
        input.write_all(b"hello\n").unwrap();
        assert_eq!(server.read_exactly(6, 6), b"hello\n");
        server.write_all(b"world\n");
        server.stream.end_writing();
        server.flush();
        let mut answer = String::new();
        client.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "world\n", "{version}");
        drop(input);
        client.wait().unwrap();
    }
}
