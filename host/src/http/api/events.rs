//! The live feed: what is committed, as server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, header};
use http_body_util::channel::Sender;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;

use super::Call;
use super::runs::{progress_of, summary};
use crate::executor::{Executor, Progress, rfc3339};
use crate::http::error::Problem;
use crate::http::request::{Reply, header_text, stream_reply};
use crate::http::server::Stopping;
use crate::limits::{FEED_PING_MS, FEEDS_MAX};
use crate::run::{EntryView, RunId};
use crate::store::{RunStore as _, Store};

static FEEDS: Semaphore = Semaphore::const_new(FEEDS_MAX);

/// Whoever followed has gone.
struct Gone;

/// A stream of events, within what a feed may use.
struct Feed {
    sender: Sender<Bytes, Infallible>,
    executor: Arc<Executor>,
    store: Store,
    stopping: Stopping,
}

impl Feed {
    async fn send(&mut self, id: Option<u64>, event: &str, data: &Value) -> Result<(), Gone> {
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        self.write(format!("{id}event: {event}\ndata: {data}\n\n")).await
    }

    async fn progress(&mut self, said: &Progress) -> Result<(), Gone> {
        let mut data = progress_of(said);
        data["run"] = said.run.to_string().into();
        self.send(None, "progress", &data).await
    }

    async fn write(&mut self, text: String) -> Result<(), Gone> {
        self.sender.send_data(text.into()).await.map_err(|_| Gone)
    }
}

/// `GET /runs/{id}/events` → events `entry` (an entry of the run's journal) and `run` (as in lists), from the first entry on, and `progress` (`{run, step,
/// done, total, message, at}`; without an id, some are left out), until
/// the run has ended (`end`, with its status; `null`: it was deleted when it ended). Ids count the run's commits; with `Last-Event-ID` only what came after that one.
pub(super) async fn of_run(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let id: RunId = call.param("id")?;
    call.admin.run(id).await?;
    // Segments count from 0, and an id says that its segment is known.
    let next = last_id(&call)?.map_or(0, |last| last.saturating_add(1));
    start(call, move |feed| Box::pin(follow_run(feed, id, next)))
}

/// `GET /events` → events `entry` (`{run, …}`) and `run` of all runs, from now on, or after `Last-Event-ID`. Ids count the commits that changed
/// runs. `gap`: the last id is too old, or the follower too slow, and something was left out; read the lists again.
pub(super) async fn of_all(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let last = last_id(&call)?;
    start(call, move |feed| Box::pin(follow_all(feed, last)))
}

fn last_id(call: &Call) -> Result<Option<u64>, Problem> {
    let given = header_text(&call.headers, header::HeaderName::from_static("last-event-id"));
    given.map(|text| text.trim().parse().map_err(|_| Problem::bad_request("Last-Event-ID is an id of this feed"))).transpose()
}

type Following<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(), Gone>> + Send + 'a>>;

fn start(call: Call, follow: impl FnOnce(&mut Feed) -> Following<'_> + Send + 'static) -> Result<Reply, Problem> {
    let Ok(permit) = FEEDS.try_acquire() else {
        let detail = format!("{FEEDS_MAX} feeds are followed already");
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-feeds", detail);
        return Err(problem.with_header(header::RETRY_AFTER, "5"));
    };
    let (sender, reply) = stream_reply("text/event-stream");
    let mut feed =
        Feed { sender, executor: call.admin.executor().clone(), store: call.admin.store().clone(), stopping: call.stopping };
    tokio::spawn(async move {
        let _permit = permit;
        let _ = follow(&mut feed).await;
    });
    Ok(reply)
}

