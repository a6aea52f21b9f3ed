//! Files that a server writes because it was told to, and whether it says that it runs.

mod common;

use common::prelude::*;
use std::fs;
use std::path::PathBuf;

/// A file of this server's own, in the directory that the harness gave it; its client is told.
fn own_file(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(name);
    report!("file {}", path.display());
    path
}

fn told_file(server: &Running) -> Result<PathBuf, String> {
    let line = server.wait_line(|line| line.starts_with("file "), STEP)?;
    Ok(PathBuf::from(&line["file ".len()..]))
}

fn with_pid_file(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    let path = own_file("server.pid");
    server.set("pid_file", &path.to_string_lossy())?;
    report!("before start {}", server.is_running());
    server.on("start", |server, _| report!("in start {}", server.is_running()))?;
    server.on("receive", |server, event| {
        report!("before the end {}", server.is_running());
        report!("asked {}", server.shutdown().is_ok());
        report!("after asking {}", server.is_running());
        report!("sent {}", server.send(event.fd(), event.data()).is_ok());
    })?;
    server.on("shutdown", move |server, _| report!("in shutdown {}", server.is_running()))?;
    server.start()?;
    report!("after start {}", server.is_running());
    Ok(())
}

fn the_pid_file_stands_while_the_server_runs_and_says_the_callers_pid(server: &Running) -> Outcome {
    server.wait_line(|line| line == "in start true", STEP)?;
    let path = told_file(server)?;
    assert_eq!(fs::read_to_string(&path)?, server.pid().to_string());
    server.connect()?.echo(b"the end")?;
    assert!(server.wait_exit(STEP)?.success());
    assert!(!path.exists(), "the pid file is still there");
    Ok(())
}

fn a_server_runs_from_start_until_its_end_is_asked_for(server: &Running) -> Outcome {
    server.wait_line(|line| line == "in start true", STEP)?;
    server.connect()?.echo(b"the end")?;
    assert!(server.wait_exit(STEP)?.success());
    for wanted in [
        "before start false",
        "before the end true",
        "asked true",
        "after asking false",
        "in shutdown false",
        "after start false",
    ] {
        server.wait_line(|line| line == wanted, STEP)?;
    }
    Ok(())
}

fn with_log_dates(setup: &Setup) -> Outcome {
    let server = setup.server()?;
    let path = own_file("server.log");
    server.set("log_file", &path.to_string_lossy())?;
    server.set("log_date_format", "at %H-%M")?;
    server.set("log_date_with_microseconds", "true")?;
    server.set("log_rotation", "2")?;
    server.set("log_level", "2")?;
    server.on("receive", |_, _| {})?;
    server.start()?;
    for entry in fs::read_dir(std::env::temp_dir())? {
        let entry = entry?;
        report!("found {}", entry.file_name().to_string_lossy());
        for line in fs::read_to_string(entry.path())?.lines() {
            report!("log {line}");
        }
        fs::remove_file(entry.path())?;
    }
    report!("no more files");
    Ok(())
}

/// `[at 12-59<.000123> #77.0]` and a tab stand in front of each line.
fn has_the_date_asked_for(line: &str) -> bool {
    let Some((date, _)) = line.strip_prefix("[at ").and_then(|rest| rest.split_once(">")) else {
        return false;
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((minute, micros)) = date.split_once("<.") else { return false };
    minute.len() == 5 && digits(&minute.replace('-', "")) && micros.len() == 6 && digits(micros)
}

fn the_log_has_the_dates_and_the_file_that_were_asked_for(server: &Running) -> Outcome {
    server.wait_line(|line| line == "ready", STEP)?;
    server.end_in_order()?;
    server.wait_line(|line| line == "no more files", STEP)?;
    let lines = server.lines_so_far();
    let found: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("found ")).collect();
    let [name] = found.as_slice() else { return Err(format!("{found:?}").into()) };
    let stamp = name.strip_prefix("server.log.").ok_or("the name has no stamp")?;
    assert!(stamp.len() == 8 && stamp.bytes().all(|byte| byte.is_ascii_digit()), "{stamp}");
    let text: String = lines
        .iter()
        .filter_map(|line| line.strip_prefix("log "))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(text.lines().count() > 3 && text.lines().all(has_the_date_asked_for), "{text}");
    Ok(())
}

server_tests! {
    the_pid_file_stands_while_the_server_runs_and_says_the_callers_pid: with_pid_file;
    a_server_runs_from_start_until_its_end_is_asked_for: with_pid_file;
    the_log_has_the_dates_and_the_file_that_were_asked_for: with_log_dates;
}
