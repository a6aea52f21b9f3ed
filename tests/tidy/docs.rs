//! The rule about the comment of an exported function. The comment is what a C programmer reads in
//! the header, so it has one form:
//!
//! 1. What it does: the first paragraph, and more if they are needed.
//! 2. One list item for each parameter, in order: ``- `name`: unit, range, whether NULL is taken``.
//! 3. `Returns: ` the value; left out if there is none.
//! 4. `Errors: ` by name, or `none`.
//! 5. `Where: ` process, phase, thread.
//! 6. `Memory: ` who owns what, for how long; may be left out if no pointer but the handle of the
//!    object, the first parameter, comes in and none goes out.
//!
//! Points 3 to 6 are one paragraph each, with an empty line before it.

use crate::rules::Complaints;
use crate::source::{words, Source};

pub const GOOD: &[(&str, &str)] = &[
    (
        "src/ffi/a.rs",
        "/// Adds two.\n///\n/// It is fast.\n///\n/// - `a`: the first, any value,\n\
         ///   or 0.\n/// - `b`: the second.\n///\n/// Returns: the sum.\n///\n/// Errors: none.\n\
         ///\n/// Where: anywhere.\n///\n/// Memory: none is kept.\n#[no_mangle]\n\
         pub extern \"C\" fn sw_add(\n    a: c_int,\n    b: c_int,\n) -> c_int {\n    a + b\n}\n",
    ),
    (
        "src/ffi/a.rs",
        "/// Stops.\n///\n/// Errors: none.\n///\n/// Where: anywhere.\n///\n/// Memory: none.\n\
         #[no_mangle]\npub extern \"C\" fn sw_stop() {}\n",
    ),
    (
        "src/ffi/a.rs",
        "/// Stops.\n///\n/// - `server`: not NULL.\n///\n/// Errors: none.\n///\n\
         /// Where: anywhere.\n#[no_mangle]\n\
         pub extern \"C\" fn sw_stop(server: *mut sw_server_t) {}\n",
    ),
    ("src/ffi/a.rs", "fn private(a: u8) -> u8 {\n    a\n}\n"),
];

pub const BAD: &[(&str, &str)] = &[
    ("src/ffi/a.rs", "#[no_mangle]\npub extern \"C\" fn sw_stop() {}\n"),
    // A parameter is missing.
    (
        "src/ffi/a.rs",
        "/// Stops.\n///\n/// Errors: none.\n///\n/// Where: anywhere.\n///\n/// Memory: none.\n\
         #[no_mangle]\npub extern \"C\" fn sw_stop(a: c_int) {}\n",
    ),
    // The value is not described.
    (
        "src/ffi/a.rs",
        "/// Stops.\n///\n/// Errors: none.\n///\n/// Where: anywhere.\n///\n/// Memory: none.\n\
         #[no_mangle]\npub extern \"C\" fn sw_stop() -> bool {}\n",
    ),
    // Out of order.
    (
        "src/ffi/a.rs",
        "/// Stops.\n///\n/// Where: anywhere.\n///\n/// Errors: none.\n///\n/// Memory: none.\n\
         #[no_mangle]\npub extern \"C\" fn sw_stop() {}\n",
    ),
    // Parameters the other way round.
    (
        "src/ffi/a.rs",
        "/// Adds.\n///\n/// - `b`: one.\n/// - `a`: one.\n///\n/// Errors: none.\n///\n\
         /// Where: anywhere.\n///\n/// Memory: none.\n#[no_mangle]\n\
         pub extern \"C\" fn sw_add(a: c_int, b: c_int) {}\n",
    ),
    // A label with nothing behind it.
    (
        "src/ffi/a.rs",
        "/// Stops.\n///\n/// Errors:\n///\n/// Where: anywhere.\n///\n/// Memory: none.\n\
         #[no_mangle]\npub extern \"C\" fn sw_stop() {}\n",
    ),
    // It does not say what it does.
    (
        "src/ffi/a.rs",
        "/// Errors: none.\n///\n/// Where: anywhere.\n///\n/// Memory: none.\n\
         #[no_mangle]\npub extern \"C\" fn sw_stop() {}\n",
    ),
    // Whose are the bytes?
    (
        "src/ffi/a.rs",
        "/// Stops.\n///\n/// - `server`: not NULL.\n/// - `data`: bytes.\n///\n/// Errors: none.\n\
         ///\n/// Where: anywhere.\n#[no_mangle]\n\
         pub extern \"C\" fn sw_stop(server: *mut sw_server_t, data: *const u8) {}\n",
    ),
    // Whose is the text?
    (
        "src/ffi/a.rs",
        "/// Says.\n///\n/// Returns: a text.\n///\n/// Errors: none.\n///\n/// Where: anywhere.\n\
         #[no_mangle]\npub extern \"C\" fn sw_say() -> *const c_char {}\n",
    ),
    // Not a name of the library.
    (
        "src/ffi/a.rs",
        "/// Stops.\n///\n/// Errors: none.\n///\n/// Where: anywhere.\n///\n/// Memory: none.\n\
         #[no_mangle]\npub extern \"C\" fn stop() {}\n",
    ),
];

