//! The rows of the table of settings, chapter by chapter.

mod connections;
mod dispatching;
mod files;
mod framing;
mod http;
mod processes;
mod runtime;
mod sending;
mod tasks;
mod tls;

use super::table::Row;

/// A chapter of the table.
pub(super) struct Chapter {
    pub(super) title: &'static str,
    pub(super) rows: &'static [Row],
}

/// All chapters, in the order of the reference documentation.
pub(super) const CHAPTERS: &[Chapter] = &[
    Chapter { title: "Processes, threads, lifetime", rows: processes::ROWS },
    Chapter { title: "Connections and ports", rows: connections::ROWS },
    Chapter { title: "Buffers and sending", rows: sending::ROWS },
    Chapter { title: "Framing", rows: framing::ROWS },
    Chapter { title: "Dispatching", rows: dispatching::ROWS },
    Chapter { title: "Tasks", rows: tasks::ROWS },
    Chapter { title: "Identity, files and log", rows: files::ROWS },
    Chapter { title: "TLS", rows: tls::ROWS },
    Chapter { title: "HTTP and WebSocket servers", rows: http::ROWS },
    Chapter { title: "The embedded runtime of other builds", rows: runtime::ROWS },
];
