//! More requests to the host than a call may make.

use weft_sdk::HttpRequest;
use weft_sdk::capability::{self, Hash, Key};
use weft_sdk::prelude::*;

pub(crate) fn http(url: &str) -> Answer {
    loop {
        capability::http::send(&HttpRequest::new("GET", url))?;
    }
}

pub(crate) fn kv(bytes: usize, times: u32) -> Answer {
    for number in 0..times {
        capability::kv::set(&format!("key-{number}"), &vec![7; bytes])?;
    }
    done("set all")
}

pub(crate) fn starts(workflow: &str, bytes: usize) -> Answer {
    let context = format!("\"{}\"", "x".repeat(bytes));
    loop {
        capability::workflows::start(workflow, &context)?;
    }
}

pub(crate) fn variables() -> Answer {
    let template = json!(vec!["{{$context}}"; 1_000]).to_string();
    loop {
        capability::variables::resolve(&template, None)?;
    }
}

pub(crate) fn crypto(bytes: usize) -> Answer {
    let data = vec![7; bytes];
    loop {
        capability::hmac(Hash::Sha512, &Key::Plain(vec![1]), &data)?;
    }
}
