//! The terms of ports with TLS, read again while the server runs.
//!
//! The process of the root has the connections, or forks who has them: it reads certificates for
//! all. Where the manager is another process, it asks the root. Where there is no manager, the
//! signal that asks it for a reload asks the root for this alone.

use crate::model::control::Reload;
use crate::model::plan::Start;
use crate::model::UnitId;

use super::{Runtime, Unit};

impl Runtime {
    /// Whether any port has TLS.
    pub fn any_tls(&self) -> bool {
        self.ports.iter().any(|port| port.tls.is_some())
    }

    /// Reads certificates and keys again, in this process and those that it forks from now on.
    fn renew_terms(&self) {
        for port in &self.ports {
            let Some(tls) = &port.tls else { continue };
            let (host, number) = (port.listener.host(), port.listener.port());
            match tls.renew() {
                Ok(()) => log::info!("the certificates of port {host}:{number} were read again"),
                Err(error) => log::error!(
                    "the certificates of port {host}:{number} stay as they were: {error}"
                ),
            }
        }
    }
}

impl Unit {
    /// Has certificates read again. Called by the manager, who knows that they may have been
    /// replaced.
    pub(super) fn renew_terms(&self) {
        if !self.runtime.any_tls() {
            return;
        }
        if self.plan.start == Start::Fork {
            self.runtime.control.root().ask_for_terms();
            self.runtime.control.wiring.ring(UnitId::ROOT.0);
        } else {
            self.runtime.renew_terms();
        }
    }

    /// A reload was asked for by a signal. Where there is no manager, there is nobody to replace,
    /// but certificates are read again all the same.
    pub(super) fn reload_by_signal(&self, what: Reload) {
        match (self.runtime.plan.manager(), what) {
            (Some(_), _) => self.runtime.request_reload(what),
            (None, Reload::All) => self.renew_terms(),
            (None, Reload::Tasks) => {}
        }
    }

    /// The root looks whether it was asked to read them.
    pub(super) fn hear_of_terms(&self) {
        if self.root.is_none() {
            return;
        }
        let round = self.runtime.control.root().terms_round();
        if self.terms_round.replace(round) != round {
            self.runtime.renew_terms();
        }
    }
}
