//! The answer that makes an HTTP connection a WebSocket connection.

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use sha1::{Digest, Sha1};

use crate::proto::http::holds_token;

/// How many characters the key of a client has.
pub(in crate::proto) const KEY_BYTES: usize = 24;

/// What RFC 6455 has put behind the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The whole answer to a client with this key that offers these sub-protocols.
pub(in crate::proto) fn answer(key: &[u8], offered: &[u8], subprotocol: &[u8]) -> Vec<u8> {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut answer = b"HTTP/1.1 101 Switching Protocols\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        .to_vec();
    answer.extend_from_slice(STANDARD.encode(digest).as_bytes());
    answer.extend_from_slice(b"\r\nSec-WebSocket-Version: 13\r\n");
    if !subprotocol.is_empty() && holds_token(offered, subprotocol) {
        answer.extend_from_slice(b"Sec-WebSocket-Protocol: ");
        answer.extend_from_slice(subprotocol);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"Server: swoole-http-server\r\n\r\n");
    answer
}
