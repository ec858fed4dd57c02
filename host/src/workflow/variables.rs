//! `{{…}}`: what a variable names and what it gives.

use std::fmt;

use serde_json::Value;

use super::json::Json;
use super::name::Key;
use super::range::DateRange;
use super::template::{Slice, push_json_string};

/// One `{{path}}` or `{{path:default}}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// As written between the braces, trimmed.
    text: Box<str>,
    /// Where the path begins.
    pub root: Root,
    /// The rest of the path: names of members, or indices.
    path: Vec<Box<str>>,
    default: Option<Box<str>>,
}

/// Where a variable's path begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// `$context`: what the trigger gave the run.
    Context,
    /// `$steps.<key>.result`, or `$jobsMapByNodeKey.<key>`: the newest result of a step.
    Step(Key),
    /// `$scopes.<key>`: what the step around gives its branch, such as a loop's `item`.
    Scope(Key),
    /// `$system.<name>`: a value that the host makes when it is asked.
    System(System),
    /// `$env.<name>`: a variable of the host, as an operator set it.
    Env(Box<str>),
    /// `$secrets.<name>`: never the secret itself, but a token that only this call can spend.
    Secret(Box<str>),
}

/// The values of `$system`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// The time of the call, RFC 3339 in UTC.
    Now,
    /// The time of the call in milliseconds since 1970.
    Epoch,
    /// The number of this host in its cluster.
    InstanceId,
    /// An id that is greater than those before it, as text: it does not fit a JavaScript number.
    SnowflakeId,
    /// When a range of days begins, and the first moment after it, in the host's time zone: a list of both (RFC 3339 in UTC).
    DateRange(DateRange),
}

/// What gives variables their values: a run at one moment.
pub trait Scope {
    /// The value at a root; none where there is none (yet).
    fn get(&self, root: &Root) -> Option<Json>;

    /// Whether this is the key of the step that asks.
    fn is_own(&self, step: &Key) -> bool {
        let _ = step;
        false
    }

    /// Whether the step that asks may replace this step's result: an earlier one that it sees, of its own type.
    fn may_set_result(&self, step: &Key) -> bool {
        let _ = step;
        false
    }
}

impl Variable {
    /// Reads what stands between `{{` and `}}`. None: it is no variable but text of somebody else's (`{{name}}` of a
    /// mail template, say). An error: it is meant as one and cannot be.
    pub fn parse(inner: &str) -> Result<Option<Self>, String> {
        let text = inner.trim();
        let Some(path) = text.strip_prefix("ctx.").unwrap_or(text).strip_prefix('$') else {
            let word = text.split(['.', ':']).next().unwrap_or_default();
            return match word {
                "context" | "steps" | "jobsMapByNodeKey" | "scopes" | "system" | "env" | "secrets" => {
                    Err(format!("`{{{{{text}}}}}`: variables begin with `$`: write `{{{{${text}}}}}`"))
                }
                _ => Ok(None),
            };
        };
        if let Some(bad) = path.chars().find(|c| !is_path_char(*c)) {
            return Err(format!(
                "`{{{{{text}}}}}`: `{bad}` cannot stand in a variable; names and indices are joined by dots: `$context.items.0.name`"
            ));
        }
        let (path, default) = match path.split_once(':') {
            Some((path, default)) => (path, Some(default)),
            None => (path, None),
        };
        let mut segments = path.trim_end().split('.');
        let root = Self::parse_root(text, &mut segments)?;
        let path: Vec<Box<str>> = segments.map(Into::into).collect();
        if path.iter().any(|name| name.is_empty()) {
            return Err(format!("`{{{{{text}}}}}`: two dots side by side, or one at the end"));
        }
        let is_whole = match root {
            Root::System(System::DateRange(_)) | Root::Context | Root::Step(_) | Root::Scope(_) => false,
            Root::System(_) | Root::Env(_) | Root::Secret(_) => true,
        };
        if is_whole && !path.is_empty() {
            return Err(format!("`{{{{{text}}}}}`: this has no members"));
        }
        if matches!(root, Root::Secret(_)) && default.is_some() {
            return Err(format!("`{{{{{text}}}}}`: a secret has no default"));
        }
        Ok(Some(Self { text: text.into(), root, path, default: default.map(Into::into) }))
    }

    /// The names and indices after the root.
    pub fn path(&self) -> impl Iterator<Item = &str> {
        self.path.iter().map(|name| &**name)
    }

    /// The text that stands for it where there is no value.
    pub fn default(&self) -> Option<&str> {
        self.default.as_deref()
    }

