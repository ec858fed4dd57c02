//! `weft/script`: steps in JavaScript.

mod javascript;

weft_sdk::plugin! {
    name: "weft/script",
    title: "Script",
    nodes: [javascript::Javascript],
}
