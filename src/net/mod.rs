//! Sockets of a server: listeners, connected streams, input and output that waits.

pub mod file_part;
pub mod in_buffer;
pub mod listener;
pub mod options;
pub mod out_buffer;
pub mod pool;
pub mod stream;
pub mod tls;
