//! Buffers and sending.

use crate::model::settings::table::{row, Default, Name, Row, ANY_SIZE, BUFFER_SIZE};
use crate::model::value::Kind;

pub(super) const ROWS: &[Row] = &[
    row(
        Name::OutputBufferSize,
        &["output_buffer_size", "buffer_output_size"],
        ANY_SIZE,
        Default::Int(4_294_967_295),
        "SW_PROCESS mode: the largest send.",
    ),
    row(
        Name::InputBufferSize,
        &["input_buffer_size", "buffer_input_size"],
        ANY_SIZE,
        Default::Int(2_097_152),
        "Input is read straight to where it is handed over.",
    )
    .stored(),
    row(
        Name::SocketBufferSize,
        &["socket_buffer_size"],
        BUFFER_SIZE,
        Default::Int(8_388_608),
        "Bytes that may wait for a slow peer; a send beyond that fails. Of a datagram port, \
         the buffers of its socket.",
    )
    .per_port(),
    row(
        Name::BufferHighWatermark,
        &["buffer_high_watermark"],
        ANY_SIZE,
        Default::Derived("four fifths of socket_buffer_size"),
        "Waiting bytes from which on the bufferFull event is raised.",
    )
    .per_port(),
    row(
        Name::BufferLowWatermark,
        &["buffer_low_watermark"],
        ANY_SIZE,
        Default::Int(0),
        "Waiting bytes at which the bufferEmpty event is raised afterwards.",
    )
    .per_port(),
    row(
        Name::SendYield,
        &["send_yield"],
        Kind::Bool,
        Default::Bool(false),
        "Nothing suspends a callback here; a send that finds no room fails.",
    )
    .stored(),
    row(
        Name::SendTimeout,
        &["send_timeout"],
        Kind::Seconds,
        Default::Seconds(0),
        "Seconds that a send that waits may wait; 0 is without limit.",
    ),
    row(
        Name::MaxQueuedBytes,
        &["max_queued_bytes"],
        ANY_SIZE,
        Default::Int(0),
        "SW_PROCESS mode: bytes of a connection handed to a worker and not taken yet, above \
         which the connection is not read; 0 is any number.",
    ),
];
