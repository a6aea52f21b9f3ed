//! What is handed to task workers, and what comes back to whom.

use super::handing::prepare;
use crate::common::prelude::*;
use crate::puppet::life::{count_of, wait_for_lines, wait_for_log};
use crate::puppet::{self, ask, ask_until, connect_to, kill, number, pid_of, Gate};
use std::time::{Duration, Instant};

pub fn a_result_is_an_event_of_the_worker_that_asked(server: &Running) -> Outcome {
    for worker in 0..2 {
        let (mut client, _) = connect_to(server, worker)?;
        for id in 0..3 {
            let (to, by) = (id % 2, 2 + id % 2);
            assert_eq!(ask(&mut client, &format!("give {to} echo {worker}.{id}"))?, id.to_string());
            let told = format!("task {id} from {worker} in {by} flags 4: echo {worker}.{id}");
            wait_for_lines(server, 1, &told)?;
            let told = format!("finish {id} by {by} in {worker}: {worker}.{id}");
            wait_for_lines(server, 1, &told)?;
        }
    }
    assert_eq!((count_of(server, "task "), count_of(server, "finish ")), (6, 6));
    Ok(())
}

pub fn a_callback_takes_the_first_answer_alone(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 1)?;
    assert_eq!(ask(&mut client, "once 0 twice x")?, "0");
    wait_for_lines(server, 1, "task 0 from 1 in 2 flags 12: twice x")?;
    wait_for_lines(server, 2, "finish 0 by 2 in 1")?;
    let lines = server.lines_so_far();
    let heard = |line: &&String| line.starts_with("once ") || line.starts_with("finish ");
    let heard: Vec<&String> = lines.iter().filter(heard).collect();
    assert_eq!(
        heard,
        ["once 0 by 2 in 1: x 1", "finish 0 by 2 in 1: x 2", "finish 0 by 2 in 1: x 3"]
    );
    Ok(())
}

pub fn a_task_need_not_be_answered_and_an_answer_may_be_empty(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, "give 0 none")?, "0");
    assert_eq!(ask(&mut client, "once 0 empty")?, "1");
    wait_for_lines(server, 1, "once 1 by 2 in 0: ")?;
    assert_eq!(ask(&mut client, "give 0 empty")?, "2");
    wait_for_lines(server, 1, "finish 2 by 2 in 0: ")?;
    assert_eq!(count_of(server, "finish "), 1);
    Ok(())
}

pub fn the_time_of_a_task_is_that_of_the_call(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, "slow 0 x")?, "0");
    assert_eq!(server.wait_line(|line| line.starts_with("in time"), STEP)?, "in time: true");
    Ok(())
}

pub fn wrong_calls_are_refused(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let params = format!("error {SW_ERROR_INVALID_PARAMS}");
    for target in [2, -2, i32::MAX, i32::MIN] {
        assert_eq!(ask(&mut client, &format!("give {target} echo"))?, params);
        assert_eq!(ask(&mut client, &format!("once {target} echo"))?, params);
    }
    assert_eq!(ask(&mut client, "finish")?, SW_ERROR_OPERATION_NOT_SUPPORT.to_string());
    assert_eq!(ask(&mut client, "give 1 give")?, "0", "a refused task takes no id");
    assert_eq!(ask(&mut client, "give 1 watch")?, "1");
    wait_for_lines(server, 1, &format!("watched: {SW_ERROR_OPERATION_NOT_SUPPORT}"))?;
    wait_for_lines(server, 1, &format!("gave: {SW_ERROR_OPERATION_NOT_SUPPORT}"))?;
    ask_until(&mut client, "tasks", |told| told == "2 2 0 2")?;
    Ok(())
}

pub fn without_workers(setup: &Setup) -> Outcome {
    puppet::run(&prepare(setup, &[])?)
}

pub fn without_task_workers_there_are_no_tasks(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let refused = format!("error {SW_ERROR_OPERATION_NOT_SUPPORT}");
    assert_eq!(ask(&mut client, "give -1 echo")?, refused);
    assert_eq!(ask(&mut client, "give 0 echo")?, refused);
    assert_eq!(ask(&mut client, "finish")?, SW_ERROR_OPERATION_NOT_SUPPORT.to_string());
    assert_eq!(ask(&mut client, "tasks")?.split(' ').next(), Some("0"));
    Ok(())
}

