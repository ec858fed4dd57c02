//! What a plugin may do and take is what an operator grants, on every path.

use serde_json::{Value, json};

use crate::harness::{Host, workflow};
use crate::server::Server;

const CANARY: &str = "canary\"&-8d1f22c0b7";

/// A server that sends back what it is sent.
fn echo() -> Server {
    let server = Server::start();
    server.echo();
    server
}

/// Everything that a server was sent.
fn sent_to(server: &Server) -> String {
    server.came().iter().map(|came| format!("{}\n{}\n", came.head, came.body)).collect()
}

/// A workflow of one step, and what became of the step.
#[track_caller]
fn step(host: &Host, kind: &str, config: &Value) -> Value {
    let steps = json!([{"key": "a", "type": kind, "config": config}]);
    host.apply(&workflow("one", &json!({"mode": "async"}), &steps));
    host.run_once("one", &json!({}))["steps"][0].clone()
}

#[test]
fn grants_narrow_and_the_command_line_adds_to_them() {
    let (host, server) = (Host::start(), echo());
    host.set_secret("one", "s3cret-s3cret");
    host.apply(&workflow("other", &json!({"mode": "async"}), &json!([])));
    let (lab, probe) = (host.add_bare_plugin("lab"), host.add_bare_plugin("probe"));
    // Each stands beside what was meant: another workflow, method, port, use and secret.
    let others = json!({"workflows": ["another"], "http": [format!("POST {}", server.address()), "127.0.0.1"],
        "secrets": ["sign,send one", "verify two"]});
    for plugin in [&lab, &probe] {
        host.set_grants(plugin, &others);
    }
    for (kind, config) in [
        ("acme/lab/launch", json!({"workflow": "other"})),
        ("acme/lab/exchange", json!({"url": format!("http://{}/", server.address())})),
        ("acme/probe/verify", json!({"token": "{{$secrets.one}}", "candidate": "x"})),
    ] {
        let step = step(&host, kind, &config);
        assert_eq!(step["failure"]["code"], "denied", "{kind}: {step:#}");
        let said = step["failure"]["message"].as_str().unwrap();
        assert!(said.contains("weft plugin grant NAME --add --"), "{said}");
    }
    assert_eq!(server.came().len(), 0, "what is denied reaches nobody");
    host.api("PUT", "/plugins/acme/lab/grants", br#"{"secrets": ["read one"]}"#).expect_problem(400, "invalid-request");
    host.set_grants(&lab, &json!({"kv": true}));
    let added = host.cli(&["plugin", "grant", &lab, "--add", "--workflow", "other", "--limit", "memory_mib=8", "--json"]);
    let added: Value = serde_json::from_slice(&added.stdout).unwrap();
    assert_eq!(added, json!({"workflows": ["other"], "kv": true, "limits": {"memory_mib": 8}}));
}

#[test]
fn a_secret_is_sent_where_it_may_and_never_comes_back() {
    let (host, server) = (Host::start(), echo());
    let lab = host.add_bare_plugin("lab");
    host.set_secret("api", CANARY);
    let url = format!("http://{}/x", server.address());
    let config = json!({"url": url, "method": "POST", "headers": {"authorization": "Bearer {{$secrets.api}}",
        "content-type": "application/json"}, "body": "{\"key\": \"{{$secrets.api}}\"}"});
    let denied = |part: &str| {
        let step = step(&host, "acme/lab/exchange", &config);
        assert_eq!(step["failure"]["code"], "denied", "{step:#}");
        assert!(step["failure"]["message"].as_str().unwrap().contains(part), "{step:#}");
    };
    host.set_grants(&lab, &json!({"http": [server.address()]}));
    denied("send with the secret `api`");
    host.set_grants(&lab, &json!({"http": [server.address()], "secrets": ["send api"]}));
    denied("weft secret allow api");
    let allowed = host.cli(&["secret", "allow", "api", "127.0.0.1:1", "example.org"]);
    assert!(allowed.status.success(), "{}", String::from_utf8_lossy(&allowed.stderr));
    denied("weft secret allow api");
    assert!(host.cli(&["secret", "allow", "api", server.address()]).status.success());
    assert!(server.came().is_empty());

    let sent = step(&host, "acme/lab/exchange", &config);
    assert_eq!(sent["status"], "succeeded", "{sent:#}");
    let seen = sent_to(&server);
    let quoted = serde_json::to_string(CANARY).unwrap();
    assert!(seen.contains(&format!("Bearer {CANARY}")) && seen.contains(&format!("{{\"key\": {quoted}}}")), "{seen}");
    let back = sent["output"]["body"].as_str().unwrap();
    assert!(back.contains("Bearer [secret api]") && back.contains("{\"key\": \"[secret api]\"}"), "{back}");
    assert!(sent["used"]["http_calls"] == 1 && sent["used"]["bytes_out"].as_u64() > Some(50), "{sent:#}");

    // As a password in the URL, and in a form; not elsewhere in a URL.
    let address = server.address();
    let basic = step(&host, "acme/lab/exchange", &json!({"url": format!("http://me:{{{{$secrets.api}}}}@{address}/")}));
    let pair = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("me:{CANARY}"));
    assert!(sent_to(&server).contains(&format!("Basic {pair}")), "{basic:#}");
    assert!(basic["output"]["body"].as_str().unwrap().contains("Basic [secret api]"), "{basic:#}");
    step(
        &host,
        "acme/lab/exchange",
        &json!({"url": url, "method": "POST", "body": "k={{$secrets.api}}",
        "headers": {"content-type": "application/x-www-form-urlencoded"}}),
    );
    assert!(sent_to(&server).contains("k=canary%22%26-8d1f22c0b7"));
    let in_url = step(&host, "acme/lab/exchange", &json!({"url": format!("{url}?k={{{{$secrets.api}}}}")}));
    assert_eq!(in_url["failure"]["code"], "denied");

    let mut said = sent.to_string() + &basic.to_string() + &host.get("/secrets").to_string() + &host.log();
    // The place that it may be sent to stays when it is set anew, and over a restart.
    host.set_secret("api", CANARY);
    let host = Host::start_in(host.stop(), &[]);
    assert_eq!(step(&host, "acme/lab/exchange", &config)["status"], "succeeded");
    said += &String::from_utf8_lossy(&host.stop().bytes());
    for form in [CANARY, "canary\\\"&-8d", "canary%22%26-8d", &pair] {
        assert!(!said.contains(form), "{form}");
    }
}

