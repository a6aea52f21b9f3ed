//! TLS.

use crate::model::settings::table::{row, Default, Name, Row};
use crate::model::value::Kind;

pub(super) const ROWS: &[Row] = &[
    row(
        Name::SslCertFile,
        &["ssl_cert_file"],
        Kind::Path,
        Default::Text(""),
        "Certificate chain, PEM. Applies to ports with SW_SSL, which this build does not \
         have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslKeyFile,
        &["ssl_key_file"],
        Kind::Path,
        Default::Text(""),
        "Its private key, PEM. Applies to ports with SW_SSL, which this build does not have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslPassphrase,
        &["ssl_passphrase"],
        Kind::Text,
        Default::Text(""),
        "What the private key is encrypted with (PKCS#8). Applies to ports with SW_SSL, which \
         this build does not have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslProtocols,
        &["ssl_protocols"],
        Kind::Int { min: 0, max: 255 },
        Default::Int(0),
        "Versions that are allowed. Applies to ports with SW_SSL, which this build does not \
         have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslCiphers,
        &["ssl_ciphers"],
        Kind::Text,
        Default::Text("EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:AES256+EDH"),
        "Cipher suites that are allowed. Applies to ports with SW_SSL, which this build does \
         not have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslPreferServerCiphers,
        &["ssl_prefer_server_ciphers"],
        Kind::Bool,
        Default::Bool(true),
        "The server chooses the suite. Applies to ports with SW_SSL, which this build does \
         not have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslEcdhCurve,
        &["ssl_ecdh_curve"],
        Kind::Text,
        Default::Text("auto"),
        "Groups for the key exchange. Applies to ports with SW_SSL, which this build does not \
         have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslDhparam,
        &["ssl_dhparam"],
        Kind::Path,
        Default::Text(""),
        "Parameters for the key exchange. Applies to ports with SW_SSL, which this build does \
         not have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslCompress,
        &["ssl_compress"],
        Kind::Bool,
        Default::Bool(false),
        "Compression. Applies to ports with SW_SSL, which this build does not have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslVerifyPeer,
        &["ssl_verify_peer"],
        Kind::Bool,
        Default::Bool(false),
        "Clients need a certificate that verifies. Applies to ports with SW_SSL, which this \
         build does not have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslAllowSelfSigned,
        &["ssl_allow_self_signed"],
        Kind::Bool,
        Default::Bool(false),
        "Self-signed client certificates verify. Applies to ports with SW_SSL, which this \
         build does not have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslClientCertFile,
        &["ssl_client_cert_file"],
        Kind::Path,
        Default::Text(""),
        "Authorities whose client certificates are accepted. Applies to ports with SW_SSL, \
         which this build does not have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslCafile,
        &["ssl_cafile"],
        Kind::Path,
        Default::Text(""),
        "Trusted authorities. Applies to ports with SW_SSL, which this build does not have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslCapath,
        &["ssl_capath"],
        Kind::Path,
        Default::Text(""),
        "Directory of trusted authorities. Applies to ports with SW_SSL, which this build \
         does not have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslVerifyDepth,
        &["ssl_verify_depth"],
        Kind::Int { min: 0, max: 255 },
        Default::Int(0),
        "Longest chain of a client certificate. Applies to ports with SW_SSL, which this \
         build does not have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslSniCerts,
        &["ssl_sni_certs"],
        Kind::Json,
        Default::Text(""),
        "Certificates by host name. Applies to ports with SW_SSL, which this build does not \
         have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslSessionTickets,
        &["ssl_session_tickets"],
        Kind::Bool,
        Default::Bool(false),
        "Clients keep their sessions themselves, so that any process can resume them. Applies to \
         ports with SW_SSL, which this build does not have.",
    )
    .per_port()
    .stored(),
    row(
        Name::SslMethod,
        &["ssl_method"],
        Kind::Int { min: 0, max: 255 },
        Default::Int(0),
        "Has no meaning any more. Applies to ports with SW_SSL, which this build does not \
         have.",
    )
    .per_port()
    .stored(),
];
