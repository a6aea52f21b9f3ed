//! A server that a service manager has started: listeners that it has opened, and what it is told.

mod common;

use common::prelude::*;
use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::sync::OnceLock;
use std::time::Instant;

const FIRST: RawFd = 200;
const INVALID: i32 = SW_ERROR_INVALID_PARAMS;

/// Leaves a copy of a descriptor at this number, inherited by what this program executes.
fn place(socket: &impl AsRawFd, number: RawFd) {
    // SAFETY: takes two numbers; what stands at the second one is not ours.
    assert_eq!(unsafe { libc::dup2(socket.as_raw_fd(), number) }, number);
}

/// Tells of descriptors as a service manager does.
fn announce(count: &str, first: Option<&str>) {
    env::set_var("LISTEN_PID", std::process::id().to_string());
    env::set_var("LISTEN_FDS", count);
    match first {
        Some(first) => env::set_var("LISTEN_FDS_START", first),
        None => env::remove_var("LISTEN_FDS_START"),
    }
}

fn complete(server: &Server) -> Outcome {
    server.set("worker_num", "2")?;
    server.on("start", |_, _| {})?;
    server.on("receive", |server, event| {
        if let Ok(info) = server.client_info(event.fd(), false) {
            report!("port {} type {}", info.server_port, info.socket_type);
        }
        report!("sent {}", server.send(event.fd(), event.data()).is_ok());
    })?;
    Ok(())
}

/// Twice: a datagram socket without an address, one that does not listen, one over TCP, a file, one
/// by a path.
fn adopt(setup: &Setup) -> Outcome {
    let path = env::temp_dir().join("adopted.sock");
    let tcp = TcpListener::bind(("127.0.0.1", setup.port))?;
    let unix = UnixListener::bind(&path)?;
    place(&UnixDatagram::unbound()?, FIRST);
    place(&TcpStream::connect(("127.0.0.1", setup.port))?, FIRST + 1);
    place(&tcp, FIRST + 2);
    place(&fs::File::open("/dev/null")?, FIRST + 3);
    place(&unix, FIRST + 4);
    drop((tcp, unix));
    announce("5", Some(&FIRST.to_string()));
    for _ in 0..2 {
        let server = Server::new("SystemD", 0, setup.mode.number(), SW_SOCK_TCP)?;
        complete(&server)?;
        for number in [FIRST + 2, FIRST + 4] {
            // SAFETY: they take numbers.
            let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
            // SAFETY: as above.
            let status = unsafe { libc::fcntl(number, libc::F_GETFL) };
            report!("flags {} {}", flags, status & libc::O_NONBLOCK != 0);
        }
        server.start()?;
        drop(server);
        report!("over, the path is there: {}", path.exists());
    }
    fs::remove_file(path)?;
    Ok(())
}

fn listeners_of_a_service_manager_are_served(server: &Running) -> Outcome {
    for turn in [1, 2] {
        server.wait_lines(turn, |line| line == "ready", STEP)?;
        Client::connect(server.port())?.echo(b"over tcp")?;
        let tcp = format!("port {} type {SW_SOCK_TCP}", server.port());
        server.wait_lines(turn, |line| line == tcp, STEP)?;
        let mut client = UnixStream::connect(server.temporary().join("adopted.sock"))?;
        client.set_read_timeout(Some(STEP))?;
        client.write_all(b"by path")?;
        let mut answer = [0; 7];
        client.read_exact(&mut answer)?;
        assert_eq!(&answer, b"by path");
        let unix = format!("port 0 type {SW_SOCK_UNIX_STREAM}");
        server.wait_lines(turn, |line| line == unix, STEP)?;
        server.signal(libc::SIGTERM)?;
        server.wait_lines(turn, |line| line == "over, the path is there: true", STEP)?;
    }
    let flags = format!("flags {} true", libc::FD_CLOEXEC);
    server.wait_lines(4, |line| line == flags, STEP)?;
    assert!(server.wait_exit(STEP)?.success());
    // The ones that are no listeners were left out, each time with a warning.
    for number in [FIRST, FIRST + 1, FIRST + 3] {
        let count = server.log().matches(&format!("descriptor {number} ")).count();
        assert_eq!(count, 2, "{number}: {}", server.log());
    }
    Ok(())
}

