//! What the guide shows is true: every block of C and C++ compiles without a warning, every program
//! plays the session below it in every mode and prints what stands there, and every name, error
//! number, setting and link that it mentions exists.
//!
//! A block with a `main` is a program; behind it stand its session, in the language of
//! `c-examples/play.c`, and, if it prints something, its output. Other blocks of C and C++ are
//! parts of a program.

mod common;

use common::cc::{self, Language};
use libtest_mimic::{Arguments, Trial};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::OnceLock;

/// What else the guide shows: commands and files that are not of this library.
const OTHER_LANGUAGES: &[&str] = &["console", "ini", "dockerfile", "yaml"];
const PRELUDE: &str = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\
                       #include \"swoole.h\"\n";

type Checked = Result<(), String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A block between fences.
#[derive(Clone, Debug, PartialEq)]
struct Block {
    /// The line of the chapter that it begins in.
    line: usize,
    language: String,
    text: String,
}

fn blocks(chapter: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in chapter.lines().enumerate() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(language), None) => {
                let language = language.to_owned();
                open = Some(Block { line: index + 1, language, text: String::new() });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "a block has no end");
    found
}

/// What a block asks for: to be looked at, or to be run with a session and an output.
enum Part {
    Fragment(Language, String),
    Program(Language, String, String, String),
}

/// The parts of a chapter, each with its line; an error if a block has no place.
fn parts(blocks: &[Block]) -> Result<Vec<(usize, Part)>, String> {
    let mut parts = Vec::new();
    let mut rest = blocks.iter().peekable();
    while let Some(block) = rest.next() {
        let language = match block.language.as_str() {
            "c" => Language::C,
            "cpp" => Language::Cpp,
            other if OTHER_LANGUAGES.contains(&other) => continue,
            other => return Err(format!("line {}: a block of \"{other}\"", block.line)),
        };
        let text = block.text.clone();
        if !text.contains("int main(") {
            parts.push((block.line, Part::Fragment(language, text)));
            continue;
        }
        let session = rest.next_if(|next| next.language == "session");
        let session = session.ok_or(format!("line {}: a program without a session", block.line))?;
        let output = rest.next_if(|next| next.language == "output");
        let output = output.map(|output| output.text.clone()).unwrap_or_default();
        parts.push((block.line, Part::Program(language, text, session.text.clone(), output)));
    }
    Ok(parts)
}

fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| cc::library_folder("guide"))
}

/// The player of sessions, which the examples are tested with, too.
fn player() -> Result<&'static Path, String> {
    static PLAYER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || {
        let text = text_of(&root().join("c-examples/play.c"));
        cc::build(Language::C, folder(), "play", &text)
    };
    PLAYER.get_or_init(build).as_deref().map_err(Clone::clone)
}

fn try_part(name: &str, part: &Part) -> Checked {
    let (language, text, session, output) = match part {
        Part::Fragment(Language::C, text) => {
            return cc::check(Language::C, folder(), name, &format!("{PRELUDE}{text}"));
        }
        Part::Fragment(language, text) => return cc::check(*language, folder(), name, text),
        Part::Program(language, text, session, output) => (language, text, session, output),
    };
    let program = cc::build(*language, folder(), name, text)?;
    let file = |kind: &str| folder().join(format!("{name}.{kind}"));
    for (kind, text) in [("session", session), ("expected", output)] {
        fs::write(file(kind), text).map_err(|error| error.to_string())?;
    }
    for mode in ["1", "2", "3"] {
        let played = Command::new(player()?)
            .arg(&program)
            .arg(mode)
            .args([file("session"), file("expected")])
            .current_dir(root().join("tests/tls/files")) // where there is a certificate
            .output()
            .map_err(|error| error.to_string())?;
        if !played.status.success() {
            let said = String::from_utf8_lossy(&played.stderr);
            return Err(format!("mode {mode}: {}\n{said}", played.status));
        }
    }
    Ok(())
}

/// What the guide may mention: the words of the headers, of the settings and of the errors.
fn known_words() -> BTreeSet<String> {
    let files = ["include/swoole.h", "include/swoole.hpp", "docs/settings.md", "README.md"];
    files.iter().flat_map(|file| words(&text_of(&root().join(file)))).collect()
}

fn words(text: &str) -> Vec<String> {
    let is_other = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    text.split(is_other).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The names in a chapter that look like those of the library: whatever begins with `sw_` or `SW_`,
/// and what stands alone between backticks with an underscore in it, as settings do.
fn names(chapter: &str) -> Vec<String> {
    let mut names = words(chapter);
    names.retain(|word| word.starts_with("sw_") || word.starts_with("SW_"));
    names.extend(chapter.split('`').skip(1).step_by(2).filter(|it| is_name(it)).map(str::to_owned));
    // `SW_ERROR_...` and `sw_server_` name families, `sw_server_xyz` stands for any.
    names.retain(|name| !name.ends_with('_') && name != "sw_server_xyz");
    names
}

fn is_name(text: &str) -> bool {
    text.contains('_') && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

fn every_name_exists(path: &Path, chapter: &str) -> Checked {
    let known = known_words();
    let is_foreign = path.ends_with("migration.md"); // where names of Swoole stand beside them
    for name in names(chapter) {
        let is_ours = name.starts_with("sw_") || name.starts_with("SW_");
        if !known.contains(&name) && (is_ours || !is_foreign) {
            return Err(format!("there is no {name}"));
        }
    }
    Ok(())
}

/// `| 505 | `SW_ERROR_INVALID_PARAMS` | ...`
fn every_number_is_that_of_its_error(chapter: &str) -> Checked {
    let header = text_of(&root().join("include/swoole.h"));
    for row in chapter.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, number, name, ..] = cells[..] else { continue };
        let is_error = name.starts_with("SW_ERROR_") && number.parse::<i32>().is_ok();
        if is_error && !header.contains(&format!("#define {name} {number}\n")) {
            return Err(format!("{name} is not {number}"));
        }
    }
    Ok(())
}

