//! `weft/flow`: steps that steer a run and set its fields, and workflows that are started by name.

mod condition;
mod nodes;
mod parameters;
mod triggers;

weft_sdk::plugin! {
    name: "weft/flow",
    title: "Flow",
    nodes: [
        nodes::Decide,
        nodes::Switch,
        nodes::Loop,
        nodes::Parallel,
        nodes::Delay,
        nodes::WaitSignal,
        nodes::End,
        nodes::Variable,
        nodes::Data,
        nodes::Output,
        nodes::CallWorkflow,
        nodes::CallFunction,
        nodes::CallJob,
    ],
    triggers: [triggers::Function, triggers::Job, triggers::ManualStart],
}
