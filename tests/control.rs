//! What controls a connection: pausing and resuming, confirming, binding, and what is known of it;
//! and closing it, from every process.

#[path = "control/closes.rs"]
mod closes;
mod common;
#[path = "control/crowded.rs"]
mod crowded;
#[path = "control/orders.rs"]
mod orders;

use closes::*;
use common::prelude::*;
use crowded::*;
use orders::*;
use std::time::{Duration, Instant};

fn one_worker(setup: &Setup) -> Outcome {
    serve(setup, &[("worker_num", "1")])
}

/// How many messages of a connection were received, which are at least so many.
fn heard(server: &Running, fd: i64, least: usize) -> Fallible<usize> {
    let beginning = format!("got {fd} ");
    server.wait_lines(least, |line| line.starts_with(&beginning), STEP)?;
    Ok(count(server, &beginning))
}

fn two_workers(setup: &Setup) -> Outcome {
    serve(setup, &[])
}

fn a_paused_connection_is_read_when_it_is_resumed_and_in_order(server: &Running) -> Outcome {
    let mut other = Commander::connect(server)?;
    let mut paused = Commander::connect(server)?;
    let fd = paused.fd;
    // Nothing changes for one that is not paused.
    assert_eq!(other.ask(&format!("resume {fd}"))?, "ok");
    assert_eq!(paused.ask(&format!("pause {fd}"))?, "ok");
    assert_eq!(other.ask(&format!("pause {fd}"))?, "ok", "twice is once");
    let text = "x".repeat(150_000) + "tail";
    // As much as the systems of both ends hold.
    paused.client.send(text.as_bytes())?;
    pass_time(&mut other)?;
    assert_eq!(heard(server, fd, 2)?, 2, "it was read");
    assert_eq!(other.ask(&format!("send {fd} out"))?, "ok");
    assert_eq!(paused.client.receive(3)?, b"out", "output goes on");
    assert_eq!(other.ask(&format!("resume {fd}"))?, "ok");
    let mut got = String::new();
    while got.len() < text.len() {
        got += paused.hear()?.strip_prefix("unknown ").ok_or("another answer")?;
    }
    assert!(got == text, "the bytes came in another order");
    Ok(())
}

fn another_worker_may_pause_what_it_sees(server: &Running) -> Outcome {
    let mut first = Commander::connect(server)?;
    let mut second = first.connect_elsewhere(server)?;
    let fd = first.fd;
    if server.mode() == Mode::Base {
        for order in ["pause", "resume", "confirm"] {
            assert_eq!(second.ask(&format!("{order} {fd}"))?, "error 1005", "{order}");
        }
        assert_eq!(second.ask(&format!("protect {fd} 1"))?, "error 1005");
        assert_eq!(second.ask(&format!("bind {fd} 1"))?, "error 1005");
        return Ok(());
    }
    assert_eq!(second.ask(&format!("pause {fd}"))?, "ok");
    pass_time(&mut second)?;
    first.client.send(b"who")?;
    pass_time(&mut second)?;
    assert_eq!(heard(server, fd, 1)?, 1);
    assert_eq!(second.ask(&format!("resume {fd}"))?, "ok");
    assert!(first.hear()?.starts_with(&format!("{fd} ")));
    Ok(())
}

fn a_connection_stays_paused_across_a_reload(server: &Running) -> Outcome {
    let mut other = Commander::connect(server)?;
    let mut paused = Commander::connect(server)?;
    let fd = paused.fd;
    assert_eq!(paused.ask(&format!("pause {fd}"))?, "ok");
    server.signal(libc::SIGUSR1)?;
    let old = format!(" {}", other.pid);
    other.ask_until("who", |answer| !answer.ends_with(&old))?;
    paused.client.send(b"who")?;
    pass_time(&mut other)?;
    assert_eq!(heard(server, fd, 2)?, 2, "it was read");
    assert_eq!(other.ask(&format!("resume {fd}"))?, "ok");
    assert!(paused.hear()?.starts_with(&format!("{fd} ")));
    Ok(())
}

