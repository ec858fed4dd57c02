//! What a component asks for: its imports are the request, and there is no other.

use std::collections::BTreeSet;

use super::inspect::Facts;

/// Interfaces of the contract that give no power: its types, and words for the host's log.
const POWERLESS: [&str; 2] = ["types", "log"];

/// The package of WASI by which requests to servers go too.
const WASI_HTTP: &str = "wasi:http/";

impl Facts {
    /// The capabilities that it asks for, by their names. What else it may import of WASI (clocks, random numbers, a file system
    /// without files) reaches nothing, and is no capability.
    pub fn capabilities(&self) -> BTreeSet<String> {
        let capability = |import: &String| {
            if import.starts_with(WASI_HTTP) {
                return Some("http".to_owned());
            }
            let (interface, _) = import.strip_prefix("weft:plugin/")?.split_once('@')?;
            Some(interface.to_owned()).filter(|interface| !POWERLESS.contains(&interface.as_str()))
        };
        self.imports.iter().filter_map(capability).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_the_request() {
        let imports =
            ["weft:plugin/types@0.1.0", "weft:plugin/log@0.1.0", "wasi:io/streams@0.2.6", "wasi:filesystem/types@0.2.6"];
        let capabilities = |more: &[&str]| {
            let imports = imports.iter().chain(more).map(|import| (*import).to_owned()).collect();
            Facts { imports, exports: Vec::new() }.capabilities().into_iter().collect::<Vec<_>>()
        };
        assert_eq!(capabilities(&[]), [""; 0]);
        assert_eq!(capabilities(&["weft:plugin/kv@0.1.0", "weft:plugin/http@0.1.0"]), ["http", "kv"]);
        assert_eq!(capabilities(&["wasi:http/outgoing-handler@0.2.6", "weft:plugin/run@0.1.0"]), ["http", "run"]);
    }
}
