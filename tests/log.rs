//! The log of a server: one line a life-cycle step, who wrote it, what is dropped, where it goes.

mod common;

use common::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One line of the log, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    mark: char,
    pid: i32,
    id: i32,
    level: String,
    message: String,
}

/// Takes `[date time mark pid.id]<tab>level<tab>message` apart; `None` if the line is not so.
fn parse(line: &str) -> Option<Line> {
    let (head, rest) = line.strip_prefix('[')?.split_once("]\t")?;
    let (level, message) = rest.split_once('\t')?;
    let words: Vec<&str> = head.split(' ').collect();
    let [date, time, who] = words.as_slice() else { return None };
    let digits = |text: &str, shape: &str| {
        let is_alike = |(c, wanted): (char, char)| match wanted {
            '0' => c.is_ascii_digit(),
            other => c == other,
        };
        text.len() == shape.len() && text.chars().zip(shape.chars()).all(is_alike)
    };
    if !digits(date, "0000-00-00") || !digits(time, "00:00:00") {
        return None;
    }
    let mark = who.chars().next()?;
    let (pid, id) = who.get(1..)?.split_once('.')?;
    let (pid, id) = (pid.parse().ok()?, id.parse().ok()?);
    Some(Line { mark, pid, id, level: level.to_owned(), message: message.to_owned() })
}

fn parse_all(text: &str) -> Result<Vec<Line>, String> {
    text.lines().map(|line| parse(line).ok_or_else(|| format!("no log line: '{line}'"))).collect()
}

fn log_file() -> PathBuf {
    std::env::temp_dir().join("server.log")
}

/// Runs a server that answers, with settings; then reports and removes its log file.
fn run_with(setup: &Setup, settings: &[(&str, &str)]) -> Outcome {
    let server = setup.bare_server("127.0.0.1", SW_SOCK_TCP)?;
    server.set("worker_num", "2")?;
    for (name, value) in settings {
        server.set(name, value)?;
    }
    server.on("receive", |server, event| {
        report!("sent {}", server.send(event.fd(), event.data()).is_ok());
    })?;
    server.on("workerStart", |_, event| {
        report!("worker {} {}", event.worker().worker_id, std::process::id());
    })?;
    server.on("managerStart", |_, _| report!("manager {}", std::process::id()))?;
    server.on("shutdown", |_, _| report!("shutdown"))?;
    server.start()?;
    if log_file().exists() {
        for line in std::fs::read_to_string(log_file())?.lines() {
            report!("log {line}");
        }
        std::fs::remove_file(log_file())?;
    }
    Ok(())
}

fn speak(setup: &Setup) -> Outcome {
    run_with(setup, &[])
}

/// Waits until everything is up, has one request answered, and ends the server.
fn serve_and_end(server: &Running) -> Outcome {
    server.wait_lines(2, |line| line.starts_with("worker "), STEP)?;
    server.wait_line(|line| line.starts_with("manager "), STEP)?;
    common::Client::connect_when_open(server.port(), server.pid())?.echo(b"a request")?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    server.assert_nothing_left()?;
    Ok(())
}

fn pid_behind(
    server: &Running,
    beginning: &str,
) -> Result<i32, Box<dyn std::error::Error + Send + Sync>> {
    let line = server.wait_line(|line| line.starts_with(beginning), STEP)?;
    Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
}

/// All lines of a run, from the first to the last, whoever wrote them.
fn check_story(server: &Running, lines: &[Line]) -> Outcome {
    let manager = pid_behind(server, "manager ")?;
    let workers = [pid_behind(server, "worker 0 ")?, pid_behind(server, "worker 1 ")?];
    // In BASE there is no master: the caller is the manager.
    let caller = if server.mode() == Mode::Base { '$' } else { '#' };
    let mut wanted = vec![
        (caller, server.pid(), 0, "server started"),
        (caller, server.pid(), 0, "server is ending"),
        (caller, server.pid(), 0, "server has ended"),
        ('$', manager, 0, "manager started"),
        ('$', manager, 0, "manager stopped"),
    ];
    for (id, pid) in [(0, workers[0]), (1, workers[1])] {
        let own = ["started", "stopped"].map(|step| format!("worker {id} {step}"));
        for text in own {
            wanted.push(('*', pid, id, Box::leak(text.into_boxed_str())));
        }
        if server.mode() != Mode::Thread {
            let text = Box::leak(format!("worker {id} ended").into_boxed_str());
            wanted.push(('$', manager, 0, text));
        }
    }
    let mut left: Vec<&Line> = lines.iter().collect();
    for (mark, pid, id, text) in &wanted {
        let is_it = |line: &&Line| {
            let who = (line.mark, line.pid, line.id);
            who == (*mark, *pid, *id) && line.level == "INFO" && line.message.starts_with(text)
        };
        let at = left.iter().position(is_it);
        let at = at.ok_or_else(|| format!("no '{text}' of {mark}{pid}.{id} in {lines:#?}"))?;
        left.remove(at);
    }
    assert!(left.is_empty(), "more was logged: {left:#?}");
    let place = |text: &str| lines.iter().position(|line| line.message.starts_with(text));
    assert!(place("server started") < place("server is ending"));
    assert!(place("server is ending") < place("worker 0 stopped"));
    assert!(place("worker 1 stopped") < place("manager stopped"));
    assert_eq!(place("server has ended"), Some(lines.len() - 1));
    Ok(())
}

