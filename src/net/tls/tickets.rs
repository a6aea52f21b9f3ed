//! Session tickets that every process of a server can read.
//!
//! One secret is made when the certificates are read, before any process forks. The key of a period
//! is derived from it and from the number of the period: processes that never speak to each other,
//! also one that was forked much later, come to the same keys at the same time. A ticket is good in
//! its own period and the one behind it.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_256_GCM, NONCE_LEN};
use ring::hkdf::{Salt, HKDF_SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;

use crate::error::{code, Error, Result};

/// How long one key seals tickets.
const PERIOD_S: u64 = 6 * 60 * 60;
const NUMBER_LEN: usize = 8;

/// Seals sessions for clients to keep, and opens them.
pub(super) struct Tickets {
    secret: [u8; 32],
    clock: fn() -> u64,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Tickets {
    /// With a secret of their own.
    pub(super) fn new() -> Result<Self> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).map_err(|_| {
            Error::new(code::SSL_CREATE_CONTEXT_FAILED, "the system gives no random bytes")
        })?;
        Ok(Self { secret, clock: now_s })
    }

    fn key(&self, period: u64) -> Option<LessSafeKey> {
        let info = period.to_be_bytes();
        let info: [&[u8]; 2] = [b"session tickets", &info];
        let secret = Salt::new(HKDF_SHA256, &[]).extract(&self.secret);
        let key: UnboundKey = secret.expand(&info, &AES_256_GCM).ok()?.into();
        Some(LessSafeKey::new(key))
    }

    fn period(&self) -> u64 {
        (self.clock)() / PERIOD_S
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        PERIOD_S as u32
    }

    /// The number of the period, a nonce, and the sealed session.
    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        let period = self.period();
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let number = period.to_be_bytes();
        let mut sealed = session.to_vec();
        self.key(period)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(number),
                &mut sealed,
            )
            .ok()?;
        Some([&number[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let number: [u8; NUMBER_LEN] = ticket.get(..NUMBER_LEN)?.try_into().ok()?;
        let rest = ticket.get(NUMBER_LEN..)?;
        let nonce: [u8; NONCE_LEN] = rest.get(..NONCE_LEN)?.try_into().ok()?;
        let period = u64::from_be_bytes(number);
        // Only two keys are ever tried with what a peer sends.
        if self.period().checked_sub(period)? > 1 {
            return None;
        }
        let mut sealed = rest.get(NONCE_LEN..)?.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = self.key(period)?.open_in_place(nonce, Aad::from(number), &mut sealed).ok()?;
        let len = opened.len();
        sealed.truncate(len);
        Some(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secret: u8, clock: fn() -> u64) -> Tickets {
        Tickets { secret: [secret; 32], clock }
    }

    #[test]
    fn a_ticket_opens_in_its_period_and_the_next_one_wherever_the_secret_is_known() {
        let ticket = at(1, || 10 * PERIOD_S + 5).encrypt(b"session").unwrap();
        for (clock, opens) in [
            ((|| 10 * PERIOD_S) as fn() -> u64, true),
            (|| 12 * PERIOD_S - 1, true),
            (|| 12 * PERIOD_S, false),
            (|| 10 * PERIOD_S - 1, false),
            (|| u64::MAX, false),
        ] {
            let opened = at(1, clock).decrypt(&ticket);
            assert_eq!(opened.as_deref(), opens.then_some(&b"session"[..]), "{}", clock());
        }
        assert_eq!(at(2, || 10 * PERIOD_S).decrypt(&ticket), None);
    }

    #[test]
    fn a_ticket_that_was_changed_or_cut_anywhere_does_not_open() {
        let tickets = Tickets::new().unwrap();
        let ticket = tickets.encrypt(b"session").unwrap();
        assert_ne!(ticket, tickets.encrypt(b"session").unwrap());
        for index in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[index] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "byte {index}");
            assert_eq!(tickets.decrypt(&ticket[..index]), None, "cut at {index}");
        }
        assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
    }
}
