//! `include/swoole.h` is what cbindgen makes of `src/ffi`, is clean C11 and C++17, keeps the
//! contract in `contract.c`, and names exactly the functions that the library exports. Its face in
//! C++, `swoole.hpp`, leaves none of them out.
//!
//! After a change in `src/ffi`: `make header` (`UPDATE_HEADER=1 cargo test --test header`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header_path() -> PathBuf {
    root().join("include/swoole.h")
}

/// The header as cbindgen makes it now.
fn generated() -> String {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml");
    let mut bytes = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(root().join("src/ffi/mod.rs"))
        .generate()
        .expect("cbindgen understands src/ffi")
        .write(&mut bytes);
    String::from_utf8(bytes).expect("the header is text")
}

fn committed() -> String {
    if std::env::var_os("UPDATE_HEADER").is_some() {
        fs::create_dir_all(root().join("include")).expect("include/ can be made");
        fs::write(header_path(), generated()).expect("the header can be written");
    }
    fs::read_to_string(header_path()).expect("include/swoole.h is there: make header")
}

/// Runs a compiler over `source` and returns what it complained about, empty if nothing.
fn complaints(compiler: &str, standard: &str, language: &str, source: &Path) -> String {
    let output = Command::new(compiler)
        .args(["-x", language, standard, "-fsyntax-only"])
        .args(["-Wall", "-Wextra", "-Wpedantic", "-pedantic-errors", "-Werror"])
        .arg("-I")
        .arg(root().join("include"))
        .arg(source)
        .output()
        .unwrap_or_else(|error| panic!("{compiler} cannot be run, see scripts/setup: {error}"));
    let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() && text.is_empty() {
        text = output.status.to_string();
    }
    text
}

/// Writes a source file of this test run, named so that parallel tests do not meet.
fn source(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).expect("a source file can be written");
    path
}

/// The functions that a header declares: `sw_name(` at the beginning of an argument list.
fn declared(header: &str) -> BTreeSet<String> {
    let mut code = String::new();
    let mut rest = header;
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    code.push_str(rest);
    let bare: Vec<&str> = code.lines().map(|l| l.split("//").next().unwrap_or(l)).collect();
    bare.join(" ")
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '('))
        .filter_map(|word| word.split_once('('))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("sw_"))
        .map(str::to_owned)
        .collect()
}

/// What `libswoole.so` exports, as `nm` sees it.
fn exported() -> BTreeSet<String> {
    let library = std::env::current_exe()
        .expect("the test has a path")
        .ancestors()
        .map(|folder| folder.join("libswoole.so"))
        .find(|path| path.exists())
        .expect("libswoole.so stands beside or above the test");
    let output = Command::new("nm")
        .args(["-D", "--defined-only", "--format=posix"])
        .arg(&library)
        .output()
        .expect("nm runs, see scripts/setup");
    assert!(output.status.success(), "nm {}: {}", library.display(), output.status);
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| name.split('@').next().unwrap_or(name).to_owned())
        .collect()
}

#[test]
fn the_committed_header_is_what_cbindgen_makes() {
    assert!(committed() == generated(), "include/swoole.h is out of date: run `make header`");
}

#[test]
fn the_header_is_clean_c11_and_cpp17_even_when_it_is_included_twice() {
    let _ = committed();
    let unit = "#include \"swoole.h\"\n#include \"swoole.h\"\n\
                int probe(const sw_event_t *e);\n\
                int probe(const sw_event_t *e) { return e->kind == SW_EVENT_RECEIVE; }\n";
    let path = source("header_twice.c", unit);
    for (compiler, standard, language) in
        [("cc", "-std=c11", "c"), ("c++", "-std=c++17", "c++"), ("c++", "-std=c++20", "c++")]
    {
        assert_eq!(complaints(compiler, standard, language, &path), "", "{compiler} {standard}");
    }
}

#[test]
fn the_face_in_cpp_is_clean_even_when_it_is_included_twice_and_without_exceptions() {
    let path = source("face_twice.cpp", "#include \"swoole.hpp\"\n#include \"swoole.hpp\"\n");
    for standard in ["-std=c++17", "-std=c++20"] {
        assert_eq!(complaints("c++", standard, "c++", &path), "", "{standard}");
    }
    let unit = "#include \"swoole.hpp\"\nint main() { swoole::server s(\"::1\", 0, SW_BASE);\n\
                return s.on_start([](swoole::server_ref) {}); }\n";
    let path = source("face_without_exceptions.cpp", unit);
    assert_eq!(complaints("c++", "-fno-exceptions", "c++", &path), "");
}

#[test]
fn the_face_in_cpp_has_every_function_of_the_header() {
    let face = fs::read_to_string(root().join("include/swoole.hpp")).expect("the face is there");
    let words: BTreeSet<&str> =
        face.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    let declared = declared(&committed());
    let missing: Vec<&String> =
        declared.iter().filter(|name| !words.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "include/swoole.hpp has no {missing:?}");
    let lines = face.lines().count();
    assert!(lines < 600 && declared.len() > 70, "{lines} lines for {} functions", declared.len());
}

#[test]
fn the_header_keeps_the_contract() {
    let _ = committed();
    let contract = root().join("tests/contract.c");
    assert_eq!(complaints("cc", "-std=c11", "c", &contract), "");
}

#[test]
fn a_broken_contract_is_noticed() {
    let _ = committed();
    let broken = [
        "_Static_assert(SW_BASE == 2, \"wrong\");",
        "static int (*const f)(const char *) __attribute__((unused)) = sw_version;",
        "static int *probe(sw_client_info_t *i) { return &i->connect_time; }",
    ];
    for (index, line) in broken.iter().enumerate() {
        let text = format!("#include \"swoole.h\"\n{line}\n");
        let path = source(&format!("header_broken_{index}.c"), &text);
        assert_ne!(complaints("cc", "-std=c11", "c", &path), "", "{line}");
    }
}

#[test]
fn the_header_names_exactly_what_the_library_exports() {
    let exported = exported();
    assert!(exported.contains("sw_version"), "the library exports nothing: {exported:?}");
    assert_eq!(declared(&committed()), exported);
}

#[test]
fn declarations_are_told_from_comments_and_callback_types() {
    let text = "/* sw_old(void) */ bool sw_new(int sw_arg); typedef void (*sw_fn_t)(int);\n\
                // sw_gone() does this\nconst char *sw_text(void);";
    let names: Vec<String> = declared(text).into_iter().collect();
    assert_eq!(names, ["sw_new", "sw_text"]);
}

#[test]
fn every_error_of_the_table_has_its_constant_in_the_header() {
    let header = committed();
    let in_header: BTreeSet<(String, i32)> = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define SW_ERROR_"))
        .filter_map(|rest| rest.split_once(' '))
        .map(|(name, number)| (name.to_owned(), number.parse().expect("a number")))
        .collect();
    let in_table: BTreeSet<(String, i32)> = (0..20_000)
        .filter_map(|number| swoole::error::name(number).map(|name| (name.to_owned(), number)))
        .collect();
    assert!(in_table.len() > 80, "the table was found");
    assert_eq!(in_header, in_table);
}
