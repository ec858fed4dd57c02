//! The conformance report of a component: everything that a host wants of a plugin, found out before anybody installs it.

use std::sync::Arc;

use serde::Serialize;

use super::bench::{Bench, LoadError};
use super::case::CaseError;
use super::example::{bad_examples, example};
use super::expect::mismatches;
use super::golden::GoldenCase;
use super::measure::Measured;
use super::trial::Verdict;
use crate::digest::Digest;
use crate::plugin::{CONTRACT, ExamineError, Facts, Kind, Refusal, admit, inspect};
use crate::workflow::Schema;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// It is as it must be.
    Passed,
    /// It is not.
    Failed,
    /// There is nothing to judge: a measurement, or something to know.
    Noted,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was looked at.
    pub check: String,
    /// How it came out.
    pub mark: Mark,
    /// What was found.
    pub said: String,
    /// What is wrong and what to do, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// Every check of a component.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Whether nothing failed.
    pub passed: bool,
    /// `vendor/name`, if it could say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The digest of the file.
    pub digest: String,
    /// The checks, in order. One that fails may leave out those after it.
    pub checks: Vec<Row>,
    /// What calls cost here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
}

/// Checks a component, and carries out its golden cases.
pub async fn check(bytes: Arc<[u8]>, golden: &[GoldenCase]) -> Result<Report, CaseError> {
    let mut report = Report { digest: Digest::of(&bytes).to_string(), ..Report::default() };
    if let Some(facts) = report.look(&bytes)
        && let Some(bench) = report.load(bytes, &facts).await
    {
        report.ask(&bench).await?;
        report.schemas(&bench);
        let measured = bench.measure().await?;
        report.note("costs", measured.said());
        report.measured = Some(measured);
        report.hostile(&bench).await?;
        report.golden(&bench, golden).await;
    }
    report.passed = report.checks.iter().all(|row| row.mark != Mark::Failed);
    Ok(report)
}

impl Report {
    fn row(&mut self, check: &str, mark: Mark, said: impl Into<String>, problems: Vec<String>) {
        self.checks.push(Row { check: check.into(), mark, said: said.into(), problems });
    }

    fn pass(&mut self, check: &str, said: impl Into<String>) {
        self.row(check, Mark::Passed, said, Vec::new());
    }

    fn note(&mut self, check: &str, said: impl Into<String>) {
        self.row(check, Mark::Noted, said, Vec::new());
    }

    /// Passed without problems.
    fn judge(&mut self, check: &str, said: impl Into<String>, problems: Vec<String>) {
        let mark = if problems.is_empty() { Mark::Passed } else { Mark::Failed };
        self.row(check, mark, said, problems);
    }

    fn fail(&mut self, check: &str, error: &dyn std::fmt::Display) {
        self.row(check, Mark::Failed, "", vec![error.to_string()]);
    }

    /// What can be said without running it.
    fn look(&mut self, bytes: &[u8]) -> Option<Facts> {
        let facts = match inspect(bytes) {
            Ok(facts) => facts,
            Err(refusal) => {
                self.fail("file", &refusal);
                return None;
            }
        };
        self.pass("file", format!("a component of {} KiB", bytes.len().div_ceil(1024)));
        if let Err(refusal) = admit(&facts) {
            let check = match refusal {
                Refusal::OtherContract { .. } => "contract",
                Refusal::UnknownImports(_) => "imports",
                _ => "world",
            };
            self.fail(check, &refusal);
            return None;
        }
        let of_contract = |name: &String| name.strip_prefix("weft:plugin/").map(ToOwned::to_owned);
        let exports: Vec<String> = facts.exports.iter().filter_map(of_contract).collect();
        self.pass("world", format!("exports {}", exports.join(", ")));
        let found = exports.iter().find_map(|export| export.strip_prefix("info@")).unwrap_or_default();
        self.pass("contract", format!("made for version {found}, and this host speaks {CONTRACT}"));
        let of_types = |import: String| import.split_once('@').map(|(name, _)| name.to_owned()).filter(|name| name != "types");
        let mut asked: Vec<String> = facts.imports.iter().filter_map(of_contract).filter_map(of_types).collect();
        if facts.uses_wasi("http") {
            asked.push("wasi:http".into());
        }
        let granted: Vec<&str> = asked.iter().map(String::as_str).filter(|import| NEEDS_GRANT.contains(import)).collect();
        let said = match (&asked[..], &granted[..]) {
            ([], _) => "nothing that needs a grant".to_owned(),
            (_, []) => format!("{}; none needs a grant", asked.join(", ")),
            _ => format!("{}; an operator must grant {}", asked.join(", "), granted.join(", ")),
        };
        self.pass("imports", said);
        Some(facts)
    }

