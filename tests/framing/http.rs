//! The law of HTTP: what a request is, how it ends, what is answered before the program sees it.

use crate::drive::{at_once, message, run, Event};
use crate::twins::http::{accept, bad, go_on, too_large};
use proptest::prelude::*;
use swoole::proto::settings::FramerSettings;

const LIMIT: usize = 65536 * 2;
const HEAD_LIMIT: usize = 65536;

fn http() -> FramerSettings {
    FramerSettings { max_length: LIMIT, open_http: true, ..FramerSettings::default() }
}

fn websocket() -> FramerSettings {
    FramerSettings { open_websocket: true, ..http() }
}

fn assert_is_bad(request: &[u8]) {
    let text = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
    assert_eq!(at_once(&http(), request), [bad()], "{text:?}");
    let pieces: Vec<&[u8]> = request.chunks(997).collect();
    assert_eq!(run(&http(), &pieces).concat(), [bad()], "{text:?} in pieces");
}

fn assert_is_whole(request: &[u8]) {
    assert_eq!(at_once(&http(), request), [message(request)], "{:?}", std::str::from_utf8(request));
}

#[test]
fn every_method_of_the_law_is_known_and_no_other() {
    let known =
        "DELETE GET HEAD POST PUT PATCH CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND \
        PROPPATCH UNLOCK REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE \
        PURGE";
    for method in known.split(' ') {
        assert_is_whole(format!("{method} / HTTP/1.1\r\n\r\n").as_bytes());
        assert_is_bad(format!("{method}X / HTTP/1.1\r\n\r\n").as_bytes());
        assert_is_bad(format!("{} / HTTP/1.1\r\n\r\n", method.to_lowercase()).as_bytes());
    }
    for method in ["LINK", "PRI", "QUERY", "", " GET"] {
        assert_is_bad(format!("{method} /aaaaaa HTTP/1.1\r\n\r\n").as_bytes());
    }
}

#[test]
fn nothing_is_said_before_sixteen_bytes() {
    assert_eq!(at_once(&http(), &[0; 15]), []);
    assert_is_bad(&[0; 16]);
}

#[test]
fn a_request_line_has_a_target_and_version_1_0_or_1_1() {
    assert_is_whole(b"GET / HTTP/1.0\r\n\r\n");
    let bad_lines = [
        "GET / HTTP/1.2",
        "GET / HTTP/1.?",
        "GET / HTTP/2.0",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.12",
        "GET / http/1.1",
        "GET /aaaaaaaaaaaaa",
        "GET HTTP/1.1 aaaaaa",
        "GET / a HTTP/1.1",
    ];
    for line in bad_lines {
        assert_is_bad(format!("{line}\r\n\r\n").as_bytes());
    }
    assert_is_bad(b"GET / HTTP/1.1\n\naaaaaaa");
}

#[test]
fn a_version_that_is_wrong_is_refused_before_its_line_ends() {
    assert_is_bad(b"GET /aaaaaaaaaa FTP");
}

