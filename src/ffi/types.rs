//! The constants and types of the C interface.
//!
//! Everything here is part of the ABI: a field, once released, keeps its place and its meaning.
//! `tests/contract.c` asserts the numbers and the types from the side of C.
#![allow(non_camel_case_types)]

use libc::pid_t;
use std::ffi::{c_char, c_int, c_void};

/// Server mode: each worker is a process that accepts and reads by itself.
pub const SW_BASE: c_int = 1;
/// Server mode: the master reads in threads and hands each frame to a worker process.
pub const SW_PROCESS: c_int = 2;
/// Server mode: workers are threads of one process.
pub const SW_THREAD: c_int = 3;

/// Socket type: stream over IPv4.
pub const SW_SOCK_TCP: c_int = 1;
/// Socket type: datagrams over IPv4.
pub const SW_SOCK_UDP: c_int = 2;
/// Socket type: stream over IPv6.
pub const SW_SOCK_TCP6: c_int = 3;
/// Socket type: datagrams over IPv6.
pub const SW_SOCK_UDP6: c_int = 4;
/// Socket type: stream over a Unix socket, the host is a path.
pub const SW_SOCK_UNIX_STREAM: c_int = 5;
/// Socket type: datagrams over a Unix socket, the host is a path.
pub const SW_SOCK_UNIX_DGRAM: c_int = 6;
/// Added to a stream type of socket with `|`: TLS. With other types the start fails.
pub const SW_SSL: c_int = 512;

/// Worker status: a callback runs.
pub const SW_WORKER_BUSY: c_int = 1;
/// Worker status: waiting for something to do.
pub const SW_WORKER_IDLE: c_int = 2;
/// Worker status: about to end, takes no new work.
pub const SW_WORKER_EXIT: c_int = 3;

/// Process type of a command: the master.
pub const SW_COMMAND_MASTER: c_int = 1 << 1;
/// Process type of a command: a reactor thread.
pub const SW_COMMAND_REACTOR_THREAD: c_int = 1 << 2;
/// Process type of a command: an event worker.
pub const SW_COMMAND_EVENT_WORKER: c_int = 1 << 3;
/// Process type of a command: a task worker.
pub const SW_COMMAND_TASK_WORKER: c_int = 1 << 4;
/// Process type of a command: the manager.
pub const SW_COMMAND_MANAGER: c_int = 1 << 5;

/// A descriptor in the event loop can be read.
pub const SW_IO_READ: c_int = 512;
/// A descriptor in the event loop can be written.
pub const SW_IO_WRITE: c_int = 1024;

/// Result of a dispatch function: throw the data away.
pub const SW_DISPATCH_DISCARD: c_int = -1;
/// Result of a dispatch function: close the connection.
pub const SW_DISPATCH_CLOSE: c_int = -2;
/// Result of a dispatch function: choose as the setting `dispatch_mode` says.
pub const SW_DISPATCH_DEFAULT: c_int = -3;

/// Task flag: nobody is blocked until the result is there.
pub const SW_TASK_NONBLOCK: c_int = 4;
/// Task flag: a callback of this one task takes the result.
pub const SW_TASK_CALLBACK: c_int = 8;
/// Task flag: one of a list whose results are waited for together.
pub const SW_TASK_WAITALL: c_int = 16;
/// Task flag: one of a list whose results a callback takes together.
pub const SW_TASK_COROUTINE: c_int = 32;
/// Task flag: does not come from a worker, so it cannot be answered.
pub const SW_TASK_NOREPLY: c_int = 128;

/// WebSocket flag: the message is whole, which it always is.
pub const SW_WEBSOCKET_FLAG_FIN: c_int = 1;
/// WebSocket flag: the first bit of an extension; permessage-deflate has compressed the payload.
pub const SW_WEBSOCKET_FLAG_RSV1: c_int = 4;
/// WebSocket flag: the second bit of an extension.
pub const SW_WEBSOCKET_FLAG_RSV2: c_int = 8;
/// WebSocket flag: the third bit of an extension.
pub const SW_WEBSOCKET_FLAG_RSV3: c_int = 16;
/// WebSocket flag: the payload came masked.
pub const SW_WEBSOCKET_FLAG_MASK: c_int = 32;

