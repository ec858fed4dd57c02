//! Connections: who may use them, where they lead, and that nobody sees what they hold.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};

use crate::harness::{Host, repository, workflow};
use crate::web::{Reply, Web};

const SECRET: &str = "s3cret-of-the-connection";

/// Sets a connection by the command line, its secret on standard input.
#[track_caller]
fn set(host: &Host, name: &str, server: &Web, more: &[&str]) {
    let base = format!("{}/v1", server.url());
    let arguments = [&["connection", "set", name, "--base-url", &base, "--allow-private"], more].concat();
    let set = host.cli_with(&arguments, format!("{SECRET}\n").as_bytes());
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
}

/// One step that asks by a connection.
#[track_caller]
fn step(host: &Host, connection: &str, url: &str) -> Value {
    let config = json!({"method": "GET", "url": url, "connection": connection});
    host.apply(&workflow("one", &json!({"mode": "async"}), &json!([{"key": "a", "type": "request", "config": config}])));
    host.run_once("one", &json!({}))["steps"][0].clone()
}

#[test]
fn credentials_are_sent_to_their_server_and_shown_nowhere() {
    let host = Host::start();
    // A server that gives away whatever it is told.
    let server = Web::start(|asked, _| {
        let head: Vec<String> = asked.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        Reply::json(&json!({"path": asked.path, "head": head})).header("x-authorization", asked.header("authorization"))
    });
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("ann:{SECRET}"));
    for (more, header, sent) in [
        (&["--bearer"][..], "authorization", format!("Bearer {SECRET}")),
        (&["--basic", "ann"], "authorization", format!("Basic {basic}")),
        (&["--header", "X-Api-Key"], "x-api-key", SECRET.to_owned()),
        (&[], "authorization", String::new()),
    ] {
        set(&host, "crm", &server, more);
        let done = step(&host, "crm", "contacts/17?a=1");
        assert_eq!(done["output"]["data"]["path"], "/v1/contacts/17?a=1", "{done:#}");
        assert_eq!(server.asked().pop().unwrap().header(header), sent, "{more:?}");
        assert_eq!(done.to_string().contains("[connection crm]"), !sent.is_empty(), "{done:#}");
    }
    set(&host, "crm", &server, &["--bearer"]);
    let tested = host.cli(&["connection", "test", "crm", "status"]);
    assert!(String::from_utf8_lossy(&tested.stdout).starts_with("crm: status 200"), "{tested:?}");
    let listed = host.cli(&["connection", "list"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("bearer"), "{listed:?}");

    let audit = host.get("/audit?limit=500").to_string();
    assert!(audit.contains("connection-set"), "{audit}");
    let everywhere = ["/connections", "/connections/crm", "/runs?limit=500", "/audit?limit=500", "/plugins/weft/http"];
    let mut seen: String = everywhere.iter().map(|path| host.get(path).to_string()).collect();
    seen.extend(host.runs().iter().map(|run| host.run(run["id"].as_str().unwrap()).to_string()));
    seen.push_str(&host.log());
    assert!(!seen.contains(SECRET) && !seen.contains(&basic), "a secret can be seen");
    // It is there from the moment on that the command has said so.
    let data = host.kill();
    let stored = data.bytes();
    for secret in [SECRET, &basic] {
        assert!(!stored.windows(secret.len()).any(|window| window == secret.as_bytes()), "a secret stands on the disk");
    }
    // It is there again after a start, and the store is whole.
    data.expect_whole();
    let host = Host::start_in(data, &[]);
    let done = step(&host, "crm", "");
    assert_eq!(done["output"]["data"]["path"], "/v1/", "{done:#}");
    assert_eq!(server.asked().pop().unwrap().header("authorization"), format!("Bearer {SECRET}"));
}

#[test]
fn a_connection_leads_below_its_base_and_its_credentials_no_further() {
    let host = Host::start();
    let canary = Web::start(|_, _| Reply::json(&json!("canary")));
    let elsewhere = format!("{}/v1/x", canary.url());
    let server = Web::start(move |asked, _| match asked.path.as_str() {
        "/v1/out" => Reply::new(307, "text/plain", "").header("location", &elsewhere),
        "/v1/in" => Reply::new(307, "text/plain", "").header("location", "/v1/there"),
        _ => Reply::json(&json!({"authorization": asked.header("authorization")})),
    });
    set(&host, "crm", &server, &["--bearer"]);
    for url in ["../admin", "%2e%2e/admin", "a/..%2f../admin", "//127.0.0.1/", "{{$context.data.no:http://127.0.0.1/}}"] {
        let done = step(&host, "crm", url);
        assert_eq!(done["failure"]["code"], "invalid", "{url}: {done:#}");
    }
    assert_eq!(server.asked().len(), 0);
    // A redirect is a request without the connection: it needs a grant, and has no credentials.
    for url in ["out", "in"] {
        let done = step(&host, "crm", url);
        assert_eq!(done["failure"]["code"], "denied", "{url}: {done:#}");
    }
    for server in [&server, &canary] {
        crate::outgoing::let_out(&host, server);
    }
    step(&host, "crm", "out");
    assert_eq!(canary.asked()[0].header("authorization"), "");
    assert_eq!(step(&host, "crm", "in")["output"]["data"]["authorization"], "");
}

