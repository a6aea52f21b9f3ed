//! What a server knows of itself: counts, who the caller is, processes.

use std::ffi::c_int;

use libc::pid_t;

use super::handle::{borrow, fill, guard};
use super::types::{sw_server_t, sw_stats_t};
use crate::server::status::Stats;

/// Reads the counts of the server: shared memory alone, one after the other while it runs.
///
/// - `server`: the server.
/// - `out`: is filled; not NULL.
///
/// Returns: true if `out` was filled.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (not running).
///
/// Where: in callbacks, of any process.
///
/// Memory: `out` is a copy.
#[no_mangle]
pub extern "C" fn sw_server_stats(server: *mut sw_server_t, out: *mut sw_stats_t) -> bool {
    guard(false, || {
        let stats = borrow(server)?.server.stats()?;
        fill("out", out, translate(&stats))?;
        Ok(true)
    })
}

/// The last error of the calling thread, the same number as sw_last_error.
///
/// - `server`: the server; it makes no difference which, nor whether it is NULL.
///
/// Returns: the number; 0 if there was no error, as in a fresh worker.
///
/// Errors: none.
///
/// Where: any process, phase and thread.
#[no_mangle]
pub extern "C" fn sw_server_get_last_error(server: *const sw_server_t) -> c_int {
    // The error belongs to the thread. The parameter is there for programs that think in objects.
    let _ = server;
    crate::error::last_code()
}

/// The id of the worker that calls.
///
/// - `server`: the server.
///
/// Returns: 0 to worker_num - 1; -1 outside of workers.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL).
///
/// Where: any process, phase and thread.
#[no_mangle]
pub extern "C" fn sw_server_get_worker_id(server: *const sw_server_t) -> c_int {
    guard(-1, || Ok(borrow(server)?.server.worker_id().unwrap_or(-1)))
}

/// The process id of a worker or user process, of its successor after a respawn; in SW_THREAD mode
/// its thread id.
///
/// - `server`: the server.
/// - `worker_id`: a worker id, or -1 for the worker or user process that calls.
///
/// Returns: the id; -1 on an error.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, or no such worker), SW_ERROR_WRONG_OPERATION (-1 outside
/// of workers and user processes, or not running).
///
/// Where: in callbacks, of any process.
#[no_mangle]
pub extern "C" fn sw_server_get_worker_pid(server: *const sw_server_t, worker_id: c_int) -> pid_t {
    guard(-1, || borrow(server)?.server.worker_pid(worker_id))
}

/// What a worker does at this moment: SW_WORKER_BUSY (a callback runs), SW_WORKER_IDLE (it waits)
/// or SW_WORKER_EXIT (it finishes what it has begun, then ends). A worker that is being replaced
/// reads SW_WORKER_EXIT about itself, while others see its successor already.
///
/// - `server`: the server.
/// - `worker_id`: a worker id, or -1 for the worker that calls.
///
/// Returns: one of the three; 0 on an error.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL, no such worker, or -1 outside of workers),
/// SW_ERROR_WRONG_OPERATION (not running), SW_ERROR_SERVER_UNRELATED_THREAD.
///
/// Where: in callbacks, of any process.
#[no_mangle]
pub extern "C" fn sw_server_get_worker_status(
    server: *const sw_server_t,
    worker_id: c_int,
) -> c_int {
    guard(0, || Ok(borrow(server)?.server.worker_status(worker_id)? as c_int))
}

/// The process id of the manager: in SW_PROCESS mode a child of the master, in SW_BASE mode the
/// process that called sw_server_start.
///
/// - `server`: the server.
///
/// Returns: the id; 0 before start and where there is no manager process (SW_THREAD mode, or
/// SW_BASE mode with one worker, no task workers, no `max_request` and no user process).
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL).
///
/// Where: any process, phase and thread.
#[no_mangle]
pub extern "C" fn sw_server_get_manager_pid(server: *const sw_server_t) -> pid_t {
    guard(0, || Ok(borrow(server)?.server.manager_pid()))
}

/// The process id of the master: the process that called sw_server_start; in SW_BASE mode worker 0.
///
/// - `server`: the server.
///
/// Returns: the id; 0 before start.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL).
///
/// Where: any process, phase and thread.
#[no_mangle]
pub extern "C" fn sw_server_get_master_pid(server: *const sw_server_t) -> pid_t {
    guard(0, || Ok(borrow(server)?.server.master_pid()))
}

/// Tells whether the caller is a task worker.
///
/// - `server`: the server.
///
/// Returns: true in a task worker; false elsewhere, and when the server does not run.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL).
///
/// Where: any process, phase and thread.
#[no_mangle]
pub extern "C" fn sw_server_is_task_worker(server: *const sw_server_t) -> bool {
    guard(false, || Ok(borrow(server)?.server.is_task_worker()))
}

/// The mode that the server was made with.
///
/// - `server`: the server.
///
/// Returns: SW_BASE, SW_PROCESS or SW_THREAD; 0 on an error.
///
/// Errors: SW_ERROR_INVALID_PARAMS (NULL).
///
/// Where: any process, phase and thread.
#[no_mangle]
pub extern "C" fn sw_server_get_mode(server: *const sw_server_t) -> c_int {
    guard(0, || Ok(borrow(server)?.server.mode() as c_int))
}

pub(super) fn translate(stats: &Stats) -> sw_stats_t {
    sw_stats_t {
        start_time: stats.start_time_s,
        connection_num: stats.connections,
        abort_count: stats.aborted,
        accept_count: stats.accepted,
        close_count: stats.closed,
        worker_num: stats.workers,
        task_worker_num: stats.task_workers,
        user_worker_num: stats.users,
        idle_worker_num: stats.idle_workers,
        dispatch_count: stats.dispatched,
        request_count: stats.requests,
        response_count: stats.responses,
        total_recv_bytes: stats.received_bytes,
        total_send_bytes: stats.sent_bytes,
        pipe_packet_msg_id: stats.message_round,
        task_queue_num: stats.queued_tasks,
        task_queue_bytes: stats.queued_task_bytes,
        tasking_num: stats.waiting_tasks,
        task_count: stats.accepted_tasks,
        task_idle_worker_num: stats.idle_task_workers,
        session_round: stats.session_round,
        min_fd: stats.min_descriptor,
        max_fd: stats.max_descriptor,
        worker_request_count: stats.own_requests,
        worker_response_count: stats.own_responses,
        worker_dispatch_count: stats.own_dispatched,
        concurrency: stats.in_progress,
        worker_concurrency: stats.own_in_progress,
        ..sw_stats_t::default()
    }
}
