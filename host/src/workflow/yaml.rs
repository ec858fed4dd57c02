//! Files that people write: YAML, which JSON is too.

use serde::de::DeserializeOwned;

/// Reads a document. `yes`, `no`, `on` and `off` are texts, as YAML 1.2 has it: a country is not false. An error is a sentence with its
/// place in the text.
pub fn read_yaml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        // What the library says to programmers.
        let words = error.to_string().replace(", set DuplicateKeyPolicy in Options if acceptable", "");
        format!("not YAML or JSON: {words}")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn words_stay_words() {
        let read: Value =
            read_yaml("{country: NO, answer: y, switch: on, list: [yes, no], truth: true, n: 12, b: {no: []}}").unwrap();
        let want = json!({"country": "NO", "answer": "y", "switch": "on", "list": ["yes", "no"], "truth": true, "n": 12, "b": {"no": []}});
        assert_eq!(read, want);
        let twice = read_yaml::<Value>("a: 1\na: 2").unwrap_err();
        assert!(twice.contains("duplicate mapping key: a") && !twice.contains("Policy"), "{twice}");
    }
}
