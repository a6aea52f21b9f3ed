//! The terms of a port: everything that its TLS connections share, read and checked.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::crypto::{ring, CryptoProvider};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::ServerConfig;

use crate::error::{code, Error, Result};

use super::clients::Clients;
use super::tickets::Tickets;
use super::{files, names, suites, CertificateFiles, TlsSettings};

/// Sessions that a process remembers, for clients that come back.
const REMEMBERED_SESSIONS: usize = 4096;

/// What the TLS connections of a port share. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Terms {
    pub(super) config: Arc<ServerConfig>,
    /// One sentence for each value that was not taken as it was given.
    pub warnings: Vec<String>,
}

/// Which certificate a client sees.
#[derive(Debug)]
struct Certificates {
    own: Option<Arc<CertifiedKey>>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// The longest first, so that what is closer to a name wins.
    patterns: Vec<(String, Arc<CertifiedKey>)>,
}

fn refused(text: &'static str) -> Error {
    Error::new(code::OPERATION_NOT_SUPPORT, text)
}

fn check_pattern(name: &str) -> Result<()> {
    if names::is_pattern(name) && !name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    let text = format!(
        "ssl_sni_certs has \"{name}\", which is no host name; one * may stand in its left-most part"
    );
    Err(Error::new(code::INVALID_PARAMS, text))
}

fn pair_of(
    name: &str,
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<CertifiedKey> {
    check_pattern(name)?;
    files::pair(files, provider).map_err(|error| {
        Error::new(error.code(), format!("ssl_sni_certs, \"{name}\": {}", error.message()))
    })
}

impl Certificates {
    fn read(settings: &TlsSettings, provider: &CryptoProvider) -> Result<Self> {
        let own = &settings.own;
        let has_own = !own.certificate.is_empty() || !own.key.is_empty();
        if own.certificate.is_empty() != own.key.is_empty()
            || (!has_own && settings.by_name.is_empty())
        {
            let text = "a port with SW_SSL needs both ssl_cert_file and ssl_key_file";
            return Err(Error::new(code::SSL_CREATE_CONTEXT_FAILED, text));
        }
        let own = has_own.then(|| files::pair(own, provider).map(Arc::new)).transpose()?;
        let mut certificates = Self { own, exact: HashMap::new(), patterns: Vec::new() };
        for (name, files) in &settings.by_name {
            let pair = Arc::new(pair_of(name, files, provider)?);
            match name.contains('*') {
                true => certificates.patterns.push((name.clone(), pair)),
                false => drop(certificates.exact.insert(name.to_ascii_lowercase(), pair)),
            }
        }
        certificates.patterns.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Ok(certificates)
    }

    fn named(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let by_pattern = || self.patterns.iter().find(|(pattern, _)| names::matches(pattern, name));
        self.exact
            .get(name.to_ascii_lowercase().as_str())
            .or_else(|| by_pattern().map(|(_, pair)| pair))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.named(name));
        named.or(self.own.as_ref()).cloned()
    }
}

/// Refuses what nobody should use any more, with what to do instead.
fn check_offered(settings: &TlsSettings) -> Result<()> {
    if settings.is_compressed {
        return Err(refused(
            "ssl_compress is not offered, because compression gives secrets away (CRIME): leave it \
             out and compress what you send",
        ));
    }
    if !settings.dhparam.is_empty() {
        return Err(refused(
            "ssl_dhparam is not offered, because all keys are exchanged on elliptic curves: leave \
             it out, see ssl_ecdh_curve",
        ));
    }
    Ok(())
}

impl Terms {
    /// Reads and checks everything. Each call makes new secrets: no session of an earlier one is
    /// resumed, whatever the earlier terms allowed.
    pub fn new(settings: &TlsSettings) -> Result<Self> {
        check_offered(settings)?;
        let (versions, warning) = suites::versions(settings.protocols)?;
        let provider = Arc::new(CryptoProvider {
            cipher_suites: suites::suites(&settings.ciphers)?,
            kx_groups: suites::groups(&settings.curves)?,
            ..ring::default_provider()
        });
        let certificates = Certificates::read(settings, &provider)?;
        let clients = Clients::new(settings, &provider)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|error| {
                let text = format!("ssl_protocols and ssl_ciphers exclude each other: {error}");
                Error::new(code::SSL_CREATE_CONTEXT_FAILED, text)
            })?;
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(clients),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(certificates));
        config.ignore_client_order = settings.prefers_own_ciphers;
        config.alpn_protocols.clone_from(&settings.protocols_inside);
        config.session_storage = ServerSessionMemoryCache::new(REMEMBERED_SESSIONS);
        if settings.has_tickets {
            config.ticketer = Arc::new(Tickets::new()?);
        }
        Ok(Self { config: Arc::new(config), warnings: warning.into_iter().collect() })
    }
}

/// The checks of single settings, for the moment they are given. What one setting needs of another
/// is checked by [`Terms::new`].
impl TlsSettings {
    /// Whether the certificate can be read.
    pub fn check_certificate(&self) -> Result<()> {
        files::certificates("ssl_cert_file", &self.own.certificate).map(drop)
    }

    /// Whether the key is encrypted and what opens it is not there yet.
    fn awaits_passphrase(&self) -> bool {
        self.own.passphrase.is_empty() && files::is_encrypted(&self.own.key)
    }

    /// Whether the key can be read; one that is encrypted only if there is something to open it.
    pub fn check_key(&self) -> Result<()> {
        if self.awaits_passphrase() {
            return Ok(());
        }
        files::key("ssl_key_file", &self.own.key, &self.own.passphrase).map(drop)
    }

    /// Whether certificate and key belong together, as far as the key can be read yet.
    pub fn check_pair(&self) -> Result<()> {
        if self.awaits_passphrase() {
            return Ok(());
        }
        files::pair(&self.own, &ring::default_provider()).map(drop)
    }

    /// Whether all certificates for host names can be used.
    pub fn check_names(&self) -> Result<()> {
        let provider = ring::default_provider();
        let mut names = self.by_name.iter();
        names.try_for_each(|(name, files)| pair_of(name, files, &provider).map(drop))
    }

    /// Whether the list of cipher suites names any.
    pub fn check_ciphers(&self) -> Result<()> {
        suites::suites(&self.ciphers).map(drop)
    }

    /// Whether the groups of the key exchange are known.
    pub fn check_curves(&self) -> Result<()> {
        suites::groups(&self.curves).map(drop)
    }

    /// Whether the parameters of the key exchange can be read; that they are not used comes later.
    pub fn check_dhparam(&self) -> Result<()> {
        files::read("ssl_dhparam", &self.dhparam).map(drop)
    }

    /// Whether the authorities of clients can be read.
    pub fn check_client_authorities(&self) -> Result<()> {
        files::certificates("ssl_client_cert_file", &self.client_cert_file).map(drop)
    }

    /// Whether the other authorities can be read.
    pub fn check_other_authorities(&self) -> Result<()> {
        if !self.ca_file.is_empty() {
            files::certificates("ssl_cafile", &self.ca_file)?;
        }
        if !self.ca_path.is_empty() {
            files::certificates_of_all("ssl_capath", &self.ca_path)?;
        }
        Ok(())
    }
}
