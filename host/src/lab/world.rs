//! What is around a plugin on the bench: in memory, and recorded.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::case::{Case, GivenFile, HttpAnswer};
use super::trial::response_of;
use crate::capability::{HttpClient, Outbound};
use crate::plugin::{HostPattern, SecretSource, Sender, Services};
use crate::run::{Fault, FileFacts, FileId, KvKey, Request, Response, RunId, SecretUse, Seen, Staged};
use crate::workflow::Key;

/// Values, secrets, and servers.
pub(super) struct World {
    secrets: BTreeMap<String, String>,
    servers: Servers,
    now_ms: u64,
    changing: Mutex<Changing>,
}

/// What comes of a request.
enum Servers {
    Nobody,
    Given(Vec<HttpAnswer>),
    Real(Box<HttpClient>),
}

#[derive(Default)]
struct Changing {
    kv: BTreeMap<KvKey, Bytes>,
    exchanges: Vec<Exchange>,
    used_answers: Vec<bool>,
    files: BTreeMap<FileId, (FileFacts, Bytes)>,
    /// How many ids were given.
    ids: u32,
}

/// A request, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Exchange {
    /// In upper case.
    pub method: String,
    /// As the plugin gave it.
    pub url: String,
    /// As the plugin gave them, secrets by their names.
    pub headers: BTreeMap<String, String>,
    /// As text, secrets by their names.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// The status of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Or why there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

impl World {
    pub(super) fn of(case: &Case, plugin: &str, workflow: &Key, may_reach: bool, now_ms: u64) -> std::io::Result<Self> {
        let servers = match (&case.http[..], may_reach) {
            ([], false) => Servers::Nobody,
            ([], true) => Servers::Real(Box::new(HttpClient::new(None)?)),
            (answers, _) => Servers::Given(answers.to_vec()),
        };
        let own = |key: &String| KvKey { plugin: plugin.into(), workflow: workflow.clone(), key: key.as_str().into() };
        let kv = case.kv.iter().map(|(key, value)| (own(key), Bytes::from(value.clone()))).collect();
        let files = case.files.iter().map(known_file).collect::<Result<_, _>>()?;
        let changing = Changing { kv, files, used_answers: vec![false; case.http.len()], ..Changing::default() };
        Ok(Self { secrets: case.secrets.clone(), servers, now_ms, changing: Mutex::new(changing) })
    }

    /// What a call staged is there for the next ones.
    pub(super) fn commit(&self, staged: &Staged) {
        let mut changing = self.changing();
        for (key, value) in &staged.kv_writes {
            match value {
                Some(value) => changing.kv.insert(key.clone(), value.clone()),
                None => changing.kv.remove(key),
            };
        }
        changing.files.extend(staged.files.iter().map(|file| (file.id, (file.facts.clone(), file.content.clone()))));
    }

    /// An id of ten bytes that is no other's: the same in each trial, so that golden cases can tell it.
    fn next_id(&self) -> [u8; 10] {
        let mut changing = self.changing();
        changing.ids += 1;
        let mut id = [0; 10];
        id[6..].copy_from_slice(&changing.ids.to_be_bytes());
        id
    }

    /// The plugin's values as they are now.
    pub(super) fn values(&self) -> BTreeMap<String, String> {
        let text = |value: &Bytes| String::from_utf8_lossy(value).into_owned();
        self.changing().kv.iter().map(|(key, value)| (key.key.to_string(), text(value))).collect()
    }

    /// Every request so far.
    pub(super) fn exchanges(&self) -> Vec<Exchange> {
        self.changing().exchanges.clone()
    }

    /// Carries out a request, and notes it.
    pub(super) async fn exchange(&self, sender: &Sender, request: Request) -> Result<Response, Fault> {
        let noted = Exchange::of(&request, &sender.secrets);
        let answered = match &self.servers {
            Servers::Nobody => Err(Fault::new(
                "denied",
                "the bench sends nothing: `--allow-http HOST` lets it, or the case says what servers answer",
            )),
            Servers::Given(answers) => self.given(answers, &request),
            Servers::Real(client) => match client.permit(sender, &request) {
                Ok(()) => client.send(sender, request).await,
                Err(fault) => Err(fault),
            },
        };
        let (status, fault) = match &answered {
            Ok(response) => (Some(response.status), None),
            Err(fault) => (None, Some(fault.clone())),
        };
        self.changing().exchanges.push(Exchange { status, fault, ..noted });
        answered
    }

