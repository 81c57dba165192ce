//! The stream of one source: what stands at its end, and the guarded append.
//!
//! An append says which entry it believes to be the last one. The script looks and appends in one step of
//! Redis, so between "this is where I was" and "this comes next" nothing can slip in: not a `FLUSHALL`, not a
//! restart that lost the last entries, not a second relay, not an append of ours whose reply was lost.

use std::sync::LazyLock;

use events::{Position, Seq, Source};
use redis::{Script, Value, cmd};

use crate::entry::{Entry, StreamId, entries_ranged, list, text};
use crate::errors::BusError;
use crate::head;
use crate::link::Link;

/// How long Redis may take to answer a command that does not block.
pub(crate) const ANSWER_SECONDS_MAX: u64 = 5;
/// How many entries back a readable one is looked for, past what somebody else has put into the stream.
const LOOK_BACK_ENTRIES_MAX: usize = 32;
/// An envelope longer than this is nothing that any of our programs writes: the longest event is a ticket,
/// and the request that made it was at most 64 KiB.
pub(crate) const ENVELOPE_BYTES_MAX: usize = 256 * 1024;

/// KEYS: the stream. ARGV: the id of the expected last entry, then seq, type, subject, envelope of each event.
static APPEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local id = last[1] and last[1][1] or ''
if id ~= ARGV[1] then
  return {0, id}
end
for i = 2, #ARGV, 4 do
  id = redis.call('XADD', KEYS[1], '*',
    'seq', ARGV[i], 'type', ARGV[i + 1], 'subject', ARGV[i + 2], 'envelope', ARGV[i + 3])
end
return {1, id}
",
    )
});

/// KEYS: the stream. ARGV: how many entries, and the longest envelope worth sending over.
/// Answers id, seq, type and envelope of each, the newest first.
static LOOK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local found = {}
for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[1])) do
  local fields, seq, kind, envelope = entry[2], '', '', ''
  for i = 1, #fields, 2 do
    if fields[i] == 'seq' then seq = fields[i + 1] end
    if fields[i] == 'type' then kind = fields[i + 1] end
    if fields[i] == 'envelope' then envelope = fields[i + 1] end
  end
  if #envelope > tonumber(ARGV[2]) then envelope = '' end
  found[#found + 1] = {entry[1], seq, kind, envelope}
end
return found
",
    )
});

/// The end of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tail {
    /// The last entry, whatever it is; none if the stream is empty or missing.
    pub(crate) last: Option<StreamId>,
    /// The position of the last entry that is an event of this stream, whatever was put behind it.
    pub(crate) position: Option<Position>,
    /// What that event says, to be compared with what its outbox says.
    pub(crate) envelope: Option<String>,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appended {
    /// All of it was appended; this is the last entry now.
    All(Option<StreamId>),
    /// None of it: another entry stood at the end.
    Mismatch,
}

/// One event as the stream holds it.
pub(crate) struct Outgoing<'a> {
    pub(crate) seq: Seq,
    pub(crate) event_type: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) envelope: &'a str,
}

/// Looks at the end of the stream at `key`, which is `source`'s.
pub(crate) async fn look(link: &mut Link, key: &str, source: Source) -> Result<Tail, BusError> {
    let mut tail = look_back(link, key, source, 1).await?;
    if tail.last.is_some() && tail.position.is_none() {
        tail = look_back(link, key, source, LOOK_BACK_ENTRIES_MAX).await?;
    }
    Ok(tail)
}

/// Appends `events` in order if `expected` is the last entry. Without events it only compares.
pub(crate) async fn append(
    link: &mut Link,
    key: &str,
    expected: Option<StreamId>,
    events: impl Iterator<Item = Outgoing<'_>>,
) -> Result<Appended, BusError> {
    let mut call = APPEND.key(key);
    call.arg(expected.map(|id| id.to_string()).unwrap_or_default());
    for event in events {
        call.arg(event.seq.0)
            .arg(event.event_type)
            .arg(event.subject)
            .arg(event.envelope);
    }
    let mut connection = link.connection().await?;
    let reply = call
        .invoke_async::<(u8, String)>(&mut connection)
        .await
        .map_err(BusError::from);
    let (appended, id) = link.seen(reply)?;
    if appended == 0 {
        return Ok(Appended::Mismatch);
    }
    let last = if id.is_empty() { None } else { Some(id.parse()?) };
    Ok(Appended::All(last))
}

/// The entries of the stream at `key` after `after`, oldest first, at most `count`.
pub(crate) async fn page(
    link: &mut Link,
    key: &str,
    after: StreamId,
    count: usize,
) -> Result<Vec<Entry>, BusError> {
    let mut range = cmd("XRANGE");
    range.arg(key).arg(format!("({after}")).arg("+");
    range.arg("COUNT").arg(count);
    entries_ranged(link.run::<Value>(&range).await?)
}

async fn look_back(link: &mut Link, key: &str, source: Source, entries: usize) -> Result<Tail, BusError> {
    const SHAPE: BusError = BusError::Shape("not the end of a stream");
    let mut connection = link.connection().await?;
    let mut call = LOOK.key(key);
    call.arg(entries).arg(ENVELOPE_BYTES_MAX);
    let reply = call
        .invoke_async::<Value>(&mut connection)
        .await
        .map_err(BusError::from);
    let mut tail = Tail::default();
    for entry in list(link.seen(reply)?).ok_or(SHAPE)? {
        let mut parts = list(entry).ok_or(SHAPE)?.into_iter().filter_map(text);
        let (Some(id), Some(seq), Some(event_type), Some(envelope)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(SHAPE);
        };
        tail.last = tail.last.or(Some(id.parse()?));
        if tail.position.is_none() {
            let seq = seq.parse().ok().map(Seq);
            let head = head::read(seq, &event_type, &envelope, source);
            tail.position = head.ok().map(|head| head.position);
            tail.envelope = tail.position.map(|_| envelope);
        }
    }
    Ok(tail)
}
