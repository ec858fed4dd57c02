//! Secrets: sealed on disk, opened in memory, never given to guests.
//!
//! Each secret has a data key of its own, which the master key seals (XChaCha20-Poly1305). What is sealed is bound to
//! the secret's name and version, so that no ciphertext can take another's place.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::limits::{SECRET_BYTES_MAX, SECRET_GUESSERS_MAX, SECRET_GUESSES_A_MINUTE_MAX, SECRET_HOSTS_MAX};
use crate::plugin::{HostPattern, SecretSource};
use crate::run::Fault;
use crate::store::{AuditEntry, SealedSecret, Store, What, Who};

pub(super) const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// Every secret of a host.
pub struct Vault {
    master: Zeroizing<[u8; KEY_BYTES]>,
    store: Store,
    /// Secrets that were opened before.
    open: RwLock<HashMap<Box<str>, Open>>,
    /// Changes come one after the other: each is made of what was there before.
    changing: tokio::sync::Mutex<()>,
    /// Wrong guesses by secret and address.
    guesses: Mutex<HashMap<Guesser, Guesses>>,
}

/// A secret as it is used.
struct Open {
    value: Zeroizing<Vec<u8>>,
    /// Where it may be sent.
    hosts: Vec<HostPattern>,
}

type Guesser = (Box<str>, Box<str>);

struct Guesses {
    since: Instant,
    wrong: u32,
}

/// Why the vault could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The name is not one.
    #[error("`{0}` is not the name of a secret: use 1 to 64 letters, digits, `-` and `_`, beginning with a letter")]
    Name(String),
    /// The value is empty or too long.
    #[error("a secret has 1 to {SECRET_BYTES_MAX} bytes")]
    Size,
    /// Too many servers.
    #[error("a secret may be sent to at most {SECRET_HOSTS_MAX} servers")]
    Hosts,
    /// The master key cannot be read or written.
    #[error("the master key {0}: {1}")]
    MasterKey(String, std::io::Error),
    /// The master key is not one.
    #[error("the master key in {0} is not 64 hexadecimal digits")]
    MasterKeyForm(String),
    /// There is none, and so many secrets and connections were sealed with one.
    #[error(
        "the master key is gone: {0} is not there, and only it opens the secrets and connections of this host ({1}). {WHAT_TO_DO}"
    )]
    NoMasterKey(String, usize),
    /// It is another one than so many secrets and connections were sealed with.
    #[error(
        "the master key in {0} is another one: it opens none of the secrets and connections of this host ({1}). {WHAT_TO_DO}"
    )]
    OtherMasterKey(String, usize),
    /// The secret was sealed with another master key, or was changed on disk.
    #[error("the secret `{0}` cannot be opened: it was sealed with another master key, or was changed on disk; set it again")]
    Sealed(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
}

/// What whoever has lost the master key can do.
const WHAT_TO_DO: &str = "Put the `master.key` back that they were sealed with, or give it in WEFT_MASTER_KEY. If it is lost for good, start once \
     with `weft serve --remove-lost-secrets`: what cannot be opened is removed, and can be set again";

impl Vault {
    /// The vault of a store, with its master key.
    pub(super) fn new(master: Zeroizing<[u8; KEY_BYTES]>, store: Store) -> Self {
        Self { master, store, open: RwLock::default(), changing: tokio::sync::Mutex::default(), guesses: Mutex::default() }
    }

    /// A key for another purpose, which the master key determines and does not follow from it.
    pub fn derive_key(&self, purpose: &str) -> [u8; KEY_BYTES] {
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&*self.master).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Sets a secret. Returns its version.
    pub async fn set(&self, name: &str, value: &[u8], who: Who, now_ms: u64) -> Result<u32, VaultError> {
        check_name(name)?;
        if value.is_empty() || value.len() > SECRET_BYTES_MAX {
            return Err(VaultError::Size);
        }
        let _changing = self.changing.lock().await;
        let old = self.store.secret(name)?;
        let version = old.as_ref().map_or(0, |old| old.version) + 1;
        // Who may get the old value may get the new one.
        let hosts = old.map(|old| old.hosts).unwrap_or_default();
        let entry = told(What::SecretSet, name, who, now_ms, json!({ "version": version, "hosts": hosts }));
        self.put(name, version, now_ms, hosts, value, &entry).await?;
        Ok(version)
    }

    /// Says to which servers a secret may be sent from now on, and to no others. False: there is no such secret.
    pub async fn allow(&self, name: &str, hosts: &[HostPattern], who: Who, now_ms: u64) -> Result<bool, VaultError> {
        if hosts.len() > SECRET_HOSTS_MAX {
            return Err(VaultError::Hosts);
        }
        let _changing = self.changing.lock().await;
        let Some(old) = self.store.secret(name)? else { return Ok(false) };
        let value = self.unseal(&old)?;
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let entry = told(What::SecretAllowed, name, who, now_ms, json!({ "hosts": hosts, "before": old.hosts }));
        self.put(name, old.version, old.set_ms, hosts, &value, &entry).await?;
        Ok(true)
    }

    /// Seals a secret and stores it. Where it may be sent is sealed with the value, so that nobody who only writes to the disk
    /// sends it elsewhere.
    async fn put(
        &self,
        name: &str,
        version: u32,
        set_ms: u64,
        hosts: Vec<String>,
        value: &[u8],
        entry: &AuditEntry,
    ) -> Result<(), VaultError> {
        let (sealed_key, sealed_value) = self.seal_for(&bound_to(name, version, &hosts), value);
        let sealed = SealedSecret { name: name.into(), version, set_ms, sealed_key, sealed_value, hosts };
        self.store.put_secret(&sealed, entry).await?;
        self.forget(name);
        Ok(())
    }

