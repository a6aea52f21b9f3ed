//! What a server knows of its connections: information, lists, statistics, and who may see them.

use super::commands::{command_server, field, number_of, Commander};
use super::now_s;
use crate::common::prelude::*;

pub fn command_in_one_worker(setup: &Setup) -> Outcome {
    let server = command_server(setup)?;
    server.set("worker_num", "1")?;
    server.start()?;
    Ok(())
}

pub fn what_is_known_of_a_connection_is_right(server: &Running) -> Outcome {
    let began = now_s();
    let mut client = Commander::connect(server)?;
    let info = client.ask(&format!("info {}", client.fd))?;
    let end = now_s();
    let number = |name: &str| -> Result<f64, Box<dyn std::error::Error + Send + Sync>> {
        Ok(field(&info, name)?.parse()?)
    };
    assert_eq!(field(&info, "server_port")?, server.port().to_string());
    assert_eq!(field(&info, "remote_port")?, client.client.local_port()?.to_string());
    assert_eq!(field(&info, "remote_ip")?, "127.0.0.1");
    assert_eq!(field(&info, "socket_type")?, SW_SOCK_TCP.to_string());
    assert!(number("server_fd")? > 2.0 && number("socket_fd")? > 2.0);
    assert_ne!(field(&info, "server_fd")?, field(&info, "socket_fd")?);
    if server.mode() == Mode::Process {
        assert!((0.0..2.0).contains(&number("reactor_id")?));
    } else {
        assert_eq!(field(&info, "reactor_id")?, client.worker.to_string());
    }
    let (connected, received) = (number("connect_time")?, number("last_recv_time")?);
    let (sent, dispatched) = (number("last_send_time")?, number("last_dispatch_time")?);
    assert!(began.floor() <= connected && connected <= received, "{info}");
    assert!(sent <= received && received <= dispatched && dispatched <= end, "{info}");
    assert!(began <= sent, "the answer to the first command was written: {info}");
    assert_eq!(number("last_time")?, received.floor());
    let zero = ["recv_queued_bytes", "send_queued_bytes", "close_errno", "websocket_status"];
    for name in zero {
        assert_eq!(field(&info, name)?, "0", "{name}");
    }
    assert_eq!(field(&info, "has_uid")?, "false");
    Ok(())
}

pub fn connections_are_listed_in_pages(server: &Running) -> Outcome {
    let mut clients = Vec::new();
    for _ in 0..25 {
        clients.push(Commander::connect(server)?);
    }
    let ids: Vec<i64> = (1..=25).collect();
    let mut start = 0;
    for page in [&ids[..10], &ids[10..20], &ids[20..], &[]] {
        assert_eq!(clients[0].ask(&format!("list {start} 10"))?, format!("ids {page:?}"));
        start = page.last().copied().unwrap_or(start);
    }
    assert_eq!(clients[0].ask("list 0 100")?, format!("ids {ids:?}"));
    for size in ["101", "0", "-1"] {
        assert_eq!(clients[0].ask(&format!("list 0 {size}"))?, "error 505", "size {size}");
    }
    for start in ["26", "100000", "-1"] {
        assert_eq!(clients[0].ask(&format!("list {start} 10"))?, "error 1005", "start {start}");
    }
    let gone = clients.remove(4);
    assert_eq!(gone.fd, 5);
    drop(gone);
    server.wait_line(|line| line.starts_with("close 5 "), STEP)?;
    let list = clients[0].ask_until("list 3 3", |answer| !answer.contains('5'))?;
    assert_eq!(list, "ids [4, 6, 7]");
    assert_eq!(clients[0].ask_until("list 5 3", |answer| answer != "ids [6, 7, 8]")?, "error 1005");
    Ok(())
}

pub fn statistics_count_what_happened(server: &Running) -> Outcome {
    let began = now_s();
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Commander::connect(server)?);
    }
    clients.truncate(6);
    // Four are closed, and the other worker is up.
    let is_quiet =
        |stats: &str| stats.contains(" close_count: 4,") && stats.contains(" idle_worker_num: 1,");
    let stats = clients[0].ask_until("stats", is_quiet)?;
    for (name, wanted) in [
        ("connection_num", 6),
        ("accept_count", 10),
        ("close_count", 4),
        ("abort_count", 0),
        ("session_round", 10),
        ("worker_num", 2),
        ("task_worker_num", 0),
        ("user_worker_num", 0),
        ("coroutine_num", 0),
        ("coroutine_peak_num", 0),
        ("tasking_num", 0),
    ] {
        assert_eq!(number_of(&stats, name)?, wanted, "{name} in {stats}");
    }
    assert!(number_of(&stats, "pipe_packet_msg_id")? >= 1);
    let min_fd = number_of(&stats, "min_fd")?;
    assert!(2 < min_fd && min_fd < number_of(&stats, "max_fd")?, "{stats}");
    let started = stats.split("start_time: ").nth(1).ok_or("no start time")?;
    let started: f64 = started.split(',').next().unwrap_or_default().parse()?;
    assert!((started - began).abs() < STEP.as_secs_f64(), "{stats}");
    counters_grow_by_one_request(&mut clients[0])
}

/// One request and one answer later: by how much each counter has grown.
fn counters_grow_by_one_request(client: &mut Commander) -> Outcome {
    let before = client.ask("stats")?;
    let after = client.ask("stats")?;
    for (name, growth) in [
        ("dispatch_count", 1),
        ("request_count", 1),
        ("response_count", 1),
        ("total_recv_bytes", "stats".len() as u64),
        ("total_send_bytes", before.len() as u64 + 1),
        ("worker_request_count", 1),
        ("worker_response_count", 1),
        ("worker_dispatch_count", 1),
    ] {
        let (old, new) = (number_of(&before, name)?, number_of(&after, name)?);
        assert_eq!(new - old, growth, "{name} from {before} to {after}");
    }
    // The request that asks is dispatched, but neither done nor answered.
    let requests = number_of(&after, "request_count")?;
    assert_eq!(number_of(&after, "dispatch_count")?, requests + 1);
    assert_eq!(number_of(&after, "response_count")?, requests);
    assert!(number_of(&after, "worker_request_count")? <= requests);
    Ok(())
}

pub fn a_foreign_connection_can_be_sent_to_and_closed_but_seen_by_its_owner_only_in_base(
    server: &Running,
) -> Outcome {
    let mut first = Commander::connect(server)?;
    let mut second = first.connect_elsewhere(server)?;
    let fd = first.fd;
    let is_private = server.mode() == Mode::Base;
    let seen = if is_private { "error 1005" } else { "ok" };
    assert_eq!(second.ask(&format!("exist {fd}"))?, seen);
    let info = second.ask(&format!("info {fd}"))?;
    assert_eq!(info == "error 1005", is_private, "{info}");
    let list = second.ask("list 0 100")?;
    assert_eq!(list.contains(&fd.to_string()), !is_private, "{list} and {fd}");
    assert_eq!(first.ask(&format!("exist {fd}"))?, "ok");
    assert_eq!(second.ask(&format!("send {fd} across"))?, "ok");
    assert_eq!(first.client.receive(6)?, b"across");
    assert_eq!(second.ask(&format!("close {fd}"))?, "ok");
    assert!(first.client.receive_to_end()?.is_empty());
    Ok(())
}
