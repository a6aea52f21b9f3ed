//! The law of WebSocket frames.

use std::sync::Arc;

use crate::drive::{broken, Connection, Event};
use crate::make::handshake;
use swoole::error::code;
use swoole::proto::settings::FramerSettings;

const LIMIT: usize = 65536;
const FIN: u8 = 1;
const RSV1: u8 = 4;
const MASK: u8 = 32;

/// A connection that was upgraded.
fn connection() -> Connection {
    let settings = FramerSettings { max_length: LIMIT, open_websocket: true, ..Default::default() };
    let mut connection = Connection::new(&Arc::new(settings));
    let answer = connection.feed(&handshake());
    assert!(matches!(answer[..], [Event::Answer(_)]), "{answer:?}");
    assert_eq!(connection.framer().name(), "websocket");
    connection
}

fn outcome(bytes: &[u8]) -> Vec<Event> {
    let whole = connection().feed(bytes);
    let mut slow = connection();
    let slowly: Vec<Event> = bytes.iter().flat_map(|byte| slow.feed(&[*byte])).collect();
    assert_eq!(slowly, whole, "byte by byte");
    whole
}

fn unit(opcode: u8, flags: u8, bytes: &[u8]) -> Event {
    Event::Message { bytes: bytes.to_vec(), opcode, flags }
}

fn malformed() -> Vec<Event> {
    vec![broken(code::PACKAGE_MALFORMED_DATA)]
}

/// A frame without mask.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let header = match payload.len() {
        count @ 0..=125 => vec![first, count as u8],
        count @ 126..=65535 => vec![first, 126, (count >> 8) as u8, count as u8],
        count => [vec![first, 127], (count as u64).to_be_bytes().to_vec()].concat(),
    };
    [header, payload.to_vec()].concat()
}

#[test]
fn a_payload_is_unmasked_whatever_its_length_and_place() {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    for count in (0..40).chain([125, 126, 127, 1000, 65535 - 8]) {
        let payload: Vec<u8> = (0..count).map(|index| index as u8).collect();
        let mut masked = frame(0x82, &payload);
        masked[1] |= 0x80;
        let start = masked.len() - count;
        let hidden = payload.iter().enumerate().map(|(index, byte)| byte ^ key[index % 4]);
        let hidden: Vec<u8> = key.into_iter().chain(hidden).collect();
        masked.splice(start.., hidden);
        let events = connection().feed(&masked.repeat(2));
        assert_eq!(events, vec![unit(2, FIN | MASK, &payload); 2], "{count} bytes");
    }
    // The examples of RFC 6455, 5.7.
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(outcome(&hello), [unit(1, FIN | MASK, b"Hello")]);
    assert_eq!(outcome(&[1, 3, b'H', b'e', b'l', 0x80, 2, b'l', b'o']), [unit(1, FIN, b"Hello")]);
}

#[test]
fn each_form_of_a_length_is_understood() {
    assert_eq!(outcome(&[0x81, 126, 0, 1, b'a']), [unit(1, FIN, b"a")]);
    assert_eq!(outcome(&[0x81, 127, 0, 0, 0, 0, 0, 0, 0, 1, b'a']), [unit(1, FIN, b"a")]);
    assert_eq!(outcome(&[0x81, 0]), [unit(1, FIN, b"")]);
}

#[test]
fn an_extended_length_with_its_highest_bit_closes() {
    assert_eq!(outcome(&[0x82, 127, 128, 0, 0, 0, 0, 0, 0, 0]), malformed());
    assert_eq!(outcome(&[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]), malformed());
}

#[test]
fn a_frame_of_the_limit_is_delivered_and_one_byte_more_closes_before_its_payload() {
    let payload = vec![7; LIMIT - 4];
    let fits = frame(0x82, &payload);
    assert_eq!(fits.len(), LIMIT);
    assert_eq!(connection().feed(&fits), [unit(2, FIN, &payload)]);
    let too_large = [broken(code::PACKAGE_LENGTH_TOO_LARGE)];
    assert_eq!(connection().feed(&[0x82, 126, 0xff, 0xfd]), too_large);
    for length in [1u64 << 31, u64::from(u32::MAX), i64::MAX as u64] {
        let header = [&[0x82, 127][..], &length.to_be_bytes()].concat();
        assert_eq!(connection().feed(&header), too_large);
    }
}

#[test]
fn the_bits_of_extensions_are_handed_on() {
    assert_eq!(outcome(&[0xf1, 0]), [unit(1, FIN | RSV1 | 8 | 16, b"")]);
    assert_eq!(outcome(&[0xc2, 0]), [unit(2, FIN | RSV1, b"")]);
    assert_eq!(outcome(&[0xa2, 0]), [unit(2, FIN | 8, b"")]);
    assert_eq!(outcome(&[0x92, 0]), [unit(2, FIN | 16, b"")]);
}

