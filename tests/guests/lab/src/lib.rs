//! Nodes and triggers that try out everything a run can do: wait, branch, fail, count, reach outside.

mod effects;
mod flow;
mod start;
mod ticks;
mod waits;

weft_sdk::plugin! {
    name: "acme/lab",
    nodes: [
        effects::Count, effects::Read, effects::Send, effects::Once, effects::Exchange, effects::Launch, flow::Each, flow::Side, flow::First,
        flow::Whole, flow::Flaky, flow::Fail, flow::End, flow::Spin, flow::Out, waits::Sleep, waits::Hear, waits::Ask, waits::Sub,
        waits::Fetch
    ],
    triggers: [start::Callable, start::Hook, ticks::Ticks],
}
