//! Messages as a test has them: the C function, the event, and bytes that can be checked.

use crate::common::api::{last_error, Handle, Result};
use crate::common::Event;
use swoole::ffi::message::sw_server_send_message;
use swoole::ffi::types::{sw_event_kind_t, sw_pipe_message_t};

/// Sends bytes to a worker.
pub fn send_message(server: Handle, data: &[u8], worker: i32) -> Result<()> {
    match sw_server_send_message(server.raw, data.as_ptr().cast(), data.len(), worker) {
        true => Ok(()),
        false => Err(last_error()),
    }
}

/// What a pipe message event tells.
pub fn told<'a>(event: &'a Event) -> (&'a sw_pipe_message_t, &'a [u8]) {
    assert_eq!(event.kind(), sw_event_kind_t::SW_EVENT_PIPE_MESSAGE);
    // SAFETY: this kind carries this member.
    let told = unsafe { &event.0.pipe_message };
    if told.data.is_null() {
        assert_eq!(told.len, 0, "there is a length without bytes");
        return (told, &[]);
    }
    // SAFETY: the library lends `len` bytes at `data` until the callback returns.
    (told, unsafe { std::slice::from_raw_parts(told.data, told.len) })
}

/// A message of `length` bytes or a little more: a line of text, then filling that follows from it.
pub fn letter(line: &str, length: usize) -> Vec<u8> {
    let mut bytes = format!("{line}\n").into_bytes();
    // Another byte in each row, and another row in each letter; fast in a test, too.
    let row: Vec<u8> = (0..=250).map(|index| index ^ line.len() as u8).collect();
    let filling = length.saturating_sub(bytes.len());
    bytes.extend_from_slice(&row.repeat(filling / row.len() + 1)[..filling]);
    bytes
}

/// The line of a letter; `None` if its bytes are not what they were.
pub fn opened(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    (letter(line, bytes.len()) == bytes).then_some(line)
}
