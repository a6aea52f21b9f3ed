//! How a server under test tells its client side what happened: lines through a pipe that all of
//! its processes inherit.

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, RawFd};

pub const REPORT_VARIABLE: &str = "SW_TEST_REPORT";

/// Reports one fact, as `println!` would print it. One write: lines of two processes never mix.
#[macro_export]
macro_rules! report {
    ($($argument:tt)*) => { $crate::common::report_line(&format!($($argument)*)) };
}

pub fn report_line(text: &str) {
    let number: Option<RawFd> =
        std::env::var(REPORT_VARIABLE).ok().and_then(|number| number.parse().ok());
    let line = format!("{}\n", text.replace('\n', "\\n"));
    assert!(line.len() <= libc::PIPE_BUF, "a report must fit one write: {text}");
    let Some(number) = number else {
        eprint!("{line}");
        return;
    };
    // SAFETY: the descriptor was inherited for this purpose and is never closed by this process,
    // which is why the file is not dropped.
    let mut pipe = ManuallyDrop::new(unsafe { File::from_raw_fd(number) });
    if let Err(error) = pipe.write_all(line.as_bytes()) {
        eprintln!("cannot report '{text}': {error}");
    }
}
