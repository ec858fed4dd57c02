//! `weft/flow`: steps that steer a run and set its fields, and workflows that are started by name.

mod branches;
mod condition;
mod nodes;
mod parameters;
mod triggers;

weft_sdk::plugin! {
    name: "weft/flow",
    title: "Flow",
    nodes: [
        nodes::condition::Decide,
        nodes::switch::Switch,
        nodes::r#loop::Loop,
        nodes::data::Data,
    ],
    triggers: [triggers::Function, triggers::Job, triggers::ManualStart],
}
