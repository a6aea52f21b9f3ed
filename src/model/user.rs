//! A user process: a function of the program that runs beside the workers for as long as the server
//! does, and the pipe to it.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::os::socket;

/// What the system is asked to keep in each direction of a pipe; it may allow less.
const PIPE_BYTES: i32 = 8 << 20;

/// The function of the program.
pub type UserHook = Arc<dyn Fn() + Send + Sync>;

/// One user process.
#[derive(Clone)]
pub struct UserProcess {
    /// What runs in it.
    pub hook: UserHook,
    /// The way to it.
    pub pipe: Arc<Pipe>,
}

/// A stream between a user process and all others. Every process holds both ends, so that nothing
/// is lost with a process that ends: its successor reads on.
#[derive(Debug)]
pub struct Pipe {
    inner: OwnedFd,
    outer: OwnedFd,
}

impl Pipe {
    /// Makes both ends; they block.
    pub fn new() -> Result<Self> {
        let (inner, outer) =
            socket::pair().map_err(|error| Error::system("make the pipe of a process", &error))?;
        for end in [&inner, &outer] {
            if let Err(error) = socket::set_send_buffer(end.as_raw_fd(), PIPE_BYTES) {
                log::debug!("the buffer of a pipe stays as it is: {error}");
            }
        }
        Ok(Self { inner, outer })
    }

    /// The end inside of the user process.
    pub fn inner(&self) -> RawFd {
        self.inner.as_raw_fd()
    }

    /// The end of everybody else.
    pub fn outer(&self) -> RawFd {
        self.outer.as_raw_fd()
    }

    /// The user process begins, again: its end blocks, whatever its predecessor has made of it.
    pub fn begin_life(&self) {
        if let Err(error) = socket::set_blocking(self.inner()) {
            log::warn!("the pipe of the process may not block: {error}");
        }
    }

    /// Whoever reads inside comes to the end, and whoever writes there fails.
    pub fn end(&self) {
        if let Err(error) = socket::shutdown(self.outer()) {
            log::debug!("the pipe had ended before: {error}");
        }
    }
}
