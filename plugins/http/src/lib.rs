//! `weft/http`: HTTP in and out.

mod body;
mod response;
mod signature;
mod webhook;

weft_sdk::plugin! {
    name: "weft/http",
    title: "HTTP",
    nodes: [response::Response],
    triggers: [webhook::Webhook],
}
