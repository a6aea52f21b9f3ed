//! TLS: the settings of a port as its terms are made of, and what is refused when they are set.

use serde_json::Value as Json;

use crate::error::Result;
use crate::net::tls::{CertificateFiles, TlsSettings};
use crate::os::file;

use super::table::Name;
use super::{invalid, Settings};

/// What is looked at when a setting gets another value.
type Check = fn(&TlsSettings) -> Result<()>;

/// The settings that are checked when they are set. Those that need others wait for the start.
const CHECKS: &[(Name, Check)] = &[
    (Name::SslCertFile, TlsSettings::check_certificate),
    (Name::SslKeyFile, TlsSettings::check_key),
    (Name::SslPassphrase, TlsSettings::check_key),
    (Name::SslCiphers, TlsSettings::check_ciphers),
    (Name::SslEcdhCurve, TlsSettings::check_curves),
    (Name::SslDhparam, TlsSettings::check_dhparam),
    (Name::SslClientCertFile, TlsSettings::check_client_authorities),
    (Name::SslSniCerts, TlsSettings::check_names),
];
/// Those that matter only to who verifies clients.
const AUTHORITIES: &[Name] = &[Name::SslVerifyPeer, Name::SslCafile, Name::SslCapath];

/// The path of a file, as it will be found from any directory.
fn path(text: &str) -> String {
    match text {
        "" => String::new(),
        path => file::absolute(path).to_string_lossy().into_owned(),
    }
}

/// The files of a host name.
fn files_of(name: &str, entry: &Json) -> Result<CertificateFiles> {
    let field = |field: &str| match entry.get(field) {
        Some(Json::String(text)) => Ok(text.as_str()),
        None if field == "ssl_passphrase" => Ok(""),
        _ => Err(invalid(format!(
            "ssl_sni_certs, \"{name}\": a map with ssl_cert_file and ssl_key_file is needed"
        ))),
    };
    Ok(CertificateFiles {
        certificate: path(field("ssl_cert_file")?),
        key: path(field("ssl_key_file")?),
        passphrase: field("ssl_passphrase")?.to_owned(),
    })
}

/// Host names and their files, from a map.
fn by_name(json: &str) -> Result<Vec<(String, CertificateFiles)>> {
    if json.is_empty() {
        return Ok(Vec::new());
    }
    let Ok(Json::Object(map)) = serde_json::from_str(json) else {
        let text = "ssl_sni_certs takes a map from host names to maps with ssl_cert_file and \
                    ssl_key_file";
        return Err(invalid(text.to_owned()));
    };
    map.iter().map(|(name, entry)| Ok((name.clone(), files_of(name, entry)?))).collect()
}

impl Settings {
    /// What the terms of a TLS port with these settings are made of.
    pub fn tls(&self) -> Result<TlsSettings> {
        let is_on = |name| self.int(name) != 0;
        Ok(TlsSettings {
            own: CertificateFiles {
                certificate: path(&self.text(Name::SslCertFile)),
                key: path(&self.text(Name::SslKeyFile)),
                passphrase: self.text(Name::SslPassphrase),
            },
            by_name: by_name(&self.text(Name::SslSniCerts))?,
            // The table keeps both in the range of a byte.
            protocols: self.int(Name::SslProtocols) as u32,
            verify_depth: self.int(Name::SslVerifyDepth) as usize,
            ciphers: self.text(Name::SslCiphers),
            prefers_own_ciphers: is_on(Name::SslPreferServerCiphers),
            curves: self.text(Name::SslEcdhCurve),
            dhparam: path(&self.text(Name::SslDhparam)),
            is_compressed: is_on(Name::SslCompress),
            verifies_peer: is_on(Name::SslVerifyPeer),
            allows_self_signed: is_on(Name::SslAllowSelfSigned),
            client_cert_file: path(&self.text(Name::SslClientCertFile)),
            ca_file: path(&self.text(Name::SslCafile)),
            ca_path: path(&self.text(Name::SslCapath)),
            has_tickets: is_on(Name::SslSessionTickets),
            protocols_inside: self.protocols_inside(),
        })
    }

    /// What may be spoken inside, best first, where that is asked.
    fn protocols_inside(&self) -> Vec<Vec<u8>> {
        let has_http2 = self.int(Name::OpenHttp2Protocol) != 0;
        let has_http = has_http2 || self.int(Name::OpenHttpProtocol) != 0;
        let offered = [(has_http2, &b"h2"[..]), (has_http, b"http/1.1")];
        offered.iter().filter(|row| row.0).map(|row| row.1.to_vec()).collect()
    }

