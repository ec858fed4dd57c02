use super::*;
use crate::plugin::Grants;

fn verdict(patterns: &[&str], url: &str) -> String {
    let http = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
    let grants = Grants { http, ..Grants::default() };
    match Target::read(url).and_then(|target| target.admit(&grants, "GET")) {
        Ok(()) => "ok".into(),
        Err(fault) => fault.code.into(),
    }
}

#[test]
fn only_what_is_granted_is_sent() {
    assert_eq!(verdict(&[], "https://example.org/"), "denied");
    assert_eq!(verdict(&["example.org"], "https://example.org/a?b=c"), "ok");
    assert_eq!(verdict(&["example.org"], "https://example.com/"), "denied");
    for url in [
        "ftp://example.org/",
        "/path",
        "example.org",
        "file:///etc/passwd",
        "http:///x",
        "http:\\\\x",
        "http:x",
        "gopher://x",
        "",
    ] {
        assert_eq!(verdict(&["*:*"], url), "invalid", "{url}");
    }
}

#[test]
fn a_private_address_must_be_named_itself() {
    assert_eq!(verdict(&["127.0.0.1:8080"], "http://127.0.0.1:8080/"), "ok");
    assert_eq!(verdict(&["*:*", "127.0.0.1:8080"], "http://127.0.0.1:8080/"), "ok");
    assert_eq!(verdict(&["*:*"], "http://8.8.8.8/"), "ok");
    let private = [
        "127.0.0.1:8080",
        "[::1]",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "127.0.1",
        "0",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "169.254.169.254",
        "0xa9fea9fe",
        "2852039166",
        "0251.0376.0251.0376",
        "192.168.1.1",
        "172.16.0.1",
        "100.64.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[fe80::1]",
        "[fd00::1]",
        "[fec0::1]",
        "[ff02::1]",
        "１２７.0.0.1",
        "127。0。0。1",
        "%31%32%37.0.0.1",
    ];
    for host in private {
        assert_eq!(verdict(&["*:*"], &format!("http://{host}/")), "denied", "{host}");
        assert_eq!(verdict(&["*:*"], &format!("http://user@{host}/x")), "denied", "{host}");
    }
}

#[test]
fn a_call_s_requests_have_keys_that_stay() {
    let request = |headers| Request {
        method: "GET".into(),
        url: "https://x".into(),
        headers,
        body: Bytes::new(),
        timeout_ms: None,
        connection: None,
        response_bytes_max: None,
    };
    let key = |call: &str, name: &str| {
        let request = with_key(request(Vec::new()), call, name);
        request.headers.iter().find(|(name, _)| &**name == IDEMPOTENCY_KEY).unwrap().1.clone()
    };
    assert_eq!(key("a", "1"), key("a", "1"));
    assert_ne!(key("a", "1"), key("a", "2"));
    assert_ne!(key("a", "1"), key("b", "1"));
    let own = request(vec![("Idempotency-Key".into(), "mine".into())]);
    assert_eq!(with_key(own, "a", "1").headers, [("Idempotency-Key".into(), "mine".into())]);
}

#[test]
fn redirects_change_methods_as_browsers_do() {
    let next = |method: Method, status| next_method(&method, status).map(|method| method.to_string());
    assert_eq!(next(Method::POST, 302).as_deref(), Some("GET"));
    assert_eq!(next(Method::PUT, 301).as_deref(), Some("PUT"));
    assert_eq!(next(Method::PUT, 303).as_deref(), Some("GET"));
    assert_eq!(next(Method::HEAD, 303).as_deref(), Some("HEAD"));
    assert_eq!(next(Method::POST, 307).as_deref(), Some("POST"));
    assert_eq!(next(Method::POST, 304), None);
}
