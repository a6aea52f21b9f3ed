//! The numbers of the library's own errors as C sees them, one for each row of the table in
//! `error.rs`.
//!
//! They stand here as literals, because the header is made from this text; `tests/header.rs` holds
//! the two tables against each other.

use std::ffi::c_int;

/// Memory could not be allocated or shared.
pub const SW_ERROR_MALLOC_FAIL: c_int = 501;
/// A system call failed.
pub const SW_ERROR_SYSTEM_CALL_FAIL: c_int = 502;
/// A fatal error of the embedding program.
pub const SW_ERROR_FATAL_ERROR: c_int = 503;
/// A host, path or file name is too long.
pub const SW_ERROR_NAME_TOO_LONG: c_int = 504;
/// An argument is out of range.
pub const SW_ERROR_INVALID_PARAMS: c_int = 505;
/// An internal queue is full.
pub const SW_ERROR_QUEUE_FULL: c_int = 506;
/// Not supported in this mode or process.
pub const SW_ERROR_OPERATION_NOT_SUPPORT: c_int = 507;
/// The peer sent malformed data.
pub const SW_ERROR_PROTOCOL_ERROR: c_int = 508;
/// Not allowed in this phase or process.
pub const SW_ERROR_WRONG_OPERATION: c_int = 509;
/// A notice, nothing failed.
pub const SW_ERROR_RUNTIME_NOTICE: c_int = 510;
/// Reserved for tests.
pub const SW_ERROR_FOR_TEST: c_int = 511;
/// There are no bytes to send.
pub const SW_ERROR_NO_PAYLOAD: c_int = 550;
/// The behaviour of this call is undefined.
pub const SW_ERROR_UNDEFINED_BEHAVIOR: c_int = 600;
/// The call is not safe between threads.
pub const SW_ERROR_NOT_THREAD_SAFETY: c_int = 601;
/// The file does not exist.
pub const SW_ERROR_FILE_NOT_EXIST: c_int = 700;
/// The file is too large.
pub const SW_ERROR_FILE_TOO_LARGE: c_int = 701;
/// The file is empty.
pub const SW_ERROR_FILE_EMPTY: c_int = 702;
/// The directory does not exist.
pub const SW_ERROR_DIR_NOT_EXIST: c_int = 703;
/// The same name is being looked up already.
pub const SW_ERROR_DNSLOOKUP_DUPLICATE_REQUEST: c_int = 710;
/// The name could not be resolved.
pub const SW_ERROR_DNSLOOKUP_RESOLVE_FAILED: c_int = 711;
/// Resolving the name took too long.
pub const SW_ERROR_DNSLOOKUP_RESOLVE_TIMEOUT: c_int = 712;
/// This kind of name look-up is not supported.
pub const SW_ERROR_DNSLOOKUP_UNSUPPORTED: c_int = 713;
/// No name server is known.
pub const SW_ERROR_DNSLOOKUP_NO_SERVER: c_int = 714;
/// Not an IPv6 address.
pub const SW_ERROR_BAD_IPV6_ADDRESS: c_int = 720;
/// A signal came that nobody waits for.
pub const SW_ERROR_UNREGISTERED_SIGNAL: c_int = 721;
/// Not a usable host address.
pub const SW_ERROR_BAD_HOST_ADDR: c_int = 722;
/// Not a port number.
pub const SW_ERROR_BAD_PORT: c_int = 723;
/// Not a socket type.
pub const SW_ERROR_BAD_SOCKET_TYPE: c_int = 724;
/// The descriptor could not be taken out of the event loop.
pub const SW_ERROR_EVENT_REMOVE_FAILED: c_int = 800;
/// The descriptor could not be added to the event loop.
pub const SW_ERROR_EVENT_ADD_FAILED: c_int = 801;
/// The descriptor could not be changed in the event loop.
pub const SW_ERROR_EVENT_UPDATE_FAILED: c_int = 802;
/// The event loop reported something unknown.
pub const SW_ERROR_EVENT_UNKNOWN_DATA: c_int = 803;
/// The server has closed this connection.
pub const SW_ERROR_SESSION_CLOSED_BY_SERVER: c_int = 1001;
/// The client has closed this connection.
pub const SW_ERROR_SESSION_CLOSED_BY_CLIENT: c_int = 1002;
/// This connection is being closed.
pub const SW_ERROR_SESSION_CLOSING: c_int = 1003;
/// This connection is closed.
pub const SW_ERROR_SESSION_CLOSED: c_int = 1004;
/// There is no such connection.
pub const SW_ERROR_SESSION_NOT_EXIST: c_int = 1005;
/// Not a connection id.
pub const SW_ERROR_SESSION_INVALID_ID: c_int = 1006;
/// Bytes of a closed connection were thrown away.
pub const SW_ERROR_SESSION_DISCARD_TIMEOUT_DATA: c_int = 1007;
/// The send buffer of the connection is full.
pub const SW_ERROR_OUTPUT_BUFFER_OVERFLOW: c_int = 1008;
/// Data for a dead connection was thrown away.
pub const SW_ERROR_SESSION_DISCARD_DATA: c_int = 1009;
/// The sender should wait and try again.
pub const SW_ERROR_OUTPUT_SEND_YIELD: c_int = 1010;
/// The TLS handshake is not finished.
pub const SW_ERROR_SSL_NOT_READY: c_int = 1011;
/// A file cannot be sent this way over TLS.
pub const SW_ERROR_SSL_CANNOT_USE_SENDFILE: c_int = 1012;
/// The peer gave no certificate.
pub const SW_ERROR_SSL_EMPTY_PEER_CERTIFICATE: c_int = 1013;
/// The certificate of the peer could not be verified.
pub const SW_ERROR_SSL_VERIFY_FAILED: c_int = 1014;
/// The client does not speak TLS properly.
pub const SW_ERROR_SSL_BAD_CLIENT: c_int = 1015;
/// No common TLS protocol.
pub const SW_ERROR_SSL_BAD_PROTOCOL: c_int = 1016;
/// The peer broke off the TLS connection.
pub const SW_ERROR_SSL_RESET: c_int = 1017;
/// The TLS handshake failed.
pub const SW_ERROR_SSL_HANDSHAKE_FAILED: c_int = 1018;
/// The TLS settings could not be used.
pub const SW_ERROR_SSL_CREATE_CONTEXT_FAILED: c_int = 1019;
/// A TLS session could not be made.
pub const SW_ERROR_SSL_CREATE_SESSION_FAILED: c_int = 1020;
/// A packet exceeds package_max_length.
pub const SW_ERROR_PACKAGE_LENGTH_TOO_LARGE: c_int = 1201;
/// The data exceeds the output buffer limit.
pub const SW_ERROR_DATA_LENGTH_TOO_LARGE: c_int = 1202;
/// The length of a packet was not found.
pub const SW_ERROR_PACKAGE_LENGTH_NOT_FOUND: c_int = 1203;
/// A packet is malformed.
pub const SW_ERROR_PACKAGE_MALFORMED_DATA: c_int = 1204;
/// The task is too big.
pub const SW_ERROR_TASK_PACKAGE_TOO_BIG: c_int = 2001;
/// No task could be handed over.
pub const SW_ERROR_TASK_DISPATCH_FAIL: c_int = 2002;
/// The task was not done in time.
pub const SW_ERROR_TASK_TIMEOUT: c_int = 2003;
/// A bad request for a file operation.
pub const SW_ERROR_AIO_BAD_REQUEST: c_int = 4001;
/// The file operation was cancelled.
pub const SW_ERROR_AIO_CANCELED: c_int = 4002;
/// The file operation took too long.
pub const SW_ERROR_AIO_TIMEOUT: c_int = 4003;
/// The client is not connected.
pub const SW_ERROR_CLIENT_NO_CONNECTION: c_int = 5001;
/// The socket is closed.
pub const SW_ERROR_SOCKET_CLOSED: c_int = 6001;
/// Waiting for the socket took too long.
pub const SW_ERROR_SOCKET_POLL_TIMEOUT: c_int = 6002;
/// There is no such socket.
pub const SW_ERROR_SOCKET_NOT_EXISTS: c_int = 6003;
/// The peer is not a WebSocket client.
pub const SW_ERROR_WEBSOCKET_BAD_CLIENT: c_int = 8501;
/// Not a WebSocket opcode.
pub const SW_ERROR_WEBSOCKET_BAD_OPCODE: c_int = 8502;
/// There is no WebSocket connection.
pub const SW_ERROR_WEBSOCKET_UNCONNECTED: c_int = 8503;
/// The WebSocket handshake failed.
pub const SW_ERROR_WEBSOCKET_HANDSHAKE_FAILED: c_int = 8504;
/// A WebSocket frame could not be made.
pub const SW_ERROR_WEBSOCKET_PACK_FAILED: c_int = 8505;
/// A WebSocket frame could not be read.
pub const SW_ERROR_WEBSOCKET_UNPACK_FAILED: c_int = 8506;
/// A WebSocket frame is not complete.
pub const SW_ERROR_WEBSOCKET_INCOMPLETE_PACKET: c_int = 8507;
/// The server must be made before the client.
pub const SW_ERROR_SERVER_MUST_CREATED_BEFORE_CLIENT: c_int = 9001;
/// Too many connections.
pub const SW_ERROR_SERVER_TOO_MANY_SOCKET: c_int = 9002;
/// The worker has ended.
pub const SW_ERROR_SERVER_WORKER_TERMINATED: c_int = 9003;
/// A port must be from 0 to 65535.
pub const SW_ERROR_SERVER_INVALID_LISTEN_PORT: c_int = 9004;
/// Too many listening ports.
pub const SW_ERROR_SERVER_TOO_MANY_LISTEN_PORT: c_int = 9005;
/// The buffer to another process is full.
pub const SW_ERROR_SERVER_PIPE_BUFFER_FULL: c_int = 9006;
/// No worker is idle, more workers are needed.
pub const SW_ERROR_SERVER_NO_IDLE_WORKER: c_int = 9007;
/// Another server runs in this process.
pub const SW_ERROR_SERVER_ONLY_START_ONE: c_int = 9008;
/// Not possible in the master process.
pub const SW_ERROR_SERVER_SEND_IN_MASTER: c_int = 9009;
/// Not a valid request.
pub const SW_ERROR_SERVER_INVALID_REQUEST: c_int = 9010;
/// The connection could not be made.
pub const SW_ERROR_SERVER_CONNECT_FAIL: c_int = 9011;
/// There is no such command.
pub const SW_ERROR_SERVER_INVALID_COMMAND: c_int = 9012;
/// Not a regular file.
pub const SW_ERROR_SERVER_IS_NOT_REGULAR_FILE: c_int = 9013;
/// The worker did not take the data in time.
pub const SW_ERROR_SERVER_SEND_TO_WORKER_TIMEOUT: c_int = 9014;
/// A needed callback is missing or one is not allowed here.
pub const SW_ERROR_SERVER_INVALID_CALLBACK: c_int = 9015;
/// Called from a thread that does not own the object.
pub const SW_ERROR_SERVER_UNRELATED_THREAD: c_int = 9016;
/// The exit took longer than max_wait_time and was forced.
pub const SW_ERROR_SERVER_WORKER_EXIT_TIMEOUT: c_int = 9101;
/// An internal message could not be understood.
pub const SW_ERROR_SERVER_WORKER_ABNORMAL_PIPE_DATA: c_int = 9102;
/// A worker ended with unhandled messages.
pub const SW_ERROR_SERVER_WORKER_UNPROCESSED_DATA: c_int = 9103;
