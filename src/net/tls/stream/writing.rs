//! What is written: plain bytes become records, and what the socket does not take is kept.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use crate::net::stream::Moved;
use crate::os::socket;

use super::{is_not_now, with_shared, TlsStream, Writing, SHARED_BYTES};

/// Plain bytes of the largest record.
const RECORD: usize = 16 * 1024;
/// More than what a record adds to the bytes in it.
const RECORD_OVERHEAD: usize = 64;
/// Bytes that are encrypted before they are written, with all that is added.
const MOST_SEALED: usize = 4 * (RECORD + RECORD_OVERHEAD);
/// Bytes of a file that are read at once: those of whole records, behind where they are encrypted.
const FILE_CHUNK: usize = 4 * RECORD;
const _: () = assert!(MOST_SEALED + FILE_CHUNK <= SHARED_BYTES);

/// Keys may be used for so many records only, and TLS 1.2 has no way to new ones.
fn used_up() -> i32 {
    crate::warn_limited!(
        "a connection with TLS 1.2 ends because it has used up its keys: TLS 1.3 renews them"
    );
    libc::EPROTO
}

impl TlsStream {
    /// Writes as much of `bytes` as is taken; `bytes` must not be empty.
    pub fn write(&mut self, bytes: &[u8]) -> Moved {
        self.write_parts(&[IoSlice::new(bytes)])
    }

    /// Writes as much of the parts, in order, as is taken. Some of that may wait here, until
    /// [`TlsStream::flush`]; as long as it does, nothing more is taken.
    pub fn write_parts(&mut self, parts: &[IoSlice<'_>]) -> Moved {
        if let Some(refusal) = self.refuses_output() {
            return refusal;
        }
        let whole: usize = parts.iter().map(|part| part.len()).sum();
        let mut total = 0;
        while total < whole && self.outgoing.is_empty() {
            let sent = with_shared(|shared| {
                let (plain, sealed) = self.seal(parts, total, shared)?;
                total += plain;
                self.send_now(shared.get(..sealed).unwrap_or_default())?;
                Ok(plain > 0)
            });
            match sent {
                Ok(true) => {}
                Ok(false) => return Moved::Broken(libc::EPROTO),
                Err(errno) => return Moved::Broken(errno),
            }
        }
        Moved::Bytes(total)
    }

    /// Why nothing can be written now.
    fn refuses_output(&mut self) -> Option<Moved> {
        match self.flush() {
            Ok(true) if self.writing == Writing::Open => None,
            Ok(true) => Some(Moved::Broken(libc::EPIPE)),
            Ok(false) => Some(Moved::WouldBlock),
            Err(errno) => Some(Moved::Broken(errno)),
        }
    }

    /// Writes at most `count` bytes of a file from `offset` on, and no more than a few records.
    /// `End` means that the file ends before.
    pub fn write_file(&mut self, file: &File, offset: u64, count: usize) -> Moved {
        if let Some(refusal) = self.refuses_output() {
            return refusal;
        }
        let sent = with_shared(|shared| {
            let (sealed, plain) = shared.split_at_mut(MOST_SEALED);
            let room = plain.get_mut(..count.min(FILE_CHUNK)).unwrap_or_default();
            let read = file.read_at(room, offset);
            let read = read.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
            let bytes = room.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(Moved::End);
            }
            let (taken, length) = self.seal(&[IoSlice::new(bytes)], 0, sealed)?;
            self.send_now(sealed.get(..length).unwrap_or_default())?;
            Ok(Moved::Bytes(taken))
        });
        sent.unwrap_or_else(Moved::Broken)
    }

    /// Encrypts what is behind the first `done` bytes of the parts, as much as fits at once. Gives
    /// how many plain bytes that was and how many it has become. Where that comes to an end in
    /// between, what was encrypted before goes out, and the next call fails.
    fn seal(
        &mut self,
        parts: &[IoSlice<'_>],
        done: usize,
        to: &mut [u8],
    ) -> std::result::Result<(usize, usize), i32> {
        let (mut plain, mut sealed, mut skipped) = (0, 0, done);
        for part in parts {
            let Some(mut rest) = part.get(skipped..) else {
                skipped -= part.len();
                continue;
            };
            skipped = 0;
            while !rest.is_empty() {
                let record = rest.get(..RECORD).unwrap_or(rest);
                if sealed + record.len() + RECORD_OVERHEAD > MOST_SEALED {
                    return Ok((plain, sealed));
                }
                match self.seal_one(record, to.get_mut(sealed..).unwrap_or_default()) {
                    Ok(count) => sealed += count,
                    Err(_) if plain > 0 => return Ok((plain, sealed)),
                    Err(errno) => return Err(errno),
                }
                plain += record.len();
                rest = rest.get(record.len()..).unwrap_or_default();
            }
        }
        Ok((plain, sealed))
    }

    /// Encrypts one record, with what the protocol itself has to say in front of it.
    fn seal_one(&mut self, record: &[u8], to: &mut [u8]) -> std::result::Result<usize, i32> {
        let mut used = 0;
        loop {
            let rest = to.get_mut(used..).unwrap_or_default();
            // What is kept was looked at: it gives nothing now, but has to be there again.
            let UnbufferedStatus { state, .. } =
                self.connection.process_tls_records(&mut self.sealed);
            match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    return traffic.encrypt(record, rest).map(|count| used + count).map_err(
                        |error| match error {
                            EncryptError::InsufficientSize(_) => libc::ENOBUFS,
                            EncryptError::EncryptExhausted => used_up(),
                        },
                    );
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => match data.encode(rest) {
                    Ok(count) => used += count,
                    Err(EncodeError::InsufficientSize(_)) => return Err(libc::ENOBUFS),
                    Err(EncodeError::AlreadyEncoded) => {}
                },
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_has_ended = true,
                Ok(_) => return Err(libc::EPIPE),
                Err(_) => return Err(libc::EPROTO),
            }
        }
    }

    /// Writes what was encrypted; what the socket does not take is kept.
    fn send_now(&mut self, bytes: &[u8]) -> std::result::Result<(), i32> {
        let sent = match bytes.is_empty() {
            true => Ok(0),
            false => socket::send(self.socket.as_raw_fd(), bytes),
        };
        let count = match sent {
            Ok(count) => count,
            Err(error) if is_not_now(&error) => 0,
            Err(error) => return Err(error.raw_os_error().unwrap_or(libc::EIO)),
        };
        self.written = self.written.wrapping_add(count as u64);
        self.outgoing.push(bytes.get(count..).unwrap_or_default());
        Ok(())
    }
}