fn the_end_of_a_paused_peer_is_seen_when_it_is_resumed(server: &Running) -> Outcome {
    let mut other = Commander::connect(server)?;
    let mut gone = Commander::connect(server)?;
    let fd = gone.fd;
    assert_eq!(gone.ask(&format!("pause {fd}"))?, "ok");
    drop(gone);
    pass_time(&mut other)?;
    assert_eq!(other.ask(&format!("exist {fd}"))?, "ok");
    assert_eq!(other.ask(&format!("resume {fd}"))?, "ok");
    assert!(closed_by(server, fd)? >= 0);
    for order in ["pause", "resume"] {
        assert_eq!(other.ask(&format!("{order} {fd}"))?, "error 1005");
    }
    Ok(())
}

fn a_paused_peer_that_is_gone_is_found_by_writing(server: &Running) -> Outcome {
    let mut other = Commander::connect(server)?;
    let mut gone = Commander::connect(server)?;
    let fd = gone.fd;
    assert_eq!(gone.ask(&format!("pause {fd}"))?, "ok");
    drop(gone);
    pass_time(&mut other)?;
    assert_eq!(other.ask(&format!("send {fd} anybody?"))?, "ok");
    assert!(closed_by(server, fd)? >= 0);
    other.ask_until("stats", |stats| stats.contains(" connection_num: 1,"))?;
    Ok(())
}

fn a_paused_connection_can_be_closed(server: &Running) -> Outcome {
    let mut other = Commander::connect(server)?;
    for order in ["close", "reset"] {
        let mut paused = Commander::connect(server)?;
        assert_eq!(paused.ask(&format!("pause {}", paused.fd))?, "ok");
        paused.client.send(b"unread")?;
        assert_eq!(other.ask(&format!("{order} {}", paused.fd))?, "ok");
        assert_eq!(closed_by(server, paused.fd)?, -1);
        let end = paused.client.receive_to_end();
        assert_eq!(end.is_ok_and(|bytes| bytes.is_empty()), order == "close");
    }
    other.ask_until("stats", |stats| stats.contains(" connection_num: 1,"))?;
    Ok(())
}

/// Who is there first confirms himself: the callback for connections does it for the first one.
fn delayed_but_the_first(setup: &Setup) -> Outcome {
    let server = prepare(setup, &[("worker_num", "1"), ("enable_delay_receive", "true")])?;
    server.on("connect", |server, event| {
        report!("connect {} in worker {}", event.fd(), server.worker_id());
        if event.fd() == 1 {
            report!("confirmed: {}", obey(server, 1, "confirm 1"));
        }
    })?;
    server.start()?;
    Ok(())
}

fn nothing_is_read_before_a_connection_is_confirmed(server: &Running) -> Outcome {
    let mut first = Commander::connect(server)?;
    server.wait_line(|line| line == "confirmed: ok", STEP)?;
    assert_eq!(first.ask("confirm 1")?, "error 509", "it is confirmed");
    let mut second = server.connect()?;
    second.send(b"who")?;
    server.wait_line(|line| line.starts_with("connect 2 "), STEP)?;
    pass_time(&mut first)?;
    assert_eq!(count(server, "got 2 "), 0);
    assert_eq!(first.ask("resume 2")?, "ok");
    pass_time(&mut first)?;
    assert_eq!(count(server, "got 2 "), 0, "a connection is confirmed by nothing else");
    assert_eq!(first.ask("confirm 2")?, "ok");
    assert!(second.receive(2)?.starts_with(b"2 "));
    assert_eq!(first.ask("confirm 2")?, "error 509");
    for (fd, wanted) in [(99, "error 1005"), (0, "error 1006"), (-5, "error 1006")] {
        assert_eq!(first.ask(&format!("confirm {fd}"))?, wanted, "{fd}");
    }
    let third = server.connect()?;
    server.wait_line(|line| line.starts_with("connect 3 "), STEP)?;
    drop(third);
    pass_time(&mut first)?;
    assert_eq!(first.ask("exist 3")?, "ok", "its end is not seen");
    assert_eq!(first.ask("close 3")?, "ok");
    assert_eq!(first.ask("confirm 3")?, "error 1001");
    drop(second);
    closed_by(server, 2)?;
    assert_eq!(first.ask("confirm 2")?, "error 1004");
    Ok(())
}

fn a_connection_that_waits_can_be_closed_and_what_it_sent_is_thrown_away(
    server: &Running,
) -> Outcome {
    let mut first = Commander::connect(server)?;
    let mut second = server.connect()?;
    second.send(b"thrown away")?;
    server.wait_line(|line| line.starts_with("connect 2 "), STEP)?;
    assert_eq!(first.ask("close 2")?, "ok");
    assert!(second.receive_to_end()?.is_empty());
    assert_eq!((closed_by(server, 2)?, count(server, "got 2 ")), (-1, 0));
    Ok(())
}