fn every_link_leads_somewhere(path: &Path, chapter: &str) -> Checked {
    let folder = path.parent().ok_or("a chapter has a folder")?;
    let mut prose = chapter.to_owned();
    for block in blocks(chapter) {
        prose = prose.replace(&block.text, "");
    }
    for target in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let file = target.split('#').next().unwrap_or(target);
        if !target.starts_with("http") && !folder.join(file).exists() {
            return Err(format!("{target} does not exist"));
        }
    }
    Ok(())
}

fn the_checks_see_what_is_wrong() -> Checked {
    let wrong = "| 506 | `SW_ERROR_INVALID_PARAMS` | see [here](nowhere.md) |";
    let path = root().join("docs/guide/errors.md");
    let seen = [
        every_name_exists(&path, "`sw_server_sned` sends").is_err(),
        every_name_exists(&path, "the setting `worker_nmu`").is_err(),
        every_name_exists(&path, "`worker_num`, SW_ERROR_..., `sw_server_send(x)`").is_ok(),
        every_number_is_that_of_its_error(wrong).is_err(),
        every_link_leads_somewhere(&path, wrong).is_err(),
        parts(&blocks("```rust\nx\n```\n")).is_err(),
        parts(&blocks("```c\nint main(void) {}\n```\n")).is_err(),
        parts(&blocks("```session\n> a\n```\n")).is_err(),
        try_part("wrong-fragment", &Part::Fragment(Language::C, "int x(void) {}".into())).is_err(),
    ];
    match seen.iter().position(|it| !it) {
        Some(number) => Err(format!("the mistake number {number} is not seen")),
        None => Ok(()),
    }
}

/// Every chapter is in the list of chapters, so that nobody has to guess that it is there.
fn the_list_of_chapters_is_complete(chapters: &[PathBuf]) -> Checked {
    let list = text_of(&root().join("docs/guide/README.md"));
    for chapter in chapters {
        let name = chapter.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name != "README.md" && !list.contains(&format!("({name})")) {
            return Err(format!("{name} is missing"));
        }
    }
    Ok(())
}

/// The pages that `make docs` makes a web site of, all but the site itself, which needs mdBook.
fn the_site_has_every_function_and_its_links_lead_somewhere() -> Checked {
    let site = folder().join("site");
    let made = Command::new("sh")
        .arg(root().join("scripts/docs"))
        .arg("--sources")
        .arg(&site)
        .output()
        .map_err(|error| error.to_string())?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into_owned());
    }
    let functions = text_of(&site.join("reference/functions.md"));
    let face = text_of(&root().join("include/swoole.hpp"));
    let calls = face.split(|c: char| !(c.is_ascii_alphanumeric() || "_(".contains(c)));
    for name in calls.filter_map(|word| word.strip_suffix('(')).filter(|it| it.starts_with("sw_")) {
        let (_, entry) = functions
            .split_once(&format!("\n## `{name}`\n"))
            .ok_or(format!("{name} is missing"))?;
        let entry = entry.split("\n## ").next().unwrap_or(entry);
        if !entry.contains(&format!("{name}(")) || !entry.contains("\nErrors: ") {
            return Err(format!("{name} is not described: {entry}"));
        }
    }
    for page in ["SUMMARY.md", "settings.md", "guide/README.md", "guide/deployment.md"] {
        let path = site.join(page);
        every_link_leads_somewhere(&path, &text_of(&path))?;
    }
    Ok(())
}

fn trial(name: String, body: impl FnOnce() -> Checked + Send + 'static) -> Trial {
    Trial::test(name, move || body().map_err(Into::into))
}

fn main() -> ExitCode {
    let mut chapters: Vec<PathBuf> = fs::read_dir(root().join("docs/guide"))
        .expect("there is a guide")
        .map(|entry| entry.expect("an entry can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    chapters.sort();
    let site = the_site_has_every_function_and_its_links_lead_somewhere;
    let mut trials = vec![
        trial("the_checks_see_what_is_wrong".into(), the_checks_see_what_is_wrong),
        trial("the_site_has_every_function_and_its_links_lead_somewhere".into(), site),
    ];
    for path in &chapters {
        let chapter = text_of(path);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let parts = parts(&blocks(&chapter));
        let wrong = parts.as_ref().err().cloned().map_or(Ok(()), Err);
        for (line, part) in parts.unwrap_or_default() {
            let name = format!("{name}-{line}");
            let title = match part {
                Part::Fragment(..) => format!("{name}::compiles"),
                Part::Program(..) => format!("{name}::plays_its_session"),
            };
            trials.push(trial(title, move || try_part(&name, &part)));
        }
        let path = path.clone();
        trials.push(trial(format!("{name}::says_nothing_wrong"), move || {
            wrong?;
            every_name_exists(&path, &chapter)?;
            every_number_is_that_of_its_error(&chapter)?;
            every_link_leads_somewhere(&path, &chapter)
        }));
    }
    let title = "the_list_of_chapters_is_complete".to_owned();
    trials.push(trial(title, move || the_list_of_chapters_is_complete(&chapters)));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
