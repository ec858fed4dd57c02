//! Files that steps make: named here, kept by the store with their run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::id::RunId;

/// The id of a file: its run's id, a dot, and 20 random hexadecimal digits. Whoever is given one in a run's context may read the file, so
/// nobody must be able to guess it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileId {
    /// The run that it belongs to, and goes with.
    pub run: RunId,
    /// Tells the files of a run apart.
    pub random: [u8; 10],
}

/// What is known of a file beside its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// Its name, without folders.
    pub name: Box<str>,
    /// Such as `text/csv`.
    pub media_type: Box<str>,
    /// Its length in bytes.
    pub size: u32,
}

/// A text that is no id of a file.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not the id of a file: ids look like 0193a5c2-7b1e-7c3a-9f00-2a51c4d0b7e1.00112233445566778899")]
pub struct FileIdError(String);

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.run, hex::encode(self.random))
    }
}

impl FromStr for FileId {
    type Err = FileIdError;

    fn from_str(text: &str) -> Result<Self, FileIdError> {
        let error = || FileIdError(text.to_owned());
        let (run, digits) = text.split_once('.').ok_or_else(error)?;
        let mut random = [0; 10];
        hex::decode_to_slice(digits, &mut random).map_err(|_| error())?;
        Ok(Self { run: run.parse().map_err(|_| error())?, random })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_others_are_refused() {
        let id = FileId { run: RunId::new(1_700_000_000_123, [7; 10]), random: [0xab; 10] };
        assert_eq!(id.to_string().parse::<FileId>().unwrap(), id);
        let text = id.to_string();
        for wrong in ["", ".", "a.b", &text[..text.len() - 1], &format!("{text}0"), &text.replace('.', "")] {
            assert!(wrong.parse::<FileId>().is_err(), "{wrong}");
        }
    }
}
