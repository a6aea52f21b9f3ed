//! Every name that the law of settings has, and those that this build has nothing for.

use crate::common::prelude::*;
use crate::report;

/// The names, with all their aliases.
const NAMES: &str = "\
    admin_server aio_core_worker_num aio_max_idle_time aio_max_wait_time aio_worker_num \
    backlog bootstrap buffer_high_watermark buffer_input_size buffer_low_watermark \
    buffer_output_size c_stack_size chroot compression_level compression_min_length \
    compression_types cpu_affinity_ignore daemonize debug_mode discard_timeout_request \
    dispatch_mode display_errors dns_cache_capacity dns_cache_expire dns_cache_refresh_time \
    dns_lookup_random dns_server document_root enable_coroutine enable_deadlock_check \
    enable_delay_receive enable_kqueue enable_preemptive_scheduler enable_reuse_port \
    enable_signalfd enable_static_handler enable_unsafe_event event_object group \
    heartbeat_check_interval heartbeat_idle_time hook_flags http2_enable_push \
    http2_header_table_size http2_init_window_size http2_max_concurrent_streams \
    http2_max_frame_size http2_max_header_list_size http2_max_headers http_autoindex \
    http_compression http_compression_level http_compression_min_length http_compression_types \
    http_gzip_level http_index_files http_parse_cookie http_parse_files http_parse_post \
    init_arguments input_buffer_size iouring_entries iouring_flag iouring_workers \
    kernel_socket_recv_buffer_size kernel_socket_send_buffer_size log_date_format \
    log_date_with_microseconds log_file log_level log_rotation max_concurrency max_conn \
    max_connection max_coro_num max_coroutine max_idle_time max_queued_bytes max_request \
    max_request_grace max_thread_num max_wait_time message_queue_key min_thread_num \
    name_resolver open_cpu_affinity open_eof_check open_eof_split open_http2_protocol \
    open_http_protocol open_length_check open_mqtt_protocol open_redis_protocol \
    open_tcp_keepalive open_tcp_nodelay open_websocket_close_frame open_websocket_ping_frame \
    open_websocket_pong_frame open_websocket_protocol output_buffer_size package_body_offset \
    package_body_start package_eof package_length_offset package_length_type \
    package_max_length pid_file print_backtrace_on_error reactor_num reload_async \
    request_slowlog_file request_slowlog_timeout send_timeout send_yield single_thread \
    socket_buffer_size socket_connect_timeout socket_dns_timeout socket_dontwait \
    socket_read_timeout socket_recv_timeout socket_send_timeout socket_timeout \
    socket_write_timeout ssl_allow_self_signed ssl_cafile ssl_capath ssl_cert_file ssl_ciphers \
    ssl_client_cert_file ssl_compress ssl_dhparam ssl_ecdh_curve ssl_key_file ssl_method \
    ssl_prefer_server_ciphers ssl_protocols ssl_sni_certs ssl_verify_depth ssl_verify_peer \
    stack_size start_session_id static_handler_locations stats_file stats_timer_interval \
    task_enable_coroutine task_ipc_mode task_max_request task_max_request_grace task_object \
    task_tmpdir task_use_object task_worker_num tcp_defer_accept tcp_fastopen tcp_keepcount \
    tcp_keepidle tcp_keepinterval tcp_user_timeout thread_num trace_flags upload_max_filesize \
    upload_tmp_dir url_rewrite_rules use_async_resolver user wait_signal websocket_compression \
    websocket_mask websocket_subprotocol worker_max_concurrency worker_num";

/// Setting what is in force changes nothing.
pub fn every_setting_is_known_and_takes_what_it_tells() -> Outcome {
    for mode in Mode::ALL.iter().copied() {
        let server = Server::new("127.0.0.1", 0, mode.number(), SW_SOCK_TCP)?;
        let told =
            |name: &str| server.get_setting(name).map_err(|error| format!("{name}: {error}"));
        for name in NAMES.split_whitespace() {
            let value = told(name)?;
            // No value is none that can be set, and of these 0 is all there can be.
            if !value.is_empty() && !name.starts_with("kernel_socket_") {
                server.set(name, &value).map_err(|error| format!("{name}: {error}"))?;
                assert_eq!(told(&name.to_uppercase())?, value, "{name}");
            }
            server.set_json(&format!("{{\"{name}\": null}}"))?;
            assert_eq!(told(name)?, value, "{name}: null is not given");
        }
    }
    Ok(())
}

/// A value of each kind that only other parts would look at.
const ABSENT: &[(&str, &str)] = &[
    ("http_parse_cookie", "false"),
    ("compression_level", "9"),
    ("http_compression_types", "[\"text/html\"]"),
    ("upload_max_filesize", "1M"),
    ("document_root", "/"),
    ("enable_static_handler", "true"),
    ("max_concurrency", "1"),
    ("websocket_compression", "true"),
    ("open_http2_protocol", "true"),
    ("http2_max_frame_size", "32K"),
];

pub fn asking_for_what_is_absent(setup: &Setup) -> Outcome {
    for (name, value) in ABSENT {
        let server = setup.server()?;
        server.on("receive", |_, _| {})?;
        server.set(name, value)?;
        let error = server.start().err().ok_or_else(|| format!("{name} is taken"))?;
        report!("{name}: {error}");
    }
    let server = setup.server()?;
    server.on("receive", |server, event| {
        server.send(event.fd(), event.data()).expect("it is sent")
    })?;
    for (name, _) in ABSENT {
        let value = server.get_setting(name)?;
        if !value.is_empty() {
            server.set(name, &value)?;
        }
    }
    server.start()?;
    Ok(())
}

pub fn what_is_absent_keeps_a_server_from_starting_and_is_named(server: &Running) -> Outcome {
    // Its default is nothing that it would be asked for.
    server.connect()?.echo(b"started")?;
    let lines = server.lines_so_far();
    for (name, _) in ABSENT {
        let row = |line: &&String| line.starts_with(&format!("{name}: "));
        let line = lines.iter().find(row).ok_or_else(|| format!("nothing is said of {name}"))?;
        assert!(line.contains("not in this build"), "{line}");
        let (_, told) = line.split_once(": ").unwrap_or_default();
        // By the name that the table has, whichever was used.
        let own = if *name == "compression_level" { "http_compression_level" } else { name };
        assert!(told.contains(own), "{line}");
    }
    Ok(())
}
