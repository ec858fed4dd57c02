//! The last requests to each workflow, also those that were refused: for whoever wonders why nothing happens.
//!
//! They are in memory only, bounded, and hold no credentials: header fields and values of the query that carry some are left out when a
//! request is kept, and the host's secrets are taken out before anybody sees it ([`LastRequests::mask`]).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use aho_corasick::AhoCorasick;
use bytes::Bytes;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::capability::replaced;
use crate::limits::{
    MESSAGE_BYTES_MAX, REQUEST_KEPT_BODY_BYTES, REQUEST_KEPT_HEAD_BYTES, REQUESTS_KEPT_MAX, REQUESTS_KEPT_WORKFLOWS_MAX,
    SECRET_MASKED_BYTES_MIN,
};
use crate::run::RunId;
use crate::workflow::Key;

/// A request that came, and what became of it.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Its method.
    pub method: Box<str>,
    /// Path and query; what is cut off ends in `…`.
    pub target: Box<str>,
    /// Where it came from.
    pub remote_address: Box<str>,
    /// Header fields in lines.
    pub head: Box<str>,
    /// The beginning of the body.
    pub body: Bytes,
    /// How long the body is; none: it was not read.
    pub body_bytes: Option<u64>,
    /// What became of it.
    pub became: Became,
    /// How long that took, in microseconds.
    pub took_us: u64,
}

/// What became of a request.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Became {
    /// The status code of the response; none: its sender went away before there was one.
    pub status: Option<u16>,
    /// The code of the problem that it was answered with, if the host itself did so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Box<str>>,
    /// Why nothing was started, in the trigger's words or the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<Box<str>>,
    /// The run that it started, or an earlier delivery of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

/// The last requests of each workflow.
#[derive(Default)]
pub struct LastRequests(Mutex<HashMap<Key, VecDeque<Arc<Received>>>>);

/// A form of a secret's value, and what stands in its place.
pub type Hidden = (Zeroizing<Vec<u8>>, String);

/// What stands in the place of a value that nobody may see.
const HIDDEN: &str = "[hidden]";

/// What stands at the end of what was cut off.
const CUT: char = '…';

/// Parts of the names of header fields, and of members of the query, that carry credentials.
const CREDENTIALS: [&str; 10] =
    ["authorization", "cookie", "api-key", "api_key", "apikey", "token", "secret", "password", "signature", "hmac"];

impl Received {
    /// The head of a request, before anything became of it. `is_hidden` names header fields that carry credentials beside those whose names
    /// say so.
    pub fn of(
        at_ms: u64,
        method: &http::Method,
        uri: &http::Uri,
        headers: &HeaderMap,
        is_hidden: impl Fn(&str) -> bool,
        remote_address: &str,
    ) -> Self {
        let mut head = String::with_capacity(REQUEST_KEPT_HEAD_BYTES);
        for (name, value) in headers {
            let name = name.as_str();
            let value = if carries_credentials(name) || is_hidden(name) {
                HIDDEN.into()
            } else {
                String::from_utf8_lossy(value.as_bytes())
            };
            if head.len() + name.len() + value.len() + 3 > REQUEST_KEPT_HEAD_BYTES {
                head.extend([CUT, '\n']);
                break;
            }
            head.extend([name, ": ", &value, "\n"]);
        }
        let target = target_of(uri.path_and_query().map_or("/", |target| target.as_str()));
        let (method, remote_address) = (method.as_str().into(), remote_address.into());
        Self { at_ms, method, target, remote_address, head: head.into(), ..Self::default() }
    }

    /// Keeps the beginning of a body.
    pub fn with_body(&mut self, body: &[u8]) {
        // A copy: the whole would stay in memory for its beginning.
        self.body = Bytes::copy_from_slice(&body[..body.len().min(REQUEST_KEPT_BODY_BYTES)]);
        self.body_bytes = Some(body.len() as u64);
    }

    /// Whether the body is only the beginning of what came.
    pub fn is_cut(&self) -> bool {
        self.body_bytes.is_some_and(|bytes| bytes > REQUEST_KEPT_BODY_BYTES as u64)
    }

