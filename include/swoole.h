/*
 * swoole.h - a multi-process network server as a library.
 *
 * A program makes a server, registers callbacks and starts it; from then on the library owns
 * sockets, processes, shared memory and signals, and the program what happens in its callbacks.
 *
 * Phases.  Configure: from sw_server_new to sw_server_start.  Run: inside any callback.  Finished:
 * after sw_server_start has returned.  A call in the wrong phase fails with
 * SW_ERROR_WRONG_OPERATION and changes nothing.
 *
 * Errors.  A function that fails returns false, -1 or NULL and sets the last error of the calling
 * thread: sw_last_error is its number (below 500 an errno of the system, above SW_ERROR_...),
 * sw_last_error_message says in one sentence what, which value and what to do.  Success leaves the
 * last error as it was.  No call ends the process, whatever it is given.
 *
 * Memory.  What is handed to the library is copied before the call returns.  What is handed to a
 * callback is borrowed and valid until the callback returns.  What comes in a sw_buffer_t belongs
 * to the caller, who gives it back to sw_buffer_free.  There is no fourth kind.
 *
 * Threads.  In a process one callback runs at a time; in SW_THREAD mode the callbacks of different
 * workers run at the same time, in threads of one process.  A function is called by the thread that
 * a callback runs on, unless its comment says otherwise; on another thread it fails with
 * SW_ERROR_SERVER_UNRELATED_THREAD, in a process that a callback has forked with
 * SW_ERROR_WRONG_OPERATION.
 *
 * Events.  A program is called back (sw_server_on, sw_server_start), or takes events one by one
 * (sw_server_want, sw_server_launch, sw_server_next_event): then what is said here of a callback
 * holds from the call that has given an event until the next one.
 *
 * fd in this interface is a session id: 64 bits, above 0, never used again while the server runs.
 * It is not a descriptor of the operating system.  Each function documents in this order: what it
 * does, its parameters, what it returns, which errors, where it may be called, and memory.
 *
 * This file is generated from src/ffi.
 */

#ifndef SWOOLE_H
#define SWOOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Server mode: each worker is a process that accepts and reads by itself.
#define SW_BASE 1

// Server mode: the master reads in threads and hands each frame to a worker process.
#define SW_PROCESS 2

// Server mode: workers are threads of one process.
#define SW_THREAD 3

// Socket type: stream over IPv4.
#define SW_SOCK_TCP 1

// Socket type: datagrams over IPv4.
#define SW_SOCK_UDP 2

// Socket type: stream over IPv6.
#define SW_SOCK_TCP6 3

// Socket type: datagrams over IPv6.
#define SW_SOCK_UDP6 4

// Socket type: stream over a Unix socket, the host is a path.
#define SW_SOCK_UNIX_STREAM 5

// Socket type: datagrams over a Unix socket, the host is a path.
#define SW_SOCK_UNIX_DGRAM 6

// Added to a stream type of socket with `|`: TLS. With other types the start fails.
#define SW_SSL 512

// Worker status: a callback runs.
#define SW_WORKER_BUSY 1

// Worker status: waiting for something to do.
#define SW_WORKER_IDLE 2

// Worker status: about to end, takes no new work.
#define SW_WORKER_EXIT 3

// Process type of a command: the master.
#define SW_COMMAND_MASTER (1 << 1)

// Process type of a command: a reactor thread.
#define SW_COMMAND_REACTOR_THREAD (1 << 2)

// Process type of a command: an event worker.
#define SW_COMMAND_EVENT_WORKER (1 << 3)

// Process type of a command: a task worker.
#define SW_COMMAND_TASK_WORKER (1 << 4)

// Process type of a command: the manager.
#define SW_COMMAND_MANAGER (1 << 5)

// A descriptor in the event loop can be read.
#define SW_IO_READ 512

// A descriptor in the event loop can be written.
#define SW_IO_WRITE 1024

// Result of a dispatch function: throw the data away.
#define SW_DISPATCH_DISCARD -1

// Result of a dispatch function: close the connection.
#define SW_DISPATCH_CLOSE -2

// Result of a dispatch function: choose as the setting `dispatch_mode` says.
#define SW_DISPATCH_DEFAULT -3

// Task flag: nobody is blocked until the result is there.
#define SW_TASK_NONBLOCK 4

// Task flag: a callback of this one task takes the result.
#define SW_TASK_CALLBACK 8

// Task flag: one of a list whose results are waited for together.
#define SW_TASK_WAITALL 16

// Task flag: one of a list whose results a callback takes together.
#define SW_TASK_COROUTINE 32

// Task flag: does not come from a worker, so it cannot be answered.
#define SW_TASK_NOREPLY 128

// WebSocket flag: the message is whole, which it always is.
#define SW_WEBSOCKET_FLAG_FIN 1

// WebSocket flag: the first bit of an extension; permessage-deflate has compressed the payload.
#define SW_WEBSOCKET_FLAG_RSV1 4

// WebSocket flag: the second bit of an extension.
#define SW_WEBSOCKET_FLAG_RSV2 8

// WebSocket flag: the third bit of an extension.
#define SW_WEBSOCKET_FLAG_RSV3 16

// WebSocket flag: the payload came masked.
#define SW_WEBSOCKET_FLAG_MASK 32

// Bytes of the text `remote_ip` in `sw_client_info_t`, with the NUL at its end.
#define SW_REMOTE_IP_SIZE 108

// Memory could not be allocated or shared.
#define SW_ERROR_MALLOC_FAIL 501

// A system call failed.
#define SW_ERROR_SYSTEM_CALL_FAIL 502

// A fatal error of the embedding program.
#define SW_ERROR_FATAL_ERROR 503

// A host, path or file name is too long.
#define SW_ERROR_NAME_TOO_LONG 504

// An argument is out of range.
#define SW_ERROR_INVALID_PARAMS 505

// An internal queue is full.
#define SW_ERROR_QUEUE_FULL 506

// Not supported in this mode or process.
#define SW_ERROR_OPERATION_NOT_SUPPORT 507

// The peer sent malformed data.
#define SW_ERROR_PROTOCOL_ERROR 508

// Not allowed in this phase or process.
#define SW_ERROR_WRONG_OPERATION 509

// A notice, nothing failed.
#define SW_ERROR_RUNTIME_NOTICE 510

// Reserved for tests.
#define SW_ERROR_FOR_TEST 511

// There are no bytes to send.
#define SW_ERROR_NO_PAYLOAD 550

// The behaviour of this call is undefined.
#define SW_ERROR_UNDEFINED_BEHAVIOR 600

// The call is not safe between threads.
#define SW_ERROR_NOT_THREAD_SAFETY 601

// The file does not exist.
#define SW_ERROR_FILE_NOT_EXIST 700

// The file is too large.
#define SW_ERROR_FILE_TOO_LARGE 701

// The file is empty.
#define SW_ERROR_FILE_EMPTY 702

// The directory does not exist.
#define SW_ERROR_DIR_NOT_EXIST 703

// The same name is being looked up already.
#define SW_ERROR_DNSLOOKUP_DUPLICATE_REQUEST 710

// The name could not be resolved.
#define SW_ERROR_DNSLOOKUP_RESOLVE_FAILED 711

// Resolving the name took too long.
#define SW_ERROR_DNSLOOKUP_RESOLVE_TIMEOUT 712

// This kind of name look-up is not supported.
#define SW_ERROR_DNSLOOKUP_UNSUPPORTED 713

// No name server is known.
#define SW_ERROR_DNSLOOKUP_NO_SERVER 714

// Not an IPv6 address.
#define SW_ERROR_BAD_IPV6_ADDRESS 720

// A signal came that nobody waits for.
#define SW_ERROR_UNREGISTERED_SIGNAL 721

// Not a usable host address.
#define SW_ERROR_BAD_HOST_ADDR 722

// Not a port number.
#define SW_ERROR_BAD_PORT 723

// Not a socket type.
#define SW_ERROR_BAD_SOCKET_TYPE 724

// The descriptor could not be taken out of the event loop.
#define SW_ERROR_EVENT_REMOVE_FAILED 800

// The descriptor could not be added to the event loop.
#define SW_ERROR_EVENT_ADD_FAILED 801

// The descriptor could not be changed in the event loop.
#define SW_ERROR_EVENT_UPDATE_FAILED 802

// The event loop reported something unknown.
#define SW_ERROR_EVENT_UNKNOWN_DATA 803

// The server has closed this connection.
#define SW_ERROR_SESSION_CLOSED_BY_SERVER 1001

// The client has closed this connection.
#define SW_ERROR_SESSION_CLOSED_BY_CLIENT 1002

// This connection is being closed.
#define SW_ERROR_SESSION_CLOSING 1003

// This connection is closed.
#define SW_ERROR_SESSION_CLOSED 1004

// There is no such connection.
#define SW_ERROR_SESSION_NOT_EXIST 1005

// Not a connection id.
#define SW_ERROR_SESSION_INVALID_ID 1006

// Bytes of a closed connection were thrown away.
#define SW_ERROR_SESSION_DISCARD_TIMEOUT_DATA 1007

// The send buffer of the connection is full.
#define SW_ERROR_OUTPUT_BUFFER_OVERFLOW 1008

// Data for a dead connection was thrown away.
#define SW_ERROR_SESSION_DISCARD_DATA 1009

// The sender should wait and try again.
#define SW_ERROR_OUTPUT_SEND_YIELD 1010

// The TLS handshake is not finished.
#define SW_ERROR_SSL_NOT_READY 1011

// A file cannot be sent this way over TLS.
#define SW_ERROR_SSL_CANNOT_USE_SENDFILE 1012

// The peer gave no certificate.
#define SW_ERROR_SSL_EMPTY_PEER_CERTIFICATE 1013

// The certificate of the peer could not be verified.
#define SW_ERROR_SSL_VERIFY_FAILED 1014

// The client does not speak TLS properly.
#define SW_ERROR_SSL_BAD_CLIENT 1015

// No common TLS protocol.
#define SW_ERROR_SSL_BAD_PROTOCOL 1016

// The peer broke off the TLS connection.
#define SW_ERROR_SSL_RESET 1017

// The TLS handshake failed.
#define SW_ERROR_SSL_HANDSHAKE_FAILED 1018

// The TLS settings could not be used.
#define SW_ERROR_SSL_CREATE_CONTEXT_FAILED 1019

// A TLS session could not be made.
#define SW_ERROR_SSL_CREATE_SESSION_FAILED 1020

// A packet exceeds package_max_length.
#define SW_ERROR_PACKAGE_LENGTH_TOO_LARGE 1201

// The data exceeds the output buffer limit.
#define SW_ERROR_DATA_LENGTH_TOO_LARGE 1202

// The length of a packet was not found.
#define SW_ERROR_PACKAGE_LENGTH_NOT_FOUND 1203

// A packet is malformed.
#define SW_ERROR_PACKAGE_MALFORMED_DATA 1204

// The task is too big.
#define SW_ERROR_TASK_PACKAGE_TOO_BIG 2001

// No task could be handed over.
#define SW_ERROR_TASK_DISPATCH_FAIL 2002

// The task was not done in time.
#define SW_ERROR_TASK_TIMEOUT 2003

// A bad request for a file operation.
#define SW_ERROR_AIO_BAD_REQUEST 4001

// The file operation was cancelled.
#define SW_ERROR_AIO_CANCELED 4002

// The file operation took too long.
#define SW_ERROR_AIO_TIMEOUT 4003

// The client is not connected.
#define SW_ERROR_CLIENT_NO_CONNECTION 5001

// The socket is closed.
#define SW_ERROR_SOCKET_CLOSED 6001

// Waiting for the socket took too long.
#define SW_ERROR_SOCKET_POLL_TIMEOUT 6002

// There is no such socket.
#define SW_ERROR_SOCKET_NOT_EXISTS 6003

// The peer is not a WebSocket client.
#define SW_ERROR_WEBSOCKET_BAD_CLIENT 8501

// Not a WebSocket opcode.
#define SW_ERROR_WEBSOCKET_BAD_OPCODE 8502

