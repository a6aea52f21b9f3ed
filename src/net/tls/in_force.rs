//! The terms of a port that serves: made before it starts, and again when its certificates were
//! replaced.

use parking_lot::RwLock;

use crate::error::Result;

use super::{Terms, TlsSettings};

/// The terms of a port, and what they are made of. Processes that are forked have them, too, with
/// the same secrets; threads share them.
pub struct TermsInForce {
    settings: TlsSettings,
    terms: RwLock<Terms>,
}

impl TermsInForce {
    /// Reads and checks everything.
    pub fn new(settings: TlsSettings) -> Result<Self> {
        let terms = RwLock::new(Terms::new(&settings)?);
        Ok(Self { settings, terms })
    }

    /// Hands the present terms to `act`, which is quick.
    pub fn with<R>(&self, act: impl FnOnce(&Terms) -> R) -> R {
        act(&self.terms.read())
    }

    /// Reads everything again, for the connections that come from now on. If something is wrong,
    /// the terms stay as they were.
    pub fn renew(&self) -> Result<()> {
        let terms = Terms::new(&self.settings)?;
        *self.terms.write() = terms;
        Ok(())
    }

    /// Whether the certificates of clients are kept for the program.
    pub fn keeps_certificates(&self) -> bool {
        !self.settings.client_cert_file.is_empty()
    }
}