/// The report pipe may have the number.
fn adopt_the_third(setup: &Setup) -> Outcome {
    let tcp = TcpListener::bind(("127.0.0.1", setup.port))?;
    let report = env::var("SW_TEST_REPORT")?.parse()?;
    // SAFETY: takes a number.
    let moved = unsafe { libc::dup(report) };
    env::set_var("SW_TEST_REPORT", moved.to_string());
    if tcp.as_raw_fd() == 3 {
        std::mem::forget(tcp);
    } else {
        place(&tcp, 3);
    }
    announce("1", None);
    let server = Server::new("SYSTEMD", 0, setup.mode.number(), SW_SOCK_TCP)?;
    complete(&server)?;
    server.start()?;
    Ok(())
}

fn the_first_descriptor_is_3(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    Ok(())
}

fn adopt_in_vain(setup: &Setup) -> Outcome {
    let attempt = |what: &str| {
        let made = Server::new("SYSTEMD", 0, setup.mode.number(), SW_SOCK_TCP);
        let told =
            made.map_or_else(|error| format!("{} {}", error.code, error.message), |_| "ok".into());
        report!("{what}: {told}");
    };
    env::remove_var("LISTEN_PID");
    env::set_var("LISTEN_FDS", "1");
    attempt("no pid");
    env::set_var("LISTEN_PID", "1");
    attempt("foreign");
    announce("1", None);
    env::remove_var("LISTEN_FDS");
    attempt("no count");
    for (what, count, first) in [
        ("text", "three", None),
        ("zero", "0", None),
        ("below", "1", Some("-1")),
        ("beyond", "2147483647", Some("7")),
        ("closed", "2", Some("1000")),
    ] {
        announce(count, first);
        attempt(what);
    }
    place(&fs::File::open("/dev/null")?, FIRST);
    announce("1", Some(&FIRST.to_string()));
    attempt("file");
    Ok(())
}

fn descriptors_that_are_not_there_are_refused(server: &Running) -> Outcome {
    for (what, words) in [
        ("no pid", "LISTEN_PID is not set"),
        ("foreign", "not this process"),
        ("no count", "LISTEN_FDS is not set"),
        ("text", "no number"),
        ("zero", "no descriptors"),
        ("below", "no descriptors"),
        ("beyond", "no descriptors"),
        ("closed", "none of the descriptors"),
        ("file", "none of the descriptors"),
    ] {
        let start = format!("{what}: ");
        let line = server.wait_line(|line| line.starts_with(&start), STEP)?;
        assert!(line.starts_with(&format!("{what}: {INVALID} ")) && line.contains(words), "{line}");
    }
    assert!(server.wait_exit(STEP)?.success());
    Ok(())
}

/// Where the words for the service manager arrive.
static MANAGER: OnceLock<UnixDatagram> = OnceLock::new();

/// Reports what the service manager was told meanwhile.
fn report_words() {
    let mut text = [0; 512];
    while let Some(Ok(length)) = MANAGER.get().map(|manager| manager.recv(&mut text)) {
        report!("told {}", String::from_utf8_lossy(&text[..length]));
    }
}

fn serve(setup: &Setup, manager: UnixDatagram, name: &str) -> Outcome {
    manager.set_nonblocking(true)?;
    env::set_var("NOTIFY_SOCKET", name);
    MANAGER.set(manager).map_err(|_| "set twice")?;
    let server = setup.server()?;
    server.on("receive", |server, event| {
        report_words();
        report!("sent {}", server.send(event.fd(), event.data()).is_ok());
    })?;
    report!("pid {}", std::process::id());
    server.start()?;
    report_words();
    Ok(())
}

fn by_a_path(setup: &Setup) -> Outcome {
    let path = env::temp_dir().join("notify");
    let result = serve(setup, UnixDatagram::bind(&path)?, path.to_str().ok_or("no text")?);
    fs::remove_file(path)?;
    result
}

fn by_an_abstract_name(setup: &Setup) -> Outcome {
    let name = format!("swoole-test-notify-{}", setup.port);
    let address = SocketAddr::from_abstract_name(&name)?;
    serve(setup, UnixDatagram::bind_addr(&address)?, &format!("@{name}"))
}

fn an_abstract_name_is_found(server: &Running) -> Outcome {
    the_service_manager_is_told_what_happens(server)
}