#[test]
fn a_redirect_is_checked_like_a_first_request() {
    let host = Host::start();
    let lab = host.add_bare_plugin("lab");
    host.set_secret("api", "canary-canary-canary");
    let canary = echo();
    let from = Server::start();
    from.redirect(302, &canary.url);
    let fetch = || {
        let headers = json!({"authorization": "mine", "x-key": "{{$secrets.api}}", "x-other": "stays"});
        step(&host, "acme/lab/exchange", &json!({"url": format!("http://{}/", from.address()), "headers": headers}))
    };
    host.cli(&["secret", "allow", "api", from.address(), canary.address()]);
    host.set_grants(&lab, &json!({"http": [from.address()], "secrets": ["*"]}));
    assert_eq!(fetch()["failure"]["code"], "denied");
    assert_eq!(canary.connections(), 0);
    host.set_grants(&lab, &json!({"http": [from.address(), canary.address()], "secrets": ["*"]}));
    assert_eq!(fetch()["output"]["status"], 200);
    let (first, second) = (sent_to(&from), sent_to(&canary));
    assert!(first.contains("canary-canary-canary") && first.contains("authorization: mine"), "{first}");
    assert!(
        second.contains("x-other: stays") && !second.contains("authorization") && !second.contains("canary-canary"),
        "{second}"
    );
    // Private addresses and other schemes are no way out either.
    for (status, location) in [
        (302, "http://169.254.169.254/latest/meta-data/"),
        (301, "http://[::1]/"),
        (307, "http://2130706433/"),
        (308, "file:///etc/passwd"),
        (303, "ftp://example.org/"),
        (302, "//localhost/"),
        (302, "http://localhost:1/"),
    ] {
        let from = Server::start();
        from.redirect(status, location);
        host.set_grants(&lab, &json!({"http": [from.address(), "*:*"]}));
        let step = step(&host, "acme/lab/exchange", &json!({"url": format!("http://{}/", from.address())}));
        let code = step["failure"]["code"].as_str().unwrap_or_default().to_owned();
        assert!(["denied", "invalid"].contains(&&*code), "{location}: {step:#}");
    }
    // A circle ends.
    let round = Server::start();
    round.redirect(302, "/again");
    host.set_grants(&lab, &json!({"http": [round.address()]}));
    assert_eq!(
        step(&host, "acme/lab/exchange", &json!({"url": format!("http://{}/", round.address())}))["output"]["status"],
        302
    );
    assert_eq!(round.came().len(), 6, "the first and five more");
}