// There is no WebSocket connection.
#define SW_ERROR_WEBSOCKET_UNCONNECTED 8503

// The WebSocket handshake failed.
#define SW_ERROR_WEBSOCKET_HANDSHAKE_FAILED 8504

// A WebSocket frame could not be made.
#define SW_ERROR_WEBSOCKET_PACK_FAILED 8505

// A WebSocket frame could not be read.
#define SW_ERROR_WEBSOCKET_UNPACK_FAILED 8506

// A WebSocket frame is not complete.
#define SW_ERROR_WEBSOCKET_INCOMPLETE_PACKET 8507

// The server must be made before the client.
#define SW_ERROR_SERVER_MUST_CREATED_BEFORE_CLIENT 9001

// Too many connections.
#define SW_ERROR_SERVER_TOO_MANY_SOCKET 9002

// The worker has ended.
#define SW_ERROR_SERVER_WORKER_TERMINATED 9003

// A port must be from 0 to 65535.
#define SW_ERROR_SERVER_INVALID_LISTEN_PORT 9004

// Too many listening ports.
#define SW_ERROR_SERVER_TOO_MANY_LISTEN_PORT 9005

// The buffer to another process is full.
#define SW_ERROR_SERVER_PIPE_BUFFER_FULL 9006

// No worker is idle, more workers are needed.
#define SW_ERROR_SERVER_NO_IDLE_WORKER 9007

// Another server runs in this process.
#define SW_ERROR_SERVER_ONLY_START_ONE 9008

// Not possible in the master process.
#define SW_ERROR_SERVER_SEND_IN_MASTER 9009

// Not a valid request.
#define SW_ERROR_SERVER_INVALID_REQUEST 9010

// The connection could not be made.
#define SW_ERROR_SERVER_CONNECT_FAIL 9011

// There is no such command.
#define SW_ERROR_SERVER_INVALID_COMMAND 9012

// Not a regular file.
#define SW_ERROR_SERVER_IS_NOT_REGULAR_FILE 9013

// The worker did not take the data in time.
#define SW_ERROR_SERVER_SEND_TO_WORKER_TIMEOUT 9014

// A needed callback is missing or one is not allowed here.
#define SW_ERROR_SERVER_INVALID_CALLBACK 9015

// Called from a thread that does not own the object.
#define SW_ERROR_SERVER_UNRELATED_THREAD 9016

// The exit took longer than max_wait_time and was forced.
#define SW_ERROR_SERVER_WORKER_EXIT_TIMEOUT 9101

// An internal message could not be understood.
#define SW_ERROR_SERVER_WORKER_ABNORMAL_PIPE_DATA 9102

// A worker ended with unhandled messages.
#define SW_ERROR_SERVER_WORKER_UNPROCESSED_DATA 9103

// What an event reports; says which member of `sw_event_t` is valid. A kind for which no member
// is named carries nothing more.
typedef enum {
    // The server runs and is about to accept. In the master; BASE: in worker 0.
    SW_EVENT_START = 1,
    // An orderly end was asked for, the loop still works. In the master; BASE: in worker 0.
    SW_EVENT_BEFORE_SHUTDOWN = 2,
    // All has ended: the last event of the server. In the process that called `sw_server_start`.
    SW_EVENT_SHUTDOWN = 3,
    // All workers were created. In the manager.
    SW_EVENT_MANAGER_START = 4,
    // All workers have ended. In the manager.
    SW_EVENT_MANAGER_STOP = 5,
    // A reload is about to stop the first worker. In the manager.
    SW_EVENT_BEFORE_RELOAD = 6,
    // A reload has replaced every worker. In the manager.
    SW_EVENT_AFTER_RELOAD = 7,
    // First event of a worker or task worker; member `worker`.
    SW_EVENT_WORKER_START = 8,
    // Last event of a worker or task worker; member `worker`.
    SW_EVENT_WORKER_STOP = 9,
    // A worker wants to end and something keeps its loop alive; member `worker`.
    SW_EVENT_WORKER_EXIT = 10,
    // A worker ended by a signal or with a status other than 0; member `error`. In the manager.
    SW_EVENT_WORKER_ERROR = 11,
    // A connection was accepted; member `connect`. In its worker.
    SW_EVENT_CONNECT = 12,
    // Bytes or one whole frame came in; member `receive`. In its worker.
    SW_EVENT_RECEIVE = 13,
    // A connection ended, once for each; member `close`. In its worker.
    SW_EVENT_CLOSE = 14,
    // A datagram came in; member `packet`. In a worker.
    SW_EVENT_PACKET = 15,
    // The send buffer of a connection has reached its high mark; member `connect`. In its worker.
    SW_EVENT_BUFFER_FULL = 16,
    // The send buffer has drained to its low mark again; member `connect`. In its worker.
    SW_EVENT_BUFFER_EMPTY = 17,
    // A task is to be done; member `task`. In a task worker.
    SW_EVENT_TASK = 18,
    // The result of a task is here; member `finish`. In the worker that handed the task in.
    SW_EVENT_FINISH = 19,
    // Another process of the server sent a message; member `pipe_message`. In the one addressed.
    SW_EVENT_PIPE_MESSAGE = 20,
} sw_event_kind_t;

// What has come out of `sw_server_next_event`.
typedef enum {
    // The call was wrong, or the server could not start: see `sw_last_error`.
    SW_NEXT_FAILED = -1,
    // No event came in time.
    SW_NEXT_TIMEOUT = 0,
    // An event.
    SW_NEXT_EVENT = 1,
    // This is a new process: its parent was in this call when it was forked. Ask `sw_server_role`
    // which. It happens only where the master or the manager takes events, as those fork.
    SW_NEXT_FORKED = 2,
    // There will be no more. In the caller the server has ended; any other process has to exit,
    // with 0, and does so in the next call if it has not.
    SW_NEXT_ENDED = 3,
} sw_next_t;

// What a process does that has come out of `sw_server_launch`.
typedef enum {
    // The server could not start.
    SW_ROLE_FAILED = -1,
    // The caller, and the server has ended.
    SW_ROLE_ENDED = 0,
    // The caller in SW_PROCESS mode: it has the events of the server.
    SW_ROLE_MASTER = 1,
    // It has the events of reloads and of workers that fail. SW_BASE: the caller.
    SW_ROLE_MANAGER = 2,
    // It has the events of connections.
    SW_ROLE_WORKER = 3,
    // It has the tasks.
    SW_ROLE_TASK_WORKER = 4,
    // It runs the function of a user process, see `sw_server_launch_process`.
    SW_ROLE_USER_PROCESS = 5,
} sw_role_t;

// A port of a server. It belongs to its server and is valid until that is freed.
typedef struct sw_port_t sw_port_t;

// A user process. Made by `sw_process_new`; what is inside is private.
typedef struct sw_process_t sw_process_t;

// Where a command puts its answer. It is valid until the function of the command returns.
typedef struct sw_reply_t sw_reply_t;

// A server. Made by `sw_server_new`, given back to `sw_server_free`; what is inside is private.
typedef struct sw_server_t sw_server_t;

// Bytes that the library allocated for the caller, who gives them back to `sw_buffer_free`.
typedef struct {
    // The bytes; NULL if there are none. A text has a NUL after its last byte.
    uint8_t *data;
    // How many bytes `data` holds, a NUL after a text not counted.
    size_t len;
} sw_buffer_t;

// Something happened on a connection.
typedef struct {
    // Which event it is.
    sw_event_kind_t kind;
    // Number of the reactor that owns the connection; in a close event -1 if the server closed.
    int32_t reactor_id;
    // Session id of the connection, above 0.
    int64_t fd;
    // When the data arrived, in seconds since 1970; 0 unless it is a receive event.
    double dispatch_time;
    // The received bytes, valid until the callback returns; NULL if there are none.
    const uint8_t *data;
    // How many bytes `data` holds; 0 only in an empty WebSocket message.
    size_t len;
    // Of a WebSocket message: 1 text, 2 binary, 8 close, 9 ping, 10 pong; else 0.
    uint8_t opcode;
    // Of a WebSocket message, a sum of `SW_WEBSOCKET_FLAG_` constants; else 0.
    uint8_t flags;
} sw_conn_event_t;

// One datagram.
typedef struct {
    // Which event it is.
    sw_event_kind_t kind;
    // Descriptor of the listener that received it.
    int32_t server_socket;
    // Port of the listener, 0 for a Unix socket.
    int32_t server_port;
    // Port of the peer, 0 for a Unix socket.
    int32_t port;
    // When it arrived, in seconds since 1970.
    double dispatch_time;
    // Address of the peer as text, or its path; valid until the callback returns, never NULL.
    const char *address;
    // The bytes, valid until the callback returns.
    const uint8_t *data;
    // How many bytes `data` holds.
    size_t len;
} sw_packet_t;

// A message from another process of the server.
typedef struct {
    // Which event it is.
    sw_event_kind_t kind;
    // Worker id of the sender, -1 if it is the master or the manager.
    int32_t source_worker_id;
    // When it was sent, in seconds since 1970.
    double dispatch_time;
    // The bytes, valid until the callback returns; NULL if there are none.
    const uint8_t *data;
    // How many bytes `data` holds.
    size_t len;
} sw_pipe_message_t;

// A task to be done.
typedef struct {
    // Which event it is.
    sw_event_kind_t kind;
    // Id of the worker that handed the task in.
    int32_t worker_id;
    // Number of the task; unique together with `worker_id`.
    int64_t id;
    // `SW_TASK_...` bits: who waits for the result, and how.
    uint32_t flags;
    // When it was handed in, in seconds since 1970.
    double dispatch_time;
    // The bytes, valid until the callback returns.
    const uint8_t *data;
    // How many bytes `data` holds.
    size_t len;
} sw_task_t;

// The result of a task.
//
// A callback that was given with the task is told of a failure, too: `data` is NULL then, `len` is
// 0, and sw_last_error tells why (SW_ERROR_SERVER_WORKER_TERMINATED: the task worker died with the
// task in its hands). The `data` of an empty result is not NULL.
typedef struct {
    // Which event it is.
    sw_event_kind_t kind;
    // Worker id of the task worker that answered.
    int32_t task_worker_id;
    // Number that the task had when it was handed in.
    int64_t task_id;
    // When it was answered, in seconds since 1970.
    double dispatch_time;
    // The bytes, valid until the callback returns.
    const uint8_t *data;
    // How many bytes `data` holds.
    size_t len;
} sw_task_result_t;

// A worker begins or ends.
typedef struct {
    // Which event it is.
    sw_event_kind_t kind;
    // Id of the worker: event workers from 0, then task workers.
    int32_t worker_id;
    // Its process; in THREAD mode its thread.
    pid_t worker_pid;
    // True in a task worker.
    bool is_task_worker;
} sw_worker_event_t;

// How a worker, task worker or user process ended that should not have.
typedef struct {
    // Which event it is.
    sw_event_kind_t kind;
    // Worker id of the one that ended.
    int32_t worker_id;
    // Its process, which is gone.
    pid_t worker_pid;
    // Status as `waitpid` reports it.
    int32_t status;
    // Exit code 0..255, 0 if a signal ended it.
    int32_t exit_code;
    // The signal that ended it, 0 if it exited.
    int32_t signal;
} sw_status_info_t;

// An event: `kind` says which member is valid. All members begin with `kind`; all of it is
// borrowed until the callback returns.
typedef union {
    // Which event it is.
    sw_event_kind_t kind;
    // For `SW_EVENT_CONNECT`, `SW_EVENT_BUFFER_FULL` and `SW_EVENT_BUFFER_EMPTY`.
    sw_conn_event_t connect;
    // For `SW_EVENT_RECEIVE`.
    sw_conn_event_t receive;
    // For `SW_EVENT_CLOSE`.
    sw_conn_event_t close;
    // For `SW_EVENT_PACKET`.
    sw_packet_t packet;
    // For `SW_EVENT_PIPE_MESSAGE`.
    sw_pipe_message_t pipe_message;
    // For `SW_EVENT_TASK`.
    sw_task_t task;
    // For `SW_EVENT_FINISH`.
    sw_task_result_t finish;
    // For `SW_EVENT_WORKER_START`, `SW_EVENT_WORKER_STOP` and `SW_EVENT_WORKER_EXIT`.
    sw_worker_event_t worker;
    // For `SW_EVENT_WORKER_ERROR`.
    sw_status_info_t error;
} sw_event_t;

