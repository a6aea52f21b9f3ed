//! The tables of the law, row by row, and the limits: EOF, length, MQTT, Redis.

use std::sync::{Arc, Mutex};

use crate::drive::{at_once, broken, message, run, Connection, Event};
use crate::make::length_in_digits;
use swoole::error::code;
use swoole::proto::settings::{FramerSettings, LengthType};

const LIMIT: usize = 65536;

fn limited() -> FramerSettings {
    FramerSettings { max_length: LIMIT, ..FramerSettings::default() }
}

fn eof(is_split: bool) -> FramerSettings {
    FramerSettings { open_eof_check: true, open_eof_split: is_split, ..limited() }
}

fn length(letter: u8, offset: usize, body_offset: usize) -> FramerSettings {
    let length_type = LengthType::from_letter(letter).expect("the letter is known");
    let (open_length_check, length_offset) = (true, offset);
    FramerSettings { open_length_check, length_type, length_offset, body_offset, ..limited() }
}

fn length_fn(f: impl Fn(&[u8]) -> i64 + Send + Sync + 'static) -> FramerSettings {
    let length_fn: Arc<swoole::proto::settings::LengthFn> = Arc::new(f);
    FramerSettings { open_length_check: true, length_fn: Some(length_fn), ..limited() }
}

/// Bytes of which the last are an end.
fn ended(count: usize) -> Vec<u8> {
    let mut bytes = vec![b'x'; count];
    bytes[count - 4..].copy_from_slice(b"\r\n\r\n");
    bytes
}

/// A four-byte length, highest byte first, and what follows.
fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

fn too_large() -> Vec<Event> {
    vec![broken(code::PACKAGE_LENGTH_TOO_LARGE)]
}

fn malformed() -> Vec<Event> {
    vec![broken(code::PACKAGE_MALFORMED_DATA)]
}

#[test]
fn an_eof_that_a_read_has_cut_is_found() {
    for is_split in [false, true] {
        for cut in 1..4 {
            let (front, back) = b"abc\r\n\r\n".split_at(3 + cut);
            let outcome = run(&eof(is_split), &[front, back]);
            assert_eq!(outcome, [vec![], vec![message(b"abc\r\n\r\n")]], "{is_split} {cut}");
        }
    }
}

#[test]
fn an_eof_that_ends_what_is_buffered_is_delivered_at_once() {
    for is_split in [false, true] {
        assert_eq!(at_once(&eof(is_split), b"a\r\n\r\n"), [message(b"a\r\n\r\n")]);
    }
}

#[test]
fn a_unit_of_the_limit_with_its_eof_is_delivered_and_one_byte_more_is_too_much() {
    for is_split in [false, true] {
        let (fits, exceeds) = (ended(LIMIT), ended(LIMIT + 1));
        assert_eq!(at_once(&eof(is_split), &fits), [message(&fits)]);
        assert_eq!(at_once(&eof(is_split), &exceeds), too_large());
        let (first, rest) = exceeds.split_at(LIMIT - 1);
        let outcome = run(&eof(is_split), &[first, &rest[..1]]);
        assert_eq!(outcome, [vec![], too_large()], "closed when the limit is buffered");
    }
}

#[test]
fn three_messages_in_one_write_are_three_with_split_and_one_without() {
    let stream = b"a\r\n\r\nbb\r\n\r\n\r\n\r\n";
    let split = [message(b"a\r\n\r\n"), message(b"bb\r\n\r\n"), message(b"\r\n\r\n")];
    assert_eq!(at_once(&eof(true), stream), split);
    assert_eq!(at_once(&eof(false), stream), [message(stream)]);
}

#[test]
fn an_eof_inside_the_data_is_ignored_without_split_unless_it_ends_a_read() {
    assert_eq!(at_once(&eof(false), b"a\r\n\r\nb"), []);
    let outcome = run(&eof(false), &[b"a\r\n\r\nb", b"\r\n\r\n"]);
    assert_eq!(outcome, [vec![], vec![message(b"a\r\n\r\nb\r\n\r\n")]]);
    // A read has at most 8192 bytes, whatever the reactor reads at once.
    let stream = [ended(8192), b"rest".to_vec()].concat();
    assert_eq!(at_once(&eof(false), &stream), [message(&stream[..8192])]);
    let stream = [ended(8191), b"rest".to_vec()].concat();
    assert_eq!(at_once(&eof(false), &stream), []);
}

#[test]
fn a_message_without_its_eof_is_not_delivered() {
    for is_split in [false, true] {
        assert_eq!(at_once(&eof(is_split), b"abc\r\n\r"), []);
    }
}

