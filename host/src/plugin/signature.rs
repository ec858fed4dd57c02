//! Who vouches for a plugin: signatures that its file carries. Never decides whom to trust; see [`super::trust`].
//!
//! A signed file is a component with sections `weft:signature` behind everything else, one for each signature: a public key, an
//! ed25519 signature, and the text that was signed. That text names the component without these sections by its digest, and what it
//! is: name, version, and the capabilities that it asks for. So a file is checked without a network and before it is compiled, a
//! signature holds for one file only, and several vouch for the same one.
//!
//! Of the standards none fits: the WebAssembly signatures proposal (`wasmsign2`) is a proof of concept for core modules, and signs neither
//! name, version nor request; sigstore needs its log on a network. Keys have the forms that others use: PKCS#8 and SPKI, as PEM.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, Document, EncodePrivateKey as _, EncodePublicKey as _, KeypairBytes,
};
use ed25519_dalek::{PUBLIC_KEY_LENGTH, SIGNATURE_LENGTH, Signer as _, VerifyingKey};
use semver::Version;
use wasm_encoder::{CustomSection, Section as _};
use wasmparser::{BinaryReader, BinaryReaderError};
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::limits::{PLUGIN_SIGNATURES_MAX, SIGNATURE_BYTES_MAX};

/// The name of the sections.
const SECTION: &str = "weft:signature";

/// The first line of what is signed, so that it is a signature of nothing else.
const DOMAIN: &str = "weft plugin signature 1";

/// Bytes of a component before its first section.
const PREAMBLE_BYTES: usize = 8;

/// A public key: whoever holds its other half vouches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// What makes signatures.
pub struct SigningKey(ed25519_dalek::SigningKey);

/// What is vouched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The component, without the signatures in its file.
    pub component: Digest,
    /// `vendor/name`.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// What it asks for.
    pub capabilities: BTreeSet<String>,
}

/// A statement, and whoever made it.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    /// Made with this key.
    pub key: PublicKey,
    /// What it says.
    pub statement: Statement,
}

/// A file taken apart.
pub struct Signed<'a> {
    /// The component without the signatures.
    pub component: &'a [u8],
    /// Signatures, each made with its key. What they say is not compared with anything yet.
    pub signatures: Vec<Signature>,
}

