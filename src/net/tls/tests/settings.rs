//! What each setting changes, as a client sees it, and what is refused with which words.

use rustls::crypto::ring::{self, cipher_suite, kx_group};
use rustls::{version, CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion};
use std::io::{Read, Write};

use super::certificates::{params, plain_settings, Folder, Pair};
use super::peer::{beside, met, refused, sockets, Client, Server, Wishes};
use crate::error::code;
use crate::net::tls::{CertificateFiles, Terms, TlsSettings};
use crate::os::testing::passes_in_child;

fn seen_certificate(client: &mut Client) -> Vec<u8> {
    client.conn.peer_certificates().unwrap()[0].as_ref().to_vec()
}

fn words_of(settings: &TlsSettings) -> (i32, String) {
    let error = Terms::new(settings).map(drop).unwrap_err();
    (error.code(), error.message().to_owned())
}

#[test]
fn keys_are_taken_in_every_usual_form() {
    let folder = Folder::new();
    let ec = include_str!("ec.pkcs8.pem");
    let rsa = include_str!("rsa.pkcs8.pem");
    for (name, same, text, passphrase) in [
        ("ec.pkcs8", ec, ec, ""),
        ("ec.sec1", ec, include_str!("ec.sec1.pem"), ""),
        ("ec.encrypted", ec, include_str!("ec.encrypted.pem"), "secret"),
        ("rsa.pkcs8", rsa, rsa, ""),
        ("rsa.pkcs1", rsa, include_str!("rsa.pkcs1.pem"), ""),
        ("unneeded", rsa, include_str!("rsa.pkcs1.pem"), "secret"),
    ] {
        let key = rcgen::KeyPair::from_pem(same).unwrap();
        let pair = Pair::of_its_own(params("localhost"), key);
        let own = CertificateFiles {
            certificate: folder.write("crt", &pair.chain),
            key: folder.write("key", text),
            passphrase: passphrase.to_owned(),
        };
        let terms = Terms::new(&TlsSettings { own, ..TlsSettings::default() }).unwrap();
        let seen = met(&terms, &Wishes::trusting(&pair.der), seen_certificate);
        assert_eq!(seen, pair.der.as_ref(), "{name}");
    }
}

