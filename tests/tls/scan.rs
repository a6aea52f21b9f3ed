//! What a scanner of servers would find: each version and each suite is offered to a port whose
//! settings allow all that there is.

use crate::common::prelude::*;
use std::process::{Command, Stdio};

/// Whom the certificate with a key on a curve is for, and the one with a key of RSA.
const NAMES: [&str; 2] = ["localhost", "rsa.test"];
/// The suites of TLS 1.2 that are taken, and the name whose certificate they need.
const GOOD: [(&str, &str); 6] = [
    ("ECDHE-ECDSA-AES256-GCM-SHA384", NAMES[0]),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", NAMES[0]),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", NAMES[0]),
    ("ECDHE-RSA-AES256-GCM-SHA384", NAMES[1]),
    ("ECDHE-RSA-AES128-GCM-SHA256", NAMES[1]),
    ("ECDHE-RSA-CHACHA20-POLY1305", NAMES[1]),
];
const NEW: [&str; 3] =
    ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"];
/// All that the program knows, however weak.
const ALL: &str = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";
/// What no scanner may find, each alone: the list that is offered as a whole has them all.
const WEAK: [&str; 8] = [
    "RC4",
    "3DES",
    "NULL",
    "EXPORT",
    "aNULL",
    "kRSA",
    "kEDH:kDHE",
    "ECDHE+SHA1:AES128-SHA:AES256-SHA",
];

/// What came of an offer.
#[derive(Debug)]
struct Offer {
    is_taken: bool,
    said: String,
}

fn run(arguments: &[&str]) -> Option<Offer> {
    let output = Command::new("openssl").args(arguments).stdin(Stdio::null()).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Some(Offer { is_taken: output.status.success(), said })
}

/// Offers something to the port; `None`: there is nothing to offer with.
fn offer(server: &Running, name: &str, arguments: &[&str]) -> Option<Offer> {
    let address = format!("127.0.0.1:{}", server.port());
    run(&[&["s_client", "-connect", &address, "-servername", name], arguments].concat())
}

/// An offer that has to be refused, by the server and in words.
fn assert_refused(server: &Running, name: &str, arguments: &[&str]) {
    let Some(offer) = offer(server, name, arguments) else { return };
    assert!(!offer.is_taken, "{name} takes {arguments:?}: {}", offer.said);
    assert!(offer.said.contains("alert"), "{arguments:?} was never offered: {}", offer.said);
}

/// The suites below TLS 1.3 of a list, as the program knows them.
fn suites_of(list: &str) -> Vec<String> {
    let known = run(&["ciphers", list]).filter(|offer| offer.is_taken);
    let known = known.map(|offer| offer.said).unwrap_or_default();
    let is_old = |name: &&str| !name.is_empty() && !name.starts_with("TLS_");
    known.trim().split(':').filter(is_old).map(str::to_owned).collect()
}

pub fn a_scanner_finds_no_version_below_1_2_and_no_weak_suite(server: &Running) -> Outcome {
    drop(server.connect()?);
    let weak: Vec<String> = suites_of(ALL)
        .into_iter()
        .filter(|suite| GOOD.iter().all(|good| good.0 != suite))
        .collect();
    if weak.is_empty() {
        // There is no such program here.
        return Ok(());
    }
    assert!(weak.len() > 50, "{weak:?}");
    let weak = format!("{}:@SECLEVEL=0", weak.join(":"));
    for name in NAMES {
        for version in ["-tls1", "-tls1_1"] {
            assert_refused(server, name, &[version, "-cipher", ALL]);
        }
        assert_refused(server, name, &["-tls1_2", "-cipher", &weak]);
        let absent = "TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256";
        assert_refused(server, name, &["-tls1_3", "-ciphersuites", absent]);
        for list in WEAK {
            let list = format!("{list}:@SECLEVEL=0");
            // The program has none of some of them itself any more.
            if !suites_of(&list).is_empty() {
                assert_refused(server, name, &["-tls1_2", "-cipher", &list]);
            }
        }
    }
    Ok(())
}

pub fn a_scanner_finds_each_good_suite(server: &Running) -> Outcome {
    drop(server.connect()?);
    let older = GOOD.map(|(suite, name)| (suite, name, ["-tls1_2", "-cipher", suite]));
    let newer =
        NAMES.map(|name| NEW.map(|suite| (suite, name, ["-tls1_3", "-ciphersuites", suite])));
    for (suite, name, arguments) in older.into_iter().chain(newer.into_iter().flatten()) {
        let Some(offer) = offer(server, name, &arguments) else { return Ok(()) };
        let is_it = offer.said.contains(&format!("Cipher is {suite}"));
        assert!(offer.is_taken && is_it, "{name}, {arguments:?}: {}", offer.said);
        assert!(offer.said.contains("Compression: NONE"), "{}", offer.said);
    }
    Ok(())
}
