//! A part of a file on its way to a peer.
//!
//! The file is opened when its turn comes, so that files that wait cost no descriptors, and is
//! written without a copy through this process, unless it has to be encrypted. What has become of
//! it until then is not known before: one that is gone or has shrunk breaks the connection, since
//! the peer was promised the bytes that would follow, and nothing else may stand in their place.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::net::stream::{Moved, Stream, NO_DESCRIPTOR};
use crate::os::file;

/// The `errno` of a connection to which a file was promised that has shrunk.
const SHRUNK: i32 = libc::EIO;
/// Bytes before the path, in a message.
const HEAD_BYTES: usize = 16;

/// Why nothing of a file can be sent.
#[derive(Debug)]
pub enum Unsendable {
    /// It is a folder, a device, a pipe.
    NotRegular,
    /// No file has so long a path.
    PathTooLong,
    /// The system says no.
    System(io::Error),
}

/// The size of a file of which parts can be sent.
pub fn size_of(path: &Path) -> Result<u64, Unsendable> {
    file::open_regular(path).map(|(_, size)| size).map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => Unsendable::NotRegular,
        Some(libc::ENAMETOOLONG) => Unsendable::PathTooLong,
        _ => Unsendable::System(error),
    })
}

/// A part of a file.
#[derive(Debug)]
pub struct FilePart {
    path: PathBuf,
    offset: u64,
    left: u64,
    file: Option<File>,
}

impl FilePart {
    /// The bytes from `offset` on, `length` of them, at least one; `None` if no file is so long.
    pub fn new(path: &Path, offset: u64, length: u64) -> Option<Self> {
        let end = offset.checked_add(length)?;
        (length > 0 && i64::try_from(end).is_ok()).then(|| Self {
            path: path.to_owned(),
            offset,
            left: length,
            file: None,
        })
    }

    /// Bytes that were not written yet.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The part as it travels in a message.
    pub fn encode(&self) -> Vec<u8> {
        let path = self.path.as_os_str().as_bytes();
        [&self.offset.to_ne_bytes(), &self.left.to_ne_bytes(), path].concat()
    }

    /// The part that a message holds; `None` if it holds none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, path) = (bytes.get(..HEAD_BYTES)?, bytes.get(HEAD_BYTES..)?);
        let (offset, length) = head.split_at(HEAD_BYTES / 2);
        let offset = u64::from_ne_bytes(offset.try_into().ok()?);
        Self::new(Path::new(OsStr::from_bytes(path)), offset, {
            u64::from_ne_bytes(length.try_into().ok()?)
        })
    }

    /// Writes at most `most` bytes, as far as the socket takes them.
    pub fn write_to(&mut self, stream: &mut Stream, most: usize) -> Moved {
        let file = match self.file.take().map_or_else(|| self.open(), Ok) {
            Ok(file) => file,
            Err(errno) => return Moved::Broken(errno),
        };
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(most);
        let moved = stream.write_file(&file, self.offset, count);
        self.file = Some(file);
        match moved {
            Moved::Bytes(count) => {
                self.offset += count as u64;
                self.left -= count as u64;
                moved
            }
            Moved::End => {
                let (path, offset) = (self.path.display(), self.offset);
                crate::warn_limited!(
                    "{path} ends at byte {offset}, the connection to which more was promised is \
                     closed"
                );
                Moved::Broken(SHRUNK)
            }
            Moved::WouldBlock | Moved::Broken(_) => moved,
        }
    }

    fn open(&self) -> Result<File, i32> {
        match file::open_regular(&self.path) {
            Ok((file, _)) => Ok(file),
            Err(error) => {
                let (path, errno) = (self.path.display(), error.raw_os_error());
                match errno.is_some_and(|errno| NO_DESCRIPTOR.contains(&errno)) {
                    true => crate::warn_limited!("{path} is not sent yet: {error}"),
                    false => crate::warn_limited!(
                        "{path} cannot be sent, the connection that waits for it is closed: {error}"
                    ),
                }
                Err(errno.unwrap_or(libc::EIO))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_comes_back_from_its_message_and_other_bytes_are_none() {
        let part = FilePart::new(Path::new("/a/b"), 7, 9).unwrap();
        let back = FilePart::decode(&part.encode()).unwrap();
        assert_eq!((back.path.as_path(), back.offset, back.left), (Path::new("/a/b"), 7, 9));
        let wrong: [Vec<u8>; 4] = [vec![], vec![1; 15], vec![0; 20], vec![0xff; 20]];
        assert!(wrong.iter().all(|bytes| FilePart::decode(bytes).is_none()));
    }
}
