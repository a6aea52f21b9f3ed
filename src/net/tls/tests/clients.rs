//! Certificates of clients: good ones, bad ones and none.

use rcgen::date_time_ymd;

use super::certificates::{params, plain_settings, Folder, Pair};
use super::peer::{greet, refused, Wishes};
use crate::error::code;
use crate::net::tls::{Terms, TlsSettings};

struct Scene {
    folder: Folder,
    settings: TlsSettings,
    trusted: rustls::pki_types::CertificateDer<'static>,
    root: Pair,
}

fn scene() -> Scene {
    let folder = Folder::new();
    let (mut settings, trusted) = plain_settings(&folder);
    let root = Pair::authority("root");
    settings.verifies_peer = true;
    settings.client_cert_file = folder.write("root.crt", &root.chain);
    Scene { folder, settings, trusted, root }
}

impl Scene {
    /// What the server makes of a client with this certificate: its certificate, or the code.
    fn meet(&self, pair: Option<&Pair>) -> Result<Option<String>, i32> {
        let mut taken = Vec::new();
        for protocols in [32, 64] {
            let settings = TlsSettings { protocols, ..self.settings.clone() };
            let terms = Terms::new(&settings).unwrap();
            let wishes = Wishes::with(&self.trusted, pair, |_| {});
            let (server, client) = greet(&terms, &wishes, |_| ());
            assert_eq!(server.is_ok(), client.is_ok());
            taken.push(server.map_err(|error| error.code()).map(|server| {
                let certificate = server.stream.client_certificate();
                server.finish();
                certificate
            }));
        }
        assert_eq!(taken[0], taken[1], "TLS 1.2 and 1.3 differ");
        taken.remove(0)
    }
}

#[test]
fn a_certificate_of_a_trusted_authority_is_taken_and_given_as_text() {
    let scene = scene();
    let client = scene.root.issue("client");
    let text = scene.meet(Some(&client)).unwrap().unwrap();
    assert!(client.chain.replace("\r\n", "\n").starts_with(&text), "{text}");
    assert!(text.starts_with("-----BEGIN CERTIFICATE-----\n"), "{text}");
    let longer = scene.root.branch("branch").issue("client");
    assert!(scene.meet(Some(&longer)).unwrap().is_some());
}

#[test]
fn each_setting_that_names_authorities_does() {
    let mut scene = scene();
    let client = scene.root.issue("client");
    scene.settings.ca_file = std::mem::take(&mut scene.settings.client_cert_file);
    assert!(scene.meet(Some(&client)).is_ok());
    let crowd = Folder::new();
    crowd.write("readme", "no certificate");
    crowd.write("1234abcd.0", &scene.root.chain);
    crowd.write("root.pem", &scene.root.chain);
    scene.settings.ca_file = String::new();
    scene.settings.ca_path = crowd.path("");
    assert!(scene.meet(Some(&client)).is_ok());
    assert!(scene.settings.check_other_authorities().is_ok());
    scene.settings.ca_path = String::new();
    let error = Terms::new(&scene.settings).map(drop).unwrap_err();
    assert!(error.message().contains("ssl_cafile or ssl_capath"), "{error}");
    scene.settings.ca_path = scene.folder.path("nowhere");
    assert!(Terms::new(&scene.settings).is_err());
    assert!(scene.settings.check_other_authorities().is_err());
}

#[test]
fn no_certificate_a_strangers_and_one_out_of_time_are_refused() {
    let scene = scene();
    assert_eq!(scene.meet(None), Err(code::SSL_EMPTY_PEER_CERTIFICATE));
    let strangers = Pair::authority("stranger").issue("client");
    assert_eq!(scene.meet(Some(&strangers)), Err(code::SSL_VERIFY_FAILED));
    // The name of the authority is right, the key is not.
    let forged = Pair::authority("root").issue("client");
    assert_eq!(scene.meet(Some(&forged)), Err(code::SSL_VERIFY_FAILED));
    let mut late = params("client");
    late.not_after = date_time_ymd(2001, 1, 1);
    assert_eq!(scene.meet(Some(&scene.root.issue_as(late))), Err(code::SSL_VERIFY_FAILED));
    let mut early = params("client");
    early.not_before = date_time_ymd(2090, 1, 1);
    assert_eq!(scene.meet(Some(&scene.root.issue_as(early))), Err(code::SSL_VERIFY_FAILED));
}

