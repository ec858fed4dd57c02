//! The master key of a data folder: read, or made where nothing is sealed yet, and held against what is sealed. It never takes the place of
//! another key.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::connections::{ConnectionError, Connections};
use super::vault::{KEY_BYTES, Vault, VaultError, random};
use crate::store::{Store, Who};

/// What is to become of secrets and connections that the master key does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// They stay; if it opens none, nobody goes on with it.
    Keep,
    /// They are removed, at this time (in milliseconds since 1970): the key is lost for good.
    Remove(u64),
}

/// Opens the vault of a data folder, and its connections. The master key comes from `WEFT_MASTER_KEY` (64 hexadecimal digits) or from
/// `master.key` in the folder, which is made if there is neither and nothing was sealed with another.
pub async fn open_sealed(
    data: &Path,
    from_environment: Option<String>,
    store: &Store,
    lost: Lost,
) -> Result<(Arc<Vault>, Arc<Connections>), ConnectionError> {
    let (secrets, connections) = (store.secrets()?, store.connections()?);
    let sealed = secrets.len() + connections.len();
    let path = data.join("master.key");
    let file = path.display().to_string();
    let (key, from) = match from_environment {
        Some(text) => (Some(read(&text, "WEFT_MASTER_KEY")?), "WEFT_MASTER_KEY".to_owned()),
        None => (find(&path)?, file.clone()),
    };
    let key = match key {
        Some(key) => key,
        None if sealed > 0 && lost == Lost::Keep => return Err(VaultError::NoMasterKey(file, sealed).into()),
        None => make(&path)?,
    };
    let vault = Arc::new(Vault::new(key, store.clone()));
    let opened = Arc::new(Connections::new(vault.clone(), store.clone()));
    let secrets: Vec<_> = secrets.iter().filter(|secret| !vault.opens(secret)).collect();
    let connections: Vec<_> = connections.iter().filter(|connection| !opened.opens(connection)).collect();
    if let Lost::Remove(now_ms) = lost {
        for secret in secrets {
            vault.remove(&secret.name, Who::Host, now_ms).await?;
            tracing::warn!(secret = %secret.name, "removed: the master key does not open it");
        }
        for connection in connections {
            opened.remove(&connection.name, Who::Host, now_ms).await?;
            tracing::warn!(connection = %connection.name, "removed: the master key does not open it");
        }
    } else if sealed > 0 && secrets.len() + connections.len() == sealed {
        return Err(VaultError::OtherMasterKey(from, sealed).into());
    } else {
        for name in secrets.iter().map(|secret| &secret.name).chain(connections.iter().map(|connection| &connection.name)) {
            tracing::error!(%name, "the master key does not open this secret or connection; set it again");
        }
    }
    Ok((vault, opened))
}

/// The key in a file; none if there is no such file.
fn find(path: &Path) -> Result<Option<Zeroizing<[u8; KEY_BYTES]>>, VaultError> {
    let shown = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => read(&text, &shown).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(VaultError::MasterKey(shown, error)),
    }
}

/// A new key, in a file from now on: whole, whenever the host is stopped, and there before anything is sealed with it.
fn make(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
    let key = Zeroizing::new(random::<KEY_BYTES>());
    let write = || {
        let fresh = path.with_extension("key.new");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(Zeroizing::new(hex::encode(*key)).as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|error| VaultError::MasterKey(path.display().to_string(), error))?;
    Ok(key)
}

fn read(text: &str, from: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    hex::decode_to_slice(text.trim(), &mut *key).map_err(|_| VaultError::MasterKeyForm(from.to_owned()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::SecretSource as _;

    #[tokio::test]
    async fn what_one_key_opens_and_another_does_not_is_told_apart_from_what_is_missing() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().to_owned();
        let store = tokio::task::spawn_blocking(move || Store::open(&path, |_| ()).unwrap()).await.unwrap();
        let (vault, _) = open_sealed(data.path(), None, &store, Lost::Keep).await.unwrap();
        vault.set("own", b"first", Who::Host, 0).await.unwrap();
        let other = Vault::new(Zeroizing::new([7; KEY_BYTES]), store.clone());
        other.set("foreign", b"second", Who::Host, 0).await.unwrap();
        assert_eq!(*other.reveal("foreign").unwrap(), b"second");

        // Some of it opens: the key is the right one.
        let (vault, _) = open_sealed(data.path(), None, &store, Lost::Keep).await.unwrap();
        assert_eq!(*vault.reveal("own").unwrap(), b"first");
        let code = |name| vault.reveal(name).unwrap_err().code;
        assert_eq!((&*code("foreign"), &*code("no")), ("denied", "not-found"));

        let (vault, _) = open_sealed(data.path(), None, &store, Lost::Remove(1)).await.unwrap();
        assert_eq!(*vault.reveal("own").unwrap(), b"first");
        assert_eq!(&*vault.reveal("foreign").unwrap_err().code, "not-found");
    }
}
