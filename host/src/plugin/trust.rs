//! Whom to believe that a file is a vendor's plugin. Decides, and nothing else: keeps no keys and reads no files.
//!
//! - A signature that is wrong refuses the file, whoever trusts what: a file with one was changed, or made to deceive.
//! - A vendor with trusted keys has signed files only: one without a signature by one of them is refused.
//! - With `signed_only` that holds for every vendor, and is decided before anything of the file is compiled.

use std::collections::BTreeSet;

use super::description::Description;
use super::inspect::Facts;
use super::signature::{PublicKey, Signature, SignatureError, Signed};
use crate::digest::Digest;

/// What an operator trusts.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Keys, each for one vendor.
    pub keys: Vec<(String, PublicKey)>,
    /// Whether every vendor must sign.
    pub signed_only: bool,
}

/// Why a file is not believed to be what it says.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// A signature is none.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It was made for another file.
    #[error(
        "its signature is one of {signed}, and the file is another: it was changed after it was signed, or the signature was taken from elsewhere"
    )]
    OtherFile {
        /// What was signed.
        signed: String,
    },
    /// The file asks for more.
    #[error("it asks for {}, and was signed without: get the file that its vendor signed", .0.join(", "))]
    Wider(Vec<String>),
    /// There is no signature.
    #[error("it is not signed, and {why}: get the signed file from its vendor")]
    Missing {
        /// Why it must be.
        why: String,
    },
    /// Nobody is known by the key.
    #[error(
        "it is signed with the key {key}, which is not trusted for {vendor}: `weft vendor trust {vendor} KEYFILE` trusts one"
    )]
    UnknownKey {
        /// Its fingerprint.
        key: Digest,
        /// Who is said to have signed.
        vendor: String,
    },
    /// The key is trusted, but for somebody else.
    #[error("it is signed with the key {key}, which is trusted for {owner}, and not for {vendor}")]
    OtherVendor {
        /// Its fingerprint.
        key: Digest,
        /// Whose it is.
        owner: String,
        /// Who is said to have signed.
        vendor: String,
    },
}

impl Untrusted {
    /// What it is, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Signature(_) => "signature-invalid",
            Self::OtherFile { .. } => "signature-of-other-file",
            Self::Wider(_) => "wider-than-signed",
            Self::Missing { .. } => "signature-missing",
            Self::UnknownKey { .. } => "signer-unknown",
            Self::OtherVendor { .. } => "signer-of-other-vendor",
        }
    }
}

impl Policy {
    /// Looks at a file before it is compiled. Its signatures, which fit it.
    pub fn look(&self, file: &[u8], facts: &Facts) -> Result<Vec<Signature>, Untrusted> {
        let signatures = fitting(file, facts)?;
        if self.signed_only {
            let vouched = signatures
                .iter()
                .map(|signature| self.vouched(vendor_of(&signature.statement.name), std::slice::from_ref(signature)));
            let missing = || self.vouched("its vendor", &[]);
            vouched.reduce(Result::or).unwrap_or_else(missing)?;
        }
        Ok(signatures)
    }

    /// Looks at what a component says of itself: whether that was signed, and by whoever must have.
    pub fn accept(&self, signatures: &[Signature], description: &Description) -> Result<(), Untrusted> {
        for Signature { statement, .. } in signatures {
            if statement.name != description.name || statement.version != description.version {
                return Err(Untrusted::OtherFile { signed: format!("{} {}", statement.name, statement.version) });
            }
        }
        self.vouched(vendor_of(&description.name), signatures)
    }

    /// Whether one of these keys is trusted for a vendor, where that is needed.
    fn vouched(&self, vendor: &str, signatures: &[Signature]) -> Result<(), Untrusted> {
        let has_keys = self.keys.iter().any(|(owner, _)| owner == vendor);
        if !has_keys && !self.signed_only {
            return Ok(());
        }
        let owner_of = |signature: &Signature| self.keys.iter().find(|(_, key)| *key == signature.key).map(|(owner, _)| owner);
        let is_trusted = |signature: &Signature| self.keys.iter().any(|(owner, key)| owner == vendor && *key == signature.key);
        let Some(first) = signatures.first() else {
            let why =
                if has_keys { format!("a key of {vendor} is trusted") } else { "this host takes signed plugins only".into() };
            return Err(Untrusted::Missing { why });
        };
        if signatures.iter().any(is_trusted) {
            return Ok(());
        }
        let (key, vendor) = (first.key.fingerprint(), vendor.to_owned());
        Err(match signatures.iter().find_map(owner_of) {
            Some(owner) => Untrusted::OtherVendor { key, owner: owner.clone(), vendor },
            None => Untrusted::UnknownKey { key, vendor },
        })
    }
}

/// The signatures of a file, if each says of the file what is so.
pub fn fitting(file: &[u8], facts: &Facts) -> Result<Vec<Signature>, Untrusted> {
    let Signed { component, signatures } = Signed::read(file)?;
    let capabilities = facts.capabilities();
    for Signature { statement, .. } in &signatures {
        let wider: BTreeSet<_> = capabilities.difference(&statement.capabilities).cloned().collect();
        if !wider.is_empty() {
            return Err(Untrusted::Wider(wider.into_iter().collect()));
        }
    }
    // What takes long, once.
    let digest = (!signatures.is_empty()).then(|| Digest::of(component));
    match signatures.iter().find(|signature| Some(signature.statement.component) != digest) {
        Some(Signature { statement, .. }) => {
            Err(Untrusted::OtherFile { signed: format!("{} {}", statement.name, statement.version) })
        }
        None => Ok(signatures),
    }
}

/// Whose plugin a name says that it is.
pub fn vendor_of(name: &str) -> &str {
    name.split_once('/').map_or(name, |(vendor, _)| vendor)
}
