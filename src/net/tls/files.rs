//! Certificates and keys, as they come from files in PEM.
//!
//! Every error names the setting and the file, and says what to do where that is known.

use std::fs;

use pkcs8::der::pem;
use pkcs8::{EncryptedPrivateKeyInfo, LineEnding};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use crate::error::{code, Error, Result};

/// Longer files are not read: they hold something else.
const LARGEST_FILE: u64 = 16 << 20;
/// What stands in a key that is encrypted as PKCS#8.
const ENCRYPTED_BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
/// What stands in a key that is encrypted the old way.
const OLD_ENCRYPTED: &str = "Proc-Type: 4,ENCRYPTED";

/// A certificate with its chain, and its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, then those of who vouches for it.
    pub certificate: String,
    /// The private key.
    pub key: String,
    /// What the key is encrypted with; empty: nothing.
    pub passphrase: String,
}

/// What is wrong with the file of a setting.
fn unusable(setting: &str, path: &str, why: impl std::fmt::Display) -> Error {
    Error::new(code::SSL_CREATE_CONTEXT_FAILED, format!("{setting} \"{path}\": {why}"))
}

/// The content of the file of a setting.
pub(super) fn read(setting: &str, path: &str) -> Result<Vec<u8>> {
    let found = fs::metadata(path).map_err(|error| unusable(setting, path, error))?;
    if !found.is_file() {
        return Err(unusable(setting, path, "this is no file"));
    }
    if found.len() > LARGEST_FILE {
        return Err(unusable(setting, path, "this file is too large to be one of certificates"));
    }
    fs::read(path).map_err(|error| unusable(setting, path, error))
}

/// The certificates in a file, at least one.
pub(super) fn certificates(setting: &str, path: &str) -> Result<Vec<CertificateDer<'static>>> {
    let text = read(setting, path)?;
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found =
        found.map_err(|error| unusable(setting, path, format!("no proper PEM, {error}")))?;
    if found.is_empty() {
        return Err(unusable(setting, path, "no certificate (-----BEGIN CERTIFICATE-----) in it"));
    }
    Ok(found)
}

/// The certificates of all files of a directory; files without any do not count.
pub(super) fn certificates_of_all(
    setting: &str,
    path: &str,
) -> Result<Vec<CertificateDer<'static>>> {
    let entries = fs::read_dir(path).map_err(|error| unusable(setting, path, error))?;
    let mut found = Vec::new();
    for entry in entries {
        let file = entry.map_err(|error| unusable(setting, path, error))?.path();
        let Some(name) = file.to_str().filter(|_| file.is_file()) else { continue };
        match certificates(setting, name) {
            Ok(certificates) => found.extend(certificates),
            Err(error) => log::debug!("skipped: {}", error.message()),
        }
    }
    // Many are there twice, as themselves and as links that are named after a hash.
    found.sort_unstable_by(|one: &CertificateDer<'_>, other| one.as_ref().cmp(other.as_ref()));
    found.dedup();
    if found.is_empty() {
        return Err(unusable(setting, path, "no certificate in any file of this directory"));
    }
    Ok(found)
}

/// The private key in a file: PKCS#8, PKCS#1 or SEC1, or PKCS#8 that is encrypted.
pub(super) fn key(setting: &str, path: &str, passphrase: &str) -> Result<PrivateKeyDer<'static>> {
    let bytes = read(setting, path)?;
    let text = String::from_utf8_lossy(&bytes);
    if text.contains(OLD_ENCRYPTED) {
        let why = "encrypted in an old way that is not read, make it PKCS#8: \
                   openssl pkcs8 -topk8 -in KEY -out NEW";
        return Err(unusable(setting, path, why));
    }
    match text.split_once(ENCRYPTED_BEGIN).and_then(|(_, rest)| rest.split_once(ENCRYPTED_END)) {
        Some((body, _)) => decrypted(body, passphrase).map_err(|why| unusable(setting, path, why)),
        None => PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
            let why = format!("no private key in it (PKCS#8, PKCS#1 or SEC1 as PEM), {error}");
            unusable(setting, path, why)
        }),
    }
}

/// Whether a file holds a key that needs a pass phrase.
pub(super) fn is_encrypted(path: &str) -> bool {
    let text = read("ssl_key_file", path).unwrap_or_default();
    String::from_utf8_lossy(&text).contains(ENCRYPTED_BEGIN)
}

fn decrypted(body: &str, passphrase: &str) -> std::result::Result<PrivateKeyDer<'static>, String> {
    if passphrase.is_empty() {
        return Err("the key is encrypted, set ssl_passphrase".to_owned());
    }
    let text = format!("{ENCRYPTED_BEGIN}\n{}\n{ENCRYPTED_END}\n", body.trim());
    let (_, sealed) =
        pem::decode_vec(text.as_bytes()).map_err(|error| format!("no proper PEM, {error}"))?;
    let info = EncryptedPrivateKeyInfo::try_from(sealed.as_slice())
        .map_err(|error| format!("not encrypted in a way that is known, {error}"))?;
    let key = info.decrypt(passphrase).map_err(|_| {
        "ssl_passphrase does not open it, or it is encrypted with something else than PBES2 and \
         AES: openssl pkcs8 -topk8 -v2 aes256 -in KEY -out NEW"
    })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

/// A certificate with the key that belongs to it.
pub(super) fn pair(files: &CertificateFiles, provider: &CryptoProvider) -> Result<CertifiedKey> {
    let chain = certificates("ssl_cert_file", &files.certificate)?;
    let key = key("ssl_key_file", &files.key, &files.passphrase)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let why = match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("this key is not that of ssl_cert_file \"{}\"", files.certificate)
            }
            rustls::Error::InvalidCertificate(_) => {
                format!("ssl_cert_file \"{}\" has no proper certificate", files.certificate)
            }
            other => {
                format!(
                    "this key cannot be used ({other}), take RSA of 2048 to 8192 bits, ECDSA \
                         on P-256 or P-384, or Ed25519"
                )
            }
        };
        unusable("ssl_key_file", &files.key, why)
    })
}

/// A certificate as text.
pub(super) fn to_pem(certificate: &CertificateDer<'_>) -> Option<String> {
    pem::encode_string("CERTIFICATE", LineEnding::LF, certificate.as_ref()).ok()
}
