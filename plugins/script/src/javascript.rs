//! `javascript`: carries out a script.

use std::time::Duration;

use serde_json::value::RawValue;
use weft_js::{CALL_MAX, Engine, Kind, Thrown};
use weft_sdk::capability::log;
use weft_sdk::prelude::*;

/// Carries out JavaScript (ES2023) and gives what it returns.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Javascript {
    /// The body of a function: `return` gives the step's result, `await` may be used, `console` writes to the step's log. There is the language and
    /// nothing else: no modules, timers, files or network. `{{…}}` is not filled in here: name it in `arguments`.
    ///
    /// What JSON does not have becomes: `undefined`, functions and numbers that are none `null`; a `BigInt` a number, or a text if it is too large to be exact;
    /// a `Date` its ISO text; a `Map` with texts as keys an object, else a list of pairs; a `Set` and a typed array a list; an `Error` its name and message.
    #[schemars(extend("x-weft-raw" = true, "x-weft-language" = "javascript"))]
    content: String,
    /// Values that the script sees as global variables.
    #[serde(default)]
    arguments: Vec<Argument>,
    /// Milliseconds that the script may take. Beyond the five seconds of computing that a host allows by itself the operator must allow more, too
    /// (`weft plugin grant weft/script --limit cpu_ms=…`).
    #[serde(default = "timeout_ms")]
    #[schemars(range(min = 1))]
    timeout_ms: u64,
    /// Whether the workflow goes on, with the result `null`, if the script fails. The failure is in the log.
    #[serde(default)]
    continue_on_error: bool,
}

fn timeout_ms() -> u64 {
    u64::try_from(CALL_MAX.as_millis()).unwrap_or(u64::MAX)
}

/// A value by name.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Argument {
    /// What the script calls it.
    name: String,
    /// The value, with its variables filled in; a date is its text.
    #[schemars(with = "Value")]
    value: Box<RawValue>,
}

impl Node for Javascript {
    const NAME: &str = "javascript";

    fn node_type() -> NodeType {
        NodeType::of::<Self>()
            .category("calculation")
            .result::<Value>()
            .fails("script-error", "The script threw something; the message says what and where.", "/content")
            .fails("script-syntax", "What the script evaluates is no JavaScript; the message says where.", "/content")
            .fails("script-timeout", "The script took longer than `timeout_ms`: raise it, or do less in one step.", "/timeout_ms")
            .fails(
                "script-memory",
                "The script used up its memory (128 MiB, or less if the plugin's limit is lower): hold less at one time.",
                "/content",
            )
            .fails("script-stack", "The script called too deep: does it call itself for ever?", "/content")
            .fails(
                "script-pending",
                "The script waits for a promise that nothing settles: there are no timers and no network here.",
                "/content",
            )
            .fails("invalid-config", "An argument has a name that cannot be a variable; the message says which.", "/arguments")
    }

    fn check(config: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(content) = config.get("content").and_then(Value::as_str)
            && let Err(thrown) = Engine::get().fresh_realm().check(content)
        {
            problems.push(Problem::new("/content", thrown.message));
        }
        let arguments = config.get("arguments").and_then(Value::as_array);
        let names = arguments.into_iter().flatten().map(|argument| argument.get("name").and_then(Value::as_str));
        let names: Vec<Option<&str>> = names.collect();
        for (index, name) in names.iter().enumerate() {
            let Some(name) = name else { continue };
            let message = match wrong_with(name) {
                Some(wrong) => wrong,
                None if names[..index].contains(&Some(name)) => format!("there is an argument `{name}` already"),
                None => continue,
            };
            problems.push(Problem::new(&format!("/arguments/{index}/name"), message));
        }
        problems
    }

    fn execute(self, _: &Call) -> Answer {
        for (index, argument) in self.arguments.iter().enumerate() {
            if let Some(wrong) = wrong_with(&argument.name) {
                return Err(Failure::invalid_config(&format!("/arguments/{index}/name"), wrong));
            }
        }
        let engine = Engine::get();
        let realm = engine.fresh_realm();
        let globals = self.arguments.iter().map(|argument| (argument.name.as_str(), argument.value.get()));
        let result = realm
            .set_up(write, globals)
            .and_then(|()| engine.within(Duration::from_millis(self.timeout_ms), || realm.run(&self.content)));
        match result {
            Ok(json) => Ok(Outcome::Done(json)),
            Err(thrown) if self.continue_on_error => {
                log::error(&format!("the script failed, and the workflow goes on: {}", thrown.message));
                done(Value::Null)
            }
            Err(thrown) => Err(failure(thrown)),
        }
    }
}

fn failure(thrown: Thrown) -> Failure {
    thrown.stack.lines().for_each(log::debug);
    let code = match thrown.kind {
        Kind::Error => "script-error",
        Kind::Syntax => "script-syntax",
        Kind::Time => "script-timeout",
        Kind::Memory => "script-memory",
        Kind::Stack => "script-stack",
        Kind::Pending => "script-pending",
    };
    Failure::new(code, thrown.message)
}

fn write(level: u8, message: &str) {
    for line in message.lines() {
        match level {
            0 => log::debug(line),
            1 => log::info(line),
            2 => log::warn(line),
            _ => log::error(line),
        }
    }
}

/// Why a name cannot be one of a variable.
fn wrong_with(name: &str) -> Option<String> {
    let is_letter = |c: char| c.is_alphabetic() || c == '_' || c == '$';
    let mut chars = name.chars();
    if !chars.next().is_some_and(is_letter) || !chars.all(|c| is_letter(c) || c.is_numeric()) {
        return Some(format!("`{name}` is no name of a variable: letters, digits, `_` and `$`, and no digit first"));
    }
    RESERVED.contains(&name).then(|| format!("`{name}` has a meaning in JavaScript: give the argument another name"))
}

/// The words that a variable cannot be called (ECMA-262 §12.7.2), and those that a script relies on.
#[rustfmt::skip]
const RESERVED: [&str; 55] = [
    "arguments", "async", "await", "break", "case", "catch", "class", "const", "continue", "debugger", "default", "delete", "do", "else", "enum", "eval",
    "export", "extends", "false", "finally", "for", "function", "if", "implements", "import", "in", "instanceof", "interface", "let", "new", "null", "of",
    "package", "private", "protected", "public", "return", "static", "super", "switch", "this", "throw", "true", "try", "typeof", "undefined", "var", "void",
    "while", "with", "yield", "globalThis", "console", "NaN", "Infinity",
];