#[test]
fn an_eof_of_one_to_eight_bytes_is_found_also_where_it_overlaps_itself() {
    for mark in [b"\n".as_slice(), b"ab", b"aab", b"aaaaaaaa", b"abababac"] {
        let settings = FramerSettings { package_eof: mark.to_vec(), ..eof(true) };
        let unit = [b"ab".as_slice(), mark].concat();
        let first = (1..=unit.len()).find(|end| unit[..*end].ends_with(mark)).expect("a mark");
        let outcome = at_once(&settings, &unit);
        assert_eq!(outcome[0], message(&unit[..first]));
    }
    let settings = FramerSettings { package_eof: b"aab".to_vec(), ..eof(true) };
    assert_eq!(at_once(&settings, b"aaab"), [message(b"aaab")]);
}

#[test]
fn a_length_of_nothing_behind_the_header_is_a_unit_of_the_header() {
    assert_eq!(at_once(&length(b'N', 0, 4), &[0; 4]), [message(&[0; 4])]);
}

#[test]
fn a_whole_length_of_zero_closes() {
    let outcome = at_once(&length(b'N', 0, 0), &[0; 4]);
    assert_eq!(outcome, [broken(code::PACKAGE_LENGTH_NOT_FOUND)]);
}

#[test]
fn a_frame_smaller_than_its_header_is_cut_where_it_says() {
    let stream = [0, 0, 0, 2, 0, 2, 9, 9];
    // The rest begins the next frame: 00 02 00 02 is a length of 131074.
    let outcome = at_once(&length(b'N', 0, 0), &stream);
    assert_eq!(outcome, [message(&[0, 0]), broken(code::PACKAGE_LENGTH_TOO_LARGE)]);
    let outcome = at_once(&length(b'N', 0, 0), &stream[..4]);
    assert_eq!(outcome, [message(&[0, 0])]);
}

#[test]
fn a_header_that_comes_byte_by_byte_waits_and_gives_one_unit() {
    let frame = frame(b"hello");
    let pieces: Vec<&[u8]> = frame.chunks(1).collect();
    let outcome = run(&length(b'N', 0, 4), &pieces);
    assert!(outcome[..8].iter().all(Vec::is_empty));
    assert_eq!(outcome[8], [message(&frame)]);
}

#[test]
fn a_frame_of_the_limit_is_accepted_and_one_byte_more_closes_before_its_body() {
    let fits = frame(&vec![7; LIMIT - 4]);
    assert_eq!(at_once(&length(b'N', 0, 4), &fits), [message(&fits)]);
    let exceeds = frame(&vec![7; LIMIT - 3]);
    assert_eq!(at_once(&length(b'N', 0, 4), &exceeds[..4]), too_large());
}

#[test]
fn a_negative_length_closes() {
    for letter in *b"cslq" {
        assert_eq!(at_once(&length(letter, 0, 4), &[255; 8]), malformed(), "{letter}");
    }
    for letter in *b"QJP" {
        assert_eq!(at_once(&length(letter, 0, 4), &[255; 8]), malformed(), "{letter}");
        let mut least = [0u8; 8];
        least[if letter == b'J' || cfg!(target_endian = "big") { 0 } else { 7 }] = 128;
        assert_eq!(at_once(&length(letter, 0, 4), &least), malformed(), "{letter}");
    }
}

#[test]
fn the_largest_lengths_are_too_large() {
    let largest = i64::MAX.to_be_bytes();
    assert_eq!(at_once(&length(b'J', 0, 65535), &largest), too_large());
    for value in [1u32 << 31, u32::MAX] {
        assert_eq!(at_once(&length(b'N', 0, 4), &value.to_be_bytes()), too_large());
        assert_eq!(at_once(&length(b'V', 0, 4), &value.to_le_bytes()), too_large());
    }
}

#[test]
fn a_frame_that_its_peer_leaves_unfinished_is_not_delivered() {
    assert_eq!(at_once(&length(b'N', 0, 4), &frame(b"hello")[..8]), []);
}

