//! The rules: each a function from a source file to what is wrong in it, with samples that it must
//! flag and samples that it must let pass, so that a rule cannot go blind.

use crate::docs;
use crate::source::{words, Source};

/// What is wrong and in which line.
pub type Complaints = Vec<(usize, String)>;

pub struct Rule {
    pub name: &'static str,
    pub check: fn(&Source) -> Complaints,
    /// Path and text that the rule must flag.
    pub bad: &'static [(&'static str, &'static str)],
    /// Path and text that the rule must let pass.
    pub good: &'static [(&'static str, &'static str)],
}

pub const RULES: &[Rule] = &[
    Rule {
        name: "a file opens with //!",
        check: opens_with_its_purpose,
        bad: &[("src/os/a.rs", "// What?\nuse b;"), ("tests/a.rs", "")],
        good: &[("src/os/a.rs", "//! What it is.\n")],
    },
    Rule {
        name: "a line has at most 100 columns",
        check: lines_are_short,
        bad: &[(
            "src/os/a.rs",
            concat!(
                "//! ",
                "0123456789012345678901234567890123456789012345678",
                "901234567890123456789012345678901234567890123456"
            ),
        )],
        good: &[(
            "src/os/a.rs",
            concat!(
                "//! ",
                "0123456789012345678901234567890123456789012345678",
                "90123456789012345678901234567890123456789012345"
            ),
        )],
    },
    Rule {
        name: "a file has at most 500 lines without its tests",
        check: files_are_short,
        bad: &[("src/os/a.rs", LONG_FILE)],
        good: &[("src/os/a.rs", LONG_TESTS), ("tests/a/main.rs", "//! Short.\n")],
    },
    Rule {
        name: "a function has at most 70 lines",
        check: functions_are_short,
        bad: &[("src/os/a.rs", LONG_FUNCTION), ("tests/a.rs", LONG_FUNCTION)],
        good: &[("src/os/a.rs", "trait T {\n    fn a(b: [u8; 2]);\n}\ntype F = fn(u8);\n")],
    },
    Rule {
        name: "a file uses only the floors below its own",
        check: floors_are_in_order,
        bad: &[
            ("src/os/a.rs", "use crate::shm::region;"),
            ("src/error.rs", "use crate::log;"),
            ("src/os/b.rs", "use crate::log;"),
            ("src/event/mod.rs", "use crate::{error::Result, ipc::inbox};"),
            ("src/net/tls.rs", "fn a() {\n    crate::event::post();\n}"),
            ("src/model/plan.rs", "use crate::{\n    os::futex,\n    unit::{Unit, spawn},\n};"),
            ("src/proto/http/a.rs", "use super::super::super::unit::Unit;"),
            ("src/os/mod.rs", "use super::shm;"),
            ("src/attic/a.rs", "//! A floor that nobody knows."),
        ],
        good: &[
            ("src/unit/master.rs", "use crate::{error::{Error, Result}, model::plan};"),
            ("src/os/a.rs", "use crate::error::Result;\n// crate::shm is above\nuse super::b;"),
            ("src/os/a.rs", "#[cfg(test)]\nmod tests {\n    use crate::shm::region;\n}"),
            ("src/lib.rs", "pub mod ffi;"),
        ],
    },
    Rule {
        name: "an outside crate is named in its place only",
        check: crates_are_in_place,
        bad: &[
            ("src/net/stream.rs", "use mio::Token;"),
            ("src/shm/table.rs", "let map = memmap2::MmapRaw::map_raw(1);"),
            ("src/ipc/inbox.rs", "use nix::errno::Errno;"),
            ("src/unit/manager.rs", "use libc;"),
            ("src/ipc/lane.rs", "use crossbeam_queue::ArrayQueue;"),
            ("src/unit/reactor/input.rs", "use rustls::ServerConfig;"),
        ],
        good: &[
            ("src/event/mod.rs", "use mio::Token; use crate::os::mio_like;"),
            ("src/shm/region.rs", "use memmap2::MmapRaw;"),
            ("src/error.rs", "#[cfg(test)]\nmod tests {\n    use libc::EADDRINUSE;\n}"),
            ("src/unit/a.rs", "let libc = 1; // libc::fork"),
        ],
    },
    Rule {
        name: "fork is called in os/process.rs and unit/spawn.rs only",
        check: fork_is_in_place,
        bad: &[("src/unit/manager.rs", "process::fork()?;"), ("src/os/a.rs", "libc::fork ();")],
        good: &[
            ("src/unit/spawn.rs", "process::fork()?;"),
            ("src/unit/manager.rs", "spawn::refork(); // fork() stands elsewhere\nlet fork = 1;"),
        ],
    },
    Rule {
        name: "modes are told apart in model/plan.rs only",
        check: mode_is_in_place,
        bad: &[
            ("src/unit/a.rs", "if m == Mode::Base {}"),
            ("src/unit/a.rs", "Mode::parse(mode)"),
            ("src/server/a.rs", "Mode::Thread"),
            ("src/ffi/a.rs", "use crate::model::plan::Mode::*;"),
        ],
        good: &[
            ("src/model/plan.rs", "Mode::Base => 1,"),
            ("src/ffi/server.rs", "Mode::parse(mode)?"),
            ("src/os/file.rs", "nix::sys::stat::Mode::empty()"),
            ("src/unit/a.rs", "let text = \"Mode::Base\"; DispatchMode::Stream"),
        ],
    },
    Rule {
        name: "unsafe stands in os, shm, ipc and ffi only",
        check: unsafe_is_in_place,
        bad: &[
            ("src/unit/a.rs", "// SAFETY: none\nunsafe { a() }"),
            ("src/net/a.rs", "#[cfg(test)]\nmod tests {\n    unsafe fn a() {}\n}"),
        ],
        good: &[("src/unit/a.rs", "#![forbid(unsafe_code)] // unsafe"), ("src/os/a.rs", "unsafe")],
    },
    Rule {
        name: "each unsafe act has its reason above it",
        check: unsafe_has_its_reason,
        bad: &[
            ("src/os/a.rs", "// Safe enough.\nunsafe { a() }"),
            ("src/os/a.rs", "// SAFETY: of the other one.\nunsafe { a() };\nunsafe { b() };"),
            ("src/shm/a.rs", "unsafe impl Shared for A {}"),
            ("src/shm/a.rs", "/// Adds.\npub unsafe fn add() {}"),
            ("src/shm/a.rs", "/// Shared.\npub unsafe trait Shared {}"),
        ],
        good: &[
            ("src/os/a.rs", "// SAFETY: it is.\nlet a =\n    call(1, unsafe { a() });"),
            ("src/os/a.rs", "// SAFETY: two\n// lines.\n#[allow(b)]\nunsafe impl Send for A {}"),
            ("src/shm/a.rs", "/// # Safety\n/// - never.\n#[inline]\npub unsafe fn add() {}"),
            ("src/ffi/a.rs", "type F = unsafe extern \"C\" fn(u8);"),
        ],
    },
    Rule {
        name: "nothing panics outside the tests",
        check: nothing_panics,
        bad: &[
            ("src/os/a.rs", "let a = b.unwrap();"),
            ("src/os/a.rs", "b\n    .expect(\"b\");"),
            ("src/os/a.rs", concat!("to", "do!()")),
            ("src/os/a.rs", "panic!(\"no\");"),
            ("src/os/a.rs", "_ => unreachable!(),"),
        ],
        good: &[
            ("src/os/a.rs", "b.unwrap_or(1); std::panic::catch_unwind(c); \"panic!\";"),
            ("src/os/a.rs", "#[cfg(test)]\nmod tests {\n    fn a() { b.unwrap() }\n}"),
        ],
    },
    Rule {
        name: "a result that is dropped says why",
        check: drops_say_why,
        bad: &[("src/os/a.rs", "let a = 1;\nlet _ = close(a);")],
        good: &[
            ("src/os/a.rs", "// It is closed either way.\nlet _ = close(a);\nlet _rest = 1;"),
            ("src/os/a.rs", "let _ = close(a); // closed either way"),
        ],
    },
    Rule {
        name: "no work is left behind in a mark",
        check: nothing_is_unfinished,
        bad: &[
            ("src/os/a.rs", concat!("// TO", "DO: later")),
            ("c-examples/a.c", concat!("/* FIX", "ME */")),
            ("tests/a.rs", concat!("//! XX", "X")),
        ],
        good: &[("src/os/a.rs", "//! A todoist."), ("tests/a.rs", "let xxx = 1;")],
    },
    Rule {
        name: "an exported function has its comment in order",
        check: docs::exported_functions_are_documented,
        bad: docs::BAD,
        good: docs::GOOD,
    },
];

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const COLUMNS: usize = 100;

