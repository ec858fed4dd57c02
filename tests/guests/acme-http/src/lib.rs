//! What the built-in plugin `weft/http` does, any vendor can do: its sources under another name.

#[path = "../../../../plugins/http/src/body.rs"]
mod body;
#[path = "../../../../plugins/http/src/response.rs"]
mod response;
#[path = "../../../../plugins/http/src/signature.rs"]
mod signature;
#[path = "../../../../plugins/http/src/webhook.rs"]
mod webhook;

weft_sdk::plugin! {
    name: "acme/http",
    nodes: [response::Response],
    triggers: [webhook::Webhook],
}
