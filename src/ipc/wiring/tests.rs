//! Tests of whole wirings: inboxes and outboxes of several units.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::*;
use crate::ipc::message::Header;
use crate::ipc::tests::kill_at_every_step;
use crate::os::clock::monotonic_ns;
use crate::shm::Place;

const LANE: usize = 4096;
/// Long enough for the slowest machine, and never waited for when all is well.
const LIMIT: Duration = Duration::from_secs(20);

fn wiring(units: usize, lanes: &[(u16, u16)]) -> Wiring {
    let mut layout = Layout::new();
    let plan = WiringPlan::new(&mut layout, units, &[], lanes, LANE, |_| LANE).unwrap();
    Wiring::new(&layout.map().unwrap(), plan).unwrap()
}

fn header(extra: u64) -> Header {
    Header { extra, ..Header::default() }
}

fn deadline_ns() -> u64 {
    monotonic_ns() + LIMIT.as_nanos() as u64
}

/// How often the unit was rung since this was last asked. Only a test may read a doorbell.
fn rings(wiring: &Wiring, unit: u16) -> u64 {
    let mut count = [0; 8];
    match nix::unistd::read(wiring.doorbell_fd(unit).unwrap(), &mut count) {
        Ok(_) => u64::from_ne_bytes(count),
        Err(_) => 0,
    }
}

fn numbers(inbox: &mut Inbox) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(message) = inbox.next() {
        numbers.push(message.header.extra);
    }
    inbox.release();
    numbers
}

