//! What becomes of messages when workers end.

use crate::api::{letter, opened, send_message, told};
use crate::common::api::Handle;
use crate::common::{Event, Outcome, Running, Setup, STEP};
use crate::process::{nth, Process};
use crate::puppet::{self, ask, connect_to, hold_worker, kill, number, pid_now, pid_of};
use crate::{letters, prepare, report, WORKERS};

pub fn what_a_killed_worker_was_not_given_its_successor_gets(server: &Running) -> Outcome {
    let (mut target, _) = connect_to(server, 0)?;
    let (mut sender, _) = connect_to(server, 1)?;
    let pid = pid_of(server, 0, 1)?;
    let held = hold_worker(&mut target)?;
    assert_eq!(ask(&mut sender, "mails 0 left 500 300")?, "true");
    kill(pid)?;
    drop(held);
    let lines = letters(server, "left.", 500)?;
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("left.{index} at 0 from 1 length 300"));
    }
    assert_ne!(pid_of(server, 0, 2)?, pid);
    assert_eq!(ask(&mut sender, "mail 0 behind 10")?, "true");
    letters(server, "behind ", 1)?;
    let all = server.lines_so_far();
    assert_eq!(all.iter().filter(|line| line.starts_with("left.")).count(), 500);
    Ok(())
}

/// It is longer than the lane, so the sender has most of it when the worker is killed.
pub fn a_long_message_outlives_the_worker_that_it_is_for(server: &Running) -> Outcome {
    let (mut target, _) = connect_to(server, 0)?;
    let (mut sender, _) = connect_to(server, 1)?;
    let pid = pid_of(server, 0, 1)?;
    let held = hold_worker(&mut target)?;
    for tag in ["first", "second"] {
        assert_eq!(ask(&mut sender, &format!("mail 0 {tag} 3000000"))?, "true");
    }
    kill(pid)?;
    drop(held);
    for tag in ["first ", "second "] {
        assert_eq!(letters(server, tag, 1)?, [format!("{tag}at 0 from 1 length 3000000")]);
    }
    Ok(())
}

pub fn half_a_message_of_a_killed_sender_is_forgotten(server: &Running) -> Outcome {
    let (mut target, _) = connect_to(server, 0)?;
    let (mut sender, _) = connect_to(server, 1)?;
    let pid = pid_of(server, 1, 1)?;
    let held = hold_worker(&mut target)?;
    assert_eq!(ask(&mut sender, "mail 0 before 10")?, "true");
    assert_eq!(ask(&mut sender, "mail 0 half 3000000")?, "true");
    kill(pid)?;
    pid_of(server, 1, 2)?;
    drop(held);
    let mut successor = connect_to(server, 1)?.0;
    assert_eq!(ask(&mut successor, "mail 0 small 10")?, "true");
    assert_eq!(ask(&mut successor, "mail 0 large 3000000")?, "true");
    letters(server, "large ", 1)?;
    let came = server.lines_so_far();
    let came: Vec<&String> = came.iter().filter(|line| line.contains(" from ")).collect();
    let rest = " at 0 from 1 length";
    assert_eq!(
        came,
        [&format!("before{rest} 10"), &format!("small{rest} 10"), &format!("large{rest} 3000000")]
    );
    // Nobody waits for the other half.
    let (mut other, _) = connect_to(server, 2)?;
    assert_eq!(ask(&mut other, "stop 0 true")?, "true");
    pid_of(server, 0, 2)?;
    Ok(())
}

