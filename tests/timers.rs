//! Timers, deferred calls and the program's own descriptors, in every process that has callbacks.
//!
//! Times are only ever compared with what no machine can break: nothing comes too early, and on
//! time comes what is waited for, however often it is late before.

#[path = "timers/api.rs"]
mod api;
mod common;
#[path = "timers/descriptors.rs"]
mod descriptors;
#[path = "timers/phases.rs"]
mod phases;
#[path = "timers/place.rs"]
mod place;

use api::*;
use common::api::Handle;
use common::prelude::*;
use descriptors::*;
use phases::*;
use place::{all_is_played, end, play_everywhere, Place};
use std::cell::{Cell, RefCell};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_millis(10);
/// An hour: a timer that does not fire while a test runs.
pub const HOUR_MS: i64 = 3_600_000;
const INVALID: i32 = SW_ERROR_INVALID_PARAMS;

/// A callback that takes so long.
fn work(time: Duration) {
    std::thread::sleep(time);
}

/// The grid of a tick of `PERIOD` that was made between two moments.
struct Grid {
    from: Instant,
    to: Instant,
}

impl Grid {
    /// A tick and its grid.
    fn begin(server: Handle, mut call: impl FnMut(&Grid, i64) + 'static) {
        let from = Instant::now();
        let grid = Rc::new(RefCell::new(Grid { from, to: from }));
        let told = Rc::clone(&grid);
        tick(server, 10, move |id| call(&told.borrow(), id)).expect("a timer");
        grid.borrow_mut().to = Instant::now();
    }

    /// How many points lie before a moment, at the most.
    fn index(&self, time: Instant) -> u32 {
        u32::try_from(time.duration_since(self.from).as_nanos() / PERIOD.as_nanos()).expect("days")
    }

    fn point(&self, index: u32) -> Instant {
        self.from + PERIOD * index
    }

    /// The first point behind a moment, or an earlier time where the beginning is too uncertain.
    fn next_point(&self, time: Instant) -> Instant {
        let uncertainty = self.to - self.from;
        if time - self.point(self.index(time)) < uncertainty {
            return time;
        }
        self.point(self.index(time) + 1)
    }
}

fn tick_longer_than_the_period(setup: &Setup) -> Outcome {
    play_everywhere(setup, |server, place| {
        let mut last_end = None;
        let mut last_index = 0;
        let mut right_gaps = 0;
        Grid::begin(server, move |grid, id| {
            let begin = Instant::now();
            let earliest = last_end.map_or(grid.from + PERIOD, |last| grid.next_point(last));
            assert!(begin >= earliest, "{:?} too early", earliest - begin);
            // A call of 15 ms misses one point: the gap is two periods, if nothing else is late.
            let index = grid.index(begin);
            right_gaps += u32::from(last_end.is_some() && index - last_index == 2);
            last_index = index;
            work(PERIOD * 3 / 2);
            last_end = Some(Instant::now());
            if right_gaps == 3 {
                clear_timer(server, id).expect("its own timer");
                end(server, place);
            }
        });
    })
}

/// A tick that keeps its grid comes ten times in a row within 4 ms behind the next point. One that
/// starts anew after each call would drift away by the 3 ms that a call takes.
fn tick_shortly(setup: &Setup) -> Outcome {
    play_everywhere(setup, |server, place| {
        let mut last = None;
        let mut in_a_row = 0;
        Grid::begin(server, move |grid, id| {
            let begin = Instant::now();
            let earliest = last.map_or(grid.from + PERIOD, |last| grid.next_point(last));
            assert!(begin >= earliest, "{:?} too early", earliest - begin);
            let index = grid.index(begin);
            let late = begin - grid.point(index);
            let is_next = last.is_some_and(|last| index == grid.index(last) + 1);
            in_a_row = if is_next && late < PERIOD * 4 / 10 { in_a_row + 1 } else { 0 };
            last = Some(begin);
            work(PERIOD * 3 / 10);
            if in_a_row == 10 {
                clear_timer(server, id).expect("its own timer");
                end(server, place);
            }
        });
    })
}

