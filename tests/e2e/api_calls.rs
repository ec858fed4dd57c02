//! Calls of other systems: who may call, with what, and what they get.

use serde_json::{Value, json};

use crate::harness::{Answer, Host};

fn call(host: &Host, path: &str, token: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json"), ("authorization", token)];
    host.request("POST", &format!("/hooks/{path}"), &headers, body.to_string().as_bytes())
}

#[test]
fn the_example_of_an_api_call_checks_what_comes_and_answers() {
    let host = Host::start();
    host.set_secret("quote-token", "t0ken-t0ken");
    host.apply_example("api-call");
    let good = json!({"sku": "a", "quantity": 2});
    let answer = call(&host, "quotes/ann?currency=EUR", "Bearer t0ken-t0ken", &good);
    assert_eq!((answer.status, answer.json()), (200, json!({"customer": "ann", "currency": "EUR", "quantity": 2})));

    call(&host, "quotes/ann?currency=EUR", "Bearer other", &good).expect_problem(401, "unauthorized");
    host.request("GET", "/hooks/quotes/ann?currency=EUR", &[], b"").expect_problem(405, "method-not-allowed");
    let answer = call(&host, "quotes/ANN?currency=GBP", "Bearer t0ken-t0ken", &json!({"quantity": 0, "more": 1}));
    answer.expect_problem(400, "invalid-input");
    let document = answer.json();
    let mut pointers: Vec<&str> = document["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/body/more", "/body/quantity", "/body/sku", "/params/customer", "/query/currency"], "{document:#}");

    let answer = call(&host, "quotes/ann?currency=EUR", "Bearer t0ken-t0ken", &json!({"sku": "gone", "quantity": 2}));
    answer.expect_problem(422, "run-failed");
    let run = host.newest_run();
    assert_eq!((&answer.json()["run"], &answer.json()["failure"]), (&run["id"], &json!("condition-false")));
    assert_eq!(host.runs().len(), 2, "what is refused starts nothing");
}

#[test]
fn a_call_gets_the_runs_output_and_its_messages() {
    let host = Host::with_lab();
    let definition = |authentication: &Value, steps: &Value| json!({"weft": 1, "key": "call", "trigger": {"type": "api-call", "config": {"authentication": authentication}}, "steps": steps});
    let steps = json!([{"key": "a", "type": "response-message", "config": {"message": "Well done, {{$context.data.name}}."}}]);
    host.apply(&definition(&json!("none"), &steps));
    assert_eq!(host.hook("call", br#"{"name": "Ann"}"#).json(), json!({"messages": ["Well done, Ann."]}));

    // Who may call is always said.
    let mut open = definition(&json!("none"), &json!([]));
    open["trigger"]["config"] = json!({});
    for (definition, pointer) in [
        (open, "/trigger/config"),
        (definition(&json!("somebody"), &json!([])), "/trigger/config/authentication"),
        (
            json!({"weft": 1, "key": "call", "trigger": {"type": "api-call", "config":
                {"authentication": "none", "input": {"body": {"type": "text"}}}}}),
            "/trigger/config/input/body/type",
        ),
    ] {
        let answer = host.publish(&definition);
        answer.expect_problem(422, "invalid-workflow");
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{:#}", answer.json());
    }
}
