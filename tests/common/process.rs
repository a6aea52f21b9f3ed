//! What the system knows of the server under test: its processes, their ends, free ports.

use nix::sys::socket::{bind, setsockopt, socket, sockopt};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A process as `/proc` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    pub group: i32,
}

/// The live processes of a group. One that has ended and only waits for its parent is not live.
pub fn group_members(group: i32) -> io::Result<Vec<Process>> {
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        members.extend(live_process(pid).filter(|process| process.group == group));
    }
    members.sort_by_key(|process| process.pid);
    Ok(members)
}

/// The process with this pid, `None` if there is none or it has ended.
pub fn live_process(pid: i32) -> Option<Process> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold any character.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let is_live = !matches!(fields.next()?, "Z" | "X" | "x");
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    is_live.then_some(Process { pid, parent, group })
}

pub fn send_signal(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes numbers only.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Waits until a process has ended; false if it has not in time.
pub fn wait_gone(pid: i32, limit: Duration) -> io::Result<bool> {
    // SAFETY: pidfd_open takes numbers only.
    let number = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let Ok(number @ 0..) = i32::try_from(number) else {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ESRCH) { Ok(true) } else { Err(error) };
    };
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let pidfd = unsafe { OwnedFd::from_raw_fd(number) };
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let left_ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one valid entry is handed in, and its length is 1.
        match unsafe { libc::poll(&mut poll, 1, left_ms) } {
            0 => return Ok(false),
            1.. => return Ok(true),
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => return Err(io::Error::last_os_error()),
        }
    }
}

/// The descriptors that are open in this process, but for the one that reads the list.
pub fn open_descriptors() -> io::Result<Vec<i32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    // SAFETY: F_GETFD takes no argument.
    numbers.retain(|number| unsafe { libc::fcntl(*number, libc::F_GETFD) } != -1);
    Ok(numbers)
}

/// A TCP port of 127.0.0.1 that no other test takes until this is dropped.
pub struct Port {
    pub number: u16,
    _claim: UnixListener,
}

/// Below the range from which the system picks the ports of clients.
const FIRST_PORT: u32 = 12_000;
const PORTS: u32 = 16_000;

impl Port {
    pub fn reserve() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        for _ in 0..PORTS {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = FIRST_PORT + (std::process::id().wrapping_mul(37) + step) % PORTS;
            let Ok(number) = u16::try_from(number) else { continue };
            if let Some(claim) = claim(number)? {
                return Ok(Self { number, _claim: claim });
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no port is free"))
    }

    /// True if a server can listen there now.
    pub fn is_free(&self) -> bool {
        is_bindable(self.number)
    }
}

/// Whether nobody listens on this port. Nothing listens here either, not for a moment: a process
/// that another thread forks meanwhile has a copy of the socket until it begins its program, and
/// whoever looks next would find the port taken. One that is only bound is in nobody's way.
fn is_bindable(number: u16) -> bool {
    let stream = SockType::Stream;
    let made = socket(AddressFamily::Inet, stream, SockFlag::SOCK_CLOEXEC, None);
    let looked = made.and_then(|socket| {
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, number))
    });
    looked.is_ok()
}

/// Claims a port among tests by a socket name, which vanishes with the process, and looks whether
/// anybody else has it.
fn claim(number: u16) -> io::Result<Option<UnixListener>> {
    let name = SocketAddr::from_abstract_name(format!("swoole-test-port-{number}"))?;
    let claimed = UnixListener::bind_addr(&name).ok();
    Ok(claimed.filter(|_| is_bindable(number)))
}

/// The names in the folders where a server could leave something, that could be one of ours.
pub fn traces() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["/dev/shm", "/tmp", "/dev/mqueue"] {
        let entries = fs::read_dir(Path::new(folder)).into_iter().flatten().flatten();
        let ours = entries.map(|entry| entry.path().to_string_lossy().into_owned());
        names.extend(ours.filter(|path| path.contains("swoole")));
    }
    names
}
