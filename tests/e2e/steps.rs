//! Single steps of a draft: what they can name, and what they do with given data; and the variables of a host.

use serde_json::{Value, json};

use crate::harness::{Data, Host, workflow};

fn items(page: &Value) -> Vec<String> {
    let line = |item: &Value| {
        format!("{} {} {}", item["source"].as_str().unwrap(), item["variable"].as_str().unwrap(), item["type"].as_str().unwrap())
    };
    page["items"].as_array().unwrap().iter().map(line).collect()
}

fn draft(host: &Host, definition: &Value) {
    let key = definition["key"].as_str().unwrap();
    let saved = host.api("PUT", &format!("/workflows/{key}/draft"), definition.to_string().as_bytes());
    assert!(saved.status < 300, "{saved:?}");
}

fn test(host: &Host, step: &str, body: &Value) -> Value {
    let answer = host.api("POST", &format!("/workflows/w/steps/{step}/test"), body.to_string().as_bytes());
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

#[test]
fn a_step_names_what_is_before_and_around_it() {
    let host = Host::start();
    host.set_secret("key", "s");
    assert!(host.cli(&["env", "set", "REGION", "eu"]).status.success());
    let steps = json!([
        {"key": "total", "type": "data", "title": "The total", "config": {"fields": {"price": "{{$context.data.price}}", "n": 1}}},
        {"key": "big", "type": "condition", "config": {"left": 1, "operator": "gt", "right": 0}, "branches": {
            "yes": [{"key": "inner", "type": "data", "config": {"fields": {"x": 1}}}],
            "no": [{"key": "other", "type": "data", "config": {"fields": {"y": 1}}}],
            "on_failure": [{"key": "sorry", "type": "data", "config": {"fields": {}}}],
        }},
        {"key": "last", "type": "data", "config": {"fields": {}}},
    ]);
    draft(&host, &workflow("w", &json!({"mode": "sync"}), &steps));
    let seen = |step: &str| items(&host.get(&format!("/workflows/w/steps/{step}/variables")));
    let first = seen("total");
    assert!(first.contains(&"context $context.method string".to_owned()), "{first:?}");
    assert!(first.contains(&"env $env.REGION string".to_owned()) && first.contains(&"secret $secrets.key string".to_owned()));
    assert!(first.contains(&"system $system.dateRange.thisWeek list of string".to_owned()));
    assert!(!first.iter().any(|line| line.starts_with("step ")), "{first:?}");
    let inner = seen("inner");
    assert!(inner.contains(&"step $steps.total.result.price anything".to_owned()), "{inner:?}");
    assert!(inner.contains(&"scope $scopes.big anything".to_owned()), "{inner:?}");
    assert!(!inner.iter().any(|line| line.contains("$steps.big") || line.contains("$steps.other")), "{inner:?}");
    assert!(seen("sorry").contains(&"scope $scopes.big.failure.code string".to_owned()));
    let last = seen("last");
    for step in ["total", "big", "inner", "other", "sorry"] {
        assert!(last.iter().any(|line| line.starts_with(&format!("step $steps.{step}.result "))), "{step}: {last:?}");
    }
    assert!(!last.iter().any(|line| line.starts_with("scope ")), "{last:?}");
    // What is listed can be published.
    let named: Vec<String> = last
        .iter()
        .filter(|line| !line.starts_with("secret"))
        .map(|line| format!("{{{{{}}}}}", line.split(' ').nth(1).unwrap()))
        .collect();
    let mut whole = workflow("w", &json!({"mode": "sync"}), &steps);
    whole["steps"][2]["config"]["fields"] = json!({ "all": named });
    let checked = host.api("POST", "/workflows/w/check", whole.to_string().as_bytes()).json();
    assert_eq!(checked, json!({"problems": []}));
    host.api("GET", "/workflows/w/steps/none/variables", b"").expect_problem(404, "not-found");
    let listed = host.cli(&["step", "variables", "w", "inner"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("{{$steps.total.result.price}}"), "{listed:?}");
}

#[test]
fn a_step_names_what_the_trigger_s_config_names() {
    let host = Host::start();
    let variables = json!({
        "headers": ["User-Agent"],
        "query": [{"path": "channel[0].name"}],
        "body": [{"path": "order.id", "alias": "order"}],
    });
    let steps = json!([{"key": "last", "type": "data", "config": {"fields": {}}}]);
    draft(&host, &workflow("w", &json!({"mode": "sync", "variables": variables}), &steps));
    let seen = items(&host.get("/workflows/w/steps/last/variables"));
    let own = ["$context.user-agent", "$context.channel_0_name", "$context.order"];
    for name in own {
        assert!(seen.contains(&format!("context {name} anything")), "{name}: {seen:?}");
    }
    // By these names they are there.
    let named = own.map(|name| format!("{{{{{name}}}}}"));
    let steps = json!([{"key": "last", "type": "response", "config": {"body": named}}]);
    host.apply(&workflow("w", &json!({"mode": "sync", "variables": variables}), &steps));
    let headers = [("content-type", "application/json"), ("user-agent", "me")];
    let answer = host.request("POST", "/hooks/w?channel[0][name]=web", &headers, br#"{"order": {"id": 7}}"#);
    assert_eq!(answer.json(), json!(["me", "web", 7]));

    let parameters = json!([
        {"name": "sku", "type": "string", "description": "What is ordered.", "required": true},
        {"name": "lines", "type": "array"},
        {"name": "any", "title": "Anything"},
    ]);
    for (kind, config) in [
        ("function", json!({"mode": "sync", "parameters": parameters})),
        ("job", json!({"parameters": parameters})),
        ("manual-start", json!({"parameters": parameters})),
    ] {
        let steps = json!([{"key": "last", "type": "data", "config": {"fields": {}}}]);
        draft(&host, &json!({"weft": 1, "key": kind, "trigger": {"type": kind, "config": config}, "steps": steps}));
        let page = host.get(&format!("/workflows/{kind}/steps/last/variables"));
        let seen = items(&page);
        for line in ["context $context.sku string", "context $context.lines list", "context $context.any anything"] {
            assert!(seen.iter().any(|seen| seen == line), "{kind}: {line}: {seen:?}");
        }
        assert!(page.to_string().contains("What is ordered."), "{page:#}");
    }
}

#[test]
fn one_step_is_tested_with_given_data() {
    let host = Host::start();
    let fields = json!({"a": "{{$context.data.n}}", "b": "{{$steps.before.result.items.price}}", "c": "<{{$scopes.big.item}}{{$steps.before.result.none:-}}>"});
    let steps = json!([
        {"key": "before", "type": "data", "config": {"fields": {"items": [{"price": 1}]}}},
        {"key": "big", "type": "condition", "config": {"left": "{{$context.data.n}}", "operator": "gt", "right": 10}, "branches": {
            "yes": [{"key": "put", "type": "data", "config": {"fields": fields}}], "no": [],
        }},
    ]);
    draft(&host, &workflow("w", &json!({"mode": "sync"}), &steps));
    let given = json!({
        "context": {"data": {"n": 7}}, "steps": {"before": {"items": [{"price": 3}, {"price": 4}]}}, "scopes": {"big": {"item": "x"}},
    });
    let run = test(&host, "put", &given);
    assert_eq!((&run["status"], &run["is_draft"], &run["is_manual"]), (&json!("succeeded"), &json!(true), &json!(true)), "{run}");
    assert_eq!(run["steps"][0]["output"], json!({"a": 7, "b": [3, 4], "c": "<x->"}));
    // A step with branches says which way it goes, and goes it alone.
    let run = test(&host, "big", &json!({"context": {"data": {"n": 11}}}));
    assert_eq!((&run["steps"][0]["output"], run["steps"].as_array().unwrap().len()), (&json!(true), 1), "{run}");
    // Data of an earlier run, another config, and what is wrong with one.
    let earlier =
        host.api("POST", "/workflows/w/runs", br#"{"draft": true, "context": {"data": {"n": 50}}, "wait_ms": 10000}"#).json();
    assert_eq!(earlier["status"], "succeeded", "{earlier}");
    let run = test(&host, "put", &json!({"run": earlier["id"]}));
    assert_eq!(run["steps"][0]["output"], json!({"a": 50, "b": [1], "c": "<->"}));
    let run = test(&host, "put", &json!({"config": {"fields": {"z": "{{$context}}"}}, "context": 5}));
    assert_eq!(run["steps"][0]["output"], json!({"z": 5}));
    let refused = host.api("POST", "/workflows/w/steps/put/test", br#"{"config": {"fields": 5}}"#);
    refused.expect_problem(422, "invalid-workflow");
    host.api("POST", "/workflows/w/steps/put/test", br#"{"nothing": 5}"#).expect_problem(400, "invalid-request");
    let shown = host.cli(&["step", "test", "w", "big", "--context", "{data: {n: 3}}"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("succeeded"), "{shown:?}");
}

#[test]
fn variables_of_the_host_are_seen_by_runs_and_audited() {
    let host = Host::start_in(Data::compiled(), &[("WEFT_TIME_ZONE", "America/New_York")]);
    let fields = json!({
        "region": "{{$env.REGION}}", "none": "{{$env.NONE:eu}}", "today": "{{$system.dateRange.today}}",
        "ids": ["{{$system.genSnowflakeId}}", "{{$system.genSnowflakeId}}"], "host": "{{$system.instanceId}}",
    });
    let definition =
        workflow("w", &json!({"mode": "sync"}), &json!([{"key": "s", "type": "data", "config": {"fields": fields}}]));
    let refused = host.api("POST", "/workflows/w/check", definition.to_string().as_bytes()).json();
    assert!(refused["problems"][0]["message"].as_str().unwrap().contains("weft env set REGION"), "{refused}");
    assert_eq!(refused["problems"].as_array().unwrap().len(), 1, "one with a default may be missing: {refused}");
    assert!(host.cli(&["env", "set", "REGION", "eu-1"]).status.success());
    host.apply(&definition);
    let output = |run: &Value| run["steps"][0]["output"].clone();
    let run = output(&host.run_once("w", &json!(null)));
    assert_eq!((&run["region"], &run["none"], &run["host"]), (&json!("eu-1"), &json!("eu"), &json!(0)));
    let ids: Vec<u64> = run["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().parse().unwrap()).collect();
    assert!(ids[0] < ids[1], "{ids:?}");
    let midnight = run["today"][0].as_str().unwrap();
    assert!(midnight.ends_with("T05:00:00.000Z") || midnight.ends_with("T04:00:00.000Z"), "midnight in New York: {midnight}");
    assert!(host.cli(&["env", "set", "REGION", "us-2"]).status.success());
    let data = host.stop();
    let host = Host::start_in(data, &[]);
    assert_eq!(output(&host.run_once("w", &json!(null)))["region"], "us-2");
    host.api("PUT", "/env/9x", br#"{"value": ""}"#).expect_problem(400, "invalid-request");
    // With a default it may go; without one somebody has to insist.
    assert!(host.cli(&["env", "set", "NONE", "x"]).status.success());
    assert!(host.cli(&["env", "remove", "NONE"]).status.success());
    host.api("DELETE", "/env/REGION", b"").expect_problem(409, "variable-in-use");
    let refused = host.cli(&["env", "remove", "REGION"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("w-00001 at /steps/0/config/fields/region") && said.contains("--force"), "{said}");
    assert!(host.cli(&["env", "remove", "REGION", "--force"]).status.success());
    host.api("DELETE", "/env/REGION", b"").expect_problem(404, "not-found");
    assert_eq!(output(&host.run_once("w", &json!(null)))["region"], json!(null));
    let audit = host.get("/audit");
    let what: Vec<&str> = audit["items"].as_array().unwrap().iter().filter_map(|entry| entry["what"].as_str()).collect();
    assert_eq!(what.iter().filter(|what| what.starts_with("environment-")).count(), 5, "{what:?}");
}
