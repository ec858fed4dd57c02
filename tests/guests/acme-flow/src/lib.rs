//! What the built-in plugin `weft/flow` does, any vendor can do: its sources under another name.

#[path = "../../../../plugins/flow/src/compare.rs"]
mod compare;
#[path = "../../../../plugins/flow/src/condition.rs"]
mod condition;
#[path = "../../../../plugins/flow/src/data.rs"]
mod data;

weft_sdk::plugin! {
    name: "acme/flow",
    nodes: [condition::Condition, data::Data],
}