    fn parse_root<'a>(text: &str, segments: &mut impl Iterator<Item = &'a str>) -> Result<Root, String> {
        let fail = |what: &str| Err(format!("`{{{{{text}}}}}`: {what}"));
        let first = segments.next().unwrap_or_default();
        if first == "context" {
            return Ok(Root::Context);
        }
        let Some(name) = segments.next().filter(|name| !name.is_empty()) else {
            return match first {
                "steps" | "jobsMapByNodeKey" | "scopes" => fail("the key of a step is missing"),
                "system" | "env" | "secrets" => fail("a name is missing"),
                _ => fail("there are $context, $steps, $scopes, $system, $env and $secrets"),
            };
        };
        let key = || name.parse::<Key>().map_err(|error| format!("`{{{{{text}}}}}`: {error}"));
        match first {
            "steps" => match segments.next() {
                Some("result") => Ok(Root::Step(key()?)),
                _ => fail(&format!("a step has a `result`: `$steps.{name}.result`")),
            },
            "jobsMapByNodeKey" => Ok(Root::Step(key()?)),
            "scopes" => Ok(Root::Scope(key()?)),
            "system" => match name {
                "now" => Ok(Root::System(System::Now)),
                "epoch" => Ok(Root::System(System::Epoch)),
                "instanceId" => Ok(Root::System(System::InstanceId)),
                "genSnowflakeId" => Ok(Root::System(System::SnowflakeId)),
                "dateRange" => match segments.next().and_then(DateRange::named) {
                    Some(range) => Ok(Root::System(System::DateRange(range))),
                    None => fail(&format!("$system.dateRange has {}", DateRange::names().collect::<Vec<_>>().join(", "))),
                },
                _ => fail("$system has `now`, `epoch`, `dateRange.<name>`, `instanceId` and `genSnowflakeId`"),
            },
            "env" => Ok(Root::Env(name.into())),
            "secrets" => Ok(Root::Secret(name.into())),
            _ => fail("there are $context, $steps, $scopes, $system, $env and $secrets"),
        }
    }

    /// Appends the value as JSON; without one the default as a string, without that `null`.
    pub(super) fn write_json(&self, scope: &dyn Scope, out: &mut String) {
        match scope.get(&self.root) {
            Some(json) if self.path.is_empty() => out.push_str(json.text()),
            found => match found.as_ref().and_then(|json| select(json.value(), &self.path)) {
                Some(selected) => selected.write_json(out),
                None => match &self.default {
                    Some(default) => push_json_string(default, out),
                    None => out.push_str("null"),
                },
            },
        }
    }

    /// Some elements of the list that is the value; what is no list stands alone.
    pub(super) fn slice(&self, scope: &dyn Scope, offset: usize, limit: usize) -> Slice {
        let found = scope.get(&self.root);
        match found.as_ref().and_then(|json| select(json.value(), &self.path)) {
            Some(Selected::One(Value::Array(items))) => Slice::of(items, offset, limit),
            Some(Selected::Many(items)) => Slice::of(&items, offset, limit),
            _ => {
                let mut text = String::new();
                self.write_json(scope, &mut text);
                Slice::alone(text)
            }
        }
    }

    /// Appends the value as text: strings as they are, `null` and nothing as the empty text, all else as JSON.
    pub(super) fn write_text(&self, scope: &dyn Scope, out: &mut String) {
        let found = scope.get(&self.root);
        match found.as_ref().and_then(|json| select(json.value(), &self.path)) {
            Some(Selected::One(Value::String(text))) => out.push_str(text),
            Some(Selected::One(Value::Null)) => {}
            Some(selected) => selected.write_json(out),
            None => out.push_str(self.default.as_deref().unwrap_or_default()),
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{{}}}}}", self.text)
    }
}

fn is_path_char(c: char) -> bool {
    c.is_alphanumeric() || ": -+.,@/()?=*_$".contains(c)
}

#[derive(Debug, PartialEq)]
enum Selected<'a> {
    One(&'a Value),
    Many(Vec<&'a Value>),
    Length(usize),
}

impl Selected<'_> {
    fn write_json(&self, out: &mut String) {
        match self {
            Self::One(value) => out.push_str(&value.to_string()),
            Self::Many(values) => out.push_str(&serde_json::to_string(values).expect("a Value always serialises")),
            Self::Length(length) => out.push_str(&length.to_string()),
        }
    }
}

