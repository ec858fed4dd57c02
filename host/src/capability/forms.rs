//! How a secret may be written in a text, and taking it out of one.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use memchr::memmem;
use zeroize::Zeroizing;

use crate::limits::SECRET_MASKED_BYTES_MIN;

/// The forms in which a value is looked for: as it is, in a JSON text, a form, a URL, and in Base64. None of one so short that it stands in
/// texts by chance.
pub fn forms(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms: Vec<Zeroizing<Vec<u8>>> = Vec::new();
    if value.len() < SECRET_MASKED_BYTES_MIN {
        return forms;
    }
    for form in [<[u8]>::to_vec, in_json, in_form, in_url, |value: &[u8]| BASE64_STANDARD.encode(value).into_bytes()] {
        let form = Zeroizing::new(form(value));
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}

/// As the inside of a JSON string; what is not UTF-8 stands as it is.
pub(super) fn in_json(value: &[u8]) -> Vec<u8> {
    match str::from_utf8(value) {
        Ok(text) => {
            let quoted = Zeroizing::new(serde_json::Value::from(text).to_string());
            quoted[1..quoted.len() - 1].as_bytes().to_vec()
        }
        Err(_) => value.to_vec(),
    }
}

pub(super) fn in_form(value: &[u8]) -> Vec<u8> {
    form_urlencoded::byte_serialize(value).collect::<String>().into_bytes()
}

fn in_url(value: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(&in_form(value)).replace('+', "%20").into_bytes()
}

/// A text with one thing in the place of another; none: that does not stand in it.
pub fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let mut places = memmem::find_iter(text, from).peekable();
    places.peek()?;
    let mut new = Vec::with_capacity(text.len());
    let mut rest = 0;
    for at in places {
        new.extend_from_slice(&text[rest..at]);
        new.extend_from_slice(to);
        rest = at + from.len();
    }
    new.extend_from_slice(&text[rest..]);
    Some(new)
}
