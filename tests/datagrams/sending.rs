//! What is sent, from where, and what is refused.

use crate::api::*;
use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::life::wait_for_lines;
use crate::puppet::{self, number};
use std::ffi::c_void;
use std::os::unix::net::UnixDatagram;
use swoole::ffi::process::{sw_process_new, sw_server_add_process};

/// Address, port, bytes and descriptor of a call, and the error that it must give.
type Row<'a> = (&'a [u8], i32, &'a [u8], i32, i32);

/// Sends what cannot be sent when it is told to, and reports what is wrong with the results.
pub fn refusing(setup: &Setup) -> Outcome {
    let server = setup.bare_server("127.0.0.1", SW_SOCK_TCP)?;
    server.set("worker_num", "1")?;
    Port::add(*server, "127.0.0.1", setup.port, SW_SOCK_UDP)?;
    Port::add(*server, &path_of("udp.sock"), 0, SW_SOCK_UNIX_DGRAM)?;
    server.on("start", |_, _| {})?;
    server.on("receive", |_, _| {})?;
    server.on("packet", |server, event| {
        let packet = Packet::of(event);
        let count = packet.raw.port;
        let own = packet.raw.server_socket;
        let large = [1; 65_508];
        let long = format!("/{}", "x".repeat(107));
        let tcp = Port::nth(server, 0).socket();
        let unix = Port::nth(server, 2).socket();
        let rows: &[Row] = &[
            (b"127.0.0.1", count, b"", own, SW_ERROR_NO_PAYLOAD),
            (b"127.0.0.1", 0, b"x", own, SW_ERROR_BAD_PORT),
            (b"127.0.0.1", -1, b"x", own, SW_ERROR_BAD_PORT),
            (b"127.0.0.1", 65_536, b"x", own, SW_ERROR_BAD_PORT),
            (b"127.0.0.1", i32::MAX, b"x", own, SW_ERROR_BAD_PORT),
            (b"localhost", count, b"x", own, SW_ERROR_BAD_HOST_ADDR),
            (b"127.0.0", count, b"x", own, SW_ERROR_BAD_HOST_ADDR),
            (b"", count, b"x", own, SW_ERROR_BAD_HOST_ADDR),
            (b"\xff\xfe", count, b"x", own, SW_ERROR_BAD_HOST_ADDR),
            (b"[::1]", count, b"x", -1, SW_ERROR_BAD_IPV6_ADDRESS),
            (b"::1", count, b"x", -1, SW_ERROR_WRONG_OPERATION),
            (b"::1", count, b"x", own, SW_ERROR_WRONG_OPERATION),
            (b"127.0.0.1", count, b"x", tcp, SW_ERROR_INVALID_PARAMS),
            (b"127.0.0.1", count, b"x", unix, SW_ERROR_INVALID_PARAMS),
            (b"127.0.0.1", count, b"x", 0, SW_ERROR_INVALID_PARAMS),
            (b"127.0.0.1", count, b"x", -2, SW_ERROR_INVALID_PARAMS),
            (b"127.0.0.1", count, b"x", i32::MIN, SW_ERROR_INVALID_PARAMS),
            (b"127.0.0.1", count, b"x", i32::MAX, SW_ERROR_INVALID_PARAMS),
            (b"127.0.0.1", count, b"x", 99_999_999, SW_ERROR_INVALID_PARAMS),
            (b"127.0.0.1", count, &large, own, libc::EMSGSIZE),
            (b"/", -1, b"x", own, SW_ERROR_INVALID_PARAMS),
            (b"/no/such/path", -1, b"x", -1, libc::ENOENT),
            (b"/no/such/path", 80, b"x", unix, libc::ENOENT),
            (b"no/such/path", -1, b"x", -1, libc::ENOENT),
            (b"", -1, b"x", -1, SW_ERROR_BAD_HOST_ADDR),
            (long.as_bytes(), -1, b"x", -1, SW_ERROR_NAME_TOO_LONG),
        ];
        for (ip, port, data, socket, code) in rows {
            let result = send_to(server, ip, *port, data, *socket);
            let given = result.as_ref().err().map_or(0, |error| error.code);
            if given != *code {
                let ip = String::from_utf8_lossy(ip);
                report!("WRONG {ip} {port} from {socket}: {given} for {code}");
            }
        }
        let is_sent = send_to(server, packet.address, packet.raw.port, b"still here", -1);
        report!("{} were refused, then {:?}", rows.len(), is_sent);
    })?;
    server.start()?;
    Ok(())
}

