//! Processes that die: what their successors take over, what is lost with them, who goes with them.

mod common;
#[path = "crash/ledger.rs"]
mod ledger;
mod puppet;

use common::prelude::*;
use common::process;
use ledger::{laborious, nothing_but_the_messages_in_the_hands_of_killed_workers_is_lost};
use puppet::{
    ask, ask_until, connect_to, hold_worker, kill, pid_now, pid_of, poll, puppet, Gate, NO_TEXT,
};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

/// A killed worker has a successor within this time, and the quickest of several within the second.
const REPLACED: Duration = Duration::from_secs(1);
const REPLACED_QUICKLY: Duration = Duration::from_millis(50);
const LEAST_KILLS: usize = 5;
const MOST_KILLS: usize = 50;
/// Nothing outlives the master for longer.
const ORPHANED: Duration = Duration::from_secs(1);

fn a_killed_worker_is_back_in_milliseconds(server: &Running) -> Outcome {
    // The start event is raised once: a first worker killed amid it would not report.
    server.wait_line(|line| line == "ready", STEP)?;
    let mut pids = vec![pid_of(server, 0, 1)?];
    let mut times: Vec<Duration> = Vec::new();
    let is_quick = |times: &[Duration]| times.iter().any(|time| *time < REPLACED_QUICKLY);
    // On a machine that is busy with other things it takes a few more to see a quick one.
    while times.len() < LEAST_KILLS || (!is_quick(&times) && times.len() < MOST_KILLS) {
        let begin = Instant::now();
        kill(pids[pids.len() - 1])?;
        pids.push(pid_of(server, 0, pids.len() + 1)?);
        times.push(begin.elapsed());
        // A pause between two kills: whoever kills does not wait for more than the new pid.
        poll(&[], 0, 10)?;
    }
    println!("{:?}: replaced after {times:?}", server.mode());
    assert!(times.iter().all(|time| *time < REPLACED), "{times:?}");
    assert!(is_quick(&times), "{times:?}");
    let kills = times.len();
    let errors = server.wait_lines(kills, |line| line.starts_with("error "), STEP)?;
    let expected = |pid: &i32| format!("error 0 {pid} code 0 signal 9 status 9");
    assert_eq!(errors, pids[..kills].iter().map(expected).collect::<Vec<_>>());
    let (mut client, fd) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, "who")?, format!("0 {} {fd}", pids[kills]));
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), kills + 1);
    Ok(())
}

fn the_program_is_told_how_a_worker_ended(server: &Running) -> Outcome {
    let ends = [
        ("exit 255", "255 signal 0"),
        ("exit 1", "1 signal 0"),
        ("abort", "0 signal 6"),
        ("panic", "255 signal 0"),
    ];
    for (count, (order, end)) in ends.iter().enumerate() {
        let (mut client, _) = connect_to(server, 1)?;
        let pid = pid_now(server, 1)?;
        client.send(format!("!{order}").as_bytes())?;
        let is_error = |line: &str| line.starts_with("error ");
        let lines = server.wait_lines(count + 1, is_error, STEP)?;
        let told = format!("error 1 {pid} code {end} status ");
        assert!(lines[count].starts_with(&told), "{} is not {told}", lines[count]);
        pid_of(server, 1, count + 2)?;
    }
    Ok(())
}

fn a_worker_that_ends_without_failure_is_replaced_without_an_error(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    client.send(b"!exit 0")?;
    let second = pid_of(server, 1, 2)?;
    process::send_signal(second, libc::SIGTERM)?;
    server.wait_line(|line| line == format!("stop 1 {second}"), STEP)?;
    let third = pid_of(server, 1, 3)?;
    // Errors are told in order: had there been others, they would stand before this one.
    kill(third)?;
    let first = server.wait_line(|line| line.starts_with("error "), STEP)?;
    assert_eq!(first, format!("error 1 {third} code 0 signal 9 status 9"));
    Ok(())
}