#[test]
fn every_letter_is_decoded_as_wide_and_in_the_order_it_means() {
    let rows: &[(u8, &[u8], i64)] = &[
        (b'c', &[0x7f], 127),
        (b'c', &[0x80], -128),
        (b'C', &[0x80], 128),
        (b's', &0x1234i16.to_ne_bytes(), 0x1234),
        (b's', &(-2i16).to_ne_bytes(), -2),
        (b'S', &0xf234u16.to_ne_bytes(), 0xf234),
        (b'n', &[0xf2, 0x34], 0xf234),
        (b'v', &[0x34, 0xf2], 0xf234),
        (b'l', &(-3i32).to_ne_bytes(), -3),
        (b'l', &0x1234_5678i32.to_ne_bytes(), 0x1234_5678),
        (b'L', &0xf234_5678u32.to_ne_bytes(), 0xf234_5678),
        (b'N', &[0xf2, 0x34, 0x56, 0x78], 0xf234_5678),
        (b'V', &[0x78, 0x56, 0x34, 0xf2], 0xf234_5678),
        (b'q', &(-4i64).to_ne_bytes(), -4),
        (b'Q', &5u64.to_ne_bytes(), 5),
        (b'J', &[0, 0, 0, 0, 0, 0, 1, 2], 258),
        (b'P', &[2, 1, 0, 0, 0, 0, 0, 0], 258),
        (b'P', &[255; 8], -1),
    ];
    for (letter, field, value) in rows {
        let length_type = LengthType::from_letter(*letter).expect("the letter is known");
        assert_eq!(length_type.width(), field.len(), "{}", *letter as char);
        assert_eq!(length_type.decode(field), *value, "{} {field:?}", *letter as char);
    }
    let known = (0..=255u8).filter(|letter| LengthType::from_letter(*letter).is_some());
    assert_eq!(known.count(), 14);
    assert_eq!(LengthType::from_letter(b'N'), Some(LengthType::DEFAULT));
}

#[test]
fn a_length_stands_where_its_offset_says_and_counts_from_its_body_offset() {
    let stream = [b'a', b'b', 3, b'c', b'1', b'2', b'3', b'z'];
    let outcome = at_once(&length(b'C', 2, 4), &stream);
    assert_eq!(outcome, [message(&stream[..7])]);
}

#[test]
fn a_length_function_says_how_long_a_frame_is_and_is_asked_again_for_the_rest() {
    let settings = length_fn(length_in_digits);
    let outcome = run(&settings, &[b"3:abc10:0123", b"456789", b"0:"]);
    assert_eq!(outcome[0], [message(b"3:abc")]);
    assert_eq!(outcome[1], [message(b"10:0123456789")]);
    assert_eq!(outcome[2], [message(b"0:")]);
}

#[test]
fn a_length_function_that_calls_bytes_malformed_closes() {
    assert_eq!(at_once(&length_fn(|_| -1), b"a"), malformed());
    assert_eq!(at_once(&length_fn(|_| i64::MIN), b"a"), malformed());
}

#[test]
fn a_length_function_may_answer_the_limit_but_nothing_above_it() {
    let body = vec![1; LIMIT];
    assert_eq!(at_once(&length_fn(|_| LIMIT as i64), &body), [message(&body)]);
    assert_eq!(at_once(&length_fn(|_| LIMIT as i64 + 1), b"a"), too_large());
    assert_eq!(at_once(&length_fn(|_| i64::MAX), b"a"), too_large());
}

#[test]
fn a_length_function_is_shown_8152_bytes_at_most_before_it_must_know() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&shown);
    let settings = length_fn(move |bytes| {
        note.lock().expect("nobody fails here").push(bytes.len());
        0
    });
    let bytes = [1; 9000];
    let outcome = run(&settings, &[&bytes[..1], &bytes[..8150], &bytes[..1]]);
    assert_eq!(outcome, [vec![], vec![], vec![broken(code::PACKAGE_LENGTH_NOT_FOUND)]]);
    assert_eq!(at_once(&settings, &bytes), [broken(code::PACKAGE_LENGTH_NOT_FOUND)]);
    assert_eq!(*shown.lock().expect("nobody fails here"), [1, 8151, 8152, 8152]);
}

#[test]
fn a_length_function_that_has_answered_is_not_asked_again_for_the_same_frame() {
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let settings = length_fn(move |_| {
        *count.lock().expect("nobody fails here") += 1;
        4
    });
    let outcome = run(&settings, &[b"a", b"b", b"c", b"d"]).concat();
    assert_eq!(outcome, [message(b"abcd")]);
    assert_eq!(*asked.lock().expect("nobody fails here"), 1);
}

fn mqtt() -> FramerSettings {
    FramerSettings { open_mqtt: true, ..limited() }
}

#[test]
fn a_ping_and_the_packet_behind_it_are_both_delivered() {
    let outcome = at_once(&mqtt(), &[0xc0, 0, 0x30, 2, 8, 9]);
    assert_eq!(outcome, [message(&[0xc0, 0]), message(&[0x30, 2, 8, 9])]);
}

#[test]
fn a_remaining_length_has_one_to_four_bytes_the_lowest_first() {
    for (header, rest) in [(&[0x30, 0x7f][..], 127), (&[0x30, 0x80, 1], 128), (&[0x30, 2], 2)] {
        let packet = [header, &vec![1; rest]].concat();
        assert_eq!(at_once(&mqtt(), &packet), [message(&packet)]);
    }
    let packet = [0x30, 0x85, 0x80, 0x80, 0, 1, 2, 3, 4, 5];
    assert_eq!(at_once(&mqtt(), &packet), [message(&packet)]);
}

