//! `crypto`: signatures with secrets that the guest never sees.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::fault;
use crate::limits::CRYPTO_BYTES_MAX;
use crate::plugin::contract::crypto::{self, Encoding, Hash, Key, SecretKey};
use crate::plugin::contract::types::Fault;
use crate::plugin::{Guest, SecretVerb};

/// Takes padding, and does without.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

impl crypto::Host for Guest {
    fn hmac(&mut self, hash: Hash, key: Key, data: Vec<u8>) -> Result<Vec<u8>, Fault> {
        bound(&data)?;
        let key = key_bytes(self, key, SecretVerb::Sign)?;
        Ok(match hash {
            Hash::Sha1 => mac::<Hmac<Sha1>>(&key, &data).finalize().into_bytes().to_vec(),
            Hash::Sha256 => mac::<Hmac<Sha256>>(&key, &data).finalize().into_bytes().to_vec(),
            Hash::Sha512 => mac::<Hmac<Sha512>>(&key, &data).finalize().into_bytes().to_vec(),
        })
    }

    fn verify_hmac(&mut self, hash: Hash, key: Key, data: Vec<u8>, given: Vec<u8>) -> Result<bool, Fault> {
        bound(&data)?;
        let key = key_bytes(self, key, SecretVerb::Verify)?;
        Ok(match hash {
            Hash::Sha1 => mac::<Hmac<Sha1>>(&key, &data).verify_slice(&given).is_ok(),
            Hash::Sha256 => mac::<Hmac<Sha256>>(&key, &data).verify_slice(&given).is_ok(),
            Hash::Sha512 => mac::<Hmac<Sha512>>(&key, &data).verify_slice(&given).is_ok(),
        })
    }

    fn verify_secret(&mut self, token: String, candidate: String) -> Result<bool, Fault> {
        let name = name_of(self, &token, SecretVerb::Verify)?;
        let Some(vault) = self.call.vault.clone() else { return Err(fault("denied", "nothing is granted here")) };
        let remote = self.call.remote_address.as_deref();
        if !vault.may_guess(&name, remote) {
            let message = "too many wrong guesses from this address; wait a minute";
            return Err(Fault { transient: true, ..fault("over-limit", message) });
        }
        let secret = vault.reveal(&name)?;
        let same = bool::from(secret.ct_eq(candidate.as_bytes()));
        if !same {
            vault.guessed_wrong(&name, remote);
        }
        Ok(same)
    }
}

fn bound(data: &[u8]) -> Result<(), Fault> {
    if data.len() > CRYPTO_BYTES_MAX {
        return Err(fault("too-large", format!("{} bytes; at most {CRYPTO_BYTES_MAX} are signed", data.len())));
    }
    Ok(())
}

fn mac<M: hmac::Mac + hmac::KeyInit>(key: &[u8], data: &[u8]) -> M {
    let mut mac = <M as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac
}

fn key_bytes(guest: &mut Guest, key: Key, verb: SecretVerb) -> Result<Zeroizing<Vec<u8>>, Fault> {
    match key {
        Key::Plain(bytes) => {
            guest.call.used.host_calls += 1;
            Ok(Zeroizing::new(bytes))
        }
        Key::Secret(SecretKey { token, strip, encoding, prefix }) => {
            let name = name_of(guest, &token, verb)?;
            let Some(vault) = &guest.call.vault else { return Err(fault("denied", "nothing is granted here")) };
            let secret = vault.reveal(&name)?;
            let text = secret.strip_prefix(strip.as_bytes()).unwrap_or(&secret);
            let decoded = match encoding {
                Encoding::Utf8 => Some(Zeroizing::new(text.to_vec())),
                Encoding::Base64 => BASE64.decode(text).ok().map(Zeroizing::new),
                Encoding::Hex => hex::decode(text).ok().map(Zeroizing::new),
            };
            let decoded = decoded.ok_or_else(|| fault("invalid", format!("the secret `{name}` is not {encoding:?}")))?;
            let mut key = Zeroizing::new(prefix.into_bytes());
            key.extend_from_slice(&decoded);
            Ok(key)
        }
    }
}

/// The name of the secret that a token of this call stands for, if it may be used so.
fn name_of(guest: &mut Guest, token: &str, verb: SecretVerb) -> Result<Box<str>, Fault> {
    guest.call.used.host_calls += 1;
    let Some(used) = guest.call.secrets.iter().find(|used| &*used.token == token) else {
        let message = "this text stands for no secret of this call: write {{$secrets.NAME}} into the config";
        return Err(fault("denied", message));
    };
    guest.call.grants.check_secret(&used.name, verb)?;
    Ok(used.name.clone())
}
