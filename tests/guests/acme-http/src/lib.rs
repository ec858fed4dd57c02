//! What the built-in plugin `weft/http` does, any vendor can do: its sources under another name.

#[path = "../../../../plugins/http/src/access.rs"]
mod access;
#[path = "../../../../plugins/http/src/api_call.rs"]
mod api_call;
#[path = "../../../../plugins/http/src/body.rs"]
mod body;
#[path = "../../../../plugins/http/src/content.rs"]
mod content;
#[path = "../../../../plugins/http/src/context.rs"]
mod context;
#[path = "../../../../plugins/http/src/input.rs"]
mod input;
#[path = "../../../../plugins/http/src/outgoing.rs"]
mod outgoing;
#[path = "../../../../plugins/http/src/path.rs"]
mod path;
#[path = "../../../../plugins/http/src/request.rs"]
mod request;
#[path = "../../../../plugins/http/src/response.rs"]
mod response;
#[path = "../../../../plugins/http/src/response_message.rs"]
mod response_message;
#[path = "../../../../plugins/http/src/route.rs"]
mod route;
#[path = "../../../../plugins/http/src/schema.rs"]
mod schema;
#[path = "../../../../plugins/http/src/settle.rs"]
mod settle;
#[path = "../../../../plugins/http/src/signature.rs"]
mod signature;
#[path = "../../../../plugins/http/src/webhook.rs"]
mod webhook;

weft_sdk::plugin! {
    name: "acme/http",
    nodes: [request::Request, response::Response, response_message::ResponseMessage],
    triggers: [webhook::Webhook, api_call::ApiCall],
}
