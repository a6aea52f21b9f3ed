//! What breaks a protocol: the connection ends, the worker hears of it as if the peer had ended,
//! and the log says who, what and where.

use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::{self, memory_bytes};
use crate::speech::*;
use crate::{expect, last_words, Fallible, Lab};
use std::ffi::c_void;
use std::time::Instant;
use swoole::ffi::port::*;

const TOO_LARGE: i32 = SW_ERROR_PACKAGE_LENGTH_TOO_LARGE;
const MALFORMED: i32 = SW_ERROR_PACKAGE_MALFORMED_DATA;
const NO_REQUEST: i32 = SW_ERROR_SERVER_INVALID_REQUEST;

/// How many connections have ended with that code, and all of them as if by the peer.
fn ends(server: &Running, code: i32) -> usize {
    let end = format!(" code {code}");
    let lines = server.lines_so_far();
    let ends: Vec<_> = lines.iter().filter(|line| line.ends_with(&end)).collect();
    assert!(ends.iter().all(|line| !line.contains("reactor -1")), "{ends:?}");
    ends.len()
}

fn await_ends(server: &Running, code: i32, count: usize) -> Outcome {
    let end = format!(" code {code}");
    server.wait_lines(count, |line| line.ends_with(&end), STEP)?;
    assert_eq!(ends(server, code), count);
    Ok(())
}

pub fn a_message_of_the_limit_is_taken_and_one_more_byte_ends_the_connection(
    server: &Running,
) -> Outcome {
    let lab = Lab::new(server)?;
    for (count, name) in ["eof"].iter().chain(EXACT).enumerate() {
        let form = if *name == "http" { "large http" } else { *name };
        let mut client = lab.connect(name)?;
        let (bytes, unit) = frame_of(form, LIMIT);
        client.send(&bytes)?;
        expect(&mut client, &[unit])?;
        let (bytes, _) = frame_of(form, LIMIT + 1);
        // Where a length is announced its bytes are not even waited for.
        let announced = if name.starts_with("eof") || *name == "split" { LIMIT } else { 50 };
        client.send(&bytes[..announced])?;
        let farewell = last_words(&mut client)?;
        let wanted: &[u8] = match *name {
            "http" => b"HTTP/1.1 413 Request Entity Too Large\r\n\r\n",
            _ => b"",
        };
        assert_eq!(farewell, wanted, "{name}");
        await_ends(server, TOO_LARGE, count + 1)?;
    }
    Ok(())
}

/// Who breaks which protocol with what, what is answered, where it is wrong, and the code.
type Break = (&'static str, &'static [u8], &'static [u8], usize, &'static str, i32);

const BAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
const BREAKS: &[Break] = &[
    ("length", b"\xff\xff\xff\xffabc", b"", 0, "65536", TOO_LARGE),
    ("any", b"\0\0\0\0abcd", b"", 0, "0", SW_ERROR_PACKAGE_LENGTH_NOT_FOUND),
    ("wide", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"", 0, "negative (-1)", MALFORMED),
    ("signed", b"\xfe\xff\xff\xff\xff\xff\xff\xff", b"", 0, "negative (-2)", MALFORMED),
    ("function", b"12a:", b"", 0, "malformed (-1)", MALFORMED),
    ("http", b"NONSENSE / HTTP/1.1\r\n\r\n", BAD, 0, "no method", NO_REQUEST),
    ("http", b"GET / HTTP/3.0 \r\n\r\n", BAD, 11, "HTTP/1.1", NO_REQUEST),
    ("websocket", b"\x80\x81\x01\x02\x03\x04a", b"", 0, "continuation of nothing", MALFORMED),
    ("websocket", b"\x09\x80\x01\x02\x03\x04", b"", 0, "in fragments", MALFORMED),
    ("mqtt", b"\x30\x80\x80\x80\x80\x01", b"", 4, "four bytes", MALFORMED),
    ("redis", b"PING\r\n", b"", 0, "begin with *", MALFORMED),
    ("redis", b"*1\r\n$-2\r\n", b"", 4, "negative", MALFORMED),
];