fn the_service_manager_is_told_what_happens(server: &Running) -> Outcome {
    let ready = format!("told READY=1\\nMAINPID={}", server.pid());
    let mut client = server.connect()?;
    let end = Instant::now() + STEP;
    while !server.lines_so_far().contains(&ready) {
        assert!(Instant::now() < end, "{:?}", server.lines_so_far());
        client.echo(b"a turn of the loop")?;
    }
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    server.wait_line(|line| line == "told STOPPING=1", STEP)?;
    let lines = server.lines_so_far();
    let told: Vec<&String> = lines.iter().filter(|line| line.starts_with("told ")).collect();
    assert_eq!(told, [&ready, "told STOPPING=1"]);
    Ok(())
}

/// Microseconds of the clock that a service manager compares with.
fn now_us() -> u64 {
    // SAFETY: all-zero is a time.
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: the place outlives the call.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) }, 0);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// Has the server look what was told until so many words have come.
fn await_words(server: &Running, count: usize) -> Result<Vec<String>, String> {
    let end = Instant::now() + STEP;
    loop {
        let lines = server.lines_so_far();
        let told: Vec<String> =
            lines.iter().filter_map(|line| line.strip_prefix("told ")).map(str::to_owned).collect();
        if told.len() >= count {
            return Ok(told);
        }
        if Instant::now() > end {
            return Err(format!("told {told:?}"));
        }
        // It may be one that is closed by the reload.
        let client = Client::connect(server.port());
        let _ = client.map(|mut client| client.echo(b"a turn of the loop"));
    }
}

fn a_reload_is_told_from_its_begin_to_its_end(server: &Running) -> Outcome {
    server.connect()?;
    await_words(server, 1)?;
    let before = now_us();
    server.signal(libc::SIGUSR1)?;
    let told = await_words(server, 3)?;
    let time =
        told[1].strip_prefix("RELOADING=1\\nMONOTONIC_USEC=").ok_or_else(|| told[1].clone())?;
    assert!((before..=now_us()).contains(&time.parse()?), "{told:?}");
    assert_eq!(told[2], told[0]);
    assert!(told[0].starts_with("READY=1"), "{told:?}");
    Ok(())
}

fn to_nobody(setup: &Setup) -> Outcome {
    env::set_var("NOTIFY_SOCKET", "/nowhere/at/all");
    let server = setup.server()?;
    complete(&server)?;
    server.start()?;
    Ok(())
}

fn a_service_manager_that_is_not_there_holds_up_nothing(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let end = Instant::now() + STEP;
    while !server.log().contains("the service manager at NOTIFY_SOCKET was not told") {
        assert!(Instant::now() < end, "no warning");
        client.echo(b"a turn of the loop")?;
    }
    Ok(())
}

/// A start that fails is none.
fn in_vain(setup: &Setup) -> Outcome {
    let name = format!("swoole-test-notify-{}", setup.port);
    let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    manager.set_nonblocking(true)?;
    env::set_var("NOTIFY_SOCKET", format!("@{name}"));
    MANAGER.set(manager).map_err(|_| "set twice")?;
    let server = setup.server()?;
    complete(&server)?;
    // One that listens already, and the other does not share the port.
    let other = TcpListener::bind(("127.0.0.1", setup.port))?;
    report!("started {}", server.start().is_ok());
    drop(other);
    report_words();
    Ok(())
}

fn nobody_is_told_of_a_start_that_fails(server: &Running) -> Outcome {
    server.wait_line(|line| line == "started false", STEP)?;
    assert!(server.wait_exit(STEP)?.success());
    assert!(!server.lines_so_far().iter().any(|line| line.starts_with("told ")));
    Ok(())
}

server_tests! {
    listeners_of_a_service_manager_are_served: adopt;
    the_first_descriptor_is_3: adopt_the_third;
    descriptors_that_are_not_there_are_refused: adopt_in_vain, in [Mode::Base];
    the_service_manager_is_told_what_happens: by_a_path;
    a_reload_is_told_from_its_begin_to_its_end: by_a_path;
    an_abstract_name_is_found: by_an_abstract_name;
    a_service_manager_that_is_not_there_holds_up_nothing: to_nobody;
    nobody_is_told_of_a_start_that_fails: in_vain;
}
