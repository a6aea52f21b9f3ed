//! The settings: one table of name, type, range and default, and the values of one server.
//!
//! A value comes in as text, number or JSON, is checked against its row of the table and kept.
//! [`Settings::in_force`] derives, once, what `start` works with; the rules are those of the
//! reference documentation's chapter on settings.

mod chapters;
mod in_force;
mod json;
mod port;
mod reference;
mod table;
mod tls;

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{code, Error, Result};
use crate::model::plan::Mode;
use crate::model::value::{parse_list, Kind};
use crate::proto::settings::LengthFn;
use json::Members;
use table::{row_named, row_of, rows, Effect, Name, Row};

pub use crate::model::value::Value;
pub use in_force::{complete_heartbeat, InForce};
pub use port::PortSettings;
pub use reference::reference;

/// The most connections that a server can be told to hold.
pub const CONNECTION_CEILING: i64 = 1 << 20;
/// How many connections are held if nothing was said and the descriptor limit allows it.
pub const DEFAULT_CONNECTIONS: i64 = 100_000;
/// How many workers a processor may have before the number is cut.
pub const WORKERS_PER_CPU: i64 = 1_000;
/// The most workers that one server can have: the ids of units are 10 bits wide.
pub const WORKER_CEILING: i64 = 900;
/// How many reactors a processor may have before the number is cut.
pub const REACTORS_PER_CPU: i64 = 4;
/// The most reactors that are made if nothing was said.
pub const DEFAULT_REACTORS: i64 = 8;
/// Up to so many requests, workers leave after exactly as many as were set.
const NO_GRACE: i64 = 10;
/// No framed port has a smaller limit.
const LEAST_PACKAGE: i64 = 64 * 1024;

/// The machine as far as defaults and clamps depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Processors that this process may use.
    pub cpu_count: i64,
    /// How many descriptors a process may have, at most [`CONNECTION_CEILING`].
    pub descriptor_limit: i64,
    /// The descriptor of the last port. Those of connections come behind it.
    pub port_descriptor: i64,
}

/// The settings of one server.
#[derive(Clone)]
pub struct Settings {
    mode: Mode,
    machine: Machine,
    given: HashMap<Name, Value>,
    /// What stands for `package_length_func`, which is no value.
    length_fn: Option<Arc<LengthFn>>,
}

fn invalid(text: String) -> Error {
    Error::new(code::INVALID_PARAMS, text)
}

/// Behind a directory for tasks, as far as programs know.
const TASK_FILE: &str = "/swoole.task.XXXXXX";

/// The directory is made if there is none.
fn check_directory(path: &str) -> Result<()> {
    let refused = if !path.starts_with('/') {
        Some("it is no absolute path".to_owned())
    } else if path.len() + TASK_FILE.len() > 255 {
        Some("it is too long".to_owned())
    } else {
        std::fs::create_dir_all(path).err().map(|error| error.to_string())
    };
    match refused {
        None => Ok(()),
        Some(reason) => {
            log::warn!("task_tmpdir {path:?} is refused: {reason}");
            Err(invalid(format!("task_tmpdir is refused: {reason}")))
        }
    }
}

/// The most that workers add to a limit of requests, if nothing was said.
fn grace_of(limit: i64) -> i64 {
    match limit {
        few if few <= NO_GRACE => 0,
        many => many / 2,
    }
}

fn list_of(text: &str) -> Vec<usize> {
    parse_list(text).unwrap_or_default()
}

impl Settings {
    /// The settings of another port of the same server: nothing given yet.
    pub fn blank(&self) -> Self {
        Self::new(self.mode, self.machine)
    }

    /// Whether only the server has a setting; false for a name that is none.
    pub fn is_server_wide(name: &str) -> bool {
        row_of(name).is_some_and(|row| !row.is_per_port)
    }

    /// The descriptor of the last port, where connections begin.
    pub fn note_port(&mut self, descriptor: i32) {
        let known = &mut self.machine.port_descriptor;
        *known = i64::from(descriptor).max(*known);
    }

    /// Nothing given yet.
    pub fn new(mode: Mode, machine: Machine) -> Self {
        Self { mode, machine, given: HashMap::new(), length_fn: None }
    }

