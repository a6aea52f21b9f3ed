//! Dispatching: a function that chooses workers, and requests that outlive their callback.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use super::callback::enter;
use super::handle::{borrow, guard};
use super::types::sw_server_t;
use crate::error::{code, Error};
use crate::model::dispatch::Chooser;

/// Chooses the worker for an event of a connection, or for a datagram. `fd` is the session id; for
/// a datagram it is the number that dispatch mode 2 makes of the sender's address. `event_type` is
/// 0 for data, 1 for a datagram, 4 for the end of a connection, 5 for a new one, 13 and 14 for its
/// send buffer, full or empty. `data` are the first bytes, at most 8152, valid until it returns;
/// NULL where there are none. It returns 0 to worker_num - 1, or `SW_DISPATCH_DISCARD`,
/// `SW_DISPATCH_CLOSE` or `SW_DISPATCH_DEFAULT`; any other number discards. The end of a connection
/// cannot be discarded, the setting `dispatch_mode` decides then. It runs in the threads that read,
/// several at a time.
#[allow(non_camel_case_types)]
pub type sw_dispatch_fn_t = Option<
    extern "C-unwind" fn(
        server: *mut sw_server_t,
        fd: i64,
        event_type: c_int,
        data: *const u8,
        len: usize,
        user_data: *mut c_void,
    ) -> c_int,
>;

/// Has a function choose the workers, in place of the setting `dispatch_mode`, in `SW_PROCESS`
/// mode. In the other modes it is never called. Data that it discards is lost; on a port with
/// framing the connection is closed then, since the stream would have a hole. It has to be quick:
/// nothing is read meanwhile.
///
/// - `server`: the server.
/// - `callback`: what is called; not NULL.
/// - `user_data`: handed to it as it is; may be NULL.
///
/// Returns: true if it was registered, in place of an earlier one.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (after start).
///
/// Where: before start, any thread.
///
/// Memory: `user_data` stays the caller's and must live as long as the server; several threads use
/// it at a time.
#[no_mangle]
pub extern "C" fn sw_server_set_dispatch_func(
    server: *mut sw_server_t,
    callback: sw_dispatch_fn_t,
    user_data: *mut c_void,
) -> bool {
    guard(false, || {
        let text = "the dispatch function is NULL";
        let call = callback.ok_or_else(|| Error::new(code::INVALID_PARAMS, text))?;
        let owner = borrow(server)?;
        let (server, user_data) = (server as usize, user_data as usize);
        let chooser: Chooser = Arc::new(move |id, subject, data| {
            let (server, user_data) = (server as *mut sw_server_t, user_data as *mut c_void);
            let bytes = if data.is_empty() { std::ptr::null() } else { data.as_ptr() };
            enter("dispatch", || call(server, id, subject, bytes, data.len(), user_data))
        });
        owner.server.set_chooser(chooser)?;
        Ok(true)
    })
}

/// Says that a request goes on after its callback has returned: something was begun whose end a
/// later callback of this worker will see. It counts among what the worker has to do, for the
/// dispatch modes 8, 9 and 10, and among what the setting `worker_max_concurrency` limits. A worker
/// at the limit is handed nothing more until a request is over; messages of one read are handed
/// over together.
///
/// - `server`: the server.
///
/// Returns: true if it was counted.
///
/// Errors: SW_ERROR_WRONG_OPERATION (outside of event workers, or not running),
/// SW_ERROR_SERVER_UNRELATED_THREAD.
///
/// Where: in callbacks, in event workers. If the worker ends, what it has begun is over.
#[no_mangle]
pub extern "C" fn sw_server_begin_request(server: *mut sw_server_t) -> bool {
    guard(false, || {
        borrow(server)?.server.begin_request()?;
        Ok(true)
    })
}

/// Says that a request of sw_server_begin_request is over.
///
/// - `server`: the server.
///
/// Returns: true if one was counted.
///
/// Errors: SW_ERROR_WRONG_OPERATION (none is in progress in this worker, outside of event workers,
/// or not running), SW_ERROR_SERVER_UNRELATED_THREAD.
///
/// Where: in callbacks, in the event worker that has begun it.
#[no_mangle]
pub extern "C" fn sw_server_end_request(server: *mut sw_server_t) -> bool {
    guard(false, || {
        borrow(server)?.server.end_request()?;
        Ok(true)
    })
}
