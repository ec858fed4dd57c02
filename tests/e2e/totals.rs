//! What plugins have taken, and what of their budgets is left, outlives the host that counted it.

use serde_json::{Value, json};

use crate::harness::{Host, eventually, workflow};
use crate::server::Server;

/// The host says of which calls it has kept what they took.
const TELLS: &[(&str, &str)] = &[("WEFT_LOG", "info,weft::admin::totals=debug")];

/// What all versions of the test plugin that are used have taken.
fn used(host: &Host) -> Value {
    host.get("/plugins/acme/lab")["used"].clone()
}

fn calls(host: &Host) -> u64 {
    used(host)["calls"].as_u64().unwrap()
}

/// A run of the workflow `w`, and what became of its step.
fn step(host: &Host) -> Value {
    host.run_once("w", &json!({}))["steps"][0].clone()
}

/// Kills a host once it has kept what so many calls of the test plugin took, and starts another.
fn killed(host: Host, calls: u64) -> Host {
    let said = format!("acme/lab 0.1.0 has taken in {calls} calls");
    eventually("what was taken is kept", || host.log().contains(&said));
    Host::start_in(host.kill(), TELLS)
}

#[test]
fn a_budget_that_is_spent_stays_spent_over_restarts_and_totals_add_up() {
    let server = Server::start();
    server.echo();
    let host = Host::start();
    let lab = host.add_bare_plugin("lab");
    let limited = |requests: u32| json!({"http": [server.address()], "limits": {"http_calls_per_hour": requests}});
    host.set_grants(&lab, &limited(2));
    let config = json!({"url": format!("http://{}/", server.address())});
    host.apply(&workflow("w", &json!({"mode": "async"}), &json!([{"key": "a", "type": "acme/lab/exchange", "config": config}])));
    for _ in 0..2 {
        assert_eq!(step(&host)["status"], "succeeded");
    }
    assert_eq!(step(&host)["failure"]["code"], "over-budget");
    let before = used(&host);
    assert!(before["calls"] == 2 && before["bytes_in"].as_u64() > Some(0), "{before}");

    let host = Host::start_in(host.stop(), TELLS);
    assert_eq!(used(&host), before);
    assert_eq!(step(&host)["failure"]["code"], "over-budget", "the hour goes on");
    host.set_grants(&lab, &limited(3));
    assert_eq!(step(&host)["status"], "succeeded");
    assert_eq!(step(&host)["failure"]["code"], "over-budget", "with what was taken before the restart");
    assert_eq!(calls(&host), 3, "sums go on, too");

    let host = killed(host, 3);
    assert_eq!(calls(&host), 3);
    let spent = step(&host);
    assert_eq!(spent["failure"]["code"], "over-budget", "{spent:#}");
    assert_eq!(server.came().len(), 3);
    // Nothing was taken since: an orderly end finds nothing to keep, and what is there stays.
    let data = host.stop();
    data.expect_whole();
    let host = Host::start_in(data, &[]);
    assert!(calls(&host) == 3 && used(&host)["bytes_in"].as_u64() > before["bytes_in"].as_u64());
}

#[test]
fn a_version_that_is_removed_and_added_again_begins_anew() {
    let host = Host::start();
    let lab = host.add_bare_plugin("lab");
    host.set_grants(&lab, &json!({"kv": true}));
    let steps = json!([{"key": "a", "type": "acme/lab/count", "config": {"counter": "n"}}]);
    host.apply(&workflow("w", &json!({"mode": "async"}), &steps));
    assert_eq!(step(&host)["status"], "succeeded");
    let host = Host::start_in(host.stop(), TELLS);
    assert_eq!(calls(&host), 1);
    host.api("POST", "/workflows/w/pause", b"");
    let gone = host.cli(&["plugin", "remove", "acme/lab@0.1.0", "--inactive"]);
    assert!(gone.status.success(), "{}", String::from_utf8_lossy(&gone.stderr));
    host.add_bare_plugin("lab");
    assert_eq!(calls(&host), 0);
    let host = Host::start_in(host.stop(), TELLS);
    assert_eq!(calls(&host), 0, "nothing was left behind in the store");
    host.set_grants(&lab, &json!({"kv": true}));
    assert_eq!(step(&host)["status"], "succeeded");
    assert_eq!(calls(&killed(host, 1)), 1);
}