    /// The mode of the server.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Takes a value as text. `Ok(false)`: there is no such setting, nothing was changed.
    pub fn set_text(&mut self, name: &str, text: &str) -> Result<bool> {
        self.set_with(name, |kind| kind.value_of_text(text), || format!("\"{text}\""))
    }

    /// Takes a value as a number. `Ok(false)`: there is no such setting.
    pub fn set_int(&mut self, name: &str, number: i64) -> Result<bool> {
        self.set_with(name, |kind| kind.value_of_number(number), || number.to_string())
    }

    fn set_with(
        &mut self,
        name: &str,
        convert: impl FnOnce(Kind) -> Option<Value>,
        shown: impl FnOnce() -> String,
    ) -> Result<bool> {
        let Some(row) = row_of(name) else { return Ok(false) };
        let Some(value) = convert(row.kind) else {
            let wanted = row.kind.expectation();
            return Err(invalid(format!("setting {name} takes {wanted}, not {}", shown())));
        };
        self.check(row.name, &value)?;
        self.given.insert(row.name, value);
        Ok(true)
    }

    /// What depends on the machine and not on the kind of the value.
    fn check(&self, name: Name, value: &Value) -> Result<()> {
        let cpus = self.machine.cpu_count;
        match (name, value) {
            (Name::CpuAffinityIgnore, Value::Text(list)) if list_of(list).len() as i64 >= cpus => {
                let text = format!("cpu_affinity_ignore {list} leaves none of {cpus} processors");
                Err(invalid(text))
            }
            (Name::TaskTmpdir, Value::Text(path)) if !path.is_empty() => check_directory(path),
            _ => Ok(()),
        }
    }

