//! Bodies of requests that are sent.

use sha2::{Digest as _, Sha256};
use weft_sdk::capability::files;
use weft_sdk::prelude::*;

use crate::body::{Fields, base64_bytes, scalar};

/// What is sent.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Body {
    /// Any value, as `application/json`.
    Json(Value),
    /// Names and values, as `application/x-www-form-urlencoded`.
    Form(Fields),
    /// Fields and files, as `multipart/form-data`.
    Multipart(Vec<Part>),
    /// A text, as `text/plain`.
    Text(Value),
    /// A text, as `application/xml`.
    Xml(Value),
    /// A text in Base64, whose bytes are sent as `application/octet-stream`.
    Base64(Value),
    /// A file, as its media type says.
    File(File),
}

/// A field of a form, with a text or a file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// The field's name.
    name: String,
    /// Its text.
    #[serde(default)]
    text: Value,
    /// Its file, such as one of a webhook's `$context.data.files`, or what a step with `save_as` resulted in.
    file: Option<File>,
}

/// A file.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct File {
    /// Its name.
    #[serde(default = "unnamed")]
    name: String,
    /// Its media type.
    #[serde(default = "octets")]
    media_type: String,
    /// The id of a file that this run knows.
    id: Option<String>,
    /// Or its content, in Base64.
    #[serde(default)]
    content: Value,
}

/// The media type of bytes of which nothing is known (RFC 2046).
pub(crate) const OCTETS: &str = "application/octet-stream";

fn octets() -> String {
    OCTETS.into()
}

fn unnamed() -> String {
    "file".into()
}

impl File {
    /// What it holds, and its media type. `at` is where it stands in the config.
    fn read(&self, at: &str) -> Result<(&str, Vec<u8>), Failure> {
        if self.media_type.chars().any(char::is_control) {
            return Err(Failure::invalid_config(&format!("{at}/media_type"), "give a media type without control characters"));
        }
        let content = match &self.id {
            Some(id) => files::read(id, 0, u32::MAX)?,
            None if self.content.is_null() => {
                return Err(Failure::invalid_config(at, "give the file's `id`, or its `content` in Base64"));
            }
            None => base64_bytes(&self.content, &format!("{at}/content"))?,
        };
        Ok((&self.media_type, content))
    }
}

impl Body {
    /// The media type, and the bytes. `key` differs from call to call, and is the same when one is made again.
    pub(crate) fn encode(&self, key: &str) -> Result<(String, Vec<u8>), Failure> {
        Ok(match self {
            Self::Json(value) => ("application/json".into(), value.to_string().into_bytes()),
            Self::Form(fields) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                for pair in fields.pairs("/body/form")? {
                    form.append_pair(&pair.name, &pair.value);
                }
                ("application/x-www-form-urlencoded".into(), form.finish().into_bytes())
            }
            Self::Multipart(parts) => multipart(parts, key)?,
            Self::Text(text) => ("text/plain; charset=utf-8".into(), scalar(text, "/body/text")?.into_bytes()),
            Self::Xml(text) => ("application/xml; charset=utf-8".into(), scalar(text, "/body/xml")?.into_bytes()),
            Self::Base64(text) => (octets(), base64_bytes(text, "/body/base64")?),
            Self::File(file) => {
                let (media_type, content) = file.read("/body/file")?;
                (media_type.into(), content)
            }
        })
    }
}

/// `multipart/form-data` (RFC 7578), names written as the HTML standard says.
fn multipart(parts: &[Part], key: &str) -> Result<(String, Vec<u8>), Failure> {
    let mut contents = Vec::with_capacity(parts.len());
    for (nth, part) in parts.iter().enumerate() {
        contents.push(match &part.file {
            Some(file) => file.read(&format!("/body/multipart/{nth}/file"))?.1,
            None => scalar(&part.text, &format!("/body/multipart/{nth}/text"))?.into_bytes(),
        });
    }
    // Nobody can put it into the content: it follows from that.
    let hash = contents.iter().fold(Sha256::new().chain_update(key), Sha256::chain_update).finalize();
    let boundary = format!("weft-{}", hex::encode(&hash[..16]));
    let mut body = Vec::new();
    for (part, content) in parts.iter().zip(&contents) {
        let mut head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"", escaped(&part.name));
        if let Some(file) = &part.file {
            head.push_str(&format!("; filename=\"{}\"\r\nContent-Type: {}", escaped(&file.name), file.media_type));
        }
        head.push_str("\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((format!("multipart/form-data; boundary={boundary}"), body))
}

fn escaped(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}