/// Sends frames to the worker of these connections while it is stuck, until all have left the
/// sockets and wait for the worker.
fn pile_up(clients: &mut [Client], control: &mut Client, frames: u8) -> Outcome {
    let stats = ask(control, "stats")?;
    let dispatched = |line: &str| puppet::number::<usize>(line.rsplit(' ').next().unwrap_or(""));
    // Each connection was dispatched at least one message; `stats` itself counts, too.
    let before = dispatched(&stats);
    for number in 0..frames {
        for client in clients.iter_mut() {
            client.send(&[NO_TEXT, number])?;
        }
    }
    let least = before + clients.len() + 1;
    ask_until(control, "stats", |line| dispatched(line) >= least)?;
    Ok(())
}

fn what_waits_for_a_killed_worker_is_answered_by_its_successor(server: &Running) -> Outcome {
    const FRAMES: u8 = 10;
    let (mut control, _) = connect_to(server, 0)?;
    let (mut stuck, stuck_fd) = connect_to(server, 1)?;
    let clients: Result<Vec<_>, _> = (0..20).map(|_| connect_to(server, 1)).collect();
    let mut clients: Vec<Client> = clients?.into_iter().map(|(client, _)| client).collect();
    let held = hold_worker(&mut stuck)?;
    pile_up(&mut clients, &mut control, FRAMES)?;
    kill(pid_of(server, 1, 1)?)?;
    let sent: Vec<u8> = (0..FRAMES).flat_map(|number| [NO_TEXT, number]).collect();
    for client in &mut clients {
        assert_eq!(client.receive(sent.len())?, sent);
        client.echo(b"nothing came twice")?;
    }
    // The order in the dead worker's hands has no answer; its connection serves on.
    let pid = pid_of(server, 1, 2)?;
    assert_eq!(ask(&mut stuck, "who")?, format!("1 {pid} {stuck_fd}"));
    drop(held);
    Ok(())
}

/// The end of the server does not change that: nobody else would answer what was taken.
fn what_waits_for_a_worker_killed_during_the_end_is_answered(server: &Running) -> Outcome {
    let (mut control, _) = connect_to(server, 0)?;
    let (mut stuck, _) = connect_to(server, 1)?;
    let clients: Result<Vec<_>, _> = (0..20).map(|_| connect_to(server, 1)).collect();
    let mut clients: Vec<Client> = clients?.into_iter().map(|(client, _)| client).collect();
    let _held = hold_worker(&mut stuck)?;
    // One each, so that all of them are known to be taken.
    pile_up(&mut clients, &mut control, 1)?;
    server.signal(libc::SIGTERM)?;
    // The other worker has been told to end, and so has this one.
    server.wait_line(|line| line.starts_with("stop 0 "), STEP)?;
    kill(pid_of(server, 1, 1)?)?;
    for client in &mut clients {
        assert_eq!(client.receive_to_end()?, [NO_TEXT, 0]);
    }
    assert_eq!(stuck.receive_to_end()?, b"");
    assert!(server.wait_exit(STEP)?.success());
    let successor = pid_of(server, 1, 2)?;
    let lines = server.lines_so_far();
    assert!(lines.contains(&format!("stop 1 {successor}")), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("worker ")).count(), 3);
    Ok(())
}

/// What a client sends while its worker is stuck and its lane is full waits in the sockets.
fn a_successor_reads_on_where_the_lane_was_full(server: &Running) -> Outcome {
    let (mut stuck, _) = connect_to(server, 1)?;
    let (mut client, _) = connect_to(server, 1)?;
    let _held = hold_worker(&mut stuck)?;
    let sent: Vec<u8> = (0..2_000_000_u32).flat_map(|n| (n | 0x8080_8080).to_be_bytes()).collect();
    let mut writer = client.stream.try_clone()?;
    let back = std::thread::scope(|scope| {
        let sent = &sent;
        let sending = scope.spawn(move || writer.write_all(sent));
        // More than the sockets and the lane take cannot have left while the worker is stuck.
        let is_on_its_way = poll(&[client.stream.as_raw_fd()], libc::POLLIN, 300)?;
        assert!(is_on_its_way.is_empty() && !sending.is_finished());
        kill(pid_of(server, 1, 1)?)?;
        let back = client.receive(sent.len())?;
        sending.join().map_err(|_| "the sender panicked")??;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(back)
    })?;
    assert!(back == sent, "what came back is not what was sent");
    Ok(())
}

