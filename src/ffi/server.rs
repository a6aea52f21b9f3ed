//! Servers: make, set up, run, end.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

use super::callback::enter;
use super::handle::{self, borrow, fill, guard, text, text_or_bytes};
use super::library::buffer_of;
use super::types::{
    sw_buffer_t, sw_callback_t, sw_conn_event_t, sw_event_kind_t, sw_event_t, sw_packet_t,
    sw_pipe_message_t, sw_server_t, sw_status_info_t, sw_task_result_t, sw_task_t,
    sw_worker_event_t,
};
use crate::error::{code, Error, Result};
use crate::model::hooks::{
    ConnectionEvent, Event, EventKind, Hook, MessageEvent, PacketEvent, WorkerEvent,
};
use crate::server::{event_of, Server};

const NS_PER_S: f64 = 1e9;

/// Makes a server with its first port. The socket is made and bound here, not at start.
///
/// - `host`: an IPv4 or IPv6 address or a name, at most 107 bytes; "0.0.0.0" and "::" are all
///   interfaces; for unix types the path of the socket file. "SYSTEMD" with port 0 takes up the
///   listeners that a service manager has opened (LISTEN_PID, LISTEN_FDS, LISTEN_FDS_START), each
///   as a port of its own type. Not NULL.
/// - `port`: 0 to 65535; 0 lets the system choose. Ignored for unix types.
/// - `mode`: SW_BASE, SW_PROCESS or SW_THREAD.
/// - `sock_type`: one of SW_SOCK_TCP to SW_SOCK_UNIX_DGRAM; a stream type may have `| SW_SSL`, and
///   needs a certificate at start then. SW_SSL with a datagram type is refused at start.
///
/// Returns: the server, or NULL.
///
/// Errors: SW_ERROR_INVALID_PARAMS (mode, NULL, or no listener is inherited),
/// SW_ERROR_SERVER_INVALID_LISTEN_PORT, SW_ERROR_NAME_TOO_LONG, SW_ERROR_BAD_HOST_ADDR,
/// SW_ERROR_BAD_IPV6_ADDRESS, SW_ERROR_BAD_SOCKET_TYPE, or the errno of the system, such as
/// EADDRINUSE, that a path gives also if nobody listens at the file there.
///
/// Where: any thread. Many servers may be made in a process; one at a time can run.
///
/// Memory: the server belongs to the caller, who gives it to sw_server_free.
#[no_mangle]
pub extern "C" fn sw_server_new(
    host: *const c_char,
    port: c_int,
    mode: c_int,
    sock_type: c_int,
) -> *mut sw_server_t {
    guard(std::ptr::null_mut(), || {
        crate::log::install();
        Server::new(text("host", host)?, port, mode, sock_type).map(handle::give)
    })
}

/// Frees a server that does not run.
///
/// - `server`: the server; NULL is harmless. A running server is left alone.
///
/// Errors: SW_ERROR_WRONG_OPERATION (it runs), SW_ERROR_INVALID_PARAMS (it is no server); they are
/// seen through sw_last_error alone.
///
/// Where: before start and after it has returned, any thread, while no other thread is inside a
/// call on this server.
///
/// Memory: the handle must not be used any more.
#[no_mangle]
pub extern "C" fn sw_server_free(server: *mut sw_server_t) {
    guard((), || handle::take_back(server));
}

/// Sets one setting from text.
///
/// - `server`: the server.
/// - `name`: the setting, in any case. A name that is none is logged as a warning and ignored.
/// - `value`: "4", "true", "2M", "0.5", a path; numbers outside of the range of the setting are
///   moved into it.
///
/// Returns: true if the value was taken or the name was ignored.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, or a text that is no value of the setting's type),
/// SW_ERROR_WRONG_OPERATION (after start).
///
/// Where: before start, any thread.
///
/// Memory: both texts are copied.
#[no_mangle]
pub extern "C" fn sw_server_set(
    server: *mut sw_server_t,
    name: *const c_char,
    value: *const c_char,
) -> bool {
    guard(false, || {
        let server = &borrow(server)?.server;
        server.set(text("the name of the setting", name)?, text_or_bytes("the value", value)?)?;
        Ok(true)
    })
}

