//! `weft/calc`: steps that calculate, that decide by formulas, and that pick from JSON.

mod calculation;
mod date;
mod formula;
mod mapping;
mod path;
mod query;

weft_sdk::plugin! {
    name: "weft/calc",
    title: "Calculation",
    nodes: [
        calculation::Calculation,
        date::DateCalculation,
        formula::FormulaCondition,
        formula::FormulaSwitch,
        mapping::JsonMapping,
        query::JsonQuery,
    ],
}
