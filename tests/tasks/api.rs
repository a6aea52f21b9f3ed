//! The functions of `swoole.h` about tasks, as a test calls them.

use crate::common::api::Handle;
use swoole::ffi::types::*;

// What is in a server is private to the library, so the compiler cannot see how it is laid out.
#[allow(improper_ctypes)]
extern "C" {
    fn sw_server_is_task_worker(server: *const sw_server_t) -> bool;
}

pub fn is_task_worker(server: Handle) -> bool {
    // SAFETY: the handle of a callback is that of a server.
    unsafe { sw_server_is_task_worker(server.raw) }
}