/// Why a signature, or a key, is none.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The sections of the file cannot be read.
    #[error("the file's sections cannot be read: {0}")]
    Malformed(#[from] BinaryReaderError),
    /// There are too many.
    #[error("the file has more than {PLUGIN_SIGNATURES_MAX} signatures")]
    TooMany,
    /// A section holds no signature.
    #[error("a signature of the file cannot be read: {0}")]
    Unreadable(&'static str),
    /// Something comes after it.
    #[error("a signature stands before the end of the file, so something was added behind it")]
    NotAtEnd,
    /// It was not made with its key.
    #[error("a signature of the file is not one of the key that it names ({0}): it, or what it says, was changed")]
    Forged(Digest),
    /// A text is no key.
    #[error("this is no {0}: {1}")]
    Key(&'static str, String),
}

impl PublicKey {
    /// Reads a key as `weft plugin keygen` and `openssl pkey -pubout` write it.
    pub fn from_pem(pem: &str) -> Result<Self, SignatureError> {
        let what = "ed25519 public key in PEM (`-----BEGIN PUBLIC KEY-----`)";
        let key = VerifyingKey::from_public_key_pem(pem.trim()).map_err(|error| SignatureError::Key(what, error.to_string()))?;
        // Of a weak one anybody makes signatures.
        if key.is_weak() { Err(SignatureError::Key(what, "it is weak".into())) } else { Ok(Self(key)) }
    }

    /// The key as others read it.
    pub fn to_pem(self) -> String {
        self.0.to_public_key_pem(LineEnding::LF).unwrap_or_default()
    }

    /// Names the key: the SHA-256 of its SPKI form, which is what `openssl pkey -pubin -outform DER | sha256sum` says of it too.
    pub fn fingerprint(self) -> Digest {
        Digest::of(self.0.to_public_key_der().map(Document::into_vec).unwrap_or_default().as_slice())
    }
}

impl SigningKey {
    /// A new one.
    pub fn generate() -> Self {
        let mut secret = Zeroizing::new([0; ed25519_dalek::SECRET_KEY_LENGTH]);
        getrandom::fill(&mut *secret).expect("the system has random numbers");
        Self(ed25519_dalek::SigningKey::from_bytes(&secret))
    }

    /// Reads a key as `weft plugin keygen` and `openssl genpkey -algorithm ed25519` write it.
    pub fn from_pem(pem: &str) -> Result<Self, SignatureError> {
        let read = ed25519_dalek::SigningKey::from_pkcs8_pem(pem.trim());
        let what = "ed25519 private key in PEM (`-----BEGIN PRIVATE KEY-----`, without a passphrase)";
        read.map(Self).map_err(|error| SignatureError::Key(what, error.to_string()))
    }

    /// The key as others read it: without its public half, which OpenSSL does not want there.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let bytes = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        bytes.to_pkcs8_pem(LineEnding::LF).unwrap_or_default()
    }

    /// Its other half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// A file with a signature more. One of the same key is replaced; `statement` is about the component in it.
    pub fn sign(&self, file: &[u8], statement: &Statement) -> Result<Vec<u8>, SignatureError> {
        let Signed { component, signatures } = Signed::read(file)?;
        let mut signed = component.to_vec();
        let own = self.public();
        let others: Vec<Signature> = signatures.into_iter().filter(|signature| signature.key != own).collect();
        if others.len() >= PLUGIN_SIGNATURES_MAX {
            return Err(SignatureError::TooMany);
        }
        for section in sections(file)?.1 {
            if !section.starts_with(own.0.as_bytes()) {
                append(&mut signed, section);
            }
        }
        let text = statement.to_string();
        let signature = self.0.sign(text.as_bytes()).to_bytes();
        append(&mut signed, &[&own.0.as_bytes()[..], &signature, text.as_bytes()].concat());
        Ok(signed)
    }
}

fn append(file: &mut Vec<u8>, data: &[u8]) {
    CustomSection { name: SECTION.into(), data: data.into() }.append_to(file);
}

/// A component without its signatures, and what these hold.
fn sections(file: &[u8]) -> Result<(&[u8], Vec<&[u8]>), SignatureError> {
    let mut reader = BinaryReader::new(file, 0);
    reader.read_bytes(PREAMBLE_BYTES.min(file.len()))?;
    let (mut component, mut found) = (file.len(), Vec::new());
    while !reader.eof() {
        let start = reader.current_position();
        let (id, bytes) = (reader.read_u8()?, reader.read_var_u32()?);
        let content = reader.read_bytes(bytes as usize)?;
        let mut section = BinaryReader::new(content, 0);
        // What is no name is for others to refuse.
        if id == 0 && section.read_string().is_ok_and(|name| name == SECTION) {
            component = component.min(start);
            found.push(section.read_bytes(section.bytes_remaining())?);
        } else if !found.is_empty() {
            return Err(SignatureError::NotAtEnd);
        }
    }
    if found.len() > PLUGIN_SIGNATURES_MAX {
        return Err(SignatureError::TooMany);
    }
    Ok((&file[..component], found))
}

impl<'a> Signed<'a> {
    /// Takes a file apart, and looks whether each signature was made with the key that it names.
    pub fn read(file: &'a [u8]) -> Result<Self, SignatureError> {
        let (component, found) = sections(file)?;
        let signatures = found.into_iter().map(Signature::read).collect::<Result<_, _>>()?;
        Ok(Self { component, signatures })
    }
}

impl Signature {
    fn read(section: &[u8]) -> Result<Self, SignatureError> {
        let unreadable = SignatureError::Unreadable;
        if section.len() > SIGNATURE_BYTES_MAX {
            return Err(unreadable("it is too long"));
        }
        let (key, rest) = section.split_first_chunk::<PUBLIC_KEY_LENGTH>().ok_or(unreadable("it is too short"))?;
        let (signature, text) = rest.split_first_chunk::<SIGNATURE_LENGTH>().ok_or(unreadable("it is too short"))?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| unreadable("it names no ed25519 key"))?;
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        // Strict: no weak keys, and one signature only for each text.
        key.verify_strict(text, &signature).map_err(|_| SignatureError::Forged(PublicKey(key).fingerprint()))?;
        let text = std::str::from_utf8(text).map_err(|_| unreadable("what it says is no text"))?;
        let statement: Statement = text.parse().map_err(unreadable)?;
        Ok(Self { key: PublicKey(key), statement })
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { component, name, version, capabilities } = self;
        let capabilities: Vec<&str> = capabilities.iter().map(String::as_str).collect();
        let capabilities = capabilities.join(" ");
        write!(f, "{DOMAIN}\ncomponent {component}\nname {name}\nversion {version}\ncapabilities {capabilities}\n")
    }
}

impl FromStr for Statement {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let mut lines = text.split('\n');
        if lines.next() != Some(DOMAIN) {
            return Err("it is of a later version of Weft, or of something else");
        }
        let mut line = |name: &str| lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let missing = "it does not say what it should";
        let component = line("component").ok_or(missing)?.to_owned().try_into().map_err(|_| missing)?;
        let name = line("name").ok_or(missing)?.to_owned();
        let version = line("version").and_then(|version| version.parse().ok()).ok_or(missing)?;
        let capabilities = line("capabilities").ok_or(missing)?.split_terminator(' ').map(ToOwned::to_owned).collect();
        let statement = Self { component, name, version, capabilities };
        // One text for one statement.
        if statement.to_string() == text { Ok(statement) } else { Err(missing) }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.fingerprint(), f)
    }
}

#[cfg(test)]
mod tests;
