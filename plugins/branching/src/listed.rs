//! Branches that a config lists, each with a `key` and a `title`.

use std::collections::HashSet;

use weft_sdk::prelude::*;

/// What is wrong with the keys in a list of a config: each is there once, and is none of the type's own.
pub fn check(config: &Value, list: &str, own: &[&str]) -> Vec<Problem> {
    if config.get(list).is_some_and(|listed| !listed.is_array()) {
        return vec![Problem::new(&format!("/{list}"), "a list of branches: no variable can stand for it")];
    }
    let mut seen: HashSet<&str> = HashSet::new();
    let mut problems = Vec::new();
    for (index, element) in config[list].as_array().into_iter().flatten().enumerate() {
        let Some(key) = element["key"].as_str() else { continue };
        let wrong = if key.contains("{{") {
            "a branch's key holds no variables"
        } else if own.contains(&key) {
            "every step of this type has a branch of this key already"
        } else if !seen.insert(key) {
            "two branches have the same key"
        } else {
            continue;
        };
        problems.push(Problem::new(&format!("/{list}/{index}/key"), wrong));
    }
    problems
}
