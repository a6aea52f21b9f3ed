//! Tests of the rings. They stand apart from `lane.rs` and `shared_lane.rs`, which the model
//! checker compiles too, over atomics that work in a model alone.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use proptest::prelude::*;

use super::lane::{capacity_for, payload_limit, LaneReader, LaneWords, LaneWriter, Record, Writer};
use super::message::{record_bytes, Header, Mark, Piece, HEADER_BYTES};
use super::shared_lane::{SharedLaneWriter, TurnWords};
use crate::shm::tests::in_child;
use crate::shm::{Bytes, Layout, Place};

/// Steps until this process ends; only forked children set it.
static STEPS_TO_LIVE: AtomicI32 = AtomicI32::new(i32::MAX);
/// How a child ends that was killed at a step.
pub(super) const KILLED: i32 = 9;

/// Ends a child that has no steps left.
pub fn step() {
    let left = STEPS_TO_LIVE.load(Ordering::Relaxed);
    if left == i32::MAX {
        return;
    }
    STEPS_TO_LIVE.store(left - 1, Ordering::Relaxed);
    if left <= 0 {
        // SAFETY: only a forked child comes here; nothing of the parent's is run.
        unsafe { libc::_exit(KILLED) };
    }
}

/// Runs `act` in a child that is killed at its first step, then in one that is killed at the
/// second, and so on until one comes through. `before` makes what the child works on, `after`
/// looks at it. Returns how many were killed.
pub(super) fn kill_at_every_step<T>(
    before: impl Fn() -> T,
    act: impl Fn(&T),
    after: impl Fn(T),
) -> i32 {
    for steps in 0.. {
        let thing = before();
        let status = in_child(|| {
            STEPS_TO_LIVE.store(steps, Ordering::Relaxed);
            act(&thing);
        });
        assert!(status == 0 || status == KILLED, "the child failed");
        after(thing);
        if status == 0 {
            return steps;
        }
    }
    unreachable!("some child comes through")
}

const CAPACITY: usize = 1024;

/// A ring in a region of its own, and a word in which a child can count.
struct Ring {
    words: Place<LaneWords>,
    bytes: Bytes,
    turn: Place<TurnWords>,
    done: Place<AtomicU64>,
}

impl Ring {
    fn new() -> Self {
        let mut layout = Layout::new();
        let (words, turn) = (layout.array(1), layout.array::<TurnWords>(1));
        let (done, bytes) = (layout.array(1), layout.bytes(capacity_for(CAPACITY)));
        let region = layout.map().unwrap();
        let turn = region.view(&turn).place(0).unwrap();
        turn.lock().init().unwrap();
        Self {
            words: region.view(&words).place(0).unwrap(),
            bytes: region.bytes(&bytes),
            turn,
            done: region.view(&done).place(0).unwrap(),
        }
    }

    fn writer(&self) -> LaneWriter {
        LaneWriter::attach(self.words.clone(), self.bytes.clone())
    }

    fn shared_writer(&self, unit: u16) -> SharedLaneWriter {
        let (words, bytes) = (self.words.clone(), self.bytes.clone());
        SharedLaneWriter::attach(words, bytes, self.turn.clone(), unit)
    }