fn without_delay_nothing_can_be_confirmed(server: &Running) -> Outcome {
    let mut client = Commander::connect(server)?;
    assert_eq!(client.ask(&format!("confirm {}", client.fd))?, "error 509");
    Ok(())
}

fn a_connection_is_bound_once_and_shows_its_user(server: &Running) -> Outcome {
    for (uid, shown) in [(-10_i64, 4_294_967_286_u64), (4_294_967_295, 4_294_967_295), (77, 77)] {
        let mut client = Commander::connect(server)?;
        let fd = client.fd;
        assert!(client.ask(&format!("info {fd}"))?.ends_with("has_uid=false uid=0"));
        for wrong in ["0", "4294967296", "-2147483649"] {
            assert_eq!(client.ask(&format!("bind {fd} {wrong}"))?, "error 505", "{wrong}");
        }
        assert_eq!(client.ask(&format!("bind {fd} {uid}"))?, "ok");
        assert_eq!(client.ask(&format!("bind {fd} {uid}"))?, "error 509");
        let info = client.ask(&format!("info {fd}"))?;
        assert!(info.ends_with(&format!("has_uid=true uid={shown}")), "{info}");
        assert_eq!(client.ask("bind 999999 1")?, "error 1005");
        assert_eq!(client.ask("protect 999999 1")?, "error 1005");
    }
    Ok(())
}

fn of_many_who_bind_at_once_one_succeeds(server: &Running) -> Outcome {
    let mut first = Commander::connect(server)?;
    let mut second = first.connect_elsewhere(server)?;
    for round in 0..50 {
        let target = Commander::connect(server)?;
        let order = format!("bind {} {}", target.fd, round + 1);
        first.client.send(order.as_bytes())?;
        second.client.send(order.as_bytes())?;
        let mut answers = [first.hear()?, second.hear()?];
        answers.sort();
        assert_eq!(answers, ["error 509", "ok"]);
    }
    Ok(())
}

fn beyond_32_bits(setup: &Setup) -> Outcome {
    serve(setup, &[("start_session_id", "4294967295")])
}

fn ids_above_2_to_the_32_work_everywhere(server: &Running) -> Outcome {
    const FIRST: i64 = 1 << 32;
    let mut first = Commander::connect(server)?;
    assert_eq!(first.fd, FIRST);
    let mut second = match server.mode() {
        Mode::Base => first.connect_elsewhere(server)?,
        Mode::Process | Mode::Thread => Commander::connect(server)?,
    };
    let fd = second.fd;
    assert_eq!(fd, FIRST + 1);
    for order in ["exist", "resume"] {
        assert_eq!(second.ask(&format!("{order} {fd}"))?, "ok", "{order}");
    }
    assert_eq!(second.ask(&format!("bind {fd} 5"))?, "ok");
    assert!(second.ask(&format!("info {fd}"))?.ends_with("uid=5"));
    let own = if server.mode() == Mode::Base { vec![fd] } else { vec![FIRST, fd] };
    assert_eq!(second.ask("list 0 100")?, format!("ids {own:?}"));
    assert_eq!(second.ask(&format!("list {fd} 100"))?, "ids []");
    assert_eq!(second.stat("session_round")?, fd as u64);
    // The same low 32 bits are another connection.
    assert_eq!(second.ask("exist 1")?, "error 1005");
    assert_eq!(second.ask("send 1 x")?, "error 1005");
    assert_eq!(first.ask(&format!("send {fd} across"))?, "ok");
    assert_eq!(second.client.receive(6)?, b"across");
    assert_eq!(first.ask(&format!("close {fd}"))?, "ok");
    assert!(second.client.receive_to_end()?.is_empty());
    assert_eq!(closed_by(server, fd)?, -1);
    first.ask_until(&format!("send {fd} late"), |answer| answer == "error 1001")?;
    Ok(())
}

