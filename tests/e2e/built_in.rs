//! The built-in plugins keep what they say: their pages, their ways to fail, their golden cases.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;

use crate::harness::{offline, repository, target};

/// A component, the folder of its crate, and what it says of itself.
struct Plugin {
    file: String,
    folder: PathBuf,
    said: Value,
}

impl Plugin {
    /// Each was compiled for this once.
    fn all() -> &'static [Self] {
        static ALL: LazyLock<Vec<Plugin>> = LazyLock::new(Plugin::read_all);
        &ALL
    }

    fn read_all() -> Vec<Self> {
        let of = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.unwrap().path();
            let folder =
                repository().join("plugins").join(path.file_stem().unwrap().to_str().unwrap().trim_start_matches("weft_"));
            let file = path.to_str().unwrap().to_owned();
            let said = offline(&["plugin", "docs", &file, "--json"]);
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            Self { file, folder, said: serde_json::from_slice(&said.stdout).unwrap() }
        };
        let plugins: Vec<Self> = std::fs::read_dir(target().join("plugins")).unwrap().map(of).collect();
        assert!(plugins.len() > 1, "run `cargo xtask build` first");
        plugins
    }

    /// Its types, each with the word of a golden case for it.
    fn types(&self) -> Vec<(&'static str, &Value)> {
        let of = |(word, list)| self.said[list].as_array().unwrap().iter().map(move |kind| (word, kind));
        [("trigger", "triggers"), ("node", "nodes")].into_iter().flat_map(of).collect()
    }

    fn cases(&self) -> Vec<Value> {
        let read = |entry: std::io::Result<std::fs::DirEntry>| -> Vec<Value> {
            serde_saphyr::from_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap()
        };
        std::fs::read_dir(self.folder.join("cases")).unwrap().flat_map(read).collect()
    }
}

fn failures(kind: &Value) -> impl Iterator<Item = &Value> {
    kind["failures"].as_array().into_iter().flatten()
}

fn codes(kind: &Value) -> BTreeSet<&str> {
    failures(kind).map(|failure| failure["code"].as_str().unwrap()).collect()
}

/// What any type may answer, and what no way into a plugin of ours leads to.
const GENERAL: [&str; 4] = ["invalid-config", "unexpected-event", "invalid-state", "invalid-json"];

/// What comes of more than a bench has: other workflows, and values of many megabytes.
const BEYOND_A_BENCH: [&str; 6] = ["too-large", "over-limit", "stack-limit", "not-synchronous", "not-started", "not-found"];

/// `WEFT_BLESS=1 cargo xtask test built_in` writes the pages anew.
#[test]
fn the_pages_are_what_the_components_say() {
    for Plugin { file, folder, .. } in Plugin::all() {
        let page = String::from_utf8(offline(&["plugin", "docs", file, "--brief"]).stdout).unwrap();
        let by_name = format!("weft/{}", Path::new(file).file_stem().unwrap().to_str().unwrap().trim_start_matches("weft_"));
        assert!(offline(&["plugin", "docs", &by_name, "--brief"]).stdout == page.as_bytes(), "{by_name}");
        let path = folder.join("README.md");
        if std::env::var_os("WEFT_BLESS").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == page, "{} is old: WEFT_BLESS=1 cargo xtask test built_in", path.display());
    }
}

#[test]
fn every_code_that_a_plugin_fails_with_is_declared() {
    for plugin in Plugin::all() {
        let types = plugin.types();
        let declared: BTreeSet<&str> = types.iter().flat_map(|(_, kind)| codes(kind)).collect();
        let mut text = String::new();
        read_sources(&plugin.folder.join("src"), &mut text);
        let codes = text.split("Failure::new(").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
        for code in codes.filter(|code| !GENERAL.contains(code)) {
            assert!(declared.contains(code), "{}: `{code}` is declared by no type ({declared:?})", plugin.file);
        }
        for (_, kind) in types {
            for failure in failures(kind) {
                let (message, pointer) = (failure["message"].as_str().unwrap(), failure["pointer"].as_str().unwrap_or_default());
                let is_sentence = message.ends_with(['.', '?']) && message.starts_with(|first: char| !first.is_lowercase());
                assert!(is_sentence, "{}: no sentence: {message}", kind["name"]);
                let member = pointer.split('/').nth(1).unwrap_or_default();
                assert!(member.is_empty() || has_member(&kind["config_schema"], member), "{}: no `{pointer}`", kind["name"]);
            }
        }
    }
}

fn has_member(schema: &Value, name: &str) -> bool {
    match schema {
        Value::Object(members) => {
            let own = members.get("properties").and_then(|properties| properties.get(name));
            own.is_some() || members.values().any(|member| has_member(member, name))
        }
        Value::Array(items) => items.iter().any(|item| has_member(item, name)),
        _ => false,
    }
}

/// Appends what stands before the tests in each source.
fn read_sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(std::fs::read_to_string(&path).unwrap().split("#[cfg(test)]").next().unwrap());
        }
    }
}

#[test]
fn each_type_has_a_golden_case_and_one_for_each_failure() {
    for plugin in Plugin::all() {
        let (cases, mut shared, mut missing) = (plugin.cases(), BTreeSet::new(), Vec::new());
        for (word, kind) in plugin.types() {
            let name = kind["name"].as_str().unwrap();
            let own: Vec<&Value> = cases.iter().filter(|case| case[word] == name).collect();
            assert!(own.iter().any(|case| case["expect"].get("failed").is_none()), "`{name}` does its work in no golden case");
            let failed = |case: &&Value| {
                let code = case["expect"]["failed"]["code"].as_str()?.to_owned();
                // That of a branch or of another workflow is handed on.
                (!case["resume"].to_string().contains(&format!("{code:?}"))).then_some(code)
            };
            let shown: BTreeSet<String> = own.iter().filter_map(failed).collect();
            let declared = codes(kind);
            for code in &shown {
                assert!(
                    declared.contains(&**code) || GENERAL.contains(&&**code),
                    "`{name}` fails with `{code}`, and does not say so"
                );
            }
            for failure in failures(kind).filter(|failure| !BEYOND_A_BENCH.contains(&failure["code"].as_str().unwrap())) {
                let way = (failure["code"].as_str().unwrap(), failure["message"].as_str().unwrap());
                if shown.contains(way.0) {
                    shared.insert(way);
                } else {
                    missing.push((name, way));
                }
            }
        }
        // What types have in common one of them shows.
        missing.retain(|(_, way)| !shared.contains(way));
        assert!(missing.is_empty(), "in no golden case: {missing:?}");
    }
}

#[test]
fn the_built_in_plugins_are_fit_for_a_host() {
    for Plugin { file, folder, .. } in Plugin::all() {
        let checked = offline(&["plugin", "check", file, "--golden", folder.join("cases").to_str().unwrap(), "--json"]);
        let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
        let failed = report["checks"].as_array().unwrap().iter().filter(|row| row["mark"] == "failed");
        assert!(checked.status.success(), "{file}: {:#?}", failed.collect::<Vec<_>>());
    }
}
