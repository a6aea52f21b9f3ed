//! The counts of the server in a file, for programs that cannot ask it.

use std::fmt::Write;
use std::path::Path;

use crate::os::file;
use crate::unit::Unit;

use super::status::{stats_of, Stats};

const FIELDS: usize = 30;

/// Writes the counts, as the calling worker sees them, into the file of the settings.
pub fn write(unit: &Unit) {
    let path = &unit.runtime().settings.stats_file;
    let fields = fields_of(&stats_of(unit));
    let is_json = Path::new(path).extension().is_some_and(|end| end.eq_ignore_ascii_case("json"));
    let text = if is_json { json(&fields) } else { lines(&fields) };
    if let Err(error) = file::replace(Path::new(path), text.as_bytes()) {
        crate::warn_limited!("stats_file {path:?} cannot be written: {error}");
    }
}

/// By the names and in the order of the C structure.
fn fields_of(stats: &Stats) -> [(&'static str, i128); FIELDS] {
    [
        ("start_time", stats.start_time_s.into()),
        ("connection_num", stats.connections.into()),
        ("abort_count", stats.aborted.into()),
        ("accept_count", stats.accepted.into()),
        ("close_count", stats.closed.into()),
        ("worker_num", stats.workers.into()),
        ("task_worker_num", stats.task_workers.into()),
        ("user_worker_num", stats.users.into()),
        ("idle_worker_num", stats.idle_workers.into()),
        ("dispatch_count", stats.dispatched.into()),
        ("request_count", stats.requests.into()),
        ("response_count", stats.responses.into()),
        ("total_recv_bytes", stats.received_bytes.into()),
        ("total_send_bytes", stats.sent_bytes.into()),
        ("pipe_packet_msg_id", stats.message_round.into()),
        ("session_round", stats.session_round.into()),
        ("min_fd", stats.min_descriptor.into()),
        ("max_fd", stats.max_descriptor.into()),
        ("worker_request_count", stats.own_requests.into()),
        ("worker_response_count", stats.own_responses.into()),
        ("worker_dispatch_count", stats.own_dispatched.into()),
        ("concurrency", stats.in_progress.into()),
        ("worker_concurrency", stats.own_in_progress.into()),
        // Features that this version does not have yet.
        ("task_idle_worker_num", stats.idle_task_workers.into()),
        ("tasking_num", stats.waiting_tasks.into()),
        ("task_count", stats.accepted_tasks.into()),
        ("task_queue_num", stats.queued_tasks.into()),
        ("task_queue_bytes", stats.queued_task_bytes.into()),
        ("coroutine_num", 0),
        ("coroutine_peak_num", 0),
    ]
}

fn lines(fields: &[(&str, i128)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {value}");
    }
    text
}

fn json(fields: &[(&str, i128)]) -> String {
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}\n", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_hold_all_fields_in_order() {
        let fields = fields_of(&Stats { start_time_s: -1, accepted: u64::MAX, ..Stats::default() });
        let json = json(&fields);
        assert!(json.starts_with("{\"start_time\":-1,\"connection_num\":0,"), "{json}");
        let read: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
        assert_eq!(read.len(), FIELDS);
        assert_eq!(read["accept_count"].as_u64(), Some(u64::MAX));
        let lines = lines(&fields);
        assert_eq!(lines.lines().count(), FIELDS);
        assert!(lines.contains("\naccept_count: 18446744073709551615\n"), "{lines}");
    }
}
