//! Bodies of requests that come in, as values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt as _;
use multer::{Constraints, Multipart, SizeLimit};
use serde_json::value::{RawValue, to_raw_value};
use weft_sdk::HttpEvent;
use weft_sdk::prelude::*;

use crate::access::Refusal;

/// What a body may be.
#[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BodyKind {
    /// `application/json`, or a type that ends in `+json`: any value.
    Json,
    /// `application/x-www-form-urlencoded`: an object of texts, with lists where a name comes more than once.
    Form,
    /// `multipart/form-data`: `fields` by name, and `files`, each with `field`, `name`, `media_type`, `size` and `content` in Base64.
    Multipart,
    /// `text/…` in UTF-8: a text.
    Text,
    /// `application/xml`, `text/xml`, or a type that ends in `+xml`: a text.
    Xml,
    /// Anything else: a text, the bytes in Base64.
    Raw,
}

/// Parts of a multipart body: forms have fewer fields.
const PARTS_MAX: usize = 200;

/// Levels of nesting in a body. Readers of JSON commonly stop at 128; steps put the body into documents of their own.
pub(crate) const LEVELS_MAX: usize = 100;

/// The body as JSON; `null` where there is none.
pub(crate) fn read(request: &HttpEvent, kinds: &[BodyKind]) -> Result<Box<RawValue>, Refusal> {
    if request.body.is_empty() {
        return Ok(RawValue::NULL.to_owned());
    }
    let header = |name| request.headers.iter().find(|header| header.name == name).map_or("", |header| header.value.as_str());
    let unsupported = |detail: &str| Refusal::new(415, "unsupported-media-type", "Unsupported Media Type", detail);
    let encoding = header("content-encoding");
    if !(encoding.is_empty() || encoding.eq_ignore_ascii_case("identity")) {
        return Err(unsupported("this workflow reads bodies without a content-encoding"));
    }
    let media_type = header("content-type");
    let mut parameters = media_type.split(';').map(str::trim);
    let essence = parameters.next().unwrap_or_default().to_ascii_lowercase();
    let own = BodyKind::of(&essence);
    let Some(kind) = [own, BodyKind::Raw].into_iter().find(|kind| kinds.contains(kind)) else {
        let wanted: Vec<&str> = kinds.iter().map(|kind| kind.media_type()).collect();
        let wanted = wanted.join(", ");
        let detail = match essence.as_str() {
            "" => format!("the request names no content-type; this workflow reads {wanted}"),
            essence => format!("this workflow reads {wanted}, not `{essence}`"),
        };
        return Err(unsupported(&detail));
    };
    let charset =
        parameters.filter_map(|parameter| parameter.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("charset"));
    let charset = charset.map_or("utf-8", |(_, charset)| charset.trim_matches('"'));
    let is_utf8 = ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known));
    let value = match kind {
        BodyKind::Json => return json_of(&request.body),
        BodyKind::Raw => Value::from(STANDARD.encode(&request.body)),
        BodyKind::Multipart => multipart(&request.body, media_type).now_or_never().unwrap_or_else(|| Err(broken("it stops")))?,
        _ if !is_utf8 => return Err(unsupported(&format!("this workflow reads texts in UTF-8, not in `{charset}`"))),
        BodyKind::Form => form(&request.body),
        BodyKind::Text | BodyKind::Xml => Value::from(text(&request.body)?),
    };
    to_raw_value(&value).map_err(|error| broken(&error.to_string()))
}

impl BodyKind {
    fn of(essence: &str) -> Self {
        match essence {
            "application/json" => Self::Json,
            "application/x-www-form-urlencoded" => Self::Form,
            "multipart/form-data" => Self::Multipart,
            "application/xml" | "text/xml" => Self::Xml,
            essence if essence.ends_with("+json") => Self::Json,
            essence if essence.ends_with("+xml") => Self::Xml,
            essence if essence.starts_with("text/") => Self::Text,
            _ => Self::Raw,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Form => "application/x-www-form-urlencoded",
            Self::Multipart => "multipart/form-data",
            Self::Text => "text/plain",
            Self::Xml => "application/xml",
            Self::Raw => "any content",
        }
    }
}

fn broken(detail: &str) -> Refusal {
    Refusal::new(400, "invalid-body", "Bad Request", &format!("the body cannot be read: {detail}"))
}

pub(crate) fn text(body: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(body).map_err(|error| broken(&format!("it is not UTF-8: {error}")))
}

fn json_of(body: &[u8]) -> Result<Box<RawValue>, Refusal> {
    let invalid = |detail: &str| Refusal::new(400, "invalid-json", "Bad Request", detail);
    let body: Box<RawValue> = serde_json::from_slice(body).map_err(|error| invalid(&format!("the body is not JSON: {error}")))?;
    match levels(body.get()) {
        0..=LEVELS_MAX => Ok(body),
        levels => Err(invalid(&format!("the body nests {levels} levels deep; at most {LEVELS_MAX} are read"))),
    }
}

/// Pairs of a query or a form, by name.
pub(crate) fn form(text: &[u8]) -> Value {
    let mut members = serde_json::Map::new();
    for (name, value) in form_urlencoded::parse(text) {
        add(&mut members, &name, Value::from(value.as_ref()));
    }
    members.into()
}

