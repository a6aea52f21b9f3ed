//! Datagrams: what comes to the ports for them, what is sent from there, and what is kept of them
//! when processes come and go.

#[path = "datagrams/api.rs"]
mod api;
mod common;
#[path = "datagrams/keeping.rs"]
mod keeping;
mod puppet;
#[path = "datagrams/sending.rs"]
mod sending;

use api::*;
use common::prelude::*;
use keeping::*;
use puppet::life::wait_for_log;
use puppet::{ask, hold_worker, number};
use sending::*;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

const WHOLE: [usize; 6] = [1, 64, 1472, 9_000, 65_000, 65_507];

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 + len) as u8).collect()
}

fn a_datagram_of_every_size_comes_back_over_every_family(server: &Running) -> Outcome {
    let four = Peer::of(server)?;
    let six = Peer::at("::1")?;
    six.0.connect(("::1", server.port()))?;
    let (unix, path) = unix_peer(server, Some("client.sock"))?;
    for len in WHOLE {
        let data = pattern(len);
        assert!(four.ask(&data)? == data, "{len} over IPv4");
        assert!(six.ask(&data)? == data, "{len} over IPv6");
        unix.send(&data)?;
        let mut back = vec![0; 70_000];
        assert!(unix.recv(&mut back)? == len && back[..len] == data, "{len} by a path");
    }
    std::fs::remove_file(path)?;
    Ok(())
}

fn the_callback_is_told_where_a_datagram_comes_from_and_where_it_came_to(
    server: &Running,
) -> Outcome {
    let peer = Peer::of(server)?;
    let told = |line: &str| -> String {
        let words: Vec<&str> = line.split(' ').collect();
        words[2..].join(" ")
    };
    let own = format!("127.0.0.1 {} {}", peer.port(), server.port());
    assert_eq!(told(&peer.ask_text("!who")?), own);
    assert_eq!(peer.ask_text("!time")?, "now");
    let line = server.wait_line(|line| line.starts_with("other "), STEP)?;
    let other: u16 = number(line.trim_start_matches("other "));
    peer.0.connect(("127.0.0.1", other))?;
    let own = format!("127.0.0.1 {} {other}", peer.port());
    assert_eq!(told(&peer.ask_text("!who")?), own);
    let six = Peer::at("::1")?;
    six.0.connect(("::1", server.port()))?;
    let own = format!("::1 {} {}", six.port(), server.port());
    assert_eq!(told(&six.ask_text("!who")?), own);
    let (unix, path) = unix_peer(server, Some("client.sock"))?;
    unix.send(b"!who")?;
    let mut bytes = [0; 500];
    let len = unix.recv(&mut bytes)?;
    let own = format!("{} 0 0", path.display());
    assert_eq!(told(std::str::from_utf8(&bytes[..len])?), own);
    std::fs::remove_file(path)?;
    Ok(())
}

fn empty_and_oversized_datagrams_are_dropped_and_told(server: &Running) -> Outcome {
    let peer = Peer::of(server)?;
    peer.0.send(b"")?;
    assert_eq!(peer.ask(b"behind it")?, b"behind it");
    wait_for_log(server, |log| log.contains("an empty datagram is dropped"))?;
    let (unix, path) = unix_peer(server, Some("client.sock"))?;
    unix.send(&[1; 64 * 1024 + 1])?;
    unix.send(b"behind it")?;
    let mut bytes = [0; 500];
    let len = unix.recv(&mut bytes)?;
    assert_eq!(&bytes[..len], b"behind it");
    wait_for_log(server, |log| log.contains("a datagram of more than 65536 bytes is dropped"))?;
    std::fs::remove_file(path)?;
    Ok(())
}

fn a_unix_peer_without_a_path_has_an_empty_one_and_cannot_be_answered(server: &Running) -> Outcome {
    let (unix, _) = unix_peer(server, None)?;
    unix.send(b"nobody")?;
    // An empty text is no address.
    let refused = format!("refused: {SW_ERROR_BAD_HOST_ADDR}");
    server.wait_line(|line| line == refused, STEP)?;
    Ok(())
}

/// The only port is one for datagrams.
fn first(setup: &Setup) -> Outcome {
    let server = setup.bare_server("127.0.0.1", SW_SOCK_UDP)?;
    server.set("worker_num", "2")?;
    server.on("start", |_, _| {})?;
    server.on("packet", on_packet)?;
    server.start()?;
    Ok(())
}

fn the_first_port_may_be_for_datagrams(server: &Running) -> Outcome {
    let peer = Peer::of(server)?;
    for round in 0..300_u32 {
        let data = round.to_be_bytes();
        assert_eq!(peer.ask(data)?, data);
    }
    Ok(())
}

fn without_callback(setup: &Setup) -> Outcome {
    let server = setup.bare_server("127.0.0.1", SW_SOCK_UDP)?;
    server.on("receive", |_, _| {})?;
    let error = server.start().expect_err("nobody takes its datagrams");
    report!("{} {}", error.code, error.message.contains("onPacket"));
    Ok(())
}