fn each_step_of_life_is_one_line_by_who_took_it(server: &Running) -> Outcome {
    serve_and_end(server)?;
    check_story(server, &parse_all(&server.log())?)
}

fn log_to_file(setup: &Setup) -> Outcome {
    run_with(setup, &[("log_file", log_file().to_str().ok_or("the path is no text")?)])
}

fn file_lines(server: &Running) -> Vec<String> {
    let lines = server.lines_so_far();
    lines.iter().filter_map(|line| line.strip_prefix("log ")).map(str::to_owned).collect()
}

fn a_log_file_takes_all_and_nothing_is_printed(server: &Running) -> Outcome {
    serve_and_end(server)?;
    assert_eq!(server.log(), "");
    // Tabs and all, as they stand in the file.
    check_story(server, &parse_all(&file_lines(server).join("\n"))?)
}

/// Warnings are made by a count that is cut, notices by a close in its own close callback.
fn speak_at(setup: &Setup, level: &str) -> Outcome {
    let server = setup.bare_server("127.0.0.1", SW_SOCK_TCP)?;
    server.set("log_level", level)?;
    server.set("worker_num", "2")?;
    server.set("max_connection", "2000000")?;
    server.on("receive", |server, event| {
        report!("close {}", server.close(event.fd(), false).is_ok());
    })?;
    server.on("close", |server, event| {
        report!("within: {}", server.close(event.fd(), false).is_ok());
    })?;
    server.start()?;
    Ok(())
}

fn speak_from_notice(setup: &Setup) -> Outcome {
    speak_at(setup, "3")
}

fn speak_from_warning(setup: &Setup) -> Outcome {
    speak_at(setup, "4")
}

fn be_silent(setup: &Setup) -> Outcome {
    speak_at(setup, "6")
}

/// How often each level occurs in what was printed.
fn levels_after_a_close(
    server: &Running,
) -> Result<BTreeMap<String, usize>, Box<dyn std::error::Error + Send + Sync>> {
    let mut client = common::Client::connect_when_open(server.port(), server.pid())?;
    client.send(b"close me")?;
    assert!(client.receive_to_end()?.is_empty());
    server.wait_line(|line| line == "within: false", STEP)?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    server.assert_nothing_left()?;
    let mut levels = BTreeMap::new();
    for line in parse_all(&server.log())? {
        *levels.entry(line.level).or_default() += 1;
    }
    Ok(levels)
}

fn a_level_drops_what_is_below_it(server: &Running) -> Outcome {
    let levels = levels_after_a_close(server)?;
    let found: Vec<&str> = levels.keys().map(String::as_str).collect();
    assert_eq!(found, ["NOTICE", "WARNING"]);
    Ok(())
}

fn warnings_stay_at_their_own_level(server: &Running) -> Outcome {
    let levels = levels_after_a_close(server)?;
    assert_eq!(levels, BTreeMap::from([("WARNING".to_owned(), 1)]));
    Ok(())
}

/// A process with two threads cannot fork, so the start fails, which is an error.
fn fail_at(setup: &Setup, level: &str) -> Outcome {
    let (keep, ended) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || ended.recv());
    let server = setup.server()?;
    server.set("log_level", level)?;
    server.on("receive", |_, _| {})?;
    let result = server.start();
    report!("failed: {}", result.is_err_and(|error| error.code == libc::EDEADLK));
    drop(keep);
    report!("thread: {}", other.join().is_ok());
    Ok(())
}

fn fail_loudly(setup: &Setup) -> Outcome {
    fail_at(setup, "5")
}