async fn follow_run(feed: &mut Feed, run: RunId, mut next: u64) -> Result<(), Gone> {
    let (mut commits, mut progress) = (feed.store.follow(), feed.executor.follow_progress());
    let executor = feed.executor.clone();
    // Of one that is not kept no commit tells.
    let mut ended = pin!(executor.wait_for_end(run));
    let mut has_ended = false;
    for said in executor.progress_of(run) {
        feed.progress(&said).await?;
    }
    loop {
        while let Some(entries) = u32::try_from(next).ok().and_then(|number| feed.store.segment(run, number).ok().flatten()) {
            let (last, others) = match entries.split_last() {
                Some((last, others)) => (Some(last), others),
                None => (None, &entries[..]),
            };
            for entry in others {
                feed.send(None, "entry", &entry_of(run, entry)).await?;
            }
            // The id comes with the last one: whoever breaks off before gets the whole segment again.
            if let Some(entry) = last {
                feed.send(Some(next), "entry", &entry_of(run, entry)).await?;
            }
            next += 1;
        }
        match feed.store.run(run) {
            Ok(Some(head)) => {
                feed.send(None, "run", &summary(&head)).await?;
                if head.status.is_end() {
                    return feed.send(None, "end", &json!({ "status": head.status })).await;
                }
            }
            Ok(None) if has_ended => return feed.send(None, "end", &json!({ "status": null })).await,
            Ok(None) | Err(_) => {}
        }
        loop {
            match tokio::select! {
                () = feed.stopping.wait() => return Ok(()),
                _ = &mut ended, if !has_ended => {
                    has_ended = true;
                    break;
                }
                () = tokio::time::sleep(Duration::from_millis(FEED_PING_MS)) => None,
                said = progress.recv() => {
                    // Whoever was too slow misses what is old by now.
                    if let Some(said) = said.ok().filter(|said| said.run == run) {
                        feed.progress(&said).await?;
                    }
                    continue;
                }
                commit = commits.recv() => Some(commit),
            } {
                None => feed.write(": alive\n\n".into()).await?,
                Some(Ok(committed)) if committed.segments.iter().any(|(changed, _)| *changed == run) => break,
                Some(Ok(_)) => {}
                Some(Err(RecvError::Lagged(_))) => break,
                Some(Err(RecvError::Closed)) => return Ok(()),
            }
        }
    }
}

async fn follow_all(feed: &mut Feed, last: Option<u64>) -> Result<(), Gone> {
    let mut commits = feed.store.follow();
    let mut known = last.unwrap_or_else(|| feed.store.last_commit());
    feed.write(format!("id: {known}\nevent: hello\ndata: {{}}\n\n")).await?;
    loop {
        // Also after having been too slow: what is listed is listed for a while.
        match feed.store.committed_after(known, 100) {
            Ok(Some(listed)) if listed.is_empty() => {}
            Ok(Some(listed)) => {
                for committed in listed {
                    known = committed.number;
                    send_commit(feed, known, &committed.segments).await?;
                }
                continue;
            }
            Ok(None) => {
                known = feed.store.last_commit();
                feed.send(Some(known), "gap", &json!({})).await?;
                continue;
            }
            Err(_) => return Ok(()),
        }
        tokio::select! {
            () = feed.stopping.wait() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(FEED_PING_MS)) => feed.write(": alive\n\n".into()).await?,
            commit = commits.recv() => if matches!(commit, Err(RecvError::Closed)) { return Ok(()) },
        }
    }
}

async fn send_commit(feed: &mut Feed, number: u64, segments: &[(RunId, u32)]) -> Result<(), Gone> {
    for (run, segment) in segments {
        for entry in feed.store.segment(*run, *segment).ok().flatten().unwrap_or_default() {
            feed.send(None, "entry", &entry_of(*run, &entry)).await?;
        }
        if let Ok(Some(head)) = feed.store.run(*run) {
            feed.send(None, "run", &summary(&head)).await?;
        }
    }
    feed.send(Some(number), "commit", &json!({ "runs": segments.len() })).await
}

fn entry_of(run: RunId, entry: &crate::run::Entry) -> Value {
    let mut view = serde_json::to_value(EntryView::of(entry, &rfc3339)).unwrap_or_default();
    view["run"] = run.to_string().into();
    view
}