/// Sets one setting from a number. For a setting that is true or false, 0 is false.
///
/// - `server`: the server.
/// - `name`: as for sw_server_set.
/// - `value`: a number outside of the range of the setting is moved into it.
///
/// Returns: true if the value was taken or the name was ignored.
///
/// Errors: as for sw_server_set.
///
/// Where: before start, any thread.
///
/// Memory: the name is copied.
#[no_mangle]
pub extern "C" fn sw_server_set_int(
    server: *mut sw_server_t,
    name: *const c_char,
    value: i64,
) -> bool {
    guard(false, || {
        borrow(server)?.server.set_int(text("the name of the setting", name)?, value)?;
        Ok(true)
    })
}

/// Sets many settings from a JSON object, all of them or, if one is refused, none.
///
/// - `server`: the server.
/// - `json`: an object of names and values, such as {"worker_num": 4}; null leaves a setting as it
///   is. They are taken in their order: of a setting that stands there more than once, by whichever
///   of its names, the last value wins, as with several calls of sw_server_set.
/// - `len`: bytes of `json`.
///
/// Returns: true if all values were taken or their names ignored.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, not a JSON object, or a value that is none of the
/// setting's type), SW_ERROR_WRONG_OPERATION (after start).
///
/// Where: before start, any thread.
///
/// Memory: the text is copied.
#[no_mangle]
pub extern "C" fn sw_server_set_json(
    server: *mut sw_server_t,
    json: *const c_char,
    len: usize,
) -> bool {
    guard(false, || {
        borrow(server)?.server.set_json(handle::bytes(json.cast(), len)?)?;
        Ok(true)
    })
}

/// Tells the value of a setting that is, or would be, in force: also one that was never set.
///
/// - `server`: the server.
/// - `name`: the setting, in any case.
/// - `out`: is filled with text such as "4", "true", "2097152"; no NUL stands behind it.
///
/// Returns: true if there is such a setting.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, or no such setting).
///
/// Where: any process, phase and thread.
///
/// Memory: the caller gives `out` to sw_buffer_free.
#[no_mangle]
pub extern "C" fn sw_server_get_setting(
    server: *const sw_server_t,
    name: *const c_char,
    out: *mut sw_buffer_t,
) -> bool {
    guard(false, || {
        let value = borrow(server)?.server.setting(text("the name of the setting", name)?)?;
        if out.is_null() {
            return Err(Error::new(code::INVALID_PARAMS, "out is NULL"));
        }
        fill("out", out, buffer_of(&value.into_bytes()))?;
        Ok(true)
    })
}

/// Registers the callback of an event, in place of an earlier one.
///
/// - `server`: the server.
/// - `event`: the name in any case, without "on": start, shutdown, managerStart, managerStop,
///   workerStart, workerStop, workerError, connect, receive, close, beforeShutdown.
/// - `callback`: what is called; not NULL.
/// - `user_data`: handed to the callback as it is; may be NULL. A forked worker gets the copy that
///   its process inherited.
///
/// Returns: true if it was registered.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, or no such event), SW_ERROR_WRONG_OPERATION (after
/// start).
///
/// Where: before start, any thread.
///
/// Memory: the name is copied; `user_data` stays the caller's and must live as long as the server.
#[no_mangle]
pub extern "C" fn sw_server_on(
    server: *mut sw_server_t,
    event: *const c_char,
    callback: sw_callback_t,
    user_data: *mut c_void,
) -> bool {
    guard(false, || {
        let handle = borrow(server)?;
        let name = text("the name of the event", event)?;
        let kind = handle.server.on(name, hook_of(server, callback, user_data)?)?;
        if let Some(place) = handle.callbacks.lock().get_mut(kind as usize) {
            *place = callback;
        }
        Ok(true)
    })
}

