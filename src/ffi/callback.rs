//! Where the library calls the program. A callback that does not return but unwinds, by an
//! exception of C++ or a panic of Rust, has left its work half done, and the frames of the library
//! below it were not written for that: its process ends at once.

use crate::os::process;

/// What a process ends with in which a callback did not return.
const FAILED: i32 = 255;

/// Stands below a callback. It is forgotten when the callback returns, and dropped when it unwinds.
struct Border {
    name: &'static str,
}

impl Drop for Border {
    #[cold]
    fn drop(&mut self) {
        log::error!(
            "the {} callback was left by an exception or a panic, the process ends with {FAILED}",
            self.name
        );
        process::exit_at_once(FAILED);
    }
}

/// Calls the program; `name` is how the log calls the callback.
#[inline]
pub fn enter<R>(name: &'static str, call: impl FnOnce() -> R) -> R {
    let border = Border { name };
    let result = call();
    std::mem::forget(border);
    result
}
