//! `docs/settings.md` is what the table of settings says.
//!
//! After a change of the table: `UPDATE_REFERENCE=1 cargo test --test reference`, `make reference`.

use std::fs;
use std::path::Path;

#[test]
fn the_committed_settings_chapter_is_that_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
    let made = swoole::model::settings::reference();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, &made).expect("docs/settings.md can be written");
    }
    let committed = fs::read_to_string(&path).expect("docs/settings.md is there: make reference");
    assert!(committed == made, "docs/settings.md is out of date: make reference");
}
