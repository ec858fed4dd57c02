//! Webhooks of those who sign them: their own code signs, Weft verifies, and bodies come back byte for byte.

use std::io::Write as _;
use std::process::{Command, Stdio};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::harness::{Answer, Host, eventually, now_ms, repository, workflow};

const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn now_s() -> u64 {
    now_ms() / 1_000
}

/// What the senders' own code makes of these, by `tests/sign.mjs`.
fn signed(asked: &Value) -> Vec<Vec<(String, String)>> {
    let mut node = Command::new("node");
    let mut child = node.arg(repository().join("tests/sign.mjs")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "run `cargo xtask test`, which installs what it needs");
    let all: Vec<serde_json::Map<String, Value>> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |(name, value): (String, Value)| (name, value.as_str().unwrap().to_owned());
    all.into_iter().map(|headers| headers.into_iter().map(text).collect()).collect()
}

/// Slack's SDK only verifies; this gives what Slack's documentation shows as an example.
fn slack(secret: &str, at: u64, body: &str) -> Vec<(String, String)> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("v0:{at}:{body}").as_bytes());
    let signature = format!("v0={}", hex::encode(mac.finalize().into_bytes()));
    vec![("x-slack-request-timestamp".into(), at.to_string()), ("x-slack-signature".into(), signature)]
}

#[test]
fn slacks_own_example_is_signed_so() {
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar\
        &user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2F\
        commands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.\
        803a0bc887a14d10d2c447fce8b6703c";
    let headers = slack("8f742231b10e8888abcd99yyyzzz85a5", 1_531_420_618, body);
    assert_eq!(headers[1].1, "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503");
}

fn payload(name: &str) -> String {
    std::fs::read_to_string(repository().join("tests/payloads").join(name)).unwrap()
}

fn send(host: &Host, path: &str, headers: &[(String, String)], body: &str) -> Answer {
    let mut all = vec![("content-type", "application/json")];
    all.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    host.request("POST", &format!("/hooks/{path}"), &all, body.as_bytes())
}

/// A workflow that echoes what it is sent, and says one field of it in a header.
fn echo(key: &str, signature: &Value, field: &str) -> Value {
    let trigger = json!({"mode": "sync", "raw": "text", "signature": signature});
    let headers = json!({"content-type": "application/json", "x-field": format!("{{{{$context.data.{field}}}}}")});
    let config = json!({"headers": headers, "body": "{{$context.raw}}"});
    workflow(key, &trigger, &json!([{"key": "a", "type": "response", "config": config}]))
}