/// A chain of timers of 20 ms: none is early, and five are at most 5 ms late.
fn measure(setup: &Setup) -> Outcome {
    fn next(server: Handle, place: Place, mut late: Vec<Duration>) {
        let begin = Instant::now();
        let call = move |_| {
            let passed = begin.elapsed();
            assert!(passed >= PERIOD * 2, "after {passed:?}");
            late.push(passed - PERIOD * 2);
            if late.iter().filter(|late| **late < PERIOD / 2).count() < 5 {
                return next(server, place, std::mem::take(&mut late));
            }
            let range = (late.iter().min(), late.iter().max());
            report!("{place:?}: a timer of 20 ms is late by {range:?}");
            end(server, place);
        };
        after(server, 20, call).expect("a timer");
    }
    play_everywhere(setup, |server, place| next(server, place, Vec::new()))
}

fn fire_once(setup: &Setup) -> Outcome {
    play_everywhere(setup, |server, place| {
        let count = Rc::new(Cell::new(0));
        let counted = Rc::clone(&count);
        let id = Rc::new(Cell::new(0));
        let told = Rc::clone(&id);
        let call = move |own| {
            assert_eq!(own, told.get());
            counted.set(counted.get() + 1);
        };
        id.set(after(server, 5, call).expect("a timer"));
        // Time for nine more.
        let check = move |_| {
            assert_eq!(count.get(), 1);
            assert_eq!(refusal(clear_timer(server, id.get())), INVALID, "it has fired");
            end(server, place);
        };
        after(server, 50, check).expect("a timer");
    })
}

/// Timers that are all due when the loop looks at them.
fn fire_together(setup: &Setup) -> Outcome {
    play_everywhere(setup, |server, place| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let note = |ms: i64, name: i64| {
            let log = Rc::clone(&log);
            after(server, ms, move |_| log.borrow_mut().push(name)).expect("a timer");
        };
        (20..40).for_each(|name| note(20, name));
        (0..20).for_each(|name| note(2, name));
        let check = move |_| {
            assert!(log.borrow().iter().copied().eq(0..40), "{log:?}");
            end(server, place);
        };
        after(server, 20, check).expect("a timer");
        work(PERIOD * 3);
    })
}

/// Two timers of one sweep; the first makes a timer that is due before the second is called.
fn make_rounds(setup: &Setup) -> Outcome {
    play_everywhere(setup, |server, place| {
        let log = Rc::new(RefCell::new(String::new()));
        let note = {
            let log = Rc::clone(&log);
            move |letter| log.borrow_mut().push(letter)
        };
        let (in_first, in_second) = (note.clone(), note);
        let first = move |_| {
            in_first('a');
            let (in_new, in_deferred) = (in_first.clone(), in_first.clone());
            let log = Rc::clone(&log);
            let new = move |_| {
                in_new('d');
                assert_eq!(*log.borrow(), "abcd");
                end(server, place);
            };
            after(server, 1, new).expect("a timer");
            defer(server, move || in_deferred('c')).expect("a call");
            work(Duration::from_millis(3));
        };
        after(server, 1, first).expect("a timer");
        after(server, 1, move |_| in_second('b')).expect("a timer");
        work(Duration::from_millis(3));
    })
}

