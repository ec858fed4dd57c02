//! Every file in `tests/workflows` can be published: each is the example of a type, and none rots.

use crate::harness::{Host, repository};

/// What examples that are in no state to be published as they stand need first.
fn prepare(host: &Host, text: &str) {
    for part in text.split("{{$secrets.").skip(1) {
        let name = part.split(['}', '.']).next().unwrap();
        host.set_secret(name, "a-secret-of-an-example");
    }
}

#[test]
fn every_example_can_be_published_and_says_what_it_shows() {
    let host = Host::start();
    let mut files: Vec<_> =
        std::fs::read_dir(repository().join("tests/workflows")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 5, "{files:?}");
    for file in &files {
        let (name, text) = (file.file_stem().unwrap().to_str().unwrap(), std::fs::read_to_string(file).unwrap());
        assert!(text.starts_with("# "), "{name}: the first line says what it shows");
        prepare(&host, &text);
        let said = host.cli(&["workflow", "apply", file.to_str().unwrap(), "--publish"]);
        assert!(
            said.status.success(),
            "{name}: {}{}",
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr)
        );
    }
}