const LONG_FILE: &str = concat_lines!("//! Long.\n", "//\n", 500, "");
const LONG_TESTS: &str = concat_lines!("#[cfg(test)]\nmod tests {\n", "//\n", 500, "}\n");
const LONG_FUNCTION: &str = concat_lines!("fn long() {\n", "a();\n", 69, "}\n");

/// The floors from the ground up; those of one row do not know each other.
const FLOORS: &[&[&str]] = &[
    &["error"],
    &["os"],
    &["log"],
    &["shm"],
    &["ipc", "event", "net", "proto"],
    &["model"],
    &["unit"],
    &["server"],
    &["ffi"],
];

/// The crates that are kept in their place, and the places.
const CRATES: &[(&str, &[&str])] = &[
    ("mio", &["event/"]),
    ("memmap2", &["shm/region.rs"]),
    ("nix", &["os/"]),
    ("corosensei", &["os/second_stack.rs"]),
    ("libc", &["os/", "shm/", "net/", "ipc/", "ffi/"]),
    ("crossbeam_queue", &["event/post.rs"]),
    ("rustls", &["net/tls/"]),
    ("webpki", &["net/tls/"]),
    ("ring", &["net/tls/"]),
    ("pkcs8", &["net/tls/"]),
];

/// Panics that run in the compiler and never in a program.
const COMPILE_TIME_PANICS: &[(&str, &str)] = &[
    ("src/error.rs", "Err(_) => panic!("),
    ("src/os/clock.rs", "Err(_) => panic!(\"a format without its end\")"),
    ("src/shm/region.rs", "Err(_) => panic!(\"the name holds a NUL byte\")"),
];

