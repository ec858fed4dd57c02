//! `progress`: how far a step is, for whoever looks while it runs.

use crate::plugin::Guest;
use crate::plugin::contract::progress;

impl progress::Host for Guest {
    fn report(&mut self, done: u32, total: Option<u32>, message: String) {
        self.call.used.host_calls += 1;
        if let Some(services) = &self.call.services {
            services.report(done, total, &message);
        }
    }
}