fn a_packet_that_waited_shows_how_long(server: &Running) -> Outcome {
    const WAIT: Duration = Duration::from_millis(300);
    let mut stuck = Commander::connect(server)?;
    let mut waiting = Commander::connect(server)?;
    let mut helper = stuck.connect_elsewhere(server)?;
    while waiting.worker != stuck.worker {
        waiting = Commander::connect(server)?;
    }
    stuck.client.send(b"hold")?;
    server.wait_line(|line| line == format!("holding {}", stuck.worker), STEP)?;
    let fd = waiting.fd;
    let began = Instant::now();
    waiting.client.send(format!("info {fd}").as_bytes())?;
    let queued = format!("recv_queued_bytes={}", format!("info {fd}").len());
    helper.ask_until(&format!("info {fd}"), |info| info.contains(&queued))?;
    std::thread::sleep(WAIT.saturating_sub(began.elapsed()));
    let released_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    assert_eq!(helper.ask("release")?, "ok");
    let info = waiting.hear()?;
    let arrived: f64 = field(&info, "last_dispatch_time")?.parse()?;
    let age = released_s.as_secs_f64() - arrived;
    assert!(age > 0.2, "it arrived {age} s before it was taken");
    assert_eq!(field(&info, "recv_queued_bytes")?, "0", "the packet that is handled counts not");
    Ok(())
}

fn what_only_waits_was_not_sent(server: &Running) -> Outcome {
    let mut client = Commander::connect(server)?;
    let silent = Commander::connect(server)?;
    let fd = silent.fd;
    let info = format!("info {fd}");
    // More than the systems of both ends hold.
    while client.ask(&info)?.contains(" send_queued_bytes=0 ") {
        assert_eq!(client.ask(&format!("send_zeros {fd} 1000000"))?, "ok");
    }
    let end = Instant::now() + STEP;
    while Instant::now() < end {
        let before = client.ask(&info)?;
        let queued: u64 = field(&before, "send_queued_bytes")?.parse()?;
        assert_eq!(client.ask(&format!("send_zeros {fd} 1000"))?, "ok");
        let same = format!(" send_queued_bytes={queued} ");
        let after = client.ask_until(&info, |info| !info.contains(&same))?;
        // Else the systems have found room for more.
        if field(&after, "send_queued_bytes")? == (queued + 1000).to_string() {
            assert_eq!(field(&after, "last_send_time")?, field(&before, "last_send_time")?);
            return Ok(());
        }
    }
    Err("the peer that does not read takes everything".into())
}

server_tests! {
    a_paused_connection_is_read_when_it_is_resumed_and_in_order: one_worker;
    another_worker_may_pause_what_it_sees: two_workers;
    // Elsewhere a connection ends with its worker.
    a_connection_stays_paused_across_a_reload: one_worker, in [Mode::Process];
    the_end_of_a_paused_peer_is_seen_when_it_is_resumed: one_worker;
    a_paused_peer_that_is_gone_is_found_by_writing: one_worker;
    a_paused_connection_can_be_closed: one_worker;
    nothing_is_read_before_a_connection_is_confirmed: delayed_but_the_first;
    a_connection_that_waits_can_be_closed_and_what_it_sent_is_thrown_away: delayed_but_the_first;
    without_delay_nothing_can_be_confirmed: one_worker;
    a_connection_is_bound_once_and_shows_its_user: one_worker;
    // Elsewhere a connection is seen by its own worker alone.
    of_many_who_bind_at_once_one_succeeds: two_workers, in [Mode::Process, Mode::Thread];
    ids_above_2_to_the_32_work_everywhere: beyond_32_bits;
    // Elsewhere what waits for a worker waits in the system.
    a_packet_that_waited_shows_how_long: two_workers, in [Mode::Process];
    what_only_waits_was_not_sent: one_worker;

    every_process_closes_and_the_bound_worker_hears_it: serve_everywhere;
    a_reset_by_another_process_cuts_what_waits: serve_everywhere;
    // Elsewhere only the owner of a connection closes it.
    a_reset_that_comes_to_another_worker_waits_for_the_close_callback:
        closing_slowly, in [Mode::Process];

    // Elsewhere nothing waits for a worker.
    a_worker_that_takes_nothing_is_not_given_more_than_the_limit: crowded, in [Mode::Process];
    a_killed_worker_leaves_no_byte_counted_as_waiting: crowded, in [Mode::Process];
    a_worker_that_stops_leaves_what_waits_to_its_successor: crowded, in [Mode::Process];
}
