//! stub
use crate::run::Outgoing;
use std::sync::atomic::AtomicBool;
#[derive(Default)]
pub(super) struct Faults {
    pub(super) skip_intents: AtomicBool,
    pub(super) drop_events: AtomicBool,
}
impl Faults {
    pub(super) fn lose(&self, outgoing: Outgoing) -> Outgoing {
        outgoing
    }
}