/// Bytes of the text `remote_ip` in `sw_client_info_t`, with the NUL at its end.
pub const SW_REMOTE_IP_SIZE: usize = 108;

/// A port of a server. It belongs to its server and is valid until that is freed.
pub struct sw_port_t {
    _private: [u8; 0],
}

/// A server. Made by `sw_server_new`, given back to `sw_server_free`; what is inside is private.
pub struct sw_server_t {
    _private: [u8; 0],
}

/// A user process. Made by `sw_process_new`; what is inside is private.
pub struct sw_process_t {
    _private: [u8; 0],
}

/// Where a command puts its answer. It is valid until the function of the command returns.
pub struct sw_reply_t {
    _private: [u8; 0],
}

/// What an event reports; says which member of `sw_event_t` is valid. A kind for which no member
/// is named carries nothing more.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum sw_event_kind_t {
    /// The server runs and is about to accept. In the master; BASE: in worker 0.
    SW_EVENT_START = 1,
    /// An orderly end was asked for, the loop still works. In the master; BASE: in worker 0.
    SW_EVENT_BEFORE_SHUTDOWN = 2,
    /// All has ended: the last event of the server. In the process that called `sw_server_start`.
    SW_EVENT_SHUTDOWN = 3,
    /// All workers were created. In the manager.
    SW_EVENT_MANAGER_START = 4,
    /// All workers have ended. In the manager.
    SW_EVENT_MANAGER_STOP = 5,
    /// A reload is about to stop the first worker. In the manager.
    SW_EVENT_BEFORE_RELOAD = 6,
    /// A reload has replaced every worker. In the manager.
    SW_EVENT_AFTER_RELOAD = 7,
    /// First event of a worker or task worker; member `worker`.
    SW_EVENT_WORKER_START = 8,
    /// Last event of a worker or task worker; member `worker`.
    SW_EVENT_WORKER_STOP = 9,
    /// A worker wants to end and something keeps its loop alive; member `worker`.
    SW_EVENT_WORKER_EXIT = 10,
    /// A worker ended by a signal or with a status other than 0; member `error`. In the manager.
    SW_EVENT_WORKER_ERROR = 11,
    /// A connection was accepted; member `connect`. In its worker.
    SW_EVENT_CONNECT = 12,
    /// Bytes or one whole frame came in; member `receive`. In its worker.
    SW_EVENT_RECEIVE = 13,
    /// A connection ended, once for each; member `close`. In its worker.
    SW_EVENT_CLOSE = 14,
    /// A datagram came in; member `packet`. In a worker.
    SW_EVENT_PACKET = 15,
    /// The send buffer of a connection has reached its high mark; member `connect`. In its worker.
    SW_EVENT_BUFFER_FULL = 16,
    /// The send buffer has drained to its low mark again; member `connect`. In its worker.
    SW_EVENT_BUFFER_EMPTY = 17,
    /// A task is to be done; member `task`. In a task worker.
    SW_EVENT_TASK = 18,
    /// The result of a task is here; member `finish`. In the worker that handed the task in.
    SW_EVENT_FINISH = 19,
    /// Another process of the server sent a message; member `pipe_message`. In the one addressed.
    SW_EVENT_PIPE_MESSAGE = 20,
}

/// Something happened on a connection.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sw_conn_event_t {
    /// Which event it is.
    pub kind: sw_event_kind_t,
    /// Number of the reactor that owns the connection; in a close event -1 if the server closed.
    pub reactor_id: i32,
    /// Session id of the connection, above 0.
    pub fd: i64,
    /// When the data arrived, in seconds since 1970; 0 unless it is a receive event.
    pub dispatch_time: f64,
    /// The received bytes, valid until the callback returns; NULL if there are none.
    pub data: *const u8,
    /// How many bytes `data` holds; 0 only in an empty WebSocket message.
    pub len: usize,
    /// Of a WebSocket message: 1 text, 2 binary, 8 close, 9 ping, 10 pong; else 0.
    pub opcode: u8,
    /// Of a WebSocket message, a sum of `SW_WEBSOCKET_FLAG_` constants; else 0.
    pub flags: u8,
}

