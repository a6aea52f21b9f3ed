//! What framers cost: no memory for what is only announced, none for a message, no byte looked at
//! twice.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::make::{handshake, length_in_digits};
use swoole::proto::framer::{room_to_read, Choice, Framer, Verdict};
use swoole::proto::settings::{FramerSettings, LengthType};

struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all is done by the allocator of the system; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    /// # Safety
    /// - as the trait says.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends may allocate when its variables are gone.
        let _ = ALLOCATED.try_with(|bytes| bytes.set(bytes.get() + layout.size()));
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    /// # Safety
    /// - as the trait says.
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How many bytes this thread allocates meanwhile.
fn allocated_by<T>(act: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATED.with(Cell::get);
    let outcome = act();
    (ALLOCATED.with(Cell::get) - before, outcome)
}

/// The largest limit that there is.
fn unlimited() -> FramerSettings {
    FramerSettings { max_length: u32::MAX as usize, ..FramerSettings::default() }
}

fn length(letter: u8) -> FramerSettings {
    let length_type = LengthType::from_letter(letter).expect("the letter is known");
    FramerSettings { open_length_check: true, length_type, ..unlimited() }
}

/// What can be announced: ports, and headers with this number.
fn announcements(number: u64) -> Vec<(FramerSettings, Vec<u8>)> {
    let http = || FramerSettings { open_http: true, ..unlimited() };
    let asked = FramerSettings {
        open_length_check: true,
        length_fn: Some(Arc::new(move |_| number as i64)),
        ..unlimited()
    };
    let narrow = number.min(u32::MAX.into()) as u32;
    let text = |before: &str, after: &str| format!("{before}{number}{after}").into_bytes();
    let chunk = format!("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{number:x}\r\n");
    vec![
        (length(b'N'), narrow.to_be_bytes().to_vec()),
        (length(b'l'), narrow.to_ne_bytes().to_vec()),
        (length(b'J'), number.to_be_bytes().to_vec()),
        (length(b'q'), number.to_ne_bytes().to_vec()),
        (asked, vec![1]),
        (http(), text("PUT / HTTP/1.1\r\nContent-Length: ", "\r\n\r\n")),
        (http(), chunk.into_bytes()),
        (FramerSettings { open_redis: true, ..unlimited() }, text("*1\r\n$", "\r\n")),
        (FramerSettings { open_redis: true, ..unlimited() }, text("*", "\r\n")),
        (FramerSettings { open_mqtt: true, ..unlimited() }, vec![0x30, 255, 255, 255, 127]),
        (
            FramerSettings { open_websocket: true, ..unlimited() },
            [&handshake()[..], &[0x02, 127], &number.to_be_bytes()].concat(),
        ),
    ]
}

#[test]
fn a_length_that_is_only_announced_costs_no_memory() {
    let numbers = [1 << 31, u64::from(u32::MAX), u64::from(u32::MAX) - 200, u64::MAX, 1 << 63];
    let mut waiting = 0;
    for number in numbers {
        for (settings, mut header) in announcements(number) {
            let mut framer = Choice::new(&Arc::new(settings.clone()));
            let mut unread = &mut header[..];
            if let Verdict::Answer(answer) = framer.next(unread) {
                unread = &mut unread[answer.used..];
            }
            let (bytes, verdict) = allocated_by(|| framer.next(unread));
            match verdict {
                Verdict::More { until } => {
                    waiting += 1;
                    assert_eq!(bytes, 0, "{settings:?} {number}");
                    assert!(room_to_read(unread.len(), until) <= 65536, "{settings:?} {number}");
                }
                // The words for the log.
                Verdict::Broken(_) => assert!(bytes <= 512, "{settings:?} {number}: {bytes}"),
                other => panic!("{settings:?} {number}: {other:?}"),
            }
        }
    }
    assert!(waiting >= 20, "{waiting} headers were believed");
}

