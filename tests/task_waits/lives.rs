//! What becomes of waits when processes end.

use crate::common::prelude::*;
use crate::puppet::life::wait_for_lines;
use crate::puppet::{ask, ask_until, connect_to, kill, number, pid_now, pid_of, Gate};
use std::time::Duration;

pub fn who_waits_hears_at_once_of_the_death_of_a_task_worker(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    for round in 1..=3 {
        assert_eq!(ask(&mut client, "wait 0 0 die")?, "error 9003");
        pid_of(server, 2, round + 1)?;
        assert_eq!(ask(&mut client, "wait 0 0 echo x")?, "got x");
    }
    Ok(())
}

pub fn a_list_hears_of_the_death_of_a_task_worker(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    assert_eq!(ask(&mut client, "list 0 echo a|die|echo c")?, "2: a,-,c");
    assert_eq!(ask(&mut client, "co 0 echo a|die|echo c|die")?, "true");
    wait_for_lines(server, 1, "done in 0: 2: a,-,c,-")?;
    Ok(())
}

pub fn nothing_is_left_of_a_worker_that_is_killed_while_it_waits(server: &Running) -> Outcome {
    for (round, task) in ["hold PORT late", "held PORT 5000000"].iter().enumerate() {
        let (mut client, _) = connect_to(server, 0)?;
        let gate = Gate::new()?;
        let task = task.replacen("PORT", &gate.port()?.to_string(), 1);
        client.send(format!("!wait 0 0 {task}").as_bytes())?;
        let held = gate.wait()?;
        kill(pid_now(server, 0)?)?;
        pid_of(server, 0, round + 2)?;
        drop(held);
        let (mut client, _) = connect_to(server, 0)?;
        assert_eq!(ask(&mut client, "wait 0 20000 echo mine")?, "got mine");
        assert_eq!(ask(&mut client, "wait 0 20000 big 3000000")?, "got 3000000 bytes");
    }
    Ok(())
}

pub fn a_wait_outlives_a_reload(server: &Running) -> Outcome {
    let (mut client, _) = connect_to(server, 0)?;
    let (mut other, _) = connect_to(server, 1)?;
    let gate = Gate::new()?;
    client.send(format!("!said 0 20000 hold {} done", gate.port()?).as_bytes())?;
    let held = gate.wait()?;
    client.receive("first\n".len())?;
    assert_eq!(ask(&mut other, "reload")?, "true");
    if server.mode() != Mode::Thread {
        // The other worker is replaced while this one waits; threads are one after the other.
        pid_of(server, 1, 2)?;
    }
    drop(held);
    wait_for_lines(server, 1, "waited")?;
    assert_eq!(client.receive("got done\n".len())?, b"got done\n");
    pid_of(server, 0, 2)?;
    Ok(())
}

const WAITS: usize = 1200;

pub fn no_wait_is_confused_in_a_storm_of_kills(server: &Running) -> Outcome {
    let mut clients = vec![connect_to(server, 0)?.0, connect_to(server, 1)?.0];
    for client in &mut clients {
        client.send(format!("!storm {WAITS} 2000").as_bytes())?;
    }
    let mut told = Vec::new();
    std::thread::scope(|scope| -> Outcome {
        let waiters: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    let mut line = Vec::new();
                    while line.last() != Some(&b'\n') {
                        line.push(client.receive(1).map_err(|error| error.to_string())?[0]);
                    }
                    Ok::<_, String>(String::from_utf8_lossy(&line).into_owned())
                })
            })
            .collect();
        let mut victim = 2;
        while waiters.iter().any(|waiter| !waiter.is_finished()) {
            std::thread::sleep(Duration::from_millis(50));
            // One that was replaced just now may not have said so.
            drop(kill(pid_now(server, victim)?));
            victim = 5 - victim;
        }
        for waiter in waiters {
            told.push(waiter.join().expect("it does not panic")?);
        }
        Ok(())
    })?;
    let mut late_waits = 0;
    for line in told {
        let counts: Vec<usize> = line
            .split(", ")
            .map(|part| number(part.split(' ').next().unwrap_or_default()))
            .collect();
        let &[right, wrong, late, lost] = counts.as_slice() else {
            return Err(line.into());
        };
        assert_eq!((wrong, right + late + lost), (0, WAITS), "{line}");
        late_waits += late;
    }
    // One that was just leaving a message queue is in no memory that others see, and that is told.
    let unknown = server.log().matches("it may be lost, and nobody can be told").count();
    assert!(late_waits <= unknown, "{late_waits} are late, {unknown} can be");
    let (mut client, _) = connect_to(server, 0)?;
    ask_until(&mut client, "tasks", |told| {
        let counts: Vec<usize> = told.split(' ').map(number).collect();
        counts[2] == 0 && counts[3] == 2 * WAITS
    })?;
    Ok(())
}
