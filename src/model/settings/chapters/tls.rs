//! TLS.

use crate::model::settings::table::{row, Default, Name, Row};
use crate::model::value::Kind;

pub(super) const ROWS: &[Row] = &[
    row(
        Name::SslCertFile,
        &["ssl_cert_file"],
        Kind::Path,
        Default::Text(""),
        "Certificate of a port with SW_SSL, PEM: its own, then those of who vouches for it. \
         Read again by a reload. On ports without SW_SSL these settings mean nothing.",
    )
    .per_port(),
    row(
        Name::SslKeyFile,
        &["ssl_key_file"],
        Kind::Path,
        Default::Text(""),
        "Its private key, PEM: PKCS#8, PKCS#1 or SEC1. Certificate and key are needed at start, \
         unless ssl_sni_certs has some.",
    )
    .per_port(),
    row(
        Name::SslPassphrase,
        &["ssl_passphrase"],
        Kind::Text,
        Default::Text(""),
        "What the private key is encrypted with (PKCS#8).",
    )
    .per_port(),
    row(
        Name::SslProtocols,
        &["ssl_protocols"],
        Kind::Int { min: 0, max: 255 },
        Default::Int(0),
        "Versions that are allowed, a sum of 32 (TLS 1.2) and 64 (TLS 1.3); 0: both. Older \
         ones, 2 to 16, and DTLS, 128, are not offered.",
    )
    .per_port(),
    row(
        Name::SslCiphers,
        &["ssl_ciphers"],
        Kind::Text,
        Default::Text("EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:AES256+EDH"),
        "Cipher suites that are allowed, in the language of OpenSSL.",
    )
    .per_port(),
    row(
        Name::SslPreferServerCiphers,
        &["ssl_prefer_server_ciphers"],
        Kind::Bool,
        Default::Bool(true),
        "The server chooses the cipher suite, not the client.",
    )
    .per_port(),
    row(
        Name::SslEcdhCurve,
        &["ssl_ecdh_curve"],
        Kind::Text,
        Default::Text("auto"),
        "Groups for the key exchange, separated by colons; \"auto\": all that there are.",
    )
    .per_port(),
    row(
        Name::SslDhparam,
        &["ssl_dhparam"],
        Kind::Path,
        Default::Text(""),
        "Parameters for a key exchange that is not offered: the start fails if it is set.",
    )
    .per_port(),
    row(
        Name::SslCompress,
        &["ssl_compress"],
        Kind::Bool,
        Default::Bool(false),
        "Compression, which is not offered: the start fails if it is on.",
    )
    .per_port(),
    row(
        Name::SslVerifyPeer,
        &["ssl_verify_peer"],
        Kind::Bool,
        Default::Bool(false),
        "Clients need a certificate that verifies, and whom to trust is said by \
         ssl_client_cert_file, ssl_cafile or ssl_capath.",
    )
    .per_port(),
    row(
        Name::SslAllowSelfSigned,
        &["ssl_allow_self_signed"],
        Kind::Bool,
        Default::Bool(false),
        "Client certificates that vouch for themselves verify.",
    )
    .per_port(),
    row(
        Name::SslClientCertFile,
        &["ssl_client_cert_file"],
        Kind::Path,
        Default::Text(""),
        "Authorities of client certificates, PEM, told to clients. With it \
         sw_server_get_client_cert knows what a client has shown.",
    )
    .per_port(),
    row(
        Name::SslCafile,
        &["ssl_cafile"],
        Kind::Path,
        Default::Text(""),
        "More trusted authorities, PEM, not told to clients.",
    )
    .per_port(),
    row(
        Name::SslCapath,
        &["ssl_capath"],
        Kind::Path,
        Default::Text(""),
        "A directory of files with more of them.",
    )
    .per_port(),
    row(
        Name::SslVerifyDepth,
        &["ssl_verify_depth"],
        Kind::Int { min: 0, max: 255 },
        Default::Int(0),
        "The most certificates between that of a client and a trusted one; 0: any number.",
    )
    .per_port(),
    row(
        Name::SslSniCerts,
        &["ssl_sni_certs"],
        Kind::Json,
        Default::Text(""),
        "Certificates by host name: a map to maps with ssl_cert_file, ssl_key_file and \
         ssl_passphrase. One * may stand in the left-most part of a name.",
    )
    .per_port(),
    row(
        Name::SslSessionTickets,
        &["ssl_session_tickets"],
        Kind::Bool,
        Default::Bool(false),
        "Clients keep their sessions themselves, so that any process can resume them.",
    )
    .per_port(),
    row(
        Name::SslMethod,
        &["ssl_method"],
        Kind::Int { min: 0, max: 255 },
        Default::Int(0),
        "Has no meaning any more.",
    )
    .per_port()
    .warned(),
];
