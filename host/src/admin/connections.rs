//! Connections, as operators set them.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

use super::uses::refuse_used;
use super::{Admin, Error, Named};
use crate::capability::{ConnectionError, Connections, Credentials, Settings};
use crate::plugin::{Grants, Kind, Plugin, Registry, Sender};
use crate::run::Request;
use crate::store::{Revision, SealedConnection};
use crate::workflow::{Problem, annotated};

/// The annotation by which a schema says that a text of the config names a connection, and of which kind.
const NAMES_CONNECTION: &str = "x-weft-connection";

/// What came of trying a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// Whether a server answered, whatever it said.
    pub reached: bool,
    /// The status code of its answer.
    pub status: Option<u16>,
    /// Why there is none.
    pub code: Option<String>,
    /// The same in words.
    pub message: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl Admin {
    /// Sets a connection. Returns its version.
    pub async fn set_connection(&self, name: &str, settings: &Settings, credentials: &Credentials) -> Result<u32, Error> {
        Ok(self.connections.set(name, settings, credentials, self.who, self.clock().now_ms()).await?)
    }

    /// Every connection, by name, with what anybody may see of it.
    pub async fn list_connections(&self) -> Result<Vec<(SealedConnection, Settings)>, Error> {
        self.of_connections(Connections::list).await
    }

    /// A connection, with what anybody may see of it.
    pub async fn connection(&self, name: &str) -> Result<(SealedConnection, Settings), Error> {
        let wanted = name.to_owned();
        let found = self.of_connections(move |connections| connections.find(&wanted)).await?;
        found.ok_or_else(|| Error::not_found("connection", name, "; `weft connection list` shows what there is"))
    }

    async fn of_connections<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connections) -> Result<T, ConnectionError> + Send + 'static,
    ) -> Result<T, Error> {
        let connections = self.connections.clone();
        let read = tokio::task::spawn_blocking(move || read(&connections)).await;
        Ok(read.unwrap_or(Err(ConnectionError::Vault(crate::store::Error::Closed.into())))?)
    }

    /// Removes a connection; one that an active revision names only if that is insisted on.
    pub async fn remove_connection(&self, name: &str, force: bool) -> Result<(), Error> {
        // What begins to use it comes after this, and what is there is seen.
        let _changing = self.changing.lock().await;
        if !force {
            refuse_used(Named::Connection, name, &self.uses_of_connection(name).await?)?;
        }
        let was_there = self.connections.remove(name, self.who, self.clock().now_ms()).await?;
        if was_there { Ok(()) } else { self.connection(name).await.map(drop) }
    }

    /// Sends a GET by a connection.
    pub async fn try_connection(&self, name: &str, path: &str) -> Result<Tried, Error> {
        self.connection(name).await?;
        let connections = name.parse().into_iter().collect();
        let sender = Sender { grants: Arc::new(Grants { connections, ..Grants::default() }), ..Sender::default() };
        let request = Request {
            method: "GET".into(),
            url: path.into(),
            headers: Vec::new(),
            body: Default::default(),
            timeout_ms: None,
            connection: Some(name.into()),
            response_bytes_max: None,
        };
        let began = Instant::now();
        let answered = self.outbound.send(&sender, request).await;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(match answered {
            Ok(response) => Tried { reached: true, status: Some(response.status), code: None, message: None, took_ms },
            Err(fault) => {
                let (code, message) = (Some(fault.code.to_string()), Some(fault.message.to_string()));
                Tried { reached: false, status: None, code, message, took_ms }
            }
        })
    }

    /// The places in revisions that are active or on trial that name a connection: `crm-sync-00003 at /steps/0/config/connection`.
    pub async fn uses_of_connection(&self, name: &str) -> Result<Vec<String>, Error> {
        let (name, registry) = (name.to_owned(), self.registry.clone());
        self.uses(move |revision| places_of(revision, &name, &registry)).await
    }

    /// What is wrong with the connections that a config names.
    pub(super) async fn connection_problems(
        &self,
        plugin: &Plugin,
        kind: Kind,
        name: &str,
        config: &Value,
    ) -> Result<Vec<Problem>, Error> {
        let mut problems = Vec::new();
        let Some(schema) = plugin.config_schema(kind, name) else { return Ok(problems) };
        let places = annotated(schema, config, NAMES_CONNECTION);
        for (pointer, of_kind, text) in places.into_iter().filter(|(.., text)| !text.contains("{{")) {
            let wanted = text.to_owned();
            let found = self.of_connections(move |connections| connections.find(&wanted)).await?;
            let message = match found {
                None => format!("there is no connection `{text}`: set it with `weft connection set {text}`"),
                Some((_, settings)) if serde_json::to_value(settings.kind).ok().as_ref() != Some(of_kind) => {
                    format!("the connection `{text}` is of another kind than {of_kind}")
                }
                Some(_) => continue,
            };
            problems.push(Problem::new(pointer, message));
        }
        Ok(problems)
    }
}

/// The places of a revision that name a connection: `/steps/0/config/connection`.
fn places_of(revision: &Revision, name: &str, registry: &Registry) -> Vec<String> {
    let mut all = Vec::new();
    let mut look = |kind: Kind, type_name: &str, config: &Value, at: &str| {
        let Some(pin) = revision.pin(kind == Kind::Trigger, type_name) else { return };
        let Some(plugin) = registry.get(&pin.digest) else { return };
        let Some(schema) = plugin.config_schema(kind, &pin.name) else { return };
        let places = annotated(schema, config, NAMES_CONNECTION).into_iter().filter(|(.., text)| *text == name);
        all.extend(places.map(|(pointer, ..)| format!("{at}/config{pointer}")));
    };
    let definition = &revision.definition;
    look(Kind::Trigger, &definition.trigger.r#type, &definition.trigger.config, "/trigger");
    definition.each_step(|step, at, _| look(Kind::Node, &step.r#type, &step.config, at));
    all
}