    fn given(&self, answers: &[HttpAnswer], request: &Request) -> Result<Response, Fault> {
        let mut changing = self.changing();
        let fits = |answer: &HttpAnswer| {
            answer.method.as_deref().is_none_or(|method| method == &*request.method)
                && answer.url.as_deref().is_none_or(|url| match url.strip_suffix('*') {
                    Some(beginning) => request.url.starts_with(beginning),
                    None => url == &*request.url,
                })
        };
        let fitting = || answers.iter().enumerate().filter(|(_, answer)| fits(answer));
        let fresh = fitting().find(|(index, _)| !changing.used_answers[*index]);
        let Some((index, answer)) = fresh.or_else(|| fitting().next_back()) else {
            let message = format!("the case says nothing of {} {}", request.method, request.url);
            return Err(Fault::new("not-recorded", message));
        };
        changing.used_answers[index] = true;
        request.admit(response_of(answer)?)
    }

    fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn known_file(given: &GivenFile) -> std::io::Result<(FileId, (FileFacts, Bytes))> {
    let invalid = |error: &dyn std::fmt::Display| std::io::Error::other(format!("files: {error}"));
    let id = given.id.parse().map_err(|error| invalid(&error))?;
    let content = match &given.base64 {
        Some(text) => BASE64_STANDARD.decode(text).map_err(|error| invalid(&error))?,
        None => given.text.clone().into_bytes(),
    };
    let size = u32::try_from(content.len()).map_err(|error| invalid(&error))?;
    let facts = FileFacts { name: "file".into(), media_type: "application/octet-stream".into(), size };
    Ok((id, (facts, content.into())))
}

/// A text as it is, nothing for `null`, and anything else as JSON.
pub(super) fn body_of(body: &Value) -> Vec<u8> {
    match body {
        Value::Null => Vec::new(),
        Value::String(text) => text.as_bytes().to_vec(),
        other => other.to_string().into_bytes(),
    }
}

impl Exchange {
    fn of(request: &Request, secrets: &[SecretUse]) -> Self {
        let named = |text: &str| {
            secrets
                .iter()
                .fold(text.to_owned(), |text, used| text.replace(&*used.token, &format!("{{{{$secrets.{}}}}}", used.name)))
        };
        Self {
            method: request.method.to_string(),
            url: named(&request.url),
            headers: request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), named(value))).collect(),
            body: named(&String::from_utf8_lossy(&request.body)),
            status: None,
            fault: None,
        }
    }
}

impl Services for World {
    fn kv(&self, key: &KvKey) -> Result<(Seen, Option<Bytes>), Fault> {
        let value = self.changing().kv.get(key).cloned();
        Ok((value.as_ref().map(|value| value.to_vec()), value))
    }

    fn start(&self, _: &Key) -> Result<RunId, Fault> {
        Ok(RunId::new(self.now_ms, self.next_id()))
    }

    fn new_file(&self, _: &FileFacts) -> Result<FileId, Fault> {
        Ok(FileId { run: RunId::new(self.now_ms, [0; 10]), random: self.next_id() })
    }

    fn file(&self, id: &FileId) -> Result<(FileFacts, Bytes), Fault> {
        let found = self.changing().files.get(id).cloned();
        found.ok_or_else(|| Fault::new("not-found", format!("the case gives no file `{id}`")))
    }

    fn send(&self, sender: Sender, request: Request) -> BoxFuture<'_, Result<Response, Fault>> {
        Box::pin(async move { self.exchange(&sender, request).await })
    }
}

impl SecretSource for World {
    fn reveal(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let secret = self.secrets.get(name).map(|secret| Zeroizing::new(secret.clone().into_bytes()));
        secret.ok_or_else(|| Fault::new("not-found", format!("the case gives no secret `{name}`")))
    }

    fn destinations(&self, _: &str) -> Vec<HostPattern> {
        vec![HostPattern::any()]
    }

    fn may_guess(&self, _: &str, _: Option<&str>) -> bool {
        true
    }

    fn guessed_wrong(&self, _: &str, _: Option<&str>) {}
}
