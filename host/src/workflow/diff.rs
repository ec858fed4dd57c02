//! What differs between two definitions, told in steps and members instead of lines.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::definition::{Definition, Step, escape};

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Where: a pointer in which a step is named by its key, not its place: `/steps/big/config/right`.
    pub path: String,
    /// What happened there.
    pub kind: ChangeKind,
    /// What was there; absent for `added`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What is there now; absent for `removed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// What happened to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It has another value.
    Changed,
    /// A step stands elsewhere; `from` and `to` say where: the list and the step before it.
    Moved,
}

/// What differs, from an older definition to a newer one. Steps are matched by their keys.
pub fn diff(old: &Definition, new: &Definition) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(&mut changes, "", Some(&without_steps(old)), Some(&without_steps(new)));
    let (old_places, new_places) = (places(old), places(new));
    let stayed = unmoved(&old_places, &new_places);
    let old_by_key: HashMap<&str, &Place> = old_places.iter().map(|place| (place.step.key.as_str(), place)).collect();
    let new_by_key: HashMap<&str, &Place> = new_places.iter().map(|place| (place.step.key.as_str(), place)).collect();
    for place in &old_places {
        if !new_by_key.contains_key(place.step.key.as_str()) {
            changes.push(Change { path: place.path(), kind: ChangeKind::Removed, from: Some(alone(place.step)), to: None });
        }
    }
    for place in &new_places {
        let Some(before) = old_by_key.get(place.step.key.as_str()) else {
            changes.push(Change { path: place.path(), kind: ChangeKind::Added, from: None, to: Some(alone(place.step)) });
            continue;
        };
        if !stayed.contains(&place.step.key.as_str()) {
            let (from, to) = (Some(before.describe()), Some(place.describe()));
            changes.push(Change { path: place.path(), kind: ChangeKind::Moved, from, to });
        }
        compare(&mut changes, &place.path(), Some(&alone(before.step)), Some(&alone(place.step)));
    }
    changes
}

/// A step and where it stands.
struct Place<'a> {
    step: &'a Step,
    /// The list: `steps`, or `<step>/<branch>`.
    list: String,
    previous: Option<&'a str>,
}

impl Place<'_> {
    fn path(&self) -> String {
        format!("/steps/{}", self.step.key)
    }

    fn describe(&self) -> Value {
        json!({ "list": self.list, "after": self.previous })
    }
}

fn places(definition: &Definition) -> Vec<Place<'_>> {
    fn walk<'a>(steps: &'a [Step], list: &str, found: &mut Vec<Place<'a>>) {
        let mut previous = None;
        for step in steps {
            found.push(Place { step, list: list.to_owned(), previous });
            previous = Some(step.key.as_str());
            for (branch, steps) in &step.branches {
                walk(steps, &format!("{}/{}", step.key, escape(branch)), found);
            }
        }
    }
    let mut found = Vec::new();
    walk(&definition.steps, "steps", &mut found);
    found
}