fn a_reply_that_was_sent_before_the_kill_arrives_once(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    for life in 1..=5 {
        let gate = Gate::new()?;
        client.send(format!("!say {} 100", gate.port()?).as_bytes())?;
        let _held = gate.wait()?;
        kill(pid_of(server, 1, life)?)?;
        assert_eq!(client.receive(100)?, [b's'; 100]);
        client.echo(b"once")?;
    }
    Ok(())
}

/// A reply that is larger than a lane travels in pieces, and some of them are gone with the worker.
fn half_of_a_large_reply_never_reaches_the_client(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    for life in 1..=3 {
        let gate = Gate::new()?;
        client.send(format!("!say {} 3000000", gate.port()?).as_bytes())?;
        let _held = gate.wait()?;
        kill(pid_of(server, 1, life)?)?;
        client.echo(&[NO_TEXT; 2_000_000])?;
    }
    Ok(())
}

/// Whatever happens to the connections of this test, only that of the control is left.
fn expect_control_alone(control: &mut Client) -> Outcome {
    ask_until(control, "stats", |line| line.starts_with("1 "))?;
    Ok(())
}

/// Has the next close callback of a worker wait at a gate: that of this client, so those of earlier
/// connections have to be over.
fn arm_close(
    control: &mut Client,
    client: &mut Client,
) -> Result<Gate, Box<dyn std::error::Error + Send + Sync>> {
    ask_until(control, "stats", |line| line.starts_with("2 "))?;
    let gate = Gate::new()?;
    assert_eq!(ask(client, &format!("arm close {}", gate.port()?))?, "armed");
    Ok(gate)
}

fn a_worker_killed_in_its_close_callback_leaves_no_connection(server: &Running) -> Outcome {
    let (mut control, _) = connect_to(server, 0)?;
    let (mut client, fd) = connect_to(server, 1)?;
    let gate = arm_close(&mut control, &mut client)?;
    drop(client);
    let _held = gate.wait()?;
    kill(pid_now(server, 1)?)?;
    expect_control_alone(&mut control)?;
    assert_eq!(ask(&mut control, &format!("exist {fd}"))?, "false");
    let close = format!("close {fd}");
    assert_eq!(server.lines_so_far().iter().filter(|line| **line == close).count(), 1);
    Ok(())
}

fn a_worker_killed_while_it_closes_a_connection_leaves_none(server: &Running) -> Outcome {
    let (mut control, _) = connect_to(server, 0)?;
    let (mut client, _) = connect_to(server, 1)?;
    let gate = arm_close(&mut control, &mut client)?;
    client.send(b"!close")?;
    let _held = gate.wait()?;
    kill(pid_now(server, 1)?)?;
    assert_eq!(client.receive_to_end()?, b"");
    expect_control_alone(&mut control)
}

/// Here the lane to the reactor is full when the worker closes: nobody else knows that it does.
fn a_worker_killed_with_a_close_on_its_way_leaves_no_connection(server: &Running) -> Outcome {
    let (mut control, _) = connect_to(server, 0)?;
    let (mut client, _) = connect_to(server, 1)?;
    let gate = arm_close(&mut control, &mut client)?;
    client.send(b"!part 3000000")?;
    let _held = gate.wait()?;
    kill(pid_now(server, 1)?)?;
    assert_eq!(client.receive_to_end()?, b"");
    expect_control_alone(&mut control)
}

fn a_worker_killed_in_its_connect_callback_leaves_the_connection(server: &Running) -> Outcome {
    let (mut control, _) = connect_to(server, 0)?;
    let (mut first, _) = connect_to(server, 1)?;
    let gate = Gate::new()?;
    assert_eq!(ask(&mut first, &format!("arm connect {}", gate.port()?))?, "armed");
    // One of the next connections is that worker's; the others are served.
    let mut clients = Vec::new();
    while poll(&[gate.as_raw_fd()], libc::POLLIN, 50)?.is_empty() {
        clients.push(server.connect()?);
    }
    let _held = gate.wait()?;
    for client in &mut clients {
        client.send(b"echo")?;
    }
    kill(pid_now(server, 1)?)?;
    for client in &mut clients {
        assert_eq!(client.receive(4)?, b"echo");
    }
    drop((clients, first));
    expect_control_alone(&mut control)
}

