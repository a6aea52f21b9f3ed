/*
 * The contract of <swoole.h> as C programs rely on it. It only has to compile: a function keeps its
 * exact type, a constant its number, a field its name and type. What is here may not change.
 */
#include "swoole.h"

#define IS(constant, number) _Static_assert((constant) == (number), #constant " is not " #number)
#define TYPE_OF(function, ...) \
    static __VA_ARGS__ __attribute__((unused)) = function
#define HAS(type, field, field_type)                                                       \
    static inline field_type *type##_has_##field(type *) __attribute__((unused));           \
    static inline field_type *type##_has_##field(type *object) { return &object->field; } \
    _Static_assert(sizeof(type) > 0, #type)

/* Modes, socket types, worker status. */
IS(SW_BASE, 1);
IS(SW_PROCESS, 2);
IS(SW_THREAD, 3);
IS(SW_SOCK_TCP, 1);
IS(SW_SOCK_UDP, 2);
IS(SW_SOCK_TCP6, 3);
IS(SW_SOCK_UDP6, 4);
IS(SW_SOCK_UNIX_STREAM, 5);
IS(SW_SOCK_UNIX_DGRAM, 6);
IS(SW_SSL, 0x200);
IS(SW_WORKER_BUSY, 1);
IS(SW_WORKER_IDLE, 2);
IS(SW_WORKER_EXIT, 3);

/* Bit masks and results of functions that the program supplies. */
IS(SW_COMMAND_MASTER, 2);
IS(SW_COMMAND_REACTOR_THREAD, 4);
IS(SW_COMMAND_EVENT_WORKER, 8);
IS(SW_COMMAND_TASK_WORKER, 16);
IS(SW_COMMAND_MANAGER, 32);
IS(SW_IO_READ, 512);
IS(SW_IO_WRITE, 1024);
IS(SW_DISPATCH_DISCARD, -1);
IS(SW_DISPATCH_CLOSE, -2);
IS(SW_DISPATCH_DEFAULT, -3);
IS(SW_TASK_NONBLOCK, 4);
IS(SW_TASK_CALLBACK, 8);
IS(SW_TASK_WAITALL, 16);
IS(SW_TASK_COROUTINE, 32);
IS(SW_TASK_NOREPLY, 128);

/* The errors that programs handle by number. */
IS(SW_ERROR_SYSTEM_CALL_FAIL, 502);
IS(SW_ERROR_NAME_TOO_LONG, 504);
IS(SW_ERROR_INVALID_PARAMS, 505);
IS(SW_ERROR_OPERATION_NOT_SUPPORT, 507);
IS(SW_ERROR_WRONG_OPERATION, 509);
IS(SW_ERROR_NO_PAYLOAD, 550);
IS(SW_ERROR_BAD_IPV6_ADDRESS, 720);
IS(SW_ERROR_BAD_HOST_ADDR, 722);
IS(SW_ERROR_BAD_PORT, 723);
IS(SW_ERROR_SESSION_CLOSED_BY_SERVER, 1001);
IS(SW_ERROR_SESSION_CLOSED_BY_CLIENT, 1002);
IS(SW_ERROR_SESSION_CLOSING, 1003);
IS(SW_ERROR_SESSION_CLOSED, 1004);
IS(SW_ERROR_SESSION_NOT_EXIST, 1005);
IS(SW_ERROR_SESSION_INVALID_ID, 1006);
IS(SW_ERROR_SESSION_DISCARD_TIMEOUT_DATA, 1007);
IS(SW_ERROR_OUTPUT_BUFFER_OVERFLOW, 1008);
IS(SW_ERROR_PACKAGE_LENGTH_TOO_LARGE, 1201);
IS(SW_ERROR_DATA_LENGTH_TOO_LARGE, 1202);
IS(SW_ERROR_TASK_DISPATCH_FAIL, 2002);
IS(SW_ERROR_TASK_TIMEOUT, 2003);
IS(SW_ERROR_SERVER_TOO_MANY_SOCKET, 9002);
IS(SW_ERROR_SERVER_INVALID_LISTEN_PORT, 9004);
IS(SW_ERROR_SERVER_NO_IDLE_WORKER, 9007);
IS(SW_ERROR_SERVER_ONLY_START_ONE, 9008);
IS(SW_ERROR_SERVER_SEND_IN_MASTER, 9009);
IS(SW_ERROR_SERVER_INVALID_COMMAND, 9012);
IS(SW_ERROR_SERVER_IS_NOT_REGULAR_FILE, 9013);
IS(SW_ERROR_SERVER_SEND_TO_WORKER_TIMEOUT, 9014);
IS(SW_ERROR_SERVER_INVALID_CALLBACK, 9015);
IS(SW_ERROR_SERVER_WORKER_EXIT_TIMEOUT, 9101);

/* Each kind of event exists once: equal ones would be a duplicate case. */
static inline int kinds_differ(sw_event_kind_t kind)
{
    switch (kind) {
    case SW_EVENT_START: case SW_EVENT_BEFORE_SHUTDOWN: case SW_EVENT_SHUTDOWN:
    case SW_EVENT_MANAGER_START: case SW_EVENT_MANAGER_STOP:
    case SW_EVENT_BEFORE_RELOAD: case SW_EVENT_AFTER_RELOAD:
    case SW_EVENT_WORKER_START: case SW_EVENT_WORKER_STOP:
    case SW_EVENT_WORKER_EXIT: case SW_EVENT_WORKER_ERROR:
    case SW_EVENT_CONNECT: case SW_EVENT_RECEIVE: case SW_EVENT_CLOSE: case SW_EVENT_PACKET:
    case SW_EVENT_BUFFER_FULL: case SW_EVENT_BUFFER_EMPTY:
    case SW_EVENT_TASK: case SW_EVENT_FINISH: case SW_EVENT_PIPE_MESSAGE:
        return 1;
    }
    return 0;
}

/* Members of the event, and that each of them begins with the kind. */
#define BEGINS_WITH_KIND(type) _Static_assert(offsetof(type, kind) == 0, #type)
HAS(sw_event_t, kind, sw_event_kind_t);
HAS(sw_event_t, connect, sw_conn_event_t);
HAS(sw_event_t, receive, sw_conn_event_t);
HAS(sw_event_t, close, sw_conn_event_t);
HAS(sw_event_t, packet, sw_packet_t);
HAS(sw_event_t, pipe_message, sw_pipe_message_t);
HAS(sw_event_t, task, sw_task_t);
HAS(sw_event_t, finish, sw_task_result_t);
HAS(sw_event_t, worker, sw_worker_event_t);
HAS(sw_event_t, error, sw_status_info_t);
BEGINS_WITH_KIND(sw_conn_event_t);
BEGINS_WITH_KIND(sw_packet_t);
BEGINS_WITH_KIND(sw_pipe_message_t);
BEGINS_WITH_KIND(sw_task_t);
BEGINS_WITH_KIND(sw_task_result_t);
BEGINS_WITH_KIND(sw_worker_event_t);
BEGINS_WITH_KIND(sw_status_info_t);

HAS(sw_conn_event_t, fd, int64_t);
HAS(sw_conn_event_t, reactor_id, int32_t);
HAS(sw_conn_event_t, dispatch_time, double);
HAS(sw_conn_event_t, data, const uint8_t *);
HAS(sw_conn_event_t, len, size_t);

HAS(sw_packet_t, server_socket, int32_t);
HAS(sw_packet_t, server_port, int32_t);
HAS(sw_packet_t, dispatch_time, double);
HAS(sw_packet_t, address, const char *);
HAS(sw_packet_t, port, int32_t);
HAS(sw_packet_t, data, const uint8_t *);
HAS(sw_packet_t, len, size_t);

HAS(sw_pipe_message_t, source_worker_id, int32_t);
HAS(sw_pipe_message_t, dispatch_time, double);
HAS(sw_pipe_message_t, data, const uint8_t *);
HAS(sw_pipe_message_t, len, size_t);

HAS(sw_task_t, id, int64_t);
HAS(sw_task_t, worker_id, int32_t);
HAS(sw_task_t, flags, uint32_t);
HAS(sw_task_t, dispatch_time, double);
HAS(sw_task_t, data, const uint8_t *);
HAS(sw_task_t, len, size_t);

HAS(sw_task_result_t, task_id, int64_t);
HAS(sw_task_result_t, task_worker_id, int32_t);
HAS(sw_task_result_t, dispatch_time, double);
HAS(sw_task_result_t, data, const uint8_t *);
HAS(sw_task_result_t, len, size_t);

HAS(sw_worker_event_t, worker_id, int32_t);
HAS(sw_worker_event_t, worker_pid, pid_t);
HAS(sw_worker_event_t, is_task_worker, bool);

HAS(sw_status_info_t, worker_id, int32_t);
HAS(sw_status_info_t, worker_pid, pid_t);
HAS(sw_status_info_t, status, int32_t);
HAS(sw_status_info_t, exit_code, int32_t);
HAS(sw_status_info_t, signal, int32_t);

HAS(sw_buffer_t, data, uint8_t *);
HAS(sw_buffer_t, len, size_t);

HAS(sw_client_info_t, server_port, int32_t);
HAS(sw_client_info_t, server_fd, int32_t);
HAS(sw_client_info_t, socket_fd, int32_t);
HAS(sw_client_info_t, socket_type, int32_t);
HAS(sw_client_info_t, remote_port, int32_t);
HAS(sw_client_info_t, reactor_id, int32_t);
HAS(sw_client_info_t, connect_time, int64_t);
HAS(sw_client_info_t, last_time, int64_t);
HAS(sw_client_info_t, last_recv_time, double);
HAS(sw_client_info_t, last_send_time, double);
HAS(sw_client_info_t, last_dispatch_time, double);
HAS(sw_client_info_t, recv_queued_bytes, uint64_t);
HAS(sw_client_info_t, send_queued_bytes, uint64_t);
HAS(sw_client_info_t, close_errno, int32_t);
HAS(sw_client_info_t, websocket_status, int32_t);
HAS(sw_client_info_t, worker_id, int32_t);
HAS(sw_client_info_t, uid, uint32_t);
HAS(sw_client_info_t, has_uid, bool);
_Static_assert(sizeof(((sw_client_info_t *)0)->remote_ip) >= 108, "a Unix path and its NUL fit");

HAS(sw_stats_t, start_time, int64_t);
HAS(sw_stats_t, connection_num, uint64_t);
HAS(sw_stats_t, abort_count, uint64_t);
HAS(sw_stats_t, accept_count, uint64_t);
HAS(sw_stats_t, close_count, uint64_t);
HAS(sw_stats_t, worker_num, uint64_t);
HAS(sw_stats_t, task_worker_num, uint64_t);
HAS(sw_stats_t, user_worker_num, uint64_t);
HAS(sw_stats_t, idle_worker_num, uint64_t);
HAS(sw_stats_t, dispatch_count, uint64_t);
HAS(sw_stats_t, request_count, uint64_t);
HAS(sw_stats_t, response_count, uint64_t);
HAS(sw_stats_t, total_recv_bytes, uint64_t);
HAS(sw_stats_t, total_send_bytes, uint64_t);
HAS(sw_stats_t, pipe_packet_msg_id, uint64_t);
HAS(sw_stats_t, session_round, uint64_t);
HAS(sw_stats_t, min_fd, int64_t);
HAS(sw_stats_t, max_fd, int64_t);
HAS(sw_stats_t, worker_request_count, uint64_t);
HAS(sw_stats_t, worker_response_count, uint64_t);
HAS(sw_stats_t, worker_dispatch_count, uint64_t);
HAS(sw_stats_t, task_idle_worker_num, uint64_t);
HAS(sw_stats_t, tasking_num, uint64_t);
HAS(sw_stats_t, task_count, uint64_t);
HAS(sw_stats_t, concurrency, uint64_t);
HAS(sw_stats_t, worker_concurrency, uint64_t);
HAS(sw_stats_t, task_queue_num, uint64_t);
HAS(sw_stats_t, task_queue_bytes, uint64_t);
HAS(sw_stats_t, coroutine_num, uint64_t);
HAS(sw_stats_t, coroutine_peak_num, uint64_t);

/* The library. */
TYPE_OF(sw_version, const char *(*const version)(void));
TYPE_OF(sw_last_error, int (*const last_error)(void));
TYPE_OF(sw_last_error_message, const char *(*const last_error_message)(void));
TYPE_OF(sw_strerror, const char *(*const error_text)(int));
TYPE_OF(sw_buffer_free, void (*const buffer_free)(sw_buffer_t *));

/* Make a server, set it up, run it. */
typedef void (*callback_t)(sw_server_t *, const sw_event_t *, void *);
TYPE_OF(sw_server_new, sw_server_t *(*const server_new)(const char *, int, int, int));
TYPE_OF(sw_server_free, void (*const server_free)(sw_server_t *));
TYPE_OF(sw_server_set, bool (*const set)(sw_server_t *, const char *, const char *));
TYPE_OF(sw_server_set_int, bool (*const set_int)(sw_server_t *, const char *, int64_t));
TYPE_OF(sw_server_set_json, bool (*const set_json)(sw_server_t *, const char *, size_t));
TYPE_OF(sw_server_get_setting,
        bool (*const get_setting)(const sw_server_t *, const char *, sw_buffer_t *));
TYPE_OF(sw_server_on, bool (*const on)(sw_server_t *, const char *, callback_t, void *));
TYPE_OF(sw_server_get_callback,
        callback_t (*const get_callback)(const sw_server_t *, const char *));
TYPE_OF(sw_process_new, sw_process_t *(*const process_new)(sw_process_fn_t, void *));
TYPE_OF(sw_server_add_process, int (*const add_process)(sw_server_t *, sw_process_t *));
TYPE_OF(sw_process_socket, int (*const process_socket)(const sw_process_t *));
TYPE_OF(sw_process_pid, pid_t (*const process_pid)(const sw_process_t *));
TYPE_OF(sw_server_start, bool (*const start)(sw_server_t *));
TYPE_OF(sw_server_shutdown, bool (*const stop_all)(sw_server_t *));

/* Connections. */
TYPE_OF(sw_server_send, bool (*const send_to)(sw_server_t *, int64_t, const void *, size_t));
TYPE_OF(sw_server_close, bool (*const close_it)(sw_server_t *, int64_t, bool));
TYPE_OF(sw_server_exist, bool (*const exist)(sw_server_t *, int64_t));
TYPE_OF(sw_server_get_client_info,
        bool (*const client_info)(sw_server_t *, int64_t, sw_client_info_t *, bool));
TYPE_OF(sw_server_get_client_list,
        int (*const client_list)(sw_server_t *, int64_t, int64_t *, int));
TYPE_OF(sw_server_stats, bool (*const stats)(sw_server_t *, sw_stats_t *));

/* Who am I. */
TYPE_OF(sw_server_get_last_error, int (*const server_last_error)(const sw_server_t *));
TYPE_OF(sw_server_get_worker_id, int (*const worker_id)(const sw_server_t *));
TYPE_OF(sw_server_get_worker_pid, pid_t (*const worker_pid)(const sw_server_t *, int));
TYPE_OF(sw_server_get_manager_pid, pid_t (*const manager_pid)(const sw_server_t *));
TYPE_OF(sw_server_get_master_pid, pid_t (*const master_pid)(const sw_server_t *));
TYPE_OF(sw_server_get_mode, int (*const mode)(const sw_server_t *));
