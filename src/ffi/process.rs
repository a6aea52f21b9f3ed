//! User processes: make, add, ask.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use libc::pid_t;
use parking_lot::RwLock;

use super::callback::enter;
use super::handle::{borrow, guard};
use super::types::{sw_process_fn_t, sw_process_t, sw_server_t};
use crate::error::{code, Error, Result};
use crate::server::process::Process;

/// What a C handle points to.
struct Handle {
    process: Arc<Process>,
    call: extern "C-unwind" fn(*mut sw_server_t, *mut sw_process_t, *mut c_void),
    /// The program's pointer, handed back as it came.
    user_data: usize,
}

/// The handles that were made and not freed.
static LIVE: RwLock<Vec<usize>> = RwLock::new(Vec::new());

/// A process that belongs to a server and is freed with it.
pub struct OwnedProcess(usize);

impl Drop for OwnedProcess {
    fn drop(&mut self) {
        LIVE.write().retain(|address| *address != self.0);
        // SAFETY: the address came from `Box::into_raw` in `sw_process_new`. A process is added
        // once, so it has one owner, and it is not found among the living any more.
        drop(unsafe { Box::from_raw(self.0 as *mut Handle) });
    }
}

/// The handle behind a pointer that a C program gave.
fn look_up<'a>(process: *const sw_process_t) -> Result<&'a Handle> {
    if process.is_null() {
        return Err(Error::new(code::INVALID_PARAMS, "the process is NULL"));
    }
    if !LIVE.read().contains(&(process as usize)) {
        let text = "this is no process: its server was freed, or sw_process_new did not make it";
        return Err(Error::new(code::INVALID_PARAMS, text));
    }
    // SAFETY: the address is that of a handle that was made and not freed. The C program frees no
    // server while another thread is inside a call on its processes, as the header says.
    Ok(unsafe { &*process.cast::<Handle>() })
}

/// Makes a user process, which runs beside the workers once it is added to a server and that is
/// started. Do not fork it yourself.
///
/// - `process_fn`: what it runs; not NULL.
/// - `user_data`: handed to the function as it is; may be NULL. A forked process gets the copy that
///   it inherited.
///
/// Returns: the process, or NULL.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL), or the errno of the system, such as EMFILE.
///
/// Where: any thread, before the start of its server.
///
/// Memory: the process belongs to the library: sw_server_free frees those that were added to the
/// server, one that was never added lives as long as the program. `user_data` stays the caller's
/// and must live as long as the server.
#[no_mangle]
pub extern "C" fn sw_process_new(
    process_fn: sw_process_fn_t,
    user_data: *mut c_void,
) -> *mut sw_process_t {
    guard(std::ptr::null_mut(), || {
        let call =
            process_fn.ok_or_else(|| Error::new(code::INVALID_PARAMS, "the function is NULL"))?;
        let handle = Handle { process: Process::new()?, call, user_data: user_data as usize };
        let pointer = Box::into_raw(Box::new(handle));
        LIVE.write().push(pointer as usize);
        Ok(pointer.cast())
    })
}

/// Has the server run a user process, from its start to its end. Its worker id is worker_num plus
/// its number; sw_server_get_worker_pid knows it, sw_server_get_worker_id in it is -1.
///
/// - `server`: the server.
/// - `process`: what sw_process_new made; each can be added once.
///
/// Returns: its number: 0 for the first, 1 for the next; -1 on an error.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, no process, or added before), SW_ERROR_WRONG_OPERATION
/// (after start).
///
/// Where: before start, any thread.
///
/// Memory: the process is freed by sw_server_free.
#[no_mangle]
pub extern "C" fn sw_server_add_process(
    server: *mut sw_server_t,
    process: *mut sw_process_t,
) -> c_int {
    guard(-1, || {
        let owner = borrow(server)?;
        let &Handle { process: ref added, call, user_data } = look_up(process)?;
        let (server, address) = (server as usize, process as usize);
        let hook = Arc::new(move || {
            let (server, process) = (server as *mut sw_server_t, address as *mut sw_process_t);
            enter("user process", || call(server, process, user_data as *mut c_void));
        });
        let number = owner.server.add_process(added, hook)?;
        owner.processes.lock().push(OwnedProcess(address));
        Ok(c_int::try_from(number).unwrap_or(c_int::MAX))
    })
}

/// The caller's end of the stream pipe between a user process and all others: one end inside of its
/// function, the other one everywhere else. Every worker may write to it, so the program has to
/// mark where messages end. What was not read survives the end of the process: its successor reads
/// on.
///
/// - `process`: the process.
///
/// Returns: a descriptor of the system; -1 on an error. Reads and writes block, unless it is made
/// non-blocking, as sw_event_add does, and then on this side for all processes.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, no process, or its server was freed).
///
/// Where: any process, phase and thread.
///
/// Memory: the descriptor belongs to the library and must not be closed.
#[no_mangle]
pub extern "C" fn sw_process_socket(process: *const sw_process_t) -> c_int {
    guard(-1, || Ok(look_up(process)?.process.socket()))
}

/// The process id of a user process, of its successor after a respawn; in SW_THREAD mode its thread
/// id.
///
/// - `process`: the process.
///
/// Returns: the id; 0 before start and after the server has ended; -1 on an error.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, no process, or its server was freed).
///
/// Where: any process, phase and thread.
#[no_mangle]
pub extern "C" fn sw_process_pid(process: *const sw_process_t) -> pid_t {
    guard(-1, || Ok(look_up(process)?.process.pid()))
}
