//! The command line, as people and scripts use it.

use serde_json::{Value, json};

use crate::harness::{Host, repository};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_workflow_from_file_to_run() {
    let host = Host::start();
    let file = repository().join("tests/workflows/github-push.yaml");
    let file = file.to_str().unwrap();
    let refused = host.cli(&["workflow", "apply", file, "--activate"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains("/trigger/config/signature/secret") && said.contains("weft secret set github"), "{said}");
    assert_eq!(host.cli(&["workflow", "check", file]).status.code(), Some(1));

    assert!(host.cli_with(&["secret", "set", "github"], b"It is a secret to everybody").status.success());
    assert_eq!(text(&host.cli(&["workflow", "check", file]).stdout), "no problems\n");
    let applied = host.cli(&["workflow", "apply", file, "--publish", "--activate", "--message", "first"]);
    assert!(applied.status.success(), "{}", text(&applied.stderr));
    assert!(text(&applied.stdout).contains("published as github-push-00001"));
    let again = host.cli(&["workflow", "apply", file, "--activate", "--json"]);
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&again["revision"]["number"], &again["revision"]["is_new"]), (&json!(1), &json!(false)));

    assert!(text(&host.cli(&["workflow", "list"]).stdout).contains("github-push"));
    assert!(text(&host.cli(&["workflow", "show", "github-push"]).stdout).contains("/hooks/github-push"));
    assert!(text(&host.cli(&["workflow", "revisions", "github-push"]).stdout).contains("first"));
    let exported = host.cli(&["workflow", "export", "github-push"]).stdout;
    let again = host.cli_with(&["workflow", "apply", "-", "--publish"], &exported);
    assert!(
        text(&again.stdout).contains("unchanged since github-push-00001"),
        "an export is what was applied: {}",
        text(&again.stdout)
    );
    assert!(text(&host.cli(&["workflow", "pause", "github-push"]).stdout).contains("paused"));
    assert!(text(&host.cli(&["workflow", "restore", "github-push", "1"]).stdout).contains("active"));
    assert!(text(&host.cli(&["run", "list"]).stdout).contains("no runs"));
    for verb in [["workflow", "list"], ["run", "list"], ["plugin", "list"], ["secret", "list"]] {
        let printed = host.cli(&[&verb[..], &["--json"]].concat()).stdout;
        assert!(serde_json::from_slice::<Value>(&printed).unwrap()["items"].is_array(), "{verb:?}");
    }
}

#[test]
fn exit_codes_say_what_kind_of_failure() {
    let host = Host::start();
    let code = |arguments: &[&str]| host.cli(arguments).status.code();
    assert_eq!(code(&["workflow", "list"]), Some(0));
    assert_eq!(code(&["workflow", "show", "none"]), Some(4));
    assert_eq!(code(&["run", "show", "none"]), Some(4));
    assert_eq!(code(&["plugin", "inspect", "a/b"]), Some(4));
    assert_eq!(code(&["workflow"]), Some(2));
    assert_eq!(code(&["workflow", "apply", "/no/such/file"]), Some(2));
    assert_eq!(code(&["workflow", "list", "--url", "ftp://x"]), Some(2));
    assert_eq!(code(&["workflow", "list", "--url", "http://127.0.0.1:1"]), Some(3));
    assert_eq!(code(&["workflow", "list", "--token", "wrong"]), Some(1));
    let said = text(&host.cli(&["workflow", "list", "--url", "http://127.0.0.1:1"]).stderr);
    assert!(said.contains("weft serve"), "{said}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(text(&host.cli(&["completions", shell]).stdout).contains("weft"));
    }
}

#[test]
fn two_hosts_do_not_share_a_folder() {
    let host = Host::start();
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_weft"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(host.data.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("one data folder serves one host"), "{}", text(&second.stderr));
    assert_eq!(host.request("GET", "/readyz", &[], b"").status, 200);
}
