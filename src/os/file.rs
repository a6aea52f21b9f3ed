//! Files that several processes write to, line by line, files that are replaced as a whole, and
//! files that whoever made them removes.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::retried;

/// Opens a file whose every write goes to its end, made if it is missing, readable and writable for
/// whom the umask allows.
pub fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o666).open(path)
}

/// The path as it will be after the working directory has changed; as it is if there is none.
pub fn absolute(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    env::current_dir().map_or_else(|_| path.into(), |folder| folder.join(path))
}

/// A file that was made here, and by its path and number is told from any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OwnFile {
    /// Notes the file that was just made at this path.
    pub fn note(path: &str) -> io::Result<Self> {
        let path = absolute(path);
        let found = fs::symlink_metadata(&path)?;
        Ok(Self { path, device: found.dev(), inode: found.ino() })
    }

    /// Removes it. What somebody else has put at its path meanwhile stays there.
    pub fn remove(&self) -> io::Result<()> {
        let found = fs::symlink_metadata(&self.path)?;
        match (found.dev(), found.ino()) == (self.device, self.inode) {
            true => fs::remove_file(&self.path),
            false => Err(io::Error::other("another file has its name")),
        }
    }
}

/// Opens a regular file for reading; its size, too. `InvalidInput`: it is another kind of thing.
/// Something that would block when it is opened, such as a pipe, does not.
pub fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let facts = file.metadata()?;
    match facts.is_file() {
        true => Ok((file, facts.len())),
        false => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

/// One write call, without any buffer; returns how many bytes were taken. Lines written whole in
/// this way do not mix with those of other processes.
pub fn write_once(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the bytes outlive the call and have this length.
    let size = retried(|| unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })?;
    Ok(size.unsigned_abs())
}

/// Has standard output and error go to this file, or to nowhere.
pub fn replace_standard_output(file: Option<&File>) -> io::Result<()> {
    let nowhere = OpenOptions::new().write(true).open("/dev/null")?;
    let target = file.unwrap_or(&nowhere).as_raw_fd();
    for standard in [libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: plain system call; whoever writes to the standard outputs knows their numbers.
        retried(|| unsafe { libc::dup2(target, standard) })?;
    }
    Ok(())
}

/// Writes a file anew such that whoever reads it finds the old text or the new one, whole.
pub fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let draft = Path::new(&name);
    // One that a killed process has left. Made anew, it cannot be a link to somewhere else.
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o666).open(draft)?;
    let written = file.write_all(text).and_then(|()| fs::rename(draft, path));
    written.or_else(|error| fs::remove_file(draft).and(Err(error)))
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
    fn a_file_is_replaced_and_no_draft_stays() {
        let folder = std::env::temp_dir().join(format!("sw-replace-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let (path, other) = (folder.join("file"), folder.join("other"));
        fs::write(&other, "other").unwrap();
        std::os::unix::fs::symlink(&other, folder.join("file.tmp")).unwrap();
        replace(&path, b"one").unwrap();
        let first = File::open(&path).unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(io::read_to_string(first).unwrap(), "one");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_to_string(&other).unwrap(), "other", "a link was followed");
        fs::create_dir(folder.join("dir")).unwrap();
        assert!(replace(&folder.join("dir"), b"three").is_err());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_is_removed_by_whom_it_belongs_to_and_nobody_else() {
        let path = std::env::temp_dir().join(format!("sw-own-{}", std::process::id()));
        let name = path.to_str().unwrap();
        let open = fs::write(&path, "one").and_then(|()| File::open(&path)).unwrap();
        let first = OwnFile::note(name).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(first.remove().unwrap_err().kind(), io::ErrorKind::NotFound);
        // The number of the first one is taken as long as it is open.
        fs::write(&path, "two").unwrap();
        assert!(first.remove().is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        drop(open);
        OwnFile::note(name).unwrap().remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn only_regular_files_are_opened_as_such() {
        let path = std::env::temp_dir().join(format!("sw-regular-{}", std::process::id()));
        fs::write(&path, "three").unwrap();
        assert_eq!(open_regular(&path).unwrap().1, 5);
        fs::remove_file(&path).unwrap();
        assert_eq!(open_regular(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        for other in ["/tmp", "/dev/null"] {
            let error = open_regular(Path::new(other)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{other}");
        }
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        assert!(replace(Path::new("/nowhere/at/all"), b"").is_err());
        let error = open_append(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
