//! What is spoken on the ports of the server under test, and the server itself.
//!
//! The first port is the puppet's, which does what it is told. On each of the others one protocol
//! is spoken: what comes is sent back behind its length, four bytes, the highest first. A message
//! that holds one of these words does something besides, behind its own answer:
//!
//! ```text
//! #who        is answered with worker, pid and session
//! #close      closes the connection
//! #pause      pauses it; it is resumed by the puppet
//! ```
//!
//! The puppet has more orders.
//!
//! ```text
//! !received PORT     bytes that came through that port
//! !resume FD         resumes a connection
//! !confirm FD        confirms one
//! !protect FD 1      exempts one from being idle; 0: no longer
//! !info FD           bytes that its worker was given and has not taken
//! ```

use crate::common::api::Handle;
use crate::common::prelude::*;
use crate::puppet::{self, number};
use std::ffi::{c_void, CString};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use swoole::ffi::control::*;
use swoole::ffi::port::*;

pub type Bytes = Vec<u8>;

/// The least that a port can have for the longest message.
pub const LIMIT: usize = 64 * 1024;
pub const MIB: usize = 1 << 20;

/// A port. Those with names of their own differ in their limits alone.
pub struct Speech {
    pub name: &'static str,
    /// How the library calls it.
    pub framer: &'static str,
    pub settings: &'static [(&'static str, &'static str)],
}

const fn speech(
    name: &'static str,
    framer: &'static str,
    settings: &'static [(&'static str, &'static str)],
) -> Speech {
    Speech { name, framer, settings }
}

const LEAST: (&str, &str) = ("package_max_length", "1");
const LENGTH: (&str, &str) = ("open_length_check", "true");
const ANY: (&str, &str) = ("package_max_length", "4294967295");
const WHOLE: (&str, &str) = ("package_body_offset", "0");

/// The ports, from the second on.
pub const SPEECHES: &[Speech] = &[
    speech("eof", "eof", &[LEAST, ("open_eof_check", "true")]),
    speech("split", "eof", &[LEAST, ("open_eof_split", "true"), ("package_eof", "\r\n")]),
    speech("length", "length", &[LEAST, LENGTH]),
    speech("function", "length", &[LEAST, LENGTH]),
    speech("http", "http", &[LEAST, ("open_http_protocol", "true")]),
    speech("websocket", "websocket", &[LEAST, ("open_websocket_protocol", "true")]),
    speech("mqtt", "mqtt", &[LEAST, ("open_mqtt_protocol", "true")]),
    speech("redis", "redis", &[LEAST, ("open_redis_protocol", "true")]),
    speech("large", "length", &[("package_max_length", "16M"), LENGTH]),
    speech("large eof", "eof", &[("package_max_length", "16M"), ("open_eof_split", "true")]),
    speech("large http", "http", &[("package_max_length", "16M"), ("open_http_protocol", "true")]),
    speech("any", "length", &[ANY, LENGTH, WHOLE]),
    speech("wide", "length", &[ANY, LENGTH, ("package_length_type", "J")]),
    speech("signed", "length", &[ANY, LENGTH, ("package_length_type", "q")]),
];

/// Those of which every message of some bytes is cut for itself.
pub const EXACT: &[&str] = &["split", "length", "function", "http", "websocket", "mqtt", "redis"];

/// The index of a port.
pub fn index_of(name: &str) -> usize {
    let index = SPEECHES.iter().position(|speech| speech.name == name);
    1 + index.unwrap_or_else(|| panic!("nobody speaks {name}"))
}

/// A message of that protocol, with letters.
pub fn frame(name: &str, body: &[u8]) -> Bytes {
    let text = |parts: &[&[u8]]| parts.concat();
    let length = |bytes: &[u8]| bytes.to_vec();
    match name {
        "eof" | "large eof" => text(&[body, b"\r\n\r\n"]),
        "split" => text(&[body, b"\r\n"]),
        "length" | "large" => text(&[&length(&(body.len() as u32).to_be_bytes()), body]),
        "any" => text(&[&length(&(body.len() as u32 + 4).to_be_bytes()), body]),
        "function" => text(&[format!("{}:", body.len()).as_bytes(), body]),
        "http" => text(&[b"GET /", body, b" HTTP/1.1\r\nHost: a\r\n\r\n"]),
        "large http" => {
            let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
            text(&[head.as_bytes(), body])
        }
        "websocket" => websocket_frame(0x82, body),
        "mqtt" => text(&[&[0x30], &mqtt_length(body.len()), body]),
        "redis" => {
            let head = format!("*2\r\n$3\r\nSET\r\n${}\r\n", body.len());
            text(&[head.as_bytes(), body, b"\r\n"])
        }
        other => panic!("nobody speaks {other}"),
    }
}

