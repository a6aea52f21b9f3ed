//! The binary interface is the one that is written down in `tests/abi/lp64.txt`: every function and
//! callback with its types, every structure with size and place of its members, every constant with
//! its value, as the compiler sees them. A program that was built against an older header goes on
//! working as long as no line of it is gone.
//!
//! After a change that is meant to be: `make abi` (`UPDATE_ABI=1 cargo test --test abi`), and, if a
//! line is gone, another first number of the version, which the name of the library has in it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

type Lines = BTreeSet<String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header() -> String {
    fs::read_to_string(root().join("include/swoole.h")).expect("include/swoole.h is there")
}

fn description() -> PathBuf {
    root().join("tests/abi/lp64.txt")
}

/// What a header declares, still as text.
#[derive(Default)]
struct Declarations {
    /// Macros that have a value.
    constants: Vec<String>,
    /// Names in enumerations, each behind its type.
    enumerators: Vec<(String, String)>,
    /// Structures and unions, and their members: type and name.
    records: Vec<(String, Vec<(String, String)>)>,
    enums: Vec<String>,
    /// What the compiler need not be asked: functions, callbacks, types without a content.
    signatures: Lines,
}

/// The header without comments and preprocessor; the names of its macros apart.
fn bare(header: &str) -> (String, Vec<String>) {
    let mut code = String::new();
    let mut rest = header;
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    code.push_str(rest);
    let (mut text, mut macros, mut is_cpp) = (String::new(), Vec::new(), false);
    for line in code.lines().map(|line| line.split("//").next().unwrap_or(line).trim()) {
        match line.strip_prefix('#') {
            Some(directive) => {
                let value = directive.strip_prefix("define ").and_then(|it| it.split_once(' '));
                macros.extend(value.map(|(name, _)| name.to_owned()));
                is_cpp = directive.starts_with("ifdef __cplusplus");
            }
            None if is_cpp => {}
            None => _ = write!(text, " {line}"),
        }
    }
    (text, macros)
}

/// Splits at `;` outside of braces, and makes every gap one space.
fn statements(text: &str) -> Vec<String> {
    let (mut found, mut current, mut depth) = (Vec::new(), String::new(), 0);
    for letter in text.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if letter == ';' && depth == 0 {
            found.push(current.split_whitespace().collect::<Vec<_>>().join(" "));
            current.clear();
        } else {
            current.push(letter);
        }
    }
    assert!(current.trim().is_empty() && depth == 0, "the header ends in: {current}");
    found
}

/// `const uint8_t *data` as type and name; an array has its length with the type.
fn type_and_name(text: &str) -> (String, String) {
    let (text, array) = text.split_once('[').map_or((text, ""), |(text, array)| (text, array));
    let text = text.trim();
    let place = text.rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |it| it + 1);
    let (kind, name) = text.split_at(place);
    match (kind.is_empty(), array.is_empty()) {
        (true, _) => (name.to_owned(), String::new()), // `void`
        (false, true) => (kind.trim().to_owned(), name.to_owned()),
        (false, false) => (format!("{} [{array}", kind.trim()), name.to_owned()),
    }
}

fn types(parameters: &str) -> String {
    parameters.split(',').map(|it| type_and_name(it).0).collect::<Vec<_>>().join(", ")
}

impl Declarations {
    fn of(header: &str) -> Self {
        let (text, constants) = bare(header);
        let mut found = Self { constants, ..Self::default() };
        for statement in statements(&text) {
            found.take(&statement);
        }
        found
    }

