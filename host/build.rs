//! Embeds the components that `cargo xtask build` left in `target/plugins`. Builds nothing itself: without them the host
//! compiles all the same, and says at its start that it has no plugins.

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
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("built_in.rs"), code).expect("OUT_DIR can be written");
}
