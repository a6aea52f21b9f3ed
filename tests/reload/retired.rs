//! What a worker may still do while its successor works beside it.

use crate::common::prelude::*;
use crate::common::process;
use crate::puppet::life::{count_of, manager_pid, wait_for_lines};
use crate::puppet::{ask, connect_to, number, pid_of, Gate, Held};
use std::time::Instant;

/// An order that the old worker 1 follows when it is released, and not before it has a successor.
fn retire_with(
    server: &Running,
    client: &mut Client,
    order: &str,
) -> Result<(Held, i32, i32), Box<dyn std::error::Error + Send + Sync>> {
    let old = pid_of(server, 1, 1)?;
    let gate = Gate::new()?;
    assert_eq!(ask(client, &format!("await {} {order}", gate.port()?))?, "true");
    let held = gate.wait()?;
    server.signal(libc::SIGUSR1)?;
    Ok((held, old, pid_of(server, 1, 2)?))
}

pub fn a_send_of_a_replaced_worker_arrives_behind_what_it_sent_before(server: &Running) -> Outcome {
    let (mut client, fd) = connect_to(server, 1)?;
    let (mut peer, peer_fd) = connect_to(server, 0)?;
    let order = format!("tell {peer_fd} last");
    let old = pid_of(server, 1, 1)?;
    let gate = Gate::new()?;
    assert_eq!(ask(&mut client, &format!("await {} {order}", gate.port()?))?, "true");
    let held = gate.wait()?;
    for _ in 0..100 {
        assert_eq!(ask(&mut client, &format!("tell {peer_fd} first"))?, "told");
    }
    server.signal(libc::SIGUSR1)?;
    let new = pid_of(server, 1, 2)?;
    assert_eq!(ask(&mut client, "who")?, format!("1 {new} {fd}"));
    drop(held);
    server.wait_line(|line| line == format!("did {old} {order}: told"), STEP)?;
    assert_eq!(peer.receive(504)?, [b"first".repeat(100), b"last".to_vec()].concat());
    wait_for_lines(server, 1, "after ")?;
    assert_eq!(count_of(server, "error "), 0);
    Ok(())
}

pub fn a_send_of_a_replaced_worker_is_counted(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    let (mut peer, peer_fd) = connect_to(server, 0)?;
    let order = format!("tell {peer_fd} late");
    let (held, old, _) = retire_with(server, &mut client, &order)?;
    let counts = |client: &mut Client| {
        let line = ask(client, "counts")?;
        Ok::<Vec<u64>, Box<dyn std::error::Error + Send + Sync>>(
            line.split(' ').map(number).collect(),
        )
    };
    // Nobody who was asked before still counts.
    pid_of(server, 0, 2)?;
    let before = counts(&mut client)?;
    drop(held);
    server.wait_line(|line| line == format!("did {old} {order}: told"), STEP)?;
    assert_eq!(peer.receive(4)?, b"late");
    // The answer with the counts before, and what the old worker has sent.
    assert_eq!(counts(&mut client)?[1..], [before[1] + 1, before[2] + 2]);
    Ok(())
}

pub fn a_close_by_a_replaced_worker_is_told_to_its_successor(server: &Running) -> Outcome {
    let (mut client, fd) = connect_to(server, 1)?;
    let (held, old, new) = retire_with(server, &mut client, "part 5")?;
    drop(held);
    assert_eq!(client.receive_to_end()?, b"ppppp");
    assert_eq!(wait_for_lines(server, 1, "closed: ")?, ["closed: true"]);
    assert_eq!(wait_for_lines(server, 1, "close ")?, [format!("close {fd} by {new}")]);
    server.wait_line(|line| line == format!("did {old} part 5: "), STEP)?;
    wait_for_lines(server, 1, "after ")?;
    assert_eq!(count_of(server, "close "), 1);
    Ok(())
}

/// The reactor takes nothing while the worker says something large and is replaced.
pub fn a_worker_that_is_not_heard_keeps_its_place_until_it_is(server: &Running) -> Outcome {
    const LENGTH: usize = 2_000_000;
    let (mut client, _) = connect_to(server, 1)?;
    let (said, stuck) = (Gate::new()?, Gate::new()?);
    let order = format!("await {} say {} {LENGTH}", said.port()?, stuck.port()?);
    assert_eq!(ask(&mut client, &order)?, "true");
    let held = said.wait()?;
    let manager = manager_pid(server)?;
    server.signal(libc::SIGSTOP)?;
    drop(held);
    drop(stuck.wait()?);
    process::send_signal(manager, libc::SIGUSR1)?;
    let end = Instant::now() + STEP;
    while !server.log().contains("a reactor has not taken in time") {
        assert!(Instant::now() < end, "the worker does not complain");
        std::thread::yield_now();
    }
    server.signal(libc::SIGCONT)?;
    assert!(client.receive(LENGTH)? == [b's'; LENGTH]);
    wait_for_lines(server, 1, "after ")?;
    pid_of(server, 1, 2)?;
    client.echo(b"by the successor")?;
    assert_eq!(count_of(server, "error "), 0);
    Ok(())
}
