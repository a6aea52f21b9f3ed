//! User processes as a test has them: the C functions, and messages through the pipe.

#![allow(dead_code)]

use crate::common::api::{last_error, Handle, Result};
use std::ffi::c_void;
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use swoole::ffi::process::*;
use swoole::ffi::types::*;

/// What a user process runs: a plain function.
pub type Body = fn(Handle, Process);

/// A user process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub raw: *mut sw_process_t,
}

/// Those that were added, by their numbers.
static ADDED: [AtomicPtr<sw_process_t>; 3] =
    [AtomicPtr::new(null_mut()), AtomicPtr::new(null_mut()), AtomicPtr::new(null_mut())];

/// The one with this number.
pub fn nth(number: usize) -> Process {
    Process { raw: ADDED[number].load(Ordering::Relaxed) }
}

/// The first one.
pub fn the() -> Process {
    nth(0)
}

extern "C-unwind" fn call_body(
    server: *mut sw_server_t,
    process: *mut sw_process_t,
    user_data: *mut c_void,
) {
    // SAFETY: `Process::new` gave a `Body` as user data.
    let body: Body = unsafe { std::mem::transmute(user_data) };
    body(Handle { raw: server }, Process { raw: process });
}

impl Process {
    pub fn new(body: Body) -> Result<Self> {
        let raw = sw_process_new(Some(call_body), body as *mut c_void);
        if raw.is_null() {
            return Err(last_error());
        }
        Ok(Self { raw })
    }

    /// Makes a process that [`nth`] finds, and adds it.
    pub fn start_with(server: Handle, body: Body) -> Result<Self> {
        let process = Self::new(body)?;
        let number = process.add_to(server)?;
        ADDED[number as usize].store(process.raw, Ordering::Relaxed);
        Ok(process)
    }

    /// Its number.
    pub fn add_to(self, server: Handle) -> Result<i32> {
        match sw_server_add_process(server.raw, self.raw) {
            -1 => Err(last_error()),
            number => Ok(number),
        }
    }

    pub fn socket(self) -> RawFd {
        sw_process_socket(self.raw)
    }

    pub fn pid(self) -> i32 {
        sw_process_pid(self.raw)
    }

    /// The caller's end of the pipe.
    pub fn stream(self) -> ManuallyDrop<UnixStream> {
        // SAFETY: the descriptor is open as long as the server is there, and it is not closed here,
        // since the stream is not dropped.
        ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(self.socket()) })
    }

    /// Sends a message for a connection through the pipe.
    pub fn tell(self, fd: i64, bytes: &[u8]) -> io::Result<()> {
        let mut frame = fd.to_le_bytes().to_vec();
        frame.extend((bytes.len() as u64).to_le_bytes());
        frame.extend(bytes);
        self.stream().write_all(&frame)
    }

    /// The next message; `None` at the end of the pipe.
    pub fn next(self) -> Option<(i64, Vec<u8>)> {
        let mut head = [0; 16];
        match self.stream().read(&mut head).expect("the pipe") {
            0 => return None,
            count => self.stream().read_exact(&mut head[count..]).expect("the rest of a head"),
        }
        let (fd, length) = head.split_at(8);
        let mut bytes = vec![0; u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize];
        self.stream().read_exact(&mut bytes).expect("a whole message");
        Some((i64::from_le_bytes(fd.try_into().expect("8 bytes")), bytes))
    }
}