pub fn a_busy_task_worker_is_avoided(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    ask(&mut client, &format!("give 0 hold {}", gate.port()?))?;
    let held = gate.wait()?;
    assert_eq!(ask(&mut client, "status 2")?, "1");
    for id in 1..=6 {
        ask_until(&mut client, "status 3", |status| status == "2")?;
        ask(&mut client, &format!("give -1 echo {id}"))?;
        wait_for_lines(server, 1, &format!("finish {id} by 3 in 0: {id}"))?;
    }
    assert!(!server.log().contains("No idle task worker"));
    let second = Gate::new()?;
    ask(&mut client, &format!("give 1 hold {}", second.port()?))?;
    let other = second.wait()?;
    // Nobody is idle: that is told, and nothing is refused.
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < Duration::from_millis(1500) {
        assert_eq!(ask(&mut client, "give -1 none")?, (8 + count).to_string());
        count += 1;
    }
    let told = wait_for_log(server, |log| log.contains("No idle task worker is available"))?;
    let told = told.matches("No idle task worker is available").count();
    assert!((1..=3).contains(&told), "told {told} times in a second and a half");
    drop((held, other));
    wait_for_lines(server, 7 + 1 + count, "task ")?;
    Ok(())
}

pub fn tasks_of_any_size_arrive_and_come_back(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let sizes = [8151, 8152, 8153, 65536, 800_000, (4 << 20) - 32, 4 << 20, 20_000_000];
    for (id, size) in sizes.iter().enumerate() {
        assert_eq!(ask(&mut client, &format!("large 0 {size}"))?, id.to_string());
        wait_for_lines(server, 1, &format!("finish {id} by 2 in 0: {size} bytes"))?;
    }
    let log = wait_for_log(server, |log| log.contains("task package is too big"))?;
    assert!(!log.contains("lost"));
    // Nothing lies in files.
    assert_eq!(std::fs::read_dir(server.temporary()).map_or(0, Iterator::count), 0);
    Ok(())
}

pub fn a_burst_to_a_sleeping_task_worker_is_accepted_and_done_in_order(
    server: &Running,
) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    ask(&mut client, &format!("give 0 hold {}", gate.port()?))?;
    let held = gate.wait()?;
    assert_eq!(ask(&mut client, "burst 0 2048 4096")?, "2048");
    assert_eq!(ask(&mut client, "tasks")?, "1 0 2048 2049");
    drop(held);
    wait_for_lines(server, 2049, "finish ")?;
    let lines = server.lines_so_far();
    let ids = |word: &str| -> Vec<i64> {
        let lines = lines.iter().filter(|line| line.starts_with(word));
        lines.map(|line| number(line.split(' ').nth(1).unwrap_or("-1"))).collect()
    };
    assert!(ids("task ").iter().copied().eq(0..2049), "not in order");
    assert!(ids("finish ").iter().copied().eq(0..2049), "not in order");
    ask_until(&mut client, "tasks", |told| told == "1 1 0 2049")?;
    Ok(())
}

/// More than the inbox of a task worker holds.
pub fn a_slow_pool_does_not_keep_a_worker_from_its_clients(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    ask(&mut client, &format!("give 0 hold {}", gate.port()?))?;
    let held = gate.wait()?;
    assert_eq!(ask(&mut client, "burst 0 60 1000000")?, "60");
    assert_eq!(ask(&mut client, "tasks")?, "1 0 60 61");
    // It serves others, and other tasks come behind.
    for text in ["one", "two"] {
        assert_eq!(ask(&mut client, "who")?.split(' ').next(), Some("0"));
        ask(&mut client, &format!("once 0 echo {text}"))?;
    }
    drop(held);
    wait_for_lines(server, 61, "finish ")?;
    wait_for_lines(server, 1, "once 62 by 2 in 0: two")?;
    ask_until(&mut client, "tasks", |told| told == "1 1 0 63")?;
    assert!(!server.lines_so_far().iter().any(|line| line.contains("other bytes")));
    Ok(())
}

