//! Files that several processes write to, line by line.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::retried;

/// Opens a file whose every write goes to its end, made if it is missing, readable and writable for
/// whom the umask allows.
pub fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o666).open(path)
}

/// One write call, without any buffer; returns how many bytes were taken. Lines written whole in
/// this way do not mix with those of other processes.
pub fn write_once(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the bytes outlive the call and have this length.
    let size = retried(|| unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })?;
    Ok(size.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_handles_append_and_do_not_overwrite_each_other() {
        let path = std::env::temp_dir().join(format!("sw-append-{}", std::process::id()));
        let (one, two) = (open_append(&path).unwrap(), open_append(&path).unwrap());
        assert_eq!(write_once(&one, b"a\n").unwrap(), 2);
        assert_eq!(write_once(&two, b"b\n").unwrap(), 2);
        assert_eq!(write_once(&one, b"c\n").unwrap(), 2);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text, "a\nb\nc\n");
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let error = open_append(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
