//! The settings: one table of name, type, range and default, and the values of one server.
//!
//! A value comes in as text, number or JSON, is checked against its row of the table and kept.
//! [`Settings::in_force`] derives, once, what `start` works with; the rules are those of the
//! reference documentation's chapter on settings.

mod in_force;
mod port;
mod table;

use crate::error::{code, Error, Result};
use crate::model::plan::Mode;
use crate::model::value::{parse_list, Kind};
use table::{row_of, Name, COUNT};

pub use crate::model::value::Value;
pub use in_force::{complete_heartbeat, InForce};
pub use port::PortSettings;

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
const MIB: i64 = 1 << 20;
const U32_MAX: i64 = u32::MAX as i64;

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
#[derive(Clone, Debug)]
pub struct Settings {
    mode: Mode,
    machine: Machine,
    given: [Option<Value>; COUNT],
}

fn invalid(text: String) -> Error {
    Error::new(code::INVALID_PARAMS, text)
}

fn list_of(text: &str) -> Vec<usize> {
    parse_list(text).unwrap_or_default()
}

impl Settings {
    /// The settings of another port of the same server: nothing given yet.
    pub fn blank(&self) -> Self {
        Self::new(self.mode, self.machine)
    }

    /// Whether each port has its own value of a setting; false for a name that is none.
    pub fn is_per_port(name: &str) -> bool {
        row_of(name).is_some_and(|row| row.name.is_per_port())
    }

    /// The descriptor of the last port, where connections begin.
    pub fn note_port(&mut self, descriptor: i32) {
        let known = &mut self.machine.port_descriptor;
        *known = i64::from(descriptor).max(*known);
    }

    /// Nothing given yet.
    pub fn new(mode: Mode, machine: Machine) -> Self {
        Self { mode, machine, given: std::array::from_fn(|_| None) }
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
        self.set_with(name, |kind| Some(kind.value_of_number(number)), || number.to_string())
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
        if let Some(place) = self.given.get_mut(row.name as usize) {
            *place = Some(value);
        }
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
            _ => Ok(()),
        }
    }

    /// Takes a JSON object of settings, all or none of them. Gives back the names it did not know.
    pub fn set_json(&mut self, json: &[u8]) -> Result<Vec<String>> {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json)
            .map_err(|error| invalid(format!("the settings are not a JSON object: {error}")))?;
        let mut changed = self.clone();
        let mut unknown = Vec::new();
        for (name, value) in &object {
            if !changed.set_json_value(name, value)? {
                unknown.push(name.clone());
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
            Json::Array(_) | Json::Object(_) => {
                Err(invalid(format!("setting {name} takes one value, not a list or an object")))
            }
        }
    }

    /// The value of a setting as it is or would be in force; `None` if there is no such setting.
    pub fn get(&self, name: &str) -> Option<Value> {
        let row = row_of(name)?;
        let in_force = self.in_force();
        Some(match row.name {
            Name::WorkerNum => Value::Int(in_force.worker_count),
            Name::ReactorNum => Value::Int(in_force.reactor_count),
            Name::MaxConnection => Value::Int(in_force.max_connection),
            Name::Backlog => Value::Int(i64::from(self.port_in_force().socket.backlog)),
            name => self.value(name),
        })
    }

    fn value(&self, name: Name) -> Value {
        let given = self.given.get(name as usize).cloned().flatten();
        given.unwrap_or_else(|| self.default_of(name))
    }

    fn default_of(&self, name: Name) -> Value {
        match name {
            Name::WorkerNum if self.mode.workers_follow_cpus() => Value::Int(0),
            Name::WorkerNum => Value::Int(1),
            Name::ReactorNum if self.mode.has_reactor_threads() => {
                Value::Int(self.machine.cpu_count.min(DEFAULT_REACTORS))
            }
            Name::ReactorNum => Value::Int(1),
            Name::SingleThread => Value::Bool(false),
            Name::MaxConnection => Value::Int(0),
            Name::Backlog => Value::Int(512),
            Name::LogFile => Value::Text(String::new()),
            Name::LogLevel => Value::Int(2),
            Name::SocketBufferSize => Value::Int(8 * MIB),
            Name::OutputBufferSize => Value::Int(U32_MAX),
            Name::OpenTcpNodelay => Value::Bool(true),
            Name::MaxWaitTime => Value::Int(3),
            Name::LogDateFormat => Value::Text("%F %T".to_owned()),
            Name::LogDateWithMicroseconds => Value::Bool(false),
            Name::LogRotation => Value::Int(0),
            Name::PidFile => Value::Text(String::new()),
            Name::MaxRequest => Value::Int(0),
            Name::MaxRequestGrace => Value::Int(match self.int(Name::MaxRequest) {
                few if few <= NO_GRACE => 0,
                many => many / 2,
            }),
            Name::ReloadAsync => Value::Bool(true),
            Name::Daemonize => Value::Bool(false),
            Name::User | Name::Group | Name::Chroot => Value::Text(String::new()),
            Name::StatsFile | Name::AdminServer => Value::Text(String::new()),
            Name::StatsTimerInterval => Value::Int(1000),
            Name::OpenCpuAffinity | Name::EnableReusePort => Value::Bool(false),
            Name::CpuAffinityIgnore => Value::Text(String::new()),
            Name::StartSessionId | Name::BufferLowWatermark | Name::MaxQueuedBytes => Value::Int(0),
            Name::EnableDelayReceive | Name::SendYield | Name::Ipv6Only => Value::Bool(false),
            Name::InputBufferSize => Value::Int(2 * MIB),
            Name::BufferHighWatermark => Value::Int(0),
            Name::SendTimeout | Name::MaxIdleTime => Value::Seconds(0),
            Name::KernelReceiveBuffer | Name::KernelSendBuffer => Value::Int(0),
            Name::TcpDeferAccept | Name::TcpFastopen | Name::TcpUserTimeout => Value::Int(0),
            Name::OpenTcpKeepalive => Value::Bool(false),
            Name::TcpKeepidle => Value::Int(3600),
            Name::TcpKeepinterval => Value::Int(60),
            Name::TcpKeepcount => Value::Int(5),
            Name::HeartbeatCheckInterval | Name::HeartbeatIdleTime => Value::Int(0),
        }
    }

    fn int(&self, name: Name) -> i64 {
        match self.value(name) {
            Value::Int(number) => number,
            Value::Bool(is_on) => i64::from(is_on),
            Value::Seconds(milliseconds) => milliseconds,
            Value::Text(_) => 0,
        }
    }

    fn text(&self, name: Name) -> String {
        match self.value(name) {
            Value::Text(text) => text,
            Value::Int(_) | Value::Bool(_) | Value::Seconds(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::testing::passes_in_child;

    fn settings(mode: Mode) -> Settings {
        Settings::new(mode, Machine { cpu_count: 4, descriptor_limit: 1024, port_descriptor: 7 })
    }

    fn text(settings: &Settings, name: &str) -> String {
        settings.get(name).map(|value| value.to_string()).unwrap_or_default()
    }

    #[test]
    fn each_row_stands_where_its_name_says() {
        for (index, row) in table::TABLE.iter().enumerate() {
            assert_eq!(row.name as usize, index);
        }
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
        for bad in [&b"[]"[..], b"{", b"", b"7", br#"{"backlog": [1]}"#, b"\xff"] {
            assert!(settings.set_json(bad).is_err());
        }
    }
}
