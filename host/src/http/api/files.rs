//! Files that steps made.

use http::{HeaderValue, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Call;
use crate::http::error::Problem;
use crate::http::request::{Reply, whole_reply};
use crate::run::FileFacts;

/// `GET /files/{id}` → what the file holds, under its media type, as something to be saved and not shown: a plugin chose both.
pub(super) async fn show(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let (facts, content) = call.admin.file(call.param("id")?).await?;
    let mut reply = whole_reply(StatusCode::OK, content);
    let headers = reply.headers_mut();
    if let Ok(media_type) = HeaderValue::from_str(&facts.media_type) {
        headers.insert(header::CONTENT_TYPE, media_type);
    }
    headers.insert(header::CONTENT_DISPOSITION, disposition(&facts));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    Ok(reply)
}

/// RFC 6266, with the name as RFC 8187 encodes it.
fn disposition(facts: &FileFacts) -> HeaderValue {
    let name = utf8_percent_encode(&facts.name, NON_ALPHANUMERIC);
    HeaderValue::from_str(&format!("attachment; filename*=UTF-8''{name}"))
        .unwrap_or_else(|_| HeaderValue::from_static("attachment"))
}
