//! Certificates for tests: authorities, what they issue, and the files that hold it.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::net::tls::{CertificateFiles, TlsSettings};

/// A folder of its own, gone with the value.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sw-tls-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub(super) fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.0.join(name), text).unwrap();
        self.path(name)
    }

    /// Puts certificate and key into files that are named after the certificate.
    pub(super) fn put(&self, name: &str, pair: &Pair) -> CertificateFiles {
        CertificateFiles {
            certificate: self.write(&format!("{name}.crt"), &pair.chain),
            key: self.write(&format!("{name}.key"), &pair.key.serialize_pem()),
            passphrase: String::new(),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A certificate, those of who vouches for it, and its key.
pub(super) struct Pair {
    params: CertificateParams,
    pub(super) key: KeyPair,
    pub(super) der: CertificateDer<'static>,
    /// As PEM, its own first.
    pub(super) chain: String,
    chain_der: Vec<CertificateDer<'static>>,
}

pub(super) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

impl Pair {
    /// One that vouches for itself.
    pub(super) fn of_its_own(params: CertificateParams, key: KeyPair) -> Self {
        let certificate = params.self_signed(&key).unwrap();
        let (der, chain) = (certificate.der().clone(), certificate.pem());
        Self { params, key, chain_der: vec![der.clone()], der, chain }
    }

    pub(super) fn self_signed(name: &str) -> Self {
        Self::of_its_own(params(name), KeyPair::generate().unwrap())
    }

    pub(super) fn authority(name: &str) -> Self {
        Self::of_its_own(authority_params(name), KeyPair::generate().unwrap())
    }

    pub(super) fn issue_as(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let der = certificate.der().clone();
        let mut chain_der = vec![der.clone()];
        let mut chain = certificate.pem();
        // Nobody sends the root.
        if self.chain_der.len() > 1 || self.params.distinguished_name != params.distinguished_name {
            chain_der.extend(self.chain_der.iter().cloned());
            chain.push_str(&self.chain);
        }
        Self { params, key, der, chain, chain_der }
    }

    pub(super) fn issue(&self, name: &str) -> Self {
        self.issue_as(params(name))
    }

    /// An authority below this one.
    pub(super) fn branch(&self, name: &str) -> Self {
        self.issue_as(authority_params(name))
    }

    pub(super) fn client_parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        (self.chain_der.clone(), key)
    }
}

/// Settings with a certificate for `localhost`, and the certificate for a client to trust.
pub(super) fn plain_settings(folder: &Folder) -> (TlsSettings, CertificateDer<'static>) {
    let pair = Pair::self_signed("localhost");
    let settings = TlsSettings { own: folder.put("own", &pair), ..TlsSettings::default() };
    (settings, pair.der)
}