fn opens_with_its_purpose(source: &Source) -> Complaints {
    let opens = source.lines.first().is_some_and(|line| line.raw.starts_with("//! "));
    let is_rust = source.path.ends_with(".rs");
    if is_rust && !opens {
        vec![(1, "says nothing about itself".to_owned())]
    } else {
        vec![]
    }
}

fn lines_are_short(source: &Source) -> Complaints {
    let width = source.lines.iter().map(|line| line.raw.chars().count());
    let long = width.enumerate().filter(|(_, columns)| *columns > COLUMNS);
    long.map(|(index, columns)| (index + 1, format!("{columns} columns"))).collect()
}

fn files_are_short(source: &Source) -> Complaints {
    let is_library = source.path.starts_with("src/");
    let counts = |is_test: bool| !is_library || !is_test;
    let count = source.lines.iter().filter(|line| counts(line.is_test)).count();
    if count > FILE_LINES {
        vec![(count, format!("{count} lines"))]
    } else {
        vec![]
    }
}

fn functions_are_short(source: &Source) -> Complaints {
    let mut found = Vec::new();
    if !source.path.ends_with(".rs") {
        return found;
    }
    for (index, line) in source.lines.iter().enumerate() {
        let name = words(&line.code).skip_while(|(word, _)| *word != "fn").nth(1);
        let Some((name, _)) = name.filter(|_| !line.code.contains("fn(")) else { continue };
        let length = source.end_of_item(index) + 1 - index;
        if length > FUNCTION_LINES {
            found.push((index + 1, format!("{name} has {length} lines")));
        }
    }
    found
}

