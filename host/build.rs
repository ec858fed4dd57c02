//! Embeds the components that `cargo xtask build` left in `target/plugins`. Builds nothing itself: without them the host
//! compiles all the same, and says at its start that it has no plugins. And the SDK with the contract, for `weft plugin new`.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let folder = env::var_os("WEFT_PLUGINS_DIR").map_or_else(|| Path::new("../target/plugins").to_owned(), PathBuf::from);
    println!("cargo:rerun-if-env-changed=WEFT_PLUGINS_DIR");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut plugins: Vec<PathBuf> = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    plugins.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    plugins.sort();
    let mut code = String::from("/// Names and bytes.\npub static PLUGINS: &[(&str, &[u8])] = &[\n");
    for path in plugins {
        let path = path.canonicalize().expect("a file that was just listed");
        println!("cargo:rerun-if-changed={}", path.display());
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        code.push_str(&format!("    ({name:?}, include_bytes!({:?})),\n", path.display()));
    }
    code.push_str("];\n");
    code.push_str(&sources());
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("built_in.rs"), code).expect("OUT_DIR can be written");
}

/// What a plugin in Rust is made of: the SDK, the contract, and the plugin that the SDK's documentation shows.
fn sources() -> String {
    let root = Path::new("..").canonicalize().expect("the repository");
    let mut files = vec![root.join("tests/guests/greet/src/lib.rs")];
    for folder in ["sdk/rust/src", "wit"] {
        println!("cargo:rerun-if-changed=../{folder}");
        let entries = fs::read_dir(root.join(folder)).expect("a folder of the repository");
        files.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    files.sort();
    let mut code = String::from(
        "/// The SDK for Rust and the contract: paths in the repository, and texts.\npub static SOURCES: &[(&str, &str)] = &[\n",
    );
    for path in files {
        println!("cargo:rerun-if-changed={}", path.display());
        let name = path.strip_prefix(&root).expect("below it").to_string_lossy().into_owned();
        code.push_str(&format!("    ({name:?}, include_str!({:?})),\n", path.display()));
    }
    // Outside of the repository's workspace nothing is inherited from it.
    println!("cargo:rerun-if-changed=../sdk/rust/Cargo.toml");
    let mut manifest = fs::read_to_string(root.join("sdk/rust/Cargo.toml")).expect("the SDK's manifest");
    for (key, variable) in [("version", "VERSION"), ("rust-version", "RUST_VERSION"), ("license", "LICENSE")] {
        let value = env::var(format!("CARGO_PKG_{variable}")).expect("cargo sets it");
        manifest = manifest.replace(&format!("\n{key}.workspace = true"), &format!("\n{key} = {value:?}"));
    }
    manifest =
        manifest.replace("edition.workspace = true", "edition = \"2024\"").replace("publish.workspace = true", "publish = false");
    manifest = manifest.replace("[lints]\nworkspace = true\n", "");
    assert!(!manifest.contains("workspace"), "the SDK inherits something else: {manifest}");
    code.push_str(&format!("    (\"sdk/rust/Cargo.toml\", {manifest:?}),\n];\n"));
    code
}