#[test]
fn a_chain_is_sent_whole() {
    let folder = Folder::new();
    let root = Pair::authority("root");
    let leaf = root.branch("branch").branch("twig").issue("localhost");
    let terms =
        Terms::new(&TlsSettings { own: folder.put("leaf", &leaf), ..TlsSettings::default() });
    let count = met(&terms.unwrap(), &Wishes::trusting(&root.der), |client| {
        client.conn.peer_certificates().map_or(0, <[_]>::len)
    });
    assert!(count >= 3, "{count}");
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_reason() {
    let folder = Folder::new();
    let (good, _) = plain_settings(&folder);
    let other = folder.put("other", &Pair::self_signed("localhost"));
    let sealed = folder.write("sealed", include_str!("ec.encrypted.pem"));
    let old = folder.write("old", include_str!("rsa.old-encrypted.pem"));
    let rubbish = folder.write("rubbish", "-----BEGIN CERTIFICATE-----\n!!!\n");
    let no_der =
        folder.write("no_der", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let empty = folder.write("empty", "");
    let missing = folder.path("missing");
    type Change = fn(&mut TlsSettings, String);
    let table: &[(Change, &str, &str)] = &[
        (|s, path| s.own.certificate = path, &missing, "ssl_cert_file"),
        (|s, path| s.own.certificate = path, &missing, "No such file"),
        (|s, path| s.own.certificate = path, &rubbish, "PEM"),
        (|s, path| s.own.certificate = path, &empty, "no certificate"),
        (|s, path| s.own.certificate = path, "/tmp", "no file"),
        (|s, path| s.own.certificate = path, &no_der, "ssl_cert_file"),
        (|s, path| s.own.certificate = path, "", "both ssl_cert_file and ssl_key_file"),
        (|s, path| s.own.key = path, "", "both ssl_cert_file and ssl_key_file"),
        (|s, path| s.own.key = path, &missing, "ssl_key_file"),
        (|s, path| s.own.key = path, &other.key, "not that of ssl_cert_file"),
        (|s, path| s.own.key = path, &other.certificate, "no private key"),
        (|s, path| s.own.key = path, &sealed, "set ssl_passphrase"),
        (|s, path| s.own.key = path, &old, "openssl pkcs8 -topk8"),
        (|s, path| s.client_cert_file = path, &missing, "ssl_client_cert_file"),
    ];
    for (change, path, named) in table {
        let mut settings = good.clone();
        change(&mut settings, (*path).to_owned());
        let (code, words) = words_of(&settings);
        assert_eq!(code, code::SSL_CREATE_CONTEXT_FAILED, "{words}");
        assert!(words.contains(named) && words.contains(path), "{words}, not {named}");
    }
    let mut settings = good;
    settings.own = CertificateFiles { key: sealed, passphrase: "wrong".to_owned(), ..other };
    assert!(words_of(&settings).1.contains("does not open it"));
}

#[test]
fn what_is_not_offered_on_purpose_is_refused_with_what_to_do() {
    let folder = Folder::new();
    let (good, _) = plain_settings(&folder);
    type Change = fn(&mut TlsSettings);
    let table: &[(Change, &str)] = &[
        (|s| s.is_compressed = true, "CRIME"),
        (|s| s.dhparam = "/etc/dh.pem".to_owned(), "ssl_ecdh_curve"),
        (|s| s.protocols = 8 | 16, "add TLS 1.2 (32)"),
        (|s| s.protocols = 128, "DTLS"),
    ];
    for (change, named) in table {
        let mut settings = good.clone();
        change(&mut settings);
        let (code, words) = words_of(&settings);
        assert_eq!(code, code::OPERATION_NOT_SUPPORT);
        assert!(words.contains(named), "{words}");
    }
    let older = TlsSettings { protocols: 16 | 64, ..good };
    assert_eq!(Terms::new(&older).unwrap().warnings.len(), 1);
}

#[test]
fn versions_that_are_not_selected_are_not_spoken() {
    let folder = Folder::new();
    let (mut settings, trusted) = plain_settings(&folder);
    let (old, new) = (&version::TLS12, &version::TLS13);
    for (mask, version, other) in [(32, old, new), (64, new, old)] {
        settings.protocols = mask;
        let terms = Terms::new(&settings).unwrap();
        let spoken = |client: &mut Client| client.conn.protocol_version().unwrap();
        assert_eq!(met(&terms, &Wishes::trusting(&trusted), spoken), version.version);
        let error = refused(&terms, &Wishes::of_version(&trusted, other));
        assert_eq!(error.code(), code::SSL_BAD_PROTOCOL, "{error}");
    }
    settings.protocols = 0;
    let terms = Terms::new(&settings).unwrap();
    let spoken = met(&terms, &Wishes::trusting(&trusted), |c| c.conn.protocol_version());
    assert_eq!(spoken, Some(ProtocolVersion::TLSv1_3));
}

#[test]
fn cipher_suites_are_those_of_the_list_in_the_order_of_the_side_that_is_preferred() {
    let folder = Folder::new();
    let (mut settings, trusted) = plain_settings(&folder);
    let suite = |client: &mut Client| client.conn.negotiated_cipher_suite().unwrap().suite();
    settings.protocols = 32;
    settings.ciphers = "AES128+AESGCM:CHACHA20".to_owned();
    // The client would rather have the one that stands last.
    let mut wish = ring::default_provider();
    wish.cipher_suites = vec![
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ];
    let wishes = Wishes::with_provider(wish, &trusted, None, |_| {});
    let terms = Terms::new(&settings).unwrap();
    let own = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    assert_eq!(met(&terms, &wishes, suite), own);
    settings.prefers_own_ciphers = false;
    let terms = Terms::new(&settings).unwrap();
    let of_client = CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    assert_eq!(met(&terms, &wishes, suite), of_client);
    settings.ciphers = "AES256+AESGCM".to_owned();
    let terms = Terms::new(&settings).unwrap();
    assert_eq!(refused(&terms, &wishes).code(), code::SSL_HANDSHAKE_FAILED);
    settings.protocols = 64;
    settings.ciphers = "TLS_AES_128_GCM_SHA256".to_owned();
    let terms = Terms::new(&settings).unwrap();
    let seen = met(&terms, &Wishes::trusting(&trusted), suite);
    assert_eq!(seen, CipherSuite::TLS13_AES_128_GCM_SHA256);
    settings.protocols = 32;
    assert_eq!(words_of(&settings).0, code::SSL_CREATE_CONTEXT_FAILED);
}

#[test]
fn keys_are_exchanged_on_the_curves_of_the_list() {
    let folder = Folder::new();
    let (mut settings, trusted) = plain_settings(&folder);
    for (curve, expected) in [
        ("prime256v1", NamedGroup::secp256r1),
        ("P-384", NamedGroup::secp384r1),
        ("auto", NamedGroup::X25519),
    ] {
        settings.curves = curve.to_owned();
        let terms = Terms::new(&settings).unwrap();
        let seen = met(&terms, &Wishes::trusting(&trusted), |client| {
            client.conn.negotiated_key_exchange_group().unwrap().name()
        });
        assert_eq!(seen, expected);
    }
    settings.curves = "P-384".to_owned();
    let mut wish = ring::default_provider();
    wish.kx_groups = vec![kx_group::X25519];
    let wishes = Wishes::with_provider(wish, &trusted, None, |_| {});
    let error = refused(&Terms::new(&settings).unwrap(), &wishes);
    assert_eq!(error.code(), code::SSL_HANDSHAKE_FAILED, "{error}");
}

#[test]
fn a_host_name_chooses_the_certificate() {
    let folder = Folder::new();
    let root = Pair::authority("root");
    let own = root.issue("own.site.example");
    let exact = root.issue("www.other.site.example");
    let wide = root.issue("*.other.site.example");
    let wider = root.issue("*.site.example");
    let mut settings = TlsSettings { own: folder.put("own", &own), ..TlsSettings::default() };
    settings.by_name = vec![
        ("*.site.example".to_owned(), folder.put("wider", &wider)),
        ("*.OTHER.site.example".to_owned(), folder.put("wide", &wide)),
        ("WWW.other.site.example".to_owned(), folder.put("exact", &exact)),
    ];
    let terms = Terms::new(&settings).unwrap();
    let wishes = Wishes::trusting(&root.der);
    for (name, pair) in [
        ("www.other.site.example", &exact),
        ("web.other.site.example", &wide),
        ("a.site.example", &wider),
        ("own.site.example", &wider),
    ] {
        let seen = met(&terms, &wishes.clone().named(name), seen_certificate);
        assert_eq!(seen, pair.der.as_ref(), "{name}");
    }
    // Nothing matches, or no name comes: the port's own, which this client does not like.
    let nameless = Wishes::with(&root.der, None, |config| config.enable_sni = false);
    let seen = met(&terms, &nameless.named("own.site.example"), seen_certificate);
    assert_eq!(seen, own.der.as_ref());
    let error = refused(&terms, &wishes.clone().named("a.b.c"));
    assert!(error.message().contains("does not accept"), "{error}");
    // Without one of its own, a port serves those names alone.
    settings.own = CertificateFiles::default();
    settings.by_name.truncate(1);
    let terms = Terms::new(&settings).unwrap();
    let seen = met(&terms, &wishes.clone().named("a.site.example"), seen_certificate);
    assert_eq!(seen, wider.der.as_ref());
    refused(&terms, &wishes.named("a.b.c"));
}

#[test]
fn host_names_that_are_none_and_their_bad_files_are_refused() {
    let folder = Folder::new();
    let (mut settings, _) = plain_settings(&folder);
    for name in ["7", "", "a.*.b", "**.b"] {
        settings.by_name = vec![(name.to_owned(), settings.own.clone())];
        assert_eq!(words_of(&settings).0, code::INVALID_PARAMS, "{name}");
        assert!(settings.check_names().is_err());
    }
    settings.by_name = vec![("a.b".to_owned(), CertificateFiles::default())];
    let (code, words) = words_of(&settings);
    assert_eq!(code, code::SSL_CREATE_CONTEXT_FAILED);
    assert!(words.contains("ssl_sni_certs, \"a.b\""), "{words}");
}

#[test]
fn protocols_inside_are_agreed_on_in_the_order_of_the_server() {
    let folder = Folder::new();
    let (mut settings, trusted) = plain_settings(&folder);
    settings.protocols_inside = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let terms = Terms::new(&settings).unwrap();
    let asking = |names: &[&str]| {
        let names = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        Wishes::with(&trusted, None, |config| config.alpn_protocols = names)
    };
    let seen = |client: &mut Client| client.conn.alpn_protocol().map(<[u8]>::to_vec);
    assert_eq!(met(&terms, &asking(&["http/1.1", "h2"]), seen), Some(b"h2".to_vec()));
    assert_eq!(met(&terms, &asking(&["http/1.1"]), seen), Some(b"http/1.1".to_vec()));
    assert_eq!(met(&terms, &asking(&[]), seen), None);
    assert!(refused(&terms, &asking(&["spdy"])).message().contains("in common"));
}

fn kind(client: &mut Client) -> HandshakeKind {
    client.conn.handshake_kind().unwrap()
}

#[test]
fn a_client_that_comes_back_resumes_its_session_but_not_under_new_terms() {
    let folder = Folder::new();
    let (mut settings, trusted) = plain_settings(&folder);
    for (mask, has_tickets) in [(32, false), (32, true), (64, false), (64, true)] {
        settings.protocols = mask;
        settings.has_tickets = has_tickets;
        let terms = Terms::new(&settings).unwrap();
        let wishes = Wishes::trusting(&trusted);
        assert_eq!(met(&terms, &wishes, kind), HandshakeKind::Full);
        assert_eq!(met(&terms, &wishes, kind), HandshakeKind::Resumed, "{mask} {has_tickets}");
        let anew = Terms::new(&settings).unwrap();
        assert_eq!(met(&anew, &wishes, kind), HandshakeKind::Full, "{mask} {has_tickets}");
    }
}

#[test]
fn tickets_resume_in_a_process_that_was_forked_and_remembered_sessions_do_not() {
    let folder = Folder::new();
    let (mut settings, trusted) = plain_settings(&folder);
    for (mask, has_tickets) in [(32, true), (64, true), (64, false)] {
        settings.protocols = mask;
        settings.has_tickets = has_tickets;
        let terms = Terms::new(&settings).unwrap();
        let wishes = Wishes::trusting(&trusted);
        // The first connection is served by a child, which was forked when the secret was made; the
        // second one here.
        let (near, far) = sockets();
        let client = beside(near, &wishes, |client| {
            client.write_all(b"?").unwrap();
            client.read_exact(&mut [0]).unwrap();
            client.conn.send_close_notify();
            client.flush().unwrap();
            kind(client)
        });
        assert!(passes_in_child(|| {
            let mut server = Server::new(far, &terms);
            server.handshake().unwrap();
            assert_eq!(server.read_exactly(1, 1), b"?");
            server.write_all(b"!");
            server.finish();
        }));
        assert_eq!(client.join().unwrap(), HandshakeKind::Full);
        let expected = if has_tickets { HandshakeKind::Resumed } else { HandshakeKind::Full };
        assert_eq!(met(&terms, &wishes, kind), expected, "{mask} {has_tickets}");
    }
}
