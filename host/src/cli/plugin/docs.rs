//! `weft plugin docs`: a page about a component's types, made from what it says of itself.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::{Failure, print};
use super::bench::read;
use crate::built_in::PLUGINS;
use crate::lab::Bench;
use crate::plugin::{Description, FailureKind, Mode, NodeType, TriggerType};

/// Prints the page; with `--json` what the component says.
pub(super) async fn docs(file: &Path, brief: bool, json: bool) -> Result<(), Failure> {
    let bench = Bench::load(bytes(file)?).await.map_err(|error| Failure::Refused(error.to_string()))?;
    let description = &bench.plugin().description;
    if json {
        print::json(&serde_json::to_value(description).unwrap_or_default());
    } else {
        print!("{}", page(description, brief));
    }
    Ok(())
}

/// A component that is built in, or a file's.
fn bytes(named: &Path) -> Result<Arc<[u8]>, Failure> {
    let built_in = named.to_string_lossy().replace('/', "_");
    match PLUGINS.iter().find(|(name, _)| *name == built_in && !named.exists()) {
        Some((_, bytes)) => Ok((*bytes).into()),
        None => read(named),
    }
}

fn page(plugin: &Description, brief: bool) -> String {
    let mut out = format!("# {}: {}\n\n{}\n", plugin.name, plugin.title, sentence(&plugin.summary));
    for trigger in &plugin.triggers {
        of_trigger(trigger, brief, &mut out);
    }
    for node in &plugin.nodes {
        of_node(node, brief, &mut out);
    }
    out.push_str("\nFailures that any type may have besides its own: those of the host (`timed-out`, `trapped`, `bad-answer`, …), of the\n");
    out.push_str("capabilities that it calls (`denied`, `over-limit`, …), `too-large`: with its variables filled in the config is too long, and\n");
    out.push_str("`invalid-config`: a variable gave what does not fit; the message begins with the place in the config, as `/fields/total: …`.\n");
    out
}

fn of_trigger(trigger: &TriggerType, brief: bool, out: &mut String) {
    let mode = match trigger.mode {
        Mode::Synchronous => "Whoever causes an event waits for the run.",
        Mode::Asynchronous => "Nobody waits for its runs.",
        Mode::ByConfig => "Whether somebody waits for the run is said by `mode`.",
    };
    let _ = write!(out, "\n## Trigger `{}`\n\n{} {mode}\n", trigger.name, sentence(&trigger.summary));
    if !brief {
        fields("Config", &trigger.config_schema, out);
        if let Some(schema) = &trigger.context_schema {
            fields("`$context`", schema, out);
        }
    }
    failures(&trigger.failures, out);
}

fn of_node(node: &NodeType, brief: bool, out: &mut String) {
    let _ = write!(out, "\n## Node `{}`\n\n{}\n", node.name, sentence(&node.summary));
    if !brief {
        shapes(node, out);
    }
    failures(&node.failures, out);
}

/// What goes into a step and comes out of it.
fn shapes(node: &NodeType, out: &mut String) {
    fields("Config", &node.config_schema, out);
    if let Some(schema) = &node.result_schema {
        match schema.get("properties") {
            Some(_) => fields("Result", schema, out),
            None => {
                let _ = write!(out, "\nResult: {}\n", shape(schema));
            }
        }
    }
    for branch in &node.branches {
        let _ = write!(out, "\nBranch `{}`: {}\n", branch.key, sentence(&branch.title));
        if let Some(schema) = &branch.scope_schema {
            fields("`$scopes.<step>`", schema, out);
        }
    }
    if let Some(pointer) = &node.branches_from {
        let _ = write!(out, "\nFurther branches: one for each element of `{pointer}`, by its `key`.\n");
    }
    if !node.waits.is_empty() {
        let _ = write!(out, "\nIt may wait for: {}.\n", node.waits.join(", "));
    }
}

fn failures(failures: &[FailureKind], out: &mut String) {
    if failures.is_empty() {
        return;
    }
    out.push_str("\n| fails with | when | config |\n|---|---|---|\n");
    for failure in failures {
        let pointer = if failure.pointer.is_empty() { String::new() } else { format!("`{}`", failure.pointer) };
        let _ = writeln!(out, "| `{}` | {} | {pointer} |", failure.code, cell(&failure.message));
    }
}

/// A table of an object's members, and one for each object that it is made of.
fn fields(title: &str, schema: &Value, out: &mut String) {
    table(title, schema, out);
    for (name, inner) in schema.get("$defs").and_then(Value::as_object).into_iter().flatten() {
        if inner.get("properties").is_some() {
            table(&format!("`{name}`"), inner, out);
        } else {
            match &choices(inner)[..] {
                [] => drop(write!(out, "\n`{name}`: {}\n", shape(inner))),
                choices => drop(write!(out, "\n`{name}` is one of\n\n- {}\n", choices.join("\n- "))),
            }
        }
    }
}

fn table(title: &str, schema: &Value, out: &mut String) {
    let none = Map::new();
    let members = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    if members.is_empty() {
        let _ = write!(out, "\n{title}: {}\n", shape(schema));
        return;
    }
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let _ = write!(out, "\n| {title} | | |\n|---|---|---|\n");
    for (name, member) in members {
        let mut what = cell(member["description"].as_str().unwrap_or_default());
        match member.get("default") {
            Some(Value::Null) | None => {}
            Some(default) => {
                let _ = write!(what, " By default `{}`.", cell(&default.to_string()));
            }
        }
        let needed = if required.contains(&name.as_str()) { ", required" } else { "" };
        let _ = writeln!(out, "| `{name}` | {}{needed} | {} |", cell(&shape(member)), what.trim());
    }
}

/// The shape of a value in a few words.
fn shape(schema: &Value) -> String {
    let Some(schema) = schema.as_object() else { return "anything".into() };
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
        return format!("`{name}`");
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().filter(|value| !value.is_null()).map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(cases) = schema.get("oneOf").or(schema.get("anyOf")).and_then(Value::as_array) {
        let cases = cases.iter().filter(|case| case.get("type") != Some(&Value::from("null"))).map(shape);
        return cases.collect::<Vec<_>>().join(" or ");
    }
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect(),
        _ => return "anything".into(),
    };
    let kind = |kind: &str| match (kind, schema.get("items").or(schema.get("additionalProperties"))) {
        ("array", Some(items)) => format!("list of {}", shape(items)),
        ("object", Some(values)) if values.is_object() => format!("object of {}", shape(values)),
        (kind, _) => kind.to_owned(),
    };
    kinds.into_iter().map(kind).collect::<Vec<_>>().join(" or ")
}

/// What each of several constants means.
fn choices(schema: &Value) -> Vec<String> {
    let cases = schema.get("oneOf").or(schema.get("anyOf")).and_then(Value::as_array);
    let cases = cases.into_iter().flatten().filter_map(|case| {
        let what = case.get("description")?.as_str()?;
        Some(format!("{}: {}", shape(case), cell(what)))
    });
    cases.collect()
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// A text as it may stand in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}
