//! Processes, threads, lifetime.

use crate::model::settings::table::{row, Default, Name, Row, ANY_COUNT, SHORT_COUNT};
use crate::model::value::Kind;

pub(super) const ROWS: &[Row] = &[
    row(
        Name::WorkerNum,
        &["worker_num"],
        ANY_COUNT,
        Default::Derived("the number of processors; 1 in SW_BASE mode"),
        "Number of event workers; 0 is the number of processors. At most 1000 for each \
         processor and 900 in all.",
    ),
    row(
        Name::ReactorNum,
        &["reactor_num"],
        SHORT_COUNT,
        Default::Derived("the number of processors, at most 8; 1 but in SW_PROCESS mode"),
        "Number of reactor threads of the master; 0 is the number of processors. At most four \
         for each processor, and never more than workers.",
    ),
    row(
        Name::SingleThread,
        &["single_thread"],
        Kind::Bool,
        Default::Bool(false),
        "SW_PROCESS mode: no reactor threads, the master accepts and reads by itself.",
    ),
    row(
        Name::MaxRequest,
        &["max_request"],
        ANY_COUNT,
        Default::Int(0),
        "Requests after which a worker is replaced; 0 is never. A request is one receive or \
         packet callback.",
    ),
    row(
        Name::MaxRequestGrace,
        &["max_request_grace"],
        ANY_COUNT,
        Default::Derived("half of max_request; 0 if that is 10 or less"),
        "The most that each worker adds to max_request, at random, so that they do not all \
         leave at once.",
    ),
    row(
        Name::ReloadAsync,
        &["reload_async"],
        Kind::Bool,
        Default::Bool(true),
        "A worker that is replaced lives on until its loop is empty, beside its successor; \
         false: it ends at once.",
    ),
    row(
        Name::MaxWaitTime,
        &["max_wait_time"],
        ANY_COUNT,
        Default::Int(3),
        "Seconds of patience with what should end: a worker that leaves, the old workers of a \
         reload, twice as long all processes at the end.",
    ),
    row(
        Name::Daemonize,
        &["daemonize"],
        Kind::Bool,
        Default::Bool(false),
        "Run in the background: a session of its own, / as working directory, output to the \
         log file.",
    ),
    row(
        Name::EnableCoroutine,
        &["enable_coroutine"],
        Kind::Bool,
        Default::Bool(true),
        "Callbacks run on the loop of their worker in any case.",
    )
    .stored(),
    row(
        Name::EventObject,
        &["event_object"],
        Kind::Bool,
        Default::Bool(true),
        "Callbacks get one event object in any case.",
    )
    .stored(),
    row(
        Name::Bootstrap,
        &["bootstrap"],
        Kind::Path,
        Default::Text(""),
        "Threads share the state of the program here, so nothing has to be made anew in each.",
    )
    .stored(),
    row(Name::InitArguments, &["init_arguments"], Kind::Text, Default::Text(""), "See bootstrap.")
        .stored(),
];