    /// Takes a value as a program gives it: as text, but for settings that take any bytes.
    pub fn set_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<bool> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.set_text(name, text),
            Err(_) => {
                self.set_with(name, |kind| kind.value_of_bytes(bytes), || format!("{bytes:?}"))
            }
        }
    }

    /// Refuses settings that ask for what this build does not have.
    pub fn check_offered(&self) -> Result<()> {
        for row in rows() {
            let Effect::Absent(part) = row.effect else { continue };
            if self.value(row.name) != self.default_of(row.name) {
                let text = format!(
                    "{} is a setting of the {part} part, which is not in this build: leave it out",
                    row.spelling()
                );
                return Err(Error::new(code::OPERATION_NOT_SUPPORT, text));
            }
        }
        Ok(())
    }

    /// Has a function tell the lengths of messages, in place of a field in their headers.
    pub fn set_length_fn(&mut self, length_fn: Arc<LengthFn>) {
        self.length_fn = Some(length_fn);
    }

    /// The longest message of a framed port.
    fn package_max_length(&self) -> i64 {
        self.int(Name::PackageMaxLength).max(LEAST_PACKAGE)
    }

    /// Takes a JSON object of settings, all or none of them, in the order in which they stand
    /// there.
    /// Gives back the names it did not know.
    pub fn set_json(&mut self, json: &[u8]) -> Result<Vec<String>> {
        self.set_object(json, |_| true)
    }

    /// As [`Settings::set_json`], for a port: what only a server has does nothing there.
    pub fn set_json_of_port(&mut self, json: &[u8]) -> Result<Vec<String>> {
        self.set_object(json, |name| !Self::is_server_wide(name))
    }

    fn set_object(&mut self, json: &[u8], is_ours: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let Members(members) = serde_json::from_slice(json)
            .map_err(|error| invalid(format!("the settings are not a JSON object: {error}")))?;
        let mut changed = self.clone();
        let mut unknown = Vec::new();
        for (name, value) in members.into_iter().filter(|(name, _)| is_ours(name)) {
            if !changed.set_json_value(&name, &value)? {
                unknown.push(name);
            }
        }
        *self = changed;
        Ok(unknown)
    }

    fn set_json_value(&mut self, name: &str, value: &serde_json::Value) -> Result<bool> {
        use serde_json::Value as Json;
        match value {
            Json::Null => Ok(true),
            Json::Bool(is_on) => self.set_int(name, i64::from(*is_on)),
            Json::String(text) => self.set_text(name, text),
            Json::Number(number) => match number.as_i64() {
                Some(number) => self.set_int(name, number),
                None => self.set_text(name, &number.to_string()),
            },
            Json::Array(_) | Json::Object(_) if row_of(name).is_none() => Ok(false),
            Json::Array(items) if row_of(name).is_some_and(|row| row.kind.is_list()) => {
                let items: Vec<String> = items.iter().map(serde_json::Value::to_string).collect();
                self.set_text(name, &items.join(","))
            }
            Json::Array(_) | Json::Object(_) if row_of(name).is_some_and(Row::takes_json) => {
                self.set_text(name, &value.to_string())
            }
            Json::Array(_) | Json::Object(_) => {
                Err(invalid(format!("setting {name} takes one value, not a list or an object")))
            }
        }
    }

    /// The value of a setting as it is or would be in force; `None` if there is no such setting.
    pub fn get(&self, name: &str) -> Option<Value> {
        let row = row_of(name)?;
        let (in_force, port) = (self.in_force(), self.port_in_force());
        Some(match row.name {
            Name::WorkerNum => Value::Int(in_force.worker_count),
            Name::TaskWorkerNum => Value::Int(in_force.task_worker_count),
            Name::ReactorNum => Value::Int(in_force.reactor_count),
            Name::MaxConnection => Value::Int(in_force.max_connection),
            Name::Backlog => Value::Int(i64::from(port.socket.backlog)),
            Name::BufferHighWatermark => Value::Int(port.high_watermark as i64),
            Name::PackageMaxLength => Value::Int(self.package_max_length()),
            Name::TaskTmpdir => Value::Text(in_force.task_folder),
            Name::OpenEofCheck => {
                Value::Bool(port.framing.open_eof_check || self.int(Name::OpenEofSplit) != 0)
            }
            Name::OpenHttpProtocol => {
                Value::Bool(port.framing.open_http || port.framing.open_websocket)
            }
            Name::MaxQueuedBytes => Value::Int(in_force.max_queued_bytes as i64),
            Name::HeartbeatCheckInterval => Value::Int(in_force.heartbeat_check_interval_s as i64),
            Name::HeartbeatIdleTime => {
                let (mut interval_s, mut idle_time_s) =
                    (in_force.heartbeat_check_interval_s, port.heartbeat_idle_time_s);
                let is_kept = in_force.keeps_heartbeat_interval;
                complete_heartbeat(&mut interval_s, is_kept, &mut [&mut idle_time_s]);
                Value::Int(idle_time_s as i64)
            }
            name => self.value(name),
        })
    }

    fn value(&self, name: Name) -> Value {
        self.given.get(&name).cloned().unwrap_or_else(|| self.default_of(name))
    }

    fn default_of(&self, name: Name) -> Value {
        let fixed = row_named(name).and_then(Row::fixed_default);
        fixed.unwrap_or_else(|| Value::Int(self.derived_default(name)))
    }

    fn derived_default(&self, name: Name) -> i64 {
        let cpus = self.machine.cpu_count;
        match name {
            Name::WorkerNum if self.mode.workers_follow_cpus() => 0,
            Name::WorkerNum => 1,
            Name::ReactorNum if self.mode.has_reactor_threads() => cpus.min(DEFAULT_REACTORS),
            Name::ReactorNum => 1,
            Name::MaxRequestGrace => grace_of(self.int(Name::MaxRequest)),
            Name::TaskMaxRequestGrace => grace_of(self.int(Name::TaskMaxRequest)),
            Name::AioCoreWorkerNum => cpus,
            Name::AioWorkerNum => 8 * cpus,
            // 0 stands for what the machine or another setting gives.
            _ => 0,
        }
    }

    fn int(&self, name: Name) -> i64 {
        match self.value(name) {
            Value::Int(number) => number,
            Value::Bool(is_on) => i64::from(is_on),
            Value::Seconds(milliseconds) => milliseconds,
            Value::Text(_) | Value::Bytes(_) => 0,
        }
    }

    fn text(&self, name: Name) -> String {
        match self.value(name) {
            Value::Text(text) => text,
            Value::Int(_) | Value::Bool(_) | Value::Seconds(_) | Value::Bytes(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::testing::passes_in_child;
    use std::collections::HashSet;

    fn settings(mode: Mode) -> Settings {
        Settings::new(mode, Machine { cpu_count: 4, descriptor_limit: 1024, port_descriptor: 7 })
    }

    fn text(settings: &Settings, name: &str) -> String {
        settings.get(name).map(|value| value.to_string()).unwrap_or_default()
    }

    #[test]
    fn every_name_and_every_spelling_has_one_row() {
        let names: HashSet<Name> = rows().map(|row| row.name).collect();
        assert_eq!(names.len(), rows().count());
        let spellings: Vec<&str> = rows().flat_map(|row| row.spellings).copied().collect();
        assert_eq!(spellings.iter().collect::<HashSet<_>>().len(), spellings.len());
        assert!(rows().all(|row| !row.spellings.is_empty() && !row.text.is_empty()));
    }

    #[test]
    fn a_folder_for_tasks_is_told_also_where_none_was_set() {
        let mut settings = settings(Mode::Process);
        assert_eq!(text(&settings, "task_tmpdir"), std::env::temp_dir().to_string_lossy());
        settings.set_text("task_tmpdir", "/").unwrap();
        assert_eq!(text(&settings, "task_tmpdir"), "/");
    }

    #[test]
    fn every_default_is_a_value_that_its_row_takes() {
        for row in rows() {
            let Some(default) = row.fixed_default() else { continue };
            let taken = match &default {
                Value::Text(text) if text.is_empty() => continue,
                Value::Int(0) => continue,
                value => row.kind.value_of_text(&value.to_string()),
            };
            let is_same = taken.as_ref().map(Value::to_string) == Some(default.to_string());
            assert!(is_same, "{}: {taken:?}", row.spelling());
        }
    }

    #[test]
    fn what_this_build_does_not_have_is_refused_if_it_is_asked_for() {
        let mut settings = settings(Mode::Process);
        for (name, value) in [("http_compression", "true"), ("task_worker_num", "0")] {
            assert_eq!(settings.set_text(name, value), Ok(true));
        }
        assert_eq!(settings.check_offered(), Ok(()));
        assert_eq!(settings.set_text("document_root", "/srv"), Ok(true));
        assert_eq!(text(&settings, "document_root"), "/srv");
        let error = settings.check_offered().unwrap_err();
        assert_eq!(error.code(), code::OPERATION_NOT_SUPPORT);
        assert!(error.message().contains("document_root"));
    }

    #[test]
    fn framing_settings_take_bytes_letters_and_offsets() {
        let mut settings = settings(Mode::Process);
        assert_eq!(text(&settings, "package_eof"), "\r\n\r\n");
        assert_eq!(settings.set_text("package_eof", "\n"), Ok(true));
        assert_eq!(text(&settings, "package_eof"), "\n");
        assert_eq!(settings.set_bytes("package_eof", b"\xff\xfe"), Ok(true));
        assert_eq!(settings.get("package_eof"), Some(Value::Bytes(vec![0xff, 0xfe])));
        for bad in ["", "123456789"] {
            assert!(settings.set_text("package_eof", bad).is_err());
        }
        assert_eq!(settings.set_text("package_length_type", "vx"), Ok(true));
        assert_eq!(text(&settings, "package_length_type"), "v");
        assert!(settings.set_text("package_length_type", "i").is_err());
        assert_eq!(settings.set_int("package_length_offset", -4), Ok(true));
        assert_eq!(text(&settings, "package_length_offset"), "0");
        assert_eq!(settings.set_int("package_body_start", 8152), Ok(true));
        assert!(settings.set_int("package_body_offset", 8153).is_err());
        assert_eq!(settings.set_int("package_max_length", 100), Ok(true));
        assert_eq!(text(&settings, "package_max_length"), "65536");
        for (name, implied) in [
            ("open_eof_split", "open_eof_check"),
            ("open_websocket_protocol", "open_http_protocol"),
        ] {
            assert_eq!(text(&settings, implied), "false");
            assert_eq!(settings.set_text(name, "true"), Ok(true));
            assert_eq!(text(&settings, implied), "true");
        }
        assert_eq!(settings.set_text("max_idle_time", "0.0001"), Ok(true));
        assert_eq!(text(&settings, "max_idle_time"), "0.001");
        assert_eq!(settings.set_json(br#"{"ssl_sni_certs": {"a": {}}}"#), Ok(vec![]));
        assert_eq!(text(&settings, "ssl_sni_certs"), r#"{"a":{}}"#);
    }

    #[test]
    fn defaults_follow_mode_and_machine() {
        let process = settings(Mode::Process);
        let base = settings(Mode::Base);
        let thread = settings(Mode::Thread);
        assert_eq!(text(&process, "worker_num"), "4");
        assert_eq!(text(&base, "worker_num"), "1");
        assert_eq!(text(&thread, "worker_num"), "4");
        assert_eq!(text(&process, "reactor_num"), "4");
        assert_eq!(text(&base, "reactor_num"), "1");
        assert_eq!(text(&process, "max_connection"), "1024");
        assert_eq!(text(&process, "socket_buffer_size"), "8388608");
        assert_eq!(text(&process, "buffer_output_size"), "4294967295");
        assert_eq!(text(&process, "open_tcp_nodelay"), "true");
        assert_eq!(text(&process, "max_wait_time"), "3");
        assert_eq!(text(&process, "log_level"), "2");
        assert_eq!(text(&process, "backlog"), "512");
    }

    #[test]
    fn names_are_matched_in_any_case_and_by_their_aliases() {
        let mut settings = settings(Mode::Process);
        assert_eq!(settings.set_text("Max_CONN", "500"), Ok(true));
        assert_eq!(text(&settings, "max_connection"), "500");
        assert_eq!(settings.set_text("no_such_name", "1"), Ok(false));
        assert_eq!(settings.get("no_such_name"), None);
    }

    #[test]
    fn sizes_take_a_unit_and_refuse_words() {
        let mut settings = settings(Mode::Process);
        assert_eq!(settings.set_text("socket_buffer_size", "2M"), Ok(true));
        assert_eq!(text(&settings, "socket_buffer_size"), "2097152");
        assert_eq!(settings.set_text("socket_buffer_size", "-1"), Ok(true));
        assert_eq!(text(&settings, "socket_buffer_size"), "2147483647");
        assert_eq!(settings.set_text("socket_buffer_size", "99999999999G"), Ok(true));
        assert_eq!(text(&settings, "socket_buffer_size"), "2147483647");
        for bad in ["M", "", "big", "2X", "1.5M"] {
            let error = settings.set_text("socket_buffer_size", bad).unwrap_err();
            assert_eq!(error.code(), code::INVALID_PARAMS, "{bad}");
        }
    }

    #[test]
    fn numbers_are_moved_into_their_range() {
        let mut settings = settings(Mode::Process);
        assert_eq!(settings.set_int("log_level", 99), Ok(true));
        assert_eq!(text(&settings, "log_level"), "6");
        assert_eq!(settings.set_int("backlog", -5), Ok(true));
        assert_eq!(settings.port_in_force().socket.backlog, 512);
        assert_eq!(settings.set_text("worker_num", "4x").unwrap_err().code(), 505);
        assert_eq!(settings.set_int("reactor_num", 99), Ok(true));
        assert_eq!(settings.set_int("worker_num", 64), Ok(true));
        assert_eq!(text(&settings, "reactor_num"), "16");
        assert_eq!(settings.in_force().warnings.len(), 1);
    }

    #[test]
    fn reactors_are_never_more_than_workers_and_one_when_single_threaded() {
        let mut settings = settings(Mode::Process);
        assert_eq!(settings.set_int("worker_num", 2), Ok(true));
        assert_eq!(text(&settings, "reactor_num"), "2");
        assert_eq!(settings.set_text("single_thread", "true"), Ok(true));
        assert_eq!(text(&settings, "reactor_num"), "1");
    }

    #[test]
    fn a_connection_limit_below_the_servers_own_needs_is_raised() {
        let mut settings = settings(Mode::Process);
        assert_eq!(settings.set_int("max_connection", 5), Ok(true));
        assert_eq!(text(&settings, "max_connection"), "1024");
        assert_eq!(settings.set_int("worker_num", 2), Ok(true));
        for (given, in_force) in [(42, "1024"), (43, "43")] {
            assert_eq!(settings.set_int("max_connection", given), Ok(true));
            assert_eq!(text(&settings, "max_connection"), in_force);
        }
        assert_eq!(settings.set_int("max_connection", 1 << 30), Ok(true));
        assert_eq!(text(&settings, "max_connection"), "1024");
    }

    #[test]
    fn task_workers_count_among_what_the_server_itself_needs() {
        let mut settings = settings(Mode::Process);
        assert_eq!(settings.set_int("worker_num", 2), Ok(true));
        assert_eq!(settings.set_int("task_worker_num", 3), Ok(true));
        for (given, in_force) in [(48, "1024"), (49, "49")] {
            assert_eq!(settings.set_int("max_connection", given), Ok(true));
            assert_eq!(text(&settings, "max_connection"), in_force);
        }
    }

    #[test]
    fn a_heartbeat_is_told_as_it_is_completed() {
        let told = |name, value| {
            let mut settings = settings(Mode::Process);
            assert_eq!(settings.set_int(name, value), Ok(true));
            let numbers = ["heartbeat_check_interval", "heartbeat_idle_time"];
            numbers.map(|name| text(&settings, name))
        };
        assert_eq!(told("heartbeat_idle_time", 9), ["4", "9"]);
        assert_eq!(told("heartbeat_check_interval", 10), ["10", "20"]);
        assert_eq!(told("backlog", 1), ["0", "0"]);
    }

    #[test]
    fn what_only_a_server_has_does_nothing_to_a_port() {
        let mut settings = settings(Mode::Process);
        let json = br#"{"worker_num": "none", "backlog": 7, "document_root": "/srv", "none": 1}"#;
        assert_eq!(settings.set_json_of_port(json), Ok(vec!["none".to_owned()]));
        assert_eq!(text(&settings, "worker_num"), "4");
        assert_eq!(text(&settings, "backlog"), "7");
        assert_eq!(settings.check_offered(), Ok(()));
    }

    // The C library locks the zone: a thread that does so must not be beside one that forks.
    #[test]
    fn a_date_format_that_is_too_long_is_refused_and_the_old_one_stays() {
        assert!(passes_in_child(|| {
            let mut settings = settings(Mode::Process);
            assert_eq!(settings.set_text("log_date_format", "%H:%M"), Ok(true));
            let error = settings.set_text("log_date_format", &"%F".repeat(100)).unwrap_err();
            assert_eq!(error.code(), code::INVALID_PARAMS);
            assert_eq!(text(&settings, "log_date_format"), "%H:%M");
            assert_eq!(text(&settings, "log_rotation"), "0");
            assert_eq!(text(&settings, "pid_file"), "");
        }));
    }

    #[test]
    fn json_is_taken_whole_or_not_at_all() {
        let mut settings = settings(Mode::Process);
        let json = br#"{"worker_num": 3, "open_tcp_nodelay": false, "backlog": null, "odd": 1}"#;
        assert_eq!(settings.set_json(json), Ok(vec!["odd".to_owned()]));
        assert_eq!(text(&settings, "worker_num"), "3");
        assert_eq!(text(&settings, "open_tcp_nodelay"), "false");
        assert!(settings.set_json(br#"{"worker_num": 5, "backlog": "x"}"#).is_err());
        assert_eq!(text(&settings, "worker_num"), "3");
        for bad in [&b"[]"[..], b"{", b"", b"7", b"{} {}", br#"{"backlog": [1]}"#, b"\xff"] {
            assert!(settings.set_json(bad).is_err());
        }
    }
    #[test]
    fn of_what_stands_twice_in_json_the_last_wins_however_it_is_spelt() {
        let mut settings = settings(Mode::Process);
        for (json, wanted) in [
            (r#"{"max_connection": 500, "max_conn": 501}"#, "501"),
            (r#"{"max_conn": 502, "max_connection": 503}"#, "503"),
            (r#"{"max_conn": 504, "MAX_CONN": 505}"#, "505"),
            (r#"{"max_conn": 506, "max_connection": 507, "max_conn": 508}"#, "508"),
            (r#"{"max_conn": 509, "max_connection": null}"#, "509"),
        ] {
            assert_eq!(settings.set_json(json.as_bytes()), Ok(vec![]));
            assert_eq!(text(&settings, "max_connection"), wanted, "{json}");
        }
    }
}
