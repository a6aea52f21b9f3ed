//! Tests of the log. Its sink belongs to the whole process, so each runs in a child of its own.

use super::*;
use crate::os::process;
use crate::os::testing::{passes_in_child, set_zone};
use log::Log as _;
use std::fs;
use std::os::fd::AsRawFd;

/// 2000-03-01 12:34:56.000789 UTC.
const MOMENT_NS: u64 = 951_914_096_000_789_000;

/// A folder that is removed with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = env::temp_dir().join(format!("sw-log-{}", process::pid()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Runs `body` in a child whose log is the file "log" of a folder and whose zone is UTC.
fn with_log(body: impl FnOnce(&Folder)) {
    assert!(passes_in_child(|| {
        set_zone("UTC0");
        let folder = Folder::new();
        open(&folder.path("log")).unwrap();
        assert!(install());
        body(&folder);
    }));
}

#[test]
fn a_line_has_date_mark_pid_worker_level_and_message() {
    with_log(|folder| {
        set_identity(Mark::EventWorker, 3);
        write_message(Level::Warning, format_args!("a {} message", 1), MOMENT_NS);
        let pid = process::pid();
        let line = format!("[2000-03-01 12:34:56 *{pid}.3]\tWARNING\ta 1 message\n");
        assert_eq!(folder.text("log"), line);
    });
}

#[test]
fn every_role_has_its_mark_and_every_thread_its_identity() {
    with_log(|folder| {
        set_date_format("").unwrap();
        let marks = [Mark::Manager, Mark::EventWorker, Mark::TaskWorker, Mark::UserProcess];
        set_identity(Mark::Master, 0);
        std::thread::spawn(|| log::error!("x")).join().unwrap();
        log::error!("x");
        for mark in marks {
            set_identity(mark, 5);
            log::error!("x");
        }
        let pid = process::pid();
        let signs = ["%0", "#0", "$5", "*5", "^5", "@5"];
        let lines = signs.map(|sign| {
            let (mark, worker) = sign.split_at(1);
            format!("[ {mark}{pid}.{worker}]\tERROR\tx\n")
        });
        assert_eq!(folder.text("log"), lines.concat());
    });
}

#[test]
fn each_level_lets_through_what_is_not_below_it() {
    with_log(|folder| {
        for level in 0..=7 {
            fs::write(folder.path("log"), "").unwrap();
            set_level(level);
            log::debug!("x");
            log::trace!("x");
            log::info!("x");
            crate::notice!("x");
            log::warn!("x");
            log::error!("x");
            let text = folder.text("log");
            let names: Vec<_> = text.lines().filter_map(|line| line.split('\t').nth(1)).collect();
            let all = ["DEBUG", "TRACE", "INFO", "NOTICE", "WARNING", "ERROR"];
            assert_eq!(names, all[usize::from(level).min(6)..], "level {level}");
        }
        assert_eq!(level(), LEVEL_NONE);
    });
}

#[test]
fn messages_of_other_crates_are_not_ours() {
    let is_enabled = |target| {
        let metadata = Metadata::builder().level(log::Level::Error).target(target).build();
        FACADE.enabled(&metadata)
    };
    assert!(is_enabled("swoole") && is_enabled("swoole::os::file") && is_enabled(NOTICE_TARGET));
    assert!(!is_enabled("mio::poll") && !is_enabled("swoole_other") && !is_enabled(""));
}

#[test]
fn a_logger_of_the_program_is_left_alone() {
    assert!(passes_in_child(|| {
        log::set_logger(&FACADE).unwrap();
        log::set_max_level(LevelFilter::Debug);
        assert!(!install());
        set_level(LEVEL_NONE);
        assert_eq!(log::max_level(), LevelFilter::Debug);
    }));
}