    fn forget(&self, name: &str) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Removes a secret. False: there was none.
    pub async fn remove(&self, name: &str, who: Who, now_ms: u64) -> Result<bool, VaultError> {
        let _changing = self.changing.lock().await;
        let entry = told(What::SecretRemoved, name, who, now_ms, json!({}));
        let removed = self.store.remove_secret(name, &entry).await?;
        self.forget(name);
        Ok(removed)
    }

    /// Every secret, sealed.
    pub fn list(&self) -> Result<Vec<SealedSecret>, VaultError> {
        Ok(self.store.secrets()?)
    }

    /// Whether the master key opens a secret.
    pub(super) fn opens(&self, secret: &SealedSecret) -> bool {
        self.unseal(secret).is_ok()
    }

    fn unseal(&self, secret: &SealedSecret) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let bound = bound_to(&secret.name, secret.version, &secret.hosts);
        let opened = self.open_for(&bound, &secret.sealed_key, &secret.sealed_value);
        opened.ok_or_else(|| VaultError::Sealed(secret.name.to_string()))
    }

    /// Seals something else than a secret, bound to what it must not be parted from: its own key and the value.
    pub(super) fn seal_for(&self, bound: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let data_key = Zeroizing::new(random::<KEY_BYTES>());
        (seal(&self.master, &*data_key, bound), seal(&data_key, value, bound))
    }

    /// Opens what was sealed so.
    pub(super) fn open_for(&self, bound: &[u8], sealed_key: &[u8], sealed_value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let key = open(&self.master, sealed_key, bound)?;
        let key: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::new(key.as_slice().try_into().ok()?);
        open(&key, sealed_value, bound)
    }

    /// What is wanted of a secret.
    fn with_open<T>(&self, name: &str, wanted: impl Fn(&Open) -> T) -> Result<T, Fault> {
        if let Some(open) = self.open.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(wanted(open));
        }
        // Read under the lock: whoever changes it forgets it afterwards, and with it what was read before.
        let mut all = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let secret = self.store.secret(name).map_err(|error| Fault::passing("unavailable", error.to_string()))?;
        let missing = || Fault::new("not-found", format!("there is no secret `{name}`: set it with `weft secret set {name}`"));
        let secret = secret.ok_or_else(missing)?;
        let value = self.unseal(&secret).map_err(|error| {
            tracing::error!(%error, secret = name, "a secret could not be opened");
            Fault::new("denied", format!("the secret `{name}` cannot be opened; set it again"))
        })?;
        let hosts = secret.hosts.iter().filter_map(|host| host.parse().ok()).collect();
        Ok(wanted(all.entry(name.into()).insert_entry(Open { value, hosts }).get()))
    }
}

impl SecretSource for Vault {
    fn reveal(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
        self.with_open(name, |open| open.value.clone())
    }

    fn destinations(&self, name: &str) -> Vec<HostPattern> {
        self.with_open(name, |open| open.hosts.clone()).unwrap_or_default()
    }

    fn may_guess(&self, name: &str, remote_address: Option<&str>) -> bool {
        let guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(guesser) = guesses.get(&(name.into(), remote_address.unwrap_or_default().into())) else { return true };
        guesser.wrong < SECRET_GUESSES_A_MINUTE_MAX || guesser.since.elapsed() >= MINUTE
    }

    fn guessed_wrong(&self, name: &str, remote_address: Option<&str>) {
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        if guesses.len() >= SECRET_GUESSERS_MAX {
            guesses.retain(|_, guesser| guesser.since.elapsed() < MINUTE);
        }
        if guesses.len() >= SECRET_GUESSERS_MAX {
            guesses.clear();
        }
        let new = || Guesses { since: Instant::now(), wrong: 0 };
        let guesser = guesses.entry((name.into(), remote_address.unwrap_or_default().into())).or_insert_with(new);
        if guesser.since.elapsed() >= MINUTE {
            *guesser = new();
        }
        guesser.wrong += 1;
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// What the audit log is told: never a value.
fn told(what: What, name: &str, who: Who, at_ms: u64, details: Value) -> AuditEntry {
    AuditEntry { at_ms, who, what, on: name.to_owned(), details }
}

/// Whether a template can name a secret, or a variable of the host, so.
pub fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn check_name(name: &str) -> Result<(), VaultError> {
    if is_name(name) { Ok(()) } else { Err(VaultError::Name(name.to_owned())) }
}

fn bound_to(name: &str, version: u32, hosts: &[String]) -> Vec<u8> {
    [b"weft-secret\0", name.as_bytes(), b"\0", &version.to_be_bytes(), hosts.join("\0").as_bytes()].concat()
}

pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

fn seal(key: &[u8; KEY_BYTES], value: &[u8], bound: &[u8]) -> Vec<u8> {
    let nonce = random::<NONCE_BYTES>();
    let cipher = XChaCha20Poly1305::new(key.into());
    let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: value, aad: bound });
    [&nonce[..], &sealed.expect("values are far below the cipher's 256 GiB")].concat()
}

fn open(key: &[u8; KEY_BYTES], sealed: &[u8], bound: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let cipher = XChaCha20Poly1305::new(key.into());
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: bound }).ok().map(Zeroizing::new)
}
