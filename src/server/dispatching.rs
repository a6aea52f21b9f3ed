//! Dispatching: who chooses workers, and requests that outlive their callback.

use crate::error::Result;
use crate::model::dispatch::Chooser;
use crate::unit::Unit;

use super::Server;

impl Server {
    /// Has a function of the program choose workers.
    pub fn set_chooser(&self, chooser: Chooser) -> Result<()> {
        self.configure(|setup| {
            setup.hooks.chooser = Some(chooser);
            Ok(())
        })
    }

    /// A request goes on after its callback has returned.
    pub fn begin_request(&self) -> Result<()> {
        self.with_unit(Unit::begin_request)
    }

    /// Such a request is over.
    pub fn end_request(&self) -> Result<()> {
        self.with_unit(Unit::end_request)
    }
}