/// Follows a path. An index picks from an array, and `length` is the number of its items; any other name applied to an
/// array is applied to each item, and what comes out is one flat array: `orders.lines.price` on orders with lines gives
/// all prices.
fn select<'a>(value: &'a Value, path: &[Box<str>]) -> Option<Selected<'a>> {
    let Some((name, rest)) = path.split_first() else {
        return Some(Selected::One(value));
    };
    match value {
        Value::Object(members) => select(members.get(&**name)?, rest),
        Value::Array(items) => match name.parse::<usize>() {
            Ok(index) => select(items.get(index)?, rest),
            Err(_) if &**name == "length" => rest.is_empty().then_some(Selected::Length(items.len())),
            Err(_) => {
                let mut all = Vec::new();
                for item in items {
                    match select(item, path) {
                        Some(Selected::One(Value::Array(inner))) => all.extend(inner),
                        Some(Selected::One(one)) => all.push(one),
                        Some(Selected::Many(many)) => all.extend(many),
                        // Only a list has a length, and what a list gives is in `many`.
                        Some(Selected::Length(_)) | None => {}
                    }
                }
                Some(Selected::Many(all))
            }
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::template::Template;
    use super::*;

    struct Fixed;

    impl Scope for Fixed {
        fn get(&self, root: &Root) -> Option<Json> {
            let value = match root {
                Root::Context => json!({
                    "n": 1.5, "none": null, "text": "a \"b\"", "list": [{"t": 1, "u": [1, 2]}, {"t": 2, "u": [3]}, {}],
                    "deep": [{"a": [{"b": 1}, {"b": [2, 3]}]}, {"a": [{"b": 4}]}], "empty": []
                }),
                Root::Step(key) if key.as_str() == "s" => json!([10, 20]),
                Root::Scope(key) if key.as_str() == "l" => json!({"item": "x", "index": 0}),
                Root::System(System::Now) => json!("2026-11-23T00:00:00.000Z"),
                _ => return None,
            };
            Some(Json::from(value))
        }
    }

    fn fill(config: Value) -> Value {
        let filled = Template::parse(&config).expect("is a template").render(&Fixed, 10_000).expect("is short");
        serde_json::from_str(filled.text()).expect("renders JSON")
    }

    fn refuse(text: &str) -> String {
        Template::parse(&json!({ "a": text })).expect_err("is refused")[0].message.clone()
    }

    #[test]
    fn one_variable_keeps_its_type_and_a_text_becomes_text() {
        assert_eq!(fill(json!("{{$context.n}}")), json!(1.5));
        assert_eq!(fill(json!("{{ $context.n }}")), json!(1.5));
        assert_eq!(fill(json!("n={{$context.n}};{{$context.none}}{{$context.missing}}")), json!("n=1.5;"));
        assert_eq!(fill(json!("{{$context.text}}")), json!("a \"b\""));
        assert_eq!(fill(json!("<{{$context.text}}>")), json!("<a \"b\">"));
        assert_eq!(fill(json!("{{$context.empty}} {{$scopes.l}}")), json!("[] {\"item\":\"x\",\"index\":0}"));
        assert_eq!(fill(json!("{{$system.now}}")), json!("2026-11-23T00:00:00.000Z"));
    }

    #[test]
    fn keys_arrays_and_nesting() {
        let config = json!({"{{$scopes.l.item}}-key": [{"v": "{{$steps.s.result.1}}"}, 1, "plain"]});
        assert_eq!(fill(config), json!({"x-key": [{"v": 20}, 1, "plain"]}));
    }

    #[test]
    fn missing_is_null_or_the_default() {
        assert_eq!(fill(json!("{{$context.no.way}}")), json!(null));
        assert_eq!(fill(json!("{{$context.no:some text}}")), json!("some text"));
        assert_eq!(fill(json!("<{{$context.no:-}}>")), json!("<->"));
        assert_eq!(fill(json!("{{$context.none:x}}")), json!(null), "null is a value");
        assert_eq!(fill(json!("{{$steps.other.result}}")), json!(null));
    }

    #[test]
    fn a_name_applied_to_an_array_maps_and_flattens() {
        assert_eq!(fill(json!("{{$context.list.t}}")), json!([1, 2]));
        assert_eq!(fill(json!("{{$context.list.u}}")), json!([1, 2, 3]));
        assert_eq!(fill(json!("{{$context.list.1.t}}")), json!(2));
        assert_eq!(fill(json!("{{$context.deep.a.b}}")), json!([1, 2, 3, 4]));
        assert_eq!(fill(json!("{{$context.empty.x}}")), json!([]));
        assert_eq!(fill(json!("{{$context.list.9}}")), json!(null));
        assert_eq!(fill(json!("{{$context.list.length}}")), json!(3));
        assert_eq!(fill(json!("{{$context.empty.length}} items")), json!("0 items"));
        assert_eq!(fill(json!("{{$context.text.length}}")), json!(null), "texts have no members");
    }

    #[test]
    fn a_slice_is_part_of_a_list_and_what_is_none_stands_alone() {
        let slice = |config: Value, offset, limit| {
            let slice = Template::parse(&config).unwrap().slice(&Fixed, offset, limit, 100).unwrap();
            (slice.length, slice.items.join(" "))
        };
        assert_eq!(slice(json!("{{$context.list}}"), 1, 1), (Some(3), r#"{"t":2,"u":[3]}"#.into()));
        assert_eq!(slice(json!("{{$context.list.u}}"), 1, 5), (Some(3), "2 3".into()));
        assert_eq!(slice(json!("{{$context.list}}"), 3, 1), (Some(3), String::new()));
        assert_eq!(slice(json!([1, "{{$context.n}}"]), 1, 1), (Some(2), "1.5".into()));
        assert_eq!(slice(json!("{{$context.n}}"), 7, 1), (None, "1.5".into()));
        assert_eq!(slice(json!("{{$context.missing}}"), 0, 1), (None, "null".into()));
        assert_eq!(slice(json!("{{$context.missing:a}}"), 0, 1), (None, "\"a\"".into()));
        assert!(Template::parse(&json!("{{$context.list}}")).unwrap().slice(&Fixed, 0, 3, 10).is_err());
    }

    #[test]
    fn raw_parts_keep_their_templates() {
        let schema = json!({"properties": {"later": {"x-weft-raw": true}}});
        let config = json!({"now": "{{$context.n}}", "later": ["{{$context.n}}", "{{$context.a[0]}}"]});
        let (template, problems) = Template::read_with(&config, Some(&schema));
        assert_eq!(problems, [], "a plugin that reads it says what is wrong");
        assert_eq!(template.variables().len(), 1);
        let filled = template.render(&Fixed, 1_000).unwrap();
        assert_eq!(*filled.value(), json!({"now": 1.5, "later": ["{{$context.n}}", "{{$context.a[0]}}"]}));
    }

    #[test]
    fn other_spellings() {
        assert_eq!(fill(json!("{{$jobsMapByNodeKey.s.0}}")), json!(10));
        assert_eq!(fill(json!("{{ctx.$context.n}}")), json!(1.5));
        assert_eq!(fill(json!("{{name}} {{ }} {{}} {{")), json!("{{name}} {{ }} {{}} {{"));
    }

    #[test]
    fn what_is_meant_as_a_variable_and_is_none_is_refused() {
        assert!(refuse("{{$context.a[0]}}").contains("joined by dots"));
        assert!(refuse("{{context.a}}").contains("write `{{$context.a}}`"));
        assert!(refuse("{{$steps.a}}").contains("$steps.a.result"));
        assert!(refuse("{{$nothing.a}}").contains("there are"));
        assert!(refuse("{{$context..a}}").contains("two dots"));
        assert!(refuse("{{$system.time}}").contains("`now`"));
        assert!(refuse("{{$system.dateRange.someday}}").contains("thisWeek"));
        assert!(refuse("{{$env.A.b}}").contains("no members"));
        assert!(refuse("x {{$secrets.}}").contains("name is missing"));
        let problems = Template::parse(&json!({"a/b": ["", "{{$x.y}}"]})).unwrap_err();
        assert_eq!(problems[0].pointer, "/a~1b/1");
    }

    #[test]
    fn values_are_not_read_again() {
        struct Evil;
        impl Scope for Evil {
            fn get(&self, _: &Root) -> Option<Json> {
                Some(Json::from(json!({"a": "{{$secrets.X}}", "{{$context}}": 1})))
            }
        }
        let template = Template::parse(&json!(["{{$context.a}}", "<{{$context.a}}>", "{{$context}}"])).unwrap();
        let filled = template.render(&Evil, 10_000).unwrap();
        let value = filled.value();
        assert_eq!(value[0], "{{$secrets.X}}");
        assert_eq!(value[1], "<{{$secrets.X}}>");
        assert_eq!(value[2]["{{$context}}"], 1);
    }

    #[test]
    fn a_template_that_grows_too_long_is_an_error() {
        let many = Template::parse(&json!(["{{$context}}", "{{$context}} {{$context}}"])).unwrap();
        let length = many.render(&Fixed, usize::MAX).unwrap().text().len();
        assert!(many.render(&Fixed, length).is_ok());
        assert!(many.render(&Fixed, length - 1).is_err());
    }

    #[test]
    fn variables_are_listed_with_their_places() {
        let template = Template::parse(&json!({"a": ["{{$steps.x.result.y}} {{$context}}"], "b{{$context.k}}": 1})).unwrap();
        let places: Vec<(String, String)> =
            template.variables().into_iter().map(|(at, variable)| (at, variable.to_string())).collect();
        let want = [("/a/0", "{{$steps.x.result.y}}"), ("/a/0", "{{$context}}"), ("/b{{$context.k}}", "{{$context.k}}")];
        assert_eq!(places, want.map(|(at, text)| (at.to_owned(), text.to_owned())));
    }
}
