//! Configs and events that no author meant: a plugin answers them or fails cleanly, and never breaks off.

use serde_json::{Map, Value, json};

use super::bench::Bench;
use super::case::{Case, CaseError, HttpAnswer};
use super::event::GivenEvent;
use super::example::example;
use super::expect::cut;
use super::trial::{Trial, Verdict};
use crate::limits::{HOSTILE_CONFIGS_MAX, HOSTILE_DEPTH, HOSTILE_TEXT_BYTES};
use crate::plugin::Kind;
use crate::run::Failure;

/// Problems of one type after which it is left alone: each may cost all the time that a call has.
const PROBLEMS_MAX: usize = 3;

/// Characters of a failure's message that are shown.
const MESSAGE_CHARS_MAX: usize = 200;

/// What one type did with them.
#[derive(Default)]
pub(super) struct Endured {
    pub(super) tried: usize,
    /// How many of them it could do its work with.
    pub(super) done: usize,
    /// What broke it, one sentence each.
    pub(super) problems: Vec<String>,
}

impl Bench {
    /// Calls a type with what no author meant.
    pub(super) async fn endure(&self, kind: Kind, name: &str, schema: &Value) -> Result<Endured, CaseError> {
        let mut endured = Endured::default();
        let base = example(schema);
        for config in configs(schema, base.as_ref()) {
            let case = Case { unchecked: true, config, ..of(kind, name) };
            self.try_one(&mut endured, &case, &case.config).await?;
        }
        let Some(config) = base else { return Ok(endured) };
        let base = Case { unchecked: true, config, ..of(kind, name) };
        match kind {
            Kind::Trigger => {
                for input in events() {
                    let case = Case { input, ..base.clone() };
                    self.try_one(&mut endured, &case, &case.input).await?;
                }
            }
            Kind::Node => self.endure_events(&mut endured, &base, name).await?,
        }
        Ok(endured)
    }

    /// What servers answer, and what happens while a step waits, comes from outside as well.
    async fn endure_events(&self, endured: &mut Endured, base: &Case, name: &str) -> Result<(), CaseError> {
        let Some(kind) = self.plugin().node(name) else { return Ok(()) };
        let facts = &self.plugin().facts;
        if facts.uses("http") || facts.uses_wasi("http") || kind.waits.iter().any(|wait| wait == "request") {
            for (answer, shown) in answers() {
                let case = Case { http: vec![answer], ..base.clone() };
                self.try_one(endured, &case, &json!({ "a server answers": shown })).await?;
            }
        }
        let keys: Vec<&str> = kind.branch_keys(&base.config).collect();
        for value in values().into_iter().filter(|_| !keys.is_empty()) {
            let branches = keys.iter().map(|key| ((*key).to_owned(), value.clone())).collect();
            self.try_one(endured, &Case { branches, ..base.clone() }, &json!({ "its branches give": value })).await?;
        }
        let ran = match self.run(base).await {
            Err(CaseError::Invalid(_)) => return Ok(()),
            ran => ran?,
        };
        for wait in ran.came_to.get("pending").and_then(|pending| pending["wait"].as_array()).into_iter().flatten() {
            for value in values() {
                let Some(event) = event_for(wait, &value) else { continue };
                let case = Case { resume: vec![event], ..base.clone() };
                self.try_one(endured, &case, &json!({ "what it waits for": wait["kind"], "gives": value })).await?;
            }
        }
        Ok(())
    }

    async fn try_one(&self, endured: &mut Endured, case: &Case, shown: &Value) -> Result<(), CaseError> {
        if endured.problems.len() >= PROBLEMS_MAX {
            return Ok(());
        }
        endured.tried += 1;
        let Trial { verdict, .. } = match self.run(case).await {
            // A step that goes round for ever has not broken.
            Err(CaseError::Invalid(_)) => return Ok(()),
            ran => ran?,
        };
        match verdict {
            Verdict::Done | Verdict::Waits => endured.done += 1,
            Verdict::Failed(_) | Verdict::Refused(_) => {}
            Verdict::Broke(failure) => endured.problems.push(format!("{}: {}", cut(shown), said(&failure))),
        }
        // What checks a config before it is published gets the same.
        let is_config = case.input.is_null() && case.http.is_empty() && case.resume.is_empty() && case.branches.is_empty();
        if is_config
            && endured.problems.len() < PROBLEMS_MAX
            && let Err(error) = self.check_alone(case).await
        {
            endured.problems.push(format!("`check` of {}: {error}", cut(shown)));
        }
        Ok(())
    }

