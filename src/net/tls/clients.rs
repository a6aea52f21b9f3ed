//! The certificates of clients: which are asked for, and which are good.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    verify_tls12_signature, verify_tls13_signature, CryptoProvider, WebPkiSupportedAlgorithms,
};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
};
use webpki::{anchor_from_trusted_cert, EndEntityCert, KeyUsage, VerifiedPath};

use crate::error::{code, Error, Result};

use super::{files, self_signed, TlsSettings};

/// What is asked of the certificates of clients.
pub(super) struct Clients {
    /// A certificate is needed, and has to verify. Otherwise one is asked for, and any is taken.
    must_verify: bool,
    allows_self_signed: bool,
    /// The most certificates between that of a client and one that is trusted; 0: any number.
    depth: usize,
    trusted: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    /// Names of those whose certificates are welcome, sent to clients.
    welcome: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("must_verify", &self.must_verify).finish_non_exhaustive()
    }
}

/// Whom to trust, as far as the settings name anybody.
fn trusted(settings: &TlsSettings) -> Result<Vec<CertificateDer<'static>>> {
    let mut trusted = Vec::new();
    if !settings.client_cert_file.is_empty() {
        trusted.extend(files::certificates("ssl_client_cert_file", &settings.client_cert_file)?);
    }
    if !settings.ca_file.is_empty() {
        trusted.extend(files::certificates("ssl_cafile", &settings.ca_file)?);
    }
    if !settings.ca_path.is_empty() {
        trusted.extend(files::certificates_of_all("ssl_capath", &settings.ca_path)?);
    }
    Ok(trusted)
}

fn anchor(certificate: &CertificateDer<'_>) -> Option<TrustAnchor<'static>> {
    match anchor_from_trusted_cert(certificate) {
        Ok(anchor) => Some(anchor.to_owned()),
        Err(error) => {
            log::warn!("a certificate of those to trust cannot be read and is left out: {error}");
            None
        }
    }
}

impl Clients {
    /// What settings ask of clients; `None`: no certificate is asked for.
    pub(super) fn new(
        settings: &TlsSettings,
        provider: &CryptoProvider,
    ) -> Result<Option<Arc<Self>>> {
        if !settings.verifies_peer && settings.client_cert_file.is_empty() {
            return Ok(None);
        }
        let trusted = match settings.verifies_peer {
            true => trusted(settings)?,
            false => files::certificates("ssl_client_cert_file", &settings.client_cert_file)?,
        };
        if trusted.is_empty() {
            let text = "ssl_verify_peer needs to know whom to trust: set ssl_client_cert_file, \
                        ssl_cafile or ssl_capath";
            return Err(Error::new(code::SSL_CREATE_CONTEXT_FAILED, text));
        }
        let anchors: Vec<_> = trusted.iter().filter_map(anchor).collect();
        let welcome = match settings.client_cert_file.as_str() {
            "" => Vec::new(),
            path => files::certificates("ssl_client_cert_file", path)?,
        };
        let name = |anchor: TrustAnchor<'_>| DistinguishedName::in_sequence(&anchor.subject);
        Ok(Some(Arc::new(Self {
            must_verify: settings.verifies_peer,
            allows_self_signed: settings.allows_self_signed,
            depth: settings.verify_depth,
            trusted,
            anchors,
            welcome: welcome.iter().filter_map(anchor).map(name).collect(),
            algorithms: provider.signature_verification_algorithms,
        })))
    }

    /// Follows the chain of a certificate to one that is trusted.
    fn follow(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> std::result::Result<(), webpki::Error> {
        let is_short = |path: &VerifiedPath<'_>| match self.depth {
            0 => Ok(()),
            depth if path.intermediate_certificates().count() <= depth => Ok(()),
            _ => Err(webpki::Error::MaximumPathDepthExceeded),
        };
        EndEntityCert::try_from(end_entity)?
            .verify_for_usage(
                self.algorithms.all,
                &self.anchors,
                intermediates,
                now,
                KeyUsage::client_auth(),
                None,
                Some(&is_short),
            )
            .map(drop)
    }

    /// Whether a certificate that vouches for itself is taken: because it is one of those that are
    /// trusted, or because any is.
    fn takes_self_signed(&self, end_entity: &CertificateDer<'_>, now: UnixTime) -> bool {
        let is_welcome = self.allows_self_signed
            || self.trusted.iter().any(|trusted| trusted.as_ref() == end_entity.as_ref());
        is_welcome && self_signed::is_valid(end_entity, self.algorithms.all, now)
    }
}

fn told(error: webpki::Error) -> rustls::Error {
    let reason = match error {
        webpki::Error::CertExpired { time, not_after } => {
            CertificateError::ExpiredContext { time, not_after }
        }
        webpki::Error::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        webpki::Error::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        webpki::Error::BadDer | webpki::Error::BadDerTime => CertificateError::BadEncoding,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    };
    reason.into()
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.must_verify
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.welcome
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> std::result::Result<ClientCertVerified, rustls::Error> {
        if self.must_verify {
            if let Err(error) = self.follow(end_entity, intermediates, now) {
                if !self.takes_self_signed(end_entity, now) {
                    return Err(told(error));
                }
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
