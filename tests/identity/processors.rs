//! Each worker and each reactor thread has its processor, and the program all that it had.

use crate::common::prelude::*;
use crate::Fallible;
use std::fs;
use swoole::os::cpu::{allowed_cpus, cpu_count};

fn serve(setup: &Setup, workers: &str, ignored: &str) -> Outcome {
    let server = setup.server()?;
    server.set("worker_num", workers)?;
    server.set("reactor_num", "3")?;
    server.set("open_cpu_affinity", "true")?;
    server.set("cpu_affinity_ignore", ignored)?;
    server.on("workerStart", |_, event| match allowed_cpus() {
        Ok(cpus) => report!("worker {} on {cpus:?}", event.worker().worker_id),
        Err(error) => report!("no processors: {error}"),
    })?;
    server.on("receive", |server, event| {
        report!("sent {}", server.send(event.fd(), event.data()).is_ok());
    })?;
    report!("before {:?}", allowed_cpus()?);
    server.start()?;
    report!("after {:?}", allowed_cpus()?);
    Ok(())
}

pub fn on_processors(setup: &Setup) -> Outcome {
    serve(setup, "3", "")
}

/// The processors of the threads of a process that have this name.
fn processors_of(pid: i32, name: &str) -> Fallible<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(entry?.path().join("status"))?;
        let of = |field: &str| status.lines().find_map(|line| line.strip_prefix(field));
        if of("Name:\t") == Some(name) {
            found.push(of("Cpus_allowed_list:\t").ok_or("no list")?.to_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// Checks where each worker is, and that the caller of start is where it was.
fn check(server: &Running, workers: usize, cpus: &[usize]) -> Outcome {
    server.connect()?.echo(b"hello")?;
    for id in 0..workers {
        let expected = format!("worker {id} on [{}]", cpus[id % cpus.len()]);
        let start = format!("worker {id} on ");
        let line = server.wait_line(|line| line.starts_with(&start), STEP)?;
        assert_eq!(line, expected);
    }
    if server.mode() == Mode::Process {
        let reactors = processors_of(server.pid(), "sw-reactor")?;
        let mut expected: Vec<String> =
            (0..reactors.len()).map(|number| cpus[number % cpus.len()].to_string()).collect();
        expected.sort();
        assert!(!reactors.is_empty());
        assert_eq!(reactors, expected);
    }
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    let before = server.wait_line(|line| line.starts_with("before "), STEP)?;
    let after = server.wait_line(|line| line.starts_with("after "), STEP)?;
    assert_eq!(before.strip_prefix("before "), after.strip_prefix("after "));
    Ok(())
}

pub fn each_worker_and_reactor_keeps_to_its_processor(server: &Running) -> Outcome {
    check(server, 3, &allowed_cpus()?)
}

pub fn alone_on_a_processor(setup: &Setup) -> Outcome {
    serve(setup, "1", "")
}

pub fn a_server_alone_gives_the_processors_back(server: &Running) -> Outcome {
    check(server, 1, &allowed_cpus()?)
}

/// The first processor is left to others, if there is another one.
pub fn on_some_processors(setup: &Setup) -> Outcome {
    let cpus = allowed_cpus()?;
    let ignored = if cpu_count() > 1 { cpus[0].to_string() } else { String::new() };
    serve(setup, "2", &ignored)
}

pub fn processors_that_are_left_to_others_are_not_used(server: &Running) -> Outcome {
    let cpus = allowed_cpus()?;
    match &cpus[..] {
        [_, rest @ ..] if !rest.is_empty() => check(server, 2, rest),
        _ => {
            server.connect()?.echo(b"hello")?;
            let is_warned = server.log().contains("leaves no processor");
            assert_eq!(is_warned, cpu_count() > 1, "{}", server.log());
            Ok(())
        }
    }
}

pub fn ignored_processors_are_given_as_text_number_or_list() -> Outcome {
    let server = Server::new("127.0.0.1", 0, Mode::Process.number(), SW_SOCK_TCP)?;
    let name = "cpu_affinity_ignore";
    let texts: Vec<String> = (0..cpu_count()).map(|cpu| cpu.to_string()).collect();
    let (all, most) = (texts.join(","), texts[1..].join(","));
    assert_eq!(server.get_setting(name)?, "");
    server.set(name, &most)?;
    assert_eq!(server.get_setting(name)?, most);
    server.set(name, "")?;
    assert_eq!(server.get_setting(name)?, "");
    server.set_json(&format!("{{\"{name}\": [{most}]}}"))?;
    assert_eq!(server.get_setting(name)?, most);
    if cpu_count() > 1 {
        server.set_int(name, 0)?;
        assert_eq!(server.get_setting(name)?, "0");
        server.set(name, " 1 , 1")?;
        assert_eq!(server.get_setting(name)?, "1", "each counts once");
    }
    server.set_json(&format!("{{\"{name}\": []}}"))?;
    assert_eq!(server.get_setting(name)?, "");
    for bad in [format!("[{all}]"), "[-1]".into(), "[true]".into(), "[[0]]".into(), "{}".into()] {
        let error = server.set_json(&format!("{{\"{name}\": {bad}}}")).err().ok_or(bad)?;
        assert_eq!(error.code, SW_ERROR_INVALID_PARAMS);
    }
    for bad in [&all, "one", "0;1", ",", "-1"] {
        let error = server.set(name, bad).err().ok_or(bad)?;
        assert_eq!(error.code, SW_ERROR_INVALID_PARAMS, "{bad}");
    }
    Ok(())
}
