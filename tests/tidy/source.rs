//! A Rust source file as the rules look at it: for each line its code with comments and literals
//! blanked out, its comment, and whether it belongs to the tests.
//!
//! This is no parser. It knows enough of the language that a word in a text or a comment is never
//! taken for code, and that braces match.

use std::path::Path;

pub struct Line {
    /// The line as it stands.
    pub raw: String,
    /// The same without comments and with blanks for the inside of literals.
    pub code: String,
    /// What stands behind `//` or between `/*` and `*/`, with the marks.
    pub comment: String,
    /// True in what is compiled for tests only.
    pub is_test: bool,
}

impl Line {
    /// True if the line holds nothing but a comment.
    pub fn is_comment(&self) -> bool {
        self.code.trim().is_empty() && !self.comment.is_empty()
    }
}

pub struct Source {
    /// Below the root of the repository: `src/os/process.rs`.
    pub path: String,
    pub lines: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Code,
    LineComment,
    BlockComment(usize),
    Text,
    RawText(usize),
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let mut lines = Vec::new();
        let mut state = State::Code;
        for raw in text.lines() {
            let (code, comment, next) = split_line(raw, state);
            state = next;
            lines.push(Line { raw: raw.to_owned(), code, comment, is_test: false });
        }
        let ends = ["/tests.rs", "_tests.rs"];
        let is_all_test = !path.starts_with("src/")
            || path.contains("/tests/")
            || ends.iter().any(|end| path.ends_with(end));
        let mut source = Self { path: path.to_owned(), lines };
        source.mark_tests(is_all_test);
        source
    }

    pub fn read(root: &Path, file: &Path) -> Self {
        let path = file.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{path}: {e}"));
        Self::new(&path, &text)
    }

    /// The path below `src/`, empty for a file elsewhere.
    pub fn in_src(&self) -> &str {
        self.path.strip_prefix("src/").unwrap_or("")
    }

    /// The floor it stands on: the first folder below `src/`, or the file there.
    pub fn floor(&self) -> &str {
        let first = self.in_src().split('/').next().unwrap_or("");
        let name = first.strip_suffix(".rs").unwrap_or(first);
        name.strip_suffix("_tests").unwrap_or(name)
    }

    /// The lines that are part of the library, numbered from 1.
    pub fn library_lines(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.lines.iter().enumerate().filter(|(_, l)| !l.is_test).map(|(i, l)| (i + 1, l))
    }

    /// The library's code as one text, in which byte positions lead back to lines.
    pub fn library_code(&self) -> String {
        let line = |l: &Line| if l.is_test { "\n".to_owned() } else { format!("{}\n", l.code) };
        self.lines.iter().map(line).collect()
    }

    /// The index of the line with the brace that closes the first one opened at `from` or later,
    /// or of the first `;` before any brace.
    pub fn end_of_item(&self, from: usize) -> usize {
        let (mut braces, mut others) = (0usize, 0usize);
        for (index, line) in self.lines.iter().enumerate().skip(from) {
            for c in line.code.chars() {
                match c {
                    '{' => braces += 1,
                    '}' if braces <= 1 => return index,
                    '}' => braces -= 1,
                    '(' | '[' => others += 1,
                    ')' | ']' => others = others.saturating_sub(1),
                    ';' if braces == 0 && others == 0 => return index,
                    _ => {}
                }
            }
        }
        self.lines.len().saturating_sub(1)
    }

    fn mark_tests(&mut self, is_all_test: bool) {
        let mut index = 0;
        while index < self.lines.len() {
            let code = self.lines[index].code.trim();
            let begins = code.starts_with("#[cfg(test)]") || code.starts_with("#[cfg(all(test,");
            let end = if begins { self.end_of_item(index) } else { index };
            for line in &mut self.lines[index..=end] {
                line.is_test = begins || is_all_test;
            }
            index = end + 1;
        }
    }
}

/// Splits one line into code and comment, given the state at its beginning.
fn split_line(raw: &str, mut state: State) -> (String, String, State) {
    let chars: Vec<char> = raw.chars().collect();
    let (mut code, mut comment) = (String::new(), String::new());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let (taken, next) = step(rest, at.checked_sub(1).map(|i| chars[i]), state);
        let is_comment = |s| matches!(s, State::LineComment | State::BlockComment(_));
        let piece: String = rest[..taken].iter().collect();
        if is_comment(state) || is_comment(next) {
            comment.push_str(&piece);
        } else if state == State::Code && next == State::Code && !piece.starts_with('\'') {
            code.push_str(&piece);
        } else {
            code.extend(std::iter::repeat(' ').take(taken));
        }
        state = next;
        at += taken;
    }
    if state == State::LineComment {
        state = State::Code;
    }
    (code, comment, state)
}

/// How many characters belong together at the beginning of `rest`, and the state behind them.
fn step(rest: &[char], before: Option<char>, state: State) -> (usize, State) {
    let starts = |text: &str| text.chars().enumerate().all(|(i, c)| rest.get(i) == Some(&c));
    match state {
        State::LineComment => (rest.len(), state),
        State::BlockComment(depth) if starts("/*") => (2, State::BlockComment(depth + 1)),
        State::BlockComment(1) if starts("*/") => (2, State::Code),
        State::BlockComment(depth) if starts("*/") => (2, State::BlockComment(depth - 1)),
        State::BlockComment(_) => (1, state),
        State::Text if starts("\\") => (2.min(rest.len()), state),
        State::Text if starts("\"") => (1, State::Code),
        State::Text => (1, state),
        State::RawText(marks) if starts(&format!("\"{}", "#".repeat(marks))) => {
            (1 + marks, State::Code)
        }
        State::RawText(_) => (1, state),
        State::Code if starts("//") => (rest.len(), State::LineComment),
        State::Code if starts("/*") => (2, State::BlockComment(1)),
        State::Code if starts("\"") => (1, State::Text),
        State::Code if starts("'") => (char_literal(rest), State::Code),
        State::Code => raw_text(rest, before).unwrap_or((1, State::Code)),
    }
}

/// The length of a character literal, 1 if the mark begins a lifetime.
fn char_literal(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', ..] => {
            rest.iter().skip(3).position(|c| *c == '\'').map_or(rest.len(), |end| end + 4)
        }
        ['\'', _, '\'', ..] => 3,
        _ => 1,
    }
}

/// The opening of a raw text, `r"` or `br#"`, if one stands here.
fn raw_text(rest: &[char], before: Option<char>) -> Option<(usize, State)> {
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let letters = if rest.first() == Some(&'b') { 2 } else { 1 };
    if rest.get(letters - 1) != Some(&'r') {
        return None;
    }
    let marks = rest.iter().skip(letters).take_while(|c| **c == '#').count();
    let is_text = rest.get(letters + marks) == Some(&'"');
    is_text.then_some((letters + marks + 1, State::RawText(marks)))
}

/// The words of a line of code, each with what follows it.
pub fn words(code: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.char_indices().filter_map(move |(start, c)| {
        let begins = is_word(c) && !code[..start].ends_with(is_word);
        let length = code[start..].find(|c| !is_word(c)).unwrap_or(code.len() - start);
        begins.then(|| code[start..].split_at(length))
    })
}
