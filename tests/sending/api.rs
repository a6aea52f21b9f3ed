//! Sending as a test has it: the C functions, files, and orders of the puppet about both.
//!
//! ```text
//! !blob FD LENGTH             sends a text of so many bytes in one message
//! !file FD PATH OFFSET LENGTH sends a part of a file
//! !between FD PATH            sends "<", the file, "|", its last byte and ">", in one callback
//! !wait FD LENGTH             sends a text and waits until it has gone
//! !pour FD LENGTH             sends texts of so many bytes until one is refused: how many, why
//! !stack FD PATH             sends a file until that is refused: how often not, why
//! !odd FD                     sends itself as a file whose name is no text, which goes then
//! !waiting FD                 bytes that wait for the peer
//! !responses                  sends of this worker that were counted
//! ```
//!
//! Calls that can fail are answered with the number of the error, 0 if there is none.
#![allow(dead_code)]

use crate::common::api::{last_error, Handle, Result};
use crate::common::prelude::*;
use crate::puppet::{self, number};
use std::ffi::{CString, OsStr};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use swoole::ffi::sending::*;

/// What texts consist of.
pub const FILLING: u8 = b'b';
pub const MIB: usize = 1 << 20;

pub fn send_file(server: Handle, fd: i64, path: &str, offset: i64, length: usize) -> Result<()> {
    let path = CString::new(path).expect("a path of a test holds no NUL");
    checked(sw_server_sendfile(server.raw, fd, path.as_ptr(), offset, length))
}

pub fn send_and_wait(server: Handle, fd: i64, data: &[u8]) -> Result<()> {
    checked(sw_server_sendwait(server.raw, fd, data.as_ptr().cast(), data.len()))
}

fn checked(is_ok: bool) -> Result<()> {
    if is_ok {
        Ok(())
    } else {
        Err(last_error())
    }
}

pub fn code_of(result: Result<()>) -> i32 {
    result.err().map_or(0, |error| error.code)
}

/// The puppet with more orders.
pub fn obey(server: Handle, event: &Event) {
    let text = std::str::from_utf8(event.data()).unwrap_or("");
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = match *words.as_slice() {
        ["!blob", fd, length] => {
            code_of(server.send(number(fd), &vec![FILLING; number(length)])).to_string()
        }
        ["!file", fd, path, offset, length] => {
            code_of(send_file(server, number(fd), path, number(offset), number(length))).to_string()
        }
        ["!between", fd, path] => send_between(server, number(fd), path).to_string(),
        ["!wait", fd, length] => {
            code_of(send_and_wait(server, number(fd), &vec![FILLING; number(length)])).to_string()
        }
        ["!pour", fd, length] => pour(server, number(fd), number(length)),
        ["!stack", fd, path] => stack(server, number(fd), path),
        ["!odd", fd] => send_odd(server, number(fd)),
        ["!waiting", fd] => waiting(server, number(fd)).to_string(),
        ["!responses"] => server.stats().map_or(0, |stats| stats.worker_response_count).to_string(),
        _ => return puppet::obey(server, event),
    };
    puppet::answer(server, event.fd(), format!("{line}\n").as_bytes());
}

fn send_between(server: Handle, fd: i64, path: &str) -> i32 {
    let last = std::fs::metadata(path).map_or(0, |facts| facts.len() as i64 - 1);
    let steps = [
        server.send(fd, b"<"),
        send_file(server, fd, path, 0, 0),
        server.send(fd, b"|"),
        send_file(server, fd, path, last, 1),
        server.send(fd, b">"),
    ];
    steps.into_iter().map(code_of).find(|code| *code != 0).unwrap_or(0)
}

/// A name that is no UTF-8; the file is there until its connection has ended.
pub const ODD: &[u8] = b"odd-\xff\xfe\x80";

fn send_odd(server: Handle, fd: i64) -> String {
    let path = std::env::temp_dir().join(OsStr::from_bytes(ODD));
    std::fs::write(&path, ODD).expect("a file");
    let text = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    code_of(checked(sw_server_sendfile(server.raw, fd, text.as_ptr(), 0, 0))).to_string()
}

fn pour(server: Handle, fd: i64, length: usize) -> String {
    let text = vec![FILLING; length];
    let mut count = 0;
    loop {
        match code_of(server.send(fd, &text)) {
            0 => count += 1,
            code => return format!("{count} {code}"),
        }
    }
}

/// Tries that would show that there is no bound.
const TRIES: usize = 100_000;

fn stack(server: Handle, fd: i64, path: &str) -> String {
    let codes = (0..TRIES).map(|_| code_of(send_file(server, fd, path, 0, 0)));
    let mut count = 0;
    let refusal = codes.inspect(|_| count += 1).find(|code| *code != 0);
    format!("{count} {}", refusal.unwrap_or(0))
}

pub fn waiting(server: Handle, fd: i64) -> u64 {
    server.client_info(fd, false).map_or(0, |info| info.send_queued_bytes)
}

/// A file that goes when this is dropped. Each page begins with its number.
pub struct Scrap(pub PathBuf);

impl Scrap {
    pub fn new(server: &Running, size: usize) -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("sw-scrap-{}-{size}", server.pid()));
        std::fs::write(&path, bytes(0, size))?;
        Ok(Self(path))
    }

    /// A file of zeros that takes no room on any disk.
    pub fn sparse(server: &Running, size: u64) -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("sw-sparse-{}-{size}", server.pid()));
        std::fs::File::create(&path)?.set_len(size)?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scrap {
    fn drop(&mut self) {
        // A test may have taken it away.
        drop(std::fs::remove_file(&self.0));
    }
}

/// What stands in a scrap from `start` on.
pub fn bytes(start: usize, length: usize) -> Vec<u8> {
    let at = |index: usize| ((index >> 12).wrapping_mul(31) ^ index) as u8;
    (start..start + length).map(at).collect()
}

/// Reads the filling; fails if other bytes come.
pub fn receive_filling(client: &mut Client, length: usize) -> Outcome {
    let mut chunk = vec![0; 256 * 1024];
    let mut left = length;
    while left > 0 {
        let wanted = chunk.len().min(left);
        client.stream.read_exact(&mut chunk[..wanted])?;
        if chunk[..wanted].iter().any(|byte| *byte != FILLING) {
            return Err(format!("another byte {left} bytes before the end").into());
        }
        left -= wanted;
    }
    Ok(())
}