/// What runs a callback of the program.
pub(super) fn hook_of(
    server: *mut sw_server_t,
    callback: sw_callback_t,
    user_data: *mut c_void,
) -> Result<Hook> {
    let call = callback.ok_or_else(|| Error::new(code::INVALID_PARAMS, "the callback is NULL"))?;
    let (server, user_data) = (server as usize, user_data as usize);
    Ok(Arc::new(move |event: &Event<'_>| {
        let told = translate(event);
        let (server, user_data) = (server as *mut sw_server_t, user_data as *mut c_void);
        enter(event.kind().name(), || call(server, &told, user_data));
    }))
}

/// Tells the callback that was registered last for an event.
///
/// - `server`: the server.
/// - `event`: the name, in any case.
///
/// Returns: the same pointer that was registered; NULL if none was or there is no such event.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, or no such event).
///
/// Where: any process, phase and thread.
///
/// Memory: the name is copied.
#[no_mangle]
pub extern "C" fn sw_server_get_callback(
    server: *const sw_server_t,
    event: *const c_char,
) -> sw_callback_t {
    guard(None, || {
        let handle = borrow(server)?;
        let kind = event_of(text("the name of the event", event)?)?;
        Ok(handle.callbacks.lock().get(kind as usize).copied().flatten())
    })
}

/// Runs the server. Returns when it has ended: after SIGTERM or sw_server_shutdown, when every
/// process and thread of it is gone and its ports are free. With the setting daemonize it goes on,
/// and returns, in a new process; the one that has called it ends with 0 at once.
///
/// - `server`: a server with a receive callback.
///
/// Returns: true after an orderly end; false at once if it could not start.
///
/// Errors: SW_ERROR_WRONG_OPERATION (it runs or has ended already),
/// SW_ERROR_SERVER_INVALID_CALLBACK (a callback is missing), SW_ERROR_SERVER_ONLY_START_ONE
/// (another server runs in this process), or the errno of the system; EDEADLK says that the program
/// has several threads, with which SW_PROCESS, SW_BASE and daemonize cannot fork.
///
/// Where: before start, from the only thread of the program (SW_THREAD: from any).
///
/// Memory: nothing changes hands. While it runs, SIGTERM (end), SIGUSR1 and SIGUSR2
/// (reload all workers, reload task workers; without a manager, SIGUSR1 has certificates read
/// again), SIGRTMIN and SIGWINCH (open the log file anew), SIGALRM, SIGHUP, SIGPIPE and SIGCHLD are
/// handled by the library; then they are as before.
#[no_mangle]
pub extern "C" fn sw_server_start(server: *mut sw_server_t) -> bool {
    guard(false, || {
        borrow(server)?.server.start()?;
        Ok(true)
    })
}

/// Asks for an orderly end of the whole server, as SIGTERM to the master does. The calling callback
/// goes on, and what it sends is delivered.
///
/// - `server`: the server.
///
/// Returns: true if the request was handed over. Asking again is harmless.
///
/// Errors: SW_ERROR_WRONG_OPERATION (it does not run).
///
/// Where: any process and thread of the running server, also in a signal handler of its process.
#[no_mangle]
pub extern "C" fn sw_server_shutdown(server: *mut sw_server_t) -> bool {
    guard(false, || {
        borrow(server)?.server.shutdown()?;
        Ok(true)
    })
}

