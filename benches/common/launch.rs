//! Starts one server as a process group of its own on its own core, and ends that group. Should the
//! bench itself be killed, the server is told to end.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{kill, killpg, Signal};
use nix::sys::wait::{waitid, Id, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;

use super::binaries;
use super::cores::{self, Cores};
use super::process;

const START_LIMIT: Duration = Duration::from_secs(10);
const END_LIMIT: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A server that is ready. Dropping it ends every process of its group.
pub struct Running {
    child: Child,
    port: u16,
}

impl Running {
    /// Starts `command` with a free port as its last argument and waits until it takes connections.
    pub fn start(command: &[impl AsRef<OsStr>], cores: Cores) -> io::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        Self::start_at(port, command, cores, |address| TcpStream::connect(address).is_ok())
    }

    /// The same at this port, until it is ready.
    pub fn start_at(
        port: u16,
        command: &[impl AsRef<OsStr>],
        cores: Cores,
        is_ready: impl Fn(SocketAddrV4) -> bool,
    ) -> io::Result<Self> {
        let (program, arguments) =
            command.split_first().ok_or_else(|| io::Error::other("an empty command"))?;
        let output = binaries::directory()?.join(format!("output-{port}"));
        let mut server = Command::new(program);
        server.args(arguments).arg(port.to_string()).process_group(0);
        // cargo names its folders here, where an older library may lie; it would come first.
        server.env_remove("LD_LIBRARY_PATH");
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&output)?);
        // SAFETY: between fork and exec the child makes one system call, which needs no lock and no
        // memory of the parent.
        unsafe { server.pre_exec(|| Ok(set_pdeathsig(Signal::SIGTERM)?)) };
        cores::move_to(cores.server)?;
        let child = server.spawn();
        cores::move_to(cores.load)?;
        let mut running = Self { child: child?, port };
        let outcome = running.wait_until(is_ready).map_err(|error| with_words(&error, &output));
        fs::remove_file(&output)?;
        outcome.map(|()| running)
    }

    pub fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port)
    }

    /// All processes of the server that live now.
    pub fn pids(&self) -> io::Result<Vec<i32>> {
        process::members(self.group().as_raw())
    }

    /// Asks the leader to end, as an administrator would, and waits until all of the group have
    /// followed; what is left of it after a while is killed, and the leader is reaped.
    fn end(&mut self) -> io::Result<()> {
        kill(self.group(), Signal::SIGTERM)?;
        let deadline = Instant::now() + END_LIMIT;
        while !self.pids()?.is_empty() {
            if Instant::now() > deadline {
                eprintln!("a server did not end when asked to and is killed");
                // The leader is not reaped yet, so the group's number cannot be somebody else's.
                killpg(self.group(), Signal::SIGKILL)?;
                break;
            }
            thread::sleep(LOOK_AGAIN);
        }
        self.child.wait().map(drop)
    }

    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    fn is_alive(&self) -> io::Result<bool> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        Ok(waitid(Id::Pid(self.group()), flags)? == WaitStatus::StillAlive)
    }

    fn wait_until(&mut self, is_ready: impl Fn(SocketAddrV4) -> bool) -> io::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !is_ready(self.address()) {
            if !self.is_alive()? {
                return Err(io::Error::other("the server has ended"));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("the server does not answer"));
            }
            thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("a server could not be ended: {error}");
        }
    }
}

/// The error together with the last line that the server itself has said about it.
fn with_words(error: &io::Error, output: &Path) -> io::Error {
    let words = fs::read(PathBuf::from(output)).unwrap_or_default();
    match String::from_utf8_lossy(&words).lines().last() {
        Some(line) => io::Error::other(format!("{error}: {line}")),
        None => io::Error::other(error.to_string()),
    }
}
