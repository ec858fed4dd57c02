//! What a case says is to come of it, against what came.

use serde_json::{Map, Value};

use super::trial::Trial;

/// Everything that is not as expected, one sentence each. An object is as expected if every member that is named is; a list and anything else
/// must be the same. `log` is as expected if each of its texts stands in some line. `null` stands for what is not there.
pub fn mismatches(expected: &Map<String, Value>, trial: &Trial) -> Vec<String> {
    let came = serde_json::to_value(trial).unwrap_or_default();
    let mut found = Vec::new();
    for (name, wanted) in expected {
        match name.as_str() {
            "log" => compare_log(wanted, trial, &mut found),
            _ => compare(&format!("/{name}"), wanted, &came[name], &mut found),
        }
    }
    if !found.is_empty() {
        // What came instead, once and whole: a failure says more than that there is no result.
        found.push(format!("it came to {}", cut(&Value::Object(trial.came_to.clone()))));
    }
    found
}

fn compare_log(wanted: &Value, trial: &Trial, found: &mut Vec<String>) {
    let texts: Vec<&str> = match wanted {
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        text => text.as_str().into_iter().collect(),
    };
    for text in texts {
        if !trial.log.iter().any(|line| line.message.contains(text)) {
            let lines: Vec<&str> = trial.log.iter().map(|line| &*line.message).collect();
            found.push(format!("/log: no line has `{text}`; there are {}", cut(&lines.into())));
        }
    }
}

fn compare(at: &str, wanted: &Value, came: &Value, found: &mut Vec<String>) {
    match (wanted, came) {
        (Value::Object(wanted), Value::Object(came)) => {
            for (name, wanted) in wanted {
                compare(&format!("{at}/{name}"), wanted, came.get(name).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(wanted), Value::Array(came)) if wanted.len() == came.len() => {
            for (index, (wanted, came)) in wanted.iter().zip(came).enumerate() {
                compare(&format!("{at}/{index}"), wanted, came, found);
            }
        }
        (Value::Number(wanted), Value::Number(came)) if wanted.as_f64() == came.as_f64() => {}
        _ if wanted == came => {}
        _ => found.push(format!("{at}: expected {}, and it is {}", cut(wanted), cut(came))),
    }
}

/// A value in one line that people read.
pub(super) fn cut(value: &Value) -> String {
    const CHARS_MAX: usize = 400;
    let text = value.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::run::{LogLevel, LogLine};

    fn found(expected: Value) -> Vec<String> {
        let line = LogLine { level: LogLevel::Info, message: "counted 5 letters".into() };
        let came = json!({"done": {"letters": 5, "all": [1, 2], "whom": null}});
        let trial = Trial { came_to: came.as_object().unwrap().clone(), log: vec![line], ..Trial::default() };
        mismatches(expected.as_object().unwrap(), &trial)
    }

    #[test]
    fn what_is_named_is_compared() {
        for good in [
            json!({}),
            json!({"done": {"letters": 5.0, "whom": null, "never": null}}),
            json!({"done": {"all": [1, 2]}, "failed": null, "log": ["5 letters", "counted"]}),
        ] {
            assert_eq!(found(good.clone()), Vec::<String>::new(), "{good}");
        }
        for (bad, at) in [
            (json!({"done": {"letters": 6}}), "/done/letters: expected 6, and it is 5"),
            (json!({"done": {"all": [1]}}), "/done/all: expected [1]"),
            (json!({"done": null}), "/done: expected null"),
            (json!({"failed": {"code": "x"}}), "/failed: expected"),
            (json!({"log": "six"}), "/log: no line has `six`"),
        ] {
            let said = found(bad);
            assert!(said[0].starts_with(at), "{said:?}");
            assert!(said.last().unwrap().starts_with("it came to {\"done\""), "{said:?}");
        }
    }
}