    fn reader(&self) -> LaneReader {
        LaneReader::attach(self.words.clone(), self.bytes.clone())
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

/// Every byte of message `number` depends on it and on its place.
fn byte_of(number: u64, at: usize) -> u8 {
    (number as usize * 31 + at) as u8
}

fn size_of(number: u64) -> usize {
    number as usize * 37 % payload_limit(CAPACITY)
}

fn put_sized(lane: &mut impl Writer, number: u64, size: usize) -> bool {
    let header =
        Header { extra: number, session: -5, kind: 3, flags: 0xff, source: 9, ..Header::default() };
    lane.put(&header, Mark::Whole, size, |out| {
        out.iter_mut().enumerate().for_each(|(at, byte)| *byte = byte_of(number, at));
    })
}

fn put(lane: &mut impl Writer, number: u64) -> bool {
    put_sized(lane, number, size_of(number))
}

/// The number of a message, after every byte of it was compared.
fn number_of(reader: &LaneReader, record: &Record) -> u64 {
    let number = record.header.extra;
    assert_eq!((record.header.session, record.header.kind), (-5, 3));
    assert_eq!((record.header.flags, record.header.source), (0xff, 9));
    let payload = reader.payload(record);
    assert_eq!(payload.len(), record.header.size as usize);
    assert!(payload.iter().enumerate().all(|(at, byte)| *byte == byte_of(number, at)));
    number
}

fn claim(reader: &mut LaneReader) -> Option<u64> {
    let record = reader.claim()?;
    Some(number_of(reader, &record))
}

fn claim_all(reader: &mut LaneReader) -> Vec<u64> {
    let numbers = std::iter::from_fn(|| claim(reader)).collect();
    reader.release();
    numbers
}

#[derive(Clone, Debug)]
enum Act {
    Put(usize),
    PutShared(u16, usize),
    Reserve(usize, usize, usize),
    Claim,
    Release,
    NewWriter,
    NewReader,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let size = 0..=payload_limit(CAPACITY);
    let act = prop_oneof![
        4 => size.clone().prop_map(Act::Put),
        3 => (size.clone(), size.clone(), size)
            .prop_map(|(min, max, len)| Act::Reserve(min, max, len)),
        7 => Just(Act::Claim),
        3 => Just(Act::Release),
        1 => Just(Act::NewWriter),
        1 => Just(Act::NewReader),
    ];
    proptest::collection::vec(act, 1..400)
}

fn shared_acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (0..3_u16, 0..=payload_limit(CAPACITY))
            .prop_map(|(unit, size)| Act::PutShared(unit, size)),
        6 => Just(Act::Claim),
        3 => Just(Act::Release),
        1 => Just(Act::NewReader),
    ];
    proptest::collection::vec(act, 1..400)
}

/// A ring beside the queue that it must equal.
struct Twin {
    ring: Ring,
    writer: LaneWriter,
    shared: Vec<SharedLaneWriter>,
    reader: LaneReader,
    queue: VecDeque<(u64, usize)>,
    claimed: Vec<Record>,
    last: u64,
}

impl Twin {
    fn new() -> Self {
        let ring = Ring::new();
        let (writer, reader) = (ring.writer(), ring.reader());
        let shared = (0..3).map(|unit| ring.shared_writer(unit)).collect();
        let (queue, claimed) = (VecDeque::new(), Vec::new());
        Self { ring, writer, shared, reader, queue, claimed, last: 0 }
    }

    fn run(&mut self, act: &Act) {
        match *act {
            Act::Put(size) => {
                let is_put = put_sized(&mut self.writer, self.last + 1, size);
                self.took(is_put, size);
            }
            Act::PutShared(unit, size) => {
                let is_put = put_sized(&mut self.shared[usize::from(unit)], self.last + 1, size);
                self.took(is_put, size);
            }
            Act::Reserve(min, max, len) => self.reserve(min, max, len),
            Act::Claim => self.claim(),
            Act::Release => self.release(),
            Act::NewWriter => self.writer = self.ring.writer(),
            Act::NewReader => {
                self.release();
                self.reader = self.ring.reader();
            }
        }
    }

    fn took(&mut self, is_put: bool, size: usize) {
        if is_put {
            self.last += 1;
            self.queue.push_back((self.last, size));
        } else {
            let held = self.claimed.iter().map(|record| record.header.size as usize);
            let used: usize =
                held.chain(self.queue.iter().map(|(_, size)| *size)).map(record_bytes).sum();
            assert!(used > 0 && used + 2 * record_bytes(size) > CAPACITY / 2, "room was refused");
        }
    }

    fn reserve(&mut self, min: usize, max: usize, len: usize) {
        let number = self.last + 1;
        let Some(mut grant) = self.writer.reserve(min, max) else { return self.took(false, min) };
        assert!(grant.len() >= min && grant.len() <= max.max(min));
        grant.iter_mut().enumerate().for_each(|(at, byte)| *byte = byte_of(number, at));
        // Now and then the place is not used.
        if len % 4 == 0 {
            return;
        }
        let size = len.min(grant.len());
        let header = Header {
            extra: number,
            session: -5,
            kind: 3,
            flags: 0xff,
            source: 9,
            ..Header::default()
        };
        grant.publish(&header, Mark::Whole, size);
        self.took(true, size);
    }

    fn claim(&mut self) {
        let record = self.reader.claim();
        let expected = self.queue.pop_front();
        assert_eq!(
            record.map(|record| (record.header.extra, record.header.size as usize)),
            expected
        );
        self.claimed.extend(record);
    }

