//! Files of unix sockets: made with the port, removed at the end by whom they belong to.

use crate::common::prelude::*;
use crate::ports::{add, ask_peer, reach};
use crate::puppet::{self, obey};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A folder that is removed with this.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("sw-{name}-{}", std::process::id()));
        fs::create_dir(&path).map(|()| Self(path))
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

fn path() -> String {
    std::env::temp_dir().join("own.sock").display().to_string()
}

pub fn at_a_path(setup: &Setup) -> Outcome {
    let server = puppet::prepare(setup, &[], obey)?;
    add(*server, &path(), 0, SW_SOCK_UNIX_STREAM)?;
    // A process that was forked from this one takes nothing away.
    // SAFETY: the child makes calls of the library and ends at once.
    match unsafe { libc::fork() } {
        0 => {
            drop(server);
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) }
        }
        // SAFETY: takes the end of our own child.
        child => unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) },
    };
    server.start()?;
    report!("gone {}", !Path::new(&path()).exists());
    Ok(())
}

pub fn the_file_of_a_unix_socket_goes_at_the_end(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    let path = server.temporary().join("own.sock").display().to_string();
    assert_eq!(ask_peer(&mut *reach(&path, 0)?, "hello\n")?, "hello");
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    server.wait_line(|line| line == "gone true", STEP)?;
    Ok(())
}

pub fn at_a_lost_path(setup: &Setup) -> Outcome {
    let server = puppet::prepare(setup, &[], obey)?;
    add(*server, &path(), 0, SW_SOCK_UNIX_STREAM)?;
    server.start()?;
    report!("there {}", Path::new(&path()).exists());
    fs::remove_file(path())?;
    Ok(())
}

/// The file was removed, and another server listens at its path.
pub fn a_file_that_is_somebody_elses_stays(server: &Running) -> Outcome {
    server.connect()?.echo(b"hello")?;
    let path = server.temporary().join("own.sock");
    fs::remove_file(&path)?;
    let other = UnixListener::bind(&path)?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    server.wait_line(|line| line == "there true", STEP)?;
    drop(other);
    Ok(())
}

/// Somebody else listens at the second port when the server starts.
pub fn at_a_path_and_a_taken_port(setup: &Setup) -> Outcome {
    let server = Server::new(&path(), 0, setup.mode.number(), SW_SOCK_UNIX_STREAM)?;
    let second = add(*server, "127.0.0.1", i32::from(setup.port), SW_SOCK_TCP)?;
    server.on("receive", obey)?;
    report!("made {} {}", Path::new(&path()).exists(), second.number());
    // Two sockets may be bound to an address as long as none of them listens.
    let other = std::net::TcpListener::bind(("127.0.0.1", setup.port))?;
    report!("refused {}", server.start().err().map_or(0, |error| error.code));
    report!("left {}", Path::new(&path()).exists());
    drop(other);
    Ok(())
}

pub fn a_start_that_fails_leaves_no_file(server: &Running) -> Outcome {
    server.wait_line(|line| line == format!("made true {}", server.port()), STEP)?;
    server.wait_line(|line| line == format!("refused {}", libc::EADDRINUSE), STEP)?;
    server.wait_line(|line| line == "left false", STEP)?;
    assert!(server.wait_exit(STEP)?.success());
    Ok(())
}

pub fn a_path_that_exists_is_taken() -> Outcome {
    let folder = Folder::new("taken")?;
    for kind in [SW_SOCK_UNIX_STREAM, SW_SOCK_UNIX_DGRAM] {
        for name in ["file", "socket"] {
            let path = folder.file(name);
            // A stale socket is none of ours, either.
            let stale = (name == "socket").then(|| UnixListener::bind(&path)).transpose()?;
            drop(stale);
            if name == "file" {
                fs::write(&path, "text")?;
            }
            let inode = fs::symlink_metadata(&path)?.ino();
            let refused = Server::new(&path, 0, SW_BASE, kind).err().map(|error| error.code);
            assert_eq!(refused, Some(libc::EADDRINUSE));
            let server = Server::new("127.0.0.1", 0, SW_BASE, SW_SOCK_TCP)?;
            let refused = add(*server, &path, 0, kind).err().map(|error| error.code);
            assert_eq!(refused, Some(libc::EADDRINUSE));
            drop(server);
            assert_eq!(fs::symlink_metadata(&path)?.ino(), inode);
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

pub fn the_file_of_a_server_that_never_ran_goes_with_it() -> Outcome {
    let folder = Folder::new("never")?;
    let (one, two) = (folder.file("one"), folder.file("two"));
    let server = Server::new(&one, 0, SW_PROCESS, SW_SOCK_UNIX_STREAM)?;
    add(*server, &two, 0, SW_SOCK_UNIX_DGRAM)?;
    assert!(Path::new(&one).exists() && Path::new(&two).exists());
    // Without a callback it does not start, and may be started later.
    assert!(server.start().is_err());
    assert!(Path::new(&one).exists() && Path::new(&two).exists());
    // The address is taken, also for ports of the same server.
    let again = add(*server, &one, 0, SW_SOCK_UNIX_STREAM);
    assert_eq!(again.map_err(|error| error.code), Err(libc::EADDRINUSE));
    drop(server);
    assert_eq!(fs::read_dir(&folder.0)?.count(), 0);
    Ok(())
}

pub fn the_file_has_the_permissions_that_the_umask_leaves() -> Outcome {
    let folder = Folder::new("umask")?;
    let path = folder.file("socket");
    let server = Server::new(&path, 0, SW_BASE, SW_SOCK_UNIX_STREAM)?;
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Umask:")).ok_or("no umask")?;
    let umask = u32::from_str_radix(line.trim(), 8)?;
    assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o777 & !umask);
    drop(server);
    Ok(())
}