fn bytes_of(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn messages_arrive_through_own_and_shared_lanes() {
    let wiring = wiring(3, &[(1, 0)]);
    let mut inbox = wiring.inbox(0).unwrap();
    for unit in [1, 2] {
        let mut outbox = wiring.outbox(unit).unwrap();
        assert!(outbox.post(0, &Header { source: unit, ..header(7) }, &[b"hello ", b"", b"there"]));
        outbox.flush();
        let message = inbox.next().unwrap();
        assert_eq!((message.header.source, message.header.extra), (unit, 7));
        assert_eq!((message.header.size, &*message.payload), (11, &b"hello there"[..]));
        assert!(inbox.next().is_none());
    }
}

#[test]
fn a_unit_can_write_to_itself() {
    let wiring = wiring(1, &[]);
    let (mut inbox, mut outbox) = (wiring.inbox(0).unwrap(), wiring.outbox(0).unwrap());
    assert!(inbox.next().is_none());
    outbox.post(0, &header(1), &[]);
    outbox.flush();
    assert!(!inbox.prepare_sleep());
    assert_eq!(numbers(&mut inbox), [1]);
}

#[test]
fn a_sleeper_is_rung_once_for_a_burst_and_a_busy_reader_never() {
    let wiring = wiring(3, &[(1, 0)]);
    let mut inbox = wiring.inbox(0).unwrap();
    let mut outboxes = [wiring.outbox(1).unwrap(), wiring.outbox(2).unwrap()];
    let mut burst = || {
        for outbox in &mut outboxes {
            (0..10).for_each(|number| assert!(outbox.post(0, &header(number), &[])));
            outbox.flush();
        }
    };
    burst();
    assert_eq!(rings(&wiring, 0), 0);
    assert!(!inbox.prepare_sleep());
    assert_eq!(numbers(&mut inbox).len(), 20);
    assert!(inbox.prepare_sleep());
    burst();
    assert_eq!(rings(&wiring, 0), 1);
    inbox.wake();
    assert_eq!(numbers(&mut inbox).len(), 20);
    assert!(inbox.prepare_sleep());
    inbox.wake();
    burst();
    assert_eq!(rings(&wiring, 0), 0);
}

#[test]
fn what_finds_no_room_waits_in_order_and_the_reader_calls_for_it() {
    for lanes in [&[(1, 0)][..], &[]] {
        let wiring = wiring(2, lanes);
        let (mut inbox, mut outbox) = (wiring.inbox(0).unwrap(), wiring.outbox(1).unwrap());
        for number in 0..500 {
            assert!(outbox.post(0, &header(number), &[&bytes_of(number as usize)]));
        }
        assert!(outbox.has_pending() && outbox.is_blocked(0) && !outbox.is_blocked(1));
        assert!(outbox.reserve(0, 1, 1).is_none());
        let mut seen = Vec::new();
        while seen.len() < 500 {
            outbox.flush();
            let before = seen.len();
            while let Some(message) = inbox.next() {
                assert_eq!(&*message.payload, &bytes_of(message.header.extra as usize)[..]);
                seen.push(message.header.extra);
            }
            assert!(seen.len() > before, "stuck");
            assert_eq!(rings(&wiring, 1), 0);
            let was_blocked = outbox.has_pending();
            inbox.release();
            assert_eq!(rings(&wiring, 1), u64::from(was_blocked));
        }
        assert_eq!(seen, (0..500).collect::<Vec<_>>());
        assert!(!outbox.has_pending());
        assert_eq!(outbox.pending_bytes(), 0);
        outbox.post(0, &header(1), &[]);
        assert_eq!(wiring.unread_bytes(0), 32);
    }
}

#[test]
fn a_place_in_the_own_lane_is_filled_by_the_sender() {
    let wiring = wiring(3, &[(1, 0)]);
    let (mut inbox, mut outbox) = (wiring.inbox(0).unwrap(), wiring.outbox(1).unwrap());
    let mut place = outbox.reserve(0, 10, 500).unwrap();
    assert_eq!(place.len(), 500);
    place[..5].copy_from_slice(b"bytes");
    place.publish(&header(3), 5);
    // A place that is not used sends nothing.
    assert!(outbox.reserve(0, 10, 500).is_some());
    outbox.flush();
    assert_eq!(&*inbox.next().unwrap().payload, b"bytes");
    assert!(inbox.next().is_none());
    assert!(outbox.reserve(2, 1, 1).is_none(), "there is no own lane to 2");
    assert!(outbox.reserve(9, 1, 1).is_none());
}

/// Reads in a loop that sleeps on the doorbell, until `enough`.
fn read_until(wiring: &Wiring, unit: u16, mut take: impl FnMut(&Header, &[u8]) -> bool) {
    let mut inbox = wiring.inbox(unit).unwrap();
    let mut poll = Poll::new().unwrap();
    let fd = wiring.doorbell_fd(unit).unwrap();
    poll.registry().register(&mut SourceFd(&fd), Token(0), Interest::READABLE).unwrap();
    let (mut events, end) = (Events::with_capacity(4), Instant::now() + LIMIT);
    loop {
        while let Some(message) = inbox.next() {
            if take(&message.header, &message.payload) {
                inbox.release();
                return;
            }
        }
        inbox.release();
        if inbox.prepare_sleep() {
            poll.poll(&mut events, Some(LIMIT)).unwrap();
            inbox.wake();
        }
        assert!(Instant::now() < end, "stuck");
    }
}

#[test]
fn a_message_far_larger_than_its_lane_arrives_whole() {
    let sizes = [0, 992, 993, 5000, 3 << 20];
    for lanes in [&[(1, 0)][..], &[]] {
        let wiring = wiring(2, lanes);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut outbox = wiring.outbox(1).unwrap();
                for size in sizes {
                    let bytes = bytes_of(size);
                    let (head, tail) = bytes.split_at(size / 3);
                    assert!(outbox.post(0, &header(size as u64), &[head, tail]));
                }
                assert!(outbox.pending_bytes() > 2 << 20);
                assert!(outbox.flush_blocking(deadline_ns()));
            });
            let mut seen = Vec::new();
            read_until(&wiring, 0, |header, payload| {
                assert_eq!(header.size as usize, payload.len());
                assert!(payload == bytes_of(header.extra as usize));
                seen.push(payload.len());
                seen.len() == sizes.len()
            });
            assert_eq!(seen, sizes);
        });
    }
}

#[test]
fn many_writers_and_a_reader_that_sleeps_keep_every_order() {
    const COUNT: u64 = 5_000;
    let wiring = wiring(4, &[(1, 0), (2, 0)]);
    std::thread::scope(|scope| {
        for unit in 1..4_u16 {
            let wiring = &wiring;
            scope.spawn(move || {
                let mut outbox = wiring.outbox(unit).unwrap();
                for number in 0..COUNT {
                    let header = Header { source: unit, ..header(number) };
                    assert!(outbox.post(0, &header, &[&[unit as u8; 50][..number as usize % 50]]));
                    if number % 16 == 0 {
                        outbox.flush();
                    }
                }
                assert!(outbox.flush_blocking(deadline_ns()));
            });
        }
        let mut next = [0; 4];
        read_until(&wiring, 0, |header, payload| {
            assert_eq!(header.extra, next[usize::from(header.source)]);
            assert!(payload.iter().all(|byte| u16::from(*byte) == header.source));
            next[usize::from(header.source)] += 1;
            next[1..] == [COUNT; 3]
        });
    });
}