pub fn what_cannot_be_sent_is_refused_with_its_reason(server: &Running) -> Outcome {
    let peer = Peer::of(server)?;
    assert_eq!(peer.ask(b"try")?, b"still here");
    server.wait_line(|line| line == "26 were refused, then Ok(())", STEP)?;
    let lines = server.lines_so_far();
    let wrong: Vec<&String> = lines.iter().filter(|line| line.starts_with("WRONG")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(server.log().contains("no port for IPv6 datagrams"), "{}", server.log());
    Ok(())
}

pub fn the_last_port_of_a_family_sends_by_default(server: &Running) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    let line = server.wait_line(|line| line.starts_with("other "), STEP)?;
    let other: u16 = number(line.trim_start_matches("other "));
    let peer = Peer::at("127.0.0.1")?;
    for port in [server.port(), other] {
        peer.0.send_to(b"!default", ("127.0.0.1", port))?;
        let mut bytes = [0; 50];
        let (len, from) = peer.0.recv_from(&mut bytes)?;
        assert_eq!((&bytes[..len], from.port()), (b"from the last".as_slice(), other));
    }
    Ok(())
}

/// Everybody who has a callback sends a datagram to the server itself.
pub fn everywhere(setup: &Setup) -> Outcome {
    fn say(server: Handle, who: &str) {
        let own = Port::nth(server, 1);
        let sent = send_to(server, b"127.0.0.1", own.number(), who.as_bytes(), own.socket());
        report!("{who}: {sent:?}");
    }
    extern "C-unwind" fn live(server: *mut sw_server_t, _: *mut sw_process_t, _: *mut c_void) {
        let server = Handle { raw: server };
        say(server, "user");
        while server.is_running() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    let server = setup.server()?;
    Port::add(*server, "127.0.0.1", setup.port, SW_SOCK_UDP)?;
    server.on("receive", |_, _| {})?;
    server.on("packet", |_, event| {
        report!("got {}", String::from_utf8_lossy(Packet::of(event).data));
    })?;
    server.on("start", |server, _| say(server, "master"))?;
    server.on("managerStart", |server, _| say(server, "manager"))?;
    server.on("workerStart", |server, event| {
        say(server, &format!("worker {}", event.worker().worker_id));
    })?;
    let process = sw_process_new(Some(live), std::ptr::null_mut());
    assert!(sw_server_add_process(server.raw, process) >= 0);
    server.start()?;
    Ok(())
}

pub fn every_process_can_send(server: &Running) -> Outcome {
    for who in ["master", "manager", "worker 0", "worker 1", "user"] {
        server.wait_line(|line| line == format!("{who}: Ok(())"), STEP)?;
        server.wait_line(|line| line == format!("got {who}"), STEP)?;
    }
    Ok(())
}

const FLOOD: u32 = 3_000;

/// Sends so many numbers to whoever asks for them.
pub fn waiting(setup: &Setup) -> Outcome {
    puppet::run(&prepare(setup, &[], |server, event| {
        let packet = Packet::of(event);
        report!("flooding");
        (0..FLOOD).for_each(|number| packet.answer(server, &number.to_be_bytes()));
        report!("flooded");
    })?)
}

pub fn a_sender_waits_for_a_receiver_that_has_no_room(server: &Running) -> Outcome {
    let (unix, path): (UnixDatagram, _) = unix_peer(server, Some("client.sock"))?;
    unix.send(b"go")?;
    let mut bytes = [0; 50];
    for number in 0..FLOOD {
        if number == 1 {
            wait_for_lines(server, 1, "flooding")?;
        }
        let len = unix.recv(&mut bytes)?;
        assert_eq!(bytes[..len], number.to_be_bytes());
    }
    wait_for_lines(server, 1, "flooded")?;
    assert!(!server.lines_so_far().iter().any(|line| line.starts_with("refused")));
    std::fs::remove_file(path)?;
    Ok(())
}