// A callback, the same type for every event. `event` and all it points to are valid until it
// returns; `user_data` is what was registered with it. If an exception leaves it, or any other
// callback, the process that it runs in ends with exit code 255.
typedef void (*sw_callback_t)(sw_server_t *server, const sw_event_t *event, void *user_data);

// Tells the length of the message at the beginning of `data`, with its header: above 0 the length,
// also one beyond `len`; 0 if more bytes are needed to tell; below 0 for bad data, which closes
// the connection. It runs where the connection is read, see `sw_port_set_length_func`.
typedef int64_t (*sw_length_fn_t)(const uint8_t *data, size_t len, void *user_data);

// The counters of a server, read one by one while it runs: two may differ by what is under way.
typedef struct {
    // When the server started, in seconds since 1970.
    int64_t start_time;
    // Connections that are open.
    uint64_t connection_num;
    // Connections that were dropped when they were accepted.
    uint64_t abort_count;
    // Connections accepted.
    uint64_t accept_count;
    // Connections closed for good.
    uint64_t close_count;
    // Event workers as configured.
    uint64_t worker_num;
    // Task workers as configured.
    uint64_t task_worker_num;
    // User processes as configured.
    uint64_t user_worker_num;
    // Event workers with nothing to do; the caller is never one of them.
    uint64_t idle_worker_num;
    // Frames that reactors handed to workers.
    uint64_t dispatch_count;
    // Receive and packet callbacks that returned.
    uint64_t request_count;
    // Calls of `sw_server_send` that succeeded.
    uint64_t response_count;
    // Bytes read from connections.
    uint64_t total_recv_bytes;
    // Bytes that `sw_server_send` accepted.
    uint64_t total_send_bytes;
    // 1 and how often more than 131040 bytes at once went from one process to another.
    uint64_t pipe_packet_msg_id;
    // The last session id given out.
    uint64_t session_round;
    // Smallest descriptor of the server's sockets.
    int64_t min_fd;
    // Largest descriptor of a connection.
    int64_t max_fd;
    // Share of the calling worker in `request_count`; in a task worker the tasks done.
    uint64_t worker_request_count;
    // Share of the calling worker in `response_count`.
    uint64_t worker_response_count;
    // Frames that were handed to the calling worker.
    uint64_t worker_dispatch_count;
    // Task workers with nothing to do.
    uint64_t task_idle_worker_num;
    // Tasks handed in and not yet begun.
    uint64_t tasking_num;
    // Tasks handed in.
    uint64_t task_count;
    // Requests in progress.
    uint64_t concurrency;
    // Requests in progress in the calling worker.
    uint64_t worker_concurrency;
    // Messages in the System V queue of the tasks.
    uint64_t task_queue_num;
    // Bytes in the System V queue of the tasks.
    uint64_t task_queue_bytes;
    // Always 0: the library runs no coroutines.
    uint64_t coroutine_num;
    // Always 0: the library runs no coroutines.
    uint64_t coroutine_peak_num;
} sw_stats_t;

// What is known of one connection. Times are seconds since 1970.
typedef struct {
    // Port of the listener it came in by, 0 for a Unix socket.
    int32_t server_port;
    // Descriptor of that listener.
    int32_t server_fd;
    // Descriptor of the connection in the process that owns it.
    int32_t socket_fd;
    // `SW_SOCK_...` of the listener, without `SW_SSL`.
    int32_t socket_type;
    // Port of the peer, 0 for a Unix socket.
    int32_t remote_port;
    // Number of the reactor that owns it; BASE: the worker id.
    int32_t reactor_id;
    // When it was accepted.
    int64_t connect_time;
    // `last_recv_time` in whole seconds.
    int64_t last_time;
    // When bytes were last read from the socket; at first when it was accepted.
    double last_recv_time;
    // When bytes were last written to the socket, 0 before that.
    double last_send_time;
    // When the data arrived that its worker handled last, 0 before that.
    double last_dispatch_time;
    // Bytes received and not yet taken by the worker.
    uint64_t recv_queued_bytes;
    // Bytes in the send buffer.
    uint64_t send_queued_bytes;
    // The `errno` that ended it, 0 if it ended in order or is open.
    int32_t close_errno;
    // 3: it is a WebSocket connection, 4: one side has sent a close frame since, 0: it is none.
    int32_t websocket_status;
    // Id of the worker that handles it, -1 if none is fixed.
    int32_t worker_id;
    // What the program bound to it, valid if `has_uid`.
    uint32_t uid;
    // True if the program bound a uid.
    bool has_uid;
    // Address of the peer as text, or its path, with a NUL at the end.
    char remote_ip[SW_REMOTE_IP_SIZE];
} sw_client_info_t;

// What became of a send of `sw_server_send_async`: `error` is 0, ETIMEDOUT or ECONNRESET.
typedef void (*sw_sent_fn_t)(sw_server_t *server, int64_t fd, int error, void *user_data);

// Chooses the worker for an event of a connection, or for a datagram. `fd` is the session id; for
// a datagram it is the number that dispatch mode 2 makes of the sender's address. `event_type` is
// 0 for data, 1 for a datagram, 4 for the end of a connection, 5 for a new one, 13 and 14 for its
// send buffer, full or empty. `data` are the first bytes, at most 8152, valid until it returns;
// NULL where there are none. It returns 0 to worker_num - 1, or `SW_DISPATCH_DISCARD`,
// `SW_DISPATCH_CLOSE` or `SW_DISPATCH_DEFAULT`; any other number discards. The end of a connection
// cannot be discarded, the setting `dispatch_mode` decides then. It runs in the threads that read,
// several at a time.
typedef int (*sw_dispatch_fn_t)(sw_server_t *server,
                                int64_t fd,
                                int event_type,
                                const uint8_t *data,
                                size_t len,
                                void *user_data);

// A command runs in the process that it was sent to, between its other callbacks. `data` holds
// `len` bytes, NULL if there are none; the answer is what it hands to sw_command_reply, nothing if
// it does not call that. If it returns false the command has failed, whatever it has answered.
typedef bool (*sw_command_fn_t)(sw_server_t *server,
                                const uint8_t *data,
                                size_t len,
                                sw_reply_t *reply,
                                void *user_data);

// Bytes that belong to whoever hands them over.
typedef struct {
    // The bytes; NULL if there are none.
    const uint8_t *data;
    // How many bytes `data` holds.
    size_t len;
} sw_bytes_t;

// What is called once with the results of a list of tasks: `results[i]` is that of task `i`, with
// `data` NULL where there is none. The bytes are valid until the callback returns. `user_data` is
// that of the call which handed the list in.
typedef void (*sw_tasks_done_fn_t)(sw_server_t *server,
                                   const sw_bytes_t *results,
                                   size_t count,
                                   void *user_data);

// A timer has fired; the id is its own.
typedef void (*sw_timer_fn_t)(int64_t timer_id, void *user_data);

// A deferred call.
typedef void (*sw_defer_fn_t)(void *user_data);

// A descriptor of the program is ready: `events` is SW_IO_READ, SW_IO_WRITE or both.
typedef void (*sw_io_fn_t)(int os_fd, int events, void *user_data);

// What a user process runs. It is started with the server and, when it has returned or its process
// has ended, at once again, for as long as the server lives: so it does not return in normal
// operation. Only a process that ends otherwise again and again within a second waits for its next
// start, a second at most.
//
// If it returns while timers, deferred calls or descriptors are registered, these run until none
// is left. Inside of it what is sent leaves in the call that sends it. A call that finds no room
// waits for it; if nothing is taken for 3 seconds it returns all the same, and what is left leaves
// with a later call or when the function has returned.
//
// When the server ends, after its workers, the process gets SIGTERM, which ends it unless the
// function has installed a handler, and is killed after twice `max_wait_time`. In SW_THREAD mode
// the function runs in a thread, which is waited for: it has to return when sw_server_is_running
// is false or its end of the pipe reads the end.
typedef void (*sw_process_fn_t)(sw_server_t *server, sw_process_t *process, void *user_data);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the library.
//
// Returns: text such as "0.1.0"; never NULL.
//
// Errors: none.
//
// Where: any process, phase and thread.
//
// Memory: the text belongs to the library and lives as long as the program.
const char *sw_version(void);

// The number of the last error of the calling thread.
//
// Returns: an errno of the system (below 500) or one of SW_ERROR_...; 0 if there was none. Reading
// does not clear it, success of another call does not either. sw_server_start and each worker
// begin with 0.
//
// Errors: none.
//
// Where: any process, phase and thread.
int sw_last_error(void);

// The last error of the calling thread as a sentence: what failed, on which value, what to do.
//
// Returns: the sentence; empty if there was no error; never NULL.
//
// Errors: none.
//
// Where: any process, phase and thread.
//
// Memory: the text belongs to the library and is valid until the next call of this function in
// this thread.
const char *sw_last_error_message(void);

// What an error number means.
//
// - `code`: a number of sw_last_error; any other number gives "unknown error".
//
// Returns: the text; never NULL.
//
// Errors: none.
//
// Where: any process, phase and thread.
//
// Memory: the text belongs to the library and is valid until the next call of this function in
// this thread.
const char *sw_strerror(int code);

// Gives back a buffer that the library filled.
//
// - `buffer`: the buffer; NULL and an empty one are harmless. It is empty afterwards.
//
// Errors: none.
//
// Where: any process, phase and thread.
//
// Memory: the bytes must not be used any more.
void sw_buffer_free(sw_buffer_t *buffer);

// Makes a server with its first port. The socket is made and bound here, not at start.
//
// - `host`: an IPv4 or IPv6 address or a name, at most 107 bytes; "0.0.0.0" and "::" are all
//   interfaces; for unix types the path of the socket file. "SYSTEMD" with port 0 takes up the
//   listeners that a service manager has opened (LISTEN_PID, LISTEN_FDS, LISTEN_FDS_START), each
//   as a port of its own type. Not NULL.
// - `port`: 0 to 65535; 0 lets the system choose. Ignored for unix types.
// - `mode`: SW_BASE, SW_PROCESS or SW_THREAD.
// - `sock_type`: one of SW_SOCK_TCP to SW_SOCK_UNIX_DGRAM; a stream type may have `| SW_SSL`, and
//   needs a certificate at start then. SW_SSL with a datagram type is refused at start.
//
// Returns: the server, or NULL.
//
// Errors: SW_ERROR_INVALID_PARAMS (mode, NULL, or no listener is inherited),
// SW_ERROR_SERVER_INVALID_LISTEN_PORT, SW_ERROR_NAME_TOO_LONG, SW_ERROR_BAD_HOST_ADDR,
// SW_ERROR_BAD_IPV6_ADDRESS, SW_ERROR_BAD_SOCKET_TYPE, or the errno of the system, such as
// EADDRINUSE, that a path gives also if nobody listens at the file there.
//
// Where: any thread. Many servers may be made in a process; one at a time can run.
//
// Memory: the server belongs to the caller, who gives it to sw_server_free.
sw_server_t *sw_server_new(const char *host, int port, int mode, int sock_type);

// Frees a server that does not run.
//
// - `server`: the server; NULL is harmless. A running server is left alone.
//
// Errors: SW_ERROR_WRONG_OPERATION (it runs), SW_ERROR_INVALID_PARAMS (it is no server); they are
// seen through sw_last_error alone.
//
// Where: before start and after it has returned, any thread, while no other thread is inside a
// call on this server.
//
// Memory: the handle must not be used any more.
void sw_server_free(sw_server_t *server);

