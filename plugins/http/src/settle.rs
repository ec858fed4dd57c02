//! What a caller is told whose run ended without a step's response.

use weft_sdk::FinishedRun;
use weft_sdk::prelude::*;

use crate::body::{Fields, http_response};

/// 200 with the run's output, or with its messages where it has none; 500 with the status, and 504 when it did not end in time.
pub(crate) fn settle(run: &FinishedRun) -> Result<Settlement, Failure> {
    let response = match &run.output {
        Ok(output) if output == "null" && !run.messages.is_empty() => {
            http_response(200, &Fields::default(), &json!({ "messages": run.messages }))?
        }
        Ok(output) => http_response(200, &Fields::default(), &serde_json::from_str(output).unwrap_or_default())?,
        Err(failure) if failure.code == "still-running" => {
            problem_response(504, "timed-out", "Gateway Timeout", &format!("run {} did not end in time; it goes on", run.run))
        }
        Err(failure) => failed(run, failure, 500, "Internal Server Error", json!({})),
    };
    Ok(Settlement { proceed: true, response: Some(response) })
}

/// The same for a caller who wants the run's result: 422 where the run says no, and more of why.
pub(crate) fn settle_call(run: &FinishedRun) -> Result<Settlement, Failure> {
    let failure = match &run.output {
        Err(failure) if failure.code != "still-running" => failure,
        _ => return settle(run),
    };
    let (status, title) = match failure.status {
        Status::Failed | Status::Rejected | Status::Canceled => (422, "Unprocessable Content"),
        _ => (500, "Internal Server Error"),
    };
    let more = json!({ "run": run.run, "run_status": failure.status.as_str(), "failure": failure.code });
    Ok(Settlement { proceed: true, response: Some(failed(run, failure, status, title, more)) })
}

/// A problem document (RFC 9457) about a run that failed, with its messages.
fn failed(run: &FinishedRun, failure: &Failure, status: u16, title: &str, mut more: Value) -> HttpResponse {
    let detail = format!("run {} ended with status {} ({})", run.run, failure.status.as_str(), failure.code);
    let mut document = json!({ "title": title, "status": status, "code": "run-failed", "detail": detail });
    if let (Some(members), Some(more)) = (document.as_object_mut(), more.as_object_mut()) {
        members.append(more);
    }
    if !run.messages.is_empty() {
        document["messages"] = run.messages.clone().into();
    }
    HttpResponse::new(status, "application/problem+json", document.to_string())
}
