//! Trimming a stream: what every reader has acknowledged and nobody will ask for again goes.
//!
//! When Redis is full, that goes at once; otherwise some of it is kept for a while, because it is cheaper to have than a
//! resend. Never by length alone: that could remove what a reader has not seen. A reader whose group is missing has
//! seen nothing, so then nothing is trimmed. The last entry stays whatever its age, because it says how far
//! the relay has come.

use std::collections::HashMap;

use events::Source;
use redis::{Value, cmd};

use crate::entry::{StreamId, list, text};
use crate::errors::BusError;
use crate::link::Link;
use crate::stream;

/// How long acknowledged entries are kept, by Redis' clock.
const KEPT_HOURS: u64 = 24;
/// How much memory a stream may take before acknowledged entries go earlier than that.
const KEPT_BYTES: u64 = 256 * 1024 * 1024;
/// How many entries one look finds the end of, when a stream is too large.
const ENTRIES_PER_LOOK_MAX: u64 = 1_000;
/// How many such looks one trimming takes; the next one goes on.
const LOOKS_MAX: usize = 100;

/// What is kept of the entries that every reader has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// A day or 256 MiB of them, for readers that lose something.
    ForAWhile,
    /// None: there is no room for them.
    Unread,
}

/// Trims the stream at `key`, which is `source`'s, and gives how many entries went.
pub(crate) async fn trim(
    link: &mut Link,
    key: &str,
    source: Source,
    readers: &[Source],
    keep: Keep,
) -> Result<u64, BusError> {
    let Some(last) = stream::look(link, key, source).await?.last else {
        return Ok(0);
    };
    let Some(acknowledged) = acknowledged(link, key, readers).await? else {
        return Ok(0);
    };
    let bound = acknowledged.min(last);
    if keep == Keep::Unread {
        return remove(link, key, bound).await;
    }
    let (seconds, _micros): (u64, u64) = link.run(&cmd("TIME")).await?;
    let day_ago = StreamId {
        millis: (seconds * 1_000).saturating_sub(KEPT_HOURS * 3_600_000),
        counter: 0,
    };
    let mut trimmed = remove(link, key, day_ago.min(bound)).await?;
    for _ in 0..LOOKS_MAX {
        let Some(end) = excess(link, key).await? else {
            break;
        };
        let removed = remove(link, key, end.min(bound)).await?;
        trimmed += removed;
        if removed == 0 {
            break;
        }
    }
    Ok(trimmed)
}

/// The first entry that not every reader has acknowledged; `None` if a reader has no group.
async fn acknowledged(link: &mut Link, key: &str, readers: &[Source]) -> Result<Option<StreamId>, BusError> {
    let delivered = groups(link, key).await?;
    let mut smallest: Option<StreamId> = None;
    for reader in readers {
        let Some(delivered) = delivered.get(reader.as_str()) else {
            tracing::debug!(key, group = %reader, "not trimmed: a reader has no group");
            return Ok(None);
        };
        let mut xpending = cmd("XPENDING");
        xpending.arg(key).arg(reader.as_str()).arg("-").arg("+").arg(1);
        let pending: Vec<(String, String, u64, u64)> = link.run(&xpending).await?;
        let first = match pending.first() {
            Some((id, ..)) => id.parse()?,
            None => StreamId {
                millis: delivered.millis,
                counter: delivered.counter + 1,
            },
        };
        smallest = Some(smallest.map_or(first, |smallest| smallest.min(first)));
    }
    Ok(smallest)
}

/// The groups of a stream and the last entry that each was given.
async fn groups(link: &mut Link, key: &str) -> Result<HashMap<String, StreamId>, BusError> {
    const SHAPE: BusError = BusError::Shape("not a list of groups");
    let reply: Value = link.run(cmd("XINFO").arg("GROUPS").arg(key)).await?;
    let mut groups = HashMap::new();
    for group in list(reply).ok_or(SHAPE)? {
        let (mut name, mut delivered) = (None, None);
        let mut values = list(group).ok_or(SHAPE)?.into_iter();
        while let (Some(field), Some(value)) = (values.next().and_then(text), values.next()) {
            match field.as_str() {
                "name" => name = text(value),
                "last-delivered-id" => delivered = text(value),
                _ => {}
            }
        }
        let (Some(name), Some(delivered)) = (name, delivered) else {
            return Err(SHAPE);
        };
        groups.insert(name, delivered.parse()?);
    }
    Ok(groups)
}

/// Where the entries end that a stream has too many of, if it is too large; at most so many at once.
async fn excess(link: &mut Link, key: &str) -> Result<Option<StreamId>, BusError> {
    let bytes: Option<u64> = link.run(cmd("MEMORY").arg("USAGE").arg(key)).await?;
    let bytes = bytes.unwrap_or(0);
    if bytes <= KEPT_BYTES {
        return Ok(None);
    }
    let length: u64 = link.run(cmd("XLEN").arg(key)).await?;
    let bytes_per_entry = (bytes / length.max(1)).max(1);
    let entries = ((bytes - KEPT_BYTES) / bytes_per_entry).clamp(1, ENTRIES_PER_LOOK_MAX);
    // Only the id comes back: a thousand entries are half a megabyte.
    let mut eval = cmd("EVAL");
    eval.arg(
        "local e = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1]); return e[#e] and e[#e][1]",
    );
    eval.arg(1).arg(key).arg(entries + 1);
    let id: Option<String> = link.run(&eval).await?;
    id.map(|id| id.parse()).transpose()
}

/// Removes what stands before `bound`.
async fn remove(link: &mut Link, key: &str, bound: StreamId) -> Result<u64, BusError> {
    let mut xtrim = cmd("XTRIM");
    xtrim.arg(key).arg("MINID").arg("=").arg(bound.to_string());
    link.run(&xtrim).await
}