// Sets one setting from text.
//
// - `server`: the server.
// - `name`: the setting, in any case. A name that is none is logged as a warning and ignored.
// - `value`: "4", "true", "2M", "0.5", a path; numbers outside of the range of the setting are
//   moved into it.
//
// Returns: true if the value was taken or the name was ignored.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, or a text that is no value of the setting's type),
// SW_ERROR_WRONG_OPERATION (after start).
//
// Where: before start, any thread.
//
// Memory: both texts are copied.
bool sw_server_set(sw_server_t *server, const char *name, const char *value);

// Sets one setting from a number. For a setting that is true or false, 0 is false.
//
// - `server`: the server.
// - `name`: as for sw_server_set.
// - `value`: a number outside of the range of the setting is moved into it.
//
// Returns: true if the value was taken or the name was ignored.
//
// Errors: as for sw_server_set.
//
// Where: before start, any thread.
//
// Memory: the name is copied.
bool sw_server_set_int(sw_server_t *server, const char *name, int64_t value);

// Sets many settings from a JSON object, all of them or, if one is refused, none.
//
// - `server`: the server.
// - `json`: an object of names and values, such as {"worker_num": 4}; null leaves a setting as it
//   is. They are taken in their order: of a setting that stands there more than once, by whichever
//   of its names, the last value wins, as with several calls of sw_server_set.
// - `len`: bytes of `json`.
//
// Returns: true if all values were taken or their names ignored.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, not a JSON object, or a value that is none of the
// setting's type), SW_ERROR_WRONG_OPERATION (after start).
//
// Where: before start, any thread.
//
// Memory: the text is copied.
bool sw_server_set_json(sw_server_t *server, const char *json, size_t len);

// Tells the value of a setting that is, or would be, in force: also one that was never set.
//
// - `server`: the server.
// - `name`: the setting, in any case.
// - `out`: is filled with text such as "4", "true", "2097152"; no NUL stands behind it.
//
// Returns: true if there is such a setting.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, or no such setting).
//
// Where: any process, phase and thread.
//
// Memory: the caller gives `out` to sw_buffer_free.
bool sw_server_get_setting(const sw_server_t *server, const char *name, sw_buffer_t *out);

// Registers the callback of an event, in place of an earlier one.
//
// - `server`: the server.
// - `event`: the name in any case, without "on": start, shutdown, managerStart, managerStop,
//   workerStart, workerStop, workerError, connect, receive, close, beforeShutdown.
// - `callback`: what is called; not NULL.
// - `user_data`: handed to the callback as it is; may be NULL. A forked worker gets the copy that
//   its process inherited.
//
// Returns: true if it was registered.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, or no such event), SW_ERROR_WRONG_OPERATION (after
// start).
//
// Where: before start, any thread.
//
// Memory: the name is copied; `user_data` stays the caller's and must live as long as the server.
bool sw_server_on(sw_server_t *server, const char *event, sw_callback_t callback, void *user_data);

// Tells the callback that was registered last for an event.
//
// - `server`: the server.
// - `event`: the name, in any case.
//
// Returns: the same pointer that was registered; NULL if none was or there is no such event.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, or no such event).
//
// Where: any process, phase and thread.
//
// Memory: the name is copied.
sw_callback_t sw_server_get_callback(const sw_server_t *server, const char *event);

// Runs the server. Returns when it has ended: after SIGTERM or sw_server_shutdown, when every
// process and thread of it is gone and its ports are free. With the setting daemonize it goes on,
// and returns, in a new process; the one that has called it ends with 0 at once.
//
// - `server`: a server with a receive callback.
//
// Returns: true after an orderly end; false at once if it could not start.
//
// Errors: SW_ERROR_WRONG_OPERATION (it runs or has ended already),
// SW_ERROR_SERVER_INVALID_CALLBACK (a callback is missing), SW_ERROR_SERVER_ONLY_START_ONE
// (another server runs in this process), or the errno of the system; EDEADLK says that the program
// has several threads, with which SW_PROCESS, SW_BASE and daemonize cannot fork.
//
// Where: before start, from the only thread of the program (SW_THREAD: from any).
//
// Memory: nothing changes hands. While it runs, SIGTERM (end), SIGUSR1 and SIGUSR2
// (reload all workers, reload task workers; without a manager, SIGUSR1 has certificates read
// again), SIGRTMIN and SIGWINCH (open the log file anew), SIGALRM, SIGHUP, SIGPIPE and SIGCHLD are
// handled by the library; then they are as before.
bool sw_server_start(sw_server_t *server);

// Asks for an orderly end of the whole server, as SIGTERM to the master does. The calling callback
// goes on, and what it sends is delivered.
//
// - `server`: the server.
//
// Returns: true if the request was handed over. Asking again is harmless.
//
// Errors: SW_ERROR_WRONG_OPERATION (it does not run).
//
// Where: any process and thread of the running server, also in a signal handler of its process.
bool sw_server_shutdown(sw_server_t *server);

// Replaces all workers, or the task workers only, as SIGUSR1 and SIGUSR2 to the master or the
// manager do. Nothing that was received is lost, and in SW_PROCESS mode connections live on; user
// processes, master and manager stay as they are. What the program has loaded before
// sw_server_start is not loaded again; the certificates of ports with SW_SSL are read again, and
// SIGUSR1 does that also where there is no manager.
//
// - `server`: the server.
// - `only_task_workers`: leave the event workers as they are. Without task workers the manager
//   logs a warning and nothing happens.
//
// Returns: true if the request was handed over; its end is told by the event "afterReload". One
// reload runs at a time, and what is asked for meanwhile is dropped, which only the manager and,
// in SW_THREAD mode, everybody is told.
//
// Errors: SW_ERROR_OPERATION_NOT_SUPPORT (no manager: SW_BASE with one worker; or a reload runs;
// or SW_THREAD without task workers), SW_ERROR_WRONG_OPERATION (it does not run).
//
// Where: any process and thread of the running server.
bool sw_server_reload(sw_server_t *server, bool only_task_workers);

// Ends one worker, which is replaced. Without a manager, SW_BASE with one worker, the server ends.
//
// - `server`: the server.
// - `worker_id`: 0 to `worker_num` + `task_worker_num` - 1; -1 for the calling worker.
// - `wait_event`: for the calling worker: true lets it finish what it has begun, its timers and
//   descriptors, for `max_wait_time` seconds at most, and raises "workerExit" meanwhile; false
//   ends it after the callback that runs, and drops its timers and descriptors. Another worker
//   finishes what it has begun also if this is false, unless `reload_async` is false.
//
// Returns: true if the worker will end. What was sent before, and until the callback returns, is
// delivered.
//
// Errors: SW_ERROR_INVALID_PARAMS (no such worker), SW_ERROR_OPERATION_NOT_SUPPORT (the id of a
// user process), SW_ERROR_WRONG_OPERATION (-1 outside of workers, or it does not run),
// SW_ERROR_SERVER_UNRELATED_THREAD.
//
// Where: any process of the running server, in a thread that runs its callbacks.
bool sw_server_stop(sw_server_t *server, int worker_id, bool wait_event);

// Tells whether the server runs and no end has been asked for.
//
// - `server`: the server.
//
// Returns: true from the call of sw_server_start on; false before it, once an orderly end has
// begun, and after it.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL).
//
// Where: any process, phase and thread.
bool sw_server_is_running(const sw_server_t *server);

// Adds a port to a server. The socket is made and bound here, not at start.
//
// - `server`: the server.
// - `host`: as in sw_server_new, but for "SYSTEMD"; not NULL.
// - `port`: 0 to 65535; 0 lets the system choose. Ignored for unix types.
// - `sock_type`: one of SW_SOCK_TCP to SW_SOCK_UNIX_DGRAM; a stream type may have `| SW_SSL`, and
//   needs a certificate at start then. SW_SSL with a datagram type is refused at start.
//
// Returns: the port, or NULL.
//
// Errors: SW_ERROR_WRONG_OPERATION (after start), SW_ERROR_SERVER_TOO_MANY_LISTEN_PORT,
// SW_ERROR_SERVER_INVALID_LISTEN_PORT, SW_ERROR_NAME_TOO_LONG, SW_ERROR_BAD_HOST_ADDR,
// SW_ERROR_BAD_IPV6_ADDRESS, SW_ERROR_BAD_SOCKET_TYPE, SW_ERROR_INVALID_PARAMS (NULL), or
// the errno of the system, such as EADDRINUSE, also if another port of the server has the address.
//
// Where: before start, any thread.
//
// Memory: the port belongs to the server and is valid until sw_server_free.
sw_port_t *sw_server_add_listener(sw_server_t *server, const char *host, int port, int sock_type);

// The same as sw_server_add_listener.
//
// - `server`: the server.
// - `host`: see there.
// - `port`: see there.
// - `sock_type`: see there.
//
// Returns: the port, or NULL.
//
// Errors: see there.
//
// Where: before start, any thread.
//
// Memory: the port belongs to the server and is valid until sw_server_free.
sw_port_t *sw_server_listen(sw_server_t *server, const char *host, int port, int sock_type);

// A port of a server.
//
// - `server`: the server.
// - `index`: 0 is the port that the server was made with, the others follow as they were added.
//
// Returns: the port, the same pointer each time; NULL past the last one.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, or there is no such port).
//
// Where: any process, phase and thread.
//
// Memory: the port belongs to the server and is valid until sw_server_free.
sw_port_t *sw_server_port(const sw_server_t *server, size_t index);

// Takes a setting of a port. A port for which this was never called has the settings of its
// server; for one that was set only what was set here counts, and defaults for the rest. The first
// port has what is set for the server in either case. A call that fails sets nothing, and does not
// count as one.
//
// - `port`: the port.
// - `name`: the name, in any case; not NULL. One that no port has does nothing.
// - `value`: as in sw_server_set; not NULL.
//
// Returns: true, also for an unknown name, which is logged.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, or a value that is none), SW_ERROR_WRONG_OPERATION (after
// start), or the errno of the system (`ipv6_only` binds the address anew).
//
// Where: before start, any thread.
//
// Memory: name and value are copied.
bool sw_port_set(sw_port_t *port, const char *name, const char *value);

// Takes a setting of a port as a number; see sw_port_set.
//
// - `port`: the port.
// - `name`: the name, in any case; not NULL.
// - `value`: is moved into the range of the setting.
//
// Returns: true, also for an unknown name, which is logged.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (after start).
//
// Where: before start, any thread.
//
// Memory: the name is copied.
bool sw_port_set_int(sw_port_t *port, const char *name, int64_t value);

// Takes a JSON object of settings of a port, all of them or none, in their order; see sw_port_set
// and sw_server_set_json.
//
// - `port`: the port.
// - `json`: the text; NULL with a length of 0 only, which is no object.
// - `len`: its bytes.
//
// Returns: true if they were taken; unknown names are logged.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, no JSON object, or a value that is none),
// SW_ERROR_WRONG_OPERATION (after start).
//
// Where: before start, any thread.
//
// Memory: the text is copied.
bool sw_port_set_json(sw_port_t *port, const char *json, size_t len);

// Has a function tell the lengths of the messages on a port. It stands for the settings
// `package_length_type`, `package_length_offset` and `package_body_offset`, and is used if
// `open_length_check` is on.
//
// - `port`: the port. Set for the first port it holds for all ports that have the settings of the
//   server, see sw_port_set.
// - `callback`: what is asked, with the bytes that were received and not handed over, 8152 at the
//   most. If it cannot tell with so many the connection is closed. Not NULL.
// - `user_data`: handed to the callback as it is; may be NULL.
//
// The callback runs where connections are read: in SW_PROCESS mode in a reactor thread of the
// master, in several at the same time; else in the worker. All connections of that thread wait
// for it, so it should look at the bytes and return. An exception that leaves it ends its process.
//
// Returns: true if it was set.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (after start).
//
// Where: before start, any thread.
//
// Memory: `user_data` stays the caller's and must live as long as the server.
bool sw_port_set_length_func(sw_port_t *port, sw_length_fn_t callback, void *user_data);

