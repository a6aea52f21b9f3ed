//! What each setting is when nobody sets it, and what is made of the values that it is given.

use crate::common::prelude::*;
use swoole::os::process::{cpu_count, descriptor_limit};

pub const KIB: i64 = 1024;
const LARGEST_INT: i64 = i32::MAX as i64;

/// A value that is given, and what is in force then.
type Given = (i64, i64);

fn cpus() -> i64 {
    i64::try_from(cpu_count()).unwrap_or(1)
}

fn most_connections() -> i64 {
    i64::try_from(descriptor_limit()).unwrap_or(i64::MAX)
}

/// Each number: its name, what it is when nothing is said, and what is made of some values.
fn numbers(mode: Mode) -> Vec<(&'static str, i64, Vec<Given>)> {
    let (cpus, most) = (cpus(), most_connections());
    let workers = if mode == Mode::Base { 1 } else { cpus };
    let reactors = if mode == Mode::Process { cpus.min(8) } else { 1 };
    let many_workers = 900.min(1000 * cpus);
    let every_reactor = if mode == Mode::Process { cpus } else { 1 };
    let connections = most.min(100_000);
    let unlimited = LARGEST_INT;
    vec![
        ("worker_num", workers, vec![(3, 3), (0, cpus), (-5, cpus), (i64::MAX, many_workers)]),
        ("reactor_num", reactors, vec![(1, 1), (0, every_reactor), (i64::MAX, every_reactor)]),
        (
            "max_connection",
            connections,
            vec![(500, 500), (0, connections), (-1, connections), (most + 1, most), (1, most)],
        ),
        ("max_conn", connections, vec![(501, 501)]),
        ("backlog", 512, vec![(7, 7), (0, 512), (-1, 512), (65_536, 65_535)]),
        ("log_level", 2, vec![(4, 4), (-1, 0), (7, 6), (i64::MAX, 6)]),
        (
            "socket_buffer_size",
            8 << 20,
            vec![(64 * KIB, 64 * KIB), (0, unlimited), (i64::MIN, unlimited), (1 << 40, unlimited)],
        ),
        ("output_buffer_size", (1 << 32) - 1, vec![(9, 9), (-1, 0), (1 << 40, (1 << 32) - 1)]),
        ("buffer_output_size", (1 << 32) - 1, vec![(10, 10)]),
        ("stats_timer_interval", 1000, vec![(5, 5), (0, 1), (-1, 1), (i64::MAX, (1 << 32) - 1)]),
        ("max_wait_time", 3, vec![(0, 0), (-1, 0), (60, 60), (i64::MAX, (1 << 32) - 1)]),
    ]
}

fn plain_server(mode: Mode) -> Result<Server, api::Error> {
    Server::new("127.0.0.1", 0, mode.number(), SW_SOCK_TCP)
}

pub fn numbers_have_defaults_and_are_moved_into_range() -> Outcome {
    for mode in Mode::ALL.iter().copied() {
        for (name, default, rows) in numbers(mode) {
            let server = plain_server(mode)?;
            assert_eq!(server.get_setting(name)?, default.to_string(), "{mode:?} {name}");
            for (given, in_force) in rows {
                for way in 0..3 {
                    match way {
                        0 => server.set_int(name, given)?,
                        1 => server.set(name, &given.to_string())?,
                        _ => server.set_json(&format!("{{\"{name}\": {given}}}"))?,
                    }
                    let found = server.get_setting(name)?;
                    assert_eq!(found, in_force.to_string(), "{mode:?} {name} = {given}");
                }
            }
        }
    }
    Ok(())
}

pub fn truths_and_sizes_are_read_as_people_write_them() -> Outcome {
    let server = plain_server(Mode::Process)?;
    assert_eq!(server.get_setting("single_thread")?, "false");
    assert_eq!(server.get_setting("open_tcp_nodelay")?, "true");
    for name in ["log_file", "user", "group", "chroot", "stats_file", "admin_server"] {
        assert_eq!(server.get_setting(name)?, "", "{name}");
    }
    for name in ["daemonize", "open_cpu_affinity", "enable_reuse_port"] {
        assert_eq!(server.get_setting(name)?, "false", "{name}");
    }
    for (given, is_on) in [
        ("true", true),
        ("FALSE", false),
        ("on", true),
        ("off", false),
        ("1", true),
        ("0", false),
        ("-7", true),
    ] {
        for name in ["single_thread", "open_tcp_nodelay"] {
            server.set(name, given)?;
            assert_eq!(server.get_setting(name)?, is_on.to_string(), "{name} = {given}");
        }
    }
    for (given, bytes) in [("2M", 2 << 20), ("64k", 64 << 10), ("1G", 1 << 30), ("12", 12)] {
        server.set("socket_buffer_size", given)?;
        assert_eq!(server.get_setting("SOCKET_BUFFER_SIZE")?, bytes.to_string(), "{given}");
    }
    server.set("log_file", "/nowhere/log")?;
    assert_eq!(server.get_setting("log_file")?, "/nowhere/log");
    Ok(())
}

pub fn settings_bear_on_each_other() -> Outcome {
    let server = plain_server(Mode::Process)?;
    server.set_int("worker_num", 2)?;
    server.set_int("reactor_num", 4)?;
    assert_eq!(server.get_setting("reactor_num")?, "2", "there are no more than workers");
    server.set("single_thread", "true")?;
    assert_eq!(server.get_setting("reactor_num")?, "1");
    Ok(())
}

pub fn json_is_taken_as_a_whole_or_not_at_all() -> Outcome {
    let server = plain_server(Mode::Base)?;
    server.set_json(
        "{\"Worker_Num\": 4, \"single_thread\": true, \"socket_buffer_size\": \"2M\",
          \"backlog\": 9, \"unheard_of\": [1, 2]}",
    )?;
    server.set_json("{\"backlog\": null}")?;
    for (name, value) in [
        ("worker_num", "4"),
        ("single_thread", "true"),
        ("socket_buffer_size", "2097152"),
        ("backlog", "9"),
    ] {
        assert_eq!(server.get_setting(name)?, value, "{name}");
    }
    for broken in ["{\"backlog\": 5, \"worker_num\": \"four\"}", "{\"backlog\": 5", "[]"] {
        let error = server.set_json(broken).err().ok_or(broken)?;
        assert_eq!(error.code, SW_ERROR_INVALID_PARAMS, "{broken}");
        assert_eq!(server.get_setting("backlog")?, "9", "{broken}");
    }
    Ok(())
}