    fn take(&mut self, statement: &str) {
        let body = statement.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}'));
        let body = body.map(|(body, name)| (body, name.trim().to_owned()));
        match (statement.strip_prefix("typedef "), body) {
            (Some(kind), Some((body, name))) if kind.starts_with("enum") => {
                let names = body.split(',').filter_map(|row| row.split('=').next());
                let names = names.map(str::trim).filter(|it| !it.is_empty());
                self.enumerators.extend(names.map(|it| (name.clone(), it.to_owned())));
                self.enums.push(name);
            }
            (Some(_), Some((body, name))) => {
                let members = body.split(';').filter(|it| !it.trim().is_empty());
                self.records.push((name, members.map(type_and_name).collect()));
            }
            (Some(alias), None) => match alias.split_once("(*") {
                Some((value, rest)) => {
                    let (name, parameters) = rest.split_once(")(").expect("a type of function");
                    let parameters = types(parameters.trim_end_matches(')'));
                    self.signatures.insert(format!("callback {name}: {value}({parameters})"));
                }
                None => drop(self.signatures.insert(format!("opaque {alias}"))),
            },
            (None, _) => {
                let (head, parameters) = statement.split_once('(').expect("a function");
                let (value, name) = type_and_name(head);
                let parameters = types(parameters.trim_end_matches(')'));
                self.signatures.insert(format!("function {name}: {value} ({parameters})"));
            }
        }
    }

    /// A program that prints what only the compiler knows.
    fn questions(&self) -> String {
        let mut text = "#include <stdio.h>\n#include \"swoole.h\"\nint main(void)\n{\n".to_owned();
        let mut ask = |format: &str, values: &str| {
            _ = writeln!(text, "printf(\"{format}\\n\", {values});");
        };
        for name in &self.constants {
            ask(&format!("constant {name} %lld"), &format!("(long long)({name})"));
        }
        for (kind, name) in &self.enumerators {
            ask(&format!("constant {name} %lld of {kind}"), &format!("(long long){name}"));
        }
        for name in &self.enums {
            ask(&format!("enum {name}: %zu bytes"), &format!("sizeof({name})"));
        }
        for (record, members) in &self.records {
            let values = format!("sizeof({record}), _Alignof({record})");
            ask(&format!("record {record}: %zu bytes, aligned to %zu"), &values);
            for (kind, name) in members {
                let values = format!("offsetof({record}, {name}), sizeof((({record} *)0)->{name})");
                ask(&format!("member {record}.{name}: %zu, %zu bytes, {kind}"), &values);
            }
        }
        text.push_str("return 0;\n}\n");
        text
    }
}

/// The lines that describe a header, which is written into a folder of this name.
fn describe(name: &str, header: &str) -> Lines {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("a folder can be made");
    let (source, program) = (folder.join("questions.c"), folder.join("questions"));
    let mut declarations = Declarations::of(header);
    fs::write(folder.join("swoole.h"), header).expect("a header can be written");
    fs::write(&source, declarations.questions()).expect("a program can be written");
    let mut compile = Command::new("cc");
    compile.args(["-std=c11", "-Wall", "-Werror", "-I"]).args([&folder, &source]);
    let output = compile.arg("-o").arg(&program).output().expect("cc runs, see scripts/setup");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new(&program).output().expect("the program runs");
    let mut lines = std::mem::take(&mut declarations.signatures);
    lines.extend(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned));
    lines
}

/// What is different, a line each; empty if nothing.
fn differences(written: &Lines, now: &Lines) -> String {
    let mut text = String::new();
    for line in written.difference(now) {
        _ = writeln!(text, "gone: {line}");
    }
    for line in now.difference(written) {
        _ = writeln!(text, "new:  {line}");
    }
    text
}

#[test]
fn the_abi_is_the_one_that_is_written_down() {
    if cfg!(not(target_pointer_width = "64")) {
        println!("skipped: the ABI is written down for 64 bits only");
        return;
    }
    let now = describe("abi", &header());
    if std::env::var_os("UPDATE_ABI").is_some() {
        let text = now.iter().fold(String::new(), |text, line| text + line + "\n");
        fs::write(description(), text).expect("the description can be written");
    }
    let text = fs::read_to_string(description()).expect("tests/abi/lp64.txt is there: make abi");
    let differences = differences(&text.lines().map(str::to_owned).collect(), &now);
    assert!(differences.is_empty(), "The ABI has changed:\n{differences}If it should: make abi");
}

