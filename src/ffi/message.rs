//! Messages from one process of the server to another.

use std::ffi::{c_int, c_void};

use super::handle::{borrow, bytes, guard};
use super::types::sw_server_t;

/// Sends bytes to another worker, which gets them in its event "pipeMessage" with the worker id of
/// the sender, or -1 from the master and the manager. Messages of one process to one worker arrive
/// in order, each once, also while the worker is replaced: what it has not been given is given to
/// its successor. Only what a process that is killed had in its hands is lost: the message whose
/// callback runs, one that has come in part, and what found no room in shared memory yet.
///
/// The call does not wait: what the worker does not take is kept, without a limit, so have messages
/// acknowledged where a worker may be slower than its senders. Only in the function of a user
/// process it waits for room, see sw_process_fn_t.
///
/// - `server`: the server.
/// - `data`: the bytes; NULL only if `len` is 0.
/// - `len`: 0 or more, below 4 GiB; beyond 128 KiB they travel in pieces.
/// - `worker_id`: 0 to `worker_num` + `task_worker_num` - 1, but not the caller's own. In a task
///   worker the message waits behind the tasks that came before it.
///
/// Returns: true if the message is on its way.
///
/// Errors: SW_ERROR_INVALID_PARAMS (`worker_id` is the caller's own, that of a user process or no
/// worker's; NULL), SW_ERROR_SERVER_INVALID_CALLBACK (no callback for "pipeMessage"),
/// SW_ERROR_MALLOC_FAIL (no memory), SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in callbacks and user processes, of any process.
///
/// Memory: the bytes are copied.
#[no_mangle]
pub extern "C" fn sw_server_send_message(
    server: *mut sw_server_t,
    data: *const c_void,
    len: usize,
    worker_id: c_int,
) -> bool {
    guard(false, || {
        borrow(server)?.server.send_message(worker_id, bytes(data, len)?)?;
        Ok(true)
    })
}
