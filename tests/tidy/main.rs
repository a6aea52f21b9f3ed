//! Keeps the rules of the house mechanically: which floor may know which, where outside crates,
//! `fork`, `Mode::` and `unsafe` may stand, sizes, and the comments that must be there. The rules
//! are in `rules.rs`, each with samples of its own.

/// A text of `$head`, `$count` times `$line`, and `$tail`, made by the compiler.
macro_rules! concat_lines {
    ($head:literal, $line:literal, $count:literal, $tail:literal) => {{
        const LENGTH: usize = $head.len() + $count * $line.len() + $tail.len();
        const BYTES: [u8; LENGTH] = {
            let parts = [$head.as_bytes(), $line.as_bytes(), $tail.as_bytes()];
            let mut bytes = [0; LENGTH];
            let (mut at, mut part) = (0, 0);
            while part < $count + 2 {
                let text = parts[if part == 0 {
                    0
                } else if part <= $count {
                    1
                } else {
                    2
                }];
                let mut i = 0;
                while i < text.len() {
                    bytes[at] = text[i];
                    at += 1;
                    i += 1;
                }
                part += 1;
            }
            bytes
        };
        match std::str::from_utf8(&BYTES) {
            Ok(text) => text,
            Err(_) => panic!("the sample is no text"),
        }
    }};
}

mod docs;
mod rules;
mod source;

use rules::{Rule, RULES};
use source::Source;
use std::path::{Path, PathBuf};

/// Where the rules hold: the library, and all that is written beside it.
const FOLDERS: &[&str] = &["src", "tests", "benches", "c-examples", "loom", "fuzz", "build.rs"];

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut files);
    }
    files.sort();
    files.iter().map(|file| Source::read(root, file)).collect()
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    let is_source = path.extension().is_some_and(|end| end == "rs" || end == "c" || end == "h");
    if path.is_file() && is_source {
        files.push(path.to_owned());
    }
    if path.is_dir() && !path.ends_with("target") {
        for entry in std::fs::read_dir(path).expect("a folder of the repository can be read") {
            collect(&entry.expect("an entry of a folder can be read").path(), files);
        }
    }
}

fn complaints(rule: &Rule, source: &Source) -> Vec<String> {
    let found = (rule.check)(source).into_iter();
    found.map(|(line, text)| format!("{}:{line}: {} ({text})", source.path, rule.name)).collect()
}

#[test]
fn the_repository_keeps_every_rule() {
    let sources = sources();
    assert!(sources.iter().any(|s| s.path == "src/lib.rs"), "the library was not found");
    let found: Vec<String> = RULES
        .iter()
        .flat_map(|rule| sources.iter().flat_map(|source| complaints(rule, source)))
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_rule_flags_its_bad_samples() {
    for rule in RULES {
        assert!(!rule.bad.is_empty(), "{} has no sample", rule.name);
        for (path, text) in rule.bad {
            let found = complaints(rule, &Source::new(path, text));
            assert!(!found.is_empty(), "not flagged: {}\n{text}", rule.name);
        }
    }
}

#[test]
fn every_rule_lets_its_good_samples_pass() {
    for rule in RULES {
        assert!(!rule.good.is_empty(), "{} has no sample", rule.name);
        for (path, text) in rule.good {
            let found = complaints(rule, &Source::new(path, text));
            assert!(found.is_empty(), "{found:?}\n{text}");
        }
    }
}

#[test]
fn words_in_texts_and_comments_are_no_code() {
    let text =
        "let a = \"unsafe \\\" {\"; // unsafe\nlet b = r#\"\nunsafe \" {\n\"#; let c = '{';\n\
                /* unsafe /* { */ unsafe */ let d: &'static str = b\"}\";";
    let source = Source::new("src/os/a.rs", text);
    let code = source.library_code();
    assert!(!code.contains("unsafe") && !code.contains('{') && !code.contains('}'), "{code}");
    for name in ["let a", "let b", "let c", "let d: & static str"] {
        assert!(code.contains(name), "{name} is missing in {code}");
    }
}

#[test]
fn what_is_compiled_for_tests_only_is_told_from_the_library() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n\
                #[cfg(test)]\nuse d;\nfn e() {}\n";
    let source = Source::new("src/os/a.rs", text);
    let library: Vec<usize> = source.library_lines().map(|(number, _)| number).collect();
    assert_eq!(library, [1, 6, 9]);
}
