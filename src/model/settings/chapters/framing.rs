//! Framing.

use crate::model::settings::table::{row, Default, Name, Row, ANY_SIZE, OFFSET};
use crate::model::value::Kind;

pub(super) const ROWS: &[Row] = &[
    row(
        Name::OpenEofCheck,
        &["open_eof_check"],
        Kind::Bool,
        Default::Bool(false),
        "Messages end with package_eof: what has arrived is handed over when it ends so.",
    )
    .per_port(),
    row(
        Name::OpenEofSplit,
        &["open_eof_split"],
        Kind::Bool,
        Default::Bool(false),
        "As open_eof_check, and each message is handed over by itself.",
    )
    .per_port(),
    row(
        Name::PackageEof,
        &["package_eof"],
        Kind::Bytes { least: 1, most: 8 },
        Default::Text("\r\n\r\n"),
        "The end of a message, 1 to 8 bytes.",
    )
    .per_port(),
    row(
        Name::OpenLengthCheck,
        &["open_length_check"],
        Kind::Bool,
        Default::Bool(false),
        "Messages begin with a header that has their length.",
    )
    .per_port(),
    row(
        Name::PackageLengthType,
        &["package_length_type"],
        Kind::Letter("cCsSnvlLNVqQJP"),
        Default::Text("N"),
        "The length field: c, C 1 byte; s, S 2 bytes, n, v 2 bytes big and little endian; l, \
         L 4 bytes, N, V 4 bytes big and little endian; q, Q 8 bytes, J, P 8 bytes big and \
         little endian. Small c, s, l, q are signed; s, S, l, L, q, Q are in the order of the \
         machine.",
    )
    .per_port(),
    row(
        Name::PackageLengthOffset,
        &["package_length_offset"],
        OFFSET,
        Default::Int(0),
        "Where the length field begins, in bytes.",
    )
    .per_port(),
    row(
        Name::PackageBodyOffset,
        &["package_body_offset", "package_body_start"],
        OFFSET,
        Default::Int(4),
        "What is added to the length field to get the length of the whole message.",
    )
    .per_port(),
    row(
        Name::PackageMaxLength,
        &["package_max_length"],
        ANY_SIZE,
        Default::Int(2_097_152),
        "The longest message; at least 65536.",
    )
    .per_port(),
    row(
        Name::OpenHttpProtocol,
        &["open_http_protocol"],
        Kind::Bool,
        Default::Bool(false),
        "Messages are whole HTTP/1 requests.",
    )
    .per_port(),
    row(
        Name::OpenWebsocketProtocol,
        &["open_websocket_protocol"],
        Kind::Bool,
        Default::Bool(false),
        "Messages are those of WebSocket connections, and HTTP requests that ask for none.",
    )
    .per_port(),
    row(
        Name::OpenHttp2Protocol,
        &["open_http2_protocol"],
        Kind::Bool,
        Default::Bool(false),
        "HTTP/2.",
    )
    .per_port()
    .absent("HTTP/2"),
    row(
        Name::OpenMqttProtocol,
        &["open_mqtt_protocol"],
        Kind::Bool,
        Default::Bool(false),
        "Messages are MQTT packets.",
    )
    .per_port(),
    row(
        Name::OpenRedisProtocol,
        &["open_redis_protocol"],
        Kind::Bool,
        Default::Bool(false),
        "Messages are Redis commands.",
    )
    .per_port(),
];