/// Replaces all workers, or the task workers only, as SIGUSR1 and SIGUSR2 to the master or the
/// manager do. Nothing that was received is lost, and in SW_PROCESS mode connections live on; user
/// processes, master and manager stay as they are. What the program has loaded before
/// sw_server_start is not loaded again; the certificates of ports with SW_SSL are read again, and
/// SIGUSR1 does that also where there is no manager.
///
/// - `server`: the server.
/// - `only_task_workers`: leave the event workers as they are. Without task workers the manager
///   logs a warning and nothing happens.
///
/// Returns: true if the request was handed over; its end is told by the event "afterReload". One
/// reload runs at a time, and what is asked for meanwhile is dropped, which only the manager and,
/// in SW_THREAD mode, everybody is told.
///
/// Errors: SW_ERROR_OPERATION_NOT_SUPPORT (no manager: SW_BASE with one worker; or a reload runs;
/// or SW_THREAD without task workers), SW_ERROR_WRONG_OPERATION (it does not run).
///
/// Where: any process and thread of the running server.
#[no_mangle]
pub extern "C" fn sw_server_reload(server: *mut sw_server_t, only_task_workers: bool) -> bool {
    guard(false, || {
        borrow(server)?.server.reload(only_task_workers)?;
        Ok(true)
    })
}

/// Ends one worker, which is replaced. Without a manager, SW_BASE with one worker, the server ends.
///
/// - `server`: the server.
/// - `worker_id`: 0 to `worker_num` + `task_worker_num` - 1; -1 for the calling worker.
/// - `wait_event`: for the calling worker: true lets it finish what it has begun, its timers and
///   descriptors, for `max_wait_time` seconds at most, and raises "workerExit" meanwhile; false
///   ends it after the callback that runs, and drops its timers and descriptors. Another worker
///   finishes what it has begun also if this is false, unless `reload_async` is false.
///
/// Returns: true if the worker will end. What was sent before, and until the callback returns, is
/// delivered.
///
/// Errors: SW_ERROR_INVALID_PARAMS (no such worker), SW_ERROR_OPERATION_NOT_SUPPORT (the id of a
/// user process), SW_ERROR_WRONG_OPERATION (-1 outside of workers, or it does not run),
/// SW_ERROR_SERVER_UNRELATED_THREAD.
///
/// Where: any process of the running server, in a thread that runs its callbacks.
#[no_mangle]
pub extern "C" fn sw_server_stop(
    server: *mut sw_server_t,
    worker_id: c_int,
    wait_event: bool,
) -> bool {
    guard(false, || {
        borrow(server)?.server.stop(worker_id, wait_event)?;
        Ok(true)
    })
}

/// Tells whether the server runs and no end has been asked for.
///
/// - `server`: the server.
///
/// Returns: true from the call of sw_server_start on; false before it, once an orderly end has
/// begun, and after it.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL).
///
/// Where: any process, phase and thread.
#[no_mangle]
pub extern "C" fn sw_server_is_running(server: *const sw_server_t) -> bool {
    guard(false, || Ok(borrow(server)?.server.is_serving()))
}

/// The C form of an event.
#[inline]
pub(super) fn translate(event: &Event<'_>) -> sw_event_t {
    let kind = kind_of(event.kind());
    match event {
        Event::Plain(_) => sw_event_t { kind },
        Event::Connection(_, told) => sw_event_t { receive: connection_event(kind, told) },
        Event::Task(told) => sw_event_t {
            task: sw_task_t {
                kind,
                worker_id: told.worker,
                id: told.id,
                flags: u32::from(told.flags),
                dispatch_time: told.handed_ns as f64 / NS_PER_S,
                data: told.data.as_ptr(),
                len: told.data.len(),
            },
        },
        Event::Finish(told) => sw_event_t {
            finish: sw_task_result_t {
                kind,
                task_worker_id: told.worker,
                task_id: told.task,
                dispatch_time: told.answered_ns as f64 / NS_PER_S,
                data: told.data.map_or(std::ptr::null(), <[u8]>::as_ptr),
                len: told.data.map_or(0, <[u8]>::len),
            },
        },
        Event::Packet(told) => sw_event_t { packet: packet_event(kind, told) },
        Event::Worker(_, told) => sw_event_t { worker: worker_event(kind, told) },
        Event::Message(told) => sw_event_t { pipe_message: message_event(kind, told) },
        Event::Error(told) => sw_event_t {
            error: sw_status_info_t {
                kind,
                worker_id: told.worker,
                worker_pid: told.pid,
                status: told.status,
                exit_code: told.exit_code,
                signal: told.signal,
            },
        },
    }
}

