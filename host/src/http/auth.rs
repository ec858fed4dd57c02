//! Who may use the API.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use http::{HeaderMap, StatusCode, header};
use subtle::ConstantTimeEq as _;

use super::error::Problem;
use super::request::header_text;
use crate::digest::Digest;

/// The token that may do everything. Only its digest is kept in memory.
pub struct AdminToken(Digest);

impl AdminToken {
    /// Reads the token of a data folder from its file `admin-token` (mode 0600), which is made if it is not there: to
    /// replace a token, remove the file and start again.
    pub fn open(data: &Path) -> std::io::Result<Self> {
        let path = data.join("admin-token");
        let token = match fs::read_to_string(&path) {
            Ok(token) => token.trim().to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let token = new_token();
                let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                file.write_all(token.as_bytes())?;
                file.sync_all()?;
                token
            }
            Err(error) => return Err(error),
        };
        if token.len() < 32 {
            let message = format!("{} holds no token: remove it, and a new one is made", path.display());
            return Err(std::io::Error::other(message));
        }
        Ok(Self(Digest::of(token.as_bytes())))
    }

    /// Lets a request through that carries the token.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let given = header_text(headers, header::AUTHORIZATION).and_then(|value| value.split_once(' '));
        let given = given
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| Digest::of(token.trim().as_bytes()));
        match given {
            Some(given) if bool::from(given.as_bytes().ct_eq(self.0.as_bytes())) => Ok(()),
            Some(_) => Err(refused("this token is not valid here")),
            None => Err(refused("give a token: `Authorization: Bearer …`; the file `admin-token` in the data folder holds one")),
        }
    }
}

fn refused(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).with_header(header::WWW_AUTHENTICATE, "Bearer realm=\"weft\"")
}

/// 256 random bits, with a prefix by which scanners find a token that leaked.
fn new_token() -> String {
    let mut random = [0; 32];
    getrandom::fill(&mut random).expect("the system has random numbers");
    format!("weft_{}", hex::encode(random))
}
