//! A small disk for the files of tasks: what is large finds it full, again and again.

use crate::common::prelude::*;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Enough for a few large tasks, too little for a huge one.
const ROOM: &str = "size=256k";
/// Whether a process may mount something here, which only it and its children see.
pub const NONE: &str = "no small disk";

fn checked(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Mounts it at this folder, which nobody outside sees; it goes with the last of these processes.
fn mount(folder: &Path) -> io::Result<()> {
    let (folder, room) = (CString::new(folder.as_os_str().as_bytes())?, CString::new(ROOM)?);
    let (root, none) = (b"/\0".as_ptr().cast(), std::ptr::null());
    let kind = b"tmpfs\0".as_ptr().cast();
    // SAFETY: takes numbers only.
    checked(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    let alone = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: the names live through the call; the other pointers may be null.
    checked(unsafe { libc::mount(none, root, none, alone, std::ptr::null()) })?;
    // SAFETY: all names live through the call.
    checked(unsafe { libc::mount(kind, folder.as_ptr(), kind, 0, room.as_ptr().cast()) })
}

/// Runs a server whose large tasks go through files there. Nothing stays there.
pub fn on_a_small_disk(setup: &Setup) -> Outcome {
    let folder = std::env::temp_dir().join("tasks");
    fs::create_dir(&folder)?;
    if let Err(error) = mount(&folder) {
        fs::remove_dir(&folder)?;
        report!("{NONE}: {error}");
        return Ok(());
    }
    report!("a small disk");
    let path = folder.to_string_lossy();
    crate::server::run(setup, &[("task_ipc_mode", "2"), ("task_tmpdir", &path)])?;
    let left = fs::read_dir(&folder)?.count();
    assert_eq!(left, 0, "files of tasks are left");
    let path = CString::new(folder.as_os_str().as_bytes())?;
    // SAFETY: the path lives through the call.
    checked(unsafe { libc::umount2(path.as_ptr(), 0) })?;
    Ok(fs::remove_dir(&folder)?)
}
