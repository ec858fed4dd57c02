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
fn a_run_that_is_waited_for_ends_the_command_as_it_ends() {
    let host = Host::start();
    let start = |status: &str| {
        let file = host.data.path().join("ends.yaml");
        let steps = json!([{"key": "end", "type": "end", "config": {"status": status}}]);
        let definition = json!({"weft": 1, "key": "ends", "trigger": {"type": "manual-start"}, "steps": steps});
        std::fs::write(&file, definition.to_string()).unwrap();
        assert!(host.cli(&["workflow", "apply", file.to_str().unwrap(), "--publish"]).status.success());
        host.cli(&["run", "start", "ends", "--wait", "--json"])
    };
    let failed = start("failed");
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains("the run ended: failed"), "{}", text(&failed.stderr));
    let run: Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!(host.cli(&["run", "watch", run["id"].as_str().unwrap()]).status.code(), Some(1));
    let succeeded = start("succeeded");
    assert_eq!(succeeded.status.code(), Some(0));
    let run: Value = serde_json::from_slice(&succeeded.stdout).unwrap();
    let watched = host.cli(&["run", "watch", run["id"].as_str().unwrap(), "--json"]);
    assert_eq!(watched.status.code(), Some(0));
    let events: Vec<Value> = text(&watched.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.last().unwrap(), &json!({"event": "end", "data": {"status": "succeeded"}}), "a line each");
}

#[test]
fn what_is_wrong_on_the_command_line_is_said_with_what_to_do() {
    let host = Host::start();
    let said = |arguments: &[&str], code: i32| {
        let output = host.cli(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stderr)
    };
    let list = said(&["run", "list", "--status", "waiting"], 1);
    assert!(list.contains("a run is one of queued, running, succeeded, failed, error, aborted, canceled, rejected"), "{list}");
    let file = host.data.path().join("a.yaml");
    let file = file.to_str().unwrap();
    let write = |config: &str, path: &str| {
        let trigger = format!("{{type: webhook, config: {{mode: async, path: {path}}}}}");
        let step = format!("{{key: send, type: request, config: {{url: 'https://api.example/x', {config}}}}}");
        std::fs::write(file, format!("{{weft: 1, key: {path}-hook, trigger: {trigger}, steps: [{step}]}}")).unwrap();
    };
    write("body: {a: 1}", "one");
    let checked = said(&["workflow", "check", file], 1);
    assert!(checked.contains("/body: give one of `json`, `form`"), "{checked}");
    write("headers: [{name: x, value: '{{$context.a'}]", "one");
    let checked = said(&["workflow", "check", file], 1);
    assert!(checked.contains("a variable begins with `{{` and does not end"), "{checked}");
    write("method: POST", "one");
    assert!(said(&["workflow", "apply", file, "-m", "why"], 2).contains("--publish"));
    said(&["workflow", "apply", file, "--activate"], 0);
    let definition = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, definition.replace("one-hook", "other")).unwrap();
    let taken = said(&["workflow", "apply", file, "--activate"], 5);
    assert!(taken.contains("the active workflow `one-hook` listens at `/hooks/one`"), "{taken}");

    let without = |data: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weft"));
        command.args(["run", "list", "--url", &host.url]).env_remove("WEFT_TOKEN").env("WEFT_DATA", data);
        text(&command.output().unwrap().stderr)
    };
    let lost = without("/no/such/folder");
    assert!(lost.contains("/no/such/folder/admin-token: No such file"), "{lost}");
    for (option, value) in [("--public-url", "nope"), ("--compile-seconds", "0")] {
        assert!(said(&["serve", "--data", "/no/such/folder", option, value], 2).contains(option), "{option}");
    }
}

#[test]
fn words_of_a_definition_stay_words() {
    let host = Host::start();
    let file = host.data.path().join("words.yaml");
    let text = "{weft: 1, key: words, trigger: {type: manual-start}, steps: [{key: a, type: output, config: {value: [NO, y, on, true]}}]}";
    std::fs::write(&file, text).unwrap();
    assert!(host.cli(&["workflow", "apply", file.to_str().unwrap(), "--publish"]).status.success());
    assert_eq!(host.run_once("words", &json!({}))["output"], json!(["NO", "y", "on", true]));
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