#[test]
fn a_control_frame_in_fragments_or_of_more_than_125_bytes_closes() {
    for opcode in [8, 9, 10] {
        assert_eq!(outcome(&[opcode, 0]), malformed());
        assert_eq!(outcome(&[0x80 | opcode, 126]), malformed());
        assert_eq!(outcome(&[0x80 | opcode, 127]), malformed());
    }
    for opcode in [9, 10] {
        assert_eq!(outcome(&frame(0x80 | opcode, &[5; 125])), [unit(opcode, FIN, &[5; 125])]);
    }
}

#[test]
fn fragments_are_one_unit_with_the_head_of_the_first_and_fin() {
    let stream =
        [frame(0x42, b"ab"), frame(0x00, b""), frame(0x00, b"cd"), frame(0x80, b"e")].concat();
    assert_eq!(outcome(&stream), [unit(2, FIN | RSV1, b"abcde")]);
    let twice = stream.repeat(2);
    assert_eq!(outcome(&twice), vec![unit(2, FIN | RSV1, b"abcde"); 2]);
}

#[test]
fn each_fragment_is_unmasked_with_its_own_key() {
    let stream = [1, 0x82, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2, 0x80, 0x81, 9, 9, 9, 9, b'c' ^ 9];
    assert_eq!(outcome(&stream), [unit(1, FIN | MASK, b"abc")]);
}

#[test]
fn control_frames_between_fragments_do_not_disturb_them() {
    let stream =
        [frame(0x01, b"a"), frame(0x89, b"p"), frame(0x8a, b""), frame(0x80, b"b")].concat();
    assert_eq!(outcome(&stream), [unit(9, FIN, b"p"), unit(10, FIN, b""), unit(1, FIN, b"ab")]);
}

#[test]
fn a_new_message_inside_another_closes() {
    for first in [0x01, 0x02, 0x81, 0x82] {
        assert_eq!(outcome(&[frame(0x01, b"a"), frame(first, b"b")].concat()), malformed());
    }
}

#[test]
fn a_continuation_of_nothing_closes() {
    assert_eq!(outcome(&frame(0x80, b"a")), malformed());
    assert_eq!(outcome(&frame(0x00, b"a")), malformed());
    let after = [frame(0x01, b"a"), frame(0x80, b"b"), frame(0x80, b"c")].concat();
    assert_eq!(outcome(&after), [unit(1, FIN, b"ab"), malformed().remove(0)]);
}

#[test]
fn fragments_above_the_limit_in_all_close() {
    let (half, rest) = (vec![1; LIMIT / 2], vec![2; LIMIT / 2]);
    let fits = [frame(0x02, &half), frame(0x80, &rest)].concat();
    assert_eq!(connection().feed(&fits), [unit(2, FIN, &[half.clone(), rest.clone()].concat())]);
    let exceeds = [frame(0x02, &half), frame(0x00, &rest), frame(0x80, b"x")].concat();
    assert_eq!(connection().feed(&exceeds), [broken(code::PACKAGE_LENGTH_TOO_LARGE)]);
}

#[test]
fn a_close_frame_is_echoed_and_delivered_and_ends_the_connection() {
    let close = frame(0x88, b"\x03\xe8bye");
    let events = [Event::Answer(close.clone()), unit(8, FIN, b"\x03\xe8bye"), Event::End];
    assert_eq!(outcome(&close), events);
    assert_eq!(outcome(&[close, frame(0x81, b"late")].concat()), events);
    let masked = [0x88, 0x82, 1, 2, 3, 4, 3 ^ 1, 0xe8 ^ 2];
    let echo = Event::Answer(vec![0x88, 2, 3, 0xe8]);
    assert_eq!(outcome(&masked), [echo, unit(8, FIN | MASK, b"\x03\xe8"), Event::End]);
    let empty = [Event::Answer(vec![0x88, 0]), unit(8, FIN, b""), Event::End];
    assert_eq!(outcome(&[0x88, 0]), empty);
}

#[test]
fn a_close_frame_after_that_of_the_server_only_ends_the_connection() {
    let mut connection = connection();
    assert!(connection.framer().note_sent(&[0x88, 0]));
    assert_eq!(connection.feed(&frame(0x81, b"on its way")), [unit(1, FIN, b"on its way")]);
    assert_eq!(connection.feed(&frame(0x88, b"\x03\xe8")), [Event::End]);
}

#[test]
fn an_unknown_opcode_is_ignored() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let stream = [frame(0x80 | opcode, b"what"), frame(0x81, b"a")].concat();
        assert_eq!(outcome(&stream), [unit(1, FIN, b"a")]);
        let between = [frame(0x01, b"a"), frame(opcode, &[0; 300]), frame(0x80, b"b")].concat();
        assert_eq!(outcome(&between), [unit(1, FIN, b"ab")]);
    }
}