#[test]
fn who_may_use_a_connection_is_granted_and_private_addresses_are_allowed_by_name() {
    let host = Host::start();
    let server = Web::start(|_, _| Reply::json(&json!("hello")));
    let refused = host.cli_with(&["connection", "set", "crm", "--base-url", &server.url(), "--bearer"], b"x");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--allow-private"), "{refused:?}");
    let local = format!("http://localhost:{}", server.port());
    assert!(host.cli_with(&["connection", "set", "named", "--base-url", &local, "--bearer"], b"xxxx").status.success());
    let done = step(&host, "named", "");
    assert_eq!(done["failure"]["code"], "denied", "a name of a private address is one, too: {done:#}");
    assert_eq!(server.asked().len(), 0);

    set(&host, "crm", &server, &["--bearer"]);
    host.set_grants("weft/http", &json!({"http": ["*"], "connections": ["other-*"]}));
    let done = step(&host, "crm", "");
    assert_eq!(done["failure"]["code"], "denied", "{done:#}");
    assert!(done["failure"]["message"].as_str().unwrap().contains("--connection crm"), "{done:#}");
    let granted = host.cli(&["plugin", "grant", "weft/http", "--add", "--connection", "cr*"]);
    assert!(granted.status.success());
    assert_eq!(step(&host, "crm", "")["status"], "succeeded");
}

#[test]
fn the_example_of_a_request_goes_by_its_connection() {
    let host = Host::start();
    let file = repository().join("tests/workflows/request.yaml");
    let definition: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    host.api("PUT", "/workflows/reserve-stock/draft", definition.to_string().as_bytes());
    let answer = host.api("POST", "/workflows/reserve-stock/revisions", b"");
    assert_eq!(answer.json()["errors"][0]["pointer"], "/steps/0/config/connection", "{:?}", answer.json());

    let server = Web::start(|_, nth| match nth {
        0 => Reply::new(503, "text/plain", "busy"),
        _ => Reply::new(200, "application/json", r#"{"id": "r-1"}"#),
    });
    set(&host, "stock", &server, &["--bearer"]);
    host.apply(&definition);
    let answer = host.hook("reserve-stock", br#"{"order": 17, "sku": "a", "quantity": 2, "note": "x&y"}"#);
    assert_eq!((answer.status, answer.json()), (201, json!({"reservation": "r-1", "status": "OK"})));
    let asked = &server.asked()[1];
    assert_eq!(asked.path, "/v1/reservations/17?warehouse=berlin&warehouse=rome&note=x%26y");
    assert_eq!((asked.text().as_str(), asked.header("x-request")), (r#"{"sku":"a","quantity":2}"#, "17"));

    let removed = host.cli(&["connection", "remove", "stock"]);
    assert_eq!(removed.status.code(), Some(5));
    assert!(
        String::from_utf8_lossy(&removed.stderr).contains("reserve-stock-00001 at /steps/0/config/connection"),
        "{removed:?}"
    );
    assert_eq!(host.get("/connections/stock")["used_by"].as_array().unwrap().len(), 1);
    assert!(host.cli(&["connection", "remove", "stock", "--force"]).status.success());
    assert_eq!(host.cli(&["connection", "show", "stock"]).status.code(), Some(4));
    host.hook("reserve-stock", br#"{"order": 18}"#).expect_problem(500, "run-failed");
}

#[test]
fn a_token_is_fetched_once_and_again_when_it_is_refused() {
    let host = Host::start();
    let server = Web::start(|asked, nth| match asked.path.as_str() {
        "/token" => {
            Reply::json(&json!({"access_token": format!("token-number-{nth}"), "token_type": "Bearer", "expires_in": 3600}))
        }
        "/v1/refuse" => Reply::new(401, "text/plain", "no"),
        _ => Reply::json(&json!({"authorization": asked.header("authorization")})),
    });
    let token_url = format!("{}/token", server.url());
    set(&host, "api", &server, &["--oauth2-client-credentials", &token_url, "--client-id", "me:1", "--scope", "a b"]);
    for _ in 0..2 {
        let done = step(&host, "api", "x");
        assert_eq!(done["output"]["data"]["authorization"], "Bearer [connection api]", "{done:#}");
    }
    let asked = server.asked();
    let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/token", "/v1/x", "/v1/x"]);
    assert_eq!(asked[0].text(), "grant_type=client_credentials&scope=a+b");
    let pair = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("me%3A1:{SECRET}"));
    assert_eq!(asked[0].header("authorization"), format!("Basic {pair}"));
    assert_eq!(asked[2].header("authorization"), "Bearer token-number-0");
    step(&host, "api", "refuse");
    step(&host, "api", "x");
    assert_eq!(server.asked().last().unwrap().header("authorization"), "Bearer token-number-4");
}

#[test]
fn servers_and_clients_show_certificates() {
    let host = Host::start();
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let issue = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        (certificate, key)
    };
    let (certificate, key) = issue("localhost");
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let tls = tls.with_client_cert_verifier(verifier).with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let server = Web::with_tls(Arc::new(tls), |_, _| Reply::json(&json!("by TLS")));

    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (client, client_key) = issue("client");
    let (ca, cert, key) =
        (write("ca", &authority.pem()), write("cert", &client.pem()), write("key", &client_key.serialize_pem()));
    let base = format!("https://localhost:{}", server.port());
    let set = |name: &str, more: &[&str]| {
        let set = host.cli(&[&["connection", "set", name, "--base-url", &base, "--allow-private"], more].concat());
        assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    };
    set("both", &["--ca", &ca, "--client-cert", &cert, "--client-key", &key]);
    set("no-client", &["--ca", &ca]);
    set("no-ca", &[]);
    assert_eq!(step(&host, "both", "")["output"]["data"], "by TLS", "{}", host.log());
    assert_eq!(step(&host, "no-ca", "")["failure"]["code"], "tls");
    assert_eq!(step(&host, "no-client", "")["status"], "failed");
    assert_eq!(server.asked().len(), 1);
    assert!(!host.get("/connections/both").to_string().contains("PRIVATE KEY"));
}