    /// Takes a value out of it; out of the URL and the body also where it is cut off at the end.
    fn mask(&mut self, (value, instead): &Hidden) {
        for text in [Some(&mut self.head), self.became.note.as_mut()].into_iter().flatten() {
            if let Some(new) = replaced(text.as_bytes(), value, instead.as_bytes()) {
                *text = String::from_utf8_lossy(&new).into();
            }
        }
        if let Ok(value) = str::from_utf8(value) {
            self.target = masked_target(&self.target, value, instead);
        }
        let kept = self.body.len() - if self.is_cut() { begun(&self.body, value) } else { 0 };
        let new = replaced(&self.body[..kept], value, instead.as_bytes());
        if kept < self.body.len() || new.is_some() {
            // A text with a secret in it is shown as a text.
            let new = new.unwrap_or_else(|| self.body[..kept].to_vec());
            self.body = String::from_utf8_lossy(&new).into_owned().into();
        }
    }
}

fn carries_credentials(name: &str) -> bool {
    // All at once: each field of each request is asked about.
    static PARTS: LazyLock<AhoCorasick> =
        LazyLock::new(|| AhoCorasick::new(CREDENTIALS).expect("ten short words are not too many"));
    PARTS.is_match(name)
}

/// How many bytes at the end of a text that was cut off are the beginning of a value.
fn begun(text: &[u8], value: &[u8]) -> usize {
    (SECRET_MASKED_BYTES_MIN..value.len()).rev().find(|at| text.ends_with(&value[..*at])).unwrap_or_default()
}

/// A URL as it is kept: without the values of members that carry credentials, and not longer than it may be.
fn target_of(target: &str) -> Box<str> {
    let names = |pair: &str| pair.split_once('=').is_some_and(|(name, _)| carries_credentials(&name.to_ascii_lowercase()));
    let mut kept = match target.split_once('?') {
        Some((path, query)) if query.split('&').any(names) => {
            let hidden = |pair: &str| pair.split_once('=').map(|(name, _)| format!("{name}={HIDDEN}"));
            let pairs = query.split('&').map(|pair| hidden(pair).filter(|_| names(pair)).unwrap_or_else(|| pair.to_owned()));
            format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
        }
        _ => target.to_owned(),
    };
    if kept.len() > REQUEST_KEPT_HEAD_BYTES {
        kept.truncate(kept.floor_char_boundary(REQUEST_KEPT_HEAD_BYTES));
        kept.push(CUT);
    }
    kept.into()
}

/// A URL without a value, however that is encoded there.
fn masked_target(target: &str, value: &str, instead: &str) -> Box<str> {
    let shown = match target.strip_suffix(CUT) {
        Some(text) => match begun(text.as_bytes(), value.as_bytes()) {
            0 => target.to_owned(),
            bytes => format!("{}{CUT}", &text[..text.floor_char_boundary(text.len() - bytes)]),
        },
        None => target.to_owned(),
    };
    let holds = |text: &str| {
        let spaced = text.replace('+', " ");
        [text, spaced.as_str()].iter().any(|text| percent_decode_str(text).decode_utf8_lossy().contains(value))
    };
    if !holds(&shown) {
        return shown.into();
    }
    let masked = |text: &str| if holds(text) { instead.to_owned() } else { text.to_owned() };
    let (path, query) = shown.split_once('?').map_or((&*shown, None), |(path, query)| (path, Some(query)));
    let mut text = masked(path);
    if let Some(query) = query {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, value)) => format!("{}={}", masked(name), masked(value)),
            None => masked(pair),
        });
        text = format!("{text}?{}", pairs.collect::<Vec<_>>().join("&"));
    }
    // It may stand across what parts a URL.
    if holds(&text) { instead.into() } else { text.into() }
}

impl LastRequests {
    /// Keeps a request, and forgets the oldest one where there are too many.
    pub fn keep(&self, workflow: &Key, mut received: Received) {
        if let Some(note) = received.became.note.as_mut().filter(|note| note.len() > MESSAGE_BYTES_MAX) {
            *note = note[..note.floor_char_boundary(MESSAGE_BYTES_MAX)].into();
        }
        let received = Arc::new(received);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(requests) = all.get_mut(workflow) {
            if requests.len() >= REQUESTS_KEPT_MAX {
                requests.pop_front();
            }
            requests.push_back(received);
            return;
        }
        if all.len() >= REQUESTS_KEPT_WORKFLOWS_MAX {
            let silent = all.iter().min_by_key(|(_, requests)| requests.back().map_or(0, |last| last.at_ms));
            if let Some(silent) = silent.map(|(key, _)| key.clone()) {
                all.remove(&silent);
            }
        }
        all.insert(workflow.clone(), VecDeque::from([received]));
    }

