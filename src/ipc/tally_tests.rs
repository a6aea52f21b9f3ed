//! Tests of what went through a lane. They stand apart from `tally.rs`, as those of the rings do.

use std::sync::atomic::Ordering;

use super::tally::{Account, Arrivals, Departures, VOID};

#[test]
fn arrivals_count_from_the_moment_in_which_the_tail_moves() {
    let arrivals = Arrivals::default();
    assert_eq!(arrivals.count(0), 0);
    let mut tail = 0;
    for count in 0..10 {
        arrivals.prepare(tail, true);
        assert_eq!(arrivals.count(tail), count, "not published yet");
        tail += 32;
        assert_eq!(arrivals.count(tail), count + 1);
        arrivals.prepare(tail, false);
        tail += 64;
        assert_eq!(arrivals.count(tail), count + 1, "of another kind");
    }
}

#[test]
fn what_a_dead_writer_was_about_to_publish_is_not_counted() {
    let arrivals = Arrivals::default();
    arrivals.prepare(0, true);
    arrivals.prepare(32, true);
    // It died before the tail moved: what comes next is the second message.
    arrivals.prepare(32, false);
    assert_eq!(arrivals.count(96), 1);
    arrivals.prepare(96, true);
    arrivals.prepare(96, true);
    assert_eq!((arrivals.count(96), arrivals.count(128)), (1, 2));
}

#[test]
fn an_account_is_the_last_one_or_the_one_before() {
    let departures = Departures::default();
    assert_eq!(departures.account(), Account::default());
    for step in 1..10 {
        let account = Account { position: step * 32, handled: step, failed: step / 2 };
        departures.settle(account);
        assert_eq!(departures.account(), account);
    }
    // Half written.
    let row = if departures.rows[0].handled.load(Ordering::Relaxed) == 8 { 0 } else { 1 };
    departures.rows[row].position.store(VOID, Ordering::Relaxed);
    departures.rows[row].handled.store(10, Ordering::Relaxed);
    assert_eq!(departures.account().handled, 9);
    departures.settle(Account { position: 400, handled: 11, failed: 0 });
    assert_eq!(departures.account().handled, 11);
}
