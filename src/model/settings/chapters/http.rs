//! HTTP and WebSocket servers.

use crate::model::settings::table::{row, Default, Name, Row, ANY_COUNT, ANY_SIZE};
use crate::model::value::Kind;

pub(super) const ROWS: &[Row] = &[
    row(
        Name::HttpParseCookie,
        &["http_parse_cookie"],
        Kind::Bool,
        Default::Bool(true),
        "Cookies are taken apart.",
    )
    .absent("HTTP"),
    row(
        Name::HttpParsePost,
        &["http_parse_post"],
        Kind::Bool,
        Default::Bool(true),
        "Forms are taken apart.",
    )
    .absent("HTTP"),
    row(
        Name::HttpParseFiles,
        &["http_parse_files"],
        Kind::Bool,
        Default::Bool(false),
        "Uploads are grouped.",
    )
    .absent("HTTP"),
    row(
        Name::HttpCompression,
        &["http_compression"],
        Kind::Bool,
        Default::Bool(true),
        "Bodies are compressed.",
    )
    .absent("HTTP"),
    row(
        Name::HttpCompressionLevel,
        &["http_compression_level", "compression_level", "http_gzip_level"],
        Kind::Int { min: 0, max: 255 },
        Default::Int(1),
        "How much.",
    )
    .absent("HTTP"),
    row(
        Name::HttpCompressionMinLength,
        &["http_compression_min_length", "compression_min_length"],
        ANY_SIZE,
        Default::Int(20),
        "The shortest body that is.",
    )
    .absent("HTTP"),
    row(
        Name::HttpCompressionTypes,
        &["http_compression_types", "compression_types"],
        Kind::Json,
        Default::Text(""),
        "The media types that are.",
    )
    .absent("HTTP"),
    row(
        Name::UploadTmpDir,
        &["upload_tmp_dir"],
        Kind::Path,
        Default::Text("/tmp"),
        "Where uploads lie.",
    )
    .absent("HTTP"),
    row(
        Name::UploadMaxFilesize,
        &["upload_max_filesize"],
        ANY_SIZE,
        Default::Int(0),
        "The largest uploaded file.",
    )
    .absent("HTTP"),
    row(
        Name::EnableStaticHandler,
        &["enable_static_handler"],
        Kind::Bool,
        Default::Bool(false),
        "Files are served.",
    )
    .absent("HTTP"),
    row(Name::DocumentRoot, &["document_root"], Kind::Path, Default::Text(""), "From here.")
        .absent("HTTP"),
    row(
        Name::StaticHandlerLocations,
        &["static_handler_locations"],
        Kind::Json,
        Default::Text(""),
        "Under these prefixes.",
    )
    .absent("HTTP"),
    row(
        Name::HttpIndexFiles,
        &["http_index_files"],
        Kind::Json,
        Default::Text(""),
        "Files that stand for a directory.",
    )
    .absent("HTTP"),
    row(
        Name::HttpAutoindex,
        &["http_autoindex"],
        Kind::Bool,
        Default::Bool(false),
        "Directories are listed.",
    )
    .absent("HTTP"),
    row(
        Name::UrlRewriteRules,
        &["url_rewrite_rules"],
        Kind::Json,
        Default::Text(""),
        "Paths that are changed.",
    )
    .absent("HTTP"),
    row(
        Name::WebsocketSubprotocol,
        &["websocket_subprotocol"],
        Kind::Text,
        Default::Text(""),
        "The subprotocol that is offered.",
    )
    .absent("HTTP"),
    row(
        Name::WebsocketCompression,
        &["websocket_compression"],
        Kind::Bool,
        Default::Bool(false),
        "Messages are compressed.",
    )
    .absent("HTTP"),
    row(
        Name::WebsocketMask,
        &["websocket_mask"],
        Kind::Bool,
        Default::Bool(false),
        "Messages are masked.",
    )
    .absent("HTTP"),
    row(
        Name::OpenWebsocketCloseFrame,
        &["open_websocket_close_frame"],
        Kind::Bool,
        Default::Bool(false),
        "Close frames are handed over.",
    )
    .absent("HTTP"),
    row(
        Name::OpenWebsocketPingFrame,
        &["open_websocket_ping_frame"],
        Kind::Bool,
        Default::Bool(false),
        "Ping frames are handed over.",
    )
    .absent("HTTP"),
    row(
        Name::OpenWebsocketPongFrame,
        &["open_websocket_pong_frame"],
        Kind::Bool,
        Default::Bool(false),
        "Pong frames are handed over.",
    )
    .absent("HTTP"),
    row(
        Name::Http2HeaderTableSize,
        &["http2_header_table_size"],
        ANY_SIZE,
        Default::Int(4096),
        "Advertised table.",
    )
    .absent("HTTP"),
    row(
        Name::Http2EnablePush,
        &["http2_enable_push"],
        Kind::Int { min: 0, max: 1 },
        Default::Int(0),
        "Push.",
    )
    .absent("HTTP"),
    row(
        Name::Http2MaxConcurrentStreams,
        &["http2_max_concurrent_streams"],
        ANY_COUNT,
        Default::Int(128),
        "Streams at once.",
    )
    .absent("HTTP"),
    row(
        Name::Http2InitWindowSize,
        &["http2_init_window_size"],
        ANY_SIZE,
        Default::Int(65_535),
        "Receive window.",
    )
    .absent("HTTP"),
    row(
        Name::Http2MaxFrameSize,
        &["http2_max_frame_size"],
        ANY_SIZE,
        Default::Int(16_384),
        "Largest frame.",
    )
    .absent("HTTP"),
    row(
        Name::Http2MaxHeaderListSize,
        &["http2_max_header_list_size"],
        ANY_SIZE,
        Default::Int(4_294_967_295),
        "Advertised list.",
    )
    .absent("HTTP"),
    row(
        Name::Http2MaxHeaders,
        &["http2_max_headers"],
        ANY_COUNT,
        Default::Int(1000),
        "Header fields of a block.",
    )
    .absent("HTTP"),
];