pub fn what_breaks_a_protocol_ends_the_connection_and_is_told_once(server: &Running) -> Outcome {
    let lab = Lab::new(server)?;
    for (name, bytes, farewell, offset, what, code) in BREAKS {
        let before = ends(server, *code);
        let mut client = lab.connect(name)?;
        let peer = format!("127.0.0.1:{}", client.local_port()?);
        client.send(bytes)?;
        assert_eq!(last_words(&mut client)?, *farewell, "{name}");
        await_ends(server, *code, before + 1)?;
        let hex: String = bytes.iter().take(16).map(|byte| format!(" {byte:02x}")).collect();
        let more = if bytes.len() > 16 { " ..." } else { "" };
        let framer = SPEECHES[index_of(name) - 1].framer;
        let line =
            format!("{peer} broke {framer} framing at offset {offset}, first bytes{hex}{more}: ");
        let log = server.log();
        let told: Vec<&str> = log.lines().filter(|told| told.contains(&line)).collect();
        assert_eq!(told.len(), 1, "{name}: {log}");
        assert!(told[0].contains(what), "{}", told[0]);
    }
    // The others are served as before.
    for name in EXACT {
        let mut client = lab.connect(name)?;
        client.send(&frame(name, b"still.there"))?;
        expect(&mut client, &[unit(name, b"still.there")])?;
    }
    Ok(())
}

/// Many announce much and send little.
pub fn a_length_that_was_only_announced_costs_no_memory(server: &Running) -> Outcome {
    const PEERS: usize = 100;
    let mut lab = Lab::new(server)?;
    let mut peers = Vec::new();
    for name in ["any", "wide"] {
        for number in 0..10 {
            let mut client = lab.connect(name)?;
            lab.deliver(name, &mut client, &[0, 0])?;
            if number == 0 {
                peers.push(client);
            }
        }
    }
    let before = memory_bytes(server)?;
    for number in 0..PEERS {
        for (name, head) in [
            ("any", &[0x80, 0, 0, 0][..]),
            ("any", &[0xff, 0xff, 0xff, 0xff]),
            ("wide", &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xfb]),
        ] {
            let mut client = lab.connect(name)?;
            lab.deliver(name, &mut client, &[head, &[number as u8; 20]].concat())?;
            peers.push(client);
        }
    }
    let above = memory_bytes(server)?.saturating_sub(before);
    // A connection itself has less than a KiB and a half, unoptimised.
    assert!(above < (peers.len() * 4096 + MIB) as u64, "{above} bytes for {}", peers.len());
    assert_eq!(ends(server, TOO_LARGE), 0);
    // 2^63 - 1 and what does not fit into 63 bits is refused at once.
    for (head, code) in [
        ([0x7f, 0xff, 0xff, 0xff], TOO_LARGE),
        ([0xff; 4], MALFORMED),
        ([0x80, 0, 0, 0], MALFORMED),
    ] {
        let before = ends(server, code);
        let mut client = lab.connect("wide")?;
        let low = if head[0] == 0x80 { [0; 4] } else { [0xff; 4] };
        client.send(&[head, low].concat())?;
        assert_eq!(last_words(&mut client)?, b"");
        await_ends(server, code, before + 1)?;
    }
    Ok(())
}

pub fn a_websocket_peer_that_takes_its_leave_is_echoed_and_closed(server: &Running) -> Outcome {
    let lab = Lab::new(server)?;
    let mut client = lab.connect("websocket")?;
    let close = websocket_frame(0x88, &[3, 232]);
    let bytes = [
        websocket_frame(0x01, b"frag"),
        websocket_frame(0x80, b"ment"),
        websocket_frame(0x8b, b"unknown"),
        websocket_frame(0x82, b""),
        websocket_frame(0x89, b"ping"),
        close,
        websocket_frame(0x82, b"too late"),
    ];
    client.send(&bytes.concat())?;
    // The echo comes from where the connection is read, so the order of both is open.
    let words = last_words(&mut client)?;
    let echo: &[u8] = &[0x88, 2, 3, 232];
    let answers: Bytes = [&b"fragment"[..], b"", b"ping", &[3, 232]]
        .iter()
        .flat_map(|unit| answer_to(unit))
        .collect();
    let at = words.windows(echo.len()).position(|bytes| bytes == echo).ok_or("no echo")?;
    assert_eq!([&words[..at], &words[at + echo.len()..]].concat(), answers);
    await_ends(server, 0, 1)?;
    assert!(server.log().contains("sent a frame of an unknown opcode"));
    Ok(())
}

