//! Waiting for one task.

use crate::common::prelude::*;
use crate::puppet::life::{count_of, place_of, wait_for_lines, wait_for_log};
use crate::puppet::{ask, ask_until, connect_to, number, Gate};

pub fn a_wait_gets_the_first_answer_and_raises_no_event(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, "wait -1 5000 echo hello")?, "got hello");
    assert_eq!(ask(&mut client, "wait 1 5000 flags")?, "got 0");
    assert_eq!(ask(&mut client, "wait 0 5000 empty")?, "got ");
    assert_eq!(ask(&mut client, "wait 0 0 echo no limit")?, "got no limit");
    assert_eq!(ask(&mut client, "wait 0 5000 twice first")?, "got first");
    wait_for_lines(server, 1, "second answer: true")?;
    wait_for_log(server, |log| log.contains("task[4] has expired (error 2003)"))?;
    assert_eq!(ask(&mut client, "wait 0 5000 echo next")?, "got next");
    assert_eq!(count_of(server, "finish"), 0);
    ask_until(&mut client, "tasks", |told| told == "2 2 0 6")?;
    Ok(())
}

pub fn answers_of_any_size_come_to_whom_waits(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    for size in [100, 8151, 8152, 131_071, 131_072, 131_073, 524_288, 800_000, 20_000_001] {
        assert_eq!(ask(&mut client, &format!("large {size}"))?, format!("got {size} bytes"));
    }
    assert_eq!(ask(&mut client, "wait -1 20000 big 67108864")?, "got 67108864 bytes");
    // Nothing lies in files.
    assert_eq!(std::fs::read_dir(server.temporary()).map_or(0, Iterator::count), 0);
    Ok(())
}

pub fn a_wait_that_is_not_answered_ends_in_time(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, "wait -1 1 none")?, "error 2003");
    // Other tests run beside this one, so that not every wait can be in time.
    let mut shortest = u64::MAX;
    for _ in 0..30 {
        let took_ms: u64 = number(&ask(&mut client, "timed 50")?);
        assert!(took_ms >= 50, "{took_ms} ms");
        shortest = shortest.min(took_ms);
    }
    assert!(shortest < 70, "{shortest} ms");
    Ok(())
}

pub fn a_flood_of_answers_does_not_keep_a_wait_from_its_end(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    let task = format!("spout {}", gate.port()?);
    for (order, told) in [("list 300 TASK|none", "1: x,-\n"), ("wait -1 9000 TASK", "got x\n")] {
        client.send(format!("!{}", order.replace("TASK", &task)).as_bytes())?;
        // It floods until this is dropped.
        let _held = gate.wait()?;
        assert_eq!(String::from_utf8(client.receive(told.len())?)?, told);
    }
    Ok(())
}

/// Begins a wait for a task that hangs, and lets it run out.
fn run_out(
    client: &mut Client,
    task: &str,
) -> Result<Gate, Box<dyn std::error::Error + Send + Sync>> {
    let gate = Gate::new()?;
    let task = task.replacen("PORT", &gate.port()?.to_string(), 1);
    assert_eq!(ask(client, &format!("wait 0 30 {task}"))?, "error 2003");
    Ok(gate)
}

pub fn a_late_answer_ends_no_other_wait(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    for round in 1..=5 {
        let gate = run_out(&mut client, "hold PORT slow")?;
        let held = gate.wait()?;
        // The next wait has begun when the first answer comes.
        client.send(b"!said 0 20000 echo fast")?;
        client.receive("first\n".len())?;
        drop(held);
        assert_eq!(String::from_utf8(client.receive("got fast\n".len())?)?, "got fast\n");
        wait_for_lines(server, round, "late answer: true")?;
    }
    wait_for_log(server, |log| log.contains("task[0] has expired (error 2003)"))?;
    Ok(())
}

pub fn a_late_answer_in_pieces_is_dropped(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    for round in 1..=3 {
        let gate = run_out(&mut client, "held PORT 5000000")?;
        drop(gate.wait()?);
        wait_for_lines(server, round, "late answer: true")?;
        assert_eq!(ask(&mut client, "wait 0 20000 big 3000000")?, "got 3000000 bytes");
    }
    Ok(())
}

pub fn who_waits_has_said_all_and_handles_nothing(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let (mut other, _) = connect_to(server, 0)?;
    // Callbacks that were slow lately say everything at once; here that is over.
    (0..70).try_for_each(|_| ask(&mut client, "who").map(drop))?;
    let gate = Gate::new()?;
    client.send(format!("!said 0 20000 hold {} done", gate.port()?).as_bytes())?;
    let held = gate.wait()?;
    assert_eq!(client.receive("first\n".len())?, b"first\n");
    other.send(b"!co 20000 empty")?;
    assert_eq!(count_of(server, "waited"), 0);
    drop(held);
    wait_for_lines(server, 1, "done in 0")?;
    let lines = server.lines_so_far();
    assert!(place_of(&lines, "waited")? < place_of(&lines, "done in 0")?, "handled meanwhile");
    assert_eq!(client.receive("got done\n".len())?, b"got done\n");
    Ok(())
}

pub fn a_task_that_found_no_room_follows_while_its_worker_waits(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    ask(&mut client, &format!("give 0 hold {} x", gate.port()?))?;
    let held = gate.wait()?;
    // More than the inbox of a task worker takes.
    assert_eq!(ask(&mut client, "fill 0 40")?, "40");
    client.send(b"!said 0 20000 echo behind them")?;
    client.receive("first\n".len())?;
    drop(held);
    let answer = "got behind them\n";
    assert_eq!(client.receive(answer.len())?, answer.as_bytes());
    Ok(())
}

pub fn wrong_waits_are_refused(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    for target in [2, -2, i32::MAX, i32::MIN] {
        assert_eq!(ask(&mut client, &format!("wait {target} 100 echo x"))?, "error 505");
    }
    assert_eq!(ask(&mut client, "wait 0 NaN echo x")?, "error 505");
    assert_eq!(ask(&mut client, "list NaN echo x")?, "error 505");
    assert_eq!(ask(&mut client, "co NaN echo x")?, "505");
    // None was counted; a task worker may be starting still.
    ask_until(&mut client, "tasks", |told| told == "2 2 0 0")?;
    Ok(())
}

pub fn only_workers_wait(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let told = ask(&mut client, "wait -1 5000 wait")?;
    assert_eq!(told, "got error 507, error 507, error 507");
    wait_for_lines(server, 1, "manager waited: error 507")?;
    Ok(())
}

pub fn without_task_workers_nobody_waits(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, "wait -1 100 echo x")?, "error 507");
    assert_eq!(ask(&mut client, "list 100 echo x")?, "error 507");
    assert_eq!(ask(&mut client, "co 100 echo x")?, "507");
    Ok(())
}