#[test]
fn no_way_of_writing_a_private_address_leads_there() {
    let host = Host::start();
    let lab = host.add_bare_plugin("lab");
    let canary = echo();
    let port = canary.address().rsplit_once(':').unwrap().1.to_owned();
    host.set_grants(&lab, &json!({"http": ["*:*"]}));
    let hosts = [
        "127.0.0.1",
        "127.0.0.2",
        "127.1",
        "127.0.1",
        "127.255.255.254",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7F000001",
        "0177.0.0.1",
        "0177.0.0.01",
        "0x7f.0.0.1",
        "0x7f.1",
        "0x7f.0x0.0x0.0x1",
        "00000177.1",
        "127.0.0.1.",
        "0",
        "0.0.0.0",
        "0x0",
        "000.000.000.000",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "LocalHost",
        "ip6-localhost",
        "ip6-loopback",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[0000::0001]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::FFFF:127.0.0.1]",
        "[0:0:0:0:0:ffff:7f00:1]",
        "[::127.0.0.1]",
        "[::7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2002:7f00:1::1]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "[fec0::1]",
        "[fc00::1]",
        "[fd00::1]",
        "[ff02::1]",
        "[100::1]",
        "１２７.０.０.１",
        "127。0。0。1",
        "127．0．0．1",
        "127｡0｡0｡1",
        "%31%32%37.0.0.1",
        "127.0.0.%31",
        "%6cocalhost",
        "loc%61lhost",
        "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
        "ｌｏｃａｌｈｏｓｔ",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "198.18.0.1",
        "user@127.0.0.1",
        "example.org@127.0.0.1",
        "user:pass@localhost",
    ];
    let urls: Vec<String> = (hosts.iter().map(|host| format!("http://{host}:{port}/")))
        .chain([
            format!("http://127.0.0.1:{port}#@example.org/"),
            format!("http:\\\\127.0.0.1:{port}/"),
            format!("http://127.0.0.1\t:{port}/"),
            format!("http://127.0.\n0.1:{port}/"),
            format!("http://\u{0}127.0.0.1:{port}/"),
            format!("http:///127.0.0.1:{port}/"),
            format!("//127.0.0.1:{port}/"),
            format!("HTTP://127.0.0.1:{port}/"),
            format!("gopher://127.0.0.1:{port}/"),
            format!("https://127.0.0.1:{port}/"),
        ])
        .collect();
    assert!(urls.len() >= 60);
    let steps = json!([{"key": "a", "type": "acme/lab/exchange", "config": {"url": "{{$context.data.url}}"}}]);
    host.apply(&workflow("out", &json!({"mode": "async"}), &steps));
    for url in &urls {
        let run = host.run_once("out", &json!({"data": {"url": url}}));
        assert_eq!(run["status"], "error", "{url:?}: {run:#}");
        let code = run["steps"][0]["failure"]["code"].as_str().unwrap().to_owned();
        assert!(["denied", "invalid", "dns"].contains(&&*code), "{url:?}: {run:#}");
    }
    assert_eq!(canary.connections(), 0, "{:?}", canary.came());
    // The canary sings when it may.
    host.set_grants(&lab, &json!({"http": [canary.address()]}));
    assert_eq!(host.run_once("out", &json!({"data": {"url": format!("http://{}/", canary.address())}}))["status"], "succeeded");
    assert_eq!(canary.came().len(), 1);
}

#[test]
fn a_plugin_takes_what_its_limits_say() {
    let (host, server) = (Host::start(), echo());
    let (rogue, lab) = (host.add_bare_plugin("rogue"), host.add_bare_plugin("lab"));
    host.set_grants(&rogue, &json!({"limits": {"memory_mib": 4, "cpu_ms": 50, "wall_ms": 200}}));
    for (way, code, part) in [("grow", "memory-limit", "4 MiB"), ("spin", "cpu-limit", "50 ms"), ("sleep", "timed-out", "200 ms")]
    {
        let step = step(&host, "acme/rogue/rogue", &json!({"way": way}));
        assert_eq!(step["failure"]["code"], code, "{step:#}");
        assert!(step["failure"]["message"].as_str().unwrap().contains(part), "{step:#}");
    }
    host.set_grants(&rogue, &json!({"limits": {"memory_mib": 200}}));
    let step_of = |way: &str| step(&host, "acme/rogue/rogue", &json!({ "way": way }));
    assert!(step_of("grow")["failure"]["message"].as_str().unwrap().contains("200 MiB"), "more than others is possible, too");
    let busy = step_of("busy");
    let used = &busy["used"];
    assert!(used["cpu_us"].as_u64() > Some(50_000) && used["memory_bytes"].as_u64() > Some(60_000), "{busy:#}");
    let total = host.get("/plugins/acme/rogue")["used"].clone();
    assert_eq!((&total["calls"], &total["broken"]), (&json!(5), &json!(4)), "{total}");
    assert!(total["cpu_us"].as_u64() >= used["cpu_us"].as_u64() && total["memory_bytes"].as_u64() > Some(100 << 20), "{total}");

    host.set_grants(&lab, &json!({"http": [server.address()], "limits": {"http_calls_per_hour": 2}}));
    let fetch = || step(&host, "acme/lab/exchange", &json!({"url": format!("http://{}/", server.address())}));
    assert_eq!((&fetch()["status"], &fetch()["status"]), (&json!("succeeded"), &json!("succeeded")));
    let spent = fetch();
    assert_eq!(spent["failure"]["code"], "over-budget", "{spent:#}");
    assert_eq!(server.came().len(), 2);
    host.set_grants(&lab, &json!({"http": [server.address()]}));
    assert_eq!(fetch()["status"], "succeeded");
    let none = json!({"limits": {"memory_mib": 100_000}}).to_string();
    host.api("PUT", "/plugins/acme/lab/grants", none.as_bytes()).expect_problem(400, "invalid-request");
}
