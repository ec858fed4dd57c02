//! The variables of a case.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use serde_json::Value;

use super::case::Case;
use crate::digest::Digest;
use crate::run::SecretUse;
use crate::workflow::{Json, Key, Root, Scope, System};

/// The key of the step that a case calls.
pub(super) const STEP: &str = "step";

/// What a case's config can name: as in a run, a secret is a token.
pub(super) struct CaseScope {
    context: Json,
    steps: BTreeMap<String, Value>,
    scopes: BTreeMap<String, Value>,
    now_ms: u64,
    tokens: Mutex<Vec<SecretUse>>,
}

impl CaseScope {
    pub(super) fn of(case: &Case, now_ms: u64) -> Self {
        Self {
            context: Json::from(case.context().clone()),
            steps: case.variables.steps.clone(),
            scopes: case.variables.scopes.clone(),
            now_ms,
            tokens: Mutex::default(),
        }
    }

    /// The tokens that were given out.
    pub(super) fn tokens(&self) -> Vec<SecretUse> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same token each time that the case is carried out, so that what comes of it can be compared.
    fn token(&self, name: &str) -> Json {
        let token: Box<str> = format!("weft-secret-{}", &Digest::of(name.as_bytes()).hex()[..20]).into();
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.iter().all(|used| &*used.name != name) {
            tokens.push(SecretUse { token: token.clone(), name: name.into() });
        }
        Json::from(Value::from(&*token))
    }
}

impl Scope for CaseScope {
    fn get(&self, root: &Root) -> Option<Json> {
        match root {
            Root::Context => Some(self.context.clone()),
            Root::Step(key) => self.steps.get(key.as_str()).cloned().map(Json::from),
            Root::Scope(key) => self.scopes.get(key.as_str()).cloned().map(Json::from),
            Root::System(System::Now) => Some(Json::from(Value::from(rfc3339(self.now_ms)))),
            Root::System(System::Epoch) => Some(Json::from(Value::from(self.now_ms))),
            // What belongs to a host: a case has none.
            Root::System(_) | Root::Env(_) => None,
            Root::Secret(name) => Some(self.token(name)),
        }
    }

    fn is_own(&self, step: &Key) -> bool {
        step.as_str() == STEP
    }

    /// Any step that the case gives a result of may be of the same type.
    fn may_set_result(&self, step: &Key) -> bool {
        self.steps.contains_key(step.as_str())
    }
}

/// As the contract writes times.
pub(super) fn rfc3339(ms: u64) -> String {
    let time = jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(i64::MAX)).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}