fn clear_timers(setup: &Setup) -> Outcome {
    play_everywhere(setup, |server, place| {
        let mut calls = 0;
        let clear_own_tick = move |id| {
            calls += 1;
            assert!(calls <= 3, "called after it was cleared");
            if calls == 3 {
                clear_timer(server, id).expect("its own timer");
                assert_eq!(refusal(clear_timer(server, id)), INVALID, "cleared twice");
            }
        };
        let own = tick(server, 2, clear_own_tick).expect("a timer");
        let clear_own_once = move |id| {
            clear_timer(server, id).expect("it exists until its callback ends");
            assert_eq!(refusal(clear_timer(server, id)), INVALID, "cleared twice");
        };
        let once = after(server, 5, clear_own_once).expect("a timer");
        // Both are due in one sweep.
        let victim = Rc::new(Cell::new(0));
        let told = Rc::clone(&victim);
        let clear_next = move |_| clear_timer(server, told.get()).expect("a timer that is due");
        after(server, 5, clear_next).expect("a timer");
        victim.set(after(server, 5, |_| panic!("called after it was cleared")).expect("a timer"));
        let early = after(server, 1, |_| panic!("called after it was cleared")).expect("a timer");
        clear_timer(server, early).expect("a timer");
        work(PERIOD);
        let check = move |id: i64| {
            for gone in [own, once, victim.get(), early, 0, -1, i64::MIN, i64::MAX, id + 1] {
                assert_eq!(refusal(clear_timer(server, gone)), INVALID, "{gone}");
            }
            end(server, place);
        };
        after(server, 30, check).expect("a timer");
    })
}

fn wait_for_ever(setup: &Setup) -> Outcome {
    play_everywhere(setup, |server, place| {
        for ms in [0, -1, i64::MIN] {
            assert_eq!(refusal(tick(server, ms, |_| {})), INVALID);
            assert_eq!(refusal(after(server, ms, |_| {})), INVALID);
        }
        let lengths = [HOUR_MS, 86_400_001, i64::from(i32::MAX) + 1, 1 << 32, i64::MAX];
        let mut ids = Vec::new();
        for ms in lengths {
            ids.push(after(server, ms, |_| panic!("too early")).expect("a long timer"));
            ids.push(tick(server, ms, |_| panic!("too early")).expect("a long tick"));
        }
        let check = move |_| {
            ids.iter().for_each(|id| clear_timer(server, *id).expect("it is still there"));
            end(server, place);
        };
        after(server, 20, check).expect("a timer");
    })
}

/// The manager has 500 timers, a worker none of these numbers.
fn clear_foreign_timers(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    server.on("managerStart", |server, _| {
        for _ in 0..500 {
            after(server, HOUR_MS, |_| {}).expect("a timer");
        }
        report!("made");
    })?;
    server.on("receive", |server, _| {
        let found = (1..=500).filter(|id| refusal(clear_timer(server, *id)) != INVALID);
        report!("found {:?}", found.collect::<Vec<_>>());
    })?;
    server.start()?;
    Ok(())
}

fn timers_of_another_process_are_out_of_reach(server: &Running) -> Outcome {
    server.wait_line(|line| line == "made", STEP)?;
    server.connect()?.send(b"clear")?;
    server.wait_line(|line| line == "found []", STEP)?;
    Ok(())
}

/// Nothing but the calls themselves keeps the loop going.
fn defer_calls(setup: &Setup) -> Outcome {
    fn chain(server: Handle, place: Place, left: u32) {
        match left {
            0 => end(server, place),
            _ => defer(server, move || chain(server, place, left - 1)).expect("a nested call"),
        }
    }
    play_everywhere(setup, |server, place| {
        let log = Rc::new(RefCell::new(Vec::new()));
        for number in 0..100 {
            let log = Rc::clone(&log);
            let call = move || {
                log.borrow_mut().push(number);
                let nested = Rc::clone(&log);
                defer(server, move || nested.borrow_mut().push(number + 100)).expect("a call");
            };
            defer(server, call).expect("a call");
        }
        let check = move || {
            let is_next = log.borrow().iter().copied().eq(0..100);
            assert!(is_next, "{log:?}");
            let finish = move || {
                assert!(log.borrow().iter().copied().eq(0..200), "{log:?}");
                chain(server, place, 1000);
            };
            defer(server, finish).expect("a call");
        };
        defer(server, check).expect("a call");
    })
}

const CLIENTS: usize = 200;
/// How many messages a worker may handle before it looks at the clock.
const MOST_BETWEEN: u32 = 16;

