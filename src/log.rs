//! The log: one line a message, written with one call, so that lines of several processes do not
//! mix. It stands behind the facade of the `log` crate, unless the program has a logger of its own.
//!
//! A line is `[date mark pid.worker]`, a tab, the level, a tab, the message. It goes to standard
//! output until a file is opened. What cannot be written is counted and otherwise lost: there is
//! nobody left to tell.

mod line;

use std::cell::Cell;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicU8, Ordering};

use log::{LevelFilter, Metadata, Record};
use parking_lot::{const_rwlock, RwLock};

use crate::error::{code, Error, Result};
use crate::os::clock::{self, DateFormat};
use crate::os::file;

use line::Line;

/// The longest line in bytes, its newline included. Longer messages are cut.
pub const MAX_LINE: usize = 16 * 1024;

/// The target that tells a notice from an info, which the facade does not know apart.
pub const NOTICE_TARGET: &str = "swoole::notice";

/// Other crates of the program log as well; only what comes from here is ours to write.
const OWN_TARGET: &str = env!("CARGO_PKG_NAME");

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_US: u64 = 1_000;

/// How much a message matters, in the order of the setting `log_level`: those below it are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    Debug = 0,
    Trace = 1,
    Info = 2,
    Notice = 3,
    Warning = 4,
    Error = 5,
}

/// The level that drops everything.
pub const LEVEL_NONE: u8 = 6;
const LEVEL_DEFAULT: u8 = Level::Info as u8;

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
            Self::Info => "INFO",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }

    fn of(metadata: &Metadata) -> Self {
        match metadata.level() {
            log::Level::Error => Self::Error,
            log::Level::Warn => Self::Warning,
            log::Level::Info if metadata.target() == NOTICE_TARGET => Self::Notice,
            log::Level::Info => Self::Info,
            log::Level::Debug => Self::Debug,
            log::Level::Trace => Self::Trace,
        }
    }
}

/// Who writes: the mark in front of the process number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Master,
    Manager,
    EventWorker,
    TaskWorker,
    UserProcess,
    /// None of these.
    Outside,
}

impl Mark {
    fn sign(self) -> char {
        match self {
            Self::Master => '#',
            Self::Manager => '$',
            Self::EventWorker => '*',
            Self::TaskWorker => '^',
            Self::UserProcess => '@',
            Self::Outside => '%',
        }
    }
}

/// How often a new file is begun: its name carries the date to this precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    Single,
    Monthly,
    Daily,
    Hourly,
    EveryMinute,
}

impl Rotation {
    /// The rotation with the number that the setting has; numbers that are none mean never.
    pub fn of_number(number: u8) -> Self {
        match number {
            1 => Self::Monthly,
            2 => Self::Daily,
            3 => Self::Hourly,
            4 => Self::EveryMinute,
            _ => Self::Single,
        }
    }

    /// How many bytes of [`DateFormat::MINUTE_STAMP`] stand in the name.
    fn stamp_len(self) -> usize {
        match self {
            Self::Single => 0,
            Self::Monthly => 6,
            Self::Daily => 8,
            Self::Hourly => 10,
            Self::EveryMinute => 12,
        }
    }

    /// What the name of the file at this moment ends in; empty for a single file.
    fn stamp(self, wall_s: u64) -> Vec<u8> {
        let date = match self {
            Self::Single => None,
            _ => DateFormat::MINUTE_STAMP.expand(wall_s),
        };
        let stamp = date.as_ref().and_then(|date| date.as_bytes().get(..self.stamp_len()));
        stamp.unwrap_or_default().to_vec()
    }
}

/// Where lines go and how they begin.
struct Sink {
    output: Output,
    date_format: DateFormat,
    has_microseconds: bool,
    rotation: Rotation,
    /// Whether standard output and error go to the same file.
    has_standard: bool,
}

enum Output {
    Standard,
    File {
        file: File,
        /// As it was given, made absolute.
        path: PathBuf,
        /// What stands behind the path in the name of the open file.
        stamp: Vec<u8>,
    },
}

/// Locked for writing only while settings change or a file is opened.
static SINK: RwLock<Sink> = const_rwlock(Sink {
    output: Output::Standard,
    date_format: DateFormat::DATE_AND_TIME,
    has_microseconds: false,
    rotation: Rotation::Single,
    has_standard: false,
});
/// The setting `log_level`. It stands alone, nothing else is read along with it.
static LEVEL: AtomicU8 = AtomicU8::new(LEVEL_DEFAULT);
/// Whether the facade hands its messages to us. Set once, before the first message.
static IS_INSTALLED: AtomicBool = AtomicBool::new(false);
/// Lines that could not be written. Only counted up.
static LOST_LINES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IDENTITY: Cell<(Mark, i32)> = const { Cell::new((Mark::Outside, 0)) };
}