/// An exported function and its comment.
struct Function {
    line: usize,
    name: String,
    parameters: Vec<String>,
    has_value: bool,
    /// Pointers come in or go out, other than the handle of the object.
    has_memory: bool,
    comment: Vec<String>,
}

pub fn exported_functions_are_documented(source: &Source) -> Complaints {
    let mut found = Vec::new();
    // What a test puts in the way of a function of the system is no part of the interface.
    if !source.path.starts_with("src/") {
        return found;
    }
    for function in exported_functions(source) {
        if !function.name.starts_with("sw_") {
            found.push((function.line, format!("{} does not begin with sw_", function.name)));
        }
        let actual = marks(&function.comment);
        let names_memory = actual.iter().any(|mark| mark == "Memory:");
        let expected = expected_marks(&function, names_memory);
        if actual != expected {
            let text = format!("{}: comment has {actual:?}, not {expected:?}", function.name);
            found.push((function.line, text));
        }
    }
    found
}

/// What the comment must consist of, in order.
fn expected_marks(function: &Function, names_memory: bool) -> Vec<String> {
    let mut marks = vec!["what".to_owned()];
    marks.extend(function.parameters.iter().map(|name| format!("`{name}`")));
    let labels = [
        ("Returns:", function.has_value),
        ("Errors:", true),
        ("Where:", true),
        ("Memory:", function.has_memory || names_memory),
    ];
    let needed = labels.iter().filter(|(_, is_needed)| *is_needed);
    marks.extend(needed.map(|(label, _)| (*label).to_owned()));
    marks
}

/// What the comment does consist of, in order. A label with no text behind it does not count.
fn marks(comment: &[String]) -> Vec<String> {
    let mut marks: Vec<String> = Vec::new();
    let mut begins = true;
    for line in comment {
        let parameter = line.strip_prefix("- `").and_then(|rest| rest.split_once("`: "));
        let label = line.split_once(": ").map(|(label, _)| format!("{label}:"));
        let label =
            label.filter(|l| ["Returns:", "Errors:", "Where:", "Memory:"].contains(&&l[..]));
        match (parameter, label) {
            (Some((name, _)), _) => marks.push(format!("`{name}`")),
            (None, Some(label)) if begins => marks.push(label),
            _ if !line.is_empty() && marks.is_empty() => marks.push("what".to_owned()),
            _ => {}
        }
        begins = line.is_empty();
    }
    marks
}

fn exported_functions(source: &Source) -> Vec<Function> {
    // A test may stand in for a function of the system; that is no part of the interface.
    if !source.path.starts_with("src/") {
        return vec![];
    }
    let is_exported = |code: &str| code.contains("no_mangle]") || code.contains("export_name");
    let lines = source.lines.iter().enumerate();
    let exports = lines.filter(|(_, line)| is_exported(&line.code));
    exports.map(|(index, _)| function_below(source, index)).collect()
}

/// The function below the attribute in line `index`, with the comment above it.
fn function_below(source: &Source, index: usize) -> Function {
    let above = source.lines[..index].iter().rev();
    let mut comment: Vec<String> = above
        .take_while(|line| line.is_comment() || line.code.trim().starts_with("#["))
        .filter_map(|line| line.comment.strip_prefix("///"))
        .map(|text| text.trim_end().strip_prefix(' ').unwrap_or(text).to_owned())
        .collect();
    comment.reverse();
    let code: String = source.lines[index + 1..].iter().map(|l| format!("{} ", l.code)).collect();
    let signature = code.split('{').next().unwrap_or("");
    let (_, rest) = signature.split_once("fn ").unwrap_or(("", ""));
    let (name, rest) = rest.split_once('(').unwrap_or((rest, ""));
    let (parameters, result) = rest.rsplit_once(')').unwrap_or((rest, ""));
    Function {
        line: index + 1,
        name: name.trim().to_owned(),
        parameters: parameter_names(parameters),
        has_value: result.contains("->"),
        has_memory: has_memory(parameters, result),
        comment,
    }
}

/// True if a pointer is handed over, the first parameter not counted if it is an object's handle.
fn has_memory(parameters: &str, result: &str) -> bool {
    let (first, others) = parameters.split_once(',').unwrap_or((parameters, ""));
    let is_handle = first.trim_end().ends_with("_t") && !first.contains("sw_buffer_t");
    [result, others, if is_handle { "" } else { first }].iter().any(|part| part.contains('*'))
}

/// The word before each `:` that is no part of a path.
fn parameter_names(parameters: &str) -> Vec<String> {
    let is_name = |rest: &str| {
        let rest = rest.trim_start();
        rest.starts_with(':') && !rest.starts_with("::")
    };
    let names = words(parameters).filter(|(_, rest)| is_name(rest));
    names.map(|(name, _)| name.to_owned()).collect()
}