#[test]
fn a_busy_lane_does_not_keep_the_others_waiting() {
    let wiring = wiring(70, &(1..70).map(|unit| (unit, 0)).collect::<Vec<_>>());
    let mut inbox = wiring.inbox(0).unwrap();
    assert!(numbers(&mut inbox).is_empty());
    let (mut busy, mut quiet) = (wiring.outbox(1).unwrap(), wiring.outbox(69).unwrap());
    let mut since = None;
    for number in 0..1000 {
        busy.post(0, &header(0), &[]);
        busy.flush();
        if number == 300 {
            quiet.post(0, &header(1), &[]);
            quiet.flush();
            since = Some(0);
        }
        let is_quiet = inbox.next().unwrap().header.extra == 1;
        inbox.release();
        match &mut since {
            Some(_) if is_quiet => return,
            Some(waited) => *waited += 1,
            None => {}
        }
        assert!(since < Some(65), "the quiet lane waits too long");
    }
    panic!("the quiet lane was never read");
}

#[test]
fn a_successor_begins_its_large_message_anew() {
    let wiring = wiring(2, &[(1, 0)]);
    let mut inbox = wiring.inbox(0).unwrap();
    let mut first = wiring.outbox(1).unwrap();
    assert!(first.post(0, &header(1), &[&bytes_of(9000)]));
    assert!(first.has_pending());
    drop(first);
    assert!(numbers(&mut inbox).is_empty());
    for number in 2..10 {
        // Each dies in the middle but the last.
        let mut next = wiring.outbox(1).unwrap();
        assert!(next.post(0, &header(number), &[&bytes_of(9000)]));
        assert!(numbers(&mut inbox).is_empty());
    }
    let mut last = wiring.outbox(1).unwrap();
    assert!(last.post(0, &header(99), &[&bytes_of(3000)]));
    last.flush();
    assert_eq!(&*inbox.next().unwrap().payload, &bytes_of(3000)[..]);
    // Nine began and never ended; those of the last writers may still be alive.
    assert_eq!(inbox.take_damages(), 6);
}

#[test]
fn a_reader_that_leaves_takes_the_rest_of_a_message_and_lets_nobody_begin_another() {
    let wiring = wiring(2, &[]);
    let (mut inbox, mut outbox) = (wiring.inbox(0).unwrap(), wiring.outbox(1).unwrap());
    assert!(outbox.post(0, &header(1), &[&bytes_of(9000)]));
    assert!(numbers(&mut inbox).is_empty() && inbox.has_part());
    inbox.release();
    inbox.take_pieces(false);
    for number in [2, 3] {
        assert!(outbox.post(0, &header(number), &[&bytes_of(9000)]));
    }
    let mut read = Vec::new();
    for _ in 0..100 {
        outbox.flush();
        read.extend(numbers(&mut inbox));
        inbox.release();
    }
    assert_eq!(read, [1]);
    assert!(!inbox.has_part() && outbox.has_pending());
    let mut successor = wiring.inbox(0).unwrap();
    for _ in 0..100 {
        outbox.flush();
        read.extend(numbers(&mut successor));
        successor.release();
    }
    assert_eq!(read, [1, 2, 3]);
    assert!(!outbox.has_pending());
}

#[test]
fn nobody_waits_for_the_rest_of_a_message_whose_writer_has_gone() {
    let wiring = wiring(2, &[]);
    let (mut inbox, mut outbox) = (wiring.inbox(0).unwrap(), wiring.outbox(1).unwrap());
    let header = Header { source: 1, ..header(1) };
    assert!(outbox.post(0, &header, &[&bytes_of(9000)]));
    assert!(numbers(&mut inbox).is_empty() && inbox.has_part());
    drop(outbox);
    assert!(wiring.outbox(1).is_ok() && !inbox.has_part());
}

