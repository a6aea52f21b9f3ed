//! Why a TLS connection failed, as an error of the library's own table and one line for a person.

use rustls::{AlertDescription, Error as Cause, PeerIncompatible};

use crate::error::{code, Error};

/// What an error of the protocol means.
pub(super) fn of(cause: &Cause) -> Error {
    let bad = |code, text: String| Error::new(code, text);
    match cause {
        Cause::NoCertificatesPresented => bad(
            code::SSL_EMPTY_PEER_CERTIFICATE,
            "the client gave no certificate, which ssl_verify_peer asks for".to_owned(),
        ),
        Cause::InvalidCertificate(reason) => bad(
            code::SSL_VERIFY_FAILED,
            format!("the certificate of the client does not verify: {reason:?}"),
        ),
        Cause::PeerIncompatible(reason) if is_about_versions(reason) => {
            bad(code::SSL_BAD_PROTOCOL, format!("no version of TLS in common: {reason:?}"))
        }
        Cause::PeerIncompatible(reason) => {
            bad(code::SSL_HANDSHAKE_FAILED, format!("client and port cannot agree: {reason:?}"))
        }
        Cause::NoApplicationProtocol => {
            bad(code::SSL_HANDSHAKE_FAILED, "no protocol inside TLS in common".to_owned())
        }
        Cause::AlertReceived(alert) => {
            bad(code::SSL_HANDSHAKE_FAILED, format!("the client broke off: {}", meaning(*alert)))
        }
        Cause::InvalidMessage(_)
        | Cause::InappropriateMessage { .. }
        | Cause::InappropriateHandshakeMessage { .. }
        | Cause::PeerMisbehaved(_)
        | Cause::DecryptError
        | Cause::PeerSentOversizedRecord => {
            bad(code::SSL_BAD_CLIENT, format!("the client does not keep to TLS: {cause}"))
        }
        other => bad(code::SSL_HANDSHAKE_FAILED, format!("TLS failed: {other}")),
    }
}

fn is_about_versions(reason: &PeerIncompatible) -> bool {
    matches!(
        reason,
        PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::SupportedVersionsExtensionRequired
    )
}

fn meaning(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::UnknownCA => "it does not trust who vouches for the certificate",
        AlertDescription::CertificateExpired => "the certificate has expired",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "it does not accept the certificate"
        }
        AlertDescription::ProtocolVersion => "it wants another version of TLS",
        _ => return format!("{alert:?}"),
    };
    format!("{text} ({alert:?})")
}

/// The connection broke with this `errno`.
pub(super) fn reset(errno: i32) -> Error {
    Error::new(code::SSL_RESET, format!("the connection broke: {}", crate::error::describe(errno)))
}

/// The client went before it was done, and before it began.
pub(super) fn left(has_begun: bool) -> Error {
    let text = match has_begun {
        true => "the client left in the middle of the handshake",
        false => "the client left without a byte",
    };
    Error::new(code::SSL_RESET, text)
}

/// Handshake messages that do not come to an end.
pub(super) fn endless() -> Error {
    Error::new(code::SSL_BAD_CLIENT, "the client does not keep to TLS: a message is too long")
}