// Registers the callback of an event of a port, in place of an earlier one. For an event without
// a callback of its own, a port has that of the first port, which is that of the server.
//
// - `port`: the port.
// - `event`: the name in any case, without "on": connect, receive, close, packet, bufferFull,
//   bufferEmpty.
// - `callback`: what is called; not NULL.
// - `user_data`: handed to the callback as it is; may be NULL.
//
// Returns: true if it was registered.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, no such event, or an event of the server),
// SW_ERROR_WRONG_OPERATION (after start).
//
// Where: before start, any thread.
//
// Memory: the name is copied; `user_data` stays the caller's and must live as long as the server.
bool sw_port_on(sw_port_t *port, const char *event, sw_callback_t callback, void *user_data);

// The host or path that a port was made with.
//
// - `port`: the port.
//
// Returns: a text; NULL on an error.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, or it is no port).
//
// Where: any process, phase and thread.
//
// Memory: the text belongs to the port.
const char *sw_port_host(const sw_port_t *port);

// The number of a port, the real one also if 0 was asked for.
//
// - `port`: the port.
//
// Returns: 1 to 65535; 0 for unix types; -1 on an error.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, or it is no port).
//
// Where: any process, phase and thread.
int sw_port_number(const sw_port_t *port);

// The socket type of a port.
//
// - `port`: the port.
//
// Returns: one of SW_SOCK_TCP to SW_SOCK_UNIX_DGRAM; -1 on an error.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, or it is no port).
//
// Where: any process, phase and thread.
int sw_port_type(const sw_port_t *port);

// The descriptor on which a port listens or takes datagrams, for setsockopt: sizes of buffers, a
// multicast group. Do not close it.
//
// - `port`: the port.
//
// Returns: the descriptor; -1 on an error.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, or it is no port), SW_ERROR_WRONG_OPERATION (the server
// has ended; or with enable_reuse_port in SW_BASE mode, where each worker opens a listener of its
// own for TCP, the caller is no worker).
//
// Where: any process, phase and thread.
int sw_port_socket(const sw_port_t *port);

// The descriptor of the first port; see sw_port_socket.
//
// - `server`: the server.
//
// Returns: the descriptor; -1 on an error.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (see there).
//
// Where: any process, phase and thread.
int sw_server_get_socket(const sw_server_t *server);

// Lists open connections of a port in ascending order of their ids; see
// sw_server_get_client_list.
//
// - `port`: the port.
// - `start_fd`: list ids above this one, which must be a live connection of the port; 0 begins at
//   the front.
// - `fds`: is filled with ids; room for `page_size` of them.
// - `page_size`: 1 to 100.
//
// Returns: how many ids were written; 0 if there are no more; -1 on an error.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, or a page size outside of its range),
// SW_ERROR_SESSION_NOT_EXIST (`start_fd`), SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in callbacks, of any process; in SW_BASE mode a worker sees its own connections alone.
//
// Memory: `fds` is the caller's and holds copies.
int sw_port_get_client_list(const sw_port_t *port, int64_t start_fd, int64_t *fds, int page_size);

// Reads the counts of a port: connection_num, abort_count, accept_count, close_count,
// dispatch_count, request_count, response_count, total_recv_bytes and total_send_bytes; all other
// fields are 0.
//
// - `port`: the port.
// - `out`: is filled; not NULL.
//
// Returns: true if `out` was filled.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in callbacks, of any process.
//
// Memory: `out` is a copy.
bool sw_port_stats(const sw_port_t *port, sw_stats_t *out);

// Closes a connection. In the worker of the connection its close callback runs inside this call,
// but behind sw_server_launch as soon as the event in hand is done; from elsewhere the request is
// forwarded and runs there.
//
// - `server`: the server.
// - `fd`: the session id.
// - `reset`: false sends what is queued first; true throws it away and closes at once, also after
//   a close whose output is still queued.
//
// Returns: true if it was closed or the request was forwarded.
//
// Errors: SW_ERROR_SESSION_INVALID_ID, SW_ERROR_SESSION_NOT_EXIST, SW_ERROR_SESSION_CLOSED,
// SW_ERROR_SESSION_CLOSING (inside its close callback), SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in callbacks, of any process.
bool sw_server_close(sw_server_t *server, int64_t fd, bool reset);

// Tells whether a connection is open: neither closed nor being closed. No system call is made.
//
// - `server`: the server.
// - `fd`: the session id.
//
// Returns: true if it is open.
//
// Errors: SW_ERROR_SESSION_NOT_EXIST, SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in callbacks, of any process; in SW_BASE mode a worker sees its own connections alone.
bool sw_server_exist(sw_server_t *server, int64_t fd);

// Tells what is known of a connection.
//
// - `server`: the server.
// - `fd`: the session id.
// - `out`: is filled; not NULL.
// - `ignore_closed`: true also tells of a closed connection while its record is held. Inside its
//   own close callback it is always told.
//
// Returns: true if `out` was filled.
//
// Errors: SW_ERROR_SESSION_NOT_EXIST, SW_ERROR_SESSION_INVALID_ID, SW_ERROR_INVALID_PARAMS (NULL),
// SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in callbacks, of any process; in SW_BASE mode a worker sees its own connections alone.
//
// Memory: `out` is a copy.
bool sw_server_get_client_info(sw_server_t *server,
                               int64_t fd,
                               sw_client_info_t *out,
                               bool ignore_closed);

// The certificate that the peer of a connection to a port with SW_SSL has shown, as PEM.
//
// - `server`: the server.
// - `fd`: the session id.
// - `out`: is filled; not NULL.
//
// Returns: true if `out` was filled.
//
// Errors: SW_ERROR_SSL_EMPTY_PEER_CERTIFICATE (the peer has shown none, the port has no
// `ssl_client_cert_file`, or the connection is not one of this worker), SW_ERROR_INVALID_PARAMS
// (NULL), SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in the worker of the connection, from its connect callback to its close callback.
//
// Memory: `out` is the caller's, who gives it to sw_buffer_free.
bool sw_server_get_client_cert(sw_server_t *server, int64_t fd, sw_buffer_t *out);

// Lists open connections in ascending order of their ids.
//
// - `server`: the server.
// - `start_fd`: list ids above this one, which must be a live connection; 0 begins at the front.
// - `fds`: is filled with ids; room for `page_size` of them.
// - `page_size`: 1 to 100.
//
// Returns: how many ids were written; 0 if there are no more; -1 on an error.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, or a page size outside of its range),
// SW_ERROR_SESSION_NOT_EXIST (`start_fd`), SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in callbacks, of any process; in SW_BASE mode a worker sees its own connections alone.
//
// Memory: `fds` is the caller's and holds copies.
int sw_server_get_client_list(sw_server_t *server, int64_t start_fd, int64_t *fds, int page_size);

// Queues bytes for the peer of a connection, behind what was sent before. The bytes of one call
// stay together. It never blocks: true means accepted, not delivered. The send with which
// socket_buffer_size bytes or more wait for the peer is taken whole; from then on sends fail until
// less waits, see the events bufferFull and bufferEmpty.
//
// - `server`: the server.
// - `fd`: the session id.
// - `data`: the bytes; not NULL.
// - `len`: at least 1; in SW_PROCESS mode at most output_buffer_size.
//
// Returns: true if the bytes were taken.
//
// Errors: SW_ERROR_NO_PAYLOAD (`len` is 0), SW_ERROR_DATA_LENGTH_TOO_LARGE,
// SW_ERROR_OUTPUT_BUFFER_OVERFLOW (socket_buffer_size bytes wait for a slow peer already),
// SW_ERROR_SESSION_INVALID_ID, SW_ERROR_SESSION_NOT_EXIST, SW_ERROR_SESSION_CLOSING (inside its
// close callback), SW_ERROR_SESSION_CLOSED_BY_SERVER, SW_ERROR_SESSION_CLOSED_BY_CLIENT,
// SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in callbacks, of any process.
//
// Memory: the bytes are copied.
bool sw_server_send(sw_server_t *server, int64_t fd, const void *data, size_t len);

// As sw_server_send; but where that would fail with SW_ERROR_OUTPUT_BUFFER_OVERFLOW, the bytes
// wait until there is room, behind others of this process that wait for the same peer. A plain
// send meanwhile may overtake them.
//
// The function is called once, never inside this call: with 0 when the bytes were taken, with
// ETIMEDOUT when they have waited for send_timeout, with ECONNRESET when the connection ended
// before. If the process ends before, it is not called. A worker that leaves waits for it as for a
// timer.
//
// - `server`: the server.
// - `fd`: the session id.
// - `data`: the bytes; not NULL.
// - `len`: at least 1; in SW_PROCESS mode at most output_buffer_size.
// - `sent_fn`: the function; not NULL.
// - `user_data`: handed to the function as it is; may be NULL.
//
// Returns: true if the bytes were taken or wait; false: the function will not be called.
//
// Errors: those of sw_server_send but SW_ERROR_OUTPUT_BUFFER_OVERFLOW.
//
// Where: in callbacks, of any process.
//
// Memory: the bytes are copied; `user_data` must live until the function was called.
bool sw_server_send_async(sw_server_t *server,
                          int64_t fd,
                          const void *data,
                          size_t len,
                          sw_sent_fn_t sent_fn,
                          void *user_data);

// Queues a part of a regular file for the peer of a connection, behind what was sent before; the
// bytes never pass through this process. The file is opened when its turn comes and must stay as
// it is until it has gone: if it is missing then or has become shorter, that is logged and the
// connection is closed, since nothing else may stand in the place of the bytes. At most 1024 files
// wait for one peer; their bytes do not count for socket_buffer_size.
//
// - `server`: the server.
// - `fd`: the session id.
// - `path`: the file, any bytes; not NULL. A relative one begins where this process works. In
//   SW_PROCESS mode it is opened by the master, which does not see a chroot of the workers.
// - `offset`: the first byte, 0 or more and less than the size of the file.
// - `length`: how many bytes; 0: all that follow.
//
// Returns: true if the part was accepted; it is not counted in response_count.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, a negative offset, or the file has not so many bytes),
// SW_ERROR_SYSTEM_CALL_FAIL (no such file, not allowed, or the offset is not inside of it),
// SW_ERROR_SERVER_IS_NOT_REGULAR_FILE, SW_ERROR_NAME_TOO_LONG, SW_ERROR_SERVER_SEND_IN_MASTER,
// SW_ERROR_OUTPUT_BUFFER_OVERFLOW (1024 files wait), SW_ERROR_SESSION_INVALID_ID,
// SW_ERROR_SESSION_NOT_EXIST, SW_ERROR_SESSION_CLOSING (inside its close callback),
// SW_ERROR_SESSION_CLOSED_BY_SERVER, SW_ERROR_SESSION_CLOSED_BY_CLIENT, SW_ERROR_WRONG_OPERATION
// (not running).
//
// Where: in callbacks, of any process but the master.
//
// Memory: the path is copied.
bool sw_server_sendfile(sw_server_t *server,
                        int64_t fd,
                        const char *path,
                        int64_t offset,
                        size_t length);

// Sends bytes to the peer of a connection and waits until the system has taken all of them and
// what was sent before. Nothing else happens in the worker meanwhile: it is for peers that are
// near and fast.
//
// - `server`: the server.
// - `fd`: the session id, of a connection of this worker.
// - `data`: the bytes; not NULL.
// - `len`: at least 1.
//
// Returns: true if every byte was written.
//
// Errors: SW_ERROR_NO_PAYLOAD (`len` is 0), SW_ERROR_OPERATION_NOT_SUPPORT (SW_PROCESS mode, or no
// event worker), SW_ERROR_SESSION_INVALID_ID, SW_ERROR_SESSION_NOT_EXIST, SW_ERROR_SESSION_CLOSING
// (inside its close callback), SW_ERROR_SESSION_CLOSED_BY_SERVER,
// SW_ERROR_SESSION_CLOSED_BY_CLIENT, SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (not
// running), ETIMEDOUT (send_timeout has passed: if a part of the bytes has gone, the rest is
// queued, else none is sent), or the errno that broke the connection.
//
// Where: in callbacks of event workers, in SW_BASE and SW_THREAD mode.
//
// Memory: the bytes are the caller's.
bool sw_server_sendwait(sw_server_t *server, int64_t fd, const void *data, size_t len);