fn floors_are_in_order(source: &Source) -> Complaints {
    let floor = source.floor();
    if floor.is_empty() || floor == "lib" {
        return vec![];
    }
    let row = |name: &str| FLOORS.iter().position(|row| row.contains(&name));
    let Some(own) = row(floor) else {
        return vec![(1, format!("`{floor}` is no floor of the house"))];
    };
    let code = source.library_code();
    let mut found = escapes_upwards(source, &code);
    for (at, _) in code.match_indices("crate::") {
        for name in named_in_crate(&code[at + "crate::".len()..]) {
            let is_below = row(name).is_some_and(|other| other < own);
            if name != floor && row(name).is_some() && !is_below {
                found.push((line_of(&code, at), format!("`{floor}` must not know `{name}`")));
            }
        }
    }
    found
}

/// `super::` that leaves the floor, which would hide a use of another one.
fn escapes_upwards(source: &Source, code: &str) -> Complaints {
    let path = source.in_src();
    let is_root =
        !path.contains('/') || path.matches('/').count() == 1 && path.ends_with("/mod.rs");
    let way = if is_root { "super::" } else { "super::super::" };
    let hits = code.match_indices(way);
    hits.map(|(at, _)| (line_of(code, at), format!("`{way}` hides a floor: say crate::"))).collect()
}

