//! `log`: lines that are shown with the step.

use crate::plugin::Guest;
use crate::plugin::contract::{log, types};

impl types::Host for Guest {}

impl log::Host for Guest {
    fn write(&mut self, level: log::Level, message: String) {
        self.call.log.add(level.into(), &message);
    }
}
