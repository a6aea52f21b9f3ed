//! What the first bytes of a connection are, where they are not what they should be.

use crate::error::{code, Error};

/// The first byte of a record with a handshake message, and of one with an alert.
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
/// The first handshake message.
const CLIENT_HELLO: u8 = 1;
/// What every version says of itself in the record.
const MAJOR_VERSION: u8 = 3;

/// Beginnings of other protocols, and what is said about them.
const OTHERS: &[(&[u8], &str)] = &[
    (b"GET ", HTTP),
    (b"POST ", HTTP),
    (b"HEAD ", HTTP),
    (b"PUT ", HTTP),
    (b"OPTIONS ", HTTP),
    (b"DELETE ", HTTP),
    (b"PATCH ", HTTP),
    (b"CONNECT ", HTTP),
    (b"TRACE ", HTTP),
    (b"PRI * HTTP/2", HTTP),
    (b"SSH-", "SSH, not TLS"),
    (b"PROXY ", PROXY),
    (b"\r\n\r\n\0\r\nQUIT\n", PROXY),
];
const HTTP: &str = "plain HTTP, not TLS: the address of this port begins with https://";
const PROXY: &str = "the PROXY protocol, which this port does not speak, not TLS";

/// Whether bytes that came to a port without TLS are the beginning of it.
pub fn is_client_hello(bytes: &[u8]) -> bool {
    matches!(bytes, [HANDSHAKE, MAJOR_VERSION, _, _, _, CLIENT_HELLO, ..])
}

/// What is wrong with the first bytes that came to a port with TLS; `None`: nothing so far.
pub(super) fn refusal(bytes: &[u8]) -> Option<Error> {
    match bytes {
        [] | [HANDSHAKE | ALERT] | [HANDSHAKE | ALERT, MAJOR_VERSION, ..] => None,
        // Only the hello of SSLv2 has this form.
        [first, _, CLIENT_HELLO, ..] if first & 0x80 != 0 => {
            let text = "the client speaks SSLv2, which is broken, not TLS 1.2 or 1.3";
            Some(Error::new(code::SSL_BAD_PROTOCOL, text))
        }
        _ => {
            let is_start = |word: &[u8]| bytes.len() > 2 && word.starts_with(bytes);
            let other = OTHERS.iter().find(|(word, _)| bytes.starts_with(word) || is_start(word));
            let text = other.map_or("bytes that are no TLS", |(_, text)| text);
            Some(Error::new(code::SSL_BAD_CLIENT, format!("the client sent {text}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_tls_is_named_where_it_is_known() {
        let said = |bytes: &[u8]| refusal(bytes).map(|error| error.message().to_owned());
        let table: &[(&[u8], &str)] = &[
            (b"GET / HTTP/1.1\r\n", "plain HTTP"),
            (b"GET", "plain HTTP"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "plain HTTP"),
            (b"SSH-2.0-x\r\n", "SSH"),
            (b"PROXY TCP4 1.2.3.4", "PROXY"),
            (b"\x80\x2e\x01\x00\x02", "SSLv2"),
            (b"hello", "no TLS"),
            (b"\x00", "no TLS"),
            (b"\x16\x02\x00", "no TLS"),
            (b"\x17\x03\x03", "no TLS"),
        ];
        for (bytes, named) in table {
            assert!(said(bytes).is_some_and(|text| text.contains(named)), "{bytes:?}");
        }
        for good in [&b""[..], b"\x16", b"\x16\x03", b"\x16\x03\x01\x02", b"\x15\x03\x03"] {
            assert_eq!(said(good), None, "{good:?}");
        }
    }

    #[test]
    fn a_client_hello_is_known_by_its_first_six_bytes() {
        assert!(is_client_hello(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"));
        for other in [&b""[..], b"\x16\x03\x01\x02\x00", b"\x16\x03\x01\x02\x00\x02", b"GET / "] {
            assert!(!is_client_hello(other));
        }
    }
}
