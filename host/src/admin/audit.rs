//! What people did, as the host has kept it.

use serde_json::Value;

use super::{Admin, Error};
use crate::digest::Digest;
use crate::store::{AuditEntry, AuditReport, Audited, What, Who};

impl Admin {
    /// The same business, done by somebody else.
    pub fn acting(&self, who: Who) -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self { who, ..self.clone() })
    }

    /// What is to be kept of something that is done now. Whoever changes something gives it to the store with the change.
    pub(super) fn entry(&self, what: What, on: impl Into<String>, details: Value) -> AuditEntry {
        AuditEntry { at_ms: self.clock().now_ms(), who: self.who, what, on: on.into(), details }
    }

    /// Keeps that something was not done. That it could not be kept changes nothing for whoever asked.
    pub(super) async fn tell(&self, what: What, on: impl Into<String>, details: Value) {
        if let Err(error) = self.store.record(&self.entry(what, on, details)).await {
            tracing::error!(%error, "the audit log lacks an entry");
        }
    }

    /// Entries of the audit log, newest first, older than one; and where the next page begins.
    pub async fn audit(&self, before: Option<u64>, limit: usize) -> Result<(Vec<Audited>, Option<u64>), Error> {
        let mut entries = self.read(move |store| store.audit(before, limit + 1)).await?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| more).map(|entry| entry.number);
        Ok((entries, next))
    }

    /// Whether the audit log is what was written, and still has an entry whose hash was noted elsewhere.
    pub async fn verify_audit(&self, noted: Option<(u64, Digest)>) -> Result<AuditReport, Error> {
        self.read(move |store| store.verify_audit(noted)).await
    }
}
