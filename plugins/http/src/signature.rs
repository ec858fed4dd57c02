//! Signatures over the raw bytes of a body.

use weft_sdk::HttpEvent;
use weft_sdk::capability::{Encoding, Hash, Key, SecretKey, verify_hmac};
use weft_sdk::prelude::*;

/// How the sender signs, and with what.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signature {
    /// Whose way of signing.
    scheme: Scheme,
    /// The secret that the sender signs with.
    #[schemars(extend("x-weft-secret" = true))]
    secret: String,
}

/// A way of signing.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Scheme {
    /// GitHub: HMAC-SHA256 of the body, in hexadecimal after `sha256=`, in the header `X-Hub-Signature-256`.
    Github,
}

impl Signature {
    /// Whether the request is signed with the secret. An error says what the sender did wrong.
    pub(crate) fn verify(&self, request: &HttpEvent) -> Result<Result<(), &'static str>, Failure> {
        let Scheme::Github = self.scheme;
        let mut found = request.headers.iter().filter(|header| header.name == "x-hub-signature-256");
        let (Some(header), None) = (found.next(), found.next()) else {
            return Ok(Err("the header X-Hub-Signature-256 is missing, or there are several"));
        };
        let Some(Ok(mac)) = header.value.strip_prefix("sha256=").map(hex::decode) else {
            return Ok(Err("X-Hub-Signature-256 is `sha256=` and 64 hexadecimal digits"));
        };
        let key = SecretKey { token: self.secret.clone(), strip: String::new(), encoding: Encoding::Utf8, prefix: String::new() };
        let good = verify_hmac(Hash::Sha256, &Key::Secret(key), &request.body, &mac)?;
        Ok(if good { Ok(()) } else { Err("the signature does not belong to this body and secret") })
    }
}
