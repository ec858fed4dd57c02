//! What triggers share that listen at a route.

use weft_sdk::HttpRoute;
use weft_sdk::prelude::*;

use crate::context::Context;

/// A method of HTTP.
#[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// The methods of a route, unless its config says otherwise.
pub(crate) fn post() -> Vec<Method> {
    vec![Method::Post]
}

/// How long a caller waits, unless the config says otherwise, in milliseconds.
pub(crate) fn half_a_minute() -> u32 {
    30_000
}

/// The route that a config asks for.
pub(crate) fn subscriptions(methods: &[Method], path: Option<String>, body_bytes_max: Option<u32>) -> Vec<Subscription> {
    let methods = methods.iter().map(|method| method.name().into()).collect();
    vec![Subscription::Http(HttpRoute { methods, path, body_bytes_max })]
}

/// What is said of every such trigger. `authentication` is the place in the config that says who is let in (JSON Pointer).
pub(crate) fn described(described: TriggerType, authentication: &str) -> TriggerType {
    let no_base64 = "The secret of a `standard-webhooks` signature is not Base64: set it as the sender shows it, `whsec_…`.";
    let denied = "The plugin may not use a secret that the config names (`weft plugin grant`), or what is given is none: write `{{$secrets.NAME}}`.";
    described
        .category("http")
        .context::<Context>()
        .fails("unexpected-event", "The host told it of something that is no HTTP request: please report it.", "")
        .fails("invalid-config", "A variable gave what cannot be used; the message names the place.", "")
        .fails("denied", denied, authentication)
        .fails("not-found", "A secret that the config names is not there (any more): `weft secret set`.", authentication)
        .fails("invalid", no_base64, &format!("{authentication}/signature/secret"))
}
