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
        table.add_row(row.map(|cell| harmless(&cell)));
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
        Value::String(text) => harmless(text),
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap_or_default()).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A text without what a terminal would obey: it may come from whoever sends requests.
fn harmless(text: &str) -> String {
    let obeyed = |c: char| c.is_control() && c != '\n';
    if text.contains(obeyed) {
        text.chars().map(|c| if obeyed(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
    } else {
        text.to_owned()
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

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn a_terminal_is_told_nothing() {
        assert_eq!(harmless("a\u{1b}[2Jb\n\u{9b}c\rü"), "a\\u{1b}[2Jb\n\\u{9b}c\\rü");
    }
}
