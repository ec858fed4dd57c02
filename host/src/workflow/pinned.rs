//! A config whose variables are given: what a single step is tested with.

use serde_json::{Map, Value};

use super::name::Key;
use super::variables::{Root, Variable};

/// A config that reads everything of its run from `$context`: what was `$context` from `$context.context`, the result of a step from
/// `$context.steps.<key>`, a scope from `$context.scopes.<key>`. What belongs to the host, and the scope of the step itself (`own`), which
/// it gives its branches, stay as they are.
pub fn pinned(config: &Value, own: &Key) -> Value {
    match config {
        Value::String(text) => pinned_text(text, own).into(),
        Value::Array(items) => items.iter().map(|item| pinned(item, own)).collect(),
        Value::Object(members) => {
            let member = |(name, member): (&String, &Value)| (pinned_text(name, own), pinned(member, own));
            Value::Object(members.iter().map(member).collect::<Map<_, _>>())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => config.clone(),
    }
}

fn pinned_text(text: &str, own: &Key) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let Some(close) = rest[open..].find("}}").map(|close| open + close + 2) else { break };
        out.push_str(&rest[..open]);
        let whole = &rest[open..close];
        match Variable::parse(&whole[2..whole.len() - 2]) {
            Ok(Some(variable)) => out.push_str(&moved(&variable, own).unwrap_or_else(|| whole.to_owned())),
            Ok(None) | Err(_) => out.push_str(whole),
        }
        rest = &rest[close..];
    }
    out.push_str(rest);
    out
}

/// None: it stays as it is.
fn moved(variable: &Variable, own: &Key) -> Option<String> {
    let root = match &variable.root {
        Root::Context => "$context.context".to_owned(),
        Root::Step(key) => format!("$context.steps.{key}"),
        Root::Scope(key) if key != own => format!("$context.scopes.{key}"),
        Root::Scope(_) | Root::System(_) | Root::Env(_) | Root::Secret(_) => return None,
    };
    let path: String = variable.path().map(|name| format!(".{name}")).collect();
    let default = variable.default().map(|default| format!(":{default}")).unwrap_or_default();
    Some(format!("{{{{{root}{path}{default}}}}}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_belongs_to_the_run_comes_from_the_context() {
        let config = json!({
            "{{$context.a}}-x": ["{{ $steps.total.result.items.0.price:none }}", "{{$jobsMapByNodeKey.total}} and {{$context}}", 5],
            "scope": "{{$scopes.each.item}} {{$scopes.me.item}}",
            "host": "{{$system.now}} {{$env.A:b}} {{$secrets.S}} {{name}} {{$context.x",
        });
        let want = json!({
            "{{$context.context.a}}-x": ["{{$context.steps.total.items.0.price:none}}", "{{$context.steps.total}} and {{$context.context}}", 5],
            "scope": "{{$context.scopes.each.item}} {{$scopes.me.item}}",
            "host": "{{$system.now}} {{$env.A:b}} {{$secrets.S}} {{name}} {{$context.x",
        });
        assert_eq!(pinned(&config, &"me".parse().unwrap()), want);
    }
}
