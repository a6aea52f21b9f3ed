//! Commands: functions that the master has run in other processes.

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

use super::callback::enter;
use super::handle::{borrow, bytes, fill, guard, text};
use super::library::buffer_from;
use super::types::{sw_buffer_t, sw_command_fn_t, sw_reply_t, sw_server_t};
use crate::error::{code, Error, Result};
use crate::model::command::CommandHook;

/// The answer of the command that runs in this thread.
struct Reply {
    /// Its address is the handle; nobody looks there.
    mark: Box<u8>,
    bytes: Option<Vec<u8>>,
}

thread_local! {
    static REPLY: RefCell<Option<Reply>> = const { RefCell::new(None) };
}

fn handle_of(mark: &u8) -> *mut sw_reply_t {
    let address: *const u8 = mark;
    address.cast_mut().cast()
}

impl Reply {
    /// Runs the function of a command with a place for its answer.
    fn collect(call: impl FnOnce(*mut sw_reply_t) -> bool) -> Option<Vec<u8>> {
        let mark = Box::new(0);
        let handle = handle_of(&mark);
        let outer = REPLY.with(|reply| reply.replace(Some(Reply { mark, bytes: None })));
        let is_done = call(handle);
        let reply = REPLY.with(|reply| reply.replace(outer));
        reply.filter(|_| is_done).map(|reply| reply.bytes.unwrap_or_default())
    }

    fn has_handle(&self, handle: *const sw_reply_t) -> bool {
        std::ptr::eq(handle_of(&self.mark), handle)
    }
}

/// Registers a command: a function that sw_server_command has run in a process of the server.
///
/// - `server`: the server.
/// - `name`: by which it is called, UTF-8, not empty; not NULL.
/// - `process_types`: where it may run: SW_COMMAND_MASTER, SW_COMMAND_MANAGER,
///   SW_COMMAND_EVENT_WORKER, SW_COMMAND_TASK_WORKER, or several of them with `|`.
/// - `command_fn`: what runs; not NULL.
/// - `user_data`: handed to the function as it is; may be NULL.
///
/// Returns: true if there is such a command now. If the name is taken the first one stays.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, the name is empty or taken, no or unknown process types),
/// SW_ERROR_OPERATION_NOT_SUPPORT (SW_COMMAND_REACTOR_THREAD), SW_ERROR_WRONG_OPERATION (after
/// start).
///
/// Where: before start, any thread.
///
/// Memory: the name is copied; `user_data` stays the caller's and must live as long as the server.
#[no_mangle]
pub extern "C" fn sw_server_add_command(
    server: *mut sw_server_t,
    name: *const c_char,
    process_types: c_int,
    command_fn: sw_command_fn_t,
    user_data: *mut c_void,
) -> bool {
    guard(false, || {
        let handle = borrow(server)?;
        let name = text("the name of the command", name)?;
        let call =
            command_fn.ok_or_else(|| Error::new(code::INVALID_PARAMS, "the function is NULL"))?;
        let (server, user_data) = (server as usize, user_data as usize);
        let hook: CommandHook = Arc::new(move |data: &[u8]| {
            let start = if data.is_empty() { std::ptr::null() } else { data.as_ptr() };
            let (server, user_data) = (server as *mut sw_server_t, user_data as *mut c_void);
            Reply::collect(|reply| {
                enter("command", || call(server, start, data.len(), reply, user_data))
            })
        });
        handle.server.add_command(name, process_types, hook)?;
        Ok(true)
    })
}

/// Has a command run in a process of the server and waits for its answer, 5 seconds at most.
/// Meanwhile the caller does nothing else. A process that is replaced before it gets to the command
/// leaves it to its successor. One that dies in the middle of it is known when its successor runs.
/// An answer that comes too late is thrown away and logged with SW_ERROR_SERVER_INVALID_COMMAND.
///
/// - `server`: the server.
/// - `name`: of the command; not NULL.
/// - `process_id`: 0 to `worker_num` - 1 for SW_COMMAND_EVENT_WORKER, 0 to `task_worker_num` - 1
///   for SW_COMMAND_TASK_WORKER, ignored for others.
/// - `process_type`: one of SW_COMMAND_...; in the caller itself the command runs at once.
/// - `data`: handed to the command; NULL only if `len` is 0.
/// - `len`: 0 or more, below 4 GiB; at most 8151 for SW_COMMAND_MANAGER.
/// - `reply`: is filled with the answer; not NULL. An empty answer is NULL and 0.
///
/// Returns: true if the command has answered; `reply` is untouched if not.
///
/// Errors: SW_ERROR_INVALID_PARAMS (the caller is neither the master nor, in SW_BASE mode,
/// worker 0; no such process; not exactly one type; NULL), SW_ERROR_SERVER_INVALID_COMMAND (no such
/// command), SW_ERROR_OPERATION_NOT_SUPPORT (it does not run in this type of process; there is no
/// manager; SW_THREAD mode), SW_ERROR_DATA_LENGTH_TOO_LARGE (`len`, for the manager),
/// SW_ERROR_TASK_TIMEOUT (no answer in time), SW_ERROR_SERVER_WORKER_TERMINATED (the process has
/// died in the command), SW_ERROR_SERVER_INVALID_REQUEST (the command returned false),
/// SW_ERROR_MALLOC_FAIL (no memory), SW_ERROR_WRONG_OPERATION (inside of a command, or not
/// running).
///
/// Where: in callbacks of the master, also "start"; in SW_BASE mode in those of worker 0.
///
/// Memory: name and data are copied. The answer belongs to the caller, who gives it to
/// sw_buffer_free.
#[no_mangle]
pub extern "C" fn sw_server_command(
    server: *mut sw_server_t,
    name: *const c_char,
    process_id: c_int,
    process_type: c_int,
    data: *const c_void,
    len: usize,
    reply: *mut sw_buffer_t,
) -> bool {
    guard(false, || {
        let handle = borrow(server)?;
        let name = text("the name of the command", name)?;
        let data = bytes(data, len)?;
        if reply.is_null() {
            return Err(Error::new(code::INVALID_PARAMS, "the place for the answer is NULL"));
        }
        let answer = handle.server.command(name, process_id, process_type, data)?;
        fill("the place for the answer", reply, buffer_from(answer))?;
        Ok(true)
    })
}

/// Answers a command, once.
///
/// - `reply`: what the function of the command was given.
/// - `data`: the answer; NULL only if `len` is 0.
/// - `len`: 0 or more, below 4 GiB.
///
/// Returns: true if this is the answer now.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, or no command with this handle runs in the calling
/// thread), SW_ERROR_WRONG_OPERATION (answered already).
///
/// Where: in the function of a command.
///
/// Memory: the bytes are copied.
#[no_mangle]
pub extern "C" fn sw_command_reply(
    reply: *mut sw_reply_t,
    data: *const c_void,
    len: usize,
) -> bool {
    guard(false, || {
        let data = bytes(data, len)?;
        REPLY.with(|open| {
            let mut open = open.borrow_mut();
            let open = open.as_mut().filter(|open| open.has_handle(reply));
            answer(open.ok_or_else(no_reply)?, data)
        })
    })
}

fn no_reply() -> Error {
    let text = "this is no reply of a command that runs in the calling thread";
    Error::new(code::INVALID_PARAMS, text)
}

fn answer(reply: &mut Reply, data: &[u8]) -> Result<bool> {
    if reply.bytes.is_some() {
        let text = "the command has been answered already, it can be once";
        return Err(Error::new(code::WRONG_OPERATION, text));
    }
    reply.bytes = Some(data.to_vec());
    Ok(true)
}