#[test]
fn the_date_follows_its_format_and_shows_microseconds_if_asked() {
    with_log(|folder| {
        set_date_format("%H:%M").unwrap();
        set_microseconds(true);
        let error = set_date_format(&"x".repeat(128)).unwrap_err();
        assert_eq!(error.code(), code::INVALID_PARAMS);
        write_message(Level::Info, format_args!("x"), MOMENT_NS);
        set_microseconds(false);
        write_message(Level::Info, format_args!("x"), MOMENT_NS);
        let text = folder.text("log");
        let dates: Vec<_> = text.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(dates, ["[12:34<.000789>", "[12:34"]);
    });
}

#[test]
fn a_long_message_is_cut_between_characters_and_stays_one_line() {
    with_log(|folder| {
        for shift in 0..4 {
            fs::write(folder.path("log"), "").unwrap();
            let (pad, long) = ("x".repeat(shift), "\u{1F600}".repeat(MAX_LINE));
            log::warn!("{pad}{long}{}", "behind");
            let text = folder.text("log");
            assert!((MAX_LINE - 4..=MAX_LINE).contains(&text.len()), "{}", text.len());
            assert!(text.ends_with("\u{1F600}...\n") && text.lines().count() == 1);
        }
        fs::write(folder.path("log"), "").unwrap();
        log::warn!("{}", "x".repeat(MAX_LINE - 100));
        assert!(folder.text("log").ends_with("xx\n"));
    });
}

#[test]
fn a_message_may_log_while_it_is_put_into_words() {
    struct Chatty;
    impl fmt::Display for Chatty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            log::info!("inner");
            set_microseconds(true);
            f.write_str("outer")
        }
    }
    with_log(|folder| {
        log::info!("{Chatty}");
        let text = folder.text("log");
        let messages: Vec<_> = text.lines().filter_map(|line| line.split('\t').nth(2)).collect();
        assert_eq!(messages, ["inner", "outer"]);
    });
}

#[test]
fn a_moved_file_is_made_again_and_a_failure_keeps_the_old_one() {
    with_log(|folder| {
        log::info!("before");
        fs::rename(folder.path("log"), folder.path("old")).unwrap();
        log::info!("moved");
        reopen().unwrap();
        log::info!("after");
        assert_eq!(folder.text("old").lines().count(), 2);
        assert!(folder.text("log").ends_with("\tafter\n"));
        assert!(open(&folder.path("no/such/folder")).is_err());
        log::info!("still");
        assert!(folder.text("log").ends_with("\tstill\n"));
    });
}

#[test]
fn a_relative_path_holds_after_the_working_directory_has_changed() {
    with_log(|folder| {
        env::set_current_dir(&folder.0).unwrap();
        open(Path::new("relative")).unwrap();
        env::set_current_dir("/").unwrap();
        fs::remove_file(folder.path("relative")).unwrap();
        reopen().unwrap();
        log::info!("here");
        assert!(folder.text("relative").ends_with("\there\n"));
    });
}

#[test]
fn each_period_has_its_file() {
    let names = [
        (Rotation::Single, "log"),
        (Rotation::Monthly, "log.200003"),
        (Rotation::Daily, "log.20000301"),
        (Rotation::Hourly, "log.2000030112"),
        (Rotation::EveryMinute, "log.200003011234"),
    ];
    for (rotation, name) in names {
        with_log(|folder| {
            set_rotation(rotation).unwrap();
            write_message(Level::Info, format_args!("first"), MOMENT_NS);
            write_message(Level::Info, format_args!("second"), MOMENT_NS + NS_PER_S);
            assert_eq!(folder.text(name).lines().count(), 2);
            write_message(Level::Info, format_args!("later"), MOMENT_NS + 31 * 86_400 * NS_PER_S);
            let expected = if rotation == Rotation::Single { 3 } else { 2 };
            assert_eq!(folder.text(name).lines().count(), expected);
        });
    }
}