/// Takes the messages of the facade, if nobody else does. `false` if the program has a logger of
/// its own, which then gets them.
pub fn install() -> bool {
    if log::set_logger(&FACADE).is_ok() {
        IS_INSTALLED.store(true, Ordering::Relaxed);
        set_level(LEVEL.load(Ordering::Relaxed));
    }
    IS_INSTALLED.load(Ordering::Relaxed)
}

/// Drops messages below `level`, 0 to 6; more counts as 6.
pub fn set_level(level: u8) {
    let level = level.min(LEVEL_NONE);
    LEVEL.store(level, Ordering::Relaxed);
    if IS_INSTALLED.load(Ordering::Relaxed) {
        log::set_max_level(facade_filter(level));
    }
}

/// The setting `log_level` as it is now.
pub fn level() -> u8 {
    LEVEL.load(Ordering::Relaxed)
}

/// What must come through the facade. For it, trace is the lowest; for us, debug is.
fn facade_filter(level: u8) -> LevelFilter {
    match level {
        0 | 1 => LevelFilter::Trace,
        2 | 3 => LevelFilter::Info,
        4 => LevelFilter::Warn,
        5 => LevelFilter::Error,
        _ => LevelFilter::Off,
    }
}

/// Writes to this file from now on. A relative path is made absolute, so that it holds after the
/// working directory has changed. If it cannot be opened, the output stays where it was.
pub fn open(path: &Path) -> io::Result<()> {
    let path = if path.is_absolute() { path.to_owned() } else { env::current_dir()?.join(path) };
    let mut sink = SINK.write();
    sink.output = Output::at(path, sink.rotation.stamp(wall_s()))?;
    Ok(())
}

/// Opens the file by its name again, after somebody has moved it away. Standard output stays.
pub fn reopen() -> io::Result<()> {
    let mut sink = SINK.write();
    sink.reopen_for(wall_s())
}

/// The descriptor of the file that is written to.
pub fn descriptor() -> Option<RawFd> {
    match &SINK.read().output {
        Output::File { file, .. } => Some(file.as_raw_fd()),
        Output::Standard => None,
    }
}

/// Writes to standard output again. Where that goes stays as it is.
pub fn close() {
    let mut sink = SINK.write();
    sink.output = Output::Standard;
    sink.has_standard = false;
}

/// Has standard output and error go to the log file from now on, or to nowhere if there is none.
pub fn take_standard_output() -> io::Result<()> {
    let mut sink = SINK.write();
    sink.has_standard = true;
    sink.redirect()
}

/// Begins lines with the date in this `strftime` format. INVALID_PARAMS if it expands to more than
/// 127 bytes, and the old one stays.
pub fn set_date_format(format: &str) -> Result<()> {
    let Some(format) = DateFormat::new(format) else {
        let text = format!("log_date_format expands to more than {} bytes", clock::MAX_DATE_LEN);
        return Err(Error::new(code::INVALID_PARAMS, text));
    };
    SINK.write().date_format = format;
    Ok(())
}

/// Appends `<.microseconds>` to the date, or not.
pub fn set_microseconds(are_shown: bool) {
    SINK.write().has_microseconds = are_shown;
}

/// Sets how often a new file is begun, and begins it.
pub fn set_rotation(rotation: Rotation) -> io::Result<()> {
    let mut sink = SINK.write();
    let former = std::mem::replace(&mut sink.rotation, rotation);
    let result = sink.reopen_for(wall_s());
    if result.is_err() {
        sink.rotation = former;
    }
    result
}

/// Says who this thread is in the lines that it writes.
pub fn set_identity(mark: Mark, worker_id: i32) {
    IDENTITY.with(|identity| identity.set((mark, worker_id)));
}

/// How many lines this process could not write.
pub fn lost_lines() -> u64 {
    LOST_LINES.load(Ordering::Relaxed)
}

fn wall_s() -> u64 {
    clock::wall_ns() / NS_PER_S
}

impl Output {
    fn at(path: PathBuf, stamp: Vec<u8>) -> io::Result<Self> {
        let mut name = path.clone().into_os_string();
        if !stamp.is_empty() {
            name.push(".");
            name.push(OsString::from_vec(stamp.clone()));
        }
        Ok(Self::File { file: file::open_append(Path::new(&name))?, path, stamp })
    }

    fn write(&self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard => file::write_once(io::stdout(), line),
            Self::File { file, .. } => file::write_once(file, line),
        }
    }
}