fn fail_silently(setup: &Setup) -> Outcome {
    fail_at(setup, "6")
}

fn errors_are_printed_at_their_own_level(server: &Running) -> Outcome {
    server.wait_line(|line| line == "failed: true", STEP)?;
    assert!(server.wait_exit(STEP)?.success());
    server.assert_nothing_left()?;
    let lines = parse_all(&server.log())?;
    assert!(!lines.is_empty());
    let is_of_caller = |line: &Line| line.level == "ERROR" && line.pid == server.pid();
    assert!(lines.iter().all(is_of_caller), "{lines:#?}");
    Ok(())
}

fn level_6_drops_errors_too(server: &Running) -> Outcome {
    server.wait_line(|line| line == "failed: true", STEP)?;
    assert!(server.wait_exit(STEP)?.success());
    server.assert_nothing_left()?;
    assert_eq!(server.log(), "");
    Ok(())
}

fn level_6_prints_nothing(server: &Running) -> Outcome {
    assert_eq!(levels_after_a_close(server)?, BTreeMap::new());
    assert_eq!(server.log(), "");
    Ok(())
}

/// A start that fails says why, and the level of one server is not that of the next.
fn fail_to_start(setup: &Setup) -> Outcome {
    let silent = setup.bare_server("127.0.0.1", SW_SOCK_TCP)?;
    silent.set("log_level", "6")?;
    silent.set("log_file", "/proc/none/server.log")?;
    silent.on("receive", |_, _| {})?;
    silent.on("workerStart", |server, _| {
        report!("asked: {}", server.shutdown().is_ok());
    })?;
    silent.start()?;
    drop(silent);
    let loud = setup.bare_server("127.0.0.1", SW_SOCK_TCP)?;
    loud.set("log_file", "/proc/none/server.log")?;
    loud.on("receive", |_, _| {})?;
    loud.on("workerStart", |server, _| {
        report!("asked: {}", server.shutdown().is_ok());
    })?;
    loud.start()?;
    Ok(())
}

fn a_log_file_that_cannot_be_opened_leaves_the_output_where_it_was(server: &Running) -> Outcome {
    assert!(server.wait_exit(STEP)?.success());
    server.assert_nothing_left()?;
    let lines = parse_all(&server.log())?;
    let complaints = lines.iter().filter(|line| line.message.contains("/proc/none/server.log"));
    let complaints: Vec<&Line> = complaints.collect();
    assert!(matches!(complaints.as_slice(), [line] if line.level == "WARNING"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.message.starts_with("server has ended")));
    Ok(())
}

/// Two servers, one after the other: the file of the first takes nothing of the second.
fn log_twice(setup: &Setup) -> Outcome {
    log_to_file(setup)?;
    report!("first over");
    speak(setup)
}

fn the_file_of_a_server_is_not_that_of_the_next(server: &Running) -> Outcome {
    server.wait_lines(2, |line| line.starts_with("worker "), STEP)?;
    server.wait_line(|line| line.starts_with("manager "), STEP)?;
    server.signal(libc::SIGTERM)?;
    server.wait_line(|line| line == "first over", STEP)?;
    server.wait_lines(4, |line| line.starts_with("worker "), STEP)?;
    server.wait_lines(2, |line| line.starts_with("manager "), STEP)?;
    server.signal(libc::SIGTERM)?;
    assert!(server.wait_exit(STEP)?.success());
    server.assert_nothing_left()?;
    let ends = |lines: &[Line]| {
        lines.iter().filter(|line| line.message.starts_with("server has ended")).count()
    };
    assert_eq!(ends(&parse_all(&file_lines(server).join("\n"))?), 1);
    assert_eq!(ends(&parse_all(&server.log())?), 1);
    assert!(!Path::new(&log_file()).exists());
    Ok(())
}

server_tests! {
    each_step_of_life_is_one_line_by_who_took_it: speak;
    a_log_file_takes_all_and_nothing_is_printed: log_to_file;
    a_level_drops_what_is_below_it: speak_from_notice;
    warnings_stay_at_their_own_level: speak_from_warning;
    level_6_prints_nothing: be_silent;
    errors_are_printed_at_their_own_level: fail_loudly, in [Mode::Process, Mode::Base];
    level_6_drops_errors_too: fail_silently, in [Mode::Process, Mode::Base];
    a_log_file_that_cannot_be_opened_leaves_the_output_where_it_was: fail_to_start;
    the_file_of_a_server_is_not_that_of_the_next: log_twice;
}
