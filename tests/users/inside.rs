//! What a user process can do.

use crate::api::{the, Process};
use crate::common::api::Handle;
use crate::common::{Event, Mode, Outcome, Running, Setup, STEP};
use crate::puppet::{self, ask, connect_to, number, pid_of, Gate};
use crate::{life, report, USER};
use swoole::ffi::server::sw_server_stop;

/// Answers an order that asks something.
pub fn answer_of(server: Handle, process: Process, fd: i64, order: &str) -> String {
    let words: Vec<&str> = order.split(' ').collect();
    match *words {
        ["id"] => {
            let own = server.worker_pid(-1);
            assert_eq!(own, process.pid());
            let ids = (0..10).filter(|id| server.worker_pid(*id) == own);
            let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
            format!("{} {} {own}", server.worker_id(), ids.join(","))
        }
        ["stats"] => {
            let stats = server.stats().expect("stats");
            format!("{} {} {}", stats.worker_num, stats.user_worker_num, stats.connection_num)
        }
        ["list"] => format!("{:?}", server.client_list(0, 100).expect("a list")),
        ["exist", other] => server.exist(number(other)).to_string(),
        ["info", other] => match server.client_info(number(other), false) {
            Ok(info) => format!("port {}", info.remote_port),
            Err(error) => error.code.to_string(),
        },
        ["stop", worker] => match sw_server_stop(server.raw, number(worker), true) {
            true => "stopped".to_owned(),
            false => server.last_error().to_string(),
        },
        ["running"] => format!("{} {}", server.is_running(), server.last_error()),
        ["shutdown"] => {
            server.shutdown().expect("a running server");
            "asked".to_owned()
        }
        ["signals"] => signals(),
        ["push", other, length, port] => {
            report!("pushing");
            let sent = server.send(number(other), &vec![b's'; number(length)]);
            report!("pushed {}", sent.is_ok());
            puppet::hold(number(port));
            "released".to_owned()
        }
        _ => panic!("unknown order {order:?} of {fd}"),
    }
}

/// What this process does with signals that end a program, and which it does not let through.
fn signals() -> String {
    let handler = |signal| {
        // SAFETY: all-zero is a disposition; it is filled before it is read.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: asks only, into a place of the right type.
        assert_eq!(unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) }, 0);
        action.sa_sigaction
    };
    let plain = [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGCHLD];
    assert!(plain.iter().all(|signal| handler(*signal) == libc::SIG_DFL));
    assert_eq!(handler(libc::SIGPIPE), libc::SIG_IGN);
    // SAFETY: all-zero is a set; it is filled before it is read.
    let mut mask: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: asks only, into a place of the right type.
    assert_eq!(unsafe { libc::sigprocmask(libc::SIG_SETMASK, std::ptr::null(), &mut mask) }, 0);
    // SAFETY: a filled set and a signal.
    let is_blocked = |signal: &&i32| unsafe { libc::sigismember(&mask, **signal) } == 1;
    format!("{} blocked", plain.iter().filter(is_blocked).count())
}

pub fn its_signals_are_those_of_a_plain_program(server: &Running) -> Outcome {
    assert_eq!(ask(&mut server.connect()?, "user signals")?, "0 blocked");
    Ok(())
}

pub fn it_sees_what_workers_see(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let mut other = server.connect()?;
    let fd: i64 = number(ask(&mut other, "who")?.rsplit(' ').next().unwrap_or(""));
    let pid = life(server, 1)?;
    assert_eq!(ask(&mut client, "user running")?, "true 0");
    assert_eq!(ask(&mut client, "user id")?, format!("-1 {USER} {pid}"));
    assert_eq!(ask(&mut client, "user stats")?, "2 1 2");
    // In BASE mode a process sees its own connections alone, and this one has none.
    let sees_all = server.mode() != Mode::Base;
    let list = if sees_all { "[1, 2]" } else { "[]" };
    assert_eq!(ask(&mut client, "user list")?, list);
    assert_eq!(ask(&mut client, &format!("user exist {fd}"))?, sees_all.to_string());
    let port = format!("port {}", other.local_port()?);
    let info = ask(&mut client, &format!("user info {fd}"))?;
    assert_eq!(info, if sees_all { port.as_str() } else { "1005" });
    // The workers know it, too.
    assert_eq!(ask(&mut client, &format!("pid {USER}"))?, pid.to_string());
    Ok(())
}

