//! `weft/flow`: steps that steer a run and set its fields.

mod compare;
mod condition;
mod data;

weft_sdk::plugin! {
    name: "weft/flow",
    title: "Flow",
    nodes: [condition::Condition, data::Data],
}