/// One datagram.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sw_packet_t {
    /// Which event it is.
    pub kind: sw_event_kind_t,
    /// Descriptor of the listener that received it.
    pub server_socket: i32,
    /// Port of the listener, 0 for a Unix socket.
    pub server_port: i32,
    /// Port of the peer, 0 for a Unix socket.
    pub port: i32,
    /// When it arrived, in seconds since 1970.
    pub dispatch_time: f64,
    /// Address of the peer as text, or its path; valid until the callback returns, never NULL.
    pub address: *const c_char,
    /// The bytes, valid until the callback returns.
    pub data: *const u8,
    /// How many bytes `data` holds.
    pub len: usize,
}

/// A message from another process of the server.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sw_pipe_message_t {
    /// Which event it is.
    pub kind: sw_event_kind_t,
    /// Worker id of the sender, -1 if it is the master or the manager.
    pub source_worker_id: i32,
    /// When it was sent, in seconds since 1970.
    pub dispatch_time: f64,
    /// The bytes, valid until the callback returns; NULL if there are none.
    pub data: *const u8,
    /// How many bytes `data` holds.
    pub len: usize,
}

/// A task to be done.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sw_task_t {
    /// Which event it is.
    pub kind: sw_event_kind_t,
    /// Id of the worker that handed the task in.
    pub worker_id: i32,
    /// Number of the task; unique together with `worker_id`.
    pub id: i64,
    /// `SW_TASK_...` bits: who waits for the result, and how.
    pub flags: u32,
    /// When it was handed in, in seconds since 1970.
    pub dispatch_time: f64,
    /// The bytes, valid until the callback returns.
    pub data: *const u8,
    /// How many bytes `data` holds.
    pub len: usize,
}

/// The result of a task.
///
/// A callback that was given with the task is told of a failure, too: `data` is NULL then, `len` is
/// 0, and sw_last_error tells why (SW_ERROR_SERVER_WORKER_TERMINATED: the task worker died with the
/// task in its hands). The `data` of an empty result is not NULL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sw_task_result_t {
    /// Which event it is.
    pub kind: sw_event_kind_t,
    /// Worker id of the task worker that answered.
    pub task_worker_id: i32,
    /// Number that the task had when it was handed in.
    pub task_id: i64,
    /// When it was answered, in seconds since 1970.
    pub dispatch_time: f64,
    /// The bytes, valid until the callback returns.
    pub data: *const u8,
    /// How many bytes `data` holds.
    pub len: usize,
}

/// A worker begins or ends.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sw_worker_event_t {
    /// Which event it is.
    pub kind: sw_event_kind_t,
    /// Id of the worker: event workers from 0, then task workers.
    pub worker_id: i32,
    /// Its process; in THREAD mode its thread.
    pub worker_pid: pid_t,
    /// True in a task worker.
    pub is_task_worker: bool,
}

/// How a worker, task worker or user process ended that should not have.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sw_status_info_t {
    /// Which event it is.
    pub kind: sw_event_kind_t,
    /// Worker id of the one that ended.
    pub worker_id: i32,
    /// Its process, which is gone.
    pub worker_pid: pid_t,
    /// Status as `waitpid` reports it.
    pub status: i32,
    /// Exit code 0..255, 0 if a signal ended it.
    pub exit_code: i32,
    /// The signal that ended it, 0 if it exited.
    pub signal: i32,
}

/// An event: `kind` says which member is valid. All members begin with `kind`; all of it is
/// borrowed until the callback returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub union sw_event_t {
    /// Which event it is.
    pub kind: sw_event_kind_t,
    /// For `SW_EVENT_CONNECT`, `SW_EVENT_BUFFER_FULL` and `SW_EVENT_BUFFER_EMPTY`.
    pub connect: sw_conn_event_t,
    /// For `SW_EVENT_RECEIVE`.
    pub receive: sw_conn_event_t,
    /// For `SW_EVENT_CLOSE`.
    pub close: sw_conn_event_t,
    /// For `SW_EVENT_PACKET`.
    pub packet: sw_packet_t,
    /// For `SW_EVENT_PIPE_MESSAGE`.
    pub pipe_message: sw_pipe_message_t,
    /// For `SW_EVENT_TASK`.
    pub task: sw_task_t,
    /// For `SW_EVENT_FINISH`.
    pub finish: sw_task_result_t,
    /// For `SW_EVENT_WORKER_START`, `SW_EVENT_WORKER_STOP` and `SW_EVENT_WORKER_EXIT`.
    pub worker: sw_worker_event_t,
    /// For `SW_EVENT_WORKER_ERROR`.
    pub error: sw_status_info_t,
}