#[test]
fn a_period_whose_file_cannot_be_opened_is_written_to_the_old_one() {
    with_log(|folder| {
        set_rotation(Rotation::Daily).unwrap();
        write_message(Level::Info, format_args!("first"), MOMENT_NS);
        fs::create_dir(folder.path("log.20000302")).unwrap();
        for message in ["second", "third"] {
            write_message(Level::Info, format_args!("{message}"), MOMENT_NS + 86_400 * NS_PER_S);
        }
        let text = folder.text("log.20000301");
        let levels: Vec<_> = text.lines().filter_map(|line| line.split('\t').nth(1)).collect();
        assert_eq!(levels, ["INFO", "WARNING", "INFO", "INFO"]);
    });
}

#[test]
fn without_a_file_lines_go_to_standard_output_and_lost_ones_are_counted() {
    with_log(|_| {
        let (read, write) = nix::unistd::pipe().unwrap();
        nix::unistd::dup2(write.as_raw_fd(), 1).unwrap();
        close();
        log::error!("seen");
        let mut bytes = [0; 256];
        let size = nix::unistd::read(read.as_raw_fd(), &mut bytes).unwrap();
        assert!(bytes[..size].ends_with(b"\tERROR\tseen\n"));
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        nix::unistd::dup2(full.as_raw_fd(), 1).unwrap();
        assert_eq!(lost_lines(), 0);
        log::error!("lost");
        assert_eq!(lost_lines(), 1);
    });
}

#[test]
fn standard_output_follows_the_file_when_it_is_opened_again() {
    with_log(|folder| {
        take_standard_output().unwrap();
        nix::unistd::write(io::stdout(), b"printed 1\n").unwrap();
        fs::rename(folder.0.join("log"), folder.0.join("old")).unwrap();
        reopen().unwrap();
        nix::unistd::write(io::stdout(), b"printed 2\n").unwrap();
        nix::unistd::write(io::stderr(), b"printed 3\n").unwrap();
        assert_eq!(folder.text("old"), "printed 1\n");
        assert_eq!(folder.text("log"), "printed 2\nprinted 3\n");
        close();
        take_standard_output().unwrap();
        nix::unistd::write(io::stdout(), b"into nowhere\n").unwrap();
        assert_eq!(folder.text("log"), "printed 2\nprinted 3\n");
    });
}

#[test]
fn lines_of_two_processes_do_not_mix() {
    with_log(|folder| {
        let long = "y".repeat(5000);
        let (child, pidfd) = match process::fork().unwrap() {
            process::Forked::Parent { pid, pidfd } => (pid, pidfd),
            process::Forked::Child { .. } => {
                (0..50).for_each(|_| log::info!("{long}"));
                let lost = i32::try_from(lost_lines()).unwrap_or(1);
                process::exit(lost)
            }
        };
        (0..50).for_each(|_| log::info!("{long}"));
        assert!(process::wait_for(&pidfd, Some(std::time::Duration::from_secs(10))).unwrap());
        assert_eq!(process::reap(child).unwrap().unwrap().exit_code(), Some(0));
        let text = folder.text("log");
        let of = |pid| {
            let head = format!(" %{pid}.0]\tINFO\t{long}");
            text.lines().filter(|line| line.ends_with(&head)).count()
        };
        assert_eq!((of(child), of(process::pid())), (50, 50));
        assert_eq!(text.lines().count(), 100);
    });
}

#[test]
fn a_gate_passes_one_a_second_and_counts_the_others() {
    let gate = Gate::new();
    assert_eq!(gate.pass(0), Some(0));
    assert_eq!(gate.pass(5), None);
    assert_eq!(gate.pass(NS_PER_S), None);
    assert_eq!(gate.pass(NS_PER_S + 1), Some(2));
    assert_eq!(gate.pass(NS_PER_S), None);
    assert_eq!(gate.pass(5 * NS_PER_S), Some(1));
}

#[test]
fn each_place_of_a_limited_warning_has_its_own_limit() {
    with_log(|folder| {
        for round in 0..3 {
            crate::warn_limited!("one {round}");
            crate::warn_limited!("two {}", round);
        }
        let text = folder.text("log");
        let messages: Vec<_> = text.lines().filter_map(|line| line.split('\t').nth(2)).collect();
        assert_eq!(messages, ["one 0", "two 0"]);
    });
}