#[test]
fn bodies_that_their_senders_signed_come_back_byte_for_byte_and_others_are_refused() {
    let host = Host::start();
    let at = now_s();
    let vendors = [
        ("github", "github-push.json", "It is a secret to everybody", "repository.full_name", "Codertocat/Hello-World"),
        ("stripe", "stripe-charge.json", "whsec_test_stripe", "data.object.billing_details.address.city", "Köln"),
        ("slack", "slack-message.json", "8f742231b10e8888abcd99yyyzzz85a5", "event.channel", "C123ABC456"),
        ("shopify", "shopify-order.json", "hush", "line_items.1.sku", "IPOD2008GREEN"),
        ("standard-webhooks", "standard-contact.json", STANDARD_SECRET, "data.last_name", "Núñez"),
    ];
    for (scheme, file, secret, field, value) in vendors {
        let name = format!("of-{scheme}");
        host.set_secret(&name, secret);
        host.apply(&echo(scheme, &json!({"scheme": scheme, "secret": format!("{{{{$secrets.{name}}}}}")}), field));
        let body = payload(file);
        let sign = |at: u64, id: &str, secret: &str| match scheme {
            "slack" => slack(secret, at, &body),
            _ => signed(&json!([{"scheme": scheme, "secret": secret, "body": body, "at": at, "id": id}])).remove(0),
        };
        let good = sign(at, "delivery-1", secret);
        let answer = send(&host, scheme, &good, &body);
        assert_eq!(answer.status, 200, "{scheme}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.body, body.as_bytes(), "{scheme}");
        assert_eq!(String::from_utf8_lossy(answer.headers["x-field"].as_bytes()), value, "{scheme}");

        // One character of the body, another secret, no signature, and each header field changed.
        let refused = |headers: &[(String, String)], body: &str| {
            let answer = send(&host, scheme, headers, body);
            answer.expect_problem(401, "invalid-signature");
        };
        refused(&good, &body.replacen('1', "2", 1));
        let other = if scheme == "standard-webhooks" { "whsec_AAAA9r8GKYqrTwjUPD8ILPZIo2LaLaSw" } else { "another" };
        refused(&sign(at, "delivery-2", other), &body);
        refused(&[], &body);
        for nth in (0..good.len()).filter(|nth| !["x-github-delivery", "x-shopify-webhook-id"].contains(&good[*nth].0.as_str())) {
            let mut tampered = good.clone();
            // The last digit counts in every encoding that is not padded; the first one in those that are.
            let text = &mut tampered[nth].1;
            let place = text.rfind(|c: char| c.is_ascii_alphanumeric() && !"=".contains(c)).unwrap() - 2;
            let instead = if &text[place..=place] == "1" { "2" } else { "1" };
            text.replace_range(place..=place, instead);
            refused(&tampered, &body);
        }
        if !["github", "shopify"].contains(&scheme) {
            for off in [at - 400, at + 400] {
                refused(&sign(off, "delivery-3", secret), &body);
            }
            // The same request again makes no second run: its sender gets the first one's answer.
            let runs = host.get(&format!("/workflows/{scheme}"))["runs_started"].clone();
            let again = send(&host, scheme, &good, &body);
            assert_eq!((again.status, again.body.as_slice()), (200, body.as_bytes()));
            assert_eq!(host.get(&format!("/workflows/{scheme}"))["runs_started"], runs, "{scheme}");
        }
    }
}

#[test]
fn a_secret_is_changed_while_deliveries_come() {
    let host = Host::start();
    host.set_secret("new", STANDARD_SECRET);
    host.set_secret("old", "whsec_AAAA9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let signature = json!({"scheme": "standard-webhooks", "secret": "{{$secrets.new}}", "old_secrets": ["{{$secrets.old}}"]});
    host.apply(&echo("turn", &signature, "type"));
    let body = payload("standard-contact.json");
    let sign =
        |id: &str, secret: &str| json!({"scheme": "standard-webhooks", "secret": secret, "body": body, "at": now_s(), "id": id});
    let old = "whsec_AAAA9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let mut all = signed(&json!([sign("a", STANDARD_SECRET), sign("b", old), sign("c", old), sign("c", STANDARD_SECRET)]));
    for headers in &all[..2] {
        assert_eq!(send(&host, "turn", headers, &body).status, 200);
    }
    // A sender in between signs with both.
    let of_new = all[3].iter().find(|(name, _)| name == "webhook-signature").unwrap().1.clone();
    let both = all[2].iter_mut().find(|(name, _)| name == "webhook-signature").unwrap();
    both.1 = format!("v1a,ignored {} {of_new}", both.1);
    assert_eq!(host.api("DELETE", "/secrets/old?force=true", b"").status, 204);
    assert_eq!(send(&host, "turn", &all[2], &body).status, 200, "{}", host.log());
    let only_old = signed(&json!([sign("d", old)])).remove(0);
    send(&host, "turn", &only_old, &body).expect_problem(401, "invalid-signature");
}

#[test]
fn any_other_hmac_can_be_described() {
    let host = Host::start();
    host.set_secret("own", "s3cr3t-of-own");
    let generic = json!({"header": "X-Own", "encoding": "base64", "prefix": "mac ", "timestamp_header": "X-Own-Time"});
    let signature = json!({"scheme": "generic", "secret": "{{$secrets.own}}", "generic": generic});
    host.apply(&echo("own", &signature, "a"));
    let sign = |at: u64, body: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cr3t-of-own").unwrap();
        mac.update(format!("{at}.{body}").as_bytes());
        let mac = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, mac.finalize().into_bytes());
        vec![("x-own".to_owned(), format!("mac {mac}")), ("x-own-time".to_owned(), at.to_string())]
    };
    assert_eq!(send(&host, "own", &sign(now_s(), r#"{"a":1}"#), r#"{"a":1}"#).status, 200);
    send(&host, "own", &sign(now_s(), r#"{"a":1}"#), r#"{"a":2}"#).expect_problem(401, "invalid-signature");
    send(&host, "own", &sign(now_s() - 301, r#"{"a":3}"#), r#"{"a":3}"#).expect_problem(401, "invalid-signature");

    let lacking = json!({"scheme": "generic", "secret": "{{$secrets.own}}"});
    let answer = host.publish(&echo("lacking", &lacking, "a"));
    answer.expect_problem(422, "invalid-workflow");
    assert_eq!(answer.json()["errors"][0]["pointer"], "/trigger/config/signature/generic");
}

#[test]
fn the_example_of_a_webhook_runs() {
    let host = Host::start();
    host.set_secret("shop", "whsec_new");
    host.set_secret("shop-before", "whsec_old");
    host.apply_example("webhook");
    let body = payload("stripe-charge.json");
    let sign = |at: u64, secret: &str| json!({"scheme": "stripe", "secret": secret, "body": body, "at": at});
    let mut all = signed(&json!([sign(now_s(), "whsec_new"), sign(now_s(), "whsec_old"), sign(now_s() - 1, "whsec_new")]));
    all[0].push(("user-agent".into(), "Stripe/1.0".into()));
    for headers in &all {
        let answer = send(&host, "shop/berlin/orders?channel%5B0%5D%5Bname%5D=web", headers, &body);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.json(), json!({"charge": "ch_3MmlLrLkdIwHu7ix0snN0B15", "brand": "visa"}));
        assert_eq!(
            (&answer.headers["x-shop"], &answer.headers["x-channel"]),
            (&"berlin".parse().unwrap(), &"web".parse().unwrap())
        );
    }
    // Stripe signs anew when it tries again; the event stays the same.
    assert_eq!(host.runs().len(), 1);
    eventually("the run has ended", || host.newest_run()["status"] == "succeeded");
    assert_eq!(host.newest_run()["context"]["user-agent"], "Stripe/1.0");
}