    /// Asks the plugin's own `check`, whatever the schema says.
    async fn check_alone(&self, case: &Case) -> Result<(), crate::plugin::CallError> {
        use crate::plugin::contract::types::Kind;
        let config = case.config().to_string();
        let mut instance = self.instance().await?;
        match (&case.node, &case.trigger) {
            (Some(node), _) => instance.check(Kind::Node, node, &config).await.map(drop),
            (_, Some(trigger)) => instance.check(Kind::Trigger, trigger, &config).await.map(drop),
            _ => Ok(()),
        }
    }
}

/// Why, in a line: a message may repeat what the plugin was given.
fn said(failure: &Failure) -> String {
    let line = failure.message.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut message: String = line.take(MESSAGE_CHARS_MAX + 1).collect();
    if message.chars().count() > MESSAGE_CHARS_MAX {
        message.pop();
        message.push('…');
    }
    format!("{message} ({})", failure.code)
}

fn of(kind: Kind, name: &str) -> Case {
    match kind {
        Kind::Node => Case { node: Some(name.into()), ..Case::default() },
        Kind::Trigger => Case { trigger: Some(name.into()), ..Case::default() },
    }
}

/// Values of every type, and the ends of each.
fn values() -> Vec<Value> {
    let deep = (0..HOSTILE_DEPTH).fold(json!(1), |inner, _| json!([inner]));
    vec![
        Value::Null,
        true.into(),
        json!(-1),
        json!(0.1),
        json!(1e308),
        json!(9_007_199_254_740_993_i64),
        "".into(),
        "\u{0}\u{7f}\u{200b}\u{202e}\u{feff}ﷺ🙂e\u{301}\"\\</script>%s{{".into(),
        "x".repeat(HOSTILE_TEXT_BYTES).into(),
        json!([]),
        json!([null, {"a": 1}]),
        json!({}),
        json!({"": {"constructor": {"__proto__": 1}}}),
        deep,
    ]
}

/// Configs around one that the schema takes; without one, around the schema's members.
fn configs(schema: &Value, base: Option<&Value>) -> Vec<Value> {
    let mut configs = values();
    let base = base.and_then(Value::as_object).cloned().unwrap_or_default();
    let with = |name: &str, value: Value| {
        let mut config: Map<String, Value> = base.clone();
        config.insert(name.to_owned(), value);
        Value::Object(config)
    };
    configs.push(with("a member that nobody knows \u{1f9f5}", json!({"a": [1]})));
    for name in schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name) {
        configs.extend(values().into_iter().map(|value| with(name, value)));
    }
    configs.truncate(HOSTILE_CONFIGS_MAX);
    configs
}

/// Answers of servers that no author hopes for.
fn answers() -> Vec<(HttpAnswer, Value)> {
    let deep = "[".repeat(HOSTILE_DEPTH * 10);
    let bodies = ["", "not JSON", "null", "\u{0}", &deep, &"x".repeat(HOSTILE_TEXT_BYTES)].map(|body| HttpAnswer {
        headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
        body: body.into(),
        ..HttpAnswer::default()
    });
    let failing = HttpAnswer { status: Some(500), ..HttpAnswer::default() };
    let gone = HttpAnswer { fault: Some("timed-out".into()), ..HttpAnswer::default() };
    let shown = |answer: &HttpAnswer| json!({"status": answer.status, "fault": answer.fault, "body": answer.body});
    bodies.into_iter().chain([failing, gone]).map(|answer| (answer.clone(), shown(&answer))).collect()
}

/// An event that ends a wait, or goes on with it; none for a wait that ends by itself.
fn event_for(wait: &Value, value: &Value) -> Option<GivenEvent> {
    let id = wait["id"].as_str()?.to_owned();
    Some(match wait["kind"].as_str()? {
        "signal" => GivenEvent::Signalled { id, payload: value.clone() },
        "task" => {
            let action = wait["actions"][0].as_str()?.to_owned();
            GivenEvent::TaskActed { id, user: "somebody".into(), action, values: json!({ "value": value }) }
        }
        "child" => GivenEvent::child_ended(id, value.clone()),
        _ => return None,
    })
}

/// Events around a request that a trigger may get.
fn events() -> Vec<Value> {
    let deep = "[".repeat(HOSTILE_DEPTH * 10);
    let bodies =
        ["", "not JSON", "{", &deep, "\u{0}", &"x".repeat(HOSTILE_TEXT_BYTES)].map(|body| json!({"http": {"body": body}}));
    let headers = json!({"content-type": "application/json; charset=\"", "authorization": "Basic ====", "x": "\u{ff}"});
    let odd = json!({"http": {"method": "X", "path": "../%00", "query": "a=%&=&&%ff", "headers": headers, "body": {"a": null}}});
    bodies
        .into_iter()
        .chain([odd, json!({"called": {"context": null}}), json!({"topic": {"topic": ""}}), json!({"timer": {"id": ""}})])
        .collect()
}