fn connections_that_end_while_their_worker_dies_do_not_leak(server: &Running) -> Outcome {
    let (mut control, _) = connect_to(server, 0)?;
    for life in 1..=5 {
        let clients: Result<Vec<Client>, _> = (0..50).map(|_| server.connect()).collect();
        let mut clients = clients?;
        for client in &mut clients {
            client.send(b"some are answered, some are not")?;
        }
        let late = clients.split_off(25);
        drop(clients);
        kill(pid_of(server, 1, life)?)?;
        drop(late);
        expect_control_alone(&mut control)?;
    }
    Ok(())
}

fn a_killed_worker_takes_its_own_connections_along_and_no_other(server: &Running) -> Outcome {
    let (mut control, control_fd) = connect_to(server, 0)?;
    let (mut client, fd) = connect_to(server, 1)?;
    let _held = hold_worker(&mut client)?;
    assert_eq!(ask(&mut control, &format!("tell {fd} hello"))?, "told");
    kill(pid_of(server, 1, 1)?)?;
    // The end or a reset, and nothing before it.
    assert!(!matches!(client.stream.read(&mut [0; 10]), Ok(1..)));
    expect_control_alone(&mut control)?;
    assert_eq!(ask(&mut control, &format!("exist {fd}"))?, "false");
    let refusal = ask(&mut control, &format!("tell {fd} hello"))?;
    assert!(refusal.starts_with("100"), "{refusal}");
    control.echo(b"the others live on")?;
    pid_of(server, 1, 2)?;
    let (mut late, late_fd) = connect_to(server, 1)?;
    late.echo(b"and new ones come")?;
    assert_ne!(late_fd, fd);
    assert_eq!(ask(&mut control, &format!("exist {control_fd}"))?, "true");
    Ok(())
}

/// In base mode worker 0 stands for the master.
fn who_follows_a_killed_worker_0_is_known_as_the_master(server: &Running) -> Outcome {
    let (mut other, _) = connect_to(server, 1)?;
    for life in 1..=3 {
        let pid = pid_of(server, 0, life)?;
        assert_eq!(ask(&mut other, "master")?, pid.to_string());
        kill(pid)?;
        // It says so before its first callback, and its parent may do so before that.
        let successor = pid_of(server, 0, life + 1)?;
        assert_eq!(ask(&mut other, "master")?, successor.to_string());
    }
    Ok(())
}

fn a_manager_that_is_told_to_end_ends_the_server_in_order(server: &Running) -> Outcome {
    let mut client = server.connect()?;
    client.echo(b"before")?;
    let workers = [pid_of(server, 0, 1)?, pid_of(server, 1, 1)?];
    let manager = server.wait_line(|line| line.starts_with("manager "), STEP)?;
    process::send_signal(puppet::number(manager.trim_start_matches("manager ")), libc::SIGTERM)?;
    server.wait_line(|line| line.starts_with("returned"), STEP)?;
    assert!(server.wait_exit(STEP)?.success());
    let lines = server.lines_so_far();
    let place =
        |wanted: &str| lines.iter().position(|line| line == wanted).ok_or(wanted.to_owned());
    let stops =
        [place(&format!("stop 0 {}", workers[0]))?, place(&format!("stop 1 {}", workers[1]))?];
    let manager_stop = place("manager stop")?;
    assert!(stops.iter().all(|stop| *stop < manager_stop));
    assert!(manager_stop < place("shutdown")?);
    assert!(place("shutdown")? < place("returned, left: []")?);
    assert!(!lines.iter().any(|line| line.starts_with("error")));
    Ok(())
}

