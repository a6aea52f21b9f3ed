//! Between a connection's bytes and rustls: what received bytes come to, and what waits to be sent.

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};

/// Bytes in a queue. Mostly it is empty, and then it holds no memory.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    bytes: Vec<u8>,
    taken: usize,
}

impl Waiting {
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.rest().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes bytes from the front.
    pub(super) fn consume(&mut self, count: usize) {
        self.taken += count;
        if self.taken >= self.bytes.len() {
            *self = Self::default();
        }
    }

    pub(super) fn take_into(&mut self, into: &mut [u8]) -> usize {
        let count = copy(self.rest(), into);
        self.consume(count);
        count
    }

    /// Puts what `make` makes behind what waits. It gets room and says how much of it is used, or
    /// how much is needed.
    pub(super) fn push_made(
        &mut self,
        mut make: impl FnMut(&mut [u8]) -> std::result::Result<usize, Option<usize>>,
    ) {
        let start = self.bytes.len();
        let made = match make(&mut []) {
            Err(Some(needed)) => {
                self.bytes.resize(start + needed, 0);
                make(self.bytes.get_mut(start..).unwrap_or_default())
            }
            other => other,
        };
        // What still does not fit is nothing to send.
        self.bytes.truncate(start + made.unwrap_or(0));
    }
}

/// Copies as much as fits; how much that was.
pub(super) fn copy(from: &[u8], into: &mut [u8]) -> usize {
    let count = from.len().min(into.len());
    if let (Some(to), Some(from)) = (into.get_mut(..count), from.get(..count)) {
        to.copy_from_slice(from);
    }
    count
}

/// What received bytes came to.
#[derive(Debug, Default)]
pub(super) struct Digested {
    /// So many of them are done with.
    pub(super) used: usize,
    pub(super) peer_has_ended: bool,
    pub(super) error: Option<rustls::Error>,
}

/// Decrypts all records that are whole. Plain bytes go to `sink`, what the protocol itself has to
/// say to `out`. What is left over has to come again, with more behind it.
pub(super) fn digest(
    connection: &mut UnbufferedServerConnection,
    bytes: &mut [u8],
    out: &mut Waiting,
    mut sink: impl FnMut(&[u8]),
) -> Digested {
    let mut digested = Digested::default();
    while let Some(rest) = bytes.get_mut(digested.used..) {
        // After an error, only what the peer is to be told about it: nothing is looked at again.
        if digested.error.is_some() && !connection.wants_write() {
            break;
        }
        let UnbufferedStatus { mut discard, state } = connection.process_tls_records(rest);
        let mut is_over = false;
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(Ok(record)) = traffic.next_record() {
                    discard += record.discard;
                    sink(record.payload);
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => out.push_made(|room| {
                data.encode(room).map_err(|error| match error {
                    EncodeError::InsufficientSize(size) => Some(size.required_size),
                    EncodeError::AlreadyEncoded => None,
                })
            }),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => digested.peer_has_ended = true,
            // A handshake that waits, and one that is finished: these bytes give nothing more.
            // Early data is never allowed.
            Ok(_) => is_over = true,
            Err(error) => digested.error = Some(error),
        }
        digested.used += discard;
        if is_over {
            break;
        }
    }
    digested
}
