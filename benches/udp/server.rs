//! The servers: built from C next to the bench itself, each started as a process group of its own.

use std::env;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{kill, killpg, Signal};
use nix::unistd::Pid;

use crate::cores::{self, Cores};
use crate::process;

const START_LIMIT: Duration = Duration::from_secs(10);
const END_LIMIT: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// The name under which a program asks for the library when it starts.
const LOADED_NAME: &str = concat!("libswoole.so.", env!("CARGO_PKG_VERSION_MAJOR"));

/// What is compared; the first one is what the others are measured by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Raw,
    Base,
    Process,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Raw, Self::Base, Self::Process];

    pub fn title(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Base => "swoole base",
            Self::Process => "swoole process",
        }
    }

    /// Its command line but for the port, which comes last.
    fn command(self) -> io::Result<Command> {
        let swoole = |mode: &str| {
            let mut command = Command::new(build_with_library()?);
            command.arg(mode);
            Ok(command)
        };
        match self {
            Self::Raw => Ok(Command::new(compile("raw_udp", &[])?)),
            Self::Base => swoole("base"),
            Self::Process => swoole("process"),
        }
    }
}

/// A server that answers. Dropping it ends every process of its group.
pub struct Running {
    kind: Kind,
    child: Child,
    port: u16,
}

impl Running {
    pub fn start(kind: Kind, cores: Cores) -> io::Result<Self> {
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut server = kind.command()?;
        // cargo names its folders here, where an older library may lie; it would come first.
        server.arg(port.to_string()).env_remove("LD_LIBRARY_PATH");
        server.process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: between fork and exec the child makes one system call, which needs no lock and no
        // memory of the parent.
        unsafe { server.pre_exec(|| Ok(set_pdeathsig(Signal::SIGTERM)?)) };
        cores::move_to(cores.server)?;
        let child = server.spawn();
        cores::move_to(cores.load)?;
        let running = Self { kind, child: child?, port };
        running.wait_until_it_answers()?;
        Ok(running)
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port)
    }

    /// All processes of the server that live now.
    pub fn pids(&self) -> io::Result<Vec<i32>> {
        process::members(self.group().as_raw())
    }

    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    fn wait_until_it_answers(&self) -> io::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            // A new one each time: what was sent too early is answered late.
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect(self.address())?;
            socket.set_read_timeout(Some(10 * LOOK_AGAIN))?;
            let asked = socket.send(b"ready?").and_then(|_| socket.recv(&mut [0; 16]));
            if asked.is_ok_and(|count| count == 6) {
                return Ok(());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Err(io::Error::other(format!("{} does not answer", self.kind.title())))
    }

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
            std::thread::sleep(LOOK_AGAIN);
        }
        self.child.wait().map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("a server could not be ended: {error}");
        }
    }
}

/// The library stands beside the bench, where cargo has built both.
fn build_with_library() -> io::Result<PathBuf> {
    let own = executable_directory()?;
    let above = own.parent().map(Path::to_path_buf);
    let mut places = [Some(own), above].into_iter().flatten();
    let library = places.find(|place| place.join("libswoole.so").exists());
    let library = library.ok_or_else(|| io::Error::other("libswoole.so is not built"))?;
    let installed = directory()?.join(LOADED_NAME);
    // Another server may run from the old one, which must stay as it is.
    let copied = installed.with_extension("new");
    fs::copy(library.join("libswoole.so"), &copied)?;
    fs::rename(copied, &installed)?;
    let flags = [
        format!("-I{}", source_directory().join("include").display()),
        format!("-Wl,-rpath,{}", directory()?.display()),
        installed.display().to_string(),
    ];
    compile("swoole_udp", &flags)
}

fn compile(name: &str, flags: &[String]) -> io::Result<PathBuf> {
    let program = directory()?.join(name);
    let source = source_directory().join("benches/servers").join(format!("{name}.c"));
    let made = program.with_extension("new");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-o"]).arg(&made).arg(source);
    let output = compiler.args(flags).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    fs::rename(made, &program)?;
    Ok(program)
}

fn directory() -> io::Result<PathBuf> {
    let directory = executable_directory()?.join("udp-servers");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

fn source_directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn executable_directory() -> io::Result<PathBuf> {
    let executable = env::current_exe()?;
    let folder = executable.parent().map(Path::to_path_buf);
    folder.ok_or_else(|| io::Error::other("the bench stands in no directory"))
}
