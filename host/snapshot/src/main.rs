//! `weft-snapshot IN OUT [LIBRARY…]`: initialises a component when it is built.
//!
//! A component that exports `initialize-snapshot` (see `plugins/js`) is instantiated, that function is called with the libraries' code, and what its memory
//! is then becomes the memory that every instance begins with. The export is left out of the result. Nothing is there for the function but a clock that
//! stands still: it can take neither time nor randomness into the snapshot.

mod component;
mod export;

use std::path::Path;
use std::process::ExitCode;

use wasmtime::Result;
use wasmtime::error::Context as _;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match &arguments[..] {
        [input, output, libraries @ ..] => snapshot(input.as_ref(), output.as_ref(), libraries),
        _ => {
            eprintln!("weft-snapshot IN OUT [LIBRARY…]");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weft-snapshot: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn snapshot(input: &Path, output: &Path, libraries: &[String]) -> Result<()> {
    let wasm = std::fs::read(input).with_context(|| input.display().to_string())?;
    let read = |path: &String| std::fs::read_to_string(path).with_context(|| path.clone());
    let libraries = libraries.iter().map(read).collect::<Result<Vec<String>>>()?;
    let initialised = component::initialise(&wasm, libraries)?;
    let without = export::remove(&initialised, component::COMPILE)?;
    let result = export::remove(&without, component::INITIALISE)?;
    std::fs::write(output, result).with_context(|| output.display().to_string())
}
