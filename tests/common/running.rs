//! A server under test as its client side sees it: a process group with a deadline, the lines that
//! it reported, what it wrote, and how it ended.

use super::process::{self, Port, Process};
use super::report::REPORT_VARIABLE;
use super::{Client, Mode, Outcome, CASE_VARIABLE, GRACE, LIFETIME, PORT_VARIABLE, STEP};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub struct Running {
    mode: Mode,
    case: String,
    port: Arc<Port>,
    pid: i32,
    /// A folder of this server alone, which is also its TMPDIR.
    folder: PathBuf,
    shared: Arc<Shared>,
    traces_before: BTreeSet<String>,
    is_end_judged: AtomicBool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// What the threads that watch a server have found out.
#[derive(Default)]
struct State {
    lines: Vec<String>,
    /// No process holds the report pipe any more.
    is_silent: bool,
    status: Option<ExitStatus>,
    is_overdue: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until `look` finds something; `None` if it has not within `limit`.
    fn wait<T>(&self, limit: Duration, mut look: impl FnMut(&State) -> Option<T>) -> Option<T> {
        let end = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&state) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Running {
    /// Starts the server of the case with this name: this binary once more.
    pub fn spawn(case: &str, mode: Mode) -> io::Result<Self> {
        Self::spawn_at(case, mode, Arc::new(Port::reserve()?))
    }

    /// Starts the same server once more, at the same port.
    pub fn spawn_beside(&self) -> io::Result<Self> {
        Self::spawn_at(&self.case, self.mode, Arc::clone(&self.port))
    }

    fn spawn_at(case: &str, mode: Mode, port: Arc<Port>) -> io::Result<Self> {
        let folder = own_folder()?;
        let traces_before = process::traces();
        let (reader, writer) = pipe()?;
        let log = File::create(log_path(&folder))?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .env(CASE_VARIABLE, case)
            .env(PORT_VARIABLE, port.number.to_string())
            .env(REPORT_VARIABLE, writer.as_raw_fd().to_string())
            .env("TMPDIR", folder.join("tmp"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let kept = writer.as_raw_fd();
        // SAFETY: between fork and exec `prepare_child` only makes two system calls.
        unsafe { command.pre_exec(move || prepare_child(kept)) };
        let child = command.spawn()?;
        drop(writer);
        let shared = Arc::new(Shared::default());
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        watch(child, pid, reader, &shared);
        let is_end_judged = AtomicBool::new(false);
        let case = case.to_owned();
        Ok(Self { mode, case, port, pid, folder, shared, traces_before, is_end_judged })
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// The process that called start.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits until the server serves, then connects.
    pub fn connect(&self) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
        self.wait_line(|line| line == "ready", STEP)?;
        Ok(Client::connect(self.port.number)?)
    }

    /// The first line ever reported that `is_it` accepts.
    pub fn wait_line(
        &self,
        is_it: impl Fn(&str) -> bool,
        limit: Duration,
    ) -> Result<String, String> {
        Ok(self.wait_lines(1, is_it, limit)?.swap_remove(0))
    }

    /// The first `count` lines that `is_it` accepts. Fails at once when no more can come.
    pub fn wait_lines(
        &self,
        count: usize,
        is_it: impl Fn(&str) -> bool,
        limit: Duration,
    ) -> Result<Vec<String>, String> {
        let found = self.shared.wait(limit, |state| {
            let lines = state.lines.iter().filter(|line| is_it(line)).take(count);
            let lines: Vec<String> = lines.cloned().collect();
            (lines.len() == count || state.is_silent).then_some(lines)
        });
        match found {
            Some(lines) if lines.len() == count => Ok(lines),
            Some(lines) => Err(format!("{} of {count} lines came before the end", lines.len())),
            None => Err(format!("{count} lines did not come within {limit:?}")),
        }
    }

    pub fn lines_so_far(&self) -> Vec<String> {
        self.shared.lock().lines.clone()
    }

    /// The server's TMPDIR, in which it must not leave anything.
    pub fn temporary(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    /// What all processes wrote to their standard output and error.
    pub fn log(&self) -> String {
        let bytes = fs::read(log_path(&self.folder)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends a signal to the process that called start.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        process::send_signal(self.pid, signal)
    }

    /// Waits for the end of the process that called start. The test then judges that end itself.
    pub fn wait_exit(&self, limit: Duration) -> Result<ExitStatus, String> {
        self.is_end_judged.store(true, Ordering::Relaxed);
        self.await_status(limit)
    }

    /// All live processes of the server but the one that called start.
    pub fn descendants(&self) -> io::Result<Vec<Process>> {
        let members = process::group_members(self.pid)?;
        Ok(members.into_iter().filter(|process| process.pid != self.pid).collect())
    }

    /// Fails if the server, which must have ended, left a process, a file or its port taken.
    pub fn assert_nothing_left(&self) -> Result<(), String> {
        let end = Instant::now() + GRACE;
        let is_silent = self.shared.wait(GRACE, |state| state.is_silent.then_some(()));
        let members = process::group_members(self.pid).map_err(|error| error.to_string())?;
        // A process that has closed its descriptors may still be on its way out.
        let stays = |process: &Process| {
            let limit = end.saturating_duration_since(Instant::now());
            !matches!(process::wait_gone(process.pid, limit), Ok(true))
        };
        let left: Vec<Process> = members.into_iter().filter(stays).collect();
        if is_silent.is_none() || !left.is_empty() {
            return Err(format!("the server left processes behind: {left:?}"));
        }
        if !self.port.is_free() {
            return Err(format!("port {} is still taken", self.port.number));
        }
        let files = self.files_left();
        if files.is_empty() {
            Ok(())
        } else {
            Err(format!("the server left files: {files:?}"))
        }
    }

    /// Ends the server by SIGTERM and judges its exit status, unless the test has done so; then
    /// judges what it left.
    pub fn end_in_order(&self) -> Outcome {
        if !self.is_end_judged.load(Ordering::Relaxed) {
            let is_told = self.signal(libc::SIGTERM);
            // A server that has ended by itself needs no signal.
            is_told
                .or_else(|e| e.raw_os_error().filter(|n| *n == libc::ESRCH).map(drop).ok_or(e))?;
            let status = self.await_status(STEP)?;
            if !status.success() {
                return Err(format!("the server ended with {status}").into());
            }
        }
        self.assert_nothing_left()?;
        Ok(())
    }

    /// All that is known, for the text of a failure.
    pub fn story(&self) -> String {
        let state = self.shared.lock();
        let mut story = format!("--- reported ---\n{}\n", state.lines.join("\n"));
        if state.is_overdue {
            story.push_str(&format!("killed: it lived longer than {LIFETIME:?}\n"));
        }
        if let Some(status) = state.status {
            story.push_str(&format!("ended: {status}, signal {:?}\n", status.signal()));
        }
        drop(state);
        format!("{story}--- written ---\n{}", self.log())
    }

    fn await_status(&self, limit: Duration) -> Result<ExitStatus, String> {
        let status = self.shared.wait(limit, |state| state.status);
        status.ok_or_else(|| format!("process {} did not end within {limit:?}", self.pid))
    }

    fn files_left(&self) -> Vec<String> {
        let temporary = fs::read_dir(self.folder.join("tmp")).into_iter().flatten().flatten();
        let mut left: Vec<String> = temporary.map(|e| e.path().display().to_string()).collect();
        left.extend(process::traces().difference(&self.traces_before).cloned());
        left
    }
}

impl Drop for Running {
    /// Kills what is left of the group, waits for it and removes its folder.
    fn drop(&mut self) {
        for process in process::group_members(self.pid).unwrap_or_default() {
            if let Err(error) = process::send_signal(process.pid, libc::SIGKILL) {
                eprintln!("cannot kill {process:?}: {error}");
            }
        }
        let ended = self
            .shared
            .wait(STEP, |state| (state.is_silent && state.status.is_some()).then_some(()));
        if ended.is_none() {
            eprintln!("server {} could not be ended", self.pid);
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("cannot remove {}: {error}", self.folder.display());
        }
    }
}

/// Starts the threads that take the lines, the deadline and the end of a server.
fn watch(mut child: Child, pid: i32, reader: OwnedFd, shared: &Arc<Shared>) {
    let lines = Arc::clone(shared);
    std::thread::spawn(move || {
        for line in BufReader::new(File::from(reader)).lines().map_while(Result::ok) {
            lines.change(|state| state.lines.push(line));
        }
        lines.change(|state| state.is_silent = true);
    });
    let end = Arc::clone(shared);
    std::thread::spawn(move || {
        if !process::wait_gone(pid, LIFETIME).unwrap_or(false) {
            end.change(|state| state.is_overdue = true);
            if let Err(error) = process::send_signal(-pid, libc::SIGKILL) {
                eprintln!("cannot kill the group {pid}: {error}");
            }
        }
        let status = child.wait();
        end.change(|state| state.status = status.ok());
    });
}

/// Runs in the new process: it keeps the report pipe, and dies with the test that started it.
fn prepare_child(report: RawFd) -> io::Result<()> {
    // SAFETY: the descriptor is open and F_SETFD takes a number.
    let is_kept = unsafe { libc::fcntl(report, libc::F_SETFD, 0) } == 0;
    // SAFETY: PR_SET_PDEATHSIG takes a number.
    let is_bound = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } == 0;
    if is_kept && is_bound {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A pipe that no process inherits unless it is told to.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut numbers = [0; 2];
    // SAFETY: the array has room for the two descriptors.
    if unsafe { libc::pipe2(numbers.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both were just made and belong to nobody else.
    Ok(unsafe { (OwnedFd::from_raw_fd(numbers[0]), OwnedFd::from_raw_fd(numbers[1])) })
}

fn own_folder() -> io::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("server-{}-{number}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(folder.join("tmp"))?;
    Ok(folder)
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("log")
}
