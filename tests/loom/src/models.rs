//! The models. Each runs the real ends in two or three threads, without loops that wait, and states
//! after the join what must hold whatever happened.

use std::sync::Arc;

use loom::thread;

use crate::ipc::lane::{LaneReader, LaneWords, LaneWriter, Writer, MIN_CAPACITY};
use crate::ipc::message::{Header, Mark};
use crate::ipc::ready::{ReadyWords, READY_WORDS};
use crate::ipc::shared_lane::{SharedLaneWriter, TurnWords};
use crate::ipc::sync::{fence, Bytes, Ordering};

/// Checks every execution with at most so many forced switches between threads; all bugs of such
/// protocols that are known need no more than two.
const MAX_SWITCHES: usize = 3;

/// The greatest payload of the smallest ring: four of its records fill the ring.
const FULL: usize = 32;
const RECORDS: u64 = 4;

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(MAX_SWITCHES);
    builder.check(model);
}

type Parts = (Arc<LaneWords>, Bytes);

fn parts() -> Parts {
    (Arc::default(), Bytes::new(MIN_CAPACITY))
}

fn ends((words, bytes): Parts) -> (LaneWriter, LaneReader) {
    let writer = LaneWriter::attach(words.clone(), bytes.clone());
    (writer, LaneReader::attach(words, bytes))
}

fn put(lane: &mut impl Writer, number: u64, size: usize) -> bool {
    let header = Header { extra: number, ..Header::default() };
    lane.put(&header, Mark::Whole, size, |out| out.fill(number as u8))
}

/// The number of the next message, whose bytes must all be what was written.
fn claim(reader: &mut LaneReader) -> Option<u64> {
    let record = reader.claim()?;
    let number = record.header.extra;
    assert!(reader.payload(&record).iter().all(|byte| *byte == number as u8));
    Some(number)
}

#[test]
fn messages_come_whole_and_in_order_across_the_end_of_the_ring() {
    check(|| {
        let (mut writer, mut reader) = ends(parts());
        // Three records and a half: the next large one needs padding.
        for number in [1, 2, 3] {
            assert!(put(&mut writer, number, FULL));
            assert_eq!(claim(&mut reader), Some(number));
        }
        assert!(put(&mut writer, 4, 0));
        assert_eq!(claim(&mut reader), Some(4));
        reader.release();
        let writing = thread::spawn(move || {
            let sent = [5, 6, 7].map(|number| put(&mut writer, number, FULL));
            assert_eq!(sent[..2], [true, true]);
            sent[2]
        });
        let mut seen: Vec<u64> = Vec::new();
        for _ in 0..3 {
            seen.extend(claim(&mut reader));
            reader.release();
        }
        let count = 2 + u64::from(writing.join().unwrap());
        seen.extend(std::iter::from_fn(|| claim(&mut reader)));
        assert_eq!(seen, (5..5 + count).collect::<Vec<_>>());
        assert_eq!(reader.take_damages(), 0);
    });
}

#[test]
fn a_writer_without_room_is_rung_when_there_is_room() {
    check(|| {
        let (mut writer, mut reader) = ends(parts());
        for number in 0..RECORDS {
            assert!(put(&mut writer, number, FULL));
        }
        let writing = thread::spawn(move || put(&mut writer, RECORDS, FULL));
        let mut is_rung = false;
        for number in 0..RECORDS {
            assert_eq!(claim(&mut reader), Some(number));
            is_rung |= reader.release();
        }
        assert!(writing.join().unwrap() || is_rung);
    });
}

#[test]
fn a_reader_that_sleeps_is_rung_or_has_seen_the_message() {
    check(|| {
        let (mut writer, mut reader) = ends(parts());
        let ready: Arc<ReadyWords> = Arc::default();
        let announced = ready.clone();
        let writing = thread::spawn(move || {
            assert!(put(&mut writer, 1, 8));
            announced.announce(3);
            fence(Ordering::SeqCst);
            announced.take_asleep()
        });
        let bits = ready.take(0);
        let seen_early = claim(&mut reader).is_some();
        if bits != 0 {
            assert!(seen_early, "a bit was taken and its message not seen");
        }
        let sleeps = ready.prepare_sleep(READY_WORDS);
        let is_rung = writing.join().unwrap();
        // A reader that sleeps for good without the message would be stuck.
        assert!(seen_early || !sleeps || is_rung);
        if !seen_early {
            assert_eq!(ready.take(0), 1 << 3);
            assert_eq!(claim(&mut reader), Some(1));
        }
    });
}

#[test]
fn one_of_two_writers_rings_a_sleeper() {
    check(|| {
        let ready: Arc<ReadyWords> = Arc::default();
        assert!(ready.prepare_sleep(READY_WORDS));
        let writing = [0, 1].map(|lane| {
            let ready = ready.clone();
            thread::spawn(move || {
                ready.announce(lane);
                fence(Ordering::SeqCst);
                ready.take_asleep()
            })
        });
        let rings = writing.map(|thread| u32::from(thread.join().unwrap()));
        assert_eq!(rings[0] + rings[1], 1);
        assert_eq!(ready.take(0), 3);
    });
}

fn shared_ends(units: u16) -> (Vec<SharedLaneWriter>, LaneReader, Arc<TurnWords>) {
    let ((words, bytes), turn) = (parts(), Arc::new(TurnWords::default()));
    let attach = |unit| SharedLaneWriter::attach(words.clone(), bytes.clone(), turn.clone(), unit);
    ((0..units).map(attach).collect(), LaneReader::attach(words.clone(), bytes.clone()), turn)
}

#[test]
fn many_writers_take_turns_and_lose_nothing() {
    check(|| {
        let (writers, mut reader, _turn) = shared_ends(2);
        let writing = writers.into_iter().zip([1, 2]).map(|(mut writer, number)| {
            thread::spawn(move || assert!(put(&mut writer, number, FULL)))
        });
        let writing: Vec<_> = writing.collect();
        let mut seen: Vec<u64> = claim(&mut reader).into_iter().collect();
        reader.release();
        writing.into_iter().for_each(|thread| thread.join().unwrap());
        seen.extend(std::iter::from_fn(|| claim(&mut reader)));
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
        assert_eq!(reader.take_damages(), 0);
    });
}

#[test]
fn each_of_many_writers_without_room_is_rung() {
    check(|| {
        let (mut writers, mut reader, turn) = shared_ends(2);
        for number in 0..RECORDS {
            assert!(put(&mut writers[0], number, FULL));
        }
        let writing = writers
            .into_iter()
            .map(|mut writer| thread::spawn(move || put(&mut writer, RECORDS, FULL)));
        let writing: Vec<_> = writing.collect();
        let mut rung = [false; 2];
        for number in 0..RECORDS {
            assert_eq!(claim(&mut reader), Some(number));
            if reader.release() {
                turn.take_waiting(|unit| rung[usize::from(unit)] = true);
            }
        }
        for (thread, is_rung) in writing.into_iter().zip(rung) {
            assert!(thread.join().unwrap() || is_rung);
        }
    });
}