// Stops reading from a client. What the server sends still goes out, and what was read already
// still arrives as receive events. That the client has gone is not noticed before the connection
// is resumed, unless output fails. Pausing a paused connection does nothing.
//
// - `server`: the server.
// - `fd`: the session id.
//
// Returns: true if the connection is open; from another process it is paused a little later.
//
// Errors: SW_ERROR_SESSION_NOT_EXIST (not open), SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in callbacks, of any process; in SW_BASE mode in the worker that owns the connection.
bool sw_server_pause(sw_server_t *server, int64_t fd);

// Reads from a paused client again: what has come meanwhile arrives now, in order. Resuming a
// connection that is not paused does nothing.
//
// - `server`: the server.
// - `fd`: the session id.
//
// Returns: true if the connection is open; from another process it is resumed a little later.
//
// Errors: SW_ERROR_SESSION_NOT_EXIST (not open), SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in callbacks, of any process; in SW_BASE mode in the worker that owns the connection.
bool sw_server_resume(sw_server_t *server, int64_t fd);

// Exempts a connection from being closed for being idle, by the heartbeat or by max_idle_time, or
// no longer.
//
// - `server`: the server.
// - `fd`: the session id.
// - `is_protected`: true exempts it, false ends that.
//
// Returns: true if the connection is open.
//
// Errors: SW_ERROR_SESSION_NOT_EXIST (not open), SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in callbacks, of any process; in SW_BASE mode in the worker that owns the connection.
bool sw_server_protect(sw_server_t *server, int64_t fd, bool is_protected);

// Begins to read from a client. With enable_delay_receive a new connection only has its connect
// event, and nothing is read before it is confirmed; what has come meanwhile arrives then.
//
// - `server`: the server.
// - `fd`: the session id.
//
// Returns: true for the one call that confirms the connection.
//
// Errors: SW_ERROR_WRONG_OPERATION (confirmed already, or it never waited for that; or not
// running), SW_ERROR_SESSION_INVALID_ID, SW_ERROR_SESSION_NOT_EXIST,
// SW_ERROR_SESSION_CLOSED_BY_SERVER, SW_ERROR_SESSION_CLOSED (by the client, or while it is being
// closed).
//
// Where: in callbacks, of any process; in SW_BASE mode in the worker that owns the connection.
bool sw_server_confirm(sw_server_t *server, int64_t fd);

// Binds a connection to a user of the program, once in its life. The number is shown in the
// information on the connection.
//
// - `server`: the server.
// - `fd`: the session id.
// - `uid`: -2147483648 to 4294967295, not 0; a negative number is shown as its two's complement of
//   32 bits.
//
// Returns: true if the connection is bound now; false if it was already.
//
// Errors: SW_ERROR_INVALID_PARAMS (`uid`), SW_ERROR_SESSION_NOT_EXIST (not open),
// SW_ERROR_WRONG_OPERATION (bound already, or not running).
//
// Where: in callbacks, of any process; in SW_BASE mode in the worker that owns the connection.
bool sw_server_bind(sw_server_t *server, int64_t fd, int64_t uid);

// Looks for connections whose clients have sent nothing for the heartbeat_idle_time of their port.
// Those that are protected are left out.
//
// - `server`: the server.
// - `close_them`: true closes those that are found, as sw_server_close() does.
// - `fds`: is filled with their ids, ascending; room for `capacity` of them.
// - `capacity`: 1 or more; not more connections than this are looked for, nor closed.
//
// Returns: how many were found; 0 if there are none; -1 on an error.
//
// Errors: SW_ERROR_OPERATION_NOT_SUPPORT (no heartbeat is configured), SW_ERROR_INVALID_PARAMS
// (NULL, or a capacity below 1), SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in callbacks, of any process; in SW_BASE mode a worker sees its own connections alone.
//
// Memory: `fds` is the caller's and holds copies.
int sw_server_heartbeat(sw_server_t *server, bool close_them, int64_t *fds, int capacity);

// Sends one datagram, from the address of a port of this server. The call goes to the system at
// once; only while there is no room for the datagram it waits, for socket_send_timeout at most.
// Answers over IP of at most 2048 bytes to the datagram in hand, from the port that it came to,
// leave together within 100 microseconds of their callback; one that the system then refuses is
// logged.
//
// - `server`: the server.
// - `ip`: the receiver: a literal IPv4 address, a literal IPv6 address if it holds a colon, or the
//   path of a Unix socket if it begins with a slash or `port` is negative; not NULL. Names are not
//   looked up.
// - `port`: 1 to 65535; for a path ignored.
// - `data`: the bytes; not NULL.
// - `len`: at least 1; at most 65507 for IPv4.
// - `server_socket`: the descriptor of the port to send from, as the packet event tells it; -1 for
//   the port of the family of `ip` that was added last.
//
// Returns: true if the system has taken it. As ever with datagrams, it may be lost on the way.
//
// Errors: SW_ERROR_NO_PAYLOAD (`len` is 0), SW_ERROR_BAD_HOST_ADDR, SW_ERROR_BAD_IPV6_ADDRESS,
// SW_ERROR_BAD_PORT, SW_ERROR_NAME_TOO_LONG (the path), SW_ERROR_WRONG_OPERATION (the server has
// no datagram port of this family, or does not run), SW_ERROR_INVALID_PARAMS (NULL, or
// `server_socket` is no datagram port of this family), or the errno of the system: EMSGSIZE,
// ECONNREFUSED or ENOENT for a path where nobody is, EAGAIN if there was no room all the time.
//
// Where: in callbacks, of any process.
//
// Memory: the bytes are not kept.
bool sw_server_sendto(sw_server_t *server,
                      const char *ip,
                      int port,
                      const void *data,
                      size_t len,
                      int server_socket);

// Has a function choose the workers, in place of the setting `dispatch_mode`, in `SW_PROCESS`
// mode. In the other modes it is never called. Data that it discards is lost; on a port with
// framing the connection is closed then, since the stream would have a hole. It has to be quick:
// nothing is read meanwhile.
//
// - `server`: the server.
// - `callback`: what is called; not NULL.
// - `user_data`: handed to it as it is; may be NULL.
//
// Returns: true if it was registered, in place of an earlier one.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (after start).
//
// Where: before start, any thread.
//
// Memory: `user_data` stays the caller's and must live as long as the server; several threads use
// it at a time.
bool sw_server_set_dispatch_func(sw_server_t *server, sw_dispatch_fn_t callback, void *user_data);

// Says that a request goes on after its callback has returned: something was begun whose end a
// later callback of this worker will see. It counts among what the worker has to do, for the
// dispatch modes 8, 9 and 10, and among what the setting `worker_max_concurrency` limits. A worker
// at the limit is handed nothing more until a request is over; messages of one read are handed
// over together.
//
// - `server`: the server.
//
// Returns: true if it was counted.
//
// Errors: SW_ERROR_WRONG_OPERATION (outside of event workers, or not running),
// SW_ERROR_SERVER_UNRELATED_THREAD.
//
// Where: in callbacks, in event workers. If the worker ends, what it has begun is over.
bool sw_server_begin_request(sw_server_t *server);

// Says that a request of sw_server_begin_request is over.
//
// - `server`: the server.
//
// Returns: true if one was counted.
//
// Errors: SW_ERROR_WRONG_OPERATION (none is in progress in this worker, outside of event workers,
// or not running), SW_ERROR_SERVER_UNRELATED_THREAD.
//
// Where: in callbacks, in the event worker that has begun it.
bool sw_server_end_request(sw_server_t *server);

// Sends bytes to another worker, which gets them in its event "pipeMessage" with the worker id of
// the sender, or -1 from the master and the manager. Messages of one process to one worker arrive
// in order, each once, also while the worker is replaced: what it has not been given is given to
// its successor. Only what a process that is killed had in its hands is lost: the message whose
// callback runs, one that has come in part, and what found no room in shared memory yet.
//
// The call does not wait: what the worker does not take is kept, without a limit, so have messages
// acknowledged where a worker may be slower than its senders. Only in the function of a user
// process it waits for room, see sw_process_fn_t.
//
// - `server`: the server.
// - `data`: the bytes; NULL only if `len` is 0.
// - `len`: 0 or more, below 4 GiB; beyond 128 KiB they travel in pieces.
// - `worker_id`: 0 to `worker_num` + `task_worker_num` - 1, but not the caller's own. In a task
//   worker the message waits behind the tasks that came before it.
//
// Returns: true if the message is on its way.
//
// Errors: SW_ERROR_INVALID_PARAMS (`worker_id` is the caller's own, that of a user process or no
// worker's; NULL), SW_ERROR_SERVER_INVALID_CALLBACK (no callback for "pipeMessage"),
// SW_ERROR_MALLOC_FAIL (no memory), SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in callbacks and user processes, of any process.
//
// Memory: the bytes are copied.
bool sw_server_send_message(sw_server_t *server, const void *data, size_t len, int worker_id);

// Registers a command: a function that sw_server_command has run in a process of the server.
//
// - `server`: the server.
// - `name`: by which it is called, UTF-8, not empty; not NULL.
// - `process_types`: where it may run: SW_COMMAND_MASTER, SW_COMMAND_MANAGER,
//   SW_COMMAND_EVENT_WORKER, SW_COMMAND_TASK_WORKER, or several of them with `|`.
// - `command_fn`: what runs; not NULL.
// - `user_data`: handed to the function as it is; may be NULL.
//
// Returns: true if there is such a command now. If the name is taken the first one stays.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, the name is empty or taken, no or unknown process types),
// SW_ERROR_OPERATION_NOT_SUPPORT (SW_COMMAND_REACTOR_THREAD), SW_ERROR_WRONG_OPERATION (after
// start).
//
// Where: before start, any thread.
//
// Memory: the name is copied; `user_data` stays the caller's and must live as long as the server.
bool sw_server_add_command(sw_server_t *server,
                           const char *name,
                           int process_types,
                           sw_command_fn_t command_fn,
                           void *user_data);

// Has a command run in a process of the server and waits for its answer, 5 seconds at most.
// Meanwhile the caller does nothing else. A process that is replaced before it gets to the command
// leaves it to its successor. One that dies in the middle of it is known when its successor runs.
// An answer that comes too late is thrown away and logged with SW_ERROR_SERVER_INVALID_COMMAND.
//
// - `server`: the server.
// - `name`: of the command; not NULL.
// - `process_id`: 0 to `worker_num` - 1 for SW_COMMAND_EVENT_WORKER, 0 to `task_worker_num` - 1
//   for SW_COMMAND_TASK_WORKER, ignored for others.
// - `process_type`: one of SW_COMMAND_...; in the caller itself the command runs at once.
// - `data`: handed to the command; NULL only if `len` is 0.
// - `len`: 0 or more, below 4 GiB; at most 8151 for SW_COMMAND_MANAGER.
// - `reply`: is filled with the answer; not NULL. An empty answer is NULL and 0.
//
// Returns: true if the command has answered; `reply` is untouched if not.
//
// Errors: SW_ERROR_INVALID_PARAMS (the caller is neither the master nor, in SW_BASE mode,
// worker 0; no such process; not exactly one type; NULL), SW_ERROR_SERVER_INVALID_COMMAND (no such
// command), SW_ERROR_OPERATION_NOT_SUPPORT (it does not run in this type of process; there is no
// manager; SW_THREAD mode), SW_ERROR_DATA_LENGTH_TOO_LARGE (`len`, for the manager),
// SW_ERROR_TASK_TIMEOUT (no answer in time), SW_ERROR_SERVER_WORKER_TERMINATED (the process has
// died in the command), SW_ERROR_SERVER_INVALID_REQUEST (the command returned false),
// SW_ERROR_MALLOC_FAIL (no memory), SW_ERROR_WRONG_OPERATION (inside of a command, or not
// running).
//
// Where: in callbacks of the master, also "start"; in SW_BASE mode in those of worker 0.
//
// Memory: name and data are copied. The answer belongs to the caller, who gives it to
// sw_buffer_free.
bool sw_server_command(sw_server_t *server,
                       const char *name,
                       int process_id,
                       int process_type,
                       const void *data,
                       size_t len,
                       sw_buffer_t *reply);

