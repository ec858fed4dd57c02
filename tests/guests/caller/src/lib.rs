//! Calls what the host gives only where it is granted, by the contract and by WASI.

use futures_util::future::join_all;
use weft_sdk::HttpRequest;
use weft_sdk::capability::{Encoding, Hash, Key, SecretKey, files, hmac, http, kv, verify_hmac, verify_secret, workflows};
use weft_sdk::prelude::*;
use wstd::http::{Body, Client, Request};

/// Calls one function.
#[derive(Deserialize, JsonSchema)]
struct Invoke {
    /// `interface.function`.
    function: String,
    /// A server, for functions that send requests.
    url: String,
    /// A workflow, for functions that start runs.
    workflow: String,
    /// A secret's token.
    token: String,
}

impl Node for Invoke {
    const NAME: &str = "invoke";

    fn execute(self, _: &Call) -> Answer {
        let key = || {
            let (strip, prefix) = (String::new(), String::new());
            Key::Secret(SecretKey { token: self.token.clone(), strip, encoding: Encoding::Utf8, prefix })
        };
        match self.function.as_str() {
            "http.send" => done(http::send(&HttpRequest::new("GET", &self.url))?.status_code),
            "kv.get" => done(kv::get("key")?.is_some()),
            "kv.set" => {
                kv::set("key", b"value")?;
                done(true)
            }
            "kv.remove" => {
                kv::remove("key")?;
                done(true)
            }
            "files.create" => done(files::create("a.txt", "text/plain", b"value")?.size),
            "files.read" => {
                // That there is no such file is not for it to know either, without the grant.
                let id = "00000000-0000-7000-8000-000000000000.00000000000000000000";
                match files::read(id, 0, 1) {
                    Err(fault) if fault.code == "not-found" => done(false),
                    read => done(read?.len()),
                }
            }
            "workflows.start" => done(workflows::start(&self.workflow, "null")?),
            "crypto.hmac" => done(hmac(Hash::Sha256, &key(), b"data")?.len()),
            "crypto.verify-hmac" => done(verify_hmac(Hash::Sha256, &key(), b"data", &[0; 32])?),
            "crypto.verify-secret" => done(verify_secret(&self.token, "guess")?),
            other => Err(Failure::new("unknown", format!("no function `{other}`"))),
        }
    }
}

/// Reads a file whose id it puts together, as one does who guesses.
#[derive(Deserialize, JsonSchema)]
struct Guess {
    /// The id, in two halves.
    halves: [String; 2],
    /// The id, where the step is told of it.
    #[serde(default)]
    #[allow(dead_code, reason = "that it stands in the config is what matters")]
    told: Option<String>,
}

impl Node for Guess {
    const NAME: &str = "guess";

    fn execute(self, _: &Call) -> Answer {
        done(files::read(&self.halves.concat(), 0, u32::MAX)?.len())
    }
}

/// Sends requests with a client that knows WASI and not Weft.
#[derive(Deserialize, JsonSchema)]
struct Fetch {
    /// Where to.
    url: String,
    /// How many, all at once.
    #[serde(default = "one")]
    times: u32,
    /// How.
    #[serde(default = "get")]
    method: String,
    /// Sent as `authorization`.
    #[serde(default)]
    authorization: Option<String>,
    /// What is sent: so many bytes.
    #[serde(default)]
    body_bytes: usize,
    /// Whether to answer before any response is there.
    #[serde(default)]
    leaves: bool,
}

fn one() -> u32 {
    1
}

fn get() -> String {
    "GET".into()
}

impl Node for Fetch {
    const NAME: &str = "fetch";

    fn execute(self, _: &Call) -> Answer {
        let client = Client::new();
        let send = || async {
            let mut request = Request::builder().method(self.method.as_str()).uri(&self.url);
            if let Some(value) = &self.authorization {
                request = request.header("authorization", value);
            }
            let body = Body::from(vec![b'x'; self.body_bytes]);
            let request = request.body(body).map_err(|error| error.to_string())?;
            let mut response = client.send(request).await.map_err(|error| format!("{error:?}"))?;
            let body = response.body_mut().str_contents().await.map_err(|error| format!("{error:?}"))?.to_owned();
            Ok::<_, String>((response.status().as_u16(), body))
        };
        let all = join_all((0..self.times).map(|_| send()));
        if self.leaves {
            let waited = wstd::runtime::block_on(async {
                let moment = wstd::time::Duration::from_millis(300);
                wstd::future::FutureExt::timeout(all, moment).await.is_ok()
            });
            return done(json!({ "waited": waited }));
        }
        let (mut sent, mut failed) = (Vec::new(), Vec::new());
        for result in wstd::runtime::block_on(all) {
            match result {
                Ok((status, body)) => sent.push(json!({ "status": status, "body": body })),
                Err(error) => failed.push(error),
            }
        }
        done(json!({ "sent": sent, "failed": failed }))
    }
}

weft_sdk::plugin! { name: "acme/caller", nodes: [Invoke, Guess, Fetch] }
