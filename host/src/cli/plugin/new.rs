//! `weft plugin new`: a folder with a plugin that builds, passes its check, and needs nothing but this program and its language's tools.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::super::Failure;
use crate::built_in::SOURCES;
use crate::workflow::Key;

/// What to make.
#[derive(Args)]
pub(in crate::cli) struct New {
    /// The plugin's name, `vendor/name`.
    name: String,
    /// The language to write it in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// Where to; by default a new folder of the plugin's name.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Language {
    /// With the SDK, which comes along.
    Rust,
    /// JavaScript, against the contract.
    Js,
}

/// A path and what stands there.
type File = (&'static str, &'static str);

const RUST: [File; 4] = [
    ("Cargo.toml", include_str!("../../../templates/rust/Cargo.toml.in")),
    ("README.md", include_str!("../../../templates/rust/README.md.in")),
    ("src/lib.rs", include_str!("../../../templates/rust/lib.rs.in")),
    (".gitignore", "/target\n"),
];

const JS: [File; 6] = [
    ("package.json", include_str!("../../../templates/js/package.json.in")),
    ("README.md", include_str!("../../../templates/js/README.md.in")),
    ("build.mjs", include_str!("../../../templates/js/build.mjs")),
    ("plugin.js", include_str!("../../../templates/js/plugin.js.in")),
    ("wit/world.wit", include_str!("../../../templates/js/world.wit.in")),
    (".gitignore", "/node_modules\n/build\n*.wasm\n"),
];

/// The same node in every language, so the same cases.
const CASES: File = ("cases/greet.yaml", include_str!("../../../templates/cases.yaml"));

/// Makes the folder. Nothing that is there is overwritten.
pub(super) fn new(arguments: &New) -> Result<(), Failure> {
    let names =
        arguments.name.split_once('/').and_then(|(vendor, name)| Some((vendor.parse::<Key>().ok()?, name.parse::<Key>().ok()?)));
    let Some((vendor, name)) = names else {
        let what =
            format!("`{}` is no name of a plugin: write vendor/name, in lower-case letters, digits and hyphens", arguments.name);
        return Err(Failure::Usage(what));
    };
    if vendor.as_str() == crate::plugin::BUILT_IN_VENDOR {
        return Err(Failure::Usage(format!("the vendor `{vendor}` is reserved for built-in plugins: choose your own")));
    }
    if name.as_str().starts_with(|first: char| first.is_ascii_digit()) {
        return Err(Failure::Usage(format!("`{name}` begins with a digit, which no crate's name does")));
    }
    let folder = arguments.dir.clone().unwrap_or_else(|| PathBuf::from(name.as_str()));
    if std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::Conflict(format!("{} is there and not empty: choose another folder with --dir", folder.display())));
    }
    let filled = |text: &str| {
        let title = name.as_str().replace('-', " ");
        let title = format!("{}{}", title[..1].to_uppercase(), &title[1..]);
        let values =
            [("vendor", vendor.as_str()), ("name", name.as_str()), ("file", &name.as_str().replace('-', "_")), ("title", &title)];
        values.iter().fold(text.to_owned(), |text, (key, value)| text.replace(&format!("{{{{{key}}}}}"), value))
    };
    let (files, sources) = match arguments.lang {
        Language::Rust => {
            (&RUST[..], SOURCES.iter().map(|(path, text)| (format!("vendor/weft/{path}"), *text)).collect::<Vec<_>>())
        }
        Language::Js => {
            let contract = SOURCES.iter().filter_map(|(path, text)| Some((path.strip_prefix("wit/")?, *text)));
            let wit = contract.filter(|(file, _)| file.ends_with(".wit"));
            (&JS[..], wit.map(|(file, text)| (format!("wit/deps/weft-plugin/{file}"), text)).collect())
        }
    };
    for (path, text) in files.iter().chain([&CASES]) {
        write(&folder.join(path), &filled(text))?;
    }
    for (path, text) in &sources {
        write(&folder.join(path), text)?;
    }
    println!("{} is a plugin with one node; its README.md says how to build it", folder.display());
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(path);
    let failed = |error: std::io::Error| Failure::Refused(format!("{}: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    std::fs::write(path, text).map_err(failed)
}