pub fn it_stops_workers_and_cannot_be_stopped(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    let pid = life(server, 1)?;
    for order in [format!("user stop {USER}"), "user stop -1".to_owned()] {
        let code = if order.ends_with("-1") { 509 } else { 507 };
        assert_eq!(ask(&mut client, &order)?, code.to_string());
    }
    assert_eq!(ask(&mut client, "user stop 9")?, "505");
    let (mut client, _) = connect_to(server, 1)?;
    assert_eq!(ask(&mut client, "user stop 0")?, "stopped");
    pid_of(server, 0, 2)?;
    assert_eq!(ask(&mut client, &format!("pid {USER}"))?, pid.to_string());
    Ok(())
}

pub fn it_closes_connections(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    for worker in [0, 1] {
        let (mut other, fd) = connect_to(server, worker)?;
        client.send(format!("!user part {fd}").as_bytes())?;
        server.wait_line(|line| line == format!("parted {fd}: true"), STEP)?;
        assert_eq!(other.receive_to_end()?, b"last\n");
        server.wait_line(|line| line == format!("close {fd}"), STEP)?;
        let (mut idle, fd) = connect_to(server, worker)?;
        client.send(format!("!user close {fd}").as_bytes())?;
        assert_eq!(idle.receive_to_end()?, b"");
        server.wait_line(|line| line == format!("closed {fd}: true"), STEP)?;
    }
    Ok(())
}

pub fn it_ends_the_server(server: &Running) -> Outcome {
    // Nothing is expected to come back: SIGTERM may be faster.
    let mut client = server.connect()?;
    client.send(b"!user shutdown")?;
    assert!(server.wait_exit(STEP)?.success());
    server.wait_line(|line| line == "returned, left: []", STEP)?;
    let lines = server.lines_so_far();
    assert_eq!(lines.iter().filter(|line| *line == "shutdown").count(), 1);
    Ok(())
}

/// The worker of the peer is stuck while the user process sends more than fits into any lane; then
/// the user process is stuck itself.
pub fn what_it_sends_arrives_while_it_waits_for_something_else(server: &Running) -> Outcome {
    const LENGTH: usize = 2 << 20;
    let (mut client, _) = connect_to(server, 0)?;
    let (mut peer, fd) = connect_to(server, 1)?;
    let gate = Gate::new()?;
    let held = puppet::hold_worker(&mut peer)?;
    client.send(format!("!user push {fd} {LENGTH} {}", gate.port()?).as_bytes())?;
    server.wait_line(|line| line == "pushing", STEP)?;
    drop(held);
    let user = gate.wait()?;
    server.wait_line(|line| line == "pushed true", STEP)?;
    let answer = [b"released\n".as_slice(), &[b's'; 1].repeat(LENGTH)].concat();
    let mut back = peer.receive(answer.len())?;
    let mut expected = answer;
    back.sort_unstable();
    expected.sort_unstable();
    assert!(back == expected);
    drop(user);
    Ok(())
}

/// Each worker waits in its callback for the user process, which sends to connections of this very
/// worker more than any lane takes.
pub fn wait_for_each_other(setup: &Setup) -> Outcome {
    fn on_receive(server: Handle, event: &Event) {
        match event.data() {
            b"wait" => {
                the().tell(event.fd(), b"send 3000000").expect("the pipe");
                the().tell(event.fd(), b"write").expect("the pipe");
                let (fd, word) = the().next().expect("a word of the user process");
                report!("waited for {}", fd == event.fd() && word == b"done");
            }
            _ => the().tell(event.fd(), b"echo flushed").expect("the pipe"),
        }
        assert!(server.exist(event.fd()));
    }
    fn body(server: Handle, process: Process) {
        while let Some((fd, order)) = process.next() {
            match order.as_slice() {
                b"write" => process.tell(fd, b"done").expect("the pipe"),
                b"send 3000000" => puppet::answer(server, fd, &[b's'; 3_000_000]),
                _ => puppet::answer(server, fd, b"flushed\n"),
            }
        }
    }
    let server = puppet::prepare(setup, &[], on_receive)?;
    Process::start_with(*server, body)?;
    puppet::run(&server)
}

pub fn a_worker_that_waits_for_it_is_not_waited_for_in_vain(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.send(b"wait")?;
    server.wait_line(|line| line == "waited for true", STEP)?;
    client.send(b"flush")?;
    let bytes = client.receive(3_000_000 + b"flushed\n".len())?;
    assert!(bytes.ends_with(b"sflushed\n"));
    Ok(())
}
