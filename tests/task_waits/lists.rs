//! Lists of tasks: waited for, or told together.

use super::serving::prepare;
use crate::common::prelude::*;
use crate::puppet::life::{count_of, wait_for_lines, wait_for_log};
use crate::puppet::{self, ask, ask_until, connect_to, pid_of, Gate};
use std::time::{Duration, Instant};

/// Waits until so many task workers have nothing to do, so that a task goes to one of them.
fn idle(client: &mut Client, count: usize) -> Outcome {
    ask_until(client, "tasks", |told| told.starts_with(&format!("2 {count} ")))?;
    Ok(())
}

pub fn answers_of_a_list_stand_where_their_tasks_do(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, "list 5000 flags|echo b|empty|echo d|big 300000")?, {
        "5: 16,b,,d,300000 bytes"
    });
    // One is not answered, and it is not the last one.
    let told = ask(&mut client, "list 1000 echo a|none|echo c|echo d|echo e")?;
    assert_eq!(told, "4: a,-,c,d,e");
    assert_eq!(ask(&mut client, "list 5000 twice a|twice b")?, "2: a,b");
    wait_for_lines(server, 2, "second answer: true")?;
    assert_eq!(count_of(server, "finish"), 0);
    Ok(())
}

pub fn a_list_has_up_to_1024_tasks(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    for (count, told) in [(0, "0"), (1, "1"), (1024, "1024"), (1025, "error 505")] {
        assert_eq!(ask(&mut client, &format!("many {count} 20000"))?, told);
    }
    for (count, told) in [(0, "true"), (1024, "true"), (1025, "505")] {
        assert_eq!(ask(&mut client, &format!("cos {count}"))?, told);
    }
    wait_for_lines(server, 1, "done with 0")?;
    wait_for_lines(server, 1, "done with 1024")?;
    assert_eq!(count_of(server, "done with"), 2);
    Ok(())
}

pub fn a_list_is_told_while_its_worker_goes_on(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    let hold = format!("hold {} held", gate.port()?);
    idle(&mut client, 2)?;
    assert_eq!(ask(&mut client, &format!("co 20000 echo a|{hold}|empty"))?, "true");
    let held = gate.wait()?;
    let (mut other, _) = connect_to(server, 0)?;
    ask(&mut other, "who")?;
    assert_eq!(count_of(server, "done in"), 0);
    drop(held);
    wait_for_lines(server, 1, "done in 0: 3: a,held,")?;
    assert_eq!(ask(&mut client, "co 5000 flags")?, "true");
    wait_for_lines(server, 1, "done in 0: 1: 36")?;
    assert_eq!((count_of(server, "done in"), count_of(server, "finish")), (2, 0));
    Ok(())
}

pub fn two_lists_are_under_way_at_a_time(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    let hold = format!("hold {} first", gate.port()?);
    ask(&mut client, &format!("co 0 {hold}"))?;
    let held = gate.wait()?;
    // While one is open, one is complete, one is not, and a task is waited for.
    idle(&mut client, 1)?;
    ask(&mut client, "co 20000 echo second")?;
    wait_for_lines(server, 1, "done in 0: 1: second")?;
    idle(&mut client, 1)?;
    ask(&mut client, "co 30 none")?;
    wait_for_lines(server, 1, "done in 0: 0: -")?;
    idle(&mut client, 1)?;
    assert_eq!(ask(&mut client, "wait -1 20000 echo x")?, "got x");
    drop(held);
    wait_for_lines(server, 1, "done in 0: 1: first")?;
    assert_eq!(count_of(server, "done in"), 3);
    Ok(())
}

pub fn a_late_answer_to_a_list_is_dropped(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    let hold = format!("hold {} late", gate.port()?);
    idle(&mut client, 2)?;
    let begin = Instant::now();
    ask(&mut client, &format!("co 30 {hold}|echo b"))?;
    wait_for_lines(server, 1, "done in 0: 1: -,b")?;
    assert!(begin.elapsed() >= Duration::from_millis(30));
    drop(gate.wait()?);
    wait_for_lines(server, 1, "late answer: true")?;
    wait_for_log(server, |log| log.contains("task[0] has expired (error 2003)"))?;
    assert_eq!((count_of(server, "done in"), count_of(server, "finish")), (1, 0));
    Ok(())
}

pub fn a_list_keeps_a_worker_that_is_reloaded(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    let hold = format!("hold {} held", gate.port()?);
    ask(&mut client, &format!("co 20000 {hold}|echo b"))?;
    let held = gate.wait()?;
    assert_eq!(ask(&mut client, "stop 0 true")?, "true");
    drop(held);
    wait_for_lines(server, 1, "done in 0: 2: held,b")?;
    pid_of(server, 0, 2)?;
    assert_eq!(count_of(server, "done in"), 1);
    Ok(())
}

pub fn waiting_shortly(setup: &Setup) -> Outcome {
    puppet::run(&prepare(setup, &[("task_worker_num", "2"), ("max_wait_time", "1")])?)
}

pub fn a_list_does_not_keep_a_worker_for_ever(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    ask(&mut client, "co 0 none|echo b")?;
    assert_eq!(ask(&mut client, "stop 0 true")?, "true");
    pid_of(server, 0, 2)?;
    assert_eq!(count_of(server, "done in"), 0, "it was ended by force");
    let (mut client, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, "wait -1 5000 echo x")?, "got x");
    Ok(())
}