/// Is stuck at first until 200 messages wait, then takes 2 ms for each; a timer of 1 ms counts how
/// many come before it.
fn work_slowly(setup: &Setup) -> Outcome {
    static SINCE: AtomicU32 = AtomicU32::new(0);
    static MOST: AtomicU32 = AtomicU32::new(0);
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = setup.server()?;
    server.set("worker_num", "1")?;
    server.on("receive", |server, event| {
        if let Ok([low, high]) = <[u8; 2]>::try_from(event.data()) {
            tick(server, 1, |_| SINCE.store(0, Ordering::Relaxed)).expect("a timer");
            let gate = TcpStream::connect(("127.0.0.1", u16::from_le_bytes([low, high])));
            assert_eq!(gate.expect("the gate").read(&mut [0]).expect("its end"), 0);
            return;
        }
        work(Duration::from_millis(2));
        let since = SINCE.fetch_add(1, Ordering::Relaxed) + 1;
        let most = MOST.fetch_max(since, Ordering::Relaxed).max(since);
        if COUNT.fetch_add(1, Ordering::Relaxed) + 1 == CLIENTS as u32 {
            report!("most {most}");
        }
    })?;
    server.start()?;
    Ok(())
}

fn slow_callbacks_do_not_hold_up_timers(server: &Running) -> Outcome {
    let gate = TcpListener::bind(("127.0.0.1", 0))?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(server.connect()?);
    }
    let mut first = server.connect()?;
    first.send(&gate.local_addr()?.port().to_le_bytes())?;
    let (held, _) = gate.accept()?;
    for client in &mut clients {
        client.send(b"x")?;
    }
    drop(held);
    let line = server.wait_line(|line| line.starts_with("most"), STEP)?;
    let most: u32 = line.trim_start_matches("most ").parse()?;
    assert!(most <= MOST_BETWEEN, "{most} messages between two ticks of 1 ms");
    Ok(())
}

/// A loop that never waits, since there is always another deferred call and a socket to write to,
/// until the timers have fired.
fn tick_in_a_busy_loop(setup: &Setup) -> Outcome {
    fn keep_busy(server: Handle, is_over: Rc<Cell<bool>>) {
        if !is_over.get() {
            defer(server, move || keep_busy(server, is_over)).expect("a call");
        }
    }
    play_everywhere(setup, |server, place| {
        let is_over = Rc::new(Cell::new(false));
        keep_busy(server, Rc::clone(&is_over));
        let sockets = UnixStream::pair().expect("a pair");
        let fd = sockets.0.as_raw_fd();
        if place != Place::Manager {
            add(fd, SW_IO_WRITE, |_, _| {}).expect("a socket");
        }
        let mut count = 0;
        let call = move |id| {
            count += 1;
            if count == 10 {
                clear_timer(server, id).expect("its own timer");
                is_over.set(true);
                if place != Place::Manager {
                    del(sockets.0.as_raw_fd()).expect("it is watched");
                }
                end(server, place);
            }
        };
        tick(server, 5, call).expect("a timer");
    })
}

const CROWD: i64 = 100_000;

/// Every tenth is cleared; the others fire once, not early, and in the order of making among those
/// of the same length.
fn make_a_crowd(setup: &Setup) -> Outcome {
    struct Crowd {
        fired: i64,
        last: [i64; 51],
    }
    let server = setup.server()?;
    server.on("receive", |server, _| {
        let crowd = Rc::new(RefCell::new(Crowd { fired: 0, last: [0; 51] }));
        let begin = Instant::now();
        let mut ids = Vec::new();
        for number in 0..CROWD {
            let ms = 1 + number % 50;
            let crowd = Rc::clone(&crowd);
            let made = Instant::now();
            let call = move |id| {
                assert!(made.elapsed() >= Duration::from_millis(ms as u64), "too early");
                let mut crowd = crowd.borrow_mut();
                let last = std::mem::replace(&mut crowd.last[ms as usize], id);
                assert!(last < id, "{id} after {last}");
                crowd.fired += 1;
                if crowd.fired == CROWD - CROWD / 10 {
                    report!("all fired after {:?}", begin.elapsed());
                }
                assert!(crowd.fired <= CROWD - CROWD / 10);
            };
            ids.push(after(server, ms, call).expect("a timer"));
        }
        ids.iter().step_by(10).for_each(|id| clear_timer(server, *id).expect("a timer"));
        report!("made in {:?}", begin.elapsed());
    })?;
    server.start()?;
    Ok(())
}

