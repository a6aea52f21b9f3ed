//! Half a message and those who come and go meanwhile: workers, the server, peers that fall silent.

use crate::common::prelude::*;
use crate::flow::who;
use crate::puppet::{ask, kill, poll};
use crate::speech::*;
use crate::{expect, last_words, next_unit, Fallible, Lab};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// How often somebody says a byte who is not idle.
const BEAT: Duration = Duration::from_millis(20);

const FIRST: &[u8] = b"a.whole.one";
const SECOND: &[u8] = b"one.in.two.halves";

/// A whole message, half of another one, and the rest of that.
fn halves(name: &str) -> (Bytes, Bytes) {
    let mut bytes = frame(name, FIRST);
    let second = frame(name, SECOND);
    let (half, rest) = second.split_at(second.len() / 2);
    bytes.extend_from_slice(half);
    (bytes, rest.to_vec())
}

/// A connection for each protocol, with half a message of each in the server.
fn begin_all(lab: &mut Lab) -> Fallible<Vec<(&'static str, Client)>> {
    let mut clients = Vec::new();
    for name in EXACT {
        let mut client = lab.connect(name)?;
        lab.deliver(name, &mut client, &halves(name).0)?;
        expect(&mut client, &[unit(name, FIRST)])?;
        clients.push((*name, client));
    }
    // A message in fragments, of which one has come.
    let mut client = lab.connect("websocket")?;
    lab.deliver("websocket", &mut client, &websocket_frame(0x02, &SECOND[..5]))?;
    clients.push(("fragments", client));
    Ok(clients)
}

/// The rest of all, and what comes behind it.
fn finish_all(clients: &mut [(&'static str, Client)]) -> Outcome {
    for (name, client) in clients {
        if *name == "fragments" {
            let rest = [websocket_frame(0x80, &SECOND[5..]), websocket_frame(0x82, FIRST)];
            client.send(&rest.concat())?;
            expect(client, &[SECOND.to_vec(), FIRST.to_vec()])?;
        } else {
            client.send(&[halves(name).1, frame(name, FIRST)].concat())?;
            expect(client, &[unit(name, SECOND), unit(name, FIRST)])?;
        }
    }
    Ok(())
}

pub fn half_of_any_message_outlives_workers_that_are_replaced_or_killed(
    server: &Running,
) -> Outcome {
    let mut lab = Lab::new(server)?;
    let mut clients = begin_all(&mut lab)?;
    assert_eq!(ask(&mut lab.puppet, "reload")?, "true");
    server.wait_lines(4, |line| line.starts_with("worker "), STEP)?;
    finish_all(&mut clients)?;
    let mut clients = begin_all(&mut lab)?;
    for line in server.lines_so_far().iter().filter(|line| line.starts_with("worker ")).skip(2) {
        kill(crate::puppet::number(line.rsplit(' ').next().unwrap_or_default()))?;
    }
    server.wait_lines(6, |line| line.starts_with("worker "), STEP)?;
    finish_all(&mut clients)
}

/// Where connections end with their worker, half a message of one is nothing to the next.
pub fn half_of_any_message_goes_with_the_worker_that_read_it(server: &Running) -> Outcome {
    let mut lab = Lab::new(server)?;
    let mut clients = begin_all(&mut lab)?;
    assert_eq!(ask(&mut lab.puppet, "reload")?, "true");
    for (name, client) in &mut clients {
        assert_eq!(last_words(client)?, b"", "{name}");
    }
    server.wait_lines(4, |line| line.starts_with("worker "), STEP)?;
    let mut lab = Lab::new(server)?;
    finish_all(&mut begin_all(&mut lab)?)
}

pub fn half_a_message_does_not_keep_the_server_from_its_end(server: &Running) -> Outcome {
    let mut lab = Lab::new(server)?;
    let mut clients = begin_all(&mut lab)?;
    let begin = Instant::now();
    server.signal(libc::SIGTERM)?;
    for (name, client) in &mut clients {
        assert_eq!(last_words(client)?, b"", "{name}");
    }
    assert!(server.wait_exit(STEP)?.success());
    // Nobody has waited for the rest as long as the server would wait at most.
    assert!(begin.elapsed() < Duration::from_secs(3), "it took {:?}", begin.elapsed());
    let lines = server.lines_so_far();
    let ends = lines.iter().filter(|line| line.starts_with("end ") && line.ends_with(" code 0"));
    // Workers that read for themselves tell of each end, also of that of the puppet's connection.
    let told = if server.mode() == Mode::Process { 0 } else { clients.len() + 1 };
    assert_eq!(ends.count(), told);
    Ok(())
}

pub fn beating(setup: &Setup) -> Outcome {
    let beat = [("heartbeat_check_interval", "1"), ("heartbeat_idle_time", "2")];
    polyglot_with(setup, &[("worker_num", "1"), beat[0], beat[1]])
}

/// Every byte is a sign of life, also where it makes no message for long.
pub fn who_stops_in_the_middle_of_a_message_is_idle_unless_it_is_protected(
    server: &Running,
) -> Outcome {
    let mut lab = Lab::new(server)?;
    let mut safe = lab.connect("length")?;
    let safe_fd = who(&mut safe, "length")?.2;
    assert_eq!(ask(&mut lab.puppet, &format!("protect {safe_fd} 1"))?, "true");
    let mut slow = lab.connect("mqtt")?;
    let begin = Instant::now();
    let mut silent = begin_all(&mut lab)?;
    let (bytes, rest) = halves("length");
    safe.send(&bytes)?;
    expect(&mut safe, &[unit("length", FIRST)])?;
    // As long as it takes: one byte at a time, and not one message of them.
    let body = vec![b's'; 16_000];
    let mut drops = frame("mqtt", &body).into_iter();
    while server.lines_so_far().iter().filter(|line| line.starts_with("end ")).count()
        < silent.len()
    {
        slow.send(&[drops.next().ok_or("nobody is found idle")?])?;
        ask(&mut lab.puppet, "who")?;
        std::thread::sleep(BEAT);
    }
    assert!(begin.elapsed() >= Duration::from_millis(1500), "closed too early");
    for (name, client) in &mut silent {
        assert_eq!(last_words(client)?, b"", "{name}");
    }
    let ends = server.wait_lines(silent.len(), |line| line.starts_with("end "), STEP)?;
    assert!(ends.iter().all(|line| !line.contains("reactor -1")), "{ends:?}");
    // Two ways to stay.
    assert!(poll(&[safe.stream.as_raw_fd(), slow.stream.as_raw_fd()], libc::POLLIN, 0)?.is_empty());
    safe.send(&rest)?;
    expect(&mut safe, &[unit("length", SECOND)])?;
    slow.send(&drops.collect::<Bytes>())?;
    assert_eq!(next_unit(&mut slow)?, frame("mqtt", &body));
    Ok(())
}