/// Languages that do not read the header have its numbers in them, and may not be here to be run.
#[test]
fn the_numbers_in_the_examples_are_those_of_the_header() {
    let now = describe("abi-examples", &header());
    let has = |beginning: String| now.iter().any(|line| line.starts_with(&beginning));
    let mut checked = 0;
    for file in ["c-examples/ffi/server.rb", "c-examples/ffi/server_ctypes.py"] {
        let text = fs::read_to_string(root().join(file)).expect("an example");
        // `RECEIVE, CLOSE = 13, 14`
        for (names, values) in text.lines().filter_map(|line| line.split_once(" = ")) {
            let values = values.split('#').next().unwrap_or(values).split(',');
            for (name, value) in names.split(',').zip(values) {
                let (name, value) = (name.trim(), value.trim());
                let is_number = value.parse::<i64>().is_ok();
                if !is_number || name.contains(|c: char| !c.is_ascii_uppercase() && c != '_') {
                    continue;
                }
                let constant = |prefix: &str| {
                    let line = format!("constant SW_{prefix}{name} {value}");
                    now.contains(&line) || has(line + " of ")
                };
                let is_right = ["", "SOCK_", "EVENT_", "NEXT_"].iter().any(|it| constant(it));
                assert!(is_right, "{file}: {name} is not {value}");
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "{checked} numbers");
    let text = fs::read_to_string(root().join("c-examples/ffi/server.rb")).expect("an example");
    let places = [
        ("RECEIVE", "sw_conn_event_t"),
        ("FINISH", "sw_task_result_t"),
        ("PIPE_MESSAGE", "sw_pipe_message_t"),
        ("TASK", "sw_task_t"),
    ];
    for (name, record) in places {
        let place = text.split(&format!(" {name} => ")).nth(1).expect("where its bytes are");
        let place = place.split(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
        assert!(has(format!("member {record}.data: {place}, ")), "{name} => {place}");
    }
}

#[test]
fn nothing_of_the_header_is_forgotten() {
    let header = header();
    let now = describe("abi-whole", &header);
    let names: BTreeSet<&str> = now
        .iter()
        .flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')))
        .collect();
    let (text, macros) = bare(&header);
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.to_ascii_lowercase().starts_with("sw_"));
    let missing: BTreeSet<&str> =
        ours.chain(macros.iter().map(String::as_str)).filter(|it| !names.contains(it)).collect();
    assert!(missing.is_empty(), "not described: {missing:?}");
    assert!(now.len() > 300, "{} lines", now.len());
}

#[test]
fn every_kind_of_change_is_noticed() {
    let header = header();
    let before = describe("abi-before", &header);
    let fields = "    uint8_t opcode;\n";
    let cases = [
        ("#define SW_BASE 1\n", "#define SW_BASE 4\n", "gone: constant SW_BASE 1\n"),
        ("SW_ROLE_WORKER = 3,", "SW_ROLE_WORKER = 9,", "SW_ROLE_WORKER 9 of sw_role_t\n"),
        ("    int32_t reactor_id;\n    ", "    int64_t reactor_id;\n    ", "gone: member sw_conn"),
        (fields, "    uint8_t opcode;\n    int64_t more;\n", "gone: record sw_conn_event_t: "),
        (fields, "    int8_t opcode;\n", "gone: member sw_conn_event_t.opcode"),
        (
            "typedef void (*sw_defer_fn_t)(void",
            "typedef int (*sw_defer_fn_t)(void",
            "callback sw_d",
        ),
        ("const char *sw_version(void);", "char *sw_version(void);", "new:  function sw_version: "),
        ("const char *sw_version(void);", "", "gone: function sw_version: const char * (void)\n"),
        ("typedef struct sw_reply_t", "typedef union sw_reply_t", "opaque union sw_reply_t"),
    ];
    for (index, (old, new, told)) in cases.iter().enumerate() {
        let changed = header.replacen(old, new, 1);
        assert_ne!(changed, header, "the header has no {old:?}");
        let differences = differences(&before, &describe(&format!("abi-{index}"), &changed));
        assert!(differences.contains(told), "{old:?} to {new:?} gives:\n{differences}");
    }
    // The name of a parameter is nothing that a program could depend on.
    let renamed = header.replace("user_data);", "of_the_user);");
    assert_ne!(renamed, header);
    assert_eq!(differences(&before, &describe("abi-renamed", &renamed)), "");
}
