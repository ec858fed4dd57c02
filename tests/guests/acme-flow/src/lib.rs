//! What the built-in plugin `weft/flow` does, any vendor can do: its sources under another name.

#[path = "../../../../plugins/flow/src/branches.rs"]
mod branches;
#[path = "../../../../plugins/flow/src/condition/mod.rs"]
mod condition;
#[path = "../../../../plugins/flow/src/nodes/mod.rs"]
mod nodes;
#[path = "../../../../plugins/flow/src/parameters.rs"]
mod parameters;
#[path = "../../../../plugins/flow/src/triggers/mod.rs"]
mod triggers;

weft_sdk::plugin! {
    name: "acme/flow",
    nodes: [nodes::condition::Decide, nodes::switch::Switch, nodes::r#loop::Loop, nodes::data::Data],
    triggers: [triggers::Function, triggers::Job, triggers::ManualStart],
}