/// The first names of the paths behind `crate::`: one, or each of a group in braces.
fn named_in_crate(rest: &str) -> Vec<&str> {
    let first = |text| words(text).next().map(|(name, _)| name);
    let Some(group) = rest.strip_prefix('{') else { return first(rest).into_iter().collect() };
    let (mut depth, mut start, mut names) = (0usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        let ends = depth == 0 && (c == ',' || c == '}');
        if ends {
            names.extend(first(&group[start..at]));
            start = at + 1;
        }
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Complains of each word of the library's code for which `is_wrong(word, what follows)`.
fn wrong_words(source: &Source, is_wrong: impl Fn(&str, &str) -> bool) -> Complaints {
    let mut found = Vec::new();
    for (number, line) in source.library_lines() {
        let wrong = words(&line.code).filter(|(word, rest)| is_wrong(word, rest));
        found.extend(wrong.map(|(word, _)| (number, format!("`{word}` does not belong here"))));
    }
    found
}

fn is_in(source: &Source, places: &[&str]) -> bool {
    places.iter().any(|place| source.in_src().starts_with(place))
}

fn crates_are_in_place(source: &Source) -> Complaints {
    let is_used = |rest: &str| rest.starts_with("::") || rest.trim_start().starts_with(';');
    wrong_words(source, |word, rest| {
        let place = CRATES.iter().find(|(name, _)| *name == word);
        is_used(rest) && place.is_some_and(|(_, places)| !is_in(source, places))
    })
}

fn fork_is_in_place(source: &Source) -> Complaints {
    let is_free = is_in(source, &["os/process.rs", "unit/spawn.rs"]);
    wrong_words(source, |word, rest| {
        !is_free && (word == "fork" || word == "vfork") && rest.trim_start().starts_with('(')
    })
}

/// A mode may be read and printed at the border of the library, but only the plan tells them apart.
fn mode_is_in_place(source: &Source) -> Complaints {
    let knows_modes = is_in(source, &["model/", "unit/", "server/", "ffi/"]);
    let is_free = is_in(source, &["model/plan.rs", "model/settings.rs"]);
    let may_read = is_in(source, &["server/", "ffi/"]);
    wrong_words(source, |word, rest| {
        let name = rest.strip_prefix("::").filter(|_| word == "Mode");
        let is_read = |name: &str| may_read && name.starts_with(|c: char| c.is_lowercase());
        knows_modes && !is_free && name.is_some_and(|name| !is_read(name))
    })
}

fn unsafe_is_in_place(source: &Source) -> Complaints {
    if source.in_src().is_empty() || is_in(source, &["os/", "shm/", "ipc/", "ffi/"]) {
        return vec![];
    }
    let lines = source.lines.iter().enumerate();
    let bad = lines.filter(|(_, line)| words(&line.code).any(|(word, _)| word == "unsafe"));
    bad.map(|(index, _)| (index + 1, "unsafe does not belong here".to_owned())).collect()
}

fn unsafe_has_its_reason(source: &Source) -> Complaints {
    let mut found = Vec::new();
    for (index, line) in source.lines.iter().enumerate() {
        for (_, rest) in words(&line.code).filter(|(word, _)| *word == "unsafe") {
            let next = rest.trim_start();
            let is_promise = next.starts_with("fn ")
                || next.starts_with("trait ")
                || next.starts_with("extern")
                    && words(next).nth(1).is_some_and(|(w, r)| w == "fn" && !r.starts_with('('));
            let is_act = next.starts_with('{') || next.starts_with("impl") || next.is_empty();
            if is_act && !comment_above(source, index).contains("SAFETY:") {
                found.push((index + 1, "unsafe without // SAFETY: above it".to_owned()));
            }
            if is_promise && !comment_above(source, index).contains("# Safety") {
                found.push((index + 1, "unsafe without # Safety in its comment".to_owned()));
            }
        }
    }
    found
}

/// The comments of a line and above the statement that it is a part of.
fn comment_above(source: &Source, index: usize) -> String {
    let mut text = source.lines[index].comment.clone();
    for line in source.lines[..index].iter().rev() {
        let code = line.code.trim_end();
        let is_attribute = code.trim_start().starts_with("#[");
        let ends_another = code.is_empty() || code.ends_with([';', '{', '}', ',']);
        if !line.is_comment() && !is_attribute && ends_another {
            break;
        }
        text.push_str(&line.comment);
    }
    text
}

fn nothing_panics(source: &Source) -> Complaints {
    let mut found = Vec::new();
    for (number, line) in source.library_lines() {
        let is_known =
            |(path, text): &(&str, &str)| source.path == *path && line.raw.contains(text);
        if COMPILE_TIME_PANICS.iter().any(is_known) {
            continue;
        }
        for (word, rest) in words(&line.code) {
            let before = &line.code[..line.code.len() - rest.len() - word.len()];
            let is_call = before.ends_with('.') && rest.starts_with('(');
            let panics = match word {
                "unwrap" | "expect" => is_call,
                "panic" | "todo" | "unimplemented" | "unreachable" => rest.starts_with('!'),
                _ => false,
            };
            if panics {
                found.push((number, format!("`{word}` may panic")));
            }
        }
    }
    found
}

fn drops_say_why(source: &Source) -> Complaints {
    let mut found = Vec::new();
    for (number, line) in source.library_lines() {
        let drops = line.code.contains("let _ =");
        let above = number.checked_sub(2).and_then(|index| source.lines.get(index));
        let is_explained = !line.comment.is_empty() || above.is_some_and(|line| line.is_comment());
        if drops && !is_explained {
            found.push((number, "a result is dropped without a word".to_owned()));
        }
    }
    found
}

fn nothing_is_unfinished(source: &Source) -> Complaints {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut found = Vec::new();
    for (index, line) in source.lines.iter().enumerate() {
        if words(&line.raw).any(|(word, _)| marks.contains(&word)) {
            found.push((index + 1, "unfinished".to_owned()));
        }
    }
    found
}
