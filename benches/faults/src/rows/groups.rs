//! Streams and their groups as Redis tells of them: who reads what, how far, and how to make them read it again.

use testkit::Reply;

use crate::part::Part;
use crate::system::System;

/// A service's stream.
pub(super) fn stream(source: Part) -> String {
    format!("events:{}", source.name())
}

/// The items of a list; none of what is no list.
pub(super) fn items(reply: &Reply) -> &[Reply] {
    if let Reply::Array(items) = reply {
        items
    } else {
        &[]
    }
}

/// The ids in the reply of XREADGROUP for one stream.
pub(super) fn ids_read(reply: &Reply) -> Vec<String> {
    let entries = items(reply).first().and_then(|stream| items(stream).get(1));
    let id = |entry: &Reply| items(entry).first().and_then(Reply::text).map(str::to_owned);
    entries.map_or(&[][..], items).iter().filter_map(id).collect()
}

/// Sets every group of every stream back to its beginning: everything is delivered again. How many deliveries that makes.
pub(super) fn deliver_again(system: &System) -> usize {
    let mut deliveries = 0;
    for stream in streams(system) {
        let groups = system.redis_command(&["XINFO", "GROUPS", &stream]);
        for group in items(&groups)
            .iter()
            .filter_map(|group| value(group, "name")?.text())
        {
            let length = system.redis_command(&["XLEN", &stream]).integer().unwrap_or(0);
            system.redis_command(&["XGROUP", "SETID", &stream, group, "0"]);
            deliveries += usize::try_from(length).expect("a stream's length is a count");
        }
    }
    deliveries
}

/// The groups that have not read to their stream's end and acknowledged all of it, and how far each of them is.
pub(super) fn unread(system: &System) -> Vec<String> {
    let mut unread = Vec::new();
    for stream in streams(system) {
        let last = system.redis_command(&["XREVRANGE", &stream, "+", "-", "COUNT", "1"]);
        let last = items(&last).first().and_then(|entry| items(entry).first());
        let last = last.and_then(Reply::text);
        let groups = system.redis_command(&["XINFO", "GROUPS", &stream]);
        for group in items(&groups) {
            let delivered = value(group, "last-delivered-id").and_then(Reply::text);
            let pending = value(group, "pending").and_then(Reply::integer);
            // A stream that its readers have made, and nothing has happened in yet, has no last entry.
            if (last.is_some() && delivered != last) || pending != Some(0) {
                let name = value(group, "name").and_then(Reply::text);
                unread.push(format!(
                    "{stream} for {name:?} ends at {last:?}, delivered {delivered:?}, pending {pending:?}"
                ));
            }
        }
    }
    unread
}

/// The streams that there are: a service that has published nothing has none.
fn streams(system: &System) -> Vec<String> {
    let there = |stream: &String| system.redis_command(&["EXISTS", stream]).integer() == Some(1);
    Part::SERVICES.into_iter().map(stream).filter(there).collect()
}

/// The value behind a name in one of Redis's flat lists of both.
pub(super) fn value<'a>(fields: &'a Reply, name: &str) -> Option<&'a Reply> {
    let fields = items(fields);
    let at = fields.iter().position(|field| field.text() == Some(name))?;
    fields.get(at + 1)
}