fn a_port_for_datagrams_needs_a_packet_callback(server: &Running) -> Outcome {
    server.wait_line(|line| line == format!("{SW_ERROR_SERVER_INVALID_CALLBACK} true"), STEP)?;
    assert!(server.wait_exit(STEP)?.success());
    Ok(())
}

/// As [`plain`], and the puppet can be asked for counts: `!counts PORT`.
fn counting(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[], on_packet)?;
    server.on("receive", |server, event| {
        let text = String::from_utf8_lossy(event.data()).into_owned();
        let Some(index) = text.strip_prefix("!counts ") else {
            return puppet::obey(server, event);
        };
        let own = Port::nth(server, number(index)).stats().expect("the port");
        let all = server.stats().expect("the server");
        let line = format!(
            "{} {} {} {} {}\n",
            own.dispatch_count,
            own.request_count,
            own.total_recv_bytes,
            all.dispatch_count,
            all.request_count
        );
        puppet::answer(server, event.fd(), line.as_bytes());
    })?;
    puppet::run(&server)
}

fn datagrams_are_counted_as_requests_of_their_port(server: &Running) -> Outcome {
    let peer = Peer::of(server)?;
    for _ in 0..25 {
        peer.ask(b"one")?;
    }
    peer.0.send(b"")?;
    let mut client = server.connect()?;
    // The last one is counted after it was answered.
    puppet::ask_until(&mut client, "counts 1", |line| line.starts_with("25 25 0 "))?;
    assert!(ask(&mut client, "counts 2")?.starts_with("0 0 0 "));
    let words: Vec<u64> = ask(&mut client, "counts 0")?.split(' ').map(number).collect();
    // Each question counts as dispatched before it is answered, and as handled behind that.
    assert_eq!((words[0], words[3]), (words[0], words[0] + 25));
    assert_eq!((words[1], words[4]), (words[1], words[1] + 25));
    Ok(())
}

fn in_process_mode_the_address_of_the_sender_chooses_the_worker(server: &Running) -> Outcome {
    Peer::of(server)?;
    for last in 1..=6_u8 {
        let host = format!("127.0.0.{last}");
        for _ in 0..2 {
            let peer = Peer::at(&host)?;
            peer.0.connect(("127.0.0.1", server.port()))?;
            let worker = u32::from_ne_bytes([127, 0, 0, last]) % 2;
            assert!(peer.ask_text("!who")?.starts_with(&format!("{worker} ")));
        }
    }
    Ok(())
}

fn where_workers_read_for_themselves_one_that_is_stuck_leaves_the_rest_to_others(
    server: &Running,
) -> Outcome {
    let peer = Peer::of(server)?;
    let stuck = peer.ask_text("!who")?[..1].to_owned();
    let mut client = puppet::connect_to(server, number(&stuck))?.0;
    let held = hold_worker(&mut client)?;
    for round in 0..200_u32 {
        let who = peer.ask_text("!who")?;
        assert!(!who.starts_with(&stuck), "{round}: {who}");
    }
    drop(held);
    Ok(())
}

/// The port for datagrams has small buffers.
fn small_buffers(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[], on_packet)?;
    assert!(Port::nth(*server, 1).set("socket_buffer_size", 20_000));
    server.on("start", |server, _| {
        let size = |index, option| {
            let fd = Port::nth(server, index).socket();
            let (mut value, mut len) = (0_i32, 4);
            let place = (&mut value as *mut i32).cast();
            // SAFETY: value and length outlive the call.
            unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, option, place, &mut len) };
            value
        };
        let sizes = [libc::SO_RCVBUF, libc::SO_SNDBUF].map(|option| size(1, option));
        // The system keeps the double, for its own bookkeeping.
        report!("buffers {sizes:?}, others are larger: {}", size(2, libc::SO_RCVBUF) > 40_000);
    })?;
    puppet::run(&server)
}

fn socket_buffer_size_is_that_of_the_socket(server: &Running) -> Outcome {
    let wanted = "buffers [40000, 40000], others are larger: true";
    server.wait_line(|line| line == wanted, STEP)?;
    Ok(())
}

/// Sockets that a service manager has bound: over IPv4, by a path, and one without an address.
fn adopted(setup: &Setup) -> Outcome {
    const FIRST: i32 = 200;
    let place = |socket: &dyn AsRawFd, number| {
        // SAFETY: takes two numbers; what stands at the second one is not ours.
        assert_eq!(unsafe { libc::dup2(socket.as_raw_fd(), number) }, number);
    };
    place(&UdpSocket::bind(("127.0.0.1", setup.port))?, FIRST);
    place(&UnixDatagram::unbound()?, FIRST + 1);
    place(&UnixDatagram::bind(path_of("udp.sock"))?, FIRST + 2);
    std::env::set_var("LISTEN_PID", std::process::id().to_string());
    std::env::set_var("LISTEN_FDS", "3");
    std::env::set_var("LISTEN_FDS_START", FIRST.to_string());
    let server = Server::new("SYSTEMD", 0, setup.mode.number(), SW_SOCK_TCP)?;
    server.set("worker_num", "2")?;
    server.on("start", |_, _| {})?;
    server.on("packet", on_packet)?;
    server.start()?;
    drop(server);
    std::fs::remove_file(path_of("udp.sock"))?;
    Ok(())
}