/// A second value under one name makes a list of both.
pub(crate) fn add(members: &mut serde_json::Map<String, Value>, name: &str, value: Value) {
    match members.get_mut(name) {
        None => {
            members.insert(name.to_owned(), value);
        }
        Some(Value::Array(items)) => items.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

async fn multipart(body: &[u8], media_type: &str) -> Result<Value, Refusal> {
    let failed = |error: multer::Error| broken(&error.to_string());
    let boundary = multer::parse_boundary(media_type).map_err(failed)?;
    let whole = Bytes::copy_from_slice(body);
    let stream = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(whole)]);
    let limits = Constraints::new().size_limit(SizeLimit::new().whole_stream(body.len() as u64));
    let mut parts = Multipart::with_constraints(stream, boundary, limits);
    let (mut fields, mut files) = (serde_json::Map::new(), Vec::new());
    let mut count = 0;
    while let Some(part) = parts.next_field().await.map_err(failed)? {
        count += 1;
        if count > PARTS_MAX {
            return Err(broken(&format!("it has more than {PARTS_MAX} parts")));
        }
        let field = part.name().ok_or_else(|| broken("a part has no name"))?.to_owned();
        let file = part.file_name().map(|name| name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned());
        let media_type = part.content_type().map(ToString::to_string);
        let content = part.bytes().await.map_err(failed)?;
        match file {
            None => add(&mut fields, &field, Value::from(text(&content)?)),
            Some(name) => files.push(json!({
                "field": field,
                "name": name,
                "media_type": media_type.as_deref().unwrap_or("application/octet-stream"),
                "size": content.len(),
                "content": STANDARD.encode(&content),
            })),
        }
    }
    Ok(json!({ "fields": fields, "files": files }))
}

/// How deep the arrays and objects of a valid JSON document nest.
pub(crate) fn levels(document: &str) -> usize {
    let (mut level, mut deepest, mut is_string, mut is_escaped) = (0_usize, 0, false, false);
    for byte in document.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b'[' | b'{' if !is_string => {
                level += 1;
                deepest = deepest.max(level);
            }
            b']' | b'}' if !is_string => level -= 1,
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(media_type: &str, body: &[u8]) -> HttpEvent {
        HttpEvent {
            method: "POST".into(),
            path: String::new(),
            params: Vec::new(),
            query: String::new(),
            headers: vec![weft_sdk::Pair::new("content-type", media_type)],
            body: body.to_vec(),
            remote_address: String::new(),
        }
    }

    fn value(media_type: &str, body: &[u8], kinds: &[BodyKind]) -> Result<Value, u16> {
        let read = read(&request(media_type, body), kinds).map_err(|refusal| refusal.response.status_code)?;
        Ok(serde_json::from_str(read.get()).unwrap_or_default())
    }

    #[test]
    fn levels_are_those_outside_of_strings() {
        let all = ["1", "[]", r#"{"a": [[], {}], "b": []}"#, r#"["[[[", "\"[", "\\", [1]]"#];
        assert_eq!(all.map(levels), [0, 1, 3, 2]);
    }

    #[test]
    fn a_body_is_read_as_its_media_type_says() {
        use BodyKind::{Form, Json, Multipart, Raw, Text, Xml};
        for (media_type, body, kinds, expected) in [
            ("application/vnd.a+json; charset=utf-8", &b"[1]"[..], &[Json][..], Ok(json!([1]))),
            ("application/json", b"[1", &[Json], Err(400)),
            ("text/plain", b"x", &[Json], Err(415)),
            ("application/x-www-form-urlencoded", b"a=1&b=x+y&a=2", &[Form], Ok(json!({"a": ["1", "2"], "b": "x y"}))),
            ("text/plain; charset=UTF-8", "ä".as_bytes(), &[Text], Ok(json!("ä"))),
            ("text/plain; charset=latin1", b"\xe4", &[Text], Err(415)),
            ("text/plain", b"\xe4", &[Text], Err(400)),
            ("text/xml", b"<a/>", &[Xml], Ok(json!("<a/>"))),
            ("image/png", b"\x01\x02", &[Raw], Ok(json!("AQI="))),
            ("application/json", b"{}", &[Text, Raw], Ok(json!("e30="))),
            ("multipart/form-data", b"x", &[Multipart], Err(400)),
        ] {
            assert_eq!(value(media_type, body, kinds), expected, "{media_type}");
        }
    }

    #[test]
    fn a_multipart_body_has_fields_and_files() {
        let body = b"--x\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\n\
            content-disposition: form-data; name=\"f\"; filename=\"../p/q.bin\"\r\ncontent-type: image/png\r\n\r\n\x00\xff\r\n--x--\r\n";
        let read = value("multipart/form-data; boundary=x", body, &[BodyKind::Multipart]).unwrap();
        let file = json!({"field": "f", "name": "q.bin", "media_type": "image/png", "size": 2, "content": "AP8="});
        assert_eq!(read, json!({"fields": {"a": "1"}, "files": [file]}));
        assert_eq!(value("multipart/form-data; boundary=x", &body[..60], &[BodyKind::Multipart]), Err(400));
    }
}
