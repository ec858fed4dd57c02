//! `weft/http`: HTTP in and out.

mod access;
mod api_call;
mod body;
mod content;
mod context;
mod input;
mod outgoing;
mod path;
mod request;
mod response;
mod response_message;
mod route;
mod schema;
mod settle;
mod signature;
mod webhook;

weft_sdk::plugin! {
    name: "weft/http",
    title: "HTTP",
    nodes: [request::Request, response::Response, response_message::ResponseMessage],
    triggers: [webhook::Webhook, api_call::ApiCall],
}
