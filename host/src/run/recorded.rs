//! What the host answered to the requests of a call, kept where an operator wants it, so that another version of the plugin can be tried on
//! the same answers.
//!
//! Stored with the call's entry: a released form is never changed, only added to.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::called::Response;
use super::file::{FileFacts, FileId};
use super::id::RunId;
use super::staged::{KvKey, Seen, Staged};
use super::wait::{Fault, Request};
use crate::digest::Digest;
use crate::limits::RECORDED_BYTES_MAX;
use crate::workflow::Key;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// In the order in which they were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<HostAnswer>,
    /// Of what the call did inside the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Digest>,
    /// More was answered than is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostAnswer {
    /// Of what was asked.
    pub asked: Digest,
    /// What was given.
    pub given: Given,
}

/// What the host gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Given {
    /// A value of the plugin's own, as it was seen.
    Value(Seen, Option<Bytes>),
    /// The id of a run to start.
    Run(RunId),
    /// What a server outside answered.
    Response(Response),
    /// A refusal.
    Fault(Fault),
    /// The id of a file to make.
    NewFile(FileId),
    /// A file.
    File(FileFacts, Bytes),
}

impl Recorded {
    /// Keeps one more answer, if there is room.
    pub fn keep(&mut self, asked: Digest, given: Given) {
        let bytes: usize = self.answers.iter().map(|answer| answer.given.bytes()).sum();
        if bytes + given.bytes() > RECORDED_BYTES_MAX {
            self.is_cut = true;
        } else {
            self.answers.push(HostAnswer { asked, given });
        }
    }

    /// Takes the first answer to this question that was not taken before; none: it was never given.
    pub fn take(&mut self, asked: &Digest) -> Option<Given> {
        let at = self.answers.iter().position(|answer| answer.asked == *asked)?;
        Some(self.answers.remove(at).given)
    }
}

impl Given {
    /// About how much it takes to keep it.
    fn bytes(&self) -> usize {
        64 + match self {
            Self::Value(seen, value) => seen.as_ref().map_or(0, Vec::len) + value.as_ref().map_or(0, Bytes::len),
            Self::Run(_) => 16,
            Self::NewFile(_) => 32,
            Self::File(facts, content) => facts.name.len() + facts.media_type.len() + content.len(),
            Self::Response(response) => usize::try_from(response.bytes()).unwrap_or(usize::MAX / 2),
            Self::Fault(fault) => fault.message.len(),
        }
    }
}

/// Stands for the question for a value.
pub fn asked_value(key: &KvKey) -> Digest {
    Digest::of(format!("value\0{}\0{}\0{}", key.plugin, key.workflow, key.key).as_bytes())
}

/// Stands for the wish to start a run.
pub fn asked_start(workflow: &Key) -> Digest {
    Digest::of(format!("start\0{workflow}").as_bytes())
}

/// Stands for the wish to make a file.
pub fn asked_new_file(facts: &FileFacts) -> Digest {
    Digest::of(format!("new-file\0{}\0{}\0{}", facts.name, facts.media_type, facts.size).as_bytes())
}

/// Stands for the question for a file.
pub fn asked_file(id: &FileId) -> Digest {
    Digest::of(format!("file\0{id}").as_bytes())
}

/// Stands for a request to a server outside.
pub fn asked_send(request: &Request) -> Digest {
    let mut text = format!("send\0{}\0{}\0", request.method, request.url).into_bytes();
    for (name, value) in &request.headers {
        text.extend_from_slice(format!("{}: {value}\0", name.to_ascii_lowercase()).as_bytes());
    }
    if let Some(connection) = &request.connection {
        text.extend_from_slice(format!("connection {connection}\0").as_bytes());
    }
    text.extend_from_slice(&request.body);
    Digest::of(&text)
}

impl Staged {
    /// Of what is written, started and made; none: nothing is.
    pub fn digest(&self) -> Option<Digest> {
        if self.kv_writes.is_empty() && self.starts.is_empty() && self.files.is_empty() {
            return None;
        }
        let writes: Vec<(String, Option<&Bytes>)> =
            self.kv_writes.iter().map(|(key, value)| (asked_value(key).to_string(), value.as_ref())).collect();
        let starts: Vec<(&str, &str)> = self.starts.iter().map(|start| (start.workflow.as_str(), start.context.text())).collect();
        let files: Vec<_> = self.files.iter().map(|file| (&file.facts, Digest::of(&file.content))).collect();
        // As it was before there were files: recorded digests are compared with it.
        let files = if files.is_empty() { String::new() } else { format!("{files:?}") };
        Some(Digest::of(format!("{writes:?}{starts:?}{files}").as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_given_again_in_order_and_only_to_who_asked() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let value = |text: &'static str| Given::Value(None, Some(Bytes::from_static(text.as_bytes())));
        let mut recorded = Recorded::default();
        recorded.keep(one, value("a"));
        recorded.keep(two, value("b"));
        recorded.keep(one, value("c"));
        assert_eq!(recorded.take(&one), Some(value("a")));
        assert_eq!(recorded.take(&one), Some(value("c")));
        assert_eq!(recorded.take(&one), None);
        assert_eq!(recorded.take(&two), Some(value("b")));
        recorded.keep(one, Given::Value(None, Some(vec![0; RECORDED_BYTES_MAX].into())));
        assert!(recorded.is_cut && recorded.answers.is_empty());
    }
}