// Answers a command, once.
//
// - `reply`: what the function of the command was given.
// - `data`: the answer; NULL only if `len` is 0.
// - `len`: 0 or more, below 4 GiB.
//
// Returns: true if this is the answer now.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, or no command with this handle runs in the calling
// thread), SW_ERROR_WRONG_OPERATION (answered already).
//
// Where: in the function of a command.
//
// Memory: the bytes are copied.
bool sw_command_reply(sw_reply_t *reply, const void *data, size_t len);

// Reads the counts of the server: shared memory alone, one after the other while it runs.
//
// - `server`: the server.
// - `out`: is filled; not NULL.
//
// Returns: true if `out` was filled.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in callbacks, of any process.
//
// Memory: `out` is a copy.
bool sw_server_stats(sw_server_t *server, sw_stats_t *out);

// The last error of the calling thread, the same number as sw_last_error.
//
// - `server`: the server; it makes no difference which, nor whether it is NULL.
//
// Returns: the number; 0 if there was no error, as in a fresh worker.
//
// Errors: none.
//
// Where: any process, phase and thread.
int sw_server_get_last_error(const sw_server_t *server);

// The id of the worker that calls.
//
// - `server`: the server.
//
// Returns: 0 to worker_num - 1; -1 outside of workers.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL).
//
// Where: any process, phase and thread.
int sw_server_get_worker_id(const sw_server_t *server);

// The process id of a worker or user process, of its successor after a respawn; in SW_THREAD mode
// its thread id.
//
// - `server`: the server.
// - `worker_id`: a worker id, or -1 for the worker or user process that calls.
//
// Returns: the id; -1 on an error.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, or no such worker), SW_ERROR_WRONG_OPERATION (-1 outside
// of workers and user processes, or not running).
//
// Where: in callbacks, of any process.
pid_t sw_server_get_worker_pid(const sw_server_t *server, int worker_id);

// What a worker does at this moment: SW_WORKER_BUSY (a callback runs), SW_WORKER_IDLE (it waits)
// or SW_WORKER_EXIT (it finishes what it has begun, then ends). A worker that is being replaced
// reads SW_WORKER_EXIT about itself, while others see its successor already.
//
// - `server`: the server.
// - `worker_id`: a worker id, or -1 for the worker that calls.
//
// Returns: one of the three; 0 on an error.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, no such worker, or -1 outside of workers),
// SW_ERROR_WRONG_OPERATION (not running), SW_ERROR_SERVER_UNRELATED_THREAD.
//
// Where: in callbacks, of any process.
int sw_server_get_worker_status(const sw_server_t *server, int worker_id);

// The process id of the manager: in SW_PROCESS mode a child of the master, in SW_BASE mode the
// process that called sw_server_start.
//
// - `server`: the server.
//
// Returns: the id; 0 before start and where there is no manager process (SW_THREAD mode, or
// SW_BASE mode with one worker, no task workers, no `max_request` and no user process).
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL).
//
// Where: any process, phase and thread.
pid_t sw_server_get_manager_pid(const sw_server_t *server);

// The process id of the master: the process that called sw_server_start; in SW_BASE mode worker 0.
//
// - `server`: the server.
//
// Returns: the id; 0 before start.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL).
//
// Where: any process, phase and thread.
pid_t sw_server_get_master_pid(const sw_server_t *server);

// Tells whether the caller is a task worker.
//
// - `server`: the server.
//
// Returns: true in a task worker; false elsewhere, and when the server does not run.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL).
//
// Where: any process, phase and thread.
bool sw_server_is_task_worker(const sw_server_t *server);

// The mode that the server was made with.
//
// - `server`: the server.
//
// Returns: SW_BASE, SW_PROCESS or SW_THREAD; 0 on an error.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL).
//
// Where: any process, phase and thread.
int sw_server_get_mode(const sw_server_t *server);

// Hands in a task, which runs in a task worker, behind others of this process for the same one. It
// never blocks in event workers: a task that finds no room waits in the memory of the worker.
//
// The result goes to `on_finish`, with an event of kind SW_EVENT_FINISH, or to the event "finish"
// of the server. `on_finish` is called at most once, for the first answer, or with `data` NULL if
// the task worker died with the task in its hands; all further answers are events of the server,
// as are those for a worker that was replaced meanwhile. A task that was handed in and has not
// begun outlives both processes.
//
// - `server`: the server.
// - `data`: the bytes; NULL only if `len` is 0.
// - `len`: how many; any number below 4 GiB.
// - `task_worker`: 0 to `task_worker_num` - 1, or -1 for one that has nothing to do, if there is
//   one.
// - `on_finish`: what takes the first answer; NULL for the event of the server. Ignored outside of
//   event workers: nobody can answer a task of the master, the manager or a user process.
// - `user_data`: handed to `on_finish` as it is; may be NULL.
//
// Returns: the id of the task, 0 or above and ascending in each process; -1 on an error:
// `on_finish` will not be called.
//
// Errors: SW_ERROR_INVALID_PARAMS (no such task worker, NULL), SW_ERROR_OPERATION_NOT_SUPPORT (in
// a task worker, or `task_worker_num` is 0), SW_ERROR_TASK_PACKAGE_TOO_BIG, SW_ERROR_QUEUE_FULL
// (no memory is left to keep it), SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in callbacks, of any process but task workers.
//
// Memory: the bytes are copied; `user_data` must live until `on_finish` was called.
int64_t sw_server_task(sw_server_t *server,
                       const void *data,
                       size_t len,
                       int task_worker,
                       sw_callback_t on_finish,
                       void *user_data);

// Answers the task whose callback runs. Each answer is one event "finish" in the worker that
// handed the task in, or in its successor, in the order of the calls; a task need not be answered.
// Waits while that worker has no room for it, for `socket_send_timeout` at most.
//
// - `server`: the server.
// - `data`: the bytes; NULL only if `len` is 0.
// - `len`: how many; any number below 4 GiB. An answer may be empty.
//
// Returns: true if the answer was taken; it arrives whatever becomes of this process.
//
// Errors: SW_ERROR_OPERATION_NOT_SUPPORT (outside of a task callback, no task workers, or the task
// came from the master, the manager or a user process), SW_ERROR_SERVER_SEND_TO_WORKER_TIMEOUT,
// SW_ERROR_SERVER_WORKER_TERMINATED (the server ends, and the worker has), SW_ERROR_MALLOC_FAIL,
// SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in the task callback.
//
// Memory: the bytes are copied.
bool sw_server_finish(sw_server_t *server, const void *data, size_t len);

// Answers a task at any time after it was given to this task worker, by the worker id and the id
// that stand in its event. For servers with `task_object` or `task_enable_coroutine` on, where a
// task is open when its callback returns without an answer, and several may be open at a time.
//
// A task may be answered again, for as long as it is among the last 1024 that were answered. If a
// task worker ends, whoever handed in the tasks that are open there is told that they have failed.
// One that is replaced in order waits for them, for `max_wait_time` at most. Of more than 16384
// open tasks an old one is given up.
//
// - `server`: the server.
// - `worker_id`: `worker_id` of the task.
// - `task_id`: `id` of the task.
// - `data`: the bytes; NULL only if `len` is 0.
// - `len`: how many; any number below 4 GiB. An answer may be empty.
//
// Returns: true if the answer was taken; it arrives whatever becomes of this process.
//
// Errors: SW_ERROR_WRONG_OPERATION (no such task is open here, or not running),
// SW_ERROR_OPERATION_NOT_SUPPORT (not in a task worker, no task workers, both settings are off, or
// the task came from the master, the manager or a user process),
// SW_ERROR_SERVER_SEND_TO_WORKER_TIMEOUT, SW_ERROR_SERVER_WORKER_TERMINATED (the server ends, and
// the worker has), SW_ERROR_MALLOC_FAIL, SW_ERROR_INVALID_PARAMS (NULL).
//
// Where: in callbacks of task workers.
//
// Memory: the bytes are copied.
bool sw_server_finish_task(sw_server_t *server,
                           int worker_id,
                           int64_t task_id,
                           const void *data,
                           size_t len);

// Hands in a task and waits for its first answer. The worker handles nothing else meanwhile; what
// it has sent before leaves. A later answer, or one that comes too late, is dropped, and the log
// says that the task has expired; it never ends another wait. The event "finish" is not raised.
//
// - `server`: the server.
// - `data`: the bytes; NULL only if `len` is 0.
// - `len`: how many; any number below 4 GiB.
// - `timeout`: seconds, also parts of them, 0.001 at least; 0 or less for no limit, then a task
//   that is never answered keeps the worker for ever. 0.5 is usual.
// - `task_worker`: 0 to `task_worker_num` - 1, or -1 for one that has nothing to do, if there is
//   one.
// - `result`: takes the answer. That of an empty one is not NULL; without an answer it is empty.
//
// Returns: true if there was an answer in time, of whatever length.
//
// Errors: SW_ERROR_TASK_TIMEOUT (the time is up; the task is done all the same),
// SW_ERROR_SERVER_WORKER_TERMINATED (the task worker died with the task in its hands, or this
// worker has been replaced), SW_ERROR_INVALID_PARAMS (no such task worker, NULL, NaN),
// SW_ERROR_OPERATION_NOT_SUPPORT (not in an event worker, or `task_worker_num` is 0),
// SW_ERROR_TASK_PACKAGE_TOO_BIG, SW_ERROR_QUEUE_FULL (no memory is left to keep it),
// SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in callbacks of event workers.
//
// Memory: the bytes are copied; the result is given back by sw_buffer_free.
bool sw_server_taskwait(sw_server_t *server,
                        const void *data,
                        size_t len,
                        double timeout,
                        int task_worker,
                        sw_buffer_t *result);

// Hands in several tasks, each to a task worker that has nothing to do, if there is one, and waits
// until each is answered or the time is up. The worker handles nothing else meanwhile, see
// sw_server_taskwait. Answers that come too late are dropped.
//
// - `server`: the server.
// - `tasks`: `count` of them; NULL only if `count` is 0.
// - `count`: 0 to 1024.
// - `timeout`: seconds for all of them together, as for sw_server_taskwait.
// - `results`: takes `count` answers, in the order of the tasks; `data` is NULL where there is
//   none, also because a task worker died, and not NULL for an empty one. NULL only if `count` is
//   0.
//
// Returns: how many were answered; -1 on an error, `results` are empty then.
//
// Errors: SW_ERROR_INVALID_PARAMS (too many, NULL, NaN), SW_ERROR_TASK_DISPATCH_FAIL (not one
// could be handed in), SW_ERROR_OPERATION_NOT_SUPPORT (not in an event worker, or
// `task_worker_num` is 0), SW_ERROR_SERVER_WORKER_TERMINATED (this worker has been replaced),
// SW_ERROR_WRONG_OPERATION (not running).
//
// Where: in callbacks of event workers.
//
// Memory: the bytes are copied; each result is given back by sw_buffer_free.
int sw_server_task_wait_multi(sw_server_t *server,
                              const sw_bytes_t *tasks,
                              size_t count,
                              double timeout,
                              sw_buffer_t *results);

