//! The certificates that peers have shown, in the worker that ran their connect callbacks.
//!
//! Where another worker may run the close callback nobody tells of the end of a connection, so
//! those that have ended are looked for whenever there have become twice as many.

use std::collections::HashMap;

use crate::model::SessionId;

/// So many are kept before it is looked which connections have ended.
const FEW: usize = 64;

/// As PEM, of those connections that have one.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    of: HashMap<SessionId, Box<[u8]>>,
    /// So many were left when the ended ones were last looked for.
    left: usize,
}

impl Certificates {
    /// Keeps one as long as its connection `is_open`.
    pub(super) fn keep(
        &mut self,
        session: SessionId,
        certificate: &[u8],
        is_open: impl Fn(SessionId) -> bool,
    ) {
        if self.of.len() >= FEW.max(2 * self.left) {
            self.of.retain(|session, _| is_open(*session));
            self.left = self.of.len();
        }
        self.of.insert(session, certificate.into());
    }

    /// The connection has ended.
    #[inline]
    pub(super) fn forget(&mut self, session: SessionId) {
        if !self.of.is_empty() {
            self.of.remove(&session);
        }
    }

    /// That of a connection.
    pub(super) fn of(&self, session: SessionId) -> Option<&[u8]> {
        self.of.get(&session).map(|certificate| &**certificate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_connections_that_end_elsewhere_do_not_pile_up() {
        let mut certificates = Certificates::default();
        for number in 0..10_000 {
            let is_open = |session: SessionId| session.0 < 100 || session.0 + 10 > number;
            certificates.keep(SessionId(number), b"PEM", is_open);
            assert!(certificates.of.len() <= 220, "{} are kept", certificates.of.len());
        }
        assert!((0..100).all(|number| certificates.of(SessionId(number)) == Some(b"PEM")));
        certificates.forget(SessionId(7));
        assert_eq!(certificates.of(SessionId(7)), None);
    }
}
