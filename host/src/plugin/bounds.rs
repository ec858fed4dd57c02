//! What an answer of a guest may hold. A document or a body that is too long is `too-large`; a name that is too long, and too many of
//! anything, breaks the contract (`bad-answer`); a text for people is cut.

use super::bindings::exports::weft::plugin::{info, nodes, triggers};
use super::bindings::weft::plugin::types;
use crate::limits::{
    DESCRIBED_MEMBERS_MAX, DESCRIBED_TYPES_MAX, DESCRIPTION_BYTES_MAX, HEADER_BYTES_MAX, HEADERS_MAX, MESSAGE_BYTES_MAX,
    NAME_BYTES_MAX,
};
use crate::run::Failure;

/// A text for people, cut at its bound.
pub(super) fn text(mut text: String) -> Box<str> {
    text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
    text.into()
}

/// A text that programs compare.
pub(super) fn name(name: String, what: &str) -> Result<Box<str>, Failure> {
    match name.len() {
        0..=NAME_BYTES_MAX => Ok(name.into()),
        bytes => Err(Failure::bad_answer(format_args!("{what} has {bytes} bytes; at most {NAME_BYTES_MAX}"))),
    }
}

/// A list that is not too long.
pub(super) fn list<T>(list: Vec<T>, max: usize, what: &str) -> Result<Vec<T>, Failure> {
    match list.len() {
        count if count <= max => Ok(list),
        count => Err(Failure::bad_answer(format_args!("{count} {what}; at most {max}"))),
    }
}

/// What is wrong with header fields by their number and length, if anything is.
pub(super) fn headers(headers: &[types::Pair]) -> Result<(), String> {
    let bytes: usize = headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    if headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        let count = headers.len();
        return Err(format!("{count} header fields with {bytes} bytes; at most {HEADERS_MAX} with {HEADER_BYTES_MAX}"));
    }
    Ok(())
}

/// Whether a description is of a size that a host keeps and shows.
pub(super) fn description(
    info: &info::PluginInfo,
    nodes: &[nodes::NodeType],
    triggers: &[triggers::TriggerType],
) -> Result<(), String> {
    let types = nodes.len() + triggers.len();
    if types > DESCRIBED_TYPES_MAX {
        return Err(format!("it has {types} types; at most {DESCRIBED_TYPES_MAX}"));
    }
    let members = nodes.iter().map(|node| (&node.name, node.branches.len().max(node.waits.len())));
    let mut members = members.chain(triggers.iter().map(|trigger| (&trigger.name, trigger.subscribes.len())));
    if let Some((name, count)) = members.find(|(_, count)| *count > DESCRIBED_MEMBERS_MAX) {
        let name = text(name.clone());
        return Err(format!("type `{name}` has {count} branches, waits or subscriptions; at most {DESCRIBED_MEMBERS_MAX}"));
    }
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let of_info = [&info.name, &info.version, &info.title, &info.summary].map(String::len).iter().sum::<usize>();
    let of_node = |node: &nodes::NodeType| {
        [&node.name, &node.title, &node.summary, &node.category, &node.config_schema].map(String::len).iter().sum::<usize>()
            + [&node.icon, &node.result_schema, &node.branches_from, &node.more].map(length).iter().sum::<usize>()
            + node.branches.iter().map(|b| b.key.len() + b.title.len() + length(&b.scope_schema)).sum::<usize>()
            + node.waits.iter().map(String::len).sum::<usize>()
    };
    let of_trigger = |trigger: &triggers::TriggerType| {
        let texts = [&trigger.name, &trigger.title, &trigger.summary, &trigger.category, &trigger.config_schema];
        texts.map(String::len).iter().sum::<usize>()
            + [&trigger.icon, &trigger.context_schema, &trigger.more].map(length).iter().sum::<usize>()
            + trigger.subscribes.iter().map(String::len).sum::<usize>()
    };
    let bytes = of_info
        + [&info.license, &info.homepage].map(length).iter().sum::<usize>()
        + nodes.iter().map(of_node).sum::<usize>()
        + triggers.iter().map(of_trigger).sum::<usize>();
    if bytes > DESCRIPTION_BYTES_MAX {
        return Err(format!("it has {bytes} bytes; at most {DESCRIPTION_BYTES_MAX}"));
    }
    Ok(())
}
