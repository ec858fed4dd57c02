//! Names: the key of a workflow or step, and the type that a step or trigger names.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::KEY_CHARS_MAX;

/// The key of a workflow or a step: lower-case letters, digits, `-` and `_`, beginning with a letter.
///
/// Keys stand in URLs, in variables (`$steps.<key>.result`) and in the paths of activations, so they hold no
/// character that means something there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(Box<str>);

/// Why a text is not a key.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a key: use 1 to {KEY_CHARS_MAX} of a-z, 0-9, `-` and `_`, beginning with a letter")]
pub struct KeyError(String);

impl Key {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Key {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        let good = text.len() <= KEY_CHARS_MAX
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
        if good { Ok(Self(text.into())) } else { Err(KeyError(text)) }
    }
}

impl std::str::FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::try_from(text.to_owned())
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0.into()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A type as a definition names it: `condition`, `acme/crm/contact`, `acme/crm/contact@^1.2`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TypeRef {
    /// `vendor/name` of the plugin; none for a type of the built-in vendor.
    pub plugin: Option<String>,
    /// The type's name within its plugin.
    pub name: String,
    /// Which versions will do; none: the newest release.
    pub requirement: Option<semver::VersionReq>,
}

/// Why a text does not name a type.
#[derive(Debug, thiserror::Error)]
pub enum TypeRefError {
    /// Neither `type` nor `vendor/plugin/type`.
    #[error("`{0}` is not a type: write `type` for a built-in one or `vendor/plugin/type`, and `@^1.2` to ask for versions")]
    Shape(String),
    /// The part after `@` is not a semver requirement.
    #[error("`{0}` is not a version requirement like `^1.2` or `=1.4.0`: {1}")]
    Requirement(String, semver::Error),
}

impl std::str::FromStr for TypeRef {
    type Err = TypeRefError;

    fn from_str(text: &str) -> Result<Self, TypeRefError> {
        let (path, requirement) = match text.split_once('@') {
            Some((path, requirement)) => {
                let requirement =
                    requirement.parse().map_err(|error| TypeRefError::Requirement(requirement.to_owned(), error))?;
                (path, Some(requirement))
            }
            None => (text, None),
        };
        let parts: Vec<&str> = path.split('/').collect();
        let (plugin, name) = match parts[..] {
            [name] => (None, name),
            [vendor, plugin, name] if is_word(vendor) && is_word(plugin) => (Some(format!("{vendor}/{plugin}")), name),
            _ => return Err(TypeRefError::Shape(text.to_owned())),
        };
        if !is_word(name) {
            return Err(TypeRefError::Shape(text.to_owned()));
        }
        Ok(Self { plugin, name: name.to_owned(), requirement })
    }
}

/// Whether a text can be a vendor, a plugin or a type: the same alphabet as a [`Key`].
pub(crate) fn is_word(text: &str) -> bool {
    text.parse::<Key>().is_ok()
}

impl fmt::Display for TypeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(plugin) = &self.plugin {
            write!(f, "{plugin}/")?;
        }
        f.write_str(&self.name)?;
        if let Some(requirement) = &self.requirement {
            write!(f, "@{requirement}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for good in ["a", "order-intake", "a1_b"] {
            assert!(good.parse::<Key>().is_ok(), "{good}");
        }
        for bad in ["", "1a", "Order", "a b", "a/b", "a.b", "é", &"a".repeat(KEY_CHARS_MAX + 1)] {
            assert!(bad.parse::<Key>().is_err(), "{bad}");
        }
    }

    #[test]
    fn types() {
        for good in ["condition", "acme/crm/contact", "acme/crm/contact@^1.2", "condition@=0.1.0"] {
            assert_eq!(good.parse::<TypeRef>().unwrap().to_string(), good);
        }
        for bad in ["", "a/b", "a/b/c/d", "Acme/crm/x", "condition@", "condition@new", "/a/b"] {
            assert!(bad.parse::<TypeRef>().is_err(), "{bad}");
        }
    }
}