/// A callback, the same type for every event. `event` and all it points to are valid until it
/// returns; `user_data` is what was registered with it. If an exception leaves it, or any other
/// callback, the process that it runs in ends with exit code 255.
pub type sw_callback_t = Option<
    extern "C-unwind" fn(
        server: *mut sw_server_t,
        event: *const sw_event_t,
        user_data: *mut c_void,
    ),
>;

/// Tells the length of the message at the beginning of `data`, with its header: above 0 the length,
/// also one beyond `len`; 0 if more bytes are needed to tell; below 0 for bad data, which closes
/// the connection. It runs where the connection is read, see `sw_port_set_length_func`.
pub type sw_length_fn_t =
    Option<extern "C-unwind" fn(data: *const u8, len: usize, user_data: *mut c_void) -> i64>;

/// What became of a send of `sw_server_send_async`: `error` is 0, ETIMEDOUT or ECONNRESET.
pub type sw_sent_fn_t = Option<
    extern "C-unwind" fn(server: *mut sw_server_t, fd: i64, error: c_int, user_data: *mut c_void),
>;

/// A timer has fired; the id is its own.
pub type sw_timer_fn_t = Option<extern "C-unwind" fn(timer_id: i64, user_data: *mut c_void)>;

/// A deferred call.
pub type sw_defer_fn_t = Option<extern "C-unwind" fn(user_data: *mut c_void)>;

/// A descriptor of the program is ready: `events` is SW_IO_READ, SW_IO_WRITE or both.
pub type sw_io_fn_t =
    Option<extern "C-unwind" fn(os_fd: c_int, events: c_int, user_data: *mut c_void)>;

/// What a user process runs. It is started with the server and, when it has returned or its process
/// has ended, at once again, for as long as the server lives: so it does not return in normal
/// operation. Only a process that ends otherwise again and again within a second waits for its next
/// start, a second at most.
///
/// If it returns while timers, deferred calls or descriptors are registered, these run until none
/// is left. Inside of it what is sent leaves in the call that sends it. A call that finds no room
/// waits for it; if nothing is taken for 3 seconds it returns all the same, and what is left leaves
/// with a later call or when the function has returned.
///
/// When the server ends, after its workers, the process gets SIGTERM, which ends it unless the
/// function has installed a handler, and is killed after twice `max_wait_time`. In SW_THREAD mode
/// the function runs in a thread, which is waited for: it has to return when sw_server_is_running
/// is false or its end of the pipe reads the end.
pub type sw_process_fn_t = Option<
    extern "C-unwind" fn(
        server: *mut sw_server_t,
        process: *mut sw_process_t,
        user_data: *mut c_void,
    ),
>;

/// A command runs in the process that it was sent to, between its other callbacks. `data` holds
/// `len` bytes, NULL if there are none; the answer is what it hands to sw_command_reply, nothing if
/// it does not call that. If it returns false the command has failed, whatever it has answered.
pub type sw_command_fn_t = Option<
    extern "C-unwind" fn(
        server: *mut sw_server_t,
        data: *const u8,
        len: usize,
        reply: *mut sw_reply_t,
        user_data: *mut c_void,
    ) -> bool,
>;

/// Bytes that the library allocated for the caller, who gives them back to `sw_buffer_free`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sw_buffer_t {
    /// The bytes; NULL if there are none. A text has a NUL after its last byte.
    pub data: *mut u8,
    /// How many bytes `data` holds, a NUL after a text not counted.
    pub len: usize,
}

