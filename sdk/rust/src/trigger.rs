//! Triggers: how runs start.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::answer::{Problem, to_json};
use crate::bindings::exports::weft::plugin::triggers;
use crate::bindings::weft::plugin::types::{Failure, HttpResponse};
use crate::{schema, time};

pub use triggers::{
    Action, Call as TriggerCall, Called, Event as TriggerEvent, FinishedRun, HttpEvent, HttpRoute, Mode, Reaction, Settlement,
    Signal as TriggerSignal, Start, Subscription, Timer as TriggerTimer,
};

/// A trigger type. The implementing struct is the trigger's config, with its variables filled in.
pub trait Trigger: DeserializeOwned + JsonSchema {
    /// Kebab-case, unique among the plugin's triggers; what a workflow writes after `vendor/plugin/`.
    const NAME: &'static str;

    /// What the editor and the host need to know. [`TriggerType::of`] makes it from the struct; the mode and what is
    /// subscribed to must be added.
    fn trigger_type() -> TriggerType;

    /// Checks a config beyond its schema, when a workflow is published. The config is as written, with `{{…}}` in it.
    fn check(config: &Value) -> Vec<Problem> {
        let _ = config;
        Vec::new()
    }

    /// What the host is to deliver while a revision is active. A failure leaves the old revision active.
    fn subscribe(self, call: &TriggerCall) -> Result<Vec<Subscription>, Failure>;

    /// Undoes registrations elsewhere, after the workflow was paused or deleted.
    fn unsubscribe(self, call: &TriggerCall) -> Result<(), Failure> {
        let _ = call;
        Ok(())
    }

    /// Turns an event into runs and a response.
    fn fire(self, call: &TriggerCall, event: TriggerEvent) -> Result<Reaction, Failure>;

    /// What whoever waited for a run is told, unless a step already responded. By default the host's own words.
    fn settle(self, call: &TriggerCall, run: FinishedRun) -> Result<Settlement, Failure> {
        let _ = call;
        Ok(Settlement { proceed: run.output.is_ok(), response: None })
    }
}

impl TriggerCall {
    /// When this try began, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        time::parse(&self.now)
    }
}

/// What the editor and the host need to know of a trigger type.
pub struct TriggerType(pub(crate) triggers::TriggerType);

impl TriggerType {
    /// What a struct says of itself. `subscribes` names the cases of [`Subscription`] that it may ask for.
    pub fn of<T: Trigger>(mode: Mode, subscribes: &[&str]) -> Self {
        let described = schema::describe::<T>(T::NAME);
        Self(triggers::TriggerType {
            name: T::NAME.into(),
            title: described.title,
            summary: described.summary,
            category: "other".into(),
            icon: None,
            config_schema: described.schema,
            context_schema: None,
            mode,
            subscribes: subscribes.iter().map(|name| (*name).into()).collect(),
            more: None,
        })
    }

    /// The group in the palette.
    #[must_use]
    pub fn category(mut self, category: &str) -> Self {
        self.0.category = category.into();
        self
    }

    /// The shape of the context that a run starts with: `$context`. A schema that takes no other members makes misspelt variables a mistake
    /// when a workflow is published; if a part of the config may name further members, the schema says so with `x-weft-open-with`, the JSON
    /// Pointer of that part.
    #[must_use]
    pub fn context<T: JsonSchema>(mut self) -> Self {
        self.0.context_schema = Some(schema::of::<T>());
        self
    }

    /// One way in which a trigger of this type can fail; as [`crate::NodeType::fails`].
    #[must_use]
    pub fn fails(mut self, code: &str, message: &str, pointer: &str) -> Self {
        self.0.more = Some(schema::with_failure(self.0.more.as_deref(), code, message, pointer));
        self
    }
}

impl Start {
    /// A run with this context. Nobody waits for it.
    pub fn with(context: &impl Serialize) -> Result<Self, Failure> {
        Ok(Self { context: to_json(context)?, dedup_key: None, wait_ms: None, queue: None, more: None })
    }

    /// The caller waits for it, so long at most.
    #[must_use]
    pub fn wait(mut self, milliseconds: u32) -> Self {
        self.wait_ms = Some(milliseconds);
        self
    }
}

impl TriggerTimer {
    /// A timer that is due at a time, in milliseconds since 1970, and hands this back then.
    pub fn new(id: &str, at_ms: u64, payload: &impl Serialize) -> Result<Self, Failure> {
        Ok(Self { id: id.into(), at: time::rfc3339(at_ms), payload: to_json(payload)? })
    }

    /// When it is due, in milliseconds since 1970.
    pub fn at_ms(&self) -> u64 {
        time::parse(&self.at)
    }
}

impl Reaction {
    /// Nothing starts.
    pub fn nothing(note: &str) -> Self {
        Self { note: Some(note.into()), ..Self::start(Vec::new()) }
    }

    /// These runs start.
    pub fn start(start: Vec<Start>) -> Self {
        Self {
            start,
            response: None,
            set_timers: Vec::new(),
            clear_timers: Vec::new(),
            signals: Vec::new(),
            note: None,
            more: None,
        }
    }

    /// A timer is set; one with its id moves.
    #[must_use]
    pub fn set_timer(mut self, timer: TriggerTimer) -> Self {
        self.set_timers.push(timer);
        self
    }

    /// A timer is dropped, if there is one with this id.
    #[must_use]
    pub fn clear_timer(mut self, id: &str) -> Self {
        self.clear_timers.push(id.into());
        self
    }

    /// The caller gets this at once.
    #[must_use]
    pub fn respond(mut self, response: HttpResponse) -> Self {
        self.response = Some(response);
        self
    }
}
