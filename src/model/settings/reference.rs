//! The settings chapter of the reference documentation, made of the table.

use super::chapters::CHAPTERS;
use super::table::{Default, Effect, Row};
use crate::model::value::Kind;

const INTRODUCTION: &str = "\
# Settings

A setting is set before start by `sw_server_set`, `sw_server_set_int` or `sw_server_set_json`, for a
port by `sw_port_set`, `sw_port_set_int` or `sw_port_set_json`, and told by `sw_server_get_setting`.
Names are matched in any case; an unknown one gives a warning. Numbers are moved into their range.
Sizes are bytes and take K, M or G behind them as powers of 1024. Seconds may have a fraction.

What belongs to a port and is set for the server holds for the first port, and for every other port
for which no setting was set at all.
";

/// The chapter, in Markdown.
pub fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    for chapter in CHAPTERS {
        text.push_str(&format!("\n## {}\n", chapter.title));
        for row in chapter.rows {
            text.push_str(&entry(row));
        }
    }
    text
}

fn entry(row: &Row) -> String {
    let mut facts = vec![type_of(row.kind), format!("default {}", default_of(row))];
    if row.is_per_port {
        facts.push("per port".to_owned());
    }
    match row.effect {
        Effect::Applied => {}
        Effect::Stored => facts.push("no effect".to_owned()),
        Effect::Warned => facts.push("no effect, a warning at start".to_owned()),
        Effect::Absent(_) => facts.push("not in this build, start fails".to_owned()),
    }
    let names: Vec<String> = row.spellings.iter().map(|name| format!("`{name}`")).collect();
    format!("\n### {}\n\n{}. {}\n", names.join(", "), facts.join("; "), row.text)
}

fn type_of(kind: Kind) -> String {
    match kind {
        Kind::Int { min, max: i64::MAX } => format!("Number from {min}"),
        Kind::Int { min, max } => format!("Number, {min} to {max}"),
        Kind::Size { max, unlimited: Some(_) } => format!("Size, up to {max}; 0 is that"),
        Kind::Size { max, unlimited: None } => format!("Size, up to {max}"),
        Kind::Seconds => "Seconds".to_owned(),
        Kind::Bool => "Boolean".to_owned(),
        Kind::Path => "Path".to_owned(),
        Kind::DateFormat | Kind::Text => "Text".to_owned(),
        Kind::CpuList => "List of numbers".to_owned(),
        Kind::Bytes { least, most } => format!("{least} to {most} bytes"),
        Kind::Letter(letters) => format!("One of the letters {letters}"),
        Kind::Offset { most } => format!("Number, 0 to {most}"),
        Kind::Json => "List or map".to_owned(),
    }
}

fn default_of(row: &Row) -> String {
    match row.default {
        Default::Derived(words) => words.to_owned(),
        Default::Text("") => "none".to_owned(),
        Default::Text(text) => format!("`{}`", text.escape_debug()),
        Default::Int(number) => number.to_string(),
        Default::Bool(is_on) => is_on.to_string(),
        Default::Seconds(milliseconds) => (milliseconds as f64 / 1e3).to_string(),
    }
}
