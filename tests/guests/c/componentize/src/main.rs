//! Between clang and the component model: `componentize bind` writes C bindings for a world, `componentize join` makes a component
//! of the core module that clang linked. What `wit-bindgen c` and `wasm-tools component new` do, in a tenth of their compile time.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER;
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;
use wit_component::ComponentEncoder;

const HELP: &str = "componentize bind WIT-FOLDER WORLD-FILE OUT-FOLDER | componentize join CORE-MODULE COMPONENT";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["bind", wit, world, out] => bind(wit.as_ref(), world.as_ref(), out.as_ref()),
        ["join", module, component] => join(module.as_ref(), component.as_ref()),
        _ => bail!("{HELP}"),
    }
}

/// Writes bindings for the one world of a file, which may use the packages of a folder.
fn bind(wit: &Path, world: &Path, out: &Path) -> Result<()> {
    let mut resolve = Resolve::default();
    resolve.push_dir(wit).with_context(|| wit.display().to_string())?;
    let package = resolve.push_file(world).with_context(|| world.display().to_string())?;
    let world = resolve.select_world(&[package], None)?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default().build().generate(&mut resolve, world, &mut files)?;
    fs::create_dir_all(out)?;
    for (name, bytes) in files.iter() {
        fs::write(out.join(name), bytes)?;
    }
    Ok(())
}

/// Makes a component. What clang's C library asks of WASI 0.1 is answered by way of WASI 0.2.
fn join(module: &Path, component: &Path) -> Result<()> {
    let module = fs::read(module).with_context(|| module.display().to_string())?;
    let bytes =
        ComponentEncoder::default().module(&module)?.adapter("wasi_snapshot_preview1", ADAPTER)?.validate(true).encode()?;
    fs::write(component, bytes).with_context(|| component.display().to_string())
}