pub fn a_websocket_message_says_what_it_is(server: &Running) -> Outcome {
    let lab = Lab::new(server)?;
    let mut client = lab.connect("websocket")?;
    let mut ask = |frames: &[(u8, &[u8])], head: &[u8]| {
        let bytes: Vec<_> = frames.iter().map(|frame| websocket_frame(frame.0, frame.1)).collect();
        client.send(&bytes.concat())?;
        expect(&mut client, &[b"#head".to_vec(), head.to_vec()])
    };
    let (fin, compressed, masked) = (1, 4, 32);
    ask(&[(0x81, b"#head")], format!("1 {} 3", fin | masked).as_bytes())?;
    ask(&[(0x8a, b"#head")], format!("10 {} 3", fin | masked).as_bytes())?;
    let all = fin | compressed | masked;
    ask(&[(0x42, b"#he"), (0x80, b"ad")], format!("2 {all} 3").as_bytes())?;
    // Who does not ask for an upgrade speaks HTTP, on the same port.
    let mut plain = Client::connect(client.stream.peer_addr()?.port())?;
    let request = b"GET /#head HTTP/1.1\r\n\r\n";
    plain.send(request)?;
    expect(&mut plain, &[request.to_vec(), b"0 0 0".to_vec()])?;
    // The program takes its leave: the answer of the peer is not echoed.
    client.send(&websocket_frame(0x81, b"#leave"))?;
    expect(&mut client, &[b"#leave".to_vec()])?;
    assert_eq!(client.receive(FAREWELL.len())?, FAREWELL);
    client.send(&websocket_frame(0x81, b"#head"))?;
    expect(&mut client, &[b"#head".to_vec(), format!("1 {} 4", fin | masked).into_bytes()])?;
    client.send(&websocket_frame(0x88, &[3, 233]))?;
    assert_eq!(last_words(&mut client)?, b"");
    Ok(())
}

pub fn a_client_that_waits_for_a_word_is_told_to_go_on(server: &Running) -> Outcome {
    let lab = Lab::new(server)?;
    let mut client = lab.connect("http")?;
    for _ in 0..2 {
        let head = b"PUT / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
        client.send(head)?;
        let word = b"HTTP/1.1 100 Continue\r\n\r\n";
        assert_eq!(client.receive(word.len())?, word);
        client.send(b"bo")?;
        client.send(b"dy")?;
        expect(&mut client, &[[&head[..], b"body"].concat()])?;
    }
    Ok(())
}

extern "C-unwind" fn panic_at(_: *const u8, _: usize, _: *mut c_void) -> i64 {
    panic!("told to panic");
}

pub fn panicking(setup: &Setup) -> Outcome {
    let server = puppet::prepare(setup, &[("open_length_check", "true")], |_: Handle, _| {})?;
    assert!(sw_port_set_length_func(sw_server_port(server.raw, 0), Some(panic_at), 0 as _));
    puppet::run(&server)
}

/// In process mode the one that reads is the root.
pub fn a_length_function_that_panics_ends_its_process(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.send(b"anything")?;
    let status = server.wait_exit(STEP)?;
    assert_eq!(status.code(), Some(255));
    assert!(server.log().contains("the length callback was left"), "{}", server.log());
    let end = Instant::now() + STEP;
    while !server.descendants()?.is_empty() && Instant::now() < end {}
    let refused: Fallible<Client> = server.connect();
    assert!(refused.is_err());
    Ok(())
}
