//! Golden cases: files in a folder beside a component, each with what a type is given and what is to come of it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::case::Case;
use crate::limits::{GOLDEN_CASES_MAX, GOLDEN_FILE_BYTES_MAX};
use crate::workflow::read_yaml;

/// A case of a file.
#[derive(Debug)]
pub struct GoldenCase {
    /// The file's name, with the case's own name or number where there are several.
    pub name: String,
    /// The case.
    pub case: Case,
}

/// Why the cases of a folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// The folder or a file cannot be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// A file holds no case.
    #[error("{0}: {1}")]
    Invalid(PathBuf, String),
    /// There are too many.
    #[error("there are more than {GOLDEN_CASES_MAX} golden cases")]
    TooMany,
}

/// Where a component's cases stand when nobody says: `greet-cases` beside `greet.wasm`; `cases` beside it; or, for a component in the `target`
/// folder of a crate, `cases` in the crate.
pub fn cases_beside(component: &Path) -> Option<PathBuf> {
    let folder = component.parent()?;
    let stem = component.file_stem()?.to_string_lossy();
    let crate_folder = component.ancestors().find(|path| path.ends_with("target")).and_then(Path::parent);
    let places =
        [Some(folder.join(format!("{stem}-cases"))), Some(folder.join("cases")), crate_folder.map(|path| path.join("cases"))];
    places.into_iter().flatten().find(|place| place.is_dir())
}

/// Reads every case of a folder, by file name: `.yaml`, `.yml` and `.json`, each with one case or a list of them.
pub fn read_cases(folder: &Path) -> Result<Vec<GoldenCase>, GoldenError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |error| GoldenError::Unreadable(path, error)
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known)) {
            files.push(path);
        }
    }
    files.sort();
    let mut cases = Vec::new();
    for path in files {
        let length = path.metadata().map_err(unreadable(&path))?.len();
        if length > GOLDEN_FILE_BYTES_MAX {
            return Err(GoldenError::Invalid(path, format!("{length} bytes; at most {GOLDEN_FILE_BYTES_MAX}")));
        }
        let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
        let file = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let read = read_file(&text).map_err(|error| GoldenError::Invalid(path, error))?;
        let several = read.len() > 1;
        for (index, case) in read.into_iter().enumerate() {
            let name = match &case.name {
                Some(name) => format!("{file}: {name}"),
                None if several => format!("{file}: {}", index + 1),
                None => file.clone(),
            };
            cases.push(GoldenCase { name, case });
        }
        if cases.len() > GOLDEN_CASES_MAX {
            return Err(GoldenError::TooMany);
        }
    }
    Ok(cases)
}

/// The cases of a document: one, or a list of them.
pub fn cases_in(document: Value) -> Result<Vec<Case>, String> {
    let documents = match document {
        Value::Array(documents) => documents,
        document => vec![document],
    };
    let read = |document| serde_json::from_value::<Case>(document).map_err(|error| format!("no case: {error}"));
    documents.into_iter().map(read).collect()
}

fn read_file(text: &str) -> Result<Vec<Case>, String> {
    let cases = cases_in(read_yaml(text)?)?;
    match cases.iter().find(|case| case.expect.is_empty()) {
        Some(_) => Err("a golden case says in `expect` what is to come of it".into()),
        None => Ok(cases),
    }
}