// Hands in several tasks, as sw_server_task_wait_multi does, and returns at once. The worker goes
// on, and calls `on_done` once when each task is answered or the time is up. Any number of lists
// may be under way. Answers that come too late are dropped, and the log says that the task has
// expired.
//
// A worker that leaves in order waits for its lists, as for its timers, for `max_wait_time` at
// most. Where it is ended by force `on_done` is not called.
//
// - `server`: the server.
// - `tasks`: `count` of them; NULL only if `count` is 0.
// - `count`: 0 to 1024.
// - `timeout`: seconds for all of them together, as for sw_server_taskwait.
// - `on_done`: what takes the results, see sw_tasks_done_fn_t.
// - `user_data`: handed to `on_done` as it is; may be NULL.
//
// Returns: true if the tasks are handed in; if not, `on_done` is never called.
//
// Errors: SW_ERROR_INVALID_PARAMS (too many, NULL, NaN), SW_ERROR_TASK_DISPATCH_FAIL (not one
// could be handed in), SW_ERROR_OPERATION_NOT_SUPPORT (not in an event worker, or
// `task_worker_num` is 0), SW_ERROR_SERVER_WORKER_TERMINATED (this worker has been replaced),
// SW_ERROR_WRONG_OPERATION (not running, or the worker has stopped).
//
// Where: in callbacks of event workers.
//
// Memory: the bytes are copied; `user_data` must live until `on_done` was called.
bool sw_server_task_co(sw_server_t *server,
                       const sw_bytes_t *tasks,
                       size_t count,
                       double timeout,
                       sw_tasks_done_fn_t on_done,
                       void *user_data);

// Calls the program again and again, on a grid that begins now. Points of the grid that pass while
// the callback runs are left out.
//
// - `server`: the server.
// - `milliseconds`: between two calls; at least 1.
// - `callback`: what is called, with the id of the timer; not NULL.
// - `user_data`: handed to the callback; may be NULL.
//
// Returns: the id of the timer, 1 or above and ascending in each process; -1 on an error.
//
// Errors: SW_ERROR_INVALID_PARAMS (less than 1 ms, NULL), SW_ERROR_WRONG_OPERATION (not running,
// or inside the worker's stop callback).
//
// Where: in callbacks, of any process. The timer belongs to the calling process, in SW_THREAD
// mode to the calling thread, and ends with it.
//
// Memory: `user_data` stays the caller's and must live as long as the timer.
int64_t sw_server_tick(sw_server_t *server,
                       int64_t milliseconds,
                       sw_timer_fn_t callback,
                       void *user_data);

// Calls the program once.
//
// - `server`: the server.
// - `milliseconds`: from now; at least 1.
// - `callback`: what is called, with the id of the timer; not NULL.
// - `user_data`: handed to the callback; may be NULL.
//
// Returns: the id of the timer, 1 or above and ascending in each process; -1 on an error.
//
// Errors: as for sw_server_tick.
//
// Where: as for sw_server_tick.
//
// Memory: `user_data` stays the caller's and must live until the call.
int64_t sw_server_after(sw_server_t *server,
                        int64_t milliseconds,
                        sw_timer_fn_t callback,
                        void *user_data);

// Ends a timer: it never fires again. A timer may end itself in its own callback, where also one
// that fires once still exists.
//
// - `server`: the server.
// - `timer_id`: the id that sw_server_tick or sw_server_after gave.
//
// Returns: true if there was such a timer.
//
// Errors: SW_ERROR_INVALID_PARAMS (no such timer in this process, or it has fired already),
// SW_ERROR_WRONG_OPERATION (not running, or inside the worker's stop callback).
//
// Where: in callbacks, of the process that set the timer.
bool sw_server_clear_timer(sw_server_t *server, int64_t timer_id);

// Calls the program once, after the events and timers of the present round of the loop and before
// it waits again; several calls come in the order of registration.
//
// - `server`: the server.
// - `callback`: what is called; not NULL.
// - `user_data`: handed to the callback; may be NULL.
//
// Returns: true if it was registered.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL), SW_ERROR_WRONG_OPERATION (not running, or inside the
// worker's stop callback).
//
// Where: in callbacks, of any process.
//
// Memory: `user_data` stays the caller's and must live until the call.
bool sw_server_defer(sw_server_t *server, sw_defer_fn_t callback, void *user_data);

// Watches a descriptor of the program in the loop of the calling process. It becomes non-blocking
// and is watched level-triggered: the callback is called again as long as the descriptor is
// ready.
//
// - `os_fd`: a descriptor of the system that can be waited for; regular files cannot.
// - `events`: SW_IO_READ, SW_IO_WRITE or both.
// - `callback`: what is called, with the descriptor and what it is ready for; not NULL.
// - `user_data`: handed to the callback; may be NULL.
//
// Returns: true if it is watched.
//
// Errors: SW_ERROR_INVALID_PARAMS (events, NULL), SW_ERROR_EVENT_ADD_FAILED (watched already), the
// errno of the system, SW_ERROR_WRONG_OPERATION (no loop in this thread, or inside the worker's
// stop callback), SW_ERROR_OPERATION_NOT_SUPPORT (in the manager, and in a task worker without
// task_object and task_enable_coroutine).
//
// Where: in callbacks, of any process but those two. Remove it before it is closed; a forked
// child inherits no registration.
//
// Memory: `user_data` stays the caller's and must live as long as the registration.
bool sw_event_add(int os_fd, int events, sw_io_fn_t callback, void *user_data);

// Changes what a descriptor of the program is watched for.
//
// - `os_fd`: a descriptor that sw_event_add took.
// - `events`: SW_IO_READ, SW_IO_WRITE or both.
//
// Returns: true if it was changed.
//
// Errors: SW_ERROR_INVALID_PARAMS (events), SW_ERROR_EVENT_UPDATE_FAILED (not watched), the errno
// of the system, SW_ERROR_WRONG_OPERATION (no loop in this thread, or inside the worker's stop
// callback), SW_ERROR_OPERATION_NOT_SUPPORT (in the manager).
//
// Where: in callbacks, of the process that added it.
bool sw_event_set(int os_fd, int events);

// Watches a descriptor of the program no longer. It stays open.
//
// - `os_fd`: a descriptor that sw_event_add took.
//
// Returns: true if it was watched.
//
// Errors: SW_ERROR_EVENT_REMOVE_FAILED (not watched), the errno of the system (it was closed
// before, and is not watched any more), SW_ERROR_WRONG_OPERATION (no loop in this thread, or
// inside the worker's stop callback), SW_ERROR_OPERATION_NOT_SUPPORT (in the manager).
//
// Where: in callbacks, of the process that added it, also in its own callback.
bool sw_event_del(int os_fd);

// Makes a user process, which runs beside the workers once it is added to a server and that is
// started. Do not fork it yourself.
//
// - `process_fn`: what it runs; not NULL.
// - `user_data`: handed to the function as it is; may be NULL. A forked process gets the copy that
//   it inherited.
//
// Returns: the process, or NULL.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL), or the errno of the system, such as EMFILE.
//
// Where: any thread, before the start of its server.
//
// Memory: the process belongs to the library: sw_server_free frees those that were added to the
// server, one that was never added lives as long as the program. `user_data` stays the caller's
// and must live as long as the server.
sw_process_t *sw_process_new(sw_process_fn_t process_fn, void *user_data);

// Has the server run a user process, from its start to its end. Its worker id is worker_num plus
// its number; sw_server_get_worker_pid knows it, sw_server_get_worker_id in it is -1.
//
// - `server`: the server.
// - `process`: what sw_process_new made; each can be added once.
//
// Returns: its number: 0 for the first, 1 for the next; -1 on an error.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, no process, or added before), SW_ERROR_WRONG_OPERATION
// (after start).
//
// Where: before start, any thread.
//
// Memory: the process is freed by sw_server_free.
int sw_server_add_process(sw_server_t *server, sw_process_t *process);

// The caller's end of the stream pipe between a user process and all others: one end inside of its
// function, the other one everywhere else. Every worker may write to it, so the program has to
// mark where messages end. What was not read survives the end of the process: its successor reads
// on.
//
// - `process`: the process.
//
// Returns: a descriptor of the system; -1 on an error. Reads and writes block, unless it is made
// non-blocking, as sw_event_add does, and then on this side for all processes.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, no process, or its server was freed).
//
// Where: any process, phase and thread.
//
// Memory: the descriptor belongs to the library and must not be closed.
int sw_process_socket(const sw_process_t *process);

// The process id of a user process, of its successor after a respawn; in SW_THREAD mode its thread
// id.
//
// - `process`: the process.
//
// Returns: the id; 0 before start and after the server has ended; -1 on an error.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, no process, or its server was freed).
//
// Where: any process, phase and thread.
pid_t sw_process_pid(const sw_process_t *process);

// Has the program take an event by sw_server_next_event, in the place of a callback. Events of
// ports that have a callback of their own stay with that.
//
// - `server`: the server.
// - `event`: the name in any case, as for sw_server_on.
//
// Returns: true if it will be given.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, or no such event), SW_ERROR_WRONG_OPERATION (after
// start).
//
// Where: before start, any thread.
//
// Memory: the name is copied.
bool sw_server_want(sw_server_t *server, const char *event);

// Starts the server and returns in each process that has events for the program: in every worker
// and task worker, in a user process that was made with sw_server_launch_process, and in master
// and manager if one of their events is wanted. Each then calls sw_server_next_event until nothing
// comes any more. Where no event is wanted, in the caller, it returns when the server has ended.
//
// A process is there when the function has returned; "workerStart" is the first event of a worker,
// if it is wanted. Callbacks that were registered are called as ever, by sw_server_next_event, on
// a stack of 8 MiB of the library's, so leave them to languages that look at no stack.
//
// - `server`: a server for which "receive" is wanted, or has a callback.
//
// Returns: the role of the process, SW_ROLE_ENDED or SW_ROLE_FAILED.
//
// Errors: as for sw_server_start, SW_ERROR_OPERATION_NOT_SUPPORT (SW_THREAD mode).
//
// Where: before start, from the only thread of the program.
//
// Memory: nothing changes hands. The stack belongs to the library. Processes that were forked must
// not free the server.
sw_role_t sw_server_launch(sw_server_t *server);

// Gives the next event, with the same contents and in the same order as the callbacks get them.
// The call is also what turns the loop of this process, so nothing else happens there as long as
// the program does not make it: what was sent leaves, timers fire, and signals are heard inside.
//
// The event before is done with this, see sw_server_event_done. A connection that the program has
// closed meanwhile is closed now, and its close event comes next.
//
// - `server`: the server.
// - `timeout`: seconds; below 0 waits for ever, 0 looks once.
// - `event`: is filled if the result is SW_NEXT_EVENT; not NULL.
//
// Returns: what has come.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL, or not a number),
// SW_ERROR_WRONG_OPERATION (not launched by this thread, has ended, inside a callback, or in a
// process that the program has forked). In the caller: what sw_server_start fails with.
//
// Where: in each process that has come out of sw_server_launch, in the thread that has called it.
//
// Memory: what the event points to is borrowed until this is called again, or until
// sw_server_event_done.
sw_next_t sw_server_next_event(sw_server_t *server, double timeout, sw_event_t *event);

// Releases the event that was given last: what it points to is not looked at any more. The next
// call of sw_server_next_event does the same.
//
// - `server`: the server.
//
// Returns: true if there was one.
//
// Errors: SW_ERROR_WRONG_OPERATION (none was given, or it is done already; or as for
// sw_server_next_event).
//
// Where: as for sw_server_next_event.
bool sw_server_event_done(sw_server_t *server);

// Tells what this process does.
//
// - `server`: the server.
//
// Returns: its role; SW_ROLE_MASTER also while nothing runs; SW_ROLE_FAILED if the server is none.
//
// Errors: SW_ERROR_INVALID_PARAMS (NULL).
//
// Where: in each process that has come out of sw_server_launch, in the thread that has called it.
sw_role_t sw_server_role(const sw_server_t *server);

// The function for sw_process_new with which a user process comes out of sw_server_launch, with
// SW_ROLE_USER_PROCESS. What the program does until it calls sw_server_next_event is what the
// function of the process would do; that call is its return.
//
// - `server`: the server.
// - `process`: the user process.
// - `user_data`: not looked at; may be NULL.
//
// Errors: none.
//
// Where: never called by a program, only given to sw_process_new.
//
// Memory: nothing changes hands.
void sw_server_launch_process(sw_server_t *server, sw_process_t *process, void *user_data);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SWOOLE_H */
