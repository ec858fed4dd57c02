//! Configs as the types that they are read into.

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use crate::Failure;

/// Reads a config, or a part of one that stands at a place (JSON Pointer): one that was kept raw, and is filled in now. What does not fit is the
/// failure `invalid-config` with the place of it.
pub fn read<T: DeserializeOwned>(json: &str, at: &str) -> Result<T, Failure> {
    serde_json::from_str(json).map_err(|error| {
        // Following the place costs at each member: only what does not fit is read so.
        let mut reader = serde_json::Deserializer::from_str(json);
        let place = match serde_path_to_error::deserialize::<_, T>(&mut reader) {
            Err(error) => pointer(at, error.path()),
            Ok(_) => at.to_owned(),
        };
        // Nobody has written the text that it counts in.
        let (message, counted) = (error.to_string(), format!(" at line {} column {}", error.line(), error.column()));
        Failure::invalid_config(&place, message.strip_suffix(&counted).unwrap_or(&message))
    })
}

/// A path below a place, as RFC 6901 writes it. It ends where the reader lost it: at an object that is read in one piece.
fn pointer(at: &str, path: &Path) -> String {
    let names = path.iter().map_while(|segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key: name } | Segment::Enum { variant: name } => Some(name.replace('~', "~0").replace('/', "~1")),
        Segment::Unknown => None,
    });
    names.fold(at.to_owned(), |pointer, name| pointer + "/" + &name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "it is there to be read")]
    struct Config {
        names: Vec<String>,
        #[serde(default)]
        by_name: BTreeMap<String, u8>,
        access: Option<Access>,
        raw: Option<Box<RawValue>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    #[expect(dead_code, reason = "it is there to be read")]
    enum Access {
        Nobody,
        Token { token: String },
    }

    #[test]
    fn what_does_not_fit_is_said_with_its_place() {
        for (json, message) in [
            (r#"{"names": ["a", 7]}"#, "/part/names/1: invalid type: integer `7`, expected a string"),
            (r#"{"names": null}"#, "/part/names: invalid type: null, expected a sequence"),
            (r#"{"names": [], "by_name": {"a/b~c": 256}}"#, "/part/by_name/a~1b~0c: invalid value: integer `256`, expected u8"),
            (
                r#"{"names": [], "access": {"token": {"token": 1}}}"#,
                "/part/access/token/token: invalid type: integer `1`, expected a string",
            ),
            (r#"{"names": [], "access": "all"}"#, "/part/access: unknown variant `all`, expected `nobody` or `token`"),
            (r#"{"by_name": {}}"#, "/part: missing field `names`"),
            (r#"{"names": [], "nam": 1}"#, "/part/nam: unknown field `nam`, expected one of `names`, `by_name`, `access`, `raw`"),
        ] {
            let failure = read::<Config>(json, "/part").unwrap_err();
            assert_eq!((failure.code.as_str(), failure.message.as_str()), ("invalid-config", message), "{json}");
        }
        assert_eq!(read::<Config>("7", "").unwrap_err().message, "invalid type: integer `7`, expected struct Config");
        let config = read::<Config>(r#"{"names": ["a"], "raw": {"b": 1.0}, "access": "nobody"}"#, "").unwrap();
        assert_eq!(config.raw.unwrap().get(), r#"{"b": 1.0}"#);
    }
}
