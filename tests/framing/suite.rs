//! One suite for all framers: the same stream, cut in every way, beside the twin.

use crate::drive::{self, Event};
use crate::make::{self, Entropy, Setup, NAMES};
use crate::twins;
use proptest::prelude::*;

fn compare(setup: &Setup, pieces: &[&[u8]]) -> Vec<Event> {
    let framer = drive::run(&setup.settings, pieces);
    let twin = twins::run(&setup.settings, setup.letter, pieces);
    assert_eq!(framer, twin, "{} {:?}\n{:?}", setup.name, setup.settings, pieces);
    framer.concat()
}

/// Streams of a framer, each made of several frames.
fn samples(name: &'static str) -> Vec<(Setup, Vec<u8>)> {
    let entropy: Vec<Vec<u8>> = (0..24u32)
        .map(|seed| {
            let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
            let mut byte = || {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                (state >> 9) as u8
            };
            (0..500).map(|_| byte()).collect()
        })
        .collect();
    let make = |bytes: &Vec<u8>| {
        let entropy = &mut Entropy(bytes);
        let setup = make::setup(name, entropy);
        let stream = make::stream(&setup, entropy);
        (setup, stream)
    };
    entropy.iter().map(make).collect()
}

#[test]
fn a_stream_cut_in_two_anywhere_gives_what_the_twin_says() {
    for name in NAMES {
        for (setup, stream) in samples(name) {
            for at in 0..=stream.len() {
                compare(&setup, &[&stream[..at], &stream[at..]]);
            }
        }
    }
}

#[test]
fn a_stream_that_comes_byte_by_byte_gives_what_the_twin_says() {
    for name in NAMES {
        for (setup, stream) in samples(name) {
            let pieces: Vec<&[u8]> = stream.chunks(1).collect();
            compare(&setup, &pieces);
        }
    }
}

#[test]
fn many_frames_in_one_segment_give_what_the_twin_says() {
    for name in NAMES {
        for (setup, stream) in samples(name) {
            compare(&setup, &[&stream]);
            compare(&setup, &[&stream.repeat(20)]);
        }
    }
}

/// Nothing of raw and of EOF without split, where a cut is an end, and of HTTP, where what is read
/// with a body is thrown away.
#[test]
fn where_a_stream_is_cut_does_not_matter() {
    for name in ["eof_split", "length", "length_fn", "mqtt", "redis", "websocket"] {
        for (setup, stream) in samples(name) {
            let whole = drive::at_once(&setup.settings, &stream);
            for at in 0..=stream.len() {
                let (front, back) = stream.split_at(at);
                assert_eq!(drive::run(&setup.settings, &[front, back]).concat(), whole);
            }
        }
    }
}

#[test]
fn the_samples_hold_what_they_are_to_show() {
    for name in NAMES.iter().filter(|name| **name != "raw") {
        let samples = samples(name);
        let events: Vec<Vec<Event>> =
            samples.iter().map(|(setup, stream)| compare(setup, &[stream])).collect();
        let has =
            |wanted: fn(&Event) -> bool| events.iter().flatten().filter(|e| wanted(e)).count();
        let messages = has(|event| matches!(event, Event::Message { .. }));
        let broken = has(|event| matches!(event, Event::Broken { .. }));
        assert!(messages >= 4 && broken >= 1, "{name}: {messages} messages, {broken} broken");
    }
}

#[test]
fn garbage_gives_what_the_twin_says() {
    for name in NAMES {
        for (setup, _) in samples(name) {
            for byte in 0..=255u8 {
                compare(&setup, &[&[byte; 100]]);
                compare(&setup, &[&[byte], &[byte, byte.wrapping_mul(7)], &[byte ^ 255; 97]]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 2000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_stream_in_any_pieces_gives_what_the_twin_says(
        name in prop::sample::select(NAMES),
        bytes in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let entropy = &mut Entropy(&bytes);
        let setup = make::setup(name, entropy);
        let cuts: Vec<u8> = (0..24).map(|_| entropy.byte()).collect();
        let spoil: Vec<u8> = (0..24).map(|_| entropy.byte()).collect();
        let mut stream = make::stream(&setup, entropy);
        make::mutate(&mut stream, &mut Entropy(&spoil));
        let cuts = make::cuts(stream.len(), &mut Entropy(&cuts));
        compare(&setup, &drive::cut(&stream, &cuts));
    }

    #[test]
    fn any_bytes_give_what_the_twin_says(
        name in prop::sample::select(NAMES),
        how in prop::collection::vec(any::<u8>(), 12),
        stream in prop::collection::vec(any::<u8>(), 0..200),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let setup = make::setup(name, &mut Entropy(&how));
        compare(&setup, &drive::cut(&stream, &cuts));
    }
}
