//! Dispatching.

use crate::model::settings::table::{row, Default, Name, Row, U32_MAX};
use crate::model::value::Kind;

pub(super) const ROWS: &[Row] = &[
    row(
        Name::DispatchMode,
        &["dispatch_mode"],
        Kind::Int { min: 0, max: 255 },
        Default::Int(2),
        "SW_PROCESS mode: which worker gets what a connection sends. 1 in turn; 2 by session \
         id; 3 an idle one; 4 by address of the peer; 5 by bound uid; 7 as 3; 8 the one with \
         the least to do, for the life of the connection; 9 the one with the least to do; 10 \
         the one with the fewest requests in progress.",
    ),
    row(
        Name::EnableUnsafeEvent,
        &["enable_unsafe_event"],
        Kind::Bool,
        Default::Bool(false),
        "Connect, close and buffer events are raised also where dispatch_mode does not keep a \
         connection with one worker.",
    ),
    row(
        Name::DiscardTimeoutRequest,
        &["discard_timeout_request"],
        Kind::Bool,
        Default::Bool(true),
        "What arrives at a worker after its connection has ended is thrown away; false: \
         handed over, where dispatch_mode allows it.",
    ),
    row(
        Name::MaxConcurrency,
        &["max_concurrency"],
        Kind::Int { min: 1, max: U32_MAX },
        Default::Int(4_294_967_295),
        "Requests in progress in the whole server.",
    )
    .absent("HTTP"),
    row(
        Name::WorkerMaxConcurrency,
        &["worker_max_concurrency"],
        Kind::Int { min: 1, max: U32_MAX },
        Default::Int(4_294_967_295),
        "Requests in progress in one worker: what its program has begun with \
         sw_server_begin_request and not ended, beside the callback that runs.",
    ),
];
