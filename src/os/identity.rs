//! As whom a process runs: user, groups, and what it sees as the root of the file system.
//!
//! Names are looked up before the root changes: the system's lists are outside of the new one.

use std::ffi::CString;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{self, Gid, Group, Uid};

use super::process;

/// A user of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    pub id: u32,
    /// The group that it has by itself.
    pub group: u32,
}

/// Whether this process may become anybody.
pub fn is_privileged() -> bool {
    unistd::geteuid().is_root()
}

/// The user of this name; `None` if there is none.
pub fn find_user(name: &str) -> io::Result<Option<User>> {
    let found = unistd::User::from_name(name)?;
    Ok(found.map(|user| User { id: user.uid.as_raw(), group: user.gid.as_raw() }))
}

/// The group of this name; `None` if there is none.
pub fn find_group(name: &str) -> io::Result<Option<u32>> {
    Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
}

/// `group` and all others that the user of this name belongs to.
pub fn groups_of(user: &str, group: u32) -> io::Result<Vec<u32>> {
    let name = CString::new(user).map_err(|_| Errno::EINVAL)?;
    let groups = unistd::getgrouplist(&name, Gid::from_raw(group))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

/// Makes this folder the root of the file system, for the whole process, and goes there.
pub fn change_root(path: &Path) -> io::Result<()> {
    process::keep_counting_threads()?;
    unistd::chroot(path)?;
    Ok(unistd::chdir("/")?)
}

/// Becomes a member of `group`, and of `groups` beside.
pub fn set_groups(group: u32, groups: &[u32]) -> io::Result<()> {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    unistd::setgid(Gid::from_raw(group))?;
    Ok(unistd::setgroups(&groups)?)
}

/// Becomes this user, for ever. The kernel forgets an order to end with the parent.
pub fn set_user(user: u32) -> io::Result<()> {
    Ok(unistd::setuid(Uid::from_raw(user))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_and_nonsense_is_not() {
        assert_eq!(find_user("root").unwrap(), Some(User { id: 0, group: 0 }));
        assert_eq!(find_group("root").unwrap(), Some(0));
        assert_eq!(find_user("no such user").unwrap(), None);
        assert_eq!(find_group("no such group").unwrap(), None);
        assert!(groups_of("root", 0).unwrap().contains(&0));
        assert!(groups_of("a\0b", 0).is_err());
    }
}