/// What is known of one connection. Times are seconds since 1970.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sw_client_info_t {
    /// Port of the listener it came in by, 0 for a Unix socket.
    pub server_port: i32,
    /// Descriptor of that listener.
    pub server_fd: i32,
    /// Descriptor of the connection in the process that owns it.
    pub socket_fd: i32,
    /// `SW_SOCK_...` of the listener, without `SW_SSL`.
    pub socket_type: i32,
    /// Port of the peer, 0 for a Unix socket.
    pub remote_port: i32,
    /// Number of the reactor that owns it; BASE: the worker id.
    pub reactor_id: i32,
    /// When it was accepted.
    pub connect_time: i64,
    /// `last_recv_time` in whole seconds.
    pub last_time: i64,
    /// When bytes were last read from the socket; at first when it was accepted.
    pub last_recv_time: f64,
    /// When bytes were last written to the socket, 0 before that.
    pub last_send_time: f64,
    /// When the data arrived that its worker handled last, 0 before that.
    pub last_dispatch_time: f64,
    /// Bytes received and not yet taken by the worker.
    pub recv_queued_bytes: u64,
    /// Bytes in the send buffer.
    pub send_queued_bytes: u64,
    /// The `errno` that ended it, 0 if it ended in order or is open.
    pub close_errno: i32,
    /// 3: it is a WebSocket connection, 4: one side has sent a close frame since, 0: it is none.
    pub websocket_status: i32,
    /// Id of the worker that handles it, -1 if none is fixed.
    pub worker_id: i32,
    /// What the program bound to it, valid if `has_uid`.
    pub uid: u32,
    /// True if the program bound a uid.
    pub has_uid: bool,
    /// Address of the peer as text, or its path, with a NUL at the end.
    pub remote_ip: [c_char; SW_REMOTE_IP_SIZE],
}

/// The counters of a server, read one by one while it runs: two may differ by what is under way.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct sw_stats_t {
    /// When the server started, in seconds since 1970.
    pub start_time: i64,
    /// Connections that are open.
    pub connection_num: u64,
    /// Connections that were dropped when they were accepted.
    pub abort_count: u64,
    /// Connections accepted.
    pub accept_count: u64,
    /// Connections closed for good.
    pub close_count: u64,
    /// Event workers as configured.
    pub worker_num: u64,
    /// Task workers as configured.
    pub task_worker_num: u64,
    /// User processes as configured.
    pub user_worker_num: u64,
    /// Event workers with nothing to do; the caller is never one of them.
    pub idle_worker_num: u64,
    /// Frames that reactors handed to workers.
    pub dispatch_count: u64,
    /// Receive and packet callbacks that returned.
    pub request_count: u64,
    /// Calls of `sw_server_send` that succeeded.
    pub response_count: u64,
    /// Bytes read from connections.
    pub total_recv_bytes: u64,
    /// Bytes that `sw_server_send` accepted.
    pub total_send_bytes: u64,
    /// 1 and how often more than 131040 bytes at once went from one process to another.
    pub pipe_packet_msg_id: u64,
    /// The last session id given out.
    pub session_round: u64,
    /// Smallest descriptor of the server's sockets.
    pub min_fd: i64,
    /// Largest descriptor of a connection.
    pub max_fd: i64,
    /// Share of the calling worker in `request_count`; in a task worker the tasks done.
    pub worker_request_count: u64,
    /// Share of the calling worker in `response_count`.
    pub worker_response_count: u64,
    /// Frames that were handed to the calling worker.
    pub worker_dispatch_count: u64,
    /// Task workers with nothing to do.
    pub task_idle_worker_num: u64,
    /// Tasks handed in and not yet begun.
    pub tasking_num: u64,
    /// Tasks handed in.
    pub task_count: u64,
    /// Requests in progress.
    pub concurrency: u64,
    /// Requests in progress in the calling worker.
    pub worker_concurrency: u64,
    /// Messages in the System V queue of the tasks.
    pub task_queue_num: u64,
    /// Bytes in the System V queue of the tasks.
    pub task_queue_bytes: u64,
    /// Always 0: the library runs no coroutines.
    pub coroutine_num: u64,
    /// Always 0: the library runs no coroutines.
    pub coroutine_peak_num: u64,
}