    /// Refuses what has changed since `before` and cannot be used on a TLS port.
    ///
    /// A certificate and a key are compared when they first are both there, or changed together:
    /// whoever replaces one after the other has a pair that does not match in between.
    pub fn check_tls(&self, before: &Settings) -> Result<()> {
        let has_changed = |name: Name| self.value(name) != before.value(name);
        let is_set = |settings: &Settings, name| !settings.text(name).is_empty();
        let tls = self.tls()?;
        for (name, check) in CHECKS {
            // The key may be without a pass phrase, the pass phrase without a key.
            let has_file = *name != Name::SslPassphrase || !tls.own.key.is_empty();
            if has_changed(*name) && is_set(self, *name) && has_file {
                check(&tls)?;
            }
        }
        let pair = [Name::SslCertFile, Name::SslKeyFile];
        let both = |settings: &Settings| pair.iter().all(|name| is_set(settings, *name));
        let is_new = !both(before) || pair.iter().all(|name| has_changed(*name));
        if both(self) && is_new {
            tls.check_pair()?;
        }
        if tls.verifies_peer && AUTHORITIES.iter().any(|name| has_changed(*name)) {
            tls.check_other_authorities()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::code;
    use crate::model::plan::Mode;
    use crate::model::settings::Machine;
    use std::fs;
    use std::path::PathBuf;

    const EC: &str = include_str!("../../net/tls/tests/ec.pkcs8.pem");
    const SEALED: &str = include_str!("../../net/tls/tests/ec.encrypted.pem");

    fn blank() -> Settings {
        let machine = Machine { cpu_count: 4, descriptor_limit: 1024, port_descriptor: 7 };
        Settings::new(Mode::Process, machine)
    }

    /// Sets one value as a port with TLS does: a value that is refused leaves the old one.
    fn set(settings: &mut Settings, name: &str, value: &str) -> Result<()> {
        let before = settings.clone();
        assert_eq!(settings.set_text(name, value), Ok(true));
        settings.check_tls(&before).map_err(|error| {
            *settings = before;
            error
        })
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("sw-tls-set-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, text: &str) -> String {
            let path = self.0.join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        }

        /// A certificate with its key.
        fn pair(&self, name: &str, key: &rcgen::KeyPair) -> (String, String) {
            let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            let text = params.self_signed(key).unwrap().pem();
            let certificate = self.write(&format!("{name}.crt"), &text);
            (certificate, self.write(&format!("{name}.key"), &key.serialize_pem()))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn every_setting_reaches_the_terms() {
        let mut settings = blank();
        let json = r#"{
            "ssl_cert_file": "/a", "ssl_key_file": "/b", "ssl_passphrase": "p",
            "ssl_protocols": 64, "ssl_ciphers": "HIGH", "ssl_prefer_server_ciphers": false,
            "ssl_ecdh_curve": "P-256", "ssl_dhparam": "/c", "ssl_compress": true,
            "ssl_verify_peer": true, "ssl_allow_self_signed": true, "ssl_client_cert_file": "/d",
            "ssl_cafile": "/e", "ssl_capath": "/f", "ssl_verify_depth": 3,
            "ssl_session_tickets": true,
            "ssl_sni_certs": {"h": {"ssl_cert_file": "/g", "ssl_key_file": "/h",
                                    "ssl_passphrase": "q"}}
        }"#;
        assert_eq!(settings.set_json(json.as_bytes()), Ok(vec![]));
        let text = str::to_owned;
        let files = |certificate, key, passphrase| CertificateFiles {
            certificate: text(certificate),
            key: text(key),
            passphrase: text(passphrase),
        };
        let expected = TlsSettings {
            own: files("/a", "/b", "p"),
            by_name: vec![(text("h"), files("/g", "/h", "q"))],
            protocols: 64,
            ciphers: text("HIGH"),
            prefers_own_ciphers: false,
            curves: text("P-256"),
            dhparam: text("/c"),
            is_compressed: true,
            verifies_peer: true,
            allows_self_signed: true,
            client_cert_file: text("/d"),
            ca_file: text("/e"),
            ca_path: text("/f"),
            verify_depth: 3,
            has_tickets: true,
            protocols_inside: vec![],
        };
        assert_eq!(settings.tls(), Ok(expected));
        let defaults = TlsSettings {
            ciphers: text("EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:AES256+EDH"),
            curves: text("auto"),
            ..TlsSettings::default()
        };
        assert_eq!(blank().tls(), Ok(defaults));
        let inside = |name| {
            let mut settings = blank();
            settings.set_text(name, "true").unwrap();
            settings.tls().unwrap().protocols_inside
        };
        assert_eq!(inside("open_http_protocol"), [b"http/1.1".to_vec()]);
        assert_eq!(inside("open_http2_protocol"), [b"h2".to_vec(), b"http/1.1".to_vec()]);
    }

    #[test]
    fn paths_are_those_of_the_directory_in_which_they_were_set() {
        let mut settings = blank();
        settings.set_text("ssl_cert_file", "a/b.pem").unwrap();
        let expected = std::env::current_dir().unwrap().join("a/b.pem");
        assert_eq!(settings.tls().unwrap().own.certificate, expected.to_str().unwrap());
    }

    #[test]
    fn what_cannot_be_used_is_refused_when_it_is_set() {
        let folder = Folder::new("refused");
        let rubbish = folder.write("rubbish", "rubbish");
        let mut settings = blank();
        for (name, value) in [
            ("ssl_cert_file", "/nowhere/at/all"),
            ("ssl_cert_file", &rubbish),
            ("ssl_key_file", "/nowhere/at/all"),
            ("ssl_key_file", &rubbish),
            ("ssl_ciphers", "no-such-suite"),
            ("ssl_ciphers", "RC4"),
            ("ssl_ecdh_curve", "P-521"),
            ("ssl_dhparam", "/nowhere/at/all"),
            ("ssl_client_cert_file", "/nowhere/at/all"),
            ("ssl_sni_certs", "[]"),
            ("ssl_sni_certs", "{"),
            ("ssl_sni_certs", r#"{"a.b": {}}"#),
            ("ssl_sni_certs", r#"{"a.b": 7}"#),
            ("ssl_sni_certs", r#"{"a.b": {"ssl_cert_file": "/x", "ssl_key_file": "/y"}}"#),
        ] {
            let error = set(&mut settings, name, value).unwrap_err();
            let codes = [code::INVALID_PARAMS, code::SSL_CREATE_CONTEXT_FAILED];
            assert!(codes.contains(&error.code()), "{name} {value}");
            assert!(error.message().contains(name), "{name} {value}: {}", error.message());
        }
        // What does not change is not looked at again.
        settings.set_text("ssl_cert_file", "/nowhere/at/all").unwrap();
        assert_eq!(set(&mut settings, "backlog", "5"), Ok(()));
    }

    #[test]
    fn a_pair_is_compared_when_it_is_first_whole_or_changed_together() {
        let folder = Folder::new("pair");
        let (old, new) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
        let (old, new) = (folder.pair("old", &old), folder.pair("new", &new));
        let mut settings = blank();
        assert_eq!(set(&mut settings, "ssl_cert_file", &old.0), Ok(()));
        let error = set(&mut settings, "ssl_key_file", &new.1).unwrap_err();
        assert!(error.message().contains("not that of ssl_cert_file"), "{error}");
        assert_eq!(set(&mut settings, "ssl_key_file", &old.1), Ok(()));
        assert_eq!(set(&mut settings, "ssl_cert_file", &new.0), Ok(()));
        assert_eq!(set(&mut settings, "ssl_key_file", &new.1), Ok(()));
        let both = |pair: (&str, &str)| {
            format!(r#"{{"ssl_cert_file": "{}", "ssl_key_file": "{}"}}"#, pair.0, pair.1)
        };
        let mut change = |json: String| {
            let before = settings.clone();
            settings.set_json(json.as_bytes()).unwrap();
            settings.check_tls(&before)
        };
        assert_eq!(change(both((&old.0, &old.1))), Ok(()));
        assert_eq!(change(both((&new.0, &new.1))), Ok(()));
        let mixed = folder.write("mixed.crt", &fs::read_to_string(&old.0).unwrap());
        let other = folder.write("other.key", &fs::read_to_string(&new.1).unwrap());
        assert!(change(both((&mixed, &other))).is_err());
    }

    #[test]
    fn the_pass_phrase_may_come_before_or_after_the_key() {
        let folder = Folder::new("sealed");
        let key = rcgen::KeyPair::from_pem(EC).unwrap();
        let (certificate, _) = folder.pair("own", &key);
        let sealed = folder.write("sealed", SEALED);
        let mut settings = blank();
        assert_eq!(set(&mut settings, "ssl_passphrase", "early"), Ok(()));
        assert!(set(&mut settings, "ssl_key_file", &sealed).is_err());
        let mut settings = blank();
        assert_eq!(set(&mut settings, "ssl_cert_file", &certificate), Ok(()));
        assert_eq!(set(&mut settings, "ssl_key_file", &sealed), Ok(()));
        assert!(set(&mut settings, "ssl_passphrase", "wrong").is_err());
        assert_eq!(set(&mut settings, "ssl_passphrase", "secret"), Ok(()));
    }

    #[test]
    fn authorities_are_read_only_for_who_verifies() {
        let mut settings = blank();
        assert_eq!(set(&mut settings, "ssl_cafile", "/nowhere/at/all"), Ok(()));
        assert_eq!(set(&mut settings, "ssl_capath", "/nowhere/at/all"), Ok(()));
        assert!(set(&mut settings, "ssl_verify_peer", "true").is_err());
        let mut settings = blank();
        assert_eq!(set(&mut settings, "ssl_verify_peer", "true"), Ok(()));
        assert!(set(&mut settings, "ssl_cafile", "/nowhere/at/all").is_err());
    }
}