fn nothing_outlives_a_killed_master(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    server.connect()?.echo(b"before")?;
    let others = server.descendants()?;
    let _held = hold_worker(&mut client)?;
    let begin = Instant::now();
    server.signal(libc::SIGKILL)?;
    for process in &others {
        let left = ORPHANED.saturating_sub(begin.elapsed());
        assert!(process::wait_gone(process.pid, left)?, "{process:?} outlives the master");
    }
    assert_eq!(server.wait_exit(ORPHANED)?.signal(), Some(libc::SIGKILL));
    println!("{:?}: {} others gone after {:?}", server.mode(), others.len(), begin.elapsed());
    server.assert_nothing_left()?;
    Ok(())
}

/// Waits until a process is in a state, as `/proc` names it.
fn wait_state(pid: i32, is_it: impl Fn(u8) -> bool) -> Outcome {
    let end = Instant::now() + STEP;
    while Instant::now() < end {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.bytes().next());
        if state.is_some_and(&is_it) {
            return Ok(());
        }
        std::thread::yield_now();
    }
    Err(format!("process {pid} did not change its state").into())
}

fn a_process_that_is_stopped_goes_on_where_it_was(server: &Running) -> Outcome {
    let (mut client, fd) = connect_to(server, 1)?;
    let worker = pid_of(server, 1, 1)?;
    let stopped = match server.mode() {
        // There workers are threads of the one process.
        Mode::Thread => vec![server.pid()],
        Mode::Base | Mode::Process => vec![worker, server.pid()],
    };
    for pid in stopped {
        process::send_signal(pid, libc::SIGSTOP)?;
        wait_state(pid, |state| state == b'T')?;
        client.send(&[NO_TEXT; 1000])?;
        process::send_signal(pid, libc::SIGCONT)?;
        assert_eq!(client.receive(1000)?, [NO_TEXT; 1000]);
        assert_eq!(ask(&mut client, "who")?, format!("1 {worker} {fd}"));
    }
    server.connect()?.echo(b"new ones come")?;
    Ok(())
}

server_tests! {
    // A panic of what was not called back is the program's own.
    [both_faces but the_program_is_told_how_a_worker_ended];
    // A worker that is a thread cannot be killed alone.
    a_killed_worker_is_back_in_milliseconds: puppet, in [Mode::Process, Mode::Base];
    the_program_is_told_how_a_worker_ended: puppet, in [Mode::Process, Mode::Base];
    a_worker_that_ends_without_failure_is_replaced_without_an_error: puppet,
        in [Mode::Process, Mode::Base];
    // Only there connections outlive their worker.
    what_waits_for_a_killed_worker_is_answered_by_its_successor: puppet, in [Mode::Process];
    what_waits_for_a_worker_killed_during_the_end_is_answered: puppet, in [Mode::Process];
    a_successor_reads_on_where_the_lane_was_full: puppet, in [Mode::Process];
    a_reply_that_was_sent_before_the_kill_arrives_once: puppet, in [Mode::Process];
    half_of_a_large_reply_never_reaches_the_client: puppet, in [Mode::Process];
    nothing_but_the_messages_in_the_hands_of_killed_workers_is_lost: laborious, in [Mode::Process];
    a_worker_killed_in_its_connect_callback_leaves_the_connection: puppet, in [Mode::Process];
    a_worker_killed_in_its_close_callback_leaves_no_connection: puppet,
        in [Mode::Process, Mode::Base];
    a_worker_killed_while_it_closes_a_connection_leaves_none: puppet,
        in [Mode::Process, Mode::Base];
    a_worker_killed_with_a_close_on_its_way_leaves_no_connection: puppet, in [Mode::Process];
    connections_that_end_while_their_worker_dies_do_not_leak: puppet,
        in [Mode::Process, Mode::Base];
    // There connections die with their worker.
    a_killed_worker_takes_its_own_connections_along_and_no_other: puppet, in [Mode::Base];
    who_follows_a_killed_worker_0_is_known_as_the_master: puppet, in [Mode::Base];
    // Only there the manager is a process of its own.
    a_manager_that_is_told_to_end_ends_the_server_in_order: puppet, in [Mode::Process];
    nothing_outlives_a_killed_master: puppet;
    a_process_that_is_stopped_goes_on_where_it_was: puppet;
}