pub fn what_was_in_hand_fails_and_the_rest_is_done(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    ask(&mut client, &format!("once 0 hold {}", gate.port()?))?;
    let _held = gate.wait()?;
    for id in 1..=5 {
        assert_eq!(ask(&mut client, &format!("once 0 echo {id}"))?, id.to_string());
    }
    kill(pid_of(server, 2, 1)?)?;
    let failed = format!("once 0 by 2 in 0 failed: {SW_ERROR_SERVER_WORKER_TERMINATED}");
    wait_for_lines(server, 1, &failed)?;
    for id in 1..=5 {
        wait_for_lines(server, 1, &format!("once {id} by 2 in 0: {id}"))?;
    }
    ask_until(&mut client, "tasks", |told| told == "1 1 0 6")?;
    assert_eq!(count_of(server, "once "), 6);
    Ok(())
}

pub fn each_task_that_kills_its_worker_fails_alone(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    for round in 0..3 {
        ask(&mut client, "once 0 die")?;
        ask(&mut client, "once 0 echo next")?;
        let (first, second) = (2 * round, 2 * round + 1);
        wait_for_lines(server, 1, &format!("once {first} by 2 in 0 failed"))?;
        wait_for_lines(server, 1, &format!("once {second} by 2 in 0: next"))?;
    }
    ask_until(&mut client, "tasks", |told| told == "1 1 0 6")?;
    Ok(())
}

pub fn queued_tasks_survive_a_reload(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    ask(&mut client, &format!("give 0 hold {}", gate.port()?))?;
    let held = gate.wait()?;
    assert_eq!(ask(&mut client, "burst 0 100 300")?, "100");
    assert_eq!(ask(&mut client, "reload tasks")?, "true");
    wait_for_lines(server, 1, "before")?;
    drop(held);
    wait_for_lines(server, 1, "after")?;
    wait_for_lines(server, 101, "finish ")?;
    pid_of(server, 2, 2)?;
    assert_eq!((count_of(server, "task "), count_of(server, "finish ")), (101, 101));
    Ok(())
}

/// The ids of a successor begin again, so what its predecessor waited for is not its own.
pub fn a_result_for_a_worker_that_was_replaced_is_an_event(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let gate = Gate::new()?;
    ask(&mut client, &format!("once 0 hold {}", gate.port()?))?;
    let held = gate.wait()?;
    ask(&mut client, "once 0 echo first")?;
    kill(pid_of(server, 0, 1)?)?;
    pid_of(server, 0, 2)?;
    let (mut client, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, "once 0 echo second")?, "0");
    assert_eq!(ask(&mut client, "once 0 echo third")?, "1");
    drop(held);
    wait_for_lines(server, 1, "finish 0 by 2 in 0: held")?;
    wait_for_lines(server, 1, "finish 1 by 2 in 0: first")?;
    wait_for_lines(server, 1, "once 0 by 2 in 0: second")?;
    wait_for_lines(server, 1, "once 1 by 2 in 0: third")?;
    assert_eq!((count_of(server, "finish "), count_of(server, "once ")), (2, 2));
    Ok(())
}

pub fn limited(setup: &Setup) -> Outcome {
    let settings =
        [("task_worker_num", "4"), ("task_max_request", "200"), ("task_max_request_grace", "40")];
    puppet::run(&prepare(setup, &settings)?)
}

pub fn a_task_worker_leaves_after_its_limit_and_nothing_is_lost(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    for _ in 0..8 {
        ask(&mut client, "burst -1 500 300")?;
    }
    wait_for_lines(server, 4000, "finish ")?;
    ask_until(&mut client, "tasks", |told| told == "4 4 0 4000")?;
    assert_eq!((count_of(server, "task "), count_of(server, "finish ")), (4000, 4000));
    let lives: usize = (2..6).map(|id| count_of(server, &format!("worker {id} "))).sum();
    // Each has done 200 to 240 tasks, but for the last ones.
    assert!((4000 / 240..=4000 / 200 + 4).contains(&lives), "{lives} lives");
    assert_eq!(count_of(server, "error "), 0);
    Ok(())
}

pub fn exact(setup: &Setup) -> Outcome {
    let settings = [("task_worker_num", "1"), ("task_max_request", "10")];
    puppet::run(&prepare(setup, &settings)?)
}

pub fn a_small_limit_is_exact(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, "burst 0 10 300")?, "9");
    pid_of(server, 2, 2)?;
    assert_eq!(ask(&mut client, "burst 0 9 300")?, "18");
    wait_for_lines(server, 19, "finish ")?;
    assert_eq!(count_of(server, "worker 2 "), 2);
    ask(&mut client, "burst 0 1 300")?;
    pid_of(server, 2, 3)?;
    Ok(())
}
