//! Tables for people, JSON for programs.

use comfy_table::{Table, presets};
use serde_json::Value;

/// Prints a document for programs.
pub(super) fn json(document: &Value) {
    println!("{}", serde_json::to_string_pretty(document).unwrap_or_default());
}

/// Prints rows under headings; nothing but a sentence where there are none.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: Vec<[String; N]>, nothing: &str) {
    if rows.is_empty() {
        println!("{nothing}");
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headings.map(str::to_uppercase));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    println!("{}", table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n"));
}

/// A member as text: `-` where there is none.
pub(super) fn text(document: &Value, member: &str) -> String {
    match &document[member] {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap_or_default()).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// The items of a page.
pub(super) fn items(page: &Value) -> impl Iterator<Item = &Value> {
    page["items"].as_array().into_iter().flatten()
}

/// Says that a list goes on.
pub(super) fn more(page: &Value) {
    if let Some(next) = page["next"].as_str() {
        println!("more: --after {next}");
    }
}
