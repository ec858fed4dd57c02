//! `files`: files of the run.

use bytes::Bytes;

use super::{charge, fault, services};
use crate::limits::{FILE_BYTES_MAX, FILE_CALLS_MAX, FILE_NAME_BYTES_MAX, FILES_MAX, MEDIA_TYPE_BYTES_MAX};
use crate::plugin::Guest;
use crate::plugin::contract::files;
use crate::plugin::contract::types::Fault;
use crate::run::{FileFacts, FileId, StagedFile};

impl files::Host for Guest {
    fn create(&mut self, name: String, media_type: String, content: Vec<u8>) -> Result<files::File, Fault> {
        begin(self)?;
        check_name(&name)?;
        check_media_type(&media_type)?;
        let size = u32::try_from(content.len()).ok().filter(|size| *size as usize <= FILE_BYTES_MAX);
        let Some(size) = size else {
            return Err(fault("too-large", format!("{} bytes; a file has at most {FILE_BYTES_MAX}", content.len())));
        };
        if self.call.effects.staged.files.len() >= FILES_MAX {
            return Err(fault("over-limit", format!("a call makes at most {FILES_MAX} files")));
        }
        self.call.stage(content.len(), 0)?;
        let facts = FileFacts { name: name.into(), media_type: media_type.into(), size };
        let id = services(&self.call)?.new_file(&facts)?;
        let shown = shown(&id, &facts);
        self.call.effects.files.push((id, facts.clone()));
        self.call.effects.staged.files.push(StagedFile { id, facts, content: content.into() });
        Ok(shown)
    }

    fn read(&mut self, id: String, offset: u32, length: u32) -> Result<Vec<u8>, Fault> {
        begin(self)?;
        let id: FileId = id.parse().map_err(|error| fault("not-found", format!("{error}")))?;
        let content = content(self, id)?;
        let from = (offset as usize).min(content.len());
        let to = from.saturating_add(length as usize).min(content.len());
        Ok(content[from..to].to_vec())
    }
}

/// What a file holds: one that the call made, or one made in the atomic branches around it, or one that is stored.
fn content(guest: &mut Guest, id: FileId) -> Result<Bytes, Fault> {
    let call = &mut guest.call;
    let staged = call.effects.staged.files.iter().chain(&call.around.files).find(|file| file.id == id);
    if let Some(file) = staged {
        return Ok(file.content.clone());
    }
    match &call.opened {
        Some((opened, content)) if *opened == id => Ok(content.clone()),
        _ => {
            let (_, content) = services(call)?.file(&id)?;
            call.opened = Some((id, content.clone()));
            Ok(content)
        }
    }
}

fn begin(guest: &mut Guest) -> Result<(), Fault> {
    guest.call.used.host_calls += 1;
    services(&guest.call)?;
    guest.call.grants.check_files()?;
    charge(&mut guest.call.file_calls, FILE_CALLS_MAX, "files")
}

fn shown(id: &FileId, facts: &FileFacts) -> files::File {
    files::File { id: id.to_string(), name: facts.name.to_string(), media_type: facts.media_type.to_string(), size: facts.size }
}

/// A name is shown to people and becomes the name of what they download: no folders, nothing that a terminal or a header obeys.
fn check_name(name: &str) -> Result<(), Fault> {
    let is_odd = |c: char| c.is_control() || ['/', '\\'].contains(&c);
    if name.trim().is_empty() || name.len() > FILE_NAME_BYTES_MAX || name.contains(is_odd) || [".", ".."].contains(&name) {
        let message = format!("`{name}` is no name of a file: 1 to {FILE_NAME_BYTES_MAX} bytes, without folders");
        return Err(fault("invalid", message));
    }
    Ok(())
}

/// A type and a subtype (RFC 6838), and perhaps parameters.
fn check_media_type(media_type: &str) -> Result<(), Fault> {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let essence = media_type.split(';').next().unwrap_or_default().trim_end();
    let is_good = essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    let is_plain = media_type.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !is_good || !is_plain || media_type.len() > MEDIA_TYPE_BYTES_MAX {
        let message = format!("`{media_type}` is no media type: write one like `text/csv`, at most {MEDIA_TYPE_BYTES_MAX} bytes");
        return Err(fault("invalid", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_folders_and_media_types_are_some() {
        for name in ["a.csv", "Übersicht 2026.pdf", "..a", "a b"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", " ", ".", "..", "a/b", "a\\b", "a\nb", &"x".repeat(FILE_NAME_BYTES_MAX + 1)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for media_type in ["text/csv", "text/plain; charset=utf-8", "application/vnd.a+json"] {
            assert!(check_media_type(media_type).is_ok(), "{media_type}");
        }
        for media_type in ["", "text", "text/", "/csv", "text/csv\r\nx: y", "text/ä", "a b/c"] {
            assert!(check_media_type(media_type).is_err(), "{media_type}");
        }
    }
}
