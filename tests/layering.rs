//! How the host's modules may know each other, and what stays behind one door.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::path::{Path, PathBuf};

/// Modules in order: each may use those before it.
const ORDER: [&str; 14] = [
    "digest",
    "limits",
    "workflow",
    "run",
    "store",
    "plugin",
    "capability",
    "lab",
    "executor",
    "trigger",
    "admin",
    "watch",
    "http",
    "cli",
];

/// Modules that do not know each other although one comes before the other.
const STRANGERS: [(&str, &str); 1] = [("plugin", "store")];

/// What only one module says.
const DOORS: [(&str, &str); 8] = [
    ("sled::", "store"),
    ("wasmtime::", "plugin"),
    ("wasmtime_wasi::", "plugin"),
    ("wasmtime_wasi_http::", "plugin"),
    ("ed25519_dalek::", "plugin"),
    ("hyper::", "http"),
    ("oci_client::", "cli"),
    ("oci_wasm::", "cli"),
];

/// Places behind a door that may say its word all the same, with the reason.
const EXCEPTIONS: [(&str, &str); 3] = [
    // Linking a capability is naming wasmtime's linker.
    ("wasmtime::", "capability/mod.rs"),
    ("wasmtime_wasi_http::", "capability/mod.rs"),
    // A capability, though not one of the contract's.
    ("wasmtime_wasi_http::", "capability/wasi_http.rs"),
];

/// Names of types that are also words of the contract or the API (a kind of wait, a member of a run, an event of a feed): as those the host says
/// them.
const SHARED_WORDS: [&str; 4] = ["end", "output", "request", "variable"];

fn sources() -> Vec<(PathBuf, String)> {
    sources_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

fn sources_in(source: &Path) -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, all: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, all);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                all.push((path, text));
            }
        }
    }
    let mut all = Vec::new();
    collect(source, &mut all);
    all.into_iter().map(|(path, text)| (path.strip_prefix(source).unwrap().to_owned(), text)).collect()
}

/// Each line of code, without comments, with its place; what stands in test modules at the end of a file is left out.
fn lines() -> Vec<(String, String, String)> {
    let mut lines = Vec::new();
    for (path, text) in sources() {
        let module = path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests") || path.starts_with("executor/simulator");
        for (number, line) in text.split("#[cfg(test)]\nmod tests {").next().unwrap().lines().enumerate() {
            let code = line.split("//").next().unwrap().to_owned();
            if !is_test && !code.trim().is_empty() {
                lines.push((module.clone(), format!("{}:{}", path.display(), number + 1), code));
            }
        }
    }
    lines
}

#[test]
fn each_module_knows_only_those_before_it() {
    let rank = |module: &str| ORDER.iter().position(|known| *known == module);
    let mut wrong = Vec::new();
    for (module, place, code) in lines() {
        let Some(own) = rank(&module) else { continue };
        for rest in code.split("crate::").skip(1) {
            let used: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            let is_stranger =
                STRANGERS.contains(&(module.as_str(), used.as_str())) || STRANGERS.contains(&(used.as_str(), module.as_str()));
            if rank(&used).is_some_and(|other| other > own) || is_stranger {
                wrong.push(format!("{place} imports {used}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_module_has_its_place_in_the_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let text = std::fs::read_to_string(root).unwrap();
    let modules: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let known: Vec<&str> = modules.iter().copied().filter(|module| *module != "built_in").collect();
    assert_eq!(known, ORDER, "lib.rs lists the modules in the order of reading");
}

#[test]
fn each_dependency_has_one_door() {
    let mut wrong = Vec::new();
    for (module, place, code) in lines() {
        for (word, door) in DOORS {
            let before = |at: usize| code[..at].chars().next_back();
            let says = code.match_indices(word).any(|(at, _)| !before(at).is_some_and(|c| c.is_alphanumeric() || c == '_'));
            let is_excepted = EXCEPTIONS.iter().any(|(known, path)| *known == word && place.starts_with(path));
            if says && module != door && !is_excepted {
                wrong.push(format!("{place} says {word}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// The engine knows no type by name: a built-in type's name stands nowhere in the host as a text of its own. The command line
/// is left out, since it names members of the API's answers.
#[test]
fn the_host_knows_no_type_by_name() {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    let mut names = Vec::new();
    for plugin in std::fs::read_dir(plugins).unwrap().map(|entry| entry.unwrap().path().join("src")).filter(|path| path.is_dir())
    {
        for (_, text) in sources_in(&plugin) {
            names.extend(
                text.split("const NAME: &str = \"").skip(1).filter_map(|rest| rest.split('"').next().map(ToOwned::to_owned)),
            );
        }
    }
    names.retain(|name| !SHARED_WORDS.contains(&name.as_str()));
    assert!(names.len() >= 4, "{names:?}");
    let mut wrong = Vec::new();
    for (_, place, code) in lines().into_iter().filter(|(module, ..)| module != "cli") {
        wrong.extend(
            names.iter().filter(|name| code.contains(&format!("\"{name}\""))).map(|name| format!("{place} names `{name}`")),
        );
    }
    assert_eq!(wrong, Vec::<String>::new());
}