    /// Whether there is no request of a workflow.
    pub fn is_empty_of(&self, workflow: &Key) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(workflow)
    }

    /// The requests of a workflow, newest first, without these secrets.
    pub fn of(&self, workflow: &Key, secrets: &[Hidden]) -> Vec<Received> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let requests: Vec<Arc<Received>> = all.get(workflow).into_iter().flatten().rev().cloned().collect();
        drop(all);
        let masked = |request: Arc<Received>| {
            let mut request = Received::clone(&request);
            secrets.iter().for_each(|secret| request.mask(secret));
            request
        };
        requests.into_iter().map(masked).collect()
    }

    /// Takes out of everything what will not be known for a secret any more.
    pub fn mask(&self, secrets: &[Hidden]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for request in all.values_mut().flatten() {
            let request = Arc::make_mut(request);
            secrets.iter().for_each(|secret| request.mask(secret));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(at_ms: u64, target: &str, body: &[u8]) -> Received {
        let mut headers = HeaderMap::new();
        for (name, value) in [("authorization", "Bearer t0ken"), ("x-note", "s3cret"), ("x-sig", "52ee")] {
            headers.insert(name, value.parse().unwrap());
        }
        let is_hidden = |name: &str| name == "x-sig";
        let mut received = Received::of(at_ms, &http::Method::POST, &target.parse().unwrap(), &headers, is_hidden, "::1");
        received.with_body(body);
        received
    }

    fn secret() -> Vec<Hidden> {
        vec![(Zeroizing::new(b"s3cret".to_vec()), "[secret a]".to_owned())]
    }

    #[test]
    fn so_many_are_kept_and_no_secrets() {
        let (requests, key): (_, Key) = (LastRequests::default(), "a".parse().unwrap());
        for at_ms in 0..30 {
            requests.keep(&key, received(at_ms, "/hooks/a?key=%733cret&access_token=t0ken", b"{\"a\": \"s3cret\"}"));
        }
        let shown = requests.of(&key, &secret());
        assert_eq!((shown.len(), shown[0].at_ms), (REQUESTS_KEPT_MAX, 29));
        for hidden in ["s3cret", "t0ken", "52ee"] {
            assert!(!format!("{shown:?}").contains(hidden), "{:?}", shown[0]);
        }
        assert_eq!(&*shown[0].target, "/hooks/a?key=[secret a]&access_token=[hidden]");
        requests.mask(&secret());
        assert!(!format!("{:?}", requests.of(&key, &[])).contains("s3cret"));
    }

    #[test]
    fn a_secret_may_stand_across_what_parts_a_url() {
        for target in ["/hooks/a?YWJjZA==", "/hooks/a?b=YWJjZA==&c", "/YWJjZA==", "/a?YWJjZA%3D%3D=1"] {
            let shown = masked_target(target, "YWJjZA==", "[secret a]");
            assert!(!shown.contains("YWJjZA") && shown.contains("[secret a]"), "{target}: {shown}");
        }
    }

    #[test]
    fn a_secret_that_is_cut_off_is_none_either() {
        let (requests, key): (_, Key) = (LastRequests::default(), "a".parse().unwrap());
        let mut body = vec![b'x'; REQUEST_KEPT_BODY_BYTES - 5];
        body.extend_from_slice(b"s3cret and more");
        let target = format!("/{}s3cret-and-more", "y".repeat(REQUEST_KEPT_HEAD_BYTES - 6));
        let mut kept = received(1, &target, &body);
        kept.became.note = Some("z".repeat(2 * MESSAGE_BYTES_MAX).into());
        requests.keep(&key, kept);
        let shown = requests.of(&key, &secret()).remove(0);
        assert!(shown.body.iter().all(|byte| *byte == b'x'));
        assert_eq!(shown.body_bytes, Some(body.len() as u64));
        assert!(shown.target.ends_with("yy…"), "{}", shown.target);
        assert_eq!(shown.became.note.unwrap().len(), MESSAGE_BYTES_MAX);
    }

    #[test]
    fn of_too_many_workflows_the_silent_one_is_forgotten() {
        let requests = LastRequests::default();
        let key = |nth: usize| -> Key { format!("w{nth}").parse().unwrap() };
        for nth in 0..=REQUESTS_KEPT_WORKFLOWS_MAX {
            requests.keep(&key(nth), received(nth as u64, "/", b""));
        }
        assert_eq!((requests.of(&key(0), &[]).len(), requests.of(&key(1), &[]).len()), (0, 1));
    }
}