    /// Compiles it and asks who it is.
    async fn load(&mut self, bytes: Arc<[u8]>, _: &Facts) -> Option<Bench> {
        let bench = match Bench::load(bytes).await {
            Ok(bench) => bench,
            Err(LoadError::Examine(ExamineError::Description(problems))) => {
                self.judge("describes", "", problems);
                return None;
            }
            Err(error) => {
                let check = match &error {
                    LoadError::Examine(ExamineError::Describe(_)) => "describes",
                    LoadError::Examine(ExamineError::Refused(_)) => "contract",
                    _ => "compiles",
                };
                self.fail(check, &error);
                return None;
            }
        };
        self.pass("compiles", format!("{} ms, with asking who it is", bench.loaded_ms));
        let description = &bench.plugin().description;
        let (name, version) = (description.name.clone(), description.version.to_string());
        let types = (description.nodes.iter().map(|node| node.name.as_str()))
            .chain(description.triggers.iter().map(|trigger| trigger.name.as_str()))
            .collect::<Vec<_>>()
            .join(", ");
        let mut problems = Vec::new();
        if description.summary.trim().is_empty() {
            problems.push("the plugin has no summary: say in a sentence what it is for".to_owned());
        }
        let summaries = (description.nodes.iter().map(|node| (&node.name, &node.summary)))
            .chain(description.triggers.iter().map(|trigger| (&trigger.name, &trigger.summary)));
        for (kind, _) in summaries.filter(|(_, summary)| summary.trim().is_empty()) {
            problems.push(format!("the type `{kind}` has no summary: say in a sentence what it does"));
        }
        self.judge("describes", format!("{name} {version} with {types}"), problems);
        (self.name, self.version) = (Some(name), Some(version));
        Some(bench)
    }

    /// Whether it says the same each time, and does nothing else.
    async fn ask(&mut self, bench: &Bench) -> Result<(), CaseError> {
        let mut problems = Vec::new();
        let mut said = Vec::new();
        for _ in 0..2 {
            let mut instance = bench.instance().await?;
            said.push(instance.describe().await?);
            let context = instance.observed();
            if context.used.host_calls > 0 {
                problems.push(format!("it made {} requests to the host while it was asked who it is", context.used.host_calls));
            }
            if let Some(line) = context.log.lines.first() {
                problems.push(format!("it logged while it was asked who it is: {}", line.message));
            }
        }
        if said[0] != said[1] {
            problems
                .push("two instances described themselves differently: a description must not depend on time or chance".into());
        }
        problems.dedup();
        self.judge("describes purely", "two instances say the same, and do nothing else", problems);
        Ok(())
    }

    /// Schemas, and the examples in them.
    fn schemas(&mut self, bench: &Bench) {
        let description = &bench.plugin().description;
        let (mut problems, mut count) = (Vec::new(), 0);
        let mut look = |kind: &str, what: &str, schema: Option<&serde_json::Value>| {
            let Some(schema) = schema else { return };
            count += 1;
            if let Err(error) = Schema::parse(schema) {
                problems.push(format!("type `{kind}`: its {what} schema is {error}"));
            }
            problems.extend(bad_examples(schema).into_iter().map(|bad| format!("type `{kind}`: {what} schema{bad}")));
        };
        for node in &description.nodes {
            look(&node.name, "config", Some(&node.config_schema));
            look(&node.name, "result", node.result_schema.as_ref());
            for branch in &node.branches {
                look(&node.name, "scope", branch.scope_schema.as_ref());
            }
        }
        for trigger in &description.triggers {
            look(&trigger.name, "config", Some(&trigger.config_schema));
            look(&trigger.name, "context", trigger.context_schema.as_ref());
        }
        self.judge("schemas", format!("{count} are valid, and their examples and defaults fit"), problems);
        let without: Vec<String> =
            types(bench).filter(|(.., schema)| example(schema).is_none()).map(|(_, name, _)| name).collect();
        if !without.is_empty() {
            let without = without.join(", ");
            self.note(
                "examples",
                format!("no config could be made up for {without}: give its schema `examples` so that it is tried, too"),
            );
        }
    }

    async fn hostile(&mut self, bench: &Bench) -> Result<(), CaseError> {
        for (kind, name, schema) in types(bench) {
            let endured = bench.endure(kind, &name, &schema).await?;
            let failed = endured.tried - endured.done.min(endured.tried);
            let said = format!("{} odd inputs: {} answered, {failed} failed cleanly", endured.tried, endured.done);
            self.judge(
                &format!("endures: {name}"),
                if endured.problems.is_empty() { said } else { String::new() },
                endured.problems,
            );
        }
        Ok(())
    }

    async fn golden(&mut self, bench: &Bench, cases: &[GoldenCase]) {
        if cases.is_empty() {
            self.note("golden cases", "none; a folder `cases`, or FILE-cases beside the file, holds them");
        }
        for GoldenCase { name, case } in cases {
            let check = format!("case: {name}");
            match bench.run(case).await {
                Ok(trial) => {
                    let mut problems = mismatches(&case.expect, &trial);
                    // What broke off is never as expected, unless the case says so.
                    if let Verdict::Broke(failure) = &trial.verdict
                        && !case.expect.contains_key("failed")
                    {
                        problems.push(failure.message.to_string());
                    }
                    let count = trial.calls.len();
                    self.judge(
                        &check,
                        if problems.is_empty() { format!("as expected, in {count} calls") } else { String::new() },
                        problems,
                    );
                }
                Err(error) => self.fail(&check, &error),
            }
        }
    }
}

/// What an operator grants.
const NEEDS_GRANT: [&str; 6] = ["http", "wasi:http", "kv", "files", "workflows", "crypto"];

/// Every type with the schema of its config.
fn types(bench: &Bench) -> impl Iterator<Item = (Kind, String, serde_json::Value)> {
    let description = &bench.plugin().description;
    let nodes = description.nodes.iter().map(|node| (Kind::Node, node.name.clone(), node.config_schema.clone()));
    nodes.chain(description.triggers.iter().map(|trigger| (Kind::Trigger, trigger.name.clone(), trigger.config_schema.clone())))
}

impl Measured {
    /// In words.
    fn said(&self) -> String {
        format!(
            "{} us for a fresh instance and its first call ({}), {} us for the next, {} KiB of memory before it does anything",
            self.cold_us,
            self.call,
            self.warm_us,
            self.memory_bytes / 1024
        )
    }
}