#[test]
fn a_fourth_byte_of_the_length_that_wants_a_fifth_closes() {
    assert_eq!(at_once(&mqtt(), &[0x30, 0x80, 0x80, 0x80]), []);
    assert_eq!(at_once(&mqtt(), &[0x30, 0x80, 0x80, 0x80, 0x80]), malformed());
}

#[test]
fn an_mqtt_packet_of_the_limit_is_delivered_and_one_byte_more_closes_before_its_body() {
    let header = |rest: usize| {
        let byte = |shift: usize, more: u8| (rest >> shift & 127) as u8 | more;
        vec![0x30, byte(0, 128), byte(7, 128), byte(14, 0)]
    };
    let fits = [header(LIMIT - 4), vec![0; LIMIT - 4]].concat();
    assert_eq!(at_once(&mqtt(), &fits), [message(&fits)]);
    assert_eq!(at_once(&mqtt(), &header(LIMIT - 3)), too_large());
    assert_eq!(at_once(&mqtt(), &[0x30, 255, 255, 255, 127]), too_large());
}

fn redis() -> FramerSettings {
    FramerSettings { open_redis: true, ..limited() }
}

#[test]
fn pipelined_commands_are_one_unit_each() {
    let get = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    let outcome = at_once(&redis(), &get.repeat(3));
    assert_eq!(outcome, [message(get), message(get), message(get)]);
}

#[test]
fn a_command_has_strings_of_any_bytes_nils_and_integers() {
    let command = b"*5\r\n$4\r\n\r\n\r\n\r\n$-1\r\n:-17\r\n:42\r\n$0\r\n\r\n";
    assert_eq!(at_once(&redis(), command), [message(command)]);
    assert_eq!(at_once(&redis(), b"*0\r\n"), [message(b"*0\r\n")]);
}

#[test]
fn what_is_no_command_closes() {
    let rows: &[&[u8]] = &[
        b"GET k\r\n",
        b"\r\n",
        b"*1\r\n+OK\r\n",
        b"*1\r\n*1\r\n",
        b"*-1\r\n",
        b"*\r\n",
        b"*x\r\n",
        b"*1\n",
        b"*1\r$",
        b"*1\r\n$-2\r\n",
        b"*1\r\n$+1\r\n",
        b"*1\r\n:\r\n",
        b"*1\r\n:--1\r\n",
        b"*1\r\n$1\r\nabc",
        b"*000000000000000000000",
    ];
    for row in rows {
        let text = String::from_utf8_lossy(row);
        assert_eq!(at_once(&redis(), row), malformed(), "{text:?}");
        let pieces: Vec<&[u8]> = row.chunks(1).collect();
        assert_eq!(run(&redis(), &pieces).concat(), malformed(), "{text:?}");
    }
}

#[test]
fn a_redis_command_of_the_limit_is_delivered_and_one_byte_more_closes_before_its_bytes() {
    let header = |bytes: usize| format!("*1\r\n${bytes}\r\n").into_bytes();
    let around = header(10000).len() + 2;
    let fits = [header(LIMIT - around), vec![0; LIMIT - around], b"\r\n".to_vec()].concat();
    assert_eq!(fits.len(), LIMIT);
    assert_eq!(at_once(&redis(), &fits), [message(&fits)]);
    assert_eq!(at_once(&redis(), &header(LIMIT - around + 1)), too_large());
    for huge in ["2147483648", "4294967295", "18446744073709551615"] {
        assert_eq!(at_once(&redis(), format!("*1\r\n${huge}\r\n").as_bytes()), too_large());
        assert_eq!(at_once(&redis(), format!("*{huge}\r\n").as_bytes()), too_large());
    }
}

#[test]
fn a_redis_command_that_fills_the_buffer_without_end_closes() {
    let command = [b"*16000\r\n".to_vec(), b":12345\r\n".repeat(LIMIT / 8)].concat();
    let mut connection = Connection::new(&Arc::new(redis()));
    assert_eq!(connection.feed(&command[..LIMIT - 1]), []);
    assert_eq!(connection.feed(&command[LIMIT - 1..LIMIT]), too_large());
}

#[test]
fn a_raw_unit_is_what_has_arrived_up_to_65536_bytes() {
    let settings = FramerSettings::default();
    assert_eq!(run(&settings, &[b"a", b"bc"]).concat(), [message(b"a"), message(b"bc")]);
    let bytes = vec![1; 65537];
    assert_eq!(at_once(&settings, &bytes), [message(&bytes[..65536]), message(&[1])]);
}