fn bound_sockets_of_a_service_manager_are_served(server: &Running) -> Outcome {
    let peer = Peer::of(server)?;
    assert_eq!(peer.ask(b"over IPv4")?, b"over IPv4");
    let (unix, path) = unix_peer(server, Some("client.sock"))?;
    unix.send(b"by a path")?;
    let mut bytes = [0; 50];
    let len = unix.recv(&mut bytes)?;
    assert_eq!(&bytes[..len], b"by a path");
    assert!(
        server.log().contains("descriptor 201 neither listens nor is bound"),
        "{}",
        server.log()
    );
    std::fs::remove_file(path)?;
    Ok(())
}

/// Listens everywhere and has joined a group.
fn group(setup: &Setup) -> Outcome {
    let server = setup.bare_server("0.0.0.0", SW_SOCK_UDP)?;
    let fd = swoole::ffi::port::sw_server_get_socket(server.raw);
    let membership = libc::ip_mreq {
        imr_multiaddr: libc::in_addr { s_addr: u32::from_ne_bytes([239, 7, 8, 9]) },
        imr_interface: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
    };
    let len = std::mem::size_of_val(&membership) as u32;
    let value = (&membership as *const libc::ip_mreq).cast();
    // SAFETY: the value has the length that is told.
    let joined =
        unsafe { libc::setsockopt(fd, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, value, len) };
    assert_eq!(joined, 0, "{}", std::io::Error::last_os_error());
    server.on("start", |_, _| {})?;
    server.on("packet", on_packet)?;
    server.start()?;
    Ok(())
}

fn a_port_can_join_a_multicast_group(server: &Running) -> Outcome {
    let peer = Peer::of(server)?;
    let interface = libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) };
    let value = (&interface as *const libc::in_addr).cast();
    let fd = peer.0.as_raw_fd();
    // SAFETY: the value has the length that is told.
    let set = unsafe { libc::setsockopt(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, value, 4) };
    assert_eq!(set, 0);
    let sender = peer.0;
    // Connected to the group it would not take the answer, which comes from the server's address.
    // SAFETY: all-zero but for the family, which dissolves the connection.
    let nobody: libc::sockaddr = unsafe {
        let mut nobody: libc::sockaddr = std::mem::zeroed();
        nobody.sa_family = libc::AF_UNSPEC as u16;
        nobody
    };
    // SAFETY: the address has the length that is told.
    assert_eq!(unsafe { libc::connect(sender.as_raw_fd(), &nobody, 16) }, 0);
    sender.send_to(b"to all of you", ("239.7.8.9", server.port()))?;
    let mut bytes = [0; 50];
    let (len, from) = sender.recv_from(&mut bytes)?;
    assert_eq!((&bytes[..len], from.port()), (b"to all of you".as_slice(), server.port()));
    Ok(())
}

server_tests! {
    [both_faces];
    a_datagram_of_every_size_comes_back_over_every_family: plain;
    the_callback_is_told_where_a_datagram_comes_from_and_where_it_came_to: plain;
    empty_and_oversized_datagrams_are_dropped_and_told: plain;
    a_unix_peer_without_a_path_has_an_empty_one_and_cannot_be_answered: plain;
    the_first_port_may_be_for_datagrams: first;
    a_port_for_datagrams_needs_a_packet_callback: without_callback;
    datagrams_are_counted_as_requests_of_their_port: counting;
    // Elsewhere whoever reads a datagram handles it.
    in_process_mode_the_address_of_the_sender_chooses_the_worker: plain, in [Mode::Process];
    // In process mode the sender decides, also if its worker is stuck.
    where_workers_read_for_themselves_one_that_is_stuck_leaves_the_rest_to_others: plain,
        in [Mode::Base, Mode::Thread];
    socket_buffer_size_is_that_of_the_socket: small_buffers;
    bound_sockets_of_a_service_manager_are_served: adopted;
    a_port_can_join_a_multicast_group: group;
    what_cannot_be_sent_is_refused_with_its_reason: refusing;
    the_last_port_of_a_family_sends_by_default: plain;
    every_process_can_send: everywhere;
    a_sender_waits_for_a_receiver_that_has_no_room: waiting;
    nothing_is_lost_by_ten_reloads_under_load: plain, in [Mode::Process];
    the_successor_of_a_killed_worker_answers_what_was_in_its_inbox: plain, in [Mode::Process];
    what_workers_have_is_answered_before_the_end: plain, in [Mode::Process];
    a_worker_without_room_stops_its_port_alone: plain, in [Mode::Process];
    a_worker_leaves_after_exactly_so_many_datagrams: limited;
}