#[test]
fn a_chain_may_be_as_long_as_the_depth_says() {
    let mut scene = scene();
    let chains = [
        scene.root.issue("client"),
        scene.root.branch("one").issue("client"),
        scene.root.branch("one").branch("two").issue("client"),
    ];
    for depth in [1, 2] {
        scene.settings.verify_depth = depth;
        for (between, client) in chains.iter().enumerate() {
            let is_taken = scene.meet(Some(client)).is_ok();
            assert_eq!(is_taken, between <= depth, "{between} between, depth {depth}");
        }
    }
    scene.settings.verify_depth = 0;
    assert!(scene.meet(Some(&chains[2])).is_ok());
}

#[test]
fn self_signed_ones_are_taken_if_that_is_allowed_and_they_are_in_order() {
    let mut scene = scene();
    let own = Pair::self_signed("client");
    let as_authority = Pair::authority("client");
    let mut late = params("client");
    late.not_after = date_time_ymd(2001, 1, 1);
    let late = Pair::of_its_own(late, rcgen::KeyPair::generate().unwrap());
    for pair in [&own, &as_authority, &late] {
        assert_eq!(scene.meet(Some(pair)), Err(code::SSL_VERIFY_FAILED));
    }
    scene.settings.allows_self_signed = true;
    assert!(scene.meet(Some(&own)).is_ok());
    assert!(scene.meet(Some(&as_authority)).is_ok());
    assert_eq!(scene.meet(Some(&late)), Err(code::SSL_VERIFY_FAILED));
    let strangers = Pair::authority("stranger").issue("client");
    assert_eq!(scene.meet(Some(&strangers)), Err(code::SSL_VERIFY_FAILED));
    // One that is trusted by name needs no permission.
    scene.settings.allows_self_signed = false;
    scene.settings.client_cert_file = scene.folder.write("own.pem", &as_authority.chain);
    assert!(scene.meet(Some(&as_authority)).is_ok());
}

#[test]
fn without_verification_a_certificate_is_asked_for_and_any_or_none_is_taken() {
    let mut scene = scene();
    scene.settings.verifies_peer = false;
    let strangers = Pair::authority("stranger").issue("client");
    assert!(scene.meet(Some(&strangers)).unwrap().is_some());
    assert_eq!(scene.meet(None), Ok(None));
    scene.settings.client_cert_file = String::new();
    assert_eq!(scene.meet(Some(&strangers)), Ok(None));
}

#[test]
fn a_certificate_in_many_small_pieces_is_put_together() {
    let scene = scene();
    let client = scene.root.branch("branch").issue("client");
    let wishes = Wishes::with(&scene.trusted, Some(&client), |config| {
        config.max_fragment_size = Some(32);
    });
    for protocols in [32, 64] {
        let settings = TlsSettings { protocols, ..scene.settings.clone() };
        let (server, _) = greet(&Terms::new(&settings).unwrap(), &wishes, |_| ());
        assert!(server.unwrap().stream.client_certificate().is_some());
    }
}

#[test]
fn a_client_that_does_not_trust_the_server_says_so() {
    let scene = scene();
    let settings = TlsSettings { verifies_peer: false, ..scene.settings.clone() };
    let terms = Terms::new(&settings).unwrap();
    let error = refused(&terms, &Wishes::trusting(&scene.root.der));
    assert_eq!(error.code(), code::SSL_HANDSHAKE_FAILED);
    assert!(error.message().contains("does not trust"), "{error}");
}
