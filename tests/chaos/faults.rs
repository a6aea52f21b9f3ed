//! System calls that fail, as `strace` makes them: now and then one of a kind, in every process and
//! thread of the server.
//!
//! Only what a system does is made up. A socket that is watched for edges and has something to read
//! never says that it has nothing, so reading is interrupted and not put off; and who wakes others
//! by a futex is never interrupted, which cannot be told here from who waits.

use crate::common::prelude::*;
use crate::common::process::{self, send_signal};
use crate::injector::{Dice, Fallible, Role, Trouble};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What fails, with what, and whether a worker is killed meanwhile, so that another one is started.
struct Fault {
    calls: &'static str,
    error: &'static str,
    kills: bool,
}

const fn fault(calls: &'static str, error: &'static str) -> Fault {
    Fault { calls, error, kills: false }
}

const WRITES: &str = "sendto,sendmsg,writev";
const STARTS: &str = "clone,clone3,fork,vfork";

const FAULTS: &[Fault] = &[
    fault("recvfrom,recvmsg", "EINTR"),
    fault(WRITES, "EINTR"),
    fault("epoll_wait", "EINTR"),
    fault("read,write", "EINTR"),
    fault("accept4", "EINTR"),
    fault("accept4", "EAGAIN"),
    fault("accept4", "ECONNABORTED"),
    fault("accept4", "ENOMEM"),
    fault("accept4", "EMFILE"),
    fault(WRITES, "EAGAIN"),
    Fault { calls: STARTS, error: "EAGAIN", kills: true },
    Fault { calls: STARTS, error: "ENOMEM", kills: true },
    Fault { calls: "pidfd_open", error: "EMFILE", kills: true },
];
/// The call of each thread that fails first is one of so many; then every third does, to this one.
/// Nothing may fail at the moment that the tracer goes: it would leave another error behind.
const FIRST: u64 = 5;
const LAST: u64 = 11;
/// How long one of them lasts.
const SPELL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether there is an strace that can do this here.
pub fn is_possible() -> bool {
    let mut command = Command::new("strace");
    command.args(["-o", "/dev/null", "-e", "inject=getppid:error=EINTR", "true"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// One after the other, all of them.
pub struct Faults {
    wanted: usize,
    pub done: usize,
    dice: Dice,
    tracer: Option<Tracer>,
    pub killed: Vec<u32>,
}

struct Tracer {
    child: Child,
    pids: Vec<i32>,
    /// Until when the fault lasts, once all are traced.
    until: Option<Instant>,
    is_told: bool,
    end: Instant,
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It has ended already, unless the test has failed.
        self.child.kill().and_then(|()| self.child.wait()).map(drop).unwrap_or_default();
    }
}

impl Tracer {
    fn start(server: &Running, fault: &Fault, first: u64) -> Fallible<Self> {
        let members = process::group_members(server.pid())?;
        let pids: Vec<i32> = members.iter().map(|member| member.pid).collect();
        let when = if fault.kills { "1..3+2".to_owned() } else { format!("{first}..{LAST}+3") };
        let Fault { calls, error, .. } = fault;
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e"]);
        command.arg(format!("trace={calls}")).arg("-e");
        command.arg(format!("inject={calls}:error={error}:when={when}"));
        command.args(pids.iter().map(|pid| format!("--attach={pid}")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: between fork and exec there is one system call, which takes numbers.
        unsafe { command.pre_exec(die_with_parent) };
        let child = command.spawn()?;
        Ok(Self { child, pids, until: None, is_told: false, end: Instant::now() + PATIENCE })
    }

    /// Whether everybody is traced who has not ended.
    fn has_all(&self) -> bool {
        let is_traced = |pid: &i32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
            let row = |text: String| text.lines().any(|line| line == "TracerPid:\t0");
            status.map_or(true, |text| !row(text)) || process::live_process(*pid).is_none()
        };
        self.pids.iter().all(is_traced)
    }
}

fn die_with_parent() -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a number.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Faults {
    pub fn new(rounds: usize) -> Self {
        let wanted = rounds * FAULTS.len();
        Self { wanted, done: 0, dice: Dice::new("faults"), tracer: None, killed: Vec::new() }
    }

    /// Kills a worker that has not been killed yet, where it can be killed alone.
    fn strike(&mut self, server: &Running) -> Outcome {
        if server.mode() == Mode::Thread {
            return Ok(());
        }
        let holder = Role::Worker(0, crate::server::WORKERS).holder(server, &mut self.dice);
        let (pid, _) = holder.ok_or("there is no worker")?;
        if !self.killed.contains(&pid.unsigned_abs()) {
            match send_signal(pid, libc::SIGKILL) {
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                result => result?,
            }
            self.killed.push(pid.unsigned_abs());
        }
        Ok(())
    }
}

impl Trouble for Faults {
    fn go_on(&mut self, server: &Running) -> Fallible<bool> {
        let fault = &FAULTS[self.done % FAULTS.len()];
        let Some(mut tracer) = self.tracer.take() else {
            if self.done >= self.wanted {
                return Ok(true);
            }
            let first = 1 + self.dice.below(FIRST);
            self.tracer = Some(Tracer::start(server, fault, first)?);
            return Ok(false);
        };
        if tracer.child.try_wait()?.is_some() {
            if !tracer.is_told {
                return Err(format!("strace has ended in {} {}", fault.calls, fault.error).into());
            }
            self.done += 1;
            return Ok(false);
        }
        match tracer.until {
            None if tracer.has_all() => {
                tracer.until = Some(Instant::now() + SPELL);
                if fault.kills {
                    self.strike(server)?;
                }
            }
            Some(until) if !tracer.is_told && Instant::now() >= until => {
                send_signal(tracer.child.id() as i32, libc::SIGTERM)?;
                tracer.is_told = true;
            }
            _ if Instant::now() > tracer.end => return Err("strace does not get on".into()),
            _ => {}
        }
        self.tracer = Some(tracer);
        Ok(false)
    }
}