fn a_hundred_thousand_timers_fire_each_once_and_in_order(server: &Running) -> Outcome {
    server.connect()?.send(b"go")?;
    server.wait_line(|line| line.starts_with("all fired"), STEP)?;
    Ok(())
}

use all_is_played as a_tick_keeps_its_grid_and_leaves_out_what_it_missed;
use all_is_played as a_tick_does_not_drift;
use all_is_played as timers_fire_while_the_loop_is_never_idle;
use all_is_played as a_timer_is_never_early_and_seldom_late;
use all_is_played as a_single_timer_fires_once_and_is_told_its_id;
use all_is_played as timers_due_together_fire_by_time_and_then_in_the_order_of_making;
use all_is_played as what_a_sweep_makes_comes_in_the_next_and_deferred_calls_between;
use all_is_played as a_cleared_timer_never_fires_and_cannot_be_cleared_again;
use all_is_played as a_timer_takes_any_time_from_one_millisecond_up;
use all_is_played as deferred_calls_come_in_order_and_nested_ones_before_the_loop_waits;
use all_is_played as a_descriptor_is_told_of_until_it_is_read_or_removed;
use all_is_played as writing_is_told_of_until_it_is_changed_or_removed;
use all_is_played as a_wrong_descriptor_is_refused_with_its_number_and_left_as_it_was;
use all_is_played as a_change_counts_for_what_is_ready_in_the_same_round;
use all_is_played as a_removed_descriptor_is_silent_in_the_same_round;
use all_is_played as an_event_is_not_for_the_next_owner_of_its_number;
use all_is_played as many_descriptors_have_each_their_own_callback;

server_tests! {
    a_tick_keeps_its_grid_and_leaves_out_what_it_missed: tick_longer_than_the_period;
    a_tick_does_not_drift: tick_shortly;
    a_timer_is_never_early_and_seldom_late: measure;
    a_single_timer_fires_once_and_is_told_its_id: fire_once;
    timers_due_together_fire_by_time_and_then_in_the_order_of_making: fire_together;
    what_a_sweep_makes_comes_in_the_next_and_deferred_calls_between: make_rounds;
    a_cleared_timer_never_fires_and_cannot_be_cleared_again: clear_timers;
    a_timer_takes_any_time_from_one_millisecond_up: wait_for_ever;
    timers_of_another_process_are_out_of_reach: clear_foreign_timers;
    deferred_calls_come_in_order_and_nested_ones_before_the_loop_waits: defer_calls;
    slow_callbacks_do_not_hold_up_timers: work_slowly;
    timers_fire_while_the_loop_is_never_idle: tick_in_a_busy_loop;
    a_hundred_thousand_timers_fire_each_once_and_in_order: make_a_crowd;
    a_descriptor_is_told_of_until_it_is_read_or_removed: read_a_pipe;
    writing_is_told_of_until_it_is_changed_or_removed: write_and_change;
    a_wrong_descriptor_is_refused_with_its_number_and_left_as_it_was: make_mistakes;
    a_change_counts_for_what_is_ready_in_the_same_round: change_what_is_ready;
    a_removed_descriptor_is_silent_in_the_same_round: remove_what_is_ready;
    an_event_is_not_for_the_next_owner_of_its_number: replace_what_is_ready;
    many_descriptors_have_each_their_own_callback: watch_many;
    calls_in_a_wrong_phase_are_refused: call_in_every_phase;
    calls_of_a_foreign_thread_or_process_are_refused: call_from_elsewhere;
    // In PROCESS mode connections outlive the workers.
    the_timers_of_the_server_are_not_seen: set_a_timer_at_the_end, in [Mode::Base, Mode::Thread];
}