/// A message of exactly so many bytes, and what of it is handed over.
pub fn frame_of(name: &str, bytes: usize) -> (Bytes, Bytes) {
    let body = |overhead| vec![b'a'; bytes - overhead];
    let fits = |overhead: &usize| frame(name, &body(*overhead)).len() == bytes;
    let body = body((0..100).find(fits).expect("some overhead is right"));
    (frame(name, &body), unit(name, &body))
}

/// What is handed over of it.
pub fn unit(name: &str, body: &[u8]) -> Bytes {
    match name {
        "websocket" => body.to_vec(),
        _ => frame(name, body),
    }
}

/// How long a callback takes that holds the next one up.
const NAP: Duration = Duration::from_millis(100);

/// The close frame that the server sends.
pub const FAREWELL: &[u8] = &[0x88, 2, 3, 233];

pub fn websocket_frame(first: u8, body: &[u8]) -> Bytes {
    const KEY: [u8; 4] = [1, 2, 3, 4];
    let mut frame = vec![first];
    match body.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        medium @ 126..=65535 => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(KEY);
    frame.extend(body.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn mqtt_length(mut length: usize) -> Bytes {
    let mut bytes = Vec::new();
    loop {
        let low = (length & 127) as u8;
        length >>= 7;
        bytes.push(if length > 0 { low | 128 } else { low });
        if length == 0 {
            return bytes;
        }
    }
}

/// What a client says before its first message, and how much it is answered.
pub fn hello(name: &str) -> (&'static [u8], usize) {
    match name {
        "websocket" => (
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            b"HTTP/1.1 101 ".len(),
        ),
        _ => (b"", 0),
    }
}

/// What a message is answered with.
pub fn answer_to(unit: &[u8]) -> Bytes {
    [&(unit.len() as u32).to_be_bytes(), unit].concat()
}

/// The length of a text of digits, a colon and so many bytes.
extern "C-unwind" fn length_in_digits(data: *const u8, len: usize, mark: *mut c_void) -> i64 {
    assert_eq!(mark as usize, 77);
    // SAFETY: the library lends `len` bytes at `data` until the function returns.
    let bytes = unsafe { std::slice::from_raw_parts(data, len) };
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match bytes.get(digits) {
        None => 0,
        Some(b':') => {
            let text = std::str::from_utf8(&bytes[..digits]).unwrap_or("");
            text.parse::<i64>().map_or(-1, |length| length + digits as i64 + 1)
        }
        Some(_) => -1,
    }
}

/// Answers a message.
fn receive(server: Handle, event: &Event) {
    let has = |word: &[u8]| event.data().windows(word.len()).any(|bytes| bytes == word);
    // What is large has no words.
    let is_small = event.data().len() < 100;
    puppet::answer(server, event.fd(), &answer_to(event.data()));
    if is_small && has(b"#close") {
        report!("closed: {}", server.close(event.fd(), false).is_ok());
    }
    if is_small && has(b"#who") {
        let worker = server.worker_id();
        let line = format!("{worker} {} {}", server.worker_pid(worker), event.fd());
        puppet::answer(server, event.fd(), &answer_to(line.as_bytes()));
    }
    if is_small && has(b"#head") {
        let status = server.client_info(event.fd(), false).map(|info| info.websocket_status);
        let told = event.connection();
        let line = format!("{} {} {}", told.opcode, told.flags, status.unwrap_or(-1));
        puppet::answer(server, event.fd(), &answer_to(line.as_bytes()));
    }
    if is_small && has(b"#nap") {
        // A timer is due meanwhile.
        puppet::timers::after(server, 1, |_| {}).expect("a timer");
        std::thread::sleep(NAP);
    }
    if is_small && has(b"#age") {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let info = server.client_info(event.fd(), false).expect("its own");
        let times = [event.connection().dispatch_time, info.last_dispatch_time];
        let is_old = times.iter().all(|time| (NAP.as_secs_f64()..60.0).contains(&(now - time)));
        puppet::answer(server, event.fd(), &answer_to(is_old.to_string().as_bytes()));
    }
    if is_small && has(b"#leave") {
        puppet::answer(server, event.fd(), FAREWELL);
    }
    if is_small && has(b"#pause") {
        let is_paused = sw_server_pause(server.raw, event.fd());
        report!("paused {}: {is_paused}", event.fd());
    }
}

fn obey(server: Handle, event: &Event) {
    let text = String::from_utf8_lossy(event.data()).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = match *words.as_slice() {
        ["!received", port] => {
            let mut stats = sw_stats_t::default();
            let is_told = sw_port_stats(sw_server_port(server.raw, number(port)), &mut stats);
            assert!(is_told, "{}", api::last_error());
            stats.total_recv_bytes.to_string()
        }
        ["!resume", fd] => sw_server_resume(server.raw, number(fd)).to_string(),
        ["!confirm", fd] => sw_server_confirm(server.raw, number(fd)).to_string(),
        ["!protect", fd, on] => sw_server_protect(server.raw, number(fd), on != "0").to_string(),
        ["!info", fd] => match server.client_info(number(fd), false) {
            Ok(info) => info.recv_queued_bytes.to_string(),
            Err(error) => error.to_string(),
        },
        _ => return puppet::obey(server, event),
    };
    puppet::answer(server, event.fd(), format!("{line}\n").as_bytes());
}

fn set(port: *mut sw_port_t, name: &str, value: &str) -> bool {
    match value.parse() {
        Ok(value) => {
            let name = CString::new(name).expect("no NUL");
            sw_port_set_int(port, name.as_ptr(), value)
        }
        Err(_) => {
            let value = value.replace('\r', "\\r").replace('\n', "\\n");
            let json = format!("{{\"{name}\": \"{value}\"}}");
            sw_port_set_json(port, json.as_ptr().cast(), json.len())
        }
    }
}

fn add(server: Handle, host: &str, kind: i32, speech: &Speech) -> *mut sw_port_t {
    let host = CString::new(host).expect("no NUL");
    let port = sw_server_add_listener(server.raw, host.as_ptr(), 0, kind);
    assert!(!port.is_null(), "{}", api::last_error());
    for (name, value) in speech.settings {
        assert!(set(port, name, value), "{}", api::last_error());
    }
    if speech.name == "function" {
        let function = Some(length_in_digits as extern "C-unwind" fn(_, _, _) -> _);
        assert!(sw_port_set_length_func(port, function, 77 as *mut c_void));
    }
    let callback = receive as fn(Handle, &Event) as *mut c_void;
    let event = CString::new("receive").expect("no NUL");
    assert!(sw_port_on(port, event.as_ptr(), Some(api::call_back), callback));
    port
}

/// The server with these settings.
pub fn polyglot_with(setup: &Setup, settings: &[(&str, &str)]) -> Outcome {
    let server = puppet::prepare(setup, settings, obey)?;
    server.on("close", |server, event| {
        let code = server.client_info(event.fd(), true).map(|info| info.close_errno);
        let told = code.unwrap_or_else(|error| -error.code);
        report!("end {} reactor {} code {told}", event.fd(), event.connection().reactor_id);
    })?;
    if settings.iter().any(|(name, _)| *name == "enable_delay_receive") {
        server.on("connect", crate::flow::confirm_puppet)?;
    }
    for speech in SPEECHES {
        let port = add(*server, "127.0.0.1", SW_SOCK_TCP, speech);
        report!("port {} {}", speech.name.replace(' ', "_"), sw_port_number(port));
    }
    let path = std::env::temp_dir().join("framed");
    let path = path.to_str().expect("a text");
    add(*server, path, SW_SOCK_UNIX_STREAM, &SPEECHES[index_of("length") - 1]);
    puppet::run(&server)
}

pub fn polyglot(setup: &Setup) -> Outcome {
    polyglot_with(setup, &[])
}