    fn release(&mut self) {
        // Nothing that was handed out may have been overwritten meanwhile.
        for record in self.claimed.drain(..) {
            number_of(&self.reader, &record);
        }
        self.reader.release();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_lane_is_a_queue(acts in acts()) {
        let mut twin = Twin::new();
        acts.iter().for_each(|act| twin.run(act));
        prop_assert_eq!(twin.reader.take_damages(), 0);
    }

    #[test]
    fn a_shared_lane_is_a_queue(acts in shared_acts()) {
        let mut twin = Twin::new();
        acts.iter().for_each(|act| twin.run(act));
        prop_assert_eq!(twin.reader.take_damages(), 0);
    }

    #[test]
    fn no_garbage_brings_an_end_down(
        words in proptest::array::uniform3(
            prop_oneof![any::<u64>(), 0..4096_u64, Just(u64::MAX - 31)],
        ),
        bytes in proptest::collection::vec(any::<u8>(), CAPACITY),
    ) {
        let ring = Ring::new();
        // SAFETY: nobody else knows of this ring.
        unsafe { ring.bytes.slice_mut(0, CAPACITY) }.unwrap().copy_from_slice(&bytes);
        ring.words.spoil(words);
        let (mut reader, mut writer) = (ring.reader(), ring.writer());
        for _ in 0..2 {
            while reader.claim().is_some() {}
            reader.release();
            put_sized(&mut writer, 1, 10);
        }
        // Both have found together again: what is sent now arrives.
        while reader.claim().is_some() {}
        reader.release();
        prop_assert!(put_sized(&mut writer, 2, 10));
        prop_assert_eq!(claim(&mut reader), Some(2));
        prop_assert_eq!(claim(&mut reader), None);
    }

    #[test]
    fn a_header_comes_back_as_it_was(
        size in 0..1_u32 << 28, kind: u8, flags: u8, source: u16,
        session: i64, time: u64, extra: u64,
    ) {
        let header = Header { size, kind, flags, source, session, time, extra };
        for mark in [Mark::Whole, Mark::Padding, Mark::Piece] {
            prop_assert_eq!(Header::decode(&header.encode(mark)), Some((header, mark)));
        }
    }
}

#[test]
fn memory_that_was_never_written_is_no_header() {
    assert_eq!(Header::decode(&[0; HEADER_BYTES]), None);
    assert_eq!(Header::decode(&[0xff; HEADER_BYTES]), None);
}

#[test]
fn a_piece_that_leaves_its_message_is_refused() {
    let piece = |total, offset| Piece { writer: 7, total, offset }.encode();
    let with = |head: [u8; 16], part: &[u8]| Piece::decode(&[&head[..], part].concat()).is_some();
    assert!(with(piece(10, 6), b"four"));
    assert!(!with(piece(10, 7), b"four"));
    assert!(!with(piece(10, u32::MAX), b"four"));
    assert!(!with(piece(10, 0), b""));
    assert!(Piece::decode(&[0; 15]).is_none());
}

#[test]
fn a_record_is_as_long_as_its_lines() {
    assert_eq!([0, 1, 32, 33].map(record_bytes), [32, 64, 64, 96]);
}

#[test]
fn more_than_a_quarter_is_refused_at_once() {
    let ring = Ring::new();
    let mut writer = ring.writer();
    let limit = writer.max_payload();
    assert!(writer.reserve(limit + 1, limit + 1).is_none());
    assert!(put_sized(&mut writer, 1, limit));
}

#[test]
fn a_writer_is_rung_once_and_only_when_half_of_the_ring_is_free() {
    let ring = Ring::new();
    let (mut writer, mut reader) = (ring.writer(), ring.reader());
    let count = (1..).take_while(|number| put_sized(&mut writer, *number, 32)).count();
    assert_eq!(count, CAPACITY / 64);
    let mut rings = Vec::new();
    while claim(&mut reader).is_some() {
        rings.push(reader.release());
    }
    assert_eq!(rings.iter().position(|rung| *rung), Some(count / 2 - 1));
    assert_eq!(rings.iter().filter(|rung| **rung).count(), 1);
}

#[test]
fn every_unit_that_waits_at_a_shared_lane_is_rung() {
    let ring = Ring::new();
    let mut reader = ring.reader();
    let mut filler = ring.shared_writer(0);
    while put_sized(&mut filler, 1, 200) {}
    for unit in [63, 64, 1023] {
        assert!(!put_sized(&mut ring.shared_writer(unit), 1, 200));
    }
    while claim(&mut reader).is_some() {}
    assert!(reader.release());
    let mut rung = Vec::new();
    ring.turn.take_waiting(|unit| rung.push(unit));
    assert_eq!(rung, [0, 63, 64, 1023]);
}

/// Positions such that the third message or so wraps around.
fn worn_ring() -> Ring {
    let ring = Ring::new();
    let (mut writer, mut reader) = (ring.writer(), ring.reader());
    for _ in 0..4 {
        assert!(put_sized(&mut writer, 0, 150));
    }
    assert_eq!(claim_all(&mut reader), [0; 4]);
    ring
}

/// What a killed writer leaves: the messages up to the one in hand, and a ring that works.
fn check_after_writer(ring: &Ring, reader: &mut LaneReader, successor: &mut impl Writer) {
    let seen = claim_all(reader);
    let done = ring.done();
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
    assert!(seen.len() as u64 == done || seen.len() as u64 == done + 1);
    for number in 100..120 {
        assert!(put(successor, number));
        assert_eq!(claim_all(reader), [number]);
    }
    assert_eq!(reader.take_damages(), 0);
}

/// Writes until the ring is full, counting what is done.
fn write_until_full(ring: &Ring, lane: &mut impl Writer) {
    for number in 1.. {
        if !put(lane, number) {
            break;
        }
        ring.done.store(number, Ordering::Relaxed);
    }
}

#[test]
fn a_writer_may_die_between_any_two_steps() {
    let killed = kill_at_every_step(
        worn_ring,
        |ring| write_until_full(ring, &mut ring.writer()),
        |ring| check_after_writer(&ring, &mut ring.reader(), &mut ring.writer()),
    );
    assert!(killed > 15, "only {killed} steps");
}

#[test]
fn a_writer_may_die_inside_the_lock_between_any_two_steps() {
    let killed = kill_at_every_step(
        worn_ring,
        |ring| write_until_full(ring, &mut ring.shared_writer(1)),
        |ring| check_after_writer(&ring, &mut ring.reader(), &mut ring.shared_writer(2)),
    );
    assert!(killed > 15, "only {killed} steps");
}

#[test]
fn a_reader_may_die_between_any_two_steps_and_takes_one_message_with_it() {
    const COUNT: u64 = 5;
    let filled = || {
        let ring = worn_ring();
        let mut writer = ring.writer();
        (1..=COUNT).for_each(|number| assert!(put(&mut writer, number)));
        ring
    };
    let read = |ring: &Ring| {
        let mut reader = ring.reader();
        while let Some(number) = claim(&mut reader) {
            ring.done.store(number, Ordering::Relaxed);
            if number % 2 == 0 {
                reader.release();
            }
        }
    };
    let killed = kill_at_every_step(filled, read, |ring| {
        let (mut successor, mut writer) = (ring.reader(), ring.writer());
        let rest = claim_all(&mut successor);
        let first = COUNT + 1 - rest.len() as u64;
        assert_eq!(rest, (first..=COUNT).collect::<Vec<_>>());
        assert!(first == ring.done() + 1 || first == ring.done() + 2);
        // Its memory is free again, all of it.
        let limit = writer.max_payload();
        assert!((0..3).all(|number| put_sized(&mut writer, number, limit)));
        assert_eq!(claim_all(&mut successor), [0, 1, 2]);
        assert_eq!(successor.take_damages(), 0);
    });
    assert!(killed > 10, "only {killed} steps");
}

#[test]
fn two_threads_pass_many_messages() {
    const COUNT: u64 = 20_000;
    let ring = Ring::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = ring.writer();
            for number in 0..COUNT {
                while !put(&mut writer, number) {
                    std::thread::yield_now();
                }
            }
        });
        let mut reader = ring.reader();
        let mut next = 0;
        while next < COUNT {
            match claim(&mut reader) {
                Some(number) => {
                    assert_eq!(number, next);
                    next += 1;
                }
                None => {
                    reader.release();
                    std::thread::yield_now();
                }
            }
        }
    });
}
