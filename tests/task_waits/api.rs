//! The functions of `swoole.h` that wait for tasks, as a test calls them.

use crate::common::api::{last_error, Handle, Result};
use std::ffi::c_void;
use swoole::ffi::library::sw_buffer_free;
use swoole::ffi::task_waits::*;
use swoole::ffi::types::{sw_buffer_t, sw_server_t};

const NO_BUFFER: sw_buffer_t = sw_buffer_t { data: std::ptr::null_mut(), len: 0 };

/// What is in a buffer, which is given back.
fn taken(mut buffer: sw_buffer_t) -> Option<Vec<u8>> {
    let bytes = bytes(&sw_bytes_t { data: buffer.data, len: buffer.len });
    sw_buffer_free(&mut buffer);
    bytes
}

fn bytes(part: &sw_bytes_t) -> Option<Vec<u8>> {
    if part.data.is_null() {
        assert_eq!(part.len, 0, "there is a length without bytes");
        return None;
    }
    // SAFETY: the library says that so many bytes are there.
    Some(unsafe { std::slice::from_raw_parts(part.data, part.len) }.to_vec())
}

pub fn task_wait(server: Handle, data: &[u8], timeout: f64, to: i32) -> Result<Vec<u8>> {
    let mut result = sw_buffer_t { data: std::ptr::NonNull::dangling().as_ptr(), len: 7 };
    let data_at = data.as_ptr().cast();
    match sw_server_taskwait(server.raw, data_at, data.len(), timeout, to, &mut result) {
        true => Ok(taken(result).expect("an answer is never NULL")),
        false => {
            assert!(result.data.is_null() && result.len == 0, "the result is not emptied");
            Err(last_error())
        }
    }
}

fn parts(tasks: &[Vec<u8>]) -> Vec<sw_bytes_t> {
    tasks.iter().map(|task| sw_bytes_t { data: task.as_ptr(), len: task.len() }).collect()
}

/// How many were answered, and the answers.
pub fn task_wait_multi(
    server: Handle,
    tasks: &[Vec<u8>],
    timeout: f64,
) -> Result<(usize, Vec<Option<Vec<u8>>>)> {
    let mut results = vec![NO_BUFFER; tasks.len()];
    let (parts, places) = (parts(tasks), results.as_mut_ptr());
    let count = sw_server_task_wait_multi(server.raw, parts.as_ptr(), tasks.len(), timeout, places);
    let count = usize::try_from(count).map_err(|_| last_error())?;
    Ok((count, results.into_iter().map(taken).collect()))
}

/// What a test wants called with the answers.
pub type OnDone = Box<dyn FnOnce(Handle, Vec<Option<Vec<u8>>>)>;

pub fn task_co(server: Handle, tasks: &[Vec<u8>], timeout: f64, on_done: OnDone) -> Result<()> {
    let on_done = Box::into_raw(Box::new(on_done)).cast();
    let parts = parts(tasks);
    let (parts, count) = (parts.as_ptr(), tasks.len());
    match sw_server_task_co(server.raw, parts, count, timeout, Some(call_once), on_done) {
        true => Ok(()),
        false => {
            // SAFETY: it will not be called.
            drop(unsafe { Box::from_raw(on_done.cast::<OnDone>()) });
            Err(last_error())
        }
    }
}

extern "C-unwind" fn call_once(
    server: *mut sw_server_t,
    results: *const sw_bytes_t,
    count: usize,
    user_data: *mut c_void,
) {
    // SAFETY: `task_co` gave the box, and this is called once.
    let on_done: Box<OnDone> = unsafe { Box::from_raw(user_data.cast()) };
    let answers = match count {
        0 => Vec::new(),
        // SAFETY: the library lends so many results until this function returns.
        _ => unsafe { std::slice::from_raw_parts(results, count) }.iter().map(bytes).collect(),
    };
    on_done(Handle { raw: server }, answers);
}