impl Sink {
    fn reopen_for(&mut self, wall_s: u64) -> io::Result<()> {
        if let Output::File { path, .. } = &self.output {
            self.output = Output::at(path.clone(), self.rotation.stamp(wall_s))?;
            if self.has_standard {
                return self.redirect();
            }
        }
        Ok(())
    }

    fn redirect(&self) -> io::Result<()> {
        match &self.output {
            Output::Standard => file::replace_standard_output(None),
            Output::File { file, .. } => file::replace_standard_output(Some(file)),
        }
    }

    /// Whether the open file belongs to a period that is over.
    fn is_outdated(&self, wall_s: u64) -> bool {
        match &self.output {
            Output::File { stamp, .. } if self.rotation != Rotation::Single => {
                *stamp != self.rotation.stamp(wall_s)
            }
            _ => false,
        }
    }

    /// Has a new period begin. If its file cannot be opened, the old one serves on until the next.
    fn rotate(&mut self, wall_s: u64) -> io::Result<()> {
        let result = self.reopen_for(wall_s);
        if let Output::File { stamp, .. } = &mut self.output {
            *stamp = self.rotation.stamp(wall_s);
        }
        result
    }
}

/// The object that the facade calls.
struct Facade;

static FACADE: Facade = Facade;

impl log::Log for Facade {
    fn enabled(&self, metadata: &Metadata) -> bool {
        let is_own = metadata.target().strip_prefix(OWN_TARGET);
        is_own.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            && Level::of(metadata) as u8 >= level()
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            write_message(Level::of(record.metadata()), *record.args(), clock::wall_ns());
        }
    }

    /// Nothing is held back.
    fn flush(&self) {}
}

/// Writes one line, into the file of its period.
fn write_message(level: Level, message: fmt::Arguments, wall_ns: u64) {
    let rotated = rotate_if_due(wall_ns / NS_PER_S);
    if let Err(cause) = rotated {
        let complaint = format_args!("the log file of the new period cannot be opened: {cause}");
        write_line(Level::Warning, complaint, wall_ns);
    }
    write_line(level, message, wall_ns);
}

/// Who cannot have the lock at once writes to the old file.
fn rotate_if_due(wall_s: u64) -> io::Result<()> {
    if !SINK.read().is_outdated(wall_s) {
        return Ok(());
    }
    match SINK.try_write() {
        Some(mut sink) if sink.is_outdated(wall_s) => sink.rotate(wall_s),
        _ => Ok(()),
    }
}

/// The message is put into words while no lock is held: its parts may be of the program, and log
/// themselves.
fn write_line(level: Level, message: fmt::Arguments, wall_ns: u64) {
    let mut line = Line::begin(wall_ns);
    line.fill(level, message);
    let line = line.ended();
    match SINK.read().output.write(&line) {
        Ok(size) if size == line.len() => {}
        _ => {
            LOST_LINES.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Lets one message a second through, and counts those that it holds back. One stands beside each
/// call of [`warn_limited`](crate::warn_limited).
pub struct Gate {
    /// When the last one passed, 0 for never. Who moves it may pass.
    passed_ns: AtomicU64,
    /// Counted up by who is held back, taken by who passes; it guards nothing else.
    held_back: AtomicU64,
}

impl Gate {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { passed_ns: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// `None` if it is too early, otherwise how many were held back since the last one. `now_ns` is
    /// of the monotonic clock.
    pub fn pass(&self, now_ns: u64) -> Option<u64> {
        let passed = self.passed_ns.load(Ordering::Relaxed);
        let is_due = passed == 0 || now_ns.saturating_sub(passed) >= NS_PER_S;
        let exchange = || {
            let (relaxed, now_ns) = (Ordering::Relaxed, now_ns.max(1));
            self.passed_ns.compare_exchange(passed, now_ns, relaxed, relaxed)
        };
        if is_due && exchange().is_ok() {
            return Some(self.held_back.swap(0, Ordering::Relaxed));
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Logs above info and below warning: something the program's author should know.
#[macro_export]
macro_rules! notice {
    ($($message:tt)+) => {
        ::log::info!(target: $crate::log::NOTICE_TARGET, $($message)+)
    };
}

/// Warns, at most once a second from this place; the next one says how many were left out.
#[macro_export]
macro_rules! warn_limited {
    ($($message:tt)+) => {{
        static GATE: $crate::log::Gate = $crate::log::Gate::new();
        match GATE.pass($crate::os::clock::monotonic_ns()) {
            None => {}
            Some(0) => ::log::warn!($($message)+),
            Some(more) => {
                ::log::warn!("{} (and {more} more like this)", ::std::format_args!($($message)+))
            }
        }
    }};
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