/// The keys of steps that kept their list and, among those, their order: a longest increasing subsequence.
fn unmoved<'a>(old: &[Place<'a>], new: &[Place<'a>]) -> Vec<&'a str> {
    let index: HashMap<(&str, &str), usize> =
        old.iter().enumerate().map(|(index, place)| ((place.list.as_str(), place.step.key.as_str()), index)).collect();
    let kept: Vec<(usize, &'a str)> = new
        .iter()
        .filter_map(|place| {
            let key = place.step.key.as_str();
            index.get(&(place.list.as_str(), key)).map(|index| (*index, key))
        })
        .collect();
    let mut best: Vec<(usize, Option<usize>)> = Vec::with_capacity(kept.len());
    for (at, (index, _)) in kept.iter().enumerate() {
        let before = (0..at).filter(|earlier| kept[*earlier].0 < *index).max_by_key(|earlier| best[*earlier].0);
        best.push((before.map_or(1, |before| best[before].0 + 1), before));
    }
    let mut keys = Vec::new();
    let mut at = (0..best.len()).max_by_key(|at| best[*at].0);
    while let Some(here) = at {
        keys.push(kept[here].1);
        at = best[here].1;
    }
    keys
}

fn without_steps(definition: &Definition) -> Value {
    let Ok(Value::Object(mut members)) = serde_json::to_value(definition) else { return Value::Null };
    members.shift_remove("steps");
    Value::Object(members)
}

/// A step without what is in its branches.
fn alone(step: &Step) -> Value {
    let Ok(Value::Object(mut members)) = serde_json::to_value(step) else { return Value::Null };
    members.shift_remove("branches");
    Value::Object(members)
}

fn compare(changes: &mut Vec<Change>, path: &str, from: Option<&Value>, to: Option<&Value>) {
    match (from, to) {
        (Some(from), Some(to)) if from == to => {}
        (Some(Value::Object(from)), Some(Value::Object(to))) => {
            for key in union(from, to) {
                compare(changes, &format!("{path}/{}", escape(key)), from.get(key), to.get(key));
            }
        }
        (Some(Value::Array(from)), Some(Value::Array(to))) => {
            for index in 0..from.len().max(to.len()) {
                compare(changes, &format!("{path}/{index}"), from.get(index), to.get(index));
            }
        }
        (from, to) => {
            let kind = match (from, to) {
                (None, _) => ChangeKind::Added,
                (_, None) => ChangeKind::Removed,
                _ => ChangeKind::Changed,
            };
            changes.push(Change { path: path.to_owned(), kind, from: from.cloned(), to: to.cloned() });
        }
    }
}

fn union<'a>(from: &'a Map<String, Value>, to: &'a Map<String, Value>) -> impl Iterator<Item = &'a String> {
    from.keys().chain(to.keys().filter(|key| !from.contains_key(*key)))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(old: &str, new: &str, want: Expect) {
        let read = |steps: &str| {
            let steps: Value = serde_json::from_str(steps).unwrap();
            let value = json!({"weft": 1, "key": "k", "trigger": {"type": "webhook"}, "steps": steps});
            Definition::from_value(value).unwrap()
        };
        let lines: Vec<String> = diff(&read(old), &read(new))
            .into_iter()
            .map(|c| {
                let text = |value: Option<Value>| value.map_or("-".to_owned(), |value| value.to_string());
                format!("{:?} {} {} {}\n", c.kind, c.path, text(c.from), text(c.to))
            })
            .collect();
        want.assert_eq(&lines.concat());
    }

    #[test]
    fn equal_definitions_do_not_differ() {
        let steps = r#"[{"key":"a","type":"data","branches":{"x":[{"key":"b","type":"data"}]}}]"#;
        check(steps, steps, expect![""]);
    }

    #[test]
    fn members_change_under_their_steps_key() {
        check(
            r#"[{"key":"a","type":"data","config":{"x":1,"l":[1,2]}}]"#,
            r#"[{"key":"n","type":"data"},{"key":"a","type":"data2","config":{"x":2,"l":[1],"y/z":null}}]"#,
            expect![[r#"
                Added /steps/n - {"key":"n","type":"data","config":{}}
                Changed /steps/a/type "data" "data2"
                Changed /steps/a/config/x 1 2
                Removed /steps/a/config/l/1 2 -
                Added /steps/a/config/y~1z - null
            "#]],
        );
    }

    #[test]
    fn a_step_that_moves_is_told_once() {
        check(
            r#"[{"key":"a","type":"d"},{"key":"b","type":"d"},{"key":"c","type":"d"}]"#,
            r#"[{"key":"b","type":"d"},{"key":"c","type":"d","branches":{"x":[{"key":"a","type":"d"}]}}]"#,
            expect![[r#"
                Moved /steps/a {"list":"steps","after":null} {"list":"c/x","after":null}
            "#]],
        );
        check(
            r#"[{"key":"a","type":"d"},{"key":"b","type":"d"},{"key":"c","type":"d"}]"#,
            r#"[{"key":"c","type":"d"},{"key":"a","type":"d"},{"key":"b","type":"d"}]"#,
            expect![[r#"
                Moved /steps/c {"list":"steps","after":"b"} {"list":"steps","after":null}
            "#]],
        );
    }
}