#[test]
fn what_waits_for_a_unit_that_has_gone_is_given_up() {
    let wiring = wiring(3, &[]);
    let mut outbox = wiring.outbox(1).unwrap();
    for to in [0, 0, 2] {
        assert!(outbox.post(to, &header(1), &[&bytes_of(9000)]));
    }
    assert_eq!(outbox.forget(|to| to == 1), 0);
    let before = outbox.pending_bytes();
    assert_eq!(outbox.forget(|to| to == 0), 2);
    assert!(!outbox.is_blocked(0) && outbox.is_blocked(2) && outbox.pending_bytes() < before);
    assert_eq!(outbox.forget(|_| true), 1);
    assert!(!outbox.has_pending() && outbox.pending_bytes() == 0);
}

#[test]
fn what_waits_for_room_in_a_shared_lane_is_no_reason_to_keep_the_own_ones() {
    let wiring = wiring(3, &[(1, 0)]);
    let mut outbox = wiring.outbox(1).unwrap();
    assert!(outbox.post(2, &header(1), &[&bytes_of(9000)]));
    assert!(outbox.is_blocked(2) && outbox.is_held_up());
    outbox.leave_waiting(2..3);
    assert!(!outbox.is_held_up());
    assert!(outbox.hand_over(monotonic_ns()));
    assert!(outbox.has_pending());
}

#[test]
fn handing_over_waits_until_the_own_lanes_are_read() {
    let wiring = wiring(2, &[(1, 0)]);
    let mut inbox = wiring.inbox(0).unwrap();
    let mut old = wiring.outbox(1).unwrap();
    for number in 0..200 {
        old.post(0, &header(number), &[&[0; 100]]);
    }
    assert!(!old.hand_over(monotonic_ns()), "nothing was read yet");
    assert_eq!(numbers(&mut inbox).first(), Some(&0));

    let mut old = wiring.outbox(1).unwrap();
    old.flush();
    numbers(&mut inbox);
    for number in 0..200 {
        old.post(0, &header(number), &[&[0; 100]]);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(old.hand_over(deadline_ns()));
            let mut new = wiring.outbox(1).unwrap();
            old.post(0, &header(200), &[]);
            old.flush();
            assert_eq!(wiring.shape.lane_words[2].unread_bytes(), 0);
            new.post(0, &header(1000), &[]);
            new.flush();
        });
        let mut next = 0;
        let mut from_new = 0;
        read_until(&wiring, 0, |header, _| {
            if header.extra == 1000 {
                from_new += 1;
            } else {
                assert_eq!(header.extra, next);
                next += 1;
            }
            next == 201 && from_new == 1
        });
    });
}

#[test]
fn a_unit_without_own_lanes_uses_the_shared_ones() {
    let wiring = wiring(2, &[(1, 0)]);
    let mut inbox = wiring.inbox(0).unwrap();
    let (mut own, mut old) = (wiring.outbox(1).unwrap(), wiring.outbox_shared_only(1).unwrap());
    old.post(0, &header(1), &[]);
    own.post(0, &header(2), &[]);
    old.flush();
    assert_eq!(wiring.shape.lane_words[0].unread_bytes(), 32);
    assert_eq!(wiring.shape.lane_words[2].unread_bytes(), 32);
    let mut seen = numbers(&mut inbox);
    seen.sort_unstable();
    assert_eq!(seen, [1, 2]);
    assert!(old.reserve(0, 1, 1).is_none());
}

#[test]
fn blocking_ends_at_the_deadline() {
    let wiring = wiring(2, &[]);
    let mut outbox = wiring.outbox(1).unwrap();
    outbox.post(0, &header(0), &[&bytes_of(3 * LANE)]);
    let end = monotonic_ns() + 20_000_000;
    assert!(!outbox.flush_blocking(end));
    assert!(monotonic_ns() >= end);
    assert!(outbox.pending_bytes() > 0);
}

#[test]
fn impossible_plans_and_units_are_refused() {
    let plan = |units, lanes: &[(u16, u16)]| {
        WiringPlan::new(&mut Layout::new(), units, &[], lanes, LANE, |_| LANE)
            .map(|_| ())
            .map_err(|e| e.code())
    };
    assert_eq!(plan(MAX_UNITS, &[(0, 1023)]), Ok(()));
    assert_eq!(plan(MAX_UNITS + 1, &[]), Err(code::INVALID_PARAMS));
    assert_eq!(plan(3, &[(0, 3)]), Err(code::INVALID_PARAMS));
    assert_eq!(plan(3, &[(3, 0)]), Err(code::INVALID_PARAMS));
    assert_eq!(plan(3, &[(1, 0), (2, 0), (1, 0)]), Err(code::INVALID_PARAMS));
    let wiring = wiring(2, &[]);
    assert!(wiring.inbox(2).is_err() && wiring.outbox(2).is_err());
    assert!(wiring.outbox_shared_only(2).is_err() && wiring.doorbell_fd(2).is_none());
    assert!(!wiring.outbox(0).unwrap().post(2, &header(1), &[]));
    wiring.ring(2);
    wiring.ring(1);
    assert_eq!(rings(&wiring, 1), 1);
}