#[test]
fn the_preface_of_http_2_is_refused() {
    assert_is_bad(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

#[test]
fn a_header_block_has_at_most_65536_bytes() {
    let request = |count: usize| {
        let start = "GET / HTTP/1.1\r\nX: ";
        format!("{start}{}\r\n\r\n", "a".repeat(count - start.len() - 4)).into_bytes()
    };
    assert_is_whole(&request(HEAD_LIMIT));
    assert_is_bad(&request(HEAD_LIMIT + 1));
    assert_eq!(at_once(&http(), &request(HEAD_LIMIT + 1)[..HEAD_LIMIT - 1]), []);
    assert_is_bad(&request(HEAD_LIMIT + 1)[..HEAD_LIMIT]);
}

#[test]
fn a_request_line_without_end_is_refused_when_65536_bytes_are_there() {
    for tail in ["a", " "] {
        let line = format!("GET /{}", tail.repeat(HEAD_LIMIT - 5)).into_bytes();
        assert_eq!(at_once(&http(), &line[..HEAD_LIMIT - 1]), []);
        assert_is_bad(&line);
    }
}

#[test]
fn requests_without_body_are_taken_one_after_the_other() {
    let (a, b) = ("GET /a HTTP/1.1\r\n\r\n", "HEAD /b HTTP/1.0\r\nContent-Length: 0\r\n\r\n");
    let outcome = at_once(&http(), format!("{a}{b}{a}").as_bytes());
    assert_eq!(outcome, [message(a.as_bytes()), message(b.as_bytes()), message(a.as_bytes())]);
}

#[test]
fn what_is_read_with_a_body_is_thrown_away() {
    let post = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nok";
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let get = "GET /aa HTTP/1.1\r\n\r\n";
    for post in [post, chunked] {
        let both = format!("{post}{get}");
        let outcome = run(&http(), &[both.as_bytes(), get.as_bytes()]);
        assert_eq!(outcome, [vec![message(post.as_bytes())], vec![message(get.as_bytes())]]);
    }
}

#[test]
fn a_content_length_is_a_decimal_prefix_and_garbage_is_zero() {
    let rows =
        [("5", 5), ("5x", 5), (" 5 ", 5), ("05", 5), ("x5", 0), ("-5", 0), ("+5", 0), ("", 0)];
    for (value, count) in rows {
        let head = format!("PUT / HTTP/1.1\r\ncontent-LENGTH:{value}\r\n\r\n");
        let request = [head.as_bytes(), &b"hello"[..count]].concat();
        assert_is_whole(&request);
        let missing = &request[..request.len() - usize::from(count > 0)];
        assert_eq!(at_once(&http(), missing).len(), usize::from(count == 0), "{value:?}");
    }
    assert_is_whole(b"PUT / HTTP/1.1\r\nX-Content-Length: 5\r\n Content-Length: 5\r\n\r\n");
}

#[test]
fn two_lengths_that_differ_are_refused() {
    let request =
        |b: u8| format!("PUT / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: {b}\r\n\r\n1");
    assert_is_whole(request(1).as_bytes());
    assert_is_bad(request(2).as_bytes());
}

#[test]
fn a_request_of_the_limit_is_whole_and_one_byte_more_is_refused_before_its_body() {
    let head = |count: usize| format!("POST / HTTP/1.1\r\nContent-Length: {count:06}\r\n\r\n");
    let most = LIMIT - head(0).len();
    let fits = [head(most).into_bytes(), vec![b'x'; most]].concat();
    assert_is_whole(&fits);
    assert_eq!(at_once(&http(), head(most + 1).as_bytes()), [too_large()]);
    for huge in ["2147483648", "4294967295", "18446744073709551615", "99999999999999999999999"] {
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {huge}\r\n\r\n");
        assert_eq!(at_once(&http(), head.as_bytes()), [too_large()], "{huge}");
    }
}

#[test]
fn a_client_that_expects_it_is_told_once_to_go_on() {
    for how in ["Content-Length: 3", "Transfer-Encoding: chunked"] {
        let head = format!("POST / HTTP/1.1\r\nExpect: 100-continue\r\n{how}\r\n\r\n");
        let body = if how.starts_with('C') { "abc" } else { "1\r\na\r\n0\r\n\r\n" };
        let (first, rest) = body.as_bytes().split_at(1);
        let (second, third) = rest.split_at(1);
        let whole = message(format!("{head}{body}").as_bytes());
        let outcome = run(&http(), &[head.as_bytes(), first, second, third]);
        assert_eq!(outcome, [vec![go_on()], vec![], vec![], vec![whole.clone()]]);
        assert_is_whole(format!("{head}{body}").as_bytes());
        let twice = run(&http(), &[head.as_bytes(), body.as_bytes()].repeat(2)).concat();
        assert_eq!(twice, [go_on(), whole.clone(), go_on(), whole], "once for each request");
    }
    let old = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(at_once(&http(), old), [], "HTTP/1.0 knows no interim answer");
}

fn chunked(body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into_bytes()
}

#[test]
fn a_body_in_chunks_stays_so_and_ends_where_walking_them_ends() {
    let bodies = [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "A\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
        "000005;name=value\r\nhello\r\n00;last\r\n\r\n",
        "1\r\na\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n",
    ];
    for body in bodies {
        let request = chunked(body);
        assert_is_whole(&request);
        for end in 0..request.len() {
            assert_eq!(at_once(&http(), &request[..end]), [], "{end} bytes of {body:?}");
        }
        let pieces: Vec<&[u8]> = request.chunks(1).collect();
        assert_eq!(run(&http(), &pieces).concat(), [message(&request)]);
    }
    assert_is_whole(b"PUT / HTTP/1.1\r\ntransfer-encoding:gzip, Chunked\r\n\r\n0\r\n\r\n");
    assert_is_whole(
        b"PUT / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
}

#[test]
fn a_bad_size_of_a_chunk_is_refused() {
    for body in ["x\r\n", "-1\r\n", "\r\n", "5x\r\n", "5\n", "5 5\r\n", "1\r\nabcd", "0\r\n\n"] {
        assert_is_bad(&chunked(body));
    }
    let long = |count: usize| chunked(&format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(count - 4)));
    assert_is_whole(&long(4096));
    assert_is_bad(&long(4097));
}

#[test]
fn a_chunk_that_would_pass_the_limit_is_refused_before_it_comes() {
    let around = chunked("1ff00\r\n\r\n0\r\n\r\n").len();
    let head = |size: usize| chunked(&format!("{size:05x}\r\n"));
    let most = LIMIT - around;
    let fits = [head(most), vec![b'x'; most], b"\r\n0\r\n\r\n".to_vec()].concat();
    assert_eq!(fits.len(), LIMIT);
    assert_is_whole(&fits);
    assert_eq!(at_once(&http(), &head(most + 1)), [too_large()]);
    for huge in ["80000000", "ffffffff", "ffffffffffffffff", "fffffffffffffffffffff"] {
        let body = format!("{huge}\r\n");
        assert_eq!(at_once(&http(), &chunked(&body)), [too_large()], "{huge}");
    }
}

#[test]
fn chunks_and_trailers_without_end_are_refused_at_the_limit() {
    for (start, line) in [("", "1\r\na\r\n"), ("0\r\n", "A: b\r\n")] {
        let body = format!("{start}{}", line.repeat(LIMIT / line.len()));
        assert_eq!(at_once(&http(), &chunked(&body)), [too_large()]);
        let request = chunked(&body);
        let pieces: Vec<&[u8]> = request.chunks(1000).collect();
        assert_eq!(run(&http(), &pieces).concat(), [too_large()]);
    }
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn upgrade(key: &str, more: &str) -> String {
    format!("GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {key}\r\n{more}\r\n")
}

#[test]
fn an_upgrade_is_answered_with_the_digest_of_its_key() {
    let answer = accept(KEY.as_bytes());
    let text = String::from_utf8(answer.clone()).expect("it is text");
    // The example of RFC 6455.
    assert!(text.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{text}");
    let outcome = at_once(&websocket(), upgrade(KEY, "").as_bytes());
    assert_eq!(outcome, [Event::Answer(answer)]);
}

#[test]
fn everything_behind_an_upgrade_is_frames() {
    let stream = [upgrade(KEY, "").as_bytes(), &[0x81, 2, b'h', b'i']].concat();
    let text = Event::Message { bytes: b"hi".to_vec(), opcode: 1, flags: 1 };
    for end in 0..stream.len() {
        let (front, back) = stream.split_at(end);
        let outcome =
            run(&websocket(), &[front, back, &[9, 0], b"GET / HTTP/1.1\r\n\r\n"]).concat();
        assert_eq!(outcome[..2], [Event::Answer(accept(KEY.as_bytes())), text.clone()]);
        assert!(matches!(outcome[2..], [Event::Broken { .. }]), "a broken frame: {outcome:?}");
    }
}

#[test]
fn an_upgrade_without_a_key_of_24_characters_is_refused() {
    for key in ["", "short", "dGhlIHNhbXBsZSBub25jZQ==="] {
        assert_eq!(at_once(&websocket(), upgrade(key, "").as_bytes()), [bad()], "{key}");
    }
    let without = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(at_once(&websocket(), without), [bad()]);
}

#[test]
fn a_sub_protocol_is_agreed_to_if_the_client_offers_it() {
    let settings = FramerSettings { websocket_subprotocol: b"chat.v2".to_vec(), ..websocket() };
    let rows = [("chat.v1, CHAT.v2", true), ("chat.v2", true), ("chat.v22,chat", false)];
    for (offer, agrees) in rows {
        let request = upgrade(KEY, &format!("Sec-WebSocket-Protocol: {offer}\r\n"));
        let outcome = at_once(&settings, request.as_bytes());
        let [Event::Answer(answer)] = &outcome[..] else { panic!("{outcome:?}") };
        let text = String::from_utf8_lossy(answer);
        assert!(text.starts_with("HTTP/1.1 101 ") && text.ends_with("\r\n\r\n"), "{text}");
        let line = "\r\nSec-WebSocket-Protocol: chat.v2\r\n";
        assert_eq!(text.contains(line), agrees, "{offer}: {text}");
    }
    let [Event::Answer(answer)] = &at_once(&settings, upgrade(KEY, "").as_bytes())[..] else {
        panic!("no answer")
    };
    assert!(!String::from_utf8_lossy(answer).contains("Sec-WebSocket-Protocol"));
}

#[test]
fn another_request_on_a_websocket_port_is_an_http_message() {
    let rows = [
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n".to_owned(),
        upgrade(KEY, "").replace("GET", "POST"),
    ];
    for request in rows {
        assert_eq!(at_once(&websocket(), request.as_bytes()), [message(request.as_bytes())]);
        let twice = format!("{request}{}", upgrade(KEY, ""));
        assert!(matches!(at_once(&websocket(), twice.as_bytes())[1], Event::Answer(_)));
    }
}

#[test]
fn an_upgrade_on_a_port_without_websocket_is_an_http_message() {
    let request = upgrade(KEY, "");
    assert_is_whole(request.as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A parser that others have written agrees where the header block of a right request ends.
    #[test]
    fn a_right_request_ends_where_another_parser_says(
        target in "/[a-z0-9?=&%._-]{0,40}",
        names in prop::collection::vec("X-[A-Za-z0-9-]{1,12}", 0..8),
        value in "[ -~]{0,30}",
    ) {
        let lines: String = names.iter().map(|name| format!("{name}: {value}\r\n")).collect();
        let request = format!("GET {target} HTTP/1.1\r\n{lines}\r\n");
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let end = httparse::Request::new(&mut headers).parse(request.as_bytes());
        prop_assert_eq!(end, Ok(httparse::Status::Complete(request.len())));
        let followed = format!("{request}GET / HTTP/1.1\r\n\r\n");
        let outcome = at_once(&http(), followed.as_bytes());
        prop_assert_eq!(&outcome[0], &message(request.as_bytes()));
        prop_assert_eq!(outcome.len(), 2);
    }
}
