//! What a file is, found out without compiling it.

use wasmparser::{Encoding, Parser, Payload};

use crate::limits::PLUGIN_BYTES_MAX;

/// What a component asks for and offers, by its own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Interfaces that it imports: `weft:plugin/log@0.1.0`.
    pub imports: Vec<String>,
    /// Interfaces that it exports.
    pub exports: Vec<String>,
}

impl Facts {
    /// Whether it imports an interface of the contract.
    pub fn uses(&self, interface: &str) -> bool {
        let named = |import: &String| {
            import.strip_prefix("weft:plugin/").and_then(|rest| rest.split_once('@')).map(|(name, _)| name == interface)
        };
        self.imports.iter().any(|import| named(import) == Some(true))
    }

    /// The newest version of the contract that it names.
    pub fn contract(&self) -> Option<semver::Version> {
        let named = self.imports.iter().chain(&self.exports);
        named.filter_map(|name| semver::Version::parse(name.strip_prefix("weft:plugin/")?.split_once('@')?.1).ok()).max()
    }

    /// Whether it imports an interface of a package of WASI, such as `http`.
    pub fn uses_wasi(&self, package: &str) -> bool {
        let named =
            |import: &String| import.strip_prefix("wasi:").and_then(|rest| rest.split_once('/')).map(|(name, _)| name == package);
        self.imports.iter().any(|import| named(import) == Some(true))
    }
}

/// Why a file is no plugin for this host.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Longer than the bound.
    #[error("the file has {0} bytes; a plugin has at most {PLUGIN_BYTES_MAX}")]
    TooLarge(usize),
    /// Not WebAssembly.
    #[error("this is not a WebAssembly file")]
    NotWasm,
    /// WebAssembly, but not a component.
    #[error(
        "this is a core WebAssembly module, not a component: build for the target wasm32-wasip2, or run `wasm-tools component new` on it"
    )]
    CoreModule,
    /// A component whose bytes are wrong.
    #[error("the component is malformed: {0}")]
    Malformed(String),
    /// A component that would take a compiler too long.
    #[error("the component has {0}: make it smaller")]
    TooComplex(String),
    /// A component that is no Weft plugin.
    #[error("this component is no Weft plugin: it exports {exports}, and not `weft:plugin/info`")]
    OtherWorld {
        /// What it exports, or `nothing`.
        exports: String,
    },
    /// A plugin for another version of the contract.
    #[error("the plugin was made for version {found} of the contract, and this host speaks {spoken}: {advice}")]
    OtherContract {
        /// The plugin's version.
        found: String,
        /// This host's.
        spoken: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A plugin that uses what only a later version of the contract has.
    #[error(
        "the plugin was made for version {found} of the contract and uses something that {spoken}, which this host speaks, does not have: use a newer Weft, or an older version of the plugin ({missing})"
    )]
    NewerContract {
        /// The newest version that it names.
        found: semver::Version,
        /// This host's.
        spoken: &'static str,
        /// What did not fit.
        missing: String,
    },
    /// A plugin with nothing in it.
    #[error("the plugin exports neither `weft:plugin/nodes` nor `weft:plugin/triggers`")]
    NoTypes,
    /// A plugin that wants what this host does not have.
    #[error("the plugin imports {}, which this host does not offer", .0.join(", "))]
    UnknownImports(Vec<String>),
}

/// The version of the contract that this host speaks.
pub const CONTRACT: &str = "0.1.0";

/// The interfaces of the contract that this host offers.
const OFFERED: [&str; 10] = ["types", "log", "progress", "variables", "crypto", "run", "http", "kv", "files", "workflows"];

/// Reads what a file says of itself.
pub fn inspect(bytes: &[u8]) -> Result<Facts, Refusal> {
    if bytes.len() > PLUGIN_BYTES_MAX {
        return Err(Refusal::TooLarge(bytes.len()));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(Refusal::NotWasm);
    }
    let mut facts = Facts { imports: Vec::new(), exports: Vec::new() };
    let malformed = |error: wasmparser::BinaryReaderError| Refusal::Malformed(error.to_string());
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(malformed)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(Refusal::CoreModule),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    facts.imports.push(import.map_err(malformed)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    facts.exports.push(export.map_err(malformed)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(facts)
}

/// Whether this host can carry out a component with these facts.
pub fn admit(facts: &Facts) -> Result<(), Refusal> {
    let Some(found) = version_of(&facts.exports, "info") else {
        let exports = match &facts.exports[..] {
            [] => "nothing".to_owned(),
            exports => exports.join(", "),
        };
        return Err(Refusal::OtherWorld { exports });
    };
    if !same_track(found) {
        let advice = match (semver::Version::parse(found), semver::Version::parse(CONTRACT)) {
            (Ok(found), Ok(spoken)) if found > spoken => "use a newer Weft, or an older version of the plugin",
            _ => "ask its vendor for a newer version",
        };
        return Err(Refusal::OtherContract { found: found.to_owned(), spoken: CONTRACT, advice });
    }
    if version_of(&facts.exports, "nodes").is_none() && version_of(&facts.exports, "triggers").is_none() {
        return Err(Refusal::NoTypes);
    }
    let offered = |import: &&String| {
        let known = match import.strip_prefix("weft:plugin/").and_then(|rest| rest.split_once('@')) {
            Some((interface, version)) => OFFERED.contains(&interface) && same_track(version),
            None => import.starts_with("wasi:"),
        };
        !known
    };
    let unknown: Vec<String> = facts.imports.iter().filter(offered).map(|import| format!("`{import}`")).collect();
    if unknown.is_empty() { Ok(()) } else { Err(Refusal::UnknownImports(unknown)) }
}

fn version_of<'a>(exports: &'a [String], interface: &str) -> Option<&'a str> {
    exports.iter().find_map(|export| {
        let (name, version) = export.strip_prefix("weft:plugin/")?.split_once('@')?;
        (name == interface).then_some(version)
    })
}

/// Whether wasmtime links two versions of an interface: the same major, or below 1.0 the same minor.
fn same_track(version: &str) -> bool {
    let (Ok(version), Ok(spoken)) = (semver::Version::parse(version), semver::Version::parse(CONTRACT)) else { return false };
    version.pre.is_empty()
        && if spoken.major > 0 {
            version.major == spoken.major
        } else {
            version.major == 0 && version.minor == spoken.minor && spoken.minor > 0
        }
}
