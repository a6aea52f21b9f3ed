//! Certificates that vouch for themselves.
//!
//! The usual verifier refuses those that call themselves an authority as well, which is what
//! `openssl req -x509` makes. So the few fields that matter are read here: that the issuer is the
//! subject, that the time is right, and that the key signs its own certificate. Nothing here trusts
//! a length: bytes that are no certificate give false.

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// Elements of DER, one behind the other.
#[derive(Clone, Copy)]
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Takes the next element: its tag, its content, and both with the header.
    fn any(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, &first) = (self.rest.first()?, self.rest.get(1)?);
        let (header, len) = match usize::from(first) {
            len @ ..=0x7f => (2, len),
            // More bytes of length than four are in no certificate that fits a handshake.
            long @ 0x81..=0x84 => {
                let bytes = self.rest.get(2..2 + (long & 0x7f))?;
                let len = bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
                (2 + bytes.len(), len)
            }
            _ => return None,
        };
        let whole = self.rest.get(..header.checked_add(len)?)?;
        self.rest = self.rest.get(whole.len()..)?;
        Some((tag, whole.get(header..)?, whole))
    }

    /// Takes the next element, which must have this tag: its content.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any().filter(|element| element.0 == tag).map(|element| element.1)
    }

    /// As [`Reader::take`], with the header.
    fn take_whole(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any().filter(|element| element.0 == tag).map(|element| element.2)
    }

    fn inside(content: &'a [u8]) -> Self {
        Self { rest: content }
    }
}

/// What has to be known of a certificate.
struct Fields<'a> {
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    not_before: u64,
    not_after: u64,
    key_algorithm: &'a [u8],
    key: &'a [u8],
}

/// The bytes of a bit string that has no odd bits.
fn bits(content: &[u8]) -> Option<&[u8]> {
    content.split_first().filter(|(odd, _)| **odd == 0).map(|(_, bytes)| bytes)
}

/// Seconds since 1970 of a time, as certificates write it.
fn time(reader: &mut Reader<'_>) -> Option<u64> {
    let (tag, text, _) = reader.any()?;
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = digits.get(from..to)?;
        Some(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
    };
    let (year, at) = match (tag, digits.len()) {
        (UTC_TIME, 12) => (number(0, 2).map(|year| year + if year < 50 { 2000 } else { 1900 })?, 2),
        (GENERALIZED_TIME, 14) => (number(0, 4)?, 4),
        _ => return None,
    };
    let field = |index: usize| number(at + 2 * index, at + 2 * index + 2);
    let (month, day) = (field(0)?, field(1)?);
    let is_date = (1970..).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let days = is_date.then(|| days_before(year, month) + day - 1)?;
    Some(days * 86_400 + field(2)? * 3600 + field(3)? * 60 + field(4)?)
}

/// Days from 1970 to the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    // Years that begin in March have their odd day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days_to_1970 = 719_468;
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 - days_to_1970
}

fn fields(certificate: &[u8]) -> Option<Fields<'_>> {
    let mut outer = Reader::inside(Reader::inside(certificate).take(SEQUENCE)?);
    let signed = outer.take_whole(SEQUENCE)?;
    let algorithm = outer.take(SEQUENCE)?;
    let signature = bits(outer.take(BIT_STRING)?)?;
    let mut inner = Reader::inside(Reader::inside(signed).take(SEQUENCE)?);
    inner.take(VERSION)?;
    inner.take(INTEGER)?;
    let inner_algorithm = inner.take(SEQUENCE)?;
    let issuer = inner.take(SEQUENCE)?;
    let mut validity = Reader::inside(inner.take(SEQUENCE)?);
    let subject = inner.take(SEQUENCE)?;
    let mut key = Reader::inside(inner.take(SEQUENCE)?);
    (algorithm == inner_algorithm).then_some(())?;
    Some(Fields {
        signed,
        algorithm,
        signature,
        issuer,
        subject,
        not_before: time(&mut validity)?,
        not_after: time(&mut validity)?,
        key_algorithm: key.take(SEQUENCE)?,
        key: bits(key.take(BIT_STRING)?)?,
    })
}

/// Whether a certificate is signed by its own key, and in force.
pub(super) fn is_valid(
    certificate: &CertificateDer<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    now: UnixTime,
) -> bool {
    let Some(fields) = fields(certificate) else { return false };
    let is_in_force = (fields.not_before..=fields.not_after).contains(&now.as_secs());
    let signs_itself = || {
        algorithms.iter().any(|algorithm| {
            algorithm.signature_alg_id().as_ref() == fields.algorithm
                && algorithm.public_key_alg_id().as_ref() == fields.key_algorithm
                && algorithm.verify_signature(fields.key, fields.signed, fields.signature).is_ok()
        })
    };
    is_in_force && fields.issuer == fields.subject && signs_itself()
}
