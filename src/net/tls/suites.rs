//! What a port and its clients may agree on: versions, cipher suites, groups of the key exchange.
//!
//! Cipher suites are asked for in the language of OpenSSL. It knows hundreds, most of them broken;
//! here are the nine that are not. A name of any other is understood and brings nothing, as long as
//! something is left; a name that is none is an error, because it is most likely a slip.

use ring_provider::{cipher_suite as suite, kx_group};
use rustls::crypto::{ring as ring_provider, SupportedKxGroup};
use rustls::{version, SupportedCipherSuite, SupportedProtocolVersion};

use crate::error::{code, Error, Result};

const TLS_1_2: u32 = 32;
const TLS_1_3: u32 = 64;
const DTLS: u32 = 128;
/// SSLv2 to TLS 1.1.
const BROKEN: u32 = 2 | 4 | 8 | 16;

/// A suite of TLS 1.2, its name and the groups of the language that it belongs to.
type Choice = (&'static str, &'static [&'static str], SupportedCipherSuite);

/// In the order of OpenSSL, strongest first.
const CHOICES: &[Choice] = &[
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        &["ECDSA", "AECDSA", "AES256", "AES", "AESGCM", "SHA384"],
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        &["ARSA", "AES256", "AES", "AESGCM", "SHA384"],
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        &["ECDSA", "AECDSA", "CHACHA20"],
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        &["ARSA", "CHACHA20"],
        suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        &["ECDSA", "AECDSA", "AES128", "AES", "AESGCM", "SHA256"],
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        &["ARSA", "AES128", "AES", "AESGCM", "SHA256"],
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
];

/// Groups that all of them belong to. `RSA` is a key exchange there, not a signature.
const COMMON_GROUPS: &[&str] =
    &["ALL", "DEFAULT", "HIGH", "TLSV1.2", "AEAD", "FIPS", "EECDH", "ECDHE", "KEECDH", "KECDHE"];

/// Groups that none of them belongs to.
const EMPTY_GROUPS: &[&str] = &[
    "COMPLEMENTOFALL",
    "COMPLEMENTOFDEFAULT",
    "MEDIUM",
    "LOW",
    "EXPORT",
    "EXP",
    "EXPORT40",
    "EXPORT56",
    "ENULL",
    "NULL",
    "ANULL",
    "ADH",
    "AECDH",
    "KRSA",
    "RSA",
    "KDHE",
    "KEDH",
    "DH",
    "DHE",
    "EDH",
    "KDH",
    "KDHR",
    "KDHD",
    "ADSS",
    "DSS",
    "ADHE",
    "KECDH",
    "KECDHR",
    "KECDHE_OLD",
    "ECDH",
    "AECDHE",
    "PSK",
    "KPSK",
    "APSK",
    "KECDHEPSK",
    "KDHEPSK",
    "KRSAPSK",
    "SRP",
    "KSRP",
    "ASRP",
    "GOST",
    "KGOST",
    "AGOST",
    "AGOST01",
    "GOST94",
    "GOST89MAC",
    "AESCCM",
    "AESCCM8",
    "ARIA",
    "ARIAGCM",
    "ARIA128",
    "ARIA256",
    "CAMELLIA",
    "CAMELLIA128",
    "CAMELLIA256",
    "CBC",
    "3DES",
    "DES",
    "RC4",
    "RC2",
    "IDEA",
    "SEED",
    "MD5",
    "SHA",
    "SHA1",
    "SSLV2",
    "SSLV3",
    "TLSV1",
    "TLSV1.0",
    "TLSV1.1",
    "KRB5",
    "KKRB5",
];

/// What the names of OpenSSL's suites are made of, with a hyphen between.
const WORDS: &[&str] = &[
    "ECDHE",
    "ECDH",
    "DHE",
    "EDH",
    "DH",
    "ADH",
    "AECDH",
    "RSA",
    "ECDSA",
    "DSS",
    "PSK",
    "SRP",
    "KRB5",
    "EXP",
    "AES128",
    "AES256",
    "GCM",
    "CCM",
    "CCM8",
    "CBC",
    "CBC3",
    "CHACHA20",
    "POLY1305",
    "CAMELLIA128",
    "CAMELLIA256",
    "ARIA128",
    "ARIA256",
    "DES",
    "3DES",
    "RC4",
    "RC2",
    "IDEA",
    "SEED",
    "NULL",
    "MD5",
    "SHA",
    "SHA256",
    "SHA384",
    "AES",
    "256",
    "128",
    "EDE",
    "ARIA",
];

/// The suites of TLS 1.3, in the order of preference.
const NEWEST: &[(&str, SupportedCipherSuite)] = &[
    ("TLS_AES_256_GCM_SHA384", suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", suite::TLS13_CHACHA20_POLY1305_SHA256),
];
/// Those that are not offered.
const NEWEST_ABSENT: &[&str] = &["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"];

fn invalid(text: String) -> Error {
    Error::new(code::INVALID_PARAMS, text)
}

/// The versions of a mask, and what to warn of. 0 is all there are.
pub(super) fn versions(
    mask: u32,
) -> Result<(Vec<&'static SupportedProtocolVersion>, Option<String>)> {
    let wanted = if mask == 0 { TLS_1_2 | TLS_1_3 } else { mask };
    let known = [(TLS_1_3, &version::TLS13), (TLS_1_2, &version::TLS12)];
    let chosen: Vec<_> = known.iter().filter(|(bit, _)| wanted & bit != 0).collect();
    let broken = "SSLv2 to TLS 1.1 are broken and not offered";
    if chosen.is_empty() {
        let why = match wanted & DTLS {
            0 => broken,
            _ => "DTLS is not offered",
        };
        let text = format!(
            "ssl_protocols {mask} allows no version that there is: {why}, add TLS 1.2 (32) or TLS \
             1.3 (64), or leave the setting out"
        );
        return Err(Error::new(code::OPERATION_NOT_SUPPORT, text));
    }
    let warning =
        (wanted & BROKEN != 0).then(|| format!("ssl_protocols {mask}: {broken}, the rest is used"));
    Ok((chosen.into_iter().map(|(_, version)| *version).collect(), warning))
}

/// The suites of a list in OpenSSL's language, best first. An empty list means all.
pub(super) fn suites(list: &str) -> Result<Vec<SupportedCipherSuite>> {
    let mut newest: Vec<SupportedCipherSuite> = Vec::new();
    let mut chosen = Chosen::default();
    let mut items = list.split([':', ',', ';', ' ']).filter(|item| !item.is_empty()).peekable();
    if items.peek().is_none() {
        chosen.take("", "ALL", list)?;
    }
    for item in items {
        let named = NEWEST.iter().find(|(name, _)| name.eq_ignore_ascii_case(item));
        match named {
            Some((_, suite)) if !newest.contains(suite) => newest.push(*suite),
            Some(_) => {}
            None => {
                let rest = item.trim_start_matches(['!', '-', '+']);
                let sign = item.get(..item.len() - rest.len()).unwrap_or_default();
                chosen.take(sign, rest, list)?;
            }
        }
    }
    if chosen.order.is_empty() && newest.is_empty() {
        let text = format!(
            "ssl_ciphers \"{list}\" leaves no cipher suite: take some of {}, or leave it empty",
            CHOICES.iter().map(|choice| choice.0).collect::<Vec<_>>().join(", ")
        );
        return Err(invalid(text));
    }
    // As in OpenSSL, a list that names none of TLS 1.3 says nothing about them.
    if newest.is_empty() {
        newest.extend(NEWEST.iter().map(|(_, suite)| *suite));
    }
    let older = chosen.order.iter().filter_map(|index| CHOICES.get(*index));
    newest.extend(older.map(|choice| choice.2));
    Ok(newest)
}

/// Which suites of TLS 1.2 a list has taken so far, as places in [`CHOICES`].
#[derive(Default)]
struct Chosen {
    order: Vec<usize>,
    /// For ever out, by `!`.
    killed: Vec<usize>,
}

impl Chosen {
    /// Applies one item of the list: a sign and names with `+` between.
    fn take(&mut self, sign: &str, names: &str, list: &str) -> Result<()> {
        // @STRENGTH orders, which they are already; @SECLEVEL asks for less than is kept.
        if names.starts_with('@') && sign.is_empty() {
            return Ok(());
        }
        let mut meant: Vec<usize> = (0..CHOICES.len()).collect();
        for name in names.split('+') {
            let group = group_of(name).ok_or_else(|| {
                invalid(format!("ssl_ciphers \"{list}\" has \"{name}\", which is no cipher suite"))
            })?;
            meant.retain(|index| group.contains(index));
        }
        match sign {
            "" => {
                let taken = |index: &usize| self.order.contains(index);
                meant.retain(|index| !taken(index) && !self.killed.contains(index));
                self.order.extend(meant);
            }
            "+" => {
                let (back, front): (Vec<usize>, Vec<usize>) =
                    self.order.iter().partition(|index| meant.contains(index));
                self.order = front.into_iter().chain(back).collect();
            }
            "-" => self.order.retain(|index| !meant.contains(index)),
            "!" => {
                self.order.retain(|index| !meant.contains(index));
                self.killed.extend(meant);
            }
            _ => return Err(invalid(format!("ssl_ciphers \"{list}\" has \"{sign}{names}\""))),
        }
        Ok(())
    }
}

/// The suites that a name means; `None` if it is no name.
fn group_of(name: &str) -> Option<Vec<usize>> {
    let name = name.to_ascii_uppercase();
    let is_in = |list: &[&str]| list.contains(&name.as_str());
    let with = |has: &dyn Fn(&Choice) -> bool| {
        let places = CHOICES.iter().enumerate().filter(|(_, choice)| has(choice));
        Some(places.map(|(index, _)| index).collect::<Vec<usize>>())
    };
    if is_in(COMMON_GROUPS) {
        return with(&|_| true);
    }
    let found = with(&|choice| choice.0 == name || choice.1.contains(&name.as_str()));
    let is_known = is_in(EMPTY_GROUPS) || is_in(NEWEST_ABSENT) || is_suite_name(&name);
    found.filter(|places| !places.is_empty() || is_known)
}

/// Whether a name is built as those of OpenSSL are.
fn is_suite_name(name: &str) -> bool {
    name.contains('-') && name.split('-').all(|word| WORDS.contains(&word))
}

/// The groups of a list of names with colons between; `auto` means all.
pub(super) fn groups(list: &str) -> Result<Vec<&'static dyn SupportedKxGroup>> {
    let mut chosen: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    let names = list.split([':', ',', ' ']).filter(|name| !name.is_empty());
    for name in names {
        let group: &'static dyn SupportedKxGroup = match name.to_ascii_uppercase().as_str() {
            "AUTO" => {
                chosen.extend(ring_provider::ALL_KX_GROUPS);
                continue;
            }
            "X25519" => kx_group::X25519,
            "P-256" | "PRIME256V1" | "SECP256R1" => kx_group::SECP256R1,
            "P-384" | "SECP384R1" => kx_group::SECP384R1,
            _ => {
                return Err(invalid(format!(
                    "ssl_ecdh_curve \"{list}\" has \"{name}\": take auto, or some of X25519, P-256 \
                     (prime256v1) and P-384 (secp384r1), best first with colons between"
                )))
            }
        };
        chosen.push(group);
    }
    if chosen.is_empty() {
        chosen.extend(ring_provider::ALL_KX_GROUPS);
    }
    let mut seen = Vec::new();
    chosen.retain(|group| {
        let is_new = !seen.contains(&group.name());
        seen.push(group.name());
        is_new
    });
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Positions in `CHOICES` of the suites of TLS 1.2.
    fn places(list: &str) -> Vec<usize> {
        let suites = suites(list).unwrap();
        let place = |suite| CHOICES.iter().position(|choice| choice.2 == suite);
        suites.into_iter().filter_map(place).collect()
    }

    #[test]
    fn lists_of_suites_mean_what_they_mean_in_openssl() {
        let table: &[(&str, &[usize])] = &[
            ("", &[0, 1, 2, 3, 4, 5]),
            ("ALL", &[0, 1, 2, 3, 4, 5]),
            ("HIGH:!aNULL:!MD5", &[0, 1, 2, 3, 4, 5]),
            ("EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:AES256+EDH", &[0, 1, 4, 5]),
            ("ECDHE-RSA-AES128-GCM-SHA256", &[5]),
            ("ecdhe-rsa-aes128-gcm-sha256", &[5]),
            ("AES128:AES256", &[4, 5, 0, 1]),
            ("AES128 AES256", &[4, 5, 0, 1]),
            ("ALL:!ECDSA", &[1, 3, 5]),
            ("ALL:!AES256:AES256", &[2, 3, 4, 5]),
            ("ALL:-AES256:AES256", &[2, 3, 4, 5, 0, 1]),
            ("ALL:+AES256", &[2, 3, 4, 5, 0, 1]),
            ("ALL:@STRENGTH", &[0, 1, 2, 3, 4, 5]),
            ("HIGH:@SECLEVEL=2:!RC4:!3DES", &[0, 1, 2, 3, 4, 5]),
            ("CHACHA20+aRSA", &[3]),
            ("ECDHE-ECDSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256:DES-CBC3-SHA", &[0]),
            ("AES128-SHA:AESGCM", &[0, 1, 4, 5]),
            ("TLS_AES_128_GCM_SHA256", &[]),
            ("TLS_AES_128_GCM_SHA256:CHACHA20", &[2, 3]),
        ];
        for (list, expected) in table {
            assert_eq!(places(list), *expected, "{list}");
        }
    }

    #[test]
    fn suites_of_tls_1_3_are_all_there_unless_some_are_named() {
        assert_eq!(suites("ALL").unwrap().len(), 9);
        let named = suites("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256").unwrap();
        assert_eq!(named, [NEWEST[2].1, NEWEST[1].1]);
    }

    #[test]
    fn what_is_no_suite_or_leaves_none_is_refused_by_name() {
        for (list, named) in [
            ("ECDHE-RSA-AES257-GCM-SHA384", "AES257"),
            ("HIGH:!aNUL", "aNUL"),
            ("rubbish", "rubbish"),
            ("AES+", "\"\""),
            ("!!AES", "!!AES"),
            ("RC4-SHA", "leaves no cipher suite"),
            ("ALL:!ALL", "leaves no cipher suite"),
            ("\u{e9}\u{301}", "no cipher suite"),
        ] {
            let error = suites(list).unwrap_err();
            assert_eq!(error.code(), code::INVALID_PARAMS, "{list}");
            assert!(error.message().contains(named), "{list}: {}", error.message());
        }
    }

    #[test]
    fn groups_are_chosen_by_any_of_their_names_in_order() {
        let names = |list| -> Vec<String> {
            groups(list).unwrap().iter().map(|group| format!("{:?}", group.name())).collect()
        };
        let all = ["X25519", "secp256r1", "secp384r1"];
        assert_eq!(names("auto"), all);
        assert_eq!(names(""), all);
        assert_eq!(names("P-384:prime256v1:P-256"), ["secp384r1", "secp256r1"]);
        assert_eq!(names("secp384r1:auto"), ["secp384r1", "X25519", "secp256r1"]);
        assert_eq!(names("x25519"), ["X25519"]);
        for bad in ["P-521", "secp521r1", "X25519:nonsense"] {
            assert_eq!(groups(bad).map(drop).unwrap_err().code(), code::INVALID_PARAMS, "{bad}");
        }
    }

    #[test]
    fn a_mask_has_one_of_the_two_versions_that_there_are() {
        let count = |mask| versions(mask).map(|(versions, warning)| (versions.len(), warning));
        assert_eq!(count(0), Ok((2, None)));
        assert_eq!(count(96), Ok((2, None)));
        assert_eq!(count(64), Ok((1, None)));
        assert_eq!(count(32 | 128), Ok((1, None)));
        assert!(count(8 | 16 | 32).unwrap().1.unwrap().contains("ssl_protocols 56"));
        for (mask, why) in [(4, "SSLv2 to TLS 1.1"), (24, "SSLv2 to TLS 1.1"), (128, "DTLS")] {
            let error = count(mask).unwrap_err();
            assert_eq!(error.code(), code::OPERATION_NOT_SUPPORT);
            assert!(error.message().contains(why), "{}", error.message());
        }
    }
}