/// A wiring, a word to count in, and the reader of unit 0, asleep.
struct Scene {
    wiring: Wiring,
    done: Place<AtomicU64>,
    inbox: Inbox,
}

fn scene() -> Scene {
    let mut layout = Layout::new();
    let plan = WiringPlan::new(&mut layout, 3, &[], &[(1, 0)], 1024, |_| 1024).unwrap();
    let done = layout.array(1);
    let region = layout.map().unwrap();
    let wiring = Wiring::new(&region, plan).unwrap();
    let mut inbox = wiring.inbox(0).unwrap();
    assert!(inbox.next().is_none());
    assert!(inbox.prepare_sleep());
    Scene { wiring, done: region.view(&done).place(0).unwrap(), inbox }
}

fn send_as(unit: u16, scene: &Scene) {
    let mut outbox = scene.wiring.outbox(unit).unwrap();
    for number in 1..=12 {
        assert!(outbox.post(0, &header(number), &[&[7; 60]]));
        scene.done.store(number, Ordering::Relaxed);
        if number % 4 == 0 {
            outbox.flush();
        }
    }
}

#[test]
fn a_sleeper_learns_of_every_message_of_a_writer_that_was_killed() {
    for unit in [1, 2] {
        let killed = kill_at_every_step(
            scene,
            |scene| send_as(unit, scene),
            |mut scene| {
                let was_unread = scene.wiring.unread_bytes(0) > 0;
                let mut successor = scene.wiring.outbox(unit).unwrap();
                assert!(rings(&scene.wiring, 0) > 0 || !was_unread, "nobody rings the sleeper");
                scene.inbox.wake();
                let seen = numbers(&mut scene.inbox);
                assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
                let done = scene.done.load(Ordering::Relaxed);
                // What found no room was in the memory of the dead.
                assert!(seen.len() as u64 <= done + 1);
                assert!(seen.len() as u64 >= done.min(8));
                assert!(successor.post(0, &header(50), &[&[1; 100]]));
                successor.flush();
                assert_eq!(numbers(&mut scene.inbox), [50]);
                assert!(scene.inbox.prepare_sleep());
            },
        );
        assert!(killed > 20, "only {killed} steps");
    }
}

#[test]
fn a_writer_without_room_is_called_when_its_reader_was_killed() {
    let filled = || {
        let mut scene = scene();
        scene.inbox.wake();
        let mut outbox = scene.wiring.outbox(1).unwrap();
        (1..=30).for_each(|number| assert!(outbox.post(0, &header(number), &[&[7; 60]])));
        assert!(outbox.has_pending());
        (scene, outbox)
    };
    let read = |(scene, _): &(Scene, Outbox)| {
        let mut inbox = scene.wiring.inbox(0).unwrap();
        while let Some(message) = inbox.next() {
            scene.done.store(message.header.extra, Ordering::Relaxed);
        }
        inbox.release();
    };
    let killed = kill_at_every_step(filled, read, |(scene, mut outbox)| {
        rings(&scene.wiring, 1);
        let mut successor = scene.wiring.inbox(0).unwrap();
        assert!(rings(&scene.wiring, 1) > 0, "nobody calls the writer");
        let mut seen = Vec::new();
        while outbox.has_pending() {
            outbox.flush();
            seen.extend(numbers(&mut successor));
        }
        seen.extend(numbers(&mut successor));
        let done = scene.done.load(Ordering::Relaxed);
        assert_eq!(seen.last(), Some(&30));
        assert_eq!(seen, (31 - seen.len() as u64..=30).collect::<Vec<_>>());
        assert!(seen[0] == done + 1 || seen[0] == done + 2);
    });
    assert!(killed > 10, "only {killed} steps");
}