/// A chain: the user process numbers letters and sends them to worker 0, each worker passes them on
/// to the next, and the last one reports them.
pub fn serve_chain(setup: &Setup) -> Outcome {
    fn pass_on(server: Handle, event: &Event) {
        let (message, bytes) = told(event);
        let own = server.worker_id();
        let sender = if own == 0 { WORKERS } else { own - 1 };
        let line = opened(bytes).filter(|_| message.source_worker_id == sender);
        match line {
            None => report!("SPOILED at {own} from {}", message.source_worker_id),
            Some(line) if own == WORKERS - 1 => report!("came {line}"),
            Some(_) => send_message(server, bytes, own + 1).expect("a message is taken"),
        }
    }
    fn number_letters(server: Handle, process: Process) {
        while let Some((_, order)) = process.next() {
            let order = String::from_utf8(order).expect("a text");
            let words: Vec<usize> = order.split(' ').map(number).collect();
            let (first, count, length) = (words[0], words[1], words[2]);
            report!("letters from {first}");
            for number in first..first + count {
                // Now and then one that needs several pieces, if they are to be long at all.
                let length = if number % 20 == 0 { length } else { length.min(500) };
                send_message(server, &letter(&number.to_string(), length), 0).expect("taken");
            }
        }
    }
    let server = prepare(setup, &[("max_wait_time", "20")])?;
    server.on("pipeMessage", pass_on)?;
    server.on("afterReload", |_, _| report!("reloaded"))?;
    server.on("receive", |server, event| match event.data().strip_prefix(b"!letters ") {
        Some(order) => nth(0).tell(event.fd(), order).expect("the pipe takes it"),
        None => puppet::obey(server, event),
    })?;
    Process::start_with(*server, number_letters)?;
    puppet::run(&server)
}

/// The numbers that have come until now, in their order.
fn numbers(server: &Running) -> Vec<u64> {
    let lines = server.lines_so_far();
    lines.iter().filter_map(|line| line.strip_prefix("came ")).map(number).collect()
}

fn send_letters(server: &Running, first: usize, count: usize, length: usize) -> Outcome {
    let mut client = server.connect()?;
    client.send(format!("!letters {first} {count} {length}").as_bytes())?;
    // Orders to different workers could overtake each other, or die with one of them.
    server.wait_line(|line| line == format!("letters from {first}"), STEP)?;
    Ok(())
}

const ROUNDS: usize = 4;
const PER_ROUND: usize = 500;

pub fn a_reload_in_a_stream_of_messages_loses_nothing(server: &Running) -> Outcome {
    for round in 0..ROUNDS {
        send_letters(server, round * PER_ROUND, PER_ROUND, 400_000)?;
        server.wait_lines(round * PER_ROUND + 20, |line| line.starts_with("came "), STEP)?;
        assert_eq!(ask(&mut server.connect()?, "reload")?, "true");
        server.wait_lines(round + 1, |line| line == "reloaded", STEP)?;
    }
    let count = ROUNDS * PER_ROUND;
    server.wait_lines(count, |line| line.starts_with("came "), STEP)?;
    assert_eq!(numbers(server), (0..count as u64).collect::<Vec<_>>());
    Ok(())
}

pub fn kills_in_a_stream_lose_what_was_in_hands_only(server: &Running) -> Outcome {
    const PER_KILL: usize = 160;
    let mut kills = 0;
    for _ in 0..ROUNDS {
        for worker in 0..WORKERS {
            // Of those that are sent now many more than these come.
            let wanted = numbers(server).len() + 30;
            send_letters(server, kills * PER_KILL, PER_KILL, 500)?;
            server.wait_lines(wanted, |line| line.starts_with("came "), STEP)?;
            kill(pid_now(server, worker)?)?;
            kills += 1;
        }
    }
    // Nobody is killed any more: all others have come when this one has.
    let last = kills * PER_KILL;
    send_letters(server, last, 1, 500)?;
    server.wait_line(|line| line == format!("came {last}"), STEP)?;
    let came = numbers(server);
    let wrong = came.windows(2).find(|pair| pair[0] >= pair[1]);
    assert_eq!(wrong, None, "each comes once, and in order");
    let missing = last + 1 - came.len();
    assert!(missing <= kills, "{missing} of {} are missing after {kills} kills", last + 1);
    Ok(())
}
