//! What the built-in plugin `weft/flow` does, any vendor can do: its sources under another name.

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
    nodes: [
        nodes::Decide, nodes::Switch, nodes::Loop, nodes::Parallel, nodes::Delay, nodes::WaitSignal, nodes::End, nodes::Variable,
        nodes::Data, nodes::Output, nodes::CallWorkflow, nodes::CallFunction, nodes::CallJob,
    ],
    triggers: [triggers::Function, triggers::Job, triggers::ManualStart],
}