#[inline]
fn connection_event(kind: sw_event_kind_t, told: &ConnectionEvent<'_>) -> sw_conn_event_t {
    let data = if told.data.is_empty() { std::ptr::null() } else { told.data.as_ptr() };
    sw_conn_event_t {
        kind,
        reactor_id: told.reactor_number,
        fd: told.session.0,
        dispatch_time: told.arrival_ns as f64 / NS_PER_S,
        data,
        len: told.data.len(),
        opcode: told.frame.opcode,
        flags: told.frame.flags,
    }
}

#[inline]
fn packet_event(kind: sw_event_kind_t, told: &PacketEvent<'_>) -> sw_packet_t {
    sw_packet_t {
        kind,
        server_socket: told.socket,
        server_port: i32::from(told.server_port),
        port: i32::from(told.port),
        dispatch_time: told.arrival_ns as f64 / NS_PER_S,
        address: told.address.as_ptr(),
        data: told.data.as_ptr(),
        len: told.data.len(),
    }
}

fn worker_event(kind: sw_event_kind_t, told: &WorkerEvent) -> sw_worker_event_t {
    let WorkerEvent { worker: worker_id, pid: worker_pid, is_task_worker } = *told;
    sw_worker_event_t { kind, worker_id, worker_pid, is_task_worker }
}

#[inline]
fn message_event(kind: sw_event_kind_t, told: &MessageEvent<'_>) -> sw_pipe_message_t {
    sw_pipe_message_t {
        kind,
        source_worker_id: told.source_worker,
        dispatch_time: told.sent_ns as f64 / NS_PER_S,
        data: if told.data.is_empty() { std::ptr::null() } else { told.data.as_ptr() },
        len: told.data.len(),
    }
}

fn kind_of(kind: EventKind) -> sw_event_kind_t {
    use sw_event_kind_t as C;
    match kind {
        EventKind::Start => C::SW_EVENT_START,
        EventKind::BeforeShutdown => C::SW_EVENT_BEFORE_SHUTDOWN,
        EventKind::Shutdown => C::SW_EVENT_SHUTDOWN,
        EventKind::ManagerStart => C::SW_EVENT_MANAGER_START,
        EventKind::ManagerStop => C::SW_EVENT_MANAGER_STOP,
        EventKind::BeforeReload => C::SW_EVENT_BEFORE_RELOAD,
        EventKind::AfterReload => C::SW_EVENT_AFTER_RELOAD,
        EventKind::WorkerStart => C::SW_EVENT_WORKER_START,
        EventKind::WorkerStop => C::SW_EVENT_WORKER_STOP,
        EventKind::WorkerExit => C::SW_EVENT_WORKER_EXIT,
        EventKind::WorkerError => C::SW_EVENT_WORKER_ERROR,
        EventKind::Connect => C::SW_EVENT_CONNECT,
        EventKind::Receive => C::SW_EVENT_RECEIVE,
        EventKind::Close => C::SW_EVENT_CLOSE,
        EventKind::Packet => C::SW_EVENT_PACKET,
        EventKind::BufferFull => C::SW_EVENT_BUFFER_FULL,
        EventKind::BufferEmpty => C::SW_EVENT_BUFFER_EMPTY,
        EventKind::Task => C::SW_EVENT_TASK,
        EventKind::Finish => C::SW_EVENT_FINISH,
        EventKind::PipeMessage => C::SW_EVENT_PIPE_MESSAGE,
    }
}
