//! `weft/calc`: steps that calculate, and that pick from JSON.

mod calculation;
mod date;
mod mapping;
mod path;
mod query;

weft_sdk::plugin! {
    name: "weft/calc",
    title: "Calculation",
    nodes: [calculation::Calculation, date::DateCalculation, mapping::JsonMapping, query::JsonQuery],
}