#[test]
fn a_fragment_costs_what_has_arrived() {
    let settings = FramerSettings { open_websocket: true, ..unlimited() };
    let mut framer = Choice::new(&Arc::new(settings));
    assert!(matches!(framer.next(&mut handshake()), Verdict::Answer(_)));
    let mut first = [&[0x02, 126, 0x03, 0xe8][..], &[7; 1000]].concat();
    let (bytes, verdict) = allocated_by(|| framer.next(&mut first));
    assert!(matches!(verdict, Verdict::Skip { used: 1004, .. }), "{verdict:?}");
    assert!(bytes < 2200, "{bytes}");
    let mut second = [&[0x80, 127][..], &(1u64 << 31).to_be_bytes(), &[0; 100]].concat();
    let (bytes, verdict) = allocated_by(|| framer.next(&mut second));
    assert!(matches!(verdict, Verdict::More { .. }), "{verdict:?}");
    assert_eq!(bytes, 0);
}

#[test]
fn a_message_costs_no_memory() {
    let eof = |is_split| FramerSettings {
        open_eof_check: true,
        open_eof_split: is_split,
        ..FramerSettings::default()
    };
    let asked = FramerSettings {
        open_length_check: true,
        length_fn: Some(Arc::new(length_in_digits)),
        ..FramerSettings::default()
    };
    let http = FramerSettings { open_http: true, ..FramerSettings::default() };
    let post: &[u8] = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let rows: [(FramerSettings, &[u8]); 9] = [
        (FramerSettings::default(), b"abc"),
        (eof(true), b"abc\r\n\r\n"),
        (eof(false), b"abc\r\n\r\n"),
        (length(b'N'), &[0, 0, 0, 1, 5]),
        (asked, b"1:a"),
        (http.clone(), b"GET /index.html HTTP/1.1\r\nHost: a\r\nCookie: b\r\n\r\n"),
        (http, post),
        (FramerSettings { open_mqtt: true, ..unlimited() }, &[0xc0, 0]),
        (FramerSettings { open_redis: true, ..unlimited() }, b"*1\r\n$4\r\nPING\r\n"),
    ];
    for (settings, message) in rows {
        let mut framer = Choice::new(&Arc::new(settings.clone()));
        assert_is_free(&mut framer, message);
    }
    let settings = FramerSettings { open_websocket: true, ..FramerSettings::default() };
    let mut framer = Choice::new(&Arc::new(settings));
    assert!(matches!(framer.next(&mut handshake()), Verdict::Answer(_)));
    assert_is_free(&mut framer, &[0x81, 0x82, 1, 2, 3, 4, 5, 6]);
}

fn assert_is_free(framer: &mut Choice, message: &[u8]) {
    let mut unread = message.to_vec();
    for _ in 0..10 {
        unread.copy_from_slice(message);
        let (bytes, verdict) = allocated_by(|| match framer.takes_anything() {
            true => Verdict::More { until: 1 },
            false => framer.next(&mut unread[..message.len() - 1]),
        });
        assert!(matches!(verdict, Verdict::More { .. }) && bytes == 0, "{verdict:?}, {bytes}");
        let (bytes, verdict) = allocated_by(|| framer.next(&mut unread));
        let Verdict::Message(found) = verdict else { panic!("{verdict:?}") };
        assert_eq!((bytes, found.used), (0, message.len()), "{}", framer.name());
    }
}

/// A search that began anew with each byte would look at 2^39 of them and take minutes.
#[test]
fn bytes_that_come_one_by_one_are_not_searched_again() {
    const COUNT: usize = 1 << 20;
    let begun = Instant::now();
    let chunks = [
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        b"1\r\na\r\n".repeat(COUNT / 6),
    ];
    let eof = |is_split| FramerSettings {
        open_eof_check: true,
        open_eof_split: is_split,
        ..FramerSettings::default()
    };
    let rows = [
        (eof(true), vec![b'\n'; COUNT]),
        (eof(false), vec![b'a'; COUNT]),
        (FramerSettings { open_http: true, ..FramerSettings::default() }, chunks.concat()),
        (
            FramerSettings { open_redis: true, ..FramerSettings::default() },
            [b"*500000\r\n".to_vec(), b":0\r\n".repeat(COUNT / 4)].concat(),
        ),
    ];
    for (settings, mut bytes) in rows {
        let mut framer = Choice::new(&Arc::new(settings));
        for end in 1..=bytes.len() {
            let verdict = framer.next(&mut bytes[..end]);
            assert!(matches!(verdict, Verdict::More { .. }), "{end} bytes: {verdict:?}");
            let is_late = end % 4096 == 0 && begun.elapsed() > Duration::from_secs(60);
            assert!(!is_late, "{} has come to {end} bytes", framer.name());
        }
    }
}
