//! Tasks.

use crate::model::settings::table::{row, Default, Name, Row, ANY_COUNT};
use crate::model::value::Kind;

pub(super) const ROWS: &[Row] = &[
    row(
        Name::TaskWorkerNum,
        &["task_worker_num"],
        ANY_COUNT,
        Default::Int(0),
        "Number of task workers, which run tasks beside the event workers; 0: there are none. At \
         most 1000 for each processor, and 900 together with the event workers.",
    ),
    row(
        Name::TaskIpcMode,
        &["task_ipc_mode"],
        Kind::Int { min: 1, max: 4 },
        Default::Int(1),
        "How tasks travel: 1 through shared memory; 2 through a System V message queue; 3 the \
         same, and any task worker takes any task; 4 as 1, but the task worker that a task names \
         does not count, one that is idle gets it. 2 and 3 not where tasks may be answered later; \
         who hands in waits while the queue is full, and a task worker that is killed in the very \
         moment of taking a task from it loses that task, which only the log tells. Messages to \
         task workers are refused with 3.",
    ),
    row(
        Name::TaskMaxRequest,
        &["task_max_request"],
        ANY_COUNT,
        Default::Int(0),
        "Tasks after which a task worker is replaced; 0 is never.",
    ),
    row(
        Name::TaskMaxRequestGrace,
        &["task_max_request_grace"],
        ANY_COUNT,
        Default::Derived("half of task_max_request; 0 if that is 10 or less"),
        "The most that is added to them, at random.",
    ),
    row(
        Name::TaskTmpdir,
        &["task_tmpdir"],
        Kind::Path,
        Default::Text(""),
        "An absolute path, made if it is missing. Payloads of 8152 bytes or more lie there with \
         task_ipc_mode 2 and 3; else they stay in memory, whatever their size.",
    )
    .stored(),
    row(
        Name::TaskEnableCoroutine,
        &["task_enable_coroutine"],
        Kind::Bool,
        Default::Bool(false),
        "Tasks may be answered when their callback has returned, see sw_server_finish_task; \
         several can be open in a task worker.",
    ),
    row(
        Name::TaskUseObject,
        &["task_use_object", "task_object"],
        Kind::Bool,
        Default::Bool(false),
        "The same as task_enable_coroutine; callbacks get one event object in any case.",
    ),
    row(
        Name::MessageQueueKey,
        &["message_queue_key"],
        Kind::Int { min: 0, max: i64::MAX },
        Default::Int(0),
        "Key of the queue of task_ipc_mode 2 and 3, which survives the server, and what is in it \
         is done by the next one; 0 is a queue of the server alone.",
    ),
];
